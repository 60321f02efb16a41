//! `once.check`: what is found on a server that something is the matter with,
//! what its advice does, and that nothing is found on one in use.

use pg_once_sessions::{Cluster, Rows, Session, database};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// A REINDEX that is stopped leaves an index, also of what holds the large
/// values of the table. While it runs they are as they should be.
#[test]
fn leftovers_of_a_reindex_are_found_once_it_is_over() {
    let database = database();
    let [mut writer, mut admin, mut witness] = database.sessions();
    quiet(&mut witness);
    writer.begin();
    writer.run("SELECT begin_once('ns', 'k')");
    admin.send("REINDEX TABLE CONCURRENTLY once.work_record");
    admin.waits_for(&writer);
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(witness.number(invalid), 2);
    assert_eq!(findings(&mut witness), no_rows());
    admin.cancel();
    admin.answered_refusal("57014");
    writer.commit();

    let found = findings(&mut witness);
    assert_eq!(found.len(), 2, "{found:?}");
    for row in found {
        let [Some(severity), Some(finding), Some(advice)] = &row[..] else {
            panic!("{row:?}");
        };
        assert_eq!(severity, "warning");
        assert!(finding.contains("_ccnew is invalid"), "{finding}");
        admin.run(advice.split_once(": ").unwrap().1);
    }
    assert_eq!(witness.number(invalid), 0);
    assert_eq!(findings(&mut witness), no_rows());
}

/// A damaged page, or a file that is gone, is a finding, and hides no other one.
#[test]
fn a_damaged_table_is_found_beside_the_rest() {
    const TABLES: [&str; 3] = ["once.access_policy", "once.claim", "once.work_record"];
    let damages: [fn(&str) -> std::io::Result<()>; 2] = [
        |file| fs::write(file, [0xFF; 8192]),
        |file| fs::remove_file(file),
    ];
    for damage in damages {
        for table in TABLES {
            let cluster = Cluster::start(&["synchronous_commit = off"]);
            let database = cluster.database();
            let mut session = database.session();
            session.run(
                "SELECT once.configure('ns', '1 day'), claim_once('ns', 'k'), begin_once('ns', 'k')",
            );
            let file = cluster.path(&session.value(&format!(
                "SELECT 'data/' || pg_relation_filepath('{table}')"
            )));
            cluster.stop_fast();
            damage(&file).unwrap();
            cluster.restart();
            let findings = database.session().rows("SELECT finding FROM once.check()");
            let has = |what: &str| {
                findings
                    .iter()
                    .flatten()
                    .flatten()
                    .any(|finding| finding.contains(what))
            };
            for other in TABLES {
                let is_found = has(&format!("a table cannot be read: {other}: "));
                assert_eq!(is_found, other == table, "{table}: {findings:?}");
            }
            assert!(has("synchronous_commit is off"), "{findings:?}");
        }
    }
}

/// Nor does a table hide the others that somebody has renamed, or has given a trigger.
#[test]
fn a_table_that_is_not_the_extensions_own_is_found_beside_the_rest() {
    let database = database();
    let [mut owner, mut witness] = database.sessions();
    quiet(&mut witness);
    for table in ["access_policy", "claim", "work_record"] {
        owner.run(&format!("ALTER TABLE once.{table} RENAME TO other"));
        let said = format!("relation \"once.{table}\" does not exist");
        assert!(
            heads(findings(&mut witness)).contains(&found("error", &said)),
            "{said}"
        );
        owner.run(&format!("ALTER TABLE once.other RENAME TO {table}"));
        assert_eq!(findings(&mut witness), no_rows());
    }
}

