//! Dumped in every form and restored, by an owner who is no superuser; taken to
//! a newer PostgreSQL by pg_upgrade; dropped while it is in use, and with its
//! owner.

use pg_once_sessions::{Barrier, Cluster, Database, Server, Session, database};
use std::io::Write;
use std::thread;
use std::time::Duration;

#[test]
fn every_form_of_dump_brings_everything_back() {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE ROLE keeper LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let token = fill(&mut database.session_as("keeper"));
    let name = database.name.as_str();

    for form in ["plain", "custom", "directory"] {
        let dump = cluster.path(form);
        let jobs: &[&str] = if form == "directory" {
            &["-j", "2"]
        } else {
            &[]
        };
        dump_as_keeper(&cluster, name, &dump, &[&["-F", form], jobs].concat());
        let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
        if form == "plain" {
            run_script(&cluster, &restored, &dump);
        } else {
            restore(&cluster, &restored, &dump, jobs);
        }
        holds_everything(&restored, token);
    }

    let dump = cluster.path("only-data");
    dump_as_keeper(&cluster, name, &dump, &["-F", "custom", "--data-only"]);
    let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
    restored
        .session_as("keeper")
        .run("CREATE EXTENSION pg_once");
    restore(&cluster, &restored, &dump, &[]);
    holds_everything(&restored, token);

    let dump = cluster.path("only-schema");
    dump_as_keeper(&cluster, name, &dump, &["-F", "custom", "--schema-only"]);
    let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
    restore(&cluster, &restored, &dump, &[]);
    let mut session = restored.session_as("keeper");
    assert!(session.is_true("SELECT claim_once('ns', 'a', 'b')"));
    assert_eq!(session.number("SELECT count(*) FROM once.namespaces"), 0);
}

/// Everything that is to be found again. Returns the token of the open work.
fn fill(session: &mut Session) -> i64 {
    session.run("CREATE EXTENSION pg_once");
    session.run("SELECT claim_once('ns', 'a', 'b'), claim_once_per('1 day', 'ns', 'day')");
    session.run("SELECT try_claim_once('ns', 'owned', owner => 'me')");
    session.run("SELECT once.configure('mine', '1 day', 'keeper')");
    session.run("SELECT once.configure('theirs', '1 day', 'postgres')");
    session.number("SELECT token FROM begin_once('ns', 'gone')");
    session.run("SELECT begin_once('ns', 'done', request => '{\"n\": 1}')");
    session.run(
        "SELECT complete_once('ns', 'done', token, '\"result\"') FROM once.work WHERE key = 'done'",
    );
    session.number("SELECT token FROM begin_once('ns', 'open')")
}

fn holds_everything(restored: &Database, token: i64) {
    let mut session = restored.session_as("keeper");
    for claimed in [
        "claim_once('ns', 'a', 'b')",
        "claim_once('ns', 'day')",
        "try_claim_once('ns', 'owned') = 'won'",
    ] {
        assert!(!session.is_true(&format!("SELECT {claimed}")), "{claimed}");
    }
    assert_eq!(
        session.value("SELECT try_claim_once('ns', 'owned', owner => 'me')"),
        "won"
    );
    assert!(session.is_true("SELECT claim_once('mine', 'k')"));
    assert!(session.is_true("SELECT expires_at IS NOT NULL FROM once.claims WHERE ns = 'mine'"));
    session.refused("SELECT claim_once('theirs', 'k')", "42501");
    assert_eq!(
        session.value("SELECT result FROM begin_once('ns', 'done')"),
        "\"result\""
    );
    assert_eq!(
        session.value("SELECT outcome FROM begin_once('ns', 'done', request => '{\"n\": 2}')"),
        "mismatch"
    );
    assert!(session.is_true(&format!("SELECT complete_once('ns', 'open', {token})")));
    let later = session.number("SELECT token FROM begin_once('ns', 'later')");
    assert!(later > token, "{later} after {token}");
}

fn dump_as_keeper(cluster: &Cluster, name: &str, file: &str, form: &[&str]) {
    let all = [&["-U", "keeper", "-f", file], form, &[name]].concat();
    cluster.client("pg_dump", &all);
}

fn run_script(cluster: &Cluster, restored: &Database, file: &str) {
    let all = [
        "-X",
        "-q",
        "-U",
        "keeper",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &restored.name,
        "-f",
        file,
    ];
    cluster.client("psql", &all);
}

fn restore(cluster: &Cluster, restored: &Database, file: &str, form: &[&str]) {
    let all = [
        &["-U", "keeper", "--exit-on-error", "-d", &restored.name],
        form,
        &[file],
    ]
    .concat();
    cluster.client("pg_restore", &all);
}

