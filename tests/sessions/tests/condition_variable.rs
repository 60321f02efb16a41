//! A begin that waits is woken by the transaction that decides, where the library is preloaded.

use pg_once_sessions::{Cluster, Database, Session};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// What looks once a second if nobody wakes it (`SAFETY_PAUSE` in `src/work.rs`) has to be late by
/// less than this at the median, on a machine that does other work too.
const LIMIT: Duration = Duration::from_millis(250);

const WAIT: &str = "SELECT outcome FROM begin_once('ns', 'k', wait => '50 s')";

#[test]
fn a_waiter_is_woken_when_the_result_is_committed() {
    let database = database();
    let [mut worker, mut waiter, mut observer] = database.sessions();
    let mut late = Vec::new();
    for round in 0..100 {
        let token = begin(&mut worker);
        wait(&mut waiter, &mut observer);
        // Not always as long after its last look.
        thread::sleep(Duration::from_millis(round % 10));
        let complete = format!("SELECT complete_once('ns', 'k', {token})");
        late.push(late_by(&mut worker, &complete, &mut waiter, "done"));
        worker.run("SELECT forget_once('ns', 'k')");
    }
    report("complete_once", late);
}

/// Each case: what keeps others from the work, what ends that, and what the waiter is told.
#[test]
fn a_waiter_is_woken_by_everything_that_lets_it_go_on() {
    let begin = "SELECT begin_once('ns', 'k')";
    let brief = "SELECT begin_once('ns', 'k', '1 ms')";
    let fence = "SELECT fence_once('ns', 'k', token) FROM once.work";
    let fail = "SELECT fail_once('ns', 'k', token) FROM once.work";
    let finish = "SELECT fail_once('ns', 'k', token, retry => false) FROM once.work";
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    let cases: [(&str, &[&str], &str, &str); 6] = [
        ("fail_once", &[begin], fail, "run"),
        ("fail_once for good", &[begin], finish, "failed"),
        ("rollback of a begin", &["BEGIN", begin], "ROLLBACK", "run"),
        (
            "rollback to a savepoint",
            &["BEGIN", "SAVEPOINT s", begin],
            "ROLLBACK TO s",
            "run",
        ),
        (
            "commit of a fence",
            &[brief, "BEGIN", fence],
            "COMMIT",
            "run",
        ),
        ("end of a session", &["BEGIN", begin], terminate, "run"),
    ];
    for (name, before, after, outcome) in cases {
        let database = database();
        let [mut waiter, mut observer] = database.sessions();
        let mut late = Vec::new();
        for _ in 0..5 {
            let mut worker = database.session();
            before.iter().for_each(|statement| worker.run(statement));
            wait(&mut waiter, &mut observer);
            let by = match after == terminate {
                true => &mut observer,
                false => &mut worker,
            };
            late.push(late_by(by, after, &mut waiter, outcome));
            drop(worker);
            observer.run("SELECT once.purge('ns', unfinished => true)");
        }
        report(name, late);
    }
}

/// Nobody of the session that prepared it is there any more: the waiter finds out by itself.
#[test]
fn a_prepared_transaction_wakes_nobody_and_is_found_out() {
    let database = database();
    for (end, outcome) in [("COMMIT", "done"), ("ROLLBACK", "in_progress")] {
        let [mut worker, mut waiter, mut observer] = database.sessions();
        let token = begin(&mut worker);
        worker.run("BEGIN");
        worker.run(&format!("SELECT complete_once('ns', 'k', {token})"));
        worker.run(&format!("PREPARE TRANSACTION '{}'", database.name));
        waiter.send("SELECT outcome FROM begin_once('ns', 'k', wait => '3 s')");
        sleeps(&waiter, &mut observer);
        worker.run(&format!("{end} PREPARED '{}'", database.name));
        assert_eq!(waiter.answered_value(), outcome);
        worker.run("SELECT once.purge('ns', unfinished => true)");
    }
}

