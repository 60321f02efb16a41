//! What others have attached to a table runs with the rights of the table's owner while duplicates
//! are found and merged, or is refused: never with those of the caller.

use pg_once_sessions::{Cluster, Database, Failure, Rows, Session, database};

const FIND: &str = "SELECT copies FROM once.find_duplicates('shop.payments', '{k}')";
const PLAN: &str = "SELECT once.guard_plan('shop.payments', '{k}')";
const MERGES: [&str; 2] = [
    "SELECT removed, references_moved FROM once.merge_duplicates('shop.payments', '{k}')",
    "SELECT removed, references_moved FROM once.merge_duplicates('shop.payments', '{k}', dry_run => false)",
];

/// A database with the table shop.payments, in which 1 and 2 are duplicates, and a session for each
/// role. A function that is called `spy` in somebody's schema leaves a trace of the role it ran as,
/// which a rollback does not remove.
struct Scene<'a> {
    database: Database<'a>,
    admin: Session,
    shop: Session,
    eve: Session,
    mallory: Session,
    app: Session,
}

const ROLES: [&str; 4] = ["shop", "eve", "mallory", "app"];

impl Scene<'static> {
    fn new() -> Self {
        Self::of(database())
    }
}

impl<'a> Scene<'a> {
    fn of(database: Database<'a>) -> Self {
        let mut admin = database.session();
        let named = |role: &str| format!("{role}_{}", database.name);
        for role in ROLES {
            let name = named(role);
            admin.run(&format!(
                "CREATE ROLE {name} LOGIN;
                 CREATE SCHEMA {role} AUTHORIZATION {name};
                 GRANT USAGE ON SCHEMA {role} TO PUBLIC"
            ));
        }
        for role in ROLES
            .map(named)
            .iter()
            .map(String::as_str)
            .chain(["postgres"])
        {
            admin.run(&format!(
                "CREATE SEQUENCE public.ran_{role}; GRANT ALL ON SEQUENCE public.ran_{role} TO PUBLIC"
            ));
        }
        let session = |role| database.session_as(&named(role));
        let (mut shop, mut eve, mut mallory, app) = (
            session("shop"),
            session("eve"),
            session("mallory"),
            session("app"),
        );
        for (session, schema) in [
            (&mut shop, "shop"),
            (&mut eve, "eve"),
            (&mut mallory, "mallory"),
        ] {
            session.run(&format!(
                "CREATE FUNCTION {schema}.spy() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
                     PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass);
                     RETURN coalesce(NEW, OLD); END $$;
                 CREATE FUNCTION {schema}.spied() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
                     PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass);
                     RETURN true; END $$"
            ));
        }
        shop.run(&format!(
            "CREATE TABLE shop.payments (id int PRIMARY KEY, k text);
             INSERT INTO shop.payments VALUES (1, 'a'), (2, 'a');
             GRANT SELECT, REFERENCES ON shop.payments TO {eve}",
            eve = named("eve")
        ));
        Self {
            database,
            admin,
            shop,
            eve,
            mallory,
            app,
        }
    }

    fn name(&self, role: &str) -> String {
        format!("{role}_{}", self.database.name)
    }

    /// The roles that spies ran as since this was asked last.
    fn ran(&mut self) -> Vec<&'static str> {
        let mut ran = Vec::new();
        for role in ["shop", "eve", "mallory", "app", "postgres"] {
            let name = match role {
                "postgres" => role.to_owned(),
                role => self.name(role),
            };
            let sequence = format!("public.ran_{name}");
            if self
                .admin
                .is_true(&format!("SELECT is_called FROM {sequence}"))
            {
                ran.push(role);
                self.admin
                    .run(&format!("ALTER SEQUENCE {sequence} RESTART"));
            }
        }
        ran
    }

    /// A table of eve's that points at both payments.
    fn child(&mut self) {
        self.eve.run(
            "CREATE TABLE eve.child (id int PRIMARY KEY, payment int REFERENCES shop.payments);
             INSERT INTO eve.child VALUES (1, 1), (2, 2);
             GRANT ALL ON eve.child TO PUBLIC",
        );
    }

    /// The duplicates as they were in the beginning, by those who own them.
    fn again(&mut self) {
        let (shop, eve) = (self.name("shop"), self.name("eve"));
        self.admin.run(&format!(
            "SET session_replication_role = replica; SET ROLE {shop};
             INSERT INTO shop.payments (id, k) VALUES (2, 'a') ON CONFLICT DO NOTHING; SET ROLE {eve}"
        ));
        if self
            .admin
            .is_true("SELECT to_regclass('eve.child') IS NOT NULL")
        {
            self.admin
                .run("UPDATE eve.child SET payment = 2 WHERE id = 2");
        }
        self.admin.run("RESET ROLE; RESET session_replication_role");
    }

    /// Each caller makes each call, of duplicates as they were in the beginning.
    fn each(&mut self, calls: &[&str], check: impl Fn(&str, &str, Result<Rows, Failure>)) {
        for caller in ["shop", "app", "postgres"] {
            for call in calls {
                self.again();
                let session = self.session(caller);
                let result = session.try_run(call);
                check(caller, call, result);
                let current = self.session(caller).value("SELECT current_user");
                assert!(current.starts_with(caller), "{current} after {call}");
            }
        }
    }

    fn session(&mut self, role: &str) -> &mut Session {
        match role {
            "shop" => &mut self.shop,
            "eve" => &mut self.eve,
            "mallory" => &mut self.mallory,
            "app" => &mut self.app,
            _ => &mut self.admin,
        }
    }

    /// Whether AFTER triggers run as the role that fired them.
    fn keeps_roles(&mut self) -> bool {
        self.admin
            .is_true("SELECT current_setting('server_version_num')::int >= 180000")
    }

    fn grant_to_app(&mut self) {
        let app = self.name("app");
        self.admin.run(&format!(
            "GRANT SELECT, UPDATE, DELETE ON shop.payments TO {app}"
        ));
    }
}

