//! The background worker: it sweeps every database, is in nobody's way, ends
//! at once when it is told to, and comes back.

use pg_once_sessions::{Cluster, Session};
use std::thread;
use std::time::{Duration, Instant};

const PRELOADED: &[&str] = &[
    "shared_preload_libraries = 'pg_once'",
    "pg_once.sweep_interval = 1",
    "client_connection_check_interval = '10s'",
];

const EXPIRED: &str =
    "SELECT claim_once_per('1 ms', 'ns', n::text) FROM generate_series(1, 5000) n";
const CLEAN: &str = "SELECT count(*) = 0 FROM once.claim";
const SWEEPER: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_once sweeper'";
const LAUNCHER: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_once launcher'";

#[test]
fn every_database_is_swept_and_none_is_blocked() {
    let cluster = Cluster::start(PRELOADED);
    let mut admin = cluster.connect("postgres");
    let databases = [cluster.database(), cluster.database()];
    for database in &databases {
        database.session().run(EXPIRED);
    }
    for database in &databases {
        wait_until(&mut database.session(), CLEAN);
    }
    assert!(
        databases[0]
            .session()
            .is_true("SELECT swept = 5000 FROM once.stats")
    );
    let healthy = databases[0].session().rows("SELECT * FROM once.check()");
    assert!(healthy.is_empty(), "{healthy:?}");
    for round in 0..5 {
        let name = &databases[1].name;
        admin.run(&format!("CREATE DATABASE copy{round} TEMPLATE {name}"));
        admin.run(&format!("DROP DATABASE copy{round}"));
        thread::sleep(Duration::from_millis(150));
    }
    admin.run(&format!("DROP DATABASE {}", databases[1].name));

    admin.run("ALTER SYSTEM SET pg_once.sweep_interval = 0");
    admin.run("SELECT pg_reload_conf()");
    let mut session = databases[0].session();
    wait_until(
        &mut session,
        "SELECT current_setting('pg_once.sweep_interval') = '0'",
    );
    thread::sleep(Duration::from_secs(3));
    session.run(EXPIRED);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 5000);
    admin.run("ALTER SYSTEM RESET pg_once.sweep_interval");
    admin.run("SELECT pg_reload_conf()");
    wait_until(&mut session, CLEAN);
}

/// A sweeper that waits for a lock is inside SQL.
#[test]
fn a_worker_inside_sql_ends_at_once_and_comes_back() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let [mut locker, mut session] = database.sessions();
    locker.begin();
    locker.run("LOCK TABLE once.claim IN ACCESS EXCLUSIVE MODE");
    let waiting = "SELECT count(*) = 1 FROM pg_stat_activity
         WHERE backend_type = 'pg_once sweeper' AND wait_event_type = 'Lock'";
    for _ in 0..3 {
        wait_until(&mut session, waiting);
        let Some(Some(pid)) = session.rows(SWEEPER).first().map(|row| row[0].clone()) else {
            continue;
        };
        let told = Instant::now();
        session.run(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
        assert!(told.elapsed() < Duration::from_secs(1));
    }
    wait_until(
        &mut session,
        "SELECT EXISTS (SELECT FROM once.worker_state() WHERE finding LIKE '%failed%')",
    );
    locker.rollback();
    wait_until(
        &mut session,
        "SELECT NOT EXISTS (SELECT FROM once.worker_state() WHERE finding IS NOT NULL)",
    );

    let launcher = session.value(LAUNCHER);
    let told = Instant::now();
    session.run(&format!("SELECT pg_terminate_backend({launcher}, 5000)"));
    assert!(told.elapsed() < Duration::from_secs(1));
    wait_until(
        &mut session,
        &format!("SELECT EXISTS ({LAUNCHER} AND pid <> {launcher})"),
    );
    session.run(EXPIRED);
    wait_until(&mut session, CLEAN);

    locker.begin();
    locker.run("LOCK TABLE once.claim IN ACCESS EXCLUSIVE MODE");
    wait_until(&mut session, waiting);
    let told = Instant::now();
    cluster.stop_fast();
    assert!(told.elapsed() < Duration::from_secs(5));
    assert!(!cluster.log().contains("TRAP"), "{}", cluster.log());
}

#[test]
fn a_standby_has_no_worker_until_it_is_promoted() {
    let primary = Cluster::start(PRELOADED);
    let database = primary.database();
    let standby = primary.standby();
    let mut writer = database.session();
    writer.run("CREATE TABLE marked ()");
    let mut reader = standby.connect(&database.name);
    wait_until(&mut reader, "SELECT to_regclass('marked') IS NOT NULL");
    assert!(reader.rows(LAUNCHER).is_empty());
    let findings = reader.rows("SELECT * FROM once.check()");
    assert!(findings.is_empty(), "{findings:?}");
    primary.stop_fast();
    standby.promote();
    reader.run(EXPIRED);
    wait_until(&mut reader, CLEAN);
    assert_eq!(reader.rows(LAUNCHER).len(), 1);
}

/// Small transactions: a claim waits for a sweep of a part of the table only.
#[test]
fn a_large_backlog_is_swept_in_parts() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let mut session = database.session();
    session.run(
        "INSERT INTO once.claim (digest, claimed_at, expires_at, ns, key)
             SELECT gen_random_uuid(), now(), now(), 'ns', n::text FROM generate_series(1, 60000) n",
    );
    let mut transactions = session.number("SELECT txid_current()");
    wait_until(&mut session, CLEAN);
    transactions = session.number("SELECT txid_current()") - transactions;
    assert!(transactions >= 30, "{transactions}");
}

fn wait_until(session: &mut Session, condition: &str) {
    let started = Instant::now();
    while !session.is_true(condition) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "never true: {condition}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
