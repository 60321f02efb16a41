//! Whose rights count: claims work for every role and the tables behind them
//! for none, rows are found and created with the caller's rights, nobody can
//! plant what the extension's code would pick up, and a database owner who is
//! no superuser can install, dump and restore.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::time::{Duration, Instant};

#[test]
fn a_role_without_any_grant_claims() {
    let database = database();
    let mut anyone = ordinary(&database);
    assert!(anyone.is_true("SELECT claim_once('ns', 'k')"));
    assert!(!anyone.is_true("SELECT claim_once('ns', 'k')"));
    assert!(anyone.is_true("SELECT claim_once_per('1 hour', 'ns', 'p', 'q')"));
    assert!(anyone.is_true("SELECT is_claimed('ns', 'k')"));
    assert!(anyone.is_true("SELECT unclaim('ns', 'k')"));
    assert_eq!(anyone.value("SELECT current_user"), role(&database));
}

#[test]
fn nobody_reads_or_writes_the_claims_directly() {
    let database = database();
    let mut anyone = ordinary(&database);
    assert!(anyone.is_true("SELECT claim_once('ns', 'k')"));
    for statement in [
        "SELECT * FROM once.claim",
        "SELECT count(*) FROM once.claim",
        "SELECT key FROM once.claim",
        "INSERT INTO once.claim DEFAULT VALUES",
        "UPDATE once.claim SET key = 'other'",
        "DELETE FROM once.claim",
        "TRUNCATE once.claim",
        "COPY once.claim TO STDOUT",
        "DO $$ BEGIN LOCK TABLE once.claim IN ACCESS SHARE MODE; END $$",
        "CREATE TABLE once.mine ()",
        "CREATE TABLE spy (place_high int2, place_low int2, hash_high int4, hash_low int8, FOREIGN KEY (place_high, place_low, hash_high, hash_low) REFERENCES once.claim)",
    ] {
        anyone.refused(statement, "42501");
    }
    let rights = database.session().rows(
        "SELECT relname, relacl FROM pg_class
         WHERE relnamespace = 'once'::regnamespace AND relkind IN ('r', 'p', 'S')
           AND has_any_column_privilege('public', oid, 'SELECT, INSERT, UPDATE, REFERENCES')",
    );
    assert!(rights.is_empty(), "{rights:?}");
}

/// Acting as the owner ends with the extension's own statement, whatever
/// happens in it.
#[test]
fn the_callers_identity_comes_back_after_an_error() {
    let database = database();
    let mut anyone = ordinary(&database);
    let mut winner = database.session();
    winner.begin();
    assert!(winner.is_true("SELECT claim_once('ns', 'k')"));
    anyone.run("SET lock_timeout = '50ms'; BEGIN; SAVEPOINT s");
    anyone.refused("SELECT claim_once('ns', 'k')", "55P03");
    anyone.run("ROLLBACK TO s");
    assert_eq!(anyone.value("SELECT current_user"), role(&database));
    anyone.refused("SELECT * FROM once.claim", "42501");
    anyone.run("ROLLBACK TO s");
    anyone.run(
        "DO $$ BEGIN
             PERFORM claim_once('ns', 'k');
         EXCEPTION WHEN lock_not_available THEN
             ASSERT NOT has_table_privilege('once.claim', 'SELECT');
         END $$",
    );
    anyone.commit();
    anyone.refused("SELECT claim_once('', 'k')", "22023");
    anyone.refused("SELECT * FROM once.claim", "42501");
}

