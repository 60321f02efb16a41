//! Turns: a row is a counter, of which each turn is shown the count and writes the next one.

use crate::order::{Operation, explain};
use crate::record::{Deed, Hold, Key, LAST_LOOK, Outcome, Span, Transaction, overlapping};
use std::collections::{BTreeMap, BTreeSet};
use todc_utils::Specification;

/// What a turn was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether it was told that the row is new, where it was told at all.
    pub created: Option<bool>,
    pub count: i64,
}

impl Shown {
    fn allows(self, row: Option<i64>) -> bool {
        match (self.created, row) {
            (Some(true), None) => self.count == 0,
            (Some(false) | None, Some(count)) => self.count == count,
            (None, None) => self.count == 0,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// It was shown, and what was written was rolled back.
    Look(Shown),
    /// It was shown, and this count was committed.
    Count { shown: Shown, next: i64 },
    /// The same, but whether it was committed is not known.
    PerhapsCount { shown: Shown, next: i64 },
    /// What is left in the end.
    Left(Option<i64>),
}

pub struct Counter;

impl Specification for Counter {
    /// None where there is no row.
    type State = Option<i64>;
    type Operation = Act;

    fn init() -> Option<i64> {
        None
    }

    fn apply(act: &Act, row: &Option<i64>) -> (bool, Option<i64>) {
        match *act {
            Act::Look(shown) => (shown.allows(*row), *row),
            Act::Count { shown, next } if shown.allows(*row) => (true, Some(next)),
            Act::Count { .. } => (false, *row),
            Act::PerhapsCount { shown, next } if shown.allows(*row) => (true, Some(next)),
            Act::PerhapsCount { .. } => (true, *row),
            Act::Left(left) => (left == *row, *row),
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    operations: Vec<Operation<Act>>,
    holds: Vec<Hold>,
    /// Increments that were acknowledged, and those that may have happened.
    certain: i64,
    perhaps: i64,
}

/// Checks the turns of a history against the counts that are left in the tables, and counts the
/// answers that were checked.
///
/// For each row there must be an order of all turns that a counter could have had, no two
/// transactions may have the turn at a time, and the increments add up.
pub fn check(history: &[Transaction], left: &BTreeMap<Key, i64>) -> Result<usize, String> {
    let (rows, contradictions) = told(history, left);
    if let Some(reason) = contradictions.into_iter().next() {
        return Err(reason);
    }
    let mut count = 0;
    for (row, told) in rows {
        // What is left is not counted.
        count += told.operations.len() - 1;
        if let Some(pair) = overlapping(&told.holds) {
            return Err(format!("row {row}: two had the turn at a time: {pair:#?}"));
        }
        let found = left.get(&row).copied();
        let expected = told.certain..=told.certain + told.perhaps;
        if !expected.contains(&found.unwrap_or(0)) {
            return Err(format!(
                "row {row}: an increment was lost or made twice: {found:?} is left, {} were acknowledged \
                 and {} are unknown",
                told.certain, told.perhaps
            ));
        }
        explain::<Counter>(told.operations).map_err(|reason| format!("row {row}: {reason}"))?;
    }
    Ok(count)
}

/// The operations on each row of a history, and last what is left in the table.
pub fn operations(history: &[Transaction], left: &BTreeMap<Key, i64>) -> Vec<Vec<Operation<Act>>> {
    let (rows, _) = told(history, left);
    rows.into_values().map(|told| told.operations).collect()
}

/// What is known of each row, and the transactions whose answers contradict one another.
fn told(history: &[Transaction], left: &BTreeMap<Key, i64>) -> (BTreeMap<Key, Told>, Vec<String>) {
    let mut rows: BTreeMap<Key, Told> = BTreeMap::new();
    let mut contradictions = Vec::new();
    for row in left.keys() {
        rows.entry(row.clone()).or_default();
    }
    for transaction in history {
        let mut touched: BTreeSet<&Key> = BTreeSet::new();
        for step in &transaction.steps {
            if let Deed::Turn { row, .. } = &step.deed {
                touched.insert(row);
            }
        }
        for row in touched {
            let told = rows.entry(row.clone()).or_default();
            if let Err(reason) = read(transaction, row, told) {
                contradictions.push(format!("row {row}: {reason}: {transaction:#?}"));
            }
        }
    }
    for (row, told) in &mut rows {
        let act = Act::Left(left.get(row).copied());
        let last = Operation::new(LAST_LOOK, LAST_LOOK, act);
        told.operations.push(last);
    }
    (rows, contradictions)
}

/// What a transaction was shown first, and the count that it has written last.
#[derive(Clone, Copy)]
struct Own {
    shown: Shown,
    next: i64,
}

/// Reads the turns of one transaction with one row.
fn read(transaction: &Transaction, row: &Key, told: &mut Told) -> Result<(), String> {
    let mut own: Option<Own> = None;
    let mut saved: Option<Own> = None;
    for (step, fate) in transaction.lived() {
        let shown = match &step.deed {
            Deed::Savepoint => {
                saved = own;
                continue;
            }
            Deed::Undone => {
                own = saved;
                continue;
            }
            Deed::Turn {
                row: of,
                created,
                seen,
            } if of == row => Shown {
                created: *created,
                count: *seen,
            },
            _ => continue,
        };
        if let Some(own) = &mut own {
            if shown.count != own.next || shown.created == Some(true) {
                return Err("it was not shown what it had written itself".to_owned());
            }
            own.next += 1;
            continue;
        }
        if fate.outcome == Outcome::RolledBack {
            let look = Operation::new(step.asked, step.told, Act::Look(shown));
            told.operations.push(look);
        }
        if step.told < fate.held_until {
            told.holds.push(Hold {
                by: transaction.number,
                shared: false,
                span: Span {
                    from: step.told,
                    until: fate.held_until,
                },
            });
        }
        own = Some(Own {
            shown,
            next: shown.count + 1,
        });
    }
    let Some(Own { shown, next }) = own else {
        return Ok(());
    };
    let Span { from, until } = transaction.end;
    match transaction.outcome {
        Outcome::Committed => {
            told.certain += next - shown.count;
            let act = Act::Count { shown, next };
            told.operations.push(Operation::new(from, until, act));
        }
        Outcome::Unknown => {
            told.perhaps += next - shown.count;
            let act = Act::PerhapsCount { shown, next };
            told.operations.push(Operation::uncertain(from, act));
        }
        Outcome::RolledBack => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
