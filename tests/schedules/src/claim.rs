//! Schedules of sessions that make claims and give them back.

mod call;
mod model;

pub use call::Call;
pub use model::Claims;

use crate::schedule::Step;
use crate::stage::Stage;
use crate::subject::Subject;
use fastrand::Rng;
use pg_once_sessions::Session;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone)]
pub struct ClaimSchedules;

/// The engine, the isolation level, and how many keys there are.
#[derive(Clone)]
pub struct Scene {
    pub engine: &'static str,
    pub is_repeatable: bool,
    pub keys: u8,
}

const ENGINES: [&str; 2] = ["direct", "statement"];

impl Subject for ClaimSchedules {
    const NAME: &'static str = "claims";
    type Scene = Scene;
    type Call = Call;
    type Model = Claims;

    fn install(_administrator: &mut Session) {}

    fn scene(rng: &mut Rng) -> Scene {
        Scene {
            engine: ENGINES[rng.usize(0..2)],
            is_repeatable: rng.u8(0..4) == 0,
            keys: if rng.u8(0..3) == 0 { 1 } else { 2 },
        }
    }

    fn steps(rng: &mut Rng, scene: &Scene, count: usize) -> Vec<Step<Call>> {
        let mut step = || match rng.u32(0..100) {
            0..62 => Step::Call(Call::random(rng, scene)),
            62..78 => Step::Commit,
            78..84 => Step::Rollback,
            84..89 => Step::Savepoint,
            89..94 => Step::RollbackToSavepoint,
            94..96 => Step::ReleaseSavepoint,
            _ => Step::Cancel,
        };
        (0..count).map(|_| step()).collect()
    }

    fn prepare(scene: &Scene, stage: &mut Stage, sessions: usize) -> Claims {
        // Each schedule has a namespace of its own.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let ns = format!("schedule {}", MADE.fetch_add(1, Ordering::Relaxed));
        for session in &mut stage.sessions[..sessions] {
            session.send(&format!("SET pg_once.claim_engine = {}", scene.engine));
        }
        for session in &mut stage.sessions[..sessions] {
            session.answered_rows();
        }
        Claims::new(scene, ns, sessions)
    }
}

impl Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let repeatable = u8::from(self.is_repeatable);
        write!(
            f,
            "{} repeatable={repeatable} keys={}",
            self.engine, self.keys
        )
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(text: &str) -> Result<Scene, String> {
        let engine = ENGINES.into_iter().find(|engine| text.starts_with(engine));
        Ok(Scene {
            engine: engine.ok_or_else(|| format!("no engine: {text}"))?,
            is_repeatable: text.contains("repeatable=1"),
            keys: if text.contains("keys=1") { 1 } else { 2 },
        })
    }
}
