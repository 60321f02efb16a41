//! Memory for a part of a call that is repeated often.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{self, MemoryContext, MemoryContextData};

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

/// Empty memory for one scan of an index, which the session keeps.
///
/// A scan of a B-tree takes 27 kB in one piece. Memory of a call asks the system for so much each
/// time and gives it back, which is a twentieth of what a claim costs. A generation context takes
/// it from its first block, which it never gives back.
///
/// # Safety
/// Called within a guard. What was in it before is over: so the scan begins and ends within that
/// guard, or an error breaks it off.
pub(super) unsafe fn of_scan() -> MemoryContext {
    static MEMORY: AtomicPtr<MemoryContextData> = AtomicPtr::new(ptr::null_mut());
    /// Room for a scan with all that it may allocate.
    const FIRST_BLOCK: usize = 48 * 1024;
    /// Pieces larger than a sixteenth of it would get blocks of their own.
    const LARGEST_BLOCK: usize = 512 * 1024;
    // SAFETY: the caller's promise. The context lives as long as the session.
    unsafe {
        let memory = MEMORY.load(Relaxed);
        if !memory.is_null() {
            raw::MemoryContextReset(memory);
            return memory;
        }
        let memory = raw::GenerationContextCreate(
            pg_sys::TopMemoryContext,
            c"pg_once scan".as_ptr(),
            FIRST_BLOCK,
            FIRST_BLOCK,
            LARGEST_BLOCK,
        );
        MEMORY.store(memory, Relaxed);
        memory
    }
}
