//! What can go wrong with what callers pass in: bytes, sizes, settings, tables
//! that change under the call, transactions that are over, and errors of the
//! user's own objects.

use pg_once_sessions::{Cluster, Database, Failure, Rows, Session, database};
use postgres::error::DbError;
use std::time::{Duration, Instant};

/// In a SQL_ASCII database every byte is a character. Such keys are told
/// apart byte by byte, or refused with 22021, and never anything else.
#[test]
fn bytes_that_are_no_utf8_are_told_apart_or_refused() {
    let shared = database();
    let ascii = shared
        .cluster
        .database_like("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    let mut session = ascii.session();
    session.run("CREATE EXTENSION pg_once; CREATE TABLE t (key text, n int DEFAULT 0)");
    session.run("SET client_encoding = 'SQL_ASCII'");
    assert!(session.is_true("SELECT claim_once('ns', 'valid')"));
    assert!(!session.is_true("SELECT claim_once('ns', 'valid')"));
    for made in ["claim_once(%)", "claim_once_per('1 hour', %)"] {
        for arguments in [
            "'ns', chr(#)",
            "chr(#), 'k'",
            "'ns', 'part', chr(#)",
            "'ns', chr(#), 1",
            "'ns', 'valid' || chr(#)",
            "'ns', chr(195) || chr(#)",
        ] {
            let call = |function: &str, byte: &str| {
                let arguments = arguments.replace('#', byte);
                format!("SELECT {}", function.replace('%', &arguments))
            };
            session.run("DELETE FROM once.claim");
            let told = [
                call(made, "255"),
                call(made, "254"),
                call(made, "255"),
                call("is_claimed(%)", "254"),
                call("unclaim(%)", "254"),
                call("is_claimed(%)", "254"),
                call("is_claimed(%)", "255"),
            ]
            .map(|call| told_or_22021(&mut session, &call));
            let right = ["t", "t", "f", "t", "t", "f", "t"].map(|told| Some(told.to_owned()));
            let refused = [const { None }; 7];
            assert!(
                told == right || told == refused,
                "{made} {arguments}: {told:?}"
            );
        }
    }
    for byte in ["255", "254", "255"] {
        let key = format!("jsonb_build_object('key', chr({byte}))");
        told_or_22021(
            &mut session,
            &format!("SELECT n FROM with_row_lock(NULL::t, {key})"),
        );
        told_or_22021(
            &mut session,
            &format!("SELECT created FROM find_or_create(NULL::t, {key})"),
        );
    }
    let wrong = "SELECT count(*) FROM t WHERE key NOT IN (chr(255), chr(254))";
    assert_eq!(session.number(wrong), 0);
    assert_eq!(
        session.number("SELECT count(*) - count(DISTINCT key) FROM t"),
        0
    );
    for call in [
        "with_row_lock(NULL::t, jsonb_build_object(chr(255), 1))",
        "with_row_lock(NULL::t, '{\"key\": \"a\"}', jsonb_build_object(chr(255), 1))",
        "octet_length(once_key(chr(255), 'a'))",
    ] {
        let told = session.try_run(&format!("SELECT {call}"));
        let expected = match &told {
            Ok(_) => call.starts_with("octet_length"),
            Err(failure) => ["22021", "42703"].contains(&failure.sqlstate()),
        };
        assert!(expected, "{call}: {told:?}");
    }
    session.run(
        "DO $$ BEGIN
             EXECUTE format('CREATE TABLE %I (%I text)', chr(255), chr(254));
             EXECUTE format('SELECT with_row_lock(NULL::%I, jsonb_build_object(%L, 1))', chr(255), chr(254));
         EXCEPTION WHEN character_not_in_repertoire OR wrong_object_type THEN
         END $$",
    );
    session.run(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'bytes %', chr(255) USING ERRCODE = 'ZX123', DETAIL = chr(254);
         END $$;
         CREATE TABLE failing (key text);
         CREATE TRIGGER fail BEFORE INSERT ON failing FOR EACH ROW EXECUTE FUNCTION fail();
         DO $$ DECLARE message text; detail text; BEGIN
             PERFORM with_row_lock(NULL::failing, '{\"key\": \"a\"}');
         EXCEPTION WHEN SQLSTATE 'ZX123' THEN
             GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
             ASSERT message = 'bytes ' || chr(255) AND detail = chr(254), message;
         END $$",
    );
    assert!(!session.is_true("SELECT claim_once('ns', 'other') AND false"));
}

/// A key is text of the database's encoding, whichever that is.
#[test]
fn keys_of_another_encoding_work() {
    let shared = database();
    let latin = shared
        .cluster
        .database_like("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    let mut session = latin.session();
    session.run("CREATE EXTENSION pg_once; CREATE TABLE \"é\" (\"ü\" text, n int DEFAULT 0)");
    for (key, won) in [("é", true), ("è", true), ("é", false), ("e", true)] {
        assert_eq!(
            session.is_true(&format!("SELECT claim_once('ns', '{key}')")),
            won,
            "{key}"
        );
        let parts = format!("SELECT claim_once('ñs', '{key}', 'ß')");
        assert_eq!(session.is_true(&parts), won, "{key}");
        let row =
            format!("SELECT created FROM find_or_create(NULL::\"é\", '{{\"ü\": \"{key}\"}}')");
        assert_eq!(session.is_true(&row), won, "{key}");
    }
    assert_eq!(session.value("SELECT right(once_key('é', 'ß'), 1)"), "ß");
    session.refused("SELECT with_row_lock(NULL::\"é\", '{\"ö\": 1}')", "42703");
    assert_eq!(
        session.rows("SELECT \"ü\" FROM \"é\" ORDER BY \"ü\""),
        ["e", "è", "é"].map(|key| [Some(key.to_owned())])
    );
}

#[test]
fn huge_keys_are_refused_and_the_session_goes_on() {
    let database = database();
    let mut session = database.session();
    let megabyte = "x".repeat(1 << 20);
    for key in [
        format!("'{megabyte}'"),
        "repeat('x', 100000000)".to_owned(),
        "repeat('x', 2001)".to_owned(),
    ] {
        for call in [
            format!("claim_once('ns', {key})"),
            format!("claim_once('ns', 'part', {key})"),
            format!("claim_once('ns', VARIADIC ARRAY['a', {key}])"),
            format!("claim_once({key}, 'k')"),
            format!("claim_once_per('1 hour', 'ns', {key})"),
            format!("is_claimed('ns', {key})"),
            format!("unclaim('ns', {key})"),
        ] {
            let error = session.refused(&format!("SELECT {call}"), "22023");
            assert!(
                error
                    .message()
                    .contains(if call.contains("'k'") { "128" } else { "2000" }),
                "{error:?}"
            );
            assert!(error.message().len() + error.detail().unwrap_or("").len() < 1000);
        }
    }
    assert!(session.is_true("SELECT claim_once('ns', repeat('x', 2000))"));
    assert!(!session.is_true("SELECT claim_once('ns', repeat('x', 2000))"));
    assert!(session.is_true("SELECT claim_once(repeat('n', 128), repeat('x', 2000))"));
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 2);

    session.run("CREATE TABLE big (key text, n int DEFAULT 0)");
    for size in [1 << 20, 10_000_000] {
        let take = format!(
            "SELECT n FROM with_row_lock(NULL::big, jsonb_build_object('key', repeat('x', {size})))"
        );
        assert_eq!(session.number(&take), 0);
        assert_eq!(session.number(&take), 0);
    }
    assert_eq!(session.number("SELECT count(*) FROM big"), 2);
    session
        .run("CREATE UNIQUE INDEX ON big (n, key) WHERE false; CREATE TABLE bad (key text UNIQUE)");
    let random = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i)";
    session.refused(
        &format!("SELECT with_row_lock(NULL::bad, jsonb_build_object('key', {random}))"),
        "54000",
    );
}

