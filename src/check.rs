//! What `once.check` asks for beyond the catalogs. Its findings stand in `sql/check.sql`.

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::{self, Rows, View};
use crate::pg::store::Store;
use crate::pg::{Answer, Call, ErrorReport, Role, Value, citus, session, text};
use crate::policy;
use crate::policy::home::{self, Home, State};

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
        own (name) AS ( \
            SELECT own.name \
            FROM (VALUES ('claim'), ('work_record'), ('work_floor'), ('access_policy_shared')) AS own (name) \
            WHERE NOT EXISTS ( \
                SELECT FROM pg_catalog.pg_dist_partition AS kept \
                WHERE kept.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) \
                      pg_catalog.to_regclass('once.' OPERATOR(pg_catalog.||) own.name)::pg_catalog.oid) \
        ) \
        SELECT 'error'::pg_catalog.text, \
               pg_catalog.format('there are %s nodes, and once.%s is not distributed', node.number, own.name), \
               'Each node has one of its own: what is won once on each is won several times, and a namespace that is \
closed on one is open on the others. On the coordinator: SELECT once.distribute(). See docs/distribute.md.'::pg_catalog.text \
        FROM node, own WHERE node.number OPERATOR(pg_catalog.>) 1 \
        UNION ALL \
        SELECT 'notice', pg_catalog.format('there are %s nodes: named locks, once.stats and once.locks are of this \
one', node.number), \
               'Instead of a named lock use work. \
A transaction is atomic on all nodes where every table that it writes is a Citus table.' \
        FROM node WHERE node.number OPERATOR(pg_catalog.>) 1";
    let store = Store::of(call)?;
    // What keeps the tables from being read is a finding of once.backlog().
    let state = Troubles::default().unless(
        &[OwnTable::AccessPolicyShared],
        session::now() + PATIENCE / 10,
        home::state,
    )?;
    if state == Some(State::LeftOver) {
        let finding =
            "once.access_policy_shared has policies of several nodes, and is not distributed";
        put(
            &store,
            "error",
            finding,
            "They were restored from a dump, and calls are refused. On one node: \
SELECT once.configure(ns) FROM once.access_policy_shared brings them to it. On several: SELECT once.distribute().",
        )?;
    }
    if !citus::is_present()? {
        return Ok(());
    }
    spi::run(FINDINGS, &[], View::Isolated, |rows| {
        (0..rows.count()).try_for_each(|row| Ok::<_, Error>(store.copy(rows, row)?))
    })?;
    match state {
        Some(State::Clear(home @ Home::Shared)) => {
            home.as_owner(Access::Read, || show_nodes(&store))
        }
        _ => Ok(()),
    }
}

/// How many tables of the extension Citus keeps, by what a node knows.
const KEPT: &str = "SELECT pg_catalog.count(*)::pg_catalog.text FROM pg_catalog.pg_dist_partition \
     WHERE logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (ARRAY[ \
         pg_catalog.to_regclass('once.claim'), pg_catalog.to_regclass('once.work_record'), \
         pg_catalog.to_regclass('once.work_floor'), pg_catalog.to_regclass('once.access_policy_shared') \
     ]::pg_catalog.oid[])";

/// A digest of the policies that a node reads: its own copy, where it has one.
const POLICIES: &str = "SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat( \
         pg_catalog.octet_length(ns), ':', ns, \
         ',', pg_catalog.encode(pg_catalog.interval_send(ttl), 'hex'), \
         ',', pg_catalog.octet_length(allowed_role), ':', allowed_role), ';' ORDER BY ns)) \
     FROM once.access_policy_shared";

/// Where other nodes do not agree with this one. A change that is being committed is on some nodes before it is on
/// others, so who differs is asked again.
fn show_nodes(store: &Store) -> Result<(), Error> {
    if !citus::has_node_commands()? {
        return Ok(());
    }
    for (command, finding, advice) in [
        (
            KEPT,
            "has other tables of the extension distributed than this one",
            "One of both claims for itself. Where the extension was made by hand on a node without shards: \
citus_remove_node() and citus_add_node() of it, on the coordinator. One that had shards has lost them: restore it.",
        ),
        (
            POLICIES,
            "reads other policies of namespaces than this one",
            "What is closed on one may be open on the other. On the node that is right: \
SELECT once.unconfigure(ns), once.configure(ns, ttl, allowed_role) FROM once.namespaces. What the other has beyond \
that: once.unconfigure() of it.",
        ),
    ] {
        let mut troubles = troubles_of_nodes(command)?;
        if !troubles.is_empty() {
            troubles = troubles_of_nodes(command)?;
        }
        for (node, trouble) in troubles {
            match trouble {
                Trouble::Differs => put(store, "error", &format!("{node} {finding}"), advice)?,
                Trouble::Failed(message) => put(
                    store,
                    "warning",
                    &format!("{node} does not say what it has: {message}"),
                    "It was asked with run_command_on_all_nodes().",
                )?,
            }
        }
    }
    Ok(())
}

