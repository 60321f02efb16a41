//! Namespaces and keys, and `once_key`, which makes one key of several parts.

use std::borrow::Cow;

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::array::{Place, Texts};
use crate::pg::{Call, ErrorReport, Value, session, text::Part};

mod encoding;
mod instant;

/// The longest namespace, in bytes.
pub const NAMESPACE_LIMIT: usize = 128;
/// The longest key, in bytes, its encoding included.
pub const KEY_LIMIT: usize = 2_000;

#[pg_extern(sql = false)]
fn once_key(call: Call) -> Result<Vec<u8>, ErrorReport> {
    Ok(key(call, 0)?.into_owned())
}

/// What a claim is called: a namespace and a key within the limits.
pub struct Name<'a> {
    pub ns: &'a [u8],
    pub key: Cow<'a, [u8]>,
}

impl<'a> Name<'a> {
    /// The name that the two text arguments from `first` on give: the namespace and the key.
    pub fn of_texts(call: Call<'a>, first: usize) -> Result<Self, Error> {
        Ok(Self {
            ns: namespace(call, first)?,
            key: Cow::Borrowed(text(call, first + 1)?),
        })
    }

    /// The name that the arguments from `first` on give: the namespace, then the parts of the key.
    pub fn of_arguments(call: Call<'a>, first: usize) -> Result<Self, Error> {
        Ok(Self {
            ns: namespace(call, first)?,
            key: key(call, first + 1)?,
        })
    }
}

/// The namespace that the argument at `index` gives.
pub fn namespace<'a>(call: Call<'a>, index: usize) -> Result<&'a [u8], Error> {
    match call.text(index, NAMESPACE_LIMIT)? {
        None => Err(Error::Null { argument: "ns" }),
        Some(Err(bytes)) => Err(Error::NamespaceTooLong { bytes }),
        Some(Ok([])) => Err(Error::NamespaceEmpty),
        Some(Ok(ns)) => Ok(ns),
    }
}

/// Whether a text may be a key.
pub fn check(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::KeyEmpty),
        bytes if bytes > KEY_LIMIT => Err(Error::KeyTooLong { bytes }),
        _ if !encoding::is_well_formed(key) => Err(Error::KeyMalformed),
        _ => Ok(()),
    }
}

/// How many keys of an array are read before a cancel is looked for.
const READ_AT_ONCE: usize = 1024;

/// The keys of an array of one dimension with at most `limit` elements, each of them checked.
pub fn of_array<'a>(
    keys: Texts<'a>,
    limit: usize,
    too_many: fn(usize) -> Error,
) -> Result<impl Iterator<Item = Result<(Place, &'a [u8]), Error>>, Error> {
    match (keys.dimensions(), keys.len()) {
        (0 | 1, len) if len <= limit => {}
        (0 | 1, keys) => return Err(too_many(keys)),
        (dimensions, _) => return Err(Error::KeysNotOneDimensional { dimensions }),
    }
    Ok(keys.iter().enumerate().map(move |(number, place)| {
        if number % READ_AT_ONCE == 0 {
            session::check_for_interrupts()?;
        }
        let at_fault = |error| Error::KeyOfArray {
            subscript: keys.subscript(number),
            error: Box::new(error),
        };
        let place = place.ok_or_else(|| at_fault(Error::Null { argument: "key" }))?;
        let key = keys.at(place);
        check(key).map_err(at_fault)?;
        Ok((place, key))
    }))
}

/// The parts of which `once_key` made a stored key. What is too long to be a key is one part.
pub fn parts(key: &[u8]) -> Vec<Cow<'_, [u8]>> {
    match key.len() {
        0..=KEY_LIMIT => encoding::decode(key),
        _ => vec![Cow::Borrowed(key)],
    }
}

/// The key that the text argument at `index` is.
fn text<'a>(call: Call<'a>, index: usize) -> Result<&'a [u8], Error> {
    match call.text(index, KEY_LIMIT)? {
        None => Err(Error::Null { argument: "key" }),
        Some(Err(bytes)) => Err(Error::KeyTooLong { bytes }),
        Some(Ok(key)) => check(key).map(|()| key),
    }
}