fn answered(caller: &str, call: &str, result: Result<Rows, Failure>) {
    match result {
        Ok(rows) => assert_eq!(rows.len(), 1, "{caller}: {call}"),
        Err(failure) => panic!("{caller}: {call}: {failure:?}"),
    }
}

/// 42501, and what the message names.
fn refused(names: &'static str) -> impl Fn(&str, &str, Result<Rows, Failure>) {
    move |caller, call, result| match result {
        Err(Failure::Refused(error)) => {
            assert_eq!(error.code().code(), "42501", "{caller}: {call}: {error:?}");
            assert!(
                error.message().contains(names),
                "{caller}: {call}: {error:?}"
            );
        }
        other => panic!("{caller}: {call}: {other:?}"),
    }
}

#[test]
fn a_trigger_of_a_referencing_table_runs_as_its_owner() {
    let mut scene = Scene::new();
    scene.child();
    scene.grant_to_app();
    for timing in [
        "TRIGGER t BEFORE UPDATE ON eve.child FOR EACH ROW",
        "TRIGGER t AFTER UPDATE ON eve.child FOR EACH ROW",
        "TRIGGER t BEFORE UPDATE ON eve.child FOR EACH STATEMENT",
        "CONSTRAINT TRIGGER t AFTER UPDATE ON eve.child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
        "CONSTRAINT TRIGGER t AFTER UPDATE ON eve.child DEFERRABLE FOR EACH ROW",
    ] {
        scene
            .eve
            .run(&format!("CREATE {timing} EXECUTE FUNCTION eve.spy()"));
        scene.each(&MERGES, answered);
        assert_eq!(scene.ran(), ["eve"], "{timing}");
        scene.again();
        scene.admin.begin();
        scene.admin.run("SET CONSTRAINTS ALL DEFERRED");
        scene.admin.run(MERGES[1]);
        scene.admin.commit();
        assert_eq!(scene.ran(), ["eve"], "{timing}");
        assert_eq!(
            scene
                .admin
                .number("SELECT count(*) FROM eve.child WHERE payment = 1"),
            2
        );
        scene.eve.run("DROP TRIGGER t ON eve.child");
    }
}

#[test]
fn triggers_of_the_table_run_as_its_owner_and_the_archive_names_the_caller() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    for timing in [
        "TRIGGER t BEFORE DELETE ON shop.payments FOR EACH ROW",
        "CONSTRAINT TRIGGER t AFTER DELETE ON shop.payments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
    ] {
        scene
            .shop
            .run(&format!("CREATE {timing} EXECUTE FUNCTION shop.spy()"));
        scene.each(&MERGES, answered);
        assert_eq!(scene.ran(), ["shop"], "{timing}");
        scene.shop.run("DROP TRIGGER t ON shop.payments");
    }
    let merged_by = scene
        .admin
        .rows("SELECT DISTINCT merged_by FROM once.merged_rows ORDER BY 1");
    let callers = [scene.name("app"), "postgres".to_owned(), scene.name("shop")];
    assert_eq!(merged_by, callers.map(|name| vec![Some(name)]));
}

