//! The groups of rows that share a key.

use super::rights::{Needs, reading};
use super::{Key, object_of};
use crate::error::Error;
use crate::pg::Value;
use crate::pg::cursor::Cursor;
use crate::pg::store::Store;
use crate::pg::text::with_fixed_formats;

/// The rows of one group that are shown at most.
const ROWS: usize = 1000;

/// The bytes of them that are shown at most, but for the first row.
const BYTES: usize = 16 << 20;

/// The groups that are in memory at a time.
const FETCHED: usize = 4;

pub fn all(key: &Key, store: &Store) -> Result<(), Error> {
    let run_as = reading(key.table, &Needs::rows())?;
    // Where the caller is the owner, row security may be forced on them: a kept plan is for one of
    // the two.
    let whose = match run_as.is_caller() {
        true => "",
        false => " /* as the owner */",
    };
    let (statement, arguments) = statement(key)?;
    run_as.run(|| {
        with_fixed_formats(|| {
            let groups = Cursor::open(&format!("{statement}{whose}"), &arguments)?;
            loop {
                let fetched = groups.fetch(FETCHED, |rows| {
                    for row in 0..rows.count() {
                        store.copy(rows, row)?;
                    }
                    Ok::<_, Error>(rows.count())
                })?;
                if fetched == 0 {
                    break;
                }
            }
            Ok(groups.close()?)
        })
    })
}

/// Only keys and places of all rows are sorted; whole rows are read of the groups alone.
fn statement<'a>(key: &Key<'a>) -> Result<(String, Vec<Value<'a>>), Error> {
    let Key { table, alias, .. } = key;
    let name = &table.name;
    let (counts, arguments) = key.where_counts()?;
    let (named, listed, k) = (key.named(), key.listed(), |alias| key.places(alias));
    let age: String = table
        .primary_key
        .iter()
        .map(|column| format!("{alias}.{column}, "))
        .collect();
    let object = object_of(&key.columns, |i, _| format!("f.k{i}"));
    let statement = format!(
        "SELECT {object}, f.copies, pg_catalog.jsonb_agg(f.j ORDER BY f.n) FROM (\
             SELECT s.*, pg_catalog.sum(pg_catalog.pg_column_size(s.j)) \
                 OVER (PARTITION BY {} ORDER BY s.n) AS bytes FROM (\
                 SELECT g.*, (SELECT pg_catalog.to_jsonb({alias}) FROM {name} AS {alias} \
                     WHERE {alias}.ctid OPERATOR(pg_catalog.=) g.c \
                     AND {alias}.tableoid OPERATOR(pg_catalog.=) g.o) AS j FROM (\
                     SELECT {named}, {alias}.ctid AS c, {alias}.tableoid AS o, \
                         pg_catalog.count(*) OVER (PARTITION BY {listed}) AS copies, \
                         pg_catalog.row_number() OVER (PARTITION BY {listed} \
                             ORDER BY {age}{alias}.tableoid, {alias}.ctid) AS n \
                     FROM {name} AS {alias}{counts}) AS g \
                 WHERE g.copies OPERATOR(pg_catalog.>) 1 \
                 AND g.n OPERATOR(pg_catalog.<=) {ROWS} OFFSET 0) AS s) AS f \
         WHERE f.n OPERATOR(pg_catalog.=) 1 OR f.bytes OPERATOR(pg_catalog.<=) {BYTES} \
         GROUP BY {}, f.copies ORDER BY {}",
        k("s"),
        k("f"),
        k("f"),
    );
    Ok((statement, arguments))
}
