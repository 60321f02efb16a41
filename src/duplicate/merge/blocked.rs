//! Groups that cannot be merged, and why.

use pgrx::PgSqlErrorCode;

use super::{Attempt, Identity, Merge, Reference, Value, View, attempt};
use crate::error::Error;
use crate::pg::spi;

/// The rows that point at a duplicate which are tried one by one at most, to find the one that blocks.
const TRIED: usize = 1_000;

/// Classes of SQLSTATEs that say nothing about the rows: connection, feature, transaction state, wrong
/// SQL and missing rights, resources, operators, the system and its faults.
const NOT_OF_ROWS: [&str; 12] = [
    "08", "0A", "25", "2D", "34", "40", "42", "53", "57", "58", "F0", "XX",
];

/// Whether the error is about the rows of the group, and another group can be merged.
pub fn blocks(error: &Error) -> bool {
    match error {
        Error::Postgres(raised) => {
            let state = raised.state();
            let lock_not_available = "55P03";
            state != lock_not_available && !NOT_OF_ROWS.iter().any(|class| state.starts_with(class))
        }
        Error::ReferenceKept { .. } | Error::ReferenceLost { .. } | Error::RowNotRemoved { .. } => {
            true
        }
        _ => false,
    }
}

/// What to do about a row that would become a duplicate itself.
pub fn with_hint(error: Error) -> Error {
    match error {
        Error::Postgres(raised)
            if raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION)
                || raised.is(PgSqlErrorCode::ERRCODE_EXCLUSION_VIOLATION) =>
        {
            Error::Postgres(raised.with_hint(
                c"A row that points at a duplicate would become a duplicate itself once it points at the row that is kept. Merge or remove such rows first, or leave such groups out with skip_blocked. Nothing was changed.",
            ))
        }
        error => error,
    }
}

impl Merge<'_> {
    pub fn show_blocked(&self, kept: &Identity, error: Error) -> Result<(), Error> {
        let kept = self.kept(kept)?.ok_or_else(|| self.unsettled())?;
        let what = error.into_words();
        let words = match self.blocking_child.take() {
            Some(child) => format!("{} ({child})", what.text),
            None => match (what.table, what.detail) {
                (Some(table), Some(detail)) => format!("{} (table {table}: {detail})", what.text),
                (Some(table), None) => format!("{} (table {table})", what.text),
                (None, Some(detail)) => format!("{} ({detail})", what.text),
                (None, None) => what.text,
            },
        };
        Ok(self.store.put(&[
            kept.key,
            kept.row,
            Value::int4(0),
            Value::integer(0),
            crate::pg::text::value(&words)?,
        ])?)
    }

    /// Moves the rows that point at a duplicate one by one, where moving them failed before, up to the
    /// one that blocks.
    pub fn find_blocking_child(
        &self,
        reference: &Reference,
        (condition, changes): (&str, &str),
        arguments: &[Value],
    ) -> Result<(), Error> {
        let Reference { table, child, .. } = reference;
        let places = arguments.len();
        let pointing = format!(
            "SELECT once_child.tableoid, once_child.ctid, ({child})::pg_catalog.text \
             FROM {table} AS once_child WHERE {condition} LIMIT {TRIED}"
        );
        let move_one = format!(
            "UPDATE {table} AS once_child SET {changes} WHERE {condition} \
             AND once_child.tableoid OPERATOR(pg_catalog.=) ${} \
             AND once_child.ctid OPERATOR(pg_catalog.=) ${}",
            places + 1,
            places + 2
        );
        reference.run_as.run(|| {
            let found = spi::run(&pointing, arguments, View::Isolated, |rows| {
                (0..rows.count())
                    .map(|row| Ok((rows.keep(row, 0)?, rows.keep(row, 1)?, rows.text(row, 2)?)))
                    .collect::<Result<Vec<_>, Error>>()
            })?;
            for (tableoid, ctid, child) in found {
                let Some(place) = tableoid.zip(ctid) else {
                    continue;
                };
                let mut arguments = arguments.to_vec();
                arguments.extend([place.0, place.1]);
                let moved = attempt(None, || {
                    spi::run(
                        &move_one,
                        &arguments,
                        View::Isolated,
                        |_| Ok::<_, Error>(()),
                    )
                });
                match moved {
                    Ok(Attempt::Done(())) => {}
                    Ok(Attempt::TimedOut | Attempt::Moved) => break,
                    Err(error) => {
                        self.note_blocking_child(reference, child);
                        return Err(with_hint(error));
                    }
                }
            }
            Ok(())
        })
    }

    pub fn note_blocking_child(&self, reference: &Reference, child: Option<String>) {
        let child = child.map(|child| format!("row {child} of table {}", reference.name));
        *self.blocking_child.borrow_mut() = child;
    }
}
