//! Taking one's turn at a row: find it and lock it, or create it, and never twice.
//!
//! A row that exists is taken by its row lock. A missing one is created by INSERT … ON CONFLICT
//! DO NOTHING where a unique index covers the key; else behind an advisory lock of the extension's
//! own, after a second look that is newer than the lock.

use std::cell::{Cell as Flag, OnceCell, RefCell};
use std::collections::VecDeque;

use pgrx::PgSqlErrorCode;

use super::statement::{
    Conflict, Form, Search, Shape, Statements, computed, explain_insert, may_get_another_key,
};
use super::{Cell, hint, opened, values};
use crate::digest;
use crate::error::Error;
use crate::key::scalar_text;
use crate::pg::deadline::{Attempt, attempt, attempt_to_get};
use crate::pg::first::{First, first};
use crate::pg::grasp::Grasp;
use crate::pg::injection_point::{self, Point};
use crate::pg::json::Member;
use crate::pg::lock::{Class, Lock as Taking, Mode, names};
use crate::pg::settings::{self, DuplicateRows};
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Generated, Guard, Table};
use crate::pg::version::{Locked, Locking, Patience, Place, Version};
use crate::pg::{Raised, ServerError, Value, notice, partition, session, text};
use crate::timeout::Timeout;

mod nodes;

/// How often a call looks again when the row is neither to be had nor to be created, and nothing says
/// why.
const ROUNDS: usize = 8;

/// How often it looks again because others have changed, removed or created the row since it was found,
/// or missed. Each time a transaction of theirs has ended.
const ROUNDS_OF_OTHERS: usize = 10_000;

/// In how many lines a call stands at most. Where others go on changing the row each of its versions has
/// one, and each place takes an entry of the shared lock table.
const PLACES: usize = 8;

/// A row, found or created.
pub struct Taken {
    pub created: bool,
    pub row: Value<'static>,
    /// The session has heard of no change of the table since it was opened.
    pub is_unaltered: bool,
}

impl Taken {
    fn found(row: Value<'static>) -> Self {
        Self {
            created: false,
            row,
            is_unaltered: false,
        }
    }

    fn created(row: Value<'static>) -> Self {
        Self {
            created: true,
            ..Self::found(row)
        }
    }
}

/// What a look for the row came to.
enum Look {
    Row(Value<'static>),
    Nothing,
    /// It was there, or about to be, until others ended their transaction: who looks again finds what
    /// there is now.
    Overtaken,
    /// Others have it locked.
    Busy,
}

/// A row that was found, where it stands, and how it is to be locked.
struct Found {
    row: Value<'static>,
    at: Option<Value<'static>>,
    partition: Option<Value<'static>>,
    locking: Option<Locking>,
    /// There is no other one, or it does not matter.
    is_one: bool,
}

/// What a try to find or create the row came to.
enum Round {
    Taken(Taken),
    /// Others were faster.
    Overtaken,
    InVain,
}

impl Round {
    fn of(taken: Option<Taken>) -> Self {
        taken.map_or(Self::InVain, Self::Taken)
    }
}

/// One call for one key of one table.
pub struct Turn<'a> {
    table: &'a Table,
    key: &'a [Cell<'a>],
    defaults: &'a [(&'a Column, &'a Member<'a>)],
    form: Form,
    statements: OnceCell<Statements<'a>>,
    /// The unique index that keeps a second row out.
    guard: Option<Guard<'a>>,
    lock: bool,
    timeout: Timeout,
    has_warned: Flag<bool>,
    /// The places that the call has in line, the newest version's last.
    line: RefCell<VecDeque<Place>>,
}

