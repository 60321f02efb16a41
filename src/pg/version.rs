//! One version of a row, locked exactly as it was found or not at all.
//!
//! SELECT … FOR NO KEY UPDATE locks the newest version of a row first and compares it with the condition
//! after that: a row that has left the key meanwhile is not returned, but stays locked. Here a version
//! that others have replaced or removed is not locked; whoever looks for the key again finds what has it.

use std::ffi::c_int;
use std::{mem, ptr};

use pgrx::pg_sys::{self, ItemPointerData, LOCKTAG, Oid, Relation, TM_FailureData, TupleTableSlot};

use super::creator::dirty;
use super::guard::{Raised, guard};
use super::raw;
use super::table::Table;
use super::value::Value;

/// How the current user's locks on rows of a table are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// On the version that was found.
    Version,
    /// On the version that was found, and a statement is asked then whether that is allowed.
    Checked,
    /// By a statement only, or refused by it.
    Statement,
}

/// A version of a row that was found for the statement that makes the call.
#[derive(Clone, Copy)]
pub struct Version {
    pub(super) table: Oid,
    pub(super) at: ItemPointerData,
}

/// The first place among those who wait for one version: nobody else who waits for it goes on before
/// this session has left it. Whoever comes later may still find the next version free.
pub struct Place(LOCKTAG);

/// Whether a row that somebody else has locked is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Wait,
    Skip,
}

/// What came of locking a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is the newest version, and locked to the end of the transaction.
    Held,
    /// Others have replaced or removed it. Nothing is locked.
    Overtaken,
    /// Others have it locked, and were not waited for. Nothing is locked.
    Busy,
    /// It is not in a table of core's heap: only a statement can lock it.
    Elsewhere,
}

impl Table {
    /// How the current user's locks on rows of this table are taken.
    pub fn locking(&self) -> Result<Locking, Raised> {
        const RIGHTS: pg_sys::AclMode =
            (pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE) as pg_sys::AclMode;
        const SELECT: pg_sys::AclMode = pg_sys::ACL_SELECT as pg_sys::AclMode;
        const UPDATE: pg_sys::AclMode = pg_sys::ACL_UPDATE as pg_sys::AclMode;
        // SAFETY: reads globals of this backend.
        if unsafe { pg_sys::XactReadOnly || raw::RecoveryInProgress() } {
            return Ok(Locking::Statement);
        }
        if !self.may_hide_rows && self.is_open_to_user()? {
            return Ok(Locking::Version);
        }
        let oid = self.oid;
        // SAFETY: reads a global of this backend; look-ups by object id and name.
        unsafe {
            let paths = pg_sys::set_rel_pathlist_hook;
            let asks_where = paths.is_some();
            guard(|| {
                // Citus leaves the rows of its tables on other servers.
                if asks_where
                    && raw::get_relname_relid(
                        c"pg_dist_partition".as_ptr(),
                        pg_sys::PG_CATALOG_NAMESPACE.into(),
                    ) != Oid::INVALID
                {
                    return Locking::Statement;
                }
                let user = raw::GetUserId();
                let (all, any) = (
                    pg_sys::AclMaskHow::ACLMASK_ALL,
                    pg_sys::AclMaskHow::ACLMASK_ANY,
                );
                let rights = raw::pg_class_aclmask(oid, user, RIGHTS, all);
                let may_update = rights & UPDATE != 0
                    || raw::pg_attribute_aclcheck_all(oid, user, UPDATE, any)
                        == pg_sys::AclResult::ACLCHECK_OK;
                // Where a row stands may be read by those who may read the whole table.
                match rights & SELECT != 0 && may_update {
                    true => Locking::Checked,
                    false => Locking::Statement,
                }
            })
        }
    }

    /// The version at `at`, a tid, in the table or, where that is given, in the partition whose object
    /// id `partition` is.
    pub fn version(&self, at: &Value, partition: Option<&Value>) -> Option<Version> {
        if at.null || at.kind != pg_sys::TIDOID {
            return None;
        }
        let table = match partition {
            None => self.oid,
            Some(oid) if oid.null || oid.kind != pg_sys::OIDOID => return None,
            Some(oid) => Oid::from_u32(oid.datum.value() as u32),
        };
        // SAFETY: a value of type tid points to one.
        let at = unsafe { at.datum.cast_mut_ptr::<ItemPointerData>().read_unaligned() };
        Some(Version { table, at })
    }
}

