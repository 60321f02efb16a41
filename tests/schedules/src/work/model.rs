//! What is known of the work, and what each call may return and wait for.

use super::Call;
use super::call::Act;
use crate::subject::{Answer, Model};
use crate::transaction::{Level, Transaction};
use pg_once_sessions::Session;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running { is_over: bool },
    GivenBack { is_put_off: bool },
    Done,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    token: i64,
    attempt: i64,
    phase: Phase,
    /// Who began last: 1 or 2, or 0 without a name.
    worker: u8,
}

#[derive(Clone, Default)]
pub struct Done {
    /// The records as the transaction has left them; none where it has removed one.
    changes: BTreeMap<u8, Option<Record>>,
    /// The keys and tokens that it has fenced.
    fences: BTreeSet<(u8, i64)>,
    /// The keys whose record it may have locked to see that it has been completed: it has where it waited.
    locks: BTreeSet<u8>,
}

impl Level for Done {
    fn absorb(&mut self, newer: Done) {
        self.changes.extend(newer.changes);
        self.fences.extend(newer.fences);
        self.locks.extend(newer.locks);
    }
}

impl Done {
    fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.fences.is_empty() && self.locks.is_empty()
    }
}

#[derive(Clone)]
pub struct Work {
    ns: String,
    committed: BTreeMap<u8, Record>,
    transactions: Vec<Transaction<Done>>,
    /// The calls that were sent and are not answered, each with its token.
    pending: Vec<Option<(Call, i64)>>,
    /// What each session knows: the token that it got last. A rollback does not make it forget.
    tokens: Vec<BTreeMap<u8, i64>>,
    /// Every token that anybody got, the latest last.
    given: Vec<(u8, i64)>,
    /// The highest token of each key that was committed.
    highest: BTreeMap<u8, i64>,
    /// A record was forgotten once: its row may still be there, for a purge.
    has_forgotten: bool,
}

impl Work {
    pub fn new(ns: String, sessions: usize) -> Work {
        Work {
            ns,
            committed: BTreeMap::new(),
            transactions: vec![Transaction::default(); sessions],
            pending: vec![None; sessions],
            tokens: vec![BTreeMap::new(); sessions],
            given: Vec::new(),
            highest: BTreeMap::new(),
            has_forgotten: false,
        }
    }

    fn own(&self, session: usize, key: u8) -> Option<Option<Record>> {
        let mut levels = self.transactions[session].levels().rev();
        levels.find_map(|level| level.changes.get(&key).copied())
    }

    fn others(&self, session: usize) -> impl Iterator<Item = usize> {
        (0..self.transactions.len()).filter(move |other| *other != session)
    }

    /// The record as this session's transaction has left it, or as it was committed.
    fn record(&self, session: usize, key: u8) -> Option<Record> {
        self.own(session, key)
            .unwrap_or(self.committed.get(&key).copied())
    }

    /// Another session's transaction that has changed the record.
    fn changer(&self, session: usize, key: u8) -> Option<usize> {
        self.others(session)
            .find(|other| self.own(*other, key).is_some())
    }

    fn token(&self, session: usize, key: u8) -> i64 {
        let last = self.given.iter().rev().find(|(of, _)| *of == key);
        let known = self.tokens[session].get(&key).copied();
        known.or(last.map(|(_, token)| *token)).unwrap_or(1)
    }

    /// The token of the call that was sent.
    fn sent_token(&self, session: usize) -> i64 {
        self.pending[session].expect("it was sent").1
    }

    fn set(&mut self, session: usize, key: u8, record: Option<Record>) {
        self.transactions[session]
            .newest()
            .changes
            .insert(key, record);
    }

