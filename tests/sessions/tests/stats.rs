//! Statistics of all sessions, where the library is preloaded.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::thread;

const PRELOADED: &str = "shared_preload_libraries = 'pg_once'";

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
    thread::sleep(std::time::Duration::from_millis(30));
    winner.commit();
    assert!(!waiter.answered_true());
    assert_eq!(stats(&mut seen), ["4", "3", "1", "t"]);
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
