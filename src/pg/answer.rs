//! What a function answers that is declared to return a set and returns one row at most.
//!
//! A set of pgrx is asked again until it ends, and has a memory of its own meanwhile. One row is
//! said in one call: put into a store where the query prefers one, else as a value.

use std::ffi::c_int;
use std::{mem, ptr};

use pgrx::PgTupleDesc;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys::{
    self, Datum, HeapTupleData, Oid, SetFunctionReturnMode, TupleDesc, Tuplestorestate,
};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::Call;
use super::guard::{Raised, guard};
use super::raw;
use super::table::types;
use super::value::Value;

/// A set of one value, or of none. It is the answer to the call that made it, and to no other.
pub struct Answer(Option<Value>);

impl Call<'_> {
    pub fn answer(self, value: Option<Value>) -> Result<Answer, Raised> {
        let Some(value) = value else {
            return Ok(self.nothing());
        };
        if self.expects(value.kind)?
            && let Some(store) = self.store()?
        {
            let datum = value.datum;
            // SAFETY: the value is a row laid out as the query expects; one that was stored in
            // another row may have a short header there.
            unsafe {
                let mut tuple: HeapTupleData = mem::zeroed();
                guard(|| {
                    let row = raw::pg_detoast_datum(datum.cast_mut_ptr());
                    tuple.t_len = pgrx::varsize_any(row) as u32;
                    tuple.t_data = row.cast();
                    raw::tuplestore_puttuple(store, &raw mut tuple);
                })?;
            }
        }
        Ok(Answer(Some(value)))
    }

    /// A row of these values, which are as many as the columns that the call returns.
    pub fn answer_columns<const COLUMNS: usize>(
        self,
        values: Option<[Value; COLUMNS]>,
    ) -> Result<Answer, Raised> {
        let Some(values) = values else {
            return Ok(self.nothing());
        };
        let datums = values.map(|value| value.datum);
        let nulls = values.map(|value| value.null);
        let (datums, nulls) = (datums.as_ptr(), nulls.as_ptr());
        let info = self.raw();
        let expected = self.expected();
        let store = self.store()?;
        // SAFETY: the descriptions live as long as the call; both arrays outlive the calls that
        // copy the values.
        let datum = unsafe {
            guard(|| {
                if let Some(store) = store {
                    raw::tuplestore_putvalues(store, expected, datums, nulls);
                    return Datum::null();
                }
                let mut description = expected;
                if description.is_null() {
                    raw::get_call_result_type(info, ptr::null_mut(), &raw mut description);
                }
                let description = raw::BlessTupleDesc(description);
                let row = raw::heap_form_tuple(description, datums, nulls);
                raw::HeapTupleHeaderGetDatum((*row).t_data)
            })
        }?;
        Ok(Answer(Some(Value {
            datum,
            null: false,
            kind: pg_sys::RECORDOID,
        })))
    }

    fn nothing(self) -> Answer {
        if let Some(set) = self.result_set() {
            // SAFETY: it lives as long as the call. Left as it is, `isDone` says that this is the
            // only value.
            unsafe { (*set).isDone = pg_sys::ExprDoneCond::ExprEndResult }
        }
        Answer(None)
    }

    /// What the query wants the rows put into, where it prefers that to a value and knows of what
    /// type they are: a scan of the function, which would copy the type's description for a value.
    fn store(self) -> Result<Option<*mut Tuplestorestate>, Raised> {
        const PREFERRED: SetFunctionReturnMode::Type =
            SetFunctionReturnMode::SFRM_Materialize_Preferred;
        let Some(set) = self.result_set() else {
            return Ok(None);
        };
        // SAFETY: what the query says of the set lives as long as the call, and the store as long
        // as the query.
        unsafe {
            let modes = (*set).allowedModes as SetFunctionReturnMode::Type;
            if modes & PREFERRED == 0 || (*set).expectedDesc.is_null() {
                return Ok(None);
            }
            let random = modes & SetFunctionReturnMode::SFRM_Materialize_Random != 0;
            let query = (*(*set).econtext).ecxt_per_query_memory;
            let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, query);
            let store = guard(|| raw::tuplestore_begin_heap(random, false, pg_sys::work_mem));
            pg_sys::CurrentMemoryContext = caller;
            let store = store?;
            (*set).returnMode = SetFunctionReturnMode::SFRM_Materialize;
            (*set).setResult = store;
            Ok(Some(store))
        }
    }

    /// Whether rows of this type have the columns that the query was planned for: the table may have
    /// been altered during the call. Rows in a store are not looked at again, as values are.
    fn expects(self, kind: Oid) -> Result<bool, Raised> {
        const COLUMNS: c_int = pg_sys::TYPECACHE_TUPDESC as c_int;
        let Some(expected) = self.expected_row() else {
            return Ok(false);
        };
        // SAFETY: the type cache keeps the description until the next change is heard of.
        unsafe {
            let columns = guard(|| (*raw::lookup_type_cache(kind, COLUMNS)).tupDesc)?;
            Ok(!columns.is_null()
                && types(&PgTupleDesc::from_pg_unchecked(columns)).eq(types(&expected)))
        }
    }

    fn expected(self) -> TupleDesc {
        let set = self.result_set();
        // SAFETY: it lives as long as the call.
        set.map_or(ptr::null_mut(), |set| unsafe { (*set).expectedDesc })
    }
}

// SAFETY: the value lives in the memory of the call, which stays until its result was used.
unsafe impl BoxRet for Answer {
    unsafe fn box_into<'fcx>(self, info: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
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
