//! Rows of the user's own tables: taken in turns, created once, with and
//! without a unique index, plain and partitioned.

use pg_once_sessions::session::{end_deadlock, first_to_answer};
use pg_once_sessions::{Barrier, Database, Rows, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// What may follow the columns of a table that rows are found in: whether it
/// is partitioned, and whether a unique index covers the key.
const SHAPES: [(&str, &str); 4] = [
    ("plain_unique", ", UNIQUE (key))"),
    ("plain_bare", ")"),
    (
        "partitioned_unique",
        ", UNIQUE (key)) PARTITION BY HASH (key)",
    ),
    ("partitioned_bare", ") PARTITION BY HASH (key)"),
];

/// G6, G7 at READ COMMITTED.
#[test]
fn increments_of_eight_clients_add_up() {
    in_every_shape(|database, table| {
        all_increment(database, table, "READ COMMITTED", |_| "NULL");
    });
}

/// G6, G7: those that wait for ever and those that would not exclude each
/// other.
#[test]
fn increments_with_and_without_a_timeout_add_up() {
    in_every_shape(|database, table| {
        all_increment(database, table, "READ COMMITTED", |client| {
            if client % 2 == 0 {
                "NULL"
            } else {
                "'1 minute'"
            }
        });
    });
}

/// G6, G7 at REPEATABLE READ, where 40001 asks for another try.
#[test]
fn increments_at_repeatable_read_add_up() {
    in_every_shape(|database, table| {
        all_increment(database, table, "REPEATABLE READ", |_| "NULL");
    });
}

/// G7.
#[test]
fn eight_clients_create_one_row_for_each_key() {
    const KEYS: usize = 60;
    in_every_shape(|database, table| {
        let barrier = Barrier::new(CLIENTS);
        let created: i64 = thread::scope(|scope| {
            let clients = Vec::from_iter((0..CLIENTS).map(|client| {
                let lock = client % 2 == 0;
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut session = database.session();
                    let mut created = 0;
                    for key in 0..KEYS {
                        barrier.wait();
                        created += session.number(&format!(
                            "SELECT created::int FROM find_or_create(
                                 NULL::{table}, '{{\"key\": \"{key}\"}}', lock => {lock})"
                        ));
                    }
                    created
                })
            }));
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .sum()
        });
        assert_eq!(created, KEYS as i64, "{table}");
        let rows = rows_by_key(&mut database.session(), table);
        assert_eq!(rows.len(), KEYS, "{table}");
        assert!(
            rows.iter().all(|row| row[1].as_deref() == Some("1")),
            "{table}: {rows:?}"
        );
    });
}

