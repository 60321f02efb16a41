//! A typed SQL value.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::slice;

use pgrx::FromDatum;
use pgrx::datum::AnyElement;
use pgrx::pg_sys::{self, Datum, Oid};

use super::guard::{Raised, guard};
use super::raw;

/// A datum, whether it is null, and its type.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub(super) datum: Datum,
    pub(super) null: bool,
    pub(super) kind: Oid,
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
}

impl Kind {
    pub(super) fn of(oid: Oid, typmod: i32) -> Result<Self, Raised> {
        let (mut input, mut input_parameter) = (Oid::INVALID, Oid::INVALID);
        // SAFETY: catalog look-ups of an existing type.
        let base = unsafe {
            guard(|| raw::getTypeInputInfo(oid, &raw mut input, &raw mut input_parameter))?;
            pg_sys::getBaseType(oid)
        };
        Ok(Self {
            oid,
            typmod,
            base,
            input,
            input_parameter,
        })
    }

    /// json and jsonb take a JSON text of any shape as it is.
    pub fn is_json(self) -> bool {
        self.base == pg_sys::JSONOID || self.base == pg_sys::JSONBOID
    }

    pub fn is_integer(self) -> bool {
        [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&self.base)
    }
}

impl Value {
    /// SQL NULL of `kind`.
    pub fn null(kind: Kind) -> Self {
        Self {
            datum: Datum::null(),
            null: true,
            kind: kind.base,
        }
    }

    pub fn text(bytes: &[u8]) -> Result<Self, Raised> {
        let (start, length) = (bytes.as_ptr().cast(), bytes.len() as c_int);
        // SAFETY: the bytes outlive the call, which copies them.
        let text = unsafe { guard(|| raw::cstring_to_text_with_len(start, length)) }?;
        Ok(Self {
            datum: Datum::from(text),
            null: false,
            kind: pg_sys::TEXTOID,
        })
    }

    /// A datum that is a text.
    pub(super) fn of_text(datum: Datum) -> Self {
        Self {
            datum,
            null: false,
            kind: pg_sys::TEXTOID,
        }
    }

    pub fn integer(number: i64) -> Self {
        Self {
            datum: Datum::from(number),
            null: false,
            kind: pg_sys::INT8OID,
        }
    }

    pub fn boolean(is: bool) -> Self {
        Self {
            datum: Datum::from(is),
            null: false,
            kind: pg_sys::BOOLOID,
        }
    }

    /// A value of type "char".
    pub fn letter(letter: u8) -> Self {
        Self {
            datum: Datum::from(letter),
            null: false,
            kind: pg_sys::CHAROID,
        }
    }

    pub fn null_json() -> Self {
        Self {
            datum: Datum::null(),
            null: true,
            kind: pg_sys::JSONBOID,
        }
    }

    /// A uuid of these bytes.
    pub fn uuid(bytes: [u8; 16]) -> Self {
        // SAFETY: palloc gives 16 writable bytes, which is what a uuid is.
        let place = unsafe { pg_sys::palloc(bytes.len()) }.cast::<[u8; 16]>();
        unsafe { place.write(bytes) };
        Self {
            datum: Datum::from(place),
            null: false,
            kind: pg_sys::UUIDOID,
        }
    }

    /// A uuid of these bytes, or its NULL.
    pub fn uuid_or_null(bytes: Option<[u8; 16]>) -> Self {
        bytes.map_or(
            Self {
                datum: Datum::null(),
                null: true,
                kind: pg_sys::UUIDOID,
            },
            Self::uuid,
        )
    }

    /// An array of uuids.
    pub fn uuids(uuids: &[[u8; 16]]) -> Result<Self, Raised> {
        let datums: Vec<_> = uuids
            .iter()
            .map(|uuid| Datum::from(uuid.as_ptr()))
            .collect();
        let (elements, length) = (datums.as_ptr().cast_mut(), datums.len() as c_int);
        // SAFETY: the elements outlive the call, which copies them; a uuid is 16 bytes, unaligned.
        let array = unsafe {
            guard(|| {
                raw::construct_array(elements, length, pg_sys::UUIDOID, 16, false, b'c' as c_char)
            })
        }?;
        Ok(Self {
            datum: Datum::from(array),
            null: false,
            kind: pg_sys::UUIDARRAYOID,
        })
    }

    /// An array of these texts.
    pub fn texts(texts: &[Self]) -> Result<Self, Raised> {
        let datums: Vec<_> = texts.iter().map(|text| text.datum).collect();
        let (elements, length) = (datums.as_ptr().cast_mut(), datums.len() as c_int);
        // SAFETY: the elements outlive the call, which copies them; callers pass texts.
        let array = unsafe {
            guard(|| {
                raw::construct_array(elements, length, pg_sys::TEXTOID, -1, false, b'i' as c_char)
            })
        }?;
        Ok(Self {
            datum: Datum::from(array),
            null: false,
            kind: pg_sys::TEXTARRAYOID,
        })
    }

