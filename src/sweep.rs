//! `once.sweep` removes what has expired, `once.purge` what stands in a namespace; both skip what is in use.
//!
//! No index leads to what has expired: claims would pay for it, and a sweep that reads the table
//! costs less than keeping one. A table is read from its beginning in ranges of pages.

use pgrx::pg_extern;

use crate::error::Error;
use crate::key::{self, NAMESPACE_LIMIT};
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::{self, Access, OwnTable, Proved};
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, citus, session, text};
use crate::policy;
use crate::stats;

mod nodes;

#[pg_extern(sql = false)]
fn sweep(call: Call) -> Result<i64, ErrorReport> {
    let limit = max_rows(call, 0)?;
    session::demand_writable(c"once.sweep()").map_err(Error::from)?;
    Ok(remove(Selection::Expired, limit)?)
}

#[pg_extern(sql = false)]
fn purge(call: Call) -> Result<i64, ErrorReport> {
    let ns = key::namespace(call, 0)?;
    demand_right_to_purge(ns)?;
    let before = call.timestamp(1).map_err(Error::from)?.unwrap_or(i64::MAX);
    let limit = max_rows(call, 2)?;
    let unfinished = call.boolean(3).map_err(Error::from)?.ok_or(Error::Null {
        argument: "unfinished",
    })?;
    session::demand_writable(c"once.purge()").map_err(Error::from)?;
    let selection = Selection::Purged {
        ns,
        before,
        unfinished,
    };
    Ok(remove(selection, limit)?)
}

fn max_rows(call: Call, index: usize) -> Result<i64, Error> {
    match call.int4(index)? {
        None => Err(Error::Null {
            argument: "max_rows",
        }),
        Some(limit) if limit < 0 => Err(Error::MaxRowsNegative),
        Some(limit) => Ok(limit.into()),
    }
}

/// An open namespace is nobody's: then administrators alone may empty it.
fn demand_right_to_purge(ns: &[u8]) -> Result<(), Error> {
    match policy::is_administrator()? || policy::is_kept_for_caller(ns)? == Some(true) {
        true => Ok(()),
        false => Err(Error::PurgeRefused {
            ns: text::decode(ns)?,
        }),
    }
}

/// However much there is of one kind, half of what may be removed is for the other, as far as it
/// needs it.
fn remove(selection: Selection, limit: i64) -> Result<i64, Error> {
    let half = limit - limit / 2;
    let work = Table::Work.remove(selection, half)?;
    let claims = Table::Claim.remove(selection, limit - work)?;
    let more = match work < half {
        true => 0,
        false => Table::Work.remove(selection, limit - work - claims)?,
    };
    Ok(work + claims + more)
}

/// Pages read by one statement, at most.
const RANGE: i64 = 1_024;
/// Rows removed by one statement.
const BATCH: i64 = 10_000;
/// No page of a table has a higher number.
const LAST_PAGE: i64 = 4_294_967_294;

/// What has rows that expire. Work has a time from when on it is over; unfinished work has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Claim,
    Work,
}

/// What is removed of a table.
#[derive(Clone, Copy)]
enum Selection<'a> {
    Expired,
    /// What stands in the namespace from before a time.
    Purged {
        ns: &'a [u8],
        before: i64,
        /// Work that has not ended is removed too.
        unfinished: bool,
    },
}

impl Table {
    /// Removes up to `limit` rows, and returns how many it were.
    fn remove(self, selection: Selection, limit: i64) -> Result<i64, Error> {
        if self.is_distributed()? {
            return nodes::remove(self, selection, limit);
        }
        let pages = self.pages()?;
        let (mut removed, mut page) = (0, 0);
        while page < LAST_PAGE && removed < limit {
            let batch = BATCH.min(limit - removed);
            let (rows, next) = self.advance(selection, page, RANGE, pages, batch)?;
            removed += rows;
            page = next;
        }
        Ok(removed)
    }

