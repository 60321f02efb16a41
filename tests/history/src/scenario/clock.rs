//! The clock jumps by an hour, forward and back, under the server and between one life of it and the
//! next.

use crate::scene::{Ending, Scale, Scene, Terms, all};
use pg_once_sessions::{Clock, Cluster};
use std::thread;
use std::time::Duration;

pub fn jumps(scale: &Scale) -> Ending {
    let clock = Clock::make();
    let library = clock.library();
    let scene = Scene::of(
        Cluster::start_with(&all(&[]), &[("LD_PRELOAD", &library)]),
        scale,
    );
    let mut jumps = 0;
    let recorded = scene.record(Terms::USUAL, || {
        for ahead in [3600, 0, -3600].into_iter().cycle().take(scale.faults) {
            thread::sleep(Duration::from_millis(600));
            let before = now(&scene);
            if ahead < 0 {
                scene.cluster.stop_fast();
                clock.set_ahead(ahead);
                scene.cluster.restart();
            } else {
                clock.set_ahead(ahead);
            }
            let jump = now(&scene) - before;
            assert!(jump.abs() > 3000, "the clock has jumped by {jump} s only");
            if ahead == 0 {
                end_sessions(&scene);
            }
            jumps += 1;
        }
        thread::sleep(Duration::from_millis(600));
    });
    Ending::Survived(scene.close(recorded, Terms::USUAL, jumps))
}

fn now(scene: &Scene) -> i64 {
    let mut session = scene.cluster.connect("postgres");
    session.number("SELECT extract(epoch FROM clock_timestamp())::bigint")
}

/// PostgreSQL's own timers, that of deadlocks among them, run an hour longer where the clock has
/// stepped back meanwhile. So whoever may wait for one of them is ended.
fn end_sessions(scene: &Scene) {
    scene.cluster.connect("postgres").run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        scene.database
    ));
}
