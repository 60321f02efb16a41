//! Finding the entries of a storage key on the leaf where the B-tree's own descent ends.
//!
//! A scan is prepared for conditions of any kind and copies what it finds, which costs more than the
//! descent. Here the key is all that is asked for, and the entries are of one form: so the leaf is
//! searched in place. Where one leaf does not tell all, a scan is left to do it.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{self, BTScanInsertData, Buffer, ItemPointerData, Relation};

use super::key::{self, KEY_COLUMNS};
use crate::pg::page::Page;
use crate::pg::raw;
use crate::storage_key::StorageKey;

/// What a leaf tells about a storage key.
pub(super) enum Leaf {
    /// There is no entry.
    Nothing,
    Some(Entries),
    /// Not all of it: there are very many entries, or more of them on the next leaf, or columns are NULL.
    Unclear,
}

/// The rows of the entries of one storage key. The leaf is pinned, which keeps vacuum from giving
/// their places to others, until it is let go of.
pub(super) struct Entries {
    leaf: Buffer,
    rows: [ItemPointerData; Self::MOST],
    count: usize,
}

impl Entries {
    /// One is that of the claim; others are of rows that nobody needs any more.
    const MOST: usize = 8;

    pub(super) fn rows(&self) -> &[ItemPointerData] {
        &self.rows[..self.count]
    }

    /// # Safety
    /// Called within a guard, once.
    pub(super) unsafe fn let_go(self) {
        // SAFETY: pinned by `find`.
        unsafe { raw::ReleaseBuffer(self.leaf) }
    }
}

/// Looks for the entries of this storage key.
///
/// # Safety
/// Called within a guard. The index is open, and one on the columns of the storage key and no other, all
/// of them ascending.
pub(super) unsafe fn find(index: Relation, key: StorageKey) -> Leaf {
    // SAFETY: the caller's promise.
    unsafe {
        let search = search_for(key);
        raw::count_index_scan(index);
        let leaf = raw::descend(index, search);
        if leaf == pg_sys::InvalidBuffer as Buffer {
            return Leaf::Nothing;
        }
        let page = Page::of(leaf);
        let Some(mut at) = lower_bound(&page, key) else {
            raw::unlock(leaf);
            raw::ReleaseBuffer(leaf);
            return Leaf::Unclear;
        };
        let mut entries = Entries {
            leaf,
            rows: [ItemPointerData::default(); Entries::MOST],
            count: 0,
        };
        let mut is_all = true;
        while at <= page.last && storage_key(&page, at) == Some(key) {
            if !page.is_dead(at) {
                let entry = page.entry(at);
                // One of several rows has their places elsewhere.
                is_all = u32::from((*entry).t_info) & pg_sys::INDEX_ALT_TID_MASK == 0
                    && entries.count < Entries::MOST;
                if !is_all {
                    break;
                }
                entries.rows[entries.count] = (*entry).t_tid;
                entries.count += 1;
            }
            at += 1;
        }
        is_all &= at <= page.last || page.is_rightmost() || page.ends_behind(index, search);
        raw::unlock(leaf);
        match (is_all, entries.count) {
            (true, 1..) => Leaf::Some(entries),
            (is_all, _) => {
                entries.let_go();
                if is_all { Leaf::Nothing } else { Leaf::Unclear }
            }
        }
    }
}

/// What the descent compares with, as `_bt_mkscankey` makes it. The session keeps it, since all of it
/// but the values is the same each time.
///
/// # Safety
/// Called within a guard. What was searched for before is over.
unsafe fn search_for(storage_key: StorageKey) -> *mut BTScanInsertData {
    static SEARCH: AtomicPtr<BTScanInsertData> = AtomicPtr::new(ptr::null_mut());
    // SAFETY: the caller's promise. The memory lives as long as the session.
    unsafe {
        let mut search = SEARCH.load(Relaxed);
        if search.is_null() {
            let outer = ptr::replace(
                &raw mut pg_sys::CurrentMemoryContext,
                pg_sys::TopMemoryContext,
            );
            search = raw::palloc(size_of::<BTScanInsertData>()).cast();
            search.write(BTScanInsertData {
                // So is every index since PostgreSQL 12.
                heapkeyspace: true,
                keysz: KEY_COLUMNS as i32,
                ..BTScanInsertData::default()
            });
            for (at, key) in key::compared_to(storage_key).into_iter().enumerate() {
                (*search).scankeys[at] = key;
            }
            pg_sys::CurrentMemoryContext = outer;
            SEARCH.store(search, Relaxed);
        }
        for (at, value) in key::values(storage_key).into_iter().enumerate() {
            (*search).scankeys[at].sk_argument = value;
        }
        search
    }
}

/// The first entry whose key is this one or behind it. None where an entry on the way has no key.
unsafe fn lower_bound(page: &Page, key: StorageKey) -> Option<usize> {
    let (mut low, mut high) = (page.first, page.last + 1);
    while low < high {
        let middle = low.midpoint(high);
        // SAFETY: it is among the entries.
        match unsafe { storage_key(page, middle) }? < key {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Some(low)
}

/// None where a column is NULL, whatever the table promises: a constraint may be there that was not
/// checked for the rows before it.
unsafe fn storage_key(page: &Page, at: usize) -> Option<StorageKey> {
    // SAFETY: an entry's only columns are those of the key; not NULL, they follow the header.
    unsafe {
        let entry = page.entry(at);
        let has_nulls = u32::from((*entry).t_info) & pg_sys::INDEX_NULL_MASK != 0;
        (!has_nulls).then(|| key::read(entry.add(1).cast()))
    }
}
