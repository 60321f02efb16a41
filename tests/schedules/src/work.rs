//! Schedules of sessions that begin work, take it over, fence its effects, and complete it.

mod call;
mod model;

pub use call::Call;
pub use model::Work;

use crate::schedule::Step;
use crate::stage::Stage;
use crate::subject::Subject;
use fastrand::Rng;
use pg_once_sessions::Session;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone)]
pub struct WorkSchedules;

/// How many keys there are.
#[derive(Clone)]
pub struct Scene {
    pub keys: u8,
}

impl Subject for WorkSchedules {
    const NAME: &'static str = "work";
    type Scene = Scene;
    type Call = Call;
    type Model = Work;

    fn install(_administrator: &mut Session) {}

    fn scene(rng: &mut Rng) -> Scene {
        Scene {
            keys: if rng.u8(0..3) == 0 { 2 } else { 1 },
        }
    }

    fn steps(rng: &mut Rng, scene: &Scene, count: usize) -> Vec<Step<Call>> {
        let mut step = || match rng.u32(0..100) {
            0..60 => Step::Call(Call::random(rng, scene)),
            60..82 => Step::Commit,
            82..87 => Step::Rollback,
            87..91 => Step::Savepoint,
            91..95 => Step::RollbackToSavepoint,
            95..97 => Step::ReleaseSavepoint,
            _ => Step::Cancel,
        };
        (0..count).map(|_| step()).collect()
    }

    fn prepare(_scene: &Scene, _stage: &mut Stage, sessions: usize) -> Work {
        // Each schedule has a namespace of its own.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Work::new(format!("schedule {number}"), sessions)
    }
}

impl Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "keys={}", self.keys)
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(text: &str) -> Result<Scene, String> {
        match text {
            "keys=1" => Ok(Scene { keys: 1 }),
            "keys=2" => Ok(Scene { keys: 2 }),
            _ => Err(format!("no scene: {text}")),
        }
    }
}
