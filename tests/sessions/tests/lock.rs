//! Named locks: timeouts that meet the grant, cancels, prepared transactions,
//! a full lock table, and the view of who holds what.

use pg_once_sessions::{Cluster, Database, Pooler, Rows, Session, database};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many timeouts the stress of them goes on for, unless the environment
/// variable `PG_ONCE_LOCK_TIMEOUTS` says another number.
const TIMEOUTS: usize = 3_000;

/// Timeouts of a millisecond meet grants at the same moment, from 8 sessions:
/// what is answered is what is held, nothing is raised, nothing is left.
#[test]
fn what_a_timeout_answers_is_what_is_held() {
    let wanted = match std::env::var("PG_ONCE_LOCK_TIMEOUTS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => TIMEOUTS,
    };
    let database = database();
    let (timeouts, grants) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..8 {
            let (database, timeouts, grants) = (&database, &timeouts, &grants);
            scope.spawn(move || {
                let mut session = database.session();
                session.run("SET lock_timeout = '1h'");
                while timeouts.load(Ordering::Relaxed) < wanted {
                    let obtained = match fastrand::usize(..3) {
                        0 => try_for_session(&mut session),
                        kind => try_for_transaction(&mut session, kind == 1),
                    };
                    let counter = if obtained { grants } else { timeouts };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                println!("client {client} is done");
            });
        }
    });
    let (timeouts, grants) = (timeouts.into_inner(), grants.into_inner());
    println!("{timeouts} timeouts, {grants} grants");
    assert!(grants > 0);
    assert_eq!(left(&database), 0);
}

/// One try in a transaction of its own; whether it was obtained. A holder keeps
/// the lock for about as long as the others wait.
fn try_for_transaction(session: &mut Session, shared: bool) -> bool {
    let answer = session.rows(&format!(
        "BEGIN;
         SELECT with_lock('stress', 'k', '1 ms', {shared});
         SELECT count(*), count(*) FILTER (WHERE granted) FROM pg_locks
         WHERE pid = pg_backend_pid() AND objsubid = 20602;
         SELECT pg_current_xact_id_if_assigned() IS NULL, current_setting('lock_timeout');
         SELECT pg_sleep(random() * 0.003) FROM pg_locks
         WHERE pid = pg_backend_pid() AND objsubid = 20602;
         COMMIT"
    ));
    let held = if said(&answer) { "1" } else { "0" };
    assert_eq!(texts(&answer, 1), [held, held]);
    assert_eq!(texts(&answer, 2), ["t", "1h"]);
    said(&answer)
}

fn try_for_session(session: &mut Session) -> bool {
    let answer = session.rows(
        "SELECT hold_lock('stress', 'k', '1 ms');
         SELECT count(*), count(*) FILTER (WHERE granted) FROM pg_locks
         WHERE pid = pg_backend_pid() AND objsubid = 20602;
         SELECT pg_sleep(random() * 0.003) FROM pg_locks
         WHERE pid = pg_backend_pid() AND objsubid = 20602",
    );
    let held = if said(&answer) { "1" } else { "0" };
    assert_eq!(texts(&answer, 1), [held, held]);
    let released = session.is_true("SELECT release_lock('stress', 'k')");
    assert_eq!(released, said(&answer));
    assert!(!session.is_true("SELECT release_lock('stress', 'k')"));
    released
}

/// The caller's own `lock_timeout` comes at the same moment as the timeout:
/// either an answer or 55P03, and nothing is held after the one or the other.
#[test]
fn the_callers_lock_timeout_at_the_same_moment() {
    let database = database();
    thread::scope(|scope| {
        for _ in 0..8 {
            let database = &database;
            scope.spawn(move || {
                let mut session = database.session();
                session.run("SET lock_timeout = '1ms'");
                for _ in 0..150 {
                    let call = "SELECT hold_lock('stress', 'k', '1 ms')";
                    let obtained = match session.try_run(call) {
                        Ok(answer) => said(&answer),
                        Err(failure) if failure.sqlstate() == "55P03" => false,
                        Err(failure) => panic!("{failure:?}"),
                    };
                    session.run("SELECT pg_sleep(random() * 0.003)");
                    let released = session.is_true("SELECT release_lock('stress', 'k')");
                    assert_eq!(released, obtained);
                }
            });
        }
    });
    assert_eq!(left(&database), 0);
}

