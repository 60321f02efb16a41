//! Knowing that the table `once.access_policy` has changed, in every session and on a standby, or that
//! `once.access_policy_shared` stands for it by now.
//!
//! A writer announces the change with its transaction, as PostgreSQL does for its catalogs: the
//! own session hears of it at once, and again if it is rolled back; all others when it commits.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys::Oid;

use super::guard::{Raised, guard};
use super::{catalog, invalidation, raw};

/// Counts what may have changed the tables. Only this backend's one thread writes these.
static VERSION: AtomicU64 = AtomicU64::new(1);
/// The tables that VERSION counts for; a first one of 0 counts every change of any table.
static TABLES: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// A number that is another one whenever the table may have changed since it was last asked for.
/// Raises 25000 in a parallel operation, where the table could not be read.
pub fn version() -> Result<u64, Raised> {
    invalidation::register();
    // SAFETY: messages are accepted as every LockRelationOid does.
    unsafe {
        guard(|| {
            raw::PreventCommandIfParallelMode(c"a function of pg_once".as_ptr());
            raw::AcceptInvalidationMessages();
        })?;
    }
    Ok(VERSION.load(Relaxed))
}

/// Whether the table exists. From here on `version` counts its changes only, and those of the one that may
/// stand for it.
pub fn begin() -> Result<bool, Raised> {
    let (table, shared) = (table(c"access_policy")?, table(c"access_policy_shared")?);
    TABLES[1].store(shared.to_u32(), Relaxed);
    TABLES[0].store(table.to_u32(), Relaxed);
    Ok(table != Oid::INVALID)
}

/// Tells every session that the table has changed, if the transaction commits.
pub fn announce() -> Result<(), Raised> {
    match table(c"access_policy")? {
        Oid::INVALID => Ok(()),
        // SAFETY: it reads the catalog, and raises where the table is gone.
        table => unsafe { guard(|| raw::CacheInvalidateRelcacheByRelid(table)) },
    }
}

fn table(name: &CStr) -> Result<Oid, Raised> {
    Ok(catalog::in_once(name)?.map_or(Oid::INVALID, |(_, table)| table))
}

/// Called for every table whose definition changes, with 0 for all of them.
pub(super) fn relation_changed(relation: Oid) {
    let watched = TABLES.each_ref().map(|table| table.load(Relaxed));
    let is_watched = relation == Oid::INVALID || watched.contains(&relation.to_u32());
    if watched[0] == 0 || is_watched {
        TABLES[0].store(0, Relaxed);
        VERSION.fetch_add(1, Relaxed);
    }
}
