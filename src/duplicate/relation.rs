//! A table with its partitions, as far as unique indexes on the key go.

use serde_json::Value as Json;

use super::reference::{array, read, text};
use super::{Key, list};
use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Table};
use crate::pg::text::{literal, with_fixed_settings};
use crate::pg::{Value, predicate};
use crate::row::opened;

/// The table, or one of its partitions.
pub struct Relation {
    /// Schema and name, quoted.
    pub name: String,
    schema: String,
    pub oid: i64,
    pub parent: Option<i64>,
    pub is_partitioned: bool,
    /// What it is, where it can have no index.
    pub foreign: bool,
    /// A key column that is not stored, which can have no index.
    pub computed: Option<String>,
    /// The partition key's columns; `None` for an expression.
    pub partition_key: Vec<Option<String>>,
    /// The name that a new index gets, quoted, and one that is free if it is taken. A name that is
    /// cut off ends with a hash, since those of many partitions begin alike.
    pub planned_name: String,
    pub free_name: String,
    pub indexes: Vec<Index>,
}

impl Relation {
    /// The name of an index of the table, with its schema.
    pub fn qualified(&self, index: &str) -> String {
        format!("{}.{index}", self.schema)
    }
}

/// A unique index that keeps duplicates out once it is valid: over the key columns, with or without
/// columns of the condition, and for all rows that count.
#[derive(Clone)]
pub struct Index {
    pub oid: i64,
    /// Its name, quoted and without its schema.
    pub name: String,
    pub qualified: String,
    /// Complete. That of a partitioned table is so once all partitions have theirs.
    pub is_valid: bool,
    /// It keeps out what the key columns call equal, NULL where there can be one included.
    pub fits: bool,
    /// What the index of a partition must have in common with that of the whole.
    pub form: Form,
    pub constraint: Option<String>,
    /// The index of the partitioned table above that it is a part of.
    pub parent: Option<i64>,
}

/// How an index is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Form {
    /// Its columns, quoted, in its order.
    pub columns: Vec<String>,
    pub nulls_are_equal: bool,
    /// In the default order, and without other columns beside.
    pub is_plain: bool,
    /// Of a partial index, as PostgreSQL writes it.
    pub predicate: Option<String>,
}

/// The table first, then its partitions from top to bottom; and whether NULL is possible in the key.
pub fn tree(key: &Key) -> Result<(Vec<Relation>, bool), Error> {
    let all = list(key.all_columns(), |column| literal(&column.name));
    let nulls = list(&key.condition, |cell| cell.value.is_null().to_string());
    let partial = list(guarding_partial_indexes(key)?, |index| index.to_string());
    let statement = STATEMENT
        .replace("{all}", &all)
        .replace("{nulls}", &nulls)
        .replace("{count}", &key.columns.len().to_string())
        .replace("{partial}", &partial);
    let oid = Value::integer(i64::from(key.table.oid()));
    let found = with_fixed_settings(|| {
        spi::run(&statement, &[oid], View::Newest, |rows| {
            Ok::<_, Error>(rows.text(0, 0)?)
        })
    })?;
    let found = found.ok_or(Error::TextInvalid {
        what: "the name of a table or index",
    })?;
    let found: Json = serde_json::from_str(&found).unwrap_or_default();
    let relations: Vec<Relation> = array(&found).map(relation).collect();
    let nullable = array(&found).any(|relation| relation["nullable"] == Json::Bool(true));
    Ok((relations, nullable))
}

