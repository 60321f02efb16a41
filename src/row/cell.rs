//! A column and a value for it.

use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::table::Column;
use crate::pg::{Value, text};

#[derive(Clone, Copy)]
pub struct Cell<'a> {
    pub column: &'a Column,
    pub value: Value,
}

impl<'a> Cell<'a> {
    /// The cell that JSON gives, converted as `jsonb_populate_record` does: by the column type's
    /// input function, with its domain and length. JSON null is NULL.
    pub fn of_json(column: &'a Column, json: &Json) -> Result<Self, Error> {
        let parsed = match json {
            Json::Null => {
                return Ok(Self {
                    column,
                    value: Value::null(column.kind),
                });
            }
            json if column.kind.is_json() => Value::parse(&json.to_string(), column.kind)?,
            Json::Bool(truth) => Value::parse(&truth.to_string(), column.kind)?,
            Json::Number(number) => Value::parse(&number.to_string(), column.kind)?,
            Json::String(text) => Value::parse(text, column.kind)?,
            Json::Array(_) | Json::Object(_) => structured(column, json)?,
        };
        Ok(Self {
            column,
            value: parsed,
        })
    }
}

/// A JSON array or object as an array, row or range: PostgreSQL's own conversion.
fn structured(column: &Column, json: &Json) -> Result<Value, Error> {
    let kind = column.type_name()?.ok_or(Error::TextInvalid {
        what: "the name of a type",
    })?;
    let statement = format!("SELECT r.v FROM pg_catalog.jsonb_to_record($1) AS r(v {kind})");
    let argument = text::jsonb(&json!({ "v": json }).to_string())?;
    spi::run(&statement, &[argument], View::Isolated, |rows| {
        Ok::<_, Error>(rows.keep(0, 0)?.unwrap_or(Value::null(column.kind)))
    })
}
