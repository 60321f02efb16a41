//! Seeing what open transactions have inserted, without waiting for them.

use std::ffi::CStr;
use std::{mem, ptr};

use pgrx::pg_sys::{self, Datum, ScanKeyData, SnapshotData};

use super::guard::{Raised, guard};
use super::{catalog, raw};

/// What another transaction, which is open, has done about a primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Nothing; or the primary key is not a btree on one uuid, or is that of a partitioned table, and
    /// nobody knows.
    None,
    /// It has inserted the row.
    Open,
    /// The table has no valid primary key: nothing would keep a second row out.
    Unguarded,
}

/// Whether another transaction, which is open, has inserted a row with this primary key into a
/// table of the schema `once`.
pub fn insertion(table: &'static CStr, mut key: [u8; 16]) -> Result<Insertion, Raised> {
    const EQUAL: u16 = 3;
    let mode = pg_sys::AccessShareLock as i32;
    let Some((_, table)) = catalog::in_once(table)? else {
        return Ok(Insertion::None);
    };
    // SAFETY: relations, scan and slot are closed where they were opened, or released with the
    // (sub)transaction by an error. Key and snapshot are plain data that outlive the scan.
    unsafe {
        let mut condition: ScanKeyData = mem::zeroed();
        let mut dirty: SnapshotData = mem::zeroed();
        dirty.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
        let (key, condition) = (Datum::from(key.as_mut_ptr()), &raw mut condition);
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
                    && (*(*index).rd_index).indnkeyatts == 1
                    && *(*index).rd_opcintype == pg_sys::UUIDOID
                {
                    raw::ScanKeyInit(condition, 1, EQUAL, pg_sys::F_UUID_EQ.into(), key);
                    let slot = raw::table_slot_create(heap, ptr::null_mut());
                    let scan = raw::begin_scan(heap, index, dirty, 1);
                    raw::index_rescan(scan, condition, 1, ptr::null_mut(), 0);
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
