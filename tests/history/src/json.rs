//! Histories as JSON, in the form that the command lines of Elle and Knossos read: a list of
//! operations with index, time in nanoseconds, type, process, f and value. See docs/histories.md.

use crate::checker::{events, threads};
use crate::load::CLIENTS;
use crate::order::Operation;
use crate::record::{Deed, LAST_LOOK, Moment, NEVER, Outcome, Transaction};
use crate::server::Left;
use crate::{claim, lock};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// An operation on one thing, as Knossos' models name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    pub f: &'static str,
    /// What is asked, and what is answered.
    pub invoke: Value,
    pub ok: Value,
    /// Whether it happened, or may have.
    pub is_certain: bool,
}

/// Writes NAME-rows.json for Elle's rw-register, and for Knossos NAME-claim-N.json, a cas-register, and
/// NAME-lock-N.json, a mutex, one for each claim and each named lock.
pub fn write(directory: &Path, name: &str, history: &[Transaction], left: &Left) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let save = |what: String, history: Vec<Value>| {
        let lines = Vec::from_iter(history.iter().map(Value::to_string));
        let path = directory.join(format!("{name}-{what}.json"));
        fs::write(path, format!("[{}]\n", lines.join(",\n")))
    };
    save("rows".to_owned(), rows(history))?;
    let claims = claim::operations(history, &left.claims);
    for (number, register) in claims.into_iter().filter_map(register).enumerate() {
        save(format!("claim-{number}"), register)?;
    }
    let locks = lock::operations(history);
    for (number, mutex) in locks.into_iter().filter_map(mutex).enumerate() {
        save(format!("lock-{number}"), mutex)?;
    }
    Ok(())
}

/// A claim as a register that is 0 or 1. None where an owner has asked twice, whose second answer is
/// true whatever the register is.
pub fn register(operations: Vec<Operation<claim::Act>>) -> Option<Vec<Value>> {
    let mut owners = BTreeSet::new();
    let mut ops = vec![Operation::new(
        Moment::ZERO,
        Moment::ZERO,
        Op {
            f: "write",
            invoke: json!(0),
            ok: json!(0),
            is_certain: true,
        },
    )];
    for Operation { span, act } in operations {
        let (before, after) = match act {
            claim::Act::Look(before) => (before, None),
            claim::Act::Change { before, after } | claim::Act::Perhaps { before, after } => {
                (before, Some(after))
            }
        };
        let is_claimed = match before {
            claim::Before::Free => 0,
            claim::Before::FreeOrBy(owner) => {
                if !owners.insert(owner) {
                    return None;
                }
                0
            }
            claim::Before::Claimed => 1,
            claim::Before::ClaimedNotBy(owner) => {
                if owners.contains(&owner) {
                    return None;
                }
                1
            }
        };
        let is_certain = !matches!(act, claim::Act::Perhaps { .. });
        let op = match after {
            None => Op {
                f: "read",
                invoke: Value::Null,
                ok: json!(is_claimed),
                is_certain,
            },
            Some(after) => {
                let cas = json!([is_claimed, i32::from(after.is_some())]);
                Op {
                    f: "cas",
                    invoke: cas.clone(),
                    ok: cas,
                    is_certain,
                }
            }
        };
        ops.push(Operation { span, act: op });
    }
    Some(listed(ops))
}

/// A named lock as a mutex; none where somebody has shared it.
pub fn mutex(operations: Vec<Operation<lock::Act>>) -> Option<Vec<Value>> {
    let op = |Operation { span, act }| {
        let f = match act {
            lock::Act::Take { shared: true, .. } => return None,
            lock::Act::Take { .. } => "acquire",
            lock::Act::Release { .. } => "release",
        };
        let act = Op {
            f,
            invoke: Value::Null,
            ok: Value::Null,
            is_certain: span.until != NEVER,
        };
        Some(Operation { span, act })
    };
    operations
        .into_iter()
        .map(op)
        .collect::<Option<Vec<_>>>()
        .map(listed)
}

