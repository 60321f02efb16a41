//! Work: one of many runs it, waits hold nothing, tokens rise whatever happens
//! to records and servers, and a stale token writes nothing.

use pg_once_sessions::pooler::Pooler;
use pg_once_sessions::session::first_to_answer;
use pg_once_sessions::{Barrier, Cluster, Database, Failure, Rows, Session, database};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// G1, G10: new work, and work whose lease is over.
#[test]
fn one_of_eight_clients_runs_each_key() {
    const ROUNDS: usize = 40;
    let database = database();
    let barrier = Barrier::new(CLIENTS);
    let told: Vec<Vec<Told>> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                let mut told = Vec::new();
                for round in 0..ROUNDS {
                    // Others begin in a transaction, and are open for a moment.
                    let open = (client + round).is_multiple_of(2);
                    let key = format!("k{}", round / 2);
                    if round % 2 == 1 {
                        session.run("SELECT pg_sleep(0.02)");
                    }
                    barrier.wait();
                    if open {
                        session.begin();
                    }
                    let lease = ["1 ms", "1 hour"][round % 2];
                    told.push(begin(&mut session, &key, &format!("'{lease}'")));
                    if open {
                        session.commit();
                    }
                    barrier.wait();
                }
                told
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    for key in 0..ROUNDS / 2 {
        let tokens = |round: usize| {
            let mut run: Vec<i64> = told
                .iter()
                .filter_map(|client| client[round].token)
                .collect();
            run.sort_unstable();
            run
        };
        let (first, second) = (tokens(2 * key), tokens(2 * key + 1));
        // A lease of a millisecond may be over while others still come.
        assert!(!first.is_empty());
        assert!(first.is_sorted_by(|a, b| a < b), "{first:?}");
        assert_eq!(second.len(), 1, "the lease of an hour is taken once");
        assert!(second[0] > *first.last().unwrap());
    }
}

#[test]
fn an_open_begin_is_passed_by() {
    for (end, next) in [("COMMIT", "in_progress"), ("ROLLBACK", "run")] {
        let database = database();
        let [mut first, mut second] = database.sessions();
        second.run("SET lock_timeout = '10s'");
        first.begin();
        assert_eq!(begin(&mut first, "k", "'1 hour'").outcome, "run");
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            second.begin_at(level);
            let told = begin(&mut second, "k", "'1 hour'");
            assert_eq!(
                (told.outcome.as_str(), told.has_lease),
                ("in_progress", false)
            );
            assert_eq!(second.rows(NO_XID), [[None]]);
            assert_eq!(locks(&second), NOTHING);
            second.commit();
        }
        first.run(end);
        assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, next);
    }
}

#[test]
fn a_rolled_back_savepoint_gives_the_work_free() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    first.run("BEGIN; SAVEPOINT s");
    assert_eq!(begin(&mut first, "k", "'1 hour'").outcome, "run");
    assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "in_progress");
    first.run("ROLLBACK TO s");
    assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "run");
    first.commit();
}

#[test]
fn a_prepared_begin_and_a_prepared_fence_hold_off() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    first.begin();
    begin(&mut first, "k", "'1 ms'");
    first.run(&format!("PREPARE TRANSACTION '{}'", database.name));
    assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "in_progress");
    first.run(&format!("COMMIT PREPARED '{}'", database.name));
    let token = first.number("SELECT token FROM once.work");
    first.begin();
    first.run(&format!("SELECT fence_once('ns', 'k', {token})"));
    first.run(&format!("PREPARE TRANSACTION '{}'", database.name));
    assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "in_progress");
    second.run(&format!("SELECT renew_once('ns', 'k', {token}, '1 ms')"));
    first.run(&format!("ROLLBACK PREPARED '{}'", database.name));
    second.run("SELECT pg_sleep(0.01)");
    let next = begin(&mut second, "k", "'1 hour'");
    assert!(next.token.unwrap() > token);
}

