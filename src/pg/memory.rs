//! Memory for a part of a call that is repeated often.

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;

/// Runs `act` with memory of its own, which is given back after it. Values that leave it own what
/// they point to.
pub fn apart<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: the context is a child of the call's, so that it goes with it where `act` raises.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let own = guard(|| {
            raw::AllocSetContextCreateInternal(
                outer,
                c"pg_once part".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })?;
        pg_sys::CurrentMemoryContext = own;
        let result = act();
        pg_sys::CurrentMemoryContext = outer;
        if result.is_ok() {
            guard(|| raw::MemoryContextDelete(own))?;
        }
        result
    }
}