/// G7 where equal keys are written differently, the sessions differ in every
/// setting that changes how values are printed, and no index says what is
/// equal.
#[test]
fn equal_keys_that_look_different_are_one_row() {
    const EQUAL: [(&str, &str, &str); 8] = [
        ("numeric", "1.0", "1.00"),
        ("double precision", "0", r#""-0""#),
        ("double precision", "0.1", "1e-1"),
        ("interval", r#""1 day""#, r#""24 hours""#),
        ("character(5)", r#""a""#, r#""a  ""#),
        ("bytea", r#""\\x6162""#, r#""ab""#),
        (
            "timestamptz",
            r#""2026-01-01 00:00+00""#,
            r#""2026-01-01 01:00+01""#,
        ),
        ("jsonb", r#"{"a": 1.0}"#, r#"{"a": 1.00}"#),
    ];
    let database = database();
    let [mut first, mut second] = database.sessions();
    second.run(
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET IntervalStyle = 'sql_standard';
         SET extra_float_digits = -15; SET bytea_output = 'escape'",
    );
    for (number, (kind, one, other)) in EQUAL.into_iter().enumerate() {
        let table = format!("equal_{number}");
        first.run(&format!("CREATE TABLE {table} (key {kind})"));
        first.begin();
        let take =
            |key| format!("SELECT 1 FROM with_row_lock(NULL::{table}, '{{\"key\": {key}}}')");
        assert_eq!(first.number(&take(one)), 1, "{kind}");
        second.send(&take(other));
        second.waits_for(&first);
        first.commit();
        assert_eq!(second.answered_value(), "1", "{kind}");
        assert_eq!(
            first.number(&format!("SELECT count(*) FROM {table}")),
            1,
            "{kind}"
        );
    }
}

/// G6: the one that waited is shown what the one before it committed.
#[test]
fn the_next_turn_sees_the_committed_row() {
    in_every_shape(|database, table| {
        let [mut first, mut second] = database.sessions();
        first.run(&take(table, "k"));
        first.begin();
        assert_eq!(first.rows(&take(table, "k")).len(), 1);
        second.send(&take(table, "k"));
        second.waits_for(&first);
        first.run(&format!("UPDATE {table} SET n = 41"));
        first.commit();
        assert_eq!(number(&second.answered_rows(), 0, 1), 41, "{table}");
    });
}

/// G6: also where the one before it has created the row, and not before.
#[test]
fn the_next_turn_finds_the_created_row() {
    in_every_shape(|database, table| {
        let [mut first, mut second, mut third] = database.sessions();
        first.begin();
        let created = first.rows(&take(table, "k"));
        assert_eq!(created.len(), 1, "{table}");
        second.begin();
        second.send(&take(table, "k"));
        second.waits_for(&first);
        first.commit();
        assert_eq!(second.answered_rows(), created, "{table}");
        third.send(&take(table, "k"));
        third.waits_for(&second);
        second.commit();
        assert_eq!(third.answered_rows(), created, "{table}");
    });
}

#[test]
fn a_creator_that_rolls_back_leaves_the_creation_to_another() {
    in_every_shape(|database, table| {
        let [mut first, mut second] = database.sessions();
        first.run("BEGIN; SAVEPOINT s");
        assert_eq!(first.rows(&create(table, "k")), [[Some("t".to_owned())]]);
        second.send(&create(table, "k"));
        second.waits_for(&first);
        first.run("ROLLBACK TO s");
        assert_eq!(second.answered_rows(), [[Some("t".to_owned())]], "{table}");
        assert_eq!(rows_by_key(&mut second, table).len(), 1, "{table}");
    });
}

#[test]
fn finding_waits_for_nobody_who_holds_the_row() {
    in_every_shape(|database, table| {
        let [mut holder, mut finder] = database.sessions();
        holder.run(&take(table, "k"));
        holder.begin();
        holder.run(&take(table, "k"));
        holder.run(&format!("UPDATE {table} SET n = 5"));
        finder.run("SET lock_timeout = '1ms'; BEGIN");
        assert_eq!(
            finder.rows(&create(table, "k")),
            [[Some("f".to_owned())]],
            "{table}"
        );
        assert_eq!(finder.rows(XID), [[None]], "{table}");
    });
}

#[test]
fn a_row_deleted_by_the_one_before_is_created_again() {
    in_every_shape(|database, table| {
        let (mut deleter, mut waiter, id) = waiter_behind(database, table, "DELETE FROM");
        deleter.commit();
        assert_ne!(number(&waiter.answered_rows(), 0, 0), id, "{table}");
        assert_eq!(rows_by_key(&mut deleter, table).len(), 1, "{table}");
    });
}

#[test]
fn a_row_whose_deletion_is_rolled_back_is_found() {
    in_every_shape(|database, table| {
        let (mut deleter, mut waiter, id) = waiter_behind(database, table, "DELETE FROM");
        deleter.rollback();
        assert_eq!(number(&waiter.answered_rows(), 0, 0), id, "{table}");
    });
}

#[test]
fn a_row_that_got_another_key_meanwhile_is_not_taken() {
    in_every_shape(|database, table| {
        let (mut renamer, mut waiter, id) = waiter_behind(database, table, "UPDATE");
        renamer.commit();
        assert_ne!(number(&waiter.answered_rows(), 0, 0), id, "{table}");
        let keys = renamer.rows(&format!("SELECT key FROM {table} ORDER BY key"));
        assert_eq!(
            keys,
            [[Some("k".to_owned())], [Some("other".to_owned())]],
            "{table}"
        );
    });
}

/// G8.
#[test]
fn a_timeout_is_an_answer_and_leaves_nothing() {
    for made in [true, false] {
        in_every_shape(|database, table| {
            let [mut holder, mut caller, mut other] = database.sessions();
            if made {
                holder.run(&take(table, "k"));
            }
            holder.begin();
            holder.run(&take(table, "k"));
            caller.begin();
            let settings = caller.rows(SETTINGS);
            for timeout in ["0", "1 ms", "300 ms"] {
                let called = Instant::now();
                let answer = caller.rows(&take_within(table, "k", timeout));
                assert_eq!(answer, no_rows(), "{table} {timeout}");
                let took = called.elapsed();
                if timeout == "300 ms" {
                    assert!(took >= Duration::from_millis(300), "{table}: {took:?}");
                }
                assert!(took < Duration::from_secs(3), "{table} {timeout}: {took:?}");
                assert_eq!(caller.rows(XID), [[None]], "{table} {timeout}");
                assert_eq!(caller.locks(), no_rows(), "{table} {timeout}");
                assert_eq!(caller.rows(SETTINGS), settings, "{table} {timeout}");
            }
            holder.rollback();
            other.begin();
            assert_eq!(
                other.rows(&take_within(table, "k", "0")).len(),
                1,
                "{table}"
            );
            assert_eq!(
                caller.rows(&take_within(table, "k", "0")),
                no_rows(),
                "{table}"
            );
            assert_eq!(
                caller.rows(&take_within(table, "free", "0")).len(),
                1,
                "{table}"
            );
            caller.commit();
            other.commit();
            assert_eq!(rows_by_key(&mut caller, table).len(), 2, "{table}");
        });
    }
}

/// G8: many waits that end at the deadline, on a machine that is busy with
/// them.
#[test]
fn a_timeout_is_never_an_error() {
    in_every_shape(|database, table| {
        let mut holder = database.session();
        holder.run(&take(table, "there"));
        holder.run(&format!(
            "BEGIN; {}; {}",
            take(table, "there"),
            take(table, "missing")
        ));
        thread::scope(|scope| {
            for client in 0..2 * CLIENTS {
                scope.spawn(move || {
                    let mut caller = database.session();
                    let key = if client % 2 == 0 { "there" } else { "missing" };
                    for round in 0..100 {
                        let answer = caller.rows(&take_within(table, key, "2 ms"));
                        assert_eq!(answer, no_rows(), "{table} {key} {round}");
                    }
                });
            }
        });
    });
}

/// G8: a timeout bounds the call and not each of its waits.
#[test]
fn a_timeout_bounds_the_whole_call() {
    in_every_shape(|database, table| {
        let [mut first, mut second, mut caller] = database.sessions();
        first.run(&take(table, "k"));
        first.begin();
        first.run(&take(table, "k"));
        second.begin();
        second.send(&take(table, "k"));
        second.waits();
        let called = Instant::now();
        caller.send(&take_within(table, "k", "1500 ms"));
        caller.waits();
        thread::sleep(Duration::from_millis(1000).saturating_sub(called.elapsed()));
        first.commit();
        second.answered_rows();
        assert_eq!(caller.answered_rows(), no_rows(), "{table}");
        let took = called.elapsed();
        assert!(took < Duration::from_millis(2300), "{table}: {took:?}");
    });
}

/// G8: whatever the call has to wait for.
#[test]
fn a_timeout_bounds_every_wait() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        holder.run(&format!(
            "CREATE TABLE {table}_parent (n int PRIMARY KEY);
             INSERT INTO {table}_parent VALUES (0), (1);
             ALTER TABLE {table} ADD FOREIGN KEY (n) REFERENCES {table}_parent"
        ));
        for place in if table.starts_with("plain") {
            vec![""]
        } else {
            vec!["_0", "_1"]
        } {
            holder.run(&format!(
                "CREATE UNIQUE INDEX ON {table}{place} (n) WHERE n > 0"
            ));
        }
        caller.run(&take(table, "there"));
        caller.run("SET statement_timeout = '20s'");
        for (held, key) in [
            (format!("LOCK TABLE {table}"), "there"),
            (format!("LOCK TABLE {table} IN EXCLUSIVE MODE"), "there"),
            (format!("LOCK TABLE {table}"), "missing"),
            (format!("LOCK TABLE {table} IN SHARE MODE"), "missing"),
            (format!("SELECT FROM {table}_parent FOR UPDATE"), "missing"),
            (
                format!("INSERT INTO {table} (key, n) VALUES ('fourth', 1)"),
                "missing",
            ),
        ] {
            let n = i32::from(held.starts_with("INSERT"));
            holder.run(&format!("BEGIN; {held}"));
            caller.begin();
            for timeout in ["0", "100 ms"] {
                let answer = caller.try_run(&format!(
                    "SELECT n FROM with_row_lock(NULL::{table}, '{{\"key\": \"{key}\"}}',
                         '{{\"n\": {n}}}', timeout => '{timeout}')"
                ));
                assert!(
                    matches!(&answer, Ok(rows) if rows.is_empty()),
                    "{table} {timeout} {held}: {answer:?}"
                );
            }
            if held.starts_with("LOCK") {
                assert_eq!(caller.rows(XID), [[None]], "{table} {held}");
            }
            holder.rollback();
            assert_eq!(
                caller.rows(&take_within(table, key, "0")).len(),
                1,
                "{table} {held}"
            );
            caller.rollback();
        }
    });
}

#[test]
fn a_turn_that_comes_in_time_is_taken() {
    in_every_shape(|database, table| {
        let [mut first, mut second, mut third] = database.sessions();
        first.begin();
        first.run(&take(table, "k"));
        second.begin();
        second.send(&take_within(table, "k", "1 minute"));
        second.waits_for(&first);
        first.commit();
        assert_eq!(second.answered_rows().len(), 1, "{table}");
        third.send(&take(table, "k"));
        third.waits_for(&second);
        second.commit();
        assert_eq!(third.answered_rows().len(), 1, "{table}");
    });
}

/// The caller's own shorter limits raise, whatever `timeout` says.
#[test]
fn shorter_limits_of_the_caller_raise() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller, mut other] = database.sessions();
        holder.begin();
        holder.run(&take(table, "k"));
        let calls = [take(table, "k"), take_within(table, "k", "1 minute")];
        for (limit, sqlstate) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
            for call in &calls {
                caller.run(&format!("SET {limit} = '150ms'"));
                caller.refused(call, sqlstate);
                assert_eq!(caller.locks(), no_rows(), "{table} {limit}");
                caller.run("BEGIN; SAVEPOINT s");
                caller.refused(call, sqlstate);
                caller.run("ROLLBACK TO s");
                assert_eq!(caller.rows(XID), [[None]], "{table} {limit}");
                assert_eq!(caller.locks(), no_rows(), "{table} {limit}");
                assert_eq!(caller.value(&format!("SHOW {limit}")), "150ms");
                caller.run(&format!("COMMIT; RESET {limit}"));
            }
        }
        caller.run("SET lock_timeout = '1min'; BEGIN");
        assert_eq!(
            caller.rows(&take_within(table, "k", "100 ms")),
            no_rows(),
            "{table}"
        );
        assert_eq!(caller.value("SHOW lock_timeout"), "1min", "{table}");
        caller.commit();
        holder.rollback();
        other.begin();
        assert_eq!(
            other.rows(&take_within(table, "k", "0")).len(),
            1,
            "{table}"
        );
    });
}

