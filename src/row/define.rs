//! A typed function for one table and one key: with_row_lock for those who know their table.
//!
//! It is of a language of the extension's own, whose handler finds the table and the key in its body: it
//! calls nothing by name.

use pgrx::datum::AnyElement;
use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::json::Member;
use crate::pg::spi::{self, View};
use crate::pg::table::{Column, Table};
use crate::pg::{Call, ErrorReport, Value, function, text};

use super::definition::Definition;
use super::{Cell, opened_for_rows};

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
    let table = opened_for_rows(opened_table.ok_or(Error::Null { argument: "target" })?)?;
    let columns = super::columns(call, 2, &table)?;
    let condition = super::object(call, 3, "condition")?;
    let condition = condition_beside(&columns, &table, &condition)?;
    Ok(define(name, &table, &columns, &condition)?.into_any()?)
}

/// The cells of `condition`, none of which is of a column of the key.
pub fn condition_beside<'a>(
    columns: &[&Column],
    table: &'a Table,
    condition: &[Member],
) -> Result<Vec<Cell<'a>>, Error> {
    let cell = |member: &Member| {
        let column = super::column(table, &member.name)?;
        if columns.iter().any(|other| other.number == column.number) {
            return Err(Error::ColumnInKeyAndCondition {
                column: column.name.clone(),
            });
        }
        Cell::of_json(column, member, "condition")
    };
    condition.iter().map(cell).collect()
}

fn define(
    name: Value,
    table: &Table,
    columns: &[&Column],
    condition: &[Cell],
) -> Result<Value<'static>, Error> {
    let name = full_name(name)?;
    let function = Function::new(table, columns, condition)?;
    let row = &table.name;
    let key_types = &function.key_types;
    let signature = |timeout| format!("{name}({key_types}, {timeout}, pg_catalog.jsonb)");
    // Calls of two that differ in this type alone would be ambiguous.
    let alike = signature("pg_catalog.interval");
    if !matches!(function.look(&alike, row)?, (_, Existing::None)) {
        return Err(Error::FunctionExists { function: alike });
    }
    let signature = signature("once.duration");
    let create = match function.existing(&signature, row)? {
        Existing::None => "CREATE",
        Existing::Made { alike: true } => "CREATE OR REPLACE",
        Existing::Made { alike: false } => {
            run(&format!("DROP FUNCTION {signature}"))?;
            "CREATE"
        }
        Existing::Other => {
            return Err(Error::FunctionExists {
                function: signature,
            });
        }
    };
    let (parameters, body) = (&function.parameters, text::literal(&function.body));
    run(&format!(
        "{create} FUNCTION {name}({parameters}) RETURNS SETOF {row} \
         LANGUAGE once_row_lock VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1 AS {body}"
    ))?;
    run(&format!(
        "COMMENT ON FUNCTION {signature} IS {}",
        text::literal(&format!(
            "The row of {row} with this key, found or created, and locked until the transaction \
             ends, as with_row_lock does. Made by once.define_row_lock."
        ))
    ))?;
    own(&signature)?.ok_or(Error::FunctionExists {
        function: signature,
    })
}

/// What is to be created.
struct Function {
    key_types: String,
    parameters: String,
    /// The names of the parameters, as an array.
    parameter_names: Value<'static>,
    body: String,
}

/// A function that has the name and the argument types already.
enum Existing {
    None,
    /// Made here, and the caller's.
    Made {
        /// It can be replaced as it is, with what depends on it.
        alike: bool,
    },
    Other,
}