/// Other keys of this database and the same key of another one meet on the waiter's condition
/// variable: it looks, and sleeps again.
#[test]
fn who_is_woken_for_something_else_goes_on_waiting() {
    let (database, other) = (database(), database());
    let [mut worker, mut waiter, mut observer] = database.sessions();
    let token = begin(&mut worker);
    wait(&mut waiter, &mut observer);
    let begin_many = "SELECT begin_once('ns', n::text) FROM generate_series(1, 5000) n";
    observer.run(begin_many);
    observer.run("SELECT complete_once(ns, key, token) FROM once.work WHERE key <> 'k'");
    let mut elsewhere = other.session();
    let its_token = begin(&mut elsewhere);
    elsewhere.run(&format!("SELECT complete_once('ns', 'k', {its_token})"));
    sleeps(&waiter, &mut observer);
    worker.run(&format!("SELECT complete_once('ns', 'k', {token})"));
    assert_eq!(waiter.answered_value(), "done");
}

/// What ends a sleep, and that the session sleeps and is woken afterwards as before.
#[test]
fn a_sleep_ends_at_once_when_it_is_told_to() {
    let database = database();
    let [mut worker, mut waiter, mut observer] = database.sessions();
    let token = begin(&mut worker);
    wait(&mut waiter, &mut observer);
    let holds = format!(
        "SELECT backend_xid IS NULL AND NOT EXISTS (
             SELECT FROM pg_locks l WHERE l.pid = a.pid AND locktype NOT IN ('relation', 'virtualxid'))
         FROM pg_stat_activity a WHERE pid = {}",
        waiter.pid()
    );
    assert!(observer.is_true(&holds));
    waiter.cancel();
    waiter.answered_refusal("57014");
    waiter.run("SET statement_timeout = '100ms'");
    waiter.refused(WAIT, "57014");
    let caught = format!("DO $$ BEGIN PERFORM ({WAIT}); EXCEPTION WHEN query_canceled THEN END $$");
    waiter.run(&caught);
    waiter.run("RESET statement_timeout");
    let mut gone = database.session();
    wait(&mut gone, &mut observer);
    gone.terminate();
    assert!(["57P01", "lost"].contains(&gone.answer().unwrap_err().sqlstate()));
    wait(&mut waiter, &mut observer);
    let complete = format!("SELECT complete_once('ns', 'k', {token})");
    late_by(&mut worker, &complete, &mut waiter, "done");
}

/// A fresh database of a cluster that has the library preloaded.
fn database() -> Database<'static> {
    static PRELOADED: OnceLock<Cluster> = OnceLock::new();
    let start = || Cluster::start(&["shared_preload_libraries = 'pg_once'"]);
    PRELOADED.get_or_init(start).database()
}

fn begin(worker: &mut Session) -> i64 {
    worker.number("SELECT token FROM begin_once('ns', 'k', '1 hour')")
}

fn wait(waiter: &mut Session, observer: &mut Session) {
    waiter.send(WAIT);
    sleeps(waiter, observer);
}

fn sleeps(waiter: &Session, observer: &mut Session) {
    let asleep = format!(
        "SELECT count(*) = 1 FROM pg_stat_activity
         WHERE pid = {} AND state = 'active' AND wait_event_type = 'Extension'",
        waiter.pid()
    );
    observer.wait_until(&asleep, Duration::from_secs(20));
}

/// How long after the answer to `decision` the waiter has its own.
fn late_by(by: &mut Session, decision: &str, waiter: &mut Session, outcome: &str) -> Duration {
    by.run(decision);
    let decided = Instant::now();
    assert_eq!(waiter.answered_value(), outcome, "{decision}");
    decided.elapsed()
}

fn report(name: &str, mut late: Vec<Duration>) {
    late.sort();
    let (median, last) = (late[late.len() / 2], late[late.len() - 1]);
    println!(
        "{name}: the waiter is late by {median:.1?} at the median of {}, {last:.1?} at most",
        late.len()
    );
    assert!(median < LIMIT, "{name}: {late:?}");
}
