//! Functions that once.define_row_lock makes: whatever tables, columns and
//! types are called, and whatever others create next to them, they call what
//! they were made to call.

use pg_once_sessions::{Cluster, Database, Server, database};

/// Names that would end a literal or an identifier too early if they were not
/// quoted.
const NASTY: [&str; 24] = [
    "a'b",
    "a''b",
    "'",
    "''",
    "a\"b",
    "\"",
    "\\",
    "a\\",
    "a\\'b",
    "\\'); DROP TABLE public.canary; --",
    "'); DROP TABLE public.canary; --",
    "\"); DROP TABLE public.canary; --",
    "$$",
    "$function$",
    "$1",
    "a;b",
    "a\nb",
    "a\r\tb",
    "--",
    "/* ",
    "*/",
    "naïve ☃ 𝄞",
    "SELECT",
    "%I%s%1$s",
];

/// Each name as that of a schema, table, column, type and function.
#[test]
fn names_do_not_inject() {
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE canary (); CREATE SCHEMA types");
    // The values of standard_conforming_strings: PostgreSQL 19 has one.
    let settings: &[&str] = match Server::under_test().major {
        ..19 => &["on", "off"],
        _ => &["on"],
    };
    let longest = format!("{:x<61}'\"", "");
    for name in NASTY.into_iter().chain([longest.as_str()]) {
        let (called, text) = (identifier(name), literal(name));
        let table = format!("{called}.{called}");
        session.run(&format!(
            "CREATE SCHEMA {called};
             CREATE DOMAIN types.{called} AS text;
             CREATE TABLE {table} ({called} types.{called}, \"timeout\" int, defaults int,
                 n int DEFAULT 7, UNIQUE ({called}, \"timeout\", defaults))"
        ));
        let mut n = 0;
        for made_under in settings {
            session.run(&format!(
                "SET standard_conforming_strings = {made_under}; SET search_path = ''"
            ));
            session.run(&format!(
                "SELECT once.define_row_lock({}, c.oid, ARRAY[{text}, 'timeout', 'defaults'])
                 FROM pg_catalog.pg_class c WHERE c.relname = {text} AND c.relkind = 'r'",
                literal(&table)
            ));
            for called_under in settings {
                let mut caller = database.session();
                caller.run(&format!("SET standard_conforming_strings = {called_under}"));
                caller.run("SET search_path = ''");
                n += 1;
                let call = format!(
                    "SELECT n FROM {table}({text}, 1, {n}, '1 s', '{{\"n\": {n}}}')
                     WHERE {called} = {text}"
                );
                assert_eq!(caller.number(&call), n, "{name:?}");
                assert_eq!(caller.number(&call), n, "{name:?}");
            }
        }
        let rows = session.number(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows, n, "{name:?}");
        let made = "SELECT count(*) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
             WHERE lanname = 'once_row_lock'";
        assert_eq!(session.number(made), 1, "{name:?}");
        session.run(&format!("DROP SCHEMA {called} CASCADE"));
    }
    assert_eq!(session.number("SELECT count(*) FROM public.canary"), 0);
}

/// eve may create in the schema of the extension's functions, in that of the
/// made function, and is the owner of the types of columns. What she creates
/// fits every call better, and none of it runs as the caller.
#[test]
fn planted_functions_operators_and_casts_are_not_called() {
    let database = database();
    let (shop, eve) = roles(&database);
    database.session_as(&shop).run(
        "CREATE TABLE shop.payments (service int, item eve.item, mood eve.mood, mark eve.mark,
             amount numeric(8,2), n int DEFAULT 0);
         SELECT once.define_row_lock('shop.pay', 'shop.payments', '{service,item,mood,mark,amount}');
         GRANT SELECT ON shop.payments TO PUBLIC",
    );
    let mut mallory = database.session_as(&eve);
    mallory.run(
        "CREATE FUNCTION eve.caught(name text) RETURNS void LANGUAGE plpgsql AS
             'BEGIN INSERT INTO eve.caught VALUES (name, current_user); END'",
    );
    // Overloads of all that a body of this or an earlier version names.
    mallory.run(
        "DO $do$
         DECLARE
             home text;
             planted record;
         BEGIN
             FOREACH home IN ARRAY '{public,eve,shop}'::text[] LOOP
                 FOR planted IN SELECT * FROM (VALUES
                     ('with_row_lock', 'shop.payments, jsonb, jsonb, interval', 'SETOF shop.payments'),
                     ('with_row_lock', 'shop.payments, jsonb', 'SETOF shop.payments'),
                     ('row_lock', 'shop.payments, text[], jsonb, interval, int, eve.item, eve.mood, eve.mark, numeric', 'SETOF shop.payments'),
                     ('row_lock', 'shop.payments, text[], jsonb, interval, VARIADIC text[]', 'SETOF shop.payments'),
                     ('jsonb_build_object', 'text, int, text, eve.item, text, eve.mood, text, eve.mark, text, numeric', 'jsonb'),
                     ('jsonb_build_object', 'VARIADIC text[]', 'jsonb'),
                     ('text', 'eve.item', 'text'), ('text', 'eve.mood', 'text'), ('text', 'eve.mark', 'text'),
                     ('jsonb', 'text', 'jsonb'), ('interval', 'text', 'interval'), ('_text', 'text', 'text[]')
                 ) AS planted (name, types, result) LOOP
                     EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                         home, planted.name, planted.types, planted.result,
                         format('BEGIN PERFORM eve.caught(%L); RETURN%s; END', planted.name,
                             CASE WHEN planted.result LIKE 'SETOF%' THEN '' ELSE ' NULL' END));
                 END LOOP;
             END LOOP;
         END $do$",
    );
    // A cast of her own types to what a body might cast them to, and the operators of lookups.
    mallory.run(
        "DO $do$
         DECLARE
             kind text;
             target text;
             home text;
         BEGIN
             FOREACH kind IN ARRAY '{eve.mood,eve.mark}'::text[] LOOP
                 FOREACH target IN ARRAY '{text,json,jsonb,varchar}'::text[] LOOP
                     EXECUTE format('CREATE FUNCTION eve.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                         'to_' || target, kind, target,
                         'BEGIN PERFORM eve.caught(''a cast''); RETURN NULL; END');
                     EXECUTE format('CREATE CAST (%s AS %s) WITH FUNCTION eve.%I(%s) AS ASSIGNMENT',
                         kind, target, 'to_' || target, kind);
                 END LOOP;
                 FOREACH home IN ARRAY '{public,eve,shop}'::text[] LOOP
                     EXECUTE format('CREATE FUNCTION %I.same(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L',
                         home, kind, kind, 'BEGIN PERFORM eve.caught(''an operator''); RETURN true; END');
                     EXECUTE format('CREATE OPERATOR %I.= (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %I.same)',
                         home, kind, kind, home);
                 END LOOP;
             END LOOP;
         END $do$",
    );
    for search_path in [
        "''",
        "public",
        "eve, shop, public",
        "eve, shop, public, pg_catalog",
    ] {
        let mut caller = database.session_as(&shop);
        caller.run(&format!("SET search_path = {search_path}"));
        for _ in 0..2 {
            caller.run("SELECT n FROM shop.pay(1, 'i', 'sad', (1, 2), 2.50)");
            caller.run(
                "SELECT n FROM shop.pay(2, 'i', 'sad', (1, 2), 2.50, timeout => '1 s', defaults => '{}')",
            );
        }
    }
    let mut admin = database.session();
    admin.run("SET search_path = ''");
    admin.run("SELECT n FROM shop.pay(3, 'i', 'sad', (1, 2), 2.50)");
    let caught = admin.rows("SELECT DISTINCT name, role FROM eve.caught ORDER BY 1, 2");
    assert!(caught.is_empty(), "{caught:?}");
    assert_eq!(
        admin.number("SELECT pg_catalog.count(*) FROM shop.payments"),
        3
    );
}