/// Giving the work back changes no key column, so the fence's lock need not wait for it; the begin
/// behind it has a lock that it waits for. Then the token is another one.
#[test]
fn the_fence_is_closed_to_a_token_that_was_overtaken_while_it_waited() {
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        for (end, stays) in [("COMMIT", false), ("ROLLBACK", true)] {
            let database = database();
            let [mut first, mut second] = database.sessions();
            let token = begin(&mut first, "k", "'1 hour'").token.unwrap();
            second.begin();
            second.run(&format!("SELECT fail_once('ns', 'k', {token})"));
            assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "run");
            first.begin_at(level);
            first.send(&format!("SELECT fence_once('ns', 'k', {token})"));
            first.waits_for(&second);
            second.run(end);
            if stays {
                first.answered_rows();
            } else {
                let refusal = first.answered_refusal("55000");
                assert!(refusal.message().contains("lease lost"));
            }
            first.rollback();
        }
    }
}

/// A third session gives the work back and begins it again, which keeps the record locked, and is rolled back. Both
/// who waited for it go on: one gives the work back, the other passes the fence. PostgreSQL's own lock of
/// the second misses the version that the first has made meanwhile.
#[test]
fn the_fence_holds_off_a_takeover_beside_a_change_that_was_rolled_back() {
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        for _ in 0..5 {
            let database = database();
            let [mut taker, mut fencer, mut third] = database.sessions();
            let token = begin(&mut fencer, "k", "'1 ms'").token.unwrap();
            third.run(&format!(
                "SELECT pg_sleep(0.01); BEGIN; SELECT fail_once('ns', 'k', {token})"
            ));
            taker.begin();
            taker.send(&format!("SELECT fail_once('ns', 'k', {token})"));
            taker.waits_for(&third);
            assert_eq!(begin(&mut third, "k", "'1 ms'").outcome, "run");
            fencer.begin_at(level);
            fencer.send(&format!("SELECT fence_once('ns', 'k', {token})"));
            fencer.waits_for(&third);
            third.rollback();
            taker.answered_rows();
            // Whoever comes first keeps the other one off.
            let observer = &mut database.session();
            let fenced = fencer.answer_or_wait(observer);
            let has_passed = fenced.as_ref().is_some_and(Result::is_ok);
            let taken = begin(&mut taker, "k", "'1 hour'").outcome == "run";
            assert!(
                !(has_passed && taken),
                "{level}: the fence was passed and the work taken"
            );
            taker.commit();
            if fenced.is_none() {
                let _ = fencer.answer();
            }
            fencer.rollback();
        }
    }
}

/// Who waits to forget work that is begun anew meanwhile has nothing to forget, and holds off nobody.
#[test]
fn what_is_not_forgotten_is_not_locked() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    let token = begin(&mut first, "k", "'1 hour'").token.unwrap();
    first.run(&format!("SELECT complete_once('ns', 'k', {token})"));
    first.begin();
    assert!(first.is_true("SELECT forget_once('ns', 'k')"));
    let token = begin(&mut first, "k", "'1 hour'").token.unwrap();
    second.begin();
    second.send("SELECT forget_once('ns', 'k')");
    second.waits_for(&first);
    first.commit();
    assert!(!second.answered_true());
    first.run("SET lock_timeout = '5s'");
    first.run(&format!("SELECT complete_once('ns', 'k', {token})"));
    second.commit();
}

/// A worker that was started anew asks again: it has its token as soon as no fence of it is open, and a fence
/// holds off nobody else's name either.
#[test]
fn a_worker_that_asks_again_waits_for_its_open_fence() {
    let database = database();
    let [mut old, mut new, mut other] = database.sessions();
    let begin = |wait: &str, worker: &str| {
        format!(
            "SELECT outcome, token, attempt FROM begin_once('ns', 'k', '1 ms', wait => '{wait}', worker => '{worker}')"
        )
    };
    let outcome = |session: &mut Session, sql: &str| session.rows(sql).remove(0).remove(0).unwrap();
    let first = old.rows(&begin("0", "host")).remove(0);
    let token = first[1].clone().unwrap();
    for (end, attempt) in [("COMMIT", "2"), ("ROLLBACK", "3")] {
        old.begin();
        old.run(&format!("SELECT fence_once('ns', 'k', {token})"));
        for session in [&mut new, &mut other] {
            for name in ["host", "another"] {
                assert_eq!(outcome(session, &begin("0", name)), "in_progress");
                assert_eq!(locks(session), NOTHING);
            }
        }
        new.send(&begin("20 s", "host"));
        sleeps(&database, &new);
        old.run(end);
        let told = new.answered_rows().remove(0);
        assert_eq!(
            told,
            ["run", &token, attempt].map(|text| Some(text.to_owned()))
        );
    }
    // An open begin of its own is passed by, and one that is rolled back counts for nothing.
    old.begin();
    assert_eq!(outcome(&mut old, &begin("0", "host")), "run");
    assert_eq!(outcome(&mut new, &begin("0", "host")), "in_progress");
    old.rollback();
    let told = new.rows(&begin("0", "host")).remove(0);
    assert_eq!(told, ["run", &token, "4"].map(|text| Some(text.to_owned())));
    // Another name takes over after the lease; the token is stale then, and so is the name.
    new.run("SELECT pg_sleep(0.01)");
    let taken = "SELECT outcome FROM begin_once('ns', 'k', worker => 'another')";
    assert_eq!(other.value(taken), "run");
    new.refused(&format!("SELECT fence_once('ns', 'k', {token})"), "55000");
    assert_eq!(outcome(&mut new, &begin("0", "host")), "in_progress");
}

