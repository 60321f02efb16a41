//! Points at which a test holds a session: see `src/backend/utils/misc/injection_point.c`.
//!
//! They are there in builds with the feature `injection_points`, which only `make proof` makes. In all
//! others a point is nothing.

#[cfg(not(feature = "injection_points"))]
use super::guard::Raised;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A claim was looked for.
    Probe,
    /// The row of a claim is in the table, and comes into the next index now.
    Insert,
    /// The row of a claim has been offered to all indexes, and is confirmed or given up now.
    Confirm,
    /// A transaction that decides is waited for now.
    Wait,
    /// An expired claim is renewed now.
    Renew,
    /// The row of a user's table is created now.
    CreateRow,
}

#[cfg(not(feature = "injection_points"))]
#[inline(always)]
pub fn reach(_: Point) -> Result<(), Raised> {
    Ok(())
}

/// # Safety
/// Called within a guard.
#[cfg(not(feature = "injection_points"))]
#[inline(always)]
pub(super) unsafe fn reach_within_guard(_: Point) {}

#[cfg(feature = "injection_points")]
pub use attached::reach;
#[cfg(feature = "injection_points")]
pub(super) use attached::reach_within_guard;

#[cfg(feature = "injection_points")]
mod attached {
    use std::ffi::CStr;
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use pgrx::pg_sys;

    use super::Point;
    use crate::pg::guard::{Raised, guard};
    use crate::pg::raw;

    /// `INJ_NAME_MAXLEN`.
    const LONGEST: usize = 64;

    /// How often each point was reached.
    static VISITS: [AtomicU8; 6] = [const { AtomicU8::new(0) }; 6];

    impl Point {
        fn name(self) -> &'static [u8] {
            match self {
                Self::Probe => b"pg_once-probe-",
                Self::Insert => b"pg_once-insert-",
                Self::Confirm => b"pg_once-confirm-",
                Self::Wait => b"pg_once-wait-",
                Self::Renew => b"pg_once-renew-",
                Self::CreateRow => b"pg_once-create-row-",
            }
        }
    }

    /// Does what is attached to the point.
    pub fn reach(point: Point) -> Result<(), Raised> {
        // SAFETY: nothing is held here that an ERROR would leave behind.
        unsafe { guard(|| reach_within_guard(point)) }
    }

    /// Each session has points of its own: their names end with its `application_name`, and with 0 or 1 in
    /// turn, so that who looks at the session sees when it comes to the same point again.
    ///
    /// # Safety
    /// Called within a guard.
    pub unsafe fn reach_within_guard(point: Point) {
        let mut name = [0; LONGEST];
        // SAFETY: the setting is null or a string that ends with a NUL.
        let session = unsafe {
            match pg_sys::application_name.is_null() {
                true => b"".as_slice(),
                false => CStr::from_ptr(pg_sys::application_name).to_bytes(),
            }
        };
        let turn = match VISITS[point as usize].fetch_add(1, Relaxed) % 2 {
            0 => b"-0",
            _ => b"-1",
        };
        let bytes = point.name().iter().chain(session).chain(turn);
        for (to, from) in name.iter_mut().take(LONGEST - 1).zip(bytes) {
            *to = *from;
        }
        // SAFETY: the name ends with a NUL; the caller's promise.
        unsafe {
            raw::InjectionPointRun(
                name.as_ptr().cast(),
                #[cfg(not(feature = "pg17"))]
                std::ptr::null_mut(),
            );
        }
    }
}
