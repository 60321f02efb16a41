//! Acting as the owner of the extension's tables, for the extension's own statements only.

use pgrx::pg_sys::{self, Oid};

use super::guard::Raised;

/// Runs `act` with the rights of the owner of the table `once.claim`.
///
/// The caller's identity is restored however `act` ends: here, or by the abort of the
/// (sub)transaction, which PostgreSQL does for every user switch.
pub fn acting<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let (mut caller, mut context) = (Oid::INVALID, 0);
    // SAFETY: reads this backend's identity, and switches it as a SECURITY DEFINER function does.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut caller, &raw mut context);
        if let Some(owner) = owner() {
            let context = context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(owner, context);
        }
        let result = act();
        pg_sys::SetUserIdAndSecContext(caller, context);
        result
    }
}

/// The owner of the schema `once`, which CREATE EXTENSION made together with its tables; none
/// where the extension has been dropped, so that its statements fail with 42P01 by themselves.
pub(super) fn owner() -> Option<Oid> {
    // SAFETY: catalog look-ups; the tuple is released before its memory is gone.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"once".as_ptr(), true);
        if schema == Oid::INVALID {
            return None;
        }
        let cache = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(schema));
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>()).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}
