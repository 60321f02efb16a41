//! Knowing that the table `once.access_policy` has changed, in every session and on a standby.
//!
//! A writer announces the change with its transaction, as PostgreSQL does for its catalogs: the
//! own session hears of it at once, and again if it is rolled back; all others when it commits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys::Oid;

use super::guard::{Raised, guard};
use super::{catalog, invalidation, raw};

/// Counts what may have changed the table. Only this backend's one thread writes these.
static VERSION: AtomicU64 = AtomicU64::new(1);
/// The table that VERSION counts for; 0 counts every change of any table.
static TABLE: AtomicU32 = AtomicU32::new(0);

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

/// Whether the table exists. From here on `version` counts its changes only.
pub fn begin() -> Result<bool, Raised> {
    let table = table()?;
    TABLE.store(table.to_u32(), Relaxed);
    Ok(table != Oid::INVALID)
}

/// Tells every session that the table has changed, if the transaction commits.
pub fn announce() -> Result<(), Raised> {
    match table()? {
        Oid::INVALID => Ok(()),
        // SAFETY: it reads the catalog, and raises where the table is gone.
        table => unsafe { guard(|| raw::CacheInvalidateRelcacheByRelid(table)) },
    }
}

fn table() -> Result<Oid, Raised> {
    Ok(catalog::in_once(c"access_policy")?.map_or(Oid::INVALID, |(_, table)| table))
}

/// Called for every table whose definition changes, with 0 for all of them.
pub(super) fn relation_changed(relation: Oid) {
    let watched = TABLE.load(Relaxed);
    if watched == 0 || relation == Oid::INVALID || relation.to_u32() == watched {
        TABLE.store(0, Relaxed);
        VERSION.fetch_add(1, Relaxed);
    }
}
