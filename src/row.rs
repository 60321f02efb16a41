//! Rows of the user's own tables: find or create one, in turns.

use pgrx::pg_extern;

use std::rc::Rc;

use crate::error::Error;
use crate::pg::call::Interval;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::json::{Member, Members};
use crate::pg::table::{Column, LONGEST_NAME, Opened, Returns, Table};
use crate::pg::{Answer, Call, ErrorReport, Raised, Value, text};
use crate::timeout::Timeout;

mod cell;
mod define;
mod definition;
mod hint;
mod statement;
mod turn;

pub use cell::Cell;
use cell::values;
pub use define::{CONDITION_LIMIT, condition_beside, printed};
pub use statement::{Shape, alias};
pub use turn::{Taken, Turn, turn_of};

#[pg_extern(sql = false)]
fn with_row_lock<'a>(call: Call<'a>) -> Result<Answer<'a>, ErrorReport> {
    let taken = take(call, true, call.interval(3)?, Returns::Row)?;
    Ok(answer_row(call, taken)?)
}

#[pg_extern(sql = false)]
fn find_or_create<'a>(call: Call<'a>) -> Result<Answer<'a>, ErrorReport> {
    let lock = call.boolean(3)?.ok_or(Error::Null { argument: "lock" })?;
    let taken = take(call, lock, call.interval(4)?, Returns::Column(1))?;
    Ok(answer(call, taken)?)
}

/// The row.
fn answer_row(call: Call<'_>, taken: Option<Taken>) -> Result<Answer<'_>, Error> {
    let is_unaltered = taken.as_ref().is_some_and(|taken| taken.is_unaltered);
    Ok(call.answer(taken.map(|taken| taken.row), is_unaltered)?)
}

/// Whether the row was created, and the row.
pub fn answer(call: Call<'_>, taken: Option<Taken>) -> Result<Answer<'_>, Error> {
    let row = taken.map(|taken| [Value::boolean(taken.created), taken.row]);
    Ok(call.answer_columns(row)?)
}

fn take(
    call: Call,
    lock: bool,
    timeout: Option<Interval>,
    returns: Returns,
) -> Result<Option<Taken>, Error> {
    let timeout = Timeout::starting_now(timeout)?;
    let Some(table) = open(timeout, lock, || Table::of_row_type(call, returns))? else {
        return Ok(None);
    };
    let key = object(call, 1, "key")?;
    if key.is_empty() {
        return Err(Error::RowKeyEmpty);
    }
    let key = key
        .iter()
        .map(|member| Cell::of_json(column(&table, &member.name)?, member, "key"))
        .collect::<Result<Vec<_>, Error>>()?;
    let defaults = object(call, 2, "defaults")?;
    let defaults = defaults_beside(&key, &table, &defaults)?;
    Turn::new(&table, &key, &defaults, Shape::Row, lock, timeout)?.take()
}

/// The columns of `defaults`, none of which is one of the key, or the table's own to fill.
pub fn defaults_beside<'a>(
    key: &[Cell],
    table: &'a Table,
    defaults: &'a [Member<'a>],
) -> Result<Vec<(&'a Column, &'a Member<'a>)>, Error> {
    let is_key = |name: &str| key.iter().any(|cell| cell.column.name == name);
    if let Some(both) = defaults.iter().find(|member| is_key(&member.name)) {
        return Err(Error::ColumnInKeyAndDefaults {
            column: both.name.clone(),
        });
    }
    defaults
        .iter()
        .map(|member| {
            let column = column(table, &member.name)?;
            match column.generated {
                None => Ok((column, member)),
                Some(generated) => Err(Error::DefaultOfGenerated {
                    column: column.name.clone(),
                    generated,
                }),
            }
        })
        .collect()
}

