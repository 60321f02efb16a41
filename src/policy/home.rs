//! Where policies stand. On one node in `once.access_policy`, with its roles. Where Citus keeps the tables, in
//! `once.access_policy_shared`: all nodes read it, those too that are added later, and a role is known by its
//! name, since each node has numbers of its own.
//!
//! Whatever lies between the two leaves nothing open: calls are refused then.

use crate::error::Error;
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::role::NOBODY;
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Role, citus};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Own,
    Shared,
}

/// What is found of both tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Clear(Home),
    /// Citus keeps the claims and not the policies: each node would have its own.
    Undistributed,
    /// Citus does not keep them, and there are some of several nodes: somebody has restored a dump.
    LeftOver,
}

impl State {
    /// The table to look at, whatever calls make of it.
    pub fn home(self) -> Home {
        match self {
            Self::Clear(home) => home,
            Self::Undistributed | Self::LeftOver => Home::Own,
        }
    }
}

pub fn state() -> Result<State, Error> {
    const ANY: &str = "SELECT FROM once.access_policy_shared LIMIT 1";
    let shared = OwnTable::AccessPolicyShared;
    if owner::is_distributed(shared, Access::Read)?? {
        return Ok(State::Clear(Home::Shared));
    }
    if citus::keeps_claims()? {
        return Ok(State::Undistributed);
    }
    let is_any = || {
        spi::run(ANY, &[], View::Newest, |rows| {
            Ok::<_, Error>(rows.count() > 0)
        })
    };
    Ok(
        match owner::run_as_owner(&[shared], Access::Read, is_any)? {
            true => State::LeftOver,
            false => State::Clear(Home::Own),
        },
    )
}

/// Where they are read. Refused where that is not clear.
pub fn home() -> Result<Home, Error> {
    match state()? {
        State::Clear(home) => Ok(home),
        State::Undistributed => Err(Error::PoliciesUndistributed),
        State::LeftOver => Err(Error::PoliciesLeftOver),
    }
}

impl Home {
    pub fn table(self) -> OwnTable {
        match self {
            Self::Own => OwnTable::AccessPolicy,
            Self::Shared => OwnTable::AccessPolicyShared,
        }
    }

    /// Runs `act`, which uses this table and no other, as its owner.
    pub fn as_owner<T>(
        self,
        access: Access,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        owner::run_as_owner(&[self.table()], access, act)
    }

    /// The role in a column of its rows. One that this node does not have is nobody.
    pub fn role(self, rows: &Rows, row: usize, column: usize) -> Result<Option<Role>, Error> {
        match self {
            Self::Own => Ok(rows.role(row, column)?),
            Self::Shared => match rows.bytes(row, column)? {
                Some(name) => Ok(Some(Role::named(&name)?.unwrap_or(NOBODY))),
                None => Ok(None),
            },
        }
    }

    /// The one of two statements that is for its table.
    pub fn choose<T>(self, own: T, shared: T) -> T {
        match self {
            Self::Own => own,
            Self::Shared => shared,
        }
    }
}
