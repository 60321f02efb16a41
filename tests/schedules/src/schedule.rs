//! A schedule: the scene, the steps of each session, and the order in which sessions take a step. It is
//! made from a seed, and written and read as one line of text.

use crate::subject::Subject;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// The most sessions that a schedule has.
pub const SESSIONS: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<C> {
    Call(C),
    Savepoint,
    RollbackToSavepoint,
    ReleaseSavepoint,
    Commit,
    Rollback,
    /// Ends the session's own call, where that waits.
    Cancel,
}

#[derive(Clone)]
pub struct Schedule<S: Subject> {
    pub scene: S::Scene,
    pub sessions: Vec<Vec<Step<S::Call>>>,
    /// The session that takes each step. Where it cannot it is passed over.
    pub order: Vec<usize>,
}

impl<S: Subject> Schedule<S> {
    /// Short lists, of which every order can be run; the order is left out.
    pub fn short(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sessions = rng.usize(2..=3);
        let steps = if sessions == 2 { 2..=4 } else { 1..=3 };
        Self::random(&mut rng, sessions, steps)
    }

    /// Longer lists in a random order.
    pub fn long(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sessions = rng.usize(2..=SESSIONS);
        let mut schedule = Self::random(&mut rng, sessions, 3..=8);
        for (session, steps) in schedule.sessions.iter().enumerate() {
            schedule.order.extend(steps.iter().map(|_| session));
        }
        rng.shuffle(&mut schedule.order);
        schedule
    }

    fn random(rng: &mut Rng, sessions: usize, steps: std::ops::RangeInclusive<usize>) -> Self {
        let scene = S::scene(rng);
        let sessions = (0..sessions)
            .map(|_| {
                let count = rng.usize(steps.clone());
                S::steps(rng, &scene, count)
            })
            .collect();
        Self {
            scene,
            sessions,
            order: Vec::new(),
        }
    }
}

impl<C: Display> Display for Step<C> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Call(call) => call.fmt(f),
            Step::Savepoint => f.write_str("savepoint"),
            Step::RollbackToSavepoint => f.write_str("rollback to"),
            Step::ReleaseSavepoint => f.write_str("release"),
            Step::Commit => f.write_str("commit"),
            Step::Rollback => f.write_str("rollback"),
            Step::Cancel => f.write_str("cancel"),
        }
    }
}

impl<C: FromStr<Err = String>> FromStr for Step<C> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "savepoint" => Step::Savepoint,
            "rollback to" => Step::RollbackToSavepoint,
            "release" => Step::ReleaseSavepoint,
            "commit" => Step::Commit,
            "rollback" => Step::Rollback,
            "cancel" => Step::Cancel,
            call => Step::Call(call.parse()?),
        })
    }
}

impl<S: Subject> Display for Schedule<S> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.scene)?;
        for steps in &self.sessions {
            let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
            write!(f, " | {}", steps.join(", "))?;
        }
        let order: Vec<String> = self.order.iter().map(usize::to_string).collect();
        write!(f, " | order {}", order.join(" "))
    }
}

impl<S: Subject> FromStr for Schedule<S> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('|').map(str::trim);
        let scene = parts.next().ok_or("no scene")?.parse()?;
        let mut sessions = Vec::new();
        let mut order = Vec::new();
        for part in parts {
            if let Some(numbers) = part.strip_prefix("order") {
                order = numbers
                    .split_whitespace()
                    .map(|number| number.parse().map_err(|_| format!("order: {number}")))
                    .collect::<Result<_, _>>()?;
            } else {
                let steps = part
                    .split(',')
                    .map(str::trim)
                    .filter(|step| !step.is_empty());
                sessions.push(steps.map(Step::from_str).collect::<Result<_, _>>()?);
            }
        }
        Ok(Self {
            scene,
            sessions,
            order,
        })
    }
}
