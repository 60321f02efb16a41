//! What `once.check` asks for beyond the catalogs. Its findings stand in `sql/check.sql`.

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::{self, View};
use crate::pg::store::Store;
use crate::pg::{Answer, Call, ErrorReport, Role, Value, citus, session};
use crate::policy;

/// Those of all namespaces: a number tells nobody a key. A name is of a namespace that is open to all, or of
/// one that the caller may use.
#[pg_extern(sql = false)]
fn backlog(call: Call) -> Result<Answer, ErrorReport> {
    Ok(answer(call)?)
}

/// What is the matter with tables that are to be on several nodes.
#[pg_extern(sql = false)]
fn distribution(call: Call) -> Result<(), ErrorReport> {
    Ok(show_distribution(call)?)
}

fn show_distribution(call: Call) -> Result<(), Error> {
    const FINDINGS: &str = "\
        WITH node (number) AS ( \
            SELECT pg_catalog.count(*) FROM ( \
                SELECT groupid FROM pg_catalog.pg_dist_node UNION SELECT 0) AS node_group \
        ), \
        own (name, call, is_kept) AS ( \
            SELECT own.name, own.call, EXISTS ( \
                SELECT FROM pg_catalog.pg_dist_partition AS kept \
                WHERE kept.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) \
                      pg_catalog.to_regclass('once.' OPERATOR(pg_catalog.||) own.name)::pg_catalog.oid) \
            FROM (VALUES ('claim', 'create_distributed_table(''once.claim'', ''hash_low'')'), \
                         ('work_record', 'create_distributed_table(''once.work_record'', ''hash_low'')'), \
                         ('work_floor', 'create_reference_table(''once.work_floor'')')) AS own (name, call) \
        ) \
        SELECT 'error'::pg_catalog.text, \
               pg_catalog.format('there are %s nodes, and once.%s is not distributed', node.number, own.name), \
               pg_catalog.format('Each node has one of its own: what is won once on each is won several times. \
On the coordinator: SELECT %s. See docs/distribute.md.', own.call) \
        FROM node, own WHERE node.number OPERATOR(pg_catalog.>) 1 AND NOT own.is_kept \
        UNION ALL \
        SELECT 'notice', pg_catalog.format('there are %s nodes: named locks, once.stats, once.locks and what \
once.configure says are of this one', node.number), \
               'Call once.configure on all, with run_command_on_all_nodes(). Instead of a named lock use work. \
A transaction is atomic on all nodes where every table that it writes is a Citus table.' \
        FROM node WHERE node.number OPERATOR(pg_catalog.>) 1";
    let store = Store::of(call)?;
    if !citus::is_present()? {
        return Ok(());
    }
    spi::run(FINDINGS, &[], View::Isolated, |rows| {
        (0..rows.count()).try_for_each(|row| Ok(store.copy(rows, row)?))
    })
}

fn answer(call: Call) -> Result<Answer, Error> {
    let (backlog, troubles) = estimate()?;
    Ok(call.answer_columns(Some([
        Value::integer(backlog.total),
        Value::integer(backlog.expired),
        Value::integer(backlog.endless),
        Value::text_or_null(backlog.crowd.as_deref())?,
        Value::texts(&backlog.closed)?,
        Value::texts(&troubles.damaged)?,
        Value::texts(&troubles.unusable)?,
        Value::texts(&troubles.locked)?,
    ]))?)
}

/// What has expired for longer than this, in microseconds, should have been swept.
const GRACE: i64 = 60_000_000;

/// How long tables that somebody keeps locked are waited for, in microseconds.
const PATIENCE: i64 = 1_000_000;

#[derive(Default)]
struct Backlog {
    total: i64,
    expired: i64,
    /// What never expires, in namespaces that nobody has configured; and in which of them is most.
    endless: i64,
    crowd: Option<Vec<u8>>,
    /// Namespaces whose role was dropped, as far as the caller may see them.
    closed: Vec<Vec<u8>>,
}

impl Backlog {
    fn add(&mut self, other: Self) {
        self.total += other.total;
        self.expired += other.expired;
        if self.endless < other.endless {
            self.crowd = other.crowd;
        }
        self.endless += other.endless;
    }
}

/// Which tables were not read, and why. None keeps the operator from the other findings.
#[derive(Default)]
struct Troubles {
    damaged: Vec<String>,
    unusable: Vec<String>,
    /// By somebody who has not let go of them in time.
    locked: Vec<String>,
}

