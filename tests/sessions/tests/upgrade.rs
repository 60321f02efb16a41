//! ALTER EXTENSION UPDATE: the first release works with this library, keeps its claims when it is
//! upgraded, and is then what CREATE EXTENSION makes.

use pg_once_sessions::{Cluster, Database, Server, Session};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::sync::OnceLock;

const FIRST: &str = "0.1.0";

fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(&[]))
}

/// A fresh database with the first release.
fn first_release() -> Database<'static> {
    let database = cluster().database_like("TEMPLATE template0");
    database
        .session()
        .run(&format!("CREATE EXTENSION pg_once VERSION '{FIRST}'"));
    database
}

fn upgrade(session: &mut Session) {
    session.run("ALTER EXTENSION pg_once UPDATE TO '0.2.0'");
}

fn version(session: &mut Session) -> String {
    session.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_once'")
}

#[test]
fn the_newest_version_is_the_default_and_every_other_one_leads_to_it() {
    let mut session = cluster().connect("postgres");
    let newest =
        session.value("SELECT default_version FROM pg_available_extensions WHERE name = 'pg_once'");
    assert_eq!(newest, "0.2.0");
    let stranded = format!(
        "SELECT source FROM pg_extension_update_paths('pg_once')
         WHERE target = '{newest}' AND path IS NULL"
    );
    assert!(session.rows(&stranded).is_empty());
    let versions = session.rows(
        "SELECT version, superuser, trusted, relocatable FROM pg_available_extension_versions
         WHERE name = 'pg_once' ORDER BY version",
    );
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_eq!(versions[0][1..], versions[1][1..]);
}

/// Every function of the first release is asked something to which it can answer wrongly.
#[test]
fn the_first_release_works_with_this_library() {
    let database = first_release();
    database.session().run("CREATE ROLE plain_user LOGIN");
    for role in ["postgres", "plain_user"] {
        let mut session = database.session_as(role);
        for (question, answer) in ANSWERS {
            let question = question.replace("ROLE", role);
            assert_eq!(session.value(&question), *answer, "{question}");
        }
        for (question, sqlstate) in REFUSALS {
            session.refused(question, sqlstate);
        }
    }
    let mut session = database.session();
    let asked: String = ANSWERS.iter().map(|(question, _)| *question).collect();
    for function in session.rows(FUNCTIONS) {
        let name = function[0].as_deref().unwrap();
        assert!(asked.contains(&format!("{name}(")), "{name}");
    }
    assert_eq!(version(&mut session), FIRST);
}

const FUNCTIONS: &str = "SELECT DISTINCT proname FROM pg_depend JOIN pg_proc p ON p.oid = objid
     WHERE deptype = 'e' AND classid = 'pg_proc'::regclass
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_once')";

