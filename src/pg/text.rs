//! The text of a key's part: the same under all settings.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys::{self, Datum, Oid};

use super::guard::{Raised, guard};
use super::local::{self, Meanwhile};
use super::raw;
use super::value::{Kind, Value, copied, from_server};

/// What a value is, as far as its text in a key goes.
pub enum Part<'a> {
    Null,
    /// The text itself, in the database's encoding.
    Text(Cow<'a, [u8]>),
    /// A text of this many bytes, which is more than asked for; it was not copied.
    TooLong(usize),
    /// A timestamptz: microseconds since 2000-01-01 UTC.
    Instant(i64),
    Boolean(bool),
    /// No scalar: the name of its type.
    Array(String),
    Row(String),
}

impl<'a> Value<'a> {
    /// The name of its type where it is an array.
    pub fn array_type(&self) -> Result<Option<String>, Raised> {
        is_array(self.kind)?
            .then(|| type_name(self.kind))
            .transpose()
    }

    /// What this value is as a part of a key whose text is not read beyond `limit` bytes.
    pub fn part(self, limit: usize) -> Result<Part<'a>, Raised> {
        if self.null {
            return Ok(Part::Null);
        }
        let kind = base_type(self.kind)?;
        Ok(match kind {
            pg_sys::TEXTOID | pg_sys::VARCHAROID => match self.size()? {
                size if size > limit => Part::TooLong(size),
                _ => Part::Text(self.into_bytes()?),
            },
            // SAFETY: a C string.
            pg_sys::UNKNOWNOID => unsafe {
                let string = CStr::from_ptr(self.datum.cast_mut_ptr());
                copied_within(limit, string.to_bytes())?
            },
            // The padding is no part of a char(n), and its cast to text drops it.
            pg_sys::BPCHAROID => match self.size()? {
                size if size > limit.saturating_add(MOST_PADDING) => Part::TooLong(size),
                _ => match without_padding(self.into_bytes()?) {
                    text if text.len() > limit => Part::TooLong(text.len()),
                    text => Part::Text(text),
                },
            },
            pg_sys::BOOLOID => Part::Boolean(self.datum.value() as u8 != 0),
            pg_sys::TIMESTAMPTZOID => Part::Instant(self.datum.value() as i64),
            _ if is_array(kind)? => Part::Array(type_name(kind)?),
            _ if is_row(kind)? => Part::Row(type_name(kind)?),
            pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::NUMERICOID
            | pg_sys::UUIDOID => self.printed(kind, limit)?,
            _ => with_fixed_settings(|| self.printed(kind, limit))?,
        })
    }

    /// The value of `kind` that has the same text, under settings that keep all that a value is.
    /// No cast is looked for, since anybody may make one for a type of their own.
    pub fn converted(self, kind: Kind) -> Result<Value<'static>, Raised> {
        const READ_ALIKE: [Oid; 7] = [
            pg_sys::BPCHAROID,
            pg_sys::INT2OID,
            pg_sys::INT4OID,
            pg_sys::INT8OID,
            pg_sys::NUMERICOID,
            pg_sys::TEXTOID,
            pg_sys::VARCHAROID,
        ];
        if self.null {
            return Ok(Value::null(kind));
        }
        let base = base_type(self.kind)?;
        // SAFETY: an output function returns a C string.
        let convert = || unsafe { Value::parse_c(self.print(base)?, kind) };
        if READ_ALIKE.contains(&base) && READ_ALIKE.contains(&kind.base) {
            return convert();
        }
        with_fixed_formats(convert)
    }

    /// What the type's output function prints, which is not copied beyond `limit` bytes.
    fn printed(&self, kind: Oid, limit: usize) -> Result<Part<'a>, Raised> {
        // SAFETY: an output function returns a C string.
        let printed = unsafe { CStr::from_ptr(self.print(kind)?) };
        copied_within(limit, printed.to_bytes())
    }

    fn print(&self, kind: Oid) -> Result<*const c_char, Raised> {
        let (mut output, mut is_varlena) = (Oid::INVALID, false);
        let datum = self.datum;
        // SAFETY: the output function is the type's own.
        let printed = unsafe {
            guard(|| {
                raw::getTypeOutputInfo(kind, &raw mut output, &raw mut is_varlena);
                raw::OidOutputFunctionCall(output, datum)
            })
        }?;
        Ok(printed.cast_const())
    }
}

/// The most characters that char(n) can pad a text with.
const MOST_PADDING: usize = pg_sys::MaxAttrSize as usize;

/// A copy of the text where it has at most `limit` bytes.
fn copied_within<'a>(limit: usize, text: &[u8]) -> Result<Part<'a>, Raised> {
    Ok(match text.len() {
        size if size > limit => Part::TooLong(size),
        _ => Part::Text(Cow::Owned(copied(text)?)),
    })
}

