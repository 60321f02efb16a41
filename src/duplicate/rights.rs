//! Whose rights count: the caller must have them, and the statements then run as the table's owner.
//!
//! A statement on a table runs what others have attached to it: triggers, casts of column types to
//! json, functions of constraints, indexes and policies. As in the actions of a foreign key, it runs
//! them as the owner of the table, not as the caller. What belongs neither to the owner nor to a role
//! that has the owner's rights anyway is refused before anything is done.

use std::ffi::CString;

use serde_json::Value as Json;

use super::list;
use super::reference::{array, read, text};
use crate::error::Error;
use crate::pg::Role;
use crate::pg::identity::{AFTER_TRIGGERS_KEEP_THEIR_ROLE, run_as, run_as_at_commit};
use crate::pg::spi::{self, View};
use crate::pg::table::Table;
use crate::pg::text::{encode, literal};

/// The columns of a table that rights are needed on, as conditions on `a`, a row of pg_attribute.
pub struct Needs {
    select: String,
    /// One of these is enough where rows are only locked.
    update: Option<Update>,
    delete: bool,
}

enum Update {
    Any,
    All(String),
}

impl Needs {
    /// To read whole rows.
    pub fn rows() -> Self {
        Self {
            select: "true".to_owned(),
            update: None,
            delete: false,
        }
    }

    /// To read these columns.
    pub fn columns<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = list(names, literal);
        Self {
            select: format!(
                "a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{names}]::pg_catalog.text[])"
            ),
            update: None,
            delete: false,
        }
    }

    /// To lock and remove rows.
    pub fn removal() -> Self {
        Self {
            update: Some(Update::Any),
            delete: true,
            ..Self::rows()
        }
    }

    /// To let the foreign key point at other rows.
    pub fn moving(constraint: i64) -> Self {
        let pointing = format!(
            "a.attnum OPERATOR(pg_catalog.=) ANY ((SELECT k.conkey FROM pg_catalog.pg_constraint AS k \
                 WHERE k.oid OPERATOR(pg_catalog.=) {constraint}::pg_catalog.oid)::pg_catalog.int2[])"
        );
        Self {
            select: format!(
                "({pointing} OR EXISTS (SELECT FROM pg_catalog.pg_index AS x \
                     WHERE x.indrelid OPERATOR(pg_catalog.=) a.attrelid AND x.indisprimary \
                     AND a.attnum OPERATOR(pg_catalog.=) ANY (x.indkey::pg_catalog.int2[])))"
            ),
            update: Some(Update::All(pointing)),
            delete: false,
        }
    }

    /// The right that each member of what [`rights`] reads stands for.
    fn statement(&self) -> String {
        let all = |right: &str, columns: &str| {
            format!(
                "pg_catalog.has_table_privilege(r.oid, '{right}') OR coalesce((\
                 SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(r.oid, a.attnum, '{right}')) \
                 FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) r.oid \
                 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
                 AND {columns}), false)"
            )
        };
        let update = match &self.update {
            None => "true".to_owned(),
            Some(Update::Any) => "pg_catalog.has_any_column_privilege(r.oid, 'UPDATE')".to_owned(),
            Some(Update::All(columns)) => all("UPDATE", columns),
        };
        let delete = if self.delete {
            "pg_catalog.has_table_privilege(r.oid, 'DELETE')"
        } else {
            "true"
        };
        RIGHTS
            .replace("{select}", &all("SELECT", &self.select))
            .replace("{update}", &update)
            .replace("{delete}", delete)
    }
}

/// The role that the statements on a table run as.
pub struct RunAs {
    /// None for the caller.
    owner: Option<(Role, CString)>,
}

impl RunAs {
    pub fn run<T>(&self, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        match &self.owner {
            None => act(),
            Some((owner, search_path)) => run_as(*owner, search_path, act),
        }
    }

    pub fn is_caller(&self) -> bool {
        self.owner.is_none()
    }
}

/// What a statement does with the rows of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Read,
    /// Nothing points at the row.
    Delete,
    Update,
    /// An UPDATE that may move a row to another partition.
    UpdateOrMove,
}

impl Deed {
    /// The bits of `pg_trigger.tgtype` of triggers that it fires.
    fn events(self) -> i32 {
        const INSERT: i32 = 1 << 2;
        const DELETE: i32 = 1 << 3;
        const UPDATE: i32 = 1 << 4;
        match self {
            Self::Read => 0,
            Self::Delete => DELETE,
            Self::Update => UPDATE,
            Self::UpdateOrMove => INSERT | DELETE | UPDATE,
        }
    }

