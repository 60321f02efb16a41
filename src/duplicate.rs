//! Duplicates in tables that are already in production: found, merged, made impossible.

use std::rc::Rc;

use pgrx::iter::SetOfIterator;
use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::store::Store;
use crate::pg::table::{Column, Table};
use crate::pg::text::{decode, literal};
use crate::pg::{Call, ErrorReport, Value, session, text};
use crate::row::{Cell, alias, column, columns, condition_beside, object as members, opened};

mod find;
mod guard;
mod merge;
mod reference;
mod relation;
mod rights;

use merge::{Keep, Merge, Request};

#[pg_extern(sql = false)]
fn find_duplicates(call: Call) -> Result<(), ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table, 2)?;
    Ok(find::all(&key, &Store::of(call).map_err(Error::from)?)?)
}

#[pg_extern(sql = false)]
fn merge_duplicates(call: Call) -> Result<(), ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table, 7)?;
    let keep = Keep::named(name(call, 2, "keep")?.as_deref())?;
    let dry_run = call.boolean(3)?.ok_or(Error::Null {
        argument: "dry_run",
    })?;
    let order_by = name(call, 4, "order_by")?
        .map(|name| ordered(&table, &name))
        .transpose()?;
    let max_groups = match call.int4(5)?.map(i64::from) {
        Some(groups) if groups < 1 => Err(Error::MaxGroupsOutOfRange)?,
        groups => groups,
    };
    let skip_blocked = call.boolean(6)?.ok_or(Error::Null {
        argument: "skip_blocked",
    })?;
    session::demand_writable(c"merge_duplicates()").map_err(Error::from)?;
    let store = Store::of(call).map_err(Error::from)?;
    let request = Request {
        keep,
        order_by,
        dry_run,
        max_groups,
        skip_blocked,
    };
    Ok(Merge::new(&key, request, &store)?.all()?)
}

/// The statements in the encoding of the database: a bytea is laid out as a text.
#[pg_extern(sql = false)]
fn guard_plan(call: Call) -> Result<SetOfIterator<'static, Vec<u8>>, ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table, 2)?;
    let encode =
        |statement: &String| Ok(text::encode(statement).map_err(Error::from)?.into_bytes());
    let statements: Result<Vec<_>, Error> = guard::plan(&key)?.iter().map(encode).collect();
    Ok(SetOfIterator::new(statements?))
}

/// The columns whose equal values make rows duplicates of one another.
pub struct Key<'a> {
    table: &'a Table,
    /// In the order in which they were given.
    columns: Vec<&'a Column>,
    /// Further columns with the value that a row must have to count.
    condition: Vec<Cell<'a>>,
    condition_json: String,
    /// The name of a row of the table in a statement, which no column has.
    alias: String,
}

impl<'a> Key<'a> {
    /// The second argument, and the condition at `condition`.
    fn of(call: Call, table: &'a Table, condition: usize) -> Result<Self, Error> {
        let columns = columns(call, 1, table)?;
        for column in &columns {
            ordered(table, &column.name)?;
        }
        let members = members(call, condition, "condition")?;
        Ok(Self {
            table,
            condition: condition_beside(&columns, table, &members)?,
            condition_json: call.json(condition)?.flatten().unwrap_or_default(),
            columns,
            alias: alias(table),
        })
    }

    /// ` WHERE …`, that a row counts, and its arguments. Empty where all rows do.
    fn where_counts(&self) -> Result<(String, Vec<Value<'a>>), Error> {
        let mut arguments = Vec::new();
        let counts = has_values(self.table, &self.condition, &self.alias, &mut arguments)?;
        let counts = match counts.as_str() {
            "" => String::new(),
            counts => format!(" WHERE {counts}"),
        };
        Ok((counts, arguments))
    }

