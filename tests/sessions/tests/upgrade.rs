//! ALTER EXTENSION UPDATE: a next version, made here of this one, is what CREATE EXTENSION makes of it,
//! keeps all data, answers or refuses sessions that still have this library, and gives nobody anything.

use pg_once_sessions::{Cluster, Database, Server, Session};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

const THIS: &str = "0.3.0";
const NEXT: &str = "0.4.0";

/// A cluster of a copy of the server, in which the next version is installed too.
struct Next {
    cluster: Cluster,
    /// In databases with this version: sessions that have loaded its library. Others load the next one.
    old: Mutex<Option<[(String, Session); 2]>>,
}

fn next() -> &'static Next {
    static SHARED: OnceLock<Next> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = Server::copied("next");
        let cluster = Cluster::start_of(&server);
        let old = [(); 2].map(|()| {
            let database = cluster.database();
            let mut session = database.session();
            assert!(session.is_true("SELECT claim_once('ns', 'k')"));
            (database.name.clone(), session)
        });
        install_next(&server, &cluster);
        Next {
            cluster,
            old: Mutex::new(Some(old)),
        }
    })
}

fn cluster() -> &'static Cluster {
    &next().cluster
}

/// A fresh database with one of the two.
fn database(version: &str) -> Database<'static> {
    let database = cluster().database_like("TEMPLATE template0");
    let create = format!("CREATE EXTENSION pg_once VERSION '{version}'");
    database.session().run(&create);
    database
}

fn upgrade(session: &mut Session) {
    session.run(UPGRADE);
}

const UPGRADE: &str = "ALTER EXTENSION pg_once UPDATE TO '0.4.0'";

fn version(session: &mut Session) -> String {
    session.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_once'")
}

/// What the next version has more: a column, a function, and a function with other arguments. It is
/// called by a new name in the library, so that a session with the old library does not find it.
const NEW_COLUMN: &str = "note pg_catalog.text";
const COLUMN_COMMENT: &str = "COMMENT ON COLUMN once.claim.note IS 'A note';";
const DROPPED: &str = "DROP FUNCTION once.lock_hash(pg_catalog.text, pg_catalog.text);";
const CHANGED: &str =
    "CREATE FUNCTION once.lock_hash(ns pg_catalog.text, key pg_catalog.text, shared pg_catalog.bool DEFAULT false) RETURNS pg_catalog.int8
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'lock_hash_0_4_wrapper';
COMMENT ON FUNCTION once.lock_hash(pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS 'The number of the lock';";
const ADDED: &str = "CREATE FUNCTION @extschema@.tally(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.int8
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'tally_wrapper';
COMMENT ON FUNCTION @extschema@.tally(pg_catalog.text, pg_catalog.text) IS 'A number';";

/// Installs the next version beside this one, as docs for those who make one say: CONTRIBUTING.md.
fn install_next(server: &Server, cluster: &Cluster) {
    let scripts = server.asked("--sharedir").join("extension");
    let this = fs::read_to_string(scripts.join(format!("pg_once--{THIS}.sql"))).unwrap();
    let fresh = next_script(&this);
    fs::write(scripts.join(format!("pg_once--{NEXT}.sql")), fresh).unwrap();
    install_next_library(&server.asked("--pkglibdir"));

    let [before, after] = [THIS, NEXT].map(|version| {
        let database = cluster.database_like("TEMPLATE template0");
        let mut session = database.session();
        session.run(&format!("CREATE EXTENSION pg_once VERSION '{version}'"));
        let listed = session.refused(&piece("prove"), "55000");
        listed.detail().unwrap().to_owned()
    });
    let created = "'once.lock_hash(pg_catalog.text, pg_catalog.text, pg_catalog.bool)',
        '%1$I.tally(pg_catalog.text, pg_catalog.text)'";
    let upgrade = [
        filled("prove", &before),
        format!("ALTER TABLE once.claim ADD COLUMN {NEW_COLUMN};\n{COLUMN_COMMENT}"),
        DROPPED.to_owned(),
        CHANGED.to_owned(),
        ADDED.to_owned(),
        filled("grant", created),
        filled("prove", &after),
    ];
    fs::write(
        scripts.join(format!("pg_once--{THIS}--{NEXT}.sql")),
        upgrade.join("\n"),
    )
    .unwrap();
}

/// The install script of the next version: that of this one with what is new in its place.
fn next_script(this: &str) -> String {
    let replaced = |script: String, old: &str, new: &str| {
        assert_eq!(script.matches(old).count(), 1, "{old}");
        script.replacen(old, new, 1)
    };
    let begin = this.find("CREATE FUNCTION once.lock_hash(").unwrap();
    let comment = begin + this[begin..].find("COMMENT ON FUNCTION").unwrap();
    let end = comment + this[comment..].find("\n\n").unwrap();
    let script = format!("{}{CHANGED}\n{ADDED}{}", &this[..begin], &this[end..]);
    let script = replaced(
        script,
        "    CONSTRAINT claim_pkey",
        &format!("    {NEW_COLUMN},\n    CONSTRAINT claim_pkey"),
    );
    let script = replaced(
        script,
        "COMMENT ON TABLE once.claim ",
        &format!("{COLUMN_COMMENT}\nCOMMENT ON TABLE once.claim "),
    );
    let script = replaced(
        script,
        "'once.lock_hash(pg_catalog.text, pg_catalog.text)'",
        "'once.lock_hash(pg_catalog.text, pg_catalog.text, pg_catalog.bool)'",
    );
    replaced(
        script,
        "        'claim_many(",
        "        'tally(pg_catalog.text, pg_catalog.text)',\n        'claim_many(",
    )
}

/// A piece of every upgrade script.
fn piece(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(format!("sql/upgrade/{name}.sql"))).unwrap()
}

