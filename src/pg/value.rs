//! A typed SQL value.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::slice;

use pgrx::FromDatum;
use pgrx::datum::AnyElement;
use pgrx::pg_sys::{self, ArrayType, Datum, Oid};

use super::block::Block;
use super::guard::{Raised, guard};
use super::memory::with_room;
use super::raw;
use super::refusal::types::VARLENA;
use super::role::Role;
use crate::storage_key::StorageKey;

/// A datum with its type. What it points to is its own, or lent to it for `'a`: memory of the SQL
/// call, or of the rows of a statement.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    pub(super) datum: Datum,
    pub(super) null: bool,
    pub(super) kind: Oid,
    own: Option<Block>,
    lent: PhantomData<&'a [u8]>,
}

/// The type of a column or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub(super) oid: Oid,
    pub(super) typmod: i32,
    /// The type below any domains.
    pub(super) base: Oid,
    input: Oid,
    input_parameter: Oid,
    pub(super) length: i16,
    pub(super) by_value: bool,
}

impl Kind {
    pub(super) fn of(oid: Oid, typmod: i32) -> Result<Self, Raised> {
        let (mut input, mut input_parameter) = (Oid::INVALID, Oid::INVALID);
        let (mut length, mut by_value) = (0, false);
        // SAFETY: catalog look-ups, which raise an error where the type is gone.
        let base = unsafe {
            guard(|| {
                raw::getTypeInputInfo(oid, &raw mut input, &raw mut input_parameter);
                raw::get_typlenbyval(oid, &raw mut length, &raw mut by_value);
                raw::getBaseType(oid)
            })
        }?;
        Ok(Self {
            oid,
            typmod,
            base,
            input,
            input_parameter,
            length,
            by_value,
        })
    }

    /// json and jsonb take a JSON text of any shape as it is.
    pub fn is_json(self) -> bool {
        self.base == pg_sys::JSONOID || self.base == pg_sys::JSONBOID
    }

    /// Whether the type takes 'now' as the present time.
    pub fn is_time(self) -> bool {
        [
            pg_sys::DATEOID,
            pg_sys::TIMEOID,
            pg_sys::TIMETZOID,
            pg_sys::TIMESTAMPOID,
            pg_sys::TIMESTAMPTZOID,
        ]
        .contains(&self.base)
    }

    pub fn is_integer(self) -> bool {
        [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&self.base)
    }
}

