//! Keys on generated columns: rows are created from defaults, once.

use pg_once_sessions::{Barrier, Database, database};
use std::thread;

const CLIENTS: usize = 8;

/// Each table holds what a webhook sent, by the id in it: with a unique index and without one, plain and
/// partitioned.
const TABLES: [(&str, &str); 3] = [
    ("plain_unique", ", UNIQUE (site, event))"),
    ("plain_bare", ")"),
    (
        "partitioned_unique",
        ", UNIQUE (site, event)) PARTITION BY HASH (site)",
    ),
];

/// G7.
#[test]
fn eight_clients_create_one_row_for_each_event() {
    const EVENTS: usize = 40;
    in_every_table(|database, table| {
        let barrier = Barrier::new(CLIENTS);
        let created: i64 = thread::scope(|scope| {
            let clients = Vec::from_iter((0..CLIENTS).map(|client| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut session = database.session();
                    let mut created = 0;
                    for event in 0..EVENTS {
                        barrier.wait();
                        created += session.number(&create(table, event, event, client));
                    }
                    created
                })
            }));
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .sum()
        });
        assert_eq!(created, EVENTS as i64, "{table}");
        assert_eq!(rows(database, table), EVENTS as i64, "{table}");
    });
}

/// Defaults that make another event than the key asks for leave nothing, in any order: neither a row nor
/// a second one.
#[test]
fn defaults_of_another_event_write_nothing() {
    in_every_table(|database, table| {
        let [mut first, mut second] = database.sessions();
        first.begin();
        assert_eq!(first.number(&create(table, 1, 1, 0)), 1);
        second.refused(&create(table, 2, 3, 0), "55000");
        first.commit();
        let refused = second.refused(&create(table, 2, 1, 0), "55000");
        assert!(refused.hint().is_some(), "{table}");
        assert_eq!(rows(database, table), 1, "{table}");
    });
}

fn create(table: &str, event: usize, sent: usize, client: usize) -> String {
    format!(
        "SELECT created::int FROM find_or_create(NULL::{table}, '{{\"site\": 1, \"event\": \"{event}\"}}',
             '{{\"payload\": {{\"id\": {sent}, \"by\": {client}}}}}')"
    )
}

fn in_every_table(test: impl Fn(&Database, &str)) {
    let database = database();
    for (table, rest) in TABLES {
        let mut session = database.session();
        session.run(&format!(
            "CREATE TABLE {table} (
                 site int NOT NULL,
                 payload jsonb NOT NULL,
                 event text GENERATED ALWAYS AS (payload ->> 'id') STORED{rest}"
        ));
        if rest.contains("PARTITION") {
            session.run(&format!(
                "CREATE TABLE {table}_0 PARTITION OF {table} FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
            ));
        }
        test(&database, table);
    }
}

/// How many rows there are, read without any index.
fn rows(database: &Database, table: &str) -> i64 {
    let mut session = database.session();
    session.run(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    );
    session.number(&format!("SELECT count(*) FROM {table}"))
}
