//! The foreign keys that point at a table, and what else decides whether rows can be merged there.

use serde_json::Value as Json;

use super::rights::{self, Deed, Needs, RunAs};
use super::{Key, list};
use crate::error::Error;
use crate::pg::Value;
use crate::pg::spi::{self, View};
use crate::pg::table::Table;
use crate::pg::text::{literal, with_fixed_settings, without_jit};

/// A foreign key, as it was declared: on the topmost table, where it is on a partitioned one.
pub struct Reference {
    pub constraint: String,
    /// The referencing table, with ONLY where it has no partitions.
    pub table: String,
    pub name: String,
    pub columns: Vec<Pointer>,
    /// The tables whose rows it points at, where these are not all rows of the target.
    pub within: Option<Vec<i64>>,
    /// The rows that it points from are of the target itself.
    pub is_own: bool,
    /// A JSON object of the primary key of the row called `once_child`, or NULL.
    pub child: String,
    /// The foreign key by which others would lose the row that points, when it is moved: ON UPDATE
    /// SET NULL or SET DEFAULT.
    pub loses: Option<String>,
    /// The referencing table's number.
    pub oid: u32,
    /// What statements on the referencing table run as.
    pub run_as: RunAs,
}

/// A referencing column and the column that it points at.
pub struct Pointer {
    pub column: String,
    pub referenced: String,
    /// The comparison of `$n`, the referenced value, with the referencing column.
    operator: String,
    cast: String,
    /// That of the referenced column, where equal is more than the same: it is what the foreign key
    /// compares by.
    collate: String,
}

impl Pointer {
    pub fn points_at(&self, parameter: usize) -> String {
        let Self {
            column,
            operator,
            cast,
            collate,
            ..
        } = self;
        format!("${parameter} OPERATOR({operator}) once_child.{column}{cast}{collate}")
    }
}

/// What merging needs to know of a table.
pub struct Surroundings {
    /// What statements on the table run as.
    pub run_as: RunAs,
    pub references: Vec<Reference>,
    /// Referencing tables of some size where the referencing rows cannot be found by an index.
    pub unindexed: Vec<String>,
}

/// Holds the foreign keys and the triggers as they are, and reads them.
pub fn surroundings(table: &Table) -> Result<Surroundings, Error> {
    Table::lock_for_changes(table.oid())?;
    rights::demand(table.oid(), &Needs::removal())?;
    for involved in [PARTS, CHILDREN] {
        for oid in number_list(&read(involved, table.oid())?) {
            Table::lock_for_changes(oid as u32)?;
        }
    }
    for found in array(&read(OBSTACLES, table.oid())?) {
        let table = text(found, "table");
        if found["row_security"] == Json::Bool(true) {
            return Err(Error::RowSecurityActive { table });
        }
        if found["rules"] == Json::Bool(true) {
            return Err(Error::RulesInTheWay { table });
        }
    }
    let run_as = rights::writing(table.oid(), &Needs::removal(), Deed::Delete)?;
    let found = read(REFERENCES, table.oid())?;
    let mut references = Vec::new();
    let mut unindexed = Vec::new();
    for found in array(&found) {
        let (constraint, name) = (text(found, "constraint"), text(found, "table"));
        if found["period"] == Json::Bool(true) {
            return Err(Error::ReferenceOfPeriod {
                table: name,
                constraint,
            });
        }
        if found["unindexed"] == Json::Bool(true) {
            unindexed.push(name.clone());
        }
        let (only, deed) = match found["only"] == Json::Bool(true) {
            true => ("ONLY ", Deed::Update),
            // A row may move to another partition.
            false => ("", Deed::UpdateOrMove),
        };
        let oid = found["table_oid"].as_i64().unwrap_or_default() as u32;
        let moving = Needs::moving(found["oid"].as_i64().unwrap_or_default());
        references.push(Reference {
            constraint,
            table: format!("{only}{name}"),
            name,
            columns: array(&found["columns"])
                .map(|column| Pointer {
                    column: text(column, "column"),
                    referenced: text(column, "referenced"),
                    operator: text(column, "operator"),
                    cast: text(column, "cast"),
                    collate: text(column, "collate"),
                })
                .collect(),
            within: found["within"]
                .is_array()
                .then(|| number_list(&found["within"])),
            is_own: found["own"] == Json::Bool(true),
            child: text(found, "child"),
            loses: found["loses"].as_str().map(str::to_owned),
            oid,
            run_as: rights::writing(oid, &moving, deed)?,
        });
    }
    unindexed.dedup();
    Ok(Surroundings {
        run_as,
        references,
        unindexed,
    })
}

