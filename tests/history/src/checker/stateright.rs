//! The linearizability tester of `stateright`.

use super::{events, threads};
use crate::order::Operation;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use todc_utils::Specification;

/// The operations that have been applied, as a set of bits, and the state that they led to.
type Reached<S> = (Vec<u64>, <S as Specification>::State);

/// The reference object of the tester, whose operations are the numbers of the recorded ones.
///
/// The tester tries one order after the other and forgets what it has tried. This object does not:
/// a second order of the same operations that leads to the same state has no other continuation than
/// the first, which had none, so it counts as impossible.
struct Reference<S: Specification> {
    operations: Rc<[S::Operation]>,
    applied: Vec<u64>,
    state: S::State,
    tried: Rc<RefCell<HashSet<Reached<S>>>>,
}

impl<S: Specification> Clone for Reference<S> {
    fn clone(&self) -> Self {
        Reference {
            operations: self.operations.clone(),
            applied: self.applied.clone(),
            state: self.state.clone(),
            tried: self.tried.clone(),
        }
    }
}

impl<S: Specification> SequentialSpec for Reference<S> {
    type Op = usize;
    /// Whether it can have been so.
    type Ret = bool;

    fn invoke(&mut self, number: &usize) -> bool {
        let (is_possible, state) = S::apply(&self.operations[*number], &self.state);
        self.applied[number / 64] |= 1 << (number % 64);
        self.state = state;
        let reached = (self.applied.clone(), self.state.clone());
        is_possible && self.tried.borrow_mut().insert(reached)
    }
}

pub fn is_linearizable<S: Specification>(operations: &[Operation<S::Operation>]) -> bool {
    let threads = threads(operations);
    let acts = operations.iter().map(|operation| operation.act.clone());
    let mut tester = LinearizabilityTester::new(Reference::<S> {
        operations: acts.collect(),
        applied: vec![0; operations.len().div_ceil(64)],
        state: S::init(),
        tried: Rc::default(),
    });
    for (number, is_call) in events(operations) {
        let heard = if is_call {
            tester.on_invoke(threads[number], number)
        } else {
            tester.on_return(threads[number], true)
        };
        heard.expect("a thread does one operation at a time");
    }
    tester.is_consistent()
}
