//! A row that is locked by way of its unique index, as SELECT … FOR NO KEY UPDATE locks it.
//!
//! No statement is begun and ended for it. What a statement would see to besides is for the
//! caller: rights, row security, partitions, the isolation level.

use std::ffi::c_int;
use std::mem;

use pgrx::pg_sys::{self, ItemPointerData, ScanKeyData, TM_FailureData};

use super::creator::{Found, Look, dirty};
use super::guard::Raised;
use super::raw;
use super::table::{Column, Table, Unique};
use super::value::Value;

/// What a look at the unique index got hold of.
pub enum Grasp {
    /// The newest version of the row, locked to the end of the transaction.
    Row(Value<'static>),
    /// There is certainly no row, not even one of an open transaction.
    Nothing,
    /// That is for statements to find out.
    Unsure,
}

/// Whether a row that somebody else has locked is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Wait,
    Skip,
}

impl Table {
    /// Locks the row with this key. It waits for those who have locked or change the row, not for
    /// those who are creating it.
    pub fn grasp(
        &self,
        unique: &Unique,
        key: &[(&Column, &Value)],
        patience: Patience,
    ) -> Result<Grasp, Raised> {
        let mut row = Ok(None);
        let found = self.look(unique, key, |look| {
            if let Some(at) = look.found.standing() {
                // SAFETY: called under a guard, with the table open.
                row = unsafe { lock(&look, unique, at, patience) };
            }
        })?;
        Ok(match (row?, found) {
            (Some(row), _) => Grasp::Row(row),
            (None, Some(Found::Nothing)) => Grasp::Nothing,
            _ => Grasp::Unsure,
        })
    }
}

/// Locks the newest version of the row that stands there; none where it is gone, or has another
/// key by now. Called under a guard: nothing that it holds needs dropping.
unsafe fn lock(
    look: &Look,
    unique: &Unique,
    mut at: ItemPointerData,
    patience: Patience,
) -> Result<Option<Value<'static>>, Raised> {
    const MODE: c_int = pg_sys::RowShareLock as c_int;
    const FLAGS: u8 = (pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS
        | pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION) as u8;
    let policy = match patience {
        Patience::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
        Patience::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
    };
    let (table, slot) = (look.table, look.slot);
    // SAFETY: the table is open and of core's heap, whose methods are complete; what is passed
    // outlives the call. Where a row came, the slot holds all that it consists of.
    unsafe {
        raw::LockRelationOid((*table).rd_id, MODE);
        // The transaction's own rows are there to be locked once its last command is over.
        raw::CommandCounterIncrement();
        let command = raw::GetCurrentCommandId(true);
        let mut snapshot = dirty();
        let mut failure: TM_FailureData = mem::zeroed();
        let locked = (*(*table).rd_tableam).tuple_lock.map(|lock| {
            lock(
                table,
                &raw mut at,
                &raw mut snapshot,
                slot,
                command,
                pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                policy,
                FLAGS,
                &raw mut failure,
            )
        });
        if locked != Some(pg_sys::TM_Result::TM_Ok) {
            return Ok(None);
        }
        let description = (*slot).tts_tupleDescriptor;
        let count = (*description).natts;
        if c_int::from((*slot).tts_nvalid) < count {
            raw::slot_getsomeattrs_int(slot, count);
        }
        let (datums, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
        let has_rest = || {
            look.rest
                .iter()
                .all(|key| is_equal(key, key.sk_attno, datums, nulls))
        };
        if !has_key(look.keys, unique, datums, nulls) || !has_rest() {
            return Ok(None);
        }
        let row = raw::heap_form_tuple(description, datums, nulls);
        let datum = raw::HeapTupleHeaderGetDatum((*row).t_data);
        Value::copy(datum, (*description).tdtypeid, -1, false).map(Some)
    }
}

/// Whether a row of these values has the key that was looked for.
unsafe fn has_key(
    keys: &[ScanKeyData],
    unique: &Unique,
    datums: *const pg_sys::Datum,
    nulls: *const bool,
) -> bool {
    let mut keys = keys.iter().zip(&unique.parts);
    // SAFETY: the arrays have an entry for each column of the table.
    keys.all(|(key, part)| unsafe { is_equal(key, part.column, datums, nulls) })
}

/// Whether the column of this number has the value of the condition.
unsafe fn is_equal(
    key: &ScanKeyData,
    column: i16,
    datums: *const pg_sys::Datum,
    nulls: *const bool,
) -> bool {
    let place = column as usize - 1;
    let is_for_null = key.sk_flags as u32 & pg_sys::SK_ISNULL != 0;
    // SAFETY: the caller passes arrays with an entry for each column of the table.
    unsafe {
        let is_null = *nulls.add(place);
        if is_for_null || is_null {
            return is_for_null && is_null;
        }
        let equals = (&raw const key.sk_func).cast_mut();
        let (value, sought) = (*datums.add(place), key.sk_argument);
        raw::FunctionCall2Coll(equals, key.sk_collation, value, sought).value() != 0
    }
}
