//! Rows under a partial unique index: taken in turns and created once, while they leave and enter the
//! index by UPDATE.

use pg_once_sessions::{Barrier, Database, Session, database};
use std::thread;

const CLIENTS: usize = 8;

/// Where the predicate follows from the key the index keeps a second row out, and the shared lock
/// table has no entry for a key: this many would not fit into it.
#[test]
fn many_keys_in_one_transaction_fit() {
    const KEYS: i64 = 100_000;
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE member (email int, deleted_at date);
         CREATE UNIQUE INDEX ON member (email) WHERE deleted_at IS NULL;
         SET statement_timeout = '85s'",
    );
    session.begin();
    let take = format!(
        "SELECT count(*) FROM generate_series(1, {KEYS}) i,
             with_row_lock(NULL::member, jsonb_build_object('email', i, 'deleted_at', NULL))"
    );
    assert_eq!(session.number(&take), KEYS);
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE pid = {}",
        session.pid()
    );
    assert!(session.number(&held) < 20);
    session.commit();
    assert_eq!(session.number("SELECT count(*) FROM member"), KEYS);
}

/// G7, beside writers that do not know of the extension.
#[test]
fn of_eight_clients_one_creates_each_living_row() {
    const KEYS: usize = 60;
    in_every_table(|database, table| {
        let barrier = Barrier::new(CLIENTS);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut session = database.session();
                    for key in 0..KEYS {
                        barrier.wait();
                        match client {
                            0 => session.run(&format!(
                                "INSERT INTO {table} (owner) VALUES ({key})
                                 ON CONFLICT (owner) WHERE status = 'open' DO NOTHING"
                            )),
                            1 => session.run(&format!(
                                "UPDATE {table} SET status = 'paid' WHERE owner = {key}"
                            )),
                            _ => session.run(&take(table, key)),
                        }
                    }
                });
            }
        });
        let mut session = database.session();
        let open = without_indexes(
            &mut session,
            &format!(
                "SELECT max(n) FROM (SELECT count(*) AS n FROM {table} WHERE status = 'open' GROUP BY owner) AS o"
            ),
        );
        assert_eq!(open, 1, "{table}");
        let owners = without_indexes(
            &mut session,
            &format!("SELECT count(DISTINCT owner) FROM {table}"),
        );
        assert_eq!(owners, KEYS as i64, "{table}");
    });
}

/// G7: an index whose predicate does not follow from the key does not count.
#[test]
fn of_eight_clients_one_creates_each_paid_row() {
    const KEYS: usize = 60;
    in_every_table(|database, table| {
        let barrier = Barrier::new(CLIENTS);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut session = database.session();
                    for key in 0..KEYS {
                        barrier.wait();
                        session.run(&format!(
                            "SELECT created FROM find_or_create(NULL::{table},
                                 '{{\"owner\": {key}, \"status\": \"paid\"}}')"
                        ));
                    }
                });
            }
        });
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(
            without_indexes(&mut database.session(), &rows),
            KEYS as i64,
            "{table}"
        );
    });
}

/// G6: the one that waited is given a new row where the one before it has taken the row out of the key,
/// and the row as it is now where that was rolled back.
#[test]
fn a_row_that_left_the_key_is_not_taken() {
    in_every_table(|database, table| {
        let [mut first, mut second] = database.sessions();
        for (key, commits) in [(1, true), (2, false)] {
            first.run(&take(table, key));
            first.begin();
            let id = first.value(&take(table, key));
            first.run(&format!(
                "UPDATE {table} SET status = 'paid' WHERE id = {id}"
            ));
            second.send(&take(table, key));
            second.waits_for(&first);
            if commits {
                first.commit();
            } else {
                first.rollback();
            }
            let taken = second.answered_value();
            assert_eq!(taken == id, !commits, "{table} {key}");
            let open = format!(
                "SELECT count(*) FROM {table} WHERE owner = {key} AND status = 'open' AND id = {taken}"
            );
            assert_eq!(without_indexes(&mut first, &open), 1, "{table} {key}");
        }
    });
}

/// The caller waits for a row that enters the index, and takes it.
#[test]
fn a_row_that_enters_the_key_is_taken() {
    in_every_table(|database, table| {
        let [mut first, mut second] = database.sessions();
        first.run(&format!(
            "INSERT INTO {table} (owner, status) VALUES (1, 'paid')"
        ));
        first.begin();
        first.run(&format!(
            "UPDATE {table} SET status = 'open' WHERE owner = 1"
        ));
        second.send(&take(table, 1));
        second.waits_for(&first);
        first.commit();
        second.answered_rows();
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(without_indexes(&mut first, &rows), 1, "{table}");
    });
}

/// An index that goes or changes between two calls of one session is not believed any more.
#[test]
fn an_index_with_another_predicate_is_seen() {
    let database = database();
    let [mut owner, mut caller] = database.sessions();
    owner.run(
        "CREATE TABLE member (email int, left_on date, id int GENERATED ALWAYS AS IDENTITY);
         CREATE UNIQUE INDEX member_living ON member (email) WHERE left_on IS NULL",
    );
    const TAKE: &str =
        "SELECT id FROM with_row_lock(NULL::member, '{\"email\": 1, \"left_on\": null}')";
    const TURNS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = ";
    let turns = format!("{TURNS}{}", caller.pid());
    for (change, held) in [
        ("SELECT", 0),
        ("DROP INDEX CONCURRENTLY member_living", 1),
        (
            "CREATE UNIQUE INDEX member_living ON member (email) WHERE left_on > '2026-01-01'",
            1,
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY member_now ON member (email) WHERE left_on IS NULL",
            0,
        ),
    ] {
        owner.run(change);
        owner.run("DELETE FROM member");
        caller.begin();
        caller.run(TAKE);
        assert_eq!(caller.number(&turns), held, "{change}");
        caller.commit();
    }
}

/// A plain table, one with a deferrable constraint, which rules ON CONFLICT out, and partitions.
const TABLES: [(&str, &str); 3] = [
    ("plain", ")"),
    ("ranked", ", rank int UNIQUE DEFERRABLE)"),
    ("partitioned", ") PARTITION BY HASH (owner)"),
];

fn in_every_table(test: impl Fn(&Database, &str)) {
    let database = database();
    for (table, rest) in TABLES {
        let mut session = database.session();
        session.run(&format!(
            "CREATE SEQUENCE {table}_id;
             CREATE TABLE {table} (
                 id bigint NOT NULL DEFAULT nextval('{table}_id'),
                 owner int NOT NULL,
                 status text NOT NULL DEFAULT 'open'{rest};
             CREATE UNIQUE INDEX ON {table} (owner) WHERE status = 'open'"
        ));
        if rest.contains("PARTITION") {
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

fn take(table: &str, owner: usize) -> String {
    format!(
        "SELECT id FROM with_row_lock(NULL::{table}, '{{\"owner\": {owner}, \"status\": \"open\"}}')"
    )
}

fn without_indexes(session: &mut Session, query: &str) -> i64 {
    session.run(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    );
    session.number(query)
}