/// The same with this list in its place, the line that is a comment.
fn filled(name: &str, list: &str) -> String {
    let piece = piece(name);
    let place: Vec<&str> = piece
        .lines()
        .filter(|line| line.starts_with("-- "))
        .collect();
    assert_eq!(place.len(), 1, "{place:?}");
    piece.replacen(place[0], list, 1)
}

/// Puts in the place of the library one that has everything of it, and the new functions. The linker takes the name that
/// Rust gives each library, and its path goes before the one on which cargo has the build of another version.
fn install_next_library(directory: &Path) {
    let library = directory.join("pg_once.so");
    let [this, source, made] =
        ["libpg_once.so", "pg_once_next.c", "pg_once_next.so"].map(|name| directory.join(name));
    fs::hard_link(&library, &this).unwrap();
    let function = |name: &str| {
        format!(
            "unsigned long {name}(void *call) {{ return lock_hash_wrapper(call); }}
             const void *pg_finfo_{name}(void) {{ return pg_finfo_lock_hash_wrapper(); }}\n"
        )
    };
    let program = "extern unsigned long lock_hash_wrapper(void *);
         extern const void *pg_finfo_lock_hash_wrapper(void);\n"
        .to_owned()
        + &function("tally_wrapper")
        + &function("lock_hash_0_4_wrapper");
    fs::write(&source, program).unwrap();
    let linked = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-Wl,--no-as-needed",
            "-Wl,--disable-new-dtags,-rpath,$ORIGIN",
            "-o",
        ])
        .args([&made, &source])
        .arg("-L")
        .arg(directory)
        .arg("-lpg_once")
        .output()
        .unwrap();
    assert!(
        linked.status.success(),
        "{}",
        String::from_utf8_lossy(&linked.stderr)
    );
    fs::rename(&made, &library).unwrap();
}

#[test]
fn one_version_is_installed_and_the_upgrade_leads_to_the_next() {
    let server = Server::under_test();
    let scripts = fs::read_dir(server.asked("--sharedir").join("extension")).unwrap();
    let scripts: Vec<PathBuf> = scripts.map(|entry| entry.unwrap().path()).collect();
    let ours = scripts.iter().filter_map(|path| path.file_name()?.to_str());
    let mut ours: Vec<_> = ours.filter(|name| name.starts_with("pg_once")).collect();
    ours.sort_unstable();
    assert_eq!(ours, [&format!("pg_once--{THIS}.sql"), "pg_once.control"]);

    let database = database(THIS);
    let mut session = database.session();
    upgrade(&mut session);
    assert_eq!(version(&mut session), NEXT);
    session.run("SELECT once.lock_hash('a', 'b', true), tally('a', 'b')");
}