    pub fn int4(number: i32) -> Self {
        Self {
            datum: Datum::from(number),
            null: false,
            kind: pg_sys::INT4OID,
        }
    }

    /// A timestamptz of these microseconds since 2000-01-01, or its NULL.
    pub fn timestamp(at: Option<i64>) -> Self {
        Self {
            datum: Datum::from(at.unwrap_or_default()),
            null: at.is_none(),
            kind: pg_sys::TIMESTAMPTZOID,
        }
    }

    /// What the input function of `kind` makes of `text`, its domain and length checked.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Raised> {
        if let Some(datum) = plain_integer(text, kind.oid) {
            return Ok(Self {
                datum,
                null: false,
                kind: kind.base,
            });
        }
        let source = to_server(text)?;
        if kind.oid == pg_sys::TEXTOID {
            return Self::text(source.as_bytes());
        }
        // SAFETY: the text outlives the call.
        unsafe { Self::parse_c(source.as_ptr(), kind) }
    }

    /// The same of a NUL-terminated text in the database's encoding.
    pub(super) unsafe fn parse_c(text: *const c_char, kind: Kind) -> Result<Self, Raised> {
        let (input, parameter) = (kind.input, kind.input_parameter);
        // SAFETY: the caller's promise; the input function is the type's own.
        let datum = unsafe {
            guard(|| raw::OidInputFunctionCall(input, text.cast_mut(), parameter, kind.typmod))
        }?;
        Ok(Self {
            datum,
            null: false,
            kind: kind.base,
        })
    }

    /// This value where it is of `kind` already.
    pub fn of_kind(self, kind: Kind) -> Option<Self> {
        (self.kind == kind.oid && kind.typmod < 0).then_some(Self {
            kind: kind.base,
            ..self
        })
    }

    /// Whether this boolean is true.
    pub fn is_true(self) -> bool {
        !self.null && self.datum.value() != 0
    }

    pub fn is_null(self) -> bool {
        self.null
    }

    /// The bytes of a text-like value (text, varchar, json text), in the database's encoding.
    pub(super) fn bytes<'a>(self) -> Result<&'a [u8], Raised> {
        if let Some(bytes) = self.plain() {
            return Ok(bytes);
        }
        let datum = self.datum;
        // SAFETY: callers pass varlena values only; the detoasted copy, or the value itself, lives
        // in the memory of the SQL call.
        unsafe {
            let varlena = guard(|| raw::pg_detoast_datum_packed(datum.cast_mut_ptr()))?;
            let length = pgrx::varsize_any_exhdr(varlena);
            Ok(slice::from_raw_parts(
                pgrx::vardata_any(varlena).cast(),
                length,
            ))
        }
    }

    /// The bytes of a varlena value that is neither compressed nor stored apart.
    pub(super) fn plain<'a>(self) -> Option<&'a [u8]> {
        let varlena = self.datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: callers pass varlena values only, which live as long as the SQL call.
        unsafe {
            let is_short = pgrx::varatt_is_1b(varlena) && !pgrx::varatt_is_1b_e(varlena);
            (is_short || pgrx::varatt_is_4b_u(varlena)).then(|| {
                let length = pgrx::varsize_any_exhdr(varlena);
                slice::from_raw_parts(pgrx::vardata_any(varlena).cast(), length)
            })
        }
    }

    /// The varlena value itself where it points to one that is stored apart.
    pub fn detoasted(self) -> Result<Self, Raised> {
        let datum = self.datum;
        // SAFETY: callers pass varlena values only.
        let varlena = unsafe { guard(|| raw::pg_detoast_datum_packed(datum.cast_mut_ptr())) }?;
        Ok(Self {
            datum: Datum::from(varlena),
            ..self
        })
    }

    /// The size of a varlena value when it is detoasted, without doing so.
    pub fn size(self) -> Result<usize, Raised> {
        if let Some(bytes) = self.plain() {
            return Ok(bytes.len());
        }
        let datum = self.datum;
        // SAFETY: callers pass varlena values only.
        let size = unsafe { guard(|| raw::toast_raw_datum_size(datum)) }?;
        Ok(size.saturating_sub(pg_sys::VARHDRSZ))
    }

    /// This value as the result of a polymorphic function.
    pub fn into_any(self) -> Option<AnyElement> {
        // SAFETY: the datum is of the type beside it.
        unsafe { AnyElement::from_polymorphic_datum(self.datum, self.null, self.kind) }
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
        if ptr::eq(converted, start) {
            let end = text.find('\0').unwrap_or(text.len());
            Ok(CString::new(&text[..end]).unwrap_or_default())
        } else {
            Ok(CStr::from_ptr(converted).to_owned())
        }
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
    Ok(std::str::from_utf8(converted).ok().map(str::to_owned))
}

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;
