//! The arguments of the SQL call in progress.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;

use pgrx::PgTupleDesc;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys::{self, FunctionCallInfo, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::guard::{Raised, guard};
use super::role::Role;
use super::value::Value;
use super::{raw, text};

/// The call that PostgreSQL is making, with arguments of any type.
#[derive(Clone, Copy)]
pub struct Call<'fcx>(FunctionCallInfo, PhantomData<&'fcx ()>);

/// An interval as PostgreSQL stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl From<pg_sys::Interval> for Interval {
    fn from(interval: pg_sys::Interval) -> Self {
        Self {
            months: interval.month,
            days: interval.day,
            micros: interval.time,
        }
    }
}

impl<'fcx> Call<'fcx> {
    pub fn len(self) -> usize {
        self.info().nargs as usize
    }

    /// The argument at `index`, with the type that the caller gave it.
    pub fn value(self, index: usize) -> Result<Value, Raised> {
        let kind = self.kind(index)?;
        let argument = self.argument(index);
        Ok(Value {
            datum: argument.value,
            null: argument.isnull,
            kind,
        })
    }

    /// The type of the argument at `index`.
    pub fn kind(self, index: usize) -> Result<Oid, Raised> {
        let function = self.info().flinfo;
        // SAFETY: flinfo is set for every call that fmgr makes; the look-ups are catalog reads.
        unsafe {
            let kind = pg_sys::get_fn_expr_argtype(function, index as c_int);
            if kind != Oid::INVALID {
                return Ok(kind);
            }
            // A caller inside the server that built no expression: the declared type counts.
            let id = (*function).fn_oid;
            let (mut types, mut count) = (ptr::null_mut::<Oid>(), 0);
            guard(|| raw::get_func_signature(id, &raw mut types, &raw mut count))?;
            Ok(if (index as c_int) < count {
                *types.add(index)
            } else {
                Oid::INVALID
            })
        }
    }

