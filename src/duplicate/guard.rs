//! The statements that make duplicates impossible while the table is in use.

use super::Key;
use super::relation::{Form, Index, Relation, tree};
use super::rights::{Needs, reading};
use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::text::literal;
use crate::row::{Cell, printed};

/// INDEX_MAX_KEYS of a server that is built as usual.
const INDEX_COLUMNS: usize = 32;

/// The plan, one statement each; empty where a unique index guards the key already.
pub fn plan(key: &Key) -> Result<Vec<String>, Error> {
    if key.columns.len() > INDEX_COLUMNS {
        return Err(Error::TooManyIndexColumns {
            limit: INDEX_COLUMNS,
        });
    }
    let has_condition = !key.condition.is_empty();
    // Whether a predicate follows from the condition is computed as the planner does for a SELECT, by
    // code of the table.
    let (relations, nullable) = match has_condition {
        true => reading(key.table, &needs(key))?.run(|| tree(key))?,
        false => tree(key)?,
    };
    let Some(top) = relations.first() else {
        return Err(Error::TableGone);
    };
    let mut plan = Plan::new(key, nullable)?;
    if let Some(index) = top.guard() {
        // What is left to do where a plan was broken off after its index.
        let is_planned = index.name == top.planned_name && index.form.is_plain;
        if !(top.is_partitioned || has_condition) && index.constraint.is_none() && is_planned {
            plan.constraint(top, index);
        }
        return Ok(plan.statements());
    }
    let table = key.table.name.clone();
    if key.table.has_row_security()? {
        return Err(Error::RowSecurityActive { table });
    }
    for relation in &relations {
        if relation.foreign {
            return Err(Error::NotATable {
                name: relation.name.clone(),
                is: "a foreign table",
            });
        }
        if let Some(column) = relation.computed.clone() {
            return Err(Error::ColumnNotStored {
                table: relation.name.clone(),
                column,
            });
        }
        if let Some(missing) = missing_in_key(relation, key) {
            return Err(Error::PartitionKeyNotInKey {
                table: relation.name.clone(),
                missing,
            });
        }
    }
    refuse_duplicates(key)?;
    if top.is_partitioned {
        plan.partitioned(&relations);
    } else {
        plan.plain(top);
    }
    Ok(plan.statements())
}

/// The part of the partition key that is not in the key.
fn missing_in_key(relation: &Relation, key: &Key) -> Option<String> {
    relation.partition_key.iter().find_map(|part| match part {
        None => Some("an expression".to_owned()),
        Some(name) if !key.columns.iter().any(|column| column.name == *name) => {
            Some(format!("column \"{name}\""))
        }
        Some(_) => None,
    })
}

fn needs(key: &Key) -> Needs {
    Needs::columns(key.all_columns().map(|column| column.name.as_str()))
}

fn refuse_duplicates(key: &Key) -> Result<(), Error> {
    let Key { table, alias, .. } = key;
    let (counts, arguments) = key.where_counts()?;
    let statement = format!(
        "SELECT pg_catalog.count(*), pg_catalog.sum(g.copies OPERATOR(pg_catalog.-) 1)::pg_catalog.int8 \
         FROM (SELECT pg_catalog.count(*) AS copies FROM {} AS {alias}{counts} GROUP BY {}) AS g \
         WHERE g.copies OPERATOR(pg_catalog.>) 1",
        table.name,
        key.listed()
    );
    let (groups, rows) = reading(table, &needs(key))?.run(|| {
        spi::run(&statement, &arguments, View::Isolated, |rows| {
            let number = |column| Ok::<_, Error>(rows.integer(0, column)?.unwrap_or_default());
            Ok((number(0)?, number(1)?))
        })
    })?;
    if groups == 0 {
        return Ok(());
    }
    Err(Error::DuplicatesLeft {
        table: table.name.clone(),
        groups,
        rows,
    })
}

impl Relation {
    fn guard(&self) -> Option<&Index> {
        self.indexes
            .iter()
            .find(|index| index.is_valid && index.fits)
    }
}

impl Form {
    fn nulls(&self) -> &'static str {
        if self.nulls_are_equal {
            " NULLS NOT DISTINCT"
        } else {
            ""
        }
    }

    /// ` WHERE …` of a partial index.
    fn only(&self) -> String {
        let predicate = self.predicate.as_ref();
        predicate.map_or(String::new(), |predicate| format!(" WHERE {predicate}"))
    }
}