/// A deadlock is a deadlock, also where the wait has a timeout. One that is
/// shorter than `deadlock_timeout` ends it first.
#[test]
fn a_deadlock_is_found_within_a_timeout() {
    let database = database();
    for call in ["with_lock", "hold_lock"] {
        let [mut first, mut second] = database.sessions();
        first.run("SET deadlock_timeout = '1h'");
        first.begin();
        second.begin();
        assert!(first.is_true(&format!("SELECT {call}('n', 'a')")));
        assert!(second.is_true(&format!("SELECT {call}('n', 'b')")));
        first.send(&format!("SELECT {call}('n', 'b', '1 hour')"));
        first.waits_for(&second);
        second.run("SET deadlock_timeout = '1h'");
        assert!(!second.is_true(&format!("SELECT {call}('n', 'a', '20 ms')")));
        second.run("SET deadlock_timeout = '10ms'");
        second.refused(&format!("SELECT {call}('n', 'a', '1 hour')"), "40P01");
        second.rollback();
        // What the session holds outlives the error.
        let released = second.is_true("SELECT release_lock('n', 'b')");
        assert_eq!(released, call == "hold_lock");
        assert!(first.answered_true());
        first.commit();
        first.run("SELECT pg_advisory_unlock_all()");
        assert_eq!(left(&database), 0);
    }
}

/// Two sessions take the same keys in opposite orders, again and again, and wait: one order for all is what
/// keeps them from a deadlock.
#[test]
fn several_locks_are_taken_in_one_order() {
    const ROUNDS: usize = 200;
    let database = database();
    thread::scope(|scope| {
        for keys in ["a,b,c,d", "d,c,b,a", "b,d,a,c", "c,a"] {
            let database = &database;
            scope.spawn(move || {
                let mut session = database.session();
                session.run("SET deadlock_timeout = '20ms'");
                for _ in 0..ROUNDS {
                    session.begin();
                    assert!(session.is_true(&format!(
                        "SELECT with_locks('n', string_to_array('{keys}', ','))"
                    )));
                    session.run("SELECT pg_sleep(0.0005)");
                    session.commit();
                }
            });
        }
    });
    assert_eq!(left(&database), 0);
}

/// All or none: where one of them is not to be had in time, those before it in the order are given back.
#[test]
fn several_locks_are_all_held_or_none() {
    let database = database();
    let [mut holder, mut caller, mut other] = database.sessions();
    let all = "ARRAY['a', 'b', 'c', 'd', 'e']";
    for held in ["a", "b", "c", "d", "e"] {
        for timeout in ["0", "20 ms"] {
            holder.begin();
            assert!(holder.is_true(&format!("SELECT with_lock('n', '{held}')")));
            caller.begin();
            let call = format!("SELECT with_locks('n', {all}, '{timeout}')");
            assert!(!caller.is_true(&call), "{held} {timeout}");
            assert_eq!(caller.locks(), [] as [Vec<_>; 0]);
            assert!(caller.is_true("SELECT pg_current_xact_id_if_assigned() IS NULL"));
            holder.commit();
            assert!(caller.is_true(&call));
            assert_eq!(caller.locks().len(), 5);
            assert!(!other.is_true(&format!("SELECT with_lock('n', '{held}', '0')")));
            caller.commit();
        }
    }
    // Who waits holds what comes before in the order, and goes on when the holder ends.
    holder.begin();
    assert!(holder.is_true("SELECT with_locks('n', '{c}')"));
    caller.begin();
    caller.send(&format!("SELECT with_locks('n', {all}, '1 minute')"));
    caller.waits_for(&holder);
    holder.commit();
    assert!(caller.answered_true());
    caller.rollback();
    // Those that may be shared are, and not with one that takes them alone.
    caller.begin();
    assert!(caller.is_true(&format!("SELECT with_locks('n', {all}, shared => true)")));
    assert!(other.is_true(&format!("SELECT with_locks('n', {all}, '0', true)")));
    assert!(!other.is_true(&format!("SELECT with_locks('n', {all}, '0')")));
    caller.commit();
    assert_eq!(left(&database), 0);
}

/// Who is cancelled or ended while it waits holds nothing, and the next one
/// in turn goes on.
#[test]
fn a_wait_that_is_ended_leaves_nothing() {
    let database = database();
    for call in ["with_lock('n', 'k')", "hold_lock('n', 'k')"] {
        for timeout in ["", ", '1 hour'"] {
            let call = call.replace(')', &format!("{timeout})"));
            let [mut holder, mut cancelled, mut ended, mut next] = database.sessions();
            holder.begin();
            assert!(holder.is_true("SELECT with_lock('n', 'k')"));
            for waiter in [&mut cancelled, &mut ended, &mut next] {
                waiter.begin();
                waiter.send(&format!("SELECT {call}"));
                waiter.waits();
            }
            cancelled.cancel();
            cancelled.answered_refusal("57014");
            ended.terminate();
            assert!(ended.answer().is_err());
            cancelled.rollback();
            assert!(!cancelled.is_true("SELECT release_lock('n', 'k')"));
            holder.commit();
            assert!(next.answered_true());
            next.commit();
            next.run("SELECT pg_advisory_unlock_all()");
            assert_eq!(left(&database), 0);
        }
    }
}