    /// Whether it evaluates constraints and what indexes are made of.
    fn writes(self) -> bool {
        matches!(self, Self::Update | Self::UpdateOrMove)
    }

    /// The action of a foreign key that it sets off, as a column of pg_constraint; through how many
    /// foreign keys one after the other; and a condition on the AFTER triggers that this fires.
    fn cascade(self) -> (&'static str, u32, &'static str) {
        const ALL: &str = "true";
        const OF_STATEMENT: &str =
            "(t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 0";
        match self {
            Self::Delete => ("confdeltype", 1, OF_STATEMENT),
            Self::Read => ("confupdtype", 0, ALL),
            Self::Update | Self::UpdateOrMove => ("confupdtype", 32, ALL),
        }
    }
}

/// For statements that read a table. Where row security is active for the caller they run as the
/// caller, whose rows these are, else as the owner.
pub fn reading(table: &Table, needs: &Needs) -> Result<RunAs, Error> {
    let found = rights(table.oid(), needs)?;
    if found["row_security"] == Json::Bool(true) {
        refuse_strangers(table.oid(), None, needs, Deed::Read)?;
        return Ok(RunAs { owner: None });
    }
    let owner = owner(&found)?;
    refuse_strangers(table.oid(), Some(owner.0), needs, Deed::Read)?;
    Ok(acting(&found, owner))
}

/// For statements that write a table where row security is not active for the caller, and which is
/// locked so that its triggers stay what they are.
pub fn writing(table: u32, needs: &Needs, deed: Deed) -> Result<RunAs, Error> {
    let found = rights(table, needs)?;
    let owner = owner(&found)?;
    let whole = Needs::rows();
    refuse_strangers(table, Some(owner.0), &whole, deed)?;
    Ok(acting(&found, owner))
}

/// Refuses a caller who lacks a right.
pub fn demand(table: u32, needs: &Needs) -> Result<(), Error> {
    rights(table, needs).map(|_| ())
}

fn acting(found: &Json, owner: (Role, CString)) -> RunAs {
    RunAs {
        owner: (found["is_caller"] != Json::Bool(true)).then_some(owner),
    }
}

fn owner(found: &Json) -> Result<(Role, CString), Error> {
    let number = found["owner"]
        .as_u64()
        .and_then(|oid| u32::try_from(oid).ok());
    let role = Role::numbered(number.ok_or(Error::TableGone)?);
    // Objects that the caller has made in pg_temp come last.
    let search_path = format!("{}, pg_temp", text(found, "search_path"));
    Ok((role, encode(&search_path)?))
}

/// What there is to know of a table and the caller's rights on it, all of which the caller has.
fn rights(table: u32, needs: &Needs) -> Result<Json, Error> {
    let found = read(&needs.statement(), table)?;
    let denied = |what: String, right| Err(Error::PermissionDenied { what, right });
    if found["usage"] != Json::Bool(true) {
        return denied(format!("schema {}", text(&found, "schema")), "USAGE");
    }
    for (member, right) in [
        ("select", "SELECT"),
        ("update", "UPDATE"),
        ("delete", "DELETE"),
    ] {
        if found[member] != Json::Bool(true) {
            return denied(format!("table {}", text(&found, "table")), right);
        }
    }
    Ok(found)
}

/// Refuses what would run as this role, or as the caller, and belongs to a role that does not have
/// the rights for that.
fn refuse_strangers(
    table: u32,
    role: Option<Role>,
    needs: &Needs,
    deed: Deed,
) -> Result<(), Error> {
    let (action, depth, fired) = match AFTER_TRIGGERS_KEEP_THEIR_ROLE {
        true => Deed::Read.cascade(),
        false => deed.cascade(),
    };
    let statement = STRANGERS
        .replace("{types}", &needs.select)
        .replace("{events}", &deed.events().to_string())
        .replace("{action}", action)
        .replace("{depth}", &depth.to_string())
        .replace("{fired}", fired)
        .replace("{as_caller}", word(role.is_none()))
        .replace("{writes}", word(deed.writes()));
    let found = read(&statement, table)?;
    let Some(found) = array(&found).next() else {
        return Ok(());
    };
    let (what, table, runs_as) = (
        text(found, "what"),
        text(found, "table"),
        text(found, "runs_as"),
    );
    Err(match found["function"].as_str() {
        None => Error::BelongsToStranger {
            what,
            table,
            owner: text(found, "owner"),
            runs_as,
        },
        Some(function) => Error::SearchPathMissing {
            function: function.to_owned(),
            what,
            table,
            runs_as,
        },
    })
}

