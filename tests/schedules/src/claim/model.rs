//! What is known of the claims, and what each call may return and wait for.

use super::{Call, Scene};
use crate::subject::{Answer, Model};
use crate::transaction::{Level, Transaction};
use pg_once_sessions::Session;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Claim {
    has_expired: bool,
    /// 1 or 2, or 0 for none.
    owner: u8,
}

#[derive(Clone, Default)]
pub struct Made {
    /// The claims as the transaction has left them; none where it has given one back.
    changes: BTreeMap<u8, Option<Claim>>,
}

impl Level for Made {
    fn absorb(&mut self, newer: Made) {
        self.changes.extend(newer.changes);
    }
}

#[derive(Clone)]
struct Pending {
    call: Call,
    /// Which keys claim_many may win, and which not: each was so at some time since it was sent.
    possible: BTreeSet<(u8, bool)>,
    is_new: bool,
}

#[derive(Clone)]
pub struct Claims {
    scene: Scene,
    ns: String,
    committed: BTreeMap<u8, Claim>,
    transactions: Vec<Transaction<Made>>,
    pending: Vec<Option<Pending>>,
    /// The sessions that have waited last until a timeout was over.
    gave_up: BTreeSet<usize>,
}

/// What a call to claim a key would come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chance {
    Wins,
    /// It has been claimed, by a transaction that has committed or is the own one.
    Loses {
        owner: u8,
        is_own: bool,
    },
    /// Another transaction decides.
    Depends,
    /// Another transaction has changed nothing that counts; it may be waited for.
    WinsSoon,
}

impl Claims {
    pub fn new(scene: &Scene, ns: String, sessions: usize) -> Claims {
        Claims {
            scene: scene.clone(),
            ns,
            committed: BTreeMap::new(),
            transactions: vec![Transaction::default(); sessions],
            pending: vec![None; sessions],
            gave_up: BTreeSet::new(),
        }
    }

    fn own(&self, session: usize, key: u8) -> Option<Option<Claim>> {
        let mut levels = self.transactions[session].levels().rev();
        levels.find_map(|level| level.changes.get(&key).copied())
    }

    fn others(&self, session: usize) -> impl Iterator<Item = usize> {
        (0..self.transactions.len()).filter(move |other| *other != session)
    }

    fn stands(claim: Option<Claim>) -> bool {
        claim.is_some_and(|claim| !claim.has_expired)
    }

    fn chance(&self, session: usize, key: u8) -> Chance {
        if let Some(own) = self.own(session, key) {
            return match own {
                Some(claim) if !claim.has_expired => Chance::Loses {
                    owner: claim.owner,
                    is_own: true,
                },
                _ => Chance::Wins,
            };
        }
        let committed = self.committed.get(&key).copied();
        let changed = self.others(session).find_map(|other| self.own(other, key));
        match (committed, changed) {
            // Claimed and given back.
            (committed, Some(None)) if !Self::stands(committed) => Chance::WinsSoon,
            (_, Some(_)) => Chance::Depends,
            (Some(claim), None) if !claim.has_expired => Chance::Loses {
                owner: claim.owner,
                is_own: false,
            },
            _ => Chance::Wins,
        }
    }

    fn is_involved(&self, session: usize, key: u8) -> bool {
        self.own(session, key).is_some()
            || self.pending[session].as_ref().is_some_and(|pending| {
                pending.call.keys().contains(&key)
                    && !matches!(pending.call, Call::IsClaimed { .. })
            })
    }

    /// Whether the call was told, rightly, that it has won.
    fn judge(&self, session: usize, key: u8, owner: u8, has_won: bool) -> Result<(), String> {
        let right = match self.chance(session, key) {
            Chance::Wins | Chance::WinsSoon => has_won,
            Chance::Loses { owner: of, is_own } => has_won == (owner > 0 && of == owner && !is_own),
            Chance::Depends => {
                return Err("it is answered before the other transaction has ended".to_owned());
            }
        };
        match right {
            true => Ok(()),
            false if has_won => Err("it wins what has been claimed".to_owned()),
            false => Err("it does not win what nobody has claimed".to_owned()),
        }
    }

    fn win(&mut self, session: usize, key: u8, claim: Claim) {
        self.transactions[session]
            .newest()
            .changes
            .insert(key, Some(claim));
    }

    fn claimed(
        &mut self,
        session: usize,
        key: u8,
        claim: Claim,
        has_won: bool,
    ) -> Result<(), String> {
        self.judge(session, key, claim.owner, has_won)?;
        // Who claims as the owner of a claim that stands changes nothing.
        if has_won && !matches!(self.chance(session, key), Chance::Loses { .. }) {
            self.win(session, key, claim);
        }
        Ok(())
    }

