//! Looking at very many names in the order of their storage keys: where the entries of these names are
//! near one another, one scan goes on from entry to entry instead of descending for each name. They are
//! where the index holds not many more entries than that, and where keys come in order.
//!
//! Between two looks the scan keeps a pin on the page of the index that it has come to, which
//! keeps vacuum from giving the rows of that page's entries to others. It is given back before
//! anything is waited for.

use std::mem;
use std::ptr;

use pgrx::pg_sys::{self, IndexScanDesc, IndexTupleData, ResourceOwner};

use super::key::{self, KEY_COLUMNS};
use super::{Claims, Cursor, Found, Name, visible_entry};
use crate::pg::guard::{Raised, guard};
use crate::pg::raw;
use crate::storage_key::StorageKey;

/// The scan, and what it is worth.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    at: At,
    /// How many entries it steps over to a name; one behind them is far away.
    steps: u32,
    /// How often it may go on at a name that is far away, before it is of no use.
    jumps: u32,
    /// How many names were near since the last jump was earned.
    near: u32,
}

/// How far the scan has come.
#[derive(Clone, Copy)]
enum At {
    /// It is of no use here.
    Never,
    /// It begins with the next name.
    Begin,
    /// It goes on behind the last entry.
    Next,
    /// It stands at the entry of this storage key.
    Entry(StorageKey),
    /// No entry is left.
    Over,
}

/// Where an entry came.
enum Step {
    There,
    /// Its place holds none.
    Missing,
    /// Further on than it is worth to step.
    Far,
}

impl Walk {
    /// A jump costs about as much as five names that are looked up one by one. So many names for one
    /// are a loss of a fiftieth; so many that were near have paid for it.
    const NAMES: usize = 256;
    const NEAR: u32 = 32;

    pub(super) const NEVER: Self = Self {
        at: At::Never,
        steps: 0,
        jumps: 0,
        near: 0,
    };

    /// For so many names. To step over the entries between two names must cost less than to
    /// descend: it does where they are about 16, each page holding some 200. Where there are more in the
    /// whole index they may still be fewer between these names.
    pub(super) fn of(claims: &Claims, names: usize) -> Result<Self, Raised> {
        const STEPS: usize = 16;
        const ENTRIES: usize = 200;
        // The least there is: a page about the index, and one of entries.
        const LEAST: usize = 2;
        if names * STEPS < LEAST * ENTRIES {
            return Ok(Self::NEVER);
        }
        let index = claims.index;
        // SAFETY: the index is open.
        let pages = unsafe {
            guard(|| raw::RelationGetNumberOfBlocksInFork(index, pg_sys::ForkNumber::MAIN_FORKNUM))
        }?;
        let (steps, jumps) = match names * STEPS >= pages as usize * ENTRIES {
            true => (u32::MAX, 0),
            false if names < Self::NAMES => return Ok(Self::NEVER),
            false => (STEPS as u32, (names / Self::NAMES) as u32),
        };
        Ok(Self {
            at: At::Begin,
            steps,
            jumps,
            near: 0,
        })
    }

    /// Whether the scan may go on at a name that is far away.
    fn jump(&mut self) -> bool {
        let may = self.jumps > 0;
        self.at = if may { At::Begin } else { At::Never };
        self.jumps = self.jumps.saturating_sub(1);
        may
    }

    fn was_near(&mut self) {
        self.near += 1;
        if self.near == Self::NEAR {
            self.near = 0;
            self.jumps = self.jumps.saturating_add(1);
        }
    }
}

impl<'t> Claims<'t> {
    /// The same as [`Claims::probe`], for a name whose storage key is behind that of the last one asked
    /// for. What others have inserted since a page of the index was read may be missing:
    /// [`Claims::insert`] says so then.
    pub fn probe_next(&mut self, name: &Name) -> Result<Found<'t>, Raised> {
        if matches!(self.walk.at, At::Never) || self.cursor.scan.is_null() {
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
                let mut claim = None;
                while claim.is_none() {
                    if matches!(walk.at, At::Begin) {
                        (*cursor).begin_walk(scan, name.storage_key);
                        walk.at = At::Next;
                    }
                    match step_to(scan, &mut walk, name) {
                        Step::There => {
                            claim = visible_entry(scan, heap, name, caller);
                            walk.at = At::Next;
                        }
                        Step::Missing => break,
                        Step::Far if walk.jump() => {}
                        Step::Far => {
                            (*scan).xs_want_itup = false;
                            (*cursor).rest(scan);
                            break;
                        }
                    }
                }
                walk.was_near();
                pg_sys::CurrentMemoryContext = caller;
                ((*cursor).found(claim), walk)
            })
        }?;
        self.cursor.scan = scan;
        self.walk = walk;
        match walk.at {
            At::Never => self.probe(name),
            _ => Ok(found),
        }
    }

    /// Gives back what the walk holds, and makes the scan one for single names again.
    pub(super) fn rest(&mut self) -> Result<(), Raised> {
        if matches!(self.walk.at, At::Never | At::Begin) {
            return Ok(());
        }
        self.walk.at = At::Begin;
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

/// Goes on to the next entry of the name.
unsafe fn step_to(scan: IndexScanDesc, walk: &mut Walk, name: &Name) -> Step {
    for _ in 0..walk.steps {
        let at = match walk.at {
            At::Entry(storage_key) => storage_key,
            At::Over => return Step::Missing,
            // SAFETY: the scan returns the entries, whose only columns are those of the key, not
            // NULL: they follow the header.
            _ => unsafe {
                let forward = pg_sys::ScanDirection::ForwardScanDirection;
                if raw::index_getnext_tid(scan, forward).is_null() {
                    walk.at = At::Over;
                    return Step::Missing;
                }
                key::read((*scan).xs_itup.add(1).cast())
            },
        };
        walk.at = At::Entry(at);
        if at == name.storage_key {
            return Step::There;
        }
        if at > name.storage_key {
            return Step::Missing;
        }
        walk.at = At::Next;
    }
    Step::Far
}

const _: () = assert!(size_of::<IndexTupleData>() == 8);
