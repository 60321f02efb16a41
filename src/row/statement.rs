//! The SQL statements that find, lock and create one row of a table.

use super::Cell;
use crate::error::Error;
use crate::pg::Value;
use crate::pg::settings::DuplicateRows;
use crate::pg::table::Table;

/// How a row is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Row,
    Json,
}

/// How rows that are found are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    No,
    Wait,
    /// Leaves out the rows that somebody else has locked.
    Skip,
}

/// What is the same in all statements for one key of one table.
pub struct Statements<'a> {
    table: &'a Table,
    key: &'a [Cell<'a>],
    /// The key's values that are not null: what `$1` and on stand for in [`Self::matches`].
    pub arguments: Vec<Value>,
    alias: String,
    matches: String,
    projection: String,
}

impl<'a> Statements<'a> {
    pub fn new(table: &'a Table, key: &'a [Cell<'a>], shape: Shape) -> Result<Self, Error> {
        let alias = alias(table);
        let mut arguments = Vec::new();
        let mut conditions = Vec::new();
        for Cell { column, value } in key {
            let name = &column.quoted;
            if value.is_null() {
                conditions.push(format!("{alias}.{name} IS NULL"));
            } else {
                arguments.push(*value);
                let parameter = format!("${}", arguments.len());
                let equals = column.equals(&alias, &parameter)?;
                conditions.push(equals.ok_or_else(|| Error::ColumnWithoutEquality {
                    table: table.name.clone(),
                    column: column.name.clone(),
                })?);
            }
        }
        let projection = match shape {
            Shape::Row => alias.clone(),
            Shape::Json => format!("pg_catalog.to_jsonb({alias})"),
        };
        Ok(Self {
            table,
            key,
            arguments,
            matches: conditions.join(" AND "),
            alias,
            projection,
        })
    }

    /// Finds up to two rows, so that more than one is noticed. Where several are taken for
    /// granted and one is to be locked, only the first by primary key.
    pub fn find(&self, lock: Lock, duplicates: DuplicateRows) -> String {
        let Self {
            table: Table {
                name, primary_key, ..
            },
            alias,
            matches,
            projection,
            ..
        } = self;
        let is_first = duplicates == DuplicateRows::First && !primary_key.is_empty();
        let order = if is_first {
            let columns: Vec<String> = primary_key
                .iter()
                .map(|column| format!("{alias}.{column}"))
                .collect();
            format!(" ORDER BY {}", columns.join(", "))
        } else {
            String::new()
        };
        let limit = if is_first && lock != Lock::No { 1 } else { 2 };
        let locking = match lock {
            Lock::No => String::new(),
            Lock::Wait => format!(" FOR NO KEY UPDATE OF {alias}"),
            Lock::Skip => format!(" FOR NO KEY UPDATE OF {alias} SKIP LOCKED"),
        };
        format!(
            "SELECT {projection} FROM {name} AS {alias} WHERE {matches}{order} LIMIT {limit}{locking}"
        )
    }

    /// Creates the row with `defaults`, and says whether its key is the one asked for.
    pub fn insert(&self, defaults: &[Cell], conflict: Conflict) -> (String, Vec<Value>) {
        let Self {
            table: Table { name, .. },
            alias,
            matches,
            projection,
            ..
        } = self;
        let mut arguments = self.arguments.clone();
        let mut columns = Vec::new();
        let mut values = Vec::new();
        let mut given = 0;
        for cell in self.key {
            columns.push(cell.column.quoted.as_str());
            if cell.value.is_null() {
                values.push("NULL".to_owned());
            } else {
                given += 1;
                values.push(format!("${given}"));
            }
        }
        for cell in defaults {
            arguments.push(cell.value);
            columns.push(&cell.column.quoted);
            values.push(format!("${}", arguments.len()));
        }
        let (columns, values) = (columns.join(", "), values.join(", "));
        let tail = match conflict {
            Conflict::Nothing => " ON CONFLICT DO NOTHING".to_owned(),
            Conflict::NothingOnKey => {
                let key: Vec<&str> = self
                    .key
                    .iter()
                    .map(|cell| cell.column.quoted.as_str())
                    .collect();
                format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
            }
            Conflict::Error | Conflict::Rules => String::new(),
        };
        let returning = match conflict {
            Conflict::Rules => String::new(),
            _ => format!(" RETURNING {projection}, ({matches}) IS TRUE"),
        };
        let statement =
            format!("INSERT INTO {name} AS {alias} ({columns}) VALUES ({values}){tail}{returning}");
        (statement, arguments)
    }
}

/// What an INSERT does when a unique index holds an equal row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    Nothing,
    /// Looks at the index that covers the key only: for tables with a deferrable constraint.
    NothingOnKey,
    Error,
    /// Raises; and returns nothing, since rules on the table rule RETURNING out.
    Rules,
}

/// A name for the row in the statements that is no column's, so that it means the whole row.
fn alias(table: &Table) -> String {
    let mut alias = "once_row".to_owned();
    while table.column(&alias).is_some() {
        alias.push('_');
    }
    alias
}
