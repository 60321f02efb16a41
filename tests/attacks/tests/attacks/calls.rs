//! Hostile calls of every function of the extension, at random, in databases of three encodings. The seed
//! is printed; `PG_ONCE_SEED` takes it again, `PG_ONCE_CALLS` changes how many calls are made.

use fastrand::Rng;
use pg_once_attacks::{Actor, Scene, count, own};
use std::thread;
use std::time::Duration;

const CALLS: usize = 30_000;
const SESSIONS: usize = 6;
const BATCH: usize = 60;

/// What the server may say: the contract's list and core's for bad input, by class or code. Class XX,
/// 58 and whatever else is not here is a fault.
const ALLOWED: &[&str] = &[
    "00000", "0A000", "0LP01", "21000", "22", "23", "24000", "25", "2BP01", "34000", "3B001",
    "3D000", "3F000", "40001", "40P01", "42", "428C9", "53", "54", "55", "57014", "P0001", "P0004",
];

#[derive(Clone)]
struct Function {
    name: String,
    types: Vec<String>,
    names: Vec<String>,
    defaults: usize,
    variadic: bool,
    set: bool,
}

#[test]
fn hostile_calls_crash_nothing() {
    let seed: u64 = number_of("PG_ONCE_SEED").unwrap_or_else(|| fastrand::u64(1..1_000_000_000));
    let calls = number_of("PG_ONCE_CALLS").map_or(CALLS, |calls| calls as usize);
    println!("hostile calls: PG_ONCE_SEED={seed} PG_ONCE_CALLS={calls}");
    let cluster = own(true);
    let scenes: Vec<Scene> = ["UTF8", "LATIN1", "SQL_ASCII"]
        .iter()
        .map(|encoding| {
            let scene = Scene::like(
                cluster,
                &format!("TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"),
            );
            prepare(&scene);
            scene
        })
        .collect();
    let functions = functions(&mut scenes[0].superuser());
    assert!(functions.len() >= 59, "{} functions", functions.len());
    let made: usize = thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let scene = &scenes[number % scenes.len()];
                let functions = &functions;
                scope.spawn(move || {
                    session(
                        scene,
                        number,
                        functions,
                        Rng::with_seed(seed + number as u64),
                        calls / SESSIONS,
                    )
                })
            })
            .collect();
        sessions
            .into_iter()
            .map(|session| {
                session
                    .join()
                    .unwrap_or_else(|failed| std::panic::resume_unwind(failed))
            })
            .sum()
    });
    for scene in &scenes {
        scene.server_is_whole(&[]);
        strange_lines(scene);
    }
    count("hostile calls", made);
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap())
}

