//! Duplicates in tables that are already in production: found, merged, made impossible.

use std::rc::Rc;

use pgrx::iter::SetOfIterator;
use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::store::Store;
use crate::pg::table::{Column, Table};
use crate::pg::text::{decode, literal};
use crate::pg::{Call, ErrorReport, session};
use crate::row::{alias, column, columns, opened};

mod find;
mod guard;
mod merge;
mod reference;
mod relation;
mod rights;

use merge::{Keep, Merge};

#[pg_extern(sql = false)]
fn find_duplicates(call: Call) -> Result<(), ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table)?;
    Ok(find::all(&key, &Store::of(call).map_err(Error::from)?)?)
}

#[pg_extern(sql = false)]
fn merge_duplicates(call: Call) -> Result<(), ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table)?;
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
    session::demand_writable(c"merge_duplicates()").map_err(Error::from)?;
    let merge = Merge::new(&key, keep, order_by)?;
    let store = Store::of(call).map_err(Error::from)?;
    Ok(merge.all(dry_run, max_groups, &store)?)
}

#[pg_extern(sql = false)]
fn guard_plan(call: Call) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let table = target(call)?;
    let key = Key::of(call, &table)?;
    Ok(SetOfIterator::new(guard::plan(&key)?))
}

/// The columns whose equal values make rows duplicates of one another.
pub struct Key<'a> {
    table: &'a Table,
    /// In the order in which they were given.
    columns: Vec<&'a Column>,
    /// The name of a row of the table in a statement, which no column has.
    alias: String,
}

impl<'a> Key<'a> {
    fn of(call: Call, table: &'a Table) -> Result<Self, Error> {
        let columns = columns(call, 1, table)?;
        for column in &columns {
            ordered(table, &column.name)?;
        }
        Ok(Self {
            table,
            columns,
            alias: alias(table),
        })
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

/// The table that the first argument is.
fn target(call: Call) -> Result<Rc<Table>, Error> {
    opened(Table::of_regclass(call, 0)?.ok_or(Error::Null { argument: "target" })?)
}

/// The column of this name, which must have an order.
fn ordered<'a>(table: &'a Table, name: &str) -> Result<&'a Column, Error> {
    let column = column(table, name)?;
    let (table, name) = (table.name.clone(), name.to_owned());
    if column.equals("", "")?.is_none() {
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
    let pairs = list(columns, |column| {
        format!("{}, {alias}.{}", literal(&column.name), column.quoted)
    });
    format!("pg_catalog.jsonb_build_object({pairs})")
}
