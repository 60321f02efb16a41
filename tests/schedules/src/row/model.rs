//! What is known of the rows, and what each call may return, hold and wait for.
//!
//! A call is judged by the state when it answers: all sessions that are at work end or wait before the
//! next step, so the state changes between steps only.

use super::{Call, Scene};
use crate::subject::{Answer, Model};
use crate::transaction::{Level, Transaction};
use pg_once_sessions::Session;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    /// 1 or 2, or 0 for any other.
    key: u8,
    v: i64,
}

#[derive(Clone, Default)]
pub struct Held {
    /// The rows as the transaction has made them; none where it has deleted them.
    changes: BTreeMap<i64, Option<Row>>,
    /// The rows that were given to it locked.
    locks: BTreeSet<i64>,
    /// The keys that a function of the extension has answered for, or that a row has had meanwhile; a
    /// unique index remembers those.
    keys: BTreeSet<u8>,
    /// The rows that a function of the extension has created, each with its key.
    created: BTreeSet<(i64, u8)>,
    /// The row that was taken last, and its number.
    given: Option<(i64, i64)>,
}

impl Level for Held {
    fn absorb(&mut self, newer: Held) {
        self.changes.extend(newer.changes);
        self.locks.extend(newer.locks);
        self.keys.extend(newer.keys);
        self.created.extend(newer.created);
        self.given = newer.given.or(self.given);
    }
}

impl Held {
    fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.locks.is_empty() && self.keys.is_empty()
    }
}

/// A call that was sent and is not answered yet.
#[derive(Clone)]
struct Pending {
    call: Call,
    /// The rows that were there with its key all the time.
    always: BTreeSet<i64>,
    /// The rows that were there with its key at some time.
    ever: BTreeSet<i64>,
    /// The most rows that were there with its key at one time.
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Detached {
    No,
    InProgress,
    Done,
}

#[derive(Clone)]
pub struct Rows {
    scene: Scene,
    committed: BTreeMap<i64, Row>,
    transactions: Vec<Transaction<Held>>,
    pending: Vec<Option<Pending>>,
    detached: Detached,
    /// The sessions that have waited last until a timeout was over.
    gave_up: BTreeSet<usize>,
}

impl Rows {
    pub fn new(scene: &Scene, sessions: usize) -> Rows {
        let mut committed = BTreeMap::new();
        for key in (1..=2).filter(|key| scene.there[usize::from(*key) - 1]) {
            committed.insert(Scene::row(key), Row { key, v: 0 });
        }
        for session in 0..sessions {
            committed.insert(Scene::spare(session), Row { key: 0, v: 0 });
        }
        Rows {
            scene: scene.clone(),
            committed,
            transactions: vec![Transaction::default(); sessions],
            pending: vec![None; sessions],
            detached: Detached::No,
            gave_up: BTreeSet::new(),
        }
    }

    /// The rows as this session's transaction sees them.
    fn visible(&self, session: usize) -> BTreeMap<i64, Row> {
        let mut rows = self.committed.clone();
        for level in self.transactions[session].levels() {
            for (id, row) in &level.changes {
                match row {
                    Some(row) => rows.insert(*id, *row),
                    None => rows.remove(id),
                };
            }
        }
        rows
    }

    fn visible_with(&self, session: usize, key: u8) -> BTreeSet<i64> {
        let rows = self.visible(session);
        rows.iter()
            .filter(|(_, row)| row.key == key)
            .map(|(id, _)| *id)
            .collect()
    }

    fn others(&self, session: usize) -> impl Iterator<Item = usize> {
        (0..self.transactions.len()).filter(move |other| *other != session)
    }

    fn given(&self, session: usize) -> Option<(i64, i64)> {
        self.transactions[session]
            .levels()
            .rev()
            .find_map(|level| level.given)
    }

    /// Whether this session's transaction has the row locked, or has changed it.
    fn holds(&self, session: usize, id: i64) -> bool {
        self.transactions[session]
            .levels()
            .any(|level| level.locks.contains(&id) || level.changes.contains_key(&id))
    }

    /// Whether this session's transaction has to do with the key.
    fn is_involved(&self, session: usize, key: u8) -> bool {
        self.transactions[session]
            .levels()
            .any(|level| level.keys.contains(&key))
    }

    fn is_detaching(&self, session: usize) -> bool {
        self.pending[session]
            .as_ref()
            .is_some_and(|pending| pending.call == Call::Detach)
    }

    fn held(&mut self, session: usize) -> &mut Held {
        self.transactions[session].newest()
    }

