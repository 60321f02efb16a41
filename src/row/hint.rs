//! What to do about rows and indexes of the user's that an error meets.

use std::ffi::CString;

use serde_json::Value as Json;

use super::{Cell, values};
use crate::error::Error;
use crate::key::scalar_text;
use crate::pg::Value;
use crate::pg::table::{Column, Table};

/// The hint for several rows of one key: the condition that makes them single, where there is a partial
/// unique index that says so.
pub fn of_duplicates(table: &Table, key: &[Cell]) -> Result<Option<String>, Error> {
    for (index, conditions) in table.missing_conditions(&values(key))? {
        let mut cells = Vec::from_iter(key.iter().cloned());
        let mut condition = Vec::new();
        for (column, value) in conditions {
            let Some(json) = json(column, &value)? else {
                break;
            };
            let name = Json::from(column.name.as_str());
            condition.push(format!("{name}: {json}"));
            cells.push(Cell::of_value(column, value)?);
        }
        if table.guard_of(&values(&cells))?.is_some() {
            return Ok(Some(format!(
                "Add {{{}}} to the key: only such rows are kept single, by unique index \"{index}\".",
                condition.join(", ")
            )));
        }
    }
    Ok(None)
}

/// Up to how many bytes a value is shown.
const SHOWN: usize = 1 << 20;

/// The value as JSON; none where it has no single text, or a long one.
fn json(column: &Column, value: &Value) -> Result<Option<Json>, Error> {
    if value.is_null() {
        return Ok(Some(Json::Null));
    }
    let text = match scalar_text(value.clone(), "a condition", SHOWN) {
        Ok(text) => text,
        Err(error @ (Error::Postgres(_) | Error::Refused(_))) => return Err(error),
        Err(_) => None,
    };
    Ok(text.map(|text| match text.as_str() {
        "true" | "false" if value.is_boolean() => (text == "true").into(),
        json if column.kind.is_json() => serde_json::from_str(json).unwrap_or_default(),
        number if column.kind.is_integer() => number
            .parse::<i64>()
            .map_or(text.clone().into(), Json::from),
        _ => text.into(),
    }))
}

/// The hint for a unique index on an expression that keeps a new row out.
pub fn of_expression(index: &str) -> CString {
    CString::new(format!(
        "Unique index \"{index}\" is on an expression. Make that expression a column, GENERATED ALWAYS AS (...) \
         STORED with a unique index, and use it as the key; or find the row with SELECT first."
    ))
    .unwrap_or_default()
}