/// Who keeps a table from all callers is found, at once by the table and later by name, and keeps nobody from the other
/// findings; a prepared transaction too.
#[test]
fn a_table_that_is_locked_is_found_beside_the_rest() {
    let database = database();
    let [mut locker, mut witness] = database.sessions();
    quiet(&mut witness);
    impatient(&mut witness);
    witness.run("SET statement_timeout = '30s'");
    for (table, what) in [
        ("access_policy", "policies"),
        ("claim", "claims"),
        ("work_record", "work"),
    ] {
        locker.run(&format!("BEGIN; LOCK TABLE once.{table}"));
        let expected = [found("warning", &format!("once.{table} is locked"))];
        assert_eq!(heads(findings(&mut witness)), expected);
        witness.run("SET lock_timeout = '10ms'");
        assert_eq!(heads(findings(&mut witness)), expected);
        witness.run("RESET lock_timeout");
        let named = soon(&mut witness);
        let by_name = format!(
            "backend {} (postgres) has had {what} locked for all for ",
            locker.pid()
        );
        assert!(
            named
                .iter()
                .any(|row| row[1].as_deref().unwrap().starts_with(&by_name)),
            "{named:?}"
        );
        locker.rollback();
    }
    let name = &database.name;
    locker.run(&format!(
        "BEGIN; TRUNCATE once.claim; PREPARE TRANSACTION '{name}'"
    ));
    thread::sleep(Duration::from_millis(600));
    let named = soon(&mut witness);
    let by_name = format!("prepared transaction '{name}' has had claims locked for all for ");
    assert!(
        named
            .iter()
            .any(|row| row[1].as_deref().unwrap().starts_with(&by_name)),
        "{named:?}"
    );
    witness.run(&format!("ROLLBACK PREPARED '{name}'"));
    assert_eq!(findings(&mut witness), no_rows());
}

/// REASSIGN OWNED leaves the rights with the former owner.
#[test]
fn rights_that_stayed_with_a_former_owner_are_found() {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE ROLE leaver LOGIN; CREATE ROLE heir LOGIN");
    admin.run("CREATE DATABASE d OWNER leaver");
    cluster
        .connect_as("leaver", "d")
        .run("CREATE EXTENSION pg_once");
    let mut witness = cluster.connect("d");
    quiet(&mut witness);
    assert_eq!(findings(&mut witness), no_rows());
    witness.run("REASSIGN OWNED BY leaver TO heir");
    let found = findings(&mut witness);
    let all = "once.access_policy, once.access_policy_shared, once.claim, once.work_floor, once.work_record";
    let first = |row: usize, column: usize| found[row][column].clone().unwrap();
    assert_eq!(
        [first(0, 1), first(1, 1)],
        [
            format!("heir owns the extension and cannot read {all}"),
            format!("leaver has rights on {all}")
        ]
    );
    witness.run(first(1, 2).split_once(": ").unwrap().1);
    witness.run(&format!("GRANT SELECT ON {all} TO heir"));
    assert_eq!(findings(&mut witness), no_rows());
    cluster
        .connect_as("leaver", "d")
        .refused("SELECT * FROM once.claim", "42501");
}

/// The same of work and policies, also where a fence alone is open: begin_once tells others in_progress
/// for as long.
#[test]
fn work_that_is_open_for_long_is_found() {
    let database = database();
    let [
        mut fenced,
        mut prepared,
        mut policy,
        mut reader,
        mut witness,
    ] = database.sessions();
    quiet(&mut witness);
    impatient(&mut witness);
    witness.run("SELECT begin_once('ns', 'fenced', '1 hour')");
    fenced.begin();
    fenced.run("SELECT fence_once('ns', 'fenced', (SELECT token FROM once.work))");
    prepared.run(&format!(
        "BEGIN; SELECT begin_once('ns', 'k'), claim_once('ns', 'k'); PREPARE TRANSACTION '{}'",
        database.name
    ));
    policy.run("BEGIN; SELECT once.configure('ns', ttl => '1 day')");
    reader.run("BEGIN; SELECT * FROM once.work; SELECT begin_once('ns', 'fenced')");
    thread::sleep(Duration::from_millis(600));
    let mut found: Vec<String> = soon(&mut witness)
        .into_iter()
        .filter_map(|row| {
            let finding = row[1].clone()?;
            Some(finding.split_once(" for ")?.0.to_owned())
        })
        .collect();
    found.sort();
    let mut expected = [
        format!("backend {} (postgres) has had work open", fenced.pid()),
        format!("backend {} (postgres) has had policies open", policy.pid()),
        format!(
            "prepared transaction '{}' has had claims, work open",
            database.name
        ),
    ];
    expected.sort();
    assert_eq!(found, expected);
    witness.run(&format!("ROLLBACK PREPARED '{}'", database.name));
}