    /// Whether it may be an error of core that a partition is gone, or going.
    fn is_of_detaching(&self, sqlstate: &str) -> bool {
        self.detached != Detached::No && matches!(sqlstate, "23514" | "42P01" | "55000")
    }

    /// What the extension returned for a key.
    fn given_row(
        &mut self,
        session: usize,
        pending: &Pending,
        answer: &[Vec<Option<String>>],
    ) -> Result<(), String> {
        let key = pending.call.asks_for().expect("a call for a key");
        let locks = !matches!(pending.call, Call::Find { lock: false, .. });
        let (id, v, has_key, created) = match answer {
            [] => return self.gave_up(session, pending, key),
            [row] => {
                let number = |at: usize| -> Option<i64> { row.get(at)?.as_deref()?.parse().ok() };
                let created = row.get(3).map(|created| created.as_deref() == Some("t"));
                (number(0), number(1), number(2), created)
            }
            rows => return Err(format!("{} rows", rows.len())),
        };
        let (Some(id), Some(v)) = (id, v) else {
            return Err("a row without its number".to_owned());
        };
        if has_key != Some(key.into()) {
            return Err(format!("row {id} does not have the key"));
        }
        let visible = self.visible(session);
        match visible.get(&id) {
            Some(row) => {
                if created == Some(true) {
                    return Err(format!("row {id} was not created, it was there"));
                }
                if row.key != key {
                    return Err(format!("row {id} does not have the key any more"));
                }
                if row.v != v {
                    return Err(format!("row {id} is returned with {v}, it has {}", row.v));
                }
                if let Some(other) = pending.always.iter().find(|other| **other != id) {
                    return Err(format!(
                        "row {id} is returned where {other} has the key too"
                    ));
                }
                if locks
                    && let Some(holder) = self.others(session).find(|other| self.holds(*other, id))
                {
                    return Err(format!(
                        "row {id} is given to it while session {holder} holds it"
                    ));
                }
            }
            None => {
                if self.others(session).any(|other| self.holds(other, id)) {
                    return Err(format!("row {id} is not committed"));
                }
                if created == Some(false) {
                    return Err(format!("row {id} is not there"));
                }
                let there = self.visible_with(session, key);
                if let Some(there) = there.first() {
                    return Err(format!("a second row, {id}, was created beside {there}"));
                }
                if let Some((other, there)) = self.created_by_other(session, key) {
                    return Err(format!(
                        "a second row, {id}, was created beside {there} of session {other}, which is in progress"
                    ));
                }
                let held = self.held(session);
                held.changes.insert(id, Some(Row { key, v }));
                held.created.insert((id, key));
            }
        }
        let held = self.held(session);
        held.keys.insert(key);
        if locks {
            held.locks.insert(id);
        }
        held.given = Some((id, v));
        Ok(())
    }

    /// A row with the key that another session has created and not committed, and that has to keep a
    /// second one out. What applications insert keeps it out where the table has a unique index.
    fn created_by_other(&self, session: usize, key: u8) -> Option<(usize, i64)> {
        let keeps_out = |other: usize, id: &i64| {
            self.scene.table.is_unique
                || self.transactions[other]
                    .levels()
                    .any(|level| level.created.contains(&(*id, key)))
        };
        self.others(session).find_map(|other| {
            let rows = self.visible(other);
            let mut changed = self.transactions[other]
                .levels()
                .flat_map(|level| level.changes.keys());
            let id = changed.find(|id| {
                rows.get(id).is_some_and(|row| row.key == key) && keeps_out(other, id)
            })?;
            Some((other, *id))
        })
    }

    fn gave_up(&self, session: usize, pending: &Pending, key: u8) -> Result<(), String> {
        if !pending.call.timeout().is_soon_over() {
            return Err("no row".to_owned());
        }
        let reads_only = matches!(pending.call, Call::Find { lock: false, .. });
        if reads_only && !pending.always.is_empty() {
            return Err("no row in time, where there is one to be found".to_owned());
        }
        // With a deferrable constraint whoever creates a row has the turn, and waits in the INSERT.
        let may_be_inserting = |other: usize| {
            let asks = |pending: &Pending| pending.call.asks_for() == Some(key);
            self.scene.table.is_deferrable && self.pending[other].as_ref().is_some_and(asks)
        };
        let is_held = |other: usize| {
            self.is_involved(other, key)
                || may_be_inserting(other)
                || self.is_detaching(other)
                || self.writes_key(other).is_some_and(|of| of == key)
        };
        if !self.others(session).any(is_held) {
            return Err("no row in time, where nobody is in the way".to_owned());
        }
        Ok(())
    }

