//! A setting of one role does not count inside a SECURITY DEFINER function of
//! another one, however it was set.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::time::Duration;

const PRELOAD: &str = "shared_preload_libraries = 'pg_once'";

/// What lets eve's table be the table of payments, in a fresh session of hers.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Before the library is loaded, which her call of shop's function does.
    SetFirst,
    /// Once it is loaded.
    SetLater,
    SetLocal,
    SetConfigInHerFunction,
    Options,
    Role,
    RoleInDatabase,
    ClauseOfHerFunction,
    ClauseOfHerDefinerFunction,
    AfterReset,
    AfterRollbackToSavepoint,
}

const WAYS: [Way; 11] = [
    Way::SetFirst,
    Way::SetLater,
    Way::SetLocal,
    Way::SetConfigInHerFunction,
    Way::Options,
    Way::Role,
    Way::RoleInDatabase,
    Way::ClauseOfHerFunction,
    Way::ClauseOfHerDefinerFunction,
    Way::AfterReset,
    Way::AfterRollbackToSavepoint,
];

#[test]
fn a_value_of_the_caller_does_not_reach_into_a_definer_function() {
    let preloaded = Cluster::start(&[PRELOAD]);
    for database in [database(), preloaded.database()] {
        let shop = Shop::open(&database);
        for (i, way) in WAYS.into_iter().enumerate() {
            let mut eve = shop.eve_by(way);
            match way {
                Way::ClauseOfHerFunction => eve.run(&format!("SELECT eve.clause('{i}')")),
                Way::ClauseOfHerDefinerFunction => eve.run(&format!("SELECT eve.definer('{i}')")),
                _ => eve.run(&format!("SELECT shop.pay('{i}')")),
            }
            // For herself it counts.
            let own = match way {
                Way::ClauseOfHerFunction | Way::ClauseOfHerDefinerFunction => 0,
                Way::AfterReset => {
                    eve.refused(&format!("SELECT with_payment_lock(1, '{i}')"), "42P01");
                    0
                }
                _ => {
                    assert!(
                        eve.is_true(&format!("SELECT created FROM with_payment_lock(1, '{i}')"))
                    );
                    1
                }
            };
            eve.commit();
            assert_eq!(shop.payments("shop.payments", i), 1, "{way:?}");
            assert_eq!(shop.payments("eve.payments", i), own, "{way:?}");
        }
    }
}

