//! Looks at a unique index with a snapshot that shows what is not committed yet.
//!
//! So a transaction that is creating a row is waited for before an INSERT of the same row does
//! that, which would compute the row's defaults and take a transaction id first. That nobody has a
//! row nor creates it is told by [`super::absence`] for less. What is there and can be locked is taken
//! by [`super::grasp`].

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::{mem, ptr, slice};

use pgrx::pg_sys::{
    self, ItemPointerData, Oid, Relation, ScanKeyData, SnapshotData, TransactionId, TupleTableSlot,
};

use super::guard::{Raised, guard};
use super::raw;
use super::table::{Column, Table, Unique};
use super::value::Value;

/// What stands in a unique index under a key.
#[derive(Clone, Copy)]
pub(super) enum Found {
    Nothing,
    /// The row of a transaction that has ended, or of this one.
    Row(ItemPointerData),
    Open(Creator),
}

/// An open transaction of another session, and its row.
#[derive(Clone, Copy)]
pub(super) struct Creator {
    transaction: TransactionId,
    /// The number of its insertion, 0 once that is complete.
    insertion: u32,
    at: ItemPointerData,
    /// It changes or removes the row of a transaction that has ended.
    removes: bool,
}

/// A look at an index: the table, which is open, and what was found.
pub(super) struct Look {
    pub(super) table: Relation,
    /// An empty one for rows of the table.
    pub(super) slot: *mut TupleTableSlot,
    pub(super) found: Found,
}

impl Found {
    /// Where a row stands that others have finished creating.
    pub(super) fn standing(self) -> Option<ItemPointerData> {
        match self {
            Self::Row(at) => Some(at),
            Self::Open(creator) => creator.removes.then_some(creator.at),
            Self::Nothing => None,
        }
    }
}

impl Table {
    /// Waits for the end of another session's open transaction that is creating or removing a row
    /// with this key, and says whether there was one. In a partitioned table none is seen, nor
    /// where the transaction cannot write.
    pub fn await_creator(
        &self,
        unique: &Unique,
        key: &[(&Column, &Value)],
    ) -> Result<bool, Raised> {
        let found = self.look(unique, key, |look| {
            if let Found::Open(mut creator) = look.found {
                // SAFETY: the table is open; no page is pinned.
                unsafe { await_end(look.table, &mut creator) }
            }
        })?;
        Ok(matches!(found, Some(Found::Open(_))))
    }

    /// What stands in the index under the key; none where that cannot be said. `then` is called
    /// while the table is open, under a guard.
    pub(super) fn look(
        &self,
        unique: &Unique,
        key: &[(&Column, &Value)],
        then: impl FnOnce(Look),
    ) -> Result<Option<Found>, Raised> {
        const LOCK: c_int = pg_sys::AccessShareLock as c_int;
        const LOCKED: c_int = pg_sys::NoLock as c_int;
        // SAFETY: reads globals of this backend.
        if unsafe { pg_sys::XactReadOnly || raw::RecoveryInProgress() } {
            return Ok(None);
        }
        let (table, index) = (self.oid, unique.oid);
        // SAFETY: the table is locked to the transaction's end, so its index is there. Both are
        // closed here, or by the abort of the (sub)transaction that an error leads to.
        unsafe {
            let (table, index) = guard(|| {
                let table = raw::try_relation_open(table, LOCKED);
                (table, raw::try_relation_open(index, LOCK))
            })?;
            let mut keys = match table.is_null() || index.is_null() {
                true => None,
                false => scan_keys(index, unique, key)?,
            };
            let keys = keys.as_deref_mut();
            guard(|| {
                let found = keys.map(|keys| {
                    let slot = raw::table_slot_create(table, ptr::null_mut());
                    let found = find(table, index, keys, slot);
                    then(Look { table, slot, found });
                    raw::ExecDropSingleTupleTableSlot(slot);
                    found
                });
                if !index.is_null() {
                    raw::relation_close(index, LOCK);
                }
                if !table.is_null() {
                    raw::relation_close(table, LOCKED);
                }
                found
            })
        }
    }
}

