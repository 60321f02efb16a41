//! The server runs out of something that all share: places for locks, memory.

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
            let mut hog = scene.cluster.connect("postgres");
            // What it has taken before the refusal it keeps.
            let all_places = "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n";
            hog.refused(all_places, "53200");
            thread::sleep(Duration::from_millis(500));
        }
        thread::sleep(Duration::from_millis(300));
    });
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
