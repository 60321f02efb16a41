//! What Knossos and Elle are given, operation by operation.

use super::*;
use crate::record::{Key, Level, Span, Step};

fn at(time: u64) -> Moment {
    Moment::from_nanos(time)
}

fn said(history: &[Value]) -> Vec<String> {
    let word = |operation: &Value, name: &str| operation[name].to_string().replace('"', "");
    let line = |operation: &Value| {
        let words = ["index", "time", "type", "process", "f", "value"];
        words.map(|name| word(operation, name)).join(" ")
    };
    history.iter().map(line).collect()
}

#[test]
fn a_claim_is_a_register() {
    let claim = claim::Act::Change {
        before: claim::Before::FreeOrBy(7),
        after: Some(7),
    };
    let perhaps = claim::Act::Perhaps {
        before: claim::Before::Claimed,
        after: None,
    };
    let history = register(vec![
        Operation::new(at(10), at(20), claim),
        Operation::new(at(15), at(30), claim::Act::Look(claim::Before::Claimed)),
        Operation::uncertain(at(40), perhaps),
        Operation::new(LAST_LOOK, LAST_LOOK, claim::Act::Look(claim::Before::Free)),
    ]);
    assert_eq!(
        said(&history.unwrap()),
        [
            "0 0 invoke 0 write 0",
            "1 0 ok 0 write 0",
            "2 10 invoke 0 cas [0,1]",
            "3 15 invoke 1 read null",
            "4 20 ok 0 cas [0,1]",
            "5 30 ok 1 read 1",
            "6 40 invoke 0 cas [1,0]",
            "7 40 invoke 1 read null",
            "8 40 ok 1 read 0",
            "9 40 info 0 cas [1,0]",
        ]
    );
    let again = Operation::new(at(50), at(60), claim);
    let first = Operation::new(at(10), at(20), claim);
    assert_eq!(register(vec![first, again]), None);
}

#[test]
fn a_lock_is_a_mutex() {
    let take = |shared| lock::Act::Take { by: 1, shared };
    let history = mutex(vec![
        Operation::new(at(10), at(20), take(false)),
        Operation::uncertain(at(30), lock::Act::Release { by: 1 }),
    ]);
    assert_eq!(
        said(&history.unwrap()),
        [
            "0 10 invoke 0 acquire null",
            "1 20 ok 0 acquire null",
            "2 30 invoke 0 release null",
            "3 30 info 0 release null",
        ]
    );
    assert_eq!(
        mutex(vec![Operation::new(at(10), at(20), take(true))]),
        None
    );
}

/// One turn of a row, from this time on, a nanosecond for each step.
fn turn(client: usize, from: u64, seen: i64, outcome: Outcome) -> Transaction {
    let row = Key {
        space: "counter",
        name: "a".to_owned(),
    };
    let until = match outcome {
        Outcome::Unknown => NEVER,
        _ => at(from + 2),
    };
    Transaction {
        client,
        session: 0,
        number: from,
        level: Level::ReadCommitted,
        signed: false,
        steps: vec![Step {
            asked: at(from),
            told: at(from + 1),
            deed: Deed::Turn {
                row,
                created: None,
                seen,
            },
        }],
        end: Span {
            from: at(from + 1),
            until,
        },
        outcome,
        open_until: at(from + 1),
    }
}

#[test]
fn turns_are_transactions_of_registers() {
    let history = rows(&[
        turn(0, 0, 0, Outcome::Committed),
        turn(1, 10, 1, Outcome::Unknown),
        turn(1, 20, 2, Outcome::RolledBack),
        turn(1, 30, 2, Outcome::Committed),
        // It cannot have committed: somebody else has written 3.
        turn(0, 40, 2, Outcome::Unknown),
    ]);
    assert_eq!(
        said(&history),
        [
            "0 0 invoke 0 txn [[r,counter a,null],[w,counter a,1]]",
            "1 2 ok 0 txn [[r,counter a,null],[w,counter a,1]]",
            "2 10 invoke 1 txn [[r,counter a,null],[w,counter a,2]]",
            "3 30 invoke 13 txn [[r,counter a,null],[w,counter a,3]]",
            "4 32 ok 13 txn [[r,counter a,2],[w,counter a,3]]",
            "5 32 info 1 txn [[r,counter a,null],[w,counter a,2]]",
        ]
    );
}
