//! Whether one server that keeps the guarantees could have said all that, and has in the end what
//! it said it had.

use crate::checker::{Checker, Verdict};
use crate::order::{Operation, verdicts};
use crate::record::{LAST_LOOK, Outcome, Transaction};
use crate::server::{self, Left};
use crate::{claim, counter, json, lock, work};
use pg_once_sessions::Session;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::path::Path;
use std::time::Duration;
use todc_utils::Specification;

/// What was checked, and found in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub transactions: usize,
    /// Operations on claims, rows, locks and work that some order explains.
    pub operations: usize,
    pub unknown: usize,
    pub acknowledged: usize,
    pub lost: usize,
    pub faults: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.transactions += other.transactions;
        self.operations += other.operations;
        self.unknown += other.unknown;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.faults += other.faults;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} transactions ({} of unknown outcome), {} operations checked, {} faults survived, \
             {} claims acknowledged, {} lost",
            self.transactions,
            self.unknown,
            self.operations,
            self.faults,
            self.acknowledged,
            self.lost
        )
    }
}

/// Checks a history against the server that is left, once all its other sessions are gone. Where
/// `HISTORIES` names a directory the history is written there, under this name.
pub fn judge(
    mut history: Vec<Transaction>,
    session: &mut Session,
    name: &str,
) -> Result<Tally, String> {
    server::settle(session);
    let left = server::left(session)?;
    server::is_in_order(session)?;
    let tally = explain(&mut history, &left);
    if let Some(directory) = std::env::var_os("HISTORIES") {
        json::write(Path::new(&directory), name, &history, &left)
            .map_err(|error| format!("HISTORIES={}: {error}", directory.display()))?;
    }
    tally
}

/// Checks a history against what is left.
pub fn explain(history: &mut [Transaction], left: &Left) -> Result<Tally, String> {
    let unknown = history
        .iter()
        .filter(|transaction| transaction.outcome == Outcome::Unknown)
        .count();
    resolve(history, &left.signatures)?;
    let (acknowledged, lost) = claim::lost(history, &left.claims)?;
    if !lost.is_empty() {
        return Err(format!("acknowledged claims are lost: {lost:?}"));
    }
    let operations = claim::check(history, &left.claims)?
        + counter::check(history, &left.counts)?
        + lock::check(history)?
        + work::check(history, &left.records)?;
    Ok(Tally {
        transactions: history.len(),
        operations,
        unknown,
        acknowledged,
        lost: lost.len(),
        faults: 0,
    })
}

/// How many things each checker has looked at, and of how many it says that no order explains the
/// answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub things: usize,
    pub operations: usize,
    pub rejected: [usize; Checker::ALL.len()],
    /// Things about which the two do not say the same, or one says nothing.
    pub without_agreement: usize,
}

impl AddAssign for Findings {
    fn add_assign(&mut self, other: Findings) {
        self.things += other.things;
        self.operations += other.operations;
        for (sum, rejected) in self.rejected.iter_mut().zip(other.rejected) {
            *sum += rejected;
        }
        self.without_agreement += other.without_agreement;
    }
}

/// What each checker says of the orders alone, without the other rules.
pub fn findings(history: &mut [Transaction], left: &Left) -> Result<Findings, String> {
    resolve(history, &left.signatures)?;
    let mut findings = Findings::default();
    findings.add::<claim::Register>(claim::operations(history, &left.claims));
    findings.add::<counter::Counter>(counter::operations(history, &left.counts));
    findings.add::<lock::Mutex>(lock::operations(history));
    findings.add::<work::Work>(work::operations(history, &left.records));
    Ok(findings)
}

impl Findings {
    fn add<S>(&mut self, things: Vec<Vec<Operation<S::Operation>>>)
    where
        S: Specification + 'static,
        S::Operation: Send + 'static,
    {
        for operations in things {
            self.things += 1;
            self.operations += operations.len();
            let verdicts = verdicts::<S>(operations);
            for (rejected, verdict) in self.rejected.iter_mut().zip(verdicts) {
                *rejected += usize::from(verdict == Verdict::NotLinearizable);
            }
            let [one, other] = verdicts;
            let is_agreed = one == other && one != Verdict::Undecided;
            self.without_agreement += usize::from(!is_agreed);
        }
    }
}

/// A transaction that signed tells by its signature whether it was committed. Of those whose outcome
/// is known it must be what they were told.
fn resolve(history: &mut [Transaction], signatures: &BTreeSet<u64>) -> Result<(), String> {
    for transaction in history.iter_mut().filter(|transaction| transaction.signed) {
        let is_there = signatures.contains(&transaction.number);
        match transaction.outcome {
            Outcome::Committed if !is_there => {
                return Err(format!(
                    "an acknowledged transaction is lost: {transaction:#?}"
                ));
            }
            Outcome::RolledBack if is_there => {
                return Err(format!(
                    "a transaction was rolled back and is there: {transaction:#?}"
                ));
            }
            Outcome::Unknown => {
                transaction.outcome = if is_there {
                    transaction.end.until = LAST_LOOK - Duration::from_secs(1);
                    Outcome::Committed
                } else {
                    Outcome::RolledBack
                };
            }
            _ => {}
        }
    }
    Ok(())
}