    fn refused(&self, pending: &Pending, sqlstate: &str) -> Result<(), String> {
        let table = self.scene.table;
        let is_function = pending.call.asks_for().is_some();
        let is_possible = match sqlstate {
            "57014" => true,
            "40P01" => self.may_deadlock(),
            "21000" => is_function && pending.most > 1,
            "23505" => !is_function && table.is_unique,
            // A row that a statement of the application waits for may move to another partition.
            "40001" => !is_function && table.moves,
            _ => pending.call == Call::Detach || self.is_of_detaching(sqlstate),
        };
        match is_possible {
            true => Ok(()),
            false => Err(format!("error {sqlstate}")),
        }
    }

    /// The key that a statement of the application is about to give to a row; a deferrable constraint lets
    /// it do so before it waits.
    fn writes_key(&self, session: usize) -> Option<u8> {
        match self.pending[session].as_ref()?.call {
            Call::Enter { key } | Call::Insert { key } => Some(key),
            _ => None,
        }
    }

    /// Whether there can be a deadlock that is the transactions' own: two of those that wait have something
    /// from an earlier statement. One that has nothing may stand between them in a queue. Where the
    /// constraint is deferrable a row is there before its statement waits, so one of them is enough.
    fn may_deadlock(&self) -> bool {
        // An UPDATE into a key that a unique index guards has its row locked when it waits for the key.
        let has_row_and_waits =
            |session: &usize| self.scene.table.is_unique && self.writes_key(*session).is_some();
        let has_something = |session: &usize| {
            self.is_detaching(*session)
                || has_row_and_waits(session)
                || self.transactions[*session]
                    .levels()
                    .any(|level| !level.is_nothing())
        };
        // One that has given up since may have been a part of it.
        let waits =
            |session: &usize| self.pending[*session].is_some() || self.gave_up.contains(session);
        let writes = (0..self.pending.len()).any(|session| self.writes_key(session).is_some());
        let waiting = (0..self.pending.len()).filter(waits);
        let with_something = waiting.filter(has_something).count();
        match self.scene.table.is_deferrable {
            true => writes || with_something > 0,
            false => with_something > 1,
        }
    }

    /// What an application's own statement returned.
    fn changed(
        &mut self,
        session: usize,
        call: &Call,
        answer: &[Vec<Option<String>>],
    ) -> Result<(), String> {
        let target = self.target(session, call);
        let Some(id) = answer
            .first()
            .and_then(|row| row.first()?.as_deref()?.parse::<i64>().ok())
        else {
            let is_there = target.is_some_and(|id| self.visible(session).contains_key(&id));
            return match is_there && self.detached == Detached::No {
                true => Err("the row is not found, which is there".to_owned()),
                false => Ok(()),
            };
        };
        if let Some(holder) = self.others(session).find(|other| self.holds(*other, id)) {
            return Err(format!("row {id} is changed, which session {holder} holds"));
        }
        let row = self.visible(session).get(&id).copied();
        let key_before = row.map_or(0, |row| row.key);
        let row = match (call, row) {
            (Call::Insert { key }, None) => Some(Row { key: *key, v: 0 }),
            (Call::Insert { .. }, Some(_)) => return Err(format!("row {id} is inserted twice")),
            (_, None) => return Err(format!("row {id} is changed, which is not there")),
            (Call::Add, Some(row)) => {
                let (_, v) = self.given(session).expect("it was given");
                self.held(session).given = Some((id, v + 1));
                Some(Row { v: v + 1, ..row })
            }
            (Call::Leave, Some(row)) => Some(Row { key: 0, ..row }),
            (Call::Enter { key }, Some(row)) => Some(Row { key: *key, ..row }),
            (Call::Delete, Some(_)) => None,
            (_, Some(row)) => Some(row),
        };
        let key = row.map_or(0, |row| row.key);
        if self.scene.table.is_unique && key > 0 && key != key_before {
            let there = self.visible_with(session, key);
            if let Some(other) = there.first() {
                return Err(format!("row {id} has the key of row {other}"));
            }
        }
        let held = self.held(session);
        held.changes.insert(id, row);
        held.keys
            .extend([key_before, key].iter().filter(|key| **key > 0));
        if *call == Call::Delete && self.given(session).is_some_and(|(given, _)| given == id) {
            // Nothing is left that the next steps could act on.
            self.held(session).given = Some((id, 0));
        }
        Ok(())
    }

