//! Histories made by hand, each with one defect or none.

use super::*;
use crate::record::{Level, NEVER, Step};
use std::time::Duration;

fn at(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn row() -> Key {
    Key {
        space: "counter",
        name: "k".to_owned(),
    }
}

/// A transaction with one turn, which it has for this long.
fn turn(number: u64, from: u64, lasts: u64, seen: i64, outcome: Outcome) -> Transaction {
    let end = from + lasts;
    Transaction {
        client: 0,
        session: 0,
        number,
        level: Level::ReadCommitted,
        signed: false,
        steps: vec![Step {
            asked: at(from),
            told: at(from + 1),
            deed: Deed::Turn {
                row: row(),
                created: None,
                seen,
            },
        }],
        end: Span {
            from: at(end),
            until: if outcome == Outcome::Unknown {
                NEVER
            } else {
                at(end + 1)
            },
        },
        outcome,
        open_until: at(end),
    }
}

fn checked(history: &[Transaction], count: i64) -> Result<usize, String> {
    check(history, &BTreeMap::from([(row(), count)]))
}

#[test]
fn turns_that_count_on_are_explained() {
    let history = [
        turn(1, 0, 2, 0, Outcome::Committed),
        turn(2, 5, 2, 1, Outcome::RolledBack),
        turn(3, 10, 2, 1, Outcome::Committed),
    ];
    assert!(checked(&history, 2).is_ok());
}

#[test]
fn a_lost_increment_is_rejected() {
    let history = [0, 5].map(|from| turn(from, from, 2, 0, Outcome::Committed));
    let why = checked(&history, 1).unwrap_err();
    assert!(why.contains("an increment was lost"), "{why}");
}

#[test]
fn a_stale_count_is_rejected() {
    // The second was shown what the first had already changed; the sum is right by chance.
    let history = [
        turn(1, 0, 2, 0, Outcome::Committed),
        turn(2, 5, 2, 0, Outcome::RolledBack),
    ];
    let why = checked(&history, 1).unwrap_err();
    assert!(why.contains("no order explains"), "{why}");
}

#[test]
fn two_turns_at_a_time_are_rejected() {
    let history = [
        turn(1, 0, 9, 0, Outcome::Committed),
        turn(2, 2, 3, 0, Outcome::RolledBack),
    ];
    let why = checked(&history, 1).unwrap_err();
    assert!(why.contains("two had the turn at a time"), "{why}");
}

#[test]
fn an_unknown_commit_may_have_counted_or_not() {
    let unknown = turn(1, 0, 2, 0, Outcome::Unknown);
    for happened in [0, 1] {
        let next = turn(2, 5, 2, happened, Outcome::Committed);
        assert!(checked(&[unknown.clone(), next], happened + 1).is_ok());
    }
    let next = turn(2, 5, 2, 2, Outcome::Committed);
    assert!(checked(&[unknown, next], 3).is_err());
}
