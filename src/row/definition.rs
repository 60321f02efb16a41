//! What a function that define_row_lock made says in its body, and its calls.
//!
//! The language of these functions is the extension's own, once_row_lock: a body is a JSON object of the
//! table, the columns of the key and a condition, and a call takes the row as with_row_lock does, with
//! typed arguments. Anybody can write such a body: nothing in it is taken for right.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_extern;
use serde_json::{Map, Value as Json};

use crate::error::Error;
use crate::pg::function::Meanings;
use crate::pg::table::{Column, Table};
use crate::pg::{Answer, Call, ErrorReport, function, memory, text};
use crate::timeout::Timeout;

use super::define::printed;
use super::{Cell, Shape, Taken, Turn, answer_row, column, defaults_beside, object, open};

/// PostgreSQL's way to each call of a function of the language.
#[pg_extern(sql = false)]
fn row_lock_handler(call: Call) -> Result<Answer, ErrorReport> {
    Ok(answer_row(call, take(call)?)?)
}

/// What PostgreSQL calls for a function of the language that is being created.
#[pg_extern(sql = false)]
fn row_lock_validator(call: Call) -> Result<(), ErrorReport> {
    Ok(function::check_body(call, Definition::read)?)
}

fn take(call: Call) -> Result<Option<Taken>, Error> {
    thread_local! {
        static KNOWN: RefCell<Meanings<Definition>> = RefCell::default();
    }
    let function = function::meaning(call, &KNOWN, Definition::read)?;
    let definition = &function.meaning;
    let count = definition.key_columns.len();
    let (timeout, defaults) = (count, count + 1);
    if call.len() != count + 2 || !call.is_of_set() {
        return Err(Error::FunctionBodyMalformed);
    }
    let timeout = Timeout::starting_now(call.interval(timeout)?)?;
    let Some(table) = open(timeout, true, || Table::of_result(call, &function))? else {
        return Ok(None);
    };
    let key = definition.key(call, &table)?;
    let defaults = object(call, defaults, "defaults")?;
    let defaults = defaults_beside(&key, &table, &defaults)?;
    Turn::new(&table, &key, &defaults, Shape::Row, true, timeout)?.take()
}

/// A table's name, the columns of the key that are arguments, and those that have the same value in all
/// calls, with its text.
#[derive(Debug, PartialEq)]
pub struct Definition {
    table: String,
    key_columns: Vec<String>,
    condition: Vec<(String, Option<String>)>,
}

/// How long a name is at most, with a schema and in quotes.
const NAME_LIMIT: usize = 1000;

/// How often what a body says is in memory at most while it is read.
const READING: usize = 8;

const TABLE: &str = "table";
const KEY: &str = "key";
const CONDITION: &str = "condition";

impl Definition {
    pub fn new(table: &Table, columns: &[&Column], condition: &[Cell]) -> Result<Self, Error> {
        let names = condition.iter().map(|cell| cell.column.name.clone());
        let condition = names.zip(printed(condition)?).collect();
        Ok(Self {
            table: table.name.clone(),
            key_columns: columns.iter().map(|column| column.name.clone()).collect(),
            condition,
        })
    }

    /// The body of the function, which has less than BODY_LIMIT bytes.
    pub fn body(&self) -> String {
        let text = |text: &String| Json::from(text.as_str());
        let key: Vec<Json> = self.key_columns.iter().map(text).collect();
        let mut body = Map::new();
        body.insert(TABLE.to_owned(), text(&self.table));
        body.insert(KEY.to_owned(), key.into());
        if !self.condition.is_empty() {
            let same = |(name, value): &(String, Option<String>)| {
                (name.clone(), value.as_ref().map_or(Json::Null, text))
            };
            let condition: Map<String, Json> = self.condition.iter().map(same).collect();
            body.insert(CONDITION.to_owned(), condition.into());
        }
        Json::from(body).to_string()
    }

    /// What a body says; none is one that is too long.
    fn read(body: Option<&[u8]>) -> Result<Self, Error> {
        let body = body.ok_or(Error::FunctionBodyMalformed)?;
        memory::demand(body.len().saturating_mul(READING))?;
        let body = text::decode(body)?.ok_or(Error::FunctionBodyMalformed)?;
        Self::of_json(&body).ok_or(Error::FunctionBodyMalformed)
    }

