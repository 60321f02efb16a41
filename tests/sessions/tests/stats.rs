//! Statistics of all sessions, where the library is preloaded.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const PRELOADED: &str = "shared_preload_libraries = 'pg_once'";
const FLOOD: i64 = 6000;

#[test]
fn everybodys_answers_are_counted() {
    const CLIENTS: i64 = 8;
    const KEYS: i64 = 50;
    let cluster = Cluster::start(&[PRELOADED]);
    let (database, other) = (cluster.database(), cluster.database());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut session = database.session();
                for key in 0..KEYS {
                    session.run(&format!("SELECT claim_once('ns', '{key}')"));
                }
            });
        }
    });
    other.session().run("SELECT claim_once('ns', 'k')");
    let mut session = database.session();
    let counted = "SELECT won, duplicate FROM once.stats WHERE ns = 'ns'";
    let expected = [KEYS, KEYS * (CLIENTS - 1)].map(|count| Some(count.to_string()));
    assert_eq!(session.rows(counted), [expected.to_vec()]);
    assert_eq!(other.session().number("SELECT won FROM once.stats"), 1);

    session.run("SELECT once.reset_stats()");
    assert!(session.rows(counted).is_empty());
    assert_eq!(other.session().number("SELECT won FROM once.stats"), 1);

    cluster.stop_fast();
    cluster.restart();
    assert_eq!(other.session().number("SELECT count(*) FROM once.stats"), 0);
}

#[test]
fn waits_and_timeouts_are_counted() {
    let cluster = Cluster::start(&[PRELOADED]);
    let database = cluster.database();
    let [mut winner, mut waiter, mut seen] = database.sessions();
    winner.begin();
    assert!(winner.is_true("SELECT claim_once('ns', 'k')"));
    assert!(winner.is_true("SELECT with_lock('ns', 'l')"));
    waiter.run("SET lock_timeout = '50ms'");
    waiter.refused("SELECT claim_once('ns', 'k')", "55P03");
    waiter.run("RESET lock_timeout");
    let late = "SELECT try_claim_once('ns', 'k', timeout => '50 ms')";
    assert_eq!(waiter.value(late), "in_progress");
    assert!(!waiter.is_true("SELECT with_lock('ns', 'l', timeout => '50 ms')"));
    assert_eq!(stats(&mut seen), ["3", "3", "1", "t"]);

    waiter.send("SELECT claim_once('ns', 'k')");
    waiter.waits_for(&winner);
    thread::sleep(Duration::from_millis(30));
    winner.commit();
    assert!(!waiter.answered_true());
    assert_eq!(stats(&mut seen), ["4", "3", "1", "t"]);
}

/// A call that works for long has not waited, and one that waits for a moment has.
#[test]
fn only_what_waits_counts_as_a_wait() {
    let cluster = Cluster::start(&[PRELOADED]);
    let database = cluster.database();
    let [mut holder, mut session] = database.sessions();
    let many = "SELECT count(*) FROM claim_many('ns', ARRAY(SELECT n::text FROM generate_series(1, 200000) n))";
    for engine in ["direct", "statement"] {
        session.run(&format!("SET pg_once.claim_engine = {engine}"));
        session.begin();
        assert_eq!(session.number(many), 200_000);
        session.rollback();
    }
    assert_eq!(stats(&mut session)[..3], ["0", "0", "0"]);

    holder.begin();
    assert!(holder.is_true("SELECT with_lock('ns', 'l')"));
    assert!(!session.is_true("SELECT with_lock('ns', 'l', timeout => '1 ms')"));
    assert_eq!(stats(&mut session)[..3], ["1", "1", "0"]);

    assert_eq!(
        session.value("SELECT outcome FROM begin_once('ns', 'w')"),
        "run"
    );
    let begin = "SELECT outcome FROM begin_once('ns', 'w', wait => '1 ms')";
    assert_eq!(session.value(begin), "in_progress");
    assert_eq!(stats(&mut session)[..3], ["2", "2", "1"]);
}

