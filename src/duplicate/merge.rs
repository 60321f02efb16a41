//! Merging the rows that share a key: one is kept, what points at the others is moved to it, and
//! the others go to the archive.

use std::cell::{Cell as Flag, RefCell};
use std::iter;

use super::reference::{Reference, is_indexed, surroundings};
use super::rights::{Deferrable, RunAs, check_deferred};
use super::{Key, equals, has_values, list, object};
use crate::error::Error;
use crate::pg::cursor::Cursor;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::lock::Lock;
use crate::pg::memory::apart;
use crate::pg::rehearsal::rehearse;
use crate::pg::spi::{self, Rows, View};
use crate::pg::store::Store;
use crate::pg::table::Column;
use crate::pg::text::with_fixed_settings;
use crate::pg::{Raised, Value, notice};
use crate::row::{Cell, turn_of};

mod apply;
mod archive;
mod blocked;
mod candidates;

use apply::Merged;
use archive::Archive;

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

/// What is asked for, beside the key.
pub struct Request<'a> {
    pub keep: Keep,
    pub order_by: Option<&'a Column>,
    pub dry_run: bool,
    pub max_groups: Option<i64>,
    /// A group that cannot be merged is left as it is, and the others are merged.
    pub skip_blocked: bool,
}

/// One call for one table.
pub struct Merge<'a> {
    key: &'a Key<'a>,
    request: Request<'a>,
    store: &'a Store<'a>,
    /// What tells one row from all others; empty where it is its place in the table.
    identity: Vec<&'a Column>,
    /// What statements on the table run as.
    run_as: RunAs,
    references: Vec<Reference>,
    /// What is immediate during the merge.
    immediate: Deferrable,
    /// What is checked at the end of each group where groups may be blocked.
    deferred: Deferrable,
    /// The columns that anything points at.
    referenced: Vec<&'a Column>,
    unindexed: Vec<String>,
    /// An index finds the rows of a key, so that they need not be found one by one.
    is_indexed: bool,
    archive: Archive,
    /// The row that points at a duplicate and blocks its group, once it is looked for.
    blocking_child: RefCell<Option<String>>,
    looks_for_child: Flag<bool>,
}

/// What one row of a group is known by: its primary key, or table and place.
type Identity = Vec<Value<'static>>;

#[derive(Clone, Copy, Default)]
struct Progress {
    groups: i64,
    rows: i64,
    references: i64,
    told: (i64, i64),
}

enum Step {
    Merged,
    /// Others have merged or removed the group meanwhile, or it is blocked.
    Skipped,
    End,
}