const ANSWERS: &[(&str, &str)] = &[
    ("SELECT once_key('a', 'bc') = once_key('ab', 'c')", "f"),
    (
        "SELECT encode(convert_to(once_key(4711, 'org/repo'), 'UTF8'), 'hex')",
        "1e343731311e6f72672f7265706f",
    ),
    ("SELECT once_key(42)", "42"),
    ("SELECT claim_once('ROLE', 'k')", "t"),
    ("SELECT claim_once('ROLE', 'k')", "f"),
    ("SELECT claim_once('ROLE', 4711, 'x')", "t"),
    ("SELECT claim_once('ROLE', '4711', 'x')", "f"),
    ("SELECT claim_once('ROLE', 'a', 1)", "t"),
    ("SELECT claim_once('ROLE', 1, 2, 3)", "t"),
    (
        "SELECT claim_once('ROLE', VARIADIC ARRAY['1', '2', '3'])",
        "f",
    ),
    ("SELECT claim_once_per('1 day', 'ROLE', 'day')", "t"),
    ("SELECT claim_once_per('1 day', 'ROLE', 'day')", "f"),
    (
        "SELECT claim_once_per('1 day', 'ROLE', 1, 'x') AND claim_once_per('1 day', 'ROLE', 'y', 1)",
        "t",
    ),
    ("SELECT is_claimed('ROLE', 'k')", "t"),
    ("SELECT is_claimed('ROLE', 'other')", "f"),
    (
        "SELECT is_claimed('ROLE', 4711, 'x') AND is_claimed('ROLE', 1, 2, 3)",
        "t",
    ),
    ("SELECT unclaim('ROLE', 'k')", "t"),
    ("SELECT unclaim('ROLE', 'k')", "f"),
    (
        "SELECT unclaim('ROLE', 'a', 1) AND unclaim('ROLE', 1, 2, 3)",
        "t",
    ),
    ("SELECT claim_once('ROLE', 'k')", "t"),
    (
        "CREATE TEMPORARY TABLE payments (service_id int, line_item_id text, n int DEFAULT 7);
      SELECT created::text || (payment->>'n') FROM with_payment_lock(1, 'A')",
        "true7",
    ),
    (
        "SELECT created::text || (payment->>'n') FROM with_payment_lock('1', 'A')",
        "false7",
    ),
    (
        "SELECT n FROM with_row_lock(NULL::payments, '{\"service_id\": 2}', '{\"n\": 8}')",
        "8",
    ),
    (
        "SELECT n FROM with_row_lock(NULL::payments, '{\"service_id\": 2}', '{\"n\": 9}', '0')",
        "8",
    ),
    (
        "SELECT created FROM find_or_create(NULL::payments, '{\"service_id\": 2}')",
        "f",
    ),
    ("SELECT count(*) FROM payments", "2"),
];

const REFUSALS: &[(&str, &str)] = &[
    ("SELECT claim_once('ns', NULL)", "22004"),
    ("SELECT claim_once('', 'k')", "22023"),
    ("SELECT claim_once('ns', ARRAY[1])", "0A000"),
    ("SELECT claim_many('ns', '{a}')", "42883"),
    ("SELECT once.sweep()", "42883"),
];

/// The guarantees are the library's: they hold for the first release as for the newest.
#[test]
fn the_guarantees_hold_for_the_first_release() {
    let database = first_release();
    let [mut winner, mut waiting, mut late] = database.sessions();
    let claim = "SELECT claim_once('ns', 'k')";
    winner.begin();
    assert!(winner.is_true(claim));
    waiting.send(claim);
    waiting.waits_for(&winner);
    winner.rollback();
    assert!(waiting.answered_true());

    late.begin_at("REPEATABLE READ");
    late.run("SELECT 1");
    assert!(winner.is_true("SELECT claim_once('ns', 'newer')"));
    assert!(!late.is_true("SELECT claim_once('ns', 'newer')"));
    late.commit();
    for engine in ["direct", "statement"] {
        winner.run(&format!("SET pg_once.claim_engine = {engine}"));
        assert!(!winner.is_true(claim), "{engine}");
        let new = format!("SELECT claim_once('ns', '{engine}')");
        assert!(winner.is_true(&new), "{engine}");
    }
    assert_eq!(winner.number("SELECT count(*) FROM once.claim"), 4);
}