impl Value<'static> {
    /// SQL NULL of `kind`.
    pub fn null(kind: Kind) -> Self {
        Self::absent(kind.base)
    }

    pub(super) fn absent(kind: Oid) -> Self {
        Self {
            datum: Datum::null(),
            null: true,
            kind,
            own: None,
            lent: PhantomData,
        }
    }

    /// A datum of a type that is passed by value.
    pub(super) fn immediate(datum: Datum, kind: Oid) -> Self {
        Self {
            datum,
            null: false,
            kind,
            own: None,
            lent: PhantomData,
        }
    }

    fn owned(own: Block, kind: Oid) -> Self {
        Self {
            datum: Datum::from(own.start()),
            null: false,
            kind,
            own: Some(own),
            lent: PhantomData,
        }
    }

    /// A copy of the datum.
    ///
    /// # Safety
    /// It is one of the type `kind`, which has this length and is passed so, and not expanded in
    /// memory.
    pub(super) unsafe fn copy(
        datum: Datum,
        kind: Oid,
        length: i16,
        by_value: bool,
    ) -> Result<Self, Raised> {
        if by_value {
            return Ok(Self::immediate(datum, kind));
        }
        // SAFETY: the caller's promise.
        unsafe {
            let start = datum.cast_mut_ptr::<u8>();
            let size = match length {
                -1 => pgrx::varsize_any(start.cast()),
                -2 => CStr::from_ptr(start.cast()).count_bytes() + 1,
                length => length.unsigned_abs().into(),
            };
            Ok(Self::owned(Block::copy(start, size)?, kind))
        }
    }

    pub fn text(bytes: &[u8]) -> Result<Self, Raised> {
        let size = HEADER + bytes.len();
        let own = Block::zeroed(size)?;
        // SAFETY: the block has room for the header and the bytes.
        unsafe {
            pgrx::set_varsize_4b(own.start().cast(), size as i32);
            ptr::copy_nonoverlapping(bytes.as_ptr(), own.start().add(HEADER), bytes.len());
        }
        Ok(Self::owned(own, pg_sys::TEXTOID))
    }

    /// A text of these bytes, or its NULL.
    pub fn text_or_null(bytes: Option<&[u8]>) -> Result<Self, Raised> {
        bytes.map_or_else(|| Ok(Self::absent(pg_sys::TEXTOID)), Self::text)
    }

    pub fn integer(number: i64) -> Self {
        Self::immediate(Datum::from(number), pg_sys::INT8OID)
    }

    /// A bigint, or its NULL.
    pub fn integer_or_null(number: Option<i64>) -> Self {
        number.map_or_else(|| Self::absent(pg_sys::INT8OID), Self::integer)
    }

    pub fn int2(number: i16) -> Self {
        Self::immediate(Datum::from(number), pg_sys::INT2OID)
    }

    pub fn int4(number: i32) -> Self {
        Self::immediate(Datum::from(number), pg_sys::INT4OID)
    }

    /// An integer, or its NULL.
    pub fn int4_or_null(number: Option<i32>) -> Self {
        number.map_or_else(|| Self::absent(pg_sys::INT4OID), Self::int4)
    }

    pub fn boolean(is: bool) -> Self {
        Self::immediate(Datum::from(is), pg_sys::BOOLOID)
    }

    /// A value of type "char".
    pub fn letter(letter: u8) -> Self {
        Self::immediate(Datum::from(letter), pg_sys::CHAROID)
    }

    /// A timestamptz of these microseconds since 2000-01-01, or its NULL.
    pub fn timestamp(at: Option<i64>) -> Self {
        match at {
            Some(at) => Self::immediate(Datum::from(at), pg_sys::TIMESTAMPTZOID),
            None => Self::absent(pg_sys::TIMESTAMPTZOID),
        }
    }

    pub fn role(role: Role) -> Self {
        Self::immediate(Datum::from(role.0), pg_sys::REGROLEOID)
    }

    /// The jsonb of an object without members.
    pub fn empty_json() -> Result<Self, Raised> {
        Self::parse("{}", Kind::of(pg_sys::JSONBOID, -1)?)
    }

    pub fn null_json() -> Self {
        Self::absent(pg_sys::JSONBOID)
    }

    /// A uuid of these bytes.
    pub fn uuid(bytes: [u8; 16]) -> Result<Self, Raised> {
        // SAFETY: a uuid is its 16 bytes.
        let own = unsafe { Block::copy(bytes.as_ptr(), bytes.len()) }?;
        Ok(Self::owned(own, pg_sys::UUIDOID))
    }

    /// A uuid of these bytes, or its NULL.
    pub fn uuid_or_null(bytes: Option<[u8; 16]>) -> Result<Self, Raised> {
        bytes.map_or_else(|| Ok(Self::absent(pg_sys::UUIDOID)), Self::uuid)
    }

    /// The columns of a storage key.
    pub fn storage_key(storage_key: StorageKey) -> [Self; 4] {
        let columns = storage_key.columns();
        [
            Self::int2(columns.place_high),
            Self::int2(columns.place_low),
            Self::int4(columns.hash_high),
            Self::integer(columns.hash_low),
        ]
    }

    /// The same of many, an array for each column.
    pub fn storage_keys(
        storage_keys: impl Iterator<Item = StorageKey> + Clone,
    ) -> Result<[Self; 4], Raised> {
        let columns = storage_keys.map(StorageKey::columns);
        Ok([
            Self::int2s(&Vec::from_iter(columns.clone().map(|key| key.place_high)))?,
            Self::int2s(&Vec::from_iter(columns.clone().map(|key| key.place_low)))?,
            Self::int4s(&Vec::from_iter(columns.clone().map(|key| key.hash_high)))?,
            Self::integers(&Vec::from_iter(columns.map(|key| key.hash_low)))?,
        ])
    }

    /// An array of smallints.
    fn int2s(numbers: &[i16]) -> Result<Self, Raised> {
        Self::numbers(numbers, pg_sys::INT2OID, pg_sys::INT2ARRAYOID)
    }

    /// An array of integers.
    fn int4s(numbers: &[i32]) -> Result<Self, Raised> {
        Self::numbers(numbers, pg_sys::INT4OID, pg_sys::INT4ARRAYOID)
    }

    /// An array of bigints.
    pub fn integers(numbers: &[i64]) -> Result<Self, Raised> {
        Self::numbers(numbers, pg_sys::INT8OID, pg_sys::INT8ARRAYOID)
    }

    /// An array of type `kind` of numbers that are of type `element`.
    fn numbers<N: Copy>(numbers: &[N], element: Oid, kind: Oid) -> Result<Self, Raised> {
        let own = array(numbers.len(), element, size_of_val(numbers))?;
        // SAFETY: behind the header, whose size is a multiple of eight, there is room for the numbers.
        unsafe {
            let elements = own.start().add(ARRAY_HEADER).cast::<N>();
            ptr::copy_nonoverlapping(numbers.as_ptr(), elements, numbers.len());
        }
        Ok(Self::owned(own, kind))
    }

    /// An array of texts of these bytes.
    pub fn texts<T: AsRef<[u8]>>(texts: &[T]) -> Result<Self, Raised> {
        let place = |text: &T| (HEADER + text.as_ref().len()).next_multiple_of(ALIGNED);
        let own = array(
            texts.len(),
            pg_sys::TEXTOID,
            texts.iter().map(place).sum::<usize>(),
        )?;
        let mut at = ARRAY_HEADER;
        for text in texts {
            // SAFETY: behind the header there is room for all texts, each with its own header.
            unsafe {
                let start = own.start().add(at);
                let bytes = text.as_ref();
                pgrx::set_varsize_4b(start.cast(), (HEADER + bytes.len()) as i32);
                ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(HEADER), bytes.len());
            }
            at += place(text);
        }
        Ok(Self::owned(own, pg_sys::TEXTARRAYOID))
    }

    /// What the input function of `kind` makes of `text`, its domain and length checked.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Raised> {
        if let Some(datum) = plain_integer(text, kind.oid) {
            return Ok(Self::immediate(datum, kind.base));
        }
        let source = to_server(text)?;
        if kind.oid == pg_sys::TEXTOID {
            return Self::text(source.as_bytes());
        }
        // SAFETY: the text outlives the call.
        unsafe { Self::parse_c(source.as_ptr(), kind) }
    }

    /// The same of a text in the database's encoding.
    ///
    /// # Safety
    /// It is a C string.
    pub(super) unsafe fn parse_c(text: *const c_char, kind: Kind) -> Result<Self, Raised> {
        let (input, parameter) = (kind.input, kind.input_parameter);
        // SAFETY: the caller's promise; the input function is the type's own, and so is what it
        // makes.
        unsafe {
            let datum = guard(|| {
                let text = text.cast_mut();
                let datum = raw::OidInputFunctionCall(input, text, parameter, kind.typmod);
                match kind.length {
                    -1 => flat(datum),
                    _ => datum,
                }
            })?;
            Self::copy(datum, kind.base, kind.length, kind.by_value)
        }
    }
}

