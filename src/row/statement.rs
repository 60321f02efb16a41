//! The SQL statements that find, lock and create one row of a table.

use std::cell::{OnceCell, RefCell};
use std::ffi::CString;
use std::rc::Rc;

use pgrx::PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION;

use super::Cell;
use crate::error::Error;
use crate::pg::settings::DuplicateRows;
use crate::pg::table::{Column, Generated, Table};
use crate::pg::{Raised, Value};
use crate::session_map::SessionMap;

/// How a row is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    Row,
    Json,
}

/// How rows are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    Plain,
    /// With where they stand: the tid, and in a partitioned table the object id of the partition.
    Located,
    /// Only where it stands, which is given after the values of the key; locked.
    At,
    /// Locked, after waiting for those who have them locked.
    Wait,
    /// Locked, without the rows that others have locked.
    Skip,
    /// Up to two, the transactions that made them instead of the rows.
    Makers,
}

const SEARCHES: usize = 6;

/// What is the same in all statements for one key of one table.
pub struct Statements<'a> {
    table: &'a Table,
    key: &'a [Cell<'a>],
    /// The key's values that are not null: what `$1` and on stand for.
    pub arguments: Vec<Value<'a>>,
    wording: Rc<Wording>,
}

impl<'a> Statements<'a> {
    pub fn new(table: &'a Table, key: &'a [Cell<'a>], form: Form) -> Result<Self, Error> {
        let given = key.iter().filter(|cell| !cell.value.is_null());
        Ok(Self {
            table,
            key,
            arguments: given.map(|cell| cell.value.clone()).collect(),
            wording: Wording::of(table, key, form)?,
        })
    }

    /// Finds up to two rows, so that more than one is noticed. Where several are taken for
    /// granted and one is to be locked by the statement, only the first by primary key.
    pub fn find(&self, search: Search) -> &str {
        self.wording.find[search as usize].get_or_init(|| self.wording.new_find(self.table, search))
    }

    /// Creates the row with `defaults`, and says whether its key is the one asked for where that is not
    /// certain, and then in which partition it is.
    pub fn insert<'v>(&self, defaults: &[Cell<'v>], conflict: Conflict) -> (Rc<str>, Vec<Value<'v>>)
    where
        'a: 'v,
    {
        let mut arguments: Vec<Value<'v>> = self.arguments.clone();
        arguments.extend(defaults.iter().map(|cell| cell.value.clone()));
        let statement = self
            .wording
            .insert(self.table, self.key, defaults, conflict);
        (statement, arguments)
    }
}

/// The error of an INSERT into `table`, with a hint where it is that of a NOT NULL column without a
/// default that is not among those `given`.
pub fn explain_insert(
    raised: Raised,
    statement: &str,
    table: &Table,
    given: impl Fn(&str) -> bool,
) -> Error {
    let error = match Error::from(raised) {
        Error::Postgres(error) => error,
        other => return other,
    };
    let missing = error
        .column()
        .filter(|_| error.is(ERRCODE_NOT_NULL_VIOLATION) && error.is_of_statement(statement))
        .and_then(|name| table.column(&name))
        .filter(|column| !column.has_default && !given(&column.name));
    Error::Postgres(match missing {
        Some(column) => error.with_hint(&defaults_hint(column)),
        None => error,
    })
}

fn defaults_hint(column: &Column) -> CString {
    let name = serde_json::Value::from(column.name.as_str());
    let value = match column.kind.is_time() {
        true => "\"now\"",
        false => "...",
    };
    let hint = format!("Give the column a value in defaults, as in {{{name}: {value}}}.");
    CString::new(hint).unwrap_or_default()
}

/// What an INSERT does when a unique index holds an equal row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    Nothing,
    /// Looks at the index that covers the key only: for tables with a deferrable constraint on other columns.
    NothingOnKey,
    Error,
    /// Raises; and returns nothing, since rules on the table rule RETURNING out.
    Rules,
}

/// What decides how the statements for a key read, beside its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    pub shape: Shape,
    pub duplicates: DuplicateRows,
    /// Whether a unique index rules several rows out.
    pub is_unique: bool,
}