    /// Removes up to `limit` rows of a range of the table's `pages`. How many it were, and the page where
    /// it goes on: the last possible one at the end.
    fn advance(
        self,
        selection: Selection,
        page: i64,
        range: i64,
        pages: Option<i64>,
        limit: i64,
    ) -> Result<(i64, i64), Error> {
        if pages == Some(0) {
            return Ok((0, LAST_PAGE));
        }
        let beyond = match page + range {
            beyond if pages.is_some_and(|pages| beyond <= pages) => beyond,
            _ => LAST_PAGE,
        };
        let range = Range {
            first: page,
            beyond,
            limit,
            of_parts: pages.is_none(),
        };
        let gone = self.remove_range(selection, &range)?;
        Ok((gone.rows(), gone.next(limit, beyond)))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "once.claim",
            Self::Work => "once.work_record",
        }
    }

    fn as_owner<T>(
        self,
        access: Access,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let tables: &[OwnTable] = match self {
            Self::Claim => &[OwnTable::Claim],
            Self::Work => &[OwnTable::WorkRecord, OwnTable::WorkFloor],
        };
        owner::run_as_owner(tables, access, act)
    }

    fn is_distributed(self) -> Result<bool, Error> {
        self.as_owner(Access::Read, || {
            Ok(owner::is_distributed(self.own(), Access::Read)??)
        })
    }

    /// What the server has counted of the table.
    pub fn count(self) -> Result<(Proved, Count), Error> {
        self.as_owner(Access::Read, || {
            Ok((owner::proved(self.own(), Access::Read)??, self.counted()?))
        })
    }

    fn own(self) -> OwnTable {
        match self {
            Self::Claim => OwnTable::Claim,
            Self::Work => OwnTable::WorkRecord,
        }
    }

    fn counted(self) -> Result<Count, Error> {
        const COUNT: &str = "SELECT pg_catalog.pg_stat_get_live_tuples(own.id), \
                 pg_catalog.pg_stat_get_dead_tuples(own.id), \
                 pg_catalog.pg_table_size(own.id), pg_catalog.pg_total_relation_size(own.id) \
             FROM (SELECT pg_catalog.to_regclass($1) AS id) AS own";
        let name = Value::text(self.name().as_bytes())?;
        spi::run(COUNT, &[name], View::Isolated, |rows| {
            let number = |column| Ok::<_, Error>(rows.integer(0, column)?.unwrap_or(0));
            Ok(Count {
                live: number(0)?,
                dead: number(1)?,
                heap: number(2)?,
                bytes: number(3)?,
            })
        })
    }

    /// How many pages the table has; none where others belong to it, with which it is read as one range.
    fn pages(self) -> Result<Option<i64>, Error> {
        const PAGES: &str = "SELECT pg_catalog.pg_relation_size(oid) \
                 OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8 \
             FROM pg_catalog.pg_class \
             WHERE oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND NOT relhassubclass";
        let name = Value::text(self.name().as_bytes())?;
        spi::run(PAGES, &[name], View::Isolated, |rows| {
            Ok(rows.integer(0, 0)?)
        })
    }

    /// Removes rows of these pages, the first ones.
    ///
    /// A sweep whose transaction is open has the floor of the tokens, once it has removed work. The
    /// others leave work to it then: a sweep waits for nobody. A purge waits for it.
    fn remove_range(self, selection: Selection, range: &Range) -> Result<Gone, Error> {
        let delete = || {
            let gone = self.delete(selection, range)?;
            if let Some(token) = gone.highest {
                raise_floor(token)?;
            }
            Ok(gone)
        };
        match (self, selection) {
            (Self::Claim, _) | (_, Selection::Purged { .. }) => {
                self.as_owner(Access::Write, delete)
            }
            (Self::Work, Selection::Expired) => {
                let now = Some(session::now());
                Ok(
                    match attempt(now, || self.as_owner(Access::Write, delete))? {
                        Attempt::Done(gone) => gone,
                        Attempt::TimedOut | Attempt::Moved => Gone::default(),
                    },
                )
            }
        }
    }

    /// What somebody takes over or fences at this moment is locked by him, and left alone.
    fn delete(self, selection: Selection, range: &Range) -> Result<Gone, Error> {
        // A place in a table of parts is that of several rows, one in each part. It is joined to: an array
        // of places alone would remove, and wait for, what was not locked before.
        macro_rules! delete {
            ($table:literal, $told:literal, $condition:literal) => {
                Statements {
                    of_one: delete!(
                        "ctid",
                        $table,
                        $told,
                        $condition,
                        "",
                        "own.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM chosen))"
                    ),
                    of_parts: delete!(
                        "tableoid AS part, ctid",
                        $table,
                        $told,
                        $condition,
                        "USING chosen",
                        "own.tableoid OPERATOR(pg_catalog.=) chosen.part \
                         AND own.ctid OPERATOR(pg_catalog.=) chosen.place"
                    ),
                }
            };
            ($place:literal, $table:literal, $told:literal, $condition:literal, $using:literal, $is_chosen:literal) => {
                concat!(
                    "WITH chosen AS (SELECT ",
                    $place,
                    " AS place FROM ",
                    $table,
                    " WHERE ctid OPERATOR(pg_catalog.>=) $1::pg_catalog.tid \
                        AND ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid AND ",
                    $condition,
                    " LIMIT $4 FOR UPDATE SKIP LOCKED), \
                     gone AS (DELETE FROM ",
                    $table,
                    " AS own ",
                    $using,
                    " WHERE ",
                    $is_chosen,
                    " AND ",
                    $condition,
                    " RETURNING ",
                    $told,
                    " AS told, ns, own.ctid AS place) \
                     SELECT ns, pg_catalog.count(*), pg_catalog.max(told), \
                         (pg_catalog.max(place)::pg_catalog.text::pg_catalog.point)[0]::pg_catalog.int8 \
                     FROM gone GROUP BY ns"
                )
            };
        }
        let statements = match (self, selection) {
            (Self::Claim, Selection::Expired) => delete!(
                "once.claim",
                "NULL::pg_catalog.int8",
                "expires_at OPERATOR(pg_catalog.<=) $3"
            ),
            (Self::Work, Selection::Expired) => delete!(
                "once.work_record",
                "token",
                "expires_at OPERATOR(pg_catalog.<=) $3"
            ),
            (Self::Claim, Selection::Purged { .. }) => delete!(
                "once.claim",
                "NULL::pg_catalog.int8",
                "ns OPERATOR(pg_catalog.=) $5 AND claimed_at OPERATOR(pg_catalog.<) $3"
            ),
            (Self::Work, Selection::Purged { .. }) => delete!(
                "once.work_record",
                "token",
                "ns OPERATOR(pg_catalog.=) $5 AND (finished_at OPERATOR(pg_catalog.<) $3 \
                     OR $6 AND finished_at IS NULL AND begun_at OPERATOR(pg_catalog.<) $3)"
            ),
        };
        let before = match selection {
            Selection::Expired => session::now(),
            Selection::Purged { before, .. } => before,
        };
        let mut arguments = vec![
            Value::text(format!("({},0)", range.first).as_bytes())?,
            Value::text(format!("({},0)", range.beyond).as_bytes())?,
            Value::timestamp(Some(before)),
            Value::integer(range.limit),
        ];
        if let Selection::Purged { ns, unfinished, .. } = selection {
            arguments.push(Value::text(ns)?);
            if self == Self::Work {
                arguments.push(Value::boolean(unfinished));
            }
        }
        let statement = match range.of_parts {
            true => statements.of_parts,
            false => statements.of_one,
        };
        let gone = spi::run(statement, &arguments, View::Isolated, Gone::read)?;
        if let Selection::Expired = selection {
            for (ns, rows) in &gone.namespaces {
                stats::swept(ns, *rows);
            }
        }
        Ok(gone)
    }
}

