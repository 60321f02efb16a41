//! A random concurrent history, recorded and checked. `PG_ONCE_SEED` repeats
//! what the clients of one seed ask, though not how they meet.

use fastrand::Rng;
use pg_once_sessions::history::{Client, Event, check_claims, check_turns};
use pg_once_sessions::{Database, Failure, database};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 10;
const LENGTH: Duration = Duration::from_secs(12);

#[test]
fn a_random_history_keeps_the_guarantees() {
    keeps_the_guarantees("");
}

#[test]
fn a_random_history_with_a_unique_index_keeps_the_guarantees() {
    keeps_the_guarantees("CREATE UNIQUE INDEX ON counter (key)");
}

fn keeps_the_guarantees(index: &str) {
    let seed = match std::env::var("PG_ONCE_SEED") {
        Ok(seed) => seed.parse().expect("PG_ONCE_SEED must be a number"),
        Err(_) => Rng::new().u64(..),
    };
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE counter (key text NOT NULL, n int NOT NULL DEFAULT 0)");
    session.run(index);
    let start = Instant::now();
    let mut events: Vec<Vec<Event>> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|number| {
            let database = &database;
            scope.spawn(move || live(database, start, Rng::with_seed(seed ^ number)))
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });

    let mut last = Client::new(database.session(), start);
    for key in 0..KEYS {
        last.look(&claim_key(key)).unwrap();
    }
    events.push(last.into_events());
    let asked: usize = events.iter().map(Vec::len).sum();
    assert!(
        asked > 2000,
        "a history of {asked} events proves little, seed {seed}"
    );
    check_claims(&events).unwrap_or_else(|reason| panic!("PG_ONCE_SEED={seed}: {reason}"));

    session.run("SET enable_indexscan = off; SET enable_indexonlyscan = off");
    session.run("SET enable_bitmapscan = off");
    let rows = session.rows("SELECT key, n FROM counter");
    let left: BTreeMap<String, i64> = rows
        .iter()
        .map(|row| {
            (
                row[0].clone().unwrap(),
                row[1].as_ref().unwrap().parse().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        left.len(),
        rows.len(),
        "PG_ONCE_SEED={seed}: two rows of one key: {rows:?}"
    );
    check_turns(&events, &left).unwrap_or_else(|reason| panic!("PG_ONCE_SEED={seed}: {reason}"));

    assert_eq!(
        session.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        0
    );
    let log = database.cluster.log();
    for trouble in ["PANIC", "terminated by signal", "leak", "TRAP"] {
        assert!(
            !log.contains(trouble),
            "PG_ONCE_SEED={seed}: {trouble} in the log:\n{log}"
        );
    }
}

const KEYS: usize = 6;

fn claim_key(number: usize) -> String {
    format!("claim {number}")
}

/// What one client asks, transaction after transaction, until the time is over.
fn live(database: &Database, start: Instant, mut random: Rng) -> Vec<Event> {
    let mut session = database.session();
    session.run("SET deadlock_timeout = '20ms'");
    let engine = ["direct", "statement"][random.usize(..2)];
    session.run(&format!("SET pg_once.claim_engine = '{engine}'"));
    let mut client = Client::new(session, start);
    while start.elapsed() < LENGTH {
        if let Err(failure) = transaction(&mut client, &mut random) {
            let expected = ["40001", "40P01"].contains(&failure.sqlstate());
            assert!(expected, "{failure:?}");
        }
        thread::sleep(Duration::from_micros(random.u64(..3000)));
    }
    client.into_events()
}

fn transaction(client: &mut Client, random: &mut Rng) -> Result<(), Failure> {
    if random.u8(..4) == 0 {
        return claim_act(client, random);
    }
    let levels = [
        "READ COMMITTED",
        "READ COMMITTED",
        "REPEATABLE READ",
        "SERIALIZABLE",
    ];
    let level = levels[random.usize(..levels.len())];
    client.begin(level)?;
    let savepoint = random.u8(..4);
    for step in 0..random.u8(1..=4) {
        if step == savepoint {
            client.savepoint()?;
        }
        if random.u8(..3) == 0 {
            let key = format!("row {}", random.usize(..KEYS));
            let timeout = ["NULL", "'0'", "'3 ms'", "'1 minute'"][random.usize(..4)];
            client.increment(&key, timeout)?;
        } else {
            claim_act(client, random)?;
        }
        if step == savepoint && random.bool() {
            client.undo()?;
        }
        thread::sleep(Duration::from_micros(random.u64(..1000)));
    }
    if random.u8(..4) == 0 {
        client.rollback()
    } else {
        client.commit()
    }
}

fn claim_act(client: &mut Client, random: &mut Rng) -> Result<(), Failure> {
    let key = claim_key(random.usize(..KEYS));
    match random.u8(..8) {
        0 | 1 => client.unclaim(&key)?,
        2 | 3 => client.look(&key)?,
        _ => client.claim(&key)?,
    };
    Ok(())
}
