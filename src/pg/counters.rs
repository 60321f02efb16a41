//! Counters of namespaces: everybody's in shared memory where the library is preloaded, else those
//! of this session.
//!
//! The table is of fixed size. The name says in which set of places it can stand. A database gets a
//! new place only while it holds fewer of the set than are free, so that each takes at most half of
//! what the others leave. Where a name gets none, it is counted in a place that its database has for
//! all of these; where that finds none either, it is not counted. Counting takes no lock.

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
    /// 0 where the place is free, `NAMELESS` where it has no name; written last.
    length: AtomicU16,
    name: [std::sync::atomic::AtomicU8; NAME_LIMIT],
}

/// The places that one name can stand at.
const PLACES: usize = 32;
/// What a database can hold of them, where it is the first.
const SHARE: usize = PLACES / 2;
const SETS: usize = 64;
/// For databases that have names without a place: one place for each of these databases.
const NAMELESS_SETS: usize = 8;
const ALL: usize = (SETS + NAMELESS_SETS) * PLACES;

const NAMELESS: usize = NAME_LIMIT + 1;

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

/// Who holds the places that a name of this database does not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    ThisDatabase,
    Others,
}

/// Counts for a namespace of this database.
pub fn add(name: &[u8], counts: &Counts) {
    let Some(place) = place(name) else {
        return;
    };
    for (total, count) in place.counts.iter().zip(counts.0) {
        if count > 0 {
            total.fetch_add(count, Relaxed);
        }
    }
}

/// The counters of all namespaces of this database, and last, without a name, of those that found
/// no place.
pub fn all() -> Vec<(Option<Vec<u8>>, [u64; COUNTERS])> {
    let database = database();
    // No place gets another name meanwhile.
    exclusively(|| {
        let own = |place: &Place| Some((place.name_in(database)?, place.counts()));
        places().iter().filter_map(own).collect()
    })
}

/// Who holds the places where some names of this database find none; none where all find one.
pub fn holder() -> Option<Holder> {
    let database = database();
    let full = || {
        let sets = places()[..SETS * PLACES].chunks_exact(PLACES);
        sets.filter(|set| !has_room(set, database))
    };
    if full().any(|set| held(set, database) >= SHARE) {
        return Some(Holder::ThisDatabase);
    }
    full().next().map(|_| Holder::Others)
}

/// Sets the counters of one namespace back, or of all of this database.
pub fn reset(name: Option<&[u8]>) {
    let database = database();
    clear(|place| match name {
        Some(_) => place.is_of(database, name),
        None => place.name_in(database).is_some(),
    });
}

/// The databases that have counters.
pub fn databases() -> HashSet<Database> {
    let used = places().iter().filter(|place| !place.is_free());
    used.map(|place| Database(place.database.load(Relaxed).into()))
        .collect()
}

/// Gives up the counters of a database that is no more, which nobody can set back.
pub fn forget(database: Database) {
    let database = database.0.to_u32();
    clear(|place| place.database.load(Relaxed) == database);
}

fn clear(its: impl Fn(&Place) -> bool) {
    exclusively(|| {
        for place in places().iter().filter(|place| its(place)) {
            place.clear();
        }
    });
}

impl Place {
    fn counts(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|counter| self.counts[counter].load(Relaxed))
    }

    fn is_free(&self) -> bool {
        self.length.load(Acquire) == 0
    }

    fn is_of(&self, database: u32, name: Option<&[u8]>) -> bool {
        let bytes = name.unwrap_or_default();
        usize::from(self.length.load(Acquire)) == name.map_or(NAMELESS, <[u8]>::len)
            && self.database.load(Relaxed) == database
            && bytes
                .iter()
                .zip(&self.name)
                .all(|(byte, own)| own.load(Relaxed) == *byte)
    }

    /// The name, or that it has none, where the place is this database's.
    fn name_in(&self, database: u32) -> Option<Option<Vec<u8>>> {
        let length = usize::from(self.length.load(Acquire));
        if length == 0 || self.database.load(Relaxed) != database {
            return None;
        }
        let name = self.name.get(..length);
        Some(name.map(|name| name.iter().map(|byte| byte.load(Relaxed)).collect()))
    }

    fn take(&self, database: u32, name: Option<&[u8]>) {
        self.database.store(database, Relaxed);
        for (own, byte) in self.name.iter().zip(name.unwrap_or_default()) {
            own.store(*byte, Relaxed);
        }
        let length = name.map_or(NAMELESS, <[u8]>::len);
        self.length.store(length as u16, Release);
    }

    /// A count that comes at this moment may be lost, or be the next owner's.
    fn clear(&self) {
        self.length.store(0, Release);
        for count in &self.counts {
            count.store(0, Relaxed);
        }
    }
}

/// The place of a name: its own, or that of all names of its database that have none.
fn place(name: &[u8]) -> Option<&'static Place> {
    let database = database();
    if name.is_empty() || name.len() > NAME_LIMIT {
        return nameless(database);
    }
    let set = set(hash(database, name) % SETS);
    find(set, database, Some(name))
        .or_else(|| obtain(set, database, Some(name)))
        .or_else(|| nameless(database))
}

#[cold]
fn nameless(database: u32) -> Option<&'static Place> {
    let set = set(SETS + database as usize % NAMELESS_SETS);
    find(set, database, None).or_else(|| obtain(set, database, None))
}

#[inline(always)]
fn find(set: &'static [Place], database: u32, name: Option<&[u8]>) -> Option<&'static Place> {
    set.iter().find(|place| place.is_of(database, name))
}

/// A place that was free, or that another session took for the same name meanwhile.
#[cold]
fn obtain(set: &'static [Place], database: u32, name: Option<&[u8]>) -> Option<&'static Place> {
    if !has_room(set, database) {
        return None;
    }
    exclusively(|| {
        let found = find(set, database, name);
        if found.is_some() || !has_room(set, database) {
            return found;
        }
        let free = set.iter().find(|place| place.is_free())?;
        free.take(database, name);
        Some(free)
    })
}

/// Whether the database may take one more place: there stays room for others.
fn has_room(set: &[Place], database: u32) -> bool {
    held(set, database) < set.iter().filter(|place| place.is_free()).count()
}

fn held(set: &[Place], database: u32) -> usize {
    let its = |place: &&Place| !place.is_free() && place.database.load(Relaxed) == database;
    set.iter().filter(its).count()
}

fn set(number: usize) -> &'static [Place] {
    let first = number * PLACES;
    &places()[first..first + PLACES]
}

/// FNV-1a. Names can be chosen that fall in one set: the share of the set is what bounds them.
fn hash(database: u32, name: &[u8]) -> usize {
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ u64::from(database), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash ^ (hash >> 32)) as usize
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