/// The lease of a worker that asks again is known, though its fence is open.
#[test]
fn the_lease_is_told_of_a_record_that_is_fenced() {
    let database = database();
    let [mut old, mut new] = database.sessions();
    let begin =
        "SELECT lease_until, attempt FROM begin_once('ns', 'k', '1 hour', worker => 'host')";
    let lease = old.rows(begin).remove(0);
    old.begin();
    old.run("SELECT fence_once('ns', 'k', (SELECT token FROM once.work WHERE key = 'k'))");
    assert_eq!(new.rows(begin).remove(0), lease);
    old.commit();
    assert_eq!(new.rows(begin).remove(0)[1], Some("2".to_owned()));
}

/// It bounds the wait for somebody's work as any wait for a lock, and a shorter wait is an answer.
#[test]
fn a_wait_for_work_ends_with_the_callers_lock_timeout() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    first.run("SELECT begin_once('ns', 'committed')");
    first.begin();
    first.run("SELECT begin_once('ns', 'open')");
    second.run("SET lock_timeout = '200ms'");
    for key in ["committed", "open"] {
        let begin =
            |wait| format!("SELECT outcome FROM begin_once('ns', '{key}', wait => '{wait}')");
        second.refused(&begin("20 s"), "55P03");
        assert_eq!(second.value(&begin("50 ms")), "in_progress");
    }
    first.rollback();
}

/// Seven wait, and all are told the result of the one.
#[test]
fn those_who_wait_are_told_the_result() {
    let database = database();
    let mut first = database.session();
    let token = begin(&mut first, "k", "'1 hour'").token.unwrap();
    let mut waiting = Vec::from_iter((0..7).map(|_| database.session()));
    for session in &mut waiting {
        session.send("SELECT outcome, result FROM begin_once('ns', 'k', wait => '50 s')");
    }
    for session in &mut waiting {
        sleeps(&database, session);
    }
    let result = r#"{"a": [1.50, null, "\\u00e9\n"], "long": 1}"#;
    first.run(&format!(
        "SELECT complete_once('ns', 'k', {token}, '{result}')"
    ));
    let stored = first.value("SELECT result::text FROM once.work_record");
    for session in &mut waiting {
        assert_eq!(
            session.answered_rows(),
            [[Some("done".to_owned()), Some(stored.clone())]]
        );
    }
}

/// Of those who wait for the end of a lease one runs the work, and the others
/// go on waiting for that one.
#[test]
fn one_of_those_who_wait_runs_the_work_after_the_lease() {
    let database = database();
    let mut first = database.session();
    begin(&mut first, "k", "'500 ms'");
    let mut waiting = Vec::from_iter((0..6).map(|_| database.session()));
    for session in &mut waiting {
        session.send(
            "SELECT outcome, token, attempt FROM begin_once('ns', 'k', '1 hour', wait => '50 s')",
        );
    }
    let at = first_to_answer(&mut waiting);
    let mut runner = waiting.swap_remove(at);
    let told = runner.answered_rows().remove(0);
    assert_eq!(told[0].as_deref(), Some("run"));
    assert_eq!(told[2].as_deref(), Some("2"));
    for session in &mut waiting {
        sleeps(&database, session);
    }
    let token = told[1].as_ref().unwrap();
    runner.run(&format!("SELECT complete_once('ns', 'k', {token})"));
    for session in &mut waiting {
        let told = session.answered_rows().remove(0);
        assert_eq!(told[0].as_deref(), Some("done"));
    }
}