/// Inside a savepoint, a block that catches errors, and another bounded call
/// of this extension.
#[test]
fn a_timeout_inside_something_else() {
    let database = database();
    let [mut holder, mut caller] = database.sessions();
    caller.run(
        "CREATE TABLE parent (k int PRIMARY KEY);
         CREATE TABLE said (obtained boolean);
         CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO said VALUES (with_lock('n', 'k', '30 ms'));
             RETURN NEW; END $$;
         CREATE TRIGGER ask BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION ask();
         CREATE FUNCTION caught(call text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE answer text; BEGIN
             EXECUTE 'SELECT ' || call INTO answer; RETURN answer;
         EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$",
    );
    assert!(holder.is_true("SELECT hold_lock('n', 'k')"));

    // The trigger's call answers within its own bound; the row is created.
    caller.run("SELECT * FROM with_row_lock(NULL::parent, '{\"k\": 1}', timeout => '1 hour')");
    assert_eq!(caller.value("SELECT obtained FROM said"), "f");
    // The outer bound is the shorter one: the whole call is over.
    caller.run(
        "CREATE OR REPLACE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO said VALUES (with_lock('n', 'k', '1 hour'));
                    RETURN NEW; END $$",
    );
    let call = "SELECT * FROM with_row_lock(NULL::parent, '{\"k\": 2}', timeout => '30 ms')";
    assert_eq!(caller.rows(call), [] as [Vec<_>; 0]);
    assert_eq!(caller.number("SELECT count(*) FROM said"), 1);

    caller.begin();
    for (call, answer) in [
        ("with_lock(''n'', ''k'', ''10 ms'')", "false"),
        ("hold_lock(''n'', ''k'', ''10 ms'')", "false"),
        ("with_lock(''n'', ''free'')", "true"),
        ("with_lock(''n'', NULL)", "22004"),
    ] {
        assert_eq!(caller.value(&format!("SELECT caught('{call}')")), answer);
    }
    assert!(caller.locks().len() == 1, "{:?}", caller.locks());
    caller.commit();
    assert!(holder.is_true("SELECT release_lock('n', 'k')"));
    assert_eq!(left(&database), 0);
}

/// A prepared transaction keeps its locks until it ends, whoever ends it. Locks
/// of the session stay with the session; both on one name cannot be prepared.
#[test]
fn prepared_transactions_keep_their_locks() {
    for end in ["COMMIT", "ROLLBACK"] {
        let database = database();
        let [mut holder, mut other] = database.sessions();
        assert!(holder.is_true("SELECT hold_lock('n', 'session')"));
        holder.begin();
        assert!(holder.is_true("SELECT with_lock('n', 'k')"));
        holder.run(&format!("PREPARE TRANSACTION '{}'", database.name));
        assert!(!holder.is_true("SELECT release_lock('n', 'k')"));
        for session in [&mut holder, &mut other] {
            assert!(!session.is_true("SELECT with_lock('n', 'k', '0')"));
            assert!(!session.is_true("SELECT with_lock('n', 'k', '10 ms')"));
        }
        assert!(!other.is_true("SELECT with_lock('n', 'session', '0')"));
        let view = "SELECT mode, granted, pid, usename, key FROM once.locks
                    WHERE name_hash = once.lock_hash('n', 'k')";
        let row = ["ExclusiveLock", "t"].map(|text| Some(text.to_owned()));
        assert_eq!(other.rows(view), [[&row[..], &[None, None, None]].concat()]);
        holder.terminate();
        assert!(other.is_true("SELECT with_lock('n', 'session', '0')"));
        other.send("SELECT with_lock('n', 'k', '1 hour')");
        other.waits_for_a_prepared_transaction();
        database
            .session()
            .run(&format!("{end} PREPARED '{}'", database.name));
        assert!(other.answered_true());

        other.begin();
        assert!(other.is_true("SELECT with_lock('n', 'k') AND hold_lock('n', 'k')"));
        other.refused(&format!("PREPARE TRANSACTION '{}'", database.name), "0A000");
        assert!(other.is_true("SELECT release_lock('n', 'k')"));
        assert_eq!(left(&database), 0);
    }
}

/// Somebody else has filled the server's lock table: 53200, nothing is held,
/// and what comes after works.
#[test]
fn a_full_lock_table() {
    let cluster = Cluster::start(&["max_locks_per_transaction = 10", "max_connections = 12"]);
    let database = cluster.database();
    let [mut hog, mut holder, mut caller] = database.sessions();
    assert!(holder.is_true("SELECT hold_lock('n', 'held')"));
    caller.run("CREATE TABLE mark (n int)");
    caller
        .run("SELECT release_lock('n', 'k'), with_lock('n', 'k', '1 s'), count(*) FROM once.locks");
    caller.run("BEGIN; INSERT INTO mark VALUES (0); SELECT 1 FROM mark; SAVEPOINT s");
    hog.run(
        "DO $$ BEGIN
             FOR i IN 1..1000000 LOOP PERFORM pg_advisory_lock(i); END LOOP;
         EXCEPTION WHEN out_of_memory THEN NULL; END $$",
    );
    let mut refusals = 0;
    for call in [
        "with_lock('n', 'k')",
        "with_lock('n', 'k', '0')",
        "with_lock('n', 'k', '1 s')",
        "hold_lock('n', 'k')",
        "hold_lock('n', 'k', '1 s')",
        "with_lock('n', 'held', '10 ms')",
        "hold_lock('n', 'held', '10 ms')",
    ] {
        match caller.try_run(&format!("SELECT {call}")) {
            Err(failure) if failure.sqlstate() == "53200" => refusals += 1,
            Ok(answer) if call.contains("held") && !said(&answer) => {}
            other => panic!("{call}: {other:?}"),
        }
        caller.run("ROLLBACK TO s");
    }
    assert!(refusals >= 5, "{refusals}");
    hog.run("SELECT pg_advisory_unlock_all()");
    assert_eq!(left(&database), 1);
    assert!(caller.is_true("SELECT with_lock('n', 'k', '1 s') AND hold_lock('n', 'l')"));
    caller.commit();
    assert!(caller.is_true("SELECT release_lock('n', 'l') AND NOT release_lock('n', 'k')"));
    assert_eq!(caller.number("SELECT count(*) FROM mark"), 1);
    assert!(!caller.is_true("SELECT with_lock('n', 'held', '0')"));
}

/// Behind a pooler that shares connections by transaction: a transaction stays
/// in its backend, so `with_lock` is right.
#[test]
fn with_lock_behind_a_transaction_pooler() {
    const TURNS: usize = 40;
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", 3);
    let mut setup = database.session();
    setup.run("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)");
    let timeouts = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            let (pooler, database, timeouts) = (&pooler, &database, &timeouts);
            scope.spawn(move || {
                let mut client = pooler.session(&database.name);
                let mut turns = 0;
                while turns < TURNS {
                    client.begin();
                    if client.is_true("SELECT with_lock('counter', 'n', '5 ms')") {
                        // Not in one statement: only the lock makes it right.
                        let n = client.number("SELECT n FROM counter");
                        client.run(&format!("UPDATE counter SET n = {}", n + 1));
                        turns += 1;
                    } else {
                        timeouts.fetch_add(1, Ordering::Relaxed);
                    }
                    client.commit();
                }
            });
        }
    });
    println!("{} timeouts", timeouts.into_inner());
    assert_eq!(setup.number("SELECT n FROM counter"), 8 * TURNS as i64);
    assert_eq!(left(&database), 0);
}

