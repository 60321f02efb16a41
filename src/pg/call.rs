//! The arguments of the SQL call in progress.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr;

use pgrx::PgTupleDesc;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, MemoryContext, NodeTag, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use super::array::items;
use super::guard::{Raised, guard};
use super::memory::{self, apart};
use super::refusal::{Expected, types};
use super::role::Role;
use super::value::{Kind, Value, plain};
use super::{catalog, raw, text};

/// The call that PostgreSQL is making, with arguments of any type.
#[derive(Clone, Copy)]
pub struct Call<'fcx> {
    info: FunctionCallInfo,
    /// Where what lives as long as the call is allocated.
    memory: MemoryContext,
    lent: PhantomData<&'fcx ()>,
}

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

    /// The object id of the function that is called.
    pub(super) fn function(self) -> Oid {
        // SAFETY: flinfo is set for every call that fmgr makes.
        unsafe { (*self.info().flinfo).fn_oid }
    }

    /// Whether the function that is called is declared to return a set.
    pub fn is_of_set(self) -> bool {
        // SAFETY: flinfo is set for every call that fmgr makes.
        unsafe { (*self.info().flinfo).fn_retset }
    }

    /// The argument at `index`, with the type that the caller gave it.
    pub fn value(self, index: usize) -> Result<Value<'fcx>, Raised> {
        let kind = self.kind(index)?;
        let argument = self.argument(index);
        if argument.isnull {
            return Ok(Value::absent(kind));
        }
        // SAFETY: the argument is of this type, and lives as long as the call.
        Ok(unsafe { Value::lent(argument.value, kind) })
    }

    /// The type of the argument at `index`.
    pub fn kind(self, index: usize) -> Result<Oid, Raised> {
        let function = self.info().flinfo;
        // SAFETY: flinfo is set for every call that fmgr makes; the look-ups are catalog reads.
        unsafe {
            if let Some(kind) = plain_type((*function).fn_expr, index) {
                return Ok(kind);
            }
            let kind = guard(|| raw::get_fn_expr_argtype(function, index as c_int))?;
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
        let Some(datum) = self.datum(index, types::TEXT)? else {
            return Ok(None);
        };
        let varlena = datum.cast_mut_ptr();
        // SAFETY: the argument is a text, and lives as long as the call.
        let bytes = unsafe {
            match plain(varlena) {
                Some(bytes) => bytes,
                None => match Value::lent(datum, pg_sys::TEXTOID).size()? {
                    size if size > limit => return Ok(Some(Err(size))),
                    _ => plain(self.detoasted(varlena)?).unwrap_or_default(),
                },
            }
        };
        Ok(Some(
            (bytes.len() <= limit).then_some(bytes).ok_or(bytes.len()),
        ))
    }

    /// The whole of a varlena, in memory of the call.
    ///
    /// # Safety
    /// It is one, and lives as long as the call.
    pub(super) unsafe fn detoasted(
        self,
        varlena: *mut pg_sys::varlena,
    ) -> Result<*mut pg_sys::varlena, Raised> {
        // SAFETY: the caller's promise.
        unsafe {
            match pgrx::varatt_is_4b_u(varlena) {
                true => Ok(varlena),
                false => self.allocating(|| guard(|| raw::pg_detoast_datum(varlena))),
            }
        }
    }

    /// Runs `act` with memory that lives as long as the call.
    pub(super) fn allocating<T>(self, act: impl FnOnce() -> T) -> T {
        // SAFETY: switches back to the memory that it came with.
        unsafe {
            let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, self.memory);
            let done = act();
            pg_sys::CurrentMemoryContext = caller;
            done
        }
    }

    /// Whether the argument at `index` is the last one, and of type text.
    pub fn ends_with_text(self, index: usize) -> Result<bool, Raised> {
        Ok(self.len() == index + 1 && self.kind(index)? == pg_sys::TEXTOID)
    }

    /// A jsonb argument.
    pub fn jsonb(self, index: usize) -> Result<Value<'fcx>, Raised> {
        Ok(match self.datum(index, types::JSONB)? {
            // SAFETY: the argument is a jsonb, and lives as long as the call.
            Some(datum) => unsafe { Value::lent(datum, pg_sys::JSONBOID) },
            None => Value::null_json(),
        })
    }

    /// A jsonb argument as JSON text in UTF-8; the inner option is none where the database holds
    /// bytes that are not valid text.
    pub fn json(self, index: usize) -> Result<Option<Option<String>>, Raised> {
        let Some(datum) = self.datum(index, types::JSONB)? else {
            return Ok(None);
        };
        // SAFETY: the argument is a jsonb; jsonb_out returns a C string.
        unsafe {
            apart(|| {
                let printed = guard(|| {
                    raw::DirectFunctionCall1Coll(Some(raw::jsonb_out), pg_sys::InvalidOid, datum)
                })?;
                text::from_c(printed.cast_mut_ptr()).map(Some)
            })
        }
    }

    /// An argument of type interval or `once.duration`, which is stored alike.
    pub fn interval(self, index: usize) -> Result<Option<Interval>, Raised> {
        let datum = match self.present(index) {
            Some(datum) if catalog::is_duration(self.kind(index)?)? => Some(datum),
            Some(_) => self.datum(index, types::INTERVAL)?,
            None => None,
        };
        // SAFETY: the argument is an interval, which is passed by reference.
        Ok(datum.map(|datum| unsafe { *datum.cast_mut_ptr::<pg_sys::Interval>() }.into()))
    }

    /// The same, NULL included, as a value of type interval.
    pub fn interval_value(self, index: usize) -> Result<Value<'fcx>, Raised> {
        self.interval(index)?;
        Ok(self.value(index)?.relabeled(pg_sys::INTERVALOID))
    }

    pub fn c_string(self, index: usize) -> Result<Option<&'fcx CStr>, Raised> {
        let datum = self.datum(index, types::CSTRING)?;
        // SAFETY: the argument is a C string, and lives as long as the call.
        Ok(datum.map(|datum| unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }))
    }

    /// The interval that a C string is read as.
    pub fn parsed_interval(self, index: usize) -> Result<Value<'static>, Raised> {
        let kind = Kind::of(pg_sys::INTERVALOID, -1)?;
        match self.c_string(index)? {
            // SAFETY: it is a C string.
            Some(text) => unsafe { Value::parse_c(text.as_ptr(), kind) },
            None => Ok(Value::null(kind)),
        }
    }

    /// A bigint argument.
    pub fn integer(self, index: usize) -> Result<Option<i64>, Raised> {
        let datum = self.datum(index, types::BIGINT)?;
        Ok(datum.map(|datum| datum.value() as i64))
    }

    /// An integer argument.
    pub fn int4(self, index: usize) -> Result<Option<i32>, Raised> {
        let datum = self.datum(index, types::INTEGER)?;
        Ok(datum.map(|datum| datum.value() as i32))
    }

    /// A timestamptz argument, in microseconds since 2000-01-01 UTC.
    pub fn timestamp(self, index: usize) -> Result<Option<i64>, Raised> {
        let datum = self.datum(index, types::TIMESTAMPTZ)?;
        Ok(datum.map(|datum| datum.value() as i64))
    }

    /// A regrole argument.
    pub fn role(self, index: usize) -> Result<Option<Role>, Raised> {
        let datum = self.datum(index, types::REGROLE)?;
        Ok(datum.map(|datum| Role(Oid::from(datum.value() as u32))))
    }

    /// The object id that a regclass argument is.
    pub(super) fn relation(self, index: usize) -> Result<Option<Oid>, Raised> {
        let datum = self.datum(index, types::REGCLASS)?;
        Ok(datum.map(|datum| Oid::from(datum.value() as u32)))
    }

    /// An oid argument.
    pub(super) fn oid(self, index: usize) -> Result<Option<Oid>, Raised> {
        let datum = self.datum(index, types::OID)?;
        Ok(datum.map(|datum| Oid::from(datum.value() as u32)))
    }

    pub fn boolean(self, index: usize) -> Result<Option<bool>, Raised> {
        let datum = self.datum(index, types::BOOLEAN)?;
        Ok(datum.map(|datum| datum.value() as u8 != 0))
    }

    /// The values that make a key: the arguments from `first` on. An array given with VARIADIC,
    /// or collected into one by PostgreSQL, counts as its elements; none is a NULL array. `Err` of
    /// their number where they are more than `limit`.
    pub fn parts(
        self,
        first: usize,
        limit: usize,
    ) -> Result<Option<Result<Vec<Value<'fcx>>, usize>>, Raised> {
        let info = self.info();
        // SAFETY: flinfo is set for every call that fmgr makes.
        let variadic = unsafe { pg_sys::get_fn_expr_variadic(info.flinfo) };
        let collected = self.len() == first + 1
            && self.kind(first)? == pg_sys::TEXTARRAYOID
            && self.declares_text_array()?;
        if variadic || collected {
            let last = self.len().saturating_sub(1);
            return self.elements(last, limit);
        }
        let arguments = first..self.len();
        if arguments.len() > limit {
            return Ok(Some(Err(arguments.len())));
        }
        arguments
            .map(|index| self.value(index))
            .collect::<Result<_, _>>()
            .map(|values| Some(Ok(values)))
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
            let is_set = !result.is_null() && (*result).type_ == NodeTag::T_ReturnSetInfo;
            is_set.then_some(result)
        }
    }

    /// The elements of the array that is the argument at `index`; none of a NULL array, `Err` of
    /// their number where they are more than `limit`.
    fn elements(
        self,
        index: usize,
        limit: usize,
    ) -> Result<Option<Result<Vec<Value<'fcx>>, usize>>, Raised> {
        let value = self.value(index)?;
        if !text::is_array(value.kind)? {
            return Err(types::ARRAY.not_argument(index, value.kind));
        }
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: the argument is an array; deconstruct_array writes the arrays it allocates. The
        // elements stand in the array, which lives as long as the call.
        unsafe {
            let array = self.detoasted(value.datum.cast_mut_ptr())?;
            let number = items(array.cast());
            if number > limit {
                return Ok(Some(Err(number)));
            }
            let (datums, nulls, count, kind) = guard(|| {
                let array = array.cast::<pg_sys::ArrayType>();
                let kind = (*array).elemtype;
                let (mut length, mut by_value, mut align) = (0, false, 0);
                raw::get_typlenbyvalalign(kind, &raw mut length, &raw mut by_value, &raw mut align);
                let (mut datums, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
                raw::deconstruct_array(
                    array,
                    kind,
                    length.into(),
                    by_value,
                    align,
                    &raw mut datums,
                    &raw mut nulls,
                    &raw mut count,
                );
                (datums, nulls, count, kind)
            })?;
            let element = |i: usize| match *nulls.add(i) {
                true => Value::absent(kind),
                false => Value::lent(*datums.add(i), kind),
            };
            Ok(Some(Ok((0..count as usize).map(element).collect())))
        }
    }

    /// Whether the function is declared with a variadic text[], not with VARIADIC "any".
    fn declares_text_array(self) -> Result<bool, Raised> {
        // SAFETY: flinfo is set for every call that fmgr makes; a catalog read.
        let kind = unsafe {
            let function = (*self.info().flinfo).fn_oid;
            guard(|| raw::get_func_variadictype(function))
        }?;
        Ok(kind == pg_sys::TEXTOID)
    }

    /// The argument at `index`, which is of this type; none where it is null.
    pub(super) fn datum(self, index: usize, expected: Expected) -> Result<Option<Datum>, Raised> {
        if index >= self.len() {
            return Ok(None);
        }
        let kind = self.kind(index)?;
        if !expected.is(kind) && !expected.is(text::base_type(kind)?) {
            return Err(expected.not_argument(index, kind));
        }
        Ok(self.present(index))
    }

    /// The argument, where it is not NULL.
    fn present(self, index: usize) -> Option<Datum> {
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
        self.info
    }

    fn info(self) -> &'fcx pg_sys::FunctionCallInfoBaseData {
        // SAFETY: the pointer is the one fmgr passed for the call in progress.
        unsafe { &*self.info }
    }
}