/// Facts of every kind, and an open claim, are what they were; sessions that were there before the
/// upgrade go on.
#[test]
fn an_upgrade_keeps_all_facts_and_disturbs_nobody() {
    let database = database(THIS);
    let [mut user, mut open, mut admin] = database.sessions();
    user.run(
        "SELECT once.configure('kept', '1 day', 'pg_monitor');
         SELECT claim_once('ns', i) FROM generate_series(1, 1000) i;
         SELECT claim_once('ns', 'a', 'b'), claim_once_per('1 day', 'ns', 'day');
         SELECT complete_once('work', 'done', token, '1') FROM begin_once('work', 'done');
         SELECT complete_once('work', 'over', token) FROM begin_once('work', 'over');
         SELECT forget_once('work', 'over'), once.sweep();
         CREATE TABLE book (id int PRIMARY KEY, title text);
         INSERT INTO book VALUES (1, 'Dune'), (2, 'Dune');
         SELECT once.merge_duplicates('book', '{title}', dry_run => false)",
    );
    let token = user.number("SELECT token FROM begin_once('work', 'running')");
    let facts = |session: &mut Session| {
        session.run("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off");
        FACTS.map(|fact| session.rows(fact))
    };
    let before = facts(&mut admin);
    for (fact, rows) in FACTS.iter().zip(&before) {
        assert!(!rows.is_empty(), "{fact}");
    }
    open.begin();
    assert!(open.is_true("SELECT try_claim_once('open', 'k') = 'won'"));

    // The new column waits for those who claim at this moment, and they do not wait for it.
    admin.send(UPGRADE);
    admin.waits_for(&open);
    open.commit();
    admin.answered_rows();
    assert_eq!(version(&mut admin), NEXT);
    let after = facts(&mut admin);
    assert_eq!(after[1..], before[1..]);
    assert_eq!(after[0].len(), before[0].len() + 1);
    assert!(before[0].iter().all(|row| after[0].contains(row)));
    for session in [&mut user, &mut open, &mut admin] {
        for engine in ["auto", "statement"] {
            session.run(&format!("SET pg_once.claim_engine = {engine}"));
            let again = "SELECT count(*) FROM generate_series(1, 1000) i WHERE claim_once('ns', i)";
            assert_eq!(session.number(again), 0, "{engine}");
            for claimed in ["'ns', 'a', 'b'", "'ns', 'day'", "'open', 'k'"] {
                assert!(!session.is_true(&format!("SELECT claim_once({claimed})")));
            }
        }
    }
    assert!(user.is_true("SELECT claim_once('ns', 'new')"));
    assert!(user.is_true(&format!("SELECT complete_once('work', 'running', {token})")));
    assert!(user.number("SELECT token FROM begin_once('work', 'over')") > token);
    user.run("CREATE ROLE nobody; SET ROLE nobody");
    user.refused("SELECT claim_once('kept', 'k')", "42501");
}

const FACTS: [&str; 5] = [
    "SELECT place_high, place_low, hash_high, hash_low, claimed_at, expires_at, owner, ns, key FROM once.claim ORDER BY place_high, place_low, hash_high, hash_low",
    "SELECT * FROM once.access_policy ORDER BY ns",
    "SELECT * FROM once.work_record ORDER BY place_high, place_low, hash_high, hash_low",
    "SELECT * FROM once.work_floor",
    "SELECT * FROM once.merged_rows ORDER BY id",
];

/// What a user's object needs is not taken from it: the upgrade names that object, changes nothing, and
/// can be made again without it.
#[test]
fn an_upgrade_stops_at_what_depends_on_a_changed_function() {
    let database = database(THIS);
    let mut session = database.session();
    session.run("CREATE VIEW hashes AS SELECT once.lock_hash('ns', 'k') AS hash");
    let before = described(&database);
    let refusal = session.refused(UPGRADE, "2BP01");
    assert!(
        refusal.message().contains("once.lock_hash(text,text)"),
        "{refusal}"
    );
    let detail = refusal.detail().unwrap();
    assert!(
        detail.starts_with("view hashes depends on function"),
        "{detail}"
    );
    assert_eq!(described(&database), before);
    assert!(session.is_true("SELECT hash IS NOT NULL FROM hashes"));
    session.run("DROP VIEW hashes");
    upgrade(&mut session);
    assert_eq!(version(&mut session), NEXT);
}

