//! Counters of namespaces: everybody's in shared memory where the library is preloaded, else those
//! of this session.
//!
//! The table is of fixed size. The name says in which set of places it can stand; where its set is
//! full, it is counted in one place for all others. Counting takes no lock.

use std::collections::HashSet;
use std::ffi::CStr;
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering::*};

use pgrx::pg_guard;
use pgrx::pg_sys::{self, LWLockMode, LWLockPadded};

use super::worker::Database;
use super::{raw, settings};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    Won,
    Duplicate,
    InProgress,
    Waits,
    /// Microseconds.
    WaitTime,
    Timeouts,
    Takeovers,
    Mismatches,
    Swept,
}

const COUNTERS: usize = Counter::Swept as usize + 1;

/// The longest namespace.
const NAME_LIMIT: usize = crate::key::NAMESPACE_LIMIT;

/// All zero where it is free.
#[repr(C)]
struct Place {
    counts: [AtomicU64; COUNTERS],
    database: AtomicU32,
    /// 0 where the place is free; written last.
    length: AtomicU16,
    name: [std::sync::atomic::AtomicU8; NAME_LIMIT],
}

/// The places that one name can stand at.
const PLACES: usize = 16;
const SETS: usize = 64;
/// One more, for all names that find no place.
const ALL: usize = SETS * PLACES + 1;

const NAME: &CStr = c"pg_once statistics";

static SHARED: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());
static LWLOCK: AtomicPtr<LWLockPadded> = AtomicPtr::new(ptr::null_mut());
static REQUESTED: AtomicBool = AtomicBool::new(false);
static OWN: OnceLock<Box<[Place]>> = OnceLock::new();

static mut EARLIER_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut EARLIER_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for the memory, while the postmaster loads the library.
pub fn request() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !settings::is_preloaded() || ASKED.swap(true, Relaxed) {
        return;
    }
    // SAFETY: hooks are set by the postmaster alone, and those that were there are called.
    unsafe {
        EARLIER_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(at_request);
        EARLIER_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(at_startup);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_request() {
    // SAFETY: called by the postmaster when memory may be asked for.
    unsafe {
        if let Some(earlier) = EARLIER_REQUEST {
            earlier();
        }
        pg_sys::RequestAddinShmemSpace(SIZE);
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 1);
    }
    REQUESTED.store(true, Relaxed);
}

/// Backends inherit what is found out here.
#[pg_guard]
unsafe extern "C-unwind" fn at_startup() {
    // SAFETY: called by the postmaster when shared memory is made, also anew after a crash; no
    // other process uses the table yet.
    unsafe {
        if let Some(earlier) = EARLIER_STARTUP {
            earlier();
        }
        if REQUESTED.load(Relaxed) {
            let mut found = false;
            let table = pg_sys::ShmemInitStruct(NAME.as_ptr(), SIZE, &raw mut found);
            if !found {
                ptr::write_bytes(table.cast::<u8>(), 0, SIZE);
            }
            LWLOCK.store(pg_sys::GetNamedLWLockTranche(NAME.as_ptr()), Relaxed);
            SHARED.store(table.cast(), Relaxed);
        }
    }
}

const SIZE: usize = ALL * size_of::<Place>();

/// What is to be counted of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; COUNTERS]);

impl Counts {
    pub fn add(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] += count;
    }
}

/// Counts for a namespace of this database.
pub fn add(name: &[u8], counts: &Counts) {
    let place = place(name);
    for (total, count) in place.counts.iter().zip(counts.0) {
        if count > 0 {
            total.fetch_add(count, Relaxed);
        }
    }
}

/// The counters of all namespaces of this database, and last, without a name, of those of all
/// databases that found no place.
pub fn all() -> Vec<(Option<Vec<u8>>, [u64; COUNTERS])> {
    let (database, places) = (database(), places());
    let others = &places[ALL - 1];
    // No place gets another name meanwhile.
    let mut all: Vec<_> = exclusively(|| {
        let own = |place: &Place| Some((Some(place.name_in(database)?), place.counts()));
        places[..ALL - 1].iter().filter_map(own).collect()
    });
    if others.counts().iter().any(|count| *count > 0) {
        all.push((None, others.counts()));
    }
    all
}