/// Whoever was granted TRIGGER on a table gets neither the owner's rights nor the caller's.
#[test]
fn triggers_of_strangers_are_refused() {
    let mut scene = Scene::new();
    scene.child();
    scene.grant_to_app();
    let mallory = scene.name("mallory");
    scene.shop.run(&format!(
        "GRANT SELECT, UPDATE, DELETE, TRIGGER ON shop.payments TO {mallory}"
    ));
    scene
        .mallory
        .run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA mallory TO PUBLIC");
    for (trigger, table) in [
        (
            "BEFORE DELETE ON shop.payments FOR EACH ROW EXECUTE FUNCTION mallory.spy()",
            "shop.payments",
        ),
        (
            "AFTER DELETE ON shop.payments FOR EACH STATEMENT EXECUTE FUNCTION mallory.spy()",
            "shop.payments",
        ),
        (
            "BEFORE UPDATE ON eve.child FOR EACH ROW EXECUTE FUNCTION mallory.spy()",
            "eve.child",
        ),
        (
            "BEFORE UPDATE ON eve.child FOR EACH ROW WHEN (mallory.spied())
             EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "eve.child",
        ),
    ] {
        scene.mallory.run(&format!("CREATE TRIGGER evil {trigger}"));
        scene.each(&MERGES, refused("trigger evil"));
        for merge in MERGES {
            let error = scene.mallory.refused(merge, "42501");
            assert!(error.message().contains("trigger evil"), "{error:?}");
        }
        assert_eq!(scene.ran(), [""; 0], "{trigger}");
        scene.each(&[FIND], answered);
        scene
            .admin
            .run(&format!("ALTER TABLE {table} DISABLE TRIGGER evil"));
        scene.each(&MERGES, answered);
        assert_eq!(scene.ran(), [""; 0], "{trigger}");
        scene.admin.run(&format!("DROP TRIGGER evil ON {table}"));
    }
    // It could be made SECURITY INVOKER while the merge waits for a row.
    scene.mallory.run(
        "ALTER FUNCTION mallory.spy() SECURITY DEFINER;
         CREATE TRIGGER evil BEFORE DELETE ON shop.payments FOR EACH ROW EXECUTE FUNCTION mallory.spy()",
    );
    scene.each(&MERGES, refused("trigger evil"));
    let shop = scene.name("shop");
    scene.admin.run(&format!("GRANT {shop} TO {mallory}"));
    scene.each(&MERGES, answered);
    assert_eq!(
        scene.ran(),
        ["mallory"],
        "mallory has the rights of shop anyway"
    );
}

/// Before version 18 AFTER triggers that fire by a cascade run as the role of the statement.
#[test]
fn a_trigger_that_fires_by_a_cascade_runs_as_the_owner_of_its_table() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    let (eve, app) = (scene.name("eve"), scene.name("app"));
    scene.shop.run(&format!(
        "CREATE TABLE shop.part (payment int REFERENCES shop.payments DEFERRABLE INITIALLY DEFERRED, n int, PRIMARY KEY (payment, n));
         INSERT INTO shop.part VALUES (1, 1), (2, 2);
         GRANT ALL ON shop.part TO {app}; GRANT REFERENCES ON shop.part TO {eve}"
    ));
    scene.eve.run(
        "CREATE TABLE eve.leaf (payment int, n int,
             FOREIGN KEY (payment, n) REFERENCES shop.part ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO eve.leaf VALUES (2, 2);
         CREATE TRIGGER t BEFORE UPDATE ON eve.leaf FOR EACH ROW EXECUTE FUNCTION eve.spy();
         CREATE CONSTRAINT TRIGGER d AFTER UPDATE ON eve.leaf DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION eve.spy()",
    );
    if !scene.keeps_roles() {
        for caller in ["shop", "app", "postgres"] {
            for merge in MERGES {
                let error = scene.session(caller).refused(merge, "42501");
                assert!(
                    error.message().contains("trigger d of table eve.leaf"),
                    "{error:?}"
                );
            }
        }
        assert_eq!(scene.ran(), [""; 0]);
        scene.eve.run("DROP TRIGGER d ON eve.leaf");
    }
    for caller in ["app", "postgres"] {
        for merge in MERGES {
            assert_eq!(scene.session(caller).rows(merge).len(), 1, "{caller}");
            assert_eq!(scene.ran(), ["eve"], "{caller}: {merge}");
        }
        assert_eq!(scene.admin.number("SELECT payment FROM eve.leaf"), 1);
        scene.admin.run(
            "INSERT INTO shop.payments VALUES (2, 'a');
             UPDATE shop.part SET payment = 2 WHERE n = 2",
        );
        scene.ran();
    }
}