    fn begun(
        &mut self,
        session: usize,
        key: u8,
        is_brief: bool,
        worker: u8,
        row: &[Option<String>],
    ) -> Result<(), String> {
        let record = self.record(session, key);
        // It asks again for what it has.
        let own = record.filter(|record| {
            worker > 0 && record.worker == worker && matches!(record.phase, Phase::Running { .. })
        });
        let outcome = row[0].as_deref().unwrap_or_default();
        let number = |at: usize| -> Option<i64> { row[at].as_deref()?.parse().ok() };
        let free = match record.map(|record| record.phase) {
            None => "run",
            Some(_) if own.is_some() => "run",
            Some(Phase::Running { is_over: true } | Phase::GivenBack { is_put_off: false }) => {
                "run"
            }
            Some(Phase::Running { .. } | Phase::GivenBack { .. }) => "in_progress",
            Some(Phase::Done) => "done",
            Some(Phase::Failed) => "failed",
        };
        let is_held = self.changer(session, key).is_some();
        let has_fenced = |other: usize| {
            let mut levels = self.transactions[other].levels();
            levels.any(|level| level.fences.iter().any(|(of, _)| *of == key))
        };
        let is_fenced = self.others(session).any(has_fenced);
        // A fence that waits for somebody's change has the record locked meanwhile.
        let fences = |other: usize| {
            self.pending[other].is_some_and(|(call, _)| call.act == Act::Fence && call.key == key)
        };
        let is_being_fenced = self.others(session).any(fences);
        let right = match outcome {
            "in_progress" => is_held || is_fenced || is_being_fenced || free == "in_progress",
            "run" => !is_held && !is_fenced && free == "run",
            other => other == free,
        };
        if !right {
            return Err(format!(
                "{outcome} where the record is {record:?}, changed by another: {is_held}, fenced by another: {is_fenced}"
            ));
        }
        if outcome != "run" {
            return Ok(());
        }
        let token = number(1).ok_or("no token")?;
        let highest = self.highest.get(&key).copied().unwrap_or(0);
        match own {
            Some(own) if token != own.token => {
                return Err(format!("token {token} instead of its own, {}", own.token));
            }
            Some(_) => {}
            None if self.given.contains(&(key, token)) => {
                return Err(format!("token {token} is given a second time"));
            }
            None if token <= highest.max(record.map_or(0, |record| record.token)) => {
                return Err(format!("token {token} is not higher than {highest}"));
            }
            None => {}
        }
        let attempt = record.map_or(0, |record| record.attempt) + 1;
        if number(2) != Some(attempt) {
            return Err(format!("attempt {:?} instead of {attempt}", number(2)));
        }
        self.tokens[session].insert(key, token);
        self.given.push((key, token));
        let phase = Phase::Running { is_over: is_brief };
        self.set(
            session,
            key,
            Some(Record {
                token,
                attempt,
                phase,
                worker,
            }),
        );
        Ok(())
    }

    /// There is one key, so the number says whether it was removed.
    fn purged(&mut self, session: usize, unfinished: bool, count: &str) -> Result<(), String> {
        let key = 1;
        let record = self.record(session, key);
        let is_meant = match record.map(|record| record.phase) {
            None => false,
            Some(Phase::Done | Phase::Failed) => true,
            Some(_) => unfinished,
        };
        let any = |other: usize, is_so: &dyn Fn(&Done) -> bool| {
            self.transactions[other].levels().any(is_so)
        };
        let is_in_use = self.others(session).any(|other| {
            self.own(other, key).is_some()
                || any(other, &|level| {
                    level.fences.iter().any(|(of, _)| *of == key)
                })
        });
        // A call that waits for somebody's change may have the record locked meanwhile; so may one that has waited, and
        // was told that the work had been completed.
        let may_be_in_use = self.others(session).any(|other| {
            self.pending[other].is_some() || any(other, &|level| level.locks.contains(&key))
        });
        let right = match count {
            "1" => is_meant && !is_in_use || record.is_none() && self.has_forgotten,
            "0" => !is_meant || is_in_use || may_be_in_use,
            _ => false,
        };
        if !right {
            return Err(format!(
                "{count} are removed where the record is {record:?}, in use by another: {is_in_use}"
            ));
        }
        if count == "1" {
            self.set(session, key, None);
        }
        Ok(())
    }

    fn told(
        &mut self,
        session: usize,
        call: Call,
        rows: &[Vec<Option<String>>],
    ) -> Result<(), String> {
        let key = call.key;
        let row = rows.first().ok_or("no row")?;
        if let Act::Begin {
            is_brief, worker, ..
        } = call.act
        {
            return self.begun(session, key, is_brief, worker, row);
        }
        if let Act::Purge { unfinished } = call.act {
            return self.purged(session, unfinished, row[0].as_deref().unwrap_or_default());
        }
        let token = self.sent_token(session);
        let record = self.record(session, key);
        let current = record.filter(|record| {
            record.token == token && matches!(record.phase, Phase::Running { .. })
        });
        let is_true = row[0].as_deref() == Some("t");
        let changer = self.changer(session, key);
        let phase = match call.act {
            Act::Forget => {
                let is_finished = record
                    .is_some_and(|record| matches!(record.phase, Phase::Done | Phase::Failed));
                if is_true && !(is_finished && changer.is_none())
                    || !is_true && is_finished && changer.is_none()
                {
                    return Err(format!("{is_true} where the record is {record:?}"));
                }
                if is_true {
                    self.has_forgotten = true;
                    self.set(session, key, None);
                }
                return Ok(());
            }
            Act::Fence => {
                current.ok_or_else(|| format!("it passes where the record is {record:?}"))?;
                if changer.is_some() {
                    return Err("it passes while another transaction changes the work".to_owned());
                }
                self.transactions[session]
                    .newest()
                    .fences
                    .insert((key, token));
                return Ok(());
            }
            Act::Complete if !is_true => {
                let is_completed = record
                    .is_some_and(|record| record.token == token && record.phase == Phase::Done);
                if !is_completed {
                    return Err(format!("false where the record is {record:?}"));
                }
                self.transactions[session].newest().locks.insert(key);
                return Ok(());
            }
            Act::Renew { is_brief } => Phase::Running { is_over: is_brief },
            Act::Complete => Phase::Done,
            Act::GiveBack => Phase::GivenBack { is_put_off: false },
            Act::PutOff => Phase::GivenBack { is_put_off: true },
            _ => Phase::Failed,
        };
        let current =
            current.ok_or_else(|| format!("it is done where the record is {record:?}"))?;
        if changer.is_some() {
            return Err("it is done before the other transaction has ended".to_owned());
        }
        self.set(session, key, Some(Record { phase, ..current }));
        Ok(())
    }