/// A type of a key column, and values of it.
const KEYS: [(&str, &[&str]); 30] = [
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "32767"]),
    ("integer", &["-2147483648", "2147483647"]),
    (
        "bigint",
        &[
            "9007199254740992",
            "9007199254740993",
            "-9223372036854775808",
        ],
    ),
    (
        "numeric",
        &[
            "0.1",
            "0.10000000000000000001",
            "1e400",
            "-12345678901234567890.5",
            "'NaN'",
        ],
    ),
    ("numeric(8,2)", &["0.1", "2.505", "-999999.99"]),
    ("real", &["0.1", "'-Infinity'"]),
    ("double precision", &["0.1", "0.30000000000000004", "1e308"]),
    ("text", &["''", "'1'", "'it''s \"it\" \\ ö'"]),
    (
        "varchar(6)",
        &["'a'", "'abcdef'", "'abcd      '", "'ööööö '"],
    ),
    ("bpchar(6)", &["'a '", "'abcdef   '"]),
    ("name", &["'n'"]),
    ("\"char\"", &["'c'"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("bytea", &["'\\x'", "'\\x00ff5c27'"]),
    ("date", &["'2026-02-03'", "'infinity'", "'0044-03-15 BC'"]),
    ("timestamp", &["'2026-02-03 04:05:06.123456'"]),
    (
        "timestamp(3)",
        &["'2026-02-03 04:05:06.123456'", "'-infinity'"],
    ),
    ("timestamptz", &["'2026-02-03 04:05:06.123456+05:30'"]),
    ("timestamptz(0)", &["'2026-02-03 04:05:06.5+05:30'"]),
    ("time(1)", &["'04:05:06.15'"]),
    ("timetz(0)", &["'04:05:06.5+05:30'"]),
    ("interval", &["'1 year 2 mons 3 days 04:05:06.789'"]),
    ("interval(1)", &["'1 day 04:05:06.789'"]),
    ("varbit(4)", &["'101'", "''"]),
    ("inet", &["'10.0.0.1/8'"]),
    ("int[]", &["'{1,NULL,3}'"]),
    ("kinds.mood", &["'sad'", "'it''s \"ok\"'"]),
    ("kinds.code", &["'ab'", "'abcde   '"]),
    ("kinds.price", &["2.505"]),
];

/// Whatever the type is, with a unique index and without one, and whatever the
/// settings are.
#[test]
fn a_typed_key_is_the_key_in_json() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE SCHEMA kinds;
         CREATE TYPE kinds.mood AS ENUM ('sad', 'it''s \"ok\"');
         CREATE DOMAIN kinds.code AS varchar(6) CHECK (VALUE <> '');
         CREATE DOMAIN kinds.price AS numeric(8,2)",
    );
    for (i, (kind, values)) in KEYS.iter().enumerate() {
        let table = format!("kinds.t{i}");
        session.run(&format!(
            "CREATE TABLE {table} (id int GENERATED ALWAYS AS IDENTITY, k {kind});
             SELECT once.define_row_lock('kinds.f{i}', '{table}', '{{k}}')"
        ));
        for index in ["SELECT 1", &format!("CREATE UNIQUE INDEX ON {table} (k)")] {
            session.run(&format!("TRUNCATE {table}; {index}"));
            let bare = kind.split('(').next().unwrap_or(kind);
            for (j, value) in values.iter().enumerate() {
                let typed = format!("SELECT id FROM kinds.f{i}(CAST({value} AS {bare}))");
                let json = format!(
                    "SELECT id FROM with_row_lock(NULL::{table}, jsonb_build_object('k', CAST({value} AS {bare})))"
                );
                let [first, second] = match j % 2 {
                    0 => [&typed, &json],
                    _ => [&json, &typed],
                };
                let id = session.number(first);
                session.run(
                    "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';
                     SET extra_float_digits = 1; SET intervalstyle = 'sql_standard';
                     SET bytea_output = 'escape'",
                );
                assert_eq!(session.number(second), id, "{kind}: {value}");
                session.run("RESET ALL");
                let stored =
                    format!("SELECT k = CAST({value} AS {kind}) FROM {table} WHERE id = {id}");
                assert!(session.is_true(&stored), "{kind}: {value}");
            }
            let rows = session.number(&format!("SELECT count(*) FROM {table}"));
            assert_eq!(rows, values.len() as i64, "{kind}");
        }
    }
}

