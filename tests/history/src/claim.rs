//! Claims: one key is a register that is free or claimed.

use crate::order::{Operation, explain};
use crate::record::{
    Deed, Hold, Key, LAST_LOOK, Level, Outcome, Span, Step, Transaction, overlapping,
};
use std::collections::{BTreeMap, BTreeSet};
use todc_utils::Specification;

/// The namespace whose claims are never given back.
pub const KEPT: &str = "kept";

/// The namespace whose claims are given back again and again.
pub const TURNED: &str = "turned";

/// What a key must be for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Free,
    Claimed,
    /// Claimed, and by somebody else than this owner.
    ClaimedNotBy(u64),
    /// Free, or claimed by this owner: he is told won again.
    FreeOrBy(u64),
}

impl Before {
    fn allows(self, claimed_by: Option<u64>) -> bool {
        match self {
            Before::Free => claimed_by.is_none(),
            Before::Claimed => claimed_by.is_some(),
            Before::ClaimedNotBy(owner) => claimed_by.is_some_and(|by| by != owner),
            Before::FreeOrBy(owner) => claimed_by.is_none_or(|by| by == owner),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Something was said and nothing changed.
    Look(Before),
    /// Something was committed. Owner 0 is a claim without one.
    Change { before: Before, after: Option<u64> },
    /// The same, but whether it was committed is not known. Where it cannot have been, it was not.
    Perhaps { before: Before, after: Option<u64> },
}

pub struct Register;

impl Specification for Register {
    /// By whom it is claimed.
    type State = Option<u64>;
    type Operation = Act;

    fn init() -> Option<u64> {
        None
    }

    fn apply(act: &Act, state: &Option<u64>) -> (bool, Option<u64>) {
        match *act {
            Act::Look(before) => (before.allows(*state), *state),
            Act::Change { before, after } if before.allows(*state) => (true, after),
            Act::Change { .. } => (false, *state),
            Act::Perhaps { before, after } if before.allows(*state) => (true, after),
            Act::Perhaps { .. } => (true, *state),
        }
    }
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Told {
    operations: Vec<Operation<Act>>,
    holds: Vec<Hold>,
}

/// Checks the claims of a history against the keys that the table has in the end, and counts the
/// answers that were checked.
///
/// For each key there must be an order of all answers and all commits that a register could have
/// had, and no two transactions may hold it at a time.
pub fn check(history: &[Transaction], left: &BTreeSet<Key>) -> Result<usize, String> {
    let (keys, contradictions) = told(history, left);
    if let Some(reason) = contradictions.into_iter().next() {
        return Err(reason);
    }
    let mut count = 0;
    for (key, told) in keys {
        // The last look is not counted.
        count += told.operations.len() - 1;
        if let Some(pair) = overlapping(&told.holds) {
            return Err(format!("claim {key}: two held it at a time: {pair:#?}"));
        }
        explain::<Register>(told.operations).map_err(|reason| format!("claim {key}: {reason}"))?;
    }
    Ok(count)
}

/// The operations on each claim of a history, and last what is left in the table.
pub fn operations(history: &[Transaction], left: &BTreeSet<Key>) -> Vec<Vec<Operation<Act>>> {
    let (keys, _) = told(history, left);
    keys.into_values().map(|told| told.operations).collect()
}

/// What is known of each key, and the transactions whose answers contradict one another.
fn told(history: &[Transaction], left: &BTreeSet<Key>) -> (BTreeMap<Key, Told>, Vec<String>) {
    let mut keys: BTreeMap<Key, Told> = BTreeMap::new();
    let mut contradictions = Vec::new();
    for key in left {
        keys.entry(key.clone()).or_default();
    }
    for transaction in history {
        let mut touched: BTreeSet<&Key> = BTreeSet::new();
        for step in &transaction.steps {
            if let Deed::Claim { key, .. } | Deed::Unclaim { key, .. } | Deed::Look { key, .. } =
                &step.deed
            {
                touched.insert(key);
            }
        }
        for key in touched {
            let told = keys.entry(key.clone()).or_default();
            if let Err(reason) = read(transaction, key, told) {
                contradictions.push(format!("claim {key}: {reason}: {transaction:#?}"));
            }
        }
    }
    for (key, told) in &mut keys {
        let last = if left.contains(key) {
            Before::Claimed
        } else {
            Before::Free
        };
        told.operations.push(last_look(last));
    }
    (keys, contradictions)
}

/// The claims for ever that were acknowledged, and of them those that are not there in the end.
pub fn lost(history: &[Transaction], left: &BTreeSet<Key>) -> Result<(usize, Vec<Key>), String> {
    let mut acknowledged: BTreeMap<&Key, u64> = BTreeMap::new();
    for transaction in history {
        for (step, fate) in transaction.lived() {
            let Deed::Claim {
                key,
                owner,
                won: Some(true),
            } = &step.deed
            else {
                continue;
            };
            if key.space != KEPT || fate.outcome != Outcome::Committed {
                continue;
            }
            let before = acknowledged.insert(key, *owner);
            if before.is_some_and(|before| before == 0 || before != *owner) {
                return Err(format!("claim {key}: two winners"));
            }
        }
    }
    let lost = acknowledged.keys().filter(|key| !left.contains(**key));
    let lost = lost.map(|key| (*key).clone()).collect();
    Ok((acknowledged.len(), lost))
}

fn last_look(before: Before) -> Operation<Act> {
    Operation::new(LAST_LOOK, LAST_LOOK, Act::Look(before))
}

/// What a transaction has made of a key, not yet committed.
#[derive(Clone, Copy, PartialEq)]
struct Own {
    before: Before,
    after: Option<u64>,
    since: Span,
}

/// Reads the answers of one transaction about one key.
fn read(transaction: &Transaction, key: &Key, told: &mut Told) -> Result<(), String> {
    let mut own: Option<Own> = None;
    let mut saved: Option<Own> = None;
    for (step, fate) in transaction.lived() {
        let Step {
            asked, told: at, ..
        } = *step;
        let answer = match &step.deed {
            Deed::Savepoint => {
                saved = own;
                continue;
            }
            Deed::Undone => {
                own = saved;
                continue;
            }
            Deed::Claim {
                key: of,
                owner,
                won,
            } if of == key => Answer::claim(*owner, *won),
            Deed::Unclaim { key: of, gave } if of == key => Answer::unclaim(*gave),
            Deed::Look { key: of, claimed } if of == key => Answer::look(*claimed),
            _ => continue,
        };
        if !answer.is_known {
            let Answer { before, after, .. } = answer;
            let act = Act::Perhaps { before, after };
            told.operations.push(Operation::uncertain(asked, act));
            continue;
        }
        if let Some(made) = &mut own {
            if !answer.before.allows(made.after) {
                return Err("it denies what its own transaction has done".to_owned());
            }
            if answer.changes {
                made.after = answer.after;
            }
            continue;
        }
        let look = Operation::new(asked, at, Act::Look(answer.before));
        if !answer.changes {
            // Under SERIALIZABLE is_claimed speaks of the snapshot, and so does unclaim where it gives
            // nothing back, which says nothing about the time of the answer.
            let of_snapshot = transaction.level == Level::Serializable
                && matches!(step.deed, Deed::Unclaim { .. } | Deed::Look { .. });
            if !of_snapshot {
                told.operations.push(look);
            }
            continue;
        }
        if fate.outcome == Outcome::RolledBack {
            told.operations.push(look);
        }
        if at < fate.held_until {
            told.holds.push(Hold {
                by: transaction.number,
                shared: false,
                span: Span {
                    from: at,
                    until: fate.held_until,
                },
            });
        }
        own = Some(Own {
            before: answer.before,
            after: answer.after,
            since: Span {
                from: asked,
                until: at,
            },
        });
    }
    let Some(Own {
        before,
        after,
        since,
    }) = own
    else {
        return Ok(());
    };
    let Span { from, until } = transaction.end;
    let from = from.max(since.from);
    match transaction.outcome {
        Outcome::Committed => {
            let act = Act::Change { before, after };
            told.operations.push(Operation::new(from, until, act));
        }
        Outcome::Unknown => {
            let act = Act::Perhaps { before, after };
            told.operations.push(Operation::uncertain(from, act));
        }
        Outcome::RolledBack => {}
    }
    Ok(())
}

/// What an answer says of the key before it, and makes of it.
struct Answer {
    before: Before,
    after: Option<u64>,
    changes: bool,
    is_known: bool,
}

impl Answer {
    fn claim(owner: u64, won: Option<bool>) -> Answer {
        let before = match (won, owner) {
            (None | Some(true), 0) => Before::Free,
            (None | Some(true), _) => Before::FreeOrBy(owner),
            (Some(false), 0) => Before::Claimed,
            (Some(false), _) => Before::ClaimedNotBy(owner),
        };
        Answer {
            before,
            after: Some(owner),
            changes: won != Some(false),
            is_known: won.is_some(),
        }
    }

    fn look(claimed: bool) -> Answer {
        Answer {
            before: match claimed {
                true => Before::Claimed,
                false => Before::Free,
            },
            after: None,
            changes: false,
            is_known: true,
        }
    }

    fn unclaim(gave: Option<bool>) -> Answer {
        Answer {
            before: if gave == Some(false) {
                Before::Free
            } else {
                Before::Claimed
            },
            after: None,
            changes: gave != Some(false),
            is_known: gave.is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