/// A namespace is closed as soon as the first of its claims is restored, also by an owner who is no
/// superuser, where one process restores.
#[test]
fn policies_come_before_what_they_close() {
    let cluster = Cluster::start(&[]);
    cluster.connect("postgres").run(
        "CREATE ROLE keeper LOGIN; CREATE ROLE member LOGIN IN ROLE keeper; CREATE ROLE eve LOGIN",
    );
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    database.session_as("keeper").run(
        "CREATE EXTENSION pg_once;
         SELECT once.configure('shut', allowed_role => 'keeper');
         SELECT claim_once('shut', 'k'), begin_once('shut', 'k')",
    );
    let dump = cluster.path("dump");
    for form in [&["-Fc"][..], &["-Fc", "--data-only"]] {
        dump_as_keeper(&cluster, &database.name, &dump, form);
        let script = cluster.path("script");
        cluster.client("pg_restore", &["-f", &script, &dump]);
        let text = std::fs::read_to_string(&script).unwrap();
        let place = |what: &str| {
            text.find(what)
                .unwrap_or_else(|| panic!("no {what}: {text}"))
        };
        for policies in ["access_policy", "access_policy_shared"] {
            let policies = place(&format!("COPY once.{policies} "));
            assert!(policies < place("COPY once.claim "));
            assert!(policies < place("COPY once.work_record "));
        }
        if form.len() == 1 {
            let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
            let claims = place("COPY once.claim ");
            let end = claims + text[claims..].find("\n\\.\n").unwrap() + 4;
            let half = cluster.path("half");
            std::fs::write(&half, &text[..end]).unwrap();
            run_script(&cluster, &restored, &half);
            let claims = "SELECT count(*) FROM once.claims";
            assert_eq!(restored.session_as("member").number(claims), 1);
            let mut eve = restored.session_as("eve");
            assert_eq!(eve.number(claims), 0);
            eve.refused("SELECT is_claimed('shut', 'k')", "42501");
        }
    }
}

#[test]
fn it_is_dropped_once_nobody_uses_it() {
    let database = database();
    let [mut user, mut dropper, mut late] = database.sessions();
    late.run("SELECT claim_once('ns', 'prepared')");
    user.begin();
    assert!(user.is_true("SELECT claim_once('ns', 'k')"));
    dropper.send("DROP EXTENSION pg_once");
    dropper.waits_for(&user);
    user.commit();
    dropper.answered_rows();
    for session in [&mut user, &mut late] {
        session.refused("SELECT claim_once('ns', 'k')", "42883");
    }
    dropper.run("CREATE EXTENSION pg_once");
    for session in [&mut user, &mut late] {
        let claim = format!("SELECT claim_once('ns', '{}')", session.pid());
        assert!(session.is_true(&claim));
        assert!(session.rows("SELECT * FROM once.namespaces").is_empty());
    }
}

/// DROP EXTENSION and calls lock the tables in one order. What waited for it finds nothing.
#[test]
fn it_is_dropped_beside_calls_of_new_sessions() {
    for call in [
        "claim_once('ns', 'k')",
        "begin_once('ns', 'k', wait => '1 minute')",
    ] {
        let database = database();
        let [mut user, mut dropper, mut observer] = database.sessions();
        user.run(&format!("SELECT {call}"));
        user.begin();
        user.run("SELECT claim_once('ns', 'open'), begin_once('ns', 'open')");
        dropper.send("DROP EXTENSION pg_once");
        observer.wait_until(
            &format!(
                "SELECT cardinality(pg_blocking_pids({})) > 0",
                dropper.pid()
            ),
            Duration::from_secs(60),
        );
        let mut late = database.session();
        late.send(&format!("SELECT {call}"));
        observer.wait_until(
            &format!("SELECT cardinality(pg_blocking_pids({})) > 0", late.pid()),
            Duration::from_secs(60),
        );
        user.commit();
        dropper.answered_rows();
        late.answered_refusal("42P01");
        late.refused(&format!("SELECT {call}"), "42883");
    }
}

