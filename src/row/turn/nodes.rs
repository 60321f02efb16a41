//! The turn at a row that Citus keeps on another node: by statements for its shard, where a unique index on
//! exactly the key keeps a second row out.

use super::{Conflict, Search, Taken, Turn, computed, explain_insert};
use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt_to_get};
use crate::pg::session::{self, Isolation};
use crate::pg::spi::{self, View};
use crate::pg::{Value, citus, composite};
use crate::row::statement::Shape;

/// How often it looks again when others create and remove the row under its eyes.
const ROUNDS: usize = 100;

impl Turn<'_> {
    /// Finds or creates the row. None when the timeout is over.
    pub(super) fn take_on_nodes(&self) -> Result<Option<Taken>, Error> {
        self.demand_promised_on_nodes()?;
        for _ in 0..ROUNDS {
            let Some(found) = self.in_time(|| self.find_on_node())? else {
                return Ok(None);
            };
            if let Some(row) = found {
                return Ok(Some(Taken::found(row)));
            }
            let Some(created) = self.in_time(|| self.insert_on_node())? else {
                return Ok(None);
            };
            if let Some(row) = created {
                return Ok(Some(Taken::created(row)));
            }
            session::check_for_interrupts()?;
        }
        Err(self.hidden_or_unsettled()?)
    }

    /// A turn of this node's own would not keep the other nodes out, nor can a row be compared where its
    /// columns are changed on another node.
    fn demand_promised_on_nodes(&self) -> Result<(), Error> {
        let table = || self.table.name.clone();
        if session::isolation() == Isolation::Serializable {
            return Err(Error::RowDistributedSerializable { table: table() });
        }
        let is_kept_out = self
            .guard
            .is_some_and(|guard| guard.is_exact && !guard.index.is_partial());
        match is_kept_out && computed(self.key).is_none() {
            true => Ok(()),
            false => Err(Error::RowDistributed { table: table() }),
        }
    }

    /// None when the timeout is over.
    fn in_time<T>(&self, act: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
        Ok(match citus::attempt(self.timeout.deadline(), act)? {
            Attempt::Done(done) => Some(done),
            Attempt::TimedOut | Attempt::Moved => None,
        })
    }

    fn find_on_node(&self) -> Result<Option<Value<'static>>, Error> {
        let statements = self.statements()?;
        let find = |search| self.fetch(statements.find(search), &statements.arguments);
        if !self.lock {
            return find(Search::Plain);
        }
        // A row that has another key by the time that its lock is had is free again.
        Ok(match attempt_to_get(|| find(Search::Wait))? {
            Attempt::Done(row) => row,
            Attempt::TimedOut | Attempt::Moved => None,
        })
    }

    /// None where somebody else has created it.
    fn insert_on_node(&self) -> Result<Option<Value<'static>>, Error> {
        self.demand_no_identity()?;
        let defaults = self.default_cells()?;
        let conflict = match self.conflict() {
            Conflict::Nothing => Conflict::Nothing,
            _ => Conflict::NothingOnKey,
        };
        let (statement, arguments) = self.statements()?.insert(&defaults, conflict);
        let given = |name: &str| {
            let mut cells = self.key.iter().chain(&defaults);
            cells.any(|cell| cell.column.name == name)
        };
        self.fetch(&statement, &arguments)
            .map_err(|error| match error {
                Error::Postgres(raised) => {
                    explain_insert(raised.into(), &statement, self.table, given)
                }
                error => error,
            })
    }

    /// The row that a statement returns by its columns.
    fn fetch(&self, statement: &str, arguments: &[Value]) -> Result<Option<Value<'static>>, Error> {
        let columns = self.table.columns.len();
        let values = spi::run(statement, arguments, View::Isolated, |rows| {
            Ok::<_, Error>(match rows.count() {
                0 => None,
                _ => Some(
                    (0..columns)
                        .map(|at| rows.keep(0, at))
                        .collect::<Result<Vec<_>, _>>()?,
                ),
            })
        })?;
        let Some(values) = values else {
            return Ok(None);
        };
        let row = composite::of(self.table, &values)?;
        Ok(Some(match self.form.shape {
            Shape::Row => row,
            Shape::Json => row.into_jsonb()?,
        }))
    }
}
