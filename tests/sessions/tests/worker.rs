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

const NEVER: &str = "pg_once.sweep_interval = 0";

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
    let healthy = databases[0]
        .session()
        .rows("SELECT * FROM once.check() WHERE finding NOT LIKE '%known faults%'");
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

/// In a statement that would go on for ever, be it that it computes or that it sleeps: nothing but
/// the signal ends it.
#[test]
fn a_sweeper_in_the_middle_of_a_statement_ends_when_told() {
    for body in ["LOOP NULL; END LOOP", "PERFORM pg_sleep(3600)"] {
        let cluster = Cluster::start(PRELOADED);
        let database = cluster.database();
        let mut session = database.session();
        session.run(&format!(
            "CREATE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN {body}; RETURN OLD; END';
             CREATE TRIGGER endless BEFORE DELETE ON once.claim
                 FOR EACH ROW EXECUTE FUNCTION endless()"
        ));
        session.run(EXPIRED);
        let stuck = format!("{SWEEPER} AND clock_timestamp() - query_start > '1 s'");
        let is_stuck = format!("SELECT EXISTS ({stuck})");
        wait_until(&mut session, &is_stuck);
        let pid = session.value(&stuck);
        let told = Instant::now();
        assert!(session.is_true(&format!("SELECT pg_terminate_backend({pid}, 30000)")));
        println!("{body}: ended after {:?}", told.elapsed());

        wait_until(&mut session, &is_stuck);
        let told = Instant::now();
        cluster.stop_fast();
        println!("{body}: the server ended after {:?}", told.elapsed());
        let log = cluster.log();
        let ended =
            "terminating background worker \"pg_once sweeper\" due to administrator command";
        assert_eq!(log.matches(ended).count(), 2, "{log}");
    }
}

/// By the name of what they wait for, where the server has such names.
#[test]
fn what_the_workers_wait_for_is_seen() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let mut session = database.session();
    session.run(SLOW);
    session.run(EXPIRED);
    for (process, event) in [("launcher", "PgOnceLauncher"), ("sweeper", "PgOnceSweeper")] {
        let event = match session.number("SELECT current_setting('server_version_num')::int") {
            ..170_000 => "Extension",
            _ => event,
        };
        wait_until(
            &mut session,
            &format!(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_once {process}'
                     AND wait_event_type = 'Extension' AND wait_event = '{event}')"
            ),
        );
    }
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
    let findings =
        reader.rows("SELECT * FROM once.check() WHERE finding NOT LIKE '%known faults%'");
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
        "INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
             SELECT 0, 0, 0, n, now(), now(), 'ns', n::text FROM generate_series(1, 60000) n",
    );
    let mut transactions = session.number("SELECT txid_current()");
    wait_until(&mut session, CLEAN);
    transactions = session.number("SELECT txid_current()") - transactions;
    assert!(transactions >= 30, "{transactions}");
}

/// Claims that last a moment only: autovacuum comes once a minute at best, and not at all here.
#[test]
fn what_expires_fast_is_swept_soon_and_makes_room() {
    let cluster = Cluster::start(&[PRELOADED[0], NEVER, "autovacuum = off"]);
    let database = cluster.database();
    let mut session = database.session();
    for _ in 0..6 {
        session.run(EXPIRED);
        sweep_each(&mut session, "60s");
        wait_until(&mut session, CLEAN);
    }
    assert!(session.is_true("SELECT swept = 30000 FROM once.stats"));
    let size = session.number("SELECT pg_total_relation_size('once.claim')");
    // Each time the claims take about 600 kB.
    assert!(size < 1_500_000, "{size} bytes");
    assert!(!cluster.log().contains("ERROR"), "{}", cluster.log());
}

/// A step of a sweep takes seconds then.
const SLOW: &str = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_sleep(0.001); RETURN OLD; END';
     CREATE TRIGGER slow BEFORE DELETE ON once.claim FOR EACH ROW EXECUTE FUNCTION slow()";

/// A visit may be over before it has come further than the first pages.
#[test]
fn a_slow_sweep_is_gone_on_with_where_it_left_off() {
    let cluster = Cluster::start(&[PRELOADED[0], NEVER]);
    let database = cluster.database();
    let mut session = database.session();
    session.run(SLOW);
    session.run(EXPIRED);
    sweep_each(&mut session, "1h");
    wait_until(&mut session, CLEAN);
}