/// The trap: what `hold_lock` took stays with the pooled connection. This is
/// how to notice.
#[test]
fn hold_lock_behind_a_transaction_pooler_is_a_trap() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", 2);
    let mut direct = database.session();
    let [mut first, mut second] = [(); 2].map(|()| pooler.session(&database.name));
    assert!(first.is_true("SELECT hold_lock('n', 'k')"));
    let holder = direct.value("SELECT pid FROM once.locks");

    // Another client gets the backend that has the lock, and with it the lock.
    second.begin();
    assert_eq!(second.value("SELECT pg_backend_pid()"), holder);
    assert!(second.is_true("SELECT with_lock('n', 'k', '0')"));
    // The first is served by another backend now: it has nothing to release.
    assert!(!first.is_true("SELECT release_lock('n', 'k')"));
    assert!(!first.is_true("SELECT with_lock('n', 'k', '0')"));
    second.commit();

    // Both are gone, and the lock is not: a holder outside a transaction.
    drop((first, second));
    thread::sleep(Duration::from_millis(300));
    assert!(!direct.is_true("SELECT with_lock('n', 'k', '0')"));
    let idle = "SELECT l.pid FROM once.locks l JOIN pg_stat_activity a USING (pid)
                WHERE l.kind = 'lock' AND l.granted AND a.xact_start IS NULL";
    assert_eq!(direct.value(idle), holder);
    direct.run(&format!("SELECT pg_terminate_backend({holder}, 20000)"));
    assert_eq!(left(&database), 0);

    // By session it is right: the pooler's DISCARD ALL releases it.
    let pooler = Pooler::start(&cluster, "session", 2);
    let mut client = pooler.session(&database.name);
    assert!(client.is_true("SELECT hold_lock('n', 'k') AND hold_lock('n', 'l')"));
    assert!(client.is_true("SELECT release_lock('n', 'k')"));
    drop(client);
    assert!(direct.is_true("SELECT with_lock('n', 'l', '20 s')"));
}