/// What was granted and revoked since is no business of the upgrade.
#[test]
fn an_upgrade_keeps_what_was_granted() {
    let database = database(THIS);
    let mut session = database.session();
    session.run(
        "CREATE ROLE reader; GRANT SELECT ON once.claim TO reader;
         REVOKE EXECUTE ON FUNCTION claim_once(text, text) FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO reader WITH GRANT OPTION",
    );
    upgrade(&mut session);
    session.run("SET ROLE reader");
    session.run("SELECT * FROM once.claim; SELECT tally('a', 'b')");
    session.refused("SELECT claim_once('ns', 'k')", "42501");
    session.refused("SELECT once.sweep()", "42501");
    session.run("RESET ROLE");
    let granted =
        "SELECT count(*) FROM pg_proc, aclexplode(proacl) WHERE grantee = 'reader'::regrole";
    assert_eq!(session.number(granted), 0);
    session.run("DROP OWNED BY reader; DROP ROLE reader");
}

/// A session that has this version's library loaded, as those that a pooler keeps, answers rightly or
/// says that it does not know.
#[test]
fn a_session_with_the_old_library_meets_the_next_version() {
    let [(name, mut old), (other, mut upgrader)] = next().old.lock().unwrap().take().unwrap();
    let database = cluster().existing(&name);
    let mut admin = database.session();
    upgrade(&mut admin);
    admin.run("SELECT once.configure('closed', '1 day', 'pg_monitor'); CREATE ROLE passer_by");
    for engine in ["auto", "statement"] {
        old.run(&format!("SET pg_once.claim_engine = {engine}"));
        assert!(!old.is_true("SELECT claim_once('ns', 'k')"));
        let new = format!("SELECT claim_once('ns', 'by {engine}')");
        assert!(old.is_true(&new) && !old.is_true(&new) && !admin.is_true(&new));
        assert_eq!(
            old.number(&format!(
                "SELECT count(*) FROM claim_many('many {engine}', '{{a,b,a}}')"
            )),
            2
        );
    }
    assert_eq!(
        old.number("SELECT count(*) FROM once.claims WHERE ns LIKE 'many%'"),
        4
    );
    for call in ["once.lock_hash('ns', 'k')", "tally('ns', 'k')"] {
        let refusal = old.refused(&format!("SELECT {call}"), "42883");
        assert!(
            refusal.message().starts_with("could not find function"),
            "{call}: {refusal}"
        );
        admin.run(&format!("SELECT {call}"));
    }
    old.run(
        "SELECT complete_once('work', 'k', token) FROM begin_once('work', 'k');
         SELECT with_lock('ns', 'k'), once.sweep();
         SELECT * FROM once.work, once.namespaces, once.locks, once.stats, once.check()",
    );
    old.run("SET ROLE passer_by");
    old.refused("SELECT claim_once('closed', 'k')", "42501");

    // Nor can such a session upgrade.
    upgrader.refused(UPGRADE, "42883");
    assert_eq!(version(&mut upgrader), THIS);
    assert!(!upgrader.is_true("SELECT claim_once('ns', 'k')"));
    upgrade(&mut cluster().existing(&other).session());
}

/// A tenant, who may create objects in her database, installs the extension, plants something, and
/// upgrades: what runs as a superuser then stops, names what she has planted, and has changed nothing.
#[test]
fn nothing_that_a_tenant_plants_is_acted_on() {
    let cluster = cluster();
    cluster.connect("postgres").run("CREATE ROLE mallory LOGIN");
    for attack in ATTACKS {
        let Attack {
            plant,
            names,
            sqlstate,
        } = attack;
        let database = cluster.database_like("OWNER mallory TEMPLATE template0");
        let mut mallory = database.session_as("mallory");
        mallory.run(&format!("CREATE EXTENSION pg_once VERSION '{THIS}'"));
        mallory.run(PWN);
        mallory.run(plant);
        let before = (described(&database), database.session().rows(OWNERS));
        let refusal = mallory.refused(UPGRADE, sqlstate);
        let said = format!("{refusal} {}", refusal.detail().unwrap_or_default());
        assert!(said.contains(names), "{plant}: {said}");
        assert!(
            before == (described(&database), database.session().rows(OWNERS)),
            "{plant}"
        );
        assert_eq!(mallory.value("SELECT pwn()"), "mallory");
        assert!(
            !mallory.is_true("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"),
            "{plant}"
        );
    }
}

