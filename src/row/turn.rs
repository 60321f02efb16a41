//! Taking one's turn at a row: find it and lock it, or create it, and never twice.
//!
//! A row that exists is taken by its row lock. A missing one is created by INSERT … ON CONFLICT
//! DO NOTHING where a unique index covers the key; else behind an advisory lock of the extension's
//! own, after a second look that is newer than the lock.

use std::cell::Cell as Flag;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgLogLevel;
use serde_json::Value as Json;

use super::statement::{Conflict, Lock, Shape, Statements};
use super::{Cell, opened};
use crate::digest;
use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::lock::{self, Class};
use crate::pg::settings::{self, DuplicateRows};
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Table, Unique};
use crate::pg::{Raised, Value, session};
use crate::timeout::Timeout;

/// How often a call looks again when the row comes and goes under its eyes.
const ROUNDS: usize = 8;

/// A row, found or created.
pub struct Taken {
    pub created: bool,
    pub row: Value,
}

/// One call for one key of one table.
pub struct Turn<'a> {
    table: &'a Table,
    key: &'a [Cell<'a>],
    defaults: &'a [(&'a Column, &'a Json)],
    statements: Statements<'a>,
    /// The unique index that keeps a second row out.
    guard: Option<&'a Unique>,
    lock: bool,
    timeout: Timeout,
    duplicates: DuplicateRows,
    has_warned: Flag<bool>,
}

/// What a step came to.
enum Step<T> {
    Done(T),
    /// There is no such row, or not yet, or no more.
    Absent,
    TimedOut,
}