/// What a wait holds: no lock, no transaction id. And what ends it.
#[test]
fn a_wait_holds_nothing_and_ends_at_once() {
    for level in ["", "REPEATABLE READ", "SERIALIZABLE"] {
        for open in [false, true] {
            let database = database();
            let [mut first, mut second, mut observer] = database.sessions();
            if open {
                first.begin();
            }
            begin(&mut first, "k", "'1 hour'");
            if !level.is_empty() {
                second.begin_at(level);
            }
            second.send(WAIT);
            sleeps(&database, &second);
            assert_eq!(locks(&second), NOTHING);
            let state = format!(
                "SELECT backend_xid IS NULL AND wait_event_type = 'Extension'
                     AND (current_setting('server_version_num')::int < 170000
                          OR wait_event = 'PgOnceBegin')
                 FROM pg_stat_activity WHERE pid = {} AND wait_event_type = 'Extension'",
                second.pid()
            );
            // It wakes now and then: a look that meets it awake proves nothing.
            let seen = (0..200).find_map(|_| observer.rows(&state).pop());
            assert_eq!(seen, Some(vec![Some("t".to_owned())]));
            let asked = Instant::now();
            second.cancel();
            second.answered_refusal("57014");
            assert!(asked.elapsed() < Duration::from_secs(10));
            if !level.is_empty() {
                second.rollback();
            }
            second.send(WAIT);
            sleeps(&database, &second);
            second.terminate();
            assert!(["57P01", "lost"].contains(&second.answer().unwrap_err().sqlstate()));
        }
    }
    let database = database();
    let [mut first, mut second] = database.sessions();
    begin(&mut first, "k", "'1 hour'");
    second.run("SET statement_timeout = '100ms'");
    second.refused(WAIT, "57014");
}

#[test]
fn a_wait_is_no_longer_than_it_was_to_be() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    begin(&mut first, "k", "'1 hour'");
    let begun = Instant::now();
    let told = second.rows("SELECT outcome FROM begin_once('ns', 'k', wait => '300 ms')");
    assert_eq!(told, [[Some("in_progress".to_owned())]]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    second.begin();
    second.run("SELECT begin_once('ns', 'k', wait => '10 ms')");
    assert_eq!(second.rows(NO_XID), [[None]]);
    second.run("CREATE TABLE still_usable ()");
    second.commit();
}

/// A loser's look leaves no lock in the way of the winner's heartbeat.
#[test]
fn a_begin_that_is_told_otherwise_locks_nothing() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    let token = begin(&mut first, "k", "'1 hour'").token.unwrap();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        second.begin_at(level);
        assert_eq!(begin(&mut second, "k", "'1 hour'").outcome, "in_progress");
        first.run("SET lock_timeout = '5s'");
        first.run(&format!("SELECT renew_once('ns', 'k', {token})"));
        second.commit();
    }
}

/// Many takers at each level, all in transactions that stay open: nobody who
/// was told otherwise is in the way of the one who runs it.
#[test]
fn losers_in_open_transactions_are_not_in_the_way() {
    const ROUNDS: usize = 30;
    let database = database();
    let mut sessions = Vec::from_iter((0..6).map(|_| database.session()));
    for session in &mut sessions {
        session.run("SET lock_timeout = '10s'");
    }
    for round in 0..ROUNDS {
        let key = format!("k{round}");
        begin(&mut sessions[0], &key, "'1 ms'");
        sessions[0].run("SELECT pg_sleep(0.005)");
        let level = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][round % 3];
        for session in &mut sessions {
            session.begin_at(level);
            session.run("SELECT 1");
        }
        for session in &mut sessions {
            session.send(&format!(
                "SELECT outcome, token FROM begin_once('ns', '{key}', '1 hour')"
            ));
        }
        let told = Vec::from_iter(sessions.iter_mut().map(|session| session.answered_rows()));
        let run = Vec::from_iter((0..sessions.len()).filter(|at| told[*at][0][1].is_some()));
        assert_eq!(run.len(), 1, "{told:?}");
        let token = told[run[0]][0][1].clone().unwrap();
        sessions[run[0]].commit();
        let mut other = database.session();
        other.run("SET lock_timeout = '5s'");
        assert!(other.is_true(&format!("SELECT complete_once('ns', '{key}', {token})")));
        for (at, session) in sessions.iter_mut().enumerate() {
            if at != run[0] {
                session.commit();
            }
        }
    }
}

