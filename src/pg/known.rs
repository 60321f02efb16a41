//! What this session knows of users' tables: descriptions, kept until something changes that they
//! tell of.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys::{self, Oid};

use super::guard::{Raised, guard};
use super::table::Table;
use super::{invalidation, raw};

/// Counts the changes that this session has heard of.
static NEWS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Never borrowed while PostgreSQL is called, which may call back to tell of a change.
    static TABLES: RefCell<HashMap<Oid, Rc<Table>>> = RefCell::new(HashMap::new());
}

/// Tables kept at most, before all are forgotten.
const TABLES_KEPT: usize = 256;

/// The description of the table, which is locked to the end of the transaction then, so that the
/// description stays true. None where this session knows none.
pub(super) fn find(oid: Oid) -> Result<Option<Rc<Table>>, Raised> {
    if TABLES.with_borrow(|tables| !tables.contains_key(&oid)) {
        return Ok(None);
    }
    // SAFETY: locks by object id, and hears of all changes made before.
    unsafe { guard(|| raw::LockRelationOid(oid, pg_sys::AccessShareLock as c_int)) }?;
    Ok(TABLES.with_borrow(|tables| tables.get(&oid).map(Rc::clone)))
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
            tables.clear();
        }
        tables.insert(oid, Rc::clone(table));
    });
}

/// Called for every relation whose definition changes, with 0 for all of them.
pub(super) fn relation_changed(relation: Oid) {
    forget(|table| relation == Oid::INVALID || table.tells_of(relation));
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
