//! Rows of a partition while it is being detached, and after.

use pg_once_sessions::{Database, Rows, Session, database};

/// How a creator asks for the row of key 1 of a table.
const CALLS: [&str; 3] = [
    "SELECT v FROM with_row_lock(NULL::{table}, '{\"k\": 1}', '{\"v\": \"{who}\"}')",
    "SELECT v FROM with_row_lock(NULL::{table}, '{\"k\": 1}', '{\"v\": \"{who}\"}', timeout => '1 minute')",
    "SELECT (entity).v FROM find_or_create(NULL::{table}, '{\"k\": 1}', '{\"v\": \"{who}\"}')",
];

/// G7: whoever asks for the partition waits for whoever has created the row through the table, or
/// through the partition, before it was detached.
#[test]
fn a_partition_that_is_being_detached_has_one_row() {
    for call in CALLS {
        for asked in ["whole", "part"] {
            let database = partitioned("");
            let [mut first, mut second, mut owner] = database.sessions();
            first.begin();
            first.run(&asking(call, asked, "first"));
            owner.send("ALTER TABLE whole DETACH PARTITION part CONCURRENTLY");
            owner.waits_for(&first);
            second.send(&asking(call, "part", "second"));
            second.waits();
            first.commit();
            owner.answered_rows();
            assert_eq!(second.answered_rows(), first_only(), "{asked}: {call}");
            assert_eq!(all(&mut second, "part"), first_only(), "{asked}: {call}");
        }
    }
}

/// The same where the detaching has stopped half-way, and once it is finished.
#[test]
fn a_partition_that_was_left_half_detached_has_one_row() {
    let database = partitioned("");
    let [mut first, mut second, mut owner] = database.sessions();
    first.begin();
    first.run(&asking(CALLS[0], "whole", "first"));
    owner.send("ALTER TABLE whole DETACH PARTITION part CONCURRENTLY");
    owner.waits_for(&first);
    owner.cancel();
    owner.answered_refusal("57014");
    second.begin();
    second.send(&asking(CALLS[0], "part", "second"));
    second.waits_for(&first);
    first.rollback();
    assert_eq!(second.answered_rows(), [[Some("second".to_owned())]]);
    first.send(&asking(CALLS[0], "part", "first"));
    first.waits_for(&second);
    second.commit();
    assert_eq!(first.answered_rows(), [[Some("second".to_owned())]]);
    owner.run("ALTER TABLE whole DETACH PARTITION part FINALIZE");
    assert_eq!(
        first.rows(&asking(CALLS[0], "part", "first")),
        [[Some("second".to_owned())]]
    );
    assert_eq!(all(&mut first, "part"), [[Some("second".to_owned())]]);
}

/// Nobody who has created a row in a partition of a partition keeps the detaching of the latter: what
/// comes after it must meet the row all the same.
#[test]
fn a_partition_of_one_that_was_detached_meanwhile_has_one_row() {
    for call in CALLS {
        for asked in ["half", "part"] {
            let database = partitioned("PARTITION BY LIST (k)");
            let [mut first, mut second, mut owner] = database.sessions();
            first.begin();
            first.run(&asking(call, "part", "first"));
            owner.send("ALTER TABLE whole DETACH PARTITION half CONCURRENTLY");
            let is_over = owner.answer_or_wait(&mut second).is_some();
            second.send(&asking(call, asked, "second"));
            second.waits();
            first.commit();
            if !is_over {
                owner.answered_rows();
            }
            assert_eq!(second.answered_rows(), first_only(), "{asked}: {call}");
            assert_eq!(all(&mut second, "half"), first_only(), "{asked}: {call}");
        }
    }
}

/// A table without a unique index, of one partition, or of one that has one itself.
fn partitioned(below: &str) -> Database<'static> {
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE whole (k int, v text) PARTITION BY LIST (k)");
    session.run(&match below {
        "" => "CREATE TABLE part PARTITION OF whole FOR VALUES IN (1)".to_owned(),
        below => format!(
            "CREATE TABLE half PARTITION OF whole FOR VALUES IN (1, 2) {below};
             CREATE TABLE part PARTITION OF half FOR VALUES IN (1)"
        ),
    });
    database
}