impl<'a> Turn<'a> {
    pub fn new(
        table: &'a Table,
        key: &'a [Cell<'a>],
        defaults: &'a [(&'a Column, &'a Json)],
        shape: Shape,
        lock: bool,
        timeout: Timeout,
    ) -> Result<Self, Error> {
        let columns: Vec<&Column> = key.iter().map(|cell| cell.column).collect();
        let has_null = key.iter().any(|cell| cell.value.is_null());
        Ok(Self {
            table,
            key,
            defaults,
            statements: Statements::new(table, key, shape)?,
            guard: table
                .guard_of(&columns, has_null)
                .filter(|_| !table.has_rules),
            lock,
            timeout,
            duplicates: settings::duplicate_rows(),
            has_warned: Flag::new(false),
        })
    }

    /// Finds or creates the row. None when the timeout is over.
    pub fn take(&self) -> Result<Option<Taken>, Error> {
        for _ in 0..ROUNDS {
            match self.existing()? {
                Step::Done(row) => {
                    return Ok(Some(Taken {
                        created: false,
                        row,
                    }));
                }
                Step::Absent => {}
                Step::TimedOut => return Ok(None),
            }
            let created = match self.guard {
                Some(_) => self.create_guarded()?,
                None => self.create_in_turn()?,
            };
            match created {
                Step::Done(taken) => return Ok(Some(taken)),
                Step::Absent => {}
                Step::TimedOut => return Ok(None),
            }
        }
        self.insist()
    }

    fn existing(&self) -> Result<Step<Value>, Error> {
        if self.lock {
            self.lock_existing()
        } else {
            self.find(Lock::No, View::Isolated)
        }
    }

    /// Locks the row where it exists.
    ///
    /// Without a bound and outside partitions that is one statement. Else the wait, if one is
    /// needed, is in a subtransaction: it ends at the deadline, or when the row moves to another
    /// partition, and is undone then.
    fn lock_existing(&self) -> Result<Step<Value>, Error> {
        let deadline = self.timeout.deadline();
        let waits_apart = deadline.is_some() || self.table.is_partitioned;
        if (waits_apart || self.duplicates == DuplicateRows::First)
            && let Step::Absent = self.find(Lock::No, View::Isolated)?
        {
            return Ok(Step::Absent);
        }
        if !waits_apart {
            return self.find(Lock::Wait, View::Isolated);
        }
        if let Step::Done(row) = self.find(Lock::Skip, View::Isolated)? {
            return Ok(Step::Done(row));
        }
        match attempt(deadline, || self.find(Lock::Wait, View::Isolated))? {
            Attempt::Done(step) => Ok(step),
            Attempt::TimedOut => Ok(Step::TimedOut),
            Attempt::Moved => Ok(Step::Absent),
        }
    }

    fn find(&self, lock: Lock, view: View) -> Result<Step<Value>, Error> {
        let statement = self.statements.find(lock, self.duplicates);
        spi::run(&statement, &self.statements.arguments, view, |rows| {
            if rows.count() > 1 {
                self.accept_duplicates()?;
            }
            Ok(rows.keep(0, 0)?.map_or(Step::Absent, Step::Done))
        })
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
        if self.duplicates == DuplicateRows::Error {
            return Err(Error::Duplicates { table, columns });
        }
        if self.table.primary_key.is_empty() {
            return Err(Error::DuplicatesWithoutPrimaryKey { table, columns });
        }
        if !self.has_warned.replace(true) {
            ErrorReport::new(
                PgSqlErrorCode::ERRCODE_WARNING,
                format!("table {table} holds several rows for this key; the first was taken"),
                "pg_once",
            )
            .set_detail(format!("The key is ({columns})."))
            .set_hint("Find them with once.find_duplicates.")
            .report(PgLogLevel::WARNING);
        }
        Ok(())
    }

    /// Creates the row; absent where the unique index, or a trigger, kept it out.
    fn create_guarded(&self) -> Result<Step<Taken>, Error> {
        let Some(deadline) = self.timeout.deadline() else {
            return self.insert(Conflict::Nothing);
        };
        match attempt(Some(deadline), || self.insert(Conflict::Nothing))? {
            Attempt::Done(step) => Ok(step),
            Attempt::TimedOut => Ok(Step::TimedOut),
            Attempt::Moved => Ok(Step::Absent),
        }
    }

    /// Creates the row where nothing but the turn keeps a second one out.
    fn create_in_turn(&self) -> Result<Step<Taken>, Error> {
        if !self.wait_for_turn()? {
            return Ok(Step::TimedOut);
        }
        match self.existing()? {
            Step::Done(row) => {
                return Ok(Step::Done(Taken {
                    created: false,
                    row,
                }));
            }
            Step::TimedOut => return Ok(Step::TimedOut),
            Step::Absent => {}
        }
        if session::isolation().has_one_snapshot()
            && let Step::Done(_) = self.find(Lock::No, View::Newest)?
        {
            return Err(Error::RowNewerThanSnapshot {
                table: self.table.name.clone(),
            });
        }
        let conflict = if self.table.has_rules {
            Conflict::Rules
        } else {
            Conflict::Error
        };
        match self.insert(conflict)? {
            Step::Absent => Err(Error::RowSwallowed {
                table: self.table.name.clone(),
            }),
            step => Ok(step),
        }
    }

    /// Holds the turn for this key, to the end of the transaction. False when the time is over.
    fn wait_for_turn(&self) -> Result<bool, Error> {
        let number = self.number()?;
        if lock::try_take(Class::Row, number)? {
            return Ok(true);
        }
        let Some(deadline) = self.timeout.deadline() else {
            lock::take(Class::Row, number)?;
            return Ok(true);
        };
        let taken = attempt(Some(deadline), || {
            Ok::<_, Error>(lock::take(Class::Row, number)?)
        })?;
        Ok(matches!(taken, Attempt::Done(())))
    }

    /// The number of the turn: of the topmost table, the set of key columns, and the key, equal
    /// for values that are equal by the columns' types and collations.
    fn number(&self) -> Result<u64, Raised> {
        let mut parts = vec![self.table.topmost.to_le_bytes().to_vec()];
        for Cell { column, value } in self.key {
            parts.push(column.name.clone().into_bytes());
            parts.push(vec![u8::from(value.is_null())]);
            parts.push(column.hash(*value)?.to_le_bytes().to_vec());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(digest::turn(&parts))
    }

    fn insert(&self, conflict: Conflict) -> Result<Step<Taken>, Error> {
        let defaults = self
            .defaults
            .iter()
            .map(|(column, json)| Cell::of_json(column, json))
            .collect::<Result<Vec<_>, Error>>()?;
        let (statement, arguments) = self.statements.insert(&defaults, conflict);
        let created = spi::run(&statement, &arguments, View::Isolated, |rows| {
            match rows.keep(0, 0)? {
                Some(_) if rows.boolean(0, 1) != Some(true) => Err(Error::RowRewritten {
                    table: self.table.name.clone(),
                }),
                row => Ok(row),
            }
        })?;
        let row = match created {
            Some(row) if !self.table.has_after_triggers => row,
            None if conflict != Conflict::Rules => return Ok(Step::Absent),
            _ => match self.existing()? {
                Step::Done(row) => row,
                Step::TimedOut => return Ok(Step::TimedOut),
                Step::Absent => {
                    return Err(Error::RowSwallowed {
                        table: self.table.name.clone(),
                    });
                }
            },
        };
        Ok(Step::Done(Taken { created: true, row }))
    }

    /// After the rounds: an INSERT that is told to raise names what is in the way. It runs in a
    /// subtransaction, so that its error can be looked into.
    fn insist(&self) -> Result<Option<Taken>, Error> {
        let table = self.table.name.clone();
        match attempt(self.timeout.deadline(), || self.insert(Conflict::Error)) {
            Ok(Attempt::Done(Step::Done(taken))) => Ok(Some(taken)),
            Ok(Attempt::Done(Step::Absent)) => Err(Error::RowSwallowed { table }),
            Ok(Attempt::Done(Step::TimedOut) | Attempt::TimedOut) => Ok(None),
            Ok(Attempt::Moved) => Err(Error::RowUnsettled { table }),
            Err(Error::Postgres(raised)) if self.is_of_guard(&raised)? => {
                if self.table.has_row_security()? {
                    Err(Error::RowHidden { table })
                } else {
                    Err(Error::RowUnsettled { table })
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the error is the unique violation of the index that covers the key, or of its part
    /// in a partition.
    fn is_of_guard(&self, raised: &Raised) -> Result<bool, Error> {
        if !raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION) {
            return Ok(false);
        }
        let Some(constraint) = raised.constraint() else {
            return Ok(false);
        };
        if self.guard.is_some_and(|guard| guard.name == constraint) {
            return Ok(true);
        }
        let Some(table) = raised.table() else {
            return Ok(false);
        };
        let partition = opened(Table::named(&table)?)?;
        let columns: Option<Vec<&Column>> = self
            .key
            .iter()
            .map(|cell| partition.column(&cell.column.name))
            .collect();
        let has_null = self.key.iter().any(|cell| cell.value.is_null());
        Ok(columns
            .and_then(|columns| partition.guard_of(&columns, has_null))
            .is_some_and(|guard| guard.name == constraint))
    }
}
