//! B1: what a role learns of a namespace that is closed to it.

use pg_once_attacks::{Actor, Scene, count, plain, preloaded, trap};
use pg_once_sessions::Cluster;

/// A namespace of team with keys that eve guesses, statistics included, and one that is open.
fn closed(cluster: &'static Cluster) -> Scene {
    let scene = Scene::superusers(cluster);
    let mut superuser = scene.superuser();
    superuser.run("SELECT once.configure('payroll', allowed_role => '@team')");
    let mut member = scene.member();
    member.run(
        "SELECT claim_once('payroll', 'fire-alice');
         SELECT claim_once('payroll', 'n', n::text) FROM generate_series(1, 1000) n;
         SELECT outcome FROM begin_once('payroll', 'fire-alice');
         SELECT count(*) FROM (SELECT begin_once('payroll', n::text) FROM generate_series(1, 200) n) begun;
         SELECT claim_once('open', 'k')",
    );
    superuser.run("ANALYZE once.claim; ANALYZE once.work_record");
    scene
}

/// A question about what is there and the same about what is not.
const PROBES: &[(&str, &str)] = &[
    (
        "ns = 'payroll' AND key = 'fire-alice'",
        "ns = 'payroll' AND key = 'fire-zed'",
    ),
    ("key = 'fire-alice'", "key = 'fire-zed'"),
    ("ns = 'payroll'", "ns = 'payrol1'"),
    (
        "ns = 'payroll' AND key >= 'fire-al'",
        "ns = 'payrol1' AND key >= 'fire-al'",
    ),
    (
        "ns = 'payroll' AND key < 'fire-b'",
        "ns = 'payrol1' AND key < 'fire-b'",
    ),
    ("ns = ANY ('{payroll,x}')", "ns = ANY ('{payrol1,x}')"),
    ("key LIKE 'fire-a%'", "key LIKE 'fire-z%'"),
    ("key ^@ 'fire-a'", "key ^@ 'fire-z'"),
    (
        "(ns, key) = ('payroll', 'fire-alice')",
        "(ns, key) = ('payroll', 'fire-zed')",
    ),
    (
        "ns COLLATE \"C\" = 'payroll'",
        "ns COLLATE \"C\" = 'payrol1'",
    ),
    ("starts_with(ns, 'payroll')", "starts_with(ns, 'payrol1')"),
];

const OPTIONS: &[&str] = &[
    "COSTS",
    "COSTS, VERBOSE, FORMAT JSON",
    "COSTS, FORMAT XML",
    "COSTS, FORMAT YAML",
    "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF",
    "ANALYZE, BUFFERS, COSTS, TIMING OFF, SUMMARY OFF, FORMAT JSON",
    "ANALYZE, WAL, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT YAML",
    "ANALYZE, VERBOSE, BUFFERS OFF, TIMING OFF, SUMMARY OFF",
];

/// A plan without the question itself.
fn plan(session: &mut Actor, view: &str, question: &str, options: &str) -> String {
    let rows = session.rows(&format!(
        "EXPLAIN ({options}) SELECT 1 FROM once.{view} WHERE {question}"
    ));
    let text: Vec<String> = rows.into_iter().flatten().flatten().collect();
    [
        "payroll",
        "payrol1",
        "fire-alice",
        "fire-zed",
        "fire-a",
        "fire-z",
    ]
    .iter()
    .fold(text.join("\n"), |text, word| text.replace(word, "?"))
    // The bounds of LIKE and ^@.
    .replace("fire-b", "?")
    .replace("fire-{", "?")
}

/// Plans, estimates and buffers are equal for what is there and what is not, each asked in a fresh session,
/// where the first look at a policy reads catalogs. Other sessions' invalidations may cost one of them more.
fn plans_are_equal(cluster: &'static Cluster, options: &[&str], kind: &str) {
    let scene = closed(cluster);
    let mut attacks = 0;
    let mut told = Vec::new();
    for view in ["claims", "work", "namespaces", "stats", "locks"] {
        for (there, not_there) in PROBES {
            if there.contains("key") && ["namespaces", "stats"].contains(&view) {
                continue;
            }
            for options in options {
                // How many locks there are of others is core's, and changes.
                if view == "locks" && options.contains("ANALYZE") {
                    continue;
                }
                attacks += 1;
                let mut pair = (String::new(), String::new());
                let equal = (0..6).any(|_| {
                    pair = (
                        plan(&mut scene.eve(), view, there, options),
                        plan(&mut scene.eve(), view, not_there, options),
                    );
                    pair.0 == pair.1
                });
                if !equal {
                    let (a, b) = pair
                        .0
                        .lines()
                        .zip(pair.1.lines())
                        .find(|(a, b)| a != b)
                        .unwrap_or_default();
                    told.push(format!("once.{view} WHERE {there} ({options}): {a} … {b}"));
                }
            }
        }
    }
    assert!(
        told.is_empty(),
        "{} of {attacks} tell: {}",
        told.len(),
        told[..told.len().min(3)].join("\n")
    );
    scene.nobody_got_in(&[]);
    count(kind, attacks);
}

