//! Finding the groups, and locking their rows.

use super::{Cell, Cursor, Identity, Key, Merge, Rows, Value, equals, has_values, list};
use crate::error::Error;

/// How often the rows of one key are locked again when others come or change under its eyes.
const ROUNDS: usize = 8;

/// The rows of a group that are in memory at a time.
const FETCHED: usize = 200;

/// The copies of a group that are locked by one statement at most.
const LOCKED_AT_ONCE: i64 = 10_000;

/// A row that one of the statements below has found.
pub struct Candidate {
    identity: Identity,
    order: Value<'static>,
}

/// The rows of a group that are locked.
struct Locked {
    members: Vec<Identity>,
    /// All are as they were when the group was found, so that their order is right.
    is_as_expected: bool,
}

impl Default for Locked {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            is_as_expected: true,
        }
    }
}

impl<'a> Merge<'a> {
    /// All rows that share their key with others: group by group, the one to be kept first. Only
    /// keys and identities are read, not whole rows.
    pub fn candidates(&self) -> Result<(String, Vec<Value<'a>>), Error> {
        let Key { table, alias, .. } = self.key;
        let (counts, arguments) = self.key.where_counts()?;
        let (name, keys) = (&table.name, self.key.places("g"));
        let identity = list(self.identity().iter().enumerate(), |(i, column)| {
            format!("{alias}.{column} AS i{i}")
        });
        let order = self.request.order_by.map_or(String::new(), |column| {
            format!(", {alias}.{} AS o", column.quoted)
        });
        let kept_first = self.kept_first("g.o", |i| format!("g.i{i}"));
        let identities = list(0..self.identity().len(), |i| format!("g.i{i}"));
        let orders = self.request.order_by.map_or("", |_| ", g.o");
        let statement = format!(
            "SELECT g.copies, {keys}, {identities}{orders} FROM (\
                 SELECT {}, {identity}{order}, \
                     pg_catalog.count(*) OVER (PARTITION BY {}) AS copies \
                 FROM {name} AS {alias}{counts}) AS g \
             WHERE g.copies OPERATOR(pg_catalog.>) 1 ORDER BY {keys}, {kept_first}",
            self.key.named(),
            self.key.listed(),
        );
        Ok((statement, arguments))
    }

    /// How many rows the next group has, its key, and its first row; none after the last group.
    pub fn first(
        &self,
        candidates: &Cursor,
    ) -> Result<Option<(i64, Vec<Cell<'a>>, Candidate)>, Error> {
        self.run_as.run(|| {
            candidates.fetch(1, |rows| match rows.integer(0, 0)? {
                None => Ok(None),
                Some(copies) => Ok(Some((copies, self.cells(rows)?, self.candidate(rows, 0)?))),
            })
        })
    }

    /// The rows of a group, locked, the one to be kept first.
    pub fn locked(
        &self,
        key: &[Cell<'a>],
        copies: i64,
        first: Candidate,
        candidates: &Cursor,
    ) -> Result<Vec<Identity>, Error> {
        let by_key = self.is_indexed && copies <= LOCKED_AT_ONCE;
        let mut locked = Locked::default();
        let mut some = vec![first];
        let mut left = copies as usize - 1;
        loop {
            for candidate in some.drain(..).filter(|_| !by_key) {
                self.lock(key, candidate, &mut locked)?;
            }
            if left == 0 {
                break;
            }
            some = self.run_as.run(|| {
                candidates.fetch(left.min(FETCHED), |rows| {
                    (0..rows.count())
                        .map(|row| self.candidate(rows, row))
                        .collect::<Result<Vec<_>, Error>>()
                })
            })?;
            left = match some.len() {
                0 => 0,
                some => left - some,
            };
        }
        if by_key || !locked.is_as_expected {
            self.settle(key)
        } else {
            Ok(locked.members)
        }
    }

    /// The columns of the identity, as SQL names them.
    pub fn identity(&self) -> Vec<&str> {
        if self.identity.is_empty() {
            vec!["tableoid", "ctid"]
        } else {
            self.identity
                .iter()
                .map(|column| column.quoted.as_str())
                .collect()
        }
    }

    /// The order in which the first row is the one to be kept.
    fn kept_first(&self, order: &str, identity: impl Fn(usize) -> String) -> String {
        let direction = self.request.keep.direction();
        let ties = list(0..self.identity().len(), |i| {
            format!("{} {direction}", identity(i))
        });
        match self.request.order_by {
            Some(_) => format!("{order} {direction} NULLS LAST, {ties}"),
            None => ties,
        }
    }

    /// The key of the group that the first row is of, and behind it the condition.
    fn cells(&self, rows: &Rows) -> Result<Vec<Cell<'a>>, Error> {
        let columns = self.key.columns.iter().enumerate();
        columns
            .map(|(i, column)| {
                let value = rows.keep(0, 1 + i)?;
                Ok(Cell {
                    column,
                    value: value.unwrap_or(Value::null(column.kind)),
                })
            })
            .chain(self.key.condition.iter().cloned().map(Ok))
            .collect()
    }

