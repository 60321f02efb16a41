//! A row of a table, made of the values of its columns.

use pgrx::pg_sys::{self, Datum};

use super::guard::{Raised, guard};
use super::raw;
use super::table::Table;
use super::value::Value;

/// The row with these values, one for each of the table's columns in their order.
pub fn of(table: &Table, values: &[Option<Value>]) -> Result<Value<'static>, Raised> {
    let mut datums = vec![Datum::null(); table.row.len()];
    let mut nulls = vec![true; table.row.len()];
    for (column, value) in table.columns.iter().zip(values) {
        let place = usize::try_from(column.number)
            .unwrap_or_default()
            .wrapping_sub(1);
        if let (Some(value), Some(datum)) = (value, datums.get_mut(place)) {
            *datum = value.datum;
            nulls[place] = value.null;
        }
    }
    let kind = table.row_type;
    let (datums, nulls) = (datums.as_ptr(), nulls.as_ptr());
    // SAFETY: the values were read from columns of the table, which is locked, so that they have the types of
    // its row type; both arrays have an entry for each of its columns. The type cache keeps the description.
    unsafe {
        let row = guard(|| {
            let flags = pg_sys::TYPECACHE_TUPDESC as i32;
            let description = (*raw::lookup_type_cache(kind, flags)).tupDesc;
            let row = raw::heap_form_tuple(description, datums, nulls);
            raw::HeapTupleHeaderGetDatum((*row).t_data)
        })?;
        Value::copy(row, kind, -1, false)
    }
}
