//! A column and a value for it.

use crate::error::Error;
use crate::pg::json::{Member, Text};
use crate::pg::spi::{self, View};
use crate::pg::table::Column;
use crate::pg::{Value, text};

#[derive(Clone)]
pub struct Cell<'a> {
    pub column: &'a Column,
    pub value: Value<'a>,
}

impl<'a> Cell<'a> {
    /// The cell that JSON gives, converted as `jsonb_populate_record` does: by the column type's
    /// input function, with its domain and length. JSON null is NULL. `argument` is what it came
    /// in.
    pub fn of_json(
        column: &'a Column,
        json: &Member,
        argument: &'static str,
    ) -> Result<Self, Error> {
        let invalid = || Error::TextInvalid { what: argument };
        let value = if json.is_null() {
            Value::null(column.kind)
        } else if column.kind.is_json() {
            Value::parse(&json.json()?.ok_or_else(invalid)?, column.kind)?
        } else {
            match json.text()? {
                Text::Of(text) => Value::parse(&text, column.kind)?,
                Text::Json(json) => structured(column, &json)?,
                Text::Not => return Err(invalid()),
            }
        };
        Ok(Self { column, value })
    }

    /// The cell that a text gives, NULL where there is none.
    pub fn of_text(column: &'a Column, text: Option<&str>) -> Result<Self, Error> {
        let value = match text {
            Some(text) => Value::parse(text, column.kind)?,
            None => Value::null(column.kind),
        };
        Ok(Self { column, value })
    }

    /// The cell of a value: as it is where it has the column's type, else as core assigns it to the
    /// column, or converted by its text.
    pub fn of_value(column: &'a Column, value: Value<'a>) -> Result<Self, Error> {
        let value = if value.is_null() {
            Value::null(column.kind)
        } else {
            match value.assigned(column.kind)? {
                Some(value) => value,
                None => value.converted(column.kind)?,
            }
        };
        Ok(Self { column, value })
    }
}

/// The cells as the fence takes them.
pub fn values<'k>(key: &'k [Cell<'k>]) -> Vec<(&'k Column, &'k Value<'k>)> {
    key.iter().map(|cell| (cell.column, &cell.value)).collect()
}

/// A JSON array or object as an array, row or range: PostgreSQL's own conversion.
fn structured(column: &Column, json: &str) -> Result<Value<'static>, Error> {
    let kind = column.type_name()?.ok_or(Error::TextInvalid {
        what: "the name of a type",
    })?;
    let statement = format!("SELECT r.v FROM pg_catalog.jsonb_to_record($1) AS r(v {kind})");
    let argument = text::jsonb(&member("v", json)?)?;
    spi::run(&statement, &[argument], View::Isolated, |rows| {
        Ok::<_, Error>(rows.keep(0, 0)?.unwrap_or(Value::null(column.kind)))
    })
}

/// A JSON object of one member.
fn member(name: &str, json: &str) -> Result<String, Error> {
    let mut object = String::new();
    let room = object.try_reserve_exact(name.len() + json.len() + r#"{"":}"#.len());
    room.map_err(|_| Error::OutOfMemory)?;
    object.extend(["{\"", name, "\":", json, "}"]);
    Ok(object)
}
