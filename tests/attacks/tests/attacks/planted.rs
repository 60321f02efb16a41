//! A3: the extension's owner puts other things in the place of the extension's tables while a call is
//! going on, or was prepared.

use pg_once_attacks::{Actor, Scene, count, own, payload, trap, trap_trigger};

/// Calls of every function that reads or writes a table of schema once.
pub const CALLS: &[&str] = &[
    "claim_once('n', 'k')",
    "claim_once('n', 1, 'k')",
    "claim_once_per('1 hour', 'n', 'k')",
    "claim_many('n', '{a,b}')",
    "try_claim_once('n', 'k', ttl => '1 hour', owner => 'me')",
    "is_claimed('n', 'k')",
    "unclaim('n', 'k')",
    "begin_once('n', 'k', request => '1')",
    "renew_once('n', 'k', 1)",
    "complete_once('n', 'k', 1, '{}')",
    "fail_once('n', 'k', 1, '{}')",
    "fence_once('n', 'k', 1)",
    "forget_once('n', 'k')",
    "with_lock('n', 'k')",
    "with_locks('n', '{k,l}')",
    "hold_lock('n', 'k')",
    "release_lock('n', 'k')",
    "once.lock_hash('n', 'k')",
    "once.configure('n', '1 day')",
    "once.unconfigure('n')",
    "once.sweep()",
    "once.reset_stats()",
    "once.merge_duplicates('tenant.copies', '{k}', dry_run => false)",
    "(SELECT count(*) FROM once.claims)",
    "(SELECT count(*) FROM once.work)",
    "(SELECT count(*) FROM once.namespaces)",
    CHECK,
];

/// Behind a cursor core itself finds the function of this query gone, and says XX000.
const CHECK: &str = "(SELECT count(*) FROM once.check())";

/// Rows that a sweep would remove.
pub const EXPIRED: &str = "
    INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
        SELECT 1, 2, 3, n, now(), now() - interval '1 h', 'n', n::text FROM generate_series(1, 5) n;
    INSERT INTO once.work_record (place_high, place_low, hash_high, hash_low, token, begun_at, finished_at, expires_at, attempt, state, ns, key)
        SELECT 1, 2, 3, n, n, now(), now(), now() - interval '1 h', 1, 'd', 'n', n::text FROM generate_series(1, 5) n";

/// What stands for the tables afterwards: each column of a type that is not the one that the code
/// expects, or a relation of another kind.
fn imitations() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = [
        "bigint",
        "int2",
        "text",
        "jsonb",
        "boolean",
        "float8",
        "interval",
        "name",
        "\"char\"",
        "uuid",
        "bytea",
        "timestamptz",
        "oid",
        "numeric",
        "text[]",
        "tenant.pair",
        "tenant.mood",
        "tenant.checked",
    ]
    .into_iter()
    .map(|of| (of, tables(of)))
    .collect();
    all.push(("the columns that were expected", expected("TABLE", "")));
    all.push((
        "triggers",
        format!("{}; {EXPIRED}; {}", expected("TABLE", ""), triggers()),
    ));
    all.push((
        "row security",
        format!("{}; {}", expected("TABLE", ""), policies()),
    ));
    all.push((
        "rules",
        format!("{}; {EXPIRED}; {}", expected("TABLE", ""), rules()),
    ));
    all.push(("partitions", expected("TABLE", "PARTITION BY LIST (ns)")));
    all.push(("unlogged", expected("UNLOGGED TABLE", "")));
    all.push(("views", views()));
    all.push((
        "materialized views",
        views().replace("CREATE VIEW", "CREATE MATERIALIZED VIEW"),
    ));
    all.push(("sequences", each("CREATE SEQUENCE once.%")));
    all.push(("types", each("CREATE TYPE once.% AS (ns text, key text)")));
    all.push(("no columns", each("CREATE TABLE once.% ()")));
    all.push(("children", children()));
    all.push(("checks", checks()));
    all
}

