//! Payments: the row functions for the one table that so many pollers meet at.

use pgrx::pg_extern;

use crate::error::Error;
use crate::key::scalar_text;
use crate::pg::table::Table;
use crate::pg::{Answer, Call, ErrorReport, Value, settings};
use crate::row::{Cell, Shape, Taken, Turn, answer, column, defaults_beside, object, open};
use crate::timeout::Timeout;

#[pg_extern(sql = false)]
fn with_payment_lock<'a>(call: Call<'a>) -> Result<Answer<'a>, ErrorReport> {
    Ok(answer(call, take(call)?)?)
}

fn take(call: Call) -> Result<Option<Taken>, Error> {
    let timeout = Timeout::starting_now(call.interval(2)?)?;
    let name = settings::payment_table()?.ok_or(Error::TextInvalid {
        what: "pg_once.payment_table",
    })?;
    let service = call.value(0)?;
    let line_item = call.value(1)?;
    let Some(table) = open(timeout, true, || Table::named(&name))? else {
        return Ok(None);
    };
    let key = [
        identifier(&table, "line_item_id", line_item)?,
        identifier(&table, "service_id", service)?,
    ];
    let defaults = object(call, 3, "defaults")?;
    let defaults = defaults_beside(&key, &table, &defaults)?;
    Turn::new(&table, &key, &defaults, Shape::Json, true, timeout)?.take()
}

/// The cell of an identifier of any scalar type: as it is where it has the column's type, else as
/// core assigns it to the column, or by its text.
fn identifier<'a>(
    table: &'a Table,
    name: &'static str,
    value: Value<'a>,
) -> Result<Cell<'a>, Error> {
    let column = column(table, name)?;
    if value.is_null() {
        return Err(Error::Null { argument: name });
    }
    if let Some(kind) = value.array_type()? {
        return Err(Error::PaymentIdNotScalar {
            argument: name,
            kind,
        });
    }
    let value = match value.assigned(column.kind)? {
        Some(value) => value,
        None => match scalar_text(value, name, usize::MAX)? {
            Some(text) if column.kind.is_integer() => Value::parse(whole(&text), column.kind)?,
            Some(text) => Value::parse(&text, column.kind)?,
            None => return Err(Error::Null { argument: name }),
        },
    };
    Ok(Cell { column, value })
}

/// The text of a number without the zeros behind its point: 7.00 is the integer 7.
fn whole(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn only_zeros_behind_the_point_go() {
        assert_eq!(whole("700"), "700");
        assert_eq!(whole("7.00"), "7");
        assert_eq!(whole("7.50"), "7.5");
        assert_eq!(whole("0.0"), "0");
    }
}
