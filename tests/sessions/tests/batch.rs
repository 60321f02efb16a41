//! `claim_many`: batches that overlap, wait, are cancelled, and are as large as they may be.

use fastrand::Rng;
use pg_once_sessions::{Barrier, Cluster, Session, database};
use std::collections::BTreeSet;
use std::fs;
use std::thread;

const CLIENTS: usize = 8;

/// G1, G9: clients claim overlapping batches in orders of their own, beside single claims of the
/// same keys. None is ended by a deadlock, and each key is won once. `PG_ONCE_BATCHES` is the
/// number of rounds.
#[test]
fn overlapping_batches_do_not_deadlock() {
    const KEYS: usize = 400;
    let rounds = match std::env::var("PG_ONCE_BATCHES") {
        Ok(rounds) => rounds.parse().expect("PG_ONCE_BATCHES must be a number"),
        Err(_) => 25,
    };
    let cluster = Cluster::start(&["deadlock_timeout = '10ms'"]);
    let database = cluster.database();
    let barrier = Barrier::new(CLIENTS);
    let won: Vec<Vec<String>> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                let mut rng = Rng::with_seed(client as u64);
                let mut won = Vec::new();
                for round in 0..rounds {
                    barrier.wait();
                    match client {
                        0 => won.extend(claim_singly(&mut session, &mut rng, round, KEYS)),
                        _ => won.extend(claim_batch(&mut session, &mut rng, round, KEYS)),
                    }
                }
                won
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let mut session = database.session();
    assert_eq!(
        session.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        0
    );
    let told: usize = won.iter().map(Vec::len).sum();
    let keys: BTreeSet<&String> = won.iter().flatten().collect();
    assert_eq!(told, keys.len(), "a key was won twice");
    assert!(keys.len() > rounds * KEYS * 9 / 10, "{} keys", keys.len());
    session.run("SET enable_indexscan = off; SET enable_indexonlyscan = off");
    session.run("SET enable_bitmapscan = off");
    assert_eq!(
        session.number("SELECT count(DISTINCT (ns, key)) FROM once.claim"),
        told as i64
    );
    assert_eq!(
        session.number("SELECT count(*) FROM once.claim"),
        told as i64
    );
}

/// The keys of this round that a batch of two thirds of them, in any order and some of them twice,
/// has won. Every fifth transaction is rolled back and made again.
fn claim_batch(session: &mut Session, rng: &mut Rng, round: usize, keys: usize) -> Vec<String> {
    let mut batch = Vec::from_iter((0..keys * 2 / 3).map(|_| rng.usize(..keys)));
    rng.shuffle(&mut batch);
    let batch = Vec::from_iter(batch.iter().map(|key| format!("{round}/{key}"))).join(",");
    loop {
        session.begin();
        let won = session.rows(&format!("SELECT claim_many('ns', '{{{batch}}}')"));
        if rng.usize(..5) == 0 {
            session.rollback();
            continue;
        }
        session.commit();
        return won.into_iter().map(|row| row[0].clone().unwrap()).collect();
    }
}

fn claim_singly(session: &mut Session, rng: &mut Rng, round: usize, keys: usize) -> Vec<String> {
    let mut won = Vec::new();
    for _ in 0..keys / 4 {
        let key = format!("{round}/{}", rng.usize(..keys));
        if session.is_true(&format!("SELECT claim_once('ns', '{key}')")) {
            won.push(key);
        }
    }
    won
}

/// G1, G9 where claims have expired: they are taken over in the same order.
#[test]
fn overlapping_batches_of_expired_claims_do_not_deadlock() {
    const KEYS: usize = 300;
    const ROUNDS: usize = 8;
    let cluster = Cluster::start(&["deadlock_timeout = '10ms'"]);
    let database = cluster.database();
    let mut session = database.session();
    let barrier = Barrier::new(CLIENTS);
    session.run(&format!(
        "SELECT count(claim_once_per('1 ms', 'ns', round || '/' || key))
         FROM generate_series(0, {}) AS round, generate_series(0, {}, 2) AS key",
        ROUNDS - 1,
        KEYS - 1
    ));
    session.run("SELECT pg_sleep(0.01)");
    let won: Vec<Vec<String>> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                let mut rng = Rng::with_seed(client as u64);
                let mut won = Vec::new();
                for round in 0..ROUNDS {
                    barrier.wait();
                    won.extend(claim_batch(&mut session, &mut rng, round, KEYS));
                }
                won
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(
        session.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        0
    );
    let told: usize = won.iter().map(Vec::len).sum();
    let keys: BTreeSet<&String> = won.iter().flatten().collect();
    assert_eq!(told, keys.len(), "a key was won twice");
    assert!(keys.len() > ROUNDS * KEYS * 9 / 10, "{} keys", keys.len());
    assert_eq!(
        session.number("SELECT count(*) FROM once.claim WHERE expires_at IS NULL"),
        told as i64
    );
}