/// G4: from every older server that is here, and from the version itself. Which ones are left out
/// is said, and why.
#[test]
fn pg_upgrade_keeps_everything() {
    let (servers, left_out) = Server::upgradable();
    for why in left_out {
        writeln!(std::io::stderr(), "pg_upgrade: {why}").unwrap();
    }
    let newest = Server::under_test().major;
    for server in servers {
        let old = Cluster::start_of(&server);
        if server.major != newest && marks_its_tables(&old) {
            writeln!(
                std::io::stderr(),
                "pg_upgrade: PostgreSQL {} gives every column options of its own, which no other server takes",
                server.major
            )
            .unwrap();
            continue;
        }
        old.connect("postgres")
            .run("CREATE ROLE keeper LOGIN; CREATE ROLE member LOGIN IN ROLE keeper");
        let before = old.database_like("OWNER keeper TEMPLATE template0");
        let token = fill(&mut before.session_as("keeper"));
        let mut admin = before.session();
        fill_more(&mut admin);
        let facts: Vec<_> = FACTS.iter().map(|fact| admin.rows(fact)).collect();
        let before = before.name.clone();
        drop(admin);
        old.stop_fast();

        let new = old.upgraded();
        let after = new.existing(&before);
        let mut admin = after.session();
        for (fact, before) in FACTS.iter().zip(facts) {
            assert!(!before.is_empty(), "{fact}");
            assert_eq!(admin.rows(fact), before, "from {}: {fact}", server.major);
        }
        holds_everything(&after, token);
        holds_more(&after, token);
    }
}

/// Such a server cannot be upgraded, with or without the extension. PostgreSQL's own leave the
/// options of a column empty until somebody sets them.
fn marks_its_tables(cluster: &Cluster) -> bool {
    cluster.connect("postgres").is_true(
        "CREATE TABLE plain (a int);
         SELECT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = 'plain'::regclass AND attoptions IS NOT NULL)",
    )
}

const FACTS: &[&str] = &[
    "SELECT * FROM once.claim ORDER BY place_high, place_low, hash_high, hash_low",
    "SELECT * FROM once.access_policy ORDER BY ns",
    "SELECT * FROM once.work_record ORDER BY place_high, place_low, hash_high, hash_low",
    "SELECT * FROM once.work_floor",
    "SELECT * FROM once.merged_rows ORDER BY id",
    "SELECT oid, rolname FROM pg_roles WHERE rolname IN ('keeper', 'member') ORDER BY oid",
    // Not the owner: pg_upgrade gives every extension to the superuser who runs it.
    "SELECT extversion, extconfig::regclass[]::text, extcondition
     FROM pg_extension WHERE extname = 'pg_once'",
];

fn fill_more(admin: &mut Session) {
    admin.run("SELECT complete_once('ns', 'removed', token) FROM begin_once('ns', 'removed')");
    assert!(admin.is_true("SELECT forget_once('ns', 'removed')"));
    admin.run("SELECT once.sweep()");
    admin.run(
        "SELECT claim_once('many', i) FROM generate_series(1, 1000) i;
         SELECT claim_once_per('1 microsecond', 'ns', 'over');
         CREATE TABLE doc (id int PRIMARY KEY, k text, n numeric);
         INSERT INTO doc VALUES (1, 'a', 1.50), (2, 'a', 'NaN'), (3, 'b', 0);
         SELECT once.merge_duplicates('doc', '{k}', dry_run => false);
         SELECT once.define_row_lock('with_doc', 'doc', '{k}')",
    );
}

fn holds_more(database: &Database, token: i64) {
    let mut admin = database.session();
    admin.run(
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    let claims = "SELECT count(*) FROM once.claim WHERE ns = 'many'";
    let again = "SELECT count(*) FROM generate_series(1, 1000) i WHERE claim_once('many', i)";
    for engine in ["direct", "statement"] {
        admin.run(&format!("SET pg_once.claim_engine = {engine}"));
        assert_eq!(admin.number(again), 0, "{engine}");
    }
    assert_eq!(admin.number(claims), 1000);
    let floor = admin.number("SELECT token FROM once.work_floor");
    let above = admin.number("SELECT token FROM begin_once('ns', 'removed')");
    assert!(above > floor && above > token, "{above}");
    admin.refused(
        &format!("SELECT fence_once('ns', 'removed', {floor})"),
        "55000",
    );
    assert_eq!(admin.number("SELECT id FROM with_doc('a')"), 1);
    let mut member = database.session_as("member");
    assert!(member.is_true("SELECT claim_once('mine', 'by a member')"));
    member.refused("SELECT claim_once('theirs', 'k')", "42501");

    // What had expired is retaken by exactly one.
    let barrier = Barrier::new(8);
    let won: usize = thread::scope(|scope| {
        let race = |mut session: Session| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                usize::from(session.is_true("SELECT claim_once('ns', 'over')"))
            })
        };
        let racers: Vec<_> = (0..8).map(|_| race(database.session())).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(
        admin.number("SELECT count(*) FROM once.claim WHERE key = 'over'"),
        1
    );
}