/// At SERIALIZABLE a record that another has taken meanwhile is looked at again; only what
/// SERIALIZABLE itself finds out fails a begin.
#[test]
fn takers_at_serializable_are_not_told_to_retry_for_each_other() {
    const ROUNDS: usize = 400;
    let database = database();
    let told: Vec<String> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..6).map(|_| {
            scope.spawn(|| {
                let mut session = database.session();
                session.run("SET default_transaction_isolation = 'serializable'");
                let call = "SELECT outcome FROM begin_once('ns', 'k', '1 microsecond')";
                Vec::from_iter((0..ROUNDS).map(|_| match session.try_run(call) {
                    Ok(rows) => rows[0][0].clone().unwrap(),
                    Err(Failure::Refused(error)) => error.message().to_owned(),
                    Err(lost) => panic!("{lost:?}"),
                }))
            })
        }));
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert!(told.iter().any(|told| told == "run"));
    let others = told.iter().filter(|told| {
        !["run", "in_progress"].contains(&told.as_str())
            && !told.contains("read/write dependencies")
    });
    assert_eq!(others.count(), 0, "{told:?}");
}

/// Nothing would keep two records apart.
#[test]
fn without_its_primary_key_no_work_is_begun() {
    const INVALID: &str = "UPDATE pg_index SET indisvalid = false
        WHERE indexrelid = 'once.work_record_pkey'::regclass";
    const DROPPED: &str = "ALTER TABLE once.work_record DROP CONSTRAINT work_record_pkey";
    for broken in [INVALID, DROPPED] {
        let database = database();
        let [mut session, mut admin] = database.sessions();
        let token = begin(&mut session, "begun", "'1 hour'").token.unwrap();
        admin.run(broken);
        let refusal = session.refused("SELECT begin_once('ns', 'new')", "55000");
        assert!(refusal.message().contains("no valid primary key"));
        assert!(
            refusal
                .hint()
                .is_some_and(|hint| hint.contains("ADD CONSTRAINT"))
        );
        // What is there goes on.
        assert!(session.is_true(&format!("SELECT complete_once('ns', 'begun', {token})")));
        admin.run(
            "ALTER TABLE once.work_record DROP CONSTRAINT IF EXISTS work_record_pkey;
             ALTER TABLE once.work_record ADD CONSTRAINT work_record_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low)",
        );
        assert_eq!(begin(&mut session, "new", "'1 hour'").outcome, "run");
    }
}

#[test]
fn the_work_goes_on_after_a_reconnect() {
    let database = database();
    let token = begin(&mut database.session(), "k", "'1 hour'")
        .token
        .unwrap();
    let renewed = format!("SELECT renew_once('ns', 'k', {token}) IS NOT NULL");
    assert!(database.session().is_true(&renewed));
    let complete = format!("SELECT complete_once('ns', 'k', {token}, '1')");
    assert!(database.session().is_true(&complete));
    assert!(!database.session().is_true(&complete));
}

/// Behind a pooler that gives each transaction any of two connections.
#[test]
fn the_work_goes_on_through_pgbouncer() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", 2);
    let mut sessions = Vec::from_iter((0..6).map(|_| pooler.session(&database.name)));
    let mut backends = Vec::new();
    for round in 0..60 {
        let [a, b, c] = [round, round + 1, round + 2].map(|at| at % 6);
        let key = format!("k{round}");
        sessions[a].begin();
        backends.push(sessions[a].number("SELECT pg_backend_pid()"));
        let token = begin(&mut sessions[b], &key, "'1 hour'").token.unwrap();
        sessions[a].commit();
        sessions[c].begin();
        sessions[c].run(&format!("SELECT fence_once('ns', '{key}', {token})"));
        sessions[a].run(&format!("SELECT renew_once('ns', '{key}', {token})"));
        sessions[c].commit();
        let complete = format!("SELECT complete_once('ns', '{key}', {token}, to_jsonb({round}))");
        assert!(sessions[a].is_true(&complete));
        let told = sessions[c].rows(&format!(
            "SELECT outcome, result FROM begin_once('ns', '{key}')"
        ));
        assert_eq!(told, [[Some("done".to_owned()), Some(round.to_string())]]);
    }
    backends.sort_unstable();
    backends.dedup();
    assert!(backends.len() <= 2, "{backends:?}");
}