/// A function is for the table that had the name when it was made: another one that has taken the name is
/// not meant, and a table that has another name now may not be meant any more.
#[test]
fn a_table_of_another_name_is_refused() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE doc (k int PRIMARY KEY, n int DEFAULT 1);
         CREATE TABLE next_doc (k int PRIMARY KEY, n int DEFAULT 2);
         SELECT once.define_row_lock('with_doc', 'doc', '{k}')",
    );
    session.run("PREPARE kept AS SELECT n FROM with_doc(1)");
    assert_eq!(session.number("EXECUTE kept"), 1);
    session.run("ALTER TABLE doc RENAME TO old_doc; ALTER TABLE next_doc RENAME TO doc");
    for call in [
        "EXECUTE kept",
        "SELECT n FROM with_doc(1)",
        "SELECT with_doc(2)",
    ] {
        let refusal = session.refused(call, "55000");
        let message = refusal.message();
        assert!(
            message.contains("public.doc") && message.contains("public.old_doc"),
            "{message}"
        );
        database
            .session()
            .refused(&call.replace("EXECUTE kept", "SELECT with_doc(1)"), "55000");
    }
    assert_eq!(session.number("SELECT count(*) FROM old_doc"), 1);
    assert_eq!(session.number("SELECT count(*) FROM doc"), 0);
    session.run("DROP FUNCTION with_doc; SELECT once.define_row_lock('with_doc', 'doc', '{k}')");
    assert_eq!(session.number("SELECT n FROM with_doc(1)"), 2);
}

