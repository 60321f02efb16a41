//! What is configured for a namespace counts in every session as of its commit,
//! on a standby, and after a restore; whoever is not allowed does not even wait.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::time::Duration;

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
        "INSERT INTO once.access_policy VALUES ('ns', NULL, 'postgres')",
        "UPDATE once.access_policy SET ttl = '1 hour'",
    ] {
        owner.run(direct);
        stranger.refused(claim, "42501");
    }
    owner.run("TRUNCATE once.access_policy");
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

/// Every function that takes a namespace, in all its forms. Whoever adds one adds it here.
const CALLS: &[&str] = &[
    "claim_once('shut', 'k')",
    "claim_once('shut', 1, 2, 3)",
    "claim_once('shut', VARIADIC ARRAY['a', 'b'])",
    "claim_once('shut', 1, 'b'::text)",
    "claim_once('shut', 'a'::text, 2)",
    "claim_once_per('1 hour', 'shut', 'k')",
    "claim_once_per('1 hour', 'shut', 1, 2, 3)",
    "claim_once_per('1 hour', 'shut', VARIADIC ARRAY['a', 'b'])",
    "claim_once_per('1 hour', 'shut', 1, 'b'::text)",
    "claim_once_per('1 hour', 'shut', 'a'::text, 2)",
    "claim_many('shut', ARRAY['k', 'l'])",
    "try_claim_once('shut', 'k')",
    "is_claimed('shut', 'k')",
    "is_claimed('shut', 1, 2, 3)",
    "is_claimed('shut', VARIADIC ARRAY['a', 'b'])",
    "is_claimed('shut', 1, 'b'::text)",
    "is_claimed('shut', 'a'::text, 2)",
    "unclaim('shut', 'k')",
    "unclaim('shut', 1, 2, 3)",
    "unclaim('shut', VARIADIC ARRAY['a', 'b'])",
    "unclaim('shut', 1, 'b'::text)",
    "unclaim('shut', 'a'::text, 2)",
    "begin_once('shut', 'w', wait => '1 s')",
    "renew_once('shut', 'w', 1)",
    "complete_once('shut', 'w', 1)",
    "fail_once('shut', 'w', 1)",
    "fence_once('shut', 'w', 1)",
    "forget_once('shut', 'w')",
    "with_lock('shut', 'l')",
    "with_locks('shut', '{l,n}')",
    "hold_lock('shut', 'l')",
    "release_lock('shut', 'l')",
    "once.lock_hash('shut', 'l')",
    "once.claims_of('shut')",
    "once.work_of('shut')",
    "once.purge('shut', unfinished => true)",
];

/// Those that only an administrator may call, and the one that answers who may.
const OTHERS: &str = "'configure', 'unconfigure', 'reset_stats', 'may_use'";