/// G9, step by step: two batches in opposite order meet behind a third transaction. Were they
/// claimed in the order of the arrays, each would hold what the other one waits for.
#[test]
fn batches_in_opposite_order_wait_in_one_order() {
    let database = database();
    let [mut holder, mut first, mut second] = database.sessions();
    let [low, middle, high] = in_storage_order(&mut holder);
    holder.begin();
    holder.run(&format!("SELECT claim_once('ns', '{middle}')"));
    first.begin();
    first.send(&format!(
        "SELECT claim_many('ns', '{{{high},{middle},{low}}}')"
    ));
    first.waits_for(&holder);
    second.begin();
    second.send(&format!(
        "SELECT claim_many('ns', '{{{low},{middle},{high}}}')"
    ));
    second.waits_for(&first);
    holder.rollback();
    let all = [&high, &middle, &low].map(|key| vec![Some(key.clone())]);
    assert_eq!(first.answered_rows(), all);
    first.commit();
    assert_eq!(second.answered_rows(), Vec::<Vec<_>>::new());
    second.commit();
}

/// Three keys in the order in which batches claim them.
fn in_storage_order(session: &mut Session) -> [String; 3] {
    session.run("SELECT claim_many('ns', '{a,b,c}')");
    let rows = session
        .rows("SELECT key FROM once.claim ORDER BY place_high, place_low, hash_high, hash_low");
    session.run("DELETE FROM once.claim");
    Vec::from_iter(rows.into_iter().map(|row| row[0].clone().unwrap()))
        .try_into()
        .unwrap()
}

/// G2, G3: an open claim in the midst is waited for.
#[test]
fn a_batch_waits_for_open_claims_and_tells_the_truth() {
    let database = database();
    for (end, rest) in [
        ("COMMIT", vec!["a", "c"]),
        ("ROLLBACK", vec!["a", "b", "c"]),
    ] {
        for (before, change, given_back) in [
            ("SELECT", "SELECT claim_once('ns', 'b')", false),
            ("SELECT", "SELECT claim_many('ns', '{b}')", false),
            (
                "SELECT claim_once('ns', 'b')",
                "SELECT unclaim('ns', 'b')",
                true,
            ),
            (
                "SELECT claim_once_per('1 ms', 'ns', 'b'), pg_sleep(0.01)",
                "SELECT claim_once('ns', 'b')",
                false,
            ),
        ] {
            let [mut holder, mut batch] = database.sessions();
            holder.run("DELETE FROM once.claim");
            holder.run(before);
            holder.begin();
            holder.run(change);
            batch.send("SELECT claim_many('ns', '{a,b,c}')");
            batch.waits_for(&holder);
            holder.run(end);
            let expected = match (given_back, end) {
                (true, "COMMIT") => &vec!["a", "b", "c"],
                (true, _) => &vec!["a", "c"],
                _ => &rest,
            };
            let won = batch.answered_rows();
            let won = Vec::from_iter(won.iter().map(|row| row[0].as_deref().unwrap()));
            assert_eq!(&won, expected, "{before}; {change}; {end}");
        }
    }
}

/// G1, G2, G3: a batch of about as many keys as are stored goes through the index from entry to
/// entry. Every key is told apart by what it is, whatever stands beside it. While the batch waits
/// it keeps no vacuum from the pages that it has come to.
#[test]
fn a_batch_as_large_as_the_table_tells_each_key_apart() {
    const KEYS: usize = 2000;
    let database = database();
    let [mut maker, mut holder, mut batch, mut vacuum] = database.sessions();
    let claim = |session: &mut Session, function: &str, of: [usize; 2]| {
        session.run(&format!(
            "SELECT {function}'ns', number::text) FROM generate_series(1, {KEYS}) AS number
             WHERE number % 8 BETWEEN {} AND {}",
            of[0], of[1]
        ));
    };
    claim(&mut maker, "claim_once(", [1, 3]);
    claim(&mut maker, "claim_once_per('1 ms', ", [4, 5]);
    claim(&mut maker, "unclaim(", [2, 2]);
    maker.begin();
    claim(&mut maker, "claim_once(", [6, 6]);
    maker.rollback();
    holder.begin();
    holder.run("SELECT claim_once('ns', '1000')");
    batch.begin();
    claim(&mut batch, "claim_once(", [7, 7]);
    batch.send(&format!(
        "SELECT claim_many('ns', array_agg(number::text)) FROM generate_series(1, {KEYS}) AS number"
    ));
    batch.waits_for(&holder);
    vacuum.run("SET statement_timeout = '20s'");
    vacuum.run("VACUUM (INDEX_CLEANUP ON) once.claim");
    holder.rollback();
    let won = batch.answered_rows();
    let won = Vec::from_iter(won.iter().map(|row| row[0].clone().unwrap()));
    let expected = (1..=KEYS).filter(|number| ![1, 3, 7].contains(&(number % 8)));
    assert_eq!(
        won,
        Vec::from_iter(expected.map(|number| number.to_string()))
    );
    batch.commit();
    vacuum.run("SET enable_indexscan = off; SET enable_indexonlyscan = off");
    vacuum.run("SET enable_bitmapscan = off");
    assert_eq!(
        vacuum.rows("SELECT count(*), count(DISTINCT key) FROM once.claim"),
        [[Some(KEYS.to_string()), Some(KEYS.to_string())]]
    );
}