/// The other values are not lost: what is configured for every role lies
/// beneath that of one role.
#[test]
fn what_is_configured_for_every_role_counts_beneath() {
    let preloaded = Cluster::start(&[PRELOAD, "pg_once.payment_table = 'shop.of_file'"]);
    let plain = Cluster::start(&["PG_ONCE.payment_table = 'shop.of_file'"]);
    for cluster in [&preloaded, &plain] {
        let database = cluster.database();
        let shop = Shop::open(&database);
        let mut admin = database.session();
        admin.run("SELECT once_key('loads the library')");
        for table in ["of_file", "of_system", "of_all", "of_database"] {
            admin.run(&format!(
                "CREATE TABLE shop.{table} (LIKE shop.payments);
                 ALTER TABLE shop.{table} OWNER TO {}",
                shop.shop
            ));
        }
        let mut reloaded = shop.eve_by(Way::Options);
        for (i, (table, statement)) in [
            ("of_file", String::new()),
            (
                "of_system",
                "ALTER SYSTEM SET pg_once.payment_table = 'shop.of_system'".to_owned(),
            ),
            (
                "of_all",
                "ALTER ROLE ALL SET pg_once.payment_table = 'shop.of_all'".to_owned(),
            ),
            (
                "of_database",
                format!(
                    "ALTER DATABASE {} SET pg_once.payment_table = 'shop.of_database'",
                    database.name
                ),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            if !statement.is_empty() {
                let before = reloaded.value("SELECT pg_conf_load_time()");
                admin.run(&statement);
                admin.run("SELECT pg_reload_conf()");
                let is_loaded = format!("SELECT pg_conf_load_time() > '{before}'");
                reloaded.wait_until(&is_loaded, Duration::from_secs(10));
            }
            for (j, way) in [Way::SetFirst, Way::Options, Way::Role, Way::RoleInDatabase]
                .into_iter()
                .enumerate()
            {
                let mut eve = shop.eve_by(way);
                eve.run(&format!("SELECT shop.pay('{i}.{j}')"));
                assert_eq!(
                    admin.number(&format!(
                        "SELECT count(*) FROM shop.{table} WHERE line_item_id = '{i}.{j}'"
                    )),
                    1,
                    "{way:?}"
                );
            }
            reloaded.run(&format!("SELECT shop.pay('reloaded {i}')"));
            assert_eq!(
                admin.number(&format!(
                    "SELECT count(*) FROM shop.{table} WHERE line_item_id = 'reloaded {i}'"
                )),
                1
            );
        }
        admin.run("ALTER ROLE ALL RESET pg_once.payment_table");
        assert_eq!(admin.number("SELECT count(*) FROM eve.payments"), 0);
    }
}

/// It is set as the function's owner.
#[test]
fn the_clause_of_a_function_counts_inside() {
    let database = database();
    let shop = Shop::open(&database);
    database.session().run(&format!(
        "CREATE TABLE shop.other (LIKE shop.payments);
         ALTER TABLE shop.other OWNER TO {shop};
         CREATE FUNCTION shop.pay_other(item text) RETURNS void LANGUAGE sql SECURITY DEFINER
             SET pg_once.payment_table = 'shop.other'
             AS 'SELECT public.with_payment_lock(1, item)';
         CREATE FUNCTION shop.set_and_pay(item text) RETURNS void LANGUAGE sql SECURITY DEFINER
             SET search_path = shop, pg_temp
             AS 'SELECT set_config(''pg_once.payment_table'', ''shop.other'', true);
                 SELECT public.with_payment_lock(1, item)';
         CREATE FUNCTION shop.through_eve(item text) RETURNS void LANGUAGE sql SECURITY DEFINER
             SET pg_once.payment_table = 'shop.other'
             AS 'SELECT eve.definer_without(item)';
         ALTER FUNCTION shop.pay_other OWNER TO {shop};
         ALTER FUNCTION shop.set_and_pay OWNER TO {shop};
         ALTER FUNCTION shop.through_eve OWNER TO {shop}",
        shop = shop.shop
    ));
    for (i, way) in WAYS.into_iter().enumerate() {
        let mut eve = shop.eve_by(way);
        eve.run(&format!("SELECT shop.pay_other('{i}')"));
        eve.commit();
        assert_eq!(shop.payments("shop.other", i), 1, "{way:?}");
    }
    let mut eve = database.session_as(&shop.eve);
    eve.run("SET pg_once.payment_table = 'eve.payments'");
    // What shop sets for the transaction counts for shop, not for eve.
    eve.begin();
    eve.run("SELECT shop.set_and_pay('set')");
    eve.refused("SELECT with_payment_lock(1, 'set')", "42P01");
    eve.rollback();
    // A function of eve's that shop calls: what shop has set does not count there either.
    eve.refused("SELECT shop.through_eve('nested')", "42P01");
    eve.run("SELECT with_payment_lock(1, 'own')");
    assert_eq!(eve.number("SELECT count(*) FROM eve.payments"), 1);
}

#[test]
fn a_value_counts_for_nobody_but_the_role_that_set_it() {
    let database = database();
    let shop = Shop::open(&database);
    let mut admin = database.session();
    admin.run(&format!("GRANT {} TO {}", shop.shop, shop.eve));
    // Not even a superuser's.
    admin.run("SET pg_once.payment_table = 'eve.payments'");
    admin.run("SELECT shop.pay('by an admin')");
    assert_eq!(admin.number("SELECT count(*) FROM eve.payments"), 0);

    let mut eve = database.session_as(&shop.eve);
    eve.run("SET pg_once.payment_table = 'eve.payments'; SET search_path = shop, public");
    eve.run(&format!("SET ROLE {}", shop.shop));
    eve.run("SELECT with_payment_lock(1, 'as shop')");
    assert_eq!(shop.counted("shop.payments", "as shop"), 1);
    eve.run("SET pg_once.payment_table = 'eve.payments'");
    eve.run("SELECT with_payment_lock(1, 'set as shop')");
    assert_eq!(shop.counted("eve.payments", "set as shop"), 1);
    eve.run("RESET ROLE; SET search_path = public");
    eve.refused("SELECT with_payment_lock(1, 'set as shop')", "42P01");

    // A rollback brings back whose value it was.
    eve.run("SET pg_once.payment_table = 'eve.payments'; BEGIN; SAVEPOINT s");
    eve.run(&format!("SET ROLE {}", shop.shop));
    eve.run("SET pg_once.payment_table = 'shop.payments'; ROLLBACK TO s");
    eve.run("SELECT with_payment_lock(1, 'own again')");
    assert_eq!(
        eve.number("SELECT count(*) FROM eve.payments WHERE line_item_id = 'own again'"),
        1
    );
    eve.commit();
}

#[test]
fn what_several_rows_are_is_said_by_the_functions_owner() {
    let database = database();
    let shop = Shop::open(&database);
    database.session().run(
        "ALTER TABLE shop.payments ADD id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
         INSERT INTO shop.payments VALUES (1, 'twice'), (1, 'twice')",
    );
    for set in [
        "SET pg_once.duplicate_rows = 'first'",
        "SELECT once_key('x'); SET pg_once.duplicate_rows = 'first'",
        "SELECT set_config('pg_once.duplicate_rows', 'first', false)",
    ] {
        let mut eve = database.session_as(&shop.eve);
        eve.run(set);
        eve.refused("SELECT shop.pay('twice')", "21000");
    }
    database
        .session()
        .run("ALTER FUNCTION shop.pay SET pg_once.duplicate_rows = 'first'");
    let mut eve = database.session_as(&shop.eve);
    eve.run("SET pg_once.duplicate_rows = 'error'; SELECT shop.pay('twice')");
    // A value for every role beneath that of one, as the name of an enum.
    database.session().run(&format!(
        "ALTER FUNCTION shop.pay RESET pg_once.duplicate_rows;
         SELECT once_key('x');
         ALTER DATABASE {} SET pg_once.duplicate_rows = 'FIRST';
         ALTER ROLE {} SET pg_once.duplicate_rows = 'error'",
        database.name, shop.eve
    ));
    let mut eve = database.session_as(&shop.eve);
    eve.run("SELECT shop.pay('twice')");
}

#[test]
fn the_engine_is_not_the_callers() {
    let database = database();
    let shop = Shop::open(&database);
    database.session().run(&format!(
        "CREATE FUNCTION shop.claim(item text) RETURNS boolean LANGUAGE sql SECURITY DEFINER
             AS 'SELECT public.claim_once(''shop'', item)';
         ALTER FUNCTION shop.claim OWNER TO {}",
        shop.shop
    ));
    let mut eve = database.session_as(&shop.eve);
    eve.run("SET pg_once.claim_engine = 'statement'");
    eve.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    assert!(
        database
            .session()
            .is_true("SELECT claim_once('shop', 'later')")
    );
    // By statements it would be 40001.
    assert!(!eve.is_true("SELECT shop.claim('later')"));
    eve.refused("SELECT claim_once('shop', 'later')", "40001");
}

/// What a function of shop reads and sets again does not become shop's value where it was eve's.
#[test]
fn a_function_that_sets_what_it_has_read_keeps_its_own_value() {
    const NAME: &str = "'pg_once.payment_table'";
    let again = [
        format!(
            "DECLARE saved text := current_setting({NAME}); BEGIN
                 PERFORM set_config({NAME}, 'shop.other', false);
                 PERFORM set_config({NAME}, saved, false)"
        ),
        format!("BEGIN PERFORM set_config({NAME}, current_setting({NAME}), true)"),
        format!("BEGIN PERFORM set_config({NAME}, current_setting({NAME}), false)"),
        "BEGIN SET LOCAL pg_once.payment_table FROM CURRENT".to_owned(),
        "BEGIN SET pg_once.payment_table FROM CURRENT".to_owned(),
        "DECLARE saved text; BEGIN
             EXECUTE 'SHOW pg_once.payment_table' INTO saved;
             EXECUTE format('SET pg_once.payment_table = %L', saved)"
            .to_owned(),
        format!("BEGIN UPDATE pg_settings SET setting = setting WHERE name = {NAME}"),
        "BEGIN ALTER FUNCTION shop.pay SET pg_once.payment_table FROM CURRENT".to_owned(),
    ];
    let preloaded = Cluster::start(&["session_preload_libraries = 'pg_once'"]);
    for (database, loads) in [
        (database(), "SELECT once_key('loads the library')"),
        (preloaded.database(), ""),
    ] {
        let shop = Shop::open(&database);
        let mut admin = database.session();
        for (i, body) in again.iter().enumerate() {
            admin.run(&format!(
                "CREATE FUNCTION shop.again_{i}(item text) RETURNS void LANGUAGE plpgsql
                     SECURITY DEFINER SET search_path = shop, public, pg_temp
                     AS $${body}; PERFORM with_payment_lock(1, item); END$$;
                 ALTER FUNCTION shop.again_{i} OWNER TO {}",
                shop.shop
            ));
        }
        for way in WAYS {
            if matches!(
                way,
                Way::ClauseOfHerFunction | Way::ClauseOfHerDefinerFunction
            ) {
                continue;
            }
            for (i, body) in again.iter().enumerate() {
                let mut eve = shop.eve_by(way);
                eve.run(loads);
                let items = [format!("{way:?} {i}"), format!("{way:?} {i} later")];
                eve.run(&format!("SELECT shop.again_{i}('{}')", items[0]));
                eve.run(&format!("SELECT shop.pay('{}')", items[1]));
                eve.commit();
                for item in items {
                    assert_eq!(shop.counted("shop.payments", &item), 1, "{way:?}: {body}");
                }
                admin.run("ALTER FUNCTION shop.pay RESET pg_once.payment_table");
            }
        }
        assert_eq!(admin.number("SELECT count(*) FROM eve.payments"), 0);
        // What is set for the transaction goes with it, and with it whose it was.
        let mut eve = database.session_as(&shop.eve);
        eve.run(loads);
        eve.run("SET pg_once.payment_table = 'eve.payments'");
        for i in 0..3 {
            eve.run(&format!("SELECT shop.again_1('round {i}')"));
            eve.run(&format!("SELECT with_payment_lock(1, 'own {i}')"));
            assert_eq!(shop.counted("shop.payments", &format!("round {i}")), 1);
            assert_eq!(shop.counted("eve.payments", &format!("own {i}")), 1);
        }
    }
}

#[test]
fn what_is_shown_is_what_counts() {
    const SHOWN: &str = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings \
         WHERE name IN ('pg_once.claim_engine', 'pg_once.duplicate_rows', 'pg_once.payment_table')";
    let database = database();
    let shop = Shop::open(&database);
    database.session().run(&format!(
        "CREATE FUNCTION shop.shown() RETURNS text LANGUAGE sql SECURITY DEFINER AS $${SHOWN}$$;
         ALTER FUNCTION shop.shown OWNER TO {0};
         CREATE FUNCTION shop.set() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
             SELECT set_config('pg_once.payment_table', 'shop.x', true) $$;
         ALTER FUNCTION shop.set OWNER TO {0};
         GRANT {0} TO {1}",
        shop.shop, shop.eve
    ));
    let fresh = || {
        let mut eve = database.session_as(&shop.eve);
        eve.run("SELECT once_key('loads the library')");
        eve.run(
            "SET pg_once.payment_table = 'eve.payments'; SET pg_once.duplicate_rows = 'first';
             SET pg_once.claim_engine = 'statement'",
        );
        eve
    };
    let mut eve = fresh();
    assert_eq!(eve.value(SHOWN), "statement first eve.payments");
    assert_eq!(eve.value("SELECT shop.shown()"), "auto error payments");
    eve.begin();
    assert_eq!(eve.value("SELECT shop.set()"), "shop.x");
    assert_eq!(eve.value("SELECT shop.shown()"), "auto error shop.x");
    assert_eq!(eve.value("SHOW pg_once.payment_table"), "payments");
    eve.rollback();
    assert_eq!(eve.value("SHOW pg_once.payment_table"), "eve.payments");

    // Not even SHOW ALL takes the snapshot of the transaction.
    eve.run(&format!("SET ROLE {}; BEGIN", shop.shop));
    assert_eq!(eve.value("SHOW pg_once.payment_table"), "payments");
    eve.run("SHOW ALL");
    eve.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; COMMIT; RESET ROLE");

    database.session().run(&format!(
        "SELECT once_key('x');
         ALTER DATABASE {0} SET pg_once.payment_table = 'of.database=1';
         ALTER DATABASE {0} SET pg_once.duplicate_rows = 'FIRST';
         ALTER DATABASE {0} SET pg_once.claim_engine = 'direct'",
        database.name
    ));
    let mut eve = fresh();
    assert_eq!(
        eve.value("SELECT shop.shown()"),
        "direct first of.database=1"
    );
    eve.run("RESET pg_once.payment_table");
    assert_eq!(eve.value("SHOW pg_once.payment_table"), "of.database=1");
}

/// A parallel worker gets the value in force and whose it is, and no other one.
#[test]
fn a_parallel_worker_shows_the_same() {
    let cluster = Cluster::start(&["pg_once.payment_table = 'shop.of_file'"]);
    let database = cluster.database();
    let shop = Shop::open(&database);
    let mut admin = database.session();
    admin.run(&format!(
        "CREATE FUNCTION shop.pid() RETURNS int LANGUAGE plpgsql PARALLEL SAFE
             AS 'BEGIN RETURN pg_backend_pid(); END';
         CREATE FUNCTION shop.shown() RETURNS TABLE (value text, pid int) LANGUAGE plpgsql
             SECURITY DEFINER AS $$
             BEGIN RETURN QUERY SELECT current_setting('pg_once.payment_table'), shop.pid()
                 FROM generate_series(1, 3); END $$;
         ALTER FUNCTION shop.shown OWNER TO {}",
        shop.shop
    ));
    let force = match admin.number("SELECT current_setting('server_version_num')::int / 10000") {
        15 => "SET force_parallel_mode = on",
        _ => "SET debug_parallel_query = on",
    };
    for (statement, configured) in [
        (None, "shop.of_file"),
        (
            Some("ALTER DATABASE {} SET pg_once.payment_table = 'shop.of_database'"),
            "shop.of_database",
        ),
    ] {
        if let Some(statement) = statement {
            admin.run(&statement.replace("{}", &database.name));
        }
        for way in [Way::SetLater, Way::Options, Way::Role] {
            let mut eve = shop.eve_by(way);
            eve.run("SELECT once_key('loads the library')");
            eve.run(force);
            for (rows, expected) in [
                ("shop.shown()", configured),
                (
                    "(SELECT current_setting('pg_once.payment_table'), shop.pid()
                      FROM generate_series(1, 3)) AS own (value, pid)",
                    "eve.payments",
                ),
            ] {
                let shown = eve.rows(&format!("SELECT value, pid FROM {rows}"));
                assert_eq!(shown.len(), 3);
                for row in shown {
                    assert_eq!(row[0].as_deref(), Some(expected), "{way:?}");
                    let pid = eve.pid().to_string();
                    assert_ne!(row[1].as_deref(), Some(pid.as_str()), "no worker");
                }
            }
        }
    }
}

