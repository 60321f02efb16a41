//! Taking one's turn at a row: find it and lock it, or create it, and never twice.
//!
//! A row that exists is taken by its row lock. A missing one is created by INSERT … ON CONFLICT
//! DO NOTHING where a unique index covers the key; else behind an advisory lock of the extension's
//! own, after a second look that is newer than the lock.

use std::cell::{Cell as Flag, OnceCell};

use pgrx::PgSqlErrorCode;

use super::statement::{
    Conflict, Form, Lock, Shape, Statements, computed, explain_insert, may_get_another_key,
};
use super::{Cell, hint, opened, values};
use crate::digest;
use crate::error::Error;
use crate::key::scalar_text;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::first::{First, first};
use crate::pg::grasp::{Grasp, Patience};
use crate::pg::json::Member;
use crate::pg::lock::{Class, Lock as Taking, Mode, names};
use crate::pg::settings::{self, DuplicateRows};
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Generated, Guard, Table};
use crate::pg::{Raised, ServerError, Value, notice, session, text};
use crate::timeout::Timeout;

/// How often a call looks again when the row comes and goes under its eyes.
const ROUNDS: usize = 8;

/// A row, found or created.
pub struct Taken {
    pub created: bool,
    pub row: Value<'static>,
}

impl Taken {
    fn found(row: Value<'static>) -> Self {
        Self {
            created: false,
            row,
        }
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
        let taken = self.take_in_time()?;
        if let Some(taken) = &taken {
            self.table.last_was_new.set(taken.created);
        }
        Ok(taken)
    }

    fn take_in_time(&self) -> Result<Option<Taken>, Error> {
        let Some(deadline) = self.timeout.deadline() else {
            return self.take_in_rounds().map(Some);
        };
        if self.takes_without_waiting()? {
            let row = match self.grasp(Patience::Skip)? {
                Grasp::Row(row) => Some(row),
                Grasp::Nothing => None,
                Grasp::Unsure => self.find(Lock::Skip, View::Isolated)?,
            };
            if let Some(row) = row {
                return Ok(Some(Taken::found(row)));
            }
        } else if !self.table.is_partitioned && self.form.duplicates == DuplicateRows::Error {
            let there = attempt(Some(deadline), || self.find(Lock::No, View::Isolated))?;
            let row = match there {
                Attempt::TimedOut => return Ok(None),
                Attempt::Done(Some(row)) if !self.lock => Some(row),
                Attempt::Done(Some(_)) => self.find(Lock::Skip, View::Isolated)?,
                Attempt::Done(None) | Attempt::Moved => None,
            };
            if let Some(row) = row {
                return Ok(Some(Taken::found(row)));
            }
        }
        match attempt(Some(deadline), || self.take_in_rounds())? {
            Attempt::Done(taken) => Ok(Some(taken)),
            Attempt::TimedOut => Ok(None),
            Attempt::Moved => Err(Error::RowUnsettled {
                table: self.table.name.clone(),
            }),
        }
    }

    /// Whether a row that is free can be locked by one statement that waits for nobody: it must not
    /// need to look for several rows, nor at other tables.
    fn takes_without_waiting(&self) -> Result<bool, Error> {
        let is_one = self.lock && self.guard.is_some() && !self.table.rows_may_move;
        Ok(is_one && !self.table.has_row_security()? && self.table.locks_indexes_at_once()?)
    }