impl Version {
    /// Locks the version as SELECT … FOR NO KEY UPDATE locks a row.
    pub fn lock(self, patience: Patience) -> Result<Locked, Raised> {
        const LOCK: c_int = pg_sys::RowShareLock as c_int;
        const KEPT: c_int = pg_sys::NoLock as c_int;
        // SAFETY: the table is opened and locked as by a statement, and closed here or by the abort.
        // The snapshot of the statement that makes the call keeps the version where it is.
        unsafe {
            guard(|| {
                let table = raw::try_relation_open(self.table, LOCK);
                if table.is_null() {
                    return Locked::Overtaken;
                }
                let form = &*(*table).rd_rel;
                let is_heap = form.relkind as u8 == pg_sys::RELKIND_RELATION
                    && form.relam == pg_sys::HEAP_TABLE_AM_OID;
                let locked = if is_heap {
                    let slot = raw::table_slot_create(table, ptr::null_mut());
                    let locked = lock(table, slot, self.at, patience);
                    raw::ExecDropSingleTupleTableSlot(slot);
                    locked
                } else {
                    Locked::Elsewhere
                };
                raw::relation_close(table, KEPT);
                locked
            })
        }
    }
}

impl Version {
    /// Waits until all who came before have locked the version or left. It is the lock that core takes
    /// before it waits for a row.
    pub fn stand_in_line(self) -> Result<Place, Raised> {
        const BLOCK_BITS: u32 = 16;
        let block = self.at.ip_blkid;
        let tag = LOCKTAG {
            // SAFETY: reads a global of this backend.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: self.table.to_u32(),
            locktag_field3: u32::from(block.bi_hi) << BLOCK_BITS | u32::from(block.bi_lo),
            locktag_field4: self.at.ip_posid,
            locktag_type: pg_sys::LockTagType::LOCKTAG_TUPLE as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        // SAFETY: the tag outlives the call.
        unsafe { guard(|| raw::LockAcquire(&raw const tag, Place::MODE, false, false)) }?;
        Ok(Place(tag))
    }
}

impl Place {
    /// That of a lock FOR NO KEY UPDATE.
    const MODE: c_int = pg_sys::ExclusiveLock as c_int;

    /// Lets the next one go on. An abort does the same.
    pub fn leave(self) -> Result<(), Raised> {
        // SAFETY: the tag outlives the call.
        unsafe { guard(|| raw::LockRelease(&raw const self.0, Self::MODE, false)) }.map(|_| ())
    }
}

/// Locks the version that stands there; where it is held the slot has all that it consists of. Called
/// under a guard.
///
/// # Safety
/// The table is open, of core's heap, and locked as by a statement; the slot is an empty one for its rows.
/// A snapshot of this transaction keeps the version from being removed.
pub(super) unsafe fn lock(
    table: Relation,
    slot: *mut TupleTableSlot,
    mut at: ItemPointerData,
    patience: Patience,
) -> Locked {
    /// Neither is a newer version looked for, nor are those locked that others have made.
    const FLAGS: u8 = 0;
    let policy = match patience {
        Patience::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
        Patience::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
    };
    // SAFETY: the methods of core's heap are complete; what is passed outlives the call.
    let locked = unsafe {
        // The transaction's own rows are there to be locked once its last command is over.
        raw::CommandCounterIncrement();
        let command = raw::GetCurrentCommandId(true);
        let mut snapshot = dirty();
        let mut failure: TM_FailureData = mem::zeroed();
        (*(*table).rd_tableam).tuple_lock.map(|lock| {
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
        })
    };
    match locked {
        Some(pg_sys::TM_Result::TM_Ok) => Locked::Held,
        Some(pg_sys::TM_Result::TM_WouldBlock) => Locked::Busy,
        _ => Locked::Overtaken,
    }
}
