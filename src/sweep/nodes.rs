//! Removing rows that Citus keeps on several nodes: no page of this node's table holds them.
//!
//! What may be removed is looked for on all nodes at once. Then each row is locked, and skipped where
//! somebody uses it, and removed: by statements for its shard alone.

use super::{Selection, Table, raise_floor};
use crate::error::Error;
use crate::pg::citus;
use crate::pg::deadline::Attempt;
use crate::pg::owner::Access;
use crate::pg::spi::{self, View};
use crate::pg::{Value, session};
use crate::stats;
use crate::storage_key::{has_storage_key, storage_key_columns};

/// Rows that are removed at once.
const BATCH: i64 = 1_000;

/// How many rows that are in use one call passes over.
const IN_USE: i64 = 10_000;

/// Removes up to `limit` rows, and returns how many it were.
pub fn remove(table: Table, selection: Selection, limit: i64) -> Result<i64, Error> {
    let (mut removed, mut in_use) = (0, 0);
    while removed < limit && in_use < IN_USE {
        session::check_for_interrupts()?;
        let batch = Batch::new(table, selection)?;
        let wanted = BATCH.min(limit - removed);
        // A sweep does not wait for another one's floor of the tokens; a purge does.
        let end = match (table, selection) {
            (Table::Work, Selection::Expired) => Some(session::now()),
            _ => None,
        };
        // Those in use are found again.
        let remove = || table.as_owner(Access::Write, || batch.remove(wanted, in_use));
        let Attempt::Done(done) = citus::attempt(end, remove)? else {
            break;
        };
        removed += done.removed;
        in_use += done.in_use;
        if done.is_last {
            break;
        }
    }
    Ok(removed)
}

/// One look for rows, and what is removed of them.
struct Batch {
    table: Table,
    is_sweep: bool,
    /// What the condition compares with.
    arguments: Vec<Value<'static>>,
}

/// What became of one look.
struct Done {
    removed: i64,
    in_use: i64,
    /// Whether it found all that there is.
    is_last: bool,
}

impl Batch {
    fn new(table: Table, selection: Selection) -> Result<Self, Error> {
        let arguments = match selection {
            Selection::Expired => vec![Value::timestamp(Some(session::now()))],
            Selection::Purged {
                ns,
                before,
                unfinished,
            } => {
                let mut arguments = vec![Value::timestamp(Some(before)), Value::text(ns)?];
                if table == Table::Work {
                    arguments.push(Value::boolean(unfinished));
                }
                arguments
            }
        };
        Ok(Self {
            table,
            is_sweep: matches!(selection, Selection::Expired),
            arguments,
        })
    }

    /// Removes up to `wanted` rows of those and `more` that it finds.
    fn remove(&self, wanted: i64, more: i64) -> Result<Done, Error> {
        let found = self.find(wanted + more)?;
        let mut done = Done {
            removed: 0,
            in_use: 0,
            is_last: (found.len() as i64) < wanted + more,
        };
        let mut highest = None;
        for storage_key in &found {
            match self.remove_row(storage_key)? {
                None => done.in_use += 1,
                Some(token) => {
                    done.removed += 1;
                    highest = highest.max(token);
                }
            }
            if done.removed == wanted {
                break;
            }
        }
        if let Some(token) = highest {
            raise_floor(token)?;
        }
        Ok(done)
    }

    fn find(&self, wanted: i64) -> Result<Vec<Vec<Value<'static>>>, Error> {
        let condition = self.condition(2);
        let statement = format!(
            "SELECT {} FROM {} WHERE {condition} LIMIT $1",
            storage_key_columns!(),
            self.table.name()
        );
        let mut arguments = vec![Value::integer(wanted)];
        arguments.extend(self.arguments.iter().cloned());
        spi::run(&statement, &arguments, View::Isolated, |rows| {
            let key = |row| {
                (0..4)
                    .filter_map(|column| rows.keep(row, column).transpose())
                    .collect()
            };
            (0..rows.count())
                .map(key)
                .collect::<Result<_, _>>()
                .map_err(Error::from)
        })
    }

    /// The row's token, where it has one; none where it is not removed.
    fn remove_row(&self, storage_key: &[Value<'static>]) -> Result<Option<Option<i64>>, Error> {
        let condition = self.condition(storage_key.len() + 1);
        let (table, has_key) = (self.table.name(), has_storage_key!());
        let token = match self.table {
            Table::Claim => "NULL::pg_catalog.int8",
            Table::Work => "token",
        };
        let lock = format!(
            "SELECT {token}, ns FROM {table} WHERE {has_key} AND {condition} FOR UPDATE SKIP LOCKED"
        );
        let mut arguments = storage_key.to_vec();
        arguments.extend(self.arguments.iter().cloned());
        let locked = spi::run(&lock, &arguments, View::Isolated, |rows| {
            Ok::<_, Error>(match rows.count() {
                0 => None,
                _ => Some((rows.integer(0, 0)?, rows.bytes(0, 1)?)),
            })
        })?;
        let Some((token, ns)) = locked else {
            return Ok(None);
        };
        let delete = format!("DELETE FROM {table} WHERE {has_key}");
        spi::run(&delete, storage_key, View::Isolated, |_| Ok::<_, Error>(()))?;
        if let Some(ns) = ns.filter(|_| self.is_sweep) {
            stats::swept(&ns, 1);
        }
        Ok(Some(token))
    }

    /// What a row that is removed fulfils. `first` is the number of the first parameter in it.
    fn condition(&self, first: usize) -> String {
        let (before, ns, unfinished) = (first, first + 1, first + 2);
        match (self.is_sweep, self.table) {
            (true, _) => format!("expires_at OPERATOR(pg_catalog.<=) ${before}"),
            (false, Table::Claim) => format!(
                "ns OPERATOR(pg_catalog.=) ${ns} AND claimed_at OPERATOR(pg_catalog.<) ${before}"
            ),
            (false, Table::Work) => format!(
                "ns OPERATOR(pg_catalog.=) ${ns} AND (finished_at OPERATOR(pg_catalog.<) ${before} \
                     OR (${unfinished} AND finished_at IS NULL AND begun_at OPERATOR(pg_catalog.<) ${before}))"
            ),
        }
    }
}