#[test]
fn a_cancelled_wait_holds_nothing() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller, mut other] = database.sessions();
        holder.begin();
        holder.run(&take(table, "k"));
        for call in [take(table, "k"), take_within(table, "k", "1 minute")] {
            caller.send(&call);
            caller.waits_for(&holder);
            caller.cancel();
            caller.answered_refusal("57014");
            assert_eq!(caller.locks(), no_rows(), "{table}");
        }
        holder.rollback();
        other.begin();
        assert_eq!(
            other.rows(&take_within(table, "k", "0")).len(),
            1,
            "{table}"
        );
    });
}

#[test]
fn opposite_orders_deadlock_and_the_survivor_proceeds() {
    in_every_shape(|database, table| {
        for timeout in ["NULL", "'1 minute'"] {
            let mut pair: [Session; 2] = database.sessions();
            let take = |key| {
                format!(
                    "SELECT n FROM with_row_lock(
                         NULL::{table}, '{{\"key\": \"{key}\"}}', timeout => {timeout})"
                )
            };
            for (session, key) in pair.iter_mut().zip(["a", "b"]) {
                session.begin();
                session.run(&take(key));
            }
            pair[0].send(&take("b"));
            pair[0].waits();
            pair[1].send(&take("a"));
            let (mut survivor, taken, mut victim) = end_deadlock(pair);
            assert_eq!(taken.len(), 1, "{table}");
            victim.rollback();
            survivor.rollback();
        }
    });
}

