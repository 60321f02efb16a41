//! The primary is stopped under load, and its synchronous standby promoted.

use crate::scene::{Ending, Scale, Scene, Terms};
use pg_once_sessions::Session;
use std::thread;
use std::time::{Duration, Instant};

/// Nobody is cancelled: a COMMIT that is, while it waits for the standby, says it is committed, with
/// a WARNING that the standby may not have it.
pub const SYNCHRONOUS: Terms = Terms {
    disturb: false,
    ..Terms::USUAL
};

pub fn promoted(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &["fsync = on"]);
    let standby = scene.cluster.standby();
    synchronize(&mut scene.session());
    let recorded = scene.record(SYNCHRONOUS, || {
        thread::sleep(scale.length / 2);
        // First nobody is left who could answer on the old side.
        scene.cluster.stop_immediately();
        standby.promote();
        scene.door.lead_to(standby.path(""));
        thread::sleep(scale.length / 2);
    });
    Ending::Survived(scene.close_on(&standby, recorded, SYNCHRONOUS, 1))
}

/// From then on a COMMIT is acknowledged when the standby has it.
pub fn synchronize(session: &mut Session) {
    session.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
    session.run("SELECT pg_reload_conf()");
    let started = Instant::now();
    let is_synchronous =
        "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
    while !session.is_true(is_synchronous) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the standby does not come"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