/// Opens the table that `find` finds. None when the timeout is over before that can be done.
///
/// With a timeout the lock that statements take on the table is taken here, so that none of them
/// waits for it.
pub fn open(
    timeout: Timeout,
    lock: bool,
    find: impl FnOnce() -> Result<Opened, Raised>,
) -> Result<Option<Rc<Table>>, Error> {
    let Some(deadline) = timeout.deadline() else {
        return opened_for_rows(find()?).map(Some);
    };
    let found = attempt(Some(deadline), || {
        let table = opened_for_rows(find()?)?;
        if lock {
            table.lock_for_rows()?;
        }
        Ok::<_, Error>(table)
    })?;
    Ok(match found {
        Attempt::Done(table) => Some(table),
        Attempt::TimedOut | Attempt::Moved => None,
    })
}

/// The table, or why there is none. All its rows are on this node.
pub fn opened(opened: Opened) -> Result<Rc<Table>, Error> {
    let table = opened_for_rows(opened)?;
    match table.is_distributed {
        true => Err(Error::TableDistributed {
            table: table.name.clone(),
        }),
        false => Ok(table),
    }
}

/// The same; Citus may keep its rows.
pub fn opened_for_rows(opened: Opened) -> Result<Rc<Table>, Error> {
    match opened {
        Opened::Table(table) => Ok(table),
        Opened::Other { name, is } => Err(Error::NotATable { name, is }),
        Opened::NoRow { kind } => Err(Error::NotARowType { kind }),
        Opened::Gone => Err(Error::TableGone),
        Opened::Replanned => Err(Error::PlanOutdated),
    }
}

pub fn column<'a>(table: &'a Table, name: &str) -> Result<&'a Column, Error> {
    table.column(name).ok_or_else(|| Error::ColumnMissing {
        table: table.name.clone(),
        column: name.to_owned(),
    })
}

/// The columns that the text[] at `index` names.
pub fn columns<'a>(call: Call, index: usize, table: &'a Table) -> Result<Vec<&'a Column>, Error> {
    let names = call.texts(index)?.ok_or(Error::Null {
        argument: "key_columns",
    })?;
    let mut columns: Vec<&Column> = Vec::with_capacity(names.len().min(table.columns.len()));
    for name in names.iter() {
        let name = name.ok_or(Error::Null {
            argument: "a name in key_columns",
        })?;
        let column = column_of_bytes(table, names.at(name))?;
        if columns.iter().any(|other| other.number == column.number) {
            return Err(Error::KeyColumnTwice {
                column: column.name.clone(),
            });
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(Error::KeyColumnsEmpty);
    }
    Ok(columns)
}

/// The column of this name, which is in the encoding of the database.
fn column_of_bytes<'a>(table: &'a Table, name: &[u8]) -> Result<&'a Column, Error> {
    if name.len() > LONGEST_NAME {
        return Err(Error::ColumnNameTooLong {
            argument: "key_columns",
            bytes: name.len(),
        });
    }
    // ASCII is the same in all of them.
    if name.is_ascii()
        && let Some(column) = table
            .columns
            .iter()
            .find(|column| column.name.as_bytes() == name)
    {
        return Ok(column);
    }
    let name = text::decode(name)?.ok_or(Error::TextInvalid {
        what: "a name in key_columns",
    })?;
    column(table, &name)
}

/// The members of the JSON object that the argument at `index` is, in the order of their names.
pub fn object<'a>(
    call: Call<'a>,
    index: usize,
    argument: &'static str,
) -> Result<Vec<Member<'a>>, Error> {
    match call.members(index)? {
        Members::Of(members) => Ok(members),
        Members::Null => Err(Error::Null { argument }),
        Members::NoObject => Err(Error::JsonNotObject { argument }),
        Members::NotText => Err(Error::TextInvalid { what: argument }),
        Members::TooMany(columns) => Err(Error::ColumnsTooMany { argument, columns }),
        Members::NameTooLong(bytes) => Err(Error::ColumnNameTooLong { argument, bytes }),
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
