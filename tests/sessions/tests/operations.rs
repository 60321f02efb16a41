//! What an operator who is not superuser is told to do works: he owns the database and the extension.

use pg_once_sessions::{Cluster, Database, Server, Session};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start(&[]);
        cluster.connect("postgres").run(
            "CREATE ROLE keeper LOGIN; CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN; CREATE ROLE reporting LOGIN",
        );
        cluster
    })
}

/// A database of the operator's, in which he has made the extension.
fn kept() -> Database<'static> {
    let database = cluster().database_like("OWNER keeper TEMPLATE template0");
    database
        .session_as("keeper")
        .run("CREATE SCHEMA pgonce; GRANT USAGE ON SCHEMA pgonce TO PUBLIC; CREATE EXTENSION pg_once SCHEMA pgonce");
    database
}

/// Every function that everybody may execute is granted by the extension's owner, whoever that is.
const GRANTORS: &str = "
    SELECT DISTINCT a.grantor::regrole FROM pg_extension e
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid, aclexplode(p.proacl) a
    WHERE e.extname = 'pg_once' AND a.grantee = 0";

fn refused_to(role: &str, database: &Database, call: &str) -> bool {
    let answer = database.session_as(role).try_run(&format!("SELECT {call}"));
    match answer {
        Ok(_) => false,
        Err(failure) => {
            assert_eq!(failure.sqlstate(), "42501", "{failure:?}");
            true
        }
    }
}

#[test]
fn the_owner_says_who_may_call_it_and_a_dump_keeps_that() {
    let database = kept();
    let mut keeper = database.session_as("keeper");
    assert_eq!(keeper.value(GRANTORS), "keeper");
    assert_eq!(cluster().database().session().value(GRANTORS), "postgres");
    assert!(!refused_to(
        "stranger",
        &database,
        "pgonce.claim_once('ns', 'k')"
    ));
    keeper.run(
        "REVOKE EXECUTE ON FUNCTION pgonce.claim_once(text, text), once.find_duplicates FROM PUBLIC;
         GRANT EXECUTE ON FUNCTION pgonce.claim_once(text, text) TO app",
    );
    let holds = |database: &Database| {
        for (role, call, refused) in [
            ("stranger", "pgonce.claim_once('ns', 'k')", true),
            (
                "stranger",
                "count(*) FROM once.find_duplicates('pg_class', '{relname}')",
                true,
            ),
            ("stranger", "pgonce.claim_once('ns', 'a', 1)", false),
            ("app", "pgonce.claim_once('ns', 'k')", false),
            ("keeper", "pgonce.claim_once('ns', 'k')", false),
        ] {
            assert_eq!(refused_to(role, database, call), refused, "{role}: {call}");
        }
    };
    holds(&database);

    let restored = cluster().database_like("OWNER keeper TEMPLATE template0");
    restore("keeper", &database, &restored);
    holds(&restored);
    assert_eq!(restored.session().value(GRANTORS), "keeper");
    // And back, as often as one likes.
    let again = cluster().database_like("OWNER keeper TEMPLATE template0");
    restore("keeper", &restored, &again);
    holds(&again);
    keeper.run("GRANT EXECUTE ON FUNCTION pgonce.claim_once(text, text) TO PUBLIC");
    assert!(!refused_to(
        "stranger",
        &database,
        "pgonce.claim_once('ns', 'k')"
    ));
}

/// A superuser, who has what is granted by the owner of the functions taken from everybody, says whose
/// grant it is.
#[test]
fn a_superuser_revokes_as_the_owner() {
    let database = kept();
    let mut admin = database.session();
    let revoke = "REVOKE EXECUTE ON FUNCTION pgonce.claim_once(text, text) FROM PUBLIC";
    admin.run(&format!("SET ROLE keeper; {revoke}; RESET ROLE"));
    assert!(refused_to(
        "stranger",
        &database,
        "pgonce.claim_once('ns', 'k')"
    ));

    // What he restores is his own, closed as it was.
    let restored = cluster().database_like("TEMPLATE template0");
    restore("postgres", &database, &restored);
    assert!(refused_to(
        "stranger",
        &restored,
        "pgonce.claim_once('ns', 'k')"
    ));
    assert_eq!(restored.session().value(GRANTORS), "postgres");
}

