//! What runs as a superuser when a role that may create objects makes, updates or drops the extension.

use pg_once_attacks::{Scene, count, payload, plain, trap, trap_trigger};

/// Every version that this server can install.
fn versions(scene: &Scene) -> Vec<String> {
    scene
        .superuser()
        .rows(
            "SELECT version FROM pg_available_extension_versions WHERE name = 'pg_once' ORDER BY 1",
        )
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect()
}

/// Objects of every kind that a role can make a member of an extension that it owns: the name for ALTER
/// EXTENSION, and what makes it. The payload is in those that run something.
fn members() -> Vec<(&'static str, String)> {
    let made = |statement: &str| statement.to_owned();
    vec![
        (
            "FUNCTION tenant.definer()",
            format!(
                "CREATE FUNCTION tenant.definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
                 BEGIN {} RETURN current_user; END $$",
                payload("tenant.definer()")
            ),
        ),
        (
            "PROCEDURE tenant.procedure()",
            format!(
                "CREATE PROCEDURE tenant.procedure() LANGUAGE plpgsql SECURITY DEFINER AS $$
                 BEGIN {} END $$",
                payload("tenant.procedure()")
            ),
        ),
        (
            "AGGREGATE tenant.total(int)",
            made("CREATE AGGREGATE tenant.total(int) (SFUNC = int4pl, STYPE = int)"),
        ),
        ("SEQUENCE tenant.numbers", made("CREATE SEQUENCE tenant.numbers")),
        (
            "TABLE tenant.board",
            format!(
                "{}; CREATE TABLE tenant.board (id int);
                 CREATE TRIGGER watch BEFORE INSERT OR UPDATE OR DELETE ON tenant.board
                     FOR EACH ROW EXECUTE FUNCTION tenant.watched()",
                trap_trigger("tenant.watched")
            ),
        ),
        (
            "TABLE tenant.partitions",
            made("CREATE TABLE tenant.partitions (id int) PARTITION BY LIST (id)"),
        ),
        (
            "VIEW tenant.window",
            format!(
                "{}; CREATE VIEW tenant.window AS SELECT tenant.seen() AS seen",
                trap("tenant.seen()", "boolean", "true")
            ),
        ),
        (
            "MATERIALIZED VIEW tenant.picture",
            made("CREATE MATERIALIZED VIEW tenant.picture AS SELECT 1 AS id"),
        ),
        ("TYPE tenant.pair", made("CREATE TYPE tenant.pair AS (a int, b int)")),
        ("TYPE tenant.mood", made("CREATE TYPE tenant.mood AS ENUM ('good', 'bad')")),
        ("TYPE tenant.span", made("CREATE TYPE tenant.span AS RANGE (SUBTYPE = int)")),
        (
            "DOMAIN tenant.checked",
            format!(
                "{}; CREATE DOMAIN tenant.checked AS text CHECK (tenant.fits(VALUE))",
                trap("tenant.fits(value text)", "boolean", "true")
            ),
        ),
        (
            "CAST (tenant.face AS text)",
            format!(
                "CREATE TYPE tenant.face AS ENUM ('x'); {};
                 CREATE CAST (tenant.face AS text) WITH FUNCTION tenant.described(tenant.face) AS IMPLICIT",
                trap("tenant.described(value tenant.face)", "text", "'x'")
            ),
        ),
        (
            "OPERATOR tenant.= (oid, integer)",
            format!(
                "{}; CREATE OPERATOR tenant.= (LEFTARG = oid, RIGHTARG = int, FUNCTION = tenant.same)",
                trap("tenant.same(a oid, b int)", "boolean", "true")
            ),
        ),
        (
            "TEXT SEARCH CONFIGURATION tenant.words",
            made("CREATE TEXT SEARCH CONFIGURATION tenant.words (COPY = pg_catalog.simple)"),
        ),
        (
            "COLLATION tenant.order",
            made("CREATE COLLATION tenant.order (PROVIDER = libc, LOCALE = 'C')"),
        ),
        ("SCHEMA planted", made("CREATE SCHEMA planted")),
    ]
}