/// Without preload a session knows the names of what it holds, and of nothing
/// else; since when others wait is known.
#[test]
fn names_without_preload() {
    let database = database();
    let [mut holder, mut waiter, mut witness] = database.sessions();
    waiter.run("SET application_name = 'second'");
    assert!(holder.is_true("SELECT hold_lock('n', 'k')"));
    waiter.send("SELECT with_lock('n', 'k')");
    waiter.waits_for(&holder);
    let seen = "SELECT ns, key, granted, since IS NOT NULL, pid, usename, application_name
                FROM once.locks ORDER BY granted DESC";
    let row = |name: bool, granted: bool, dated: bool, session: &Session, application: &str| {
        let text = |text: &str| Some(text.to_owned());
        let truth = |truth: bool| text(if truth { "t" } else { "f" });
        vec![
            text("n").filter(|_| name),
            text("k").filter(|_| name),
            truth(granted),
            truth(dated),
            text(&session.pid().to_string()),
            text("postgres"),
            text(application),
        ]
    };
    let own = [
        row(true, true, true, &holder, ""),
        row(true, false, true, &waiter, "second"),
    ];
    assert_eq!(holder.rows(seen), own);
    let others = [
        row(false, true, false, &holder, ""),
        row(false, false, true, &waiter, "second"),
    ];
    assert_eq!(witness.rows(seen), others);
    let known = "SELECT count(*) FROM once.locks WHERE name_hash = once.lock_hash('n', 'k')";
    assert_eq!(witness.number(known), 2);

    // Names of released locks make room: as many as are held are known.
    assert!(holder.is_true("SELECT release_lock('n', 'k')"));
    assert!(waiter.answered_true());
    holder.run("SELECT with_lock('n', i::text) FROM generate_series(1, 1000) i");
    holder.begin();
    holder.run("SELECT with_lock('m', i::text) FROM generate_series(1, 500) i");
    let all = "SELECT count(*) FROM once.locks WHERE ns = 'm' AND since >= now()";
    assert_eq!(holder.number(all), 500);
    holder.commit();
    assert_eq!(left(&database), 0);

    // However the session came to hold it: free, held by the transaction, waited for.
    waiter.run("BEGIN; SELECT with_lock('s', 'waited for')");
    holder.send(
        "BEGIN; SELECT hold_lock('s', 'free'), with_lock('s', 'both'), hold_lock('s', 'both'),
                       hold_lock('s', 'waited for')",
    );
    holder.waits_for(&waiter);
    waiter.commit();
    holder.answered_rows();
    holder.commit();
    for i in 0..300 {
        holder.run(&format!("SELECT with_lock('churn', '{i}')"));
    }
    let kept = "SELECT string_agg(key, ', ' ORDER BY key) FROM once.locks WHERE ns = 's'";
    assert_eq!(holder.value(kept), "both, free, waited for");
}

/// With preload everybody's names are known; those in use are never given up.
#[test]
fn names_with_preload() {
    let cluster = Cluster::start(&[
        "shared_preload_libraries = 'pg_once'",
        "pg_once.lock_names = 64",
    ]);
    let database = cluster.database();
    let [mut holder, mut waiter, mut witness] = database.sessions();
    let names =
        "SELECT ns, key, mode, granted, since BETWEEN now() - interval '1 minute' AND now(), pid
                 FROM once.locks WHERE ns = 'n' ORDER BY granted DESC, mode";
    let row = |mode: &str, granted: &str, session: &Session| {
        ["n", "k", mode, granted, "t", &session.pid().to_string()].map(|text| Some(text.to_owned()))
    };
    for (shared, mode) in [("false", "ExclusiveLock"), ("true", "ShareLock")] {
        assert!(holder.is_true(&format!("SELECT hold_lock('n', 'k', shared => {shared})")));
        waiter.begin();
        waiter.send("SELECT with_lock('n', 'k')");
        waiter.waits_for(&holder);
        // Others take many more than there is room for, one after the other.
        witness.run("SELECT with_lock('churn', i::text) FROM generate_series(1, 40) i");
        for i in 0..40 {
            witness.run(&format!(
                "SELECT with_lock('churn {i}', i::text) FROM generate_series(1, 40) i"
            ));
        }
        let expected = [row(mode, "t", &holder), row("ExclusiveLock", "f", &waiter)];
        assert_eq!(witness.rows(names), expected);
        assert!(holder.is_true(&format!("SELECT release_lock('n', 'k', {shared})")));
        assert!(waiter.answered_true());
        assert_eq!(witness.rows(names), [row("ExclusiveLock", "t", &waiter)]);
        waiter.commit();
    }

    // More are held than there is room for: some are not named, none wrongly.
    holder.begin();
    holder.run("SELECT with_lock('many', i::text) FROM generate_series(1, 300) i");
    let (all, named, wrong) = (
        "SELECT count(*) FROM once.locks",
        "SELECT count(*) FROM once.locks WHERE ns IS NOT NULL",
        "SELECT count(*) FROM once.locks WHERE ns IS NOT NULL
             AND name_hash <> once.lock_hash(coalesce(ns, '-'), coalesce(key, '-'))",
    );
    assert_eq!(witness.number(all), 300);
    let seen = witness.number(named);
    assert!((32..=64).contains(&seen), "{seen}");
    assert_eq!(witness.number(wrong), 0);
    assert_eq!(holder.number(named), 300);
    holder.commit();

    // The turn at a row, a prepared transaction, another database.
    holder.run("CREATE TABLE book (title text)");
    holder.begin();
    holder.run("SELECT with_row_lock(NULL::book, '{\"title\": \"Dune\"}')");
    let turn = "SELECT kind, ns, key FROM once.locks";
    let row = ["row", "public.book", r#"{"title":"Dune"}"#].map(|text| Some(text.to_owned()));
    assert_eq!(witness.rows(turn), [row.to_vec()]);
    assert_eq!(cluster.database().session().rows(turn), [] as [Vec<_>; 0]);
    holder.run("PREPARE TRANSACTION 'turn'");
    assert_eq!(witness.rows(turn), [row.to_vec()]);
    witness.run("COMMIT PREPARED 'turn'");
    assert_eq!(left(&database), 0);

    // After a crash there are no locks, and names are kept anew.
    assert!(holder.is_true("SELECT hold_lock('n', 'k')"));
    cluster.kill_backend(&holder);
    // The server ends all others before it recovers.
    let started = Instant::now();
    while witness.try_run("SELECT 1").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(30), "no crash");
        thread::sleep(Duration::from_millis(5));
    }
    cluster.wait_until_ready();
    let [mut holder, mut witness] = database.sessions();
    assert_eq!(witness.number(all), 0);
    assert!(holder.is_true("SELECT hold_lock('after', 'crash')"));
    assert_eq!(
        witness.value("SELECT ns || key FROM once.locks"),
        "aftercrash"
    );
}

