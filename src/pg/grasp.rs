//! A row that is locked by way of its unique index, as SELECT … FOR NO KEY UPDATE locks it.
//!
//! No statement is begun and ended for it. What a statement would see to besides is for the
//! caller: rights, row security, partitions, the isolation level.

use std::ffi::c_int;
use std::ptr;

use pgrx::pg_sys::{self, ItemPointerData, Relation, TupleTableSlot};

use super::creator::Found;
use super::guard::{Raised, guard};
use super::raw;
use super::table::{Column, Table, Unique};
use super::value::Value;
use super::version::{self, Locked, Patience, Version};

/// What a look at the unique index got hold of.
pub enum Grasp {
    /// The newest version of the row, locked to the end of the transaction.
    Row(Value<'static>),
    /// There is certainly no row, not even one of an open transaction.
    Nothing,
    /// Others have changed or removed the row since it was found. Nothing is locked.
    Overtaken,
    /// Others have locked this version, and were not waited for. Nothing is locked.
    Busy(Version),
    /// That is for statements to find out.
    Unsure,
}

impl Table {
    /// Locks the row with this key. It waits for nobody.
    pub fn grasp(&self, unique: &Unique, key: &[(&Column, &Value)]) -> Result<Grasp, Raised> {
        let mut grasp = Ok(Grasp::Unsure);
        let found = self.look(unique, key, |look| {
            if let Some(at) = look.found.standing() {
                // SAFETY: called under a guard, with the table open.
                grasp = unsafe { lock(look.table, look.slot, at, Patience::Skip) };
            }
        })?;
        match found {
            Some(Found::Nothing) => Ok(Grasp::Nothing),
            _ => grasp,
        }
    }

    /// Locks a version that was busy, after waiting for those who have locked or change it.
    pub fn grasp_after(&self, version: Version) -> Result<Grasp, Raised> {
        const LOCK: c_int = pg_sys::NoLock as c_int;
        let mut grasp = Ok(Grasp::Overtaken);
        // SAFETY: the table is locked to the end of the transaction, and closed here or by the abort.
        unsafe {
            guard(|| {
                let table = raw::try_relation_open(version.table, LOCK);
                if !table.is_null() {
                    let slot = raw::table_slot_create(table, ptr::null_mut());
                    grasp = lock(table, slot, version.at, Patience::Wait);
                    raw::ExecDropSingleTupleTableSlot(slot);
                    raw::relation_close(table, LOCK);
                }
            })?;
        }
        grasp
    }
}

/// Locks the version of the row that stands there, which has the key: its entry in the index says
/// so. Called under a guard: nothing that it holds needs dropping.
///
/// # Safety
/// The table is open, and the slot an empty one for its rows.
unsafe fn lock(
    table: Relation,
    slot: *mut TupleTableSlot,
    at: ItemPointerData,
    patience: Patience,
) -> Result<Grasp, Raised> {
    const MODE: c_int = pg_sys::RowShareLock as c_int;
    // SAFETY: the caller's promise; the table is one of core's heap. The snapshot of the statement
    // that makes the call keeps the version. Where a row came, the slot holds all that it consists of.
    unsafe {
        let oid = (*table).rd_id;
        raw::LockRelationOid(oid, MODE);
        match version::lock(table, slot, at, patience) {
            Locked::Held => {}
            Locked::Overtaken => return Ok(Grasp::Overtaken),
            Locked::Busy => return Ok(Grasp::Busy(Version { table: oid, at })),
            Locked::Elsewhere => return Ok(Grasp::Unsure),
        }
        let description = (*slot).tts_tupleDescriptor;
        let count = (*description).natts;
        if c_int::from((*slot).tts_nvalid) < count {
            raw::slot_getsomeattrs_int(slot, count);
        }
        let (datums, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
        let row = raw::heap_form_tuple(description, datums, nulls);
        let datum = raw::HeapTupleHeaderGetDatum((*row).t_data);
        Value::copy(datum, (*description).tdtypeid, -1, false).map(Grasp::Row)
    }
}