#[test]
fn it_stays_in_its_schema() {
    let database = database();
    let mut session = database.session();
    session.run("CREATE SCHEMA elsewhere");
    session.refused("ALTER EXTENSION pg_once SET SCHEMA elsewhere", "0A000");
    session.refused(
        "ALTER SCHEMA once RENAME TO twice; SELECT claim_once('ns', 'k')",
        "42P01",
    );
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
}

/// The extension's owner goes: with all that he owned, or after others have taken it over.
#[test]
fn it_is_dropped_or_handed_over_with_its_owner() {
    let cluster = Cluster::start(&[]);
    cluster
        .connect("postgres")
        .run("CREATE ROLE keeper LOGIN; CREATE ROLE heir LOGIN; CREATE ROLE user1 LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let token = fill(&mut database.session_as("keeper"));
    let [mut admin, mut other] = database.sessions();

    admin.refused("DROP ROLE keeper", "2BP01");
    admin.run("REASSIGN OWNED BY keeper TO heir");
    assert_eq!(
        admin.value("SELECT extowner::regrole FROM pg_extension WHERE extname = 'pg_once'"),
        "heir"
    );
    assert!(!other.is_true("SELECT claim_once('ns', 'a', 'b')"));
    let mut heir = database.session_as("heir");
    // By the database, which is his too.
    heir.run("SELECT once.configure('heirs', '1 day', 'heir'), once.sweep()");
    heir.refused("TABLE once.claim", "42501");
    for sql in TO_THE_HEIR {
        admin.run(sql);
    }
    for (role, of_keeper) in FUNCTIONS_TO_THE_HEIR {
        admin.run("SET search_path = pg_catalog");
        let grant = admin.value(&format!("{of_keeper} {OF_MEMBERS}"));
        admin.run(&format!("SET ROLE {role}; {grant}; RESET ALL; RESET ROLE"));
    }
    let dump = cluster.path("by-the-heir");
    cluster.client("pg_dump", &["-U", "heir", "-f", &dump, &database.name]);
    heir.run("ALTER EXTENSION pg_once UPDATE");

    // What the old owner still has is what was granted to him, and by him.
    admin.run("DROP OWNED BY keeper");
    assert!(!other.is_true("SELECT claim_once('ns', 'a', 'b')"));
    assert!(other.is_true(&format!("SELECT complete_once('ns', 'open', {token})")));
    // The namespace that was his is closed, to everybody but superusers.
    admin.run("DROP ROLE keeper");
    database
        .session_as("user1")
        .refused("SELECT claim_once('mine', 'k')", "42501");

    // Everybody still has what the heir has granted.
    let mut user = database.session_as("user1");
    assert!(user.is_true("SELECT claim_once('ns', 'after')"));
    heir.run("REVOKE EXECUTE ON FUNCTION claim_once(text, text) FROM PUBLIC");
    user.refused("SELECT claim_once('ns', 'k')", "42501");

    // In use it is not dropped.
    other.begin();
    assert!(other.is_true("SELECT claim_once('ns', 'open')"));
    // From 17 on DROP OWNED stops at what the extension's owner has granted.
    let drop_it = if Server::under_test().major < 17 {
        "DROP OWNED BY heir"
    } else {
        admin.refused("DROP OWNED BY heir CASCADE", "2BP01");
        "DROP EXTENSION pg_once; DROP OWNED BY heir"
    };
    admin.send(drop_it);
    admin.waits_for(&other);
    other.commit();
    admin.answered_rows();
    other.refused("SELECT claim_once('ns', 'k')", "42883");
    assert_eq!(
        admin.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'once'"),
        0
    );
}

/// What docs/operations.md says to run after REASSIGN OWNED.
const TO_THE_HEIR: &[&str] = &[
    "GRANT SELECT, INSERT ON once.claim, once.access_policy, once.access_policy_shared, once.work_record, once.work_floor TO heir",
    "GRANT EXECUTE ON FUNCTION once.configure, once.unconfigure, once.sweep, once.reset_stats TO heir",
];

/// Who then runs what this selects.
const FUNCTIONS_TO_THE_HEIR: [(&str, &str); 2] = [
    (
        "postgres",
        "SELECT format('GRANT EXECUTE ON FUNCTION %s TO heir WITH GRANT OPTION',
                       string_agg(oid::regprocedure::text, ', ') FILTER (WHERE grantee = 'keeper'::regrole AND is_grantable))",
    ),
    (
        "heir",
        "SELECT format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC',
                       string_agg(oid::regprocedure::text, ', ') FILTER (WHERE grantee = 0 AND grantor = 'keeper'::regrole))",
    ),
];

const OF_MEMBERS: &str = "FROM (
    SELECT p.oid, a.grantor, a.grantee, a.is_grantable
    FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid, aclexplode(p.proacl) a
    WHERE e.extname = 'pg_once') granted";