#[test]
fn a_child_of_a_taken_row_can_be_inserted() {
    let database = database();
    let [mut holder, mut child] = database.sessions();
    holder.run(
        "CREATE TABLE parent (id int PRIMARY KEY, n int DEFAULT 0);
         CREATE TABLE child (parent int REFERENCES parent);
         SELECT * FROM with_row_lock(NULL::parent, '{\"id\": 1}')",
    );
    holder.begin();
    assert_eq!(
        holder
            .rows("SELECT * FROM with_row_lock(NULL::parent, '{\"id\": 1}')")
            .len(),
        1
    );
    child.run("SET lock_timeout = '1s'; INSERT INTO child VALUES (1)");
    holder.run("UPDATE parent SET n = 1");
    child.run("INSERT INTO child VALUES (1)");
    holder.commit();
    assert_eq!(child.number("SELECT count(*) FROM child"), 2);
}

/// Two sets of key columns are two turns; the rows themselves still exclude.
#[test]
fn a_row_that_plain_sql_has_locked_is_waited_for() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        holder.run(&take(table, "k"));
        holder.begin();
        holder.run(&format!("UPDATE {table} SET n = 7"));
        assert_eq!(
            caller.rows(&take_within(table, "k", "0")),
            no_rows(),
            "{table}"
        );
        caller.send(&take(table, "k"));
        caller.waits_for(&holder);
        holder.commit();
        assert_eq!(number(&caller.answered_rows(), 0, 1), 7, "{table}");
    });
}

