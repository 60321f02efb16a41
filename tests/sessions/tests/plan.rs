//! Statements that are kept, prepared or in a function, while the table that they name by its row type is altered,
//! renamed or replaced: they do as core's own SELECT from the table does.

use pg_once_sessions::{Database, Failure, Rows, Session, database};
use std::sync::{Mutex, MutexGuard, PoisonError};

const KEY: &str = r#"'{"owner": "Ada"}'"#;

const TABLE: &str = "CREATE TABLE account (
    id int PRIMARY KEY, note text DEFAULT 'n', hits int DEFAULT 3, owner text UNIQUE,
    balance numeric(12,2) NOT NULL DEFAULT 100, debt numeric(12,2) NOT NULL DEFAULT 7)";

/// What is done to the table, in one transaction.
const CHANGES: [(&str, &str); 13] = [
    (
        "ADD COLUMN",
        "ALTER TABLE account ADD COLUMN extra int NOT NULL DEFAULT 5",
    ),
    ("DROP COLUMN", "ALTER TABLE account DROP COLUMN note"),
    (
        "DROP and ADD",
        "ALTER TABLE account DROP COLUMN note, ADD COLUMN remark text DEFAULT 'r'",
    ),
    (
        "ALTER TYPE",
        "ALTER TABLE account ALTER COLUMN hits TYPE bigint",
    ),
    (
        "ALTER TYPE to another length",
        "ALTER TABLE account ALTER COLUMN balance TYPE numeric(14,3)",
    ),
    (
        "RENAME COLUMN",
        "ALTER TABLE account RENAME COLUMN hits TO strikes",
    ),
    (
        "swap of columns",
        "ALTER TABLE account RENAME COLUMN balance TO former;
         ALTER TABLE account RENAME COLUMN debt TO balance;
         ALTER TABLE account RENAME COLUMN former TO debt",
    ),
    (
        "swap of tables",
        "ALTER TABLE account RENAME TO account_old;
         CREATE TABLE account (LIKE account_old INCLUDING ALL);
         INSERT INTO account (id, owner, balance) VALUES (2, 'Ada', 1100)",
    ),
    (
        "swap of tables with other columns",
        "ALTER TABLE account RENAME TO account_old;
         CREATE TABLE account (balance numeric(12,2), id bigint, owner text PRIMARY KEY);
         INSERT INTO account VALUES (1100, 2, 'Ada')",
    ),
    (
        "swap of tables, the former one dropped",
        "ALTER TABLE account RENAME TO account_old;
         CREATE TABLE account (LIKE account_old INCLUDING ALL);
         INSERT INTO account (id, owner, balance) VALUES (2, 'Ada', 1100);
         DROP TABLE account_old CASCADE",
    ),
    (
        "swap by SET SCHEMA",
        "CREATE SCHEMA old;
         ALTER TABLE account SET SCHEMA old;
         CREATE TABLE account (LIKE old.account INCLUDING ALL);
         INSERT INTO account (id, owner, balance) VALUES (2, 'Ada', 1100)",
    ),
    (
        "DROP and CREATE",
        "DROP TABLE account CASCADE;
         CREATE TABLE account (id int, owner text, balance numeric(12,2));
         INSERT INTO account VALUES (2, 'Ada', 1100)",
    ),
    ("an index", "CREATE INDEX ON account (hits)"),
];

/// A statement of ours and what core's own has to say beside it.
struct Form {
    name: &'static str,
    ours: String,
    cores: String,
}