struct Attack {
    plant: &'static str,
    names: &'static str,
    sqlstate: &'static str,
}

const fn member(plant: &'static str, names: &'static str) -> Attack {
    Attack {
        plant,
        names,
        sqlstate: "55000",
    }
}

const PWN: &str = "CREATE FUNCTION pwn() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE mallory SUPERUSER; END IF;
        RETURN current_user;
    END $$";

const ATTACKS: &[Attack] = &[
    member("ALTER EXTENSION pg_once ADD FUNCTION pwn()", "function pwn()"),
    member(
        "CREATE AGGREGATE gather(int) (SFUNC = int4pl, STYPE = int); ALTER EXTENSION pg_once ADD AGGREGATE gather(int)",
        "function gather(integer)",
    ),
    member(
        "CREATE PROCEDURE work() LANGUAGE sql AS 'SELECT pwn()'; ALTER EXTENSION pg_once ADD PROCEDURE work()",
        "work()",
    ),
    member("CREATE SEQUENCE numbers; ALTER EXTENSION pg_once ADD SEQUENCE numbers", "sequence numbers"),
    member("CREATE TABLE things (a int); ALTER EXTENSION pg_once ADD TABLE things", "table things"),
    member("CREATE VIEW seen AS SELECT pwn(); ALTER EXTENSION pg_once ADD VIEW seen", "view seen"),
    member(
        "CREATE MATERIALIZED VIEW kept AS SELECT pwn(); ALTER EXTENSION pg_once ADD MATERIALIZED VIEW kept",
        "materialized view kept",
    ),
    member(
        "CREATE FUNCTION same(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR === (FUNCTION = same, LEFTARG = int, RIGHTARG = int);
         ALTER EXTENSION pg_once ADD OPERATOR === (int, int)",
        "operator ===(integer,integer)",
    ),
    member("CREATE TYPE mood AS ENUM ('good'); ALTER EXTENSION pg_once ADD TYPE mood", "type mood"),
    member("CREATE TYPE pair AS (a int, b int); ALTER EXTENSION pg_once ADD TYPE pair", "pair"),
    member("CREATE DOMAIN word AS text CHECK (pwn() IS NOT NULL); ALTER EXTENSION pg_once ADD DOMAIN word", "type word"),
    member(
        "CREATE TYPE mood AS ENUM ('good');
         CREATE FUNCTION mood_number(mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE CAST (mood AS int) WITH FUNCTION mood_number(mood); ALTER EXTENSION pg_once ADD CAST (mood AS int)",
        "cast from mood to integer",
    ),
    member("CREATE SCHEMA more; ALTER EXTENSION pg_once ADD SCHEMA more", "schema more"),
    member("CREATE COLLATION plain FROM \"C\"; ALTER EXTENSION pg_once ADD COLLATION plain", "collation plain"),
    member(
        "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple); ALTER EXTENSION pg_once ADD TEXT SEARCH CONFIGURATION words",
        "text search configuration words",
    ),
    // Under a name that the upgrade creates.
    member(
        "CREATE FUNCTION tally(ns text, key text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
         ALTER EXTENSION pg_once ADD FUNCTION tally(text, text)",
        "function tally(text,text)",
    ),
    Attack {
        plant: "CREATE FUNCTION tally(ns text, key text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN PERFORM pwn(); RETURN 1; END'",
        names: "tally",
        sqlstate: "42723",
    },
    Attack {
        plant: "CREATE FUNCTION first(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
                CREATE AGGREGATE tally(text, text) (SFUNC = first, STYPE = text)",
        names: "tally",
        sqlstate: "42723",
    },
    Attack {
        plant: "CREATE VIEW hashes AS SELECT once.lock_hash('ns', 'k')",
        names: "view hashes",
        sqlstate: "2BP01",
    },
];

const OWNERS: &str = "
    SELECT classid::regclass, objid, deptype, refobjid::regrole FROM pg_shdepend WHERE deptype = 'o' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT 'pg_proc', oid, 'o', proowner::regrole FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'pg_class', oid, 'o', relowner::regrole FROM pg_class WHERE oid >= 16384
    ORDER BY 1, 2";

/// Her schema gets another name while the upgrade begins, and one of hers that looks like it takes its
/// place: the upgrade waits for her, and stops.
#[test]
fn a_schema_that_is_renamed_meanwhile_is_noticed() {
    let database = cluster().database_like("TEMPLATE template0");
    let mut admin = database.session();
    admin.run("CREATE ROLE trudy LOGIN; CREATE SCHEMA app AUTHORIZATION trudy");
    admin.run(&format!(
        "GRANT CREATE ON DATABASE {} TO trudy",
        database.name
    ));
    let mut trudy = database.session_as("trudy");
    trudy.run(&format!(
        "CREATE EXTENSION pg_once SCHEMA app VERSION '{THIS}'; CREATE SCHEMA fake"
    ));
    trudy.run(
        "CREATE FUNCTION fake.tally(text, text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    );
    let before = database.session().rows(OWNERS);
    let mut upgrader = database.session_as("trudy");
    trudy.begin();
    trudy.run("ALTER SCHEMA app RENAME TO away; ALTER SCHEMA fake RENAME TO app");
    upgrader.send(UPGRADE);
    upgrader.waits_for(&trudy);
    trudy.commit();
    // Newer minors of PostgreSQL wait before the script begins, and know the new name then.
    match upgrader.answer() {
        Err(failure) => {
            assert_eq!(failure.sqlstate(), "55000", "{failure:?}");
            assert!(
                format!("{failure:?}").contains("schema away"),
                "{failure:?}"
            );
            assert_eq!(database.session().rows(OWNERS), before);
        }
        Ok(_) => {
            let made = "SELECT oid::regprocedure FROM pg_proc WHERE proname = 'tally' AND proowner = 'postgres'::regrole";
            assert_eq!(admin.value(made), "away.tally(text,text)");
            upgrader.run("DROP EXTENSION pg_once");
            upgrader.run(&format!(
                "CREATE EXTENSION pg_once SCHEMA away VERSION '{THIS}'"
            ));
        }
    }
    let kept =
        "SELECT proowner::regrole FROM pg_proc WHERE oid = 'app.tally(text,text)'::regprocedure";
    assert_eq!(admin.value(kept), "trudy");
    trudy.run("ALTER SCHEMA app RENAME TO fake; ALTER SCHEMA away RENAME TO app");

    // While the upgrade goes on she waits.
    upgrader.begin();
    upgrader.run(UPGRADE);
    trudy.send("ALTER SCHEMA app RENAME TO away");
    trudy.waits_for(&upgrader);
    upgrader.commit();
    trudy.answered_rows();
    assert_eq!(version(&mut upgrader), NEXT);
}

/// What she adds in a transaction that commits after the upgrade has looked is a member then, and hers:
/// the upgrade has done nothing with it, and the next one names it.
#[test]
fn a_member_that_is_added_meanwhile_stays_hers() {
    let database = cluster().database_like("TEMPLATE template0");
    let mut admin = database.session();
    admin.run("CREATE ROLE walter LOGIN; CREATE SCHEMA app AUTHORIZATION walter");
    admin.run(&format!(
        "GRANT CREATE ON DATABASE {} TO walter",
        database.name
    ));
    let mut walter = database.session_as("walter");
    walter.run(&format!(
        "CREATE EXTENSION pg_once SCHEMA app VERSION '{THIS}'; SET search_path = app"
    ));
    walter.run(&PWN.replace("mallory", "walter"));
    let mut upgrader = database.session_as("walter");
    walter.begin();
    walter.run("ALTER EXTENSION pg_once ADD FUNCTION pwn()");
    upgrader.send(UPGRADE);
    // Newer minors of PostgreSQL let only one of them change the extension at a time.
    match upgrader.answer_or_wait(&mut admin) {
        Some(answer) => {
            answer.unwrap();
            walter.commit();
        }
        None => {
            walter.commit();
            upgrader.answered_refusal("55000");
        }
    }
    assert_eq!(walter.value("SELECT pwn()"), "walter");
    assert!(!walter.is_true("SELECT rolsuper FROM pg_roles WHERE rolname = 'walter'"));
    let refusal = admin.refused(&piece("prove"), "55000");
    assert!(refusal.detail().unwrap().contains("pwn"), "{refusal}");
}

/// Members that are not what the extension has made of them.
#[test]
fn an_upgrade_stops_where_members_lack_or_have_another_owner() {
    let database = database(THIS);
    let mut admin = database.session();
    admin.run("CREATE ROLE buyer");
    for (damage, names) in [
        (
            "ALTER FUNCTION once.sweep OWNER TO buyer",
            "function once.sweep(integer)",
        ),
        ("ALTER TABLE once.claim OWNER TO buyer", "table once.claim"),
        (
            "ALTER SCHEMA once OWNER TO buyer",
            "schema once belongs to buyer",
        ),
        (
            "ALTER EXTENSION pg_once DROP FUNCTION unclaim(text, text)",
            "unclaim",
        ),
        (
            "ALTER EXTENSION pg_once DROP VIEW once.claims; DROP VIEW once.claims",
            "once,claims",
        ),
    ] {
        admin.begin();
        admin.run(damage);
        let refusal = admin.refused(UPGRADE, "55000");
        assert!(refusal.message().contains(names), "{damage}: {refusal}");
        admin.rollback();
    }
    upgrade(&mut admin);
    admin.run("DROP ROLE buyer");
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
        let [fresh, upgraded] = [NEXT, THIS].map(|version| {
            let database = cluster.database_like("TEMPLATE template0");
            let mut admin = database.session();
            admin.run(&format!(
                "ALTER DATABASE {} OWNER TO keeper; GRANT CREATE ON SCHEMA public TO keeper",
                database.name
            ));
            admin.run(case.before);
            admin.run(&format!("ALTER SCHEMA {schema} OWNER TO {owner}"));
            database.session_as(owner).run(&format!(
                "CREATE EXTENSION pg_once SCHEMA {schema} VERSION '{version}'"
            ));
            database
        });
        upgrade(&mut upgraded.session_as(case.upgrader));
        let place = format!("{schema} of {owner} by {}", case.upgrader);
        assert_equal(&place, &fresh, &upgraded);
    }
}

fn assert_equal(place: &str, fresh: &Database, other: &Database) {
    let [fresh, other] = [fresh, other].map(described);
    assert!(fresh.len() > 300, "{}", fresh.len());
    let differs = |these: &[String], those: &[String]| -> Vec<String> {
        let missing = these.iter().filter(|line| !those.contains(line));
        missing.cloned().collect()
    };
    let (lacking, more) = (differs(&fresh, &other), differs(&other, &fresh));
    assert!(
        lacking.is_empty() && more.is_empty() && fresh.len() == other.len(),
        "{place}\nfresh only: {lacking:#?}\nother only: {more:#?}"
    );
}

/// The settings of whoever installs or upgrades change nothing.
#[test]
fn settings_do_not_change_what_is_made() {
    const ODD: &str = "SET backslash_quote = on; SET array_nulls = off;
         SET transform_null_equals = on; SET quote_all_identifiers = on; SET intervalstyle = iso_8601;
         SET datestyle = 'German'; SET bytea_output = escape; SET search_path = pg_temp, nowhere;
         SET check_function_bodies = off; SET row_security = off; SET default_transaction_isolation = 'serializable'";
    // PostgreSQL 19 has one form of string constants.
    let strings = match Server::under_test().major {
        ..19 => "SET standard_conforming_strings = off;",
        _ => "",
    };
    let odd = format!("{strings} {ODD}");
    let [plain, odd] = ["", &odd].map(|settings| {
        let database = cluster().database_like("TEMPLATE template0");
        let mut session = database.session();
        session.run(settings);
        session.run(&format!(
            "CREATE EXTENSION pg_once SCHEMA public VERSION '{THIS}'"
        ));
        session.run(UPGRADE);
        database
    });
    assert_equal("odd settings", &plain, &odd);
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
UNION ALL SELECT 'function', oid::regprocedure::text, proowner::regrole::text, CASE prokind WHEN 'a' THEN NULL ELSE pg_get_functiondef(oid) END FROM function
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