/// A1: what the tenant has made a member of its extension stays the tenant's, whatever is done with the
/// extension afterwards.
#[test]
fn planted_members_get_no_other_owner() {
    let mut attacks = 0;
    let listed = versions(&Scene::bare(plain()));
    for version in &listed {
        for (object, made) in members() {
            let scene = Scene::bare(plain());
            let mut tenant = scene.tenant();
            tenant.run(&format!(
                "CREATE EXTENSION pg_once SCHEMA tenant VERSION '{version}'"
            ));
            tenant.run(&made);
            tenant.run(&format!("ALTER EXTENSION pg_once ADD {object}"));
            let _ = tenant.try_run("ALTER EXTENSION pg_once UPDATE");
            let _ = tenant.try_run("ALTER EXTENSION pg_once SET SCHEMA public");
            for step in [
                "SELECT tenant.definer()",
                "CALL tenant.procedure()",
                "INSERT INTO tenant.board VALUES (1)",
                "SELECT * FROM tenant.window",
                "SELECT 'x'::tenant.checked",
                "SELECT tenant.claim_once('n', 'k')",
                "SELECT once.sweep()",
                "SELECT * FROM once.check()",
            ] {
                let _ = tenant.try_run(step);
            }
            let mut superuser = scene.superuser();
            let _ = superuser.try_run("SELECT once.sweep()");
            let _ = superuser.try_run("SELECT * FROM once.check()");
            let foreign = superuser.rows(
                "SELECT p.oid::regprocedure::text, p.proowner::regrole::text FROM pg_proc p
                 WHERE p.pronamespace = 'tenant'::regnamespace AND p.probin IS NULL AND p.prolang <> 12
                   AND p.proowner <> '@tenant'::regrole
                 UNION ALL SELECT c.oid::regclass::text, c.relowner::regrole::text FROM pg_class c
                 WHERE c.relnamespace = 'tenant'::regnamespace AND c.relowner <> '@tenant'::regrole",
            );
            assert!(foreign.is_empty(), "{version}, {object}: {foreign:?}");
            let _ = tenant.try_run("DROP EXTENSION pg_once CASCADE");
            scene.nobody_got_in(&["@tenant"]);
            attacks += 1;
        }
    }
    count("planted members", attacks);
}

