//! A leaf of a B-tree, which is locked.

use std::mem::offset_of;

use pgrx::pg_sys::{
    self, BTPageOpaqueData, BTScanInsertData, Buffer, IndexTupleData, PageHeaderData, Relation,
};

use super::raw;

pub(super) struct Page {
    start: *const u8,
    /// Where the entries begin, behind the upper bound of all but the rightmost leaf.
    pub(super) first: usize,
    /// Where they end.
    pub(super) last: usize,
}

/// Where the upper bound of the keys of a leaf stands.
const UPPER_BOUND: usize = 1;

impl Page {
    /// # Safety
    /// The page is the leaf of a B-tree, and locked as long as this is used.
    pub(super) unsafe fn of(leaf: Buffer) -> Self {
        const LINES: usize = offset_of!(PageHeaderData, pd_linp);
        // SAFETY: the caller's promise.
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

    /// # Safety
    /// As for `of`.
    pub(super) unsafe fn is_rightmost(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let special = (*self.start.cast::<PageHeaderData>()).pd_special;
            let opaque = self.start.add(special.into()).cast::<BTPageOpaqueData>();
            (*opaque).btpo_next == pg_sys::P_NONE
        }
    }

    /// Whether all entries with this key are on this leaf or before it.
    ///
    /// # Safety
    /// As for `of`; the leaf is not the rightmost, and the search is one of its index.
    pub(super) unsafe fn ends_behind(
        &self,
        index: Relation,
        search: *mut BTScanInsertData,
    ) -> bool {
        // SAFETY: the leaf is not the rightmost, and so has an upper bound.
        unsafe { self.compare(index, search, UPPER_BOUND) < 0 }
    }

    /// Whether no entry of this leaf or of those behind it has this key; false too where a leaf behind it
    /// would have to be looked at.
    ///
    /// # Safety
    /// As for `of`; the search is one of its index and has led to this leaf.
    pub(super) unsafe fn lacks(&self, index: Relation, search: *mut BTScanInsertData) -> bool {
        let (mut low, mut high) = (self.first, self.last + 1);
        let mut order_of_next = None;
        while low < high {
            let middle = low.midpoint(high);
            // SAFETY: it is among the entries.
            match unsafe { self.compare(index, search, middle) } {
                1.. => low = middle + 1,
                order => (high, order_of_next) = (middle, Some(order)),
            }
        }
        match order_of_next {
            Some(order) => order < 0,
            // SAFETY: the caller's promise.
            None => unsafe { self.is_rightmost() || self.ends_behind(index, search) },
        }
    }

    /// How the key stands beside the entry.
    unsafe fn compare(&self, index: Relation, search: *mut BTScanInsertData, at: usize) -> i32 {
        // SAFETY: the caller's number of an entry, and search of the index.
        unsafe { raw::_bt_compare(index, search, self.start.cast_mut().cast(), at as u16) }
    }

    /// # Safety
    /// As for `of`; the number is that of an entry.
    pub(super) unsafe fn entry(&self, at: usize) -> *const IndexTupleData {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(raw::line_offset(self.line(at))).cast() }
    }

    /// Whether somebody has seen that the row of the entry is of use to nobody.
    ///
    /// # Safety
    /// As for `entry`.
    pub(super) unsafe fn is_dead(&self, at: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { raw::line_flags(self.line(at)) == pg_sys::LP_DEAD }
    }

    unsafe fn line(&self, at: usize) -> u32 {
        let header = self.start.cast::<PageHeaderData>();
        // SAFETY: the caller's number of an entry. Lines are four bytes each.
        unsafe { *(&raw const (*header).pd_linp).cast::<u32>().add(at - 1) }
    }
}
