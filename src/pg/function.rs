//! A function as an object of the catalog.

use pgrx::pg_sys::{self, Oid};

use super::guard::{Raised, guard};
use super::raw;

/// Keeps other sessions from dropping the function of this object id, or from replacing it by way
/// of this lock, to the end of the transaction. CREATE OR REPLACE FUNCTION takes none: without it
/// the second of two sessions raises an internal error.
pub fn lock_against_change(function: u32) -> Result<(), Raised> {
    let mode = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: locks by object id.
    unsafe {
        guard(|| {
            raw::LockDatabaseObject(pg_sys::ProcedureRelationId, Oid::from(function), 0, mode);
        })
    }
}