impl Troubles {
    /// What is read from the first of the tables, which may need the others.
    fn unless<T>(
        &mut self,
        tables: &[OwnTable],
        deadline: i64,
        read: impl FnOnce() -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let name = format!("once.{}", tables[0].name());
        let as_owner = || owner::run_as_owner(tables, Access::Read, read);
        match attempt(Some(deadline), as_owner) {
            Ok(Attempt::Done(done)) => return Ok(Some(done)),
            Ok(Attempt::TimedOut | Attempt::Moved) => self.locked.push(name),
            Err(Error::Postgres(raised)) if raised.is_lock_timeout() => self.locked.push(name),
            Err(Error::Postgres(raised)) if raised.is_damage() => {
                self.damaged.push(format!("{name}: {}", raised.message()));
            }
            Err(unusable @ Error::TableUnusable(_)) => {
                self.unusable.push(unusable.into_words().text);
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

fn estimate() -> Result<(Backlog, Troubles), Error> {
    let deadline = session::now() + PATIENCE;
    let (mut all, mut troubles) = (Backlog::default(), Troubles::default());
    let policies = [OwnTable::AccessPolicy];
    let closed = troubles.unless(&policies, deadline, closed)?;
    let has_policies = closed.is_some();
    let sees_all = policy::is_administrator()?;
    for (ns, role) in closed.unwrap_or_default() {
        if sees_all || role.includes_caller()? {
            all.closed.push(ns);
        }
    }
    for (table, count) in [
        (OwnTable::Claim, count!("once.claim")),
        (OwnTable::WorkRecord, count!("once.work_record")),
    ] {
        let part = match has_policies {
            true => {
                let tables = [table, OwnTable::AccessPolicy];
                troubles.unless(&tables, deadline, || counted(count.beside_policies))?
            }
            false => troubles.unless(&[table], deadline, || counted(count.alone))?,
        };
        all.add(part.unwrap_or_default());
    }
    Ok((all, troubles))
}

/// Of about 1000 pages of a table, multiplied.
struct Count {
    beside_policies: &'static str,
    /// Where it is not known which namespaces are configured.
    alone: &'static str,
}

/// `$unconfigured` says which claims and works are in a namespace that nobody has configured.
macro_rules! count {
    ($table:literal) => {
        Count {
            beside_policies: count!(
                $table,
                "n.ns IS NULL",
                "LEFT JOIN once.access_policy n ON n.ns OPERATOR(pg_catalog.=) t.ns "
            ),
            alone: count!($table, "false", ""),
        }
    };
    ($table:literal, $unconfigured:literal, $policies:literal) => {
        concat!(
            "SELECT (pg_catalog.count(*) OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                 (pg_catalog.count(*) FILTER (WHERE t.expires_at OPERATOR(pg_catalog.<) $1) \
                      OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                 (pg_catalog.count(*) FILTER (WHERE t.expires_at IS NULL AND ",
            $unconfigured,
            ") OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                 pg_catalog.mode() WITHIN GROUP (ORDER BY t.ns) \
                      FILTER (WHERE t.expires_at IS NULL AND ",
            $unconfigured,
            " AND pg_catalog.octet_length(t.ns) OPERATOR(pg_catalog.<=) 128) \
             FROM (SELECT GREATEST(1, pg_catalog.pg_relation_size('",
            $table,
            "') OPERATOR(pg_catalog./) 8192000)::pg_catalog.float8 AS whole) part, \
                 LATERAL (SELECT ns, expires_at FROM ",
            $table,
            " TABLESAMPLE pg_catalog.system (100::pg_catalog.float8 OPERATOR(pg_catalog./) part.whole)) t ",
            $policies,
            "GROUP BY part.whole"
        )
    };
}

use count;

fn counted(statement: &str) -> Result<Backlog, Error> {
    let before = Value::timestamp(Some(session::now() - GRACE));
    spi::run(statement, &[before], View::Isolated, |rows| {
        let number = |column| Ok::<_, Error>(rows.integer(0, column)?.unwrap_or(0));
        Ok(Backlog {
            total: number(0)?,
            expired: number(1)?,
            endless: number(2)?,
            crowd: rows.bytes(0, 3)?,
            closed: Vec::new(),
        })
    })
}

/// The namespaces whose role was dropped.
fn closed() -> Result<Vec<(Vec<u8>, Role)>, Error> {
    const CLOSED: &str = "SELECT n.ns, n.allowed_role FROM once.access_policy n \
         WHERE n.allowed_role IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r \
             WHERE r.oid OPERATOR(pg_catalog.=) n.allowed_role::pg_catalog.oid) \
         ORDER BY n.ns";
    spi::run(CLOSED, &[], View::Isolated, |rows| {
        let mut closed = Vec::new();
        for row in 0..rows.count() {
            if let (Some(ns), Some(role)) = (rows.bytes(row, 0)?, rows.role(row, 1)?) {
                closed.push((ns, role));
            }
        }
        Ok(closed)
    })
}
