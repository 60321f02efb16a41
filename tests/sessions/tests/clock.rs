//! The server's clock steps back: waits end in time, what was given back is run, tokens rise.

use pg_once_sessions::{Clock, Cluster, Session};
use std::thread;
use std::time::Duration;

#[test]
fn work_goes_on_when_the_clock_steps_back() {
    let clock = Clock::make();
    let library = clock.library();
    let cluster = Cluster::start_with(&[], &[("LD_PRELOAD", &library)]);
    let database = cluster.database();
    let [mut first, mut second, mut observer] = database.sessions();
    begin(&mut first, "held");
    let given_back = begin(&mut first, "given back");
    first.run(&format!(
        "SELECT fail_once('ns', 'given back', {given_back})"
    ));
    let done = begin(&mut first, "done");
    first.run(&format!("SELECT complete_once('ns', 'done', {done})"));
    second.send("SELECT outcome FROM begin_once('ns', 'held', wait => '2 s')");
    thread::sleep(Duration::from_millis(300));

    let before = first.number(NOW);
    clock.set_ahead(-3600);
    assert!(
        first.number(NOW) < before - 3000,
        "the clock has not stepped"
    );
    assert!(begin(&mut first, "given back") > given_back);
    assert!(first.is_true("SELECT forget_once('ns', 'done')"));
    assert!(begin(&mut first, "done") > done);

    thread::sleep(Duration::from_secs(10));
    let waits = format!(
        "SELECT state = 'active' FROM pg_stat_activity WHERE pid = {}",
        second.pid()
    );
    assert!(!observer.is_true(&waits), "it waits for the clock");
    assert_eq!(second.answered_value(), "in_progress");
}

/// The launcher is awake every few seconds, so that it is not taken for absent for longer where the clock was set.
#[test]
fn the_worker_is_not_absent_when_the_clock_was_set() {
    const ABSENT: &str = "SELECT finding IS NOT NULL FROM once.worker_state()";
    const PRESENT: &str =
        "SELECT awake_at IS NOT NULL AND finding IS NULL FROM once.worker_state()";
    let clock = Clock::make();
    let library = clock.library();
    let cluster = Cluster::start_with(
        &["shared_preload_libraries = 'pg_once'"],
        &[("LD_PRELOAD", &library)],
    );
    let database = cluster.database();
    let mut session = database.session();
    session.wait_until(PRESENT, Duration::from_secs(20));
    for ahead in [7200, -3600] {
        let before = session.number(NOW);
        clock.set_ahead(ahead);
        assert!((session.number(NOW) - before).abs() > 3000);
        session.wait_until(PRESENT, Duration::from_secs(20));
        for _ in 0..14 {
            thread::sleep(Duration::from_millis(500));
            assert!(!session.is_true(ABSENT), "{ahead}");
        }
    }
}

/// It lasts for nobody knows how long: its beginning is still to come.
#[test]
fn a_transaction_from_before_the_clock_was_set_back_is_found() {
    let clock = Clock::make();
    let library = clock.library();
    let cluster = Cluster::start_with(&[], &[("LD_PRELOAD", &library)]);
    let database = cluster.database();
    let [mut forgotten, mut witness] = database.sessions();
    forgotten.begin();
    forgotten.run("SELECT claim_once('ns', 'k')");
    let found = format!(
        "SELECT count(*) FROM once.check() WHERE finding LIKE 'backend {} (postgres) has had claims open for %'",
        forgotten.pid()
    );
    assert_eq!(witness.number(&found), 0);
    clock.set_ahead(-3600);
    assert_eq!(witness.number(&found), 1);
    forgotten.commit();
    assert_eq!(witness.number(&found), 0);
}

const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint";

fn begin(session: &mut Session, key: &str) -> i64 {
    session.number(&format!(
        "SELECT token FROM begin_once('ns', '{key}', '1 hour')"
    ))
}