fn relation(json: &Json) -> Relation {
    Relation {
        name: text(json, "name"),
        schema: text(json, "schema"),
        oid: json["oid"].as_i64().unwrap_or_default(),
        parent: json["parent"].as_i64(),
        is_partitioned: json["kind"] == "p",
        foreign: json["kind"] == "f",
        computed: json["computed"].as_str().map(str::to_owned),
        partition_key: array(&json["partition_key"])
            .map(|column| column.as_str().map(str::to_owned))
            .collect(),
        planned_name: text(json, "planned_name"),
        free_name: text(json, "free_name"),
        indexes: array(&json["indexes"])
            .map(|index| Index {
                oid: index["oid"].as_i64().unwrap_or_default(),
                name: text(index, "name"),
                qualified: text(index, "qualified"),
                is_valid: index["valid"] == Json::Bool(true),
                fits: index["fits"] == Json::Bool(true),
                form: Form {
                    columns: array(&index["columns"])
                        .filter_map(Json::as_str)
                        .map(str::to_owned)
                        .collect(),
                    nulls_are_equal: index["nulls_are_equal"] == Json::Bool(true),
                    is_plain: index["plain"] == Json::Bool(true),
                    predicate: index["predicate"].as_str().map(str::to_owned),
                },
                constraint: index["constraint"].as_str().map(str::to_owned),
                parent: index["parent"].as_i64(),
            })
            .collect(),
    }
}

/// The partial unique indexes of the table and its partitions whose predicate follows from the
/// condition: they hold all rows that count.
fn guarding_partial_indexes(key: &Key) -> Result<Vec<u32>, Error> {
    let mut guarding = Vec::new();
    if key.condition.is_empty() {
        return Ok(guarding);
    }
    for found in array(&read(PARTIAL, key.table.oid())?) {
        let table = opened(Table::named(&text(found, "table"))?)?;
        let values: Option<Vec<(&Column, &Value)>> = key
            .condition
            .iter()
            .map(|cell| Some((table.column(&cell.column.name)?, &cell.value)))
            .collect();
        let index = found["index"].as_i64().unwrap_or_default() as u32;
        if let Some(values) = values
            && predicate::follows(index, &values)?
        {
            guarding.push(index);
        }
    }
    Ok(guarding)
}

const PARTIAL: &str = "\
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'table', pg_catalog.format('%I.%I', n.nspname, r.relname), 'index', x.indexrelid::pg_catalog.int8)), '[]')::pg_catalog.text
FROM (SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t) AS part (oid)
JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) part.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
JOIN pg_catalog.pg_index AS x ON x.indrelid OPERATOR(pg_catalog.=) part.oid
WHERE x.indisunique AND x.indpred IS NOT NULL AND r.relkind OPERATOR(pg_catalog.<>) 'f'";

