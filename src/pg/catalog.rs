//! Look-ups in the catalogs, by name and by number.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys::SysCacheIdentifier::{AUTHOID, NAMESPACEOID, PROCOID, TYPEOID};
use pgrx::pg_sys::{self, Datum, Oid, SysCacheIdentifier};

use super::guard::{Raised, guard};
use super::raw;

/// The schema `once` and the relation of this name in it, as of now.
pub(super) fn in_once(name: &CStr) -> Result<Option<(Oid, Oid)>, Raised> {
    let name = name.as_ptr();
    // SAFETY: look-ups by NUL-terminated names.
    let found = unsafe {
        guard(|| {
            let schema = raw::get_namespace_oid(c"once".as_ptr(), true);
            match schema {
                Oid::INVALID => None,
                _ => Some((schema, raw::get_relname_relid(name, schema))),
            }
        })
    }?;
    Ok(found.filter(|(_, relation)| *relation != Oid::INVALID))
}

pub(super) fn schema_once() -> Result<Option<Oid>, Raised> {
    // SAFETY: a look-up by a NUL-terminated name.
    let schema = unsafe { guard(|| raw::get_namespace_oid(c"once".as_ptr(), true)) }?;
    Ok((schema != Oid::INVALID).then_some(schema))
}

/// Whether the role owns the extension or the database, or has the rights of who does.
pub(super) fn is_administrator(extension: Oid, role: Oid) -> Result<bool, Raised> {
    // SAFETY: look-ups by numbers; the database is this backend's.
    unsafe {
        let database = pg_sys::MyDatabaseId;
        guard(|| {
            #[cfg(feature = "pg15")]
            let is_one = raw::pg_extension_ownercheck(extension, role)
                || raw::pg_database_ownercheck(database, role);
            #[cfg(not(feature = "pg15"))]
            let is_one = raw::object_ownercheck(pg_sys::ExtensionRelationId, extension, role)
                || raw::object_ownercheck(pg_sys::DatabaseRelationId, database, role);
            is_one
        })
    }
}

/// Whether the type is `once.duration`.
pub(super) fn is_duration(kind: Oid) -> Result<bool, Raised> {
    // SAFETY: rows of this cache are such; a name ends with NUL.
    let schema = unsafe {
        read(TYPEOID, kind, |row: &pg_sys::FormData_pg_type| {
            let name = CStr::from_ptr(row.typname.data.as_ptr());
            (name == c"duration").then_some(row.typnamespace)
        })
    }?;
    Ok(match schema.flatten() {
        Some(schema) => schema_once()? == Some(schema),
        None => false,
    })
}

pub(super) fn owner_of_schema(schema: Oid) -> Result<Option<Oid>, Raised> {
    // SAFETY: rows of this cache are such.
    unsafe {
        read(
            NAMESPACEOID,
            schema,
            |row: &pg_sys::FormData_pg_namespace| row.nspowner,
        )
    }
}

pub(super) fn owner_of_function(function: Oid) -> Result<Option<Oid>, Raised> {
    // SAFETY: rows of this cache are such.
    unsafe {
        read(PROCOID, function, |row: &pg_sys::FormData_pg_proc| {
            row.proowner
        })
    }
}

pub(super) fn is_role(role: Oid) -> Result<bool, Raised> {
    // SAFETY: rows of this cache are such.
    let found = unsafe { read(AUTHOID, role, |row: &pg_sys::FormData_pg_authid| row.oid) };
    Ok(found?.is_some())
}

/// What `field` takes from the row of this number; none where there is none.
///
/// # Safety
/// The cache has one key, an object id, and its rows are `Row`s. `field` calls nothing.
unsafe fn read<Row, T: Copy>(
    cache: SysCacheIdentifier::Type,
    number: Oid,
    field: fn(&Row) -> T,
) -> Result<Option<T>, Raised> {
    // SAFETY: the caller's promise; the row is read before it is released.
    unsafe {
        guard(|| {
            let row = raw::SearchSysCache1(cache as c_int, Datum::from(number));
            if row.is_null() {
                return None;
            }
            let value = field(&*pg_sys::GETSTRUCT(row).cast::<Row>());
            raw::ReleaseSysCache(row);
            Some(value)
        })
    }
}
