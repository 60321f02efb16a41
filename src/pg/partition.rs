//! The tables that a table is a partition of, and is being detached from.

use std::ffi::c_int;
use std::ptr;

use pgrx::pg_sys::{self, Oid};

use super::guard::{Raised, guard};
use super::raw;
use super::value::Value;

/// The tables that the partition `oid` is one of, the topmost last, with those that it is being
/// detached from: `get_partition_ancestors` leaves these out from the first of the two transactions of
/// DETACH PARTITION … CONCURRENTLY on, while others may still be writing the partition through them.
pub(super) fn ancestors(oid: Oid) -> Result<Vec<Oid>, Raised> {
    let mut ancestors = Vec::new();
    let mut next = link(oid)?;
    while let Some(Link { parent, .. }) = next {
        ancestors.push(parent);
        next = link(parent)?;
    }
    Ok(ancestors)
}

/// Whether the partition, or one that it is a part of, is between the two transactions of DETACH
/// PARTITION … CONCURRENTLY, or was left there.
pub fn is_being_detached(partition: &Value) -> Result<bool, Raised> {
    if partition.null || partition.kind != pg_sys::OIDOID {
        return Ok(false);
    }
    let mut next = link(Oid::from_u32(partition.datum.value() as u32))?;
    while let Some(Link { parent, detaches }) = next {
        if detaches {
            return Ok(true);
        }
        next = link(parent)?;
    }
    Ok(false)
}

/// That a table is a partition.
#[derive(Clone, Copy)]
struct Link {
    parent: Oid,
    /// Whether it is being detached.
    detaches: bool,
}

/// What the partition or partitioned table `oid` is a partition of: one table at most.
fn link(oid: Oid) -> Result<Option<Link>, Raised> {
    const CATALOG: Oid = pg_sys::InheritsRelationId;
    const INDEX: Oid = Oid::from_u32(pg_sys::InheritsRelidSeqnoIndexId);
    const LOCK: c_int = pg_sys::AccessShareLock as c_int;
    // SAFETY: the key is the first column of the index; a row of the catalog is laid out as its
    // struct. The catalog is closed at the end, or by the abort.
    unsafe {
        guard(|| {
            let mut key = pg_sys::ScanKeyData::default();
            raw::ScanKeyInit(
                &raw mut key,
                pg_sys::Anum_pg_inherits_inhrelid as pg_sys::AttrNumber,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::F_OIDEQ.into(),
                oid.into(),
            );
            let catalog = raw::relation_open(CATALOG, LOCK);
            let newest = ptr::null_mut();
            let scan = raw::systable_beginscan(catalog, INDEX, true, newest, 1, &raw mut key);
            let row = raw::systable_getnext(scan);
            let link = (!row.is_null()).then(|| {
                let row = pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_inherits>();
                Link {
                    parent: (*row).inhparent,
                    detaches: (*row).inhdetachpending,
                }
            });
            raw::systable_endscan(scan);
            raw::relation_close(catalog, LOCK);
            link
        })
    }
}
