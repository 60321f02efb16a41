//! Citus, which keeps the rows of its tables on several nodes, and this session's place among them.
//!
//! A node is a PostgreSQL server of its own: with its own transaction ids, its own lock manager and its
//! own settings. A statement on such a table is sent to the nodes that have the rows, and waits there.

use std::ffi::{CStr, CString};

use pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE;
use pgrx::pg_sys::{self, Oid};

use super::deadline::{self, Attempt, Failure};
use super::guard::{Raised, guard};
use super::local::{self, Meanwhile};
use super::refusal::Refusal;
use super::spi::{self, View};
use super::value::Value;
use super::{catalog, raw, session};

/// Whether this database knows of nodes.
pub fn is_present() -> Result<bool, Raised> {
    Ok(has_catalog(c"pg_dist_partition")? && has_catalog(c"pg_dist_node")?)
}

/// Whether this node can ask all others.
pub fn has_node_commands() -> Result<bool, Raised> {
    const COMMANDS: &str = "SELECT FROM pg_catalog.pg_proc \
         WHERE proname OPERATOR(pg_catalog.=) 'run_command_on_all_nodes' \
           AND pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid";
    spi::run(COMMANDS, &[], View::Newest, |rows| Ok(rows.count() > 0))
}

/// Whether this node is the coordinator, which there is one of.
pub fn is_coordinator() -> Result<bool, Raised> {
    const COORDINATOR: &str = "SELECT FROM pg_catalog.pg_dist_local_group \
         WHERE groupid OPERATOR(pg_catalog.=) 0";
    if !has_catalog(c"pg_dist_local_group")? {
        return Ok(true);
    }
    spi::run(COORDINATOR, &[], View::Newest, |rows| Ok(rows.count() > 0))
}

fn has_catalog(name: &CStr) -> Result<bool, Raised> {
    // SAFETY: a look-up by a NUL-terminated name.
    let catalog = unsafe {
        guard(|| {
            let schema = pg_sys::PG_CATALOG_NAMESPACE.into();
            raw::get_relname_relid(name.as_ptr(), schema)
        })
    }?;
    Ok(catalog != Oid::INVALID)
}

/// Whether Citus keeps the rows of the table: its own heap on this node is empty then. To be kept until
/// the table changes, which Citus announces when it takes a table or lets go of it.
pub(super) fn keeps(table: Oid) -> Result<bool, Raised> {
    const KEPT: &str = "SELECT FROM pg_catalog.pg_dist_partition \
         WHERE logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";
    if !has_catalog(c"pg_dist_partition")? {
        return Ok(false);
    }
    let table = Value::integer(table.to_u32().into());
    spi::run(KEPT, &[table], View::Newest, |rows| Ok(rows.count() > 0))
}

/// Whether Citus keeps the rows of `once.claim`, whatever that is.
pub fn keeps_claims() -> Result<bool, Raised> {
    match catalog::in_once(c"claim")? {
        Some((_, table)) => keeps(table),
        None => Ok(false),
    }
}

/// Raises where Citus runs a part of another node's query in this session: what a function did here
/// would be done on one node, outside the transaction that asks for it.
pub fn demand_no_shard_query() -> Result<(), Raised> {
    const OF_CITUS: &[u8] = b"citus_internal gpid=";
    // SAFETY: the value of a setting of this backend is null or NUL-terminated.
    let is_of_citus = unsafe {
        let name = pg_sys::application_name;
        !name.is_null() && CStr::from_ptr(name).to_bytes().starts_with(OF_CITUS)
    };
    match is_of_citus {
        true => Err(Raised::Refused(Refusal::ShardQuery)),
        false => Ok(()),
    }
}

/// Runs `act` so that its waits on all nodes end at the deadline, and, as waits on this one do, with the
/// caller's `lock_timeout`. Where there is either it runs in a subtransaction, outside which Citus sends no
/// setting along; nothing of it is left when the deadline is over.
///
/// `lock_timeout` bounds each wait by itself, and is all that other nodes have: what waits several times
/// asks for each wait anew.
pub fn attempt<T, E: From<Raised> + Into<Failure<E>>>(
    deadline: Option<i64>,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<Attempt<T>, E> {
    // SAFETY: reads a setting of this backend.
    let own = i64::from(unsafe { pg_sys::LockTimeout });
    let left = deadline.map(|deadline| {
        let left = deadline.saturating_sub(session::now()).saturating_add(999) / 1000;
        left.clamp(1, i32::MAX.into())
    });
    let (limit, is_callers) = match (left, own) {
        (None, 0) => return act().map(Attempt::Done),
        (Some(left), own) if own == 0 || left < own => (left, false),
        (_, own) => (own, true),
    };
    // Where lock_timeout is what is left, no other timer is to end the same wait.
    let timer = deadline.filter(|_| is_callers);
    match deadline::attempt(timer, || with_lock_timeout(limit, own, act)) {
        Ok(attempt) => Ok(attempt),
        Err(error) => match error.into() {
            Failure::Raised(raised) if !is_callers && raised.is(ERRCODE_LOCK_NOT_AVAILABLE) => {
                Ok(Attempt::TimedOut)
            }
            Failure::Raised(raised) => Err(raised.into()),
            Failure::Other(error) => Err(error),
        },
    }
}

/// Runs `act` with this `lock_timeout`, in milliseconds, on all nodes. On this one the caller's is
/// restored however it ends; on the others here, or with the (sub)transaction that an error ends.
fn with_lock_timeout<T, E: From<Raised>>(
    limit: i64,
    own: i64,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    const SENT: [(&CStr, &CStr); 1] = [(c"citus.propagate_set_commands", c"local")];
    let set = |limit: i64| {
        let statement = CString::new(format!("SET LOCAL lock_timeout = {limit}"));
        spi::run_command(&statement.unwrap_or_default())
    };
    local::with(&SENT, Meanwhile::IsUndone, || {
        set(limit)?;
        let done = act()?;
        set(own)?;
        Ok(done)
    })
}