/// What pg_dump writes of the whole database is run by psql, which stops at the first error.
fn restore(role: &str, from: &Database, to: &Database) {
    let mut dump = cluster().client_command("pg_dump");
    let mut dump = dump
        .args(["-U", role, &from.name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut psql: Command = cluster().client_command("psql");
    let output = psql
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            role,
            "-d",
            &to.name,
        ])
        .stdin(dump.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(dump.wait().unwrap().success());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_owner_keeps_the_tables_in_shape() {
    let database = kept();
    let mut keeper = database.session_as("keeper");
    keeper.run("SELECT pgonce.claim_once('ns', i) FROM generate_series(1, 1000) i");
    let index = "SELECT pg_relation_filenode('once.claim_pkey')";
    let before = keeper.value(index);
    let mut observer = database.session();
    if Server::under_test().major < 17 {
        keeper.refused("REINDEX TABLE once.claim", "42501");
        keeper.run(&format!("REINDEX DATABASE {}", database.name));
    } else {
        for table in ["access_policy", "work_floor", "work_record"] {
            keeper.run(&format!("REINDEX TABLE once.{table}"));
        }
        keeper.run("REINDEX TABLE CONCURRENTLY once.claim");
    }
    assert_ne!(keeper.value(index), before);
    // Neither is an error where a role may not do it: it is passed over.
    let seen = "SELECT vacuum_count > 0 AND analyze_count > 0 FROM pg_stat_all_tables WHERE relid = 'once.claim'::regclass";
    keeper.run("VACUUM ANALYZE once.claim");
    observer.wait_until(seen, std::time::Duration::from_secs(10));
    assert_eq!(
        keeper.number(
            "SELECT count(*) FROM generate_series(1, 1000) i WHERE pgonce.claim_once('ns', i)"
        ),
        0
    );
}

#[test]
fn the_owner_sees_how_it_is() {
    let database = kept();
    let mut keeper = database.session_as("keeper");
    for look in [
        "SELECT * FROM once.check()",
        "SELECT * FROM once.worker_state()",
        "SELECT * FROM once.stats, once.locks, once.claims, once.work, once.namespaces",
        "SELECT once.sweep(), once.reset_stats(), once.configure('ns', '1 day'), once.unconfigure('ns')",
        "SELECT once.purge('ns'), once.purge('ns', unfinished => true)",
        "TABLE once.claim",
    ] {
        keeper.run(look);
    }
    for look in [
        "SELECT once.sweep()",
        "SELECT once.reset_stats()",
        "SELECT once.purge('ns')",
        "TABLE once.claim",
    ] {
        database.session_as("stranger").refused(look, "42501");
    }
}

/// What a superuser's default privileges give to others does not reach the extension; nor does the
/// script pick up an operator that fits better than PostgreSQL's own.
#[test]
fn default_privileges_and_operators_that_fit_better_give_nothing() {
    let database = cluster().database_like("OWNER keeper TEMPLATE template0");
    let mut admin = database.session();
    let granted = |session: &mut Session| {
        session.number(
            "SELECT count(*) FROM (
                 SELECT relacl FROM pg_class WHERE relnamespace = 'once'::regnamespace
                 UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace IN ('once'::regnamespace, 'public'::regnamespace)
                 UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = 'once') given (acl), aclexplode(acl) a
             WHERE a.grantee = 'reporting'::regrole",
        )
    };
    admin.run(
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reporting WITH GRANT OPTION;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO reporting WITH GRANT OPTION;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO reporting WITH GRANT OPTION;
         ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    );
    let mut keeper = database.session_as("keeper");
    for (left, right) in [
        ("oid", "int4"),
        ("oid", "int8"),
        ("int4", "oid"),
        ("name", "varchar"),
        ("varchar", "name"),
    ] {
        for sign in ["=", "<>", ">="] {
            keeper.run(&format!(
                "CREATE OR REPLACE FUNCTION public.planted({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS $$
                 BEGIN
                     IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
                         EXECUTE 'ALTER ROLE keeper SUPERUSER';
                     END IF;
                     RETURN false;
                 END $$"
            ));
            keeper.run(&format!(
                "CREATE OPERATOR public.{sign} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.planted)"
            ));
        }
    }
    assert!(
        keeper
            .number("SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace")
            >= 6
    );
    keeper.run("CREATE EXTENSION pg_once");
    assert!(
        !keeper
            .is_true("SELECT rolsuper FROM pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'keeper'")
    );
    assert_eq!(granted(&mut admin), 0);
    assert!(!refused_to("stranger", &database, "claim_once('ns', 'k')"));
    for look in [
        "TABLE once.claim",
        "SELECT once.sweep()",
        "CREATE TABLE once.mine ()",
    ] {
        database.session_as("reporting").refused(look, "42501");
    }
    keeper.run("DROP EXTENSION pg_once");
    admin.run("CREATE EXTENSION pg_once");
    assert_eq!(granted(&mut admin), 0);
    admin.run("DROP OWNED BY reporting");
}