#[test]
fn plans_and_buffers_tell_nothing_of_a_closed_namespace() {
    plans_are_equal(plain(), OPTIONS, "EXPLAIN of closed namespaces");
}

#[test]
fn plans_and_buffers_tell_nothing_with_preload() {
    plans_are_equal(preloaded(), &OPTIONS[3..6], "EXPLAIN of closed namespaces");
}

/// Functions that look cheap, errors and casts in the questions, joins and sorts are given no closed row.
#[test]
fn no_question_is_asked_of_closed_rows() {
    let scene = closed(plain());
    let mut eve = scene.eve();
    eve.run(&trap(
        "eve.leak(value text)",
        "boolean",
        "value NOT LIKE 'fire%' AND value NOT LIKE 'payroll%'",
    ));
    eve.run(
        "CREATE OR REPLACE FUNCTION eve.raises(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
             BEGIN IF value LIKE 'fire%' OR value = 'payroll' OR value LIKE '%\u{1e}%' THEN RAISE 'seen %', value; END IF;
             RETURN true; END $$;
         CREATE OPERATOR eve.~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = eve.both, RESTRICT = eqsel)"
            .split_once("CREATE OPERATOR")
            .unwrap()
            .0,
    );
    eve.run(
        "CREATE FUNCTION eve.both(a text, b text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
             $$ BEGIN RETURN eve.raises(a); END $$;
         CREATE OPERATOR eve.~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = eve.both, RESTRICT = eqsel, JOIN = eqjoinsel)",
    );
    let questions = [
        "eve.raises(ns)",
        "ns OPERATOR(eve.~~~) 'x'",
        "1 / (CASE WHEN ns = 'payroll' THEN 0 ELSE 1 END) = 1",
        "(CASE WHEN ns = 'payroll' THEN ns ELSE '1' END)::int = 1",
        "length(repeat(ns, CASE WHEN ns = 'payroll' THEN 1000000000 ELSE 1 END)) > 0",
        "ns::regtype IS NULL OR true",
        "convert_from(CASE WHEN ns = 'payroll' THEN '\\xff'::bytea ELSE '\\x20' END, 'UTF8') <> 'x'",
        "EXISTS (SELECT FROM pg_sleep(CASE WHEN ns = 'payroll' THEN 50 ELSE 0 END))",
        "pg_advisory_lock_shared(CASE WHEN ns = 'payroll' THEN 77 ELSE 78 END) IS NOT NULL",
        "ns = 'open' OR eve.raises(ns)",
        "NOT eve.raises(ns)",
        "lower(ns) = 'x' OR eve.raises(ns || 'x')",
    ];
    let mut attacks = 0;
    for view in ["claims", "work", "namespaces"] {
        for question in questions {
            let from = format!("FROM once.{view} v");
            for (statement, may_fail) in [
                (format!("SELECT count(*) {from} WHERE {question}"), false),
                (format!("SELECT bool_or({question}) {from}"), false),
                (
                    format!(
                        "SELECT count(*) {from} JOIN (VALUES ('payroll'), ('open')) w(ns) USING (ns) WHERE {}",
                        question
                            .replace("ns", "v.ns")
                            .replace("conv.ns", "cons")
                            .replace("traiv.ns", "trains")
                    ),
                    true,
                ),
                (
                    format!("SELECT ns, {question} {from} ORDER BY {question}, ns"),
                    false,
                ),
                (
                    format!("SELECT count(*) FILTER (WHERE {question}) {from}"),
                    false,
                ),
                (
                    format!("SELECT ns {from} GROUP BY ns HAVING bool_and({question})"),
                    false,
                ),
                (
                    format!(
                        "SELECT ns {from} LEFT JOIN LATERAL (SELECT {question} AS q) l ON true WHERE q"
                    ),
                    false,
                ),
                (
                    format!("SELECT ns {from} OFFSET (SELECT count(*) {from} WHERE {question})"),
                    false,
                ),
            ] {
                eve.run("SET statement_timeout = '5s'");
                let answer = eve.try_run(&statement);
                let telling = match &answer {
                    Ok(rows) => format!("{rows:?}").contains("payroll"),
                    Err(failure) => {
                        let harmless = may_fail && failure.sqlstate().starts_with("42");
                        !harmless && !["42704", "42883"].contains(&failure.sqlstate())
                    }
                };
                assert!(!telling, "{statement}: {answer:?}");
                attacks += 1;
            }
        }
    }
    assert!(
        eve.is_true("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND pid = pg_backend_pid())")
    );
    scene.nobody_got_in(&["@eve"]);
    count("questions to closed rows", attacks);
}