/// What a session has learnt under one role is not used for another one.
#[test]
fn each_role_gets_the_table_of_its_own_search_path_and_its_own_rights() {
    let database = database();
    let shop = Shop::open(&database);
    let mut session = database.session();
    session.run(&format!(
        "GRANT {0} TO {1}; REVOKE ALL ON eve.payments FROM PUBLIC",
        shop.shop, shop.eve
    ));
    for round in 0..3 {
        for (role, own) in [(&shop.shop, "shop"), (&shop.eve, "eve")] {
            session.run(&format!("SET ROLE {role}; SET search_path = {own}, public"));
            session.run(&format!("SELECT with_payment_lock({round}, 'each')"));
            session.run("RESET ROLE");
            assert_eq!(
                session.number(&format!(
                    "SELECT count(*) FROM {own}.payments WHERE service_id = {round}"
                )),
                1
            );
        }
        // Known by now, and not shop's to use.
        session.run(&format!("SET ROLE {}", shop.shop));
        session.run("SET search_path = eve, public");
        session.refused(
            &format!("SELECT with_payment_lock({round}, 'each')"),
            "42501",
        );
        session.refused(
            &format!("SELECT with_row_lock(NULL::eve.payments, '{{\"service_id\": {round}}}')"),
            "42501",
        );
        session.run("RESET ROLE");
    }
}

