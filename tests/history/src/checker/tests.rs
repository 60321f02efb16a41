//! Histories of a register, small enough to see whether an order explains them.

use super::*;
use crate::claim::{Act, Before, Register};
use fastrand::Rng;

fn at(time: u64) -> Moment {
    Moment::from_millis(time)
}

const CLAIM: Act = Act::Change {
    before: Before::Free,
    after: Some(0),
};

fn both(operations: &[Operation<Act>]) -> Verdict {
    let [first, second] = Checker::ALL.map(|checker| checker.judge::<Register>(operations));
    assert_eq!(first, second, "{operations:?}");
    first
}

#[test]
fn operations_that_overlap_have_any_order() {
    let look = |from, until, before| Operation::new(at(from), at(until), Act::Look(before));
    let claim = Operation::new(at(2), at(4), CLAIM);
    for (from, until, before, verdict) in [
        (0, 1, Before::Free, Verdict::Linearizable),
        (0, 2, Before::Claimed, Verdict::Linearizable),
        (0, 1, Before::Claimed, Verdict::NotLinearizable),
        (3, 5, Before::Free, Verdict::Linearizable),
        (4, 5, Before::Free, Verdict::Linearizable),
        (5, 6, Before::Free, Verdict::NotLinearizable),
        (5, 6, Before::Claimed, Verdict::Linearizable),
    ] {
        let mut operations = vec![claim.clone(), look(from, until, before)];
        operations.sort_by_key(|operation| operation.span.from);
        assert_eq!(both(&operations), verdict, "{operations:?}");
    }
}

/// Some of these histories have an order and some have none.
#[test]
fn both_say_the_same_of_random_histories() {
    let mut random = Rng::with_seed(17);
    let mut linearizable = 0;
    for _ in 0..1000 {
        let mut operations = Vec::from_iter((0..random.usize(2..9)).map(|_| {
            let from = random.u64(0..20);
            let until = from + random.u64(0..8);
            let before = random.choice([Before::Free, Before::Claimed]).unwrap();
            let after = random.bool().then_some(0);
            let act = match random.u8(..4) {
                0 => Act::Change { before, after },
                1 => Act::Perhaps { before, after },
                _ => Act::Look(before),
            };
            Operation::new(at(from), at(until), act)
        }));
        operations.sort_by_key(|operation| operation.span.from);
        linearizable += usize::from(both(&operations) == Verdict::Linearizable);
    }
    assert!((100..900).contains(&linearizable), "{linearizable} of 1000");
}