/// Old claims, an open one among them, are what they were; sessions that were there before the
/// upgrade hear of what is new.
#[test]
fn an_upgrade_keeps_all_claims_and_disturbs_nobody() {
    let database = first_release();
    let [mut user, mut open, mut admin] = database.sessions();
    user.run(
        "SELECT claim_once('ns', i) FROM generate_series(1, 1000) i;
         SELECT claim_once('ns', 'a', 'b'), claim_once_per('1 day', 'ns', 'day'),
                claim_once_per('1 microsecond', 'ns', 'over')",
    );
    let stored = "SELECT * FROM once.claim WHERE ns = 'ns' ORDER BY digest";
    let before = user.rows(stored);
    assert_eq!(before.len(), 1003);
    open.begin();
    assert!(open.is_true("SELECT claim_once('open', 'k')"));

    upgrade(&mut admin);
    assert_eq!(version(&mut admin), "0.2.0");
    assert_eq!(user.rows(stored), before);
    open.commit();
    for session in [&mut user, &mut open, &mut admin] {
        assert_eq!(
            session
                .value("SELECT count(*) FROM generate_series(1, 1000) i WHERE claim_once('ns', i)"),
            "0"
        );
        for claimed in ["'ns', 'a', 'b'", "'ns', 'day'", "'open', 'k'"] {
            assert!(!session.is_true(&format!("SELECT claim_once({claimed})")));
        }
    }
    assert!(user.is_true("SELECT claim_once('ns', 'over')"));
    assert_eq!(user.rows("SELECT claim_many('ns', '{1,new}')").len(), 1);

    // The policy counts in sessions that have known the first release.
    admin.run("CREATE ROLE stranger; SELECT once.configure('kept', '1 day', 'stranger')");
    user.run("CREATE ROLE nobody; SET ROLE nobody");
    user.refused("SELECT claim_once('kept', 'k')", "42501");
    admin.run("DROP OWNED BY stranger, nobody");
}

/// A failed upgrade leaves the first release as it was, and can be made again.
#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let database = first_release();
    let mut session = database.session();
    session.run("SELECT claim_once('ns', 'k')");
    session.run("CREATE FUNCTION claim_many(ns text, keys text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT 1::text'");
    session.refused("ALTER EXTENSION pg_once UPDATE", "42723");
    assert_eq!(version(&mut session), FIRST);
    assert!(!session.is_true("SELECT claim_once('ns', 'k')"));
    assert_eq!(
        session.number("SELECT count(*) FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind <> 'i'"),
        1
    );
    session.run("DROP FUNCTION claim_many");
    session.run("ALTER EXTENSION pg_once UPDATE");
    assert_eq!(version(&mut session), "0.2.0");
    assert!(!session.is_true("SELECT claim_once('ns', 'k')"));
}

/// What is granted on the claims since is no business of the upgrade.
#[test]
fn an_upgrade_keeps_what_was_granted() {
    let database = first_release();
    let mut session = database.session();
    session.run(
        "CREATE ROLE reader; GRANT SELECT ON once.claim TO reader;
         REVOKE EXECUTE ON FUNCTION claim_once(text, text) FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO reader",
    );
    upgrade(&mut session);
    session.run("SET ROLE reader");
    session.run("SELECT * FROM once.claim");
    session.refused("SELECT claim_once('ns', 'k')", "42501");
    for sql in [
        "TABLE once.merged_rows",
        "INSERT INTO once.namespace (ns) VALUES ('mine')",
        "SELECT once.configure('mine')",
        "SELECT once.sweep()",
    ] {
        session.refused(sql, "42501");
    }
    session.run("RESET ROLE; DROP OWNED BY reader; DROP ROLE reader");
}

