//! Histories made by hand, each with one defect or none.

use super::*;
use crate::record::{Level, Step};
use std::time::Duration;

fn at(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn key() -> Key {
    Key {
        space: "work",
        name: "k".to_owned(),
    }
}

/// A call in autocommit, in the millisecond from this time on.
fn call(from: u64, act: Call) -> Transaction {
    let span = Span {
        from: at(from),
        until: at(from + 1),
    };
    Transaction {
        client: 0,
        session: 0,
        number: from,
        level: Level::ReadCommitted,
        signed: false,
        steps: vec![Step {
            asked: span.from,
            told: span.until,
            deed: Deed::Work { key: key(), act },
        }],
        end: span,
        outcome: Outcome::Committed,
        open_until: span.until,
    }
}

/// A begin at this time, with a lease of 10.
fn run(from: u64, token: i64) -> Transaction {
    let begun = from as i64;
    let until = begun + 10;
    call(
        from,
        Call::Run {
            token,
            begun,
            until,
        },
    )
}

fn complete(from: u64, token: i64) -> Transaction {
    let first = Some(true);
    call(from, Call::Complete { token, first })
}

fn checked(history: &[Transaction], left: Record) -> Result<usize, String> {
    check(history, &BTreeMap::from([(key(), left)]))
}

#[test]
fn a_takeover_and_its_completion_are_explained() {
    let history = [
        run(0, 5),
        call(2, Call::InProgress { until: 10 }),
        run(20, 6),
        call(22, Call::Stale { token: 5 }),
        complete(24, 6),
        call(26, Call::Done { token: 6 }),
    ];
    assert!(checked(&history, (State::Done, 6)).is_ok());
}

#[test]
fn a_token_that_falls_is_rejected() {
    let history = [run(0, 5), run(20, 4)];
    let left = (State::Running { until: Some(30) }, 4);
    let why = checked(&history, left).unwrap_err();
    assert!(why.contains("a token fell"), "{why}");
}

#[test]
fn the_order_alone_rejects_a_token_that_falls_too() {
    let begin = |from: u64, token| {
        let begun = from as i64;
        let until = begun + 10;
        let act = Act::Begin {
            token,
            begun,
            until,
        };
        Operation::new(at(from), at(from + 1), act)
    };
    assert!(explain::<Work>(vec![begin(0, 5), begin(20, 6)]).is_ok());
    assert!(explain::<Work>(vec![begin(0, 5), begin(20, 4)]).is_err());
}

#[test]
fn a_token_that_is_given_twice_is_rejected() {
    let history = [run(0, 5), run(20, 5)];
    let left = (State::Running { until: Some(30) }, 5);
    assert!(checked(&history, left).is_err());
}

#[test]
fn a_takeover_within_the_lease_is_rejected() {
    let history = [run(0, 5), run(8, 6)];
    let left = (State::Running { until: Some(18) }, 6);
    assert!(checked(&history, left).is_err());
}

#[test]
fn a_stale_token_that_completes_is_rejected() {
    let history = [run(0, 5), run(20, 6), complete(22, 5)];
    assert!(checked(&history, (State::Done, 5)).is_err());
}

#[test]
fn a_takeover_behind_a_fence_is_rejected() {
    // The effect is committed at 30, under a fence that was passed at 9.
    let mut fenced = call(9, Call::Fence { token: 5 });
    fenced.end = Span {
        from: at(30),
        until: at(31),
    };
    let history = [run(0, 5), fenced.clone(), run(40, 6)];
    let left = |until| (State::Running { until: Some(until) }, 6);
    assert!(checked(&history, left(50)).is_ok());
    let history = [run(0, 5), fenced, run(20, 6)];
    assert!(checked(&history, left(30)).is_err());
}

#[test]
fn a_begin_without_an_answer_may_have_begun() {
    let mut lost = call(0, Call::BeginLost);
    lost.outcome = Outcome::Unknown;
    for happened in [true, false] {
        let mut history = vec![lost.clone()];
        if happened {
            history.push(call(2, Call::InProgress { until: 10 }));
        }
        history.push(run(20, 7));
        history.push(complete(22, 7));
        assert!(checked(&history, (State::Done, 7)).is_ok(), "{happened}");
    }
}

#[test]
fn a_result_that_is_gone_is_rejected() {
    let history = [run(0, 5), complete(2, 5)];
    let left = (State::Running { until: Some(10) }, 5);
    assert!(checked(&history, left).is_err());
}