/// A DELETE that finds no rows fires triggers of the statement.
#[test]
fn a_trigger_that_fires_by_a_cascade_without_rows_does_not_run_as_the_caller() {
    for action in ["CASCADE", "SET NULL", "SET DEFAULT"] {
        let mut scene = Scene::new();
        scene.grant_to_app();
        scene.eve.run(&format!(
            "CREATE TABLE eve.child (id int PRIMARY KEY, payment int REFERENCES shop.payments ON DELETE {action});
             GRANT ALL ON eve.child TO PUBLIC;
             CREATE TRIGGER t AFTER DELETE OR UPDATE ON eve.child FOR EACH STATEMENT EXECUTE FUNCTION eve.spy()"
        ));
        if scene.keeps_roles() {
            scene.each(&MERGES, answered);
            assert_eq!(scene.ran(), ["eve"], "{action}");
        } else {
            scene.each(&MERGES, refused("trigger t of table eve.child"));
            assert_eq!(scene.ran(), [""; 0], "{action}");
        }
    }
}

/// The type's owner can give it a cast at any moment, so it is the owner that decides.
#[test]
fn types_of_strangers_are_refused() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    let shop = scene.name("shop");
    scene.eve.run(
        "CREATE TYPE eve.mood AS ENUM ('good');
         CREATE TYPE eve.pair AS (one int, mood eve.mood);
         CREATE DOMAIN eve.moods AS eve.mood[];
         CREATE FUNCTION eve.tell(eve.mood) RETURNS json LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass);
             RETURN '1'; END $$;
         CREATE CAST (eve.mood AS json) WITH FUNCTION eve.tell(eve.mood);
         CREATE FUNCTION eve.far(text, text) RETURNS float8 IMMUTABLE LANGUAGE sql RETURN 1;
         CREATE TYPE eve.span AS RANGE (SUBTYPE = text, SUBTYPE_DIFF = eve.far)",
    );
    let calls = [FIND, MERGES[0], MERGES[1]];
    for (kind, value) in [
        ("eve.mood", "'good'"),
        ("eve.mood[]", "'{good}'"),
        ("eve.pair", "(1, 'good')"),
        ("eve.pair[]", "ARRAY[(1, 'good')::eve.pair]"),
        ("eve.moods", "'{good}'"),
        ("eve.span", "'[a,b]'"),
        ("eve.span_multirange", "'{[a,b]}'"),
        ("eve.span", "'[a,b]'"),
    ]
    .into_iter()
    .filter(|(kind, _)| !kind.ends_with("multirange"))
    {
        scene.admin.run(&format!(
            "ALTER TABLE shop.payments ADD COLUMN x {kind}; UPDATE shop.payments SET x = {value}"
        ));
        scene.each(&calls, refused("of column x"));
        scene.each(&[PLAN], |caller, call, result| match result {
            Err(failure) => assert_eq!(failure.sqlstate(), "55000", "{caller}: {call}"),
            Ok(_) => panic!("there are duplicates"),
        });
        assert_eq!(scene.ran(), [""; 0], "{kind}");
        scene.admin.run("ALTER TABLE shop.payments DROP COLUMN x");
    }

    scene.admin.run(&format!(
        "ALTER TYPE eve.mood OWNER TO {shop};
         ALTER TABLE shop.payments ADD COLUMN x eve.mood; UPDATE shop.payments SET x = 'good'"
    ));
    scene.each(&calls, refused("cast of type eve.mood"));
    assert_eq!(scene.ran(), [""; 0], "the function is still eve's");
    scene.admin.run(&format!(
        "ALTER FUNCTION eve.tell(eve.mood) OWNER TO {shop}"
    ));
    scene.each(&calls, answered);
    assert_eq!(scene.ran(), ["shop"]);
}

#[test]
fn the_constraint_of_a_strangers_domain_is_refused() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    let (shop, app) = (scene.name("shop"), scene.name("app"));
    scene.eve.run(
        "CREATE FUNCTION eve.fine(int) RETURNS boolean LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT eve.spied()';
         CREATE DOMAIN eve.number AS int CHECK (eve.fine(VALUE))",
    );
    scene.shop.run(&format!(
        "CREATE TABLE shop.part (payment eve.number REFERENCES shop.payments);
         INSERT INTO shop.part VALUES (2);
         GRANT ALL ON shop.part TO {app}"
    ));
    scene.ran();
    scene.each(&MERGES, refused("of column payment of table shop.part"));
    scene
        .admin
        .run(&format!("ALTER DOMAIN eve.number OWNER TO {shop}"));
    scene.each(
        &MERGES,
        refused("constraint number_check of the domain of column payment of table shop.part"),
    );
    assert_eq!(scene.ran(), [""; 0]);
}