/// What an administrator sets for a database is meant for its clients.
#[test]
fn settings_of_the_database_do_not_keep_it_from_sweeping() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let mut session = database.session();
    for setting in [
        "default_transaction_read_only = on",
        "default_transaction_isolation = serializable",
        "search_path = evil, pg_catalog",
    ] {
        let name = &database.name;
        cluster
            .connect("postgres")
            .run(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    session.run(EXPIRED);
    wait_until(&mut session, CLEAN);
    thread::sleep(Duration::from_secs(2));
    assert!(!cluster.log().contains("ERROR"), "{}", cluster.log());
}

/// Whoever owns a database may set for it what stops or slows down a sweeper.
#[test]
fn hostile_settings_of_a_database_do_not_count() {
    let cluster = Cluster::start(PRELOADED);
    let [hostile, other] = [cluster.database(), cluster.database()];
    let [mut session, mut filler] = hostile.sessions();
    let name = &hostile.name;
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE ROLE powerless NOSUPERUSER");
    for setting in [
        "default_transaction_isolation = serializable",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "statement_timeout = 1",
        "lock_timeout = 1",
        "vacuum_cost_delay = '100ms'",
        "vacuum_cost_limit = 1",
        "role = powerless",
        "session_replication_role = replica",
        "default_tablespace = missing",
        "work_mem = '64kB'",
        "enable_seqscan = off",
        "enable_tidscan = off",
        "row_security = off",
    ] {
        admin.run(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    session.begin_at("SERIALIZABLE READ WRITE NOT DEFERRABLE");
    session.run("CREATE TABLE public.marked ()");
    // As once with claims of 900 bytes.
    filler.run(
        "INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
             SELECT 0, 0, 0, n, now(), now(), 'ns', repeat('x', 800) || n
             FROM generate_series(1, 20000) n",
    );
    wait_until(&mut filler, CLEAN);
    other.session().run(EXPIRED);
    wait_until(&mut other.session(), CLEAN);
    session.rollback();
    let troubles = filler.rows("SELECT finding FROM once.check() WHERE finding LIKE '%worker%'");
    assert!(troubles.is_empty(), "{troubles:?}");
    assert!(!cluster.log().contains("ERROR"), "{}", cluster.log());
}

/// Nobody waits for the sweeper for longer than 2 seconds, whatever it does.
#[test]
fn a_database_can_be_dropped_while_it_is_swept() {
    let cluster = Cluster::start(&[
        PRELOADED[0],
        PRELOADED[1],
        "vacuum_cost_delay = '100ms'",
        "vacuum_cost_limit = 1",
    ]);
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE DATABASE pattern");
    let mut session = cluster.connect("pattern");
    session.run("CREATE EXTENSION pg_once");
    session.run(
        "INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
             SELECT 0, 0, 0, n, now(), now() + interval '2 s', 'ns', repeat('x', 800) || n
             FROM generate_series(1, 20000) n",
    );
    drop(session);
    // It is not swept itself.
    admin.run("ALTER DATABASE pattern ALLOW_CONNECTIONS false");
    for round in 0..2 {
        admin.run(&format!("CREATE DATABASE copy{round} TEMPLATE pattern"));
        let is_vacuumed = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                 WHERE backend_type = 'pg_once sweeper' AND datname = 'copy{round}'
                     AND query LIKE 'VACUUM%' AND state = 'active')"
        );
        wait_until(&mut admin, &is_vacuumed);
        let told = Instant::now();
        admin.run(&format!("DROP DATABASE copy{round}"));
        let time = told.elapsed();
        assert!(time < Duration::from_secs(4), "{time:?}");
    }
}

/// By any role with CREATEDB, on an empty database of its own.
#[test]
fn an_open_rename_of_a_database_stops_no_other_sweep() {
    let cluster = Cluster::start(PRELOADED);
    let [other, third] = [cluster.database(), cluster.database()];
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE ROLE creator LOGIN CREATEDB");
    let mut creator = cluster.connect_as("creator", "postgres");
    for name in ["locked1", "locked2"] {
        creator.run(&format!("CREATE DATABASE {name}"));
    }
    // Those that it learns of before it sends anybody cost it no time, however many there are.
    let mut crowd = cluster.connect_as("creator", "postgres");
    for number in 0..12 {
        creator.run(&format!("CREATE DATABASE crowd{number}"));
    }
    crowd.begin();
    for number in 0..12 {
        crowd.run(&format!(
            "ALTER DATABASE crowd{number} RENAME TO other{number}"
        ));
    }
    let mut lockers = ["locked1", "locked2"].map(|name| {
        let mut locker = cluster.connect_as("creator", "postgres");
        locker.begin();
        locker.run(&format!("ALTER DATABASE {name} RENAME TO {name}_new"));
        locker
    });
    for database in [&other, &third] {
        let mut session = database.session();
        for _ in 0..3 {
            session.run(EXPIRED);
            let told = Instant::now();
            wait_until(&mut session, CLEAN);
            assert!(
                told.elapsed() < Duration::from_secs(8),
                "{:?}",
                told.elapsed()
            );
        }
        for name in ["locked1", "locked2"] {
            wait_until(
                &mut session,
                &format!(
                    "SELECT EXISTS (SELECT FROM once.check()
                         WHERE finding LIKE '%database {name}: it could not connect in time'
                             AND advice LIKE '%ALTER DATABASE%')"
                ),
            );
        }
        assert!(session.is_true(
            "SELECT finding IS NULL AND awake_at > clock_timestamp() - interval '3 s'
                 AND visited_at > clock_timestamp() - interval '20 s' FROM once.worker_state()"
        ));
    }
    for locker in lockers.iter_mut().chain([&mut crowd]) {
        locker.rollback();
    }
    wait_until(
        &mut other.session(),
        "SELECT NOT EXISTS (SELECT FROM once.worker_troubles())",
    );
}

