//! What a function answers that is declared to return a set and returns one row at most.
//!
//! A set of pgrx is asked again until it ends, and has a memory of its own meanwhile. One row is
//! said in one call: put into a store where the query prefers one, else as a value.

use std::ffi::c_int;
use std::marker::PhantomData;
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
use super::plan;
use super::raw;
use super::refusal::{self, Refusal};
use super::table::types;
use super::text;
use super::value::Value;

/// A set of one value, or of none: the answer to the call that made it.
pub struct Answer<'fcx> {
    /// In memory that lives as long as the call.
    datum: Option<Datum>,
    lent: PhantomData<&'fcx ()>,
}

impl<'fcx> Call<'fcx> {
    /// A row of a table, or nothing. One that has not the columns that the query was planned for is
    /// refused: the table may have been altered during the call, unless it `is_unaltered`.
    pub fn answer(self, value: Option<Value>, is_unaltered: bool) -> Result<Answer<'fcx>, Raised> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(self.nothing());
        };
        if !is_unaltered {
            self.demand_columns(value.kind)?;
        }
        if let Some(store) = self.store()? {
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
            return Ok(self.one(Datum::null()));
        }
        Ok(self.one(self.allocating(|| value.into_call())?))
    }

    /// A row of these values, which are as many as the columns that the call returns, and of their
    /// types.
    pub fn answer_columns<const COLUMNS: usize>(
        self,
        values: Option<[Value; COLUMNS]>,
    ) -> Result<Answer<'fcx>, Raised> {
        let Some(values) = values else {
            return Ok(self.nothing());
        };
        let info = self.raw();
        let mut rows = self.expected();
        if rows.is_null() {
            let rows = &raw mut rows;
            // SAFETY: the call in progress.
            unsafe { guard(|| raw::get_call_result_type(info, ptr::null_mut(), rows)) }?;
        }
        if rows.is_null() {
            return Err(refusal::types::ROW.not_value(pg_sys::RECORDOID));
        }
        // SAFETY: the description lives as long as the call.
        let columns = unsafe { PgTupleDesc::from_pg_unchecked(rows) };
        for (i, value) in values.iter().enumerate() {
            let kind = columns
                .get(i)
                .map_or(Oid::INVALID, |column| column.atttypid);
            if kind != value.kind && (kind == Oid::INVALID || text::base_type(kind)? != value.kind)
            {
                return Err(refusal::types::ROW.not_column(i, kind));
            }
        }
        if columns.len() != COLUMNS {
            return Err(refusal::types::ROW.not_value(pg_sys::RECORDOID));
        }
        let datums = values.each_ref().map(|value| value.datum);
        let nulls = values.each_ref().map(|value| value.null);
        let (datums, nulls) = (datums.as_ptr(), nulls.as_ptr());
        let store = self.store()?;
        // SAFETY: the descriptions live as long as the call; both arrays have an entry of its type
        // for each column, and outlive the calls that copy the values.
        let datum = self.allocating(|| unsafe {
            guard(|| {
                if let Some(store) = store {
                    raw::tuplestore_putvalues(store, rows, datums, nulls);
                    return Datum::null();
                }
                let row = raw::heap_form_tuple(raw::BlessTupleDesc(rows), datums, nulls);
                raw::HeapTupleHeaderGetDatum((*row).t_data)
            })
        })?;
        Ok(self.one(datum))
    }

    fn one(self, datum: Datum) -> Answer<'fcx> {
        Answer {
            datum: Some(datum),
            lent: PhantomData,
        }
    }

    fn nothing(self) -> Answer<'fcx> {
        if let Some(set) = self.result_set() {
            // SAFETY: it lives as long as the call. Left as it is, `isDone` says that this is the
            // only value.
            unsafe { (*set).isDone = pg_sys::ExprDoneCond::ExprEndResult }
        }
        Answer {
            datum: None,
            lent: PhantomData,
        }
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

    /// Raises an error where rows of this type have other columns than the query was planned for.
    fn demand_columns(self, kind: Oid) -> Result<(), Raised> {
        const COLUMNS: c_int = pg_sys::TYPECACHE_TUPDESC as c_int;
        let Some(expected) = self.expected_row() else {
            return Ok(());
        };
        // SAFETY: the type cache keeps the description until the next change is heard of.
        let are_there = unsafe {
            let columns = guard(|| (*raw::lookup_type_cache(kind, COLUMNS)).tupDesc)?;
            !columns.is_null()
                && types(&PgTupleDesc::from_pg_unchecked(columns)).eq(types(&expected))
        };
        match are_there {
            true => Ok(()),
            false => {
                plan::invalidate();
                Err(Raised::Refused(Refusal::RowChanged))
            }
        }
    }

    fn expected(self) -> TupleDesc {
        let set = self.result_set();
        // SAFETY: it lives as long as the call.
        set.map_or(ptr::null_mut(), |set| unsafe { (*set).expectedDesc })
    }
}

// SAFETY: the datum lives in the memory of the call, which stays until its result was used.
unsafe impl BoxRet for Answer<'_> {
    unsafe fn box_into<'fcx>(self, info: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        match self.datum {
            // SAFETY: it is a row, or nobody looks at it where rows are in a store.
            Some(datum) => unsafe { info.return_raw_datum(datum) },
            None => info.return_null(),
        }
    }
}

// SAFETY: no SQL type stands behind it; the declaration in `sql/` says what is returned.
unsafe impl SqlTranslatable for Answer<'_> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_sql_entity_graph::pgrx_resolved_type!(Answer);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Skip));
}