    fn take_in_rounds(&self) -> Result<Taken, Error> {
        for _ in 0..ROUNDS {
            let row = match self.grasp(Patience::Wait)? {
                Grasp::Row(row) => Some(row),
                Grasp::Nothing => None,
                Grasp::Unsure => self.settled()?,
            };
            if let Some(row) = row {
                return Ok(Taken::found(row));
            }
            let taken = match (self.guard, self.conflict()) {
                (None, _) => self.create_in_turn()?,
                (Some(_), Conflict::Error) => self.insert_unless_taken()?,
                (Some(_), conflict) => self.insert(conflict)?,
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
        self.insist()
    }

    /// The row as [`Self::existing`] finds it once nobody else is creating it, so that an INSERT
    /// need not wait: it would take a transaction id and values of sequences before.
    fn settled(&self) -> Result<Option<Value<'static>>, Error> {
        for _ in 0..ROUNDS {
            let row = self.existing()?;
            if row.is_some() || !self.awaits_creator()? {
                return Ok(row);
            }
        }
        Ok(None)
    }

    /// What can be done by way of the unique index alone, for less than a statement costs: to lock
    /// the row, or to tell that it is to be created.
    ///
    /// That there is none is believed only where the last row of the table was a new one: such a
    /// look can miss a row that is being moved under its eyes, and an INSERT in vain uses up values
    /// of sequences and needs a right of its own. What a statement would see or raise besides is
    /// left to it: an older snapshot, row security, rights on single columns.
    fn grasp(&self, patience: Patience) -> Result<Grasp, Error> {
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
        if !locks {
            return Ok(match self.table.has_none(guard, &key)? {
                true => Grasp::Nothing,
                false => Grasp::Unsure,
            });
        }
        Ok(match self.table.grasp(guard, &key, patience)? {
            Grasp::Row(row) if self.form.shape == Shape::Json => Grasp::Row(row.into_jsonb()?),
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

    /// The row, locked where it is to be, if it is there.
    fn existing(&self) -> Result<Option<Value<'static>>, Error> {
        if !self.lock {
            return self.find(Lock::No, View::Isolated);
        }
        let is_one = self.guard.is_some();
        let takes_first = !is_one && self.form.duplicates == DuplicateRows::First;
        let is_there = || Ok::<_, Error>(self.find(Lock::No, View::Isolated)?.is_some());
        // Where not all rows of the key are looked at below, they are here.
        let looks_ahead = takes_first || (self.table.rows_may_move && !is_one);
        if looks_ahead && !is_there()? {
            return Ok(None);
        }
        if !self.table.rows_may_move {
            return self.find(Lock::Wait, View::Isolated);
        }
        // Of several rows only the first may be locked, so none may be left out.
        if !takes_first && let Some(row) = self.find(Lock::Skip, View::Isolated)? {
            return Ok(Some(row));
        }
        if !looks_ahead && !is_there()? {
            return Ok(None);
        }
        // The row may move to another partition during the wait, which core makes an error.
        match attempt(None, || self.find(Lock::Wait, View::Isolated))? {
            Attempt::Done(row) => Ok(row),
            Attempt::TimedOut | Attempt::Moved => Ok(None),
        }
    }

    fn find(&self, lock: Lock, view: View) -> Result<Option<Value<'static>>, Error> {
        let statements = self.statements()?;
        let (statement, arguments) = (statements.find(lock), &statements.arguments);
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

    /// Creates the row where nothing but the turn keeps a second one out. None where it is there
    /// after all.
    fn create_in_turn(&self) -> Result<Option<Taken>, Error> {
        turn_of(self.table, self.key, |turn| turn.take())?;
        if let Some(row) = self.existing()? {
            return Ok(Some(Taken::found(row)));
        }
        if self.lock && self.find(Lock::No, View::Isolated)?.is_some() {
            return Ok(None);
        }
        let table = self.table.name.clone();
        if session::isolation().has_one_snapshot() && self.find(Lock::No, View::Newest)?.is_some() {
            return Err(Error::RowNewerThanSnapshot { table });
        }
        match self.conflict() {
            Conflict::Rules => self
                .insert(Conflict::Rules)?
                .ok_or(Error::RowSwallowed { table })
                .map(Some),
            Conflict::Error => self.insert_unless_taken(),
            conflict => self.insert(conflict),
        }
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
            _ if !self.table.has_deferrable => Conflict::Nothing,
            Some(guard) if !guard.index.is_partial() => Conflict::NothingOnKey,
            // A target would have to repeat the predicate, as text.
            Some(_) | None => Conflict::Error,
        }
    }

    /// Creates the row; none where a unique index or a trigger kept it out.
    fn insert(&self, conflict: Conflict) -> Result<Option<Taken>, Error> {
        let table = || self.table.name.clone();
        let is_identity = |cell: &&Cell| cell.column.generated == Some(Generated::Identity);
        if let Some(cell) = self.key.iter().find(is_identity) {
            return Err(Error::KeyOfIdentity {
                table: table(),
                column: cell.column.name.clone(),
            });
        }
        let defaults = self
            .defaults
            .iter()
            .map(|(column, json)| Cell::of_json(column, json, "defaults"))
            .collect::<Result<Vec<_>, Error>>()?;
        let (statement, arguments) = self.statements()?.insert(&defaults, conflict);
        let given = |name: &str| {
            let mut cells = self.key.iter().chain(&defaults);
            cells.any(|cell| cell.column.name == name)
        };
        let explain = |raised| explain_insert(raised, &statement, self.table, given);
        let created = if may_get_another_key(self.table, self.key) {
            let inserted = first(&statement, &arguments).map_err(explain)?;
            let [created, has_key] = inserted.values;
            if created.is_some() && !has_key.is_some_and(|has_key| has_key.is_true()) {
                return Err(self.rewritten());
            }
            created
        } else {
            let inserted = first(&statement, &arguments).map_err(explain)?;
            let [created] = inserted.values;
            created
        };
        let row = match created {
            Some(row) if !self.table.has_after_triggers && self.table.is_known() => row,
            None if conflict != Conflict::Rules => return Ok(None),
            _ => self
                .existing()?
                .ok_or_else(|| Error::RowSwallowed { table: table() })?,
        };
        Ok(Some(Taken { created: true, row }))
    }

    /// After the rounds: a row that is seen but not to be had, or an INSERT that is told to raise,
    /// names what is in the way. The INSERT runs in a subtransaction, so that its error can be
    /// looked into.
    fn insist(&self) -> Result<Taken, Error> {
        let table = self.table.name.clone();
        if self.lock && self.find(Lock::No, View::Isolated)?.is_some() {
            return Err(self.hidden_or_unsettled()?);
        }
        match attempt(None, || self.insert(Conflict::Error)) {
            Ok(Attempt::Done(Some(taken))) => Ok(taken),
            Ok(Attempt::Done(None)) => Err(Error::RowSwallowed { table }),
            Ok(Attempt::TimedOut | Attempt::Moved) => Err(Error::RowUnsettled { table }),
            Err(Error::Postgres(raised)) if self.is_of_guard(&raised)? => {
                Err(match self.hidden_or_unsettled()? {
                    // Round after round the key was free and the new row was not.
                    Error::RowUnsettled { .. } if may_get_another_key(self.table, self.key) => {
                        self.rewritten()
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
        Ok(if self.table.has_row_security()? {
            Error::RowHidden { table }
        } else {
            Error::RowUnsettled { table }
        })
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

/// The key as people read it in `once.locks`: a JSON object.
fn shown(key: &[Cell]) -> Result<String, Error> {
    let mut object = serde_json::Map::new();
    for Cell { column, value } in key {
        let text = match scalar_text(value.clone(), "key") {
            Ok(text) => text,
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
