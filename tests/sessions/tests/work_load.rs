//! G1, G10 under load: many workers, each a process, whose backends and
//! clients are killed at random, and the server too. Each key is completed
//! once, its tokens rise, and none is stuck.
//!
//! The scale is small. `PG_ONCE_WORK_KEYS` and `PG_ONCE_WORK_CRASHES` make it
//! what it was when its figures were taken.

use pg_once_sessions::{Cluster, Database};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: usize = 16;
/// Work that is not done by then is stuck.
const LIMIT: Duration = Duration::from_secs(540);

#[test]
fn killed_workers_complete_each_key_once() {
    load(scale("PG_ONCE_WORK_KEYS", 400), 0);
}

#[test]
fn a_killed_server_loses_no_token_and_no_result() {
    let crashes = scale("PG_ONCE_WORK_CRASHES", 2);
    load(scale("PG_ONCE_WORK_KEYS", 200), crashes);
}

fn load(keys: usize, crashes: usize) {
    let cluster = Cluster::start(&["max_connections = 60", "restart_after_crash = on"]);
    let database = cluster.database();
    let mut session = database.session();
    session.run(&format!(
        "CREATE TABLE wanted AS SELECT generate_series(1, {keys}) AS key;
         CREATE TABLE done (key int PRIMARY KEY);
         CREATE TABLE begun (n bigserial, key int, token bigint, attempt int);
         CREATE TABLE effect (n bigserial, key int, token bigint, worker int);
         CREATE INDEX ON wanted (key)"
    ));
    drop(session);

    let started = Instant::now();
    let mut workers = Workers((0..WORKERS).map(|at| worker(&database, keys, at)).collect());
    let (mut ended, mut killed, mut crashed) = (0, 0, 0);
    while workers.0.iter_mut().any(is_at_work) {
        assert!(
            started.elapsed() < LIMIT,
            "stuck: {:?}",
            database
                .session()
                .rows("SELECT * FROM once.work WHERE state <> 'done'")
        );
        thread::sleep(Duration::from_millis(fastrand::u64(10..60)));
        if crashed < crashes && is_due(&database, keys, crashed, crashes) {
            cluster.kill_postmaster();
            cluster.restart();
            crashed += 1;
        }
        match fastrand::u32(0..10) {
            0..6 => ended += end_a_backend(&database),
            6..9 => {
                let at = fastrand::usize(0..WORKERS);
                let victim = &mut workers.0[at];
                if is_at_work(victim) {
                    victim.kill().unwrap();
                    victim.wait().unwrap();
                    *victim = worker(&database, keys, at);
                    killed += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(crashed, crashes, "the work was over before the last crash");
    verify(&database, keys);
    let takeovers = database
        .session()
        .number("SELECT count(*) - count(DISTINCT key) FROM begun");
    println!(
        "{keys} keys in {:?}: {ended} backends ended, {killed} clients killed, {crashed} crashes, \
         {takeovers} begins beyond the first",
        started.elapsed()
    );
}

/// They end with the test, however it ends.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn verify(database: &Database, keys: usize) {
    let mut session = database.session();
    session.run(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    );
    let nothing: [Vec<Option<String>>; 0] = [];
    assert_eq!(
        session.number(
            "SELECT count(*) FROM once.work_record WHERE state = 'd' AND finished_at IS NOT NULL"
        ),
        keys as i64
    );
    assert_eq!(
        session.number("SELECT count(*) FROM once.work_record"),
        keys as i64
    );
    assert_eq!(
        session.rows(
            "SELECT key, count(*) FROM effect WHERE key % 2 = 0 GROUP BY key HAVING count(*) <> 1"
        ),
        nothing,
        "an effect that was completed with its work is there once"
    );
    assert_eq!(
        session.number("SELECT count(DISTINCT key) FROM effect"),
        keys as i64
    );
    assert_eq!(
        session.rows(
            "SELECT * FROM (SELECT key, token, lag(token) OVER w AS before,
                                   attempt, lag(attempt, 1, 0) OVER w AS attempt_before
                            FROM begun WINDOW w AS (PARTITION BY key ORDER BY n)) AS b
             WHERE token <= before OR attempt <> attempt_before + 1"
        ),
        nothing,
        "tokens and attempts rise"
    );
    assert_eq!(
        session.rows(
            "SELECT * FROM (SELECT key, token, lag(token) OVER (PARTITION BY key ORDER BY n) AS before
                            FROM effect) AS e
             WHERE token <= before"
        ),
        nothing,
        "nothing is written behind the fence with a lower token"
    );
    assert_eq!(
        session.rows(
            "SELECT r.key FROM once.work_record r
             WHERE r.token <> (SELECT max(token) FROM begun b WHERE b.key = r.key::int)
                OR r.token <> (SELECT max(token) FROM effect e WHERE e.key = r.key::int)
                OR r.result <> to_jsonb(r.token)"
        ),
        nothing,
        "who completed it was the last to begin it"
    );
}

fn worker(database: &Database, keys: usize, number: usize) -> Child {
    Command::new(env!("CARGO_BIN_EXE_worker"))
        .args([&database.cluster.path(""), &database.name, "load"])
        .args([keys.to_string(), number.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn is_at_work(worker: &mut Child) -> bool {
    match worker.try_wait().unwrap() {
        None => true,
        Some(status) => {
            assert!(status.success(), "a worker failed");
            false
        }
    }
}

fn end_a_backend(database: &Database) -> usize {
    database.session().number(
        "SELECT count(*) FROM (
             SELECT pg_terminate_backend(pid) FROM (
                 SELECT pid FROM pg_stat_activity WHERE application_name = 'worker'
                 ORDER BY random() LIMIT 1) AS one) AS ended",
    ) as usize
}

/// Whether it is time for the next crash, so that they are spread over the work.
fn is_due(database: &Database, keys: usize, crashed: usize, crashes: usize) -> bool {
    let done = database.session().number("SELECT count(*) FROM done") as usize;
    done * (crashes + 1) >= keys * crashed
}

fn scale(variable: &str, small: usize) -> usize {
    std::env::var(variable).map_or(small, |value| value.parse().unwrap())
}