/// Columns of a view over a call are those of the time when it was made, by number, as in any view.
#[test]
fn views_over_calls_follow_the_table() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE doc (k int PRIMARY KEY, n int DEFAULT 1, m int DEFAULT 2);
         SELECT once.define_row_lock('with_doc', 'doc', '{k}');
         CREATE VIEW defined AS SELECT * FROM with_doc(1);
         CREATE VIEW called AS SELECT * FROM with_row_lock(NULL::doc, '{\"k\": 1}');
         CREATE VIEW found AS SELECT (entity).* FROM find_or_create(NULL::doc, '{\"k\": 1}');
         CREATE MATERIALIZED VIEW kept AS SELECT n, m FROM with_doc(1);
         CREATE FUNCTION parsed() RETURNS int BEGIN ATOMIC SELECT m FROM with_doc(1); END",
    );
    let mut other = database.session();
    let wanted = |view| match view {
        "kept" => "(1,2)",
        _ => "(1,1,2)",
    };
    for ddl in [
        "SELECT",
        "ALTER TABLE doc RENAME n TO former",
        "ALTER TABLE doc RENAME m TO n",
        "ALTER TABLE doc ADD more int DEFAULT 3",
    ] {
        // PostgreSQL 15 forbids it while a view has a constant of the row type.
        if Server::under_test().major == 15 && ddl.contains("ADD") {
            continue;
        }
        session.run(ddl);
        for session in [&mut session, &mut other, &mut database.session()] {
            for view in ["defined", "called", "found", "kept"] {
                assert_eq!(
                    session.value(&format!("SELECT v::text FROM {view} v")),
                    wanted(view),
                    "{ddl}: {view}"
                );
            }
            assert_eq!(session.number("SELECT parsed()"), 2, "{ddl}");
            session.run("REFRESH MATERIALIZED VIEW kept");
        }
    }
}

