//! Roles and what the caller is among them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Oid};

use super::guard::{Raised, guard};
use super::{catalog, raw};

/// A role by its number, which outlives the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Role(pub(super) Oid);

/// Who may see what all others do.
pub const READ_ALL_STATS: Role = Role(Oid::from_u32(pg_sys::ROLE_PG_READ_ALL_STATS));

/// The owner of the database, whoever that is.
pub const DATABASE_OWNER: Role = Role(Oid::from_u32(pg_sys::ROLE_PG_DATABASE_OWNER));

/// No role, which includes superusers only.
pub const NOBODY: Role = Role(Oid::INVALID);

impl Role {
    /// The role that has this object id, if any has.
    pub fn numbered(oid: u32) -> Self {
        Self(Oid::from(oid))
    }

    /// The role of this name on this server, if any has it.
    pub fn named(name: &[u8]) -> Result<Option<Self>, Raised> {
        let Ok(name) = CString::new(name) else {
            return Ok(None);
        };
        // SAFETY: a look-up by a NUL-terminated name.
        let role = unsafe { guard(|| raw::get_role_oid(name.as_ptr(), true)) }?;
        Ok((role != Oid::INVALID).then_some(Self(role)))
    }

    /// The name by which other servers know it; none of a role that was dropped.
    pub fn name(self) -> Result<Option<Vec<u8>>, Raised> {
        // SAFETY: a look-up by a number; the name is null, or NUL-terminated and copied.
        unsafe {
            let name = guard(|| raw::GetUserNameFromId(self.0, true))?;
            Ok((!name.is_null()).then(|| CStr::from_ptr(name).to_bytes().to_vec()))
        }
    }

    /// `current_user`.
    pub fn caller() -> Self {
        // SAFETY: reads this backend's identity, and raises nothing.
        Self(unsafe { raw::GetUserId() })
    }

    pub fn exists(self) -> Result<bool, Raised> {
        catalog::is_role(self.0)
    }

    /// Whether `current_user` is this role, has its rights, or is a superuser. A role that was
    /// dropped includes superusers only.
    pub fn includes_caller(self) -> Result<bool, Raised> {
        let (role, caller) = (self.0, Self::caller().0);
        let is_there = self.exists()?;
        // SAFETY: reads the catalog.
        unsafe {
            guard(|| match is_there {
                true => raw::has_privs_of_role(caller, role),
                false => raw::superuser_arg(caller),
            })
        }
    }
}
