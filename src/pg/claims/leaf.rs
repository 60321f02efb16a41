//! Finding the entries of a storage key on the leaf where the B-tree's own descent ends.
//!
//! A scan is prepared for conditions of any kind and copies what it finds, which costs more than the
//! descent. Here the key is all that is asked for, and the entries are of one form: so the leaf is
//! searched in place. Where one leaf does not tell all, a scan is left to do it.

use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{
    self, BTPageOpaqueData, BTScanInsertData, Buffer, IndexTupleData, ItemPointerData,
    PageHeaderData, Relation,
};

use super::key::{self, KEY_COLUMNS};
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
/// Called within a guard. The index is one of the table `heap` on the columns of the storage key and
/// no other, all of them ascending; both are open.
pub(super) unsafe fn find(index: Relation, heap: Relation, storage_key: StorageKey) -> Leaf {
    // SAFETY: the caller's promise.
    unsafe {
        let search = search_for(storage_key);
        raw::count_index_scan(index);
        let leaf = raw::descend(index, heap, search);
        if leaf == pg_sys::InvalidBuffer as Buffer {
            return Leaf::Nothing;
        }
        let page = Page::of(leaf);
        let Some(mut at) = page.lower_bound(storage_key) else {
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
        while at <= page.last && page.storage_key(at) == Some(storage_key) {
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

/// A leaf, which is locked.
struct Page {
    start: *const u8,
    /// Where the entries begin, behind the upper bound of all but the rightmost leaf.
    first: usize,
    /// Where they end.
    last: usize,
}

/// Where the upper bound of the keys of a leaf stands.
const UPPER_BOUND: usize = 1;

impl Page {
    unsafe fn of(leaf: Buffer) -> Self {
        const LINES: usize = offset_of!(PageHeaderData, pd_linp);
        // SAFETY: the caller's page is one of a B-tree, and locked.
        unsafe {
            let start = pg_sys::BufferGetPage(leaf).cast::<u8>().cast_const();
            let end = usize::from((*start.cast::<PageHeaderData>()).pd_lower);
            let mut page = Self {
                start,
                first: UPPER_BOUND,
                last: end.saturating_sub(LINES) / size_of::<u32>(),
            };
            if !page.is_rightmost() {
                page.first += 1;
            }
            page
        }
    }

    unsafe fn is_rightmost(&self) -> bool {
        // SAFETY: as in `of`.
        unsafe {
            let special = (*self.start.cast::<PageHeaderData>()).pd_special;
            let opaque = self.start.add(special.into()).cast::<BTPageOpaqueData>();
            (*opaque).btpo_next == pg_sys::P_NONE
        }
    }

    /// Whether all entries with this key are on this leaf or before it.
    unsafe fn ends_behind(&self, index: Relation, search: *mut BTScanInsertData) -> bool {
        // SAFETY: the leaf is not the rightmost, and so has an upper bound.
        unsafe {
            raw::_bt_compare(
                index,
                search,
                self.start.cast_mut().cast(),
                UPPER_BOUND as u16,
            ) < 0
        }
    }

    /// The first entry whose key is this one or behind it. None where an entry on the way has no key.
    unsafe fn lower_bound(&self, storage_key: StorageKey) -> Option<usize> {
        let (mut low, mut high) = (self.first, self.last + 1);
        while low < high {
            let middle = low.midpoint(high);
            // SAFETY: it is among the entries.
            match unsafe { self.storage_key(middle) }? < storage_key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Some(low)
    }

    /// None where a column is NULL, whatever the table promises: a constraint may be there that was not
    /// checked for the rows before it.
    unsafe fn storage_key(&self, at: usize) -> Option<StorageKey> {
        // SAFETY: an entry's only columns are those of the key; not NULL, they follow the header.
        unsafe {
            let entry = self.entry(at);
            let has_nulls = u32::from((*entry).t_info) & pg_sys::INDEX_NULL_MASK != 0;
            (!has_nulls).then(|| key::read(entry.add(1).cast()))
        }
    }

    unsafe fn entry(&self, at: usize) -> *const IndexTupleData {
        // SAFETY: the caller's number of an entry.
        unsafe { self.start.add(raw::line_offset(self.line(at))).cast() }
    }

    /// Whether somebody has seen that the row of the entry is of use to nobody.
    unsafe fn is_dead(&self, at: usize) -> bool {
        // SAFETY: the caller's number of an entry.
        unsafe { raw::line_flags(self.line(at)) == pg_sys::LP_DEAD }
    }

    unsafe fn line(&self, at: usize) -> u32 {
        let header = self.start.cast::<PageHeaderData>();
        // SAFETY: the caller's number of an entry. Lines are four bytes each.
        unsafe { *(&raw const (*header).pd_linp).cast::<u32>().add(at - 1) }
    }
}
