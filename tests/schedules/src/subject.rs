//! What schedules are made for: the calls, the scene that they begin in, and the model that knows what
//! each call may return.

use crate::schedule::Step;
use crate::stage::Stage;
use crate::transaction::Transaction;
use fastrand::Rng;
use pg_once_sessions::{Rows, Session};
use std::fmt::Display;
use std::str::FromStr;

/// The rows of a statement, or the SQLSTATE that it failed with.
pub type Answer = Result<Rows, String>;

pub trait Subject: Sized + Clone {
    const NAME: &'static str;
    /// What is chosen before the first step.
    type Scene: Clone + Display + FromStr<Err = String>;
    type Call: Clone + PartialEq + Display + FromStr<Err = String>;
    type Model: Model<Call = Self::Call>;

    /// What one stage needs, once.
    fn install(administrator: &mut Session);

    fn scene(rng: &mut Rng) -> Self::Scene;

    /// The steps of one session.
    fn steps(rng: &mut Rng, scene: &Self::Scene, count: usize) -> Vec<Step<Self::Call>>;

    /// Brings the stage into the scene.
    fn prepare(scene: &Self::Scene, stage: &mut Stage, sessions: usize) -> Self::Model;
}

/// What is known of the data and of each session's transaction. It sees each call sent and answered, and
/// says what is wrong.
pub trait Model: Clone {
    type Call;
    type Level: crate::transaction::Level;

    fn transaction(&mut self, session: usize) -> &mut Transaction<Self::Level>;

    /// The statement that begins a transaction of this session.
    fn begin(&self, session: usize) -> String;

    /// The statement of a call; none where there is nothing that it could act on.
    fn statement(&self, session: usize, call: &Self::Call) -> Option<String>;

    /// Whether the call has to be a transaction of its own.
    fn is_alone(call: &Self::Call) -> bool;

    /// Whether the call has a timeout that is soon over.
    fn is_brief(call: &Self::Call) -> bool;

    /// Whether the call gives up waiting by itself, soon.
    fn gives_up(&self, _session: usize, call: &Self::Call) -> bool {
        Self::is_brief(call)
    }

    fn sent(&mut self, session: usize, call: &Self::Call);

    fn answered(
        &mut self,
        session: usize,
        call: &Self::Call,
        answer: &Answer,
    ) -> Result<(), String>;

    fn committed(&mut self, session: usize, level: Self::Level);

    /// A transaction has ended, or a part of one was undone.
    fn changed(&mut self);

    /// Whether the call may wait for these sessions.
    fn waits(&self, session: usize, call: &Self::Call, blockers: &[usize]) -> Result<(), String>;

    /// Looks at the server while all sessions are idle or wait.
    fn look(&mut self, looker: &mut Session) -> Result<(), String>;

    /// Looks at what is left when all transactions have ended.
    fn end(&mut self, looker: &mut Session) -> Result<(), String>;
}