/// The backend and the prepared transaction are named, and the advice ends them.
#[test]
fn claims_that_are_open_for_long_are_found() {
    let database = database();
    let [mut forgotten, mut prepared, mut reader, mut witness] = database.sessions();
    quiet(&mut witness);
    impatient(&mut witness);
    let sold = format!("{}'s", database.name);
    forgotten.begin();
    assert!(forgotten.is_true("SELECT claim_once('ns', 'k')"));
    prepared.begin();
    assert!(prepared.is_true("SELECT claim_once('ns', 'l')"));
    prepared.run(&format!(
        "PREPARE TRANSACTION '{}'",
        sold.replace('\'', "''")
    ));
    // Who only looks keeps nobody waiting, nor does a prepared transaction without claims.
    reader.begin();
    assert!(!reader.is_true("SELECT is_claimed('ns', 'k')"));
    prepared.run(&format!(
        "CREATE TABLE other (); BEGIN; INSERT INTO other DEFAULT VALUES; PREPARE TRANSACTION '{}'",
        database.name
    ));
    assert_eq!(findings(&mut witness), no_rows());

    thread::sleep(Duration::from_millis(600));
    let found = soon(&mut witness);
    assert_eq!(found.len(), 2, "{found:?}");
    let text = |row: usize, column: usize| found[row][column + 1].as_deref().unwrap();
    let pid = forgotten.pid();
    assert!(text(0, 0).starts_with(&format!("backend {pid} (postgres) has had claims open for")));
    assert!(text(0, 1).ends_with(&format!("SELECT pg_terminate_backend({pid})")));
    let name = sold.replace('\'', "''");
    assert!(text(1, 0).starts_with(&format!(
        "prepared transaction '{name}' has had claims open"
    )));
    assert!(text(1, 1).starts_with(&format!("COMMIT PREPARED '{name}' or")));

    // What others do is for those who may see it.
    let role = format!("{}_curious", database.name);
    witness.run(&format!("CREATE ROLE {role} LOGIN"));
    let mut curious = database.session_as(&role);
    quiet(&mut curious);
    let seen = "SELECT count(*) FROM check_soon() WHERE finding LIKE 'backend%'";
    assert_eq!(curious.number(seen), 0);
    witness.run(&format!("GRANT pg_read_all_stats TO {role}"));
    assert_eq!(curious.number(seen), 1);

    witness.run(&text(0, 1)[text(0, 1).find("SELECT").unwrap()..]);
    witness.run(text(1, 1).split(" or").next().unwrap());
    witness.run(&format!("ROLLBACK PREPARED '{}'", database.name));
    reader.rollback();
    assert!(prepared.is_true("SELECT is_claimed('ns', 'l') AND NOT is_claimed('ns', 'k')"));
    let started = Instant::now();
    while soon(&mut witness) != no_rows() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            soon(&mut witness)
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// What fills the lock table counts, and not how many sessions share a lock, nor
/// what SERIALIZABLE transactions have read.
#[test]
fn pressure_on_the_lock_table_is_found() {
    let cluster = Cluster::start(&[
        "max_locks_per_transaction = 10",
        "max_connections = 20",
        "max_pred_locks_per_transaction = 500",
        "max_pred_locks_per_relation = 5000",
        "max_pred_locks_per_page = 5000",
        "autovacuum = off",
    ]);
    let database = cluster.database();
    let mut witness = database.session();
    quiet(&mut witness);
    witness.run(
        "CREATE TABLE read (k int PRIMARY KEY);
         INSERT INTO read SELECT generate_series(1, 1000);
         ANALYZE read",
    );
    let mut reader = database.session();
    reader.run(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    reader.begin_at("SERIALIZABLE");
    reader.run("DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM FROM read WHERE k = i; END LOOP; END $$");
    let room = 10 * (20 + 10);
    let read = "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock'";
    assert!(witness.number(read) > room);
    assert_eq!(findings(&mut witness), no_rows());
    reader.rollback();

    let mut sharers: [Session; 10] = database.sessions();
    for sharer in &mut sharers {
        sharer.begin();
        sharer.run("SELECT with_lock('n', i::text, shared => true) FROM generate_series(1, 20) i");
    }
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(witness.number(held), 200);
    assert_eq!(findings(&mut witness), no_rows());
    let one = &mut sharers[0];
    one.run("SELECT with_lock('m', i::text) FROM generate_series(1, 150) i");
    let found = findings(&mut witness);
    assert_eq!(found.len(), 1, "{found:?}");
    let text = |column: usize| found[0][column].clone().unwrap();
    assert!(
        text(1).starts_with("the shared lock table is "),
        "{found:?}"
    );
    assert!(
        text(2).starts_with(&format!("Backend {} holds 17", one.pid())),
        "{found:?}"
    );
    one.run("PREPARE TRANSACTION 'many'");
    let found = findings(&mut witness);
    assert_eq!(found.len(), 1, "{found:?}");
    let advice = found[0][2].as_deref().unwrap();
    assert!(
        advice.starts_with("A prepared transaction holds 17"),
        "{found:?}"
    );
    witness.run("ROLLBACK PREPARED 'many'");
    assert_eq!(findings(&mut witness), no_rows());
}

/// Whoever set it, and however it is written. Of another database it is no
/// matter here.
#[test]
fn hasty_commits_are_found() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    quiet(&mut session);
    let (role, name) = (format!("{}_hasty", database.name), &database.name);
    session.run(&format!("CREATE ROLE {role}"));
    for (setting, who) in [
        (format!("ROLE {role}"), format!(" for role {role}")),
        (format!("DATABASE {name}"), format!(" in database {name}")),
        (
            format!("ROLE {role} IN DATABASE {name}"),
            format!(" for role {role} in database {name}"),
        ),
    ] {
        for value in ["off", "'OFF'", "FALSE", "'0'", "no"] {
            session.run(&format!("ALTER {setting} SET synchronous_commit = {value}"));
            let expected = found("warning", &format!("synchronous_commit is off{who}"));
            let seen = heads(findings(&mut session));
            assert_eq!(seen, [expected], "{setting} {value}");
        }
        session.run(&format!("ALTER {setting} SET synchronous_commit = local"));
        assert_eq!(findings(&mut session), no_rows(), "{setting}");
        session.run(&format!("ALTER {setting} RESET synchronous_commit"));
    }
    session.run(&format!(
        "ALTER ROLE {role} IN DATABASE postgres SET synchronous_commit = off"
    ));
    assert_eq!(findings(&mut session), no_rows());
}

/// What is found of a server of this version.
fn faults(session: &mut Session, version: &str, number: u32) -> Rows {
    changed_twice(
        session,
        (
            "current_setting('server_version_num')::int",
            &number.to_string(),
        ),
        (
            "current_setting('server_version')",
            &format!("text '{version}'"),
        ),
    );
    session.rows("SELECT severity, finding, advice FROM check_soon() WHERE finding LIKE '%known faults%' ORDER BY finding")
}

/// The last minors with faults, the first without, and candidates of a release, whose number is the release's.
#[test]
fn faulty_minors_are_found() {
    let database = database();
    let mut session = database.session();
    quiet(&mut session);
    assert!(session.is_true("SELECT current_setting('max_prepared_transactions') <> '0'"));
    for (version, number, fixed) in [
        ("15.19 (Debian 15.19-0+deb12u1)", 150_019, "15.20"),
        ("16.15", 160_015, "16.16"),
        ("17.11", 170_011, "17.12"),
        ("18.0", 180_000, "18.7"),
        ("18.6", 180_006, "18.7"),
        ("19rc1 (Debian 19~rc1-1)", 190_000, "19.0"),
        ("19beta3", 190_000, "19.0"),
        ("19devel", 190_000, "19.0"),
    ] {
        let found = faults(&mut session, version, number);
        let text = |row: usize, column: usize| found[row][column].as_deref().unwrap();
        assert_eq!(found.len(), 2, "{version}: {found:?}");
        for (row, of) in ["composite types, row locks and indexes", "two-phase commit"]
            .iter()
            .enumerate()
        {
            assert_eq!(text(row, 0), "notice");
            assert_eq!(
                text(row, 1),
                format!("PostgreSQL {version} has known faults in {of}")
            );
            let advice = text(row, 2);
            assert!(
                advice.starts_with(&format!("Update to {fixed} or later")),
                "{version}: {advice}"
            );
        }
        assert!(text(0, 2).contains("CVE-2026-6460"));
        let overlooked =
            text(1, 2).contains("row locks of prepared transactions may be overlooked");
        assert_eq!(overlooked, number == 180_000, "{version}");
    }
    for (version, number) in [
        ("15.20 (Debian 15.20-0+deb12u1)", 150_020),
        ("16.16", 160_016),
        ("17.12", 170_012),
        ("18.7", 180_007),
        ("18.10", 180_010),
        ("19.0", 190_000),
        ("19.1", 190_001),
        ("20devel", 200_000),
    ] {
        assert_eq!(
            faults(&mut session, version, number),
            no_rows(),
            "{version}"
        );
    }
}

/// Those of two-phase commit count where it is used at all.
#[test]
fn faults_of_two_phase_commit_are_found_where_it_is_used() {
    let cluster = Cluster::start(&["max_prepared_transactions = 0"]);
    let database = cluster.database();
    let mut session = database.session();
    quiet(&mut session);
    let found = faults(&mut session, "18.6", 180_006);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0][1].as_deref().unwrap().contains("two-phase"));
}