impl<'a> Turn<'a> {
    pub fn new(
        table: &'a Table,
        key: &'a [Cell<'a>],
        defaults: &'a [(&'a Column, &'a Member<'a>)],
        shape: Shape,
        lock: bool,
        timeout: Timeout,
    ) -> Result<Self, Error> {
        let guard = table.guard_of(&values(key))?.filter(|_| !table.has_rules);
        let form = Form {
            shape,
            duplicates: settings::duplicate_rows()?,
            is_unique: guard.is_some(),
        };
        Ok(Self {
            table,
            key,
            defaults,
            form,
            statements: OnceCell::new(),
            guard,
            lock,
            timeout,
            has_warned: Flag::new(false),
            line: RefCell::default(),
        })
    }

    fn statements(&self) -> Result<&Statements<'a>, Error> {
        if let Some(statements) = self.statements.get() {
            return Ok(statements);
        }
        let statements = Statements::new(self.table, self.key, self.form)?;
        Ok(self.statements.get_or_init(|| statements))
    }

    /// Finds or creates the row. None when the timeout is over.
    ///
    /// With a timeout a row that is there and free is taken as without one. All else, which may
    /// wait, is one subtransaction: at the deadline it is undone as a whole.
    pub fn take(&self) -> Result<Option<Taken>, Error> {
        if self.table.is_distributed {
            return self.take_on_nodes();
        }
        let mut taken = self.take_in_time()?;
        if let Some(taken) = &mut taken {
            self.table.last_was_new.set(taken.created);
            taken.is_unaltered = self.table.is_known();
        }
        Ok(taken)
    }

    fn take_in_time(&self) -> Result<Option<Taken>, Error> {
        let Some(deadline) = self.timeout.deadline() else {
            return self.take_in_rounds().map(Some);
        };
        let free = match self.takes_without_waiting()? {
            true => Some(self.look(Patience::Skip)?),
            false => self.look_in_time(deadline)?,
        };
        match free {
            Some(Look::Row(row)) => return Ok(Some(Taken::found(row))),
            Some(_) => {}
            None => return Ok(None),
        }
        match attempt(Some(deadline), || self.take_in_rounds())? {
            Attempt::Done(taken) => Ok(Some(taken)),
            Attempt::TimedOut => Ok(None),
            Attempt::Moved => Err(self.unsettled()),
        }
    }

    /// Whether a row that is free can be locked by one statement that waits for nobody: it must not
    /// need to look for several rows, nor at other tables.
    fn takes_without_waiting(&self) -> Result<bool, Error> {
        let is_one = self.lock && self.guard.is_some() && !self.table.rows_may_move;
        Ok(is_one && !self.table.has_row_security()? && self.table.locks_indexes_at_once()?)
    }

    /// The row where it is there and free, or nothing is known; none when the time is over.
    fn look_in_time(&self, deadline: i64) -> Result<Option<Look>, Error> {
        let locking = self.locking()?;
        if self.table.is_partitioned
            || matches!(locking, Some(Locking::Checked | Locking::Statement))
        {
            return Ok(Some(Look::Nothing));
        }
        match attempt(Some(deadline), || self.locate(locking))? {
            Attempt::TimedOut => Ok(None),
            Attempt::Moved | Attempt::Done(None) => Ok(Some(Look::Nothing)),
            Attempt::Done(Some(found)) => self.lock(found, Patience::Skip).map(Some),
        }
    }

    fn take_in_rounds(&self) -> Result<Taken, Error> {
        let (mut in_vain, mut overtaken) = (0, 0);
        while in_vain < ROUNDS && overtaken < ROUNDS_OF_OTHERS {
            match self.round()? {
                Round::Taken(taken) => return Ok(taken),
                // Others explain what was in vain before.
                Round::Overtaken => (in_vain, overtaken) = (0, overtaken + 1),
                Round::InVain => in_vain += 1,
            }
            session::check_for_interrupts()?;
        }
        self.insist()
    }

    fn round(&self) -> Result<Round, Error> {
        let look = self.look(Patience::Wait)?;
        if !matches!(look, Look::Overtaken) {
            self.leave_line()?;
        }
        match look {
            Look::Row(row) => Ok(Round::Taken(Taken::found(row))),
            Look::Overtaken | Look::Busy => Ok(Round::Overtaken),
            Look::Nothing => match (self.guard, self.conflict()) {
                (None, _) => self.create_in_turn(),
                (Some(_), Conflict::Error) => self.insert_unless_taken().map(Round::of),
                (Some(_), conflict) => self.insert(conflict).map(Round::of),
            },
        }
    }

    /// The row, locked where it is to be. Whoever is creating it is waited for here where that can be,
    /// so that an INSERT need not wait: it would take a transaction id and values of sequences before.
    fn look(&self, patience: Patience) -> Result<Look, Error> {
        let waits = patience == Patience::Wait;
        let grasp = match self.grasp()? {
            Grasp::Busy(version) if waits => {
                self.stand_in_line(version)?;
                self.table.grasp_after(version)?
            }
            grasp => grasp,
        };
        match grasp {
            Grasp::Row(row) if self.form.shape == Shape::Json => Ok(Look::Row(row.into_jsonb()?)),
            Grasp::Row(row) => Ok(Look::Row(row)),
            Grasp::Nothing => Ok(Look::Nothing),
            Grasp::Overtaken => Ok(Look::Overtaken),
            Grasp::Busy(_) => Ok(Look::Busy),
            Grasp::Unsure => match self.existing(patience)? {
                Look::Nothing if waits => {
                    self.leave_line()?;
                    match self.awaits_creator()? {
                        true => Ok(Look::Overtaken),
                        false => Ok(Look::Nothing),
                    }
                }
                look => Ok(look),
            },
        }
    }

    /// Waits for all who waited for this version before. Its place is kept until the call has the row, so
    /// that nobody overtakes it who waits for an older version, and left before it waits for anything else.
    fn stand_in_line(&self, version: Version) -> Result<(), Error> {
        let place = version.stand_in_line()?;
        let mut line = self.line.borrow_mut();
        line.push_back(place);
        match line.len() > PLACES {
            true => Ok(line.pop_front().map_or(Ok(()), Place::leave)?),
            false => Ok(()),
        }
    }

    fn leave_line(&self) -> Result<(), Error> {
        let line = self.line.take();
        Ok(line.into_iter().try_for_each(Place::leave)?)
    }

    /// What can be done by way of the unique index alone, for less than a statement costs: to lock
    /// the row, or to tell that it is to be created.
    ///
    /// That there is none is believed only where the last row of the table was a new one: such a
    /// look can miss a row that is being moved under its eyes, and an INSERT in vain uses up values
    /// of sequences and needs a right of its own. What a statement would see or raise besides is
    /// left to it: an older snapshot, row security, rights on single columns.
    fn grasp(&self) -> Result<Grasp, Error> {
        let locks = self.lock && self.table.is_plain;
        let expects_new = self.table.last_was_new.get();
        let guard = self.guard.filter(|guard| guard.is_exact);
        let Some(Guard { index: guard, .. }) = guard.filter(|_| locks || expects_new) else {
            return Ok(Grasp::Unsure);
        };
        if session::isolation().has_one_snapshot()
            || self.table.may_hide_rows
            || !self.table.is_open_to_user()?
        {
            return Ok(Grasp::Unsure);
        }
        let key = values(self.key);
        if expects_new && self.table.is_absent(guard, &key)? {
            return Ok(Grasp::Nothing);
        }
        if !locks {
            return Ok(Grasp::Unsure);
        }
        Ok(match self.table.grasp(guard, &key)? {
            Grasp::Nothing if !expects_new => Grasp::Unsure,
            grasp => grasp,
        })
    }

    fn awaits_creator(&self) -> Result<bool, Error> {
        let Some(guard) = self.guard else {
            return Ok(false);
        };
        Ok(self.table.await_creator(guard.index, &values(self.key))?)
    }

    /// The row, locked where it is to be, as statements find it.
    fn existing(&self, patience: Patience) -> Result<Look, Error> {
        let locking = self.locking()?;
        if locking == Some(Locking::Statement) {
            return self.lock_by_statement(patience);
        }
        match self.locate(locking)? {
            Some(found) => self.lock(found, patience),
            None => Ok(Look::Nothing),
        }
    }

    /// How the row is locked; none where it is not.
    fn locking(&self) -> Result<Option<Locking>, Error> {
        Ok(match self.lock {
            true => Some(self.table.locking()?),
            false => None,
        })
    }

    /// The row, and where it stands when that version of it is to be locked.
    fn locate(&self, locking: Option<Locking>) -> Result<Option<Found>, Error> {
        let search = match locking {
            None | Some(Locking::Statement) => Search::Plain,
            Some(Locking::Version | Locking::Checked) => Search::Located,
        };
        let statements = self.statements()?;
        let found = first(statements.find(search), &statements.arguments)?;
        let [row, at, partition] = found.values;
        let is_one = found.count < 2;
        if !is_one && (locking.is_none() || self.form.duplicates == DuplicateRows::First) {
            self.accept_duplicates()?;
        }
        Ok(row.map(|row| Found {
            row,
            at,
            partition,
            locking,
            is_one: is_one || self.form.duplicates == DuplicateRows::First,
        }))
    }

    /// Locks the version of the row that was found. No other row or version is locked, whatever others
    /// have done meanwhile: who waits for this one has nothing that they may be waiting for.
    fn lock(&self, found: Found, patience: Patience) -> Result<Look, Error> {
        let (Some(locking), Some(at)) = (found.locking, &found.at) else {
            return Ok(Look::Row(found.row));
        };
        if !found.is_one {
            return self.await_repair(patience);
        }
        let Some(version) = self.table.version(at, found.partition.as_ref()) else {
            return self.lock_by_statement(patience);
        };
        let locked = match version.lock(Patience::Skip)? {
            Locked::Busy if patience == Patience::Wait => {
                self.stand_in_line(version)?;
                version.lock(Patience::Wait)?
            }
            locked => locked,
        };
        match locked {
            Locked::Held if locking == Locking::Checked => self.check(found),
            Locked::Held => Ok(Look::Row(found.row)),
            // It raises.
            Locked::Overtaken if session::isolation().has_one_snapshot() => {
                self.lock_by_statement(patience)
            }
            Locked::Overtaken => Ok(Look::Overtaken),
            Locked::Busy => Ok(Look::Busy),
            Locked::Elsewhere => self.lock_by_statement(patience),
        }
    }

    /// Waits for whoever has one of several rows locked, and may be removing it; raises where all of
    /// them stay as they are. Nothing is held meanwhile.
    fn await_repair(&self, patience: Patience) -> Result<Look, Error> {
        if patience == Patience::Skip {
            return Ok(Look::Busy);
        }
        self.leave_line()?;
        let statements = self.statements()?;
        let (search, arguments) = (statements.find(Search::Located), &statements.arguments);
        let versions = spi::run(search, arguments, View::Isolated, |rows| {
            (0..rows.count())
                .map(|row| match rows.keep(row, 1)? {
                    Some(at) => Ok(self.table.version(&at, rows.keep(row, 2)?.as_ref())),
                    None => Ok(None),
                })
                .collect::<Result<Vec<_>, Raised>>()
        })?;
        let mut is_overtaken = versions.len() < 2;
        for version in versions.into_iter().flatten() {
            attempt_to_get(|| {
                is_overtaken |= version.lock(patience)? == Locked::Overtaken;
                Ok::<Option<()>, Error>(None)
            })?;
        }
        if !is_overtaken {
            self.accept_duplicates()?;
        } else if session::isolation().has_one_snapshot() {
            let table = self.table.name.clone();
            return Err(Error::RowNewerThanSnapshot { table });
        }
        Ok(Look::Overtaken)
    }

    /// The row, whose version is locked, if the user may lock it.
    fn check(&self, found: Found) -> Result<Look, Error> {
        let statements = self.statements()?;
        let mut arguments = statements.arguments.clone();
        arguments.extend(found.at);
        arguments.extend(found.partition);
        let [row] = first(statements.find(Search::At), &arguments)?.values;
        row.map(Look::Row).ok_or(self.hidden_or_unsettled()?)
    }

    /// Locks the row by the statement that finds it, which may lock rows that it does not return: where
    /// it returns none they are free again.
    fn lock_by_statement(&self, patience: Patience) -> Result<Look, Error> {
        self.leave_line()?;
        // Of several rows only the first is locked, and nothing is said of the others.
        if self.form.duplicates == DuplicateRows::First {
            self.find(Search::Plain, View::Isolated)?;
        }
        let search = match patience {
            Patience::Wait => Search::Wait,
            Patience::Skip => Search::Skip,
        };
        Ok(
            match attempt_to_get(|| self.find(search, View::Isolated))? {
                Attempt::Done(Some(row)) => Look::Row(row),
                Attempt::Done(None) if self.find(Search::Plain, View::Isolated)?.is_none() => {
                    Look::Nothing
                }
                Attempt::Done(None)
                    if patience == Patience::Wait && self.table.has_row_security()? =>
                {
                    return Err(self.hidden_or_unsettled()?);
                }
                Attempt::Done(None) if patience == Patience::Skip => Look::Busy,
                // Another row has it now, or it has moved to another partition.
                Attempt::Done(None) | Attempt::Moved | Attempt::TimedOut => Look::Overtaken,
            },
        )
    }

    fn find(&self, search: Search, view: View) -> Result<Option<Value<'static>>, Error> {
        let statements = self.statements()?;
        let (statement, arguments) = (statements.find(search), &statements.arguments);
        let (count, row) = match view {
            View::Isolated => {
                let First {
                    count,
                    values: [row],
                } = first(statement, arguments)?;
                (count, row)
            }
            View::Newest => spi::run(statement, arguments, view, |rows| {
                Ok::<_, Error>((rows.count(), rows.keep(0, 0)?))
            })?,
        };
        if count > 1 {
            self.accept_duplicates()?;
        }
        Ok(row)
    }

    /// Raises, or warns once, that the key has several rows.
    fn accept_duplicates(&self) -> Result<(), Error> {
        let table = self.table.name.clone();
        let columns: Vec<&str> = self
            .key
            .iter()
            .map(|cell| cell.column.name.as_str())
            .collect();
        let columns = columns.join(", ");
        if self.form.duplicates == DuplicateRows::Error {
            let hint = hint::of_duplicates(self.table, self.key)?;
            return Err(Error::Duplicates {
                table,
                columns,
                hint,
            });
        }
        if self.table.primary_key.is_empty() {
            return Err(Error::DuplicatesWithoutPrimaryKey { table, columns });
        }
        if !self.has_warned.replace(true) {
            let hint = hint::of_duplicates(self.table, self.key)?;
            notice::warn(
                &format!("table {table} holds several rows for this key; the first was taken"),
                &format!("The key is ({columns})."),
                hint.as_deref()
                    .unwrap_or("Find them with once.find_duplicates."),
            )?;
        }
        Ok(())
    }

    /// Creates the row where nothing but the turn keeps a second one out.
    ///
    /// The turn is kept with a row that was created only: a row that is there is locked itself. And
    /// nobody is waited for in the turn who may be waiting for it.
    fn create_in_turn(&self) -> Result<Round, Error> {
        self.turn(|turn| turn.take_for_now())?;
        let round = self.create_alone()?;
        match &round {
            Round::Taken(taken) if taken.created => {}
            _ => self.turn(|turn| turn.give_back())?,
        }
        Ok(round)
    }

    fn turn(&self, act: impl Fn(&Taking) -> Result<(), Raised>) -> Result<(), Error> {
        turn_of(self.table, self.key, act)
    }

    fn create_alone(&self) -> Result<Round, Error> {
        match self.existing(Patience::Skip)? {
            Look::Row(row) => return Ok(Round::Taken(Taken::found(row))),
            Look::Overtaken | Look::Busy => return Ok(Round::Overtaken),
            Look::Nothing => self.demand_none_newer()?,
        }
        match self.conflict() {
            Conflict::Rules => match self.insert(Conflict::Rules)? {
                Some(taken) => Ok(Round::Taken(taken)),
                None => Err(self.swallowed()?),
            },
            Conflict::Error => self.insert_unless_taken().map(Round::of),
            conflict => self.insert(conflict).map(Round::of),
        }
    }

    /// Raises where there is a row that the transaction's snapshot does not show.
    fn demand_none_newer(&self) -> Result<(), Error> {
        if session::isolation().has_one_snapshot()
            && self.find(Search::Plain, View::Newest)?.is_some()
        {
            let table = self.table.name.clone();
            return Err(Error::RowNewerThanSnapshot { table });
        }
        Ok(())
    }

    /// Creates the row; none where a unique index kept it out, which raises where ON CONFLICT
    /// cannot be said.
    fn insert_unless_taken(&self) -> Result<Option<Taken>, Error> {
        match attempt(None, || self.insert(Conflict::Error)) {
            Ok(Attempt::Done(taken)) => Ok(taken),
            Ok(Attempt::TimedOut | Attempt::Moved) => Ok(None),
            Err(Error::Postgres(raised)) if raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the INSERT does about an equal row that somebody else is creating.
    fn conflict(&self) -> Conflict {
        match self.guard {
            _ if self.table.has_rules => Conflict::Rules,
            // Partitions may have deferrable constraints of their own.
            _ if !self.table.has_deferrable && !self.table.is_partitioned => Conflict::Nothing,
            Some(guard) if !guard.index.is_partial() => Conflict::NothingOnKey,
            // A target would have to repeat the predicate, as text.
            Some(_) | None => Conflict::Error,
        }
    }

    fn demand_no_identity(&self) -> Result<(), Error> {
        let is_identity = |cell: &&Cell| cell.column.generated == Some(Generated::Identity);
        match self.key.iter().find(is_identity) {
            None => Ok(()),
            Some(cell) => Err(Error::KeyOfIdentity {
                table: self.table.name.clone(),
                column: cell.column.name.clone(),
            }),
        }
    }

    fn default_cells(&self) -> Result<Vec<Cell<'_>>, Error> {
        self.defaults
            .iter()
            .map(|(column, json)| Cell::of_json(column, json, "defaults"))
            .collect()
    }

    /// Creates the row; none where a unique index or a trigger kept it out.
    fn insert(&self, conflict: Conflict) -> Result<Option<Taken>, Error> {
        self.demand_no_identity()?;
        let defaults = self.default_cells()?;
        let (statement, arguments) = self.statements()?.insert(&defaults, conflict);
        injection_point::reach(Point::CreateRow)?;
        let given = |name: &str| {
            let mut cells = self.key.iter().chain(&defaults);
            cells.any(|cell| cell.column.name == name)
        };
        let explain = |raised| explain_insert(raised, &statement, self.table, given);
        let [created, has_key, partition] = match may_get_another_key(self.table, self.key) {
            true => first(&statement, &arguments).map_err(explain)?.values,
            false => {
                let [created] = first(&statement, &arguments).map_err(explain)?.values;
                [created, Some(Value::boolean(true)), None]
            }
        };
        if created.is_some() && !has_key.is_some_and(|has_key| has_key.is_true()) {
            return Err(self.rewritten());
        }
        let has_triggers = self.table.has_before_triggers || self.table.has_after_triggers;
        if self.guard.is_none() && has_triggers {
            self.demand_no_other(partition.as_ref())?;
        }
        let row = match created {
            Some(row) if !self.table.has_after_triggers && self.table.is_known() => row,
            None if conflict != Conflict::Rules => return Ok(None),
            _ => match self.existing(Patience::Wait)? {
                Look::Row(row) => row,
                Look::Nothing => return Err(self.swallowed()?),
                Look::Overtaken | Look::Busy => return Err(self.unsettled()),
            },
        };
        Ok(Some(Taken::created(row)))
    }

    /// Raises where the new row is not the only one of its key, though it is created in turn: a partition
    /// was attached since the second look, or is being detached and seen by the INSERT alone; or a trigger
    /// created one too.
    fn demand_no_other(&self, partition: Option<&Value>) -> Result<(), Error> {
        let table = || self.table.name.clone();
        let statements = self.statements()?;
        let (search, arguments) = (statements.find(Search::Makers), &statements.arguments);
        let (count, of_others) = spi::run(search, arguments, View::Newest, |rows| {
            let mut of_others = 0;
            for row in 0..rows.count() {
                of_others += usize::from(!rows.is_own(row, 0)?);
            }
            Ok::<_, Raised>((rows.count(), of_others))
        })?;
        let has_one_snapshot = session::isolation().has_one_snapshot();
        match (count, of_others) {
            (2.., 0) => Err(Error::RowCreatedTwice { table: table() }),
            (2.., _) if has_one_snapshot => Err(Error::RowNewerThanSnapshot { table: table() }),
            (2.., _) => Err(self.unsettled()),
            _ => match partition.filter(|_| has_one_snapshot) {
                // Reads of now leave the partition out; the INSERT and the transaction's own may not.
                Some(partition) if partition::is_being_detached(partition)? => {
                    match self.find(Search::Plain, View::Isolated)? {
                        Some(_) => Err(Error::RowNewerThanSnapshot { table: table() }),
                        None => Err(self.swallowed()?),
                    }
                }
                _ => Ok(()),
            },
        }
    }

    /// Why a row that was created is not there.
    fn swallowed(&self) -> Result<Error, Error> {
        let table = self.table.name.clone();
        Ok(match self.detaching_partition()? {
            Some(partition) => Error::PartitionDetaching { table, partition },
            None => Error::RowSwallowed { table },
        })
    }

    /// A partition that is being detached, where that may be what hides rows: under one snapshot an INSERT
    /// still goes there, and reads do not.
    fn detaching_partition(&self) -> Result<Option<String>, Error> {
        const DETACHING: &str = "WITH RECURSIVE part (oid) AS ( \
                 SELECT CAST($1 AS pg_catalog.oid) UNION ALL SELECT link.inhrelid \
                 FROM pg_catalog.pg_inherits AS link JOIN part \
                     ON link.inhparent OPERATOR(pg_catalog.=) part.oid) \
             SELECT CAST(CAST(link.inhrelid AS pg_catalog.regclass) AS pg_catalog.text) \
             FROM pg_catalog.pg_inherits AS link JOIN part \
                 ON link.inhparent OPERATOR(pg_catalog.=) part.oid \
             WHERE link.inhdetachpending LIMIT 1";
        if !self.table.is_partitioned || !session::isolation().has_one_snapshot() {
            return Ok(None);
        }
        let table = Value::integer(self.table.oid().into());
        spi::run(DETACHING, &[table], View::Newest, |rows| {
            match rows.count() {
                0 => Ok(None),
                _ => Ok(rows.text(0, 0)?),
            }
        })
    }

    /// After the rounds: a row that is seen but not to be had, or an INSERT that is told to raise,
    /// names what is in the way. The INSERT runs in a subtransaction, so that its error can be
    /// looked into.
    fn insist(&self) -> Result<Taken, Error> {
        if self.guard.is_none() {
            self.turn(|turn| turn.take())?;
        }
        match self.existing(Patience::Skip)? {
            Look::Row(row) => return Ok(Taken::found(row)),
            Look::Overtaken | Look::Busy => return Err(self.unsettled()),
            Look::Nothing if self.guard.is_none() => self.demand_none_newer()?,
            Look::Nothing => {}
        }
        match attempt(None, || self.insert(Conflict::Error)) {
            Ok(Attempt::Done(Some(taken))) => Ok(taken),
            Ok(Attempt::Done(None)) => Err(self.swallowed()?),
            Ok(Attempt::TimedOut | Attempt::Moved) => Err(self.unsettled()),
            Err(Error::Postgres(raised)) if self.is_of_guard(&raised)? => {
                Err(match self.hidden_or_unsettled()? {
                    // Round after round the key was free and the new row was not.
                    Error::RowUnsettled { table } if may_get_another_key(self.table, self.key) => {
                        match self.detaching_partition()? {
                            Some(partition) => Error::PartitionDetaching { table, partition },
                            None => self.rewritten(),
                        }
                    }
                    error => error,
                })
            }
            Err(Error::Postgres(raised)) => Err(self.explain_conflict(raised)?),
            Err(error) => Err(error),
        }
    }

    /// The new row has not got the key, or would not have.
    fn rewritten(&self) -> Error {
        let table = self.table.name.clone();
        match computed(self.key) {
            Some(column) => Error::KeyNotComputed {
                table,
                column: column.name.clone(),
            },
            None => Error::RowRewritten { table },
        }
    }

    /// The error with a hint where it is the unique violation of an index on an expression.
    fn explain_conflict(&self, raised: ServerError) -> Result<Error, Error> {
        if raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION)
            && let Some((index, name)) = raised.constraint().zip(raised.table())
        {
            let is_on_expression = if name == self.table.name {
                self.table.has_unique_expression(&index)
            } else if self.table.is_partitioned {
                opened(Table::named(&name)?)?.has_unique_expression(&index)
            } else {
                false
            };
            if is_on_expression {
                return Ok(Error::Postgres(
                    raised.with_hint(&hint::of_expression(&index)),
                ));
            }
        }
        Ok(Error::Postgres(raised))
    }

    fn hidden_or_unsettled(&self) -> Result<Error, Error> {
        let table = self.table.name.clone();
        Ok(match self.table.has_row_security()? {
            true => Error::RowHidden { table },
            false => Error::RowUnsettled { table },
        })
    }

    fn unsettled(&self) -> Error {
        Error::RowUnsettled {
            table: self.table.name.clone(),
        }
    }

    /// Whether the error is the unique violation of the index that covers the key, or of its part
    /// in a partition.
    fn is_of_guard(&self, raised: &ServerError) -> Result<bool, Error> {
        if !raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION) {
            return Ok(false);
        }
        let Some(constraint) = raised.constraint() else {
            return Ok(false);
        };
        let is_it = |guard: Guard| guard.is_exact && guard.index.name == constraint;
        if self.guard.is_some_and(is_it) {
            return Ok(true);
        }
        let Some(table) = raised.table() else {
            return Ok(false);
        };
        let partition = opened(Table::named(&table)?)?;
        let key: Option<Vec<(&Column, &Value)>> = self
            .key
            .iter()
            .map(|cell| Some((partition.column(&cell.column.name)?, &cell.value)))
            .collect();
        let guard = match key {
            Some(key) => partition.guard_of(&key)?,
            None => None,
        };
        Ok(guard.is_some_and(is_it))
    }
}