/// The text of statements, without the values that they are run with.
struct Wording {
    /// The condition that a row has the key.
    matches: String,
    alias: String,
    projection: String,
    form: Form,
    /// How many values of the key are given.
    given: usize,
    /// One for each [`Search`].
    find: [OnceCell<String>; SEARCHES],
    insert: RefCell<SessionMap<InsertKey, Rc<str>>>,
}

/// The columns of the defaults, and what the INSERT does about a conflict.
type InsertKey = (Vec<i16>, Conflict);

/// A description of a table, the key's columns and which of them are null, and the form.
type WordingKey = (u64, Vec<(i16, bool)>, Form);

thread_local! {
    static WORDINGS: RefCell<SessionMap<WordingKey, Rc<Wording>>> = RefCell::default();
}

/// Wordings kept at most, before all are made anew.
const WORDINGS_KEPT: usize = 512;

/// Statements of one wording that create a row, kept at most.
const INSERTS_KEPT: usize = 64;

impl Wording {
    fn of(table: &Table, key: &[Cell], form: Form) -> Result<Rc<Self>, Error> {
        let columns = key
            .iter()
            .map(|cell| (cell.column.number, cell.value.is_null()));
        let wording_key = (table.version, columns.collect(), form);
        if let Some(known) = WORDINGS.with_borrow(|known| known.get(&wording_key).cloned()) {
            return Ok(known);
        }
        let wording = Rc::new(Self::new(table, key, form)?);
        WORDINGS.with_borrow_mut(|known| {
            if known.len() >= WORDINGS_KEPT {
                known.clear();
            }
            known.insert(wording_key, Rc::clone(&wording));
        });
        Ok(wording)
    }

    fn new(table: &Table, key: &[Cell], form: Form) -> Result<Self, Error> {
        let alias = alias(table);
        let mut given = 0;
        let mut conditions = Vec::new();
        for Cell { column, value } in key {
            if value.is_null() {
                conditions.push(column.is_null(&alias));
            } else {
                given += 1;
                let equals = column.equals(Some(&alias), &format!("${given}"))?;
                conditions.push(equals.ok_or_else(|| Error::ColumnWithoutEquality {
                    table: table.name.clone(),
                    column: column.name.clone(),
                })?);
            }
        }
        let matches = conditions.join(" AND ");
        let projection = match form.shape {
            // Citus has no rows as values: they are put together here.
            _ if table.is_distributed => {
                let columns = table.columns.iter();
                let columns = columns.map(|column| format!("{alias}.{}", column.quoted));
                Vec::from_iter(columns).join(", ")
            }
            Shape::Row => alias.clone(),
            Shape::Json => format!("pg_catalog.to_jsonb({alias})"),
        };
        Ok(Self {
            matches,
            alias,
            projection,
            form,
            given,
            find: Default::default(),
            insert: RefCell::default(),
        })
    }

    fn new_find(&self, table: &Table, search: Search) -> String {
        let Self {
            alias,
            matches,
            projection,
            form,
            given,
            ..
        } = self;
        let name = &table.name;
        if search == Search::Makers {
            return format!("SELECT {alias}.xmin FROM {name} AS {alias} WHERE {matches} LIMIT 2");
        }
        let (order, limit) = choice(table, alias, *form, search);
        let place = match search {
            Search::Located if table.is_partitioned => {
                format!(", {alias}.ctid, {alias}.tableoid")
            }
            Search::Located => format!(", {alias}.ctid"),
            _ => String::new(),
        };
        let (at, within) = (given + 1, given + 2);
        let is_there = match search {
            Search::At if table.is_partitioned => format!(
                " AND {alias}.ctid OPERATOR(pg_catalog.=) ${at} \
                 AND {alias}.tableoid OPERATOR(pg_catalog.=) ${within}"
            ),
            Search::At => format!(" AND {alias}.ctid OPERATOR(pg_catalog.=) ${at}"),
            _ => String::new(),
        };
        let locking = match search {
            Search::Plain | Search::Located | Search::Makers => String::new(),
            Search::At | Search::Wait => format!(" FOR NO KEY UPDATE OF {alias}"),
            Search::Skip => format!(" FOR NO KEY UPDATE OF {alias} SKIP LOCKED"),
        };
        format!(
            "SELECT {projection}{place} FROM {name} AS {alias} \
             WHERE {matches}{is_there}{order}{limit}{locking}"
        )
    }