/// A session that has the library of the first release loaded, as those that a pooler keeps: until
/// the upgrade it answers as it always did, after it nothing that could miss a policy answers at all.
#[test]
fn a_session_with_the_old_library_is_told_so() {
    if Server::under_test().major < 18 {
        writeln!(
            std::io::stderr(),
            "the old library: only PostgreSQL 18 looks for libraries where a session says"
        )
        .unwrap();
        return;
    }
    let (database, another) = (first_release(), first_release());
    let path = cluster().path("old");
    old_library(&path);
    let old_session = |database: &Database| {
        let mut session = database.session();
        session.run(&format!("SET dynamic_library_path = '{path}'"));
        assert!(session.is_true("SELECT claim_once('ns', 'k')"));
        session
    };
    let mut old = old_session(&database);
    let mut admin = database.session();
    upgrade(&mut admin);
    admin.run("SELECT once.configure('ns', '1 day', 'pg_monitor')");
    for call in [
        "claim_once('ns', 'k')",
        "claim_once('ns', 1, 2, 3)",
        "claim_once_per('1 hour', 'ns', 'a', 1)",
        "is_claimed('ns', VARIADIC ARRAY['k'])",
        "unclaim('ns', 'k')",
        "claim_many('ns', ARRAY['k'])",
        "begin_once('ns', 'k')",
        "with_lock('ns', 'k')",
        "once.sweep()",
    ] {
        let refusal = old.refused(&format!("SELECT {call}"), "42883");
        assert!(
            refusal.message().starts_with("could not find function"),
            "{call}: {refusal}"
        );
    }
    for view in ["claims", "work", "namespaces", "locks", "stats"] {
        old.refused(&format!("SELECT * FROM once.{view}"), "42883");
    }
    // What asks for no policy answers as before.
    old.run("CREATE TEMPORARY TABLE book (title text)");
    assert_eq!(
        old.value("SELECT with_row_lock(NULL::book, '{\"title\": \"Dune\"}')"),
        "(Dune)"
    );
    let mut new = database.session();
    assert!(!new.is_true("SELECT claim_once('ns', 'k')"));

    // Nor can such a session upgrade.
    let mut old = old_session(&another);
    old.refused("ALTER EXTENSION pg_once UPDATE", "42883");
    assert_eq!(version(&mut old), FIRST);
    assert!(!old.is_true("SELECT claim_once('ns', 'k')"));
}

/// Makes in this directory a library that knows what the first release calls and nothing else: this
/// one, in which the names of all other functions are written over.
fn old_library(directory: &str) {
    let names = |mut session: Session| -> HashSet<Vec<u8>> {
        let rows = session.rows(
            "SELECT DISTINCT prosrc FROM pg_depend JOIN pg_proc p ON p.oid = objid
             JOIN pg_language l ON l.oid = prolang AND l.lanname = 'c'
             WHERE deptype = 'e' AND classid = 'pg_proc'::regclass
               AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_once')",
        );
        let names = rows.into_iter().flatten().flatten();
        names.map(String::into_bytes).collect()
    };
    let known = names(first_release().session());
    let newest = cluster().database_like("TEMPLATE template0");
    newest.session().run("CREATE EXTENSION pg_once");
    let mut new = &names(newest.session()) - &known;
    let mut library = fs::read(Server::library()).unwrap();
    let mut begin = 0;
    // The names that the loader looks at stand at the beginning.
    while !new.is_empty()
        && let Some(length) = library[begin..].iter().position(|byte| *byte == 0)
    {
        let word = &library[begin..begin + length];
        if word.ends_with(b"_wrapper") && new.remove(word) {
            library[begin] = b'-';
        }
        begin += length + 1;
    }
    fs::create_dir(directory).unwrap();
    fs::write(format!("{directory}/pg_once.so"), library).unwrap();
}

/// Who makes the extension and the upgrade, and where.
struct Case {
    schema: &'static str,
    owner: &'static str,
    upgrader: &'static str,
    before: &'static str,
}

const CASES: &[Case] = &[
    Case {
        schema: "public",
        owner: "postgres",
        upgrader: "postgres",
        before: "",
    },
    Case {
        schema: "\"Other schema\"",
        owner: "postgres",
        upgrader: "postgres",
        before: "CREATE SCHEMA \"Other schema\"",
    },
    Case {
        schema: "public",
        owner: "keeper",
        upgrader: "keeper",
        before: "",
    },
    Case {
        schema: "apart",
        owner: "keeper",
        upgrader: "second_admin",
        before: "CREATE SCHEMA apart",
    },
    Case {
        schema: "public",
        owner: "postgres",
        upgrader: "second_admin",
        before: "ALTER DEFAULT PRIVILEGES FOR ROLE second_admin GRANT ALL ON TABLES TO keeper",
    },
];

