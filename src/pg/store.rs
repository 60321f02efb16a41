//! The result of a function that returns a set: rows, kept outside memory when they are many.

use std::marker::PhantomData;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, TupleDesc, Tuplestorestate};

use super::Call;
use super::guard::{Raised, guard};
use super::raw;
use super::spi::Rows;
use super::value::Value;

/// The rows that the SQL call in progress returns.
pub struct Store<'fcx> {
    rows: *mut Tuplestorestate,
    description: TupleDesc,
    call: PhantomData<&'fcx ()>,
}

impl<'fcx> Store<'fcx> {
    /// Makes the call return what is put here. It must return nothing else.
    pub fn of(call: Call<'fcx>) -> Result<Self, Raised> {
        let info = call.raw();
        // SAFETY: the call in progress; where it cannot take a set the server raises an error.
        unsafe {
            guard(|| raw::InitMaterializedSRF(info, 0))?;
            let result = (*info).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            Ok(Self {
                rows: (*result).setResult,
                description: (*result).setDesc,
                call: PhantomData,
            })
        }
    }

    /// Adds a row that a statement returned.
    pub fn copy(&self, rows: &Rows, row: usize) -> Result<(), Raised> {
        let columns = self.columns();
        let values: Vec<Option<Value>> = (0..columns)
            .map(|column| rows.value(row, column))
            .collect::<Result<_, _>>()?;
        self.add(&values)
    }

    /// The same, with another value in one of the columns.
    pub fn copy_with(
        &self,
        rows: &Rows,
        row: usize,
        (changed, value): (usize, Value),
    ) -> Result<(), Raised> {
        let columns = self.columns();
        let mut values: Vec<Option<Value>> = (0..columns)
            .map(|column| rows.value(row, column))
            .collect::<Result<_, _>>()?;
        if let Some(place) = values.get_mut(changed) {
            *place = Some(value);
        }
        self.add(&values)
    }

    /// Adds a row of these values.
    pub fn put(&self, values: &[Value]) -> Result<(), Raised> {
        let values: Vec<Option<Value>> = values.iter().cloned().map(Some).collect();
        self.add(&values)
    }

    /// A value that is missing, or not of its column's type, becomes NULL.
    fn add(&self, values: &[Option<Value>]) -> Result<(), Raised> {
        // SAFETY: the description lives as long as the call.
        let description = unsafe { PgTupleDesc::from_pg_unchecked(self.description) };
        let (mut datums, mut nulls) = (Vec::new(), Vec::new());
        for (i, attribute) in description.iter().enumerate() {
            let value = values
                .get(i)
                .and_then(Option::as_ref)
                .filter(|value| !value.null && value.kind == attribute.atttypid);
            datums.push(value.map_or(Datum::null(), |value| value.datum));
            nulls.push(value.is_none());
        }
        let (rows, description) = (self.rows, self.description);
        let (datums, nulls) = (datums.as_ptr(), nulls.as_ptr());
        // SAFETY: both arrays have an entry for each column, and outlive the call, which copies
        // the values.
        unsafe { guard(|| raw::tuplestore_putvalues(rows, description, datums, nulls)) }
    }

    fn columns(&self) -> usize {
        // SAFETY: the description lives as long as the call.
        unsafe { (*self.description).natts as usize }
    }
}
