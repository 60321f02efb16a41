//! Looking at very many names in the order of their storage keys: where the index holds not many more
//! entries than that, one scan goes on from entry to entry instead of descending for each name.
//!
//! Between two looks the scan keeps a pin on the page of the index that it has come to, which
//! keeps vacuum from giving the rows of that page's entries to others. It is given back before
//! anything is waited for.

use std::mem;
use std::ptr;

use pgrx::pg_sys::{self, IndexScanDesc, IndexTupleData, ResourceOwner};

use super::key::{self, KEY_COLUMNS};
use super::{Claims, Cursor, Found, Name, visible};
use crate::pg::guard::{Raised, guard};
use crate::pg::raw;
use crate::storage_key::StorageKey;

/// How far the scan has come.
#[derive(Clone, Copy)]
pub(super) enum Walk {
    /// It is of no use here.
    Never,
    /// It begins with the next name.
    Begin,
    /// It goes on behind the last entry.
    Next,
    /// It stands at the entry of this storage key.
    At(StorageKey),
    /// No entry is left.
    Over,
}

impl Walk {
    /// For so many names. To step over the entries between two names must cost less than to
    /// descend: it does where they are about 16, each page holding some 200.
    pub(super) fn of(claims: &Claims, names: usize) -> Result<Self, Raised> {
        const PAGES: usize = 16;
        const ENTRIES: usize = 200;
        // The least there is: a page about the index, and one of entries.
        const LEAST: usize = 2;
        if names * PAGES < LEAST * ENTRIES {
            return Ok(Self::Never);
        }
        let index = claims.index;
        // SAFETY: the index is open.
        let pages = unsafe {
            guard(|| raw::RelationGetNumberOfBlocksInFork(index, pg_sys::ForkNumber::MAIN_FORKNUM))
        }?;
        Ok(match names * PAGES >= pages as usize * ENTRIES {
            true => Self::Begin,
            false => Self::Never,
        })
    }
}

impl<'t> Claims<'t> {
    /// The same as [`Claims::probe`], for a name whose storage key is behind that of the last one asked
    /// for. What others have inserted since a page of the index was read may be missing:
    /// [`Claims::insert`] says so then.
    pub fn probe_next(&mut self, name: &Name) -> Result<Found<'t>, Raised> {
        if matches!(self.walk, Walk::Never) || self.cursor.scan.is_null() {
            return self.probe(name);
        }
        let (memory, resources, mut walk) = (self.memory, self.resources, self.walk);
        // As in `probe`: what an error breaks off is not used again.
        let scan = mem::replace(&mut self.cursor.scan, ptr::null_mut());
        let cursor = ptr::from_mut(&mut *self.cursor);
        let heap = self.heap;
        // SAFETY: the relations are open, and the cursor outlives the scan that points to it.
        let (found, walk) = unsafe {
            owning(resources, || {
                if pg_sys::InterruptPending != 0 {
                    raw::ProcessInterrupts();
                }
                let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, memory);
                if matches!(walk, Walk::Begin) {
                    (*cursor).begin_walk(scan, name.storage_key);
                    walk = Walk::Next;
                }
                let mut claim = None;
                while claim.is_none() && step_to(scan, &mut walk, name) {
                    claim = visible(scan, heap, name, caller);
                    walk = Walk::Next;
                }
                pg_sys::CurrentMemoryContext = caller;
                let found = claim.map_or(Found::Nothing, |claim| (*cursor).found(claim));
                (found, walk)
            })
        }?;
        self.cursor.scan = scan;
        self.walk = walk;
        Ok(found)
    }

    /// Gives back what the walk holds, and makes the scan one for single names again.
    pub(super) fn rest(&mut self) -> Result<(), Raised> {
        if matches!(self.walk, Walk::Never | Walk::Begin) {
            return Ok(());
        }
        self.walk = Walk::Begin;
        let scan = self.cursor.scan;
        if scan.is_null() {
            return Ok(());
        }
        let cursor = ptr::from_mut(&mut *self.cursor);
        // SAFETY: the scan is open, and the cursor outlives it.
        unsafe { owning(self.resources, || (*cursor).rest(scan)) }
    }
}

/// Calls PostgreSQL with another resource owner than the current one.
///
/// # Safety
/// The owner lives; for `f` see [`guard`].
unsafe fn owning<T: Copy>(resources: ResourceOwner, f: impl FnOnce() -> T) -> Result<T, Raised> {
    // SAFETY: the caller's promise.
    unsafe {
        let caller = ptr::replace(&raw mut pg_sys::CurrentResourceOwner, resources);
        let done = guard(f);
        pg_sys::CurrentResourceOwner = caller;
        done
    }
}

impl Cursor {
    unsafe fn begin_walk(&mut self, scan: IndexScanDesc, storage_key: StorageKey) {
        const COUNT: i32 = KEY_COLUMNS as i32;
        // SAFETY: the keys are copied, and what they point to stays as long as the scan.
        unsafe {
            let mut keys = key::from(storage_key, &mut self.first);
            (*scan).xs_want_itup = true;
            raw::index_rescan(scan, keys.as_mut_ptr(), COUNT, ptr::null_mut(), 0);
        }
    }
}

/// Goes on to the next entry of the name; false where there is none.
unsafe fn step_to(scan: IndexScanDesc, walk: &mut Walk, name: &Name) -> bool {
    loop {
        let at = match *walk {
            Walk::At(storage_key) => storage_key,
            Walk::Over => return false,
            // SAFETY: the scan returns the entries, whose only columns are those of the key, not
            // NULL: they follow the header.
            _ => unsafe {
                let forward = pg_sys::ScanDirection::ForwardScanDirection;
                if raw::index_getnext_tid(scan, forward).is_null() {
                    *walk = Walk::Over;
                    return false;
                }
                key::read((*scan).xs_itup.add(1).cast())
            },
        };
        *walk = Walk::At(at);
        if at >= name.storage_key {
            return at == name.storage_key;
        }
        *walk = Walk::Next;
    }
}

const _: () = assert!(size_of::<IndexTupleData>() == 8);
