//! Administration of namespaces: `once.configure`, `once.unconfigure`, and the triggers of their
//! table; `once.distribute`, after which all nodes share what they say.

use pgrx::pg_extern;

use crate::error::Error;
use crate::key;
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, citus, watch};
use crate::policy;
use crate::policy::home::{self, Home, State};

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
fn distribute(_call: Call) -> Result<bool, ErrorReport> {
    Ok(share()?)
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
    Home::Own.as_owner(Access::Write, shut_without_role)?;
    Ok(false)
}

fn demand_trigger(call: Call, function: &'static str) -> Result<(), Error> {
    match owner::is_trigger_of(call, OwnTable::AccessPolicy)? {
        true => Ok(()),
        false => Err(Error::NotItsTrigger { function }),
    }
}

fn write(call: Call) -> Result<(), Error> {
    macro_rules! write {
        ($table:literal) => {
            concat!(
                "INSERT INTO once.",
                $table,
                " AS old (ns, ttl, allowed_role) VALUES ($1, $2, $3) ON CONFLICT (ns) DO UPDATE \
                 SET ttl = COALESCE(EXCLUDED.ttl, old.ttl), \
                     allowed_role = COALESCE(EXCLUDED.allowed_role, old.allowed_role)"
            )
        };
    }
    let ns = Value::text(key::namespace(call, 0)?)?;
    if let Some(ttl) = call.interval(1)?
        && !policy::is_valid_ttl(ttl)?
    {
        return Err(Error::TtlOutOfRange);
    }
    let name = match call.role(2)? {
        Some(role) => Some(role.name()?.ok_or(Error::RoleMissing)?),
        None => None,
    };
    let ttl = call.interval_value(1)?;
    at_home(|home| {
        let role = match home {
            Home::Own => call.value(2)?,
            Home::Shared => Value::text_or_null(name.as_deref())?,
        };
        let arguments = [ns.clone(), ttl.clone(), role];
        let write = home.choose(write!("access_policy"), write!("access_policy_shared"));
        spi::run(write, &arguments, View::Isolated, |_| Ok(()))
    })
}

fn remove(call: Call) -> Result<bool, Error> {
    const OWN: &str = "DELETE FROM once.access_policy WHERE ns OPERATOR(pg_catalog.=) $1";
    const SHARED: &str = "DELETE FROM once.access_policy_shared WHERE ns OPERATOR(pg_catalog.=) $1";
    let ns = Value::text(key::namespace(call, 0)?)?;
    at_home(|home| {
        let remove = home.choose(OWN, SHARED);
        let ns = std::slice::from_ref(&ns);
        spi::run(remove, ns, View::Isolated, was_written)
    })
}

/// How often the table that is to be written is another one by the time that it is locked.
const MOVES: usize = 100;

/// Runs `act` where policies stand, as the owner of that table, which they do not leave before the transaction
/// ends.
fn at_home<T>(act: impl Fn(Home) -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..MOVES {
        let home = match home::state()? {
            State::Clear(home) => home,
            State::LeftOver => {
                adopt()?;
                continue;
            }
            State::Undistributed => return Err(Error::PoliciesUndistributed),
        };
        let done = home.as_owner(Access::Write, || match home::state()? {
            State::Clear(still) if still == home => act(home).map(Some),
            _ => Ok(None),
        })?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Err(Error::PoliciesLeftOver)
}

/// Brings what was said on several nodes to the table of this one. A role that is not here is nobody.
fn adopt() -> Result<(), Error> {
    const ADOPT: &str = "INSERT INTO once.access_policy (ns, ttl, allowed_role) \
         SELECT s.ns, s.ttl, CASE WHEN s.allowed_role IS NOT NULL THEN COALESCE( \
             (SELECT r.oid FROM pg_catalog.pg_roles r \
              WHERE r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) s.allowed_role), \
             0::pg_catalog.oid)::pg_catalog.regrole END \
         FROM once.access_policy_shared s \
         ON CONFLICT (ns) DO UPDATE SET ttl = EXCLUDED.ttl, allowed_role = EXCLUDED.allowed_role";
    const CLEAR: &str = "DELETE FROM once.access_policy_shared";
    let tables = [OwnTable::AccessPolicyShared, OwnTable::AccessPolicy];
    owner::run_as_owner(&tables, Access::Write, || {
        for statement in [ADOPT, CLEAR] {
            spi::run(statement, &[], View::Isolated, |_| Ok::<_, Error>(()))?;
        }
        Ok(())
    })
}

/// The tables that all nodes are to share, and how Citus is told. The policies come last, with what this node
/// has of them.
const DISTRIBUTED: [(OwnTable, &[&str]); 4] = [
    (
        OwnTable::Claim,
        &["SELECT pg_catalog.create_distributed_table('once.claim', 'hash_low')"],
    ),
    (
        OwnTable::WorkRecord,
        &[
            "SELECT pg_catalog.create_distributed_table('once.work_record', 'hash_low', colocate_with => 'once.claim')",
        ],
    ),
    (
        OwnTable::WorkFloor,
        &["SELECT pg_catalog.create_reference_table('once.work_floor')"],
    ),
    (
        OwnTable::AccessPolicyShared,
        &[
            "INSERT INTO once.access_policy_shared (ns, ttl, allowed_role) \
             SELECT o.ns, o.ttl, CASE WHEN o.allowed_role IS NOT NULL THEN COALESCE( \
                 (SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r \
                  WHERE r.oid OPERATOR(pg_catalog.=) o.allowed_role::pg_catalog.oid), \
                 ''::pg_catalog.text) END \
             FROM once.access_policy o ON CONFLICT (ns) DO NOTHING",
            "DELETE FROM once.access_policy",
            "SELECT pg_catalog.create_reference_table('once.access_policy_shared')",
        ],
    ),
];

/// As the caller, whom Citus asks for the rights of the owner of the tables. It can be run again.
fn share() -> Result<bool, Error> {
    // Who is writing a policy is waited for, and finds them elsewhere then.
    const LOCK: &str = "LOCK TABLE once.access_policy IN EXCLUSIVE MODE";
    if !citus::is_present()? {
        return Err(Error::CitusMissing);
    }
    owner::proved(OwnTable::AccessPolicy, Access::Read)??;
    spi::run(LOCK, &[], View::Isolated, |_| Ok::<_, Error>(()))?;
    let mut is_done = false;
    for (table, statements) in DISTRIBUTED {
        if owner::is_distributed(table, Access::Read)?? {
            continue;
        }
        for statement in statements {
            spi::run(statement, &[], View::Isolated, |_| Ok::<_, Error>(()))?;
        }
        is_done = true;
    }
    Ok(is_done)
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