#[test]
fn each_missing_grant_is_refused() {
    const CALLS: [&str; 3] = [
        "SELECT n FROM with_row_lock(NULL::app.account, '{\"key\": \"new\"}')",
        "SELECT created FROM find_or_create(NULL::app.account, '{\"key\": \"new\"}', lock => true)",
        "SELECT created FROM with_payment_lock(1, 'new')",
    ];
    let database = database();
    let (name, mut owner, mut caller) = (role(&database), database.session(), ordinary(&database));
    owner.run("CREATE SCHEMA app");
    for table in [
        "account (key text UNIQUE",
        "payments (service_id int, line_item_id text",
    ] {
        owner.run(&format!(
            "CREATE TABLE app.{table}, n int NOT NULL DEFAULT 0)"
        ));
    }
    caller.run("SET search_path = app, public");
    let grants = [
        "USAGE ON SCHEMA app",
        "SELECT ON ALL TABLES IN SCHEMA app",
        "INSERT ON ALL TABLES IN SCHEMA app",
        "UPDATE ON ALL TABLES IN SCHEMA app",
    ];
    for grant in grants {
        owner.run(&format!("GRANT {grant} TO {name}"));
    }
    for grant in grants {
        owner.run(&format!("REVOKE {grant} FROM {name}"));
        for call in CALLS {
            // Without USAGE the search_path does not lead to the schema.
            let is_hidden = grant.starts_with("USAGE") && call.contains("payment");
            caller.refused(call, if is_hidden { "42P01" } else { "42501" });
        }
        owner.run(&format!("GRANT {grant} TO {name}"));
    }
    assert_eq!(owner.number("SELECT count(*) FROM app.account"), 0);
    assert_eq!(owner.number("SELECT count(*) FROM app.payments"), 0);
    caller.begin();
    for call in CALLS {
        assert_eq!(caller.rows(call).len(), 1, "{call}");
    }
    caller.commit();

    for lacking in ["SELECT", "UPDATE"] {
        owner.run(&format!(
            "REVOKE {lacking} ON ALL TABLES IN SCHEMA app FROM {name}"
        ));
        for call in CALLS {
            caller.refused(call, "42501");
        }
        owner.run(&format!(
            "GRANT {lacking} ON ALL TABLES IN SCHEMA app TO {name}"
        ));
    }
    owner.run(&format!(
        "REVOKE INSERT ON ALL TABLES IN SCHEMA app FROM {name}"
    ));
    for call in CALLS {
        assert_eq!(
            caller.rows(call).len(),
            1,
            "an existing row needs no INSERT: {call}"
        );
    }
    owner.run(&format!(
        "REVOKE UPDATE ON ALL TABLES IN SCHEMA app FROM {name}"
    ));
    let find = "SELECT created FROM find_or_create(NULL::app.account, '{\"key\": \"new\"}')";
    assert!(!caller.is_true(find), "finding needs SELECT only");
}

/// A session that has just created a row looks at the index before it asks
/// for the row.
#[test]
fn a_look_at_the_index_gives_no_rights() {
    let database = database();
    let (name, mut session, _caller) = (role(&database), database.session(), ordinary(&database));
    session.run(&format!(
        "CREATE TABLE account (key text UNIQUE, n int DEFAULT 0);
         GRANT SELECT, INSERT ON account TO {name}"
    ));
    let take =
        |key| format!("SELECT n FROM with_row_lock(NULL::account, '{{\"key\": \"{key}\"}}')");
    session.run(&take("a"));
    session.run(&format!("SET ROLE {name}"));
    for key in ["a", "b"] {
        session.refused(&take(key), "42501");
    }
    session.run(&format!(
        "RESET ROLE; GRANT UPDATE (n) ON account TO {name}; SET ROLE {name}"
    ));
    session.run(&take("b"));
    session.run(&take("c"));
    session.run("RESET ROLE");
    assert_eq!(session.number("SELECT count(*) FROM account"), 3);
}

#[test]
fn a_column_that_may_not_be_written_is_refused() {
    let database = database();
    let (name, mut owner, mut caller) = (role(&database), database.session(), ordinary(&database));
    owner.run(&format!(
        "CREATE TABLE account (key text, n int DEFAULT 0);
         GRANT SELECT, UPDATE, INSERT (key) ON account TO {name}"
    ));
    let call = "SELECT n FROM with_row_lock(NULL::account, '{\"key\": \"a\"}'";
    caller.refused(&format!("{call}, '{{\"n\": 5}}')"), "42501");
    assert_eq!(caller.number(&format!("{call})")), 0);
}