#[test]
fn upgraded_and_fresh_are_equal() {
    let cluster = cluster();
    cluster
        .connect("postgres")
        .run("CREATE ROLE keeper LOGIN; CREATE ROLE second_admin LOGIN SUPERUSER");
    for case in CASES {
        let Case { schema, owner, .. } = case;
        let [fresh, upgraded] = ["", "VERSION '0.1.0'"].map(|version| {
            let database = cluster.database_like("TEMPLATE template0");
            let mut admin = database.session();
            admin.run(&format!(
                "ALTER DATABASE {} OWNER TO keeper; GRANT CREATE ON SCHEMA public TO keeper",
                database.name
            ));
            admin.run(case.before);
            admin.run(&format!("ALTER SCHEMA {schema} OWNER TO {owner}"));
            database.session_as(owner).run(&format!(
                "CREATE EXTENSION pg_once SCHEMA {schema} {version}"
            ));
            database
        });
        upgrade(&mut upgraded.session_as(case.upgrader));
        let [fresh, upgraded] = [fresh, upgraded].map(|database| described(&database));
        assert!(fresh.len() > 300, "{}", fresh.len());
        let differs = |these: &[String], those: &[String]| -> Vec<String> {
            let missing = these.iter().filter(|line| !those.contains(line));
            missing.cloned().collect()
        };
        let (lacking, other) = (differs(&fresh, &upgraded), differs(&upgraded, &fresh));
        assert!(
            lacking.is_empty() && other.is_empty() && fresh.len() == upgraded.len(),
            "{schema} of {owner} by {}\nfresh only: {lacking:#?}\nupgraded only: {other:#?}",
            case.upgrader
        );
    }
}

/// Everything that can be said of the extension and its objects, a line each.
fn described(database: &Database) -> Vec<String> {
    let mut session = database.session();
    session.run("SET search_path = pg_catalog");
    let lines = session.rows(DESCRIPTION);
    let line = |line: &Vec<Option<String>>| {
        let parts = line.iter().map(|part| part.as_deref().unwrap_or("NULL"));
        parts.collect::<Vec<_>>().join(" | ")
    };
    lines.iter().map(line).collect()
}

const DESCRIPTION: &str = "
WITH extension AS (
    SELECT * FROM pg_extension WHERE extname = 'pg_once'
), member AS (
    SELECT d.classid, d.objid FROM pg_depend d, extension e
    WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
), relation AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'once'::regnamespace
), function AS (
    SELECT p.* FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
), granted (object, acl) AS (
    SELECT 'function ' || oid::regprocedure, coalesce(proacl, acldefault('f', proowner)) FROM function
    UNION ALL SELECT 'relation ' || relname, coalesce(relacl, acldefault('r', relowner)) FROM relation WHERE relkind IN ('r', 'v')
    UNION ALL SELECT 'schema', coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'once'
    UNION ALL SELECT 'column ' || attrelid::regclass || attnum, attacl FROM pg_attribute WHERE attrelid IN (SELECT oid FROM relation)
)
SELECT 'extension', extversion, concat_ws(' ', extowner::regrole, extnamespace::regnamespace, extrelocatable),
       concat_ws(' ', extconfig::regclass[], extcondition) FROM extension
UNION ALL SELECT 'member', pg_describe_object(classid, objid, 0), NULL, NULL FROM member
UNION ALL SELECT 'function', oid::regprocedure::text, proowner::regrole::text, pg_get_functiondef(oid) FROM function
UNION ALL SELECT 'relation', relname, relowner::regrole::text,
       concat_ws(' ', relkind, relpersistence, reloptions, relreplident, relrowsecurity, relhasindex, relhastriggers, relnatts, relispartition) FROM relation
