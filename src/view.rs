//! What roles can look at: the views `once.claims`, `once.work` and `once.namespaces`, and pages of
//! one namespace, `once.claims_of` and `once.work_of`.
//!
//! A view over the tables would let a caller learn of rows that it does not show: conditions of the
//! caller whose operators are leakproof come before the check of the role, EXPLAIN estimates with the
//! table's statistics, and says what was read and removed. So a view reads from a function, which
//! returns what the caller may see and nothing else. It reads the whole table, whatever the caller
//! looks for.

use pgrx::pg_extern;

use crate::error::Error;
use crate::key;
use crate::pg::cursor::Cursor;
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::spi::Rows;
use crate::pg::store::Store;
use crate::pg::{Call, ErrorReport, Value};
use crate::policy::{self, Closed};

#[pg_extern(sql = false)]
fn visible_claims(call: Call) -> Result<(), ErrorReport> {
    let closed = policy::closed()?;
    Ok(show(
        call,
        OwnTable::Claim,
        claims!(""),
        &[],
        |rows, row, store| {
            if is_open(&closed, rows, row)? {
                copy_claim(rows, row, store)?;
            }
            Ok(())
        },
    )?)
}

#[pg_extern(sql = false)]
fn visible_work(call: Call) -> Result<(), ErrorReport> {
    let closed = policy::closed()?;
    Ok(show(
        call,
        OwnTable::WorkRecord,
        work!(""),
        &[],
        |rows, row, store| {
            if is_open(&closed, rows, row)? {
                store.copy(rows, row)?;
            }
            Ok(())
        },
    )?)
}

/// The owners of the extension and of the database see all that is configured.
#[pg_extern(sql = false)]
fn visible_namespaces(call: Call) -> Result<(), ErrorReport> {
    const OWN: &str = "SELECT ns, ttl, allowed_role FROM once.access_policy";
    const SHARED: &str = "SELECT ns, ttl, allowed_role FROM once.access_policy_shared";
    const ROLE: usize = 2;
    let (closed, sees_all) = (policy::closed()?, policy::is_administrator()?);
    let home = policy::home::home()?;
    Ok(show(
        call,
        home.table(),
        home.choose(OWN, SHARED),
        &[],
        |rows, row, store| {
            if sees_all || is_open(&closed, rows, row)? {
                match home.role(rows, row, ROLE)? {
                    Some(role) => store.copy_with(rows, row, (ROLE, Value::role(role)))?,
                    None => store.copy(rows, row)?,
                }
            }
            Ok(())
        },
    )?)
}

/// A page of the claims of one namespace, in the order of their keys.
#[pg_extern(sql = false)]
fn claims_of(call: Call) -> Result<(), ErrorReport> {
    let page = page(call)?;
    Ok(show(call, OwnTable::Claim, claims!(of), &page, copy_claim)?)
}

/// A page of the work of one namespace, in the order of its keys.
#[pg_extern(sql = false)]
fn work_of(call: Call) -> Result<(), ErrorReport> {
    let page = page(call)?;
    Ok(show(
        call,
        OwnTable::WorkRecord,
        work!(of),
        &page,
        |rows, row, store| Ok(store.copy(rows, row)?),
    )?)
}

/// Rows that are in memory at a time.
const FETCHED: usize = 1_000;

/// Columns of a claim.
const PARTS: usize = 2;
const KEY: usize = 1;

fn show(
    call: Call,
    table: OwnTable,
    statement: &str,
    arguments: &[Value],
    show_row: impl Fn(&Rows, usize, &Store) -> Result<(), Error>,
) -> Result<(), Error> {
    let store = Store::of(call)?;
    owner::run_as_owner(&[table], Access::Read, || {
        let all = Cursor::open_as_view(statement, arguments)?;
        loop {
            let fetched = all.fetch(FETCHED, |rows| {
                for row in 0..rows.count() {
                    show_row(rows, row, &store)?;
                }
                Ok::<_, Error>(rows.count())
            })?;
            if fetched == 0 {
                return Ok(all.close()?);
            }
        }
    })
}

fn is_open(closed: &Closed, rows: &Rows, row: usize) -> Result<bool, Error> {
    let ns = rows.borrowed_bytes(row, 0)?;
    Ok(ns.is_some_and(|ns| !closed.contains(&ns)))
}

/// A claim with the parts of its key.
fn copy_claim(rows: &Rows, row: usize, store: &Store) -> Result<(), Error> {
    let key = rows.borrowed_bytes(row, KEY)?.unwrap_or_default();
    let parts = Value::texts(&key::parts(&key))?;
    Ok(store.copy_with(rows, row, (PARTS, parts))?)
}

/// The namespace, which the caller may use, the key after which the page begins, and how many rows
/// it has at most.
fn page(call: Call) -> Result<[Value; 3], Error> {
    let ns = key::namespace(call, 0)?;
    policy::admit(ns)?;
    let max_rows = call.int4(2)?.ok_or(Error::Null {
        argument: "max_rows",
    })?;
    if max_rows < 0 {
        return Err(Error::MaxRowsNegative);
    }
    let (after, max_rows) = (call.value(1)?, Value::integer(max_rows.into()));
    Ok([Value::text(ns)?, after, max_rows])
}

/// What follows the conditions of a page; none for all rows.
macro_rules! rest {
    ("") => {
        ""
    };
    (of) => {
        " AND ns OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR key OPERATOR(pg_catalog.>) $2) \
         ORDER BY key LIMIT $3"
    };
}

macro_rules! claims {
    ($rows:tt) => {
        concat!(
            "SELECT ns, key, NULL::pg_catalog.text[], claimed_at, expires_at FROM once.claim \
             WHERE true",
            rest!($rows)
        )
    };
}

/// What has expired or was forgotten counts as none.
macro_rules! work {
    ($rows:tt) => {
        concat!(
            "SELECT ns, key, CASE WHEN state OPERATOR(pg_catalog.=) 'r' THEN 'running' \
                 WHEN state OPERATOR(pg_catalog.=) 'g' THEN 'given back' \
                 WHEN state OPERATOR(pg_catalog.=) 'd' THEN 'done' \
                 ELSE 'failed' END, \
                 token, attempt, begun_at, lease_until, finished_at, expires_at, worker \
             FROM once.work_record WHERE state OPERATOR(pg_catalog.<>) 'x' \
             AND (expires_at IS NULL \
                  OR expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())",
            rest!($rows)
        )
    };
}

use {claims, rest, work};