    /// A text argument of at most `limit` bytes; `Err` of its size where it is longer.
    pub fn text(
        self,
        index: usize,
        limit: usize,
    ) -> Result<Option<Result<&'fcx [u8], usize>>, Raised> {
        let argument = self.argument(index);
        if argument.isnull {
            return Ok(None);
        }
        let value = Value {
            datum: argument.value,
            null: false,
            kind: pg_sys::TEXTOID,
        };
        if let Some(bytes) = value.plain() {
            return Ok(Some(
                (bytes.len() <= limit).then_some(bytes).ok_or(bytes.len()),
            ));
        }
        Ok(Some(match value.size()? {
            size if size > limit => Err(size),
            _ => Ok(value.bytes()?),
        }))
    }

    /// Whether the argument at `index` is the last one, and of type text.
    pub fn ends_with_text(self, index: usize) -> Result<bool, Raised> {
        Ok(self.len() == index + 1 && self.kind(index)? == pg_sys::TEXTOID)
    }

    /// A jsonb argument as JSON text in UTF-8; the inner option is none where the database holds
    /// bytes that are not valid text.
    pub fn json(self, index: usize) -> Result<Option<Option<String>>, Raised> {
        let argument = self.argument(index);
        if argument.isnull {
            return Ok(None);
        }
        // SAFETY: the argument is declared jsonb; jsonb_out returns a C string.
        let printed = unsafe {
            guard(|| {
                raw::DirectFunctionCall1Coll(
                    Some(raw::jsonb_out),
                    pg_sys::InvalidOid,
                    argument.value,
                )
            })
        }?;
        text::from_c(printed.cast_mut_ptr()).map(Some)
    }

    pub fn interval(self, index: usize) -> Option<Interval> {
        let argument = self.argument(index);
        if argument.isnull {
            return None;
        }
        // SAFETY: the argument is declared interval, which is passed by reference.
        let interval = unsafe { *argument.value.cast_mut_ptr::<pg_sys::Interval>() };
        Some(interval.into())
    }

    /// A bigint or integer argument.
    pub fn integer(self, index: usize) -> Option<i64> {
        let argument = self.argument(index);
        (!argument.isnull).then(|| argument.value.value() as i64)
    }

    pub fn role(self, index: usize) -> Option<Role> {
        let argument = self.argument(index);
        (!argument.isnull).then(|| Role(Oid::from(argument.value.value() as u32)))
    }

    /// The object id that a regclass argument is.
    pub(super) fn relation(self, index: usize) -> Option<Oid> {
        let argument = self.argument(index);
        (!argument.isnull).then(|| Oid::from(argument.value.value() as u32))
    }

    pub fn boolean(self, index: usize) -> Option<bool> {
        let argument = self.argument(index);
        (!argument.isnull).then(|| argument.value.value() != 0)
    }

    /// The values that make a key: the arguments from `first` on. An array given with VARIADIC,
    /// or collected into one by PostgreSQL, counts as its elements; none is a NULL array.
    pub fn parts(self, first: usize) -> Result<Option<Vec<Value>>, Raised> {
        let info = self.info();
        // SAFETY: flinfo is set for every call that fmgr makes.
        let variadic = unsafe { pg_sys::get_fn_expr_variadic(info.flinfo) };
        let collected = self.len() == first + 1
            && self.kind(first)? == pg_sys::TEXTARRAYOID
            && self.declares_text_array();
        if variadic || collected {
            return self.value(self.len() - 1)?.elements();
        }
        (first..self.len())
            .map(|index| self.value(index))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The row type that the query expects of a function that returns a set of rows.
    pub(super) fn expected_row(self) -> Option<PgTupleDesc<'fcx>> {
        // SAFETY: what the query says of the set, and the description that it points to, live as
        // long as the call.
        unsafe {
            let expected = (*self.result_set()?).expectedDesc;
            (!expected.is_null()).then(|| PgTupleDesc::from_pg_unchecked(expected))
        }
    }

    /// What the query says of the set that the function returns, where it can take one.
    pub(super) fn result_set(self) -> Option<*mut pg_sys::ReturnSetInfo> {
        let result = self.info().resultinfo.cast::<pg_sys::ReturnSetInfo>();
        // SAFETY: resultinfo is null or a node.
        unsafe {
            let is_set = !result.is_null() && (*result).type_ == pg_sys::NodeTag::T_ReturnSetInfo;
            is_set.then_some(result)
        }
    }

    /// Whether the function is declared with a variadic text[], not with VARIADIC "any".
    fn declares_text_array(self) -> bool {
        // SAFETY: flinfo is set for every call that fmgr makes; a catalog read.
        unsafe { pg_sys::get_func_variadictype((*self.info().flinfo).fn_oid) == pg_sys::TEXTOID }
    }

    /// The argument at `index`, none where it is null.
    pub(super) fn datum(self, index: usize) -> Option<pg_sys::Datum> {
        let argument = self.argument(index);
        (!argument.isnull).then_some(argument.value)
    }

    fn argument(self, index: usize) -> pg_sys::NullableDatum {
        let info = self.info();
        if index >= info.nargs as usize {
            return pg_sys::NullableDatum {
                value: pg_sys::Datum::null(),
                isnull: true,
            };
        }
        // SAFETY: fmgr passes `nargs` arguments behind the struct.
        unsafe { info.args.as_ptr().add(index).read() }
    }

    pub(super) fn raw(self) -> FunctionCallInfo {
        self.0
    }

    fn info(self) -> &'fcx pg_sys::FunctionCallInfoBaseData {
        // SAFETY: the pointer is the one fmgr passed for the call in progress.
        unsafe { &*self.0 }
    }
}

impl Value {
    /// The elements of an array value; none of a NULL array.
    fn elements(self) -> Result<Option<Vec<Self>>, Raised> {
        if self.null {
            return Ok(None);
        }
        // SAFETY: callers pass array values only; deconstruct_array writes the arrays it allocates.
        unsafe {
            let array =
                pg_sys::pg_detoast_datum(self.datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let kind = (*array).elemtype;
            let (mut length, mut by_value, mut align) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(kind, &raw mut length, &raw mut by_value, &raw mut align);
            let (mut datums, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
            pg_sys::deconstruct_array(
                array,
                kind,
                length.into(),
                by_value,
                align,
                &raw mut datums,
                &raw mut nulls,
                &raw mut count,
            );
            Ok(Some(
                (0..count as usize)
                    .map(|i| Self {
                        datum: *datums.add(i),
                        null: *nulls.add(i),
                        kind,
                    })
                    .collect(),
            ))
        }
    }
}

// SAFETY: takes the same place as FunctionCallInfo, to which it delegates; it is no SQL argument.
unsafe impl<'fcx> ArgAbi<'fcx> for Call<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller's promise is the one that FunctionCallInfo asks for.
        Self(
            unsafe { FunctionCallInfo::unbox_arg_unchecked(arg) },
            PhantomData,
        )
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: no SQL type stands behind it.
unsafe impl SqlTranslatable for Call<'_> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_sql_entity_graph::pgrx_resolved_type!(Call);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Skip));
}
