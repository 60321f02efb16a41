//! How long a call may wait.

use crate::error::Error;
use crate::pg::call::Interval;
use crate::pg::session;

/// 24 days: the longest wait that is told from waiting without end.
const LONGEST: i64 = 24 * DAY;
const DAY: i64 = 86_400_000_000;
const MONTH_DAYS: i64 = 30;

/// The end of a call's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// As long as `lock_timeout` and `statement_timeout` allow.
    None,
    /// Up to this time, in microseconds since 2000-01-01 UTC.
    At(i64),
}

impl Timeout {
    /// The end of a wait that begins now and lasts `timeout`.
    pub fn starting_now(timeout: Option<Interval>) -> Result<Self, Error> {
        Ok(match longest(timeout)? {
            None => Self::None,
            Some(length) => Self::At(session::now() + length),
        })
    }

    pub fn deadline(self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::At(deadline) => Some(deadline),
        }
    }
}

/// How long a wait with this timeout lasts at most, in microseconds; none: without end.
pub fn longest(timeout: Option<Interval>) -> Result<Option<i64>, Error> {
    timeout
        .map(|timeout| length(timeout).ok_or(Error::TimeoutOutOfRange))
        .transpose()
        .map(|length| length.map(|length| length.min(LONGEST)))
}

/// The length in microseconds; none where it is negative or infinite. PostgreSQL 17 and later
/// store infinity as the extremes of all three fields.
fn length(interval: Interval) -> Option<i64> {
    let Interval {
        months,
        days,
        micros,
    } = interval;
    let infinite = [(i32::MAX, i64::MAX), (i32::MIN, i64::MIN)]
        .iter()
        .any(|(field, time)| months == *field && days == *field && micros == *time);
    let days = i64::from(months) * MONTH_DAYS + i64::from(days);
    let length = days.saturating_mul(DAY).saturating_add(micros);
    (!infinite && length >= 0).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i32, micros: i64) -> Interval {
        Interval {
            months,
            days,
            micros,
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(length(interval(0, 0, 0)), Some(0));
        assert_eq!(length(interval(1, 1, 5)), Some(31 * DAY + 5));
        assert_eq!(length(interval(0, 1, -DAY)), Some(0));
        assert_eq!(length(interval(0, 0, -1)), None);
        assert_eq!(length(interval(0, -1, 1)), None);
        assert_eq!(length(interval(i32::MAX, i32::MAX, i64::MAX)), None);
        assert_eq!(length(interval(i32::MIN, i32::MIN, i64::MIN)), None);
        assert_eq!(length(interval(i32::MAX, i32::MAX, 0)), Some(i64::MAX));
    }
}