/// Statements that a client prepares.
fn prepared() -> Vec<Form> {
    let core = |columns: &str| {
        format!("SELECT {columns} FROM account WHERE owner = 'Ada' FOR NO KEY UPDATE")
    };
    let lock = format!("with_row_lock(NULL::account, {KEY})");
    let found = format!("find_or_create(NULL::account, {KEY}, lock => true)");
    [
        ("*", format!("SELECT * FROM {lock}"), core("*")),
        (
            "one column",
            format!("SELECT balance FROM {lock}"),
            core("balance"),
        ),
        (
            "an expression",
            format!("SELECT balance + 1 FROM {lock}"),
            core("balance + 1"),
        ),
        (
            "another name",
            format!("SELECT p.balance FROM {lock} AS p"),
            core("balance"),
        ),
        (
            "a condition",
            format!("SELECT id FROM {lock} WHERE balance > 0"),
            core("id"),
        ),
        (
            "regclass",
            format!("SELECT * FROM {lock} WHERE 'account'::regclass IS NOT NULL"),
            core("*"),
        ),
        (
            "(entity).*",
            format!("SELECT (entity).* FROM {found}"),
            core("*"),
        ),
        (
            "(entity).balance",
            format!("SELECT (entity).balance FROM {found}"),
            core("balance"),
        ),
        (
            "found",
            format!("SELECT created FROM {found}"),
            core("false"),
        ),
        (
            "json",
            format!("SELECT to_jsonb(r) FROM {lock} AS r"),
            core("to_jsonb(account)"),
        ),
        (
            "a list",
            format!("SELECT to_jsonb({lock})"),
            core("to_jsonb(account)"),
        ),
        (
            "WITH",
            format!("WITH held AS MATERIALIZED (SELECT * FROM {lock}) SELECT balance FROM held"),
            core("balance"),
        ),
        (
            "LATERAL",
            format!("SELECT r.* FROM generate_series(1, 1), LATERAL {lock} AS r"),
            core("*"),
        ),
        (
            "UNION",
            format!("SELECT balance FROM {lock} UNION ALL SELECT balance FROM {lock}"),
            "SELECT balance FROM account WHERE owner = 'Ada'
             UNION ALL SELECT balance FROM account WHERE owner = 'Ada'"
                .to_owned(),
        ),
        (
            "defined, *",
            "SELECT * FROM with_account('Ada')".to_owned(),
            core("*"),
        ),
        (
            "defined, one column",
            "SELECT balance FROM with_account('Ada')".to_owned(),
            core("balance"),
        ),
        (
            "defined, a list",
            "SELECT to_jsonb(with_account('Ada'))".to_owned(),
            core("to_jsonb(account)"),
        ),
    ]
    .into_iter()
    .map(|(name, ours, cores)| Form { name, ours, cores })
    .collect()
}

/// Bodies of functions in PL/pgSQL.
fn bodies() -> Vec<Form> {
    let core = "SELECT * INTO held FROM account WHERE owner = 'Ada' FOR NO KEY UPDATE; RETURN to_jsonb(held);";
    let lock = format!("with_row_lock(NULL::account, {KEY})");
    [
        ("SELECT * INTO", format!("SELECT * INTO held FROM {lock}; RETURN to_jsonb(held);")),
        (
            "INTO STRICT, regclass",
            format!(
                "SELECT * INTO STRICT held FROM {lock} WHERE 'account'::regclass IS NOT NULL;
                 RETURN to_jsonb(held);"
            ),
        ),
        ("held := the call", format!("held := {lock}; RETURN to_jsonb(held);")),
        ("held := a query", format!("held := (SELECT r FROM {lock} AS r); RETURN to_jsonb(held);")),
        (
            "(entity).* INTO",
            format!(
                "SELECT (entity).* INTO held FROM find_or_create(NULL::account, {KEY}, lock => true);
                 RETURN to_jsonb(held);"
            ),
        ),
        ("defined", "SELECT * INTO held FROM with_account('Ada'); RETURN to_jsonb(held);".to_owned()),
        (
            "PERFORM and SELECT",
            format!(
                "PERFORM FROM {lock}; SELECT * INTO held FROM account WHERE owner = 'Ada';
                 RETURN to_jsonb(held);"
            ),
        ),
    ]
    .into_iter()
    .map(|(name, ours)| Form {
        name,
        ours,
        cores: core.to_owned(),
    })
    .collect()
}

/// Whether another table has the name after the change.
fn replaces(ddl: &str) -> bool {
    ddl.contains("CREATE TABLE")
}

impl Form {
    /// A call of a function in PL/pgSQL that has this for its body.
    fn into_function(self, owner: &mut Session) -> Self {
        let call = |body: &str, by: &str| {
            let function: String = self
                .name
                .chars()
                .filter(char::is_ascii_alphabetic)
                .collect();
            let function = format!("{by}_{}", function.to_lowercase());
            owner.run(&format!(
                "CREATE FUNCTION {function}() RETURNS jsonb LANGUAGE plpgsql AS $$
                 DECLARE held account; BEGIN {body} END $$"
            ));
            format!("SELECT {function}()")
        };
        let mut call = call;
        Form {
            name: self.name,
            ours: call(&self.ours, "ours"),
            cores: call(&self.cores, "cores"),
        }
    }

    /// Whether ours told what core told. A function of define_row_lock says in its declaration which table it is
    /// of, so it is to be defined again after another one has the name; and a variable of a type that was dropped
    /// is PL/pgSQL's own affair.
    fn agrees(&self, ours: &Told, cores: &Told, ddl: &str) -> bool {
        if self.name.starts_with("defined") && replaces(ddl) {
            return ours.has_sqlstate(&["55000", "42883", "0A000"]);
        }
        ours == cores || (ours.has_sqlstate(&["XX000"]) && cores.has_sqlstate(&["XX000"]))
    }
}

impl Form {
    /// Whether the statement is told to be prepared again. One that uses no column need not be.
    fn is_outdated(&self, ours: &Told, ddl: &str) -> bool {
        ours.is_outdated() && (replaces(ddl) || self.name != "found")
    }
}

