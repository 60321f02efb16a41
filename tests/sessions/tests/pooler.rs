//! What happens behind a pooler in transaction mode, which gives a connection to the server to one client
//! for the time of a transaction. Races through it are in the history tests; locks of sessions in `lock.rs`.

use pg_once_sessions::{Cluster, Database, Pooler};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a call takes that waits for nothing, also on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// How long what has to wait is seen to wait.
const A_WHILE: Duration = Duration::from_millis(400);

const CONNECTIONS: usize = 3;

/// Callers that wait for a key keep their connections, and an unrelated statement waits for one too. What has
/// a timeout gives its connection back.
#[test]
fn waiters_fill_the_pool() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", CONNECTIONS);
    let mut waiters = Vec::from_iter((0..CONNECTIONS).map(|_| pooler.session(&database.name)));
    let mut unrelated = pooler.session(&database.name);
    let mut holder = database.session();
    holder.begin();
    assert!(holder.is_true("SELECT claim_once('pool', 'k')"));

    for waiter in &mut waiters {
        waiter.send("SELECT claim_once('pool', 'k')");
    }
    wait_for_waiters(&database, CONNECTIONS);
    unrelated.send("SELECT 'answered'");
    assert!(!unrelated.answers_within(A_WHILE));
    holder.rollback();
    assert_eq!(unrelated.answered_value(), "answered");
    let won = waiters
        .iter_mut()
        .filter_map(|waiter| Some(waiter.answered_true()).filter(|won| *won));
    assert_eq!(won.count(), 1);

    holder.begin();
    assert!(holder.is_true("SELECT claim_once('pool', 'bounded')"));
    for waiter in &mut waiters {
        waiter.send("SELECT try_claim_once('pool', 'bounded', '4 s')");
    }
    wait_for_waiters(&database, CONNECTIONS);
    unrelated.send("SELECT 'answered'");
    assert_eq!(unrelated.answered_value(), "answered");
    for waiter in &mut waiters {
        assert_eq!(waiter.answered_value(), "in_progress");
    }
    for waiter in &mut waiters {
        waiter.send("SELECT try_claim_once('pool', 'bounded', '0')");
        assert_eq!(waiter.answered_value(), "in_progress");
    }
    holder.commit();
}

/// The connection that the holder needs to end its own transaction is its own until then: waiters that fill
/// the pool do not keep it from that. A transaction that has not begun yet waits.
#[test]
fn a_holder_in_the_pool_goes_on() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", CONNECTIONS);
    let mut holder = pooler.session(&database.name);
    holder.begin();
    assert!(holder.is_true("SELECT claim_once('pool', 'k')"));
    let mut waiters = Vec::from_iter((0..3 * CONNECTIONS).map(|_| pooler.session(&database.name)));
    for waiter in &mut waiters {
        waiter.send("SELECT claim_once('pool', 'k')");
    }
    wait_for_waiters(&database, CONNECTIONS - 1);
    let asked = Instant::now();
    holder.run("SELECT 1");
    holder.commit();
    assert!(asked.elapsed() < SOON);
    for waiter in &mut waiters {
        assert!(!waiter.answered_true());
    }
}

/// A client that is gone while its call waits in the server: without `client_connection_check_interval` the call goes
/// on and wins for nobody. With it the call ends, and somebody else wins.
#[test]
fn a_killed_waiter_wins_for_nobody() {
    for (interval, is_lost) in [("0", true), ("50ms", false)] {
        let cluster =
            Cluster::start(&[&format!("client_connection_check_interval = '{interval}'")]);
        let database = cluster.database();
        let pooler = Pooler::start(&cluster, "transaction", CONNECTIONS);
        let mut holder = database.session();
        holder.begin();
        assert!(holder.is_true("SELECT claim_once('killed', 'k')"));
        let mut client = cluster
            .client_command("psql")
            .env("PGHOST", pooler.directory())
            .args(["-X", "-U", "postgres", "-d", &database.name, "-c"])
            .arg("SELECT claim_once('killed', 'k')")
            .spawn()
            .unwrap();
        wait_for_waiters(&database, 1);
        client.kill().unwrap();
        client.wait().unwrap();
        if is_lost {
            thread::sleep(A_WHILE);
        }
        wait_for_waiters(&database, usize::from(is_lost));
        holder.rollback();
        wait_for_waiters(&database, 0);
        let mut next = pooler.session(&database.name);
        let is_won = next.is_true("SELECT claim_once('killed', 'k')");
        assert_eq!(is_won, !is_lost, "{interval}");
    }
}

/// A statement that was prepared on one connection is not there on another one, unless the pooler follows it. It
/// is an error before the call, and claims nothing.
#[test]
fn a_prepared_statement_fails_before_the_call() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let pooler = Pooler::start(&cluster, "transaction", 2);
    let mut client = postgres::Config::new()
        .host_path(pooler.directory())
        .port(5432)
        .user("postgres")
        .dbname(&database.name)
        .connect(postgres::NoTls)
        .unwrap();
    let mut neighbour = pooler.session(&database.name);
    // The connection that was used last is given out first.
    let prepared = client.prepare("SELECT claim_once('prepared', $1)").unwrap();
    neighbour.begin();
    neighbour.run("SELECT 1");
    let told = client.query_one(&prepared, &[&"k"]);
    neighbour.commit();
    match told {
        Ok(row) => assert!(follows_prepared_statements() && row.get::<_, bool>(0)),
        Err(error) => {
            assert!(!follows_prepared_statements(), "{error}");
            assert_eq!(error.code().unwrap().code(), "26000");
            assert!(neighbour.is_true("SELECT claim_once('prepared', 'k')"));
        }
    }
    // The name of one that was prepared in SQL is taken for others, which no version follows.
    const PREPARE: &str = "PREPARE p AS SELECT claim_once('prepared', $1)";
    neighbour.run(PREPARE);
    pooler.session(&database.name).refused(PREPARE, "42P05");
}

/// Waits until so many sessions of the database wait for a transaction.
fn wait_for_waiters(database: &Database, number: usize) {
    let condition = format!(
        "(SELECT count(*) = {number} FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock')"
    );
    database.session().wait_until(&condition, SOON);
}

/// Since 1.21, where `max_prepared_statements` is set, which it is since 1.24.
fn follows_prepared_statements() -> bool {
    version() >= (1, 24)
}

fn version() -> (u32, u32) {
    let told = Pooler::version();
    let mut numbers = told.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
