//! A value as core assigns it to a column, without a text of it: the functions are those of core's
//! own casts, which nobody but a superuser can replace.

use pgrx::pg_sys::{self, Datum, Oid};

use super::guard::{Raised, guard};
use super::raw;
use super::value::{Kind, Value};

impl<'a> Value<'a> {
    /// This value as one of `kind`: as it is where it has that type, with the column's length where
    /// it has that type without one, and an integer or text of another type of those. None for all
    /// else, such as a domain, whose input function checks it, and for what is out of range.
    pub fn assigned(&self, kind: Kind) -> Result<Option<Value<'a>>, Raised> {
        if self.kind == kind.oid && kind.typmod < 0 {
            return Ok(Some(self.relabeled(kind.base)));
        }
        if self.null || kind.oid != kind.base {
            return Ok(None);
        }
        if let Some(number) = self.whole_number() {
            return Ok(integer(number, kind.oid).map(|datum| Value::immediate(datum, kind.oid)));
        }
        if !is_assignable(self.kind, kind.oid) {
            return Ok(None);
        }
        match length(kind.oid) {
            _ if kind.typmod < 0 => Ok(Some(self.relabeled(kind.oid))),
            Some(length) => self.cut(length, kind).map(Some),
            None => Ok(None),
        }
    }

    fn whole_number(&self) -> Option<i64> {
        match self.kind {
            pg_sys::INT2OID => Some((self.datum.value() as i16).into()),
            pg_sys::INT4OID => Some((self.datum.value() as i32).into()),
            pg_sys::INT8OID => Some(self.datum.value() as i64),
            _ => None,
        }
    }

    /// The value with the length of `kind`; raises where it does not fit, as an assignment does.
    fn cut(&self, length: Length, kind: Kind) -> Result<Value<'static>, Raised> {
        const NONE: Oid = pg_sys::InvalidOid;
        let (datum, typmod) = (self.datum, Datum::from(kind.typmod));
        // SAFETY: the value is of the type that the function takes, whose result is of the same
        // type and not expanded in memory.
        unsafe {
            let datum = guard(|| match length {
                Length::Of(function) => {
                    raw::OidFunctionCall2Coll(function.into(), NONE, datum, typmod)
                }
                Length::Implicit(function) => {
                    let is_explicit = Datum::from(false);
                    raw::OidFunctionCall3Coll(function.into(), NONE, datum, typmod, is_explicit)
                }
            })?;
            Value::copy(datum, kind.oid, kind.length, kind.by_value)
        }
    }
}

/// The function that gives a value of a type its length, precision or scale.
#[derive(Clone, Copy)]
enum Length {
    Of(u32),
    /// It is told whether the cast is explicit.
    Implicit(u32),
}

fn length(kind: Oid) -> Option<Length> {
    Some(match kind {
        pg_sys::BPCHAROID => Length::Implicit(pg_sys::F_BPCHAR_BPCHAR_INT4_BOOL),
        pg_sys::VARCHAROID => Length::Implicit(pg_sys::F_VARCHAR_VARCHAR_INT4_BOOL),
        pg_sys::NUMERICOID => Length::Of(pg_sys::F_NUMERIC_NUMERIC_INT4),
        pg_sys::TIMEOID => Length::Of(pg_sys::F_TIME_TIME_INT4),
        pg_sys::TIMETZOID => Length::Of(pg_sys::F_TIMETZ_TIMETZ_INT4),
        pg_sys::TIMESTAMPOID => Length::Of(pg_sys::F_TIMESTAMP_TIMESTAMP_INT4),
        pg_sys::TIMESTAMPTZOID => Length::Of(pg_sys::F_TIMESTAMPTZ_TIMESTAMPTZ_INT4),
        pg_sys::INTERVALOID => Length::Of(pg_sys::F_INTERVAL_INTERVAL_INT4),
        _ => return None,
    })
}

/// Whether a value of one type is one of the other but for its length.
fn is_assignable(from: Oid, to: Oid) -> bool {
    const TEXTS: [Oid; 2] = [pg_sys::TEXTOID, pg_sys::VARCHAROID];
    from == to || TEXTS.contains(&from) && (TEXTS.contains(&to) || to == pg_sys::BPCHAROID)
}

/// The number as one of this type of integers, where it has room for it.
fn integer(number: i64, kind: Oid) -> Option<Datum> {
    match kind {
        pg_sys::INT2OID => i16::try_from(number).ok().map(Datum::from),
        pg_sys::INT4OID => i32::try_from(number).ok().map(Datum::from),
        pg_sys::INT8OID => Some(Datum::from(number)),
        _ => None,
    }
}
