//! The type of the parameters that are intervals, `once.duration`, and how long a period may be.

use std::ffi::CStr;

use pgrx::datum::AnyElement;
use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::call::Interval;
use crate::pg::{Call, ErrorReport, Raised, session, text};

#[pg_extern(sql = false)]
fn duration_in(call: Call) -> Result<Option<AnyElement>, ErrorReport> {
    let given = call.c_string(0).map_err(Error::from)?;
    if let Some(given) = given
        && is_number_without_unit(given.to_bytes())
    {
        return Err(Error::DurationWithoutUnit {
            given: text::decode(given.to_bytes()).map_err(Error::from)?,
        }
        .into());
    }
    match call.parsed_interval(0) {
        Ok(interval) => Ok(interval.into_any()?),
        Err(Raised::Server(error)) => Err(error.with_hint(HINT).into_report()),
        Err(error) => Err(error.into()),
    }
}

/// For what is no interval.
pub const HINT: &CStr = c"Write '5 seconds' or '5000 milliseconds'. If it is a part of a key, make one key of all parts: \
    begin_once('charge', once_key(customer, invoice)).";

/// The longest period, ttl and lease: 10 years.
const LONGEST: Interval = Interval {
    months: 120,
    days: 0,
    micros: 0,
};

/// The end of a period, a ttl or a lease that begins at `now`; none where it is not positive, not finite,
/// or longer than 10 years.
pub fn end(now: i64, length: Interval) -> Result<Option<i64>, Error> {
    let last = session::after(now, LONGEST)?.unwrap_or(i64::MAX);
    let end = session::after(now, length)?;
    Ok(end.filter(|end| *end > now && *end <= last && *end < i64::MAX))
}

/// Whether PostgreSQL reads an interval as if the byte were not there: ParseDateTime of
/// src/backend/utils/adt/datetime.c passes over blanks and punctuation but this.
fn is_passed_over(byte: &u8) -> bool {
    let is_punctuation = byte.is_ascii_punctuation() && !b"+-.:/".contains(byte);
    is_punctuation || byte.is_ascii_whitespace() || *byte == b'\x0b'
}

/// Whether a text is one number that is not zero: a sign, digits, a decimal point, an exponent, and around
/// them what is passed over.
fn is_number_without_unit(given: &[u8]) -> bool {
    let begin = given.iter().position(|byte| !is_passed_over(byte));
    let end = given.iter().rposition(|byte| !is_passed_over(byte));
    let number = match (begin, end) {
        (Some(begin), Some(end)) => &given[begin..=end],
        _ => return false,
    };
    let number = match number {
        [b'+' | b'-', number @ ..] => number.trim_ascii_start(),
        number => number,
    };
    let (mantissa, exponent) = match number
        .iter()
        .position(|byte| byte.eq_ignore_ascii_case(&b'e'))
    {
        Some(e) => (&number[..e], Some(&number[e + 1..])),
        None => (number, None),
    };
    let is_exponent = |exponent: &[u8]| {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let mut points = mantissa.iter().filter(|byte| **byte == b'.');
    let has_one_point_at_most = points.next().is_none() || points.next().is_none();
    let digits = || mantissa.iter().filter(|byte| **byte != b'.');
    has_one_point_at_most
        && digits().next().is_some()
        && digits().all(u8::is_ascii_digit)
        && exponent.is_none_or(is_exponent)
        && digits().any(|digit| *digit != b'0')
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn numbers_without_a_unit() {
        for given in [
            "5",
            "5000",
            " 5 ",
            "+5",
            "-5",
            "- 5",
            "0.5",
            ".5",
            "5.",
            "1e3",
            "1E+3",
            "2.5e-1",
            "\t7\n",
            "007",
            "\x0b5\x0c",
            "5,",
            "+5,",
            " , 5",
            "@ 5",
            "5 @",
            "(5)",
            "$5",
        ] {
            assert!(is_number_without_unit(given.as_bytes()), "{given}");
        }
        for given in [
            "0",
            "0.0",
            "-0",
            " 0 ",
            "0e5",
            "",
            " ",
            "-",
            ".",
            "e3",
            "5 s",
            "5s",
            "1e",
            "1e3s",
            "1.2.3",
            "00:00:05",
            "PT5S",
            "P5D",
            "@ 5 secs",
            "1 0:00:00",
            "1-2",
            "+0-1",
            "5 days",
            "1 2",
            "infinity",
            "5\u{a0}",
        ] {
            assert!(!is_number_without_unit(given.as_bytes()), "{given}");
        }
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// Whatever PostgreSQL prints for an interval, under any style, is read as the same interval.
    #[pg_test]
    fn what_interval_prints_is_read() {
        for style in ["postgres", "postgres_verbose", "sql_standard", "iso_8601"] {
            Spi::run(&format!("SET LOCAL intervalstyle = {style}")).unwrap();
            let differ = Spi::get_one::<i64>(
                "SELECT count(*) FROM generate_series(-40, 40) n,
                     LATERAL (VALUES (make_interval(secs => n)), (make_interval(days => n)), (make_interval(months => n)),
                         (make_interval(hours => n, secs => n / 7.0)), (make_interval(0, n, 0, n, n, n, n / 3.0)),
                         (make_interval(days => n, secs => -n))) i (v)
                 WHERE (i.v::text)::once.duration::interval IS DISTINCT FROM i.v",
            );
            assert_eq!(differ, Ok(Some(0)), "{style}");
        }
    }
}
