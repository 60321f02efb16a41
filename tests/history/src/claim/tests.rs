//! Histories made by hand, each with one defect or none.

use super::*;
use std::time::Duration;

fn at(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn key() -> Key {
    Key {
        space: KEPT,
        name: "k".to_owned(),
    }
}

fn claimed(won: bool) -> Deed {
    Deed::Claim {
        key: key(),
        owner: 0,
        won: Some(won),
    }
}

fn unclaimed(gave: bool) -> Deed {
    Deed::Unclaim {
        key: key(),
        gave: Some(gave),
    }
}

/// One transaction of these deeds, a millisecond each, from this time on; it ends when they end.
fn transaction(number: u64, from: u64, deeds: &[Deed], outcome: Outcome) -> Transaction {
    let steps = Vec::from_iter(deeds.iter().zip(from..).map(|(deed, time)| Step {
        asked: at(time),
        told: at(time + 1),
        deed: deed.clone(),
    }));
    let end = from + deeds.len() as u64;
    let unknown = outcome == Outcome::Unknown;
    Transaction {
        client: 0,
        session: 0,
        number,
        level: Level::ReadCommitted,
        signed: false,
        steps,
        end: Span {
            from: at(end),
            until: if unknown {
                crate::record::NEVER
            } else {
                at(end + 1)
            },
        },
        outcome,
        open_until: at(end),
    }
}

fn committed(number: u64, from: u64, deeds: &[Deed]) -> Transaction {
    transaction(number, from, deeds, Outcome::Committed)
}

fn checked(history: &[Transaction], is_left: bool) -> Result<usize, String> {
    let left = BTreeSet::from_iter(is_left.then(key));
    check(history, &left)
}

/// A deed that keeps a transaction open.
const NOTHING: Deed = Deed::Savepoint;

#[test]
fn a_winner_and_a_duplicate_that_waited_are_explained() {
    let mut waiter = committed(2, 1, &[claimed(false)]);
    waiter.steps[0].told = at(9);
    let history = [committed(1, 0, &[claimed(true), NOTHING]), waiter];
    assert!(checked(&history, true).is_ok());
}

#[test]
fn two_winners_are_rejected() {
    let history = [
        committed(1, 0, &[claimed(true)]),
        committed(2, 10, &[claimed(true)]),
    ];
    let why = checked(&history, true).unwrap_err();
    assert!(why.contains("no order explains"), "{why}");
    assert!(lost(&history, &BTreeSet::from([key()])).is_err());
}

#[test]
fn two_winners_at_a_time_are_rejected_though_one_rolls_back() {
    let history = [
        committed(1, 0, &[claimed(true), NOTHING, NOTHING]),
        transaction(2, 1, &[claimed(true), NOTHING], Outcome::RolledBack),
    ];
    let why = checked(&history, true).unwrap_err();
    assert!(why.contains("two held it at a time"), "{why}");
}

#[test]
fn a_premature_false_is_rejected() {
    // The winner sends COMMIT at 4 and not before; false was said at 3.
    let winner = committed(1, 0, &[claimed(true), NOTHING, NOTHING, NOTHING]);
    let hasty = committed(2, 2, &[claimed(false)]);
    assert!(checked(&[winner.clone(), hasty], true).is_err());
    let patient = committed(3, 5, &[claimed(false)]);
    assert!(checked(&[winner, patient], true).is_ok());
}

#[test]
fn a_false_on_account_of_a_rollback_is_rejected() {
    let history = [
        transaction(1, 0, &[claimed(true)], Outcome::RolledBack),
        committed(2, 5, &[claimed(false)]),
    ];
    assert!(checked(&history, false).is_err());
}

#[test]
fn an_acknowledged_claim_that_is_gone_is_rejected() {
    let history = [committed(1, 0, &[claimed(true)])];
    assert!(checked(&history, false).is_err());
    let (count, lost) = lost(&history, &BTreeSet::new()).unwrap();
    assert_eq!((count, lost), (1, vec![key()]));
}

#[test]
fn a_claim_that_nobody_made_is_rejected() {
    let history = [transaction(1, 0, &[claimed(true)], Outcome::RolledBack)];
    assert!(checked(&history, true).is_err());
}

#[test]
fn an_unknown_commit_may_have_happened_or_not() {
    let unknown = transaction(1, 0, &[claimed(true)], Outcome::Unknown);
    for happened in [true, false] {
        let next = committed(2, 5, &[claimed(!happened)]);
        let history = [unknown.clone(), next];
        assert!(checked(&history, true).is_ok(), "{happened}");
    }
    let mut history = vec![unknown, committed(2, 5, &[claimed(true)])];
    history.push(committed(3, 10, &[claimed(true)]));
    assert!(checked(&history, true).is_err());
}

#[test]
fn an_unclaim_counts_as_of_its_commit() {
    let winner = committed(1, 0, &[claimed(true)]);
    let giver = committed(2, 3, &[unclaimed(true), NOTHING]);
    let next = committed(3, 8, &[claimed(true)]);
    assert!(checked(&[winner.clone(), giver.clone(), next], true).is_ok());
    let hasty = committed(3, 2, &[claimed(true)]);
    assert!(checked(&[winner, giver, hasty], true).is_err());
}

#[test]
fn a_savepoint_gives_back_what_was_claimed_after_it() {
    let undoing = committed(
        1,
        0,
        &[Deed::Savepoint, claimed(true), Deed::Undone, NOTHING],
    );
    let next = committed(2, 3, &[claimed(true)]);
    assert!(checked(&[undoing.clone(), next], true).is_ok());
    assert!(checked(&[undoing], true).is_err());
}

#[test]
fn an_owner_is_told_won_again_and_nobody_else() {
    let try_claim = |owner, won| Deed::Claim {
        key: key(),
        owner,
        won: Some(won),
    };
    let first = committed(1, 0, &[try_claim(7, true)]);
    let again = committed(2, 5, &[try_claim(7, true)]);
    assert!(checked(&[first.clone(), again], true).is_ok());
    let denied = committed(2, 5, &[try_claim(7, false)]);
    assert!(checked(&[first.clone(), denied], true).is_err());
    let other = committed(2, 5, &[try_claim(8, true)]);
    assert!(checked(&[first, other], true).is_err());
}

#[test]
fn a_look_that_misses_a_committed_claim_is_rejected() {
    let look = |claimed| Deed::Look {
        key: key(),
        claimed,
    };
    let winner = committed(1, 0, &[claimed(true)]);
    checked(&[winner.clone(), committed(2, 100, &[look(true)])], true).unwrap();
    let why = checked(&[winner, committed(2, 100, &[look(false)])], true).unwrap_err();
    assert!(why.contains("no order"), "{why}");
}

#[test]
fn a_look_that_sees_an_open_claim_is_rejected() {
    let look = Deed::Look {
        key: key(),
        claimed: true,
    };
    let winner = transaction(1, 0, &[claimed(true)], Outcome::RolledBack);
    let why = checked(&[winner, committed(2, 3, &[look])], false).unwrap_err();
    assert!(why.contains("no order"), "{why}");
}
