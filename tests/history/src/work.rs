//! Work: one key is a record that is begun under a token, and completed, failed, given back or
//! taken over.

use crate::order::{Operation, explain};
use crate::record::{Deed, Key, LAST_LOOK, NEVER, Outcome, Span, Transaction, Work as Call};
use std::collections::BTreeMap;
use todc_utils::Specification;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Nothing,
    /// Until when, by the server's clock. None: a renewal whose answer was lost has moved it.
    Running {
        until: Option<i64>,
    },
    /// Begun by a call whose answer was lost: with which token and for how long nobody knows.
    RunByNobody,
    GivenBack,
    Done,
    Failed,
    Forgotten,
}

/// The record: what it is, and the highest token that somebody was told.
pub type Record = (State, i64);

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Begin {
        token: i64,
        begun: i64,
        until: i64,
    },
    BeginLost,
    InProgress {
        until: i64,
    },
    Done {
        token: i64,
    },
    FailedForGood {
        token: i64,
    },
    Renew {
        token: i64,
        until: i64,
    },
    /// The token was current: a fence, or a call that was rolled back.
    Current {
        token: i64,
    },
    Stale {
        token: i64,
    },
    Complete {
        token: i64,
    },
    CompletedBefore {
        token: i64,
    },
    GiveBack {
        token: i64,
    },
    Fail {
        token: i64,
    },
    Forget,
    NothingToForget,
    /// The state of the table in the end.
    Left(State, i64),
    /// One of the calls that change something, and nobody knows whether it has.
    Perhaps(Change),
}

/// A change whose acknowledgement was lost.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Renew { token: i64 },
    Complete { token: i64 },
    GiveBack { token: i64 },
    Fail { token: i64 },
    Forget,
}

pub struct Work;

impl Specification for Work {
    type State = Record;
    type Operation = Act;

    fn init() -> Record {
        (State::Nothing, 0)
    }

    fn apply(act: &Act, record: &Record) -> (bool, Record) {
        match after(*act, *record) {
            Some(next) => (true, next),
            None => (matches!(act, Act::Perhaps(_) | Act::BeginLost), *record),
        }
    }
}

/// The record after this, if it can have been so.
fn after(act: Act, (state, last): Record) -> Option<Record> {
    let running = matches!(state, State::Running { .. });
    let current = |token: i64| running && token == last;
    let over = matches!(state, State::Done | State::Failed);
    match act {
        Act::Begin {
            token,
            begun,
            until,
        } => {
            let free = match state {
                State::Running { until: lease } => lease.is_none_or(|lease| lease <= begun),
                State::Done | State::Failed => false,
                _ => true,
            };
            (free && token > last).then_some((State::Running { until: Some(until) }, token))
        }
        Act::BeginLost => (!over).then_some((State::RunByNobody, last)),
        Act::InProgress { until } => match state {
            State::Running { until: lease } => lease.is_none_or(|lease| lease == until),
            State::RunByNobody | State::GivenBack => true,
            _ => false,
        }
        .then_some((state, last)),
        Act::Done { token } => (state == State::Done && token == last).then_some((state, last)),
        Act::FailedForGood { token } => {
            (state == State::Failed && token == last).then_some((state, last))
        }
        Act::Renew { token, until } => {
            current(token).then_some((State::Running { until: Some(until) }, last))
        }
        Act::Current { token } => current(token).then_some((state, last)),
        Act::Stale { token } => (!current(token)).then_some((state, last)),
        Act::Complete { token } => current(token).then_some((State::Done, last)),
        Act::CompletedBefore { token } => {
            (state == State::Done && token == last).then_some((state, last))
        }
        Act::GiveBack { token } => current(token).then_some((State::GivenBack, last)),
        Act::Fail { token } => current(token).then_some((State::Failed, last)),
        Act::Forget => over.then_some((State::Forgotten, last)),
        Act::NothingToForget => (!over).then_some((state, last)),
        Act::Left(left, token) => match (left, state) {
            (_, State::RunByNobody) => matches!(left, State::Running { .. }) && token > last,
            (State::Running { .. }, State::Running { .. }) => token == last,
            _ => left == state && token == last,
        }
        .then_some((state, last)),
        Act::Perhaps(Change::Renew { token }) => {
            current(token).then_some((State::Running { until: None }, last))
        }
        Act::Perhaps(Change::Complete { token }) => current(token).then_some((State::Done, last)),
        Act::Perhaps(Change::GiveBack { token }) => {
            current(token).then_some((State::GivenBack, last))
        }
        Act::Perhaps(Change::Fail { token }) => current(token).then_some((State::Failed, last)),
        Act::Perhaps(Change::Forget) => over.then_some((State::Forgotten, last)),
    }
}

/// A begin that was told to run, and what it was told.
#[derive(Clone, Copy, Debug)]
struct Run {
    span: Span,
    token: i64,
}

#[derive(Debug, Default)]
struct Told {
    operations: Vec<Operation<Act>>,
    runs: Vec<Run>,
}