fn word(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

/// The deferrable constraints and triggers of tables whose statements run as another role than the
/// caller. Deferred, they would run at COMMIT as the role that the session has by then.
#[derive(Default)]
pub struct Deferrable {
    all: Option<String>,
    initially_deferred: Option<String>,
}

impl Deferrable {
    pub fn of(tables: &[u32]) -> Result<Self, Error> {
        if tables.is_empty() {
            return Ok(Self::default());
        }
        let numbers = list(tables, |table| format!("({table}::pg_catalog.oid)"));
        let found = read(&DEFERRABLE.replace("{tables}", &numbers), tables[0])?;
        let names = |member| found[member].as_str().map(str::to_owned);
        Ok(Self {
            all: names("all"),
            initially_deferred: names("deferred"),
        })
    }

    /// Runs `act` with all of them immediate, and restores what they were declared as.
    pub fn immediately<T>(&self, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.make_immediate()?;
        let done = act()?;
        self.restore()?;
        Ok(done)
    }

    pub fn make_immediate(&self) -> Result<(), Error> {
        set_constraints(self.all.as_deref(), "IMMEDIATE")
    }

    /// Checks what is deferred, and restores what they were declared as.
    pub fn check_now(&self) -> Result<(), Error> {
        self.make_immediate()?;
        self.restore()
    }

    fn restore(&self) -> Result<(), Error> {
        set_constraints(self.initially_deferred.as_deref(), "DEFERRED")
    }
}

/// Checks now what would be checked at COMMIT.
pub fn check_deferred() -> Result<(), Error> {
    set_constraints(Some("ALL"), "IMMEDIATE")
}

/// What the caller's transaction has deferred earlier, on whatever table, runs as it would at
/// COMMIT.
fn set_constraints(names: Option<&str>, mode: &str) -> Result<(), Error> {
    let Some(names) = names else {
        return Ok(());
    };
    let statement = format!("SET CONSTRAINTS {names} {mode}");
    run_as_at_commit(|| spi::run(&statement, &[], View::Isolated, |_| Ok::<_, Error>(())))
}

/// The rights of the caller on the table; and the owner, with the search_path of its sessions: what
/// is set for the role comes before what is set for the database.
const RIGHTS: &str = "\
SELECT pg_catalog.jsonb_build_object(
    'table', pg_catalog.format('%I.%I', n.nspname, r.relname),
    'schema', pg_catalog.quote_ident(n.nspname),
    'usage', pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
    'select', {select},
    'update', {update},
    'delete', {delete},
    'row_security', pg_catalog.row_security_active(r.oid),
    'owner', r.relowner::pg_catalog.int8,
    'is_caller', pg_catalog.pg_get_userbyid(r.relowner) OPERATOR(pg_catalog.=) current_user,
    'search_path', coalesce((
        SELECT pg_catalog.substr(s.setting, 13)
        FROM pg_catalog.pg_db_role_setting AS d, pg_catalog.unnest(d.setconfig) AS s (setting)
        WHERE pg_catalog.starts_with(s.setting, 'search_path=')
        AND (d.setrole OPERATOR(pg_catalog.=) r.relowner OR d.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid)
        AND (d.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR d.setdatabase OPERATOR(pg_catalog.=) (
            SELECT b.oid FROM pg_catalog.pg_database AS b
            WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
        ORDER BY d.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid, d.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        LIMIT 1), '\"$user\", public')
    )::pg_catalog.text
FROM pg_catalog.pg_class AS r
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
WHERE r.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// What runs with a statement on the table or its partitions, and belongs to a role that does not
/// have the rights of the role that it would run as:
/// - partitions, whose owner can attach anything;
/// - the types of columns, through arrays, domains, ranges and composites: the owner of a type can
///   at any time give it a cast to json, which to_jsonb then calls, or a constraint. Also the
///   functions of these, which a former owner of the type may have left;
/// - triggers, by their function and the functions of their WHEN, SECURITY DEFINER or not: the owner
///   of a function can change that while the statement waits for a row. Before version 18, of tables
///   that actions of foreign keys reach too: their AFTER triggers run at the end of the statement, and
///   by then the role is that of the statement again;
/// - where the statement runs as the caller, who does not own the table: policies, constraints,
///   generated columns and indexes. Else these are the owner's, and so is the choice of what they
///   call.
///
/// A caller who does not have the rights of the owner must not decide what the owner's code finds by
/// name: with temporary objects, or in a schema of the owner's search_path that it may create in. So
/// every function that is reached then has a search_path of its own.
const STRANGERS: &str = "\
WITH RECURSIVE part (oid) AS (
    SELECT $1::pg_catalog.oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) AS t
), reached (oid, depth) AS (
    SELECT part.oid, 0 FROM part
    UNION SELECT next.oid, reached.depth OPERATOR(pg_catalog.+) 1 FROM reached
    JOIN pg_catalog.pg_constraint AS c ON c.confrelid OPERATOR(pg_catalog.=) reached.oid
    CROSS JOIN LATERAL (
        SELECT c.conrelid
        UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.conrelid::pg_catalog.regclass) AS t) AS next (oid)
    WHERE reached.depth OPERATOR(pg_catalog.<) {depth} AND c.contype OPERATOR(pg_catalog.=) 'f'
    AND c.{action} OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'n', 'd']::pg_catalog.\"char\"[])
), runner (oid) AS (
    SELECT CASE WHEN {as_caller} THEN (SELECT u.oid FROM pg_catalog.pg_roles AS u
        WHERE u.rolname OPERATOR(pg_catalog.=) current_user) ELSE r.relowner END
    FROM pg_catalog.pg_class AS r WHERE r.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
), kind (oid, relid, attname) AS (
    SELECT a.atttypid, a.attrelid, a.attname FROM part
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) part.oid
    WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped AND {types}
    UNION SELECT within.oid, kind.relid, kind.attname FROM kind
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) kind.oid
    CROSS JOIN LATERAL (
        SELECT t.typelem
        UNION ALL SELECT t.typbasetype
        UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range AS g WHERE g.rngtypid OPERATOR(pg_catalog.=) t.oid
        UNION ALL SELECT g.rngtypid FROM pg_catalog.pg_range AS g WHERE g.rngmultitypid OPERATOR(pg_catalog.=) t.oid
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
            AND NOT a.attisdropped) AS within (oid)
    WHERE within.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
), object (relid, what, class, oid, is_judged) AS (
    SELECT t.tgrelid, pg_catalog.format('trigger %I', t.tgname), 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, true
    FROM part JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) part.oid
    WHERE t.tgenabled OPERATOR(pg_catalog.<>) 'D'
    AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) {events}) OPERATOR(pg_catalog.<>) 0
    UNION ALL SELECT t.tgrelid, pg_catalog.format('trigger %I', t.tgname), 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, true
    FROM reached JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) reached.oid
    WHERE reached.depth OPERATOR(pg_catalog.>) 0 AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
    AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 2) OPERATOR(pg_catalog.=) 0 AND {fired}
    UNION ALL SELECT kind.relid, pg_catalog.format('cast of type %I.%I of column %I', n.nspname, t.typname, kind.attname), 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid, true
    FROM kind JOIN pg_catalog.pg_cast AS c ON c.castsource OPERATOR(pg_catalog.=) kind.oid
        AND c.casttarget OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype]::pg_catalog.oid[])
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) kind.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    UNION ALL SELECT kind.relid, pg_catalog.format('constraint %I of the domain of column %I', c.conname, kind.attname), 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, true
    FROM kind JOIN pg_catalog.pg_constraint AS c ON c.contypid OPERATOR(pg_catalog.=) kind.oid
    UNION ALL SELECT kind.relid, pg_catalog.format('type %I.%I of column %I', n.nspname, t.typname, kind.attname), 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, true
    FROM kind JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) kind.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    UNION ALL SELECT y.polrelid, pg_catalog.format('policy %I', y.polname), 'pg_catalog.pg_policy'::pg_catalog.regclass, y.oid, true
    FROM pg_catalog.pg_policy AS y WHERE {as_caller} AND y.polrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
    UNION ALL SELECT c.conrelid, pg_catalog.format('constraint %I', c.conname), 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, {as_caller}
    FROM part JOIN pg_catalog.pg_constraint AS c ON c.conrelid OPERATOR(pg_catalog.=) part.oid WHERE {as_caller} OR {writes}
    UNION ALL SELECT f.adrelid, pg_catalog.format('column %I', a.attname), 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid, {as_caller}
    FROM part JOIN pg_catalog.pg_attrdef AS f ON f.adrelid OPERATOR(pg_catalog.=) part.oid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) f.adrelid
        AND a.attnum OPERATOR(pg_catalog.=) f.adnum
    WHERE a.attgenerated OPERATOR(pg_catalog.<>) ''
    UNION ALL SELECT x.indrelid, pg_catalog.format('index %I', i.relname), 'pg_catalog.pg_class'::pg_catalog.regclass, i.oid, {as_caller}
    FROM part JOIN pg_catalog.pg_index AS x ON x.indrelid OPERATOR(pg_catalog.=) part.oid
    JOIN pg_catalog.pg_class AS i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid WHERE {as_caller} OR {writes}
), code (relid, what, function, is_judged) AS (
    SELECT object.relid, object.what, t.tgfoid, object.is_judged FROM object
    JOIN pg_catalog.pg_trigger AS t ON t.oid OPERATOR(pg_catalog.=) object.oid
    WHERE object.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
    UNION SELECT object.relid, object.what, coalesce(o.oprcode::pg_catalog.oid, d.refobjid), object.is_judged FROM object
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) object.class
        AND d.objid OPERATOR(pg_catalog.=) object.oid
    LEFT JOIN pg_catalog.pg_operator AS o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass OR o.oid IS NOT NULL
), found (rank, relid, what, owner, function) AS (
    SELECT 1, $1::pg_catalog.oid, pg_catalog.format('partition %I.%I', n.nspname, r.relname), r.relowner, NULL::pg_catalog.text FROM part
    JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) part.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
    WHERE part.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid
    UNION ALL SELECT 2, code.relid, code.what, p.proowner, NULL FROM code
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) code.function WHERE code.is_judged
    UNION ALL SELECT 3, kind.relid, pg_catalog.format('type %I.%I of column %I', n.nspname, t.typname, kind.attname), t.typowner, NULL FROM kind
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) kind.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    UNION ALL SELECT 4, code.relid, code.what, p.proowner, p.oid::pg_catalog.regprocedure::pg_catalog.text FROM code
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) code.function
    JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
    CROSS JOIN runner
    WHERE l.lanname OPERATOR(pg_catalog.<>) 'c' AND l.lanname OPERATOR(pg_catalog.<>) 'internal'
    AND NOT {as_caller} AND NOT pg_catalog.pg_has_role(current_user, runner.oid, 'USAGE')
    AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) AS s (setting)
        WHERE pg_catalog.starts_with(s.setting, 'search_path='))
)
SELECT coalesce((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'what', found.what,
        'table', pg_catalog.format('%I.%I', n.nspname, r.relname),
        'owner', pg_catalog.pg_get_userbyid(found.owner),
        'function', found.function,
        'runs_as', pg_catalog.pg_get_userbyid(runner.oid)) ORDER BY found.rank, n.nspname, r.relname, found.what)
    FROM found CROSS JOIN runner
    JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) found.relid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
    WHERE found.function IS NOT NULL OR NOT pg_catalog.pg_has_role(found.owner, runner.oid, 'USAGE')), '[]')::pg_catalog.text";

