//! Waiting in the server: sleeping without a lock, and whether there was a wait.

#[cfg(any(feature = "pg17", feature = "pg18", feature = "pg19"))]
use std::ffi::CStr;
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::{raw, session};

/// When this backend last began to sleep. Only its one thread writes it.
static SLEPT_AT: AtomicI64 = AtomicI64::new(i64::MIN);

/// The longest wait for a latch, in milliseconds.
pub(super) const LONGEST: u128 = c_int::MAX as u128;

/// Whether this backend has slept or waited for a lock since then. Every wait for a lock of the
/// lock manager, be it for a transaction, a row or a table, sets the timer that looks for
/// deadlocks; the server remembers when that was.
pub fn has_waited_since(at: i64) -> bool {
    // SAFETY: reads this backend's own timers.
    let waited_at = unsafe { raw::get_timeout_start_time(raw::DEADLOCK_TIMEOUT) };
    waited_at.max(SLEPT_AT.load(Relaxed)) >= at
}

/// Notes that this backend begins to sleep.
pub(super) fn note_sleep() {
    SLEPT_AT.store(session::now(), Relaxed);
}

/// Sleeps this long, whoever sets the clock meanwhile. A cancel, a timeout or the end of the
/// backend is served at once.
pub fn sleep(length: Duration) -> Result<(), Raised> {
    let events = (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as c_int;
    let event = Event::Begin.number()?;
    let begun = Instant::now();
    loop {
        let left = length.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        note_sleep();
        let milliseconds = left.as_micros().div_ceil(1000).min(LONGEST) as c_long;
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
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A begin_once that waits for somebody's work.
    Begin,
    /// The launcher, between two visits.
    Launcher,
    /// A sweeper, between two steps.
    Sweeper,
}

#[cfg(any(feature = "pg17", feature = "pg18", feature = "pg19"))]
impl Event {
    fn name(self) -> &'static CStr {
        match self {
            Self::Begin => c"PgOnceBegin",
            Self::Launcher => c"PgOnceLauncher",
            Self::Sweeper => c"PgOnceSweeper",
        }
    }

    pub(super) fn number(self) -> Result<u32, Raised> {
        use std::sync::OnceLock;
        static NUMBERS: [OnceLock<u32>; 3] = [const { OnceLock::new() }; 3];
        let number = &NUMBERS[self as usize];
        if let Some(number) = number.get() {
            return Ok(*number);
        }
        // SAFETY: the name is NUL-terminated and short. A name that is known keeps its number.
        let new = unsafe { guard(|| raw::WaitEventExtensionNew(self.name().as_ptr())) }?;
        Ok(*number.get_or_init(|| new))
    }
}

/// Older servers know one event for all extensions.
#[cfg(not(any(feature = "pg17", feature = "pg18", feature = "pg19")))]
impl Event {
    pub(super) fn number(self) -> Result<u32, Raised> {
        Ok(pg_sys::PG_WAIT_EXTENSION)
    }
}