/// shop's payments with a SECURITY DEFINER function over them, and eve's table
/// that everybody may write.
struct Shop<'d> {
    database: &'d Database<'d>,
    shop: String,
    eve: String,
}

impl<'d> Shop<'d> {
    fn open(database: &'d Database) -> Self {
        let (shop, eve) = (
            format!("shop_{}", database.name),
            format!("eve_{}", database.name),
        );
        database.session().run(&format!(
            "SELECT once_key('loads the library');
             CREATE ROLE {shop} LOGIN; CREATE ROLE {eve} LOGIN;
             CREATE SCHEMA shop AUTHORIZATION {shop}; CREATE SCHEMA eve AUTHORIZATION {eve};
             GRANT USAGE ON SCHEMA shop, eve TO PUBLIC;
             SET ROLE {shop};
             CREATE TABLE shop.payments (service_id bigint, line_item_id text);
             CREATE FUNCTION shop.pay(item text) RETURNS void LANGUAGE sql SECURITY DEFINER
                 SET search_path = shop, public, pg_temp
                 AS 'SELECT with_payment_lock(1, item)';
             SET ROLE {eve};
             CREATE TABLE eve.payments (service_id bigint, line_item_id text);
             GRANT ALL ON eve.payments TO PUBLIC;
             CREATE FUNCTION eve.set() RETURNS void LANGUAGE plpgsql AS
                 'BEGIN PERFORM set_config(''pg_once.payment_table'', ''eve.payments'', false); END';
             CREATE FUNCTION eve.clause(item text) RETURNS void LANGUAGE sql
                 SET pg_once.payment_table = 'eve.payments'
                 AS 'SELECT shop.pay(item)';
             CREATE FUNCTION eve.definer(item text) RETURNS void LANGUAGE sql SECURITY DEFINER
                 SET pg_once.payment_table = 'eve.payments'
                 AS 'SELECT shop.pay(item)';
             CREATE FUNCTION eve.definer_without(item text) RETURNS void LANGUAGE sql
                 SECURITY DEFINER AS 'SELECT public.with_payment_lock(1, item)'"
        ));
        Self {
            database,
            shop,
            eve,
        }
    }