/// A form, kept by one session for ours and by another for core's.
struct Kept {
    form: Form,
    sessions: [Session; 2],
}

impl Kept {
    fn prepared(database: &Database, form: Form) -> Self {
        let mut sessions: [Session; 2] = database.sessions();
        for (session, statement) in sessions.iter_mut().zip([&form.ours, &form.cores]) {
            session.run(&format!("PREPARE p AS {statement}"));
        }
        Self { form, sessions }
    }

    fn executed(database: &Database, form: Form) -> Self {
        let mut kept = Self::prepared(database, form);
        for _ in 0..2 {
            let (ours, cores) = kept.told();
            assert_eq!(ours, cores, "{}", kept.form.name);
        }
        kept
    }

    fn run(&mut self, sql: &str) {
        for session in &mut self.sessions {
            session.run(sql);
        }
    }

    fn send(&mut self) {
        for session in &mut self.sessions {
            session.send("EXECUTE p");
        }
    }

    fn wait(&mut self) {
        for session in &mut self.sessions {
            session.waits();
        }
    }

    /// What ours and core's have told.
    fn answered(&mut self) -> (Told, Told) {
        let [ours, cores] = &mut self.sessions;
        (told(ours.answer()), told(cores.answer()))
    }

    fn told(&mut self) -> (Told, Told) {
        let [ours, cores] = &mut self.sessions;
        let ours = told(ours.try_run("EXECUTE p"));
        (ours, told(cores.try_run("EXECUTE p")))
    }
}

/// What an answer comes to: rows, or what drivers look at in an error.
#[derive(Debug, PartialEq)]
enum Told {
    Rows(Rows),
    Error {
        sqlstate: String,
        message: String,
        routine: Option<String>,
    },
}

impl Told {
    fn has_sqlstate(&self, wanted: &[&str]) -> bool {
        matches!(self, Told::Error { sqlstate, .. } if wanted.contains(&sqlstate.as_str()))
    }

    fn is_outdated(&self) -> bool {
        matches!(self, Told::Error { sqlstate, message, routine }
            if sqlstate == "0A000"
                && message == "cached plan must not change result type"
                && routine.as_deref() == Some("RevalidateCachedQuery"))
    }
}

fn told(answer: Result<Rows, Failure>) -> Told {
    match answer {
        Ok(rows) => Told::Rows(rows),
        Err(Failure::Refused(error)) => Told::Error {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            routine: error.routine().map(str::to_owned),
        },
        Err(failure) => panic!("{failure:?}"),
    }
}

/// One test at a time: each has half of the connections that the server takes.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A database with the table, and a row in it.
fn scene() -> (Database<'static>, Session) {
    let database = database();
    let mut owner = database.session();
    owner.run(TABLE);
    owner.run("INSERT INTO account (id, owner) VALUES (1, 'Ada')");
    owner.run("SELECT once.define_row_lock('with_account', 'account', '{owner}')");
    (database, owner)
}

fn change(owner: &mut Session, change: &str) {
    owner.run(&format!("BEGIN; {change}; COMMIT"));
}