/// Checks the work of a history against the records that are left, and counts the answers that were
/// checked.
///
/// For each key there must be an order of all answers that the record could have had, and later
/// begins have higher tokens than all that were acknowledged before them.
pub fn check(history: &[Transaction], left: &BTreeMap<Key, Record>) -> Result<usize, String> {
    let mut count = 0;
    for (key, mut told) in told(history, left) {
        // What is left is not counted.
        count += told.operations.len() - 1;
        tokens_rise(&mut told.runs).map_err(|reason| format!("work {key}: {reason}"))?;
        explain::<Work>(told.operations).map_err(|reason| format!("work {key}: {reason}"))?;
    }
    Ok(count)
}

/// The operations on each work of a history, and last the record that is left.
pub fn operations(
    history: &[Transaction],
    left: &BTreeMap<Key, Record>,
) -> Vec<Vec<Operation<Act>>> {
    let keys = told(history, left).into_values();
    keys.map(|told| told.operations).collect()
}

fn told<'h>(history: &'h [Transaction], left: &BTreeMap<Key, Record>) -> BTreeMap<&'h Key, Told> {
    let mut keys: BTreeMap<&Key, Told> = BTreeMap::new();
    for transaction in history {
        for (step, fate) in transaction.lived() {
            let Deed::Work { key, act } = &step.deed else {
                continue;
            };
            let told = keys.entry(key).or_default();
            let call = Span {
                from: step.asked,
                until: step.told,
            };
            if let Call::Run { token, .. } = act
                && fate.outcome == Outcome::Committed
            {
                told.runs.push(Run {
                    span: call,
                    token: *token,
                });
            }
            read(act, call, fate.over, fate.outcome, &mut told.operations);
        }
    }
    for (key, told) in &mut keys {
        let (state, token) = left.get(*key).copied().unwrap_or((State::Nothing, 0));
        let last = Operation::new(LAST_LOOK, LAST_LOOK, Act::Left(state, token));
        told.operations.push(last);
    }
    keys
}

/// Among begins of which one was answered before the other was asked.
fn tokens_rise(runs: &mut [Run]) -> Result<(), String> {
    runs.sort_by_key(|run| run.token);
    for pair in runs.windows(2) {
        if pair[0].token == pair[1].token {
            return Err(format!("one token was given twice: {pair:?}"));
        }
    }
    let mut earliest = NEVER;
    for run in runs.iter().rev() {
        if run.span.from > earliest {
            return Err(format!(
                "a token fell: {run:?} came after a higher one: {runs:?}"
            ));
        }
        earliest = earliest.min(run.span.until);
    }
    Ok(())
}

fn read(
    call: &Call,
    asked: Span,
    over: Span,
    outcome: Outcome,
    operations: &mut Vec<Operation<Act>>,
) {
    let mut say = |span: Span, act| operations.push(Operation { span, act });
    let lost = Span {
        from: asked.from,
        until: NEVER,
    };
    // What is said of a change inside a transaction: that the token was current then, and the change
    // as of COMMIT.
    let mut change = |token: i64, done: Act, perhaps: Change| match outcome {
        Outcome::Committed => say(over, done),
        Outcome::RolledBack => say(asked, Act::Current { token }),
        Outcome::Unknown => say(
            Span {
                from: over.from,
                until: NEVER,
            },
            Act::Perhaps(perhaps),
        ),
    };
    match *call {
        Call::BeginLost => say(lost, Act::BeginLost),
        Call::Run {
            token,
            begun,
            until,
        } => say(
            asked,
            Act::Begin {
                token,
                begun,
                until,
            },
        ),
        Call::InProgress { until } => say(asked, Act::InProgress { until }),
        Call::Done { token } => say(asked, Act::Done { token }),
        Call::FailedForGood { token } => say(asked, Act::FailedForGood { token }),
        Call::Renew {
            token,
            until: Some(until),
        } => say(asked, Act::Renew { token, until }),
        Call::Renew { token, until: None } => say(lost, Act::Perhaps(Change::Renew { token })),
        Call::Complete {
            token,
            first: Some(false),
        } => say(asked, Act::CompletedBefore { token }),
        Call::Complete { token, .. } => {
            change(token, Act::Complete { token }, Change::Complete { token });
        }
        Call::Fail { token, retry: true } => {
            change(token, Act::GiveBack { token }, Change::GiveBack { token });
        }
        Call::Fail {
            token,
            retry: false,
        } => {
            change(token, Act::Fail { token }, Change::Fail { token });
        }
        // Tokens rise, so a token that is current at both ends was current all the time between.
        Call::Fence { token } => {
            say(asked, Act::Current { token });
            if outcome == Outcome::Committed {
                say(over, Act::Current { token });
            }
        }
        Call::Stale { token } => say(asked, Act::Stale { token }),
        Call::Forget { gone: Some(true) } => say(asked, Act::Forget),
        Call::Forget { gone: Some(false) } => say(asked, Act::NothingToForget),
        Call::Forget { gone: None } => say(lost, Act::Perhaps(Change::Forget)),
    }
}

#[cfg(test)]
mod tests;
