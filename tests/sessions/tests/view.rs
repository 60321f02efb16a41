//! The views of claims, work and namespaces, and their pages: a role that may not use a namespace
//! learns nothing of it from them, whatever it asks EXPLAIN.

use pg_once_sessions::{Cluster, Database, database};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A closed namespace with keys and work, and an open one, with statistics.
fn payroll(database: &Database) -> String {
    let (mut owner, eve) = (database.session(), format!("{}_eve", database.name));
    let role = format!("{}_payroll", database.name);
    owner.run(&format!(
        "CREATE ROLE {eve} LOGIN; CREATE ROLE {role} LOGIN"
    ));
    owner.run(
        "SELECT claim_once('payroll', 'fire-alice'), claim_once('open', 'door');
         SELECT count(*) FROM claim_many('payroll', ARRAY(SELECT 'raise-' || i FROM generate_series(1, 1000) i));
         SELECT begin_once('payroll', 'fire-alice'), begin_once('open', 'door');
         SELECT count(*) FROM generate_series(1, 300) i, begin_once('payroll', 'raise-' || i)",
    );
    owner.run(&format!(
        "SELECT once.configure('payroll', allowed_role => '{role}'), once.configure('door', '1 day')"
    ));
    owner.run("VACUUM ANALYZE");
    eve
}

/// What eve asks, with the place of a constant. Whether something meets it is not to be seen.
const CONDITIONS: &[&str] = &[
    "ns = 'payroll' AND key = '{}'",
    "ns = 'payroll' AND key >= '{}'",
    "key = '{}'",
    "key < '{}' AND ns >= 'payroll'",
    "key ^@ '{}'",
    "key LIKE '{}%'",
    "key = ANY (ARRAY['{}', 'none'])",
    "1 / (CASE WHEN key = '{}' THEN 0 ELSE 1 END) > 0",
    "cheap(key, '{}')",
    "key OPERATOR(cheap.===) '{}'",
    "ns = 'payroll' AND cheap(key, '{}')",
    "(ns, key) = ('payroll', '{}')",
    "key = '{}' AND pg_catalog.pg_sleep(0) IS NOT NULL",
    "EXISTS (SELECT FROM once.claims c WHERE c.key = view.key AND c.key = '{}')",
];
const NAMESPACE_CONDITIONS: &[&str] = &[
    "ns = '{}'",
    "ns >= '{}'",
    "ns LIKE '{}%'",
    "cheap(ns, '{}')",
    "1 / (CASE WHEN ns = '{}' THEN 0 ELSE 1 END) > 0",
];

const EXPLAIN: &[&str] = &[
    "EXPLAIN",
    "EXPLAIN (VERBOSE)",
    "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)",
    "EXPLAIN (ANALYZE, BUFFERS, VERBOSE, WAL, TIMING OFF, SUMMARY OFF)",
];