UNION ALL SELECT 'view', relname, NULL, pg_get_viewdef(oid) FROM relation WHERE relkind = 'v'
UNION ALL SELECT 'index', relname, NULL, pg_get_indexdef(oid) FROM relation WHERE relkind = 'i'
UNION ALL SELECT 'column', r.relname, a.attnum::text,
       concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
                 pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attstattarget, a.attisdropped)
       FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0
UNION ALL SELECT 'constraint', r.relname, c.conname, concat_ws(' ', pg_get_constraintdef(c.oid), c.convalidated)
       FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
UNION ALL SELECT 'trigger', r.relname, t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
       FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
UNION ALL SELECT 'schema', nspname, nspowner::regrole::text, NULL FROM pg_namespace WHERE nspname = 'once'
UNION ALL SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), NULL, description FROM pg_description
       WHERE (classoid, objoid) IN (SELECT classid, objid FROM member)
          OR classoid = 'pg_extension'::regclass AND objoid = (SELECT oid FROM extension)
          OR classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM relation)
UNION ALL SELECT 'acl', object, acl.grantor::regrole || ' to ' || CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END,
       concat_ws(' ', acl.privilege_type, acl.is_grantable) FROM granted, aclexplode(granted.acl) acl
UNION ALL SELECT 'initial acl', pg_describe_object(i.classoid, i.objoid, i.objsubid),
       CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END, acl.privilege_type
       FROM pg_init_privs i, aclexplode(i.initprivs) acl WHERE (i.classoid, i.objoid) IN (SELECT classid, objid FROM member)
UNION ALL SELECT 'type', t.typname, t.typowner::regrole::text, NULL FROM pg_type t WHERE t.typnamespace = 'once'::regnamespace
ORDER BY 1, 2, 3, 4";

/// A dump names no version: what is restored has the newest, and the claims.
#[test]
fn a_dump_of_the_first_release_is_restored_as_the_newest() {
    let cluster = cluster();
    let database = first_release();
    database
        .session()
        .run("SELECT claim_once('ns', 'k'), claim_once_per('1 day', 'ns', 'day')");
    let dump = cluster.path("first-release");
    cluster.client(
        "pg_dump",
        &["-U", "postgres", "-Fc", "-f", &dump, &database.name],
    );
    let restored = cluster.database_like("TEMPLATE template0");
    cluster.client(
        "pg_restore",
        &[
            "-U",
            "postgres",
            "--exit-on-error",
            "-d",
            &restored.name,
            &dump,
        ],
    );
    let mut session = restored.session();
    assert_eq!(version(&mut session), "0.2.0");
    for key in ["k", "day"] {
        assert!(!session.is_true(&format!("SELECT claim_once('ns', '{key}')")));
    }
    assert_eq!(
        session.number("SELECT count(*) FROM once.claims WHERE expires_at IS NULL"),
        1
    );
}

/// The worker leaves a database with the first release alone, and sweeps it once it is upgraded.
#[test]
fn the_worker_sweeps_after_the_upgrade() {
    let cluster = Cluster::start(&[
        "shared_preload_libraries = 'pg_once'",
        "pg_once.sweep_interval = 1",
    ]);
    let database = cluster.database_like("TEMPLATE template0");
    let mut session = database.session();
    session.run(&format!("CREATE EXTENSION pg_once VERSION '{FIRST}'"));
    session.run("SELECT claim_once_per('1 microsecond', 'ns', 'over')");
    assert!(!session.is_true("SELECT is_claimed('ns', 'over')"));
    session.run("SELECT pg_sleep(3)");
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 1);
    upgrade(&mut session);
    let swept = "SELECT NOT EXISTS (SELECT FROM once.claim)";
    for _ in 0..300 {
        if session.is_true(swept) {
            break;
        }
        session.run("SELECT pg_sleep(0.1)");
    }
    assert!(session.is_true(swept));
    let log = cluster.log();
    assert!(!log.contains("ERROR") && !log.contains("FATAL"), "{log}");
}