    /// The columns of the key and of the condition.
    fn all_columns(&self) -> impl Iterator<Item = &'a Column> {
        let conditions = self.condition.iter().map(|cell| cell.column);
        self.columns.iter().copied().chain(conditions)
    }

    /// `alias.column AS k1, …`
    fn named(&self) -> String {
        let alias = &self.alias;
        list(self.columns.iter().enumerate(), |(i, column)| {
            format!("{alias}.{} AS k{i}", column.quoted)
        })
    }

    /// `alias.column, …`
    fn listed(&self) -> String {
        let alias = &self.alias;
        list(&self.columns, |column| format!("{alias}.{}", column.quoted))
    }

    /// `alias.k1, …`, of a statement that has named them.
    fn places(&self, alias: &str) -> String {
        list(0..self.columns.len(), |i| format!("{alias}.k{i}"))
    }
}

/// The condition that the row called `alias` has these values, which go behind the arguments.
fn has_values<'a>(
    table: &Table,
    cells: &[Cell<'a>],
    alias: &str,
    arguments: &mut Vec<Value<'a>>,
) -> Result<String, Error> {
    let mut conditions = Vec::new();
    for Cell { column, value } in cells {
        if value.is_null() {
            conditions.push(column.is_null(alias));
        } else {
            arguments.push(value.clone());
            conditions.push(equals(table, column, alias, arguments.len())?);
        }
    }
    Ok(conditions.join(" AND "))
}

/// The condition that the column of the row called `alias` equals a parameter.
fn equals(table: &Table, column: &Column, alias: &str, parameter: usize) -> Result<String, Error> {
    let equals = column.equals(Some(alias), &format!("${parameter}"))?;
    equals.ok_or_else(|| Error::ColumnWithoutEquality {
        table: table.name.clone(),
        column: column.name.clone(),
    })
}

/// The table that the first argument is.
fn target(call: Call) -> Result<Rc<Table>, Error> {
    opened(Table::of_regclass(call, 0)?.ok_or(Error::Null { argument: "target" })?)
}

/// The column of this name, which must have an order.
fn ordered<'a>(table: &'a Table, name: &str) -> Result<&'a Column, Error> {
    let column = column(table, name)?;
    let (table, name) = (table.name.clone(), name.to_owned());
    if column.equals(None, "")?.is_none() {
        return Err(Error::ColumnWithoutEquality {
            table,
            column: name,
        });
    }
    if !column.has_order()? {
        return Err(Error::ColumnWithoutOrder {
            table,
            column: name,
        });
    }
    Ok(column)
}

/// A text argument, as long as a name or a word may be.
fn name(call: Call, index: usize, argument: &'static str) -> Result<Option<String>, Error> {
    const LIMIT: usize = 1000;
    match call.text(index, LIMIT)? {
        None => Ok(None),
        Some(Ok(bytes)) => decode(bytes)?
            .ok_or(Error::TextInvalid { what: argument })
            .map(Some),
        Some(Err(_)) => Err(Error::NameTooLong { argument }),
    }
}

/// The items, written one by one, with commas between.
fn list<T>(items: impl IntoIterator<Item = T>, write: impl Fn(T) -> String) -> String {
    items.into_iter().map(write).collect::<Vec<_>>().join(", ")
}

/// A JSON object of columns of the row called `alias`.
fn object(columns: &[&Column], alias: &str) -> String {
    object_of(columns, |_, column| format!("{alias}.{}", column.quoted))
}

/// A JSON object of columns, whose values stand in the statement as `value` writes them. A function has 100 arguments
/// at most, so that the object may be put together from several.
fn object_of(columns: &[&Column], value: impl Fn(usize, &Column) -> String) -> String {
    let pairs: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| format!("{}, {}", literal(&column.name), value(i, column)))
        .collect();
    let object = |pairs: &[String]| format!("pg_catalog.jsonb_build_object({})", pairs.join(", "));
    let objects: Vec<String> = pairs.chunks(50).map(object).collect();
    format!("({})", objects.join(" OPERATOR(pg_catalog.||) "))
}
