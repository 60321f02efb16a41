//! Nothing but what every scenario has: cancels, ended backends, connections lost around COMMIT.

use crate::scene::{Ending, Scale, Scene, Terms};
use std::thread;

pub fn backends_ended(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &[]);
    let recorded = scene.record(Terms::USUAL, || thread::sleep(scale.length));
    assert!(
        recorded.cancelled > 0 && recorded.ended > 0,
        "PG_ONCE_SEED={}: nothing was disturbed",
        scale.seed
    );
    Ending::Survived(scene.close(recorded, Terms::USUAL, 0))
}
