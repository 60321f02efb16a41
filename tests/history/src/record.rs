//! What every client asked and was told, with the times, transaction by transaction.

use std::time::Duration;

/// Time since the run began, by a monotonic clock.
pub type Moment = Duration;

/// Later than everything: what was not acknowledged may have happened at any time until then.
pub const NEVER: Moment = Duration::MAX;

/// When all sessions are gone and the tables are read: behind all that happened, before what never
/// did.
pub const LAST_LOOK: Moment = Duration::from_secs(u32::MAX as u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Moment,
    pub until: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    RolledBack,
    /// The connection was lost after COMMIT was sent, or after a statement that commits by itself:
    /// it may or may not have happened.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub fn sql(self) -> &'static str {
        match self {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub client: usize,
    /// Counts the connections of one client: what a session holds goes with it.
    pub session: u32,
    /// No other transaction of the run has it.
    pub number: u64,
    pub level: Level,
    /// It has written its number into the table `signature`.
    pub signed: bool,
    pub steps: Vec<Step>,
    pub end: Span,
    pub outcome: Outcome,
    /// Until when the server certainly had it open.
    pub open_until: Moment,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub asked: Moment,
    pub told: Moment,
    pub deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// One key of `claim_once`, `claim_many` or `try_claim_once`. Owner 0 is none. None: the answer
    /// was lost, here and below.
    Claim {
        key: Key,
        owner: u64,
        won: Option<bool>,
    },
    Unclaim {
        key: Key,
        gave: Option<bool>,
    },
    /// What `is_claimed` said.
    Look {
        key: Key,
        claimed: bool,
    },
    /// The row was shown with this count, and the client has written the next one.
    Turn {
        row: Key,
        created: Option<bool>,
        seen: i64,
    },
    /// A named lock was obtained.
    Lock {
        name: Key,
        shared: bool,
        of_session: bool,
    },
    /// `release_lock` gave back a hold of the session.
    Release {
        name: Key,
        shared: bool,
    },
    Work {
        key: Key,
        act: Work,
    },
    Savepoint,
    /// Rolled back to the savepoint.
    Undone,
    /// A statement was refused; nothing but a rollback comes next.
    Refused,
}

/// A name and the space it is a name in: a namespace, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub space: &'static str,
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.space, self.name)
    }
}

/// A call for work. Times are those of the server's clock, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The answer was lost.
    BeginLost,
    Run {
        token: i64,
        begun: i64,
        until: i64,
    },
    InProgress {
        until: i64,
    },
    Done {
        token: i64,
    },
    FailedForGood {
        token: i64,
    },
    /// `until` None: the answer was lost.
    Renew {
        token: i64,
        until: Option<i64>,
    },
    Complete {
        token: i64,
        first: Option<bool>,
    },
    Fail {
        token: i64,
        retry: bool,
    },
    Fence {
        token: i64,
    },
    /// Any of the four calls with a token was refused as stale.
    Stale {
        token: i64,
    },
    Forget {
        gone: Option<bool>,
    },
}

/// What became of one step.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub outcome: Outcome,
    /// The time in which its effect became visible, or was given back.
    ///
    /// A transaction is one operation on each key, and what it has won or written it holds until it
    /// commits. Others can be told of it from COMMIT on and not before, so its operation lies
    /// between the sending of COMMIT and the acknowledgement, not between the first call and the
    /// acknowledgement: with the longer interval a false that was said before the winner's COMMIT
    /// would have an explanation. The time from the call to COMMIT is checked besides, as a time in
    /// which nobody else may hold the same. What changed nothing is an operation between its own
    /// call and its own answer.
    pub over: Span,
    /// Until when it certainly was held.
    pub held_until: Moment,
}

impl Transaction {
    /// What became of each step.
    pub fn fates(&self) -> Vec<Fate> {
        let refused_at = |from: usize, to: usize| {
            let steps = &self.steps[from..to];
            let refused = steps.iter().find(|step| step.deed == Deed::Refused);
            refused.map(|step| step.asked)
        };
        let mut fates: Vec<Option<Fate>> = vec![None; self.steps.len()];
        let (mut savepoint, mut since) = (0, 0);
        for (at, step) in self.steps.iter().enumerate() {
            match step.deed {
                Deed::Savepoint => savepoint = at,
                Deed::Undone => {
                    let from = refused_at(since, at).unwrap_or(step.asked);
                    let undone = Fate {
                        outcome: Outcome::RolledBack,
                        over: Span {
                            from,
                            until: step.told,
                        },
                        held_until: from,
                    };
                    for fate in &mut fates[savepoint..at] {
                        fate.get_or_insert(undone);
                    }
                    since = at;
                }
                _ => {}
            }
        }
        let refused = refused_at(since, self.steps.len());
        let end = Fate {
            outcome: self.outcome,
            over: Span {
                from: refused.unwrap_or(self.end.from),
                until: self.end.until,
            },
            held_until: refused.map_or(self.open_until, |at| at.min(self.open_until)),
        };
        fates.into_iter().map(|fate| fate.unwrap_or(end)).collect()
    }

    /// The steps with their fates.
    pub fn lived(&self) -> impl Iterator<Item = (&Step, Fate)> {
        self.steps.iter().zip(self.fates())
    }
}

/// A time in which somebody certainly held something.
#[derive(Clone, Debug)]
pub struct Hold {
    pub by: u64,
    pub shared: bool,
    pub span: Span,
}

/// Two that held the same at a time, though one of them exclusively.
pub fn overlapping(holds: &[Hold]) -> Option<[&Hold; 2]> {
    let mut sorted: Vec<&Hold> = holds.iter().collect();
    sorted.sort_by_key(|hold| hold.span.from);
    for (at, first) in sorted.iter().enumerate() {
        let later = sorted[at + 1..].iter();
        for second in later.take_while(|second| second.span.from < first.span.until) {
            if second.by != first.by && !(first.shared && second.shared) {
                return Some([first, second]);
            }
        }
    }
    None
}
