//! Merging the rows of one group, which are locked.

use super::{Cell, Identity, Key, Merge, Progress, Reference, Rows, Value, View};
use super::{apart, blocked, equals, has_values, object};
use crate::error::Error;
use crate::pg::{session, spi, text};

/// The children of one removed row that the archive names, for each foreign key.
const CHILDREN: usize = 10_000;

/// The rows of one group, as far as they are the same for all of them.
pub struct Group<'a> {
    pub key: Vec<Cell<'a>>,
    pub kept: Kept,
}

/// The row that is kept.
pub struct Kept {
    identity: Identity,
    pub key: Value<'static>,
    /// What the archive knows it by.
    pub name: Value<'static>,
    pub row: Value<'static>,
    /// Its values of the columns that anything points at.
    referenced: Vec<Value<'static>>,
}

/// A row that is about to be removed.
pub struct Removed {
    row: Value<'static>,
    /// The table or partition that it is in.
    table: i64,
    /// Its values of the columns that anything points at, and whether they equal those of the row
    /// that is kept.
    referenced: Vec<Value<'static>>,
    same: Vec<bool>,
}

/// A group of which one row is left.
pub struct Merged {
    pub key: Value<'static>,
    pub kept: Value<'static>,
    pub removed: usize,
    pub references: i64,
}

impl<'a> Merge<'a> {
    pub(super) fn merge(
        &self,
        key: &[Cell<'a>],
        kept: &Identity,
        others: &[Identity],
        progress: &mut Progress,
    ) -> Result<Merged, Error> {
        let group = Group {
            kept: self.kept(kept)?.ok_or_else(|| self.unsettled())?,
            key: key.to_vec(),
        };
        // A row of the group that points at another one of it is archived as it was.
        let archived: Vec<Option<Value<'static>>> = if self.references.iter().any(|r| r.is_own) {
            others
                .iter()
                .map(|identity| self.archive_first(&group, identity))
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
        Ok(Merged {
            key: group.kept.key,
            kept: row,
            removed: others.len(),
            references: moved,
        })
    }

    /// The row to be kept, as it is now.
    pub fn kept(&self, identity: &Identity) -> Result<Option<Kept>, Error> {
        let Key {
            table,
            columns,
            alias,
            ..
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

    fn archive_first(
        &self,
        group: &Group,
        identity: &Identity,
    ) -> Result<Option<Value<'static>>, Error> {
        let row = self.row(group, identity)?.row;
        self.archive_row(group, row, None)
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
                self.archive_row(group, removed.row, said)?;
            }
            (Some(id), Some(said)) => self.archive.add_moved(id, said)?,
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
                format!(
                    "({}) IS TRUE",
                    equals(table, column, alias, arguments.len())?
                )
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
        if let Some(constraint) = &reference.loses
            && self.is_pointed_at(reference, removed, View::Isolated)?
        {
            return Err(Error::ReferenceLost {
                table: reference.name.clone(),
                constraint: constraint.clone(),
            });
        }
        let changes = changes.join(", ");
        if self.looks_for_child.get() {
            self.find_blocking_child(reference, (&condition, &changes), &arguments)?;
        }
        let Reference { table, child, .. } = reference;
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
        let (count, children) = moved.map_err(blocked::with_hint)?;
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
        let has_key = has_values(self.key.table, &group.key, "once_child", arguments)?;
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
            "SELECT {}::pg_catalog.text FROM {} AS once_child WHERE {condition} LIMIT 1",
            reference.child, reference.table
        );
        reference.run_as.run(|| {
            spi::run(&statement, &arguments, view, |rows| {
                if self.looks_for_child.get() && rows.count() > 0 {
                    self.note_blocking_child(reference, rows.text(0, 0)?);
                }
                Ok(rows.count() > 0)
            })
        })
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
}
