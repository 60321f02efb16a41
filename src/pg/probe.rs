//! Seeing what open transactions have inserted, without waiting for them.

use std::ffi::CStr;
use std::{mem, ptr};

use pgrx::pg_sys::{self, SnapshotData};

use super::claims::{KEY, KEY_COLUMNS, equal_to, of_key};
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
    const COUNT: i32 = KEY_COLUMNS as i32;
    let mode = pg_sys::AccessShareLock as i32;
    let Some((_, table)) = catalog::in_once(table)? else {
        return Ok(Insertion::None);
    };
    // SAFETY: relations, scan and slot are closed where they were opened, or released with the
    // (sub)transaction by an error. Keys and snapshot are plain data that outlive the scan.
    unsafe {
        let mut dirty: SnapshotData = mem::zeroed();
        dirty.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
        let dirty = &raw mut dirty;
        guard(|| {
            let heap = raw::try_relation_open(table, mode);
            if heap.is_null() {
                return Insertion::None;
            }
            // It notes which index the primary key is.
            raw::RelationGetIndexList(heap);
            let mut found = Insertion::Unguarded;
            if (*heap).rd_pkindex != pg_sys::InvalidOid {
                let index = raw::index_open((*heap).rd_pkindex, mode);
                if (*(*index).rd_index).indisvalid {
                    found = Insertion::None;
                }
                if found == Insertion::None
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
                    while found == Insertion::None && raw::index_getnext_slot(scan, forward, slot) {
                        if (*dirty).xmin != pg_sys::InvalidTransactionId {
                            found = Insertion::Open;
                        }
                    }
                    raw::index_endscan(scan);
                    raw::ExecDropSingleTupleTableSlot(slot);
                }
                raw::index_close(index, mode);
            }
            raw::relation_close(heap, mode);
            found
        })
    }
}