impl Function {
    fn new(table: &Table, columns: &[&Column], condition: &[Cell]) -> Result<Self, Error> {
        let (mut types, mut parameters) = (Vec::new(), Vec::new());
        for column in columns {
            let kind = compared_type(table, column)?;
            parameters.push(format!("{} {kind}", column.quoted));
            types.push(kind);
        }
        for cell in condition.iter().filter(|cell| !cell.value.is_null()) {
            compared_type(table, cell.column)?;
        }
        let (timeout, defaults) = (apart("timeout", columns), apart("defaults", columns));
        parameters.push(format!("\"{timeout}\" once.duration DEFAULT NULL"));
        parameters.push(format!(
            "\"{defaults}\" pg_catalog.jsonb DEFAULT '{{}}'::pg_catalog.jsonb"
        ));
        let parameter_names = columns
            .iter()
            .map(|column| column.name.as_str())
            .chain([timeout.as_str(), defaults.as_str()])
            .map(|name| Ok(text::encode(name)?.into_bytes()))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            key_types: types.join(", "),
            parameters: parameters.join(", "),
            parameter_names: Value::texts(&parameter_names)?,
            body: Definition::new(table, columns, condition)?.body(),
        })
    }

    /// What has this signature, the caller's own locked until the transaction ends.
    fn existing(&self, signature: &str, row: &str) -> Result<Existing, Error> {
        match self.look(signature, row)? {
            // Another session may have changed it before the lock.
            (Some(oid), Existing::Made { .. }) => {
                function::lock_against_change(oid)?;
                Ok(self.look(signature, row)?.1)
            }
            (_, existing) => Ok(existing),
        }
    }

    /// What has this signature, and its object id. Whether it was made here is read from its language:
    /// it decides only what becomes of the caller's own functions.
    fn look(&self, signature: &str, row: &str) -> Result<(Option<u32>, Existing), Error> {
        const LOOK: &str = "SELECT l.lanname OPERATOR(pg_catalog.=) 'once_row_lock' \
                 AND p.prokind OPERATOR(pg_catalog.=) 'f' AND p.proretset \
                 AND r.rolname OPERATOR(pg_catalog.=) CURRENT_USER, \
                 p.proargnames OPERATOR(pg_catalog.=) $2 \
                 AND p.prorettype OPERATOR(pg_catalog.=) $3::pg_catalog.regtype::pg_catalog.oid, \
                 p.oid::pg_catalog.int8 \
             FROM pg_catalog.pg_proc AS p \
             JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
             LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) p.proowner \
             WHERE p.oid OPERATOR(pg_catalog.=) \
                 pg_catalog.to_regprocedure($1)::pg_catalog.oid";
        let arguments = [
            text::value(signature)?,
            self.parameter_names.clone(),
            text::value(row)?,
        ];
        spi::run(LOOK, &arguments, View::Newest, |rows| {
            let existing = match (rows.count(), rows.boolean(0, 0)?) {
                (0, _) => Existing::None,
                (_, Some(true)) => Existing::Made {
                    alike: rows.boolean(0, 1)? == Some(true),
                },
                _ => Existing::Other,
            };
            let oid = rows.integer(0, 2)?.and_then(|oid| u32::try_from(oid).ok());
            Ok((oid, existing))
        })
    }
}

/// The type of a column that has an equality.
fn compared_type(table: &Table, column: &Column) -> Result<String, Error> {
    if column.equals(None, "")?.is_none() {
        return Err(Error::ColumnWithoutEquality {
            table: table.name.clone(),
            column: column.name.clone(),
        });
    }
    type_name(column)
}

fn type_name(column: &Column) -> Result<String, Error> {
    column.bare_type_name()?.ok_or(Error::TextInvalid {
        what: "the name of a type",
    })
}

/// How many bytes the values of a condition have at most that is kept: in the body of a function, or in the
/// predicate of an index, which has to fit a page.
pub const CONDITION_LIMIT: usize = 8000;

/// Texts that are read as the values of a condition under all settings; none of NULL.
pub fn printed(condition: &[Cell]) -> Result<Vec<Option<String>>, Error> {
    let mut bytes = 0;
    let print = |cell: &Cell| {
        if cell.value.is_null() {
            return Ok(None);
        }
        let text = print(&cell.value)?;
        bytes += text.len();
        match bytes {
            ..=CONDITION_LIMIT => Ok(Some(text)),
            _ => Err(Error::ConditionTooLong { bytes }),
        }
    };
    condition.iter().map(print).collect()
}

fn print(value: &Value) -> Result<String, Error> {
    let printed = text::with_fixed_settings(|| {
        let statement = "SELECT pg_catalog.format('%s', $1)";
        let arguments = [value.clone()];
        spi::run(statement, &arguments, View::Isolated, |rows| {
            Ok::<_, Error>(rows.text(0, 0)?)
        })
    })?;
    printed.ok_or(Error::TextInvalid { what: "condition" })
}

/// A name of a parameter that no column of the key has.
fn apart(name: &str, columns: &[&Column]) -> String {
    let mut name = name.to_owned();
    while columns.iter().any(|column| column.name == name) {
        name.push('_');
    }
    name
}

/// The function, where it is the caller's: nobody else has put one of theirs in its place.
fn own(signature: &str) -> Result<Option<Value<'static>>, Error> {
    const OWN: &str = "SELECT p.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc AS p \
         JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) p.proowner \
         WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure($1)::pg_catalog.oid \
           AND r.rolname OPERATOR(pg_catalog.=) CURRENT_USER";
    spi::run(OWN, &[text::value(signature)?], View::Newest, |rows| {
        Ok::<_, Error>(rows.keep(0, 0)?)
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