/// One row may take a statement longer than a visit may be. The launcher does not wait for it.
#[test]
fn a_sweeper_that_is_over_its_time_is_ended() {
    let cluster = Cluster::start(PRELOADED);
    let [stuck, other] = [cluster.database(), cluster.database()];
    let [mut session, mut neighbour] = [stuck.session(), other.session()];
    session.run(
        "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(120); RETURN OLD; END';
         CREATE TRIGGER stuck BEFORE DELETE ON once.claim FOR EACH ROW EXECUTE FUNCTION stuck();
         SELECT claim_once_per('1 ms', 'ns', 'k')",
    );
    wait_until(
        &mut neighbour,
        &format!(
            "SELECT EXISTS (SELECT FROM once.check()
                 WHERE finding LIKE '%database {}: it took too long, and was ended')",
            stuck.name
        ),
    );
    assert!(
        session.is_true(
            "SELECT finding LIKE '%took too long, and was ended' FROM once.worker_state()"
        )
    );
    neighbour.run(EXPIRED);
    let told = Instant::now();
    wait_until(&mut neighbour, CLEAN);
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "{:?}",
        told.elapsed()
    );
    drop(session);
    let told = Instant::now();
    cluster
        .connect("postgres")
        .run(&format!("DROP DATABASE {}", stuck.name));
    assert!(
        told.elapsed() < Duration::from_secs(4),
        "{:?}",
        told.elapsed()
    );
}

/// The owner of an extension may drop it, and make tables of the same names, at any moment.
#[test]
fn what_is_planted_under_the_sweepers_eyes_does_not_run() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let mut admin = database.session();
    admin.run(&format!(
        "DROP EXTENSION pg_once; CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE {} TO mallory",
        database.name
    ));
    let mut mallory = database.session_as("mallory");
    mallory.run("CREATE EXTENSION pg_once");
    for round in 0..14 {
        let trigger = match round % 3 {
            0 => "TRIGGER t BEFORE DELETE ON once.claim FOR EACH ROW",
            1 => "TRIGGER t BEFORE DELETE ON once.claim FOR EACH STATEMENT",
            _ => {
                "CONSTRAINT TRIGGER t AFTER DELETE ON once.claim DEFERRABLE INITIALLY DEFERRED
                     FOR EACH ROW"
            }
        };
        mallory.run("SELECT claim_once('x', '1')");
        mallory.run(&format!(
            "BEGIN; DROP EXTENSION pg_once; CREATE SCHEMA once;
             CREATE TABLE once.claim (place_high int2, place_low int2, hash_high int4, hash_low int8,
                 claimed_at timestamptz, ns text, key text, expires_at timestamptz, owner uuid);
             INSERT INTO once.claim SELECT 1, 2, 3, 4, now(), 'n', 'k', now() - interval '1 h', NULL;
             CREATE TABLE once.work_record (LIKE once.claim, token bigint);
             CREATE TABLE once.work_floor (one boolean PRIMARY KEY, token bigint);
             CREATE FUNCTION once.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                     EXECUTE 'ALTER ROLE mallory SUPERUSER'; END IF;
                 RETURN OLD; END $$;
             CREATE {trigger} EXECUTE FUNCTION once.evil();
             SELECT pg_sleep(0.9); COMMIT"
        ));
        thread::sleep(Duration::from_millis(200));
        mallory.run("DROP SCHEMA once CASCADE; CREATE EXTENSION pg_once");
        assert!(!admin.is_true("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"));
    }
    mallory.run("SELECT claim_once_per('1 ms', 'ns', 'k')");
    wait_until(&mut mallory, "SELECT NOT EXISTS (SELECT FROM once.claims)");
    drop(mallory);
    admin.run("DROP EXTENSION pg_once; DROP OWNED BY mallory; DROP ROLE mallory");
}