/// Up to `limit` rows of the pages from `first` to before `beyond`.
struct Range {
    first: i64,
    beyond: i64,
    limit: i64,
    /// Whether the table has partitions or children: these pages are those of each of them.
    of_parts: bool,
}

/// What removes the rows of one table, and of one that has partitions or children.
struct Statements {
    of_one: &'static str,
    of_parts: &'static str,
}

/// Rows and bytes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub live: i64,
    pub dead: i64,
    /// Of the table alone.
    pub heap: i64,
    /// With its indexes.
    pub bytes: i64,
}

/// What was removed.
#[derive(Default)]
struct Gone {
    /// How many rows of each.
    namespaces: Vec<(Vec<u8>, i64)>,
    /// The highest token.
    highest: Option<i64>,
    /// The last page. Rows of a table in parts come in the order of the parts; what is passed over
    /// there comes with the next sweep.
    page: Option<i64>,
}

impl Gone {
    fn rows(&self) -> i64 {
        self.namespaces.iter().map(|(_, rows)| rows).sum()
    }

    /// Where it goes on after a statement that removed these of the pages before `beyond`.
    fn next(&self, limit: i64, beyond: i64) -> i64 {
        self.page.filter(|_| self.rows() >= limit).unwrap_or(beyond)
    }

    fn read(rows: &Rows) -> Result<Self, Error> {
        let mut gone = Self::default();
        for row in 0..rows.count() {
            if let Some(ns) = rows.borrowed_bytes(row, 0)? {
                // A longer one was not written by pg_once, and is counted by its beginning.
                let ns = ns[..ns.len().min(NAMESPACE_LIMIT)].to_vec();
                let count = rows.integer(row, 1)?.unwrap_or(0);
                gone.namespaces.push((ns, count));
            }
            gone.highest = gone.highest.max(rows.integer(row, 2)?);
            gone.page = gone.page.max(rows.integer(row, 3)?);
        }
        Ok(gone)
    }
}