/// Where SERIALIZABLE is a default, also of a role, the faults of ON CONFLICT there count.
#[test]
fn faults_of_on_conflict_are_found() {
    let database = database();
    let mut session = database.session();
    quiet(&mut session);
    faults(&mut session, "18.6", 180_006);
    let seen = "SELECT count(*) FROM check_soon() WHERE severity = 'notice' AND finding LIKE '%faults in ON CONFLICT'";
    assert_eq!(session.number(seen), 0);
    session.run("SET default_transaction_isolation = serializable");
    assert_eq!(session.number(seen), 1);
    session.run("RESET default_transaction_isolation");
    assert_eq!(session.number(seen), 0);
    let name = &database.name;
    session.run(&format!(
        "ALTER DATABASE {name} SET default_transaction_isolation = 'SERIALIZABLE'"
    ));
    assert_eq!(session.number(seen), 1);
    faults(&mut session, "18.7", 180_007);
    assert_eq!(session.number(seen), 0);
}

/// There is to be a worker, and none has room.
#[test]
fn an_absent_worker_is_found() {
    let cluster = Cluster::start(&[
        "shared_preload_libraries = 'pg_once'",
        "max_worker_processes = 0",
        "max_parallel_workers = 0",
    ]);
    let database = cluster.database();
    let mut session = database.session();
    quiet(&mut session);
    let absent = found("warning", "the worker is absent");
    assert_eq!(heads(findings(&mut session)), [absent]);
    session.run("ALTER SYSTEM SET pg_once.sweep_interval = 0");
    session.run("SELECT pg_reload_conf()");
    let started = Instant::now();
    while findings(&mut session) != no_rows() {
        assert!(started.elapsed() < Duration::from_secs(20), "still found");
        thread::sleep(Duration::from_millis(10));
    }
}