/// Whoever writes a function of the language by hand gets the row that it names with the caller's rights, or
/// an error that says what is wrong.
#[test]
fn functions_written_by_hand_do_no_more_than_made_ones() {
    const BODY: &str = r#"{"table":"public.doc","key":["k"]}"#;
    let database = database();
    let (_, eve) = roles(&database);
    database.session().run(
        "CREATE TABLE doc (k text PRIMARY KEY, n int DEFAULT 1);
         CREATE TABLE secret (k text PRIMARY KEY);
         CREATE TABLE parent (k text); CREATE TABLE child () INHERITS (parent);
         CREATE VIEW looked AS SELECT * FROM doc;
         GRANT ALL ON doc, parent, child, looked TO PUBLIC",
    );
    let mut session = database.session_as(&eve);
    session.run("SET check_function_bodies = off; SET search_path = eve, public");
    let arguments = "text, once.duration, jsonb";
    for (arguments, returns, body, values, sqlstate) in [
        (arguments, "SETOF doc", "", "'a', '1 s', '{}'", "22023"),
        (arguments, "SETOF doc", "null", "'a', '1 s', '{}'", "22023"),
        (arguments, "SETOF doc", "{", "'a', '1 s', '{}'", "22023"),
        (
            arguments,
            "SETOF doc",
            r#"{"table":"public.doc","key":[]}"#,
            "'a', '1 s', '{}'",
            "22023",
        ),
        (
            arguments,
            "SETOF doc",
            r#"{"table":"public.doc","key":["none"]}"#,
            "'a', '1 s', '{}'",
            "42703",
        ),
        (
            arguments,
            "SETOF doc",
            r#"{"table":"public.secret","key":["k"]}"#,
            "'a', '1 s', '{}'",
            "55000",
        ),
        (
            arguments,
            "SETOF secret",
            r#"{"table":"public.secret","key":["k"]}"#,
            "'a', '1 s', '{}'",
            "42501",
        ),
        (
            arguments,
            "SETOF looked",
            r#"{"table":"public.looked","key":["k"]}"#,
            "'a', '1 s', '{}'",
            "42809",
        ),
        (
            arguments,
            "SETOF parent",
            r#"{"table":"public.parent","key":["k"]}"#,
            "'a', '1 s', '{}'",
            "42809",
        ),
        (arguments, "SETOF int", BODY, "'a', '1 s', '{}'", "42809"),
        (arguments, "SETOF record", BODY, "'a', '1 s', '{}'", "42809"),
        (arguments, "int", BODY, "'a', '1 s', '{}'", "22023"),
        (
            "anyelement, once.duration, jsonb",
            "SETOF anyelement",
            BODY,
            "NULL::doc, '1 s', '{}'",
            "42809",
        ),
        (
            "text, int, jsonb",
            "SETOF doc",
            BODY,
            "'a', 1, '{}'",
            "42804",
        ),
        (
            "text, once.duration, text",
            "SETOF doc",
            BODY,
            "'a', '1 s', '{}'",
            "42804",
        ),
        ("", "SETOF doc", BODY, "", "22023"),
        ("text", "SETOF doc", BODY, "'a'", "22023"),
        (
            "text, once.duration",
            "SETOF doc",
            BODY,
            "'a', '1 s'",
            "22023",
        ),
        (
            "text, once.duration, jsonb, int",
            "SETOF doc",
            BODY,
            "'a', '1 s', '{}', 1",
            "22023",
        ),
        (
            "VARIADIC text[]",
            "SETOF doc",
            BODY,
            "'a', '1 s', '{}'",
            "22023",
        ),
        (arguments, "SETOF doc", BODY, "'a', '1 s', NULL", "22004"),
        (arguments, "SETOF doc", BODY, "'a', '-1 s', '{}'", "22023"),
    ] {
        let create = format!(
            "CREATE FUNCTION hand({arguments}) RETURNS {returns} LANGUAGE once_row_lock AS '{body}'"
        );
        session.run(&create);
        session.refused(&format!("SELECT hand({values})"), sqlstate);
        let is_malformed = !body.contains(r#""key":[""#);
        session.run("DROP FUNCTION hand; SET check_function_bodies = on");
        match is_malformed {
            true => drop(session.refused(&create, "22023")),
            false => session.run(&format!("{create}; DROP FUNCTION hand")),
        }
        session.run("SET check_function_bodies = off");
    }
    // Not a set, as a trigger too.
    session.run(&format!(
        "CREATE FUNCTION hand({arguments}) RETURNS doc LANGUAGE once_row_lock AS '{BODY}'"
    ));
    session.refused("SELECT n FROM hand('a', '1 s', '{}')", "22023");
    session.refused("SELECT hand('a', '1 s', '{}')", "22023");
    session.run(&format!(
        "CREATE FUNCTION fired() RETURNS trigger LANGUAGE once_row_lock AS '{BODY}';
         CREATE TABLE eve.fires (k text);
         CREATE TRIGGER fires BEFORE INSERT ON eve.fires FOR EACH ROW EXECUTE FUNCTION fired()"
    ));
    session.refused("INSERT INTO eve.fires VALUES ('a')", "22023");
    session.refused("DO LANGUAGE once_row_lock 'x'", "0A000");
    session.refused("SELECT once.row_lock_validator('hand'::regproc)", "42501");
    let mut superuser = database.session();
    superuser.refused("SELECT once.row_lock_validator('now'::regproc)", "42501");
    superuser.refused("SELECT once.row_lock_validator(0)", "42883");
    superuser.refused("SELECT once.row_lock_handler()", "22023");
}

/// What a column does not take is refused as it is in JSON.
#[test]
fn a_typed_key_that_does_not_fit_is_refused_as_in_json() {
    let database = database();
    let mut session = database.session();
    session.run("CREATE DOMAIN short AS varchar(3)");
    for (i, (kind, given, sqlstate)) in [
        ("varchar(3)", "'abcd'::text", "22001"),
        ("char(3)", "'abcd'::text", "22001"),
        ("numeric(4,2)", "100.0", "22003"),
        ("bit(4)", "'101'", "22026"),
        ("smallint", "70000", "22003"),
        ("short", "'abcd'", "22001"),
    ]
    .into_iter()
    .enumerate()
    {
        session.run(&format!(
            "CREATE TABLE fits{i} (service_id {kind}, line_item_id text, UNIQUE (service_id, line_item_id));
             SET pg_once.payment_table = 'fits{i}';
             SELECT once.define_row_lock('fit{i}', 'fits{i}', '{{service_id,line_item_id}}')"
        ));
        let typed = format!("SELECT fit{i}({given}, 'x')");
        let payment = format!("SELECT with_payment_lock({given}, 'x')");
        let json = format!(
            "SELECT with_row_lock(NULL::fits{i}, jsonb_build_object('service_id', {given}, 'line_item_id', 'x'))"
        );
        let wanted = session.refused(&json, sqlstate);
        // PostgreSQL casts no text to bit, and no integer to smallint, for a function's sake.
        let can_be_typed = !["bit(4)", "smallint"].contains(&kind);
        for call in [Some(payment), can_be_typed.then_some(typed)]
            .into_iter()
            .flatten()
        {
            let refusal = session.refused(&call, sqlstate);
            assert_eq!(refusal.message(), wanted.message(), "{call}");
            assert_eq!(refusal.detail(), wanted.detail(), "{call}");
        }
    }
}

/// Numbers that no double precision value is: they stay what they are, and apart.
#[test]
fn no_number_of_a_key_becomes_a_float() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE payments (service_id numeric, line_item_id bigint, n int DEFAULT 0, UNIQUE (service_id, line_item_id));
         SELECT once.define_row_lock('lock_payment', 'payments', '{service_id,line_item_id}')",
    );
    let numbers = [
        "0.1",
        "0.1000000000000000055511151231257827",
        "1e400",
        "9007199254740993",
        "9007199254740992",
    ];
    let big = [
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
    ];
    for number in numbers {
        for integer in big {
            session.run(&format!(
                "DO $$ DECLARE s numeric := {number}; i bigint := {integer}; payment payments; BEGIN
                     SELECT * INTO STRICT payment FROM lock_payment(s, i);
                     IF payment.service_id <> {number} OR payment.line_item_id <> {integer} THEN
                         RAISE 'became %', payment;
                     END IF;
                     UPDATE payments SET n = n + 1 WHERE service_id = s AND line_item_id = i;
                     PERFORM FROM with_payment_lock(s, i) WHERE NOT created;
                     IF NOT FOUND THEN RAISE 'another payment'; END IF;
                     PERFORM FROM with_row_lock(NULL::payments, jsonb_build_object('service_id', s, 'line_item_id', i))
                         WHERE n = 1;
                     IF NOT FOUND THEN RAISE 'another row'; END IF;
                 END $$"
            ));
        }
    }
    let rows = session.number("SELECT count(*) FROM payments WHERE n = 1");
    assert_eq!(rows as usize, numbers.len() * big.len());
}