fn all_nodes_answer() -> Result<bool, Error> {
    if !citus::has_node_commands()? {
        return Ok(true);
    }
    let is_silent = |trouble: &(String, Trouble)| matches!(trouble.1, Trouble::Failed(_));
    Ok(!troubles_of_nodes(KEPT)?.iter().any(is_silent))
}

enum Trouble {
    Differs,
    Failed(String),
}

/// The nodes on which the command answers otherwise than here, or not at all.
fn troubles_of_nodes(command: &str) -> Result<Vec<(String, Trouble)>, Error> {
    const ASK: &str = "SELECT COALESCE(n.node, 'a node'), a.success, a.result FROM \
         pg_catalog.run_command_on_all_nodes($1) AS a LEFT JOIN ( \
             SELECT nodeid, pg_catalog.format('node %s:%s', nodename, nodeport) AS node \
             FROM pg_catalog.pg_dist_node) AS n ON n.nodeid OPERATOR(pg_catalog.=) a.nodeid \
         ORDER BY n.node";
    let answer = |rows: &Rows| Ok::<_, Error>(rows.text(0, 0)?.unwrap_or_default());
    let own = spi::run(command, &[], View::Isolated, answer)?;
    let command = Value::text(command.as_bytes())?;
    spi::run(ASK, &[command], View::Isolated, |rows| {
        let mut troubles = Vec::new();
        for row in 0..rows.count() {
            let node = rows.text(row, 0)?.unwrap_or_default();
            let result = rows.text(row, 2)?.unwrap_or_default();
            match rows.boolean(row, 1)? {
                Some(true) if result == own => {}
                Some(true) => troubles.push((node, Trouble::Differs)),
                _ => troubles.push((node, Trouble::Failed(result))),
            }
        }
        Ok(troubles)
    })
}

fn put(store: &Store, severity: &str, finding: &str, advice: &str) -> Result<(), Error> {
    let row = [severity, finding, advice].map(text::value);
    let [severity, finding, advice] = row;
    Ok(store.put(&[severity?, finding?, advice?])?)
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
            // once.distribution() names the node.
            Err(Error::Postgres(raised)) if raised.is_missing_table() => {}
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
    let home = troubles
        .unless(&[OwnTable::AccessPolicyShared], deadline, home::state)?
        .map_or(Home::Own, State::home);
    let closed = troubles.unless(&[home.table()], deadline, || closed(home))?;
    let has_policies = closed.is_some();
    let sees_all = policy::is_administrator()?;
    for (ns, role) in closed.unwrap_or_default() {
        if sees_all || role.includes_caller()? {
            all.closed.push(ns);
        }
    }
    // A statement that another node does not answer ends the transaction. once.distribution() names the node.
    if home == Home::Shared && !home.as_owner(Access::Read, all_nodes_answer)? {
        return Ok((all, troubles));
    }
    for (table, count) in [
        (OwnTable::Claim, count!("once.claim")),
        (OwnTable::WorkRecord, count!("once.work_record")),
    ] {
        let part = match has_policies {
            true => {
                let statement = home.choose(count.beside_own, count.beside_shared);
                troubles.unless(&[table, home.table()], deadline, || counted(statement))?
            }
            false => troubles.unless(&[table], deadline, || counted(count.alone))?,
        };
        all.add(part.unwrap_or_default());
    }
    Ok((all, troubles))
}

/// Of about 1000 pages of a table, multiplied.
struct Count {
    beside_own: &'static str,
    beside_shared: &'static str,
    /// Where it is not known which namespaces are configured.
    alone: &'static str,
}

/// `$unconfigured` says which claims and works are in a namespace that nobody has configured.
macro_rules! count {
    ($table:literal) => {
        Count {
            beside_own: count!(
                $table,
                "n.ns IS NULL",
                "LEFT JOIN once.access_policy n ON n.ns OPERATOR(pg_catalog.=) t.ns "
            ),
            beside_shared: count!(
                $table,
                "n.ns IS NULL",
                "LEFT JOIN once.access_policy_shared n ON n.ns OPERATOR(pg_catalog.=) t.ns "
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
fn closed(home: Home) -> Result<Vec<(Vec<u8>, Role)>, Error> {
    const OWN: &str = "SELECT n.ns, n.allowed_role FROM once.access_policy n \
         WHERE n.allowed_role IS NOT NULL ORDER BY n.ns";
    const SHARED: &str = "SELECT n.ns, n.allowed_role FROM once.access_policy_shared n \
         WHERE n.allowed_role IS NOT NULL ORDER BY n.ns";
    spi::run(home.choose(OWN, SHARED), &[], View::Isolated, |rows| {
        let mut closed = Vec::new();
        for row in 0..rows.count() {
            if let (Some(ns), Some(role)) = (rows.bytes(row, 0)?, home.role(rows, row, 1)?)
                && !role.exists()?
            {
                closed.push((ns, role));
            }
        }
        Ok(closed)
    })
}