/// The JSON text that `statement` returns for the table.
pub fn read(statement: &str, table: u32) -> Result<Json, Error> {
    let oid = Value::integer(i64::from(table));
    let text = with_fixed_settings(|| {
        without_jit(|| {
            spi::run(statement, &[oid], View::Newest, |rows| {
                Ok::<_, Error>(rows.text(0, 0)?)
            })
        })
    })?;
    let text = text.ok_or(Error::TextInvalid {
        what: "the name of a table, column or constraint",
    })?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

pub fn array(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

pub fn text(json: &Json, field: &str) -> String {
    json[field].as_str().unwrap_or_default().to_owned()
}

fn number_list(json: &Json) -> Vec<i64> {
    array(json).filter_map(Json::as_i64).collect()
}

/// Whether an index begins with a column of the key.
pub fn is_indexed(key: &Key) -> Result<bool, Error> {
    let names = list(&key.columns, |column| literal(&column.name));
    let found = read(&INDEXED.replace("{names}", &names), key.table.oid())?;
    Ok(found == Json::Bool(true))
}

const INDEXED: &str = "\
SELECT pg_catalog.to_jsonb(EXISTS (
    SELECT FROM pg_catalog.pg_index AS x
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid
        AND a.attnum OPERATOR(pg_catalog.=) (x.indkey::pg_catalog.int2[])[0]
    WHERE x.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND x.indisvalid AND x.indpred IS NULL
    AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{names}]::pg_catalog.text[])
    ))::pg_catalog.text";

/// The partitions of the table, of all levels.
const PARTS: &str = "\
SELECT coalesce(pg_catalog.jsonb_agg(t.relid::pg_catalog.oid::pg_catalog.int8), '[]')::pg_catalog.text
FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t";

/// The tables that reference the table or its partitions, what foreign keys change on their UPDATE,
/// and the partitions of all of them.
const CHILDREN: &str = "\
WITH RECURSIVE part (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t
), involved (oid) AS (
    SELECT child.oid FROM part
    JOIN pg_catalog.pg_constraint AS c ON c.confrelid OPERATOR(pg_catalog.=) part.oid
    CROSS JOIN LATERAL (
        SELECT c.conrelid
        UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.conrelid::pg_catalog.regclass) AS t) AS child (oid)
    WHERE c.contype OPERATOR(pg_catalog.=) 'f'
    UNION SELECT child.oid FROM involved
    JOIN pg_catalog.pg_constraint AS c ON c.confrelid OPERATOR(pg_catalog.=) involved.oid
    CROSS JOIN LATERAL (
        SELECT c.conrelid
        UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.conrelid::pg_catalog.regclass) AS t) AS child (oid)
    WHERE c.contype OPERATOR(pg_catalog.=) 'f'
    AND c.confupdtype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'n', 'd']::pg_catalog.\"char\"[])
)
SELECT coalesce(pg_catalog.jsonb_agg(involved.oid::pg_catalog.int8 ORDER BY involved.oid), '[]')::pg_catalog.text
FROM involved";

/// The table and all that reference it: rules on UPDATE (2) and DELETE (4), and row security.
const OBSTACLES: &str = "\
WITH part (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t
), involved (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT c.conrelid FROM pg_catalog.pg_constraint AS c
    JOIN part ON part.oid OPERATOR(pg_catalog.=) c.confrelid
    WHERE c.contype OPERATOR(pg_catalog.=) 'f'
)
SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'table', pg_catalog.format('%I.%I', n.nspname, r.relname),
    'row_security', pg_catalog.row_security_active(r.oid),
    'rules', EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w
        WHERE w.ev_class OPERATOR(pg_catalog.=) r.oid
        AND (w.ev_type OPERATOR(pg_catalog.=) '2' OR w.ev_type OPERATOR(pg_catalog.=) '4'))
    ) ORDER BY r.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid, n.nspname, r.relname)::pg_catalog.text
FROM involved JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) involved.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace";

