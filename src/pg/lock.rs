//! Advisory locks in a space of their own.

use pgrx::pg_sys::{self, LOCKTAG};

use super::guard::{Raised, guard};
use super::raw;

/// The fourth field of an advisory lock's tag, which keeps the spaces apart: pg_locks shows it as
/// `objsubid`.
///
/// Known values of others: 1 and 2 are core's (`pg_advisory_lock` of one and of two numbers),
/// 4 to 16 Citus', 29749 TimescaleDB's.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum Class {
    /// The turn to create a row of a user's table.
    Row = 20_601,
}

/// Takes the lock to the end of the transaction, in turn with all who wait for it.
pub fn take(class: Class, key: u64) -> Result<(), Raised> {
    // SAFETY: reads a global of this backend; the tag is filled as SET_LOCKTAG_ADVISORY does.
    let tag = unsafe {
        LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: (key >> 32) as u32,
            locktag_field3: key as u32,
            locktag_field4: class as u16,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        }
    };
    let tag = &raw const tag;
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: the tag outlives the call.
    unsafe { guard(|| raw::LockAcquire(tag, mode, false, false)) }.map(|_| ())
}
