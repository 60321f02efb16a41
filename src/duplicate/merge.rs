//! Merging the rows that share a key: one is kept, what points at the others is moved to it, and
//! the others go to the archive.

use std::iter;

use pgrx::PgSqlErrorCode;

use super::reference::{Reference, is_indexed, surroundings};
use super::rights::{Deferrable, RunAs, check_deferred};
use super::{Key, list, object};
use crate::error::Error;
use crate::pg::cursor::Cursor;
use crate::pg::lock::Lock;
use crate::pg::memory::apart;
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::rehearsal::rehearse;
use crate::pg::spi::{self, Rows, View};
use crate::pg::store::Store;
use crate::pg::table::Column;
use crate::pg::text::with_fixed_settings;
use crate::pg::{Raised, Value, notice, session, text};
use crate::row::{Cell, turn_of};

/// How often the rows of one key are locked again when others come or change under its eyes.
const ROUNDS: usize = 8;

/// The rows of a group that are in memory at a time.
const FETCHED: usize = 200;

/// The copies of a group that are locked by one statement at most.
const LOCKED_AT_ONCE: i64 = 10_000;

/// The children of one removed row that the archive names, for each foreign key.
const CHILDREN: usize = 10_000;

/// How many groups, or removed rows, there are between two notices.
const NOTICE_GROUPS: i64 = 1_000;
const NOTICE_ROWS: i64 = 10_000;

/// Which row of a group is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Oldest,
    Newest,
}

impl Keep {
    pub fn named(name: Option<&str>) -> Result<Self, Error> {
        match name {
            Some("oldest") => Ok(Self::Oldest),
            Some("newest") => Ok(Self::Newest),
            Some(_) => Err(Error::KeepUnknown),
            None => Err(Error::Null { argument: "keep" }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Newest => "newest",
        }
    }

    fn direction(self) -> &'static str {
        match self {
            Self::Oldest => "ASC",
            Self::Newest => "DESC",
        }
    }
}

/// One call for one table.
pub struct Merge<'a> {
    key: &'a Key<'a>,
    keep: Keep,
    order_by: Option<&'a Column>,
    /// What tells one row from all others; empty where it is its place in the table.
    identity: Vec<&'a Column>,
    /// What statements on the table run as.
    run_as: RunAs,
    references: Vec<Reference>,
    deferrable: Deferrable,
    /// The columns that anything points at.
    referenced: Vec<&'a Column>,
    unindexed: Vec<String>,
    /// An index finds the rows of a key, so that they need not be found one by one.
    is_indexed: bool,
}

/// What one row of a group is known by: its primary key, or table and place.
type Identity = Vec<Value<'static>>;

/// The rows of one group, as far as they are the same for all of them.
struct Group<'a> {
    key: Vec<Cell<'a>>,
    kept: Kept,
}

/// The row that is kept.
struct Kept {
    identity: Identity,
    key: Value<'static>,
    /// What the archive knows it by.
    name: Value<'static>,
    row: Value<'static>,
    /// Its values of the columns that anything points at.
    referenced: Vec<Value<'static>>,
}

/// A row that one of the statements below has found.
struct Candidate {
    identity: Identity,
    order: Value<'static>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    groups: i64,
    rows: i64,
    references: i64,
    told: (i64, i64),
}

enum Step {
    Merged,
    /// Others have merged or removed the group meanwhile.
    Skipped,
    End,
}