#[test]
fn a_row_hidden_by_row_security_is_refused_in_bounded_time() {
    let database = database();
    let mut caller = caller_under_row_security(&database, "USING (owner = current_user)");
    caller.run("SET statement_timeout = '20s'");
    for call in [
        "with_row_lock(NULL::account, '{\"key\": \"hidden\"}')",
        "with_row_lock(NULL::account, '{\"key\": \"hidden\"}', timeout => '10 s')",
        "find_or_create(NULL::account, '{\"key\": \"hidden\"}')",
    ] {
        let called = Instant::now();
        caller.refused(&format!("SELECT * FROM {call}"), "42501");
        assert!(called.elapsed() < Duration::from_secs(5), "{call}");
    }
    let mine = "SELECT owner FROM with_row_lock(NULL::account, '{\"key\": \"mine\"}')";
    assert_eq!(caller.value(mine), role(&database));
    assert_eq!(caller.value(mine), role(&database));
}

#[test]
fn an_insert_that_row_security_refuses_is_refused() {
    let database = database();
    let mut caller =
        caller_under_row_security(&database, "USING (true) WITH CHECK (owner = 'nobody')");
    for call in [
        "with_row_lock(NULL::account, '{\"key\": \"new\"}')",
        "find_or_create(NULL::account, '{\"key\": \"new\"}')",
    ] {
        caller.refused(&format!("SELECT * FROM {call}"), "42501");
    }
    let existing = "SELECT owner FROM with_row_lock(NULL::account, '{\"key\": \"hidden\"}')";
    assert_eq!(caller.value(existing), "another");
    assert_eq!(database.session().number("SELECT count(*) FROM account"), 1);
}

/// A row that may be seen and not updated cannot be locked.
#[test]
fn a_row_that_row_security_does_not_let_update_is_refused() {
    let database = database();
    let mut caller = caller_under_row_security(&database, "FOR SELECT USING (true)");
    let lock = "SELECT * FROM with_row_lock(NULL::account, '{\"key\": \"hidden\"}')";
    caller.refused(lock, "42501");
    let find = "SELECT created FROM find_or_create(NULL::account, '{\"key\": \"hidden\"}')";
    assert!(!caller.is_true(find));
}

/// Every function, operator, type and relation of pg_catalog that SQL can
/// imitate is planted in a schema that comes before it, and the relations and
/// types in the temporary schema too. Whatever of it runs writes to a table.
#[test]
fn nothing_planted_in_the_search_path_is_picked_up() {
    let database = database();
    let Planted {
        mut owner,
        mut caller,
    } = planted(&database);
    for _ in 0..2 {
        for call in [
            "public.claim_once('ns', 'k')",
            "public.claim_once('ns', 'k', 'l')",
            "public.claim_once('ns', 4711, 'l')",
            "public.claim_once_per('1 hour', 'ns', 'p')",
            "public.claim_once_per('1 microsecond', 'ns', 'q')",
            "public.is_claimed('ns', 'k')",
            "public.unclaim('ns', 'k', 'l')",
            "public.once_key(1, 2.5, true, '2026-01-01'::pg_catalog.timestamptz, 'x'::pg_catalog.bytea)",
            "public.with_row_lock(NULL::public.account, '{\"key\": \"a\"}', '{\"n\": 1}')",
            "public.with_row_lock(NULL::public.account, '{\"key\": \"a\"}', timeout => '1 s')",
            "public.with_row_lock(NULL::public.account, '{\"at\": \"2026-01-01\", \"sum\": 1.0}')",
            "public.with_row_lock(NULL::public.bare, '{\"key\": \"a\", \"sum\": null}')",
            "public.with_row_lock(NULL::public.parts, '{\"key\": \"a\", \"sum\": 2}', timeout => '1 s')",
            "public.find_or_create(NULL::public.parts, '{\"key\": \"b\"}', lock => true)",
            "public.find_or_create(NULL::public.bare, '{\"key\": \"b\"}')",
            "public.with_payment_lock(1, 'A')",
        ] {
            caller.run(&format!("SELECT {call}"));
        }
        caller.refused("SELECT public.claim_once('', 'k')", "22023");
        caller.refused(
            "SELECT public.with_row_lock(NULL::public.bare, '{\"no\": 1}')",
            "42703",
        );
    }
    assert_nothing_ran(&mut owner);
    assert_eq!(owner.number("SELECT count(*) FROM once.claim"), 4);
    for (table, rows) in [("account", 2), ("bare", 2), ("parts", 2), ("payments", 1)] {
        assert_eq!(
            owner.number(&format!("SELECT count(*) FROM {table}")),
            rows,
            "{table}"
        );
    }
}