    /// The row that a statement of the application acts on.
    fn target(&self, session: usize, call: &Call) -> Option<i64> {
        let given = self.given(session).map(|(id, _)| id);
        match call {
            Call::Add => given,
            Call::Leave | Call::Wander | Call::Delete => given.or(Some(Scene::row(1))),
            Call::Enter { .. } => given.or(Some(Scene::spare(session))),
            _ => None,
        }
    }

    /// The rows that a session's call is about: the one that it acts on, or those that have had its key
    /// since it was sent.
    fn rows_of(&self, session: usize) -> BTreeSet<i64> {
        let Some(pending) = &self.pending[session] else {
            return BTreeSet::new();
        };
        let target = self.target(session, &pending.call);
        pending.ever.iter().copied().chain(target).collect()
    }

    /// The keys that a session's call is about: its own, and that of the row that it acts on.
    fn keys_of(&self, session: usize) -> BTreeSet<u8> {
        let Some(pending) = &self.pending[session] else {
            return BTreeSet::new();
        };
        let target = self.target(session, &pending.call);
        let row = target.and_then(|id| self.committed.get(&id));
        let of_row = row.map(|row| row.key).filter(|key| *key > 0);
        pending.call.key().into_iter().chain(of_row).collect()
    }

    fn note_commit(&mut self) {
        for session in 0..self.pending.len() {
            let Some(key) = self.pending[session]
                .as_ref()
                .and_then(|pending| pending.call.asks_for())
            else {
                continue;
            };
            let there = self.visible_with(session, key);
            let pending = self.pending[session].as_mut().expect("it is pending");
            pending.always.retain(|id| there.contains(id));
            pending.ever.extend(&there);
            pending.most = pending.most.max(there.len());
        }
    }
}

impl Model for Rows {
    type Call = Call;
    type Level = Held;

    fn transaction(&mut self, session: usize) -> &mut Transaction<Held> {
        &mut self.transactions[session]
    }

    fn begin(&self, _session: usize) -> String {
        "BEGIN".to_owned()
    }

    fn statement(&self, session: usize, call: &Call) -> Option<String> {
        let table = self.scene.table;
        let name = table.name;
        let target = || self.target(session, call);
        let update =
            |set: &str, id: i64| format!("UPDATE {name} SET {set} WHERE id = {id} RETURNING id");
        Some(match call {
            Call::Take { key, timeout, part } => {
                let of = if *part {
                    format!("{name}_1")
                } else {
                    name.to_owned()
                };
                format!(
                    "SELECT id, v, {} FROM with_row_lock(NULL::{of}, '{}', timeout => {})",
                    table.key_of_row(""),
                    table.key(*key),
                    timeout.sql()
                )
            }
            Call::Find { key, lock, timeout } => format!(
                "SELECT (entity).id, (entity).v, {}, created
                 FROM find_or_create(NULL::{name}, '{}', lock => {lock}, timeout => {})",
                table.key_of_row("(entity)."),
                table.key(*key),
                timeout.sql()
            ),
            Call::Add => {
                let (id, v) = self.given(session)?;
                update(&format!("v = {}", v + 1), id)
            }
            Call::Leave => update(table.leave, target()?),
            Call::Enter { key } => update(&table.enter(*key), target()?),
            Call::Wander => update(table.wander?, target()?),
            Call::Delete => format!("DELETE FROM {name} WHERE id = {} RETURNING id", target()?),
            Call::Insert { key } => format!("INSERT INTO {name} (k) VALUES ({key}) RETURNING id"),
            Call::Detach if table.detaches && self.detached == Detached::No => {
                format!("ALTER TABLE {name} DETACH PARTITION {name}_1 CONCURRENTLY")
            }
            Call::Detach => return None,
        })
    }

    fn is_alone(call: &Call) -> bool {
        *call == Call::Detach
    }

    fn is_brief(call: &Call) -> bool {
        call.timeout().is_soon_over()
    }

    /// Where a partition is about to be detached, core's parser waits for it before the call begins.
    fn gives_up(&self, session: usize, call: &Call) -> bool {
        let is_detached = self.others(session).any(|other| self.is_detaching(other));
        Self::is_brief(call) && !is_detached
    }

    fn sent(&mut self, session: usize, call: &Call) {
        let mut always = match call.asks_for() {
            Some(key) => self.visible_with(session, key),
            None => BTreeSet::new(),
        };
        if *call == Call::Detach {
            self.detached = Detached::InProgress;
            // From now on the table does not show its rows any more.
            for pending in self.pending.iter_mut().flatten() {
                pending.always.clear();
            }
        }
        let (ever, most) = (always.clone(), always.len());
        if self.detached != Detached::No {
            always.clear();
        }
        self.pending[session] = Some(Pending {
            call: *call,
            always,
            ever,
            most,
        });
    }

