//! Schedules of sessions that find, create and lock rows, beside others that change them.

mod call;
mod model;
mod scene;
pub mod table;

pub use call::{Call, Timeout};
pub use model::Rows;
pub use scene::Scene;

use crate::schedule::Step;
use crate::stage::Stage;
use crate::subject::Subject;
use fastrand::Rng;
use pg_once_sessions::Session;

#[derive(Clone)]
pub struct RowSchedules;

impl Subject for RowSchedules {
    const NAME: &'static str = "rows";
    type Scene = Scene;
    type Call = Call;
    type Model = Rows;

    fn install(administrator: &mut Session) {
        for table in table::ALL {
            administrator.run(&table.create());
        }
    }

    fn scene(rng: &mut Rng) -> Scene {
        Scene::random(rng)
    }

    fn steps(rng: &mut Rng, scene: &Scene, count: usize) -> Vec<Step<Call>> {
        if scene.table.detaches && rng.u8(0..3) == 0 {
            return vec![Step::Call(Call::Detach)];
        }
        let mut step = || match rng.u32(0..100) {
            0..68 => Step::Call(Call::random(rng, scene)),
            68..84 => Step::Commit,
            84..88 => Step::Rollback,
            88..92 => Step::Savepoint,
            92..95 => Step::RollbackToSavepoint,
            95..96 => Step::ReleaseSavepoint,
            _ => Step::Cancel,
        };
        (0..count).map(|_| step()).collect()
    }

    fn prepare(scene: &Scene, stage: &mut Stage, sessions: usize) -> Rows {
        scene.set(stage, sessions);
        Rows::new(scene, sessions)
    }
}
