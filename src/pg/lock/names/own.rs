//! The names of the locks that this session holds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pgrx::pg_sys;

use super::super::{Class, Lock, Mode, Scope, tag};
use super::{KEY_LIMIT, Known, NS_LIMIT, cut};
use crate::pg::{Role, raw};

#[derive(Clone, Copy)]
struct Entry {
    role: Role,
    /// Where namespace and key stand in the text, one behind the other.
    begin: usize,
    border: usize,
    end: usize,
    /// By mode.
    since: [i64; 2],
    /// The beginning of the transaction that it is held to the end of; none where the session
    /// holds it.
    transaction: Option<i64>,
}

/// The class and the number of a lock.
type Number = (u16, u64);

#[derive(Default)]
struct Names {
    entries: HashMap<Number, Entry, BuildHasherDefault<Hashed>>,
    text: Vec<u8>,
    /// How many names may be written before those of released locks are given up.
    room: usize,
}

/// The least room: what is cheap to look through.
const ROOM: usize = 64;

thread_local! {
    static NAMES: RefCell<Names> = RefCell::default();
}

pub fn write(lock: &Lock, scope: Scope, role: Role, now: i64) {
    NAMES.with_borrow_mut(|names| {
        if names.room == 0 {
            names.make_room();
        }
        names.room -= 1;
        names.write(lock, scope, role, now);
    });
}

pub fn keep(lock: &Lock) {
    let number = (lock.class as u16, lock.number);
    NAMES.with_borrow_mut(|names| {
        if let Some(entry) = names.entries.get_mut(&number) {
            entry.transaction = None;
        }
    });
}

pub fn name(class: Class, number: u64) -> Option<Known> {
    let number = (class as u16, number);
    NAMES.with_borrow(|names| {
        let entry = names.entries.get(&number)?;
        is_held(number).then(|| Known {
            role: entry.role,
            ns: names.text[entry.begin..entry.border].to_vec(),
            key: names.text[entry.border..entry.end].to_vec(),
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
    fn write(&mut self, lock: &Lock, scope: Scope, role: Role, now: i64) {
        let begin = self.text.len();
        self.text.extend_from_slice(cut(lock.name.ns, NS_LIMIT));
        let border = self.text.len();
        self.text.extend_from_slice(cut(lock.name.key, KEY_LIMIT));
        let number = (lock.class as u16, lock.number);
        let transaction = Some(transaction());
        let entry = self.entries.entry(number).or_insert(Entry {
            role,
            begin,
            border,
            end: self.text.len(),
            since: [0; 2],
            transaction,
        });
        *entry = Entry {
            role,
            begin,
            border,
            end: self.text.len(),
            since: entry.since,
            transaction: match scope {
                Scope::Transaction => entry.transaction.and(transaction),
                Scope::Session => None,
            },
        };
        entry.since[lock.mode as usize] = now;
    }

    /// Locks are released in many ways that nobody tells: by commit, rollback, DISCARD. So those
    /// that are not held any more are looked for, once as many are new as were left the last time.
    fn make_room(&mut self) {
        let now = transaction();
        self.entries.retain(|number, entry| {
            entry.transaction.is_none_or(|began| began == now) && is_held(*number)
        });
        let mut text = Vec::new();
        for entry in self.entries.values_mut() {
            let (begin, border) = (text.len(), entry.border - entry.begin);
            text.extend_from_slice(&self.text[entry.begin..entry.end]);
            (entry.begin, entry.border, entry.end) = (begin, begin + border, text.len());
        }
        self.text.clear();
        self.text.extend_from_slice(&text);
        self.text.shrink_to(2 * text.len() + TEXT);
        self.room = ROOM.max(self.entries.len());
    }
}

/// How much room for text is kept.
const TEXT: usize = 16_384;

/// When the transaction in progress began.
fn transaction() -> i64 {
    // SAFETY: reads a global of this backend, and raises nothing.
    unsafe { raw::GetCurrentTransactionStartTimestamp() }
}

fn is_held(number: Number) -> bool {
    Mode::ALL.into_iter().any(|mode| holds(number, mode))
}

fn holds((class, number): Number, mode: Mode) -> bool {
    // SAFETY: reads this backend's own table of locks, and raises nothing.
    unsafe {
        let tag = tag(class, number, pg_sys::MyDatabaseId);
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let held = raw::LockHeldByMe(&raw const tag, mode.number());
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let held = raw::LockHeldByMe(&raw const tag, mode.number(), false);
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