/// A4: operators and functions that fit better than those of pg_catalog, in the schema that the script
/// runs in, where a superuser has set default privileges.
#[test]
fn planted_operators_and_functions_are_not_called_by_the_scripts() {
    let scene = Scene::bare(plain());
    let mut attacks = 0;
    for version in versions(&scene) {
        for schema in ["tenant", "public"] {
            let scene = Scene::bare(plain());
            scene.superuser().run(
                "CREATE ROLE @team_reporting; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO @team_reporting;
                 ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO @eve;
                 ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO @eve;
                 GRANT CREATE ON SCHEMA public TO @tenant",
            );
            let mut tenant = scene.tenant();
            attacks += tenant.number(&hijacks(schema)) as usize;
            tenant.run(&format!("SET search_path = {schema}, pg_temp, pg_catalog"));
            for statement in [
                format!("CREATE EXTENSION pg_once SCHEMA {schema} VERSION '{version}'"),
                "ALTER EXTENSION pg_once UPDATE".to_owned(),
                "SELECT once.sweep()".to_owned(),
                "SELECT * FROM once.check()".to_owned(),
                "DROP EXTENSION pg_once".to_owned(),
                format!("CREATE EXTENSION pg_once SCHEMA {schema}"),
            ] {
                let _ = tenant.try_run(&statement);
            }
            let given = scene.superuser().rows(
                "SELECT n.nspname FROM pg_namespace n WHERE nspname = 'once' AND has_schema_privilege('@eve', n.oid, 'CREATE')
                 UNION ALL
                 SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = to_regnamespace('once') AND relkind IN ('r', 'p')
                     AND (has_any_column_privilege('@eve', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                          OR has_table_privilege('@team_reporting', c.oid, 'SELECT, DELETE, TRUNCATE, TRIGGER'))
                 UNION ALL
                 SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = to_regnamespace('once')
                     AND proname IN ('configure', 'unconfigure', 'sweep', 'reset_stats')
                     AND has_function_privilege('@eve', p.oid, 'EXECUTE')",
            );
            assert!(given.is_empty(), "default privileges gave {given:?}");
            scene.nobody_got_in(&["@tenant"]);
        }
    }
    count("planted operators and functions", attacks);
}

/// Makes, in this schema, every operator of these names and types that pg_catalog does not have, and
/// functions of the names that the scripts use with arguments that pg_catalog's do not take, and returns
/// how many.
fn hijacks(schema: &str) -> String {
    format!(
        "CREATE FUNCTION {schema}.plant() RETURNS int LANGUAGE plpgsql AS $plant$
         DECLARE
             types text[] := ARRAY['oid', 'int4', 'int8', 'int2', 'name', 'text', '\"char\"', 'bool', 'regclass',
                 'regproc', 'regprocedure', 'regrole', 'aclitem', 'float8', 'timestamptz', 'interval', 'jsonb',
                 'text[]', 'oid[]', 'aclitem[]'];
             l text; r text; o text; planted int := 0;
         BEGIN
             FOREACH l IN ARRAY types LOOP
                 FOREACH r IN ARRAY types LOOP
                     EXECUTE format($make$
                         CREATE FUNCTION {schema}.hijack(a %1$s, b %2$s) RETURNS boolean LANGUAGE plpgsql AS
                         $body$ BEGIN {} RETURN false; END $body$ $make$, l, r);
                     FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '||'] LOOP
                         CONTINUE WHEN EXISTS (SELECT FROM pg_operator
                             WHERE oprname = o AND oprleft = l::regtype AND oprright = r::regtype
                               AND oprnamespace = 'pg_catalog'::regnamespace);
                         EXECUTE format('CREATE OPERATOR {schema}.%s (LEFTARG = %s, RIGHTARG = %s,
                             FUNCTION = {schema}.hijack)', o, l, r);
                         planted := planted + 1;
                     END LOOP;
                 END LOOP;
                 FOREACH o IN ARRAY ARRAY['format', 'quote_ident', 'aclexplode', 'pg_get_userbyid', 'coalesce',
                     'pg_extension_config_dump', 'to_regclass', 'to_regrole', 'current_setting', 'set_config',
                     'pg_has_role', 'make_interval', 'unnest', 'starts_with', 'substr', 'replace', 'string_to_array',
                     'clock_timestamp', 'concat', 'array_length', 'count', 'max', 'string_agg', 'array_agg'] LOOP
                     CONTINUE WHEN EXISTS (SELECT FROM pg_proc
                         WHERE proname = o AND proargtypes::oid[] = ARRAY[l::regtype::oid]
                           AND pronamespace = 'pg_catalog'::regnamespace);
                     EXECUTE format($make$
                         CREATE FUNCTION {schema}.%1$I(a %2$s) RETURNS text LANGUAGE plpgsql AS
                         $body$ BEGIN {} RETURN 'x'; END $body$ $make$, o, l);
                     planted := planted + 1;
                 END LOOP;
             END LOOP;
             RETURN planted;
         END $plant$;
         SELECT {schema}.plant()",
        payload("an operator").replace('%', "%%"),
        payload("a function").replace('%', "%%"),
    )
}