#[test]
fn explain_tells_nothing_of_what_the_views_do_not_show() {
    let cluster = quiet();
    let database = cluster.database();
    let eve = payroll(&database);
    let mut owner = database.session();
    owner.run(&format!(
        "GRANT CREATE ON DATABASE {} TO {eve}",
        database.name
    ));
    let mut session = database.session_as(&eve);
    session.run(
        "CREATE SCHEMA cheap;
         CREATE TABLE cheap.seen (value text);
         CREATE FUNCTION cheap.cheap(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
         $$ BEGIN INSERT INTO cheap.seen VALUES ($1); RETURN $1 = $2; END $$;
         CREATE OPERATOR cheap.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = cheap.cheap,
             RESTRICT = eqsel, JOIN = eqjoinsel)",
    );
    let mut leaks = Vec::new();
    let views = [
        ("claims", CONDITIONS, ["fire-alice", "fire-zelda"]),
        ("work", CONDITIONS, ["fire-alice", "fire-zelda"]),
        ("namespaces", NAMESPACE_CONDITIONS, ["payroll", "payrol1"]),
    ];
    for (view, conditions, constants) in views {
        for condition in conditions {
            for explain in EXPLAIN {
                let ask = |constant: &str| {
                    let condition = condition.replace("{}", constant);
                    let sql =
                        format!("{explain} SELECT 1 FROM once.{view} AS view WHERE {condition}");
                    told(&database, &eve, &sql).replace(constant, "?")
                };
                if let Some(answers) = differ(constants.map(|constant| move || ask(constant))) {
                    leaks.push(format!("{explain} {view} {condition}:\n{answers:#?}"));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    let seen =
        session.value("SELECT string_agg(DISTINCT value, ' ' ORDER BY value) FROM cheap.seen");
    assert_eq!(seen, "door", "her own function gets what is hers to see");
}

/// A cluster in which nobody else makes fresh sessions read more or less of the catalogs.
fn quiet() -> Cluster {
    Cluster::start(&["autovacuum = off"])
}

/// What a fresh session of this role answers.
fn told(database: &Database, role: &str, sql: &str) -> String {
    let mut session = database.session_as(role);
    session.run("SET search_path = cheap, public; SET jit = off");
    match session.try_run(sql) {
        Ok(rows) => rows
            .into_iter()
            .flatten()
            .flatten()
            .map(|line| line + "\n")
            .collect(),
        Err(failure) => format!("{failure:?}\n"),
    }
}

/// The answers to two questions, where the questions have none in common. Each is asked until one of its answers
/// is one of the other's too, twelve times at most: now and then a session reads a page of the catalogs more,
/// for reasons of its own.
fn differ<Ask: Fn() -> String>(questions: [Ask; 2]) -> Option<[BTreeSet<String>; 2]> {
    let mut answers = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..12 {
        for (question, answers) in questions.iter().zip(&mut answers) {
            answers.insert(question());
        }
        if !answers[0].is_disjoint(&answers[1]) {
            return None;
        }
    }
    Some(answers)
}

/// The attack that found a whole key of a closed namespace, one letter after the other.
#[test]
fn a_key_is_not_found_by_probing() {
    let cluster = quiet();
    let database = cluster.database();
    let eve = payroll(&database);
    let ask = |probe: &str| {
        let sql = format!(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)
             SELECT 1 FROM once.claims WHERE ns = 'payroll' AND key >= '{probe}'"
        );
        told(&database, &eve, &sql).replace(&format!("'{probe}'"), "?")
    };
    for letter in "abefghilmrz-~".chars() {
        for known in ["", "f", "fire-alic"] {
            let probe = format!("{known}{letter}");
            let answers = differ(["fire-alice", &probe].map(|probe| move || ask(probe)));
            assert_eq!(answers, None, "{probe}");
        }
    }
}

/// Neither do the functions below the views, statistics, or a refusal.
#[test]
fn nothing_else_tells_whether_a_key_is_there() {
    let database = database();
    let mut session = database.session_as(&payroll(&database));
    assert_eq!(
        session.number("SELECT count(*) FROM once.visible_claims()"),
        1
    );
    assert_eq!(
        session.number("SELECT count(*) FROM once.visible_work()"),
        1
    );
    assert_eq!(
        session.number("SELECT count(*) FROM once.visible_namespaces()"),
        1
    );
    for statistics in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"] {
        let sql = format!("SELECT count(*) FROM {statistics} WHERE schemaname = 'once'");
        assert_eq!(session.number(&sql), 0, "{statistics}");
    }
    for table in ["claim", "work_record", "access_policy", "work_floor"] {
        session.refused(&format!("SELECT * FROM once.{table}"), "42501");
        session.refused(&format!("EXPLAIN SELECT * FROM once.{table}"), "42501");
    }
    for call in [
        "is_claimed('payroll', '{}')",
        "claim_once('payroll', '{}')",
        "try_claim_once('payroll', '{}')",
        "begin_once('payroll', '{}')",
        "renew_once('payroll', '{}', 1)",
        "complete_once('payroll', '{}', 1)",
        "forget_once('payroll', '{}')",
        "once.claims_of('payroll', '{}')",
        "once.work_of('payroll', '{}')",
        "once.lock_hash('payroll', '{}')",
    ] {
        let [there, not_there] = ["fire-alice", "fire-zelda"].map(|key| {
            let error = session.refused(&format!("SELECT {}", call.replace("{}", key)), "42501");
            (
                error.message().to_owned(),
                error.detail().map(str::to_owned),
                error.hint().map(str::to_owned),
            )
        });
        assert_eq!(there, not_there, "{call}");
    }
}

/// Pages are in the order of the bytes, and all of them together are the view.
#[test]
fn pages_are_the_view_in_the_order_of_its_keys() {
    let database = database();
    let mut session = database.session();
    session.run(
        "SELECT count(*) FROM claim_many('n', ARRAY(SELECT (i * 7919 % 5000)::text FROM generate_series(1, 2500) i));
         SELECT claim_once('n', 'a', 'b'), claim_once('n', 'Z'), claim_once('n', 'é'), claim_once('other', '1');
         SELECT count(*) FROM generate_series(1, 250) i, begin_once('n', i::text)",
    );
    for (pages, view) in [("claims_of", "claims"), ("work_of", "work")] {
        let mut read = Vec::new();
        loop {
            let after = match read.last() {
                None => "NULL".to_owned(),
                Some(Some(key)) => format!("'{key}'"),
                Some(None) => panic!("a key is NULL"),
            };
            let page = session.rows(&format!("SELECT key FROM once.{pages}('n', {after}, 100)"));
            assert!(page.len() <= 100);
            if page.is_empty() {
                break;
            }
            read.extend(page.into_iter().flatten());
        }
        let all = session.rows(&format!(
            "SELECT key FROM once.{view} WHERE ns = 'n' ORDER BY key COLLATE \"C\""
        ));
        assert_eq!(read, all.into_iter().flatten().collect::<Vec<_>>());
        let differ = format!(
            "SELECT count(*) FROM (TABLE once.{view} EXCEPT SELECT * FROM once.{pages}('n', max_rows => 5000)) d WHERE ns = 'n'"
        );
        assert_eq!(session.number(&differ), 0);
        assert!(
            session
                .rows(&format!("SELECT * FROM once.{pages}('n', max_rows => 0)"))
                .is_empty()
        );
        for (arguments, sqlstate) in [
            ("NULL", "22004"),
            ("'n', NULL, NULL", "22004"),
            ("'n', NULL, -1", "22023"),
            ("''", "22023"),
            ("repeat('n', 129)", "22023"),
        ] {
            session.refused(
                &format!("SELECT * FROM once.{pages}({arguments})"),
                sqlstate,
            );
        }
    }
    assert_eq!(
        session.value("SELECT parts FROM once.claims_of('n') WHERE cardinality(parts) > 1"),
        "{a,b}"
    );
}

/// They see what the statement that reads them sees, also where it is a cursor, and a policy as soon as
/// it is committed.
#[test]
fn they_read_with_the_snapshot_of_the_statement() {
    let database = database();
    let role = format!("{}_reader", database.name);
    let (mut owner, mut writer) = (database.session(), database.session());
    owner.run(&format!("CREATE ROLE {role} LOGIN"));
    writer.run("SELECT claim_once('n', 'first'), begin_once('n', 'first')");
    for reads in [
        "once.claims",
        "once.claims_of('n')",
        "once.work",
        "once.work_of('n')",
    ] {
        let mut reader = database.session_as(&role);
        let count = format!("SELECT count(*) FROM {reads}");
        for level in [
            "READ COMMITTED",
            "REPEATABLE READ",
            "SERIALIZABLE READ ONLY",
        ] {
            reader.begin_at(level);
            let before = reader.number(&count);
            reader.run(&format!("DECLARE opened CURSOR FOR SELECT FROM {reads}"));
            let key = format!("{level} {}", reads.replace('\'', ""));
            writer.run(&format!(
                "SELECT claim_once('n', '{key}'), begin_once('n', '{key}')"
            ));
            assert_eq!(
                reader.rows("FETCH ALL FROM opened").len() as i64,
                before,
                "{reads} {level}"
            );
            let seen = reader.number(&count) - before;
            assert_eq!(
                seen,
                i64::from(level == "READ COMMITTED"),
                "{reads} {level}"
            );
            reader.commit();
        }
        reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert!(reader.number(&count) > 0);
        owner.run("SELECT once.configure('n', allowed_role => 'pg_monitor')");
        match reads.ends_with(')') {
            true => drop(reader.refused(&count, "42501")),
            false => assert_eq!(reader.number(&count), 0, "{reads}"),
        }
        reader.rollback();
        owner.run("SELECT once.unconfigure('n')");
    }
}

/// What is large goes to a file, and a cancel is served.
#[test]
fn a_large_table_is_read_in_bounded_memory_and_can_be_cancelled() {
    let database = database();
    let mut session = database.session();
    session.run(
        "INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, ns, key)
         SELECT 0, 0, 0, i, now(), 'n', 'key ' || i FROM generate_series(1, 400000) i",
    );
    session.run("SET work_mem = '64kB'");
    for sql in [
        "SELECT count(*) FROM once.claims",
        "SELECT count(*) FROM once.claims_of('n', max_rows => 2000000000)",
    ] {
        assert_eq!(session.number(sql), 400_000);
        session.send(sql);
        std::thread::sleep(Duration::from_millis(50));
        let cancelled = Instant::now();
        session.cancel();
        session.answered_refusal("57014");
        assert!(
            cancelled.elapsed() < Duration::from_millis(500),
            "{:?}",
            cancelled.elapsed()
        );
    }
}

#[test]
fn a_standby_shows_them() {
    let primary = Cluster::start(&[]);
    let database = primary.database();
    let eve = payroll(&database);
    let standby = primary.standby();
    let mut owner = standby.connect(&database.name);
    owner.wait_until(
        "SELECT count(*) = 1002 FROM once.claims",
        Duration::from_secs(60),
    );
    assert_eq!(
        owner.number("SELECT count(*) FROM once.claims_of('payroll', 'raise-', 7)"),
        7
    );
    assert_eq!(
        owner.number("SELECT count(*) FROM once.work_of('payroll')"),
        301
    );
    assert_eq!(owner.number("SELECT count(*) FROM once.namespaces"), 2);
    let mut stranger = standby.connect_as(&eve, &database.name);
    assert_eq!(stranger.number("SELECT count(*) FROM once.claims"), 1);
    assert_eq!(stranger.number("SELECT count(*) FROM once.work"), 1);
    assert_eq!(stranger.value("SELECT ns FROM once.namespaces"), "door");
    stranger.refused("SELECT * FROM once.claims_of('payroll')", "42501");
}