/// The names of deferrable constraints, of constraint triggers too, of the tables and of all that
/// follow by ON UPDATE CASCADE. A name may be that of several constraints; it is set back only where all
/// of them were declared deferred.
const DEFERRABLE: &str = "\
WITH RECURSIVE reached (oid) AS (
    (WITH given (oid) AS (VALUES {tables})
    SELECT given.oid FROM given
    UNION SELECT t.relid FROM given
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(given.oid::pg_catalog.regclass) AS t)
    UNION SELECT next.oid FROM reached
    JOIN pg_catalog.pg_constraint AS c ON c.confrelid OPERATOR(pg_catalog.=) reached.oid
    CROSS JOIN LATERAL (
        SELECT c.conrelid
        UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.conrelid::pg_catalog.regclass) AS t) AS next (oid)
    WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confupdtype OPERATOR(pg_catalog.=) 'c'
), found (name, is_deferred) AS (
    SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname),
        NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS o
            WHERE o.connamespace OPERATOR(pg_catalog.=) c.connamespace
            AND o.conname OPERATOR(pg_catalog.=) c.conname AND NOT o.condeferred)
    FROM reached JOIN pg_catalog.pg_constraint AS c ON c.conrelid OPERATOR(pg_catalog.=) reached.oid
        OR c.confrelid OPERATOR(pg_catalog.=) reached.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.connamespace
    WHERE c.condeferrable
)
SELECT pg_catalog.jsonb_build_object(
    'all', (SELECT pg_catalog.string_agg(d.name, ', ') FROM found AS d),
    'deferred', (SELECT pg_catalog.string_agg(d.name, ', ') FROM found AS d WHERE d.is_deferred)
    )::pg_catalog.text
WHERE $1::pg_catalog.oid IS NOT NULL";
