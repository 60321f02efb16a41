//! What the locks are called: for people to read, never to decide anything.
//!
//! Each session remembers the names of what it holds. Where the library is preloaded, a table in
//! shared memory has everybody's.

mod own;
mod shared;

use pgrx::pg_sys;

use super::{Class, Lock, Mode, Scope};
use crate::pg::{Role, raw, session};

/// Namespace and key, or table and key of a row.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    pub ns: &'a [u8],
    pub key: &'a [u8],
}

/// A name that somebody asked for.
pub struct Known {
    /// Who asked.
    pub role: Role,
    pub ns: Vec<u8>,
    pub key: Vec<u8>,
}

pub use shared::request;

/// The longest name of a table that is kept whole: two quoted identifiers and a point.
const NS_LIMIT: usize = 264;
/// The longest key.
const KEY_LIMIT: usize = 2_000;

/// As much of the text as is kept of it, in whole characters.
fn cut(text: &[u8], limit: usize) -> &[u8] {
    if text.len() <= limit {
        return text;
    }
    // SAFETY: reads the text only, by the rules of the database's encoding; raises nothing.
    let length = unsafe {
        let (start, length) = (text.as_ptr().cast(), text.len() as i32);
        raw::pg_mbcliplen(start, length, limit as i32) as usize
    };
    &text[..length]
}

/// The lock is about to be waited for.
pub(super) fn asked(lock: &Lock) {
    shared::write(lock, Role::caller(), None);
}

/// The lock was granted, and this session did not hold it before.
pub(super) fn granted(lock: &Lock, scope: Scope) {
    let (role, now) = (Role::caller(), session::now());
    own::write(lock, scope, role, now);
    shared::write(lock, role, Some(now));
}

/// A lock that this session holds already is one of the session now.
pub(super) fn kept(lock: &Lock) {
    own::keep(lock);
}

/// All names known for this number, that of the own session first. More than one where several
/// roles asked for it.
pub fn known(class: Class, number: u64) -> Vec<Known> {
    let mut known: Vec<Known> = own::name(class, number).into_iter().collect();
    known.extend(shared::names(class, number));
    known
}

/// Since when this backend holds this lock, where that is known.
pub fn since(class: Class, number: u64, mode: Mode, pid: i32) -> Option<i64> {
    // SAFETY: reads a global of this backend.
    if pid == unsafe { pg_sys::MyProcPid } {
        return own::since(class, number, mode);
    }
    shared::since(class, number, mode, pid)
}