    fn eve_by(&self, way: Way) -> Session {
        const SET: &str = "SET pg_once.payment_table = 'eve.payments'";
        let (name, eve) = (&self.database.name, &self.eve);
        let fresh = || self.database.session_as(eve);
        let by_role = |of: &str| {
            // The last is dropped once the session has begun.
            let alter = |what: &str| {
                let statement = format!("ALTER ROLE {eve} {of} {what}");
                fresh().run(&format!(
                    "SELECT once_key('loads the library'); {statement}"
                ));
            };
            alter(SET);
            let mut session = fresh();
            alter("RESET pg_once.payment_table");
            session.run("SELECT 1");
            session
        };
        let with = |statements: &str| {
            let mut session = fresh();
            session.run(statements);
            session
        };
        match way {
            Way::SetFirst => with(SET),
            Way::SetLater => with(&format!("SELECT once_key('x'); {SET}")),
            Way::SetLocal => with(&format!("BEGIN; {}", SET.replace("SET", "SET LOCAL"))),
            Way::SetConfigInHerFunction => with("SELECT eve.set()"),
            Way::Options => {
                let mut address: postgres::Config =
                    self.database.cluster.connection(name).parse().unwrap();
                address
                    .user(eve)
                    .options("-c pg_once.payment_table=eve.payments");
                Session::open(address).unwrap()
            }
            Way::Role => by_role(""),
            Way::RoleInDatabase => by_role(&format!("IN DATABASE {name}")),
            Way::ClauseOfHerFunction | Way::ClauseOfHerDefinerFunction => fresh(),
            Way::AfterReset => with(&format!("{SET}; RESET pg_once.payment_table")),
            Way::AfterRollbackToSavepoint => with(&format!(
                "BEGIN; {SET}; SAVEPOINT s; SET pg_once.payment_table = 'x'; ROLLBACK TO s"
            )),
        }
    }

    fn payments(&self, table: &str, item: usize) -> i64 {
        self.counted(table, &item.to_string())
    }

    fn counted(&self, table: &str, item: &str) -> i64 {
        self.database.session().number(&format!(
            "SELECT count(*) FROM {table} WHERE line_item_id = '{item}'"
        ))
    }
}
