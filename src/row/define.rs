//! A typed function for one table and one key: with_row_lock for those who know their table.
//!
//! Its body is text, with every name qualified. A body that PostgreSQL keeps parsed would forbid
//! ALTER TABLE, in 15, what needs another row type.

use pgrx::datum::AnyElement;
use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Table};
use crate::pg::{Call, ErrorReport, Value, text};

use super::opened;

/// How long a function's name, with its schema, may be.
const NAME_LIMIT: usize = 1000;

#[pg_extern(sql = false)]
fn define_row_lock(call: Call) -> Result<Option<AnyElement>, ErrorReport> {
    let name = match call.text(0, NAME_LIMIT).map_err(Error::from)? {
        None => Err(Error::Null {
            argument: "function_name",
        })?,
        Some(Err(_)) => Err(Error::NameTooLong {
            argument: "function_name",
        })?,
        Some(Ok(name)) => Value::text(name).map_err(Error::from)?,
    };
    let opened_table = Table::of_regclass(call, 1).map_err(Error::from)?;
    let table = opened(opened_table.ok_or(Error::Null { argument: "target" })?)?;
    let columns = super::columns(call, 2, &table)?;
    Ok(define(name, &table, &columns)?.into_any())
}

fn define(name: Value, table: &Table, columns: &[&Column]) -> Result<Value, Error> {
    let home = home()?;
    let name = full_name(name)?;
    let mut parameters = Vec::new();
    let mut kinds = Vec::new();
    let mut pairs = Vec::new();
    let mut prints = false;
    for (i, column) in columns.iter().enumerate() {
        if column.equals("", "")?.is_none() {
            return Err(Error::ColumnWithoutEquality {
                table: table.name.clone(),
                column: column.name.clone(),
            });
        }
        let kind = column.bare_type_name()?.ok_or(Error::TextInvalid {
            what: "the name of a type",
        })?;
        parameters.push(format!("{} {kind}", column.quoted));
        kinds.push(kind);
        let parameter = i + 1;
        let value = if column.kind.is_exact_in_json() {
            format!("${parameter}")
        } else {
            prints = true;
            format!("${parameter}::pg_catalog.text")
        };
        pairs.push(format!("{}, {value}", text::literal(&column.name)));
    }
    let mut timeout = "timeout".to_owned();
    while columns.iter().any(|column| column.name == timeout) {
        timeout.push('_');
    }
    parameters.push(format!("\"{timeout}\" pg_catalog.interval DEFAULT NULL"));
    kinds.push("pg_catalog.interval".to_owned());
    // Values that are printed are printed exactly, and in a form that every session reads alike.
    let settings = if prints {
        " SET extra_float_digits = 1 SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'"
    } else {
        ""
    };
    let (parameters, kinds) = (parameters.join(", "), kinds.join(", "));
    let (pairs, row) = (pairs.join(", "), &table.name);
    let last = columns.len() + 1;
    let body = format!(
        "SELECT {home}.with_row_lock(NULL::{row}, pg_catalog.jsonb_build_object({pairs}), \
         '{{}}'::pg_catalog.jsonb, ${last})"
    );
    run(&format!(
        "CREATE FUNCTION {name}({parameters}) RETURNS SETOF {row} \
         LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1{settings} AS {}",
        text::literal(&body)
    ))?;
    run(&format!(
        "COMMENT ON FUNCTION {name}({kinds}) IS {}",
        text::literal(&format!(
            "The row of {row} with this key, found or created, and locked until the transaction \
             ends, as with_row_lock does. Made by once.define_row_lock."
        ))
    ))?;
    let found = spi::run(
        "SELECT $1::pg_catalog.regprocedure",
        &[text::value(&format!("{name}({kinds})"))?],
        View::Isolated,
        |rows| Ok::<_, Error>(rows.keep(0, 0)?),
    )?;
    found.ok_or(Error::TextInvalid {
        what: "function_name",
    })
}

/// The schema of with_row_lock, quoted.
fn home() -> Result<String, Error> {
    let schema = spi::run(
        "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e \
         JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace \
         WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once'",
        &[],
        View::Newest,
        |rows| Ok::<_, Error>(rows.text(0, 0)?),
    )?;
    schema.ok_or(Error::TextInvalid {
        what: "the name of the extension's schema",
    })
}

/// The name with its schema, the named one or else the current one, quoted.
fn full_name(name: Value) -> Result<String, Error> {
    let parsed = spi::run(
        "SELECT CASE WHEN pg_catalog.cardinality(p.parts) OPERATOR(pg_catalog.=) 1 \
             THEN pg_catalog.format('%I.%I', coalesce(pg_catalog.current_schema(), ''), p.parts[1]) \
             WHEN pg_catalog.cardinality(p.parts) OPERATOR(pg_catalog.=) 2 \
             THEN pg_catalog.format('%I.%I', p.parts[1], p.parts[2]) END, \
             pg_catalog.cardinality(p.parts) OPERATOR(pg_catalog.=) 1 \
             AND pg_catalog.current_schema() IS NULL \
         FROM (SELECT pg_catalog.parse_ident($1) AS parts) AS p",
        &[name],
        View::Isolated,
        |rows| Ok::<_, Error>((rows.text(0, 0)?, rows.boolean(0, 1)? == Some(true))),
    )?;
    match parsed {
        (_, true) => Err(Error::NoCurrentSchema),
        (Some(name), _) => Ok(name),
        (None, _) => Err(Error::FunctionNameMalformed),
    }
}

fn run(statement: &str) -> Result<(), Error> {
    spi::run(statement, &[], View::Isolated, |_| Ok::<_, Error>(()))
}