/// Relations of every kind, types, and the function that makes a call and says how it ended.
fn prepare(scene: &Scene) {
    scene.tenant().run("CREATE EXTENSION pg_once SCHEMA tenant");
    let mut superuser = scene.superuser();
    superuser.run("GRANT ALL ON SCHEMA tenant TO PUBLIC");
    superuser.run(
        "SET search_path = tenant, public;
         SELECT once.configure('closed', allowed_role => '@team');
         CREATE TYPE pair AS (a int, b text);
         CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE DOMAIN short AS text CHECK (length(VALUE) < 5);
         CREATE DOMAIN pair_of_mine AS pair CHECK ((VALUE).a > 0);
         CREATE DOMAIN keys AS text[];
         CREATE TABLE plain (id int PRIMARY KEY, k text, n int DEFAULT 0);
         CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY, k text UNIQUE, p pair, m mood, s short, d pair_of_mine,
             t timestamptz, j jsonb, x xml, f float8, ks text[], g int GENERATED ALWAYS AS (length(k)) STORED);
         CREATE TABLE parted (id int, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
         CREATE TABLE heir () INHERITS (plain);
         CREATE TABLE nothing ();
         CREATE TABLE dropped (a int, b text, c int);
         ALTER TABLE dropped DROP COLUMN b;
         CREATE TABLE payments (service_id int, line_item_id text, UNIQUE (service_id, line_item_id));
         CREATE TABLE doubled (id int PRIMARY KEY, k int);
         INSERT INTO doubled SELECT n, n % 7 FROM generate_series(1, 40) n;
         CREATE TABLE doubled_child (id int PRIMARY KEY, d int REFERENCES doubled);
         INSERT INTO doubled_child SELECT n, n FROM generate_series(1, 40) n;
         CREATE TABLE guarded (id int PRIMARY KEY, k text);
         ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
         CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'P0001'; END $$;
         CREATE TABLE refusing (id int PRIMARY KEY);
         CREATE TRIGGER failing BEFORE INSERT ON refusing FOR EACH ROW EXECUTE FUNCTION failing();
         CREATE VIEW seen AS SELECT * FROM plain;
         CREATE MATERIALIZED VIEW picture AS SELECT * FROM plain;
         CREATE SEQUENCE numbers;
         CREATE UNLOGGED TABLE quick (id int);
         GRANT ALL ON ALL TABLES IN SCHEMA tenant TO PUBLIC;
         CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE who text := current_user;
         BEGIN
             EXECUTE call;
             IF current_user <> who THEN RETURN 'other user ' || current_user; END IF;
             RETURN '00000';
         -- What statement_timeout ends is over, or those that come after it would have none.
         EXCEPTION WHEN assert_failure OR OTHERS THEN
             IF current_user <> who THEN RETURN 'other user ' || current_user; END IF;
             RETURN SQLSTATE || CASE WHEN SQLSTATE LIKE 'XX%' OR SQLSTATE LIKE '58%' THEN ' ' || SQLERRM ELSE '' END;
         END $$;
         CREATE FUNCTION nested(call text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             BEGIN RETURN attempt(call); EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END;
         END $$",
    );
    let _ = superuser.try_run("CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
         CREATE FOREIGN TABLE tenant.far (id int, k text) SERVER nowhere; GRANT ALL ON tenant.far TO PUBLIC");
}

/// All functions of the extension, as pg_proc has them.
fn functions(superuser: &mut Actor) -> Vec<Function> {
    superuser
        .rows(
            "SELECT quote_ident(nspname) || '.' || quote_ident(proname),
                    array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) WITH ORDINALITY a(t, n) ORDER BY n), '|'),
                    array_to_string(proargnames[1:pronargs], '|'), pronargdefaults, provariadic <> 0, proretset
             FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
               AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_once')
             ORDER BY 1, 2",
        )
        .into_iter()
        .map(|row| {
            let text = |column: usize| row[column].clone().unwrap_or_default();
            let list = |column: usize| match text(column) {
                empty if empty.is_empty() => vec![],
                some => some.split('|').map(str::to_owned).collect(),
            };
            Function {
                name: text(0),
                types: list(1),
                names: list(2),
                defaults: text(3).parse().unwrap(),
                variadic: text(4) == "t",
                set: text(5) == "t",
            }
        })
        .collect()
}