    fn told(
        &mut self,
        session: usize,
        call: Call,
        rows: &[Vec<Option<String>>],
    ) -> Result<(), String> {
        let value = || -> Result<&str, String> {
            let value = rows.first().and_then(|row| row.first()?.as_deref());
            value.ok_or_else(|| "no value".to_owned())
        };
        let brief = |has_expired| Claim {
            has_expired,
            owner: 0,
        };
        match call {
            Call::Claim { key } => self.claimed(session, key, brief(false), value()? == "t"),
            Call::ClaimBriefly { key } => self.claimed(session, key, brief(true), value()? == "t"),
            Call::Try {
                key,
                timeout,
                owner,
            } => {
                let claim = Claim {
                    has_expired: false,
                    owner,
                };
                match value()? {
                    "won" => self.claimed(session, key, claim, true),
                    "duplicate" => self.claimed(session, key, claim, false),
                    _ if !timeout.is_soon_over() => {
                        Err("in_progress before the timeout".to_owned())
                    }
                    _ if self
                        .others(session)
                        .any(|other| self.is_involved(other, key)) =>
                    {
                        Ok(())
                    }
                    _ => Err("in_progress where nobody is in the way".to_owned()),
                }
            }
            Call::ClaimBoth { .. } => {
                let won: BTreeSet<u8> = rows
                    .iter()
                    .filter_map(|row| row[0].as_deref()?.parse().ok())
                    .collect();
                self.note_possible();
                for key in [1, 2] {
                    let possible = &self.pending[session]
                        .as_ref()
                        .expect("it was sent")
                        .possible;
                    let has_won = won.contains(&key);
                    if !possible.contains(&(key, has_won)) {
                        return Err(format!(
                            "key {key} was never so that the answer could be {has_won}"
                        ));
                    }
                    if has_won && self.chance(session, key) == Chance::Depends {
                        return Err(format!(
                            "it is answered while another transaction decides about {key}"
                        ));
                    }
                    if has_won {
                        self.win(session, key, brief(false));
                    }
                }
                Ok(())
            }
            Call::Purge => {
                let gone: Vec<u8> = [1, 2]
                    .into_iter()
                    .filter(|key| self.is_purged(session, *key))
                    .collect();
                if value()? != gone.len().to_string() {
                    return Err(format!("{} are removed instead of {gone:?}", value()?));
                }
                let changes = &mut self.transactions[session].newest().changes;
                changes.extend(gone.into_iter().map(|key| (key, None)));
                Ok(())
            }
            Call::IsClaimed { key } => {
                let committed = self.committed.get(&key).copied();
                let claim = self.own(session, key).unwrap_or(committed);
                match Self::stands(claim) == (value()? == "t") {
                    true => Ok(()),
                    false => Err(format!("it is {claim:?}")),
                }
            }
            Call::Unclaim { key } => {
                let own = self.own(session, key);
                let claim = own.unwrap_or(self.committed.get(&key).copied());
                let is_held = own.is_none()
                    && self
                        .others(session)
                        .any(|other| self.own(other, key).is_some());
                let given_back = value()? == "t";
                if is_held && Self::stands(claim) {
                    return Err("it is answered while another transaction gives it back".to_owned());
                }
                if given_back != Self::stands(claim) {
                    return Err(format!("it is {claim:?}"));
                }
                if given_back {
                    self.transactions[session]
                        .newest()
                        .changes
                        .insert(key, None);
                }
                Ok(())
            }
        }
    }

    /// Whether a purge removes the claim: it is the own one or a committed one, expired or not, and no other
    /// transaction has changed it.
    fn is_purged(&self, session: usize, key: u8) -> bool {
        match self.own(session, key) {
            Some(own) => own.is_some(),
            None => {
                let is_in_use = self
                    .others(session)
                    .any(|other| self.own(other, key).is_some());
                self.committed.contains_key(&key) && !is_in_use
            }
        }
    }

    /// For each claim_many that waits, how each of its keys could be decided now.
    fn note_possible(&mut self) {
        for session in 0..self.pending.len() {
            let Some(Call::ClaimBoth { .. }) =
                self.pending[session].as_ref().map(|pending| pending.call)
            else {
                continue;
            };
            for key in [1, 2] {
                let has_won = match self.chance(session, key) {
                    Chance::Wins | Chance::WinsSoon => true,
                    Chance::Loses { .. } => false,
                    Chance::Depends => continue,
                };
                let has_expired = self
                    .committed
                    .get(&key)
                    .is_some_and(|claim| claim.has_expired);
                let pending = self.pending[session].as_mut().expect("it is pending");
                // The statement engine does not take over what expires while it waits.
                if has_expired && self.scene.engine == "statement" && !pending.is_new {
                    pending.possible.insert((key, false));
                }
                pending.possible.insert((key, has_won));
            }
        }
    }