/// Does something with the locks that are the turn, in the order in which everybody takes them. The
/// cells come in the order of the columns' names.
///
/// A partition has a turn for each table that it is one of, so that some are still the same while
/// and after one of these is detached from another.
pub fn turn_of(
    table: &Table,
    key: &[Cell],
    act: impl Fn(&Taking) -> Result<(), Raised>,
) -> Result<(), Error> {
    let (name, shown) = (text::encode(&table.name)?, text::encode(&shown(key)?)?);
    for number in numbers(table, key)? {
        act(&Taking {
            class: Class::Row,
            number,
            mode: Mode::Exclusive,
            name: names::Name {
                ns: name.as_bytes(),
                key: shown.as_bytes(),
            },
        })?;
    }
    Ok(())
}

/// How many bytes of a value of the key are shown at most: more than there is room for.
const SHOWN: usize = 4_000;

/// The key as people read it in `once.locks`: a JSON object.
fn shown(key: &[Cell]) -> Result<String, Error> {
    let mut object = serde_json::Map::new();
    for Cell { column, value } in key {
        let text = match scalar_text(value.clone(), "key", usize::MAX) {
            Ok(text) => text.map(|mut text| {
                text.truncate(text.floor_char_boundary(SHOWN));
                text
            }),
            Err(error @ (Error::Postgres(_) | Error::Refused(_))) => return Err(error),
            Err(_) => Some("?".to_owned()),
        };
        let json = match text {
            Some(number) if column.kind.is_integer() => number.parse::<i64>().ok().into(),
            text => text.into(),
        };
        object.insert(column.name.clone(), json);
    }
    Ok(serde_json::Value::Object(object).to_string())
}

/// The numbers of the turn's locks: each of a table, the set of key columns, and the key, equal for
/// values that are equal by the columns' types and collations.
fn numbers(table: &Table, key: &[Cell]) -> Result<Vec<u64>, Raised> {
    let mut parts = vec![Vec::new()];
    for Cell { column, value } in key {
        parts.push(column.name.clone().into_bytes());
        parts.push(vec![u8::from(value.is_null())]);
        parts.push(column.hash(value)?.to_le_bytes().to_vec());
    }
    let (secret, database) = (session::cluster_secret(), session::database());
    let number = |table: &u32| {
        parts[0] = table.to_le_bytes().to_vec();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        digest::lock(&secret, database, &parts)
    };
    Ok(table.turns.iter().map(number).collect())
}