    fn answered(&mut self, session: usize, call: &Call, answer: &Answer) -> Result<(), String> {
        let pending = self.pending[session].clone().expect("it was sent");
        self.gave_up.remove(&session);
        if call.asks_for().is_some() && matches!(answer, Ok(rows) if rows.is_empty()) {
            self.gave_up.insert(session);
        }
        match answer {
            Err(sqlstate) => self.refused(&pending, sqlstate)?,
            Ok(rows) if call.asks_for().is_some() => self.given_row(session, &pending, rows)?,
            Ok(_) if *call == Call::Detach => self.detached = Detached::Done,
            Ok(rows) => self.changed(session, call, rows)?,
        }
        self.pending[session] = None;
        Ok(())
    }

    fn committed(&mut self, _session: usize, done: Held) {
        for (id, row) in done.changes {
            match row {
                Some(row) => self.committed.insert(id, row),
                None => self.committed.remove(&id),
            };
        }
    }

    fn changed(&mut self) {
        self.note_commit();
    }

    fn waits(&self, session: usize, call: &Call, blockers: &[usize]) -> Result<(), String> {
        let pending = self.pending[session].as_ref().expect("it was sent");
        if *call == Call::Detach {
            return Ok(());
        }
        let (keys, rows) = (self.keys_of(session), self.rows_of(session));
        for other in blockers {
            let other = *other;
            let (its_keys, its_rows) = (self.keys_of(other), self.rows_of(other));
            if !self.is_detaching(other)
                && !keys
                    .iter()
                    .any(|key| self.is_involved(other, *key) || its_keys.contains(key))
                && !rows
                    .iter()
                    .any(|id| self.holds(other, *id) || its_rows.contains(id))
            {
                return Err(format!("session {other} has nothing to do with it"));
            }
        }
        if matches!(call, Call::Find { lock: false, .. }) && !pending.always.is_empty() {
            return Err("there is a row to be found".to_owned());
        }
        if *call == Call::Add && rows.iter().any(|id| self.holds(session, *id)) {
            return Err("it was given the row".to_owned());
        }
        Ok(())
    }

    fn look(&mut self, looker: &mut Session) -> Result<(), String> {
        let mut free = BTreeSet::new();
        for leaf in self.scene.table.leaves() {
            match looker.try_run(&format!(
                "SELECT id FROM {leaf} FOR NO KEY UPDATE SKIP LOCKED"
            )) {
                Ok(rows) => free.extend(
                    rows.iter()
                        .filter_map(|row| row.first()?.as_deref()?.parse::<i64>().ok()),
                ),
                // The table itself is locked.
                Err(failure) if failure.sqlstate() == "55P03" => return Ok(()),
                Err(failure) => return Err(format!("the look: {failure:?}")),
            }
        }
        for (id, row) in &self.committed {
            let holder = (0..self.transactions.len()).find(|session| self.holds(*session, *id));
            match (holder, free.contains(id)) {
                (Some(holder), true) => {
                    return Err(format!(
                        "row {id} is not locked, which session {holder} holds"
                    ));
                }
                (None, false) => {
                    // A call that waits at one of several rows may have those before it, a statement that
                    // waits at a unique index the row that it changes.
                    let is_in_a_statement = (0..self.pending.len()).any(|session| {
                        self.pending[session].as_ref().is_some_and(|pending| {
                            match pending.call.asks_for() {
                                Some(key) => key == row.key && pending.most > 1,
                                None => self.rows_of(session).contains(id),
                            }
                        })
                    });
                    if !is_in_a_statement {
                        return Err(format!("row {id} is locked, which nobody was given"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, looker: &mut Session) -> Result<(), String> {
        let table = self.scene.table;
        let all: Vec<String> = table
            .leaves()
            .iter()
            .map(|leaf| {
                format!(
                    "SELECT id, {}, v FROM {leaf} WHERE k <> 98",
                    table.key_of_row("")
                )
            })
            .collect();
        let rows = looker.rows(&all.join(" UNION ALL "));
        let mut there = BTreeMap::new();
        for row in &rows {
            let number = |at: usize| -> i64 {
                let value = row[at].as_deref().expect("a number");
                value.parse().expect("a number")
            };
            there.insert(
                number(0),
                Row {
                    key: number(1) as u8,
                    v: number(2),
                },
            );
        }
        match there == self.committed {
            true => Ok(()),
            false => Err(format!(
                "{there:?} are left instead of {:?}",
                self.committed
            )),
        }
    }
}
