//! The archive of removed rows: a table of schema `once` that is no member of the extension, so that
//! DROP EXTENSION stops at it. The first merge makes it, for the extension's owner.

use std::cell::Cell;

use super::apply::Group;
use super::{Merge, Value, View, list};
use crate::error::Error;
use crate::pg::owner::{self, Access, OwnTable, Unusable};
use crate::pg::{spi, text};

/// Whether the table is there, once that was looked up.
#[derive(Default)]
pub struct Archive {
    is_there: Cell<Option<bool>>,
}

const TABLE: &str = include_str!("../../../sql/merged_rows.sql");

/// What default privileges gave to others is taken back: who could put a trigger on the table would
/// act with its owner's rights. The table then goes to the owner of the extension.
const RIGHTS: [&str; 2] = [
    "SELECT pg_catalog.concat('REVOKE ALL ON TABLE once.merged_rows FROM PUBLIC', \
         (SELECT pg_catalog.string_agg(DISTINCT ', ' OPERATOR(pg_catalog.||) \
              pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)), '') \
          FROM pg_catalog.aclexplode(c.relacl) AS a \
          WHERE a.grantee OPERATOR(pg_catalog.<>) c.relowner \
          AND a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid), ' CASCADE') \
     FROM pg_catalog.pg_class AS c \
     WHERE c.oid OPERATOR(pg_catalog.=) 'once.merged_rows'::pg_catalog.regclass::pg_catalog.oid",
    "SELECT pg_catalog.format('ALTER TABLE once.merged_rows OWNER TO %I', \
         pg_catalog.pg_get_userbyid(e.extowner)) \
     FROM pg_catalog.pg_extension AS e \
     WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once' AND EXISTS (\
         SELECT FROM pg_catalog.pg_roles AS r \
         WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER AND r.rolsuper)",
];

impl Archive {
    /// Makes the table where there is none, but not for a dry run, which then archives nothing.
    pub fn open(&self, dry_run: bool) -> Result<(), Error> {
        if self.is_there.get().is_some() {
            return Ok(());
        }
        let is_there = is_there()?;
        if !is_there && !dry_run {
            owner::run_as_schema_owner(OwnTable::MergedRows, || {
                // Another session may have made it before this one had the lock.
                if !self::is_there()? {
                    make()?;
                }
                Ok::<_, Error>(())
            })?;
        }
        self.is_there.set(Some(is_there || !dry_run));
        Ok(())
    }

    /// Adds to an archived row what pointed at it.
    pub fn add_moved(&self, id: Value, moved: Value) -> Result<(), Error> {
        as_owner(|| {
            spi::run(
                "UPDATE once.merged_rows SET moved = $2 WHERE id OPERATOR(pg_catalog.=) $1",
                &[id, moved],
                View::Isolated,
                |_| Ok::<_, Error>(()),
            )
        })
    }
}

fn is_there() -> Result<bool, Error> {
    match owner::proved(OwnTable::MergedRows, Access::Write)? {
        Ok(_) => Ok(true),
        Err(Unusable::Missing(_)) => Ok(false),
        Err(unusable) => Err(unusable.into()),
    }
}

fn make() -> Result<(), Error> {
    let run = |statement: &str| {
        spi::run(statement, &[], View::Isolated, |rows| {
            Ok::<_, Error>(rows.text(0, 0)?)
        })
    };
    run(TABLE)?;
    for statement in RIGHTS {
        let written = spi::run(statement, &[], View::Newest, |rows| {
            Ok::<_, Error>(rows.text(0, 0)?)
        })?;
        if let Some(written) = written {
            run(&written)?;
        }
    }
    Ok(())
}

fn as_owner<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    owner::run_as_owner(&[OwnTable::MergedRows], Access::Write, act)
}

impl Merge<'_> {
    /// Writes a removed row to the archive, as the archive's owner; who calls is written beside
    /// it. The id of the archived row; none where there is no archive.
    pub fn archive_row(
        &self,
        group: &Group,
        row: Value<'static>,
        moved: Option<Value<'static>>,
    ) -> Result<Option<Value<'static>>, Error> {
        if self.archive.is_there.get() != Some(true) {
            return Ok(None);
        }
        let caller = spi::run(
            "SELECT current_user::pg_catalog.text",
            &[],
            View::Isolated,
            |rows| Ok::<_, Error>(rows.keep(0, 0)?),
        )?;
        let caller = caller.ok_or_else(|| self.unsettled())?;
        let mut arguments = vec![
            caller,
            text::value(&self.key.table.name)?,
            text::value(&self.reason())?,
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
        let id = as_owner(|| {
            spi::run(&statement, &arguments, View::Isolated, |rows| {
                Ok::<_, Error>(rows.keep(0, 0)?)
            })
        })?;
        id.map(Some).ok_or_else(|| Error::RowSwallowed {
            table: "once.merged_rows".to_owned(),
        })
    }

    /// What made the rows duplicates, and which one was kept.
    fn reason(&self) -> String {
        let columns = list(&self.key.columns, |column| column.quoted.clone());
        let among = match self.key.condition.is_empty() {
            false => format!(" among {}", self.key.condition_json),
            true => String::new(),
        };
        let by = match self.request.order_by {
            Some(column) => column.quoted.clone(),
            None => self.identity().join(", "),
        };
        format!(
            "duplicate by ({columns}){among}: the {} by {by} was kept",
            self.request.keep.name()
        )
    }
}
