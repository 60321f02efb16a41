//! Doing everything and leaving nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;

/// Runs `act` in a subtransaction that is rolled back, and returns what it answered.
pub fn rehearse<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: the order of calls is PL/pgSQL's for a block with an EXCEPTION clause that was
    // entered: memory context and resource owner are saved, and restored after the rollback.
    unsafe {
        let (memory, resources) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        guard(|| raw::BeginInternalSubTransaction(ptr::null()))?;
        pg_sys::CurrentMemoryContext = memory;
        let ended = catch_unwind(AssertUnwindSafe(act));
        pg_sys::CurrentMemoryContext = memory;
        guard(|| raw::RollbackAndReleaseCurrentSubTransaction())?;
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = resources;
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