/// Statistics, tables, their indexes and sizes by rows: what plain SQL would refuse stays refused.
#[test]
fn catalogs_and_plain_statements_tell_no_key() {
    let scene = closed(plain());
    let mut eve = scene.eve();
    let mut attacks = 0;
    for (statement, empty) in [
        ("SELECT * FROM pg_stats WHERE schemaname = 'once'", true),
        ("SELECT * FROM pg_stats_ext WHERE schemaname = 'once'", true),
        ("SELECT stavalues1 FROM pg_statistic", false),
        ("SELECT * FROM once.claim", false),
        ("SELECT * FROM once.work_record", false),
        ("TABLE once.work_floor", false),
        ("SELECT ctid FROM once.claim", false),
        (
            "EXPLAIN SELECT * FROM once.claim WHERE ns = 'payroll'",
            false,
        ),
        ("EXPLAIN SELECT count(*) FROM once.work_record", false),
        (
            "CREATE TABLE eve.spy (place_high int2, place_low int2, hash_high int4, hash_low int8, FOREIGN KEY (place_high, place_low, hash_high, hash_low) REFERENCES once.claim)",
            false,
        ),
        ("CREATE INDEX ON once.claim (ns)", false),
        (
            "CREATE STATISTICS eve.spy ON ns, key FROM once.claim",
            false,
        ),
        (
            "CREATE TRIGGER spy AFTER INSERT ON once.claim EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
            false,
        ),
        (
            "CREATE RULE spy AS ON INSERT TO once.claim DO ALSO NOTHING",
            false,
        ),
        ("CREATE POLICY spy ON once.claim", false),
        (
            "CREATE VIEW eve.spy AS SELECT * FROM once.claim; SELECT * FROM eve.spy",
            false,
        ),
        ("CREATE TABLE eve.spies () INHERITS (once.claim)", false),
        (
            "CREATE OR REPLACE VIEW once.claims AS SELECT 1 AS ns",
            false,
        ),
        ("CREATE TABLE once.mine (i int)", false),
        ("LOCK TABLE once.claim IN ACCESS EXCLUSIVE MODE", false),
        ("LOCK TABLE once.claims IN ACCESS EXCLUSIVE MODE", false),
        ("COMMENT ON TABLE once.claim IS 'x'", false),
        ("ALTER TABLE once.claim ADD COLUMN x int", false),
        (
            "ALTER VIEW once.claims SET (security_barrier = false)",
            false,
        ),
        ("GRANT SELECT ON once.claim TO PUBLIC", false),
        (
            "SELECT has_table_privilege('once.claim', 'SELECT') OR NULL::boolean",
            false,
        ),
        ("SELECT claim_once('payroll', 'fire-zed')", false),
        (
            "SELECT claim_once_per('1 day', 'payroll', 'fire-zed')",
            false,
        ),
        ("SELECT claim_many('payroll', '{fire-alice}')", false),
        ("SELECT try_claim_once('payroll', 'fire-alice')", false),
        ("SELECT is_claimed('payroll', 'fire-alice')", false),
        ("SELECT unclaim('payroll', 'fire-alice')", false),
        ("SELECT begin_once('payroll', 'fire-alice')", false),
        ("SELECT renew_once('payroll', 'fire-alice', 1)", false),
        ("SELECT complete_once('payroll', 'fire-alice', 1)", false),
        ("SELECT fail_once('payroll', 'fire-alice', 1)", false),
        ("SELECT fence_once('payroll', 'fire-alice', 1)", false),
        ("SELECT forget_once('payroll', 'fire-alice')", false),
        ("SELECT with_lock('payroll', 'fire-alice')", false),
        ("SELECT hold_lock('payroll', 'fire-alice')", false),
        ("SELECT release_lock('payroll', 'fire-alice')", false),
        ("SELECT once.lock_hash('payroll', 'fire-alice')", false),
        (
            "SELECT once.configure('payroll', allowed_role => '@eve')",
            false,
        ),
        ("SELECT once.unconfigure('payroll')", false),
        ("SELECT once.sweep()", false),
        ("SELECT once.reset_stats('payroll')", false),
        ("SELECT * FROM once.claims_of('payroll')", false),
        ("SELECT * FROM once.work_of('payroll')", false),
        ("SELECT once.purge('payroll')", false),
        ("SELECT * FROM once.stats WHERE ns = 'payroll'", true),
        ("SELECT ns FROM once.namespaces WHERE ns = 'payroll'", true),
        ("SELECT * FROM once.locks WHERE ns = 'payroll'", true),
    ] {
        let answer = eve.try_run(statement);
        let told = match &answer {
            Ok(rows) if empty => !rows.is_empty(),
            Ok(rows) => !statement.contains("has_table") || format!("{rows:?}").contains("\"t\""),
            Err(failure) => !["42501", "42883", "25P01", "42809"].contains(&failure.sqlstate()),
        };
        assert!(!told, "{statement}: {answer:?}");
        let _ = eve.try_run("ROLLBACK");
        attacks += 1;
    }
    scene.nobody_got_in(&[]);
    count("closed namespaces by plain statements", attacks);
}

