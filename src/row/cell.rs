//! A column and a value for it.

use serde_json::value::RawValue;

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
    pub fn of_json(column: &'a Column, json: &RawValue) -> Result<Self, Error> {
        let text = json.get();
        let value = match text.as_bytes().first() {
            Some(b'n') => Value::null(column.kind),
            _ if column.kind.is_json() => Value::parse(text, column.kind)?,
            Some(b'"') => {
                let string: String =
                    serde_json::from_str(text).map_err(|_| Error::TextInvalid {
                        what: "a JSON string",
                    })?;
                Value::parse(&string, column.kind)?
            }
            Some(b'[' | b'{') => structured(column, text)?,
            _ => Value::parse(text, column.kind)?,
        };
        Ok(Self { column, value })
    }
}

/// A JSON array or object as an array, row or range: PostgreSQL's own conversion.
fn structured(column: &Column, json: &str) -> Result<Value, Error> {
    let kind = column.type_name()?.ok_or(Error::TextInvalid {
        what: "the name of a type",
    })?;
    let statement = format!("SELECT r.v FROM pg_catalog.jsonb_to_record($1) AS r(v {kind})");
    let argument = text::jsonb(&format!("{{\"v\":{json}}}"))?;
    spi::run(&statement, &[argument], View::Isolated, |rows| {
        Ok::<_, Error>(rows.keep(0, 0)?.unwrap_or(Value::null(column.kind)))
    })
}