impl<'a> Value<'a> {
    /// A datum that is lent.
    ///
    /// # Safety
    /// It is one of the type `kind`, and what it points to lives for `'a`.
    pub(super) unsafe fn lent(datum: Datum, kind: Oid) -> Self {
        Self {
            datum,
            null: false,
            kind,
            own: None,
            lent: PhantomData,
        }
    }

    /// This value as one of another type that has the same representation.
    pub(super) fn relabeled(&self, kind: Oid) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    /// Whether this boolean is true.
    pub fn is_true(&self) -> bool {
        self.kind == pg_sys::BOOLOID && !self.null && self.datum.value() as u8 != 0
    }

    pub fn is_boolean(&self) -> bool {
        self.kind == pg_sys::BOOLOID
    }

    pub fn is_null(&self) -> bool {
        self.null
    }

    /// The bytes of a value of variable length (text, varchar), in the database's encoding.
    pub(super) fn into_bytes(self) -> Result<Cow<'a, [u8]>, Raised> {
        let varlena = self.varlena()?;
        // SAFETY: what is lent lives for 'a; else the bytes are copied.
        unsafe {
            match (plain(varlena), &self.own) {
                (Some(bytes), None) => Ok(Cow::Borrowed(bytes)),
                (Some(bytes), Some(_)) => Ok(Cow::Owned(copied(bytes)?)),
                (None, _) => {
                    let detoasted = guard(|| raw::pg_detoast_datum_packed(varlena))?;
                    let bytes = copied(plain(detoasted).unwrap_or_default())?;
                    guard(|| raw::pfree(detoasted.cast()))?;
                    Ok(Cow::Owned(bytes))
                }
            }
        }
    }

    /// The value itself where it points to one that is stored apart.
    pub fn detoasted(self) -> Result<Self, Raised> {
        let varlena = self.varlena()?;
        // SAFETY: the detoasted copy, or the value itself, is of the same type.
        unsafe {
            if plain(varlena).is_some() {
                return Ok(self);
            }
            let detoasted = guard(|| raw::pg_detoast_datum_packed(varlena))?;
            let copy = Value::copy(Datum::from(detoasted), self.kind, -1, false)?;
            guard(|| raw::pfree(detoasted.cast()))?;
            Ok(copy)
        }
    }

    /// The size of a value of variable length when it is detoasted, without doing so.
    pub fn size(&self) -> Result<usize, Raised> {
        let varlena = self.varlena()?;
        // SAFETY: it is one.
        unsafe {
            if let Some(bytes) = plain(varlena) {
                return Ok(bytes.len());
            }
            let size = guard(|| raw::toast_raw_datum_size(Datum::from(varlena)))?;
            Ok(size.saturating_sub(HEADER))
        }
    }

    /// What this value points to, which must be of a type of variable length and not NULL.
    fn varlena(&self) -> Result<*mut pg_sys::varlena, Raised> {
        const KNOWN: [Oid; 4] = [
            pg_sys::TEXTOID,
            pg_sys::VARCHAROID,
            pg_sys::BPCHAROID,
            pg_sys::JSONBOID,
        ];
        let kind = self.kind;
        // SAFETY: a catalog look-up.
        let is_varlena = KNOWN.contains(&kind) || unsafe { guard(|| raw::get_typlen(kind)) }? == -1;
        match self.null || !is_varlena {
            true => Err(VARLENA.not_value(kind)),
            false => Ok(self.datum.cast_mut_ptr()),
        }
    }

    /// The datum where it can stay as long as memory of the call that is in progress: what is the
    /// value's own is copied there.
    pub(super) fn into_call(self) -> Result<Datum, Raised> {
        let Some(own) = &self.own else {
            return Ok(self.datum);
        };
        let (start, size) = (own.start(), own.size());
        // SAFETY: the new memory is of the same size.
        unsafe {
            let copy = guard(|| raw::palloc(size))?.cast::<u8>();
            ptr::copy_nonoverlapping(start, copy, size);
            Ok(Datum::from(copy))
        }
    }

    /// This value as the result of a polymorphic function.
    pub fn into_any(self) -> Result<Option<AnyElement>, Raised> {
        let (null, kind) = (self.null, self.kind);
        let datum = self.into_call()?;
        // SAFETY: the datum is of the type beside it.
        Ok(unsafe { AnyElement::from_polymorphic_datum(datum, null, kind) })
    }
}