/// A plan, a cursor and a cached policy of one role are of no use to the next.
#[test]
fn what_one_role_prepared_shows_the_next_nothing_more() {
    let scene = closed(plain());
    let mut attacks = 0;
    for (of, count) in [("claims", "1001"), ("work", "201"), ("namespaces", "1")] {
        for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
            for first in ["@member", "@eve", "postgres"] {
                let mut session = scene.superuser();
                session.run(&format!("SET plan_cache_mode = {mode}; SET ROLE {first}"));
                session.run(&format!(
                    "PREPARE look(text) AS SELECT count(*) FROM once.{of} WHERE ns = $1"
                ));
                let expected = |role: &str| if role == "@eve" { "0" } else { count };
                for round in 0..7 {
                    assert_eq!(
                        session.value("EXECUTE look('payroll')"),
                        expected(first),
                        "{of} {mode} {round}"
                    );
                }
                for role in ["@eve", "@member", "postgres", "@shop", "@eve"] {
                    session.run(&format!("SET ROLE {role}"));
                    let expected = if role == "@shop" { "0" } else { expected(role) };
                    assert_eq!(
                        session.value("EXECUTE look('payroll')"),
                        expected,
                        "{of} {mode} {first} {role}"
                    );
                    session.run("SAVEPOINT s".split_once(' ').map_or("", |_| "SELECT 1"));
                    attacks += 1;
                }
            }
        }
    }
    // Within one transaction, policy and role change.
    let mut session = scene.superuser();
    for step in 0..20 {
        session.run("BEGIN; SET LOCAL ROLE @eve");
        session.refused("SELECT is_claimed('payroll', 'fire-alice')", "42501");
        session.run("ROLLBACK; BEGIN; SELECT once.unconfigure('payroll'); SET LOCAL ROLE @eve");
        assert!(
            session.is_true("SELECT is_claimed('payroll', 'fire-alice')"),
            "{step}"
        );
        session.run("ROLLBACK; BEGIN; SET LOCAL ROLE @eve");
        session.refused("SELECT is_claimed('payroll', 'fire-alice')", "42501");
        session.run("ROLLBACK");
        attacks += 3;
    }
    scene.nobody_got_in(&[]);
    pg_once_attacks::count("plans and policies across SET ROLE", attacks);
}

/// Minor 3: what a lock is called cannot be computed on another server.
#[test]
fn lock_names_of_another_server_are_of_no_use() {
    let here = closed(plain());
    let there = Scene::superusers(preloaded());
    let mut attacks = 0;
    let mut member = here.member();
    let mut stranger = there.eve();
    for key in 0..50 {
        let call = format!("SELECT once.lock_hash('payroll', '{key}')");
        assert_ne!(member.value(&call), stranger.value(&call), "{key}");
        attacks += 1;
    }
    member.run("SELECT hold_lock('payroll', 'secret')");
    let guess = stranger.value("SELECT once.lock_hash('payroll', 'secret')");
    let mut eve = here.eve();
    assert_eq!(
        eve.number(&format!(
            "SELECT count(*) FROM once.locks WHERE name_hash = {guess} OR key = 'secret'"
        )),
        0
    );
    here.nobody_got_in(&[]);
    count("guessed names of locks", attacks + 1);
}

/// A dump is restored policies first, so that a closed namespace is never open.
#[test]
fn a_dump_brings_the_policies_before_the_facts() {
    let scene = closed(plain());
    let dumped = scene
        .database
        .cluster
        .client_command("pg_dump")
        .args(["-U", "postgres", &scene.database.name])
        .output()
        .unwrap();
    let dumped = String::from_utf8_lossy(&dumped.stdout).into_owned();
    let place = |of: &str| {
        dumped
            .find(&format!("\n{of}\t"))
            .unwrap_or_else(|| panic!("no {of} in the dump"))
    };
    let policy = place("payroll");
    let fact = dumped.find("fire-alice").unwrap();
    assert!(
        policy < fact,
        "the policy stands at {policy}, a fact at {fact}"
    );
    count("order of a dump", 1);
}
