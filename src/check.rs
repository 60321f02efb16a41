//! What `once.check` asks for beyond the catalogs. Its findings stand in `sql/check.sql`.

use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::{Call, ErrorReport, Value, owner, session};

/// Those of all namespaces: a number tells nobody a key.
#[pg_extern(sql = false)]
fn backlog(
    _call: Call,
) -> Result<TableIterator<'static, (name!(total, i64), name!(expired, i64))>, ErrorReport> {
    Ok(TableIterator::once(owner::acting(count)?))
}

/// What has expired for longer than this, in microseconds, should have been swept.
const GRACE: i64 = 60_000_000;

/// How many rows can expire, and how many have. Of about 1000 pages of each table, multiplied.
fn count() -> Result<(i64, i64), Error> {
    macro_rules! counted {
        ($table:literal) => {
            concat!(
                "SELECT (pg_catalog.count(*) OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8, \
                     (pg_catalog.count(*) FILTER (WHERE expires_at OPERATOR(pg_catalog.<) $1) \
                          OPERATOR(pg_catalog.*) part.whole)::pg_catalog.int8 \
                 FROM (SELECT GREATEST(1, pg_catalog.pg_relation_size('",
                $table,
                "') OPERATOR(pg_catalog./) 8192000)::pg_catalog.float8 AS whole) part, \
                     LATERAL (SELECT expires_at FROM ",
                $table,
                " TABLESAMPLE pg_catalog.system (100::pg_catalog.float8 OPERATOR(pg_catalog./) part.whole)) t \
                 GROUP BY part.whole"
            )
        };
    }
    let before = Value::timestamp(Some(session::now() - GRACE));
    let (mut total, mut expired) = (0, 0);
    for statement in [counted!("once.claim"), counted!("once.work_record")] {
        let (all, gone) = spi::run(statement, &[before], View::Isolated, |rows| {
            let count = |column| rows.integer(0, column).unwrap_or(0);
            Ok::<_, Error>((count(0), count(1)))
        })?;
        total += all;
        expired += gone;
    }
    Ok((total, expired))
}