impl<'a> Merge<'a> {
    pub fn new(key: &'a Key<'a>, keep: Keep, order_by: Option<&'a Column>) -> Result<Self, Error> {
        let table = key.table;
        let identity: Vec<&Column> = table
            .primary_key
            .iter()
            .filter_map(|name| table.columns.iter().find(|column| column.quoted == *name))
            .collect();
        if order_by.is_none() && identity.is_empty() {
            return Err(Error::NothingSaysWhichIsOlder {
                table: table.name.clone(),
            });
        }
        let around = surroundings(table)?;
        let mut referenced: Vec<&Column> = Vec::new();
        for pointer in around.references.iter().flat_map(|found| &found.columns) {
            if let Some(column) = table.column(&pointer.referenced)
                && !referenced.iter().any(|known| known.name == column.name)
            {
                referenced.push(column);
            }
        }
        let owner = (&around.run_as, table.oid());
        let others = around.references.iter().map(|r| (&r.run_as, r.oid));
        let run_as_others: Vec<u32> = iter::once(owner)
            .chain(others)
            .filter(|(run_as, _)| !run_as.is_caller())
            .map(|(_, oid)| oid)
            .collect();
        Ok(Self {
            key,
            keep,
            order_by,
            identity,
            run_as: around.run_as,
            references: around.references,
            deferrable: Deferrable::of(&run_as_others)?,
            referenced,
            unindexed: around.unindexed,
            is_indexed: is_indexed(key)?,
        })
    }

    pub fn all(&self, dry_run: bool, max_groups: Option<i64>, store: &Store) -> Result<(), Error> {
        for table in &self.unindexed {
            notice::warn(
                &format!(
                    "no index of table {table} begins with a column of its foreign key to {}",
                    self.key.table.name
                ),
                "Each row that is merged reads the whole table.",
                "Create such an index CONCURRENTLY first.",
            )?;
        }
        let merge = || {
            self.deferrable
                .immediately(|| self.groups(max_groups, store))
        };
        if !dry_run {
            return merge();
        }
        rehearse(|| {
            merge()?;
            // What would be refused at COMMIT is refused now.
            check_deferred()
        })
    }

    fn groups(&self, max_groups: Option<i64>, store: &Store) -> Result<(), Error> {
        let candidates = self
            .run_as
            .run(|| Ok(Cursor::open(&self.candidates(), &[])?))?;
        let mut progress = Progress::default();
        while max_groups.is_none_or(|limit| progress.groups < limit) {
            match apart(|| self.next(&candidates, store, &mut progress))? {
                Step::Merged => progress.groups += 1,
                Step::Skipped => {}
                Step::End => break,
            }
            progress.tell_sometimes()?;
        }
        Ok(candidates.close()?)
    }

