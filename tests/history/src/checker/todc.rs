//! The search of `todc-utils`, after Wing, Gong and Lowe.

use super::events;
use crate::order::Operation;
use todc_utils::{Action, History, Specification, WGLChecker};

/// Each operation counts as a process of its own, since one that was never acknowledged goes on
/// while its client does other things.
pub fn is_linearizable<S: Specification>(operations: &[Operation<S::Operation>]) -> bool {
    let action = |(number, is_call): (usize, bool)| {
        let act = operations[number].act.clone();
        let action = if is_call {
            Action::Call(act)
        } else {
            Action::Response(act)
        };
        (number, action)
    };
    let actions = events(operations).into_iter().map(action).collect();
    WGLChecker::<S>::is_linearizable(History::from_actions(actions))
}