#[test]
fn partitions_of_strangers_are_refused() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    let (shop, eve, app) = (scene.name("shop"), scene.name("eve"), scene.name("app"));
    scene.shop.run(&format!(
        "CREATE TABLE shop.part (payment int REFERENCES shop.payments, n int) PARTITION BY LIST (n);
         CREATE TABLE shop.part1 PARTITION OF shop.part FOR VALUES IN (1);
         CREATE TABLE shop.part2 PARTITION OF shop.part FOR VALUES IN (2);
         INSERT INTO shop.part VALUES (1, 1), (2, 2);
         GRANT ALL ON shop.part TO {app}"
    ));
    scene
        .admin
        .run(&format!("ALTER TABLE shop.part2 OWNER TO {eve}"));
    scene.eve.run(
        "CREATE TRIGGER t BEFORE UPDATE ON shop.part2 FOR EACH ROW EXECUTE FUNCTION eve.spy()",
    );
    scene.each(&MERGES, refused("partition shop.part2 of table shop.part"));
    assert_eq!(scene.ran(), [""; 0]);
    scene.admin.run(&format!("GRANT {shop} TO {eve}"));
    assert_eq!(scene.admin.rows(MERGES[1]).len(), 1);
    assert_eq!(scene.ran(), ["shop"], "eve has the rights of shop anyway");
}

#[test]
fn each_right_is_needed() {
    let mut scene = Scene::new();
    let app = scene.name("app");
    scene.eve.run(
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment int REFERENCES shop.payments, secret text);
         INSERT INTO eve.child VALUES (1, 1), (2, 2)",
    );
    let grants = [
        "USAGE ON SCHEMA shop",
        "USAGE ON SCHEMA eve",
        "SELECT ON shop.payments",
        "UPDATE ON shop.payments",
        "DELETE ON shop.payments",
        "SELECT (id, payment) ON eve.child",
        "UPDATE (payment) ON eve.child",
    ];
    scene
        .admin
        .run("REVOKE USAGE ON SCHEMA shop, eve FROM PUBLIC");
    let eve = scene.name("eve");
    scene
        .admin
        .run(&format!("GRANT USAGE ON SCHEMA shop TO {eve}"));
    for grant in grants {
        scene.admin.run(&format!("GRANT {grant} TO {app}"));
    }
    let by_oid = |call: &str, oid: &str| call.replace("'shop.payments'", oid);
    let oid = scene.admin.value("SELECT 'shop.payments'::regclass::oid");
    for grant in grants {
        scene.admin.run(&format!("REVOKE {grant} FROM {app}"));
        for merge in MERGES {
            let error = scene.app.refused(&by_oid(merge, &oid), "42501");
            assert!(
                error.message().starts_with("permission denied for"),
                "{grant}: {error:?}"
            );
        }
        let reads = ["USAGE ON SCHEMA shop", "SELECT ON shop.payments"];
        for call in [FIND, PLAN].map(|call| by_oid(call, &oid)) {
            match (scene.app.try_run(&call), reads.contains(&grant)) {
                (Err(failure), true) => assert_eq!(failure.sqlstate(), "42501", "{grant}: {call}"),
                (Err(failure), false) => assert_eq!(failure.sqlstate(), "55000", "{grant}: {call}"),
                (Ok(rows), false) => assert_eq!(rows.len(), 1, "{grant}: {call}"),
                (Ok(_), true) => panic!("{grant}: {call}"),
            }
        }
        scene.admin.run(&format!("GRANT {grant} TO {app}"));
    }
    for merge in MERGES {
        assert_eq!(scene.app.rows(merge).len(), 1);
    }
    assert_eq!(
        scene
            .admin
            .number("SELECT count(*) FROM eve.child WHERE payment = 1"),
        2
    );
    assert_eq!(scene.admin.number("SELECT count(*) FROM shop.payments"), 1);
}

#[test]
fn row_security_counts_for_the_caller_alone() {
    let mut scene = Scene::new();
    scene.child();
    let again = "INSERT INTO shop.payments VALUES (2, 'a') ON CONFLICT DO NOTHING;
                 UPDATE eve.child SET payment = 2 WHERE id = 2";
    scene.grant_to_app();
    scene.shop.run(
        "ALTER TABLE shop.payments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY one ON shop.payments USING (id = 1)",
    );
    for merge in MERGES {
        for caller in ["shop", "app"] {
            let error = scene.session(caller).refused(merge, "42501");
            assert!(error.message().contains("row security"), "{error:?}");
        }
        scene.admin.run(again);
        assert_eq!(
            scene.admin.rows(merge).len(),
            1,
            "a superuser sees all rows"
        );
    }
    scene.admin.run(again);
    // In one session, so that what was planned for one is at hand for the other.
    let shop = scene.name("shop");
    let mut session = scene.database.session();
    for _ in 0..3 {
        assert_eq!(session.rows(FIND).len(), 1);
        session.run(&format!("SET ROLE {shop}"));
        assert_eq!(session.rows(FIND).len(), 0, "a policy hides one of the two");
        session.run("RESET ROLE");
    }
    scene
        .shop
        .run("ALTER TABLE shop.payments DISABLE ROW LEVEL SECURITY");
    scene.eve.run(
        "ALTER TABLE eve.child ENABLE ROW LEVEL SECURITY;
         CREATE POLICY none ON eve.child USING (false)",
    );
    for caller in ["shop", "app"] {
        scene.session(caller).refused(MERGES[1], "42501");
    }
    assert_eq!(scene.admin.rows(MERGES[1]).len(), 1);
}