/// A row that was created or changed after the snapshot.
#[test]
fn newer_rows_fail_a_repeatable_read_transaction() {
    in_every_shape(|database, table| {
        for level in ["REPEATABLE READ", "SERIALIZABLE"] {
            let [mut old, mut other] = database.sessions();
            for call in [take(table, level), create(table, &format!("{level} 2"))] {
                // A session that has just created a row looks at the index first where it may.
                old.run(&create(table, "own"));
                old.run(&format!("DELETE FROM {table} WHERE key = 'own'"));
                old.begin_at(level);
                old.run("SELECT count(*) FROM pg_class");
                other.run(&call);
                assert!(
                    old.refused(&call, "40001").hint().is_some(),
                    "{table} {level}: {call}"
                );
                old.rollback();
            }
            old.begin_at(level);
            old.run("SELECT count(*) FROM pg_class");
            other.run(&format!(
                "UPDATE {table} SET n = n + 1 WHERE key = '{level}'"
            ));
            let error = old.refused(&take(table, level), "40001");
            assert!(error.hint().is_some(), "{table} {level}");
            old.rollback();
            old.run(&create(table, "own"));
            old.begin_at(level);
            old.run("SELECT count(*) FROM pg_class");
            other.run(&format!("DELETE FROM {table} WHERE key = 'own'"));
            let error = old.refused(&take(table, "own"), "40001");
            assert!(error.hint().is_some(), "{table} {level}");
            old.rollback();
            old.begin_at(level);
            assert_eq!(
                number(&old.rows(&take(table, level)), 0, 1),
                1,
                "{table} {level}"
            );
            old.commit();
        }
    });
}

/// The same where the row is created while the transaction waits for it.
#[test]
fn a_row_created_during_the_wait_fails_a_repeatable_read_transaction() {
    in_every_shape(|database, table| {
        for timeout in ["NULL", "'1 minute'"] {
            let [mut creator, mut waiter] = database.sessions();
            let take = format!(
                "SELECT n FROM with_row_lock(
                     NULL::{table}, jsonb_build_object('key', coalesce({timeout}, 'none')),
                     timeout => {timeout})"
            );
            creator.begin();
            creator.run(&take);
            waiter.begin_at("REPEATABLE READ");
            waiter.send(&take);
            waiter.waits_for(&creator);
            creator.commit();
            assert!(
                waiter.answered_refusal("40001").hint().is_some(),
                "{table} {timeout}"
            );
        }
    });
}

