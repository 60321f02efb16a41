//! The extension acts as the owner of its tables: only on its own tables, and only for itself.

use pg_once_sessions::{Database, Session, database};

/// Tables of another one under the names of the extension's own.
const PLANTED: &str = "CREATE SCHEMA once;
    CREATE TABLE once.claim (place_high int2, place_low int2, hash_high int4, hash_low int8, claimed_at timestamptz,
        ns text, key text, expires_at timestamptz, owner uuid,
        PRIMARY KEY (place_high, place_low, hash_high, hash_low));
    CREATE TABLE once.work_record (place_high int2, place_low int2, hash_high int4, hash_low int8, token bigint, begun_at timestamptz,
        lease_until timestamptz, finished_at timestamptz, expires_at timestamptz, request uuid,
        attempt integer, state \"char\", ns text, key text, result jsonb, worker text,
        PRIMARY KEY (place_high, place_low, hash_high, hash_low));
    CREATE TABLE once.work_floor (one boolean PRIMARY KEY, token bigint);
    CREATE TABLE once.access_policy (ns text PRIMARY KEY, ttl bigint, allowed_role oid);
    CREATE TABLE once.access_policy_shared (ns text PRIMARY KEY, ttl interval, allowed_role text);
    INSERT INTO once.access_policy VALUES ('n', 1);
    INSERT INTO once.claim VALUES (1, 2, 3, 4, now(), 'n', 'x', now(), NULL);
    INSERT INTO once.work_record VALUES (1, 2, 3, 4, 1, now(), NULL, now(), now(), NULL, 1, 'd', 'n', 'x')";

/// A role that may create objects in the database and functions in schema public.
fn stranger(database: &Database, name: &str) -> Session {
    let mut admin = database.session();
    admin.run(&format!(
        "DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT CREATE ON DATABASE {} TO {name};
         GRANT CREATE, USAGE ON SCHEMA public TO {name}",
        database.name
    ));
    database.session_as(name)
}

/// A function that notes whose rights it runs with.
fn spy(session: &mut Session, name: &str, body: &str) {
    session.run(&format!(
        "CREATE TABLE IF NOT EXISTS public.noted (who text);
         GRANT INSERT ON public.noted TO PUBLIC;
         CREATE FUNCTION public.{name} LANGUAGE plpgsql AS
             'BEGIN INSERT INTO public.noted VALUES (current_user); {body}; END'"
    ));
}

fn noted(session: &mut Session) -> String {
    session.value("SELECT coalesce(string_agg(DISTINCT who, ','), '') FROM public.noted")
}

/// A cursor keeps the functions of an extension that is dropped meanwhile.
#[test]
fn planted_tables_are_an_error() {
    for call in [
        "claim_once('n', 'k')",
        "claim_once_per('1 s', 'n', 'k')",
        "claim_many('n', '{k}')",
        "is_claimed('n', 'k')",
        "unclaim('n', 'k')",
        "try_claim_once('n', 'k')",
        "begin_once('n', 'k')",
        "complete_once('n', 'k', 1)",
        "forget_once('n', 'k')",
        "once.may_use('n')",
        "once.configure('n', '1 s')",
        "once.sweep()",
        "once.backlog()",
    ] {
        for engine in ["direct", "statement"] {
            let database = database();
            let mut mallory = stranger(&database, "planter");
            database.session().run("DROP EXTENSION pg_once");
            mallory.run("CREATE EXTENSION pg_once");
            mallory.run(&format!("SET pg_once.claim_engine = {engine}"));
            mallory.begin();
            mallory.run(&format!("DECLARE c CURSOR FOR SELECT {call}"));
            mallory.run("DROP EXTENSION pg_once");
            mallory.run(PLANTED);
            // An interval is of a type that is gone too.
            let has_interval = ["1 s", "try_claim_once", "begin_once"];
            if has_interval.iter().any(|part| call.contains(part)) {
                let error = mallory.refused("FETCH 1 FROM c", "42704");
                assert_eq!(error.message(), "a type was dropped while it was used");
                mallory.rollback();
                continue;
            }
            // This one says so in its row.
            if call == "once.backlog()" {
                let row = mallory.value("FETCH 1 FROM c");
                assert_eq!(
                    row.matches(" does not belong to extension pg_once").count(),
                    4,
                    "{row}"
                );
                mallory.rollback();
                continue;
            }
            let error = mallory.refused("FETCH 1 FROM c", "55000");
            assert!(
                error.message().starts_with("table once.")
                    && error
                        .message()
                        .ends_with(" does not belong to extension pg_once"),
                "{call}: {error}"
            );
            mallory.rollback();
        }
    }
}