/// A copy of the bytes, which can be many.
pub(super) fn copied(bytes: &[u8]) -> Result<Vec<u8>, Raised> {
    let mut copy = with_room(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// The size of a varlena's header.
const HEADER: usize = pg_sys::VARHDRSZ;

/// What the start of a text is aligned to.
const ALIGNED: usize = 4;

/// The size of the header of an array of one dimension without NULLs.
const ARRAY_HEADER: usize = (size_of::<ArrayType>() + 2 * size_of::<i32>()).next_multiple_of(8);

/// An array of one dimension, or an empty one, whose elements of `size` bytes are to be written
/// behind its header.
fn array(len: usize, kind: Oid, size: usize) -> Result<Block, Raised> {
    let own = Block::zeroed(ARRAY_HEADER + size)?;
    let whole = match len {
        0 => size_of::<ArrayType>(),
        _ => own.size(),
    };
    // SAFETY: the block has room for the header, whose fields are zero where nothing is written:
    // the number of dimensions of an empty array, and the place of NULLs that there are not.
    unsafe {
        let header = own.start().cast::<ArrayType>();
        pgrx::set_varsize_4b(header.cast(), whole as i32);
        (*header).elemtype = kind;
        if len > 0 {
            (*header).ndim = 1;
            let numbers = header.add(1).cast::<i32>();
            numbers.write(len as i32);
            numbers.add(1).write(1);
        }
    }
    Ok(own)
}

/// The bytes of a varlena that is neither compressed nor stored apart.
///
/// # Safety
/// It is one, which lives for `'a`.
pub(super) unsafe fn plain<'a>(varlena: *const pg_sys::varlena) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe {
        let is_short = pgrx::varatt_is_1b(varlena) && !pgrx::varatt_is_1b_e(varlena);
        (is_short || pgrx::varatt_is_4b_u(varlena)).then(|| {
            let length = pgrx::varsize_any_exhdr(varlena);
            slice::from_raw_parts(pgrx::vardata_any(varlena).cast(), length)
        })
    }
}