/// With a usable unique index the shared lock table has no entry for a key:
/// this many would not fit into it.
#[test]
fn many_keys_in_one_transaction_fit() {
    const KEYS: i64 = 100_000;
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE item (id int PRIMARY KEY, n int DEFAULT 0)");
    session.run("SET statement_timeout = '85s'");
    let take = format!(
        "SELECT count(*) FROM generate_series(1, {KEYS}) i,
             with_row_lock(NULL::item, jsonb_build_object('id', i))"
    );
    session.begin();
    assert_eq!(session.number(&take), KEYS);
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE pid = {}",
        session.pid()
    );
    assert!(session.number(&held) < 20);
    session.commit();
    assert_eq!(session.number("SELECT count(*) FROM item"), KEYS);
}

#[test]
fn payments_are_updated_in_turn() {
    const ROUNDS: i64 = 40;
    for index in [
        "",
        "CREATE UNIQUE INDEX ON payments (service_id, line_item_id)",
    ] {
        let database = database();
        let mut session = database.session();
        session.run(
            "CREATE TABLE payments (
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 service_id bigint NOT NULL, line_item_id text NOT NULL,
                 amount numeric NOT NULL DEFAULT 0)",
        );
        session.run(index);
        let created: i64 = thread::scope(|scope| {
            let pollers = Vec::from_iter((0..CLIENTS).map(|_| {
                scope.spawn(|| {
                    let mut session = database.session();
                    let mut created = 0;
                    for _ in 0..ROUNDS {
                        session.begin();
                        let rows = session.rows(
                            "SELECT created::int, (payment->>'amount')::numeric + 1
                             FROM with_payment_lock(7, 'A-1')",
                        );
                        created += number(&rows, 0, 0);
                        let amount = number(&rows, 0, 1);
                        session.run(&format!("UPDATE payments SET amount = {amount}"));
                        session.commit();
                    }
                    created
                })
            }));
            pollers
                .into_iter()
                .map(|poller| poller.join().unwrap())
                .sum()
        });
        assert_eq!(created, 1);
        let left = session.rows("SELECT service_id, line_item_id, amount FROM payments");
        let expected = ["7", "A-1", &(ROUNDS * CLIENTS as i64).to_string()];
        assert_eq!(left, [expected.map(|value| Some(value.to_owned()))]);
    }
}

#[test]
fn a_payment_that_is_taken_is_a_timeout() {
    let database = database();
    let [mut holder, mut caller] = database.sessions();
    holder.run("CREATE TABLE payments (service_id int, line_item_id text)");
    holder.begin();
    assert_eq!(
        holder.value("SELECT created FROM with_payment_lock(7, 'A-1')"),
        "t"
    );
    let call = "SELECT * FROM with_payment_lock(7, 'A-1', timeout => '50 ms')";
    assert_eq!(caller.rows(call), no_rows());
    caller.run("SET lock_timeout = '50ms'");
    caller.refused("SELECT * FROM with_payment_lock(7, 'A-1')", "55P03");
    holder.commit();
    assert_eq!(
        caller.value("SELECT created FROM with_payment_lock(7, 'A-1')"),
        "f"
    );
}

/// Waiting for whoever is creating the row costs nothing: neither a
/// transaction id nor a value of the sequence, whether the wait ends with the
/// row, without it, or by a timeout.
#[test]
fn waiting_for_a_creator_takes_nothing() {
    let database = database();
    let mut session = database.session();
    for (table, unique) in [
        ("by_key", ", UNIQUE (key, part)"),
        (
            "by_key_reversed",
            ", UNIQUE NULLS NOT DISTINCT (part, key) INCLUDE (n)",
        ),
        ("bare", ""),
    ] {
        session.run(&format!(
            "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY,
                 key text NOT NULL, part int, n int NOT NULL DEFAULT 0{unique})"
        ));
        let parts: &[&str] = match table {
            "by_key" => &["1"],
            _ => &["1", "null"],
        };
        for part in parts {
            let insert = format!("INSERT INTO {table} (key, part) VALUES ('k', {part})");
            let call = |timeout: &str| {
                format!(
                    "SELECT n FROM with_row_lock(NULL::{table},
                         '{{\"key\": \"k\", \"part\": {part}}}', timeout => {timeout})"
                )
            };
            for by in [insert, call("NULL")] {
                if by.starts_with("INSERT") && unique.is_empty() {
                    continue;
                }
                await_creator(&database, table, &by, call);
            }
        }
    }
}