/// The foreign keys to the table or its partitions, as they were declared. Where several share
/// columns the widest comes first, so that one UPDATE moves all of them.
const REFERENCES: &str = "\
WITH RECURSIVE part (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t
), whole (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.oid::pg_catalog.regclass) AS t
), up (oid, parent) AS (
    SELECT c.oid, c.conparentid FROM pg_catalog.pg_constraint AS c
    JOIN part ON part.oid OPERATOR(pg_catalog.=) c.confrelid
    WHERE c.contype OPERATOR(pg_catalog.=) 'f'
    UNION SELECT c.oid, c.conparentid FROM up
    JOIN pg_catalog.pg_constraint AS c ON c.oid OPERATOR(pg_catalog.=) up.parent
)
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'oid', c.oid::pg_catalog.int8,
    'constraint', c.conname,
    'table_oid', r.oid::pg_catalog.int8,
    'table', pg_catalog.format('%I.%I', n.nspname, r.relname),
    'only', r.relkind OPERATOR(pg_catalog.<>) 'p',
    'own', EXISTS (SELECT FROM part WHERE part.oid OPERATOR(pg_catalog.=) c.conrelid)
        OR EXISTS (SELECT FROM part
            JOIN pg_catalog.pg_partition_tree(c.conrelid::pg_catalog.regclass) AS t
                ON t.relid::pg_catalog.oid OPERATOR(pg_catalog.=) part.oid),
    'within', CASE WHEN NOT EXISTS (SELECT FROM whole WHERE whole.oid OPERATOR(pg_catalog.=) c.confrelid)
        THEN (SELECT pg_catalog.jsonb_agg(t.relid::pg_catalog.oid::pg_catalog.int8)
            FROM pg_catalog.pg_partition_tree(c.confrelid::pg_catalog.regclass) AS t) END,
    'period', coalesce((pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conperiod')::pg_catalog.bool, false),
    'child', coalesce((SELECT 'pg_catalog.jsonb_build_object('
            OPERATOR(pg_catalog.||) pg_catalog.string_agg(
                pg_catalog.format('%L, once_child.%I', a.attname, a.attname), ', ' ORDER BY k.n)
            OPERATOR(pg_catalog.||) ')'
        FROM pg_catalog.pg_index AS x, pg_catalog.unnest(x.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, n)
        JOIN pg_catalog.pg_attribute AS a ON a.attnum OPERATOR(pg_catalog.=) k.number
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.conrelid AND x.indisprimary
        AND a.attrelid OPERATOR(pg_catalog.=) c.conrelid
        AND k.n OPERATOR(pg_catalog.<=) x.indnkeyatts), 'NULL::pg_catalog.jsonb'),
    'loses', (SELECT pg_catalog.min(g.conname::pg_catalog.text) FROM pg_catalog.pg_constraint AS g
        WHERE g.confrelid OPERATOR(pg_catalog.=) c.conrelid AND g.contype OPERATOR(pg_catalog.=) 'f'
        AND (g.confupdtype OPERATOR(pg_catalog.=) 'n' OR g.confupdtype OPERATOR(pg_catalog.=) 'd')
        AND g.confkey OPERATOR(pg_catalog.&&) c.conkey),
    'unindexed', r.reltuples OPERATOR(pg_catalog.>) 10000::pg_catalog.float4 AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS x
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.conrelid AND x.indisvalid AND x.indpred IS NULL
        AND (x.indkey::pg_catalog.int2[])[0] OPERATOR(pg_catalog.=) ANY (c.conkey)),
    'columns', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'column', pg_catalog.quote_ident(child.attname),
            'referenced', parent.attname,
            'operator', pg_catalog.format('%I.%s', ns.nspname, op.oprname),
            'cast', CASE WHEN kind.typtype OPERATOR(pg_catalog.=) 'd' THEN '::' OPERATOR(pg_catalog.||) (
                WITH RECURSIVE base (oid) AS (
                    SELECT kind.typbasetype
                    UNION ALL SELECT d.typbasetype FROM base
                    JOIN pg_catalog.pg_type AS d ON d.oid OPERATOR(pg_catalog.=) base.oid
                    WHERE d.typtype OPERATOR(pg_catalog.=) 'd')
                SELECT pg_catalog.format('%I.%I', bn.nspname, b.typname) FROM base
                JOIN pg_catalog.pg_type AS b ON b.oid OPERATOR(pg_catalog.=) base.oid
                JOIN pg_catalog.pg_namespace AS bn ON bn.oid OPERATOR(pg_catalog.=) b.typnamespace
                WHERE b.typtype OPERATOR(pg_catalog.<>) 'd') ELSE '' END,
            'collate', coalesce((SELECT pg_catalog.format(' COLLATE %I.%I', ln.nspname, l.collname)
                FROM pg_catalog.pg_collation AS l
                JOIN pg_catalog.pg_namespace AS ln ON ln.oid OPERATOR(pg_catalog.=) l.collnamespace
                WHERE l.oid OPERATOR(pg_catalog.=) parent.attcollation AND NOT l.collisdeterministic
                AND parent.attcollation OPERATOR(pg_catalog.<>) child.attcollation), '')
            ) ORDER BY pair.n)
        FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop))
            WITH ORDINALITY AS pair (child, parent, equals, n)
        JOIN pg_catalog.pg_attribute AS child ON child.attrelid OPERATOR(pg_catalog.=) c.conrelid
            AND child.attnum OPERATOR(pg_catalog.=) pair.child
        JOIN pg_catalog.pg_attribute AS parent ON parent.attrelid OPERATOR(pg_catalog.=) c.confrelid
            AND parent.attnum OPERATOR(pg_catalog.=) pair.parent
        JOIN pg_catalog.pg_type AS kind ON kind.oid OPERATOR(pg_catalog.=) child.atttypid
        JOIN pg_catalog.pg_operator AS op ON op.oid OPERATOR(pg_catalog.=) pair.equals
        JOIN pg_catalog.pg_namespace AS ns ON ns.oid OPERATOR(pg_catalog.=) op.oprnamespace)
    ) ORDER BY n.nspname, r.relname, pg_catalog.cardinality(c.conkey) DESC, c.conname), '[]')::pg_catalog.text
FROM up JOIN pg_catalog.pg_constraint AS c ON c.oid OPERATOR(pg_catalog.=) up.oid
JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) c.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
WHERE up.parent OPERATOR(pg_catalog.=) 0::pg_catalog.oid";