/// Sets the counters of one namespace back, or of all of this database and of those that found no
/// place.
pub fn reset(name: Option<&[u8]>) {
    let database = database();
    clear(|place| match name {
        Some(name) => place.is_of(database, name),
        None => place.name_in(database).is_some(),
    });
    if name.is_none() {
        places()[ALL - 1].clear();
    }
}

/// The databases that have counters.
pub fn databases() -> HashSet<Database> {
    let used = |place: &&Place| place.length.load(Acquire) > 0;
    let places = places()[..ALL - 1].iter().filter(used);
    places
        .map(|place| Database(place.database.load(Relaxed).into()))
        .collect()
}

/// Gives up the counters of a database that is no more, which nobody can set back.
pub fn forget(database: Database) {
    let database = database.0.to_u32();
    clear(|place| place.database.load(Relaxed) == database);
}

fn clear(its: impl Fn(&Place) -> bool) {
    exclusively(|| {
        for place in places()[..ALL - 1].iter().filter(|place| its(place)) {
            place.clear();
        }
    });
}

impl Place {
    fn counts(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|counter| self.counts[counter].load(Relaxed))
    }

    fn is_of(&self, database: u32, name: &[u8]) -> bool {
        usize::from(self.length.load(Acquire)) == name.len()
            && self.database.load(Relaxed) == database
            && name
                .iter()
                .zip(&self.name)
                .all(|(byte, own)| own.load(Relaxed) == *byte)
    }

    fn name_in(&self, database: u32) -> Option<Vec<u8>> {
        let length = usize::from(self.length.load(Acquire));
        (length > 0 && self.database.load(Relaxed) == database).then(|| {
            self.name[..length]
                .iter()
                .map(|byte| byte.load(Relaxed))
                .collect()
        })
    }

    fn take(&self, database: u32, name: &[u8]) {
        self.database.store(database, Relaxed);
        for (own, byte) in self.name.iter().zip(name) {
            own.store(*byte, Relaxed);
        }
        self.length.store(name.len() as u16, Release);
    }

    /// A count that comes at this moment may be lost, or be the next owner's.
    fn clear(&self) {
        self.length.store(0, Release);
        for count in &self.counts {
            count.store(0, Relaxed);
        }
    }
}

/// The place of a name: its own, a free one, or that of all others.
fn place(name: &[u8]) -> &'static Place {
    let (database, places) = (database(), places());
    let first = set(database, name) * PLACES;
    let set = &places[first..first + PLACES];
    let own = || set.iter().find(|place| place.is_of(database, name));
    if name.is_empty() || name.len() > NAME_LIMIT {
        return &places[ALL - 1];
    }
    if let Some(place) = own() {
        return place;
    }
    if set.iter().all(|place| place.length.load(Relaxed) > 0) {
        return &places[ALL - 1];
    }
    exclusively(|| {
        own().unwrap_or_else(
            || match set.iter().find(|place| place.length.load(Relaxed) == 0) {
                Some(free) => {
                    free.take(database, name);
                    free
                }
                None => &places[ALL - 1],
            },
        )
    })
}

/// FNV-1a. Names that fill the sets, on purpose or not, cost the counts of further ones their
/// names, in all databases; nothing but counts stands here.
fn set(database: u32, name: &[u8]) -> usize {
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ u64::from(database), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash ^ (hash >> 32)) as usize % SETS
}

fn places() -> &'static [Place] {
    let shared = SHARED.load(Relaxed);
    if shared.is_null() {
        // SAFETY: all zero is a table whose places are free.
        return OWN.get_or_init(|| unsafe { Box::<[Place]>::new_zeroed_slice(ALL).assume_init() });
    }
    // SAFETY: the table has ALL places, of atomics only, and stays where it is.
    unsafe { slice::from_raw_parts(shared, ALL) }
}

fn exclusively<T>(act: impl FnOnce() -> T) -> T {
    let lwlock = LWLOCK.load(Relaxed);
    if lwlock.is_null() {
        return act();
    }
    // SAFETY: `act` raises nothing, so the LWLock is released here.
    unsafe {
        let lwlock = &raw mut (*lwlock).lock;
        raw::LWLockAcquire(lwlock, LWLockMode::LW_EXCLUSIVE);
        let result = act();
        raw::LWLockRelease(lwlock);
        result
    }
}

fn database() -> u32 {
    // SAFETY: reads a global of this backend.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}