/// The same for both engines of claims, for work, locks, duplicates and the
/// views, and for administration, called by a superuser.
#[test]
fn nothing_planted_is_picked_up_by_the_rest() {
    let database = database();
    let Planted {
        mut owner,
        mut caller,
    } = planted(&database);
    owner.run(&format!(
        "GRANT CREATE ON SCHEMA public TO {}",
        role(&database)
    ));
    owner.run(
        "INSERT INTO bare SELECT 'twice', 1 FROM generate_series(1, 3);
         INSERT INTO parts SELECT 'twice', 1 FROM generate_series(1, 3);
         CREATE TABLE parent (id int PRIMARY KEY, key text, at timestamptz DEFAULT now());
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
         INSERT INTO parent SELECT n, 'twice' FROM generate_series(1, 3) n;
         INSERT INTO child SELECT n, n FROM generate_series(1, 3) n",
    );
    owner.run(&format!(
        "GRANT ALL ON parent, child TO {}",
        role(&database)
    ));
    for engine in ["direct", "statement"] {
        caller.run(&format!("SET pg_once.claim_engine = {engine}"));
        for call in [
            "public.claim_many('ns', ARRAY['k', 'l', 'm'])",
            "public.try_claim_once('ns', 't', '10 ms', '1 microsecond', 'me')",
            "public.try_claim_once('ns', 'u', '10 ms', '1 hour', 'me')",
            "public.claim_once_per('1 microsecond', 'ns', 'q')",
            "public.claim_once_per('1 microsecond', 'ns', 'q')",
            "public.is_claimed('ns', 'u')",
            "public.unclaim('ns', 'l')",
            "public.begin_once('ns', 'w', '1 microsecond', '{\"b\": 1, \"a\": [1.0]}')",
            "public.begin_once('ns', 'w', '1 hour', '{\"b\": 1, \"a\": [1.0]}')",
            "public.begin_once('ns', 'w', '1 hour', '{}', '1 ms')",
            "public.with_lock('ns', 'l', '10 ms')",
            "public.hold_lock('ns', 'l', shared => true)",
            "public.release_lock('ns', 'l', shared => true)",
            "once.lock_hash('ns', 'l')",
            "once.may_use('ns')",
            "once.define_row_lock('public.with_account', 'public.account', ARRAY['key'])",
            "public.with_account('typed')",
            "once.find_duplicates('public.bare', ARRAY['key', 'sum'])",
            "once.find_duplicates('public.parts', ARRAY['key'])",
            "once.merge_duplicates('public.parent', ARRAY['key'])",
            "once.merge_duplicates('public.parent', ARRAY['key'], 'newest', true, 'at', 5)",
            "once.guard_plan('public.account', ARRAY['key', 'n'])",
            "once.guard_plan('public.payments', ARRAY['service_id', 'line_item_id'])",
        ] {
            caller.run(&format!("SELECT {call}"));
        }
        let token =
            caller.number("SELECT token FROM once.work WHERE key OPERATOR(pg_catalog.=) 'w'");
        for call in ["renew_once", "fence_once", "complete_once", "complete_once"] {
            caller.run(&format!("SELECT public.{call}('ns', 'w', {token})"));
        }
        caller.run("SELECT public.forget_once('ns', 'w')");
        caller.refused(
            &format!("SELECT public.fail_once('ns', 'w', {token})"),
            "55000",
        );
        for view in ["claims", "work", "locks", "stats", "namespaces"] {
            caller.run(&format!("SELECT * FROM once.{view}"));
        }
        caller.run("SELECT * FROM once.check()");
        caller.refused(
            "SELECT once.guard_plan('public.bare', ARRAY['key'])",
            "55000",
        );
    }
    caller.run("SELECT once.merge_duplicates('public.parent', ARRAY['key'], 'oldest', false)");

    owner.run("SET search_path = evil, pg_catalog, public");
    owner.run("UPDATE once.work_record SET expires_at = '2020-01-01'");
    for call in [
        "once.configure('mine', '1 hour', 'postgres')",
        "once.configure('mine', '2 hours')",
        "public.claim_once('mine', 'k')",
        "once.sweep()",
        "once.sweep(1)",
        "once.unconfigure('mine')",
        "once.reset_stats('ns')",
        "once.reset_stats()",
        "once.merge_duplicates('public.bare', ARRAY['key', 'sum'], 'oldest')",
    ] {
        if call.contains("bare") {
            owner.refused(&format!("SELECT {call}"), "55000");
        } else {
            owner.run(&format!("SELECT {call}"));
        }
    }
    owner.run("SELECT * FROM once.check()");
    owner.run("RESET search_path");
    assert_nothing_ran(&mut owner);
    assert_eq!(owner.number("SELECT count(*) FROM parent"), 1);
    assert_eq!(owner.number("SELECT count(DISTINCT parent) FROM child"), 1);
    assert_eq!(owner.number("SELECT count(*) FROM once.work_record"), 0);
}