/// What the indexes of the plan are restricted to, in SQL.
fn predicate(key: &Key) -> Result<Option<String>, Error> {
    let mut conditions = Vec::new();
    for (Cell { column, .. }, value) in key.condition.iter().zip(printed(&key.condition)?) {
        let Some(value) = value else {
            conditions.push(format!("{} IS NULL", column.quoted));
            continue;
        };
        let kind = column.base_type_name()?.ok_or(Error::TextInvalid {
            what: "the name of a type",
        })?;
        let constant = format!("{}::{kind}", literal(&value));
        let equals = column.equals(None, &constant)?;
        conditions.push(equals.ok_or_else(|| Error::ColumnWithoutEquality {
            table: key.table.name.clone(),
            column: column.name.clone(),
        })?);
    }
    Ok((!conditions.is_empty()).then(|| conditions.join(" AND ")))
}

/// The statements by what they may have to wait for.
struct Plan {
    /// How the indexes are written.
    form: Form,
    /// They wait for old transactions to end, and nobody waits for them.
    concurrent: Vec<String>,
    /// They need a table alone for a moment, and whoever comes then waits behind them.
    exclusive: Vec<String>,
}

impl Plan {
    fn new(key: &Key, nullable: bool) -> Result<Self, Error> {
        Ok(Self {
            form: Form {
                columns: key.columns.iter().map(|c| c.quoted.clone()).collect(),
                nulls_are_equal: nullable,
                is_plain: true,
                predicate: predicate(key)?,
            },
            concurrent: Vec::new(),
            exclusive: Vec::new(),
        })
    }

    fn plain(&mut self, table: &Relation) {
        let index = self.index(table);
        self.constraint(table, &index);
    }

    /// A part of the guard for each partition, then the whole, which is valid once it has all
    /// parts.
    fn partitioned(&mut self, relations: &[Relation]) {
        let mut wholes: Vec<(i64, Index)> = Vec::new();
        for table in relations.iter().filter(|table| table.is_partitioned) {
            let is_first = wholes.is_empty();
            let is_whole = |index: &&Index| {
                let is_like = is_first || index.form == self.form;
                let is_constraint = index.constraint.is_some() || index.form.predicate.is_some();
                index.fits && is_constraint && index.form.is_plain && is_like
            };
            let whole = match table.indexes.iter().find(is_whole) {
                Some(index) => index.clone(),
                None => self.whole(table),
            };
            // Those of the partitions must be like that of the whole.
            if is_first {
                self.form = whole.form.clone();
            }
            wholes.push((table.oid, whole));
        }
        let whole_of = |table: i64| wholes.iter().find(|(oid, _)| *oid == table);
        let parts = relations.iter().filter(|table| !table.is_partitioned);
        let mut attachments = Vec::new();
        for table in parts {
            let Some((_, above)) = table.parent.and_then(whole_of) else {
                continue;
            };
            // PostgreSQL writes a predicate in other words than a plan does.
            let is_from_before = |index: &Index| {
                let mut form = index.form.clone();
                form.predicate.clone_from(&self.form.predicate);
                let is_partial = index.form.predicate.is_some();
                is_partial && index.name == table.planned_name && form == self.form
            };
            let is_free = |index: &&Index| {
                index.is_valid
                    && index.fits
                    && (index.form == self.form || is_from_before(index))
                    && index.parent.is_none_or(|parent| parent == above.oid)
            };
            let index = match table.indexes.iter().find(is_free) {
                Some(index) => index.clone(),
                None => self.index(table),
            };
            self.constraint(table, &index);
            attachments.push((above.clone(), index));
        }
        for (table, index) in wholes.iter().rev() {
            let table = relations.iter().find(|relation| relation.oid == *table);
            let above = table.and_then(|table| table.parent).and_then(whole_of);
            if let Some((_, above)) = above {
                attachments.push((above.clone(), index.clone()));
            }
        }
        for (above, index) in attachments {
            if index.parent.is_none() {
                self.attach(&above, &index);
            }
        }
    }