/// A varlena that is not expanded in memory: a copy of one that is.
///
/// # Safety
/// It is one. Called under a guard.
pub(super) unsafe fn flat(datum: Datum) -> Datum {
    let varlena = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's promise.
    unsafe {
        let is_expanded = pgrx::varatt_is_1b_e(varlena)
            && pgrx::vartag_is_expanded(pgrx::vartag_1b_e(varlena).into());
        match is_expanded {
            true => raw::datumCopy(datum, false, -1),
            false => datum,
        }
    }
}

/// The integer that the text is, without the input function of its type; none where that has to
/// decide.
fn plain_integer(text: &str, kind: Oid) -> Option<Datum> {
    match kind {
        pg_sys::INT2OID => text.parse::<i16>().ok().map(Datum::from),
        pg_sys::INT4OID => text.parse::<i32>().ok().map(Datum::from),
        pg_sys::INT8OID => text.parse::<i64>().ok().map(Datum::from),
        _ => None,
    }
}

/// Converts UTF-8 to the database's encoding, as a C string.
pub(super) fn to_server(text: &str) -> Result<CString, Raised> {
    let (start, length) = (text.as_ptr().cast(), text.len() as c_int);
    // SAFETY: the text outlives the call. The result is `text` itself or a NUL-terminated copy.
    unsafe {
        let converted = guard(|| raw::pg_any_to_server(start, length, UTF8))?;
        let bytes = if ptr::eq(converted, start) {
            let end = text.find('\0').unwrap_or(text.len());
            &text.as_bytes()[..end]
        } else {
            CStr::from_ptr(converted).to_bytes()
        };
        let mut copy = with_room(bytes.len() + 1)?;
        copy.extend_from_slice(bytes);
        Ok(CString::new(copy).unwrap_or_default())
    }
}

/// Converts text of the database's encoding to UTF-8; none where it is not valid there, which it
/// need not be in SQL_ASCII.
pub(super) fn from_server(bytes: &[u8]) -> Result<Option<String>, Raised> {
    let (start, length) = (bytes.as_ptr().cast(), bytes.len() as c_int);
    // SAFETY: the bytes outlive the call. The result is `bytes` itself or a NUL-terminated copy.
    let converted = unsafe {
        let encoding = pg_sys::GetDatabaseEncoding();
        if encoding == pg_sys::pg_enc::PG_SQL_ASCII as c_int || encoding == UTF8 {
            bytes
        } else {
            let converted = guard(|| raw::pg_server_to_any(start, length, UTF8))?;
            if ptr::eq(converted, start) {
                bytes
            } else {
                CStr::from_ptr(converted).to_bytes()
            }
        }
    };
    Ok(String::from_utf8(copied(converted)?).ok())
}

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;