/// Who was granted TRIGGER is not granted the owner's rights, nor those of the caller.
#[test]
fn triggers_of_strangers_do_not_run() {
    let calls = [
        ("claim", "SELECT claim_once('n', 'k')", "statement"),
        ("claim", "SELECT claim_once('n', 'k')", "direct"),
        ("access_policy", "SELECT once.configure('n', '1 s')", "auto"),
        (
            "access_policy_shared",
            "SELECT once.configure('n', '1 s')",
            "auto",
        ),
        ("work_record", "SELECT begin_once('n', 'k')", "auto"),
        ("work_floor", "SELECT begin_once('n', 'k')", "auto"),
    ];
    for (table, call, engine) in calls {
        let database = database();
        let [mut admin, mut before] = database.sessions();
        before.run(&format!("SET pg_once.claim_engine = {engine}"));
        before.run("SELECT is_claimed('n', 'k')");
        let mut eve = stranger(&database, "trigger_maker");
        admin.run(&format!("GRANT USAGE ON SCHEMA once TO trigger_maker; GRANT TRIGGER ON once.{table} TO trigger_maker"));
        spy(&mut eve, "own() RETURNS trigger", "RETURN NEW");
        spy(&mut eve, "condition() RETURNS boolean", "RETURN true");
        admin.run("CREATE FUNCTION public.harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
        for trigger in [
            "BEFORE INSERT ON once.{table} FOR EACH ROW EXECUTE FUNCTION own()",
            "BEFORE INSERT ON once.{table} EXECUTE FUNCTION own()",
            "BEFORE INSERT ON once.{table} FOR EACH ROW WHEN (condition()) EXECUTE FUNCTION harmless()",
            "BEFORE INSERT ON once.{table} FOR EACH ROW EXECUTE FUNCTION harmless('argument')",
        ] {
            let trigger = trigger.replace("{table}", table);
            eve.run(&format!("CREATE TRIGGER act {trigger}"));
            for session in [&mut before, &mut database.session()] {
                let error = session.refused(call, "55000");
                let expected = format!(
                    "table once.{table} has a trigger that may run code of others than its owner: \"act\""
                );
                assert_eq!(error.message(), expected, "{trigger}");
            }
            admin.run(&format!("DROP TRIGGER act ON once.{table}"));
        }
        assert_eq!(noted(&mut admin), "");
        before.run(call);
    }
}

/// A trigger of the owner's runs with the owner's rights: not with what the caller's search_path finds.
#[test]
fn the_owners_trigger_finds_nothing_by_the_callers_search_path() {
    let database = database();
    let mut admin = database.session();
    let mut eve = stranger(&database, "path_setter");
    admin.run(
        "CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM lower(NEW.key); RETURN NEW; END';
         CREATE TRIGGER audit BEFORE INSERT ON once.claim FOR EACH ROW EXECUTE FUNCTION public.audit()",
    );
    eve.run("CREATE SCHEMA evil");
    spy(&mut eve, "lower(text) RETURNS text", "RETURN $1");
    eve.run("ALTER FUNCTION public.lower(text) SET SCHEMA evil; SET search_path = evil, pg_catalog, public");
    assert!(eve.is_true("SELECT claim_once('n', 'k')"));
    assert_eq!(noted(&mut admin), "");
    assert_eq!(eve.value("SHOW search_path"), "evil, pg_catalog, public");
    assert_eq!(eve.value("SELECT current_user"), "path_setter");
}

/// A deferred trigger would run at COMMIT, with whatever rights are in force then.
#[test]
fn no_deferred_trigger_is_left_for_commit() {
    let database = database();
    let mut admin = database.session();
    admin.run(
        "CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON once.claim DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION public.late()",
    );
    admin.refused("SELECT claim_once('n', 'k')", "42501");
}

#[test]
fn a_table_that_was_changed_is_named() {
    for (change, call, message) in [
        (
            "ALTER TABLE once.work_record ALTER COLUMN request TYPE text",
            "SELECT begin_once('n', 'k')",
            "table once.work_record does not have the columns of extension pg_once",
        ),
        (
            "ALTER TABLE once.claim ALTER COLUMN owner TYPE text",
            "SELECT claim_once('n', 'k')",
            "table once.claim does not have the columns of extension pg_once",
        ),
        (
            "CREATE ROLE other_owner; ALTER TABLE once.claim OWNER TO other_owner",
            "SELECT claim_once('n', 'k')",
            "table once.claim has another owner than schema once",
        ),
        (
            "ALTER EXTENSION pg_once DROP TABLE once.access_policy",
            "SELECT claim_once('n', 'k')",
            "table once.access_policy does not belong to extension pg_once",
        ),
        (
            "ALTER EXTENSION pg_once DROP SCHEMA once",
            "SELECT claim_once('n', 'k')",
            "table once.access_policy_shared is in a schema that does not belong to extension pg_once",
        ),
    ] {
        let database = database();
        let mut admin = database.session();
        admin.run(change);
        let error = database.session().refused(call, "55000");
        assert_eq!(error.message(), message, "{change}");
        if change.contains("other_owner") {
            admin.run("ALTER TABLE once.claim OWNER TO postgres; DROP ROLE other_owner");
        }
    }
}

/// The functions of the triggers do nothing for anybody but these.
#[test]
fn trigger_functions_are_called_by_their_triggers_only() {
    let database = database();
    let mut admin = database.session();
    admin.run("CREATE TABLE public.other (ns text, ttl interval, allowed_role regrole)");
    for function in ["namespace_changed", "namespace_written"] {
        admin.refused(&format!("SELECT once.{function}()"), "55000");
        admin.run(&format!(
            "CREATE OR REPLACE TRIGGER act AFTER INSERT ON public.other
                 FOR EACH STATEMENT EXECUTE FUNCTION once.{function}()"
        ));
        admin.refused("INSERT INTO public.other VALUES ('n')", "55000");
    }
}