fn asking(call: &str, table: &str, who: &str) -> String {
    call.replace("{table}", table).replace("{who}", who)
}

fn first_only() -> Rows {
    vec![vec![Some("first".to_owned())]]
}

fn all(session: &mut Session, table: &str) -> Rows {
    session.run("SET enable_indexscan = off; SET enable_bitmapscan = off");
    session.rows(&format!("SELECT v FROM {table}"))
}

/// Under one snapshot an INSERT goes into a partition that reads of now leave out: what others have
/// created there since the snapshot is met all the same.
#[test]
fn a_snapshot_from_before_a_detaching_gets_no_second_row() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for call in CALLS {
            let database = partitioned("");
            let [mut first, mut second, mut owner] = database.sessions();
            second.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM whole"));
            first.run(&asking(call, "whole", "first"));
            owner.send("ALTER TABLE whole DETACH PARTITION part CONCURRENTLY");
            owner.waits_for(&second);
            second.refused(&asking(call, "whole", "second"), "40001");
            second.rollback();
            owner.answered_rows();
            assert_eq!(all(&mut first, "part"), first_only(), "{level}: {call}");
        }
    }
}

/// A snapshot that leaves the partition out: no trigger is blamed for a row that is not seen.
#[test]
fn a_snapshot_from_amid_a_detaching_names_the_partition() {
    for index in ["", "CREATE UNIQUE INDEX ON whole (k)"] {
        for is_there in [false, true] {
            let database = partitioned("");
            let [mut reader, mut caller, mut owner] = database.sessions();
            owner.run(index);
            if is_there {
                owner.run("INSERT INTO whole VALUES (1, 'first')");
            }
            reader.run("BEGIN; LOCK TABLE whole IN ACCESS SHARE MODE");
            owner.send("ALTER TABLE whole DETACH PARTITION part CONCURRENTLY");
            owner.waits_for(&reader);
            for call in CALLS {
                caller.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
                let refused = caller.refused(&asking(call, "whole", "second"), "55000");
                assert_eq!(
                    refused.message(),
                    "partition part is being detached from table public.whole",
                    "{call}"
                );
                caller.rollback();
            }
            reader.commit();
            owner.answered_rows();
        }
    }
}

/// A table that becomes a partition, with a row of the key, while a call is between its look and its
/// INSERT.
#[test]
fn a_partition_that_is_attached_meanwhile_has_one_row() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for duplicate_rows in ["error", "first"] {
            let database = database();
            let [mut caller, mut owner, mut gate] = database.sessions();
            // The planner calls the function of the default, after the look.
            owner.run(
                "CREATE FUNCTION stop() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
                     PERFORM pg_advisory_xact_lock_shared(1); RETURN 'second'; END $$;
                 CREATE TABLE whole (k int, id int DEFAULT 1, v text DEFAULT stop(), PRIMARY KEY (id, k))
                     PARTITION BY LIST (k);
                 CREATE TABLE part (k int NOT NULL, id int NOT NULL, v text);
                 INSERT INTO part VALUES (1, 0, 'first')",
            );
            gate.run("SELECT pg_advisory_lock(1)");
            caller.run(&format!("SET pg_once.duplicate_rows = '{duplicate_rows}'"));
            caller.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1"));
            caller.send("SELECT v FROM with_row_lock(NULL::whole, '{\"k\": 1}')");
            caller.waits_for(&gate);
            owner.run("ALTER TABLE whole ATTACH PARTITION part FOR VALUES IN (1)");
            gate.run("SELECT pg_advisory_unlock_all()");
            caller.answered_refusal("40001");
            caller.rollback();
            assert_eq!(all(&mut owner, "whole"), first_only(), "{level}");
        }
    }
}