/// However many namespaces a tenant makes, those of other databases get rows of their own, and what
/// finds no place is counted for its own database.
#[test]
fn a_crowd_in_one_database_leaves_others_their_rows() {
    let cluster = Cluster::start(&[PRELOADED]);
    let (payroll, database) = (cluster.database(), cluster.database());
    let [mut crowd, mut session] = [payroll.session(), database.session()];
    let rows = "SELECT count(ns), count(*) - count(ns), sum(won) FILTER (WHERE ns IS NULL) FROM once.stats";
    let crowded = |named: i64, nameless: i64| {
        [vec![
            Some(named.to_string()),
            Some("1".into()),
            Some(nameless.to_string()),
        ]]
    };
    flood(&mut crowd);
    assert_eq!(crowd.rows(rows), crowded(1024, FLOOD - 1024));
    session.run("SELECT claim_once('ns ' || n, 'k') FROM generate_series(1, 50) n");
    let seen = [vec![Some("50".into()), Some("0".into()), None]];
    assert_eq!(session.rows(rows), seen);
    session.run("SELECT once.reset_stats()");
    assert_eq!(crowd.rows(rows), crowded(1024, FLOOD - 1024));

    flood(&mut session);
    assert_eq!(session.rows(rows), crowded(512, FLOOD - 512));
    crowd.run("SELECT once.configure('closed', allowed_role => 'postgres')");
    crowd.run("SELECT claim_once('closed', n) FROM generate_series(1, 13) n");
    assert_eq!(crowd.rows(rows), crowded(1024, FLOOD - 1024 + 13));
    assert_eq!(session.rows(rows), crowded(512, FLOOD - 512));
    crowd.run("SELECT once.reset_stats()");
    assert_eq!(crowd.number("SELECT count(*) FROM once.stats"), 0);
    assert_eq!(session.rows(rows), crowded(512, FLOOD - 512));
}

/// The row without a name may be of closed namespaces.
#[test]
fn what_is_counted_without_a_name_is_for_those_who_may_know_of_all() {
    let cluster = Cluster::start(&[PRELOADED]);
    let database = cluster.database();
    let mut session = database.session();
    flood(&mut session);
    session.run("CREATE ROLE eve LOGIN");
    let eve_sees_it = || {
        let mut eve = database.session_as("eve");
        assert_eq!(eve.number("SELECT count(ns) FROM once.stats"), 1024);
        let sees = [
            "once.stats WHERE ns IS NULL",
            "once.counters() WHERE ns IS NULL",
            "once.check() WHERE finding LIKE 'once.stats has no room%'",
        ]
        .map(|rows| eve.is_true(&format!("SELECT EXISTS (SELECT FROM {rows})")));
        assert_eq!(sees, [sees[0]; 3]);
        sees[0]
    };
    assert!(!eve_sees_it());
    session.run("GRANT pg_read_all_stats TO eve");
    assert!(eve_sees_it());
    session.run("REVOKE pg_read_all_stats FROM eve");
    assert!(!eve_sees_it());
    session.run(&format!("ALTER DATABASE {} OWNER TO eve", database.name));
    assert!(eve_sees_it());
    session.run(&format!(
        "ALTER DATABASE {} OWNER TO postgres",
        database.name
    ));
    assert!(!eve_sees_it());
    session.run("DROP EXTENSION pg_once");
    session.run(&format!(
        "GRANT CREATE ON DATABASE {} TO eve",
        database.name
    ));
    session.run("GRANT ALL ON SCHEMA public TO eve");
    database.session_as("eve").run("CREATE EXTENSION pg_once");
    assert!(eve_sees_it());
}

/// Databases come and go; what was counted for them takes no room for ever.
#[test]
fn a_dropped_database_gives_its_places_up() {
    let cluster = Cluster::start(&[PRELOADED, "pg_once.sweep_interval = 1"]);
    let kept = cluster.database();
    let [mut session, mut operator] = kept.sessions();
    let mut is_named = || {
        session.run("SELECT claim_once('mine', gen_random_uuid()::text)");
        session.is_true("SELECT EXISTS (SELECT FROM once.stats WHERE ns = 'mine')")
    };
    // Each takes half of what the others left.
    let crowds: Vec<_> = (0..6).map(|_| cluster.database()).collect();
    for crowd in &crowds {
        assert!(is_named(), "there is room");
        operator.run("SELECT once.reset_stats('mine')");
        flood(&mut crowd.session());
    }
    assert!(!is_named(), "there is no room");
    cluster
        .connect("postgres")
        .run(&format!("DROP DATABASE {} WITH (FORCE)", crowds[0].name));
    let started = Instant::now();
    while !is_named() {
        assert!(started.elapsed() < Duration::from_secs(30), "no room still");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Namespaces enough for all places that the database can get.
fn flood(session: &mut Session) {
    let sql =
        format!("SELECT count(claim_once('flood ' || n, 'k')) FROM generate_series(1, {FLOOD}) n");
    assert_eq!(session.number(&sql), FLOOD);
}

fn stats(session: &mut Session) -> Vec<String> {
    let sql = "SELECT waits, timeouts, in_progress, wait_time >= '150 ms' FROM once.stats WHERE ns = 'ns'";
    session.rows(sql)[0].iter().flatten().cloned().collect()
}

#[test]
fn without_preload_the_own_answers_are_counted() {
    let database: Database = database();
    let [mut session, mut other] = database.sessions();
    session.run("SELECT claim_once('ns', 'k')");
    assert_eq!(session.number("SELECT won FROM once.stats"), 1);
    assert_eq!(other.number("SELECT count(*) FROM once.stats"), 0);
}