/// How far a sweep that goes on in small steps has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    table: Table,
    page: i64,
}

/// Pages read by one step, at most.
const STEP: i64 = 256;

impl Progress {
    pub fn begin(table: Table) -> Self {
        Self { table, page: 0 }
    }

    pub fn table(self) -> Table {
        self.table
    }

    /// Removes up to `limit` rows of the next pages. How many it were, and where it goes on; none at the
    /// end.
    pub fn step(self, limit: i64) -> Result<(i64, Option<Self>), Error> {
        let Self { table, page } = self;
        if table.is_distributed()? {
            return self.step_on_nodes(limit);
        }
        let pages = table.pages()?;
        let (removed, next) = table.advance(Selection::Expired, page, STEP, pages, limit)?;
        Ok((removed, Self { table, page: next }.unless_over()))
    }

    /// The same where Citus keeps the table: the coordinator sweeps for all nodes.
    fn step_on_nodes(self, limit: i64) -> Result<(i64, Option<Self>), Error> {
        let removed = match citus::is_coordinator()? {
            true => nodes::remove(self.table, Selection::Expired, limit)?,
            false => 0,
        };
        let page = if removed < limit { LAST_PAGE } else { 0 };
        Ok((removed, Self { page, ..self }.unless_over()))
    }

    /// The next table where this one is at its end.
    fn unless_over(self) -> Option<Self> {
        match (self.table, self.page) {
            (Table::Claim, LAST_PAGE) => Some(Self::begin(Table::Work)),
            (Table::Work, LAST_PAGE) => None,
            _ => Some(self),
        }
    }
}

/// What a [`Progress`] is kept as: the page, and above it the table.
const PAGE_BITS: u32 = 33;

impl From<u64> for Progress {
    fn from(kept: u64) -> Self {
        Self {
            table: if kept >> PAGE_BITS == 0 {
                Table::Claim
            } else {
                Table::Work
            },
            page: (kept & ((1 << PAGE_BITS) - 1)) as i64,
        }
    }
}

impl From<Progress> for u64 {
    fn from(progress: Progress) -> Self {
        let table = match progress.table {
            Table::Claim => 0,
            Table::Work => 1 << PAGE_BITS,
        };
        table | progress.page.unsigned_abs()
    }
}

/// Work that is begun anew gets a higher token than any that was removed.
fn raise_floor(token: i64) -> Result<(), Error> {
    const RAISE: &str = "INSERT INTO once.work_floor AS floor (token) VALUES ($1) \
         ON CONFLICT (one) DO UPDATE SET token = GREATEST(floor.token, EXCLUDED.token)";
    spi::run(RAISE, &[Value::integer(token)], View::Isolated, |_| Ok(()))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn progress_is_kept() {
        for (table, page) in [
            (Table::Claim, 0),
            (Table::Claim, 77),
            (Table::Work, 0),
            (Table::Work, LAST_PAGE),
        ] {
            let progress = Progress { table, page };
            assert_eq!(Progress::from(u64::from(progress)), progress);
        }
    }
}
