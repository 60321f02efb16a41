//! Named locks: one name is a mutex, held by one exclusively or shared by several.

use crate::order::{Operation, explain};
use crate::record::{Deed, Hold, Key, Moment, NEVER, Span, Transaction, overlapping};
use std::collections::{BTreeMap, BTreeSet};
use todc_utils::Specification;

/// Who holds a lock: a transaction, or a session.
pub type Holder = u64;

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Take { by: Holder, shared: bool },
    Release { by: Holder },
}

pub struct Mutex;

impl Specification for Mutex {
    /// Those who hold it, and whether they share it.
    type State = (bool, BTreeSet<Holder>);
    type Operation = Act;

    fn init() -> Self::State {
        (false, BTreeSet::new())
    }

    fn apply(act: &Act, (is_shared, holders): &Self::State) -> (bool, Self::State) {
        let mut after = holders.clone();
        match *act {
            Act::Take { by, shared } => {
                let free = holders.is_empty() || (shared && *is_shared);
                if free {
                    after.insert(by);
                }
                (free, (if free { shared } else { *is_shared }, after))
            }
            Act::Release { by } => {
                let was_held = after.remove(&by);
                (was_held, (*is_shared && !after.is_empty(), after))
            }
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    operations: Vec<Operation<Act>>,
    holds: Vec<Hold>,
}

impl Told {
    fn held(&mut self, by: Holder, shared: bool, taken: Span, held_until: Moment, let_go: Span) {
        self.operations.push(Operation {
            span: taken,
            act: Act::Take { by, shared },
        });
        self.operations.push(Operation {
            span: let_go,
            act: Act::Release { by },
        });
        if taken.until < held_until {
            self.holds.push(Hold {
                by,
                shared,
                span: Span {
                    from: taken.until,
                    until: held_until,
                },
            });
        }
    }
}

/// Checks the named locks of a history, and counts the operations that were checked.
///
/// For each name there must be an order of all that was taken and let go that a mutex could have
/// had, and the times in which it certainly was held exclusively are disjoint from all others.
pub fn check(history: &[Transaction]) -> Result<usize, String> {
    let mut count = 0;
    for (name, told) in told(history) {
        count += told.operations.len();
        if let Some(pair) = overlapping(&told.holds) {
            return Err(format!("lock {name}: two held it at a time: {pair:#?}"));
        }
        explain::<Mutex>(told.operations).map_err(|reason| format!("lock {name}: {reason}"))?;
    }
    Ok(count)
}

/// The operations on each named lock of a history.
pub fn operations(history: &[Transaction]) -> Vec<Vec<Operation<Act>>> {
    let names = told(history).into_values();
    names.map(|told| told.operations).collect()
}

fn told(history: &[Transaction]) -> BTreeMap<Key, Told> {
    let mut names = BTreeMap::new();
    of_transactions(history, &mut names);
    of_sessions(history, &mut names);
    names
}

/// `with_lock`: until the transaction ends, or is rolled back to a savepoint before the call. Taken
/// again by the same transaction it does not count.
fn of_transactions(history: &[Transaction], names: &mut BTreeMap<Key, Told>) {
    for transaction in history {
        let mut held: BTreeMap<&Key, Moment> = BTreeMap::new();
        for (step, fate) in transaction.lived() {
            let Deed::Lock {
                name,
                shared,
                of_session: false,
            } = &step.deed
            else {
                continue;
            };
            if held.get(name).is_some_and(|until| step.asked < *until) {
                continue;
            }
            held.insert(name, fate.over.until);
            let taken = Span {
                from: step.asked,
                until: step.told,
            };
            // A savepoint may be rolled back more than once: each hold is of its own.
            let by = holder(transaction.number, step.asked);
            names.entry(name.clone()).or_default().held(
                by,
                *shared,
                taken,
                fate.held_until,
                let_go(fate.held_until, fate.over.until, step.asked),
            );
        }
    }
}

/// Not before it was asked for, and not before the time until which it certainly was held. When the
/// answer was read tells nothing: the backend may have ended between giving it and that.
fn let_go(held_until: Moment, until: Moment, asked: Moment) -> Span {
    let from = held_until.max(asked);
    Span {
        from,
        until: until.max(from),
    }
}

fn holder(number: u64, since: Moment) -> Holder {
    (number << 40) ^ since.as_nanos() as u64
}

/// A hold of a session.
struct Session {
    by: Holder,
    shared: bool,
    taken: Span,
    count: usize,
}

/// `hold_lock` to as many `release_lock`, or to the end of the session.
fn of_sessions(history: &[Transaction], names: &mut BTreeMap<Key, Told>) {
    let mut sessions: BTreeMap<(usize, u32), Vec<&Transaction>> = BTreeMap::new();
    for transaction in history {
        sessions
            .entry((transaction.client, transaction.session))
            .or_default()
            .push(transaction);
    }
    for transactions in sessions.values() {
        let mut held: BTreeMap<&Key, Session> = BTreeMap::new();
        for transaction in transactions {
            for step in &transaction.steps {
                match &step.deed {
                    Deed::Lock {
                        name,
                        shared,
                        of_session: true,
                    } => {
                        let taken = Span {
                            from: step.asked,
                            until: step.told,
                        };
                        held.entry(name)
                            .or_insert(Session {
                                by: holder(transaction.number, step.asked),
                                shared: *shared,
                                taken,
                                count: 0,
                            })
                            .count += 1;
                    }
                    Deed::Release { name, .. } => {
                        let hold = held.get_mut(name);
                        let hold = hold.expect("a client releases what it holds");
                        hold.count -= 1;
                        if hold.count == 0 {
                            let hold = held.remove(name).expect("it was there");
                            let let_go = Span {
                                from: step.asked,
                                until: step.told,
                            };
                            let told = names.entry(name.clone()).or_default();
                            told.held(hold.by, hold.shared, hold.taken, step.asked, let_go);
                        }
                    }
                    _ => {}
                }
            }
        }
        let last = transactions.last().expect("a session has transactions");
        for (name, hold) in held {
            let told = names.entry(name.clone()).or_default();
            let let_go = let_go(last.open_until, NEVER, hold.taken.from);
            told.held(hold.by, hold.shared, hold.taken, last.open_until, let_go);
        }
    }
}

#[cfg(test)]
mod tests;
