//! `once.sweep`: removes what has expired, and skips what is in use.
//!
//! No index leads to what has expired: claims would pay for it, and a sweep that reads the table
//! costs less than keeping one. The table is read from its beginning in ranges of pages.

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::{Call, ErrorReport, Value, owner, session};

#[pg_extern(sql = false)]
fn sweep(call: Call) -> Result<i64, ErrorReport> {
    let rows = call.integer(0).ok_or(Error::Null {
        argument: "max_rows",
    })?;
    if rows < 0 {
        return Err(Error::MaxRowsNegative.into());
    }
    Ok(owner::acting(|| remove(rows))?)
}

/// Pages read by one statement.
const RANGE: i64 = 1_024;
/// Rows removed by one statement.
const BATCH: i64 = 10_000;
/// No page of a table has a higher number.
const LAST_PAGE: i64 = 4_294_967_294;

/// Removes up to `limit` rows, and tells how many it were.
fn remove(limit: i64) -> Result<i64, Error> {
    let pages = pages()?;
    let mut removed = 0;
    let mut first = 0;
    while first <= pages && removed < limit {
        let beyond = match first + RANGE {
            beyond if beyond <= pages => beyond,
            _ => LAST_PAGE,
        };
        loop {
            let batch = BATCH.min(limit - removed);
            let gone = remove_batch(first, beyond, batch)?;
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
fn pages() -> Result<i64, Error> {
    const PAGES: &str = "SELECT pg_catalog.pg_relation_size('once.claim') \
         OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8";
    spi::run(PAGES, &[], View::Isolated, |rows| {
        Ok(rows.integer(0, 0).unwrap_or(0))
    })
}

/// A claim that somebody takes over at this moment is locked by him, and left alone.
fn remove_batch(first: i64, beyond: i64, limit: i64) -> Result<i64, Error> {
    const REMOVE: &str = "DELETE FROM once.claim \
         WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
             SELECT ctid FROM once.claim \
             WHERE ctid OPERATOR(pg_catalog.>=) $1::pg_catalog.tid \
               AND ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid \
               AND expires_at OPERATOR(pg_catalog.<=) $3 \
             LIMIT $4 FOR UPDATE SKIP LOCKED)) \
           AND expires_at OPERATOR(pg_catalog.<=) $3";
    let arguments = [
        Value::text(format!("({first},0)").as_bytes())?,
        Value::text(format!("({beyond},0)").as_bytes())?,
        Value::timestamp(Some(session::now())),
        Value::integer(limit),
    ];
    spi::run(REMOVE, &arguments, View::Isolated, |rows| {
        Ok(rows.count() as i64)
    })
}
