//! A role that takes more than its part: what it can exhaust is bounded, others
//! go on, and `once.check` names it.

use pg_once_sessions::{Cluster, Database, Session, database};

const PRELOADED: &str = "shared_preload_libraries = 'pg_once'";

/// With preload the table of counters is everybody's, also of other databases: each leaves the others
/// room, and is told what gives it more.
#[test]
fn namespaces_without_number_leave_the_counters_of_others() {
    let cluster = Cluster::start(&[PRELOADED]);
    let (database, elsewhere) = (cluster.database(), cluster.database());
    let (mut first, mut neighbour) = (elsewhere.session(), neighbour(&database));
    let many = "SELECT count(*) FROM generate_series(1, 5000) n WHERE claim_once('ns ' || n, 'k')";
    first.run("SELECT claim_once('first', 'k')");
    neighbour.run(many);
    neighbour.run("SELECT claim_once('ns 1', 'again')");
    first.run("SELECT claim_once('first', 'again'), claim_once('late', 'k')");
    let stats = "SELECT won FROM once.stats WHERE ns = ";
    assert_eq!(first.value(&format!("{stats}'first'")), "2");
    assert_eq!(first.value(&format!("{stats}'late'")), "1");
    let mut owner = database.session();
    assert!(owner.number("SELECT count(ns) FROM once.stats") <= 1024);
    let advice = "SELECT coalesce(string_agg(advice, ' '), '') FROM once.check() WHERE finding LIKE 'once.stats has no room%'";
    let full = "They are counted together, in the row without a name. SELECT once.reset_stats() forgets those that are no longer used.";
    assert_eq!(owner.value(advice), full);
    assert_eq!(first.value(advice), "");
    assert_eq!(owner.number("SELECT count(*) FROM once.claim"), 5001);

    first.run(many);
    assert_eq!(owner.value(advice), full);
    assert!(first.value(advice).contains("Other databases hold most"));
    owner.run("SELECT once.reset_stats()");
    assert_eq!(first.value(advice), "", "there is room");
}

/// A lock whose name finds no place is a lock all the same.
#[test]
fn names_of_locks_without_number_leave_the_locks_of_others() {
    let cluster = Cluster::start(&[PRELOADED, "pg_once.lock_names = 16"]);
    let database = cluster.database();
    let (mut neighbour, [mut holder, mut other]) = (neighbour(&database), database.sessions());
    neighbour.run("SELECT count(hold_lock('noise', n::text)) FROM generate_series(1, 500) n");
    assert!(holder.is_true("SELECT hold_lock('ns', 'k')"));
    assert!(!other.is_true("SELECT with_lock('ns', 'k', timeout => '0')"));
    other.send("SELECT with_lock('ns', 'k')");
    other.waits_for(&holder);
    let mine = "SELECT key FROM once.locks WHERE granted AND name_hash = once.lock_hash('ns', 'k')";
    assert_eq!(holder.value(mine), "k", "its own session knows it");
    assert_eq!(
        holder.number("SELECT count(*) FROM once.locks WHERE granted"),
        501
    );
    assert!(holder.is_true("SELECT release_lock('ns', 'k')"));
    assert!(other.answered_true());
    neighbour.run("SELECT pg_advisory_unlock_all()");
    assert!(holder.is_true("SELECT hold_lock('ns', 'l')"));
    let seen = "SELECT key FROM once.locks WHERE name_hash = once.lock_hash('ns', 'l')";
    assert_eq!(other.value(seen), "l", "there is room again");
}

/// Whoever fills the server's lock table is named, and one batch of claims does
/// not fill it.
#[test]
fn who_fills_the_lock_table_is_named() {
    let cluster = Cluster::start(&[
        PRELOADED,
        "max_locks_per_transaction = 10",
        "max_connections = 20",
    ]);
    let database = cluster.database();
    let (mut neighbour, mut owner) = (neighbour(&database), database.session());
    neighbour.begin();
    let keys = "ARRAY(SELECT n::text FROM generate_series(1, 20000) n)";
    assert_eq!(
        neighbour.number(&format!("SELECT count(*) FROM claim_many('ns', {keys})")),
        20_000
    );
    assert!(!finds(&mut owner, "the shared lock table"));
    neighbour.commit();

    neighbour.begin();
    neighbour.run("SELECT with_lock('ns', n::text) FROM generate_series(1, 200) n");
    let named = format!("Backend {} holds %", neighbour.pid());
    assert!(owner.is_true(&format!(
        "SELECT EXISTS (SELECT FROM once.check()
         WHERE finding LIKE 'the shared lock table is %' AND advice LIKE '{named}')"
    )));
    neighbour.refused(
        "SELECT with_lock('ns', n::text) FROM generate_series(1, 100000) n",
        "53200",
    );
    neighbour.rollback();
    assert!(!finds(&mut owner, "the shared lock table"));
    assert!(owner.is_true("SELECT with_lock('ns', '1', timeout => '0')"));
}

/// However much a role claims in however many namespaces and turns in one transaction, its backend
/// keeps no memory for it.
#[test]
fn keys_without_number_leave_no_memory_behind() {
    let database = database();
    database.session().run(
        "CREATE TABLE counted (key text PRIMARY KEY, n bigint); GRANT ALL ON counted TO public",
    );
    let mut neighbour = neighbour(&database);
    let grant = format!("GRANT pg_read_all_stats TO {}_neighbour", database.name);
    database.session().run(&grant);
    let rounds = [
        "SELECT count(*) FROM generate_series(1, 5000) n WHERE claim_once('ns', $round || n)",
        "SELECT count(*) FROM generate_series(1, 5000) n WHERE is_claimed('ns', n)",
        "SELECT count(*) FROM generate_series(1, 2000) n WHERE claim_once($round || n, 'k')",
        "SELECT count(*) FROM claim_many('many', ARRAY(SELECT $round || n FROM generate_series(1, 20000) n))",
        "SELECT count(*) FROM generate_series(1, 1000) n, begin_once('work', $round || n)",
        "SELECT count(*) FROM generate_series(1, 1000) n,
                with_row_lock(NULL::counted, jsonb_build_object('key', $round || n))",
    ];
    neighbour.begin();
    for sql in rounds {
        neighbour.run(&sql.replace("$round", "'first '"));
        let before = memory(&mut neighbour);
        neighbour.run(&sql.replace("$round", "'second '"));
        neighbour.run(&sql.replace("$round", "'third '"));
        let kept = memory(&mut neighbour) - before;
        assert!(kept < 1 << 18, "{kept} bytes are kept: {sql}");
    }
    neighbour.commit();
}

/// One call takes no more keys than it says, and claims none of more.
#[test]
fn more_keys_than_a_call_takes_are_refused() {
    let database = database();
    let mut neighbour = neighbour(&database);
    let refused = neighbour.refused(
        "SELECT count(*) FROM claim_many('ns', array_fill('k'::text, ARRAY[10000001]))",
        "54000",
    );
    assert!(refused.message().contains("10000000"), "{refused:?}");
    assert!(!neighbour.is_true("SELECT is_claimed('ns', 'k')"));
}

/// What the contexts of this backend take, in bytes.
fn memory(session: &mut Session) -> i64 {
    session.number("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts")
}

fn neighbour(database: &Database) -> Session {
    let name = format!("{}_neighbour", database.name);
    database.session().run(&format!("CREATE ROLE {name} LOGIN"));
    database.session_as(&name)
}

fn finds(session: &mut Session, finding: &str) -> bool {
    session.is_true(&format!(
        "SELECT EXISTS (SELECT FROM once.check() WHERE finding LIKE '%{finding}%')"
    ))
}