    fn of_json(body: &str) -> Option<Self> {
        let mut members: Map<String, Json> = serde_json::from_str(body).ok()?;
        let Json::String(table) = members.remove(TABLE)? else {
            return None;
        };
        let name = |name: Json| match name {
            Json::String(name) => Some(name),
            _ => None,
        };
        let Json::Array(key) = members.remove(KEY)? else {
            return None;
        };
        let key_columns: Vec<String> = key.into_iter().map(name).collect::<Option<_>>()?;
        let condition = match members.remove(CONDITION) {
            None => Map::new(),
            Some(Json::Object(condition)) => condition,
            Some(_) => return None,
        };
        let condition = condition
            .into_iter()
            .map(|(column, value)| match value {
                Json::Null => Some((column, None)),
                Json::String(value) => Some((column, Some(value))),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let mut columns: Vec<&String> = key_columns
            .iter()
            .chain(condition.iter().map(|(column, _)| column))
            .collect();
        columns.sort_unstable();
        let are_apart = columns.windows(2).all(|pair| pair[0] != pair[1]);
        let are_names = columns
            .iter()
            .all(|name| name.len() <= NAME_LIMIT && !name.contains('\0'));
        let is_whole = members.is_empty() && !key_columns.is_empty() && are_apart;
        let is_whole = is_whole && are_names && table.len() <= NAME_LIMIT;
        is_whole.then_some(Self {
            table,
            key_columns,
            condition,
        })
    }

    /// The key of a call, in the order of the columns' names, as with_row_lock has it: the same key has
    /// one turn.
    fn key<'a>(&self, call: Call<'a>, table: &'a Rc<Table>) -> Result<Vec<Cell<'a>>, Error> {
        if table.name != self.table {
            return Err(Error::FunctionOfAnotherTable {
                table: self.table.clone(),
                is: table.name.clone(),
            });
        }
        let mut key = Vec::with_capacity(self.key_columns.len() + self.condition.len());
        for (index, name) in self.key_columns.iter().enumerate() {
            key.push(Cell::of_value(column(table, name)?, call.value(index)?)?);
        }
        for (name, value) in &self.condition {
            key.push(Cell::of_text(column(table, name)?, value.as_deref())?);
        }
        key.sort_unstable_by(|a, b| a.column.name.cmp(&b.column.name));
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::Definition;

    fn definition(condition: &[(&str, Option<&str>)]) -> Definition {
        Definition {
            table: "public.\"Cart\"".to_owned(),
            key_columns: vec!["customer".to_owned(), "the \"key\"".to_owned()],
            condition: condition
                .iter()
                .map(|(column, value)| ((*column).to_owned(), value.map(str::to_owned)))
                .collect(),
        }
    }

    #[test]
    fn a_body_reads_as_it_was_written() {
        for condition in [
            &[][..],
            &[("deleted_at", None), ("stage", Some("it's \\ \"paid\""))],
        ] {
            let definition = definition(condition);
            assert_eq!(Definition::of_json(&definition.body()), Some(definition));
        }
    }

    #[test]
    fn what_no_call_writes_is_refused() {
        for body in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"table":"t"}"#,
            r#"{"key":["k"]}"#,
            r#"{"table":"t","key":[]}"#,
            r#"{"table":"t","key":"k"}"#,
            r#"{"table":1,"key":["k"]}"#,
            r#"{"table":"t","key":["k",1]}"#,
            r#"{"table":"t","key":["k","k"]}"#,
            r#"{"table":"t","key":["k"],"condition":{"k":null}}"#,
            r#"{"table":"t","key":["k"],"condition":{"c":1}}"#,
            r#"{"table":"t","key":["k"],"condition":[]}"#,
            r#"{"table":"t","key":["k"],"more":1}"#,
            r#"{"table":"t","key":["k"]} more"#,
        ] {
            assert_eq!(Definition::of_json(body), None, "{body}");
        }
    }
}
