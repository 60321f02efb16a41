//! Schedules of sessions that take named locks, one or both at once.

mod call;
mod model;

pub use call::Call;
pub use model::Locks;

use crate::schedule::Step;
use crate::stage::Stage;
use crate::subject::Subject;
use fastrand::Rng;
use pg_once_sessions::Session;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone)]
pub struct LockSchedules;

/// Whether each transaction makes one call of with_locks only.
#[derive(Clone)]
pub struct Scene {
    pub is_one_each: bool,
}

impl Subject for LockSchedules {
    const NAME: &'static str = "locks";
    type Scene = Scene;
    type Call = Call;
    type Model = Locks;

    fn install(_administrator: &mut Session) {}

    fn scene(rng: &mut Rng) -> Scene {
        Scene {
            is_one_each: rng.u8(0..3) == 0,
        }
    }

    fn steps(rng: &mut Rng, scene: &Scene, count: usize) -> Vec<Step<Call>> {
        if scene.is_one_each {
            let mut step = |at: usize| match (at % 2, rng.u8(0..12)) {
                (0, _) => Step::Call(Call::random_batch(rng)),
                (_, 0) => Step::Cancel,
                (_, 1..4) => Step::Rollback,
                _ => Step::Commit,
            };
            return (0..count).map(&mut step).collect();
        }
        let mut step = || match rng.u32(0..100) {
            0..64 => Step::Call(Call::random(rng)),
            64..80 => Step::Commit,
            80..85 => Step::Rollback,
            85..90 => Step::Savepoint,
            90..94 => Step::RollbackToSavepoint,
            94..96 => Step::ReleaseSavepoint,
            _ => Step::Cancel,
        };
        (0..count).map(|_| step()).collect()
    }

    fn prepare(_scene: &Scene, _stage: &mut Stage, sessions: usize) -> Locks {
        // Each schedule has a namespace of its own.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Locks::new(format!("schedule {number}"), sessions)
    }
}

impl Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "one_each={}", u8::from(self.is_one_each))
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(text: &str) -> Result<Scene, String> {
        match text {
            "one_each=0" => Ok(Scene { is_one_each: false }),
            "one_each=1" => Ok(Scene { is_one_each: true }),
            _ => Err(format!("no scene: {text}")),
        }
    }
}
