//! Seeing which open transactions have inserted or changed a row.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys::{self, SnapshotData, TransactionId};

use super::claims::{KEY, KEY_COLUMNS, equal_to, of_key};
use super::creator::dirty;
use super::guard::{Raised, guard};
use super::{catalog, raw};
use crate::storage_key::StorageKey;

/// What another transaction, which is open, has done about a primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Nothing; or the primary key is not a btree on a storage key, or is that of a partitioned table,
    /// and nobody knows.
    None,
    /// It has inserted the row.
    Open,
    /// The table has no valid primary key: nothing would keep a second row out.
    Unguarded,
}

/// Whether another transaction, which is open, has inserted a row with this primary key into a
/// table of the schema `once`.
pub fn insertion(table: &'static CStr, storage_key: StorageKey) -> Result<Insertion, Raised> {
    Ok(
        match open_transaction(table, storage_key, |row| row.xmin)? {
            Seen::Nobody => Insertion::None,
            Seen::Transaction(_) => Insertion::Open,
            Seen::Unguarded => Insertion::Unguarded,
        },
    )
}

/// Waits for another transaction, which is open, that has inserted, updated or deleted the row with this
/// primary key. False where there is none.
pub fn await_change(table: &'static CStr, storage_key: StorageKey) -> Result<bool, Raised> {
    let changed_by = |row: &SnapshotData| match row.xmin {
        pg_sys::InvalidTransactionId => row.xmax,
        inserter => inserter,
    };
    match open_transaction(table, storage_key, changed_by)? {
        Seen::Transaction(transaction) => {
            let (relation, row) = (ptr::null_mut(), ptr::null_mut());
            let reason = pg_sys::XLTW_Oper::XLTW_None;
            // SAFETY: neither relation nor row are looked at without a reason.
            unsafe { guard(|| raw::XactLockTableWait(transaction, relation, row, reason)) }?;
            Ok(true)
        }
        Seen::Nobody | Seen::Unguarded => Ok(false),
    }
}

/// What a look at the rows with one primary key came to.
#[derive(Clone, Copy)]
enum Seen {
    Nobody,
    Transaction(TransactionId),
    /// The table has no valid primary key.
    Unguarded,
}

/// The first transaction that `of` names of a row with this primary key, as a dirty snapshot shows it.
fn open_transaction(
    table: &'static CStr,
    storage_key: StorageKey,
    of: impl Fn(&SnapshotData) -> TransactionId,
) -> Result<Seen, Raised> {
    const COUNT: i32 = KEY_COLUMNS as i32;
    let mode = pg_sys::AccessShareLock as i32;
    let Some((_, table)) = catalog::in_once(table)? else {
        return Ok(Seen::Nobody);
    };
    // SAFETY: relations, scan and slot are closed where they were opened, or released with the
    // (sub)transaction by an error. Keys and snapshot are plain data that outlive the scan.
    unsafe {
        let mut dirty = dirty();
        let dirty = &raw mut dirty;
        guard(|| {
            let heap = raw::try_relation_open(table, mode);
            if heap.is_null() {
                return Seen::Nobody;
            }
            // It notes which index the primary key is.
            raw::RelationGetIndexList(heap);
            let mut seen = Seen::Unguarded;
            if (*heap).rd_pkindex != pg_sys::InvalidOid {
                let index = raw::index_open((*heap).rd_pkindex, mode);
                let is_valid = (*(*index).rd_index).indisvalid;
                if is_valid {
                    seen = Seen::Nobody;
                }
                if is_valid
                    && (*(*index).rd_rel).relkind as u8 == pg_sys::RELKIND_INDEX
                    && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                    && (*(*index).rd_index).indnkeyatts as usize == KEY_COLUMNS
                    && of_key((*index).rd_opcintype) == KEY.map(|(_, kind)| kind)
                {
                    let mut keys = equal_to(storage_key);
                    let slot = raw::table_slot_create(heap, ptr::null_mut());
                    let scan = raw::begin_scan(heap, index, dirty, COUNT);
                    raw::index_rescan(scan, keys.as_mut_ptr(), COUNT, ptr::null_mut(), 0);
                    let forward = pg_sys::ScanDirection::ForwardScanDirection;
                    while matches!(seen, Seen::Nobody)
                        && raw::index_getnext_slot(scan, forward, slot)
                    {
                        let transaction = of(&*dirty);
                        if transaction != pg_sys::InvalidTransactionId {
                            seen = Seen::Transaction(transaction);
                        }
                    }
                    raw::index_endscan(scan);
                    raw::ExecDropSingleTupleTableSlot(slot);
                }
                raw::index_close(index, mode);
            }
            raw::relation_close(heap, mode);
            seen
        })
    }
}
