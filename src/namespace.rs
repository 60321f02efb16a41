//! Administration of namespaces: `once.configure`, `once.unconfigure`, and the triggers of their
//! table.

use pgrx::pg_extern;

use crate::error::Error;
use crate::key;
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, watch};
use crate::policy;

#[pg_extern(sql = false)]
fn configure(call: Call) -> Result<bool, ErrorReport> {
    write(call)?;
    Ok(true)
}

#[pg_extern(sql = false)]
fn unconfigure(call: Call) -> Result<bool, ErrorReport> {
    Ok(remove(call)?)
}

#[pg_extern(sql = false)]
fn may_use(call: Call) -> Result<Option<bool>, ErrorReport> {
    Ok(admits(call)?)
}

/// The row trigger: whoever writes the table, every session hears of it. It returns no row.
#[pg_extern(sql = false)]
fn namespace_changed(call: Call) -> Result<bool, ErrorReport> {
    demand_trigger(call, "once.namespace_changed()")?;
    watch::announce().map_err(Error::from)?;
    Ok(false)
}

/// The statement trigger. It returns no row.
#[pg_extern(sql = false)]
fn namespace_written(call: Call) -> Result<bool, ErrorReport> {
    demand_trigger(call, "once.namespace_written()")?;
    as_owner(shut_without_role)?;
    Ok(false)
}

fn demand_trigger(call: Call, function: &'static str) -> Result<(), Error> {
    match owner::is_trigger_of(call, OwnTable::AccessPolicy)? {
        true => Ok(()),
        false => Err(Error::NotItsTrigger { function }),
    }
}

fn as_owner<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    owner::run_as_owner(&[OwnTable::AccessPolicy], Access::Write, act)
}

fn write(call: Call) -> Result<(), Error> {
    const WRITE: &str = "INSERT INTO once.access_policy AS old (ns, ttl, allowed_role) \
         VALUES ($1, $2, $3) ON CONFLICT (ns) DO UPDATE \
         SET ttl = COALESCE(EXCLUDED.ttl, old.ttl), \
             allowed_role = COALESCE(EXCLUDED.allowed_role, old.allowed_role)";
    let ns = Value::text(key::namespace(call, 0)?)?;
    if let Some(ttl) = call.interval(1)?
        && !policy::is_valid_ttl(ttl)?
    {
        return Err(Error::TtlOutOfRange);
    }
    if let Some(role) = call.role(2)?
        && !role.exists()?
    {
        return Err(Error::RoleMissing);
    }
    let arguments = [ns, call.value(1)?, call.value(2)?];
    as_owner(|| spi::run(WRITE, &arguments, View::Isolated, |_| Ok(())))
}

fn remove(call: Call) -> Result<bool, Error> {
    const REMOVE: &str = "DELETE FROM once.access_policy WHERE ns OPERATOR(pg_catalog.=) $1";
    let ns = Value::text(key::namespace(call, 0)?)?;
    as_owner(|| spi::run(REMOVE, &[ns], View::Isolated, was_written))
}

fn admits(call: Call) -> Result<Option<bool>, Error> {
    match call.text(0, key::NAMESPACE_LIMIT)? {
        None => Ok(None),
        Some(Ok(ns)) => policy::admits(ns).map(Some),
        // Nobody can configure it, so it is as open as one that nobody has configured.
        Some(Err(_)) => Ok(Some(true)),
    }
}

/// A dump names a dropped role by its number, which may be given to another role later: such a
/// namespace is shut for good instead.
fn shut_without_role() -> Result<(), Error> {
    const FIND: &str = "SELECT FROM once.access_policy \
         WHERE allowed_role OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles \
                           WHERE oid OPERATOR(pg_catalog.=) allowed_role) LIMIT 1";
    const SHUT: &str = "UPDATE once.access_policy SET allowed_role = 0::pg_catalog.oid \
         WHERE allowed_role OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles \
                           WHERE oid OPERATOR(pg_catalog.=) allowed_role)";
    if spi::run(FIND, &[], View::Isolated, was_written)? {
        spi::run(SHUT, &[], View::Isolated, |_| Ok::<_, Error>(()))?;
    }
    Ok(())
}

fn was_written(rows: &Rows) -> Result<bool, Error> {
    Ok(rows.count() == 1)
}
