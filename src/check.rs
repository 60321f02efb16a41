//! What `once.check` asks for beyond the catalogs. Its findings stand in `sql/check.sql`.

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::{self, View};
use crate::pg::store::Store;
use crate::pg::{Answer, Call, ErrorReport, Value, citus, session, text};

/// Those of all namespaces: a number tells nobody a key. A name is of a namespace that is open to all.
#[pg_extern(sql = false)]
fn backlog(call: Call) -> Result<Answer, ErrorReport> {
    Ok(estimate(call)?)
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

fn estimate(call: Call) -> Result<Answer, Error> {
    let backlog = owner::run_as_owner(
        &[
            OwnTable::Claim,
            OwnTable::WorkRecord,
            OwnTable::AccessPolicy,
        ],
        Access::Read,
        count,
    )?;
    let damage = match &backlog.damage {
        Some(damage) => text::value(damage)?,
        None => Value::text_or_null(None)?,
    };
    Ok(call.answer_columns(Some([
        Value::integer(backlog.total),
        Value::integer(backlog.expired),
        Value::integer(backlog.endless),
        Value::text_or_null(backlog.crowd.as_deref())?,
        damage,
    ]))?)
}

/// What has expired for longer than this, in microseconds, should have been swept.
const GRACE: i64 = 60_000_000;

#[derive(Default)]
struct Backlog {
    total: i64,
    expired: i64,
    /// What never expires, in namespaces that nobody has configured; and in which of them is most.
    endless: i64,
    crowd: Option<Vec<u8>>,
    /// Which table cannot be read, and why. It keeps nobody from the other findings.
    damage: Option<String>,
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

/// Of about 1000 pages of each table, multiplied.
fn count() -> Result<Backlog, Error> {
    macro_rules! counted {
        ($table:literal) => {
            concat!(
                "SELECT (pg_catalog.count(*) OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                     (pg_catalog.count(*) FILTER (WHERE t.expires_at OPERATOR(pg_catalog.<) $1) \
                          OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                     (pg_catalog.count(*) FILTER (WHERE t.expires_at IS NULL AND n.ns IS NULL) \
                          OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                     pg_catalog.mode() WITHIN GROUP (ORDER BY t.ns) \
                          FILTER (WHERE t.expires_at IS NULL AND n.ns IS NULL \
                                  AND pg_catalog.octet_length(t.ns) OPERATOR(pg_catalog.<=) 128) \
                 FROM (SELECT GREATEST(1, pg_catalog.pg_relation_size('",
                $table,
                "') OPERATOR(pg_catalog./) 8192000)::pg_catalog.float8 AS whole) part, \
                     LATERAL (SELECT ns, expires_at FROM ",
                $table,
                " TABLESAMPLE pg_catalog.system (100::pg_catalog.float8 OPERATOR(pg_catalog./) part.whole)) t \
                 LEFT JOIN once.access_policy n ON n.ns OPERATOR(pg_catalog.=) t.ns \
                 GROUP BY part.whole"
            )
        };
    }
    let before = Value::timestamp(Some(session::now() - GRACE));
    let read = |statement| {
        let before = std::slice::from_ref(&before);
        spi::run(statement, before, View::Isolated, |rows| {
            let number = |column| Ok::<_, Error>(rows.integer(0, column)?.unwrap_or(0));
            Ok::<_, Error>(Backlog {
                total: number(0)?,
                expired: number(1)?,
                endless: number(2)?,
                crowd: rows.bytes(0, 3)?,
                damage: None,
            })
        })
    };
    let mut all = Backlog::default();
    for (table, statement) in [
        ("once.claim", counted!("once.claim")),
        ("once.work_record", counted!("once.work_record")),
    ] {
        match attempt(None, || read(statement)) {
            Ok(Attempt::Done(part)) => all.add(part),
            Ok(Attempt::TimedOut | Attempt::Moved) => {}
            Err(Error::Postgres(raised)) if raised.is_damage() => {
                all.damage = Some(format!("{table}: {}", raised.message()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
