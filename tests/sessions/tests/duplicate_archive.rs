//! The archive of merged rows: made by one of many first merges, dumped and restored as an ordinary table,
//! not destroyed by DROP EXTENSION.

use pg_once_sessions::{Barrier, Cluster, Database, Session, database};
use std::thread;

const MERGE: &str = "SELECT kept->>'id' FROM once.merge_duplicates('doc', '{k}', dry_run => false)";

const ARCHIVE: &str =
    "SELECT id, merged_at, merged_in, merged_by, table_name, reason, key, kept, removed, moved
     FROM once.merged_rows ORDER BY id";

const IS_MEMBER: &str = "SELECT EXISTS (SELECT FROM pg_depend
     WHERE classid = 'pg_class'::regclass AND objid = 'once.merged_rows'::regclass AND deptype = 'e')";

fn with_duplicates(session: &mut Session, table: &str) {
    session.run(&format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, k int);
         INSERT INTO {table} SELECT i, i / 2 FROM generate_series(2, 21) i"
    ));
}

/// Of many first merges one makes the table; the others wait for it, and archive there.
#[test]
fn of_many_first_merges_one_makes_the_archive() {
    let database = database();
    let mut admin = database.session();
    for i in 0..8 {
        with_duplicates(&mut admin, &format!("doc{i}"));
    }
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for i in 0..8 {
            let (barrier, mut session) = (&barrier, database.session());
            scope.spawn(move || {
                barrier.wait();
                session.run(&format!(
                    "SELECT once.merge_duplicates('doc{i}', '{{k}}', dry_run => false)"
                ));
            });
        }
    });
    assert_eq!(admin.number("SELECT count(*) FROM once.merged_rows"), 80);
}

/// The one that waited makes it where the first one is rolled back; and a dry run waits for nobody.
#[test]
fn an_archive_that_is_rolled_back_is_made_by_the_next() {
    let database = database();
    let [mut first, mut second, mut dry] = database.sessions();
    with_duplicates(&mut first, "doc");
    with_duplicates(&mut first, "other");
    first.begin();
    assert_eq!(first.rows(MERGE).len(), 10);
    assert_eq!(
        dry.number("SELECT count(*) FROM once.merge_duplicates('other', '{k}')"),
        10
    );
    second.send(&MERGE.replace("'doc'", "'other'"));
    second.waits_for(&first);
    first.rollback();
    assert_eq!(second.answered_rows().len(), 10);
    assert_eq!(first.number("SELECT count(*) FROM once.merged_rows"), 10);
    assert_eq!(first.rows(MERGE).len(), 10);
    assert_eq!(first.number("SELECT count(*) FROM once.merged_rows"), 20);
}

/// At REPEATABLE READ and SERIALIZABLE a table that was made after the snapshot is written all the same.
#[test]
fn a_snapshot_older_than_the_archive_does_not_matter() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let database = database();
        let [mut old, mut new] = database.sessions();
        with_duplicates(&mut old, "doc");
        with_duplicates(&mut old, "other");
        old.run(&format!(
            "BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM doc"
        ));
        new.run(&MERGE.replace("'doc'", "'other'"));
        assert_eq!(old.rows(MERGE).len(), 10);
        old.commit();
        assert_eq!(new.number("SELECT count(*) FROM once.merged_rows"), 20);
    }
}

/// A prepared transaction may hold the first merge.
#[test]
fn a_prepared_first_merge_is_waited_for() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    with_duplicates(&mut first, "doc");
    with_duplicates(&mut first, "other");
    first.run(&format!(
        "BEGIN; {MERGE}; PREPARE TRANSACTION '{}'",
        database.name
    ));
    second.run("SET lock_timeout = '50ms'");
    let other = MERGE.replace("'doc'", "'other'");
    second.refused(&other, "55P03");
    first.run(&format!("COMMIT PREPARED '{}'", database.name));
    assert_eq!(second.rows(&other).len(), 10);
    assert_eq!(second.number("SELECT count(*) FROM once.merged_rows"), 20);
}

