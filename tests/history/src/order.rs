//! Linearizability: whether some order of the operations on one thing, within the times seen,
//! explains all answers. The search is that of `todc-utils`, after Wing, Gong and Lowe.

use crate::record::{Moment, NEVER, Span};
use std::fmt::Debug;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use todc_utils::{Action, History, Specification, WGLChecker};

/// A legal history of this many operations takes milliseconds.
const LONGEST: usize = 1000;

/// A search that takes longer has found no order among very many.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Operation<A> {
    pub span: Span,
    pub act: A,
}

impl<A> Operation<A> {
    pub fn new(from: Moment, until: Moment, act: A) -> Operation<A> {
        Operation {
            span: Span { from, until },
            act,
        }
    }

    /// At any time from then on, or never: a search may put it behind all others.
    pub fn uncertain(from: Moment, act: A) -> Operation<A> {
        Operation::new(from, NEVER, act)
    }
}

/// Searches for an order that the specification allows.
pub fn explain<S>(mut operations: Vec<Operation<S::Operation>>) -> Result<(), String>
where
    S: Specification + 'static,
    S::Operation: Send + 'static,
{
    if operations.is_empty() {
        return Ok(());
    }
    operations.sort_by_key(|operation| operation.span.from);
    if operations.len() > LONGEST {
        return Err(format!(
            "{} operations are too many to search for an order",
            operations.len()
        ));
    }
    let actions = actions(&operations);
    let (outbox, inbox) = channel();
    thread::spawn(move || {
        // The receiver is gone where the search took too long.
        let _ = outbox.send(WGLChecker::<S>::is_linearizable(History::from_actions(
            actions,
        )));
    });
    let why = match inbox.recv_timeout(PATIENCE) {
        Ok(true) => return Ok(()),
        Ok(false) => "no order explains the answers",
        Err(RecvTimeoutError::Timeout) => "no order was found in time",
        Err(RecvTimeoutError::Disconnected) => "the search has failed",
    };
    let mut lines = format!("{why}:\n");
    for operation in &operations {
        let Span { from, until } = operation.span;
        let until = if until == NEVER {
            "never".to_owned()
        } else {
            format!("{until:?}")
        };
        lines += &format!("  {from:?} to {until}: {:?}\n", operation.act);
    }
    Err(lines)
}

/// Calls and responses in the order of time. Each operation counts as a process of its own, since
/// one that was never acknowledged goes on while its client does other things. Of equal times the
/// call comes first, so that the two overlap.
fn actions<A: Clone + Debug>(operations: &[Operation<A>]) -> Vec<(usize, Action<A>)> {
    let mut all = Vec::new();
    for (number, Operation { span, act }) in operations.iter().enumerate() {
        all.push((span.from, 0, number, Action::Call(act.clone())));
        all.push((span.until, 1, number, Action::Response(act.clone())));
    }
    all.sort_by_key(|(time, kind, ..)| (*time, *kind));
    all.into_iter()
        .map(|(_, _, number, action)| (number, action))
        .collect()
}