/// NULL is possible in the key where a column is not declared NOT NULL, or that was never verified; and
/// in a column of the condition where that says so.
const STATEMENT: &str = "\
WITH part (oid, parent, level) AS (
    SELECT $1::pg_catalog.oid, NULL::pg_catalog.oid, 0
    UNION ALL SELECT t.relid, t.parentrelid, t.level
    FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t
    WHERE t.relid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid::pg_catalog.regclass
), wanted (name, place, is_key) AS (
    SELECT w.name, w.place, w.place OPERATOR(pg_catalog.<=) {count}::pg_catalog.int8
    FROM pg_catalog.unnest(ARRAY[{all}]::pg_catalog.text[]) WITH ORDINALITY AS w (name, place)
), attribute AS (
    SELECT part.oid AS relation, a.attnum, a.attcollation, a.attgenerated, w.name, w.place, w.is_key,
        CASE WHEN w.is_key THEN NOT a.attnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint AS c
            WHERE c.conrelid OPERATOR(pg_catalog.=) part.oid AND c.contype OPERATOR(pg_catalog.=) 'n'
            AND c.conkey[1] OPERATOR(pg_catalog.=) a.attnum AND NOT c.convalidated)
        ELSE (ARRAY[{nulls}]::pg_catalog.bool[])[w.place OPERATOR(pg_catalog.-) {count}] END AS nullable
    FROM part JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) part.oid
    JOIN wanted AS w ON w.name OPERATOR(pg_catalog.=) a.attname::pg_catalog.text
    WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped
), nullability AS (
    SELECT pg_catalog.bool_or(attribute.nullable) AS is_possible FROM attribute WHERE attribute.is_key
), index AS (
    SELECT x.indexrelid, x.indrelid, i.relname, x.indnullsnotdistinct,
        x.indnatts OPERATOR(pg_catalog.=) x.indnkeyatts
        AND 0 OPERATOR(pg_catalog.=) ALL (x.indoption::pg_catalog.int2[]) AS plain,
        (SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(a.name) ORDER BY k.n)
            FROM pg_catalog.unnest(x.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, n)
            JOIN attribute AS a ON a.relation OPERATOR(pg_catalog.=) x.indrelid
                AND a.attnum OPERATOR(pg_catalog.=) k.number
            WHERE k.n OPERATOR(pg_catalog.<=) x.indnkeyatts) AS columns,
        x.indisvalid AND x.indisready AND x.indislive AS valid,
        x.indimmediate AND (x.indnullsnotdistinct OR NOT nullability.is_possible AND NOT EXISTS (
            SELECT FROM attribute AS a WHERE a.relation OPERATOR(pg_catalog.=) x.indrelid AND NOT a.is_key AND a.nullable
            AND a.attnum OPERATOR(pg_catalog.=) ANY (indexed.numbers)))
        AND NOT EXISTS (
            SELECT FROM ROWS FROM (pg_catalog.unnest(x.indkey::pg_catalog.int2[]), pg_catalog.unnest(x.indclass::pg_catalog.oid[]),
                pg_catalog.unnest(x.indcollation::pg_catalog.oid[])) WITH ORDINALITY AS k (number, class, coll, n)
            JOIN attribute AS a ON a.relation OPERATOR(pg_catalog.=) x.indrelid AND a.attnum OPERATOR(pg_catalog.=) k.number
            JOIN pg_catalog.pg_opclass AS o ON o.oid OPERATOR(pg_catalog.=) k.class
            WHERE k.n OPERATOR(pg_catalog.<=) x.indnkeyatts
            AND NOT (o.opcdefault AND k.coll OPERATOR(pg_catalog.=) a.attcollation)) AS fits
    FROM part CROSS JOIN nullability
    JOIN pg_catalog.pg_index AS x ON x.indrelid OPERATOR(pg_catalog.=) part.oid
    JOIN pg_catalog.pg_class AS i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(k.number ORDER BY k.number) AS numbers
        FROM pg_catalog.unnest(x.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, n)
        WHERE k.n OPERATOR(pg_catalog.<=) x.indnkeyatts) AS indexed
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(a.attnum ORDER BY a.attnum) FILTER (WHERE a.is_key) AS of_key,
            pg_catalog.array_agg(a.attnum ORDER BY a.attnum) AS of_both FROM attribute AS a
        WHERE a.relation OPERATOR(pg_catalog.=) part.oid) AS columns
    WHERE x.indisunique AND x.indexprs IS NULL
    AND (x.indpred IS NULL OR x.indexrelid OPERATOR(pg_catalog.=) ANY (ARRAY[{partial}]::pg_catalog.oid[]))
    AND indexed.numbers OPERATOR(pg_catalog.@>) columns.of_key AND indexed.numbers OPERATOR(pg_catalog.<@) columns.of_both
)
SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'name', pg_catalog.format('%I.%I', n.nspname, r.relname),
    'schema', pg_catalog.quote_ident(n.nspname),
    'oid', r.oid::pg_catalog.int8,
    'parent', part.parent::pg_catalog.int8,
    'kind', r.relkind,
    'nullable', (SELECT nullability.is_possible FROM nullability),
    'computed', (SELECT pg_catalog.min(a.name) FROM attribute AS a
        WHERE a.relation OPERATOR(pg_catalog.=) r.oid AND a.attgenerated OPERATOR(pg_catalog.=) 'v'),
    'partition_key', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.n)
        FROM pg_catalog.pg_partitioned_table AS p,
            pg_catalog.unnest(p.partattrs::pg_catalog.int2[]) WITH ORDINALITY AS k (number, n)
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) part.oid
            AND a.attnum OPERATOR(pg_catalog.=) k.number
        WHERE p.partrelid OPERATOR(pg_catalog.=) part.oid),
    'planned_name', pg_catalog.quote_ident(base.name OPERATOR(pg_catalog.||) '_key'),
    'free_name', (SELECT pg_catalog.quote_ident(f.name) FROM (
            SELECT s.n, base.name OPERATOR(pg_catalog.||) '_key' OPERATOR(pg_catalog.||)
                CASE WHEN s.n OPERATOR(pg_catalog.=) 0 THEN '' ELSE s.n::pg_catalog.text END AS name
            FROM pg_catalog.generate_series(0, 99) AS s (n)) AS f
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS taken
            WHERE taken.relnamespace OPERATOR(pg_catalog.=) r.relnamespace
            AND taken.relname::pg_catalog.text OPERATOR(pg_catalog.=) f.name
            AND NOT EXISTS (SELECT FROM index WHERE index.indexrelid OPERATOR(pg_catalog.=) taken.oid AND NOT index.valid))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS taken
            WHERE taken.conrelid OPERATOR(pg_catalog.=) r.oid
            AND taken.conname::pg_catalog.text OPERATOR(pg_catalog.=) f.name)
        ORDER BY f.n LIMIT 1),
    'indexes', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'oid', index.indexrelid::pg_catalog.int8,
            'name', pg_catalog.quote_ident(index.relname),
            'qualified', pg_catalog.format('%I.%I', n.nspname, index.relname),
            'valid', index.valid,
            'fits', index.fits,
            'columns', index.columns,
            'nulls_are_equal', index.indnullsnotdistinct,
            'predicate', (SELECT pg_catalog.pg_get_expr(x.indpred, x.indrelid) FROM pg_catalog.pg_index AS x
                WHERE x.indexrelid OPERATOR(pg_catalog.=) index.indexrelid),
            'plain', index.plain,
            'constraint', (SELECT c.conname FROM pg_catalog.pg_constraint AS c
                WHERE c.conindid OPERATOR(pg_catalog.=) index.indexrelid
                AND c.conrelid OPERATOR(pg_catalog.=) r.oid
                AND (c.contype OPERATOR(pg_catalog.=) 'u' OR c.contype OPERATOR(pg_catalog.=) 'p')),
            'parent', (SELECT h.inhparent::pg_catalog.int8 FROM pg_catalog.pg_inherits AS h
                WHERE h.inhrelid OPERATOR(pg_catalog.=) index.indexrelid)
            ) ORDER BY index.relname)
        FROM index WHERE index.indrelid OPERATOR(pg_catalog.=) r.oid)
    ) ORDER BY part.level, n.nspname, r.relname)::pg_catalog.text
FROM part JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) part.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
CROSS JOIN LATERAL (SELECT r.relname::pg_catalog.text OPERATOR(pg_catalog.||) '_' OPERATOR(pg_catalog.||)
    (SELECT pg_catalog.string_agg(w.name, '_' ORDER BY w.place) FROM wanted AS w WHERE w.is_key) AS name) AS whole
CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.octet_length(whole.name) OPERATOR(pg_catalog.<=) 57 THEN whole.name
        ELSE pg_catalog.left(whole.name, pg_catalog.max(l.n)) OPERATOR(pg_catalog.||) '_'
            OPERATOR(pg_catalog.||) pg_catalog.to_hex(pg_catalog.hashtextextended(whole.name, 0)) END AS name
    FROM pg_catalog.generate_series(1, 40) AS l (n)
    WHERE pg_catalog.octet_length(pg_catalog.left(whole.name, l.n)) OPERATOR(pg_catalog.<=) 40) AS base";