fn session(
    scene: &Scene,
    number: usize,
    functions: &[Function],
    mut rng: Rng,
    calls: usize,
) -> usize {
    let mut actor = match number % 3 {
        0 => scene.tenant(),
        1 => scene.eve(),
        _ => scene.superuser(),
    };
    // The sessions of one encoding differ in their role.
    if number >= 3 {
        actor = scene.shop();
    }
    let me = actor.value("SELECT current_user");
    actor.run(
        "SET search_path = tenant, public; SET lock_timeout = '20ms'; SET client_min_messages = error;
         SET statement_timeout = '20s'",
    );
    let mut made = 0;
    while made < calls {
        let statements: Vec<String> = (0..BATCH)
            .map(|_| {
                let function = &functions[rng.usize(..functions.len())];
                statement(&mut rng, function)
            })
            .collect();
        let begin = BEGINS[rng.usize(..BEGINS.len())];
        actor.run(begin);
        let quoted: Vec<String> = statements.iter().map(|call| quoted(call)).collect();
        let answer = actor.try_run(&format!(
            "SELECT n, {}(call) FROM unnest(ARRAY[{}]) WITH ORDINALITY c(call, n)",
            if rng.u8(..8) == 0 {
                "nested"
            } else {
                "attempt"
            },
            quoted.join(", ")
        ));
        match answer {
            Ok(rows) => {
                for (row, call) in rows.iter().zip(&statements) {
                    let told = row[1].clone().unwrap_or_default();
                    assert!(
                        ALLOWED.iter().any(|allowed| told.starts_with(allowed)),
                        "{begin}; {call}: {told}"
                    );
                }
            }
            Err(failure) if failure.sqlstate() == "lost" => {
                // The log is written when the postmaster has seen it.
                thread::sleep(Duration::from_secs(2));
                panic!("{begin}; a crash: {:#?}", scene.crashes());
            }
            Err(failure) => assert!(
                ["25P02", "40001", "57014"].contains(&failure.sqlstate()),
                "{begin}; one of {statements:#?}: {failure:?}"
            ),
        }
        made += BATCH;
        let end = if rng.bool() { "COMMIT" } else { "ROLLBACK" };
        let ended = actor.told(end);
        assert!(
            ALLOWED.iter().any(|allowed| ended.starts_with(allowed)),
            "{end}: {ended}"
        );
        assert_eq!(actor.value("RESET ROLE; SELECT current_user"), me);
        let _ = actor.try_run("CLOSE ALL; SELECT pg_advisory_unlock_all()");
    }
    made
}

