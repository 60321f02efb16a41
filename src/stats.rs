//! Statistics: what the calls of each namespace were told. `once.stats`, `once.reset_stats`.
//!
//! Answers are counted as they are given, whether or not the transaction commits.

use pgrx::{PgSqlErrorCode, pg_extern};

use crate::error::Error;
use crate::key;
use crate::pg::counters::{self, Counter, Counts, Holder};
use crate::pg::role::READ_ALL_STATS;
use crate::pg::store::Store;
use crate::pg::{Call, ErrorReport, Value, latch, session, settings};
use crate::policy;

/// The counters in the order of [`Counter`].
#[pg_extern(sql = false)]
fn counters(call: Call) -> Result<(), ErrorReport> {
    Ok(show(call)?)
}

#[pg_extern(sql = false)]
fn reset_stats(call: Call) -> Result<bool, ErrorReport> {
    reset(call)?;
    Ok(true)
}

/// What a call was told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Won,
    Duplicate,
    InProgress,
    /// Of a batch, how many keys were won and how many were not.
    Some {
        won: usize,
        duplicate: usize,
    },
    Mismatch,
    /// Work whose lease was over, while its token was still current.
    Takeover,
    /// A lock that was not obtained in time.
    TimedOut,
    /// What is not counted.
    Other,
}

/// Makes the call, and counts what it was told.
pub fn observe<T>(
    ns: &[u8],
    call: impl FnOnce() -> Result<T, Error>,
    told: impl FnOnce(&T) -> Told,
) -> Result<T, Error> {
    if !settings::stats() {
        return call();
    }
    let begun = session::now();
    let result = call();
    let mut counts = Counts::default();
    let told = result.as_ref().map(told);
    match told {
        Ok(Told::Won) => counts.add(Counter::Won, 1),
        Ok(Told::Duplicate) => counts.add(Counter::Duplicate, 1),
        Ok(Told::InProgress) => counts.add(Counter::InProgress, 1),
        Ok(Told::Some { won, duplicate }) => {
            counts.add(Counter::Won, won as u64);
            counts.add(Counter::Duplicate, duplicate as u64);
        }
        Ok(Told::Mismatch) => counts.add(Counter::Mismatches, 1),
        Ok(Told::Takeover) => {
            counts.add(Counter::Won, 1);
            counts.add(Counter::Takeovers, 1);
        }
        Ok(Told::TimedOut | Told::Other) | Err(_) => {}
    }
    if latch::has_waited_since(begun) {
        let took = (session::now() - begun).max(0);
        counts.add(Counter::Waits, 1);
        counts.add(Counter::WaitTime, took as u64);
        if gave_up(told) {
            counts.add(Counter::Timeouts, 1);
        }
    }
    if counts != Counts::default() {
        counters::add(ns, &counts);
    }
    result
}

/// Counts what was swept.
pub fn swept(ns: &[u8], rows: i64) {
    if settings::stats() {
        let mut counts = Counts::default();
        counts.add(Counter::Swept, rows.unsigned_abs());
        counters::add(ns, &counts);
    }
}

/// Whether the call ended because its time was over.
fn gave_up(told: Result<Told, &Error>) -> bool {
    match told {
        Ok(told) => matches!(told, Told::InProgress | Told::TimedOut),
        Err(Error::Postgres(raised)) => {
            raised.is(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE)
                || raised.is(PgSqlErrorCode::ERRCODE_QUERY_CANCELED)
        }
        Err(_) => false,
    }
}

/// Of the namespaces that the caller may use. What is counted without a name may be of others: it is
/// for those who may know of all, and with it, who holds the places.
fn show(call: Call) -> Result<(), Error> {
    let store = Store::of(call)?;
    for (ns, counts) in counters::all() {
        let is_open = match &ns {
            Some(ns) => policy::admits(ns)?,
            None => READ_ALL_STATS.includes_caller()? || policy::is_administrator()?,
        };
        if is_open {
            let holder = match ns {
                Some(_) => None,
                None => counters::holder().map(name),
            };
            let counts = counts.map(|count| count as i64);
            store.put(&[
                Value::text_or_null(ns.as_deref())?,
                Value::integers(&counts)?,
                Value::text_or_null(holder)?,
            ])?;
        }
    }
    Ok(())
}

fn name(holder: Holder) -> &'static [u8] {
    match holder {
        Holder::ThisDatabase => b"this database",
        Holder::Others => b"others",
    }
}

fn reset(call: Call) -> Result<(), Error> {
    let name = match call.value(0)?.is_null() {
        true => None,
        false => Some(key::namespace(call, 0)?),
    };
    counters::reset(name);
    Ok(())
}