/// Whoever may create schemas makes what the script is going to make, or what it looks up.
#[test]
fn what_is_in_the_way_of_the_script_stops_it() {
    let plants: &[(&str, &str)] = &[
        ("CREATE SCHEMA once", "42P06"),
        ("CREATE SCHEMA once; CREATE TABLE once.claim (ns text, key text)", "42P06"),
        (
            "CREATE SCHEMA once; CREATE VIEW once.claims AS SELECT tenant.seen() AS ns, 'k' AS key",
            "42P06",
        ),
        ("CREATE FUNCTION tenant.claim_once(ns text, key text) RETURNS boolean LANGUAGE sql AS 'SELECT true'", "42723"),
        ("CREATE FUNCTION tenant.once_key(VARIADIC parts text[]) RETURNS text LANGUAGE sql AS 'SELECT tenant.seen()::text'", "42723"),
        (
            "CREATE FUNCTION tenant.begin_once(ns text, key text, lease interval, request jsonb, wait interval)
                 RETURNS text LANGUAGE sql AS 'SELECT tenant.seen()::text'",
            "",
        ),
        ("CREATE TYPE tenant.duration AS (a int)", ""),
        ("CREATE DOMAIN tenant.regrole AS int CHECK (tenant.fits(VALUE::text))", "00000"),
        ("CREATE DOMAIN tenant.interval AS text CHECK (tenant.fits(VALUE))", "00000"),
        ("CREATE DOMAIN tenant.jsonb AS text CHECK (tenant.fits(VALUE))", "00000"),
        ("CREATE DOMAIN tenant.timestamptz AS text CHECK (tenant.fits(VALUE))", "00000"),
        ("CREATE DOMAIN tenant.text AS pg_catalog.text CHECK (tenant.fits(VALUE))", "00000"),
    ];
    for (plant, expected) in plants {
        let scene = Scene::bare(plain());
        let mut tenant = scene.tenant();
        tenant.run(&trap("tenant.seen()", "boolean", "true"));
        tenant.run(&trap("tenant.fits(value text)", "boolean", "true"));
        tenant.run(plant);
        tenant.run("SET search_path = tenant, pg_catalog");
        let told = tenant.told("CREATE EXTENSION pg_once SCHEMA tenant");
        if !expected.is_empty() {
            assert_eq!(told, *expected, "{plant}");
        }
        let _ = tenant.try_run("SELECT claim_once('n', 'k'), once_key('a', 'b')");
        let _ = tenant.try_run("SELECT * FROM once.check()");
        scene.nobody_got_in(&["@tenant"]);
    }
    count("objects in the way of the script", plants.len());
}

/// A superuser's event triggers see the script; the tenant's settings for itself do not reach it.
#[test]
fn settings_of_the_tenant_do_not_change_what_the_script_does() {
    let settings = [
        "search_path = tenant, pg_catalog",
        "search_path = ''",
        "standard_conforming_strings = off",
        "check_function_bodies = on",
        "default_table_access_method = heap",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "client_min_messages = error",
        "row_security = off",
        "session_replication_role = replica",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "createrole_self_grant = 'set'",
        "session_preload_libraries = 'pg_once'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "bytea_output = escape",
        "lc_messages = 'C'",
        "plpgsql.variable_conflict = use_column",
        "plpgsql.extra_errors = 'all'",
        "default_tablespace = ''",
        "default_toast_compression = pglz",
        "pg_once.claim_engine = 'statement'",
    ];
    let mut made = 0;
    for setting in settings {
        let scene = Scene::bare(plain());
        let mut tenant = scene.tenant();
        tenant.run(&hijack_of_settings());
        let (name, value) = setting.split_once(" = ").unwrap();
        let database = &scene.database.name;
        for statement in [
            format!("ALTER ROLE @tenant IN DATABASE {database} SET {name} = {value}"),
            format!("SET {name} = {value}"),
        ] {
            let _ = tenant.try_run(&statement);
        }
        for role in [scene.tenant(), tenant] {
            let mut role = role;
            let told = role.told("CREATE EXTENSION pg_once SCHEMA tenant");
            assert!(
                ["00000", "25006", "42710"].contains(&told.as_str()),
                "{setting}: {told}"
            );
        }
        let mut superuser = scene.superuser();
        let different = superuser.rows(
            "SELECT c.oid::regclass, c.relowner::regrole, c.relam, c.relpersistence FROM pg_class c
             WHERE relnamespace = to_regnamespace('once') AND relkind = 'r'
               AND (relpersistence <> 'p' OR relowner::regrole::text <> 'postgres' OR relrowsecurity)",
        );
        assert!(different.is_empty(), "{setting}: {different:?}");
        scene.nobody_got_in(&["@tenant"]);
        made += 2;
    }
    count("settings around the script", made);
}

fn hijack_of_settings() -> String {
    format!(
        "{}; CREATE OPERATOR tenant.= (LEFTARG = oid, RIGHTARG = int4, FUNCTION = tenant.eq)",
        trap("tenant.eq(a oid, b int4)", "boolean", "false")
    )
}