/// Nothing is claimed by a call that is ended, whether it waits or works.
#[test]
fn a_cancelled_batch_claims_nothing() {
    let database = database();
    let [mut holder, mut batch, mut witness] = database.sessions();
    holder.begin();
    holder.run("SELECT claim_once('ns', '500')");
    let claim = "SELECT count(*) FROM (SELECT claim_many('ns', array_agg(number::text))
                 FROM generate_series(1, 1000) AS number) AS won";
    batch.send(claim);
    batch.waits_for(&holder);
    batch.cancel();
    batch.answered_refusal("57014");
    batch.run("SET statement_timeout = '20ms'");
    batch.refused(claim, "57014");
    batch.run("SET statement_timeout = 0; SET lock_timeout = '20ms'");
    batch.refused(claim, "55P03");
    batch.run("SET lock_timeout = 0");
    holder.rollback();
    assert_eq!(
        witness.number("SELECT count(*) FROM once.claim WHERE ns = 'ns'"),
        0
    );

    batch.run(
        "CREATE TABLE work AS SELECT array_agg(md5(number::text)) AS keys
               FROM generate_series(1, 1000000) AS number",
    );
    batch.run("SET statement_timeout = '150ms'");
    batch.refused(
        "SELECT count(*) FROM work, claim_many('large', keys)",
        "57014",
    );
    batch.run("SET statement_timeout = 0");
    assert_eq!(
        witness.number("SELECT count(*) FROM once.claim WHERE ns = 'large'"),
        0
    );
    assert_eq!(batch.number(claim), 1000);
}

/// Very many keys fit into the default memory and the smallest lock table, in at most four times
/// the size of the array, with both engines. `PG_ONCE_KEYS` is their number.
#[test]
fn very_many_keys_take_little_memory_and_no_locks() {
    let keys: i64 = match std::env::var("PG_ONCE_KEYS") {
        Ok(keys) => keys.parse().expect("PG_ONCE_KEYS must be a number"),
        Err(_) => 200_000,
    };
    let cluster = Cluster::start(&[
        "max_locks_per_transaction = 10",
        "max_connections = 10",
        "shared_buffers = '8MB'",
        "max_wal_size = '4GB'",
        "autovacuum = off",
    ]);
    let database = cluster.database();
    let [mut session, mut other] = database.sessions();
    session.run(&format!(
        "CREATE TABLE work (keys text[]);
         ALTER TABLE work ALTER keys SET STORAGE EXTERNAL;
         INSERT INTO work SELECT array_agg(format('%s-%s', md5(number::text), number % 1000))
         FROM generate_series(1, {keys}) AS number"
    ));
    let set = "SELECT count(*) FROM work, claim_many('set', keys)";
    let column = "SELECT count(*) FROM (SELECT claim_many('column', keys) FROM work) AS won";
    for (engine, answer, call) in [
        ("direct", keys, set),
        ("statement", 0, set),
        ("direct", 0, set),
        ("statement", keys, column),
    ] {
        let mut fresh = database.session();
        fresh.run(&format!("SET pg_once.claim_engine = {engine}"));
        fresh.run("SET statement_timeout = '80s'");
        let array = fresh.number("SELECT pg_column_size(keys) FROM work");
        fresh.run("SELECT claim_many('warm', '{a}')");
        let before = peak_from_now_on(fresh.pid());
        fresh.begin();
        assert_eq!(fresh.number(call), answer);
        let locks = fresh.number("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()");
        assert!(locks < 20, "{locks} locks");
        let grown = peak(fresh.pid()) - before;
        assert!(
            grown < 4 * array,
            "{engine}: an array of {array} bytes, {grown} bytes of memory"
        );
        println!("{engine}, {answer} won: {array} bytes of array, {grown} of memory");
        assert!(!other.is_true("SELECT claim_once('warm', 'a')"));
        fresh.commit();
    }
}

/// Forgets the largest size that a process has had, and returns the present one, in bytes.
fn peak_from_now_on(pid: i32) -> i64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak(pid)
}

fn peak(pid: i32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kilobytes.parse::<i64>().unwrap() * 1024
}