/// Only functions of the caller's own are replaced, however they look.
#[test]
fn a_function_of_another_role_is_not_replaced() {
    let database = database();
    let (shop, eve) = roles(&database);
    database.session_as(&shop).run(
        "CREATE TABLE shop.doc (k text);
         GRANT ALL ON shop.doc TO PUBLIC; GRANT CREATE ON SCHEMA shop TO PUBLIC",
    );
    let define = "SELECT once.define_row_lock('shop.with_doc', 'shop.doc', '{k}')";
    let mut planter = database.session_as(&eve);
    planter.run(define);
    let source = "SELECT prosrc, proowner::regrole FROM pg_proc WHERE proname = 'with_doc'";
    let before = planter.rows(source);
    for role in [&shop, &"postgres".to_owned()] {
        let mut caller = database.session_as(role);
        let refusal = caller.refused(define, "42723");
        assert!(refusal.message().contains("shop.with_doc("), "{refusal:?}");
        assert_eq!(caller.rows(source), before);
    }
    // A member of the owner's role is not the owner either.
    database.session().run(&format!("GRANT {eve} TO {shop}"));
    database.session_as(&shop).refused(define, "42723");
    // The owner's own, but written by hand.
    planter.run(
        "DROP FUNCTION shop.with_doc;
         CREATE FUNCTION shop.with_doc(text, interval, jsonb) RETURNS SETOF shop.doc LANGUAGE sql AS
             '/* once_row_lock */ SELECT * FROM shop.doc'",
    );
    planter.refused(define, "42723");
    assert_eq!(
        planter.number("SELECT count(*) FROM pg_proc WHERE proname = 'with_doc'"),
        1
    );
}