/// A key has not room for millions of parts: none of them is read.
#[test]
fn keys_of_millions_of_parts_are_refused_at_once() {
    let database = database();
    let mut session = database.session();
    for (call, sqlstate, limit) in [
        ("once_key(VARIADIC $)", "22023", "2000"),
        ("claim_once('ns', VARIADIC $)", "22023", "2000"),
        ("is_claimed('ns', VARIADIC $)", "22023", "2000"),
    ] {
        for parts in [
            "array_fill(date '2020-01-01', ARRAY[3000000])",
            "array_fill('x'::text, ARRAY[3000, 1000])",
        ] {
            let query = format!("SELECT {}", call.replace('$', parts));
            session.run("SET statement_timeout = '200ms'");
            let begun = Instant::now();
            let error = session.try_run(&query).expect_err(&query);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(5), "{query} took {took:?}");
            session.run("RESET statement_timeout");
            if error.sqlstate() != "57014" {
                let error = session.refused(&query, sqlstate);
                let told = format!("{} {:?}", error.message(), error.detail());
                assert!(told.contains(limit), "{error:?}");
            }
        }
    }
    for (parts, is_short) in [
        ("VARIADIC array_fill(''::text, ARRAY[2000])", true),
        ("VARIADIC array_fill(''::text, ARRAY[2001])", false),
        ("VARIADIC array_fill(7, ARRAY[1000])", true),
        ("VARIADIC array_fill(7, ARRAY[1001])", false),
        ("'ab'::char(5000), 'c'::text", true),
        ("repeat('x', 1999)::bpchar, 'c'::text", false),
    ] {
        let key = format!("SELECT octet_length(once_key({parts})) <= 2000");
        match is_short {
            true => assert!(session.is_true(&key), "{parts}"),
            false => {
                let error = session.refused(&key, "22023");
                assert_eq!(error.message(), "key must not be longer than 2000 bytes");
            }
        }
    }
}