/// Who reads whose names: the role that asked, a namespace's role, and those
/// who may see what everybody does.
#[test]
fn names_are_private() {
    let cluster = Cluster::start(&["shared_preload_libraries = 'pg_once'"]);
    let database = cluster.database();
    let mut admin = database.session();
    admin.run(
        "CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN;
         CREATE ROLE stats LOGIN IN ROLE pg_read_all_stats; CREATE ROLE team;
         GRANT team TO ann, bob; CREATE ROLE deputy LOGIN IN ROLE ann;
         SELECT once.configure('team', allowed_role => 'team')",
    );
    let mut ann = database.session_as("ann");
    assert!(ann.is_true("SELECT hold_lock('team', 't') AND hold_lock('open', 'o')"));
    let reads = |role: &str, expected: &str| {
        let mut session = database.session_as(role);
        let names = "SELECT coalesce(string_agg(ns, ' ' ORDER BY ns), '-') FROM once.locks";
        assert_eq!(session.value(names), expected, "{role}");
        assert_eq!(session.number("SELECT count(*) FROM once.locks"), 2);
        // Not by asking the function for it either.
        let asked = "SELECT coalesce(string_agg(ns, ' ' ORDER BY ns), '-') FROM once.locks l,
                     LATERAL once.lock_name(20602, l.name_hash, pg_backend_pid(), l.mode)";
        let asked = asked
            .replace("(ns,", "(lock_name.ns,")
            .replace("BY ns", "BY lock_name.ns");
        assert_eq!(session.value(&asked), expected, "{role}");
    };
    reads("ann", "open team");
    reads("deputy", "open team");
    reads("bob", "team");
    reads("eve", "-");
    reads("stats", "open team");
    reads("postgres", "open team");

    // A function with its owner's rights does not give its names to its caller.
    admin.run(
        "CREATE FUNCTION taken() RETURNS boolean LANGUAGE sql SECURITY DEFINER
             AS $$ SELECT with_lock('inner', 'secret') $$",
    );
    let mut eve = database.session_as("eve");
    eve.begin();
    assert!(eve.is_true("SELECT taken()"));
    let own = "SELECT ns IS NULL AND key IS NULL FROM once.locks WHERE pid = pg_backend_pid()";
    assert!(eve.is_true(own));
    eve.refused("SELECT with_lock('team', 't', '0')", "42501");
}

