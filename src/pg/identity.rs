//! Running as another role than the caller, for statements on tables of users.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys::{self, Oid};

use super::guard::Raised;
use super::local::{self, Meanwhile};
use super::role::Role;

/// Whether an AFTER trigger runs as the role that was the current one at its event. Before version 18
/// it runs as the one at the end of the statement, or at COMMIT.
pub const AFTER_TRIGGERS_KEEP_THEIR_ROLE: bool =
    !cfg!(any(feature = "pg15", feature = "pg16", feature = "pg17"));

/// Runs `act` with the rights of the role, as core does for the actions of a foreign key, and as a
/// security-restricted operation: code of the role's triggers leaves no cursor, temporary object,
/// setting or deferred trigger in the caller's session that would later run with other rights.
///
/// Row security that is forced on an owner does not count, as for the actions of a foreign key.
/// The caller's search_path does not count either, since functions of the role look up names by it.
///
/// For the role that the caller is anyway, nothing changes.
pub fn run_as<T, E: From<Raised>>(
    role: Role,
    search_path: &CStr,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if role == Role::caller() {
        return act();
    }
    restricted(role, pg_sys::SECURITY_NOFORCE_RLS, search_path, act)
}

/// Runs `act` with the rights of the role in a security-restricted operation, with its own
/// search_path. Identity and settings of the caller are restored however it ends.
pub(super) fn restricted<T, E: From<Raised>>(
    role: Role,
    rights: u32,
    search_path: &CStr,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    const RESTRICTIONS: u32 =
        pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let settings = [(c"search_path", search_path)];
    switched(role.0, RESTRICTIONS | rights, || {
        local::with(&settings, Meanwhile::IsUndone, act)
    })
}

/// Runs `act` as the role that COMMIT would run as: the session's, without the SECURITY DEFINER
/// functions in progress.
pub fn run_as_at_commit<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: reads this backend's identity.
    let role = unsafe { pg_sys::GetOuterUserId() };
    if Role(role) == Role::caller() {
        return act();
    }
    switched(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE, act)
}

/// The caller's identity is restored however `act` ends: here, or by the abort of the
/// (sub)transaction, which PostgreSQL does for every user switch.
fn switched<T>(role: Oid, restrictions: u32, act: impl FnOnce() -> T) -> T {
    let (mut caller, mut context) = (Oid::INVALID, 0);
    // SAFETY: reads this backend's identity, and switches it as a SECURITY DEFINER function does.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut caller, &raw mut context);
        let _restore = Restore { caller, context };
        pg_sys::SetUserIdAndSecContext(role, context | restrictions as c_int);
        act()
    }
}

struct Restore {
    caller: Oid,
    context: c_int,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: the identity is the one that was read before.
        unsafe { pg_sys::SetUserIdAndSecContext(self.caller, self.context) }
    }
}