fn await_creator(database: &Database, table: &str, by: &str, call: impl Fn(&str) -> String) {
    let [mut creator, mut caller, mut waiter] = database.sessions();
    // A session that has just created a row looks at the index first; the waiter does not.
    for statement in [&format!("DELETE FROM {table}"), &call("NULL")] {
        caller.run(statement);
    }
    caller.run(&format!("DELETE FROM {table}"));
    let values_used = format!(
        "SELECT coalesce(last_value, 0) FROM pg_sequences
                               WHERE sequencename = '{table}_id_seq'"
    );
    creator.begin();
    creator.run(by);
    let used = caller.number(&values_used);
    caller.begin();
    for timeout in ["'0'", "'30 ms'"] {
        assert_eq!(caller.rows(&call(timeout)), no_rows(), "{by}, {timeout}");
        assert_eq!(caller.rows(XID), [[None]], "{by}, {timeout}");
    }
    waiter.begin();
    waiter.send(&call("'30 s'"));
    waiter.waits_for(&creator);
    assert_eq!(creator.number(&values_used), used, "{by}");
    creator.rollback();
    assert_eq!(waiter.answered_rows().len(), 1, "{by}");
    assert_eq!(waiter.number(&values_used), used + 1, "{by}");
    caller.send(&call("NULL"));
    caller.waits_for(&waiter);
    waiter.commit();
    assert_eq!(caller.answered_rows().len(), 1, "{by}");
    caller.commit();
    assert_eq!(caller.number(&values_used), used + 1, "{by}");
    assert_eq!(caller.number(&format!("SELECT count(*) FROM {table}")), 1);
}

/// More creators in a row give up than a call looks again: it still gets the
/// row, and waits no longer than it was told to.
#[test]
fn many_creators_that_give_up_are_survived() {
    let database = database();
    let [mut caller, mut witness] = database.sessions();
    witness.run("CREATE TABLE late (id bigint GENERATED ALWAYS AS IDENTITY, key text PRIMARY KEY)");
    let mut creators: [Session; 12] = database.sessions();
    let take = "SELECT key FROM with_row_lock(NULL::late, '{\"key\": \"k\"}')";
    creators[0].begin();
    creators[0].run(take);
    for creator in &mut creators[1..] {
        creator.begin();
        creator.send(take);
    }
    caller.send("SELECT key FROM with_row_lock(NULL::late, '{\"key\": \"k\"}', timeout => '60 s')");
    creators[0].rollback();
    let mut left: Vec<Session> = creators.into_iter().skip(1).collect();
    while !left.is_empty() {
        let first = first_to_answer(&mut left);
        let mut winner = left.remove(first);
        assert_eq!(winner.answered_rows().len(), 1);
        winner.rollback();
    }
    assert_eq!(caller.answered_rows().len(), 1);
    assert_eq!(witness.number("SELECT count(*) FROM late"), 1);
}

const XID: &str = "SELECT pg_current_xact_id_if_assigned()";

const SETTINGS: &str = "
    SELECT name, setting FROM pg_settings
    WHERE name IN ('lock_timeout', 'statement_timeout', 'deadlock_timeout', 'search_path',
                   'row_security', 'transaction_isolation', 'role') ORDER BY name";

fn in_every_shape(test: impl Fn(&Database, &str)) {
    let database = database();
    for (table, shape) in SHAPES {
        let mut session = database.session();
        session.run(&format!(
            "CREATE SEQUENCE {table}_id;
             CREATE TABLE {table} (
                 id bigint NOT NULL DEFAULT nextval('{table}_id'),
                 key text NOT NULL,
                 n int NOT NULL DEFAULT 0{shape}"
        ));
        if shape.contains("PARTITION") {
            session.run(&format!(
                "CREATE TABLE {table}_0 PARTITION OF {table}
                     FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE {table}_1 PARTITION OF {table}
                     FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
            ));
        }
        test(&database, table);
    }
}

fn take(table: &str, key: &str) -> String {
    format!("SELECT id, n FROM with_row_lock(NULL::{table}, '{{\"key\": \"{key}\"}}')")
}

fn take_within(table: &str, key: &str, timeout: &str) -> String {
    format!(
        "SELECT id, n FROM with_row_lock(
             NULL::{table}, '{{\"key\": \"{key}\"}}', timeout => '{timeout}')"
    )
}