/// Somebody keeps the table of namespaces locked, and the session has to read it.
#[test]
fn a_timeout_bounds_the_look_at_the_namespace() {
    let database = database();
    let [mut admin, mut caller] = database.sessions();
    admin.run("BEGIN; LOCK TABLE once.access_policy");
    caller.run("SET statement_timeout = '20s'; BEGIN");
    for timeout in ["0", "20 ms"] {
        for call in ["with_lock", "hold_lock"] {
            let call = format!("SELECT {call}('n', 'k', '{timeout}')");
            assert!(!caller.is_true(&call), "{call}");
        }
        let call = format!("SELECT try_claim_once('n', 'k', '{timeout}')");
        assert_eq!(caller.value(&call), "in_progress");
    }
    caller.run("SET LOCAL lock_timeout = '20ms'; SAVEPOINT s");
    caller.refused("SELECT with_lock('n', 'k', '1 hour')", "55P03");
    caller.run("ROLLBACK TO s; RESET lock_timeout");
    caller.send("SELECT with_lock('n', 'k', '1 hour')");
    caller.waits_for(&admin);
    admin.rollback();
    assert!(caller.answered_true());
    assert_eq!(caller.value("SELECT try_claim_once('n', 'k')"), "won");
    caller.commit();
    // What is known is not read again.
    admin.run("BEGIN; LOCK TABLE once.access_policy");
    assert!(caller.is_true("SELECT with_lock('n', 'k', '0')"));
    admin.rollback();
    assert_eq!(left(&database), 0);
}

/// How many calls are compared with the model, unless the environment variable
/// `PG_ONCE_LOCK_CALLS` says another number.
const CALLS: usize = 1_500;

/// Random calls, savepoints and ends of transactions, with and without waiting
/// for another session: what is answered and held is what a model says.
#[test]
fn random_calls_hold_what_a_model_says() {
    let calls = match std::env::var("PG_ONCE_LOCK_CALLS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => CALLS,
    };
    let database = database();
    let [mut caller, mut other] = database.sessions();
    let (mut own, mut others) = (Holds::default(), Holds::default());
    let mut done: Vec<String> = Vec::new();
    for _ in 0..calls {
        let lock = (fastrand::usize(..3), fastrand::bool());
        let (key, shared) = lock;
        let arguments = format!("'n', '{key}', shared => {shared}");
        let said = match fastrand::usize(..12) {
            0 if own.levels.is_empty() => {
                own.levels.push(BTreeSet::new());
                caller.begin();
                "BEGIN".to_owned()
            }
            0 | 1 if !own.levels.is_empty() && own.levels.len() < 5 => {
                let statement = format!("SAVEPOINT s{}", own.levels.len());
                own.levels.push(BTreeSet::new());
                caller.run(&statement);
                statement
            }
            2 | 3 if own.levels.len() > 1 => {
                let top = own.levels.pop().unwrap();
                let level = own.levels.len();
                let is_kept = fastrand::bool();
                if is_kept {
                    own.levels.last_mut().unwrap().extend(top);
                } else {
                    caller.run(&format!("ROLLBACK TO s{level}"));
                }
                caller.run(&format!("RELEASE s{level}"));
                format!("end of s{level}, kept: {is_kept}")
            }
            2 if !own.levels.is_empty() => {
                own.levels.clear();
                let end = ["COMMIT", "ROLLBACK"][fastrand::usize(..2)];
                caller.run(end);
                end.to_owned()
            }
            4 => {
                let released = caller.is_true(&format!("SELECT release_lock({arguments})"));
                assert_eq!(released, own.release(lock), "{done:#?}, release {lock:?}");
                format!("release {lock:?}: {released}")
            }
            5 if fastrand::usize(..20) == 0 => {
                own.session.clear();
                caller.run("SELECT pg_advisory_unlock_all()");
                "unlock all".to_owned()
            }
            6 | 7 => {
                let call = format!("SELECT hold_lock('n', '{key}', '0', {shared})");
                let obtained = other.is_true(&call);
                assert_eq!(
                    obtained,
                    others.has(lock) || !own.refuses(lock),
                    "{done:#?}, {call}"
                );
                if obtained {
                    *others.session.entry(lock).or_default() += 1;
                }
                format!("the other: {call}: {obtained}")
            }
            8 => {
                others.session.clear();
                other.run("SELECT pg_advisory_unlock_all()");
                "the other: unlock all".to_owned()
            }
            _ => {
                let is_of_session = fastrand::bool();
                let function = if is_of_session {
                    "hold_lock"
                } else {
                    "with_lock"
                };
                let timeout = ["NULL", "'0'", "'2 ms'", "'1 hour'"][fastrand::usize(..4)];
                let call = format!("{function}('n', '{key}', {timeout}, {shared})");
                // An error after it: nothing of the transaction's is left, the session's stays.
                let fails = own.levels.len() > 1 && fastrand::usize(..4) == 0;
                caller.send(&match fails {
                    true => format!("SELECT 1 / (CASE WHEN {call} THEN 0 ELSE 1 END)"),
                    false => format!("SELECT {call}"),
                });
                let mut obtained = own.has(lock) || !others.refuses(lock);
                if !obtained && ["NULL", "'1 hour'"].contains(&timeout) {
                    caller.waits_for(&other);
                    others.session.clear();
                    other.run("SELECT pg_advisory_unlock_all()");
                    obtained = true;
                }
                match (fails, obtained) {
                    (false, _) => assert_eq!(caller.answered_true(), obtained, "{done:#?}, {call}"),
                    (true, false) => assert_eq!(caller.answered_value(), "1", "{done:#?}, {call}"),
                    (true, true) => {
                        caller.answered_refusal("22012");
                        caller.run(&format!("ROLLBACK TO s{}", own.levels.len() - 1));
                        own.levels.last_mut().unwrap().clear();
                    }
                }
                if obtained && is_of_session {
                    *own.session.entry(lock).or_default() += 1;
                } else if obtained
                    && !fails
                    && let Some(level) = own.levels.last_mut()
                {
                    level.insert(lock);
                }
                format!("{call}, fails: {fails}: {obtained}")
            }
        };
        done.push(said);
        let held = "SELECT key, (mode = 'ShareLock')::text FROM once.locks
                    WHERE granted AND pid = pg_backend_pid() ORDER BY 1, 2";
        let row =
            |(key, shared): (usize, bool)| [key.to_string(), shared.to_string()].map(Some).to_vec();
        let expected: Rows = own.all().into_iter().map(row).collect();
        assert_eq!(caller.rows(held), expected, "{done:#?}");
    }
    if !own.levels.is_empty() {
        caller.rollback();
    }
    for session in [&mut caller, &mut other] {
        session.run("SELECT pg_advisory_unlock_all()");
    }
    assert_eq!(left(&database), 0);
}

