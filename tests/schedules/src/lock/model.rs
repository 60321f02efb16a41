//! What is known of the locks, and what each call may return and wait for.

use super::Call;
use crate::subject::{Answer, Model};
use crate::transaction::{Level, Transaction};
use pg_once_sessions::Session;
use std::collections::BTreeSet;

/// A key, and whether the lock is shared.
type Lock = (u8, bool);

#[derive(Clone, Default)]
pub struct Held(BTreeSet<Lock>);

impl Level for Held {
    fn absorb(&mut self, newer: Held) {
        self.0.extend(newer.0);
    }
}

#[derive(Clone)]
pub struct Locks {
    ns: String,
    transactions: Vec<Transaction<Held>>,
    pending: Vec<Option<Call>>,
    /// The sessions that have waited last until a timeout was over.
    gave_up: BTreeSet<usize>,
}

impl Locks {
    pub fn new(ns: String, sessions: usize) -> Locks {
        Locks {
            ns,
            transactions: vec![Transaction::default(); sessions],
            pending: vec![None; sessions],
            gave_up: BTreeSet::new(),
        }
    }

    fn held(&self, session: usize) -> BTreeSet<Lock> {
        let levels = self.transactions[session].levels();
        levels.flat_map(|level| level.0.iter().copied()).collect()
    }

    /// Whether another session's transaction holds one of the locks in a mode that conflicts.
    fn is_in_the_way(&self, other: usize, call: Call) -> bool {
        self.held(other)
            .iter()
            .any(|(key, is_shared)| call.keys().contains(key) && !(*is_shared && call.is_shared))
    }

    /// Whether a call of another session may stand before this one.
    fn may_be_before(&self, other: usize, call: Call) -> bool {
        let asks = |asked: Call| asked.keys().iter().any(|key| call.keys().contains(key));
        self.pending[other].is_some_and(asks)
    }

    fn others(&self, session: usize) -> impl Iterator<Item = usize> {
        (0..self.transactions.len()).filter(move |other| *other != session)
    }

    fn told(&mut self, session: usize, call: Call, is_true: bool) -> Result<(), String> {
        let in_the_way = self
            .others(session)
            .find(|other| self.is_in_the_way(*other, call));
        if is_true {
            if let Some(other) = in_the_way {
                return Err(format!(
                    "it is obtained, though session {other} holds {:?}",
                    self.held(other)
                ));
            }
            let locks = call.keys().iter().map(|key| (*key, call.is_shared));
            self.transactions[session].newest().0.extend(locks);
            return Ok(());
        }
        if !call.timeout.is_soon_over() {
            return Err("false before the timeout".to_owned());
        }
        let is_before = |other| self.may_be_before(other, call);
        if in_the_way.is_none() && !self.others(session).any(is_before) {
            return Err("false where nobody is in the way".to_owned());
        }
        Ok(())
    }

    /// Whether there can be a deadlock that is the transactions' own: one that waits holds a lock of an
    /// earlier statement, and another one does too, or takes several at once.
    fn may_deadlock(&self) -> bool {
        let waits =
            |session: &usize| self.pending[*session].is_some() || self.gave_up.contains(session);
        let waiting: Vec<usize> = (0..self.pending.len()).filter(waits).collect();
        let (with, without): (Vec<usize>, Vec<usize>) = waiting
            .into_iter()
            .partition(|session| !self.held(*session).is_empty());
        let is_batch = |session: &usize| self.pending[*session].is_none_or(Call::is_batch);
        !with.is_empty() && with.len() + without.into_iter().filter(is_batch).count() > 1
    }
}

impl Model for Locks {
    type Call = Call;
    type Level = Held;

    fn transaction(&mut self, session: usize) -> &mut Transaction<Held> {
        &mut self.transactions[session]
    }

    fn begin(&self, _session: usize) -> String {
        "BEGIN".to_owned()
    }

    fn statement(&self, _session: usize, call: &Call) -> Option<String> {
        Some(call.sql(&self.ns))
    }

    fn is_alone(_call: &Call) -> bool {
        false
    }

    fn is_brief(call: &Call) -> bool {
        call.timeout.is_soon_over()
    }

    fn sent(&mut self, session: usize, call: &Call) {
        self.pending[session] = Some(*call);
    }

    fn answered(&mut self, session: usize, call: &Call, answer: &Answer) -> Result<(), String> {
        self.gave_up.remove(&session);
        if Self::is_brief(call) && answer.is_ok() {
            self.gave_up.insert(session);
        }
        match answer {
            Ok(rows) => {
                let value = rows.first().and_then(|row| row.first()?.as_deref());
                self.told(session, *call, value.ok_or("no value")? == "t")?;
            }
            Err(sqlstate) if sqlstate == "57014" => {}
            Err(sqlstate) if sqlstate == "40P01" && self.may_deadlock() => {}
            Err(sqlstate) => return Err(format!("error {sqlstate}")),
        }
        self.pending[session] = None;
        Ok(())
    }

    fn committed(&mut self, _session: usize, _held: Held) {}

    fn changed(&mut self) {}

    fn waits(&self, session: usize, call: &Call, blockers: &[usize]) -> Result<(), String> {
        for other in blockers {
            if !self.is_in_the_way(*other, *call) && !self.may_be_before(*other, *call) {
                return Err(format!("session {other} has nothing to do with it"));
            }
        }
        let is_concerned =
            |other: usize| self.is_in_the_way(other, *call) || self.may_be_before(other, *call);
        match self.others(session).any(is_concerned) {
            true => Ok(()),
            false => Err("nobody is in the way".to_owned()),
        }
    }

    /// The locks of both keys in the lock manager: those that transactions hold, and while a call for several
    /// waits, some of its own.
    fn look(&mut self, looker: &mut Session) -> Result<(), String> {
        let rows = looker.rows(&format!(
            "SELECT key, mode = 'ShareLock', count(*) FROM pg_locks, (VALUES ('1'), ('2')) AS keys (key)
             WHERE locktype = 'advisory' AND granted AND objsubid = 20602
             AND (classid::bigint << 32) | objid::bigint = once.lock_hash('{}', key) GROUP BY 1, 2",
            self.ns
        ));
        for lock in [(1, false), (1, true), (2, false), (2, true)] {
            let (key, is_shared) = lock;
            let is_it = |row: &&Vec<Option<String>>| {
                row[0] == Some(key.to_string())
                    && row[1].as_deref() == Some(if is_shared { "t" } else { "f" })
            };
            let there = rows.iter().find(is_it).and_then(|row| row[2].as_deref());
            let there: usize = there.map_or(0, |count| count.parse().expect("a count"));
            let sessions = 0..self.transactions.len();
            let held = sessions
                .clone()
                .filter(|session| self.held(*session).contains(&lock))
                .count();
            let may = sessions
                .filter(|session| {
                    self.pending[*session]
                        .is_some_and(|call| call.is_batch() && call.is_shared == is_shared)
                })
                .count();
            if !(held..=held + may).contains(&there) {
                return Err(format!(
                    "{there} have lock {key} (shared: {is_shared}), and {held} were given it"
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self, looker: &mut Session) -> Result<(), String> {
        self.look(looker)
    }
}