/// More namespaces than there is room for.
#[test]
fn full_statistics_are_found() {
    let database = database();
    let mut session = database.session();
    quiet(&mut session);
    session.run("SELECT count(claim_once('ns ' || n, 'k')) FROM generate_series(1, 3000) n");
    let full = found("notice", "once.stats has no room for further namespaces");
    assert_eq!(heads(findings(&mut session)), [full]);
    session.run("SELECT once.reset_stats()");
    assert_eq!(findings(&mut session), no_rows());
}

/// Claims without an end in a namespace that nobody has configured: where there are many, whose they
/// are is said.
#[test]
fn what_nobody_bounds_is_found() {
    let database = database();
    let mut session = database.session();
    quiet(&mut session);
    changed(&mut session, "10000000", "1000");
    let claims = |session: &mut Session, ns: &str, claims: i64, call: &str| {
        let sql =
            format!("SELECT count(*) FROM generate_series(1, {claims}) n WHERE {call}'{ns}', n)");
        assert_eq!(session.number(&sql), claims);
    };
    session.run("SELECT once.configure('meant', allowed_role => 'postgres')");
    claims(&mut session, "meant", 3000, "claim_once(");
    claims(&mut session, "passing", 3000, "claim_once_per('1 day', ");
    claims(&mut session, "few", 100, "claim_once(");
    claims(&mut session, "many", 899, "claim_once(");
    session.run("SELECT begin_once('many', 'w')");
    assert_eq!(soon(&mut session), no_rows());
    claims(&mut session, "one more", 1, "claim_once(");
    let told = "about 1001 claims and works never expire, most of them in namespace 'many'";
    assert_eq!(heads(soon(&mut session)), [found("notice", told)]);
    session.run("SELECT once.configure('many', '1 day')");
    assert_eq!(soon(&mut session), no_rows());
}