const BEGINS: &[&str] = &[
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "BEGIN READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "BEGIN; SET LOCAL pg_once.claim_engine = 'statement'",
    "BEGIN; SET LOCAL pg_once.duplicate_rows = 'first'",
    "BEGIN; SET LOCAL pg_once.payment_table = '\"no.such'",
    "BEGIN; SET LOCAL work_mem = '64kB'",
    "BEGIN; SAVEPOINT a; SAVEPOINT b",
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One call in one of the places where a call can stand.
fn statement(rng: &mut Rng, function: &Function) -> String {
    let call = call(rng, function, 0);
    match rng.u8(..16) {
        0 => format!("SELECT * FROM {call}"),
        1 => format!("SELECT * FROM {call} LIMIT 1"),
        2 => format!("SELECT {call} FROM generate_series(1, 3)"),
        3 => format!("SELECT count({call}) FROM generate_series(1, 2)")
            .replace("count(", if function.set { "(" } else { "count(" }),
        4 => {
            format!("SELECT 1 WHERE ({call}) IS NULL").replace(
                "WHERE",
                if function.set {
                    "FROM (SELECT"
                } else {
                    "WHERE"
                },
            ) + if function.set { ") x" } else { "" }
        }
        5 => format!("SELECT CASE WHEN random() < 2 THEN 1 END, {call}"),
        6 => format!("SELECT ({call})::text"),
        7 if rng.bool() => format!("DECLARE c{} CURSOR FOR SELECT {call}", rng.u16(..)),
        7 => format!(
            "DO $do$ DECLARE c refcursor; r record; BEGIN OPEN c FOR SELECT {call}; FETCH c INTO r; CLOSE c; END $do$"
        ),
        8 => format!("DO $do$ BEGIN SET LOCAL ROLE NONE; PERFORM {call}; END $do$"),
        9 => format!(
            "SELECT * FROM generate_series(1, 2) g, LATERAL (SELECT {call} AS v, g) l LIMIT 1"
        ),
        10 => format!(
            "CREATE TEMPORARY TABLE temporary_{} AS SELECT ({call})::text AS v",
            rng.u32(..)
        ),
        11 => format!("WITH w AS MATERIALIZED (SELECT {call} AS v) SELECT * FROM w, w v"),
        12 => format!("EXPLAIN (ANALYZE, VERBOSE) SELECT {call}"),
        _ => format!("SELECT {call}"),
    }
}

fn call(rng: &mut Rng, function: &Function, depth: usize) -> String {
    let mut given = function.types.len();
    if function.defaults > 0 && rng.bool() {
        given -= rng.usize(..=function.defaults);
    }
    let named = !function.variadic && rng.u8(..4) == 0;
    let mut arguments: Vec<String> = Vec::new();
    for place in 0..given {
        let name = function.names.get(place).cloned().unwrap_or_default();
        let last = function.variadic && place + 1 == function.types.len();
        let of = &function.types[place];
        if last && rng.bool() {
            let array = argument(rng, "text[]", &name, depth);
            arguments.push(format!("VARIADIC {array}"));
        } else if last {
            for _ in 0..rng.usize(1..5) {
                arguments.push(argument(
                    rng,
                    if of == "text[]" { "text" } else { of },
                    &name,
                    depth,
                ));
            }
        } else {
            let value = argument(rng, of, &name, depth);
            arguments.push(if named && !name.is_empty() {
                format!("\"{name}\" => {value}")
            } else {
                value
            });
        }
    }
    format!("{}({})", function.name, arguments.join(", "))
}

fn argument(rng: &mut Rng, of: &str, name: &str, depth: usize) -> String {
    let choose = |rng: &mut Rng, values: &[&str]| values[rng.usize(..values.len())].to_owned();
    if depth < 2 && rng.u8(..24) == 0 {
        return choose(
            rng,
            &[
                "(SELECT once_key('a', 'b'))",
                "(SELECT claim_once('n', 'nested')::text)",
                "(SELECT count(*) FROM once.claims)::text",
                "(SELECT with_lock('n', 'nested')::text)",
                "(SELECT token FROM begin_once('n', 'nested'))",
                "(SELECT unclaim('n', 'nested')::text)",
                "(SELECT payment FROM with_payment_lock(1, 'nested'))",
                "current_user",
                "current_setting('search_path')",
            ],
        );
    }
    match of {
        "text" => text(rng, name),
        "text[]" => array(rng, name),
        "bigint" | "integer" | "smallint" => choose(
            rng,
            &[
                "0",
                "1",
                "-1",
                "7",
                "100",
                "2147483647",
                "(-2147483648)",
                "9223372036854775807",
                "(-9223372036854775808)",
                "NULL",
                "'12'",
                "'x'",
                "1.5",
                "'NaN'::float8",
            ],
        ),
        "boolean" => choose(rng, &["true", "false", "NULL", "'maybe'", "'t'"]),
        "jsonb" => json(rng),
        "regclass" => choose(
            rng,
            &[
                "'plain'",
                "'odd'",
                "'parted'",
                "'parted_1'",
                "'heir'",
                "'nothing'",
                "'dropped'",
                "'doubled'",
                "'seen'",
                "'picture'",
                "'numbers'",
                "'quick'",
                "'plain_pkey'",
                "'pair'",
                "'far'",
                "'guarded'",
                "'refusing'",
                "'pg_class'",
                "'once.claim'",
                "'once.claims'",
                "'pg_toast.pg_toast_1255'",
                "0::oid::regclass",
                "4294967295::oid::regclass",
                "1259",
                "'doubled_child'",
                "NULL",
                "'information_schema.tables'",
                "'pg_stat_activity'",
                "'pg_largeobject'",
                "'pg_authid'",
            ],
        ),
        "regrole" => choose(
            rng,
            &[
                "'postgres'",
                "0::oid::regrole",
                "4294967295::oid::regrole",
                "NULL",
                "'pg_database_owner'",
                "'no such'",
                "current_user::regrole",
            ],
        ),
        "uuid" => choose(rng, &["gen_random_uuid()", "NULL", "'x'"]),
        "timestamp with time zone" => choose(
            rng,
            &[
                "now()",
                "'infinity'",
                "'-infinity'",
                "'4714-11-24 BC'",
                "'294276-12-31'",
                "NULL",
                "'x'",
            ],
        ),
        "anyelement" => element(rng),
        "anynonarray" | "\"any\"" => anything(rng),
        other if other.contains("interval") || other.contains("duration") => interval(rng, name),
        other => choose(rng, &[&format!("NULL::{other}"), "NULL", "'x'", "1", "''"]),
    }
}

// COLLATE stands behind a typed value: behind an untyped one, as a named argument of type "any", it fails an assertion of
// core's parser, with core's own functions too.
fn text(rng: &mut Rng, name: &str) -> String {
    let special: &[&str] = match name {
        "keep" => &["'oldest'", "'newest'", "'best'"],
        "order_by" => &[
            "'id'",
            "'k'",
            "'no such'",
            "'id; DROP TABLE plain'",
            "NULL",
            "'ctid'",
            "'tableoid'",
        ],
        "function_name" => &[
            "'made'",
            "'tenant.made'",
            "'a.b.c'",
            "'\"x\"'",
            "'\"'",
            "'pg_catalog.made'",
            "'once.made'",
            "'made; DROP TABLE plain'",
        ],
        "mode" => &["'ExclusiveLock'", "'ShareLock'", "''"],
        _ => &["'n'", "'k'", "'closed'"],
    };
    let any: &[&str] = &[
        "NULL",
        "''",
        "' '",
        "repeat('x', 128)",
        "repeat('x', 129)",
        "repeat('x', 2000)",
        "repeat('x', 2001)",
        "repeat('x', 3000000)",
        "chr(30)",
        "chr(30) || 'a'",
        "chr(30) || 'a' || chr(30) || 'b'",
        "chr(30) || chr(27) || '0' || chr(30)",
        "chr(27)",
        "E'\\x01'",
        "chr(127)",
        "chr(200)",
        "chr(255)",
        "chr(195)",
        "'a' || chr(192) || chr(128)",
        "repeat(chr(233), 64)",
        "repeat(chr(233), 1000)",
        "'; DROP TABLE plain; --'",
        "'\"'",
        "''''",
        "E'\\\\'",
        "'$$'",
        "E'\\n'",
        "'%s%n%I'",
        "'{}'",
        "'NULL'",
        "'k'::name",
        "'k'::\"char\"",
        "'k'::varchar(3)",
        "'k  '::char(5)",
        "'k'::short",
        "'toolong'::short",
        "42::text",
        "md5(random()::text)",
        "(SELECT string_agg(chr(n), '') FROM generate_series(1, 126) n)",
        "convert_from('\\xff', 'SQL_ASCII')",
        "convert_from('\\xe282', 'LATIN1')",
        "'k'::refcursor::text",
        "'k'::text COLLATE \"C\"",
        "'k'::text COLLATE \"POSIX\"",
        "format('%s', now())",
        "'n'",
        "'k'",
    ];
    pick(rng, special, any)
}

fn pick(rng: &mut Rng, special: &[&str], any: &[&str]) -> String {
    let from = if rng.u8(..3) < 2 { special } else { any };
    from[rng.usize(..from.len())].to_owned()
}

fn array(rng: &mut Rng, name: &str) -> String {
    let special: &[&str] = match name {
        "key_columns" => &[
            "'{id}'",
            "'{k}'",
            "'{id,k}'",
            "'{service_id,line_item_id}'",
            "'{id,id}'",
            "'{no such}'",
            "'{ctid}'",
            "'{tableoid}'",
            "'{p}'",
            "'{j}'",
            "'{x}'",
            "'{d}'",
            "'{m,s}'",
            "'{\"........pg.dropped.2........\"}'",
        ],
        _ => &["'{a,b}'", "'{a}'", "'{a,a,b}'"],
    };
    pick(
        rng,
        special,
        &[
            "'{}'",
            "NULL",
            "'{NULL}'",
            "'{a,NULL}'",
            "'{\"\"}'",
            "'{{a,b},{c,d}}'",
            "'[5:6]={a,b}'",
            "'[-3:-2]={a,b}'::text[]",
            "'{{{}}}'",
            "array_fill('x'::text, ARRAY[2000])",
            "array_fill(NULL::text, ARRAY[100])",
            "(SELECT array_agg(n::text) FROM generate_series(1, 3000) n)",
            "ARRAY[repeat('x', 2001)]",
            "ARRAY[chr(255)]",
            "ARRAY[chr(30)]",
            "'{a}'::keys",
            "'{a}'::varchar[]",
            "'{a}'::name[]",
            "ARRAY[1, 2]",
            "'x'",
            "ARRAY[ROW(1, 2)]::text[]",
            "array_fill('x'::text, ARRAY[3, 2], ARRAY[7, -7])",
            "ARRAY[repeat('y', 1000000), 'b']",
            "'{a}'::text[] || NULL::text",
        ],
    )
}

fn interval(rng: &mut Rng, name: &str) -> String {
    // A wait that is over at once, or that is refused.
    if ["wait", "timeout"].contains(&name) && rng.bool() {
        return ["'0'", "'1 ms'", "'0.000001 s'", "'3 ms'"][rng.usize(..4)].to_owned();
    }
    let mut any = vec![
        "'0'",
        "'1 ms'",
        "'1 us'",
        "'-1 s'",
        "'-1 us'",
        "'infinity'",
        "'-infinity'",
        "'178000000 years'",
        "'-178000000 years'",
        "'1 mon -30 days'",
        "'5'",
        "'5000'",
        "'x'",
        "''",
        "'NaN'",
        "make_interval(secs => 'NaN'::float8 * 0)",
        "'1 day -24 hours'",
        "make_interval(months => 2147483647)",
        "make_interval(days => -2147483648)",
        "'1 ms'::interval second(0)",
        "'00:00:00.001'::time::interval",
        "repeat('1', 10000)",
    ];
    if name != "wait" {
        any.extend([
            "NULL",
            "'1 day'",
            "'10 years'",
            "'10 years 1 us'",
            "'24 days'",
            "'25 days'",
            "'1 hour'",
            "interval '1 s'",
        ]);
    }
    any[rng.usize(..any.len())].to_owned()
}

fn json(rng: &mut Rng) -> String {
    pick(
        rng,
        &[
            "'{\"id\": 1}'",
            "'{\"id\": 2, \"k\": \"x\"}'",
            "'{\"k\": \"x\"}'",
            "'{\"service_id\": 1, \"line_item_id\": \"A\"}'",
            "'{\"n\": 3}'",
            "'{}'",
            "'{\"k\": null}'",
        ],
        &[
            "NULL",
            "'[]'",
            "'\"x\"'",
            "'null'",
            "'1'",
            "'x'",
            "'{\"id\": 1e400}'",
            "'{\"id\": [1]}'",
            "'{\"id\": {\"a\": 1}}'",
            "'{\"\": 1}'",
            "'{\"ctid\": \"(0,1)\"}'",
            "'{\"id\": \"1; DROP TABLE plain\"}'",
            "'{\"id\\\"\": 1}'",
            "'{\"p\": {\"a\": 1, \"b\": \"x\"}}'",
            "'{\"d\": {\"a\": -1}}'",
            "'{\"m\": \"worse\"}'",
            "'{\"ks\": [\"a\", null]}'",
            "'{\"f\": \"NaN\"}'",
            "'{\"t\": \"infinity\"}'",
            "'{\"g\": 1}'",
            "'{\"s\": \"toolong\"}'",
            "jsonb_build_object('k', repeat('x', 100000))",
            "jsonb_build_object(repeat('x', 100), 1)",
            "jsonb_build_object(chr(255), 1)",
            "jsonb_build_object('k', chr(255))",
            "(repeat('[', 5000) || repeat(']', 5000))::jsonb",
            "(SELECT jsonb_object_agg('c' || n, n) FROM generate_series(1, 2000) n)",
            "to_jsonb(1e300::float8)",
            "'{\"x\": \"<a/>\"}'",
            "'{\"j\": {\"deep\": [[[]]]}}'",
            "'{\"tableoid\": 1}'",
            "to_jsonb('x'::text)",
            "jsonb_build_object('id', -2147483649)",
        ],
    )
}

fn element(rng: &mut Rng) -> String {
    pick(
        rng,
        &[
            "NULL::plain",
            "NULL::odd",
            "NULL::payments",
            "NULL::parted",
            "NULL::doubled",
        ],
        &[
            "NULL::int",
            "NULL",
            "'x'",
            "NULL::seen",
            "NULL::picture",
            "NULL::pair",
            "NULL::pair_of_mine",
            "NULL::heir",
            "NULL::nothing",
            "NULL::dropped",
            "NULL::guarded",
            "NULL::refusing",
            "NULL::far",
            "NULL::parted_1",
            "NULL::pg_class",
            "NULL::once.claim",
            "NULL::once.claims",
            "NULL::mood",
            "NULL::short",
            "NULL::int4range",
            "NULL::plain[]",
            "ARRAY[1]",
            "ROW(1, 2)",
            "ROW()",
            "ROW(1, 'x', 0)::plain",
            "(SELECT p FROM plain p LIMIT 1)",
            "NULL::refcursor",
            "NULL::numbers",
            "NULL::quick",
            "ROW(1,'x')::pair",
            "ROW(1,'x')::pair_of_mine",
            "NULL::void",
            "NULL::record",
            "pg_sleep(0)",
            "NULL::anyelement",
            "'plain'::regclass",
            "NULL::doubled_child",
            "NULL::information_schema.tables",
            "NULL::pg_authid",
        ],
    )
}

fn anything(rng: &mut Rng) -> String {
    pick(
        rng,
        &["1", "'a'", "'b'::text", "NULL", "42::bigint"],
        &[
            "1.5",
            "1e400::numeric",
            "'NaN'::numeric",
            "'NaN'::float8",
            "'infinity'::float8",
            "'-0'::float8",
            "1e-320::float8",
            "'infinity'::timestamptz",
            "'infinity'::date",
            "'-infinity'::timestamp",
            "'4714-11-24 BC'::date",
            "'24:00'::time",
            "'00:00+15:59'::timetz",
            "'178000000 years'::interval",
            "ARRAY[1]",
            "'{}'::int[]",
            "ARRAY[ROW(1)]",
            "ROW(1, 'x')",
            "ROW()",
            "ROW(1,'x')::pair",
            "ROW(1,'x')::pair_of_mine",
            "NULL::pair",
            "'{}'::jsonb",
            "'1'::json",
            "'\\xff00'::bytea",
            "''::bytea",
            "'x'::name",
            "'x'::\"char\"",
            "''::\"char\"",
            "'x'::refcursor",
            "'good'::mood",
            "'abc'::short",
            "'[1,2)'::int4range",
            "'{[1,2)}'::int4multirange",
            "'(1,2)'::point",
            "'<(0,0),1>'::circle",
            "'a b'::tsvector",
            "'a & b'::tsquery",
            "B'101'",
            "'12.30'::money",
            "'::1'::inet",
            "'08:00:2b:01:02:03'::macaddr",
            "'0/0'::pg_lsn",
            "'(0,1)'::tid",
            "'1'::xid",
            "'1'::cid",
            "'1'::xid8",
            "'plain'::regclass",
            "'1 2'::oidvector",
            "gen_random_uuid()",
            "pg_sleep(0)",
            "NULL::void",
            "repeat('x', 5000)",
            "chr(255)",
            "chr(30)",
            "''",
            "true",
            "NULL::int[]",
            "'{a,b}'::keys",
            "'<a/>'::xml",
            "10::oid",
            "'postgres'::regrole",
            "now()",
            "current_date",
            "localtime",
            "'1 2 3'::int2vector",
            "'$.a'::jsonpath",
            "'10:20:10,14,15'::pg_snapshot",
            "to_jsonb(1)",
            "array_fill(1, ARRAY[1000])",
            "(SELECT p FROM plain p LIMIT 1)",
        ],
    )
}

/// Lines of the log that a call should not bring about, beyond crashes.
fn strange_lines(scene: &Scene) {
    let odd: Vec<String> = scene
        .log_lines()
        .into_iter()
        .filter(|line| {
            ["FATAL:  ", "WARNING:  ", "LOG:  "]
                .iter()
                .any(|level| line.contains(level))
                && ![
                    "terminating",
                    "holds several rows",
                    "checkpoint",
                    "duration:",
                    "recommended",
                ]
                .iter()
                .any(|known| line.contains(known))
        })
        .collect();
    assert!(odd.is_empty(), "{:#?}", &odd[..odd.len().min(20)]);
}