/// Sweep, forget, a removal by hand with the clock behind, a crash.
#[test]
fn tokens_rise_when_records_go() {
    let cluster = Cluster::start(&["fsync = on"]);
    let database = cluster.database();
    let mut session = database.session();
    session.run("SELECT once.configure('ns', '1 ms')");
    let mut last = 0;
    for round in 0..12 {
        let token = begin(&mut session, "k", "'1 hour'").token.unwrap();
        assert!(token > last, "round {round}: {token} after {last}");
        last = token;
        session.run(&format!("SELECT complete_once('ns', 'k', {token})"));
        match round % 4 {
            0 => {
                session.run("SELECT pg_sleep(0.01)");
                assert_eq!(session.number("SELECT once.sweep()"), 1);
            }
            1 => {
                session.run("UPDATE once.work_record SET expires_at = NULL");
                assert!(session.is_true("SELECT forget_once('ns', 'k')"));
            }
            // As if the clock had been ahead: forgotten, then swept.
            2 => {
                session.run("UPDATE once.work_record SET expires_at = NULL, token = token + 1e15");
                last += 1_000_000_000_000_000;
                assert!(session.is_true("SELECT forget_once('ns', 'k')"));
                assert_eq!(session.number("SELECT once.sweep()"), 1);
                assert_eq!(session.number("SELECT token FROM once.work_floor"), last);
            }
            _ => {
                session.run("SELECT pg_sleep(0.01)");
                session.begin();
                let open = begin(&mut session, "k", "'1 hour'").token.unwrap();
                assert!(open > last);
                cluster.stop_immediately();
                cluster.restart();
                session = database.session();
            }
        }
    }
}

/// Whole, by its data only, and the floor without the records.
#[test]
fn tokens_rise_after_dump_and_restore() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    let ahead = "UPDATE once.work_record SET token = token + 1e15 RETURNING token";
    begin(&mut session, "k", "'1 ms'");
    begin(&mut session, "done", "'1 hour'");
    let token = session.number("SELECT token FROM once.work WHERE key = 'done'");
    session.run(&format!(
        "SELECT complete_once('ns', 'done', {token}, '{{\"r\": 1.50}}')"
    ));
    session.run(ahead);
    let before = session.number("SELECT token FROM once.work_record WHERE key = 'k'");
    let last = session.number("SELECT max(token) FROM once.work_record");
    session.run(&format!(
        "INSERT INTO once.work_floor (token) VALUES ({last} + 7)"
    ));

    for (name, dump) in [("whole.dump", ""), ("data.dump", "--data-only")] {
        let file = cluster.path(name);
        let mut arguments = vec!["-U", "postgres", "-Fc", "-f", &file, &database.name];
        arguments.extend((!dump.is_empty()).then_some(dump));
        cluster.client("pg_dump", &arguments);
        let other = match dump {
            "" => cluster.database_like("TEMPLATE template0"),
            _ => cluster.database(),
        };
        cluster.client("pg_restore", &["-U", "postgres", "-d", &other.name, &file]);
        let mut restored = other.session();
        let told = begin(&mut restored, "k", "'1 hour'");
        assert_eq!(told.outcome, "run");
        assert!(told.token.unwrap() > before, "{name}");
        assert!(
            begin(&mut restored, "new", "'1 hour'").token.unwrap() > last + 7,
            "{name}"
        );
        assert_eq!(
            restored.rows("SELECT outcome, result FROM begin_once('ns', 'done')"),
            [[Some("done".to_owned()), Some("{\"r\": 1.50}".to_owned())]]
        );
    }
}

