//! The names of the locks that this session holds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pgrx::pg_sys;

use super::super::{Class, Lock, Mode, tag};
use super::Known;
use crate::pg::Role;

struct Entry {
    role: Role,
    /// Namespace and key, one behind the other.
    text: Vec<u8>,
    border: usize,
    /// By mode.
    since: [i64; 2],
}

/// The class and the number of a lock.
type Number = (u16, u64);

#[derive(Default)]
struct Names {
    entries: HashMap<Number, Entry, BuildHasherDefault<Hashed>>,
    /// How many there may be before those of released locks are given up.
    room: usize,
}

/// The least room: what is cheap to look through.
const ROOM: usize = 64;

thread_local! {
    static NAMES: RefCell<Names> = RefCell::default();
}

pub fn write(lock: &Lock, role: Role, now: i64) {
    NAMES.with_borrow_mut(|names| {
        names.make_room();
        let number = (lock.class as u16, lock.number);
        let entry = names.entries.entry(number).or_insert_with(|| Entry {
            role,
            text: Vec::with_capacity(lock.name.ns.len() + lock.name.key.len()),
            border: 0,
            since: [0; 2],
        });
        entry.role = role;
        entry.text.clear();
        entry.text.extend_from_slice(lock.name.ns);
        entry.text.extend_from_slice(lock.name.key);
        entry.border = lock.name.ns.len();
        entry.since[lock.mode as usize] = now;
    });
}

pub fn name(class: Class, number: u64) -> Option<Known> {
    let number = (class as u16, number);
    NAMES.with_borrow(|names| {
        let entry = names.entries.get(&number)?;
        let (ns, key) = entry.text.split_at(entry.border);
        is_held(number).then(|| Known {
            role: entry.role,
            ns: ns.to_vec(),
            key: key.to_vec(),
        })
    })
}

pub fn since(class: Class, number: u64, mode: Mode) -> Option<i64> {
    let number = (class as u16, number);
    NAMES.with_borrow(|names| {
        let entry = names.entries.get(&number)?;
        holds(number, mode).then_some(entry.since[mode as usize])
    })
}

impl Names {
    /// Locks are released in many ways that nobody tells: by commit, rollback, DISCARD. So those
    /// that are not held any more are looked for, once as many are new as were left the last time.
    fn make_room(&mut self) {
        if self.entries.len() >= self.room {
            self.entries.retain(|number, _| is_held(*number));
            self.room = ROOM.max(2 * self.entries.len());
        }
    }
}

fn is_held(number: Number) -> bool {
    Mode::ALL.into_iter().any(|mode| holds(number, mode))
}

fn holds((class, number): Number, mode: Mode) -> bool {
    // SAFETY: reads this backend's own table of locks.
    unsafe {
        let tag = tag(class, number, pg_sys::MyDatabaseId);
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let held = pg_sys::LockHeldByMe(&raw const tag, mode.number());
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let held = pg_sys::LockHeldByMe(&raw const tag, mode.number(), false);
        held
    }
}

/// The number of a lock is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u16(&mut self, class: u16) {
        self.0 ^= u64::from(class);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}
