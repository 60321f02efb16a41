//! What this session knows of users' tables: descriptions, kept until something changes that they
//! tell of.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys::{self, Oid};

use super::absence::lock_for_insert;
use super::guard::{Raised, guard};
use super::table::Table;
use super::{invalidation, plan, raw};
use crate::session_map::SessionMap;

/// Counts the changes that this session has heard of.
static NEWS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Never borrowed while PostgreSQL is called, which may call back to tell of a change.
    static TABLES: RefCell<SessionMap<Oid, Rc<Table>>> = RefCell::default();
}

/// Tables kept at most, before all are forgotten.
const TABLES_KEPT: usize = 256;

thread_local! {
    /// The tables that statements of this session have named by their row types.
    static ROWS: RefCell<HashSet<Oid>> = RefCell::new(HashSet::new());
}

/// How many of them there are at most, before all are forgotten.
const ROWS_HEARD: usize = 4096;

/// The description of the table, which is locked to the end of the transaction then, so that the
/// description stays true: unless the session has heard of a change with the lock, and it is over.
/// None where this session knew none.
///
/// Where `may_insert` and the last row was a new one it is the lock of an INSERT, if that is to be had at once:
/// the INSERT that is to be expected would take it besides.
pub(super) fn find(oid: Oid, may_insert: bool) -> Result<Option<Rc<Table>>, Raised> {
    let Some(table) = TABLES.with_borrow(|tables| tables.get(&oid).map(Rc::clone)) else {
        return Ok(None);
    };
    let expects_insert = may_insert && table.last_was_new.get();
    // SAFETY: locks by object id, and hears of all changes made before.
    unsafe {
        guard(|| {
            if !expects_insert || !lock_for_insert(oid) {
                raw::LockRelationOid(oid, pg_sys::AccessShareLock as c_int);
            }
        })
    }?;
    Ok(Some(table))
}

/// From now on a change of the table makes the session analyze statements again that may name it by
/// its row type.
pub(super) fn hear_of_row(oid: Oid) {
    invalidation::register();
    let is_full = ROWS.with_borrow_mut(|rows| {
        let is_full = rows.len() >= ROWS_HEARD;
        if is_full {
            rows.clear();
        }
        rows.insert(oid);
        is_full
    });
    // Whatever names one that is forgotten is analyzed, and heard of, again.
    if is_full {
        plan::invalidate();
    }
}

/// A number that is another one whenever this session hears of a change.
pub(super) fn news() -> u64 {
    invalidation::register();
    NEWS.load(Relaxed)
}

/// Keeps a description that was made since `news` was what it is given as; one that a change has
/// overtaken is not kept.
pub(super) fn keep(oid: Oid, table: &Rc<Table>, since: u64) {
    if since != NEWS.load(Relaxed) {
        table.is_over.set(true);
        return;
    }
    TABLES.with_borrow_mut(|tables| {
        if tables.len() >= TABLES_KEPT {
            // Whoever uses one of them still would not hear of a change.
            for (_, table) in tables.drain() {
                table.is_over.set(true);
            }
        }
        tables.insert(oid, Rc::clone(table));
    });
}

/// Called for every relation whose definition changes, with 0 for all of them.
pub(super) fn relation_changed(relation: Oid) {
    forget(|table| relation == Oid::INVALID || table.tells_of(relation));
    let is_of_row = ROWS.try_with(|rows| {
        let rows = rows.borrow();
        !rows.is_empty() && (relation == Oid::INVALID || rows.contains(&relation))
    });
    if is_of_row.unwrap_or(false) {
        plan::invalidate();
    }
}

/// Called when a type, operator, operator class or schema changes: what it was called stands in
/// the statements.
pub(super) fn name_changed() {
    forget(|_| true);
}

fn forget(is_over: impl Fn(&Table) -> bool) {
    NEWS.fetch_add(1, Relaxed);
    // It is gone where the process exits.
    let _ = TABLES.try_with(|tables| {
        tables.borrow_mut().retain(|_, table| {
            table.is_over.set(is_over(table));
            table.is_known()
        });
    });
}