/// G12, and what nobody but the owner reads or writes.
#[test]
fn a_closed_namespace_tells_nothing() {
    let database = database();
    let mut owner = database.session();
    let name = format!("stranger_{}", database.name);
    owner.run(&format!("CREATE ROLE {name} LOGIN"));
    let token = begin(&mut owner, "k", "'1 ms'").token.unwrap();
    let mut stranger = database.session_as(&name);
    assert_eq!(stranger.number("SELECT count(*) FROM once.work"), 1);
    owner.run("SELECT once.configure('ns', allowed_role => current_user::regrole)");
    assert_eq!(stranger.number("SELECT count(*) FROM once.work"), 0);
    for call in [
        "begin_once('ns', 'k')".to_owned(),
        "begin_once('ns', 'new', wait => '10 s')".to_owned(),
        format!("renew_once('ns', 'k', {token})"),
        format!("complete_once('ns', 'k', {token})"),
        format!("fail_once('ns', 'k', {token})"),
        format!("fence_once('ns', 'k', {token})"),
        "forget_once('ns', 'k')".to_owned(),
    ] {
        stranger.refused(&format!("SELECT {call}"), "42501");
    }
    for statement in [
        "SELECT * FROM once.work_record",
        "SELECT * FROM once.work_floor",
        "DELETE FROM once.work_record",
        "UPDATE once.work_floor SET token = 0",
        "TRUNCATE once.work_record",
    ] {
        stranger.refused(statement, "42501");
    }
    // The view reads from a function.
    stranger.refused("INSERT INTO once.work DEFAULT VALUES", "55000");
    assert_eq!(stranger.value("SELECT current_user"), name);
    // Who may use no table of the extension works in an open namespace.
    assert_eq!(
        stranger.rows("SELECT outcome FROM begin_once('open', 'k')"),
        [[Some("run".to_owned())]]
    );
}

#[test]
fn a_standby_shows_work_and_begins_none() {
    let primary = Cluster::start(&[]);
    let database = primary.database();
    let mut writer = database.session();
    let token = begin(&mut writer, "k", "'1 ms'").token.unwrap();
    let standby = primary.standby();
    let mut reader = standby.connect(&database.name);
    let started = Instant::now();
    while reader.number("SELECT count(*) FROM once.work") == 0 {
        assert!(started.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(20));
    }
    for call in [
        "begin_once('ns', 'k', wait => '30 s')".to_owned(),
        format!("complete_once('ns', 'k', {token})"),
        format!("fence_once('ns', 'k', {token})"),
        "forget_once('ns', 'k')".to_owned(),
    ] {
        reader.refused(&format!("SELECT {call}"), "25006");
    }
    primary.stop_immediately();
    standby.promote();
    let mut promoted = standby.connect(&database.name);
    let next = begin(&mut promoted, "k", "'1 hour'");
    assert!(next.token.unwrap() > token);
    promoted.refused(
        &format!("SELECT complete_once('ns', 'k', {token})"),
        "55000",
    );
}

/// The worker is stopped for three leases and then goes on: without the fence
/// its effect is written though another has done the work.
#[test]
fn a_worker_that_was_stopped_writes_nothing_behind_the_fence() {
    for (how, written) in [("first", 1), ("unfenced", 2)] {
        let database = with_effects();
        let mut worker = Stoppable::begin(&database, how, "500 ms");
        assert_eq!(worker.says(), "begun");
        worker.signal("STOP");
        worker.go_on();
        thread::sleep(Duration::from_millis(1500));
        let mut other = database.session();
        let told = other.rows("SELECT outcome, token, attempt FROM begin_once('paused', 'k')");
        assert_eq!(told[0][0].as_deref(), Some("run"));
        assert_eq!(told[0][2].as_deref(), Some("2"));
        let token = told[0][1].clone().unwrap();
        // The other one is at work still: it is the token that is refused.
        worker.signal("CONT");
        let end = ["refused 55000", "written"][written - 1];
        assert_eq!(worker.says(), end);
        other.begin();
        other.run(&format!("INSERT INTO effect VALUES ('k', {token})"));
        assert!(other.is_true(&format!("SELECT complete_once('paused', 'k', {token})")));
        other.commit();
        assert_eq!(other.number("SELECT count(*) FROM effect"), written as i64);
    }
}