/// The worker sweeps with a superuser's rights, under the search_path that its
/// database was given.
#[test]
fn nothing_planted_is_picked_up_by_the_worker() {
    let cluster = Cluster::start(&[
        "shared_preload_libraries = 'pg_once'",
        "pg_once.sweep_interval = 1",
    ]);
    let database = cluster.database();
    let Planted {
        mut owner,
        mut caller,
    } = planted(&database);
    for path in ["evil, pg_catalog, public", "evil, pg_temp, pg_catalog"] {
        let name = &database.name;
        owner.run(&format!("ALTER DATABASE {name} SET search_path = {path}"));
        caller.run("SELECT public.claim_once_per('1 microsecond', 'ns', n::pg_catalog.text) FROM pg_catalog.generate_series(1, 2000) n");
        let called = Instant::now();
        while owner.number("SELECT count(*) FROM once.claim") > 0 {
            assert!(called.elapsed() < Duration::from_secs(60), "not swept");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_nothing_ran(&mut owner);
    assert!(!cluster.log().contains("ERROR"), "{}", cluster.log());
}

/// A superuser's session, and one of an ordinary role that has planted.
struct Planted {
    owner: Session,
    caller: Session,
}

fn planted(database: &Database) -> Planted {
    let (name, mut owner, mut caller) = (role(database), database.session(), ordinary(database));
    owner.run(
        "CREATE TABLE account (key text UNIQUE, n int DEFAULT 0, at timestamptz, sum numeric);
         CREATE TABLE bare (key text, sum numeric);
         CREATE TABLE payments (service_id int, line_item_id text);
         CREATE TABLE parts (key text, sum numeric) PARTITION BY LIST (key);
         CREATE TABLE rest PARTITION OF parts DEFAULT",
    );
    owner.run(&format!(
        "GRANT ALL ON account, bare, payments, parts, rest TO {name}"
    ));
    owner.run(&format!(
        "GRANT CREATE, TEMP ON DATABASE {} TO {name}",
        database.name
    ));
    caller.run(PLANT);
    for (planted, schema, least) in [
        ("pg_proc", "pronamespace", 2500),
        ("pg_operator", "oprnamespace", 1000),
        ("pg_class", "relnamespace", 100),
    ] {
        let count = format!("SELECT count(*) FROM {planted} WHERE {schema} = 'evil'::regnamespace");
        assert!(owner.number(&count) > least, "{planted}");
    }
    caller.run("SET search_path = evil, pg_catalog, public; SET row_security = on");
    assert_eq!(
        caller.value("SELECT lower('x')"),
        "planted",
        "the plants work"
    );
    caller.run("TRUNCATE evil.probe");
    Planted { owner, caller }
}

fn assert_nothing_ran(owner: &mut Session) {
    let planted = owner.rows("SELECT DISTINCT what FROM evil.probe");
    assert!(planted.is_empty(), "picked up: {planted:?}");
}

#[test]
fn hostile_identifiers_are_only_names() {
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE victim (id int); INSERT INTO victim VALUES (1)");
    for index in ["", ", UNIQUE (\"k\"\"; DROP TABLE victim; --\")"] {
        for (schema, table) in [
            ("S p\"ace", "t\"; DROP TABLE victim; --"),
            ("select", "table"),
            ("ünï", "$1"),
            ("a.b", "%s %I $$"),
        ] {
            let name = format!("{}.{}", quoted(schema), quoted(table));
            session.run(&format!("CREATE SCHEMA {}", quoted(schema)));
            session.run(&format!(
                "CREATE TABLE {name} (\"k\"\"; DROP TABLE victim; --\" text, \"once_row\" int,
                     \"x'y\\\" int DEFAULT 3{index})"
            ));
            let key =
                r#"{"k\"; DROP TABLE victim; --": "v'; DROP TABLE victim; --", "once_row": 1}"#;
            let key = if index.is_empty() {
                key.to_owned()
            } else {
                key.replace(", \"once_row\": 1", "")
            };
            let key = key.replace('\'', "''");
            let take = format!("SELECT (with_row_lock(NULL::{name}, '{key}')).\"x'y\\\"");
            assert_eq!(session.value(&take), "3", "{name}");
            assert_eq!(session.value(&take), "3", "{name}");
            let find = format!(
                "SELECT created FROM find_or_create(NULL::{name}, '{key}', '{{\"x''y\\\\\": 4}}')"
            );
            assert!(!session.is_true(&find), "{name}");
            session.refused(
                &format!(
                    "SELECT with_row_lock(NULL::{name}, '{{\"x\\\"; DROP TABLE victim; --\": 1}}')"
                ),
                "42703",
            );
            session.run(&format!("DROP SCHEMA {} CASCADE", quoted(schema)));
        }
    }
    session.run("CREATE SCHEMA \"p; DROP\"; CREATE TABLE \"p; DROP\".\"pay\"\"ments\" (service_id int, line_item_id text)");
    session.run("SET pg_once.payment_table = '\"p; DROP\".\"pay\"\"ments\"'");
    assert!(session.is_true("SELECT created FROM with_payment_lock(1, 'A')"));
    session.run("SET pg_once.payment_table = 'victim; DROP TABLE victim'");
    session
        .try_run("SELECT with_payment_lock(1, 'A')")
        .unwrap_err();
    assert_eq!(session.number("SELECT count(*) FROM victim"), 1);
}

#[test]
fn a_database_owner_installs_dumps_and_restores() {
    let owned = owned_database();
    let Owned {
        cluster,
        name,
        mut session,
    } = owned;
    session.run("CREATE EXTENSION pg_once");
    session.run("CREATE TABLE counter (key text PRIMARY KEY, n int DEFAULT 0)");
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
    assert!(session.is_true("SELECT claim_once_per('1 day', 'ns', 'a', 'b')"));
    session.run("SELECT * FROM with_row_lock(NULL::counter, '{\"key\": \"a\"}', '{\"n\": 7}')");
    restored_like(&cluster, &name, "alice");
    session.run("DROP EXTENSION pg_once");
    assert_eq!(
        session.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'once'"),
        0
    );
    session.run("CREATE EXTENSION pg_once");
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
}

#[test]
fn a_superuser_dumps_and_restores() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    session.run("CREATE TABLE counter (key text PRIMARY KEY, n int DEFAULT 0)");
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
    assert!(session.is_true("SELECT claim_once_per('1 day', 'ns', 'a', 'b')"));
    session.run("SELECT * FROM with_row_lock(NULL::counter, '{\"key\": \"a\"}', '{\"n\": 7}')");
    restored_like(&cluster, &database.name, "postgres");
}

#[test]
fn a_schema_of_that_name_is_not_taken_over() {
    let Owned {
        cluster,
        name,
        mut session,
    } = owned_database();
    session.run("CREATE SCHEMA once; CREATE TABLE once.claim (ns text)");
    let error = session.refused("CREATE EXTENSION pg_once", "42P06");
    assert!(error.hint().is_some());
    let mut superuser = cluster.connect(&name);
    assert!(
        superuser
            .refused("CREATE EXTENSION pg_once", "42P06")
            .hint()
            .is_some()
    );
    session.run("DROP SCHEMA once CASCADE; CREATE EXTENSION pg_once");
}

/// Its functions would come before those that others have made under the same names.
#[test]
fn a_schema_of_the_server_is_refused() {
    let Owned {
        cluster,
        name,
        mut session,
    } = owned_database();
    let mut superuser = cluster.connect(&name);
    for schema in ["pg_catalog", "information_schema"] {
        for session in [&mut session, &mut superuser] {
            let create = format!("CREATE EXTENSION pg_once SCHEMA {schema}");
            assert!(session.refused(&create, "0A000").hint().is_some());
        }
    }
    session.run("CREATE EXTENSION pg_once");
}

#[test]
fn functions_live_in_the_chosen_schema() {
    let database = database();
    let mut session = database.session();
    session.run(
        "DROP EXTENSION pg_once; CREATE SCHEMA pgonce; CREATE EXTENSION pg_once SCHEMA pgonce",
    );
    session.run("CREATE TABLE counter (key text, n int DEFAULT 0)");
    session.refused("SELECT claim_once('ns', 'k')", "42883");
    assert!(session.is_true("SELECT pgonce.claim_once('ns', 'k')"));
    assert!(session.is_true("SELECT pgonce.is_claimed('ns', 'k')"));
    let take = "SELECT n FROM pgonce.with_row_lock(NULL::counter, '{\"key\": \"a\"}')";
    assert_eq!(session.number(take), 0);
}

/// The name of this database's ordinary role: roles belong to the cluster.
fn role(database: &Database) -> String {
    format!("anyone_{}", database.name)
}

fn ordinary(database: &Database) -> Session {
    let name = role(database);
    database.session().run(&format!("CREATE ROLE {name} LOGIN"));
    database.session_as(&name)
}

/// A table with one row of another owner, and a session under this policy.
fn caller_under_row_security(database: &Database, policy: &str) -> Session {
    let name = role(database);
    let caller = ordinary(database);
    database.session().run(&format!(
        "CREATE TABLE account (key text UNIQUE, owner text NOT NULL DEFAULT current_user);
         INSERT INTO account VALUES ('hidden', 'another');
         ALTER TABLE account ENABLE ROW LEVEL SECURITY;
         CREATE POLICY theirs ON account {policy};
         GRANT ALL ON account TO {name}"
    ));
    caller
}

/// A cluster with a database of alice, who is no superuser, and her session.
struct Owned {
    cluster: Cluster,
    name: String,
    session: Session,
}

fn owned_database() -> Owned {
    let cluster = Cluster::start(&[]);
    cluster.connect("postgres").run("CREATE ROLE alice LOGIN");
    let name = cluster.database_like("OWNER alice TEMPLATE template0").name;
    let session = cluster.connect_as("alice", &name);
    Owned {
        cluster,
        name,
        session,
    }
}

/// Dumps a database, restores it in a fresh one, both as this role, and finds
/// the claims there.
fn restored_like(cluster: &Cluster, name: &str, role: &str) {
    let dump = cluster.path("dump");
    cluster.client("pg_dump", &["-U", role, "-Fc", "-f", &dump, name]);
    let restored = cluster.database_like(&format!("OWNER {role} TEMPLATE template0"));
    cluster.client(
        "pg_restore",
        &["-U", role, "--exit-on-error", "-d", &restored.name, &dump],
    );
    let mut session = restored.session_as(role);
    assert!(!session.is_true("SELECT claim_once('ns', 'k')"));
    assert!(!session.is_true("SELECT claim_once_per('1 day', 'ns', 'a', 'b')"));
    assert!(session.is_true("SELECT is_claimed('ns', 'a', 'b')"));
    assert!(session.is_true("SELECT claim_once('ns', 'new')"));
    let take = "SELECT n FROM with_row_lock(NULL::counter, '{\"key\": \"a\"}')";
    assert_eq!(session.number(take), 7);
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const PLANT: &str = include_str!("plant.sql");