/// Rights stay where the signature stays; two who define at once make one.
#[test]
fn defining_again_keeps_rights_and_makes_no_second() {
    let database = database();
    let (shop, eve) = roles(&database);
    let mut owner = database.session_as(&shop);
    owner.run(
        "CREATE TABLE shop.doc (k text, n int DEFAULT 1); GRANT ALL ON shop.doc TO PUBLIC;
         SELECT once.define_row_lock('shop.with_doc', 'shop.doc', '{k}');
         REVOKE EXECUTE ON FUNCTION shop.with_doc FROM PUBLIC",
    );
    let mut caller = database.session_as(&eve);
    caller.refused("SELECT shop.with_doc('k')", "42501");
    owner.run("SELECT once.define_row_lock('shop.with_doc', 'shop.doc', '{k}')");
    caller.refused("SELECT shop.with_doc('k')", "42501");
    owner.run(&format!("GRANT EXECUTE ON FUNCTION shop.with_doc TO {eve}"));
    caller.run("SELECT shop.with_doc('k')");

    let [mut first, mut second] = [database.session_as(&shop), database.session_as(&shop)];
    let define = "SELECT once.define_row_lock('shop.at_once', 'shop.doc', '{k}')";
    first.begin();
    first.run(define);
    second.send(define);
    second.waits();
    first.commit();
    // As CREATE FUNCTION does: the second is told of the first.
    second.answered_refusal("23505");
    second.run(define);
    // Whoever replaces it waits for another one who does.
    first.begin();
    first.run(define);
    second.send(define);
    second.waits_for(&first);
    first.commit();
    second.answered_rows();
    first.begin();
    first.run("DROP FUNCTION shop.at_once");
    second.send(define);
    second.waits_for(&first);
    first.commit();
    second.answered_rows();
    assert_eq!(
        owner.number("SELECT count(*) FROM pg_proc WHERE proname = 'at_once'"),
        1
    );
}