/// The ends of the operations in the order of time. An operation of which nobody knows whether it has
/// happened ends as `info`, behind all others.
fn listed(mut operations: Vec<Operation<Op>>) -> Vec<Value> {
    operations.sort_by_key(|operation| operation.span.from);
    let processes = threads(&operations);
    let ends = operations
        .iter()
        .flat_map(|operation| [operation.span.from, operation.span.until]);
    let end = ends
        .filter(|end| *end < LAST_LOOK / 2)
        .max()
        .unwrap_or_default();
    let mut history = Vec::new();
    for (number, is_call) in events(&operations) {
        let Operation { span, act } = &operations[number];
        let time = if is_call { span.from } else { span.until };
        let (kind, value) = match (is_call, act.is_certain) {
            (true, _) => ("invoke", &act.invoke),
            (false, true) => ("ok", &act.ok),
            (false, false) => ("info", &act.invoke),
        };
        history.push(json!({
            "index": history.len(),
            "time": time.min(end).as_nanos() as u64,
            "type": kind,
            "process": processes[number],
            "f": act.f,
            "value": value,
        }));
    }
    history
}

/// The turns of rows as transactions that read and write registers: each reads the count, null where
/// there is no row, and writes the next one.
///
/// What was rolled back is left out: another transaction writes the same count, and in Elle's form a value is
/// written once. So is what may have been committed where another one has written its count.
pub fn rows(history: &[Transaction]) -> Vec<Value> {
    let mut written = BTreeSet::new();
    let mut transactions = Vec::new();
    for outcome in [Outcome::Committed, Outcome::Unknown] {
        let of_outcome = history
            .iter()
            .filter(|transaction| transaction.outcome == outcome);
        for transaction in of_outcome {
            let turns = turns(transaction);
            let is_new =
                |(row, _, next): &(String, i64, i64)| !written.contains(&(row.clone(), *next));
            if turns.is_empty() || !turns.iter().all(is_new) {
                continue;
            }
            written.extend(turns.iter().map(|(row, _, next)| (row.clone(), *next)));
            let from = transaction
                .steps
                .first()
                .map_or(transaction.end.from, |step| step.asked);
            let until = transaction.end.until.min(LAST_LOOK);
            transactions.push((from, until, outcome, transaction.client, turns));
        }
    }
    let mut ends = Vec::new();
    for (number, (from, until, ..)) in transactions.iter().enumerate() {
        ends.push((*from, 0, number));
        ends.push((*until, 1, number));
    }
    ends.sort_unstable();
    let end = ends
        .iter()
        .map(|(time, ..)| *time)
        .filter(|time| *time < LAST_LOOK / 2);
    let end = end.max().unwrap_or_default();
    // A client that was not answered goes on as another process, though its signature may tell in the end that it
    // has committed.
    let mut processes: BTreeMap<usize, usize> = BTreeMap::new();
    let mut history = Vec::new();
    let mut of_number = BTreeMap::new();
    for (time, is_end, number) in ends {
        let (_, until, outcome, client, turns) = &transactions[number];
        let process = processes.entry(*client).or_insert(*client);
        let process = *of_number.entry(number).or_insert_with(|| {
            let now = *process;
            if *until > end {
                *process += CLIENTS;
            }
            now
        });
        let kind = match (is_end, outcome) {
            (0, _) => "invoke",
            (_, Outcome::Committed) => "ok",
            _ => "info",
        };
        let value = turns.iter().flat_map(|(row, seen, next)| {
            let seen = (kind == "ok" && *seen > 0).then_some(*seen);
            [json!(["r", row, seen]), json!(["w", row, next])]
        });
        history.push(json!({
            "index": history.len(),
            "time": time.min(end).as_nanos() as u64,
            "type": kind,
            "process": process,
            "f": "txn",
            "value": Vec::from_iter(value),
        }));
    }
    history
}

/// The turns of a transaction that were not undone: the row, what it was shown, what it has written.
fn turns(transaction: &Transaction) -> Vec<(String, i64, i64)> {
    let lived = transaction.lived();
    let lasting = lived.filter(|(_, fate)| fate.outcome == transaction.outcome);
    lasting
        .filter_map(|(step, _)| match &step.deed {
            Deed::Turn { row, seen, .. } => Some((row.to_string(), *seen, seen + 1)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
