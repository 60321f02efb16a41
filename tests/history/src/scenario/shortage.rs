//! The server runs out of something that all share: places for locks, connections, memory.

use crate::plan::{GORGE, Mix};
use crate::scene::{Ending, Scale, Scene, Terms, all};
use pg_once_sessions::Cluster;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// One session takes all places of the lock table, several times.
pub fn locks(scale: &Scale) -> Ending {
    const FULL: Terms = Terms {
        allowed: &["53200"],
        ..Terms::USUAL
    };
    let scene = Scene::open(scale, &["max_locks_per_transaction = 10"]);
    let recorded = scene.record(FULL, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(300));
            scene.cluster.wait_until_ready();
            let mut hog = scene.cluster.connect("postgres");
            // What it has taken before the refusal it keeps.
            let all_places = "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n";
            hog.refused(all_places, "53200");
            thread::sleep(Duration::from_millis(500));
        }
        thread::sleep(Duration::from_millis(300));
        scene.cluster.wait_until_ready();
    });
    Ending::Survived(scene.close(recorded, FULL, scale.faults))
}

/// One serializable transaction takes all places for what others have read, several times.
pub fn predicate_locks(scale: &Scale) -> Ending {
    const FULL: Terms = Terms {
        allowed: &["53200"],
        ..Terms::USUAL
    };
    let settings = [
        "max_pred_locks_per_transaction = 10",
        "max_pred_locks_per_page = 10000",
        "max_pred_locks_per_relation = 10000",
    ];
    let scene = Scene::open(scale, &settings);
    let mut hog = scene.cluster.connect("postgres");
    // Each row is read, since the index has not all that is asked for.
    hog.run("CREATE TABLE much AS SELECT n, n AS m FROM generate_series(1, 5000) AS n");
    hog.run("CREATE INDEX ON much (n); SET enable_seqscan = off; SET enable_bitmapscan = off");
    let recorded = scene.record(FULL, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(300));
            hog.begin_at("SERIALIZABLE");
            // What it has read before the refusal it keeps in mind.
            hog.run(
                "DO $$ BEGIN PERFORM max(n + m) FROM much WHERE n > 0; RAISE 'there is always room';
                 EXCEPTION WHEN out_of_memory THEN NULL; END $$",
            );
            thread::sleep(Duration::from_millis(500));
            hog.rollback();
        }
        thread::sleep(Duration::from_millis(300));
    });
    let refused = scene.cluster.log().matches(" 53200 ERROR:  ").count();
    assert!(refused > 0, "there was always room for what clients read");
    Ending::Survived(scene.close(recorded, FULL, refused))
}

/// Others take all connections that are free, several times; whose connection is lost then has to
/// wait for one.
pub fn connections(scale: &Scale) -> Ending {
    const FULL: Terms = Terms {
        allowed: &["53300"],
        ..Terms::USUAL
    };
    const CONNECTIONS: usize = 20;
    let scene = Scene::open(scale, &["max_connections = 20"]);
    let recorded = scene.record(FULL, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(300));
            let mut crowd = Vec::new();
            while let Some(session) = scene.try_session() {
                crowd.push(session);
                assert!(crowd.len() < 10 * CONNECTIONS, "there is always room");
            }
            thread::sleep(Duration::from_millis(500));
        }
        thread::sleep(Duration::from_millis(300));
        scene.cluster.wait_until_ready();
    });
    assert!(
        scene.cluster.log().contains(" 53300 FATAL:  "),
        "nobody had to wait for a connection"
    );
    Ending::Survived(scene.close(recorded, FULL, scale.faults))
}

/// The server's processes may have 600 MB of addresses each, and some transactions want more.
pub fn memory(scale: &Scale) -> Ending {
    const SCARCE: Terms = Terms {
        mix: Mix {
            gluttony: true,
            ..Mix::ALL
        },
        allowed: &["53200"],
        ..Terms::USUAL
    };
    let limit = ["prlimit", "--as=600000000"];
    let settings = all(&["shared_buffers = '32MB'", "jit = off"]);
    let scene = Scene::of(Cluster::start_under(&limit, &settings, &[]), scale);
    let recorded = scene.record(SCARCE, || {
        let begun = Instant::now();
        let mut refused = 0;
        while refused < scale.faults || begun.elapsed() < scale.length {
            assert!(begun.elapsed() < PATIENCE, "there was memory enough");
            let told = scene
                .try_session()
                .map(|mut session| session.try_run(GORGE));
            if let Some(Err(failure)) = told {
                refused += usize::from(failure.sqlstate() == "53200");
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let refused = scene.cluster.log().matches(" 53200 ERROR:  ").count();
    Ending::Survived(scene.close(recorded, SCARCE, refused))
}