/// Where row security applies, policies run as the caller, as in any SELECT of theirs.
#[test]
fn a_policy_that_calls_a_strangers_function_is_refused() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    scene.shop.run(
        "ALTER TABLE shop.payments ENABLE ROW LEVEL SECURITY;
         CREATE POLICY evil ON shop.payments USING (shop.spied())",
    );
    let error = scene.app.refused(FIND, "42501");
    assert!(error.message().contains("policy evil"), "{error:?}");
    assert_eq!(scene.ran(), [""; 0]);
    scene
        .admin
        .run("ALTER FUNCTION shop.spied() OWNER TO postgres");
    assert_eq!(scene.app.rows(FIND).len(), 1);
    assert_eq!(scene.ran(), ["app"]);
}

/// What a table's owner has written into it runs as that owner.
#[test]
fn constraints_and_indexes_run_as_the_owner() {
    let mut scene = Scene::new();
    scene.child();
    scene.grant_to_app();
    scene.eve.run(
        "CREATE FUNCTION eve.fine(int) RETURNS int IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             PERFORM eve.spied(); RETURN $1; END $$;
         ALTER TABLE eve.child ADD CHECK (eve.fine(payment) > 0),
             ADD COLUMN twice int GENERATED ALWAYS AS (eve.fine(payment)) STORED;
         CREATE INDEX ON eve.child (eve.fine(payment)) WHERE eve.fine(1) = 1",
    );
    scene.ran();
    scene.each(&MERGES, answered);
    assert_eq!(scene.ran(), ["eve"]);
    scene.shop.run(
        "CREATE FUNCTION shop.fine(int) RETURNS int IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             PERFORM shop.spied(); RETURN $1; END $$;
         CREATE INDEX ON shop.payments (k) WHERE shop.fine(1) = 1",
    );
    scene.eve.run("DROP TABLE eve.child");
    scene.ran();
    scene.each(&[FIND, MERGES[0], MERGES[1]], answered);
    assert_eq!(scene.ran(), ["shop"]);
}

/// Nothing that a trigger leaves in the session runs later with the caller's rights.
#[test]
fn triggers_leave_nothing_in_the_callers_session() {
    let mut scene = Scene::new();
    scene.child();
    scene.eve.run(
        "CREATE TABLE eve.log (n int);
         CREATE CONSTRAINT TRIGGER later AFTER INSERT ON eve.log DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION eve.spy();
         CREATE FUNCTION eve.leave() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE UPDATE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.leave()",
    );
    for deed in [
        "INSERT INTO eve.log VALUES (1)",
        "EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT eve.spied()'",
        "CREATE TEMP TABLE payments (id int)",
        "EXECUTE 'PREPARE p AS SELECT 1'",
        "SET ROLE postgres",
        "RESET ROLE",
    ] {
        scene.eve.run(&format!(
            "CREATE OR REPLACE FUNCTION eve.leave() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
             $$ BEGIN {deed}; RETURN NEW; END $$"
        ));
        for merge in MERGES {
            match scene.admin.try_run(merge) {
                Err(failure) => assert!(
                    ["42501", "0A000"].contains(&failure.sqlstate()),
                    "{deed}: {failure:?}"
                ),
                Ok(rows) => panic!("{deed}: {rows:?}"),
            }
        }
        assert_eq!(scene.ran(), [""; 0], "{deed}");
    }
    scene.eve.run(
        "CREATE OR REPLACE FUNCTION eve.leave() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
         $$ BEGIN PERFORM set_config('search_path', 'eve', false); RETURN NEW; END $$",
    );
    let before = scene.admin.value("SHOW search_path");
    scene.admin.run(MERGES[1]);
    assert_eq!(scene.admin.value("SHOW search_path"), before);
}

