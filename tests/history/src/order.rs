//! Linearizability: whether some order of the operations on one thing, within the times seen,
//! explains all answers. Two checkers must say the same.

use crate::checker::{Checker, Verdict};
use crate::record::{Moment, NEVER, Span};
use std::fmt::Debug;
use todc_utils::Specification;

/// A legal history of this many operations takes a second.
const LONGEST: usize = 1000;

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

/// The verdicts of both checkers on whether the specification allows some order.
pub fn verdicts<S>(mut operations: Vec<Operation<S::Operation>>) -> [Verdict; 2]
where
    S: Specification + 'static,
    S::Operation: Send + 'static,
{
    operations.sort_by_key(|operation| operation.span.from);
    Checker::ALL.map(|checker| checker.judge::<S>(&operations))
}

/// Fails unless both checkers find an order that the specification allows.
pub fn explain<S>(operations: Vec<Operation<S::Operation>>) -> Result<(), String>
where
    S: Specification + 'static,
    S::Operation: Send + 'static,
{
    if operations.len() > LONGEST {
        return Err(format!(
            "{} operations are too many to search for an order",
            operations.len()
        ));
    }
    let why = match verdicts::<S>(operations.clone()) {
        [Verdict::Linearizable, Verdict::Linearizable] => return Ok(()),
        [Verdict::NotLinearizable, Verdict::NotLinearizable] => {
            "no order explains the answers".to_owned()
        }
        [first, second] => {
            let [one, other] = Checker::ALL;
            format!("no verdict of both: {one} says {first:?}, {other} {second:?}")
        }
    };
    Err(format!("{why}:\n{}", lines(operations)))
}

fn lines<A: Debug>(mut operations: Vec<Operation<A>>) -> String {
    operations.sort_by_key(|operation| operation.span.from);
    let line = |operation: &Operation<A>| {
        let Span { from, until } = operation.span;
        let until = if until == NEVER {
            "never".to_owned()
        } else {
            format!("{until:?}")
        };
        format!("  {from:?} to {until}: {:?}\n", operation.act)
    };
    operations.iter().map(line).collect()
}