/// Stopped in the transaction of its effect, the worker keeps the others off
/// for as long as that lasts, and goes on as the only one.
#[test]
fn a_worker_that_was_stopped_behind_the_fence_is_waited_for() {
    let database = with_effects();
    let mut worker = Stoppable::begin(&database, "fenced", "500 ms");
    assert_eq!(worker.says(), "behind the fence");
    worker.signal("STOP");
    thread::sleep(Duration::from_millis(1500));
    let mut other = database.session();
    let again = "SELECT outcome FROM begin_once('paused', 'k', wait => '200 ms')";
    assert_eq!(other.value(again), "in_progress");
    let sweep = other.number("SELECT once.sweep()");
    assert_eq!(sweep, 0);
    worker.go_on();
    worker.signal("CONT");
    assert_eq!(worker.says(), "written");
    assert_eq!(other.value(again), "run");
    assert_eq!(other.number("SELECT count(*) FROM effect"), 1);
}

const NOTHING: [Vec<Option<String>>; 0] = [];
const NO_XID: &str = "SELECT pg_current_xact_id_if_assigned()";
const WAIT: &str = "SELECT begin_once('ns', 'k', wait => '50 s')";

/// What a begin was told.
struct Told {
    outcome: String,
    token: Option<i64>,
    has_lease: bool,
}

fn begin(session: &mut Session, key: &str, lease: &str) -> Told {
    let rows = session.rows(&format!(
        "SELECT outcome, token, lease_until IS NOT NULL FROM begin_once('ns', '{key}', {lease})"
    ));
    let [row] = rows.as_slice() else {
        panic!("{rows:?} is not one row");
    };
    Told {
        outcome: row[0].clone().unwrap(),
        token: row[1].as_ref().map(|token| token.parse().unwrap()),
        has_lease: row[2].as_deref() == Some("t"),
    }
}

/// The locks that others could have to wait for: those of SERIALIZABLE's bookkeeping are none.
fn locks(session: &Session) -> Rows {
    let is_waited_for = |lock: &Vec<Option<String>>| lock[1].as_deref() != Some("SIReadLock");
    session.locks().into_iter().filter(is_waited_for).collect()
}

/// Asserts that the statement comes to sleep in the server.
fn sleeps(database: &Database, session: &Session) {
    let mut observer = database.session();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE pid = {} AND state = 'active' AND wait_event_type = 'Extension'",
        session.pid()
    );
    let started = Instant::now();
    while observer.number(&sql) == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it does not sleep"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

fn with_effects() -> Database<'static> {
    let database = database();
    database
        .session()
        .run("CREATE TABLE effect (key text, token bigint)");
    database
}

/// A worker process that stops and goes on as it is told.
struct Stoppable {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Stoppable {
    fn begin(database: &Database, how: &str, lease: &str) -> Stoppable {
        let mut process = Command::new(env!("CARGO_BIN_EXE_worker"))
            .args([&database.cluster.path(""), &database.name])
            .args(["paused", how, "k", lease])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Stoppable { process, said }
    }

    fn says(&mut self) -> String {
        self.said.next().expect("the worker is gone").unwrap()
    }

    fn go_on(&mut self) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input).unwrap();
        input.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -{name}");
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A wait bounds the whole of a begin, the locks of tables included.
#[test]
fn a_wait_bounds_a_begin_that_meets_locked_tables() {
    let database = database();
    let [mut locker, mut caller] = database.sessions();
    locker.run(
        "SELECT once.configure('kept', ttl => '1 day');
         SELECT begin_once('kept', 'running');
         SELECT begin_once('kept', 'expired', lease => '1 us')",
    );
    for table in ["once.access_policy", "once.work_record", "once.work_floor"] {
        for key in ["new", "running", "expired"] {
            for (wait, least) in [("0", 0), ("300 ms", 300)] {
                // A new session knows no policy and no table.
                let mut caller = database.session();
                locker.run(&format!("BEGIN; LOCK TABLE {table}"));
                let begun = Instant::now();
                let outcome = caller.value(&format!(
                    "SELECT outcome FROM begin_once('kept', '{key}', wait => '{wait}')"
                ));
                let took = begun.elapsed();
                locker.rollback();
                let case = format!("{table}, {key}, {wait}: {took:?}");
                if (table, key) == ("once.work_floor", "running") || table != "once.work_floor" {
                    assert_eq!(outcome, "in_progress", "{case}");
                    assert!(took >= Duration::from_millis(least), "{case}");
                }
                assert!(took < Duration::from_secs(5), "{case}");
                caller.run("SELECT 1");
            }
        }
    }
    assert_eq!(
        caller.value("SELECT outcome FROM begin_once('kept', 'expired')"),
        "run"
    );
}