    fn insert(
        &self,
        table: &Table,
        key: &[Cell],
        defaults: &[Cell],
        conflict: Conflict,
    ) -> Rc<str> {
        let columns = defaults.iter().map(|cell| cell.column.number);
        let insert_key = (columns.collect(), conflict);
        if let Some(known) = self.insert.borrow().get(&insert_key) {
            return Rc::clone(known);
        }
        let statement: Rc<str> = self.new_insert(table, key, defaults, conflict).into();
        let mut known = self.insert.borrow_mut();
        if known.len() >= INSERTS_KEPT {
            known.clear();
        }
        known.insert(insert_key, Rc::clone(&statement));
        statement
    }

    fn new_insert(
        &self,
        table: &Table,
        key: &[Cell],
        defaults: &[Cell],
        conflict: Conflict,
    ) -> String {
        let Self {
            alias,
            matches,
            projection,
            ..
        } = self;
        let name = &table.name;
        let mut columns = Vec::new();
        let mut values = Vec::new();
        let mut given = 0;
        let cells = key.iter().map(|cell| (cell, cell.value.is_null()));
        let cells = cells.chain(defaults.iter().map(|cell| (cell, false)));
        for (cell, is_null) in cells {
            let value = if is_null {
                "NULL".to_owned()
            } else {
                given += 1;
                format!("${given}")
            };
            // What the table computes is compared afterwards.
            if cell.column.generated != Some(Generated::Expression) {
                columns.push(cell.column.quoted.as_str());
                values.push(value);
            }
        }
        let what = match columns.is_empty() {
            true => "DEFAULT VALUES".to_owned(),
            false => format!("({}) VALUES ({})", columns.join(", "), values.join(", ")),
        };
        let tail = match conflict {
            Conflict::Nothing => " ON CONFLICT DO NOTHING".to_owned(),
            Conflict::NothingOnKey => {
                let key: Vec<&str> = key.iter().map(|cell| cell.column.quoted.as_str()).collect();
                format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
            }
            Conflict::Error | Conflict::Rules => String::new(),
        };
        let returning = match conflict {
            Conflict::Rules => String::new(),
            _ if may_get_another_key(table, key) && !table.is_distributed => {
                format!(" RETURNING {projection}, ({matches}) IS TRUE, {alias}.tableoid")
            }
            _ => format!(" RETURNING {projection}"),
        };
        format!("INSERT INTO {name} AS {alias} {what}{tail}{returning}")
    }
}

/// Whether a new row may have another key than its INSERT was to give it.
pub fn may_get_another_key(table: &Table, key: &[Cell]) -> bool {
    table.has_before_triggers || computed(key).is_some()
}

/// A column of the key that is computed from others.
pub fn computed<'k>(key: &'k [Cell<'k>]) -> Option<&'k Column> {
    key.iter()
        .map(|cell| cell.column)
        .find(|column| column.generated == Some(Generated::Expression))
}

/// Which of several rows are asked for.
fn choice(table: &Table, alias: &str, form: Form, search: Search) -> (String, &'static str) {
    if form.is_unique || search == Search::At {
        return (String::new(), "");
    }
    if form.duplicates == DuplicateRows::Error || table.primary_key.is_empty() {
        return (String::new(), " LIMIT 2");
    }
    let columns: Vec<String> = table
        .primary_key
        .iter()
        .map(|column| format!("{alias}.{column}"))
        .collect();
    let limit = match search {
        Search::Wait | Search::Skip => " LIMIT 1",
        _ => " LIMIT 2",
    };
    (format!(" ORDER BY {}", columns.join(", ")), limit)
}

/// A name for the row in the statements that is no column's, so that it means the whole row.
pub fn alias(table: &Table) -> String {
    let mut alias = "once_row".to_owned();
    while table.column(&alias).is_some() {
        alias.push('_');
    }
    alias
}