/// Where the sweeper cannot be started, in no database, each is told.
#[test]
fn every_database_hears_that_its_sweep_failed() {
    let cluster = Cluster::start(&[
        PRELOADED[0],
        PRELOADED[1],
        "max_logical_replication_workers = 0",
        "max_worker_processes = 1",
    ]);
    let databases = [cluster.database(), cluster.database()];
    let told = "SELECT EXISTS (SELECT FROM once.check() WHERE finding LIKE '%failed%')";
    for database in &databases {
        wait_until(&mut database.session(), told);
    }
    for database in &databases {
        assert!(database.session().is_true(told), "{}", database.name);
    }
}

/// With an interval of 3 seconds a database in which nothing expires is visited 6 seconds after the first visit, then
/// every 12; one in which claims are made that expire is visited each interval meanwhile, however slow the machine. A
/// claim that expires brings a sweeper soon, whatever was to come.
#[test]
fn an_idle_database_is_visited_seldom_until_something_expires() {
    const IS_VISITED: &str = "SELECT visited_at IS NOT NULL FROM once.worker_state()";
    let cluster = Cluster::start(&["shared_preload_libraries = 'pg_once'", NEVER]);
    let databases = [cluster.database(), cluster.database()];
    let [mut idle, mut busy] = databases.each_ref().map(|database| database.session());
    busy.run(&endless_claim(0));
    sweep_each(&mut idle, "3s");
    wait_until(&mut idle, IS_VISITED);
    next_visit(&mut idle);
    let mut busy_visits = 0;
    let mut last_busy_visit = None;
    let before = idle.value(VISITED);
    let begun = Instant::now();
    for number in 1.. {
        busy.run(&endless_claim(number));
        let busy_visit = busy.value(VISITED);
        busy_visits += u64::from(last_busy_visit.replace(busy_visit.clone()) != Some(busy_visit));
        if idle.value(VISITED) != before {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(100));
    }
    let pause = begun.elapsed();
    assert!(pause >= Duration::from_secs(10), "{pause:?}");
    // The first of them and the last may have begun before and ended after.
    let most = pause.as_secs() / 3 + 2;
    assert!(
        (2..=most).contains(&busy_visits),
        "{busy_visits} in {pause:?}"
    );

    // Where nothing expires the next visit comes 24 seconds after the last one.
    sweep_each(&mut idle, "1h");
    idle.run("SELECT claim_once_per('1 s', 'n', 'k')");
    let begun = Instant::now();
    wait_until(&mut idle, CLEAN);
    let swept = begun.elapsed();
    assert!(swept < Duration::from_secs(20), "{swept:?}");
}

/// An orphan would keep the shared memory, and the server from being started again.
#[test]
fn the_launcher_ends_with_the_postmaster() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    database.session().run(EXPIRED);
    cluster.kill_postmaster();
    cluster.restart();
    wait_until(&mut database.session(), CLEAN);
}

#[test]
fn a_cancelled_launcher_comes_back() {
    let cluster = Cluster::start(PRELOADED);
    let database = cluster.database();
    let mut session = database.session();
    let launcher = session.value(LAUNCHER);
    session.run(&format!("SELECT pg_cancel_backend({launcher})"));
    wait_until(
        &mut session,
        &format!("SELECT EXISTS ({LAUNCHER} AND pid <> {launcher})"),
    );
    session.run(EXPIRED);
    wait_until(&mut session, CLEAN);
    assert!(!cluster.log().contains("was terminated by signal"));
}

/// What it wrote would have transaction ids that the new server gives out again.
#[test]
fn there_is_no_worker_while_pg_upgrade_looks_at_the_server() {
    let cluster = Cluster::start(&[PRELOADED[0], NEVER]);
    let database = cluster.database();
    let mut session = database.session();
    session.run(EXPIRED);
    session.run("ALTER SYSTEM SET pg_once.sweep_interval = 1");
    cluster.stop_fast();
    cluster.start_for_upgrade();
    let mut session = database.session();
    thread::sleep(Duration::from_secs(2));
    assert!(session.rows(LAUNCHER).is_empty());
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 5000);
    cluster.stop_fast();
    cluster.restart();
    wait_until(&mut database.session(), CLEAN);
}

/// The first sweep comes at once.
const VISITED: &str = "SELECT visited_at FROM once.worker_state()";

fn next_visit(session: &mut Session) {
    let last = session.value(VISITED);
    wait_until(
        session,
        &format!("SELECT visited_at > '{last}' FROM once.worker_state()"),
    );
}

/// A claim that is to expire long after the test is over.
fn endless_claim(number: u32) -> String {
    format!("SELECT claim_once_per('1 day', 'n', 'long {number}')")
}

fn sweep_each(session: &mut Session, interval: &str) {
    session.run(&format!(
        "ALTER SYSTEM SET pg_once.sweep_interval = '{interval}'"
    ));
    session.run("SELECT pg_reload_conf()");
}

fn wait_until(session: &mut Session, condition: &str) {
    session.wait_until(condition, Duration::from_secs(60));
}