const TABLES: &[&str] = &[
    "claim",
    "namespace",
    "access_policy",
    "access_policy_shared",
    "work_record",
    "work_floor",
    "merged_rows",
];

fn each(statement: &str) -> String {
    TABLES.map_to(|table| statement.replace('%', table))
}

trait Joined {
    fn map_to(&self, made: impl Fn(&str) -> String) -> String;
}

impl Joined for &[&str] {
    fn map_to(&self, made: impl Fn(&str) -> String) -> String {
        self.iter()
            .map(|&one| made(one))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// The names of the columns, all of this type, and one row where a value can be had.
fn tables(of: &str) -> String {
    columns().map_to_tables(|table, columns| {
        let listed: Vec<String> = columns
            .iter()
            .map(|(column, _)| format!("{column} {of}"))
            .collect();
        format!(
            "CREATE TABLE once.{table} ({});
             INSERT INTO once.{table} ({}) VALUES ({})",
            listed.join(", "),
            columns
                .iter()
                .map(|(column, _)| *column)
                .collect::<Vec<_>>()
                .join(", "),
            columns
                .iter()
                .map(|_| value(of))
                .collect::<Vec<_>>()
                .join(", ")
        )
    })
}

fn value(of: &str) -> &'static str {
    match of {
        "bigint" | "int2" | "float8" | "numeric" | "oid" => "1",
        "text" | "name" | "\"char\"" | "bytea" | "tenant.checked" => "'n'",
        "jsonb" => "'{\"n\": 1}'",
        "boolean" => "true",
        "interval" => "'1 hour'",
        "uuid" => "gen_random_uuid()",
        "timestamptz" => "now()",
        "text[]" => "'{n}'",
        "tenant.pair" => "'(1,2)'",
        _ => "NULL",
    }
}

type Columns = Vec<(&'static str, Vec<(&'static str, &'static str)>)>;

trait Tables {
    fn map_to_tables(&self, made: impl Fn(&str, &[(&str, &str)]) -> String) -> String;
}

impl Tables for Columns {
    fn map_to_tables(&self, made: impl Fn(&str, &[(&str, &str)]) -> String) -> String {
        self.iter()
            .map(|(table, columns)| made(table, columns))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// The extension's tables with their columns, as an imitation has them.
fn columns() -> Columns {
    let policy = vec![
        ("ns", "text"),
        ("ttl", "interval"),
        ("allowed_role", "regrole"),
    ];
    vec![
        (
            "claim",
            vec![
                ("place_high", "smallint"),
                ("place_low", "smallint"),
                ("hash_high", "int"),
                ("hash_low", "bigint"),
                ("claimed_at", "timestamptz"),
                ("ns", "text"),
                ("key", "text"),
                ("expires_at", "timestamptz"),
                ("owner", "uuid"),
            ],
        ),
        ("namespace", policy.clone()),
        ("access_policy", policy),
        (
            "access_policy_shared",
            vec![
                ("ns", "text"),
                ("ttl", "interval"),
                ("allowed_role", "text"),
            ],
        ),
        (
            "work_record",
            vec![
                ("place_high", "smallint"),
                ("place_low", "smallint"),
                ("hash_high", "int"),
                ("hash_low", "bigint"),
                ("token", "bigint"),
                ("begun_at", "timestamptz"),
                ("lease_until", "timestamptz"),
                ("finished_at", "timestamptz"),
                ("expires_at", "timestamptz"),
                ("request", "uuid"),
                ("attempt", "int"),
                ("state", "\"char\""),
                ("ns", "text"),
                ("key", "text"),
                ("result", "jsonb"),
                ("worker", "text"),
            ],
        ),
        ("work_floor", vec![("one", "boolean"), ("token", "bigint")]),
        (
            "merged_rows",
            vec![
                ("id", "uuid"),
                ("merged_at", "timestamptz"),
                ("merged_in", "xid8"),
                ("merged_by", "text"),
                ("table_name", "text"),
                ("reason", "text"),
                ("key", "jsonb"),
                ("kept", "jsonb"),
                ("removed", "jsonb"),
                ("moved", "jsonb"),
            ],
        ),
    ]
}

fn listed(columns: &[(&str, &str)]) -> String {
    columns
        .iter()
        .map(|(column, of)| format!("{column} {of}"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub fn expected(kind: &str, behind: &str) -> String {
    columns().map_to_tables(|table, columns| {
        // A partitioned table needs its column.
        let behind = if columns.iter().any(|(column, _)| *column == "ns") {
            behind
        } else {
            ""
        };
        format!("CREATE {kind} once.{table} ({}) {behind}", listed(columns))
    })
}

pub fn triggers() -> String {
    each(
        "CREATE TRIGGER before BEFORE INSERT OR UPDATE OR DELETE ON once.% FOR EACH ROW EXECUTE FUNCTION tenant.fired();
         CREATE TRIGGER behind AFTER INSERT OR UPDATE OR DELETE ON once.% FOR EACH ROW EXECUTE FUNCTION tenant.fired();
         CREATE TRIGGER statement BEFORE INSERT OR UPDATE OR DELETE ON once.%
             FOR EACH STATEMENT EXECUTE FUNCTION tenant.fired();
         CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON once.% DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION tenant.fired()",
    )
}

pub fn policies() -> String {
    each(
        "ALTER TABLE once.% ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY all_of_it ON once.% USING (tenant.seen()) WITH CHECK (tenant.seen())",
    )
}

pub fn rules() -> String {
    each(
        "CREATE RULE added AS ON INSERT TO once.% DO ALSO SELECT tenant.seen();
         CREATE RULE changed AS ON UPDATE TO once.% DO ALSO SELECT tenant.seen();
         CREATE RULE removed AS ON DELETE TO once.% DO ALSO SELECT tenant.seen()",
    )
}

pub fn views() -> String {
    columns().map_to_tables(|table, columns| {
        let nulls: Vec<String> = columns
            .iter()
            .map(|(column, of)| format!("NULL::{of} AS {column}"))
            .collect();
        format!(
            "CREATE VIEW once.{table} AS SELECT {} WHERE tenant.seen()",
            nulls.join(", ")
        )
    })
}

/// The rows come from a child with its own columns' types and triggers.
pub fn children() -> String {
    format!(
        "{}; {}",
        expected("TABLE", ""),
        each("CREATE TABLE tenant.child_of_% () INHERITS (once.%)")
    )
}

/// Defaults, checks, generated columns and indexes that call functions.
pub fn checks() -> String {
    columns().map_to_tables(|table, columns| {
        format!(
            "CREATE TABLE once.{table} ({}, d boolean DEFAULT tenant.seen(),
                 g boolean GENERATED ALWAYS AS (tenant.seen()) STORED, CHECK (tenant.seen()));
             CREATE INDEX ON once.{table} ((tenant.seen()))",
            listed(columns)
        )
    })
}

/// How a call is kept over what happens to the tables: before it, and what runs it then.
fn ways(call: &str) -> Vec<(&'static str, String, String)> {
    let set = call.starts_with("claim_many")
        || call.contains("merge_duplicates")
        || call.starts_with("begin");
    let mut ways = vec![
        (
            "cursor",
            format!("DECLARE kept CURSOR FOR SELECT {call}::text"),
            "FETCH ALL FROM kept".to_owned(),
        ),
        (
            "prepared",
            format!("PREPARE kept AS SELECT {call}::text"),
            "EXECUTE kept".to_owned(),
        ),
        (
            "function",
            format!(
                "CREATE FUNCTION tenant.kept() RETURNS SETOF text LANGUAGE plpgsql AS
                 $kept$ BEGIN RETURN QUERY SELECT {call}::text; END $kept$;
                 DO $do$ BEGIN PERFORM tenant.kept(); EXCEPTION WHEN OTHERS THEN NULL; END $do$"
            ),
            "SELECT tenant.kept()".to_owned(),
        ),
    ];
    if !set {
        ways.push((
            "rows",
            format!("DECLARE kept CURSOR FOR SELECT {call}::text FROM generate_series(1, 3); FETCH 1 FROM kept"),
            "FETCH ALL FROM kept".to_owned(),
        ));
    }
    ways
}

/// What stands in the way of an attack is undone with the transaction.
fn attack(tenant: &mut Actor, before: &str, imitation: &str, after: &str) -> String {
    tenant.run("BEGIN");
    let prepared = tenant.told(before);
    let told = if prepared == "00000" {
        let dropped = tenant.told(
            "DROP TABLE IF EXISTS once.merged_rows; DROP EXTENSION pg_once; CREATE SCHEMA once",
        );
        if dropped == "00000" {
            tenant.run(imitation);
            tenant.told(after)
        } else {
            // A view or a table that is being read cannot be dropped.
            dropped
        }
    } else {
        prepared
    };
    tenant.run("ROLLBACK");
    let _ = tenant.try_run("DEALLOCATE ALL");
    told
}

/// What the imitation must be answered with: the table is not the extension's or is not there, or the
/// function is gone.
const REFUSALS: &[&str] = &[
    "55000", "42P01", "42883", "55006", "42501", "3F000", "0A000", "42704",
];

fn prepare(scene: &Scene) -> Actor {
    let mut tenant = scene.tenant();
    tenant.run(
        "CREATE TYPE tenant.pair AS (a int, b int); CREATE TYPE tenant.mood AS ENUM ('n', 'x')",
    );
    tenant.run(&trap("tenant.fits(value text)", "boolean", "true"));
    tenant.run(&trap("tenant.seen()", "boolean", "true"));
    tenant.run(&trap_trigger("tenant.fired"));
    tenant.run("CREATE DOMAIN tenant.checked AS text CHECK (tenant.fits(VALUE))");
    tenant.run("CREATE TABLE tenant.copies (id int PRIMARY KEY, k int); INSERT INTO tenant.copies VALUES (1, 1), (2, 1)");
    tenant
}

/// The server neither crashes nor believes what stands in the place of its tables.
fn imitated_tables(cluster: &'static pg_once_sessions::Cluster, kind: &str, nth: usize) {
    let scene = Scene::tenants(cluster);
    let mut tenant = prepare(&scene);
    let mut attacks = 0;
    let mut believed = Vec::new();
    for (number, (imitation, made)) in imitations().iter().enumerate() {
        for (place, call) in CALLS.iter().filter(|call| **call != CHECK).enumerate() {
            let ways = ways(call);
            let (way, before, after) = &ways[(number + place + nth) % ways.len()];
            // Such a query is run at the first row.
            if *way == "rows" && call.starts_with('(') {
                continue;
            }
            let told = attack(&mut tenant, before, made, after);
            attacks += 1;
            // A table of no pages is not touched.
            let is_passed_over =
                *call == "once.sweep()" && told == "00000" && !made.contains("INSERT");
            if !REFUSALS.contains(&told.as_str()) && !is_passed_over {
                believed.push(format!("{call} in a {way}, {imitation}: {told}"));
            }
            assert_ne!(told, "lost", "{call} in a {way}, {imitation}");
        }
    }
    scene.nobody_got_in(&["@tenant"]);
    let harmless = [
        "reset_stats",
        "lock_hash",
        "(SELECT count(*) FROM once.namespaces)",
    ];
    believed.retain(|one| !harmless.iter().any(|call| one.contains(call)));
    assert!(
        believed.is_empty(),
        "{} of {attacks}: {believed:#?}",
        believed.len()
    );
    count(kind, attacks);
}

#[test]
fn imitated_tables_are_not_used() {
    imitated_tables(own(false), "imitated tables", 0);
}

#[test]
fn imitated_tables_are_not_used_with_preload() {
    imitated_tables(own(true), "imitated tables", 1);
}

/// The drop of the extension inside what a call of it runs: a trigger of the table whose row it makes, a
/// function that computes an argument.
#[test]
fn the_extension_is_dropped_inside_its_own_call() {
    let scene = Scene::tenants(own(false));
    let mut tenant = prepare(&scene);
    let drop = format!(
        "DROP EXTENSION pg_once CASCADE; CREATE SCHEMA once; {}",
        tables("bigint")
    );
    tenant.run(&format!(
        "CREATE FUNCTION tenant.dropping() RETURNS text LANGUAGE plpgsql AS $$ BEGIN {drop}; RETURN 'k'; END $$;
         CREATE FUNCTION tenant.dropping_trigger() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN {drop}; {} RETURN COALESCE(NEW, OLD); END $$;
         CREATE TABLE tenant.thing (id int PRIMARY KEY, k int);
         CREATE TRIGGER dropping BEFORE INSERT OR UPDATE OR DELETE ON tenant.thing
             FOR EACH ROW EXECUTE FUNCTION tenant.dropping_trigger();
         CREATE TABLE tenant.parent (id int PRIMARY KEY, k int);
         INSERT INTO tenant.parent VALUES (1, 1), (2, 1);
         CREATE TABLE tenant.child (id int REFERENCES tenant.parent);
         INSERT INTO tenant.child VALUES (2);
         CREATE TRIGGER dropping BEFORE UPDATE ON tenant.child
             FOR EACH ROW EXECUTE FUNCTION tenant.dropping_trigger()",
        payload("the drop inside")
    ));
    let mut attacks = 0;
    let mut calls: Vec<String> = CALLS
        .iter()
        .filter(|call| call.contains("'k'"))
        .map(|call| format!("SELECT {}", call.replace("'k'", "tenant.dropping()")))
        .collect();
    calls.extend(
        CALLS
            .iter()
            .filter(|call| **call != CHECK)
            .map(|call| format!("SELECT tenant.dropping(), {call}")),
    );
    for inner in [
        "claim_once('n', 'k')",
        "once.sweep()",
        "is_claimed('n', 'k')",
        "with_lock('n', 'k')",
        "with_locks('n', '{k,l}')",
        "once.purge('n', unfinished => true)",
    ] {
        calls.push(format!(
            "SELECT CASE WHEN n = 2 THEN tenant.dropping() END, {inner} FROM generate_series(1, 4) n"
        ));
    }
    calls.extend(
        [
            "SELECT * FROM with_row_lock(NULL::tenant.thing, '{\"id\": 1}')",
            "SELECT * FROM find_or_create(NULL::tenant.thing, '{\"id\": 1}')",
            "SELECT * FROM find_or_create(NULL::tenant.thing, '{\"id\": 1}', lock => true)",
            "SELECT * FROM once.merge_duplicates('tenant.parent', '{k}', dry_run => false)",
            "SELECT * FROM once.merge_duplicates('tenant.parent', '{k}')",
            "SELECT claim_once(claim_many('n', '{a,b,c}'), tenant.dropping())",
        ]
        .map(str::to_owned),
    );
    for call in &calls {
        tenant.run("BEGIN");
        let answer = tenant.try_run(call);
        let told = answer
            .as_ref()
            .map_or_else(|failure| failure.sqlstate(), |_| "00000");
        assert!(
            told != "lost" && !told.starts_with("XX"),
            "{call}: {answer:?}"
        );
        let _ = tenant.try_run("ROLLBACK");
        attacks += 1;
    }
    scene.nobody_got_in(&["@tenant"]);
    count("extension dropped inside its own call", attacks);
}
