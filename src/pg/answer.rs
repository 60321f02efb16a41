//! What a function answers that is declared to return a set and returns one row at most.
//!
//! A set of pgrx is asked again until it ends, and has a memory of its own meanwhile. One row is
//! said in one call.

use std::ptr;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys::{self, TupleDesc};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::Call;
use super::guard::{Raised, guard};
use super::raw;
use super::value::Value;

/// A set of one value, or of none. It is the answer to the call that made it, and to no other.
pub struct Answer(Option<Value>);

impl Call<'_> {
    pub fn answer(self, value: Option<Value>) -> Answer {
        if value.is_none()
            && let Some(set) = self.result_set()
        {
            // SAFETY: it lives as long as the call. Left as it is, `isDone` says that this is the
            // only value.
            unsafe { (*set).isDone = pg_sys::ExprDoneCond::ExprEndResult }
        }
        Answer(value)
    }

    /// These values as a row of the type that the call returns, which has as many columns.
    pub fn row<const COLUMNS: usize>(self, values: [Value; COLUMNS]) -> Result<Value, Raised> {
        let info = self.raw();
        let set = self.result_set();
        let datums = values.map(|value| value.datum);
        let nulls = values.map(|value| value.null);
        let (datums, nulls) = (datums.as_ptr(), nulls.as_ptr());
        // SAFETY: the descriptions live as long as the call; both arrays outlive heap_form_tuple,
        // which copies the values.
        let row = unsafe {
            let expected = set.map_or(ptr::null_mut(), |set| (*set).expectedDesc);
            guard(|| {
                let mut description: TupleDesc = expected;
                if description.is_null() {
                    raw::get_call_result_type(info, ptr::null_mut(), &raw mut description);
                }
                let description = raw::BlessTupleDesc(description);
                let row = raw::heap_form_tuple(description, datums, nulls);
                raw::HeapTupleHeaderGetDatum((*row).t_data)
            })
        }?;
        Ok(Value {
            datum: row,
            null: false,
            kind: pg_sys::RECORDOID,
        })
    }
}

// SAFETY: the value lives in the memory of the call, which stays until its result was used.
unsafe impl BoxRet for Answer {
    unsafe fn box_into<'fcx>(self, info: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.0 {
            // SAFETY: features answer with values of the type that the function is declared with.
            Some(value) if !value.null => unsafe { info.return_raw_datum(value.datum) },
            _ => info.return_null(),
        }
    }
}

// SAFETY: no SQL type stands behind it; the declaration in `sql/` says what is returned.
unsafe impl SqlTranslatable for Answer {
    const TYPE_IDENT: &'static str = pgrx::pgrx_sql_entity_graph::pgrx_resolved_type!(Answer);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Skip));
}
