//! A sweep beside those who claim: it waits for nobody, leaves alone what is
//! in use, and makes no second winner.

use pg_once_sessions::{Session, database};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const EXPIRE: &str = "UPDATE once.claim SET expires_at = clock_timestamp()";

#[test]
fn what_is_taken_over_is_left_alone() {
    let database = database();
    let [mut taker, mut sweeper] = database.sessions();
    assert!(taker.is_true("SELECT claim_once_per('1 hour', 'ns', 'k')"));
    taker.run(EXPIRE);
    taker.begin();
    assert!(taker.is_true("SELECT claim_once_per('1 hour', 'ns', 'k')"));
    assert_eq!(sweeper.number("SELECT once.sweep()"), 0);
    taker.rollback();
    taker.begin();
    assert!(taker.is_true("SELECT claim_once_per('1 hour', 'ns', 'k')"));
    taker.commit();
    assert_eq!(sweeper.number("SELECT once.sweep()"), 0);
    taker.run(EXPIRE);
    assert_eq!(sweeper.number("SELECT once.sweep()"), 1);
}

#[test]
fn two_sweeps_do_not_wait_for_each_other() {
    let database = database();
    let [mut one, mut other] = database.sessions();
    one.run("SELECT claim_once_per('1 hour', 'ns', n::text) FROM generate_series(1, 20) n");
    one.run(EXPIRE);
    one.begin();
    assert_eq!(one.number("SELECT once.sweep(5)"), 5);
    assert_eq!(other.number("SELECT once.sweep()"), 15);
    one.commit();
    assert_eq!(one.number("SELECT count(*) FROM once.claim"), 0);
}

/// The tokens of what was removed have one floor, which an open sweep keeps: another one leaves
/// work to it, and sweeps claims.
#[test]
fn two_sweeps_of_work_do_not_wait_for_each_other() {
    let database = database();
    let [mut one, mut other] = database.sessions();
    one.run("SELECT begin_once('ns', n::text) FROM generate_series(1, 20) n");
    one.run("UPDATE once.work_record SET state = 'd', expires_at = clock_timestamp()");
    assert_eq!(one.number("SELECT once.sweep(1)"), 1, "the floor is there");
    one.begin();
    assert_eq!(one.number("SELECT once.sweep(5)"), 5);
    other.run("SELECT claim_once_per('1 hour', 'ns', n::text) FROM generate_series(1, 3) n");
    other.run(EXPIRE);
    assert_eq!(other.number("SELECT once.sweep()"), 3);
    one.commit();
    assert_eq!(other.number("SELECT once.sweep()"), 14);
}

/// However short the namespace's ttl is, and however long ago the lease was over.
#[test]
fn unfinished_work_is_never_swept() {
    let database = database();
    let mut session = database.session();
    session.run("SELECT once.configure('ns', '1 microsecond')");
    let [running, retaken, ..] = [
        "running",
        "retaken",
        "given back",
        "put off",
        "done",
        "failed",
    ]
    .map(|key| {
        let begin = format!("SELECT token FROM begin_once('ns', '{key}', '1 microsecond')");
        session.number(&begin)
    });
    session.run(
        "SELECT fail_once(ns, key, token, retry_after => CASE key WHEN 'put off' THEN interval '1 hour' END)
             FROM once.work WHERE key IN ('given back', 'put off');
         SELECT complete_once(ns, key, token) FROM once.work WHERE key = 'done';
         SELECT fail_once(ns, key, token, retry => false) FROM once.work WHERE key = 'failed'",
    );
    let token = session.number("SELECT token FROM begin_once('ns', 'retaken', '1 microsecond')");
    assert!(token > retaken);
    session.run("SELECT pg_sleep(0.01)");
    assert_eq!(session.number("SELECT once.sweep()"), 2);
    assert_eq!(session.number("SELECT once.sweep()"), 0);
    assert_eq!(
        session.value("SELECT string_agg(key, ', ' ORDER BY key) FROM once.work"),
        "given back, put off, retaken, running"
    );
    for (key, token) in [("running", running), ("retaken", token)] {
        let complete = format!("SELECT complete_once('ns', '{key}', {token})");
        assert!(session.is_true(&complete), "{key}");
    }
}

/// A claimer that meets an open sweep wins once, however the sweep ends.
#[test]
fn a_claim_that_is_being_swept_is_won_once() {
    for end in ["COMMIT", "ROLLBACK"] {
        let database = database();
        let [mut sweeper, mut first, mut second] = database.sessions();
        first.run("SELECT claim_once_per('1 hour', 'ns', 'k')");
        first.run(EXPIRE);
        sweeper.begin();
        assert_eq!(sweeper.number("SELECT once.sweep()"), 1);
        for claimer in [&mut first, &mut second] {
            claimer.send("SELECT claim_once('ns', 'k')");
        }
        first.waits();
        second.waits();
        sweeper.run(end);
        let won = [first.answered_true(), second.answered_true()];
        assert!(won[0] != won[1], "{end}: {won:?}");
        let mut seen = database.session();
        seen.run("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off");
        assert_eq!(seen.number("SELECT count(*) FROM once.claim"), 1);
    }
}