/// The cursor in which the merge reads the table is nobody else's.
#[test]
fn triggers_read_nothing_from_the_cursor_of_the_merge() {
    let mut scene = Scene::new();
    scene.child();
    let eve = scene.name("eve");
    scene
        .shop
        .run(&format!("REVOKE SELECT ON shop.payments FROM {eve}"));
    scene.eve.run(
        "CREATE FUNCTION eve.peep() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
         DECLARE name text; names text[];
         BEGIN
             names := ARRAY(SELECT c.name FROM pg_cursors c)
                 || ARRAY(SELECT '<unnamed portal ' || n || '>' FROM generate_series(1, 99) n);
             FOREACH name IN ARRAY names LOOP
                 BEGIN
                     EXECUTE format('FETCH 1 FROM %I', name);
                     PERFORM eve.spied();
                 EXCEPTION WHEN OTHERS THEN NULL; END;
             END LOOP;
             RETURN NEW;
         END $$;
         CREATE TRIGGER t BEFORE UPDATE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.peep()",
    );
    scene.each(
        &["SELECT removed FROM once.merge_duplicates('shop.payments', '{k}')"],
        |caller, call, result| {
            if caller != "app" {
                answered(caller, call, result);
            }
        },
    );
    assert_eq!(scene.ran(), [""; 0]);
}

/// Functions of the owner find what they name without a schema as in sessions of the owner.
#[test]
fn the_callers_search_path_does_not_lead_the_owners_functions() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    scene.shop.run(
        "CREATE TABLE shop.audit (id int, by text);
         CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO audit VALUES (OLD.id, current_user); RETURN OLD; END $$;
         CREATE TRIGGER t BEFORE DELETE ON shop.payments FOR EACH ROW EXECUTE FUNCTION shop.note()",
    );
    let (shop, app) = (scene.name("shop"), scene.name("app"));
    scene
        .admin
        .run(&format!("ALTER ROLE {shop} SET search_path = shop, public"));
    scene.app.run(
        "CREATE FUNCTION app.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass); RETURN NEW; END $$;
         CREATE TABLE app.audit (id int, by text);
         CREATE TRIGGER t BEFORE INSERT ON app.audit FOR EACH ROW EXECUTE FUNCTION app.spy();
         CREATE TEMP TABLE audit (id int, by text);
         CREATE TRIGGER t BEFORE INSERT ON pg_temp.audit FOR EACH ROW EXECUTE FUNCTION app.spy();
         GRANT ALL ON app.audit, pg_temp.audit TO PUBLIC;
         SET search_path = app, public",
    );
    for merge in MERGES {
        let refused = scene.app.refused(merge, "42501");
        assert_eq!(
            refused.message(),
            "function shop.note() has no search_path of its own"
        );
    }
    scene
        .shop
        .run("ALTER FUNCTION shop.note() SET search_path = shop, pg_temp");
    scene.app.run(MERGES[1]);
    assert_eq!(scene.ran(), [""; 0]);
    assert_eq!(
        scene.admin.rows("SELECT by FROM shop.audit"),
        [vec![Some(shop)]]
    );
    assert_eq!(scene.app.value("SHOW search_path"), "app, public");
    assert_eq!(scene.app.value("SELECT current_user"), app);
}

/// Where the owner is a superuser, and the caller owns a schema of that role's search_path.
#[test]
fn the_callers_operators_do_not_lead_the_owners_functions() {
    let mut scene = Scene::new();
    let app = scene.name("app");
    scene.admin.run(&format!(
        "GRANT CREATE ON SCHEMA public TO {app};
         CREATE TABLE public.orders (id int PRIMARY KEY, status varchar, k int);
         INSERT INTO public.orders VALUES (1, 'new', 1), (2, 'new', 1);
         CREATE FUNCTION public.watched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF OLD.status = 'paid' THEN RAISE 'paid'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER t BEFORE DELETE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.watched();
         GRANT SELECT, UPDATE, DELETE ON public.orders TO {app}"
    ));
    scene.app.run(
        "CREATE FUNCTION public.evil(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass); RETURN false; END $$;
         CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.evil)",
    );
    let merge =
        |dry_run| format!("SELECT once.merge_duplicates('orders', '{{k}}', dry_run => {dry_run})");
    for dry_run in [true, false] {
        scene.app.refused(&merge(dry_run), "42501");
    }
    scene
        .admin
        .run("ALTER FUNCTION public.watched() SET search_path = pg_catalog, pg_temp");
    scene.app.run(&merge(false));
    assert_eq!(scene.ran(), [""; 0]);
}

/// What the session has deferred runs as at COMMIT, not as the owner of a function that makes a dry
/// run.
#[test]
fn a_dry_run_gives_no_rights_to_what_is_deferred() {
    let mut scene = Scene::new();
    scene.shop.run(
        "CREATE FUNCTION shop.look() RETURNS bigint SECURITY DEFINER SET search_path = pg_catalog, pg_temp LANGUAGE sql AS
             $$ SELECT count(*) FROM once.merge_duplicates('shop.payments', '{k}') $$",
    );
    scene.eve.run(
        "CREATE TABLE eve.log (n int);
         CREATE CONSTRAINT TRIGGER later AFTER INSERT ON eve.log DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION eve.spy();
         BEGIN; INSERT INTO eve.log VALUES (1)",
    );
    assert_eq!(scene.eve.number("SELECT shop.look()"), 1);
    scene.eve.run("COMMIT");
    assert_eq!(scene.ran(), ["eve"]);
}

