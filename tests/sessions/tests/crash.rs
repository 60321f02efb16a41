//! G4: what was acknowledged survives every kind of crash, and what was not
//! committed can be claimed again. fsync stays on.

use pg_once_sessions::{Barrier, Cluster, Database, Failure, Session};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 6;
/// So many keys are claimed before each crash, however slow the machine is.
const ENOUGH: usize = 30;
/// A load that no crash ends by then has failed.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn acknowledged_claims_survive_a_killed_postmaster() {
    survives(Cluster::kill_postmaster, Cluster::restart);
}

#[test]
fn acknowledged_claims_survive_an_immediate_stop() {
    survives(Cluster::stop_immediately, Cluster::restart);
}

#[test]
fn acknowledged_claims_survive_a_fast_stop() {
    survives(Cluster::stop_fast, Cluster::restart);
}

/// The server restarts by itself after that.
#[test]
fn acknowledged_claims_survive_a_killed_backend() {
    survives(
        |cluster| cluster.kill_backend(&cluster.connect("postgres")),
        Cluster::wait_until_ready,
    );
}

/// With synchronous_commit = off a crash takes back the newest transactions that were acknowledged, and no others. Their
/// claims can be won again; tokens rise nevertheless.
#[test]
fn commits_that_wait_for_no_disk_lose_the_newest_claims() {
    /// PostgreSQL writes within three times wal_writer_delay, 200 ms, where it is not kept from its work.
    const WRITTEN: Duration = Duration::from_secs(10);
    let cluster = Cluster::start(&["fsync = on", "synchronous_commit = off"]);
    let database = cluster.database();
    let mut lost = 0;
    let mut last_token = 0;
    for cycle in 0..3 {
        let mut session = database.session();
        let begun = Instant::now();
        let mut acknowledged = Vec::new();
        while begun.elapsed() < Duration::from_secs(2) || acknowledged.len() < ENOUGH {
            let key = acknowledged.len();
            assert!(session.is_true(&format!("SELECT claim_once('ns {cycle}', {key})")));
            let begin = format!("SELECT token FROM begin_once('ns {cycle}', '{key}')");
            let token = session.number(&begin);
            assert!(token > last_token);
            last_token = token;
            acknowledged.push(begun.elapsed());
        }
        cluster.kill_postmaster();
        let killed = begun.elapsed();
        cluster.restart();

        let mut session = database.session();
        let kept = session.number(&format!(
            "SELECT count(*) FROM once.claims WHERE ns = 'ns {cycle}'"
        ));
        for key in 0..acknowledged.len() {
            let is_kept = (key as i64) < kept;
            let is_claimed = session.is_true(&format!("SELECT is_claimed('ns {cycle}', {key})"));
            assert_eq!(is_claimed, is_kept, "{key} of {kept}");
        }
        if let Some(first) = acknowledged.get(kept as usize) {
            let age = killed - *first;
            assert!(age < WRITTEN, "{age:?}");
            eprintln!(
                "{} of {} acknowledged claims are lost, the first of them acknowledged {age:?} before the crash",
                acknowledged.len() - kept as usize,
                acknowledged.len()
            );
            assert!(session.is_true(&format!("SELECT claim_once('ns {cycle}', {kept})")));
        }
        lost += acknowledged.len() - kept as usize;
    }
    assert!(lost > 0, "nothing was lost");
}

/// Crashes the server under load, several times, with fsync on. Before each crash one session
/// has won a claim and made a row, and not committed.
fn survives(crash: fn(&Cluster), recover: fn(&Cluster)) {
    const CYCLES: usize = 3;
    let cluster = Cluster::start(&["fsync = on"]);
    let database = cluster.database();
    database
        .session()
        .run("CREATE TABLE counter (key text PRIMARY KEY, n int DEFAULT 0)");
    let mut acknowledged = Vec::new();
    for cycle in 0..CYCLES {
        let mut open = database.session();
        assert_eq!(open.value("SHOW fsync"), "on");
        open.begin();
        assert!(claims_open(&mut open, &format!("open {cycle}")));
        open.run("SELECT * FROM with_row_lock(NULL::counter, '{\"key\": \"open\"}')");

        acknowledged.extend(load(&database, cycle, || crash(&cluster)));
        recover(&cluster);

        let mut session = database.session();
        assert!(claims_open(&mut session, &format!("open {cycle}")));
        assert_eq!(session.number("SELECT count(*) FROM counter"), 0);
        assert_eq!(lost(&mut session, &acknowledged), [] as [&String; 0]);
    }
    let count = acknowledged.len();
    assert!(
        count > 20 * CYCLES,
        "a load of {count} claims proves little"
    );
    acknowledged.sort_unstable();
    acknowledged.dedup();
    assert_eq!(acknowledged.len(), count, "some key was won twice");

    let mut session = database.session();
    for key in acknowledged.iter().step_by(count / 20) {
        let claim = format!("SELECT claim_once('load', '{key}')");
        assert!(!session.is_true(&claim), "{key} was won again");
    }
}

/// Clients claim keys, each of them wanted by all, until their connections
/// break in the crash. Returns the keys whose claim was acknowledged.
fn load(database: &Database, cycle: usize, crash: impl FnOnce()) -> Vec<String> {
    let wanted = AtomicUsize::new(0);
    let barrier = Barrier::new(CLIENTS + 1);
    thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (wanted, barrier) = (&wanted, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                barrier.wait();
                let mut acknowledged = Vec::new();
                let begun = Instant::now();
                while begun.elapsed() < LIMIT {
                    let number = wanted.fetch_add(1, Ordering::Relaxed) / CLIENTS;
                    let key = format!("{cycle}/{number}");
                    match wins(&mut session, &key, client % 2 == 0) {
                        Ok(true) => acknowledged.push(key),
                        Ok(false) => {}
                        Err(failure) => {
                            let end = failure.sqlstate();
                            assert!(["lost", "57P01", "57P02"].contains(&end), "{failure:?}");
                            return acknowledged;
                        }
                    }
                }
                panic!("no crash ended the load");
            })
        }));
        barrier.wait();
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(400));
        while wanted.load(Ordering::Relaxed) < ENOUGH * CLIENTS && begun.elapsed() < LIMIT / 2 {
            thread::sleep(Duration::from_millis(10));
        }
        crash();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

/// Whether this client won, once its COMMIT was acknowledged.
fn wins(session: &mut Session, key: &str, in_a_transaction: bool) -> Result<bool, Failure> {
    let claim = format!("SELECT claim_once('load', '{key}')");
    if !in_a_transaction {
        return Ok(session.try_run(&claim)? == [[Some("t".to_owned())]]);
    }
    session.try_run("BEGIN")?;
    let won = session.try_run(&claim)? == [[Some("t".to_owned())]];
    session.try_run("COMMIT")?;
    Ok(won)
}

/// Which of these keys the server does not know as claimed.
fn lost<'k>(session: &mut Session, keys: &'k [String]) -> Vec<&'k String> {
    let claimed = session.rows(&format!(
        "SELECT key FROM unnest('{{{}}}'::text[]) key WHERE is_claimed('load', key)",
        keys.join(",")
    ));
    let claimed: Vec<_> = claimed
        .into_iter()
        .filter_map(|row| row[0].clone())
        .collect();
    keys.iter().filter(|key| !claimed.contains(key)).collect()
}

fn claims_open(session: &mut Session, key: &str) -> bool {
    session.is_true(&format!("SELECT claim_once('open', '{key}')"))
}
