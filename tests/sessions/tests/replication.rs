//! Logical replication of the claims: another server has what was committed, and does not claim in
//! the same namespaces.

use pg_once_sessions::{Cluster, Database, Session};
use std::thread;
use std::time::{Duration, Instant};

/// A publisher and a subscriber of the claims, with one claim before the subscription.
struct Pair<'c> {
    source: Database<'c>,
    target: Database<'c>,
}

fn in_a_pair(test: impl FnOnce(Pair)) {
    let [publisher, subscriber] = [(), ()].map(|()| {
        Cluster::start(&[
            "wal_level = logical",
            "wal_retrieve_retry_interval = '200ms'",
            "shared_preload_libraries = 'pg_once'",
            "pg_once.sweep_interval = 0",
        ])
    });
    let (source, target) = (publisher.database(), subscriber.database());
    let mut session = source.session();
    assert!(session.is_true("SELECT claim_once('ns', 'before')"));
    session.run("CREATE PUBLICATION claims FOR TABLE once.claim");
    target.session().run(&format!(
        "CREATE SUBSCRIPTION claims CONNECTION '{}' PUBLICATION claims",
        publisher.connection(&source.name)
    ));
    let pair = Pair { source, target };
    pair.settle();
    test(pair);
}

const CLAIMS: &str = "SELECT * FROM once.claim ORDER BY place_high, place_low, hash_high, hash_low";

impl Pair<'_> {
    /// Both have the same claims, to the microsecond.
    fn settle(&self) {
        let (mut source, mut target) = (self.source.session(), self.target.session());
        let expected = source.rows(CLAIMS);
        until(|| target.rows(CLAIMS) == expected, "the claims arrive");
    }

    fn apply_worker_failed(&self) -> bool {
        self.target.session().is_true(
            "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = 'claims'",
        )
    }
}

fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "never: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn claims_arrive_change_and_go() {
    in_a_pair(|pair| {
        let (mut here, mut there) = (pair.source.session(), pair.target.session());
        let is_there = |there: &mut Session, key: &str| {
            there.is_true(&format!("SELECT is_claimed('ns', '{key}')"))
        };
        assert!(is_there(&mut there, "before"));
        for engine in ["direct", "statement"] {
            here.run(&format!("SET pg_once.claim_engine = {engine}"));
            let key = |what: &str| format!("{what} {engine}");
            here.run(&format!(
                "SELECT claim_once('ns', '{}'), claim_once_per('1 microsecond', 'ns', '{}'),
                        claim_once_per('1 microsecond', 'ns', '{}'),
                        try_claim_once('ns', '{}', ttl => '1 day', owner => 'me');
                 SELECT claim_many('ns', ARRAY['{}', '{}'])",
                key("one"),
                key("retaken"),
                key("swept"),
                key("owned"),
                key("batch 1"),
                key("batch 2"),
            ));
            here.run(&format!(
                "BEGIN; SELECT claim_once('ns', '{}'); ROLLBACK;
                 BEGIN; SAVEPOINT s; SELECT claim_once('ns', '{}'); ROLLBACK TO s; COMMIT",
                key("rolled back"),
                key("of a savepoint"),
            ));
            pair.settle();
            for gone in ["rolled back", "of a savepoint"] {
                assert!(!is_there(&mut there, &key(gone)), "{gone}");
            }
            for claimed in ["one", "owned", "batch 1", "batch 2"] {
                assert!(is_there(&mut there, &key(claimed)), "{claimed}");
            }
            // A takeover is an UPDATE there, unclaim and sweep are DELETEs.
            assert!(!is_there(&mut there, &key("retaken")));
            assert!(here.is_true(&format!("SELECT claim_once('ns', '{}')", key("retaken"))));
            pair.settle();
            assert!(is_there(&mut there, &key("retaken")));
            assert!(here.is_true(&format!("SELECT unclaim('ns', '{}')", key("one"))));
            assert_eq!(here.number("SELECT once.sweep()"), 1);
            pair.settle();
            assert!(!is_there(&mut there, &key("one")));
        }
        assert!(
            there.is_true("SELECT NOT EXISTS (SELECT FROM once.claim WHERE key LIKE 'swept%')")
        );
        assert!(!pair.apply_worker_failed());
    });
}

/// After a switch-over the subscriber goes on with what has arrived: claims stand, owners may ask
/// again, what is new is won by one.
#[test]
fn the_subscriber_takes_over() {
    in_a_pair(|pair| {
        let (mut here, mut there) = (pair.source.session(), pair.target.session());
        here.run("SELECT try_claim_once('ns', 'owned', owner => 'me'), claim_once_per('1 microsecond', 'ns', 'over')");
        pair.settle();
        there.run("ALTER SUBSCRIPTION claims DISABLE");
        assert!(!there.is_true("SELECT claim_once('ns', 'before')"));
        assert_eq!(
            there.value("SELECT try_claim_once('ns', 'owned', owner => 'me')"),
            "won"
        );
        assert!(there.is_true("SELECT claim_once('ns', 'over')"));
        assert!(there.is_true("SELECT claim_once('ns', 'new')"));
    });
}

/// The limit: a subscriber that claims in the same namespace stops the replication. Nothing is
/// lost: it goes on when the claim there is given back.
#[test]
fn a_subscriber_that_claims_stops_the_replication() {
    in_a_pair(|pair| {
        let (mut here, mut there) = (pair.source.session(), pair.target.session());
        assert!(there.is_true("SELECT claim_once('ns', 'both')"));
        assert!(here.is_true("SELECT claim_once('ns', 'both')"));
        assert!(here.is_true("SELECT claim_once('ns', 'later')"));
        until(|| pair.apply_worker_failed(), "the conflict is met");
        assert!(!there.is_true("SELECT is_claimed('ns', 'later')"));
        assert!(there.is_true("SELECT unclaim('ns', 'both')"));
        pair.settle();
        assert!(there.is_true("SELECT is_claimed('ns', 'both') AND is_claimed('ns', 'later')"));
    });
}

/// The limit: what a subscriber sweeps by itself cannot be taken over there any more, so that a
/// claim is missing.
#[test]
fn a_subscriber_that_sweeps_misses_takeovers() {
    in_a_pair(|pair| {
        let (mut here, mut there) = (pair.source.session(), pair.target.session());
        here.run("SELECT claim_once_per('1 microsecond', 'ns', 'over')");
        pair.settle();
        assert_eq!(there.number("SELECT once.sweep()"), 1);
        assert!(here.is_true("SELECT claim_once('ns', 'over')"));
        assert!(here.is_true("SELECT claim_once('ns', 'later')"));
        until(
            || there.is_true("SELECT is_claimed('ns', 'later')"),
            "the next claim arrives",
        );
        assert!(!there.is_true("SELECT is_claimed('ns', 'over')"));
        assert!(!pair.apply_worker_failed());
    });
}

/// once.check names the worker of a subscriber.
#[test]
fn the_worker_of_a_subscriber_is_found() {
    in_a_pair(|pair| {
        const FOUND: &str = "SELECT EXISTS (SELECT FROM once.check() WHERE finding LIKE
            'once.claim is replicated to this database, and the worker sweeps it%')";
        let (mut here, mut there) = (pair.source.session(), pair.target.session());
        assert!(!there.is_true(FOUND));
        for session in [&mut here, &mut there] {
            session.run("ALTER SYSTEM SET pg_once.sweep_interval = '1h'");
            session.run("SELECT pg_reload_conf()");
        }
        until(|| there.is_true(FOUND), "it is found");
        assert!(!here.is_true(FOUND));
    });
}