/// The key that the arguments from `first` on make.
fn key<'a>(call: Call<'a>, first: usize) -> Result<Cow<'a, [u8]>, Error> {
    if call.ends_with_text(first)? {
        return text(call, first).map(Cow::Borrowed);
    }
    // Of several parts each takes a byte of the key at least.
    let values = match call.parts(first, KEY_LIMIT)? {
        None => return Err(Error::Null { argument: "key" }),
        Some(Err(bytes)) => return Err(Error::KeyOfPartsTooLong { bytes }),
        Some(Ok(values)) => values,
    };
    let is_one = values.len() == 1;
    let (mut parts, mut bytes) = (Vec::with_capacity(values.len()), 0);
    for value in values {
        session::check_for_interrupts()?;
        let part = part_text(value, is_one)?;
        bytes += part.len() + usize::from(!is_one);
        if bytes > KEY_LIMIT {
            return Err(Error::KeyOfPartsTooLong { bytes });
        }
        parts.push(part);
    }
    let key = encoding::encode(&parts);
    check(&key)?;
    Ok(key)
}

/// The text of one part of a key, the same under all settings.
fn part_text<'a>(value: Value<'a>, is_one: bool) -> Result<Cow<'a, [u8]>, Error> {
    match value.part(KEY_LIMIT)? {
        Part::Null if is_one => Err(Error::Null { argument: "key" }),
        Part::Null => Err(Error::KeyPartNull),
        Part::TooLong(bytes) => Err(Error::KeyTooLong { bytes }),
        Part::Text(text) => Ok(text),
        Part::Boolean(truth) => Ok(Cow::Borrowed(if truth { b"true" } else { b"false" })),
        Part::Instant(micros) => Ok(Cow::Owned(instant::format(micros).into_bytes())),
        Part::Array(kind) => Err(Error::KeyArray { kind }),
        Part::Row(kind) => Err(Error::KeyRow { kind }),
    }
}

/// The text by which an identifier of any scalar type is handed to a column of another type; refused where it
/// has more than `limit` bytes.
pub fn scalar_text(
    value: Value,
    argument: &'static str,
    limit: usize,
) -> Result<Option<String>, Error> {
    let text = match value.part(limit)? {
        Part::Null => return Ok(None),
        Part::Array(kind) | Part::Row(kind) => {
            return Err(Error::PaymentIdNotScalar { argument, kind });
        }
        Part::Instant(micros) => return Ok(Some(instant::format(micros))),
        Part::Boolean(truth) => return Ok(Some(truth.to_string())),
        Part::Text(text) => crate::pg::text::decode(&text)?,
        Part::TooLong(_) => None,
    };
    text.map(Some).ok_or(Error::TextInvalid { what: argument })
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn instants_are_those_of_to_char() {
        let differ = Spi::get_one::<i64>(
            "SELECT count(*) FROM generate_series('0001-01-01Z'::timestamptz, '9999-12-31Z', '100 days 17:31:07.123457') t \
             WHERE once_key(t) <> to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        );
        assert_eq!(differ, Ok(Some(0)));
    }

    #[pg_test]
    fn a_trigger_can_make_a_key() {
        Spi::run(
            "CREATE FUNCTION made() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.k := once_key(NEW.a, NEW.b); RETURN NEW; END $$; \
             CREATE TABLE keyed (a int, b text, k text); \
             CREATE TRIGGER made BEFORE INSERT ON keyed FOR EACH ROW EXECUTE FUNCTION made(); \
             INSERT INTO keyed VALUES (1, 'x')",
        )
        .unwrap();
        let key = Spi::get_one::<String>("SELECT k FROM keyed").unwrap();
        assert_eq!(key.as_deref(), Some("\u{1e}1\u{1e}x"));
    }
}