/// The text of a part depends on no setting.
#[test]
fn once_key_is_the_same_under_all_settings() {
    const PARTS: [&str; 22] = [
        "true",
        "42::int2",
        "-7::int8",
        "1.50::numeric",
        "0.1::float8",
        "'-0'::float8",
        "1e300::float8 / 3",
        "0.1::float4",
        "'NaN'::float8",
        "'2026-01-02 03:04:05.678901+09'::timestamptz",
        "'infinity'::timestamptz",
        "'0044-03-15 12:00+00 BC'::timestamptz",
        "'2026-01-02 03:04:05'::timestamp",
        "'2026-01-02'::date",
        "'03:04:05.5'::time",
        "'03:04:05.5+02'::timetz",
        "interval '1 year -2 months 3 days -04:05:06.789'",
        "'\\x00ff5c27'::bytea",
        "'5F9A0B1C-0000-4000-8000-00000000000A'::uuid",
        "'(1.1,2.2)'::point",
        "int4range(1, 5)",
        "tstzrange('2026-01-02 03:04:05+00', NULL)",
    ];
    const SETTINGS: [&str; 10] = [
        "SET TimeZone = 'Asia/Kathmandu'",
        "SET TimeZone = 'America/St_Johns'",
        "SET DateStyle = 'German'",
        "SET DateStyle = 'SQL, DMY'",
        "SET DateStyle = 'Postgres, MDY'",
        "SET IntervalStyle = 'iso_8601'",
        "SET IntervalStyle = 'sql_standard'",
        "SET IntervalStyle = 'postgres_verbose'",
        "SET extra_float_digits = -15",
        "SET bytea_output = 'escape'",
    ];
    let mut session = database().session();
    session.run("SET TimeZone = 'UTC'");
    // Each value stays the same: what changes is how it is printed.
    session.run("CREATE TABLE part (name text)");
    for (number, part) in PARTS.iter().enumerate() {
        session.run(&format!("CREATE TABLE part_{number} AS SELECT {part} AS p"));
    }
    let keys = |session: &mut Session| -> Vec<Rows> {
        (0..PARTS.len())
            .map(|n| {
                session.rows(&format!(
                    "SELECT once_key(p), once_key(p, 'b') FROM part_{n}"
                ))
            })
            .collect()
    };
    let plain = keys(&mut session);
    for setting in SETTINGS {
        session.run(setting);
        assert_eq!(keys(&mut session), plain, "{setting}");
        session.run("RESET ALL");
        session.run(setting);
        let won = "SELECT claim_once('ns', p) FROM part_9";
        assert_eq!(session.is_true(won), setting == SETTINGS[0], "{setting}");
        session.run("RESET ALL; SET TimeZone = 'UTC'");
    }
    session.run(&SETTINGS.join(";"));
    assert_eq!(keys(&mut session), plain);
    assert_eq!(
        session.value("SELECT once_key(p) FROM part_9"),
        "2026-01-01T18:04:05.678901Z"
    );
}

