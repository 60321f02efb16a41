//! Telling that a key has no row, from the leaf of the unique index where its entry would stand.
//!
//! A scan is prepared for conditions of any kind and looks at rows besides, which costs more than the
//! descent. An entry stands in the index from before its row is to be seen by anybody until after nobody can
//! see it any more: where there is none, there is no row. What an entry means is left to others.

use std::ffi::c_int;

use pgrx::pg_sys::{self, BTScanInsert, Buffer, Oid, Relation, ScanKeyData};

use super::creator::holds_entries;
use super::guard::{Raised, guard};
use super::page::Page;
use super::raw;
use super::table::{Column, Table, Unique};
use super::value::Value;

impl Table {
    /// Whether there is certainly no row with this key, not even one of an open transaction, so that an
    /// INSERT is next. False where that cannot be said.
    ///
    /// The locks of an INSERT on the table and the index are taken, in its order, and kept: neither it
    /// nor what changes the row after it has to take them again. They are not waited for.
    pub fn is_absent(&self, unique: &Unique, key: &[(&Column, &Value)]) -> Result<bool, Raised> {
        const LOCKED: c_int = pg_sys::NoLock as c_int;
        let (table, oid) = (self.oid, unique.oid);
        // SAFETY: the index is locked, closed here or by the abort of the (sub)transaction that an error
        // leads to, and a B-tree.
        unsafe {
            guard(|| {
                if !lock_for_insert(table) || !lock_for_insert(oid) {
                    return false;
                }
                let index = raw::RelationIdGetRelation(oid);
                if index.is_null() {
                    return false;
                }
                let is_absent = holds_entries(index) && lacks(index, unique, key);
                raw::relation_close(index, LOCKED);
                is_absent
            })
        }
    }
}

/// Takes the lock that an INSERT takes on a table and its indexes, where it need not be waited for.
///
/// # Safety
/// Called under a guard.
pub(super) unsafe fn lock_for_insert(relation: Oid) -> bool {
    // SAFETY: reads globals of this backend; locks by object id.
    unsafe {
        !pg_sys::XactReadOnly
            && !raw::RecoveryInProgress()
            && raw::ConditionalLockRelationOid(relation, pg_sys::RowExclusiveLock as c_int)
    }
}

/// # Safety
/// Called under a guard. The index is the one that `unique` describes, and open.
unsafe fn lacks(index: Relation, unique: &Unique, key: &[(&Column, &Value)]) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let search = raw::search_of(index);
        let is_absent = fill(search, unique, key) && {
            raw::count_index_scan(index);
            let leaf = raw::descend(index, search);
            leaf == pg_sys::InvalidBuffer as Buffer || {
                let lacks = Page::of(leaf).lacks(index, search);
                raw::unlock(leaf);
                raw::ReleaseBuffer(leaf);
                lacks
            }
        };
        raw::pfree(search.cast());
        is_absent
    }
}

/// Puts the values of the key in. False where a column of the index has none of its type.
///
/// # Safety
/// The search is one of the index that `unique` describes.
unsafe fn fill(search: BTScanInsert, unique: &Unique, key: &[(&Column, &Value)]) -> bool {
    const IS_NULL: c_int = pg_sys::SK_ISNULL as c_int;
    // SAFETY: it has a key for each column.
    unsafe {
        (*search).keysz = unique.parts.len() as c_int;
        for (at, part) in unique.parts.iter().enumerate() {
            let Some(value) = part.value_of(key) else {
                return false;
            };
            let scan_key = (&raw mut (*search).scankeys).cast::<ScanKeyData>().add(at);
            if !value.null {
                (*scan_key).sk_flags &= !IS_NULL;
            }
            (*scan_key).sk_argument = value.datum;
        }
    }
    true
}
