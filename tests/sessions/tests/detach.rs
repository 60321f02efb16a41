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
