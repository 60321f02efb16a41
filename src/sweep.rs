//! `once.sweep`: removes what has expired, and skips what is in use.
//!
//! No index leads to what has expired: claims would pay for it, and a sweep that reads the table
//! costs less than keeping one. A table is read from its beginning in ranges of pages.

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, owner, session};
use crate::stats;

#[pg_extern(sql = false)]
fn sweep(call: Call) -> Result<i64, ErrorReport> {
    let limit = call.integer(0).ok_or(Error::Null {
        argument: "max_rows",
    })?;
    if limit < 0 {
        return Err(Error::MaxRowsNegative.into());
    }
    Ok(owner::acting(|| {
        let claims = Table::Claim.sweep(limit)?;
        Ok::<_, Error>(claims + Table::Work.sweep(limit - claims)?)
    })?)
}

/// Pages read by one statement.
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

impl Table {
    /// Removes up to `limit` rows, and tells how many it were.
    fn sweep(self, limit: i64) -> Result<i64, Error> {
        let pages = self.pages()?;
        let mut removed = 0;
        let mut first = 0;
        while first <= pages && removed < limit {
            let beyond = match first + RANGE {
                beyond if beyond <= pages => beyond,
                _ => LAST_PAGE,
            };
            loop {
                let batch = BATCH.min(limit - removed);
                let gone = self.remove(first, beyond, batch)?;
                removed += gone;
                if gone < batch || removed >= limit {
                    break;
                }
            }
            first = beyond;
        }
        Ok(removed)
    }

    /// How many pages the table has; 0 where it is not one plain table, which is read as one range.
    fn pages(self) -> Result<i64, Error> {
        macro_rules! pages {
            ($table:literal) => {
                concat!(
                    "SELECT pg_catalog.pg_relation_size('",
                    $table,
                    "') OPERATOR(pg_catalog./) \
                     pg_catalog.current_setting('block_size')::pg_catalog.int8"
                )
            };
        }
        let statement = match self {
            Self::Claim => pages!("once.claim"),
            Self::Work => pages!("once.work_record"),
        };
        spi::run(statement, &[], View::Isolated, |rows| {
            Ok(rows.integer(0, 0).unwrap_or(0))
        })
    }

    /// What somebody takes over or fences at this moment is locked by him, and left alone.
    fn remove(self, first: i64, beyond: i64, limit: i64) -> Result<i64, Error> {
        macro_rules! remove {
            ($table:literal, $told:literal) => {
                concat!(
                    "WITH gone AS (DELETE FROM ",
                    $table,
                    " WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
                          SELECT ctid FROM ",
                    $table,
                    "     WHERE ctid OPERATOR(pg_catalog.>=) $1::pg_catalog.tid \
                            AND ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid \
                            AND expires_at OPERATOR(pg_catalog.<=) $3 \
                          LIMIT $4 FOR UPDATE SKIP LOCKED)) \
                        AND expires_at OPERATOR(pg_catalog.<=) $3 RETURNING ",
                    $told,
                    " AS told, ns) \
                     SELECT ns, pg_catalog.count(*), pg_catalog.max(told) FROM gone GROUP BY ns"
                )
            };
        }
        let statement = match self {
            Self::Claim => remove!("once.claim", "0::pg_catalog.int8"),
            Self::Work => remove!("once.work_record", "token"),
        };
        let arguments = [
            Value::text(format!("({first},0)").as_bytes())?,
            Value::text(format!("({beyond},0)").as_bytes())?,
            Value::timestamp(Some(session::now())),
            Value::integer(limit),
        ];
        let (count, token) = spi::run(statement, &arguments, View::Isolated, counted)?;
        if let (Self::Work, Some(token)) = (self, token) {
            raise_floor(token)?;
        }
        Ok(count)
    }
}

/// How many rows were removed, and the highest that they told.
fn counted(rows: &Rows) -> Result<(i64, Option<i64>), Error> {
    let (mut count, mut highest) = (0, None);
    for row in 0..rows.count() {
        let of_namespace = rows.integer(row, 1).unwrap_or(0);
        if let Some(ns) = rows.bytes(row, 0)? {
            stats::swept(&ns, of_namespace);
        }
        count += of_namespace;
        highest = highest.max(rows.integer(row, 2));
    }
    Ok((count, highest))
}

/// How far a sweep that goes on in small steps has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    table: Table,
    page: i64,
}

/// Rows removed by one step.
const STEP: i64 = 2_000;

impl Progress {
    pub fn table(self) -> Table {
        self.table
    }

    /// Sweeps a range of pages, or a part of it. None at the end.
    pub fn step(self) -> Result<Option<Self>, Error> {
        let Self { table, page } = self;
        let pages = table.pages()?;
        let beyond = match page + RANGE {
            beyond if beyond <= pages => beyond,
            _ => LAST_PAGE,
        };
        let is_clean = table.remove(page, beyond, STEP)? < STEP;
        Ok(match (is_clean, beyond, table) {
            (false, ..) => Some(self),
            (true, LAST_PAGE, Table::Claim) => Some(Self {
                table: Table::Work,
                page: 0,
            }),
            (true, LAST_PAGE, Table::Work) => None,
            (true, page, _) => Some(Self { table, page }),
        })
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