    fn refused(&self, session: usize, call: Call, sqlstate: &str) -> Result<(), String> {
        let record = self.record(session, call.key);
        let token = self.sent_token(session);
        let is_current = record.is_some_and(|record| {
            record.token == token
                && (matches!(record.phase, Phase::Running { .. })
                    || (record.phase == Phase::Done && call.act == Act::Complete))
        });
        let is_possible = match sqlstate {
            "57014" => true,
            "40P01" => self.may_deadlock(),
            "55000" => {
                let needs_token =
                    !call.begins() && !matches!(call.act, Act::Forget | Act::Purge { .. });
                !is_current && needs_token
            }
            _ => false,
        };
        match is_possible {
            true => Ok(()),
            false => Err(format!(
                "error {sqlstate} where the record is {record:?}, its token {token}"
            )),
        }
    }

    /// Whether there can be a deadlock that is the transactions' own: two of those that wait have
    /// something from an earlier statement.
    fn may_deadlock(&self) -> bool {
        let has_something = |session: &usize| {
            self.transactions[*session]
                .levels()
                .any(|level| !level.is_nothing())
        };
        let sessions = 0..self.pending.len();
        let waiting = sessions.filter(|session| self.pending[*session].is_some());
        waiting.filter(has_something).count() > 1
    }
}

impl Model for Work {
    type Call = Call;
    type Level = Done;

    fn transaction(&mut self, session: usize) -> &mut Transaction<Done> {
        &mut self.transactions[session]
    }

    fn begin(&self, _session: usize) -> String {
        "BEGIN".to_owned()
    }

    fn statement(&self, session: usize, call: &Call) -> Option<String> {
        Some(call.sql(&self.ns, self.token(session, call.key)))
    }

    fn is_alone(_call: &Call) -> bool {
        false
    }

    /// A begin waits for no lock, and sleeps no longer than it was told to.
    fn is_brief(call: &Call) -> bool {
        call.begins()
    }

    fn sent(&mut self, session: usize, call: &Call) {
        self.pending[session] = Some((*call, self.token(session, call.key)));
    }

    fn answered(&mut self, session: usize, call: &Call, answer: &Answer) -> Result<(), String> {
        match answer {
            Ok(rows) => self.told(session, *call, rows)?,
            Err(sqlstate) => self.refused(session, *call, sqlstate)?,
        }
        self.pending[session] = None;
        Ok(())
    }

    fn committed(&mut self, _session: usize, done: Done) {
        for (key, record) in done.changes {
            match record {
                Some(record) => {
                    let highest = self.highest.entry(key).or_default();
                    *highest = record.token.max(*highest);
                    self.committed.insert(key, record);
                }
                None => {
                    self.committed.remove(&key);
                }
            }
        }
    }

    fn changed(&mut self) {}

    fn waits(&self, session: usize, call: &Call, blockers: &[usize]) -> Result<(), String> {
        let token = self.sent_token(session);
        let heeds_fences = !matches!(call.act, Act::Renew { .. } | Act::Complete);
        for other in blockers {
            let other = *other;
            let has_changed = self.own(other, call.key).is_some();
            let mut levels = self.transactions[other].levels();
            let has_locked = levels.any(|level| level.locks.contains(&call.key));
            let asks = self.pending[other]
                .is_some_and(|(other, _)| other.key == call.key && !other.begins());
            let has_fenced = self.transactions[other].levels().any(|level| {
                level
                    .fences
                    .iter()
                    .any(|(key, of)| *key == call.key && (heeds_fences || *of != token))
            });
            if !has_changed && !asks && !has_fenced && !has_locked {
                return Err(format!("session {other} has nothing to do with it"));
            }
        }
        Ok(())
    }

    fn look(&mut self, _looker: &mut Session) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, looker: &mut Session) -> Result<(), String> {
        let rows = looker.rows(&format!(
            "SELECT key, state, worker FROM once.work_of('{}')",
            self.ns
        ));
        let there: BTreeSet<String> = rows
            .iter()
            .map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" "))
            .collect();
        let state = |record: &Record| match record.phase {
            Phase::Running { .. } => "running",
            Phase::GivenBack { .. } => "given back",
            Phase::Done => "done",
            Phase::Failed => "failed",
        };
        let expected: BTreeSet<String> = self
            .committed
            .iter()
            .map(|(key, record)| match record.worker {
                0 => format!("{key} {}", state(record)),
                worker => format!("{key} {} worker {worker}", state(record)),
            })
            .collect();
        match there == expected {
            true => Ok(()),
            false => Err(format!("{there:?} are left instead of {expected:?}")),
        }
    }
}