/// The conditions that an index entry has the key; none where a column of the index is not in the
/// key with a value of its type, or the index holds no entries.
unsafe fn scan_keys(
    index: Relation,
    unique: &Unique,
    key: &[(&Column, &Value)],
) -> Result<Option<Vec<ScanKeyData>>, Raised> {
    // SAFETY: the caller holds the index open; its arrays have an entry for each key column.
    unsafe {
        if !holds_entries(index) {
            return Ok(None);
        }
        let count = unique.parts.len();
        let kinds = slice::from_raw_parts((*index).rd_opcintype, count);
        let collations = slice::from_raw_parts((*index).rd_indcollation, count);
        let mut keys = Vec::with_capacity(count);
        for (i, part) in unique.parts.iter().enumerate() {
            let (kind, collation, function) = (kinds[i], collations[i], part.equals);
            let Some(value) = part.value_of(key) else {
                return Ok(None);
            };
            keys.push(equal(i as i16 + 1, kind, collation, function, value)?);
        }
        Ok(Some(keys))
    }
}

/// That of a partitioned table does not.
pub(super) unsafe fn holds_entries(index: Relation) -> bool {
    // SAFETY: the caller holds the index open.
    unsafe { (*(*index).rd_rel).relkind as u8 == pg_sys::RELKIND_INDEX }
}

/// The condition that the column of this number has the value.
fn equal(
    column: i16,
    kind: Oid,
    collation: Oid,
    function: Oid,
    value: &Value,
) -> Result<ScanKeyData, Raised> {
    const EQUAL: u16 = 3;
    let flags = match value.null {
        true => pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL,
        false => 0,
    };
    let flags = flags as c_int;
    let datum = value.datum;
    let mut entry = MaybeUninit::<ScanKeyData>::zeroed();
    let place = entry.as_mut_ptr();
    // SAFETY: writes what `place` points to, which consists of numbers and pointers that may be null.
    unsafe {
        guard(|| {
            raw::ScanKeyEntryInitialize(
                place, flags, column, EQUAL, kind, collation, function, datum,
            );
        })?;
        Ok(entry.assume_init())
    }
}

/// The first row of the key; the slot is empty again then.
unsafe fn find(
    table: Relation,
    index: Relation,
    keys: &mut [ScanKeyData],
    slot: *mut TupleTableSlot,
) -> Found {
    let (first, count) = (keys.as_mut_ptr(), keys.len() as c_int);
    // SAFETY: relations, keys, slot and snapshot outlive the scan, which ends here; an error
    // releases what it holds with the (sub)transaction.
    unsafe {
        let mut snapshot = dirty();
        let snapshot = &raw mut snapshot;
        let scan = raw::begin_scan(table, index, snapshot, count);
        raw::index_rescan(scan, first, count, ptr::null_mut(), 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let is_there = raw::index_getnext_slot(scan, forward, slot);
        let at = (*slot).tts_tid;
        raw::index_endscan(scan);
        raw::clear(slot);
        let none = TransactionId::from(0);
        let (maker, remover) = ((*snapshot).xmin, (*snapshot).xmax);
        let removes = maker == none;
        let transaction = if removes { remover } else { maker };
        match (is_there, transaction != none) {
            (false, _) => Found::Nothing,
            (true, false) => Found::Row(at),
            (true, true) => Found::Open(Creator {
                transaction,
                insertion: (*snapshot).speculativeToken,
                at,
                removes,
            }),
        }
    }
}

/// A snapshot that shows what is not committed too.
pub(super) fn dirty() -> SnapshotData {
    // SAFETY: numbers and pointers, null where nothing is.
    let mut snapshot: SnapshotData = unsafe { mem::zeroed() };
    snapshot.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
    snapshot
}

/// Waits as an INSERT that meets the row would.
unsafe fn await_end(table: Relation, creator: &mut Creator) {
    // SAFETY: the table is open; no page is pinned.
    unsafe {
        if creator.insertion != 0 {
            raw::SpeculativeInsertionWait(creator.transaction, creator.insertion);
        } else {
            let reason = pg_sys::XLTW_Oper::XLTW_InsertIndex;
            raw::XactLockTableWait(creator.transaction, table, &raw mut creator.at, reason);
        }
    }
}