/// Of one session, which keys it holds, and whether shared.
#[derive(Default)]
struct Holds {
    /// Of the transaction, and of each savepoint in it.
    levels: Vec<BTreeSet<(usize, bool)>>,
    session: BTreeMap<(usize, bool), usize>,
}

impl Holds {
    fn all(&self) -> BTreeSet<(usize, bool)> {
        let levels = self.levels.iter().flatten();
        levels.chain(self.session.keys()).copied().collect()
    }

    fn has(&self, lock: (usize, bool)) -> bool {
        self.all().contains(&lock)
    }

    /// Whether somebody else cannot have this.
    fn refuses(&self, (key, shared): (usize, bool)) -> bool {
        self.has((key, false)) || (!shared && self.has((key, true)))
    }

    fn release(&mut self, lock: (usize, bool)) -> bool {
        let Some(holds) = self.session.get_mut(&lock) else {
            return false;
        };
        *holds -= 1;
        if *holds == 0 {
            self.session.remove(&lock);
        }
        true
    }
}

/// What the first of several statements in one message answers.
fn said(answer: &Rows) -> bool {
    answer[0][0].as_deref() == Some("t")
}

fn texts(answer: &Rows, row: usize) -> Vec<&str> {
    answer[row]
        .iter()
        .map(|text| text.as_deref().unwrap_or("null"))
        .collect()
}

/// The named locks that anybody holds or waits for, as soon as the sessions
/// that ended before are gone.
fn left(database: &Database) -> i64 {
    let mut session = database.session();
    let started = Instant::now();
    loop {
        let left = session.number(
            "SELECT count(*) FROM pg_locks WHERE objsubid = 20602 AND database =
             (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        let others = session.is_true(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                            WHERE objsubid = 20602 AND state = 'active')",
        );
        if left == 0 || !others || started.elapsed() > Duration::from_secs(10) {
            return left;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Everybody reads the numbers in pg_locks. What is computed elsewhere for a guessed name is none of
/// them; in one database a name has one number, in all sessions and for the turns at rows too.
#[test]
fn a_number_is_of_one_cluster_and_one_database() {
    const HASH: &str = "SELECT once.lock_hash('n', 'k')";
    const TURN: &str = "SELECT classid::text || ' ' || objid FROM pg_locks WHERE objsubid = 20601";
    let clusters = [
        Cluster::start_of_own_initdb(),
        Cluster::start_of_own_initdb(),
    ];
    let (mut numbers, mut turns) = (BTreeSet::new(), BTreeSet::new());
    for cluster in &clusters {
        for database in [cluster.database(), cluster.database()] {
            let [mut one, mut other] = database.sessions();
            assert_eq!(one.value(HASH), other.value(HASH));
            assert!(numbers.insert(one.value(HASH)), "{numbers:?}");
            one.run("SELECT hold_lock('n', 'k')");
            assert!(!other.is_true("SELECT with_lock('n', 'k', '0')"));

            one.run("CREATE TABLE book (title text)");
            one.begin();
            one.run("SELECT with_row_lock(NULL::book, '{\"title\": \"Dune\"}')");
            turns.insert(one.value(TURN));
            other.send("SELECT with_row_lock(NULL::book, '{\"title\": \"Dune\"}')");
            other.waits_for(&one);
            one.commit();
            other.answered_rows();
        }
    }
    assert_eq!(turns.len(), 4, "{turns:?}");
}