/// A table that another session has changed since this one last used it.
#[test]
fn tables_changed_between_two_calls_are_seen_as_they_are() {
    for unique in [true, false] {
        let database = database();
        let [mut caller, mut other] = database.sessions();
        for (change, call, told) in CHANGES {
            make_table(&mut other, unique);
            caller.run(TAKE);
            caller.run(TAKE);
            other.run(change);
            let call = if call.is_empty() { TAKE } else { call };
            let answer = outcome(&caller.try_run(call));
            assert_eq!(answer, told, "{change}");
            let answer = outcome(&caller.try_run(call));
            assert_eq!(answer, told, "{change}, again");
            other.run("DROP TABLE IF EXISTS t, renamed");
        }
    }
}

/// A table that another session changes while the call waits for it. A row
/// type that is no longer what the query expects is refused, by core or before.
#[test]
fn tables_changed_during_a_call_are_answered_or_refused() {
    for unique in [true, false] {
        let database = database();
        let [mut caller, mut other] = database.sessions();
        for (change, _, told) in CHANGES {
            for timeout in ["NULL", "'30 s'"] {
                make_table(&mut other, unique);
                caller.run(TAKE);
                other.begin();
                other.run(change);
                caller.send(&TAKE.replace(")", &format!(", timeout => {timeout})")));
                caller.waits_for(&other);
                other.commit();
                let answer = outcome(&caller.answer());
                let changed = ["0A000", "42804", "42P01"].contains(&answer.as_str());
                assert!(changed || answer == told, "{change} {timeout}: {answer}");
                assert_eq!(caller.value("SELECT 'alive'"), "alive");
                other.run("DROP TABLE IF EXISTS t, renamed");
            }
        }
    }
}

/// The row is found by a plan that was made before the change.
#[test]
fn a_unique_index_that_comes_or_goes_keeps_one_row() {
    let database = database();
    let [mut caller, mut other] = database.sessions();
    make_table(&mut other, true);
    caller.run(TAKE);
    other.run("ALTER TABLE t DROP CONSTRAINT t_key_key");
    let take = |key: &str| TAKE.replace("\"a\"", &format!("\"{key}\""));
    other.begin();
    other.run(&take("b"));
    caller.send(&take("b"));
    caller.waits_for(&other);
    other.commit();
    caller.answered_rows();
    assert_eq!(other.number("SELECT count(*) FROM t"), 2);
    other.run("CREATE UNIQUE INDEX ON t (key)");
    other.begin();
    other.run(&take("c"));
    caller.send(&take("c"));
    caller.waits_for(&other);
    other.commit();
    caller.answered_rows();
    assert_eq!(other.number("SELECT count(*) FROM t"), 3);
}

#[test]
fn the_extension_dropped_and_made_again_works_in_old_sessions() {
    let database = database();
    let [mut caller, mut other] = database.sessions();
    assert!(caller.is_true("SELECT claim_once('ns', 'k')"));
    assert!(!caller.is_true("SELECT claim_once('ns', 'k')"));
    other.run("DROP EXTENSION pg_once");
    caller.refused("SELECT claim_once('ns', 'k')", "42883");
    other.run("CREATE EXTENSION pg_once");
    assert!(caller.is_true("SELECT claim_once('ns', 'k')"));
    assert!(!caller.is_true("SELECT claim_once('ns', 'k')"));
    other.begin();
    other.run("DROP EXTENSION pg_once");
    caller.send("SELECT claim_once('ns', 'l')");
    caller.waits_for(&other);
    other.commit();
    let told = caller.answer();
    assert!(
        ["42P01", "42883"].contains(&told.as_ref().unwrap_err().sqlstate()),
        "{told:?}"
    );
}

