//! Sleeping in the server without a lock.

use std::ffi::{c_int, c_long};

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::{raw, session};

/// Sleeps until `at`, in microseconds since 2000-01-01 UTC. A cancel, a timeout or the end of the
/// backend is served at once.
pub fn sleep_until(at: i64) -> Result<(), Raised> {
    let events = (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as c_int;
    let event = wait_event()?;
    loop {
        let left = at - session::now();
        if left <= 0 {
            return Ok(());
        }
        let milliseconds = (left as u64).div_ceil(1000) as c_long;
        // SAFETY: what pg_sleep does: the latch is this backend's, and is reset before what it
        // was set for is served.
        unsafe {
            guard(|| {
                raw::WaitLatch(pg_sys::MyLatch, events, milliseconds, event);
                raw::ResetLatch(pg_sys::MyLatch);
                if pg_sys::InterruptPending != 0 {
                    raw::ProcessInterrupts();
                }
            })?;
        }
    }
}

/// What pg_stat_activity shows as the wait event, of the type Extension.
#[cfg(any(feature = "pg17", feature = "pg18"))]
fn wait_event() -> Result<u32, Raised> {
    use std::sync::OnceLock;
    static EVENT: OnceLock<u32> = OnceLock::new();
    if let Some(event) = EVENT.get() {
        return Ok(*event);
    }
    // SAFETY: the name is NUL-terminated and short. A name that is known keeps its number.
    let event = unsafe { guard(|| raw::WaitEventExtensionNew(c"PgOnceBegin".as_ptr())) }?;
    Ok(*EVENT.get_or_init(|| event))
}

/// Older servers know one event for all extensions.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
fn wait_event() -> Result<u32, Raised> {
    Ok(pg_sys::PG_WAIT_EXTENSION)
}
