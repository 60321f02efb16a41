//! What PostgreSQL tells this session of changed relations and catalogs, passed on to whoever keeps
//! something of them.
//!
//! A backend has room for ten relation callbacks, those of core and of all extensions together:
//! this extension takes one.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pgrx::pg_sys::SysCacheIdentifier::{
    AUTHMEMROLEMEM, AUTHOID, CLAOID, NAMESPACEOID, OPEROID, PROCOID, TYPEOID,
};
use pgrx::pg_sys::{self, Datum, Oid, SysCacheIdentifier};

use super::{claims, known, owner, watch};

const CATALOGS: [SysCacheIdentifier::Type; 7] = [
    AUTHMEMROLEMEM,
    AUTHOID,
    CLAOID,
    NAMESPACEOID,
    OPEROID,
    PROCOID,
    TYPEOID,
];

/// To be called before anything is kept.
pub(super) fn register() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Relaxed) {
        // SAFETY: both callbacks are static functions, registered once in this backend.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), Datum::null());
            for catalog in CATALOGS {
                let catalog = catalog as c_int;
                pg_sys::CacheRegisterSyscacheCallback(catalog, Some(row_changed), Datum::null());
            }
        }
    }
}

/// Called for every table or index whose definition changes, with 0 for all of them.
unsafe extern "C-unwind" fn relation_changed(_: Datum, relation: Oid) {
    watch::relation_changed(relation);
    owner::relation_changed(relation);
    claims::relation_changed(relation);
    known::relation_changed(relation);
}

/// Called for every change of a row of these catalogs.
unsafe extern "C-unwind" fn row_changed(_: Datum, catalog: c_int, _: u32) {
    let catalog = catalog as SysCacheIdentifier::Type;
    match catalog {
        CLAOID | OPEROID | TYPEOID => known::name_changed(),
        PROCOID => owner::catalog_changed(),
        AUTHMEMROLEMEM => claims::names_changed(),
        AUTHOID => {
            owner::catalog_changed();
            claims::names_changed();
        }
        _ => {
            owner::catalog_changed();
            claims::names_changed();
            known::name_changed();
        }
    }
}