impl<'a> Merge<'a> {
    pub fn new(
        key: &'a Key<'a>,
        request: Request<'a>,
        store: &'a Store<'a>,
    ) -> Result<Self, Error> {
        let table = key.table;
        let identity: Vec<&Column> = table
            .primary_key
            .iter()
            .filter_map(|name| table.columns.iter().find(|column| column.quoted == *name))
            .collect();
        if request.order_by.is_none() && identity.is_empty() {
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
        let (as_caller, as_others): (Vec<_>, Vec<_>) = iter::once(owner)
            .chain(others)
            .partition(|(run_as, _)| run_as.is_caller());
        let deferrable = |tables: Vec<(&RunAs, u32)>| {
            let oids: Vec<u32> = tables.into_iter().map(|(_, oid)| oid).collect();
            Deferrable::of(&oids)
        };
        let immediate = deferrable(as_others)?;
        let deferred = match request.dry_run || request.skip_blocked {
            true => deferrable(as_caller)?,
            false => Deferrable::default(),
        };
        Ok(Self {
            key,
            request,
            store,
            identity,
            run_as: around.run_as,
            references: around.references,
            immediate,
            deferred,
            referenced,
            unindexed: around.unindexed,
            is_indexed: is_indexed(key)?,
            archive: Archive::default(),
            blocking_child: RefCell::default(),
            looks_for_child: Flag::default(),
        })
    }

    pub fn all(&self) -> Result<(), Error> {
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
        let merge = || self.immediate.immediately(|| self.groups());
        if !self.request.dry_run {
            return merge();
        }
        rehearse(|| {
            merge()?;
            // What would be refused at COMMIT is refused now.
            check_deferred()
        })
    }

    fn groups(&self) -> Result<(), Error> {
        let (statement, arguments) = self.candidates()?;
        let candidates = self
            .run_as
            .run(|| Ok(Cursor::open(&statement, &arguments)?))?;
        let mut progress = Progress::default();
        while self
            .request
            .max_groups
            .is_none_or(|limit| progress.groups < limit)
        {
            match apart(|| self.next(&candidates, &mut progress))? {
                Step::Merged => progress.groups += 1,
                Step::Skipped => {}
                Step::End => break,
            }
            progress.tell_sometimes()?;
        }
        Ok(candidates.close()?)
    }

    /// Merges the next group: in its turn, and of its rows those that are seen under their lock.
    fn next(&self, candidates: &Cursor, progress: &mut Progress) -> Result<Step, Error> {
        let Some((copies, key, first)) = self.first(candidates)? else {
            return Ok(Step::End);
        };
        self.archive.open(self.request.dry_run)?;
        self.take_turns(&key)?;
        let members = self.locked(&key, copies, first, candidates)?;
        let step = match members.split_first() {
            Some((kept, others)) if !others.is_empty() => {
                self.merge_unless_blocked(&key, kept, others, progress)?
            }
            _ => Step::Skipped,
        };
        // Whoever asks for the key from now on finds its row, and waits for that.
        self.turn(&key, |turn| turn.give_back())?;
        Ok(step)
    }

    fn merge_unless_blocked(
        &self,
        key: &[Cell<'a>],
        kept: &Identity,
        others: &[Identity],
        progress: &mut Progress,
    ) -> Result<Step, Error> {
        if !(self.request.dry_run || self.request.skip_blocked) {
            let merged = self.merge(key, kept, others, progress)?;
            return self.show(merged);
        }
        let before = *progress;
        let merged = attempt(None, || {
            let merged = self.merge(key, kept, others, progress)?;
            self.deferred.check_now()?;
            self.immediate.make_immediate()?;
            Ok(merged)
        });
        let error = match merged {
            Ok(Attempt::Done(merged)) => return self.show(merged),
            Ok(Attempt::TimedOut | Attempt::Moved) => return Err(self.unsettled()),
            Err(error) => error,
        };
        *progress = before;
        if !blocked::blocks(&error) {
            return Err(error);
        }
        // Once more, and in vain: the row that blocks is looked for on the way.
        self.looks_for_child.set(true);
        let again = rehearse(|| self.merge(key, kept, others, progress));
        self.looks_for_child.set(false);
        *progress = before;
        match again {
            Err(error) if !blocked::blocks(&error) => return Err(error),
            _ => self.show_blocked(kept, error)?,
        }
        Ok(Step::Skipped)
    }

    fn show(&self, merged: Merged) -> Result<Step, Error> {
        let removed = i32::try_from(merged.removed).unwrap_or(i32::MAX);
        self.store.put(&[
            merged.key,
            merged.kept,
            Value::int4(removed),
            Value::integer(merged.references),
            Value::text_or_null(None)?,
        ])?;
        Ok(Step::Merged)
    }

    /// Takes the turn that callers of the row functions take for this key and condition. Those that
    /// ask for the key columns alone have another one: a row that one of them is creating is waited
    /// for too, but nothing is held during that wait, nor is that turn held after it.
    fn take_turns(&self, key: &[Cell<'a>]) -> Result<(), Error> {
        let bare = &key[..self.key.columns.len()];
        if bare.len() < key.len() {
            self.turn(bare, |turn| {
                turn.take_for_now()?;
                turn.give_back()
            })?;
        }
        self.turn(key, |turn| turn.take_for_now())
    }

    /// Takes, or gives back, a turn of the row functions.
    fn turn(
        &self,
        key: &[Cell<'a>],
        act: impl Fn(&Lock) -> Result<(), Raised>,
    ) -> Result<(), Error> {
        let mut key = key.to_vec();
        key.sort_by(|one, other| one.column.name.cmp(&other.column.name));
        turn_of(self.key.table, &key, act)
    }

    fn unsettled(&self) -> Error {
        Error::RowUnsettled {
            table: self.key.table.name.clone(),
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
            .map(|(i, column)| equals(self.key.table, column, alias, first + i))
            .collect::<Result<_, _>>()?;
        Ok(conditions.join(" AND "))
    }
}
