//! A pgbouncer in transaction mode stands between the clients and the server, with fewer connections
//! than clients.

use crate::door::Door;
use crate::plan::Mix;
use crate::scene::{Ending, Scale, Scene, Terms};
use pg_once_sessions::Pooler;
use std::sync::Arc;
use std::thread;

pub fn transactions(scale: &Scale) -> Ending {
    // A lock of the session would be that of whoever is served by the backend next.
    const POOLED: Terms = Terms {
        mix: Mix {
            session_locks: false,
            ..Mix::ALL
        },
        ..Terms::USUAL
    };
    let mut scene = Scene::open(scale, &[]);
    let mode = "transaction";
    let pooler = Pooler::start(&scene.cluster, mode, 8);
    scene.door = Arc::new(Door::new(scene.cluster.path(mode), &scene.database, false));
    let recorded = scene.record(POOLED, || thread::sleep(scale.length));
    drop(pooler);
    Ending::Survived(scene.close(recorded, POOLED, 0))
}