    fn candidate(&self, rows: &Rows, row: usize) -> Result<Candidate, Error> {
        let first = 1 + self.key.columns.len();
        let count = self.identity().len();
        let order = match self.request.order_by {
            Some(column) => rows
                .keep(row, first + count)?
                .unwrap_or(Value::null(column.kind)),
            None => Value::integer(0),
        };
        Ok(Candidate {
            identity: self.identity_at(rows, row, first)?,
            order,
        })
    }

    fn identity_at(&self, rows: &Rows, row: usize, first: usize) -> Result<Identity, Error> {
        (first..first + self.identity().len())
            .map(|column| rows.keep(row, column)?.ok_or_else(|| self.unsettled()))
            .collect()
    }

    /// Locks a row if it is still one of the key.
    fn lock(
        &self,
        key: &[Cell<'a>],
        candidate: Candidate,
        locked: &mut Locked,
    ) -> Result<(), Error> {
        let Key { table, alias, .. } = self.key;
        let mut arguments = candidate.identity.clone();
        let has_key = has_values(table, key, alias, &mut arguments)?;
        let in_order = match self.request.order_by {
            None => "true".to_owned(),
            Some(column) if candidate.order.is_null() => column.is_null(alias),
            Some(column) => {
                arguments.push(candidate.order);
                let same = equals(table, column, alias, arguments.len())?;
                format!("({same}) IS TRUE")
            }
        };
        let statement = format!(
            "SELECT {in_order} FROM {} AS {alias} WHERE {} AND {has_key} FOR UPDATE OF {alias}",
            table.name,
            self.is(alias, 1)?
        );
        let found = self.run(&statement, &arguments, |rows| Ok(rows.boolean(0, 0)?))?;
        match found {
            Some(in_order) => {
                locked.members.push(candidate.identity);
                locked.is_as_expected &= in_order;
            }
            // A row without a primary key may have got another place by an UPDATE.
            None => locked.is_as_expected &= !self.identity.is_empty(),
        }
        Ok(())
    }

    /// All rows of the key that there are by now, locked, the one to be kept first.
    fn settle(&self, key: &[Cell<'a>]) -> Result<Vec<Identity>, Error> {
        let Key { table, alias, .. } = self.key;
        let mut arguments = Vec::new();
        let has_key = has_values(table, key, alias, &mut arguments)?;
        let place = format!("pg_catalog.concat({alias}.tableoid, {alias}.ctid)");
        let lock = format!(
            "SELECT {place} FROM {} AS {alias} WHERE {has_key} FOR UPDATE OF {alias}",
            table.name
        );
        let order = self
            .request
            .order_by
            .map_or(String::new(), |column| format!("{alias}.{}", column.quoted));
        let names = self.identity();
        let look = format!(
            "SELECT {place}, {} FROM {} AS {alias} WHERE {has_key} ORDER BY {}",
            list(&names, |name| format!("{alias}.{name}")),
            table.name,
            self.kept_first(&order, |i| format!("{alias}.{}", names[i])),
        );
        let places = |rows: &Rows| {
            (0..rows.count())
                .map(|row| Ok(rows.text(row, 0)?.unwrap_or_default()))
                .collect::<Result<Vec<_>, Error>>()
        };
        for _ in 0..ROUNDS {
            let mut locked = self.run(&lock, &arguments, places)?;
            locked.sort();
            let seen = self.run(&look, &arguments, |rows| {
                if !places(rows)?
                    .iter()
                    .all(|place| locked.binary_search(place).is_ok())
                {
                    return Ok(None);
                }
                (0..rows.count())
                    .map(|row| self.identity_at(rows, row, 1))
                    .collect::<Result<Vec<_>, Error>>()
                    .map(Some)
            })?;
            if let Some(members) = seen {
                return Ok(members);
            }
        }
        Err(self.unsettled())
    }
}
