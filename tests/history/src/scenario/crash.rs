//! The server crashes under load, again and again, with fsync on.

use crate::scene::{Ending, Scale, Scene, Terms};
use pg_once_sessions::Cluster;
use std::thread;
use std::time::Duration;

/// A server that is started while backends of the killed one are left is refused.
const TERMS: Terms = Terms {
    allowed: &["F0001"],
    deaths: &["terminated by signal 9"],
    ..Terms::USUAL
};

/// kill -9 of a random backend; the server recovers by itself.
pub fn backend_killed(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &["fsync = on"]);
    let mut random = scale.random();
    let mut killed = 0;
    let recorded = scene.record(TERMS, || {
        while killed < scale.faults {
            thread::sleep(Duration::from_millis(random.u64(300..900)));
            scene.cluster.wait_until_ready();
            let victim = format!(
                "SELECT pid FROM pg_stat_activity
                 WHERE datname = '{}' AND backend_type = 'client backend'
                 ORDER BY pid LIMIT 1 OFFSET {}",
                scene.database,
                random.usize(..8)
            );
            // Somebody else may be ending the server just now.
            let session = scene.cluster.try_connect("postgres");
            let victim = session.and_then(|mut session| session.try_run(&victim));
            if let Ok(rows) = victim
                && let Some(row) = rows.first()
                && let Some(pid) = &row[0]
            {
                killed += usize::from(scene.cluster.try_to_kill(pid));
            }
        }
        scene.cluster.wait_until_ready();
        thread::sleep(Duration::from_millis(300));
    });
    Ending::Survived(scene.close(recorded, TERMS, killed))
}

/// kill -9 of the postmaster. Its backends go on for a moment, and may still acknowledge.
pub fn postmaster_killed(scale: &Scale) -> Ending {
    again_and_again(scale, scale.kills, Cluster::kill_postmaster)
}

pub fn immediate_stop(scale: &Scale) -> Ending {
    again_and_again(scale, scale.faults, Cluster::stop_immediately)
}

fn again_and_again(scale: &Scale, cycles: usize, crash: fn(&Cluster)) -> Ending {
    let scene = Scene::open(scale, &["fsync = on"]);
    let mut random = scale.random();
    let recorded = scene.record(TERMS, || {
        for _ in 0..cycles {
            thread::sleep(Duration::from_millis(random.u64(200..700)));
            crash(&scene.cluster);
            scene.cluster.restart();
        }
        thread::sleep(Duration::from_millis(300));
    });
    Ending::Survived(scene.close(recorded, TERMS, cycles))
}
