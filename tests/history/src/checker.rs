//! Two independent searches for an order of operations that explains their answers. They share the
//! specification of the thing and nothing else: each keeps the history in its own form and walks
//! through the orders in its own way.

use crate::order::Operation;
use crate::record::Moment;
use std::fmt::{self, Debug};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use todc_utils::Specification;

mod stateright;
mod todc;

/// A search that takes longer has found no order among very many.
const PATIENCE: Duration = Duration::from_secs(60);

/// The search of `stateright` calls itself for each operation.
const STACK: usize = 512 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// `todc_utils::WGLChecker`: the search of Wing, Gong and Lowe.
    Todc,
    /// `stateright::semantics::LinearizabilityTester`.
    Stateright,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    NotLinearizable,
    /// The search took too long or has failed.
    Undecided,
}

impl Checker {
    pub const ALL: [Checker; 2] = [Checker::Todc, Checker::Stateright];

    /// Searches for an order that the specification allows. The operations stand in the order of
    /// their calls.
    pub fn judge<S>(self, operations: &[Operation<S::Operation>]) -> Verdict
    where
        S: Specification + 'static,
        S::Operation: Send + 'static,
    {
        let search = match self {
            Checker::Todc => todc::is_linearizable::<S>,
            Checker::Stateright => stateright::is_linearizable::<S>,
        };
        let operations = operations.to_vec();
        let (outbox, inbox) = channel();
        let searching = thread::Builder::new().stack_size(STACK).spawn(move || {
            // The receiver is gone where the search took too long.
            let _ = outbox.send(search(&operations));
        });
        searching.expect("a thread can be started");
        match inbox.recv_timeout(PATIENCE) {
            Ok(true) => Verdict::Linearizable,
            Ok(false) => Verdict::NotLinearizable,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Verdict::Undecided,
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Checker::Todc => "todc-utils",
            Checker::Stateright => "stateright",
        })
    }
}

/// The ends of all operations in the order of time: the number of the operation, and whether it is
/// the call. Of equal times the call comes first, so that the two overlap.
pub fn events<A>(operations: &[Operation<A>]) -> Vec<(usize, bool)> {
    let mut events = Vec::new();
    for (number, Operation { span, .. }) in operations.iter().enumerate() {
        events.push((span.from, false, number));
        events.push((span.until, true, number));
    }
    events.sort_by_key(|(time, is_answer, _)| (*time, *is_answer));
    let event = |(_, is_answer, number): (_, bool, usize)| (number, !is_answer);
    events.into_iter().map(event).collect()
}

/// A thread for each operation, none of which has two at a time: few threads are few orders.
pub fn threads<A>(operations: &[Operation<A>]) -> Vec<usize> {
    let mut free_from: Vec<Moment> = Vec::new();
    let place = |operation: &Operation<A>| {
        let span = operation.span;
        let thread = free_from.iter().position(|free| *free < span.from);
        let thread = thread.unwrap_or_else(|| {
            free_from.push(span.until);
            free_from.len() - 1
        });
        free_from[thread] = span.until;
        thread
    };
    operations.iter().map(place).collect()
}

#[cfg(test)]
mod tests;
