//! Histories made by hand, each with one defect or none.

use super::*;
use crate::record::{Level, Outcome, Step};

fn at(time: u64) -> Moment {
    Moment::from_millis(time)
}

/// A transaction that takes the lock at once and holds it for this long.
fn holding(number: u64, from: u64, lasts: u64, shared: bool) -> Transaction {
    let end = from + 1 + lasts;
    Transaction {
        client: number as usize,
        session: 0,
        number,
        level: Level::ReadCommitted,
        signed: false,
        steps: vec![Step {
            asked: at(from),
            told: at(from + 1),
            deed: Deed::Lock {
                name: name(),
                shared,
                of_session: false,
            },
        }],
        end: Span {
            from: at(end),
            until: at(end + 1),
        },
        outcome: Outcome::Committed,
        open_until: at(end),
    }
}

fn name() -> Key {
    Key {
        space: "lock",
        name: "k".to_owned(),
    }
}

#[test]
fn holders_in_turn_are_explained() {
    let history = [holding(1, 0, 3, false), holding(2, 5, 3, false)];
    assert!(check(&history).is_ok());
}

#[test]
fn overlapping_holders_are_rejected() {
    let history = [holding(1, 0, 5, false), holding(2, 2, 5, false)];
    let why = check(&history).unwrap_err();
    assert!(why.contains("two held it at a time"), "{why}");
}

#[test]
fn the_order_alone_rejects_overlapping_holders_too() {
    let act = |from, until, act| Operation::new(at(from), at(until), act);
    let take = |by| Act::Take { by, shared: false };
    let operations = vec![
        act(0, 1, take(1)),
        act(2, 3, take(2)),
        act(7, 8, Act::Release { by: 1 }),
        act(8, 9, Act::Release { by: 2 }),
    ];
    assert!(explain::<Mutex>(operations).is_err());
}

#[test]
fn sharing_is_not_overlapping_but_with_an_exclusive_holder() {
    let history = [holding(1, 0, 5, true), holding(2, 2, 5, true)];
    assert!(check(&history).is_ok());
    let history = [holding(1, 0, 5, true), holding(2, 2, 5, false)];
    assert!(check(&history).is_err());
}

#[test]
fn a_session_holds_until_its_last_release() {
    let alone = |number, from, deed| {
        let mut transaction = holding(number, from, 0, false);
        transaction.client = 1;
        transaction.steps[0].deed = deed;
        transaction
    };
    let hold = || Deed::Lock {
        name: name(),
        shared: false,
        of_session: true,
    };
    let release = || Deed::Release {
        name: name(),
        shared: false,
    };
    let mut history = vec![
        alone(1, 0, hold()),
        alone(2, 10, hold()),
        alone(3, 20, release()),
        alone(4, 30, release()),
    ];
    history.push(holding(9, 31, 1, false));
    assert!(check(&history).is_ok());
    history.pop();
    history.push(holding(9, 22, 1, false));
    assert!(check(&history).is_err());
}
