//! What is configured for a namespace counts in every session as of its commit,
//! on a standby, and after a restore; whoever is not allowed does not even wait.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn other_sessions_hear_of_it_at_commit() {
    let database = database();
    let (mut owner, mut stranger) = (database.session(), stranger(&database));
    let closed = "SELECT once.configure('ns', '1 day', current_user::regrole)";
    let claim = "SELECT claim_once('ns', 'k')";
    assert!(stranger.is_true(claim));
    owner.begin();
    owner.run(closed);
    assert!(!stranger.is_true(claim), "not committed");
    owner.rollback();
    assert!(!stranger.is_true(claim), "rolled back");
    owner.run(closed);
    stranger.refused(claim, "42501");
    owner.run("SELECT once.unconfigure('ns')");
    assert!(!stranger.is_true(claim));

    for direct in [
        "INSERT INTO once.namespace VALUES ('ns', NULL, 'postgres')",
        "UPDATE once.namespace SET ttl = '1 hour'",
    ] {
        owner.run(direct);
        stranger.refused(claim, "42501");
    }
    owner.run("TRUNCATE once.namespace");
    assert!(!stranger.is_true(claim));
}

/// Also where the transaction is open and holds every lock that it needs, so
/// that nothing else makes it look.
#[test]
fn a_statement_in_progress_hears_of_it() {
    for level in ["READ COMMITTED", "SERIALIZABLE"] {
        let database = database();
        let (mut owner, mut stranger) = (database.session(), stranger(&database));
        stranger.begin_at(level);
        assert!(!stranger.is_true("SELECT is_claimed('ns', 'k')"));
        stranger.send(
            "DO $$ BEGIN
                 LOOP PERFORM is_claimed('ns', 'k'); END LOOP;
             EXCEPTION WHEN insufficient_privilege THEN
             END $$",
        );
        owner.run("SELECT once.configure('ns', NULL, current_user::regrole)");
        stranger.answered_rows();
        stranger.refused("SELECT is_claimed('ns', 'k')", "42501");
    }
}

#[test]
fn whoever_is_not_allowed_does_not_wait() {
    let database = database();
    let (mut owner, mut stranger) = (database.session(), stranger(&database));
    owner.run("SELECT once.configure('ns', NULL, current_user::regrole)");
    owner.begin();
    assert!(owner.is_true("SELECT claim_once('ns', 'open')"));
    stranger.run("SET statement_timeout = '20s'");
    for call in [
        "claim_once('ns', 'open')",
        "claim_once_per('1 day', 'ns', 'open')",
        "is_claimed('ns', 'open')",
        "unclaim('ns', 'open')",
    ] {
        stranger.refused(&format!("SELECT {call}"), "42501");
        assert!(stranger.locks().is_empty(), "{call}");
    }
    owner.commit();
    assert!(stranger.rows("SELECT * FROM once.claims").is_empty());
}

#[test]
fn a_namespace_nobody_configured_is_looked_up_once() {
    let database = database();
    let mut session = database.session();
    assert!(!session.is_true("SELECT is_claimed('ns', 'k')"));
    session.run("SELECT pg_stat_force_next_flush()");
    let before = scans(&database);
    assert!(before > 0);
    for key in 0..50 {
        session.run(&format!("SELECT is_claimed('ns{key}', 'k')"));
    }
    session.run("SELECT pg_stat_force_next_flush()");
    assert_eq!(scans(&database), before);
}

#[test]
fn a_standby_keeps_others_out_too() {
    let primary = Cluster::start(&[]);
    let database = primary.database();
    let standby = primary.standby();
    let mut owner = database.session();
    let name = role(&database);
    owner.run(&format!("CREATE ROLE {name} LOGIN"));
    assert!(owner.is_true("SELECT claim_once('ns', 'k')"));
    let mut looks = standby.connect(&database.name);
    wait_until(&mut looks, "SELECT is_claimed('ns', 'k')");
    let mut reader = standby.connect_as(&name, &database.name);
    assert!(reader.is_true("SELECT is_claimed('ns', 'k')"));

    owner.run("SELECT once.configure('ns', NULL, current_user::regrole)");
    wait_until(
        &mut looks,
        "SELECT EXISTS (SELECT FROM once.namespaces WHERE ns = 'ns')",
    );
    reader.refused("SELECT is_claimed('ns', 'k')", "42501");
    assert!(reader.rows("SELECT * FROM once.claims").is_empty());
    assert!(looks.is_true("SELECT is_claimed('ns', 'k')"));
    owner.run("SELECT once.unconfigure('ns')");
    wait_until(&mut looks, "SELECT count(*) = 0 FROM once.namespaces");
    assert!(reader.is_true("SELECT is_claimed('ns', 'k')"));
}

/// A dump has a role's name, or the number of one that was dropped before,
/// which somebody else may be given where it is restored.
#[test]
fn a_dump_brings_it_back() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut owner = database.session();
    owner.run(
        "CREATE ROLE member LOGIN; CREATE ROLE gone;
         SELECT once.configure('kept', '1 day', 'member'), once.configure('shut', NULL, 'gone');
         DROP ROLE gone",
    );
    let number = owner.value("SELECT allowed_role::oid FROM once.namespace WHERE ns = 'shut'");
    let dump = cluster.path("dump");
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
    let mut admin = restored.session();
    assert_eq!(
        admin.value("SELECT ttl::text || allowed_role FROM once.namespaces WHERE ns = 'kept'"),
        "1 daymember"
    );
    assert_ne!(number, "0");
    assert_eq!(
        admin.value("SELECT allowed_role::oid FROM once.namespaces WHERE ns = 'shut'"),
        "0"
    );
    let mut member = restored.session_as("member");
    assert!(member.is_true("SELECT claim_once('kept', 'k')"));
    member.refused("SELECT claim_once('shut', 'k')", "42501");
}

fn scans(database: &Database) -> i64 {
    database.session().number(
        "SELECT seq_scan + idx_scan FROM pg_stat_all_tables WHERE relid = 'once.namespace'::regclass",
    )
}

fn role(database: &Database) -> String {
    format!("{}_stranger", database.name)
}

fn stranger(database: &Database) -> Session {
    let name = role(database);
    database.session().run(&format!("CREATE ROLE {name} LOGIN"));
    database.session_as(&name)
}

fn wait_until(session: &mut Session, condition: &str) {
    let started = Instant::now();
    while !session.is_true(condition) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "never true: {condition}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