    /// Merges the next group: in its turn, and of its rows those that are seen under their lock.
    fn next(
        &self,
        candidates: &Cursor,
        store: &Store,
        progress: &mut Progress,
    ) -> Result<Step, Error> {
        let first = self.run_as.run(|| {
            candidates.fetch(1, |rows| match rows.integer(0, 0)? {
                None => Ok(None),
                Some(copies) => Ok(Some((copies, self.cells(rows)?, self.candidate(rows, 0)?))),
            })
        })?;
        let Some((copies, key, first)) = first else {
            return Ok(Step::End);
        };
        self.turn(&key, |turn| turn.take_for_now())?;
        let by_key = self.is_indexed && copies <= LOCKED_AT_ONCE;
        let mut locked = Locked::default();
        let mut some = vec![first];
        let mut left = copies as usize - 1;
        loop {
            for candidate in some.drain(..).filter(|_| !by_key) {
                self.lock(&key, candidate, &mut locked)?;
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
        let members = if by_key || !locked.is_as_expected {
            self.settle(&key)?
        } else {
            locked.members
        };
        let step = match members.split_first() {
            Some((kept, others)) if !others.is_empty() => {
                self.merge(&key, kept, others, store, progress)?;
                Step::Merged
            }
            _ => Step::Skipped,
        };
        // Whoever asks for the key from now on finds its row, and waits for that.
        self.turn(&key, |turn| turn.give_back())?;
        Ok(step)
    }

    fn merge(
        &self,
        key: &[Cell<'a>],
        kept: &Identity,
        others: &[Identity],
        store: &Store,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let group = Group {
            kept: self.kept(kept)?.ok_or_else(|| self.unsettled())?,
            key: key.to_vec(),
        };
        // A row of the group that points at another one of it is archived as it was.
        let archived: Vec<Option<Value<'static>>> = if self.references.iter().any(|r| r.is_own) {
            others
                .iter()
                .map(|identity| self.archive_first(&group, identity).map(Some))
                .collect::<Result<_, _>>()?
        } else {
            vec![None; others.len()]
        };
        let mut moved = 0;
        for (identity, archived) in others.iter().zip(archived) {
            moved += apart(|| self.remove(&group, identity, archived))?;
            progress.rows += 1;
            progress.tell_sometimes()?;
        }
        progress.references += moved;
        let row = self.kept(kept)?.map_or(group.kept.row, |kept| kept.row);
        Ok(store.put(&[
            group.kept.key,
            row,
            Value::int4(i32::try_from(others.len()).unwrap_or(i32::MAX)),
            Value::integer(moved),
        ])?)
    }

    fn unsettled(&self) -> Error {
        Error::RowUnsettled {
            table: self.key.table.name.clone(),
        }
    }
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

impl Progress {
    fn tell_sometimes(&mut self) -> Result<(), Error> {
        let (groups, rows) = self.told;
        if self.groups - groups < NOTICE_GROUPS && self.rows - rows < NOTICE_ROWS {
            return Ok(());
        }
        self.told = (self.groups, self.rows);
        Ok(notice::tell(&format!(
            "{} groups merged, {} rows removed, {} references moved",
            self.groups, self.rows, self.references
        ))?)
    }
}

/// Finding and locking the rows of groups.
impl<'a> Merge<'a> {
    /// All rows that share their key with others: group by group, the one to be kept first. Only
    /// keys and identities are read, not whole rows.
    fn candidates(&self) -> String {
        let Key { table, alias, .. } = self.key;
        let (name, keys) = (&table.name, self.key.places("g"));
        let identity = list(self.identity().iter().enumerate(), |(i, column)| {
            format!("{alias}.{column} AS i{i}")
        });
        let order = self.order_by.map_or(String::new(), |column| {
            format!(", {alias}.{} AS o", column.quoted)
        });
        let kept_first = self.kept_first("g.o", |i| format!("g.i{i}"));
        let identities = list(0..self.identity().len(), |i| format!("g.i{i}"));
        let orders = self.order_by.map_or("", |_| ", g.o");
        format!(
            "SELECT g.copies, {keys}, {identities}{orders} FROM (\
                 SELECT {}, {identity}{order}, \
                     pg_catalog.count(*) OVER (PARTITION BY {}) AS copies \
                 FROM {name} AS {alias}) AS g \
             WHERE g.copies OPERATOR(pg_catalog.>) 1 ORDER BY {keys}, {kept_first}",
            self.key.named(),
            self.key.listed(),
        )
    }

    /// The columns of the identity, as SQL names them.
    fn identity(&self) -> Vec<&str> {
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
        let direction = self.keep.direction();
        let ties = list(0..self.identity().len(), |i| {
            format!("{} {direction}", identity(i))
        });
        match self.order_by {
            Some(_) => format!("{order} {direction} NULLS LAST, {ties}"),
            None => ties,
        }
    }

    /// The key of the group that the first row is of.
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
            .collect()
    }

    fn candidate(&self, rows: &Rows, row: usize) -> Result<Candidate, Error> {
        let first = 1 + self.key.columns.len();
        let count = self.identity().len();
        let order = match self.order_by {
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

    /// Takes, or gives back, the turn that callers of the row functions take for this key.
    fn turn(
        &self,
        key: &[Cell<'a>],
        act: impl Fn(&Lock) -> Result<(), Raised>,
    ) -> Result<(), Error> {
        let mut key = key.to_vec();
        key.sort_by(|one, other| one.column.name.cmp(&other.column.name));
        turn_of(self.key.table, &key, act)
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
        let has_key = self.has_key(alias, key, &mut arguments)?;
        let in_order = match self.order_by {
            None => "true".to_owned(),
            Some(column) if candidate.order.is_null() => column.is_null(alias),
            Some(column) => {
                arguments.push(candidate.order);
                let same = self.equals(alias, column, arguments.len())?;
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
        let has_key = self.has_key(alias, key, &mut arguments)?;
        let place = format!("pg_catalog.concat({alias}.tableoid, {alias}.ctid)");
        let lock = format!(
            "SELECT {place} FROM {} AS {alias} WHERE {has_key} FOR UPDATE OF {alias}",
            table.name
        );
        let order = self
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

    /// The condition that a row has the key; its values go behind the arguments.
    fn has_key(
        &self,
        alias: &str,
        key: &[Cell<'a>],
        arguments: &mut Vec<Value<'a>>,
    ) -> Result<String, Error> {
        let mut conditions = Vec::new();
        for Cell { column, value } in key {
            if value.is_null() {
                conditions.push(column.is_null(alias));
            } else {
                arguments.push(value.clone());
                conditions.push(self.equals(alias, column, arguments.len())?);
            }
        }
        Ok(conditions.join(" AND "))
    }

    /// The condition that a row is the one whose identity the parameters from `first` on are.
    fn is(&self, alias: &str, first: usize) -> Result<String, Error> {
        if self.identity.is_empty() {
            let second = first + 1;
            return Ok(format!(
                "{alias}.tableoid OPERATOR(pg_catalog.=) ${first} \
                 AND {alias}.ctid OPERATOR(pg_catalog.=) ${second}"
            ));
        }
        let conditions = self.identity.iter().enumerate();
        let conditions: Vec<String> = conditions
            .map(|(i, column)| self.equals(alias, column, first + i))
            .collect::<Result<_, _>>()?;
        Ok(conditions.join(" AND "))
    }

    fn equals(&self, alias: &str, column: &Column, parameter: usize) -> Result<String, Error> {
        let equals = column.equals(alias, &format!("${parameter}"))?;
        equals.ok_or_else(|| Error::ColumnWithoutEquality {
            table: self.key.table.name.clone(),
            column: column.name.clone(),
        })
    }
}

/// Statements on the table, as its owner.
impl Merge<'_> {
    fn run<T>(
        &self,
        statement: &str,
        arguments: &[Value],
        read: impl FnOnce(&Rows) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.run_as
            .run(|| spi::run(statement, arguments, View::Isolated, read))
    }

    /// For rows as JSON, whose text depends on settings.
    fn run_with_fixed_settings<T>(
        &self,
        statement: &str,
        arguments: &[Value],
        read: impl FnOnce(&Rows) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.run_as
            .run(|| with_fixed_settings(|| spi::run(statement, arguments, View::Isolated, read)))
    }
}

/// Merging rows that are locked.
impl<'a> Merge<'a> {
    /// The row to be kept, as it is now.
    fn kept(&self, identity: &Identity) -> Result<Option<Kept>, Error> {
        let Key {
            table,
            columns,
            alias,
        } = self.key;
        let key = object(columns, alias);
        let whole = format!("pg_catalog.to_jsonb({alias})");
        let known_by = if self.identity.is_empty() {
            whole.clone()
        } else {
            object(&self.identity, alias)
        };
        let statement = format!(
            "SELECT {key}, {known_by}, {whole}{} FROM {} AS {alias} WHERE {}",
            self.listed_referenced(),
            table.name,
            self.is(alias, 1)?
        );
        self.run_with_fixed_settings(&statement, identity, |rows| {
            let (key, name, row) = (rows.keep(0, 0)?, rows.keep(0, 1)?, rows.keep(0, 2)?);
            let Some(((key, name), row)) = key.zip(name).zip(row) else {
                return Ok(None);
            };
            Ok(Some(Kept {
                identity: identity.clone(),
                key,
                name,
                row,
                referenced: self.referenced_at(rows, 3)?,
            }))
        })
    }

    fn listed_referenced(&self) -> String {
        let alias = &self.key.alias;
        self.referenced
            .iter()
            .map(|column| format!(", {alias}.{}", column.quoted))
            .collect()
    }

    fn referenced_at(&self, rows: &Rows, first: usize) -> Result<Vec<Value<'static>>, Error> {
        self.referenced
            .iter()
            .enumerate()
            .map(|(i, column)| Ok(rows.keep(0, first + i)?.unwrap_or(Value::null(column.kind))))
            .collect()
    }

    fn archive_first(&self, group: &Group, identity: &Identity) -> Result<Value<'static>, Error> {
        let row = self.row(group, identity)?.row;
        self.archive(group, row, None)
    }

    /// Removes a row: what points at it is moved, nothing may point at it any more, it is deleted
    /// and archived. Answers how many references were moved.
    fn remove(
        &self,
        group: &Group,
        identity: &Identity,
        archived: Option<Value<'static>>,
    ) -> Result<i64, Error> {
        let removed = self.row(group, identity)?;
        let (mut moved, mut said) = (0, Vec::new());
        for reference in &self.references {
            let (count, children) = self.move_reference(reference, group, &removed)?;
            moved += count;
            said.extend(children);
        }
        for reference in &self.references {
            self.expect_none_left(reference, &removed)?;
        }
        self.delete(identity)?;
        let said = match said.as_slice() {
            [] => None,
            said => Some(text::jsonb(&format!("[{}]", said.join(",")))?),
        };
        match (archived, said) {
            (None, said) => {
                self.archive(group, removed.row, said)?;
            }
            (Some(id), Some(said)) => archive_moved(id, said)?,
            (Some(_), None) => {}
        }
        Ok(moved)
    }

    fn row(&self, group: &Group, identity: &Identity) -> Result<Removed, Error> {
        let Key { table, alias, .. } = self.key;
        let mut arguments = identity.clone();
        let mut same = Vec::new();
        for (column, kept) in self.referenced.iter().zip(&group.kept.referenced) {
            same.push(if kept.is_null() {
                "false".to_owned()
            } else {
                arguments.push(kept.clone());
                format!("({}) IS TRUE", self.equals(alias, column, arguments.len())?)
            });
        }
        let same: String = same.iter().map(|same| format!(", {same}")).collect();
        let statement = format!(
            "SELECT pg_catalog.to_jsonb({alias}), {alias}.tableoid::pg_catalog.int8{}{same} \
             FROM {} AS {alias} WHERE {}",
            self.listed_referenced(),
            table.name,
            self.is(alias, 1)?
        );
        let count = self.referenced.len();
        let removed = self.run_with_fixed_settings(&statement, &arguments, |rows| {
            let Some(row) = rows.keep(0, 0)? else {
                return Ok(None);
            };
            Ok(Some(Removed {
                row,
                table: rows.integer(0, 1)?.unwrap_or_default(),
                referenced: self.referenced_at(rows, 2)?,
                same: (0..count)
                    .map(|i| Ok(rows.boolean(0, 2 + count + i)? == Some(true)))
                    .collect::<Result<_, Error>>()?,
            }))
        })?;
        removed.ok_or_else(|| Error::RowNotRemoved {
            table: table.name.clone(),
        })
    }

    /// Lets what points at the removed row point at the one that is kept. Answers how many rows
    /// that were, and which, as JSON.
    fn move_reference(
        &self,
        reference: &Reference,
        group: &Group,
        removed: &Removed,
    ) -> Result<(i64, Option<String>), Error> {
        let Some((condition, mut arguments)) = self.pointing(reference, removed) else {
            return Ok((0, None));
        };
        let mut changes = Vec::new();
        for pointer in &reference.columns {
            let Some(i) = self.place(&pointer.referenced) else {
                continue;
            };
            let kept = &group.kept.referenced[i];
            if kept.is_null() {
                return Ok((0, None));
            }
            if !removed.same[i] {
                arguments.push(kept.clone());
                changes.push(format!("{} = ${}", pointer.column, arguments.len()));
            }
        }
        if changes.is_empty() {
            return Ok((0, None));
        }
        let Reference { table, child, .. } = reference;
        if let Some(constraint) = &reference.loses
            && self.is_pointed_at(reference, removed, View::Isolated)?
        {
            return Err(Error::ReferenceLost {
                table: reference.name.clone(),
                constraint: constraint.clone(),
            });
        }
        let changes = changes.join(", ");
        let stays = if reference.is_own {
            self.stays(group, &mut arguments)?
        } else {
            "true".to_owned()
        };
        let statement = format!(
            "WITH moved AS (UPDATE {table} AS once_child SET {changes} WHERE {condition} \
                 RETURNING {child} AS child, {stays} AS stays) \
             SELECT (SELECT pg_catalog.count(*) FROM moved WHERE moved.stays), \
                 (SELECT pg_catalog.jsonb_agg(first.child)::pg_catalog.text \
                  FROM (SELECT moved.child FROM moved \
                      WHERE moved.stays AND moved.child IS NOT NULL LIMIT {CHILDREN}) AS first)"
        );
        let moved = reference.run_as.run(|| {
            spi::run(&statement, &arguments, View::Isolated, |rows| {
                Ok((rows.integer(0, 0)?.unwrap_or_default(), rows.text(0, 1)?))
            })
        });
        let (count, children) = moved.map_err(|error| match error {
            Error::Postgres(raised)
                if raised.is(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION)
                    || raised.is(PgSqlErrorCode::ERRCODE_EXCLUSION_VIOLATION) =>
            {
                Error::Postgres(raised.with_hint(
                    c"A row that points at a duplicate would become a duplicate itself once it points at the row that is kept. Merge or remove such rows first. Nothing was changed.",
                ))
            }
            error => error,
        })?;
        if count == 0 {
            return Ok((0, None));
        }
        let said = serde_json::json!({
            "constraint": reference.constraint,
            "table": reference.name,
            "count": count,
        });
        let mut said = said.to_string();
        if let Some(children) = children {
            said.pop();
            said.push_str(&format!(",\"rows\":{children}}}"));
        }
        Ok((count, Some(said)))
    }

    /// Whether a row of the target that pointed at a removed one is not about to be removed itself.
    fn stays(&self, group: &Group<'a>, arguments: &mut Vec<Value<'a>>) -> Result<String, Error> {
        let has_key = self.has_key("once_child", &group.key, arguments)?;
        let first = arguments.len() + 1;
        arguments.extend_from_slice(&group.kept.identity);
        let is_kept = self.is("once_child", first)?;
        Ok(format!("({has_key}) IS NOT TRUE OR ({is_kept})"))
    }

    /// The condition that a row points at the removed one; none where nothing can.
    fn pointing(
        &self,
        reference: &Reference,
        removed: &Removed,
    ) -> Option<(String, Vec<Value<'a>>)> {
        let points_elsewhere = reference
            .within
            .as_ref()
            .is_some_and(|tables| !tables.contains(&removed.table));
        let mut arguments = Vec::new();
        let mut conditions = Vec::new();
        for pointer in &reference.columns {
            arguments.push(removed.referenced[self.place(&pointer.referenced)?].clone());
            conditions.push(pointer.points_at(arguments.len()));
        }
        let nothing_can = points_elsewhere || arguments.iter().any(|value| value.is_null());
        (!nothing_can).then(|| (conditions.join(" AND "), arguments))
    }

    fn place(&self, referenced: &str) -> Option<usize> {
        self.referenced
            .iter()
            .position(|column| column.name == referenced)
    }

    /// Whatever still points at the row would be deleted with it, or changed, by ON DELETE.
    fn expect_none_left(&self, reference: &Reference, removed: &Removed) -> Result<(), Error> {
        let is_there = |view| self.is_pointed_at(reference, removed, view);
        let table = reference.name.clone();
        if is_there(View::Isolated)? {
            return Err(Error::ReferenceKept {
                table,
                constraint: reference.constraint.clone(),
            });
        }
        if session::isolation().has_one_snapshot() && is_there(View::Newest)? {
            return Err(Error::RowNewerThanSnapshot { table });
        }
        Ok(())
    }

    fn is_pointed_at(
        &self,
        reference: &Reference,
        removed: &Removed,
        view: View,
    ) -> Result<bool, Error> {
        let Some((condition, arguments)) = self.pointing(reference, removed) else {
            return Ok(false);
        };
        let statement = format!(
            "SELECT 1 FROM {} AS once_child WHERE {condition} LIMIT 1",
            reference.table
        );
        reference
            .run_as
            .run(|| spi::run(&statement, &arguments, view, |rows| Ok(rows.count() > 0)))
    }

    fn delete(&self, identity: &Identity) -> Result<(), Error> {
        let Key { table, alias, .. } = self.key;
        let statement = format!(
            "DELETE FROM {} AS {alias} WHERE {}",
            table.name,
            self.is(alias, 1)?
        );
        let deleted = self.run(&statement, identity, |rows| Ok(rows.count()))?;
        if deleted == 1 {
            return Ok(());
        }
        Err(Error::RowNotRemoved {
            table: table.name.clone(),
        })
    }

    /// Writes a removed row to the archive, as the archive's owner; who calls is written beside
    /// it.
    fn archive(
        &self,
        group: &Group,
        row: Value<'static>,
        moved: Option<Value<'static>>,
    ) -> Result<Value<'static>, Error> {
        let caller = spi::run(
            "SELECT current_user::pg_catalog.text",
            &[],
            View::Isolated,
            |rows| Ok::<_, Error>(rows.keep(0, 0)?),
        )?;
        let caller = caller.ok_or_else(|| self.unsettled())?;
        let columns = list(&group.key, |cell| cell.column.quoted.clone());
        let by = match self.order_by {
            Some(column) => column.quoted.clone(),
            None => self.identity().join(", "),
        };
        let reason = format!(
            "duplicate by ({columns}): the {} by {by} was kept",
            self.keep.name()
        );
        let mut arguments = vec![
            caller,
            text::value(&self.key.table.name)?,
            text::value(&reason)?,
            group.kept.key.clone(),
            group.kept.name.clone(),
            row,
        ];
        let moved = match moved {
            Some(moved) => {
                arguments.push(moved);
                "$7"
            }
            None => "NULL",
        };
        let statement = format!(
            "INSERT INTO once.merged_rows \
                 (merged_by, table_name, reason, key, kept, removed, moved) \
             VALUES ($1, $2, $3, $4, $5, $6, {moved}) RETURNING id"
        );
        let id = as_archivist(|| {
            spi::run(&statement, &arguments, View::Isolated, |rows| {
                Ok::<_, Error>(rows.keep(0, 0)?)
            })
        })?;
        id.ok_or_else(|| self.unsettled())
    }
}

/// A row that is about to be removed.
struct Removed {
    row: Value<'static>,
    /// The table or partition that it is in.
    table: i64,
    /// Its values of the columns that anything points at, and whether they equal those of the row
    /// that is kept.
    referenced: Vec<Value<'static>>,
    same: Vec<bool>,
}

/// Adds to an archived row what pointed at it.
fn archive_moved(id: Value, moved: Value) -> Result<(), Error> {
    as_archivist(|| {
        spi::run(
            "UPDATE once.merged_rows SET moved = $2 WHERE id OPERATOR(pg_catalog.=) $1",
            &[id, moved],
            View::Isolated,
            |_| Ok::<_, Error>(()),
        )
    })
}

fn as_archivist<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    owner::run_as_owner(&[OwnTable::MergedRows], Access::Write, act)
}