fn create(table: &str, key: &str) -> String {
    format!("SELECT created FROM find_or_create(NULL::{table}, '{{\"key\": \"{key}\"}}')")
}

/// Eight clients add one, many times, to the number they are shown.
fn all_increment(
    database: &Database,
    table: &str,
    level: &str,
    timeout: fn(usize) -> &'static str,
) {
    const ROUNDS: usize = 25;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut session = database.session();
                for _ in 0..ROUNDS {
                    while !increments(&mut session, table, level, timeout(client)) {}
                }
            });
        }
    });
    let rows = rows_by_key(&mut database.session(), table);
    let sum = (ROUNDS * CLIENTS).to_string();
    assert_eq!(
        rows,
        [["k", "1", &sum].map(|value| Some(value.to_owned()))],
        "{table}"
    );
}

/// One increment, or false where the transaction has to be tried again.
fn increments(session: &mut Session, table: &str, level: &str, timeout: &str) -> bool {
    session.begin_at(level);
    let taken = session.try_run(&format!(
        "SELECT n FROM with_row_lock(NULL::{table}, '{{\"key\": \"k\"}}', timeout => {timeout})"
    ));
    match taken {
        Ok(rows) => {
            let next = number(&rows, 0, 0) + 1;
            session.run(&format!("UPDATE {table} SET n = {next} WHERE key = 'k'"));
            session.commit();
            true
        }
        Err(failure) => {
            assert_eq!(
                (failure.sqlstate(), level),
                ("40001", "REPEATABLE READ"),
                "{failure:?}"
            );
            session.rollback();
            false
        }
    }
}

/// A session that has changed the row of key `k` by this kind of statement,
/// one that waits for the row, and the row's id.
fn waiter_behind(database: &Database, table: &str, change: &str) -> (Session, Session, i64) {
    let [mut changer, mut waiter] = database.sessions();
    changer.run(&take(table, "k"));
    changer.begin();
    let id = number(&changer.rows(&take(table, "k")), 0, 0);
    let new_key = if change == "UPDATE" {
        "SET key = 'other'"
    } else {
        ""
    };
    changer.run(&format!("{change} {table} {new_key} WHERE key = 'k'"));
    waiter.send(&take(table, "k"));
    waiter.waits_for(&changer);
    (changer, waiter, id)
}

/// Key, number of rows and greatest count, read without any index.
fn rows_by_key(session: &mut Session, table: &str) -> Rows {
    session.run(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    );
    session.rows(&format!(
        "SELECT key, count(*), max(n) FROM {table} GROUP BY key ORDER BY key"
    ))
}

fn number(rows: &Rows, row: usize, column: usize) -> i64 {
    rows[row][column].as_ref().unwrap().parse().unwrap()
}

fn no_rows() -> Rows {
    Rows::new()
}

/// G7: a trigger that creates a row of the same key leads to an error, not to two rows.
#[test]
fn a_row_that_a_trigger_creates_too_is_noticed() {
    for creates in [
        "PERFORM FROM with_row_lock(NULL::nested, jsonb_build_object('k', NEW.k))",
        "INSERT INTO nested (k) VALUES (NEW.k)",
    ] {
        for time in ["BEFORE", "AFTER"] {
            for duplicate_rows in ["error", "first"] {
                let mut session = database().session();
                session.run(&format!(
                    "CREATE TABLE nested (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text);
                     CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         IF pg_trigger_depth() < 2 THEN {creates}; END IF; RETURN NEW; END $$;
                     CREATE TRIGGER nest {time} INSERT ON nested FOR EACH ROW EXECUTE FUNCTION nest();
                     SET pg_once.duplicate_rows = '{duplicate_rows}'"
                ));
                for call in [
                    "SELECT FROM with_row_lock(NULL::nested, '{\"k\": \"a\"}')",
                    "SELECT FROM find_or_create(NULL::nested, '{\"k\": \"a\"}')",
                ] {
                    let answer = session.try_run(call);
                    let count = session.number("SELECT count(*) FROM nested WHERE k = 'a'");
                    match answer {
                        Ok(_) => assert_eq!(count, 1, "{time} {creates}"),
                        Err(failure) => {
                            assert_eq!(
                                (failure.sqlstate(), count),
                                ("21000", 0),
                                "{time} {creates}"
                            );
                        }
                    }
                }
            }
        }
    }
}