/// Foreign keys that are checked at COMMIT are merged by those who do not own the tables, and stay
/// what they are.
#[test]
fn deferred_foreign_keys_stay_deferred() {
    let mut scene = Scene::new();
    scene.grant_to_app();
    scene.eve.run(
        "CREATE TABLE eve.child (id int PRIMARY KEY, payment int REFERENCES shop.payments DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO eve.child VALUES (1, 1), (2, 2);
         GRANT ALL ON eve.child TO PUBLIC",
    );
    scene.each(&MERGES, answered);
    for caller in ["app", "postgres"] {
        scene.again();
        let session = scene.session(caller);
        session.begin();
        assert_eq!(session.rows(MERGES[1]).len(), 1);
        session.run("UPDATE eve.child SET payment = 7 WHERE id = 2");
        session.refused("COMMIT", "23503");
    }
    // A constraint of the same name that is not deferrable.
    scene.eve.run(
        "ALTER TABLE eve.child RENAME CONSTRAINT child_payment_fkey TO twice;
         CREATE TABLE eve.other (payment int CONSTRAINT twice REFERENCES shop.payments)",
    );
    scene.admin.run("GRANT ALL ON eve.other TO PUBLIC");
    scene.each(&MERGES, answered);
}

/// Superusers trust one another.
#[test]
fn tables_of_a_superuser_run_as_that_superuser() {
    let cluster = Cluster::start(&[]);
    let mut scene = Scene::of(cluster.database());
    let app = scene.name("app");
    scene.admin.run(&format!(
        "CREATE ROLE boss SUPERUSER LOGIN;
         CREATE TABLE public.thing (id int PRIMARY KEY, k text);
         INSERT INTO thing VALUES (1, 'a'), (2, 'a');
         CREATE TRIGGER t BEFORE DELETE ON thing FOR EACH ROW EXECUTE FUNCTION eve.spy();
         GRANT SELECT, UPDATE, DELETE ON thing TO {app}"
    ));
    let merge = "SELECT removed FROM once.merge_duplicates('public.thing', '{k}')";
    scene.app.refused(merge, "42501");
    scene.admin.refused(merge, "42501");
    assert_eq!(scene.ran(), [""; 0]);
    scene.admin.run("ALTER FUNCTION eve.spy() OWNER TO boss");
    assert_eq!(scene.app.rows(merge).len(), 1);
    assert_eq!(scene.ran(), ["postgres"]);
}

/// The plan is text that somebody runs under a search_path of their own.
#[test]
fn the_plan_runs_no_operator_of_strangers() {
    let mut scene = Scene::new();
    let eve = scene.database.name.clone();
    scene.admin.run(&format!(
        "GRANT CREATE ON SCHEMA public TO eve_{eve};
         ALTER TABLE shop.payments OWNER TO CURRENT_USER;
         UPDATE shop.payments SET k = id::text"
    ));
    for (left, right) in [
        ("oid", "regclass"),
        ("oid", "oid"),
        ("text", "text"),
        ("text", "unknown"),
        ("name", "text"),
        ("name", "name"),
        ("regclass", "regclass"),
    ] {
        let parameter = if right == "unknown" { "varchar" } else { right };
        scene.eve.run(&format!(
            "CREATE FUNCTION public.spied({left}, {parameter}) RETURNS boolean LANGUAGE plpgsql COST 0.00001 AS $$ BEGIN
                 PERFORM nextval(format('public.%I', 'ran_' || current_user)::regclass);
                 RETURN false; END $$;
             CREATE OPERATOR public.= (LEFTARG = {left}, RIGHTARG = {parameter}, FUNCTION = public.spied)"
        ));
    }
    for path in ["public", "public, pg_catalog"] {
        scene.admin.run(&format!("SET search_path = {path}"));
        let plan = scene.admin.rows(PLAN);
        assert!(!plan.is_empty());
        for statement in plan.into_iter().flatten().flatten() {
            scene.admin.run(&statement);
        }
        scene
            .admin
            .run("ALTER TABLE shop.payments DROP CONSTRAINT payments_k_key");
    }
    assert!(
        scene
            .admin
            .is_true("SELECT NOT is_called FROM public.ran_postgres"),
        "an operator of eve ran"
    );
}
