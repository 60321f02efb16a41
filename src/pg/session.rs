//! What holds for the session and transaction at this moment.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Datum};

use super::call::Interval;
use super::guard::{Raised, guard};
use super::raw;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// Whether all statements of the transaction see one snapshot.
    pub fn has_one_snapshot(self) -> bool {
        self != Self::ReadCommitted
    }
}

pub fn isolation() -> Isolation {
    // SAFETY: reads a global of this backend.
    match unsafe { pg_sys::XactIsoLevel } as u32 {
        pg_sys::XACT_SERIALIZABLE => Isolation::Serializable,
        pg_sys::XACT_REPEATABLE_READ => Isolation::RepeatableRead,
        _ => Isolation::ReadCommitted,
    }
}

/// Raises 25006 in a read-only transaction and on a standby, as core does for its commands.
pub fn demand_writable(function: &'static CStr) -> Result<(), Raised> {
    // SAFETY: the name is NUL-terminated and static.
    unsafe { guard(|| raw::PreventCommandIfReadOnly(function.as_ptr())) }
}

/// Raises 25000 in a parallel operation, which a function gets into that somebody else's marks as
/// PARALLEL SAFE.
pub(super) fn demand_not_parallel() -> Result<(), Raised> {
    // SAFETY: IsInParallelMode reads this backend's state, and raises nothing.
    unsafe {
        if !raw::IsInParallelMode() {
            return Ok(());
        }
        guard(|| raw::PreventCommandIfParallelMode(c"a function of pg_once".as_ptr()))
    }
}

/// `clock_timestamp()`: microseconds since 2000-01-01 UTC.
pub fn now() -> i64 {
    // SAFETY: reads the clock, and raises nothing.
    unsafe { raw::GetCurrentTimestamp() }
}

/// `from` plus `period` by the UTC calendar: a day is 24 hours, a month a calendar month.
/// None where the result is out of the range of timestamps.
pub fn after(from: i64, period: Interval) -> Result<Option<i64>, Raised> {
    let mut period = pg_sys::Interval {
        time: period.micros,
        day: period.days,
        month: period.months,
    };
    let period = Datum::from(&raw mut period);
    // SAFETY: a timestamp and an interval, as the function declares. It is the function of
    // timestamp without time zone, whose arithmetic is UTC's on the value of a timestamptz. It holds
    // nothing where it raises, so that one of its errors may be an answer.
    let sum = unsafe {
        guard(|| {
            raw::DirectFunctionCall2Coll(
                Some(raw::timestamp_pl_interval),
                pg_sys::InvalidOid,
                Datum::from(from),
                period,
            )
        })
    };
    match sum {
        Ok(sum) => Ok(Some(sum.value() as i64)),
        Err(error) if error.is(pgrx::PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Raises what somebody asks of this backend meanwhile: a cancel, a timeout, an end.
pub fn check_for_interrupts() -> Result<(), Raised> {
    // SAFETY: what CHECK_FOR_INTERRUPTS does.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            guard(|| raw::ProcessInterrupts())?;
        }
    }
    Ok(())
}

/// Whether text of this database is UTF-8.
pub fn is_utf8() -> bool {
    // SAFETY: reads a global of this backend.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// Whether this server is in recovery, as a standby is.
pub fn is_standby() -> bool {
    // SAFETY: reads the state of the server, and raises nothing.
    unsafe { raw::RecoveryInProgress() }
}

/// 32 random bytes that initdb made: the same in all backends of a cluster and of its physical
/// standbys, and in no SQL function. The file `global/pg_control` has them.
pub fn cluster_secret() -> [u8; 32] {
    let mut secret = [0; pg_sys::MOCK_AUTH_NONCE_LEN as usize];
    // SAFETY: the bytes are in the shared copy of the control file, which every backend is attached
    // to, and do not change while the server runs.
    unsafe {
        let bytes = pg_sys::GetMockAuthenticationNonce().cast::<u8>();
        bytes.copy_to_nonoverlapping(secret.as_mut_ptr(), secret.len());
    }
    secret
}

/// The number of the session's database.
pub fn database() -> u32 {
    // SAFETY: it is set before a backend runs any statement.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}