/// DROP EXTENSION, which Rails' disable_extension and Django's reverse of CreateExtension run, stops at the
/// archive, by whoever owns the extension; moved away it stays, and is read without the extension.
#[test]
fn drop_extension_stops_at_the_archive_and_it_can_be_saved() {
    let cluster = Cluster::start(&[]);
    cluster
        .connect("postgres")
        .run("CREATE ROLE keeper LOGIN; CREATE ROLE app LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let (mut keeper, mut admin) = (database.session_as("keeper"), database.session());
    keeper.run("CREATE EXTENSION pg_once");
    keeper.run("DROP EXTENSION pg_once; CREATE EXTENSION pg_once");
    admin.run("CREATE SCHEMA shop AUTHORIZATION app");
    let mut app = database.session_as("app");
    app.run("SET search_path = shop, public");
    with_duplicates(&mut app, "shop.doc");
    assert_eq!(app.rows(MERGE).len(), 10);
    // The owner of the extension owns it, whoever merged; nobody else reads it.
    assert_eq!(
        admin.value("SELECT tableowner FROM pg_tables WHERE tablename = 'merged_rows'"),
        "keeper"
    );
    assert!(!admin.is_true(IS_MEMBER));
    app.refused("TABLE once.merged_rows", "42501");
    app.refused("DROP TABLE once.merged_rows", "42501");
    let before = keeper.rows(ARCHIVE);
    assert_eq!(before.len(), 10);
    for session in [&mut keeper, &mut admin] {
        let refusal = session.refused("DROP EXTENSION pg_once", "2BP01");
        assert_eq!(
            refusal.detail(),
            Some("table once.merged_rows depends on schema once")
        );
    }
    keeper.run("VACUUM ANALYZE once.merged_rows");
    keeper.run("CREATE SCHEMA kept");
    keeper.run("ALTER TABLE once.merged_rows SET SCHEMA kept");
    keeper.run("DROP EXTENSION pg_once");
    assert_eq!(
        keeper.rows(&ARCHIVE.replace("once.merged_rows", "kept.merged_rows")),
        before
    );
    keeper.run("CREATE EXTENSION pg_once");
    app.run("INSERT INTO shop.doc VALUES (100, 1)");
    assert_eq!(app.rows(MERGE).len(), 1);
    assert_eq!(keeper.rows(ARCHIVE).len(), 1);
    keeper.run("DROP EXTENSION pg_once CASCADE");
    assert!(admin.is_true(
        "SELECT to_regclass('once.merged_rows') IS NULL AND to_regnamespace('once') IS NULL"
    ));
}

/// It goes over to another owner with the extension, and merges go on.
#[test]
fn the_archive_is_handed_over_with_the_extension() {
    let cluster = Cluster::start(&[]);
    cluster
        .connect("postgres")
        .run("CREATE ROLE keeper LOGIN; CREATE ROLE heir LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let (mut keeper, mut admin) = (database.session_as("keeper"), database.session());
    keeper.run("CREATE EXTENSION pg_once");
    with_duplicates(&mut admin, "doc");
    admin.run(MERGE);
    admin.run("REASSIGN OWNED BY keeper TO heir; INSERT INTO doc VALUES (100, 1)");
    assert_eq!(admin.rows(MERGE).len(), 1);
    keeper.refused("TABLE once.merged_rows", "42501");
    assert_eq!(database.session_as("heir").rows(ARCHIVE).len(), 11);
}

/// The archive, and functions that define_row_lock made, are in every form of dump. A superuser restores
/// them as they are. An owner who is no superuser may not create in schema once, which the extension trusts:
/// they move the archive to a schema of their own first, which it is dumped and restored with.
#[test]
fn archive_and_typed_functions_survive_dump_and_restore() {
    let cluster = Cluster::start(&[]);
    cluster
        .connect("postgres")
        .run("CREATE ROLE alice LOGIN; CREATE ROLE keeper LOGIN");
    let database = cluster.database_like("OWNER alice TEMPLATE template0");
    let name = &database.name;
    let mut alice = cluster.connect_as("alice", name);
    alice.run(
        "CREATE EXTENSION pg_once;
         CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO keeper;
         CREATE TABLE doc (id int PRIMARY KEY, k text); GRANT ALL ON doc TO keeper;
         INSERT INTO doc VALUES (1, 'a'), (2, 'a'), (3, 'b')",
    );
    let mut keeper = cluster.connect_as("keeper", name);
    assert_eq!(keeper.rows(MERGE).len(), 1);
    keeper.run("SELECT once.define_row_lock('app.with_doc', 'public.doc', '{k}')");
    let before = alice.rows(ARCHIVE);
    assert_eq!(before.len(), 1);

    for form in ["custom", "plain", "directory"] {
        let dump = cluster.path(form);
        cluster.client("pg_dump", &["-U", "alice", "-F", form, "-f", &dump, name]);
        let restored = cluster.database_like("OWNER alice TEMPLATE template0");
        restore(&cluster, "postgres", &dump, form, &restored);
        let mut copy = restored.session();
        assert_eq!(copy.rows(ARCHIVE), before, "{form}");
        assert!(!copy.is_true(IS_MEMBER), "{form}");
        copy.refused("DROP EXTENSION pg_once", "2BP01");
        goes_on(&restored, "keeper");
    }

    alice.run("CREATE SCHEMA kept; ALTER TABLE once.merged_rows SET SCHEMA kept");
    let dump = cluster.path("by_owner");
    cluster.client("pg_dump", &["-U", "alice", "-Fc", "-f", &dump, name]);
    let restored = cluster.database_like("OWNER alice TEMPLATE template0");
    restore(&cluster, "alice", &dump, "custom", &restored);
    assert_eq!(
        restored
            .session_as("alice")
            .rows(&ARCHIVE.replace("once.merged_rows", "kept.merged_rows")),
        before
    );
    goes_on(&restored, "alice");
}

fn restore(cluster: &Cluster, role: &str, dump: &str, form: &str, restored: &Database) {
    if form == "plain" {
        let all = [
            "-X",
            "-q",
            "-U",
            role,
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &restored.name,
            "-f",
            dump,
        ];
        cluster.client("psql", &all);
        return;
    }
    let all = ["--exit-on-error", "-U", role, "-d", &restored.name, dump];
    let as_themselves = [&["--no-owner"], &all[..]].concat();
    cluster.client(
        "pg_restore",
        if role == "postgres" {
            &all
        } else {
            &as_themselves
        },
    );
}

fn goes_on(restored: &Database, owner: &str) {
    let mut session = restored.session();
    session.run("INSERT INTO doc VALUES (5, 'b')");
    assert_eq!(session.rows(MERGE).len(), 1);
    assert_eq!(session.number("SELECT id FROM app.with_doc('a')"), 1);
    let found = session.value("SELECT proowner::regrole FROM pg_proc WHERE proname = 'with_doc'");
    assert_eq!(found, owner);
    assert!(session.is_true(
        "SELECT tableowner = 'alice' FROM pg_tables WHERE schemaname = 'once' AND tablename = 'merged_rows'"
    ));
}

/// once.check says so before it is needed.
#[test]
fn an_archive_that_its_owner_could_not_restore_is_found() {
    let cluster = Cluster::start(&[]);
    cluster.connect("postgres").run("CREATE ROLE keeper LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let (mut keeper, mut admin) = (database.session_as("keeper"), database.session());
    keeper.run("CREATE EXTENSION pg_once");
    let found = "SELECT severity, advice FROM once.check() WHERE finding LIKE '%once.merged_rows%'";
    with_duplicates(&mut admin, "doc");
    assert!(keeper.rows(found).is_empty());
    admin.run(MERGE);
    assert_eq!(keeper.rows(found).len(), 1);
    admin.run("ALTER ROLE keeper SUPERUSER");
    assert!(admin.rows(found).is_empty());
    admin.run("ALTER ROLE keeper NOSUPERUSER");
    keeper.run("CREATE SCHEMA kept; ALTER TABLE once.merged_rows SET SCHEMA kept");
    assert!(keeper.rows(found).is_empty());
}
