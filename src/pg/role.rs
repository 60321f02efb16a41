//! Roles and what the caller is among them.

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

impl Role {
    /// The role that has this object id, if any has.
    pub fn numbered(oid: u32) -> Self {
        Self(Oid::from(oid))
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