#[test]
fn an_aborted_transaction_says_so() {
    let mut session = database().session();
    session.run(
        "CREATE TABLE t (key text); CREATE TABLE payments (service_id int, line_item_id text)",
    );
    for call in [
        "claim_once('ns', 'k')",
        "claim_once_per('1 hour', 'ns', 'k')",
        "is_claimed('ns', 'k')",
        "unclaim('ns', 'k')",
        "once_key('a', 'b')",
        "with_row_lock(NULL::t, '{\"key\": \"a\"}')",
        "find_or_create(NULL::t, '{\"key\": \"a\"}')",
        "with_payment_lock(1, 'A')",
    ] {
        session.begin();
        session.refused("SELECT 1 / 0", "22012");
        session.refused(&format!("SELECT {call}"), "25P02");
        session.rollback();
        session.run(&format!("SELECT {call}"));
    }
}

#[test]
fn the_users_own_errors_arrive_whole() {
    errors_arrive_whole(&database());
}

/// pgrx puts a backtrace into the detail of errors then.
#[test]
fn the_users_own_errors_arrive_whole_from_a_server_with_backtraces() {
    let cluster = Cluster::start_with(&[], &[("RUST_BACKTRACE", "1")]);
    errors_arrive_whole(&cluster.database());
    let [mut plain, mut traced] = [database().session(), cluster.database().session()];
    for call in [
        "claim_once('', 'k')",
        "claim_once('ns', NULL::text)",
        "claim_once('ns', repeat('x', 3000))",
        "claim_once('ns', ARRAY['a'])",
        "claim_once_per('-1 s', 'ns', 'k')",
        "with_row_lock(NULL::pg_class, '{\"relname\": \"a\"}')",
        "with_row_lock(1, '{}')",
        "with_payment_lock(1, 'A')",
    ] {
        let [expected, got] = [&mut plain, &mut traced].map(|session| {
            match session.try_run(&format!("SELECT {call}")) {
                Err(Failure::Refused(error)) => fields(&error),
                told => panic!("{call}: {told:?}"),
            }
        });
        assert_eq!(got, expected, "{call}");
    }
}

const TAKE: &str = "SELECT n FROM with_row_lock(NULL::t, '{\"key\": \"a\"}')";

/// A change of the table `t (key text, n int)`, the call after it where that
/// is another, and what it is told.
const CHANGES: [(&str, &str, &str); 10] = [
    ("DROP TABLE t", "", "42704"),
    (
        "DROP TABLE t; CREATE TABLE t (key text, n int DEFAULT 0)",
        "",
        "row",
    ),
    (
        "ALTER TABLE t RENAME TO renamed",
        "SELECT n FROM with_row_lock(NULL::renamed, '{\"key\": \"a\"}')",
        "row",
    ),
    ("ALTER TABLE t RENAME COLUMN key TO other", "", "42703"),
    ("ALTER TABLE t DROP COLUMN key", "", "42703"),
    (
        "ALTER TABLE t DROP COLUMN n",
        "SELECT key FROM with_row_lock(NULL::t, '{\"key\": \"a\"}')",
        "row",
    ),
    ("ALTER TABLE t ADD COLUMN more text DEFAULT 'x'", "", "row"),
    ("ALTER TABLE t ALTER COLUMN n TYPE numeric", "", "row"),
    ("ALTER TABLE t ALTER COLUMN key TYPE varchar(50)", "", "row"),
    ("TRUNCATE t", "", "row"),
];

fn make_table(session: &mut Session, unique: bool) {
    let index = if unique { "UNIQUE" } else { "" };
    session.run(&format!(
        "CREATE TABLE t (key text {index}, n int DEFAULT 0)"
    ));
}

/// "row", "none" or the SQLSTATE.
fn outcome(told: &Result<Rows, Failure>) -> String {
    match told {
        Ok(rows) if rows.is_empty() => "none".to_owned(),
        Ok(_) => "row".to_owned(),
        Err(failure) => failure.sqlstate().to_owned(),
    }
}

/// The value, or none where the bytes were refused.
fn told_or_22021(session: &mut Session, sql: &str) -> Option<String> {
    match session.try_run(sql) {
        Ok(rows) => rows[0][0].clone(),
        Err(failure) => {
            assert_eq!(failure.sqlstate(), "22021", "{sql}: {failure:?}");
            None
        }
    }
}