    /// Whether there can be a deadlock that is the transactions' own: one that waits has a claim of an
    /// earlier statement, and another has one too, or claims several at once.
    fn may_deadlock(&self) -> bool {
        let has_something = |session: usize| {
            self.transactions[session]
                .levels()
                .any(|level| !level.changes.is_empty())
        };
        let calls = |session: usize| self.pending[session].as_ref().map(|pending| pending.call);
        let sessions = 0..self.pending.len();
        // One that has given up since may have been a part of it.
        let waits = |session: &usize| calls(*session).is_some() || self.gave_up.contains(session);
        let waiting: Vec<usize> = sessions.filter(waits).collect();
        let with = waiting
            .iter()
            .filter(|session| has_something(**session))
            .count();
        let batches = waiting.iter().filter(|session| {
            !has_something(**session) && matches!(calls(**session), Some(Call::ClaimBoth { .. }))
        });
        with > 0 && with + batches.count() > 1
    }
}

impl Model for Claims {
    type Call = Call;
    type Level = Made;

    fn transaction(&mut self, session: usize) -> &mut Transaction<Made> {
        &mut self.transactions[session]
    }

    fn begin(&self, _session: usize) -> String {
        match self.scene.is_repeatable {
            true => "BEGIN ISOLATION LEVEL REPEATABLE READ".to_owned(),
            false => "BEGIN".to_owned(),
        }
    }

    /// A purge passes over what is in use. While a call waits, or an old snapshot sees other claims, the model does not know
    /// what that is.
    fn statement(&self, session: usize, call: &Call) -> Option<String> {
        let waits = self
            .others(session)
            .any(|other| self.pending[other].is_some());
        let is_known = !waits && !self.scene.is_repeatable;
        (is_known || *call != Call::Purge).then(|| call.sql(&self.ns))
    }

    fn is_alone(_call: &Call) -> bool {
        false
    }

    fn is_brief(call: &Call) -> bool {
        matches!(call, Call::Try { timeout, .. } if timeout.is_soon_over())
    }

    fn sent(&mut self, session: usize, call: &Call) {
        self.pending[session] = Some(Pending {
            call: *call,
            possible: BTreeSet::new(),
            is_new: true,
        });
        self.note_possible();
        self.pending[session]
            .as_mut()
            .expect("it is pending")
            .is_new = false;
    }

    fn answered(&mut self, session: usize, call: &Call, answer: &Answer) -> Result<(), String> {
        self.gave_up.remove(&session);
        if Self::is_brief(call) && answer.is_ok() {
            self.gave_up.insert(session);
        }
        match answer {
            Ok(rows) => self.told(session, *call, rows)?,
            Err(sqlstate) => {
                let is_possible = match sqlstate.as_str() {
                    "57014" => true,
                    "40P01" => self.may_deadlock(),
                    "40001" => self.scene.is_repeatable && self.scene.engine == "statement",
                    _ => false,
                };
                if !is_possible {
                    return Err(format!("error {sqlstate}"));
                }
            }
        }
        self.pending[session] = None;
        Ok(())
    }

    fn changed(&mut self) {
        self.note_possible();
    }

    fn committed(&mut self, _session: usize, made: Made) {
        for (key, claim) in made.changes {
            match claim {
                Some(claim) => self.committed.insert(key, claim),
                None => self.committed.remove(&key),
            };
        }
    }

    fn waits(&self, session: usize, call: &Call, blockers: &[usize]) -> Result<(), String> {
        if matches!(call, Call::IsClaimed { .. } | Call::Purge) {
            return Err("it never waits".to_owned());
        }
        for other in blockers {
            let other = *other;
            if !call.keys().iter().any(|key| self.is_involved(other, *key)) {
                return Err(format!("session {other} has nothing to do with it"));
            }
        }
        let decided = |key: &u8| {
            matches!(
                self.chance(session, *key),
                Chance::Wins | Chance::Loses { .. }
            )
        };
        let queues = |key: &u8| {
            self.others(session)
                .any(|other| self.is_involved(other, *key))
        };
        if call.keys().iter().all(|key| decided(key) && !queues(key)) {
            return Err("nobody is in the way".to_owned());
        }
        Ok(())
    }

    fn look(&mut self, _looker: &mut Session) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, looker: &mut Session) -> Result<(), String> {
        let rows = looker.rows(&format!(
            "SELECT key FROM once.claims_of('{}') WHERE (expires_at IS NULL OR expires_at > clock_timestamp())",
            self.ns
        ));
        let there: BTreeSet<u8> = rows
            .iter()
            .filter_map(|row| row[0].as_deref()?.parse().ok())
            .collect();
        let stand = self
            .committed
            .iter()
            .filter(|(_, claim)| !claim.has_expired);
        let expected: BTreeSet<u8> = stand.map(|(key, _)| *key).collect();
        match there == expected && rows.len() == there.len() {
            true => Ok(()),
            false => Err(format!("{there:?} are claimed instead of {expected:?}")),
        }
    }
}