/// Runs `act` under settings that make the text of every value the same in all sessions.
pub fn with_fixed_settings<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    local::with(&FIXED, Meanwhile::Stays, act)
}

/// The same under the caller's search_path, which functions of the user's policies may need. What
/// depends on it is whether the text of regclass and its like names the schema.
pub fn with_fixed_formats<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    local::with(&FIXED[1..], Meanwhile::Stays, act)
}

/// For statements on catalogs: their estimates are far too high, and compiling them takes longer
/// than running them.
pub fn without_jit<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    local::with(&[(c"jit", c"off")], Meanwhile::Stays, act)
}

const FIXED: [(&CStr, &CStr); 8] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"bytea_output", c"hex"),
    (c"datestyle", c"ISO, YMD"),
    (c"extra_float_digits", c"1"),
    (c"intervalstyle", c"iso_8601"),
    (c"lc_monetary", c"C"),
    (c"quote_all_identifiers", c"off"),
    (c"timezone", c"UTC"),
];

/// The name of a type, for messages; `???` for a type that is gone.
pub(super) fn type_name(kind: Oid) -> Result<String, Raised> {
    const ALLOW_INVALID: u16 = 0x02;
    // SAFETY: the flag is that of utils/builtins.h, the same in 15 to 19. The answer is a string.
    let name = unsafe {
        let name = guard(|| raw::format_type_extended(kind, -1, ALLOW_INVALID))?;
        from_c(name)?
    };
    Ok(name.unwrap_or_else(|| "???".to_owned()))
}

/// The type below any domains.
pub(super) fn base_type(kind: Oid) -> Result<Oid, Raised> {
    // SAFETY: a catalog read, which raises an error where the type is gone.
    unsafe { guard(|| raw::getBaseType(kind)) }
}

/// Text of the database's encoding as UTF-8; none where it is not valid text.
pub fn decode(bytes: &[u8]) -> Result<Option<String>, Raised> {
    from_server(bytes)
}

/// Text in the database's encoding, which has all its characters.
pub fn encode(text: &str) -> Result<CString, Raised> {
    super::value::to_server(text)
}

/// A C string of the database's encoding as UTF-8; none where it is not valid text.
///
/// # Safety
/// It is one.
pub(super) unsafe fn from_c(string: *const c_char) -> Result<Option<String>, Raised> {
    // SAFETY: the caller's promise.
    from_server(unsafe { CStr::from_ptr(string) }.to_bytes())
}

fn without_padding(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let padding = text.iter().rev().take_while(|byte| **byte == b' ').count();
    let length = text.len() - padding;
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..length]),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Cow::Owned(text)
        }
    }
}

/// Whether it is the type of arrays, or a domain over one.
pub(super) fn is_array(kind: Oid) -> Result<bool, Raised> {
    // SAFETY: a catalog read.
    let element = unsafe { guard(|| raw::get_base_element_type(kind)) }?;
    Ok(element != Oid::INVALID)
}

fn is_row(kind: Oid) -> Result<bool, Raised> {
    // SAFETY: a catalog read.
    unsafe { guard(|| raw::type_is_rowtype(kind)) }
}

/// A text value.
pub fn value(text: &str) -> Result<Value<'static>, Raised> {
    Value::text(super::value::to_server(text)?.as_bytes())
}

/// A JSON text as a jsonb value.
pub fn jsonb(json: &str) -> Result<Value<'static>, Raised> {
    let source = super::value::to_server(json)?;
    let argument = Datum::from(source.as_ptr());
    // SAFETY: jsonb_in takes a C string, which outlives the call, and returns a jsonb.
    unsafe {
        let datum = guard(|| {
            raw::DirectFunctionCall1Coll(Some(raw::jsonb_in), pg_sys::InvalidOid, argument)
        })?;
        let copy = Value::copy(datum, pg_sys::JSONBOID, -1, false)?;
        guard(|| raw::pfree(datum.cast_mut_ptr()))?;
        Ok(copy)
    }
}

/// The type by its full name and length, as a cast or column definition names it.
pub(super) fn full_type_name(kind: Oid, typmod: i32) -> Result<Option<String>, Raised> {
    const TYPMOD_GIVEN: u16 = 0x01;
    const FORCE_QUALIFY: u16 = 0x04;
    // SAFETY: the flags are those of utils/builtins.h, the same in 15 to 19.
    unsafe {
        let flags = TYPMOD_GIVEN | FORCE_QUALIFY;
        let name = guard(|| raw::format_type_extended(kind, typmod, flags))?;
        from_c(name)
    }
}

/// A string constant of SQL that reads the same whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\"))
    } else {
        format!("'{text}'")
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn literals() {
        assert_eq!(literal("a b"), "'a b'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