    /// A new index of a table without partitions, after the remains of earlier attempts.
    fn index(&mut self, table: &Relation) -> Index {
        for index in table.indexes.iter().filter(|index| !index.is_valid) {
            let name = &index.qualified;
            self.concurrent.push(format!(
                "DROP INDEX CONCURRENTLY IF EXISTS {name} \
                 /* INVALID: left by an attempt that failed; it would be kept by IF NOT EXISTS */"
            ));
        }
        let (columns, nulls) = (self.form.columns.join(", "), self.form.nulls());
        let (name, table_name, only) = (&table.free_name, &table.name, self.form.only());
        let null = if nulls.is_empty() {
            ""
        } else {
            "; NULLS NOT DISTINCT since a column of the key can be NULL"
        };
        self.concurrent.push(format!(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table_name} ({columns}){nulls}{only} \
             /* CONCURRENTLY: the table stays in use; fails with 23505 where a duplicate is made \
             meanwhile: merge, and ask for a plan again{null} */"
        ));
        Index {
            oid: 0,
            name: name.clone(),
            qualified: table.qualified(name),
            is_valid: true,
            fits: true,
            form: self.form.clone(),
            constraint: None,
            parent: None,
        }
    }

    /// Makes a constraint of the index of a table without partitions.
    fn constraint(&mut self, table: &Relation, index: &Index) {
        // A partial index can be no constraint.
        if index.constraint.is_some() || index.form.predicate.is_some() {
            return;
        }
        let name = &index.name;
        let statement = format!(
            "ALTER TABLE {} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}",
            table.name
        );
        self.exclusive.push(format!(
            "{} /* the constraint from the index: a lock for a moment, no look at the rows */",
            unless_there(&table.name, name, &statement)
        ));
    }

    /// The guard of a partitioned table, which takes no parts of itself.
    fn whole(&mut self, table: &Relation) -> Index {
        let (columns, nulls) = (self.form.columns.join(", "), self.form.nulls());
        let (name, qualified) = (&table.free_name, table.qualified(&table.free_name));
        let table = &table.name;
        if self.form.predicate.is_some() {
            let only = self.form.only();
            self.exclusive.push(format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS {name} ON ONLY {table} ({columns}){nulls}{only} \
                 /* ONLY: invalid until every partition has its part; new partitions get theirs by themselves */"
            ));
            return Index {
                oid: 0,
                name: name.clone(),
                qualified,
                is_valid: false,
                fits: true,
                form: self.form.clone(),
                constraint: None,
                parent: None,
            };
        }
        let statement =
            format!("ALTER TABLE ONLY {table} ADD CONSTRAINT {name} UNIQUE{nulls} ({columns})");
        self.exclusive.push(format!(
            "{} /* ONLY: invalid until every partition has its part; new partitions get theirs by themselves */",
            unless_there(table, name, &statement)
        ));
        Index {
            oid: 0,
            name: name.clone(),
            qualified,
            is_valid: false,
            fits: true,
            form: self.form.clone(),
            constraint: Some(name.clone()),
            parent: None,
        }
    }

    fn attach(&mut self, above: &Index, index: &Index) {
        self.exclusive.push(format!(
            "ALTER INDEX {} ATTACH PARTITION {} /* the last one makes the whole valid */",
            above.qualified, index.qualified
        ));
    }

    fn statements(self) -> Vec<String> {
        let mut statements = Vec::new();
        if !self.concurrent.is_empty() {
            statements.push(
                "SET statement_timeout = 0 /* an index takes as long as it takes */".to_owned(),
            );
            statements.push(
                "SET lock_timeout = 0 /* CONCURRENTLY waits for open transactions, and nobody waits for it */".to_owned(),
            );
        }
        statements.extend(self.concurrent);
        if !self.exclusive.is_empty() {
            statements.push(
                "SET lock_timeout = '2s' /* others wait behind these locks: rather give up, and run the rest again */".to_owned(),
            );
        }
        statements.extend(self.exclusive);
        if !statements.is_empty() {
            statements.push("RESET lock_timeout".to_owned());
            if statements
                .iter()
                .any(|text| text.starts_with("SET statement_timeout"))
            {
                statements.push("RESET statement_timeout".to_owned());
            }
        }
        statements
    }
}

/// The ALTER TABLE that adds the constraint, so that it can be run again.
fn unless_there(table: &str, constraint: &str, statement: &str) -> String {
    let mut quote = "$once$".to_owned();
    while table.contains(&quote) || statement.contains(&quote) {
        quote.insert(1, '_');
    }
    format!(
        "DO {quote} BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint \
             WHERE conrelid OPERATOR(pg_catalog.=) {}::pg_catalog.regclass::pg_catalog.oid \
             AND conname OPERATOR(pg_catalog.=) (pg_catalog.parse_ident({}))[1]) \
             THEN {statement}; END IF; END {quote}",
        literal(table),
        literal(constraint)
    )
}