/// While others hold everything there, whoever is not allowed is refused by each
/// function, sees nothing in any view, and is in nobody's way.
#[test]
fn a_namespace_of_a_role_is_closed_to_others_in_every_way() {
    let cluster = Cluster::start(&["shared_preload_libraries = 'pg_once'"]);
    let database = cluster.database();
    let (mut owner, mut stranger) = (database.session(), stranger(&database));
    let forgotten = forgotten(&mut owner);
    assert!(forgotten.is_empty(), "not tried here: {forgotten:?}");

    owner.run("CREATE ROLE team; CREATE ROLE member LOGIN IN ROLE team");
    owner.run("SELECT once.configure('shut', '1 day', 'team')");
    let [mut member, mut other] = [(); 2].map(|()| database.session_as("member"));
    member.run("SELECT claim_once('shut', 'committed'), begin_once('shut', 'committed')");
    member.begin();
    member.run(
        "SELECT claim_once('shut', 'k'), claim_once('shut', 'a', 'b'), claim_once('shut', 1, 2, 3)",
    );
    member.run("SELECT begin_once('shut', 'w'), with_lock('shut', 'l'), hold_lock('shut', 'm')");

    stranger.run("SET statement_timeout = '20s'");
    stranger.begin();
    for call in CALLS {
        stranger.run("SAVEPOINT before");
        stranger.refused(&format!("SELECT * FROM {call}"), "42501");
        assert!(stranger.locks().is_empty(), "{call}");
        stranger.run("ROLLBACK TO before");
    }
    for strong in [
        "SELECT * FROM once.claims FOR KEY SHARE",
        "SELECT * FROM once.work FOR KEY SHARE",
        "LOCK TABLE once.claims IN ROW EXCLUSIVE MODE",
        "LOCK TABLE once.work IN SHARE MODE",
        "LOCK TABLE once.claim IN ACCESS SHARE MODE",
        "SELECT once.unconfigure('shut')",
        "SELECT once.reset_stats('shut')",
        "SELECT once.sweep()",
    ] {
        stranger.run("SAVEPOINT before");
        stranger.refused(strong, "42501");
        stranger.run("ROLLBACK TO before");
    }
    for view in ["claims", "work", "stats", "namespaces"] {
        let shown = format!("SELECT count(*) FROM once.{view} WHERE ns = 'shut'");
        assert_eq!(stranger.number(&shown), 0, "{view}");
        assert!(owner.number(&shown) > 0, "{view}");
    }
    let named = "SELECT count(*) FROM once.locks WHERE ns IS NOT NULL OR key IS NOT NULL";
    assert_eq!(stranger.number(named), 0);
    assert_eq!(other.number(named), 2);
    assert!(!stranger.is_true("SELECT once.may_use('shut')"));
    assert!(stranger.rows("SELECT * FROM once.counters()").is_empty());

    // The stranger's transaction is open still.
    other.run("SET statement_timeout = '20s'");
    assert!(other.is_true("SELECT claim_once('shut', 'free') AND with_lock('shut', 'free', '0')"));
    member.commit();
    stranger.rollback();
    assert_eq!(
        other.value("SELECT won FROM once.stats WHERE ns = 'shut'"),
        "7",
        "the members' own, and nothing of the stranger"
    );
    for call in CALLS {
        if let Err(failure) = other.try_run(&format!("SELECT * FROM {call}")) {
            assert_ne!(failure.sqlstate(), "42501", "{call}");
        }
    }
}

/// The functions of the extension that take a namespace and are not among CALLS, by what a view
/// of each call depends on.
fn forgotten(owner: &mut Session) -> Vec<String> {
    for (number, call) in CALLS.iter().enumerate() {
        owner.run(&format!(
            "CREATE TEMPORARY VIEW call_{number} AS SELECT true AS called FROM {call}"
        ));
    }
    let rows = owner.rows(&format!(
        "SELECT p.oid::regprocedure FROM pg_proc p
         JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
         JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_once'
         WHERE 'ns' = ANY (p.proargnames[1:p.pronargs]) AND p.proname NOT IN ({OTHERS})
           AND p.oid NOT IN (
               SELECT u.refobjid FROM pg_depend u
               JOIN pg_rewrite r ON u.classid = 'pg_rewrite'::regclass AND u.objid = r.oid
               JOIN pg_class v ON v.oid = r.ev_class
               WHERE u.refclassid = 'pg_proc'::regclass AND v.relname LIKE 'call%')"
    ));
    for number in 0..CALLS.len() {
        owner.run(&format!("DROP VIEW call_{number}"));
    }
    rows.into_iter().flatten().flatten().collect()
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

/// Nobody can configure it, so it is neither looked up nor kept.
#[test]
fn a_name_too_long_is_open_and_not_looked_up() {
    let database = database();
    let mut session = database.session();
    session.run("SELECT once.configure('shut', NULL, current_user::regrole)");
    assert!(session.is_true("SELECT once.may_use('shut')"));
    session.run("SELECT pg_stat_force_next_flush()");
    let before = scans(&database);
    assert!(before > 0);
    for size in [129, 1000, 100_000_000] {
        assert!(session.is_true(&format!("SELECT once.may_use(repeat('n', {size}))")));
    }
    session.run("SELECT pg_stat_force_next_flush()");
    assert_eq!(scans(&database), before);
    assert!(session.is_true("SELECT once.may_use(repeat('n', 128))"));
    session.run("SELECT pg_stat_force_next_flush()");
    assert!(scans(&database) > before);
    assert!(session.is_true("SELECT once.may_use(NULL) IS NULL"));
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
    let number = owner.value("SELECT allowed_role::oid FROM once.access_policy WHERE ns = 'shut'");
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
        "SELECT seq_scan + idx_scan FROM pg_stat_all_tables WHERE relid = 'once.access_policy'::regclass",
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
    session.wait_until(condition, Duration::from_secs(60));
}
