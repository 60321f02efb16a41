//! Every state of each model is looked at: the design of pg_once keeps its guarantees, and each
//! design that is known to be wrong is found to break the one it breaks.

use std::fmt::Debug;
use std::hash::Hash;

use pg_once_model::claim::{self, Claims};
use pg_once_model::turn::{self, Turns};
use pg_once_model::work::{self, Work};
use stateright::{Checker, Model};

fn explore<M>(model: M) -> impl Checker<M>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync> + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    model.checker().threads(2).spawn_bfs().join()
}

/// All guarantees hold in all states, as many as there are, and what should happen happens.
fn keeps_its_guarantees<M>(model: M, states: usize)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync> + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = explore(model);
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), states);
}

/// The checker finds a way to a state where the design breaks each of these guarantees.
fn breaks<M>(model: M, guarantees: &[&'static str])
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync> + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = explore(model);
    for guarantee in guarantees {
        println!(
            "{guarantee}: {:?}",
            checker.assert_any_discovery(guarantee).into_actions()
        );
    }
}

#[test]
fn claims_that_wait() {
    keeps_its_guarantees(
        Claims {
            design: claim::Design::Waits,
        },
        29784,
    );
}

#[test]
fn claims_that_reply_before_commit() {
    breaks(
        Claims {
            design: claim::Design::RepliesBeforeCommit,
        },
        &["G2 no premature false", "G3 no lost claim"],
    );
}

#[test]
fn claims_whose_waiters_are_told_false() {
    breaks(
        Claims {
            design: claim::Design::WaitersAreToldFalse,
        },
        &["G2 no premature false", "G3 no lost claim"],
    );
}

#[test]
fn claims_that_look_then_insert() {
    breaks(
        Claims {
            design: claim::Design::LooksThenInserts,
        },
        &["G1 exactly one"],
    );
}

#[test]
fn claims_that_wait_in_circles() {
    breaks(
        Claims {
            design: claim::Design::WaitsInCircles,
        },
        &["nobody waits in a circle"],
    );
}

#[test]
fn turns_held_until_commit() {
    keeps_its_guarantees(
        Turns {
            design: turn::Design::HoldsUntilCommit,
        },
        99,
    );
}

#[test]
fn turns_unlocked_before_commit() {
    breaks(
        Turns {
            design: turn::Design::UnlocksBeforeCommit,
        },
        &["G6 no update is lost", "G7 one row"],
    );
}

#[test]
fn turns_that_look_before() {
    breaks(
        Turns {
            design: turn::Design::LooksBeforeTheTurn,
        },
        &["G6 no update is lost", "G7 one row"],
    );
}

#[test]
fn work_that_is_fenced() {
    keeps_its_guarantees(
        Work {
            design: work::Design::Fenced,
        },
        14544,
    );
}

#[test]
fn work_with_a_token_from_a_sequence() {
    breaks(
        Work {
            design: work::Design::TokenFromSequence,
        },
        &["G10 tokens increase"],
    );
}

#[test]
fn work_with_a_fence_that_lets_go() {
    breaks(
        Work {
            design: work::Design::FenceLetsGo,
        },
        &["G10 no effect of a stale token"],
    );
}

#[test]
fn work_without_a_fence() {
    breaks(
        Work {
            design: work::Design::NoFence,
        },
        &["G10 no effect of a stale token"],
    );
}

#[test]
fn work_that_forgets_its_token() {
    breaks(
        Work {
            design: work::Design::ForgetsTheToken,
        },
        &["G10 tokens increase"],
    );
}