/// Makes the same error by an INSERT and by the functions, and compares all
/// that a driver sees of it.
fn errors_arrive_whole(database: &Database) {
    const FAILING: [(&str, &str, &str); 13] = [
        ("CHECK (n >= 0)", "-1", "23514"),
        ("CONSTRAINT \"my check\" CHECK (n <> 4)", "4", "23514"),
        ("ALTER COLUMN n SET NOT NULL", "NULL", "23502"),
        ("FOREIGN KEY (n) REFERENCES parent", "9", "23503"),
        ("CONSTRAINT other UNIQUE (n)", "1", "23505"),
        (
            "EXCLUDE USING gist (int4range(n, n + 1) WITH &&)",
            "1",
            "23P01",
        ),
        ("ALTER COLUMN n TYPE small", "100", "23514"),
        (
            "ADD COLUMN g int GENERATED ALWAYS AS (1 / n) STORED",
            "0",
            "22012",
        ),
        ("BEFORE INSERT", "1", "ZX123"),
        ("AFTER INSERT", "1", "ZX123"),
        ("BEFORE INSERT", "2", "P0001"),
        ("BEFORE INSERT", "3", "40001"),
        ("BEFORE INSERT", "5", "57014"),
    ];
    let mut session = database.session();
    session.run(
        "CREATE TABLE parent (id int PRIMARY KEY);
         CREATE DOMAIN small AS int CONSTRAINT \"is small\" CHECK (VALUE < 10);
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.key <> 'a' THEN
                 RETURN NEW;
             ELSIF NEW.n = 1 THEN
                 RAISE EXCEPTION USING ERRCODE = 'ZX123', MESSAGE = 'my % message',
                     DETAIL = E'my\ndetail', HINT = 'my hint', SCHEMA = 'my schema',
                     TABLE = 'my table', COLUMN = 'my column', DATATYPE = 'my type',
                     CONSTRAINT = 'my constraint';
             ELSIF NEW.n = 2 THEN
                 RAISE 'plain';
             ELSIF NEW.n = 3 THEN
                 RAISE serialization_failure USING HINT = 'again';
             END IF;
             RAISE query_canceled USING MESSAGE = 'my own cancel';
         END $$",
    );
    for index in ["", "UNIQUE"] {
        for (constraint, n, sqlstate) in FAILING {
            session.run(&format!("CREATE TABLE t (key text {index}, n int)"));
            session.run("INSERT INTO t VALUES ('first', 1)");
            session.run("INSERT INTO parent VALUES (1) ON CONFLICT DO NOTHING");
            if constraint.ends_with("INSERT") {
                session.run(&format!(
                    "CREATE TRIGGER fail {constraint} ON t FOR EACH ROW EXECUTE FUNCTION fail()"
                ));
            } else if constraint.starts_with("A") {
                session.run(&format!("ALTER TABLE t {constraint}"));
            } else {
                session.run(&format!("ALTER TABLE t ADD {constraint}"));
            }
            let expected = session.refused(
                &format!("INSERT INTO t (key, n) VALUES ('a', {n})"),
                sqlstate,
            );
            let json = format!("'{{\"key\": \"a\"}}', '{{\"n\": {}}}'", n.to_lowercase());
            for call in [
                format!("with_row_lock(NULL::t, {json})"),
                format!("with_row_lock(NULL::t, {json}, timeout => '10 s')"),
                format!("find_or_create(NULL::t, {json})"),
                format!("find_or_create(NULL::t, {json}, lock => true)"),
            ] {
                let error = session.refused(&format!("SELECT {call}"), sqlstate);
                assert_eq!(
                    fields(&error),
                    fields(&expected),
                    "{index} {constraint}: {call}"
                );
            }
            session.run("DROP TABLE t");
        }
    }
}

/// All that an error says of itself, apart from where it was raised.
fn fields(error: &DbError) -> [Option<String>; 10] {
    [
        Some(error.severity()),
        Some(error.code().code()),
        Some(error.message()),
        error.detail(),
        error.hint(),
        error.schema(),
        error.table(),
        error.column(),
        error.datatype(),
        error.constraint(),
    ]
    .map(|field| field.map(str::to_owned))
}