/// What a client's prepared statement returns after a change is what core's own returns, each time.
#[test]
fn a_prepared_statement_does_as_a_select_from_the_table() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (title, ddl) in CHANGES {
        let (database, mut owner) = scene();
        let mut kept: Vec<Kept> = prepared()
            .into_iter()
            .map(|form| Kept::executed(&database, form))
            .collect();
        change(&mut owner, ddl);
        for kept in &mut kept {
            for call in 1..=3 {
                let (ours, cores) = kept.told();
                if !kept.form.agrees(&ours, &cores, ddl) {
                    wrong.push(format!(
                        "{title}: {}, call {call}: {ours:?}, core {cores:?}",
                        kept.form.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same for what a function in PL/pgSQL keeps.
#[test]
fn a_function_does_as_one_with_a_select_from_the_table() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (title, ddl) in CHANGES {
        let (database, mut owner) = scene();
        let mut kept: Vec<Kept> = bodies()
            .into_iter()
            .map(|body| Kept::executed(&database, body.into_function(&mut owner)))
            .collect();
        change(&mut owner, ddl);
        for kept in &mut kept {
            for call in 1..=3 {
                let (ours, cores) = kept.told();
                if !kept.form.agrees(&ours, &cores, ddl) {
                    wrong.push(format!(
                        "{title}: {}, call {call}: {ours:?}, core {cores:?}",
                        kept.form.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A call that has to wait for the change returns what core's own returns, or is told to be prepared again as core
/// tells it; the next one returns what core's own returns.
#[test]
fn a_call_that_waits_for_the_change_is_right_or_told_to_prepare_again() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (title, ddl) in CHANGES
        .into_iter()
        .filter(|(title, _)| *title != "an index")
    {
        let (database, mut owner) = scene();
        let mut kept = everything(&database, &mut owner);
        for end in ["ROLLBACK", "COMMIT"] {
            owner.run(&format!("BEGIN; {ddl}"));
            for kept in &mut kept {
                kept.send();
                kept.wait();
            }
            owner.run(end);
            for kept in &mut kept {
                let name = kept.form.name;
                let (ours, cores) = kept.answered();
                // Core's own statement finds nothing where its snapshot is older than a table that was written anew.
                let is_empty = cores == Told::Rows(Vec::new()) && matches!(ours, Told::Rows(_));
                let is_right = match end {
                    "ROLLBACK" => ours == cores,
                    _ => is_empty || kept.form.agrees(&ours, &cores, ddl),
                };
                if !(is_right || end == "COMMIT" && kept.form.is_outdated(&ours, ddl)) {
                    wrong.push(format!(
                        "{title}, {end}: {name}, waiting: {ours:?}, core {cores:?}"
                    ));
                }
            }
        }
        for kept in &mut kept {
            let (ours, cores) = kept.told();
            if !kept.form.agrees(&ours, &cores, ddl) {
                wrong.push(format!(
                    "{title}: {}, after it: {ours:?}, core {cores:?}",
                    kept.form.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same in a transaction that began before the change, where the session has not heard of it.
#[test]
fn a_call_in_an_older_transaction_is_right_or_told_to_prepare_again() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (title, ddl) in CHANGES {
        let (database, mut owner) = scene();
        let mut kept = everything(&database, &mut owner);
        for kept in &mut kept {
            kept.run("BEGIN");
            kept.run("SELECT 1");
        }
        change(&mut owner, ddl);
        for kept in &mut kept {
            let name = kept.form.name;
            let [ours, cores] = kept.sessions.each_mut().map(|session| {
                let answer = told(session.try_run("EXECUTE p"));
                session.run("ROLLBACK");
                answer
            });
            if !(kept.form.agrees(&ours, &cores, ddl) || kept.form.is_outdated(&ours, ddl)) {
                wrong.push(format!("{title}: {name}: {ours:?}, core {cores:?}"));
            }
        }
        for kept in &mut kept {
            let (ours, cores) = kept.told();
            if !kept.form.agrees(&ours, &cores, ddl) {
                wrong.push(format!(
                    "{title}: {}, after it: {ours:?}, core {cores:?}",
                    kept.form.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A statement that is prepared before the change and executed after it for the first time, in a session that has not
/// called anything for this table. Another table of the name is seen only where the statement depends on the table.
#[test]
fn a_statement_that_was_never_executed_is_right_or_told_to_prepare_again() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (title, ddl) in CHANGES {
        let (database, mut owner) = scene();
        let sees = |name: &str| name == "regclass" || !replaces(ddl) && !name.contains("entity");
        let forms = prepared()
            .into_iter()
            .filter(|form| sees(form.name) && !form.name.starts_with("defined"));
        let mut kept: Vec<Kept> = forms.map(|form| Kept::prepared(&database, form)).collect();
        change(&mut owner, ddl);
        for kept in &mut kept {
            let name = kept.form.name;
            let (ours, cores) = kept.told();
            if !(kept.form.agrees(&ours, &cores, ddl) || kept.form.is_outdated(&ours, ddl)) {
                wrong.push(format!("{title}: {name}: {ours:?}, core {cores:?}"));
            }
            let (ours, cores) = kept.told();
            if !kept.form.agrees(&ours, &cores, ddl) {
                wrong.push(format!(
                    "{title}: {name}, after it: {ours:?}, core {cores:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All forms, each executed twice.
fn everything(database: &Database, owner: &mut Session) -> Vec<Kept> {
    let functions = bodies().into_iter().map(|body| body.into_function(owner));
    let forms: Vec<Form> = prepared().into_iter().chain(functions).collect();
    forms
        .into_iter()
        .map(|form| Kept::executed(database, form))
        .collect()
}

/// The check of a domain, which runs while defaults are read, adds a column: the row is another one than the
/// query was planned for.
#[test]
fn a_table_that_the_call_itself_alters_is_noticed() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE FUNCTION widen(value int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'w') THEN
                 ALTER TABLE t ADD COLUMN w text;
             END IF;
             RETURN true;
         END $$;
         CREATE DOMAIN widening AS int CHECK (widen(VALUE));
         CREATE TABLE t (k int PRIMARY KEY, v widening)",
    );
    session.run("SELECT once.define_row_lock('lock_t', 't', '{k}')");
    for call in [
        "with_row_lock(NULL::t, '{\"k\": 1}', '{\"v\": 5}')",
        "lock_t(1, defaults => '{\"v\": 5}')",
    ] {
        session.refused(&format!("SELECT * FROM {call}"), "0A000");
        assert_eq!(session.number("SELECT count(*) FROM t"), 0, "{call}");
    }
}