/// The type of an argument of a function call that is a constant, a parameter, a column or a mere
/// change of type, read from the plan.
unsafe fn plain_type(call: *const pg_sys::Node, index: usize) -> Option<Oid> {
    // SAFETY: the caller passes null or an expression; a node is what its tag says that it is.
    unsafe {
        if call.is_null() || (*call).type_ != NodeTag::T_FuncExpr {
            return None;
        }
        let arguments = (*call.cast::<pg_sys::FuncExpr>()).args;
        if arguments.is_null() || index >= (*arguments).length as usize {
            return None;
        }
        let argument = (*(*arguments).elements.add(index)).ptr_value;
        match (*argument.cast::<pg_sys::Node>()).type_ {
            NodeTag::T_Const => Some((*argument.cast::<pg_sys::Const>()).consttype),
            NodeTag::T_Param => Some((*argument.cast::<pg_sys::Param>()).paramtype),
            NodeTag::T_Var => Some((*argument.cast::<pg_sys::Var>()).vartype),
            NodeTag::T_RelabelType => Some((*argument.cast::<pg_sys::RelabelType>()).resulttype),
            _ => None,
        }
    }
}

// SAFETY: takes the same place as FunctionCallInfo, to which it delegates; it is no SQL argument.
unsafe impl<'fcx> ArgAbi<'fcx> for Call<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller's promise is the one that FunctionCallInfo asks for. A function is called
        // with memory that lives as long as the call; that of one that returns a set, as the set.
        memory::keep_reserve();
        unsafe {
            Self {
                info: FunctionCallInfo::unbox_arg_unchecked(arg),
                memory: pg_sys::CurrentMemoryContext,
                lent: PhantomData,
            }
        }
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