/// Whoever is told that he has won is told so after the last claim has ended.
#[test]
fn sweeps_make_no_second_winner() {
    const CLIENTS: usize = 6;
    const CALLS: usize = 150;
    let database = database();
    database
        .session()
        .run("CREATE TABLE win (key text, told_at timestamptz, expires_at timestamptz)");
    let done = AtomicBool::new(false);
    let swept = thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            let mut session = database.session();
            let mut swept = 0;
            while !done.load(Ordering::Relaxed) {
                swept += session.number("SELECT once.sweep(3)");
            }
            swept
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let database = &database;
                scope.spawn(move || win(&mut database.session(), seed, CALLS))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        sweeper.join().unwrap()
    });
    let mut session = database.session();
    let wins = session.number("SELECT count(*) FROM win");
    assert!(wins > 20 && swept > 10, "{wins} wins, {swept} swept");
    let overlapping = session.rows(
        "SELECT * FROM (
             SELECT *, lead(told_at) OVER (PARTITION BY key ORDER BY told_at) AS next FROM win
         ) AS win WHERE next < expires_at",
    );
    assert!(overlapping.is_empty(), "{overlapping:?}");
}

fn win(session: &mut Session, seed: usize, calls: usize) {
    for call in 0..calls {
        let key = (call + seed) % 4;
        session.begin();
        if session.is_true(&format!("SELECT claim_once_per('5 ms', 'ns', '{key}')")) {
            session.run(&format!(
                "INSERT INTO win SELECT key, clock_timestamp(), expires_at FROM once.claim WHERE key = '{key}'"
            ));
        }
        session.commit();
    }
}

/// What holds off a takeover holds off a sweep.
#[test]
fn fenced_work_is_left_alone_and_tokens_rise() {
    let database = database();
    let [mut worker, mut sweeper] = database.sessions();
    let begin = "SELECT token FROM begin_once('ns', 'k')";
    let token = worker.number(begin);
    worker.begin();
    worker.run(&format!("SELECT fence_once('ns', 'k', {token})"));
    sweeper.send("UPDATE once.work_record SET expires_at = clock_timestamp()");
    sweeper.answered_rows();
    assert_eq!(sweeper.number("SELECT once.sweep()"), 0);
    worker.rollback();

    worker.run(&format!("SELECT complete_once('ns', 'k', {token})"));
    worker.run("UPDATE once.work_record SET expires_at = clock_timestamp()");
    sweeper.begin();
    assert_eq!(sweeper.number("SELECT once.sweep()"), 1);
    assert_eq!(
        worker.value("SELECT outcome FROM begin_once('ns', 'k')"),
        "in_progress"
    );
    sweeper.commit();
    assert!(worker.number(begin) > token);
}

/// In a table that has partitions or children a place is that of several rows. A sweep removes what it has locked,
/// no more than it is asked for, and waits for nobody.
#[test]
fn a_table_of_parts_is_swept() {
    const PARTITIONED: &str = "
        ALTER EXTENSION pg_once DROP TABLE once.claim;
        ALTER TABLE once.claim RENAME TO former;
        ALTER TABLE once.former RENAME CONSTRAINT claim_pkey TO former_pkey;
        CREATE TABLE once.claim (LIKE once.former, PRIMARY KEY (place_high, place_low, hash_high, hash_low))
            PARTITION BY HASH (hash_low);
        CREATE TABLE once.even PARTITION OF once.claim FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE once.odd PARTITION OF once.claim FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        ALTER EXTENSION pg_once ADD TABLE once.claim;
        SELECT claim_once_per('1 hour', 'ns', n::text) FROM generate_series(1, 40) n";
    const INHERITED: &str = "
        SELECT claim_once_per('1 hour', 'ns', n::text) FROM generate_series(1, 20) n;
        CREATE TABLE once.child () INHERITS (once.claim);
        INSERT INTO once.child SELECT * FROM once.claim";
    for (make, part) in [(PARTITIONED, "even"), (INHERITED, "child")] {
        let database = database();
        let [mut user, mut sweeper] = database.sessions();
        user.run(make);
        user.run(EXPIRE);
        let count = "SELECT count(*) FROM once.claim";
        assert_eq!(user.number(count), 40);
        let unsaved = user.number(
            "SELECT count(*) FROM once.check() WHERE finding = 'once.claim is not saved by pg_dump'",
        );
        assert_eq!(unsaved == 1, make == PARTITIONED);
        user.begin();
        user.run(&format!(
            "SELECT FROM once.{part} ORDER BY ctid LIMIT 1 FOR UPDATE"
        ));
        assert_eq!(sweeper.number("SELECT once.sweep(5)"), 5, "{part}");
        assert_eq!(sweeper.number(count), 35, "{part}");
        assert_eq!(sweeper.number("SELECT once.sweep()"), 34, "{part}");
        user.commit();
        assert_eq!(sweeper.number("SELECT once.sweep()"), 1, "{part}");
        assert_eq!(sweeper.number(count), 0, "{part}");
    }
}