/// By a role that is no superuser, and as it was.
#[test]
fn made_functions_are_dumped_and_restored() {
    let cluster = Cluster::start(&[]);
    cluster.connect("postgres").run("CREATE ROLE alice LOGIN");
    let name = cluster.database_like("OWNER alice TEMPLATE template0").name;
    let mut alice = cluster.connect_as("alice", &name);
    alice.run("CREATE EXTENSION pg_once; CREATE SCHEMA app");
    for (i, nasty) in NASTY.into_iter().enumerate() {
        let called = identifier(nasty);
        alice.run(&format!(
            "CREATE TABLE app.{called} ({called} varchar(80), n int DEFAULT 7);
             SELECT once.define_row_lock({}, c.oid, ARRAY[{}])
             FROM pg_class c WHERE c.relname = {}",
            literal(&format!("app.f{i}")),
            literal(nasty),
            literal(nasty)
        ));
        alice.run(&format!(
            "SELECT app.f{i}('before', defaults => '{{\"n\": 8}}')"
        ));
    }
    let sources =
        "SELECT proname, prosrc, proargnames, obj_description(oid, 'pg_proc') FROM pg_proc
                   WHERE pronamespace = 'app'::regnamespace ORDER BY 1";
    let before = alice.rows(sources);
    let dump = cluster.path("dump");
    cluster.client("pg_dump", &["-U", "alice", "-Fc", "-f", &dump, &name]);
    let restored = cluster.database_like("OWNER alice TEMPLATE template0").name;
    cluster.client(
        "pg_restore",
        &[
            "-U",
            "alice",
            "--no-owner",
            "--exit-on-error",
            "-d",
            &restored,
            &dump,
        ],
    );
    let mut alice = cluster.connect_as("alice", &restored);
    assert_eq!(alice.rows(sources), before);
    for i in 0..NASTY.len() {
        assert_eq!(
            alice.number(&format!("SELECT n FROM app.f{i}('before')")),
            8
        );
        assert_eq!(alice.number(&format!("SELECT n FROM app.f{i}('after')")), 7);
    }
}

/// shop, and eve, who may create nearly everywhere and is the owner of types.
fn roles(database: &Database) -> (String, String) {
    let (shop, eve) = (
        format!("shop_{}", database.name),
        format!("eve_{}", database.name),
    );
    database.session().run(&format!(
        "CREATE ROLE {shop} LOGIN; CREATE ROLE {eve} LOGIN;
         CREATE SCHEMA shop AUTHORIZATION {shop}; CREATE SCHEMA eve AUTHORIZATION {eve};
         GRANT ALL ON SCHEMA public, eve TO PUBLIC; GRANT ALL ON SCHEMA shop TO {eve};
         SET ROLE {eve};
         CREATE DOMAIN eve.item AS varchar(20);
         CREATE TYPE eve.mood AS ENUM ('sad');
         CREATE TYPE eve.mark AS (a int, b int);
         CREATE TABLE eve.caught (name text, role text);
         GRANT ALL ON eve.caught TO PUBLIC"
    ));
    (shop, eve)
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// It reads the same whatever standard_conforming_strings is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
