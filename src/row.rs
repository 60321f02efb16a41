//! Rows of the user's own tables: find or create one, in turns.

use pgrx::datum::AnyElement;
use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern};
use serde_json::{Map, Value as Json};

use crate::error::Error;
use crate::pg::Call;
use crate::pg::table::{Column, Opened, Table};
use crate::timeout::Timeout;

mod cell;
mod statement;
mod turn;

pub use cell::Cell;
pub use statement::Shape;
pub use turn::{Taken, Turn};

#[pg_extern(sql = false)]
fn with_row_lock(call: Call) -> Result<SetOfIterator<'static, AnyElement>, ErrorReport> {
    let taken = take(call, true, call.interval(3))?;
    Ok(SetOfIterator::new(
        taken.and_then(|taken| taken.row.into_any()),
    ))
}

#[pg_extern(sql = false)]
fn find_or_create(
    call: Call,
) -> Result<TableIterator<'static, (name!(created, bool), name!(entity, AnyElement))>, ErrorReport>
{
    let lock = call.boolean(3).ok_or(Error::Null { argument: "lock" })?;
    let taken = take(call, lock, call.interval(4))?;
    Ok(TableIterator::new(taken.and_then(|taken| {
        Some((taken.created, taken.row.into_any()?))
    })))
}

fn take(
    call: Call,
    lock: bool,
    timeout: Option<crate::pg::call::Interval>,
) -> Result<Option<Taken>, Error> {
    let timeout = Timeout::starting_now(timeout)?;
    let table = opened(Table::of_argument(call, 0)?)?;
    let key = object(call, 1, "key")?;
    let defaults = object(call, 2, "defaults")?;
    if key.is_empty() {
        return Err(Error::RowKeyEmpty);
    }
    if let Some(column) = key.keys().find(|column| defaults.contains_key(*column)) {
        return Err(Error::ColumnInKeyAndDefaults {
            column: column.clone(),
        });
    }
    let key = key
        .iter()
        .map(|(name, json)| Cell::of_json(column(&table, name)?, json))
        .collect::<Result<Vec<_>, Error>>()?;
    let defaults = defaults
        .iter()
        .map(|(name, json)| Ok((column(&table, name)?, json)))
        .collect::<Result<Vec<_>, Error>>()?;
    Turn::new(&table, &key, &defaults, Shape::Row, lock, timeout)?.take()
}

/// The table, or why there is none.
pub fn opened(opened: Opened) -> Result<Table, Error> {
    match opened {
        Opened::Table(table) => Ok(table),
        Opened::Other { name, is } => Err(Error::NotATable { name, is }),
        Opened::NoRow { kind } => Err(Error::NotARowType { kind }),
        Opened::Gone => Err(Error::TableGone),
    }
}

pub fn column<'a>(table: &'a Table, name: &str) -> Result<&'a Column, Error> {
    table.column(name).ok_or_else(|| Error::ColumnMissing {
        table: table.name.clone(),
        column: name.to_owned(),
    })
}

/// The JSON object that the argument at `index` is. Its columns come in the order of their names.
fn object(call: Call, index: usize, argument: &'static str) -> Result<Map<String, Json>, Error> {
    let text = call
        .json(index)?
        .ok_or(Error::Null { argument })?
        .ok_or(Error::TextInvalid { what: argument })?;
    match serde_json::from_str(&text) {
        Ok(Json::Object(object)) => Ok(object),
        _ => Err(Error::JsonNotObject { argument }),
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn more_tables_than_plans_are_kept() {
        Spi::run(
            "DO $$ BEGIN FOR i IN 1..400 LOOP \
                 EXECUTE format('CREATE TABLE t%s (k int PRIMARY KEY, v int DEFAULT 7)', i); \
                 FOR j IN 1..2 LOOP \
                     EXECUTE format('SELECT v FROM with_row_lock(NULL::t%s, ''{\"k\": 1}'')', i); \
                 END LOOP; \
             END LOOP; END $$",
        )
        .unwrap();
        let row = Spi::get_one::<i32>("SELECT v FROM with_row_lock(NULL::t1, '{\"k\": 1}')");
        assert_eq!(row, Ok(Some(7)));
    }

    #[pg_test]
    fn a_trigger_may_take_a_turn_itself() {
        Spi::run(
            "CREATE TABLE inner_rows (k int PRIMARY KEY); \
             CREATE TABLE outer_rows (k int PRIMARY KEY); \
             CREATE FUNCTION descend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM with_row_lock(NULL::inner_rows, jsonb_build_object('k', NEW.k)); \
                 RETURN NEW; END $$; \
             CREATE TRIGGER descend BEFORE INSERT ON outer_rows \
                 FOR EACH ROW EXECUTE FUNCTION descend(); \
             SELECT with_row_lock(NULL::outer_rows, jsonb_build_object('k', i)) \
             FROM generate_series(1, 50) i",
        )
        .unwrap();
        let rows = Spi::get_one::<i64>("SELECT count(*) FROM inner_rows JOIN outer_rows USING (k)");
        assert_eq!(rows, Ok(Some(50)));
    }
}
