//! The names of the locks that all sessions hold or wait for, in shared memory. Only where the
//! library is in `shared_preload_libraries`; else nothing here does anything.
//!
//! The table is of fixed size. A lock's number says in which set of places its name can stand. A
//! place whose lock nobody holds or waits for any more may be given to another name, so the name
//! of a lock in use is never lost; a name finds no place only while all of its set are in use.

use std::ffi::CStr;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use pgrx::pg_guard;
use pgrx::pg_sys::{self, LWLock, LWLockMode, LWLockPadded, Oid};

use super::super::{Class, Lock, Mode, tag};
use super::{KEY_LIMIT, Known, NS_LIMIT, cut};
use crate::pg::{Role, raw, settings};

/// Who holds the lock since when: of an exclusive one the holder, of a shared one the last.
#[derive(Clone, Copy)]
#[repr(C)]
struct Grant {
    pid: i32,
    since: i64,
}

/// All zero where it has never been used: then nobody holds its lock.
#[repr(C)]
struct Place {
    number: u64,
    database: Oid,
    role: Role,
    class: u16,
    ns_length: u16,
    key_length: u16,
    /// By mode.
    grants: [Grant; 2],
    ns: [u8; NS_LIMIT],
    key: [u8; KEY_LIMIT],
}

/// The places that one lock's name can stand at.
const PLACES: usize = 16;

/// How many sets of places share the table's LWLocks.
const GUARDS: usize = 16;

const NAME: &CStr = c"pg_once lock names";

static TABLE: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());
static LWLOCKS: AtomicPtr<LWLockPadded> = AtomicPtr::new(ptr::null_mut());
static SETS: AtomicUsize = AtomicUsize::new(0);

static mut EARLIER_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut EARLIER_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for the memory, while the postmaster loads the library.
pub fn request() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !settings::is_preloaded() || ASKED.swap(true, Ordering::Relaxed) {
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
        SETS.store(settings::lock_names().div_ceil(PLACES), Ordering::Relaxed);
        if size() > 0 {
            pg_sys::RequestAddinShmemSpace(size());
            pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), GUARDS as i32);
        }
    }
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
        if size() > 0 {
            let mut found = false;
            let table = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &raw mut found);
            if !found {
                ptr::write_bytes(table.cast::<u8>(), 0, size());
            }
            let lwlocks = pg_sys::GetNamedLWLockTranche(NAME.as_ptr());
            LWLOCKS.store(lwlocks, Ordering::Relaxed);
            TABLE.store(table.cast(), Ordering::Relaxed);
        }
    }
}

fn size() -> usize {
    SETS.load(Ordering::Relaxed) * PLACES * size_of::<Place>()
}

/// Puts the name at its place; with a time where the lock was granted to this session.
pub fn write(lock: &Lock, role: Role, since: Option<i64>) {
    let (ns, key) = (cut(lock.name.ns, NS_LIMIT), cut(lock.name.key, KEY_LIMIT));
    change(lock.number, |set| {
        // SAFETY: reads globals of this backend.
        let (database, pid) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyProcPid) };
        let class = lock.class as u16;
        let its = |place: &Place| {
            place.number == lock.number
                && place.class == class
                && place.database == database
                && place.role == role
        };
        let free = |place: &Place| !place.is_in_use();
        let position = set.iter().position(its);
        let Some(position) = position.or_else(|| set.iter().position(free)) else {
            return;
        };
        let place = &mut set[position];
        if !its(place) {
            place.number = lock.number;
            place.class = class;
            place.database = database;
            place.role = role;
            place.grants = [Grant { pid: 0, since: 0 }; 2];
        }
        if place.ns() != ns {
            place.ns_length = copy(ns, &mut place.ns);
        }
        if place.key() != key {
            place.key_length = copy(key, &mut place.key);
        }
        if let Some(since) = since {
            place.grants[lock.mode as usize] = Grant { pid, since };
        }
    });
}

pub fn names(class: Class, number: u64) -> Vec<Known> {
    let mut names = Vec::new();
    read(number, |set| {
        for place in set.iter().filter(|place| place.is_of(class, number)) {
            names.push(Known {
                role: place.role,
                ns: place.ns().to_vec(),
                key: place.key().to_vec(),
            });
        }
    });
    names
}

pub fn since(class: Class, number: u64, mode: Mode, pid: i32) -> Option<i64> {
    let mut since = None;
    read(number, |set| {
        since = set
            .iter()
            .filter(|place| place.is_of(class, number))
            .map(|place| place.grants[mode as usize])
            .find(|grant| grant.pid == pid)
            .map(|grant| grant.since);
    });
    since
}

impl Place {
    fn is_of(&self, class: Class, number: u64) -> bool {
        // SAFETY: reads a global of this backend.
        let database = unsafe { pg_sys::MyDatabaseId };
        self.number == number && self.class == class as u16 && self.database == database
    }

    /// Whether somebody holds the lock or waits for it.
    fn is_in_use(&self) -> bool {
        if self.class == 0 {
            return false;
        }
        let tag = tag(self.class, self.number, self.database);
        // SAFETY: counts the requests of one lock in the server's lock table; the tag is of a
        // lock method that exists, which is all that it could complain about.
        unsafe { raw::LockWaiterCount(&raw const tag) > 0 }
    }

    fn ns(&self) -> &[u8] {
        &self.ns[..usize::from(self.ns_length).min(NS_LIMIT)]
    }

    fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.key_length).min(KEY_LIMIT)]
    }
}

/// Copies a text that there is room for.
fn copy(text: &[u8], to: &mut [u8]) -> u16 {
    to[..text.len()].copy_from_slice(text);
    text.len() as u16
}

/// Lends the places of a lock's name while nobody writes to them.
fn read(number: u64, act: impl FnOnce(&[Place])) {
    if let Some(set) = Set::of(number) {
        // SAFETY: under the LWLock nobody writes. `act` raises nothing, so it is released here.
        unsafe {
            raw::LWLockAcquire(set.lwlock, LWLockMode::LW_SHARED);
            act(slice::from_raw_parts(set.places, PLACES));
            raw::LWLockRelease(set.lwlock);
        }
    }
}

/// Lends the places of a lock's name while nobody else uses them.
fn change(number: u64, act: impl FnOnce(&mut [Place])) {
    if let Some(set) = Set::of(number) {
        // SAFETY: under the LWLock nobody else reads or writes. `act` raises nothing, so it is
        // released here.
        unsafe {
            raw::LWLockAcquire(set.lwlock, LWLockMode::LW_EXCLUSIVE);
            act(slice::from_raw_parts_mut(set.places, PLACES));
            raw::LWLockRelease(set.lwlock);
        }
    }
}

struct Set {
    places: *mut Place,
    lwlock: *mut LWLock,
}

impl Set {
    fn of(number: u64) -> Option<Self> {
        let table = TABLE.load(Ordering::Relaxed);
        if table.is_null() {
            return None;
        }
        let set = (number % SETS.load(Ordering::Relaxed) as u64) as usize;
        // SAFETY: the table has SETS sets of PLACES places, the tranche GUARDS locks.
        unsafe {
            let lwlocks = LWLOCKS.load(Ordering::Relaxed);
            Some(Self {
                places: table.add(set * PLACES),
                lwlock: &raw mut (*lwlocks.add(set % GUARDS)).lock,
            })
        }
    }
}