/// Everything that the extension has is used, and nothing is the matter.
#[test]
fn nothing_is_found_on_a_server_in_use() {
    let database = database();
    let [mut holder, mut waiter, mut witness] = database.sessions();
    quiet(&mut witness);
    holder.run("CREATE TABLE book (title text)");
    holder.begin();
    holder.run(
        "SELECT claim_once('ns', 'k'), with_lock('ns', 'k'), hold_lock('ns', 'l', shared => true);
         SELECT begin_once('ns', 'k'); SELECT count(*) FROM claim_many('ns', ARRAY['a', 'b']);
         SELECT with_row_lock(NULL::book, '{\"title\": \"Dune\"}');
         SELECT once.configure('ns', '1 hour')",
    );
    waiter.send("SELECT claim_once('ns', 'k')");
    waiter.waits_for(&holder);
    assert_eq!(findings(&mut witness), no_rows());
    holder.commit();
    assert!(!waiter.answered_true());
    assert_eq!(findings(&mut witness), no_rows());
}

/// The one notice that a server with its defaults gets is not what is tested.
fn quiet(session: &mut Session) {
    session.run("SET client_connection_check_interval = '10s'");
}

/// Nor is the minor that the tests happen to run on.
const BUT_THE_MINOR: &str = "WHERE finding NOT LIKE '%known faults%' ORDER BY finding";

fn findings(session: &mut Session) -> Rows {
    session.rows(&format!("SELECT * FROM once.check() {BUT_THE_MINOR}"))
}

fn soon(session: &mut Session) -> Rows {
    session.rows(&format!("SELECT * FROM check_soon() {BUT_THE_MINOR}"))
}

fn found(severity: &str, finding: &str) -> Vec<Option<String>> {
    [severity, finding]
        .map(|text| Some(text.to_owned()))
        .to_vec()
}

/// Severity and finding only.
fn heads(rows: Rows) -> Rows {
    rows.into_iter().map(|row| row[..2].to_vec()).collect()
}

/// Makes `check_soon()`, to which half a second is long.
fn impatient(session: &mut Session) {
    changed(session, "5 minutes", "0.5 s");
}

/// Makes `check_soon()`, which is `once.check()` with this other text.
fn changed(session: &mut Session, from: &str, to: &str) {
    changed_twice(session, (from, to), ("", ""));
}

/// The same with two other texts.
fn changed_twice(session: &mut Session, one: (&str, &str), other: (&str, &str)) {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut source = "source".to_owned();
    for (from, to) in [one, other]
        .into_iter()
        .filter(|(from, _)| !from.is_empty())
    {
        session.run(&format!(
            "DO $do$ BEGIN ASSERT pg_get_functiondef('once.check'::regproc) LIKE '%' || {} || '%'; END $do$",
            quoted(from)
        ));
        source = format!("replace({source}, {}, {})", quoted(from), quoted(to));
    }
    session.run(&format!(
        "DO $do$ DECLARE source text := replace(pg_get_functiondef('once.check'::regproc),
             'FUNCTION once.\"check\"()', 'FUNCTION public.check_soon()'); BEGIN
             EXECUTE {source};
         END $do$"
    ));
}

fn no_rows() -> Rows {
    Rows::new()
}
