//! Tables that Citus keeps, on plain PostgreSQL: its catalog is planted, so that what is written for several
//! nodes runs on one. What several nodes make of it is shown in `citus.rs`.

use pg_once_sessions::{Barrier, Database, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// Longer than any bounded call takes, also on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// A database whose claims and work Citus seems to keep.
fn distributed() -> Database<'static> {
    let database = database();
    database.session().run(
        "SET allow_system_table_mods = on;
         CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
         GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
         INSERT INTO pg_catalog.pg_dist_partition
         VALUES ('once.claim'), ('once.work_record'), ('once.access_policy_shared')",
    );
    database
}

/// A database of several nodes, with functions that note which tables Citus is to keep, and announce it as Citus
/// does.
fn undistributed() -> Database<'static> {
    let database = database();
    database.session().run(
        "SET allow_system_table_mods = on;
         CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
         CREATE TABLE pg_catalog.pg_dist_node (groupid int, nodeid int, nodename text, nodeport int);
         INSERT INTO pg_catalog.pg_dist_node VALUES (0, 1, 'a', 5432), (1, 2, 'b', 5432), (2, 3, 'c', 5432);
         GRANT SELECT ON pg_catalog.pg_dist_partition, pg_catalog.pg_dist_node TO PUBLIC;
         CREATE FUNCTION pg_catalog.create_reference_table(name regclass) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO pg_catalog.pg_dist_partition VALUES (name);
             EXECUTE format('ALTER TABLE %s SET (fillfactor = 99)', name);
         END $$;
         CREATE FUNCTION pg_catalog.create_distributed_table(name regclass, col text, colocate_with text DEFAULT 'default')
         RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.create_reference_table(name)'",
    );
    database
}

const DISTRIBUTE: &str = "SELECT once.distribute()";

/// G1, G3: one of all, also where every third transaction is rolled back, and nothing is claimed that
/// nobody was told.
#[test]
fn exactly_one_wins_each_key() {
    const KEYS: usize = 60;
    let database = distributed();
    let barrier = Barrier::new(CLIENTS);
    let won: usize = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                let mut won = 0;
                barrier.wait();
                for key in 0..KEYS {
                    session.begin();
                    let is_winner = session.is_true(&format!("SELECT claim_once('race', {key})"));
                    match (client + key).is_multiple_of(3) {
                        true => session.rollback(),
                        false => {
                            session.commit();
                            won += usize::from(is_winner);
                        }
                    }
                }
                won
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(won, KEYS);
    let mut session = database.session();
    assert_eq!(
        session.number("SELECT count(*) FROM once.claim"),
        KEYS as i64
    );
}

/// G9: batches in any order, which meet in all their keys.
#[test]
fn batches_do_not_deadlock() {
    let database = distributed();
    let won: i64 = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            let database = &database;
            scope.spawn(move || {
                let mut session = database.session();
                (0..5)
                    .map(|round| {
                        session.number(&format!(
                            "SELECT count(*) FROM claim_many('batch', ARRAY(
                                 SELECT '{round}/' || n FROM generate_series(1, 200) n ORDER BY random()))"
                        ))
                    })
                    .sum::<i64>()
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(won, 5 * 200);
}

/// The keys that were won, in the order of the array, each once.
#[test]
fn a_batch_returns_what_it_won() {
    let mut session = distributed().session();
    session.run("SELECT claim_once('ns', 'b')");
    session.run("SELECT claim_once_per('1 ms', 'ns', 'd'), pg_sleep(0.01)");
    assert_eq!(
        session.value("SELECT array_agg(key) FROM claim_many('ns', '{e,b,d,a,e,c}') key"),
        "{e,d,a,c}"
    );
}

/// G2, G8: a timeout is an answer, after which the transaction goes on and no setting has changed.
#[test]
fn a_timeout_is_an_answer() {
    const SETTINGS: &str = "SELECT current_setting('lock_timeout') || current_setting('citus.propagate_set_commands', true)";
    let database = distributed();
    let [mut winner, mut other] = database.sessions();
    for (own, before) in [("0", "0"), ("1min", "1min")] {
        winner.run("DELETE FROM once.claim");
        winner.begin();
        winner.run("SELECT claim_once('ns', 'k')");
        other.run(&format!(
            "SET lock_timeout = '{own}'; SET citus.propagate_set_commands = 'none'"
        ));
        other.begin();
        for timeout in ["0", "50 ms"] {
            let asked = Instant::now();
            let call = format!("SELECT try_claim_once('ns', 'k', '{timeout}')");
            assert_eq!(other.value(&call), "in_progress");
            assert!(asked.elapsed() < SOON);
        }
        assert_eq!(other.value(SETTINGS), format!("{before}none"));
        assert!(other.is_true("SELECT pg_current_xact_id_if_assigned() IS NULL"));
        other.send("SELECT try_claim_once('ns', 'k', '60 s')");
        other.waits_for(&winner);
        winner.rollback();
        assert_eq!(other.answered_value(), "won");
        assert_eq!(other.value(SETTINGS), format!("{before}none"));
        other.commit();
        assert_eq!(
            winner.value("SELECT try_claim_once('ns', 'k')"),
            "duplicate"
        );
    }
}

/// The caller's own `lock_timeout` raises, with and without a longer timeout.
#[test]
fn the_callers_lock_timeout_raises() {
    let database = distributed();
    let [mut winner, mut other] = database.sessions();
    winner.begin();
    winner.run("SELECT claim_once('ns', 'k')");
    other.run("SET lock_timeout = '50ms'");
    for call in [
        "SELECT claim_once('ns', 'k')",
        "SELECT try_claim_once('ns', 'k', '1 min')",
        "SELECT try_claim_once('ns', 'k', NULL)",
        "SELECT count(*) FROM claim_many('ns', '{a,k,z}')",
    ] {
        other.refused(call, "55P03");
    }
    assert_eq!(
        other.value("SELECT try_claim_once('ns', 'k', '10 ms')"),
        "in_progress"
    );
    winner.run("COMMIT; BEGIN; SELECT unclaim('ns', 'k')");
    other.refused("SELECT unclaim('ns', 'k')", "55P03");
}

/// An owner who repeats its call has won again, but not within its transaction: also where a savepoint
/// has made the claim.
#[test]
fn an_owner_may_ask_again() {
    const ASK: &str = "SELECT try_claim_once('ns', 'k', owner => 'me')";
    let mut session = distributed().session();
    session.begin();
    session.run("SAVEPOINT s");
    assert_eq!(session.value(ASK), "won");
    assert_eq!(session.value(ASK), "duplicate");
    session.run("RELEASE s");
    assert_eq!(session.value(ASK), "duplicate");
    session.commit();
    session.begin();
    assert_eq!(session.value(ASK), "won");
    session.commit();
    assert_eq!(
        session.value("SELECT try_claim_once('ns', 'k', owner => 'you')"),
        "duplicate"
    );
}

/// An expired claim is taken again by one, and what was given back can be claimed.
#[test]
fn claims_end() {
    let mut session = distributed().session();
    assert!(session.is_true("SELECT claim_once_per('1 hour', 'ns', 'k')"));
    assert!(!session.is_true("SELECT claim_once_per('1 hour', 'ns', 'k')"));
    assert!(session.is_true("SELECT is_claimed('ns', 'k')"));
    session.run("UPDATE once.claim SET expires_at = clock_timestamp() - interval '1 s'");
    assert!(!session.is_true("SELECT is_claimed('ns', 'k')"));
    assert!(!session.is_true("SELECT unclaim('ns', 'k')"));
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
    assert!(session.is_true("SELECT unclaim('ns', 'k')"));
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
}

/// G5: a duplicate writes nothing.
#[test]
fn a_duplicate_writes_nothing() {
    let mut session = distributed().session();
    session.run("SELECT claim_once('ns', 'k')");
    session.begin();
    for call in [
        "SELECT claim_once('ns', 'k')",
        "SELECT try_claim_once('ns', 'k') <> 'duplicate'",
        "SELECT count(*) > 0 FROM claim_many('ns', '{k}')",
    ] {
        assert!(!session.is_true(call), "{call}");
    }
    assert!(session.is_true("SELECT pg_current_xact_id_if_assigned() IS NULL"));
}

/// What would be wrong on several nodes raises.
#[test]
fn what_is_not_promised_raises() {
    let mut session = distributed().session();
    session.run("SET pg_once.claim_engine = 'direct'");
    let error = session.refused("SELECT claim_once('ns', 'k')", "55000");
    assert!(
        error.message().contains("Citus keeps its rows"),
        "{error:?}"
    );
    session.run("SET pg_once.claim_engine = 'statement'");
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
    session.run("RESET pg_once.claim_engine");
    for call in [
        "SELECT claim_once('ns', 'k')",
        "SELECT is_claimed('ns', 'k')",
        "SELECT unclaim('ns', 'k')",
        "SELECT * FROM claim_many('ns', '{k}')",
    ] {
        session.begin_at("SERIALIZABLE");
        let error = session.refused(call, "0A000");
        assert!(
            error.hint().unwrap().contains("READ COMMITTED"),
            "{error:?}"
        );
        session.rollback();
    }
}

/// Where Citus runs a part of a query, every function that does more than computing a key refuses, also
/// those of tables that are not distributed.
#[test]
fn functions_that_are_pushed_down_refuse() {
    let database = database();
    let mut session = database.session();
    session.run("CREATE TABLE payments (service_id int, line_item_id text)");
    session.run("SET application_name = 'citus_internal gpid=10000000123'");
    for call in [
        "claim_once('ns', 'k')",
        "claim_once_per('1 h', 'ns', 'k')",
        "claim_many('ns', '{k}')",
        "try_claim_once('ns', 'k')",
        "is_claimed('ns', 'k')",
        "unclaim('ns', 'k')",
        "begin_once('ns', 'k')",
        "renew_once('ns', 'k', 1)",
        "complete_once('ns', 'k', 1)",
        "fail_once('ns', 'k', 1)",
        "fence_once('ns', 'k', 1)",
        "forget_once('ns', 'k')",
        "with_lock('ns', 'k')",
        "with_locks('ns', '{k}')",
        "hold_lock('ns', 'k')",
        "release_lock('ns', 'k')",
        "once.may_use('ns')",
        "with_payment_lock(1, 'a')",
        "with_row_lock(NULL::payments, '{\"service_id\": 1}')",
        "find_or_create(NULL::payments, '{\"service_id\": 1}')",
    ] {
        let error = session.refused(&format!("SELECT {call}"), "55000");
        assert!(
            error.hint().unwrap().contains("distributed table"),
            "{call}: {error:?}"
        );
    }
    assert_eq!(session.value("SELECT once_key(1)"), "1");
    session.run("RESET application_name");
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
}

/// A session that has claimed before hears of it when Citus takes the tables.
#[test]
fn a_session_hears_of_it() {
    let database = undistributed();
    let [mut admin, mut session]: [Session; 2] = database.sessions();
    session.run("SET pg_once.claim_engine = 'direct'");
    assert!(session.is_true("SELECT claim_once('ns', 'a')"));
    assert!(admin.is_true(DISTRIBUTE));
    session.refused("SELECT claim_once('ns', 'b')", "55000");
    admin.run(
        "BEGIN; DELETE FROM pg_catalog.pg_dist_partition; ALTER TABLE once.claim RESET (fillfactor);
         ALTER TABLE once.access_policy_shared RESET (fillfactor); COMMIT",
    );
    assert!(session.is_true("SELECT claim_once('ns', 'b')"));
}

/// One 'run' for each key, and a higher token for each that takes over.
#[test]
fn work_runs_once() {
    const KEYS: usize = 20;
    let database = distributed();
    let barrier = Barrier::new(CLIENTS);
    let runs: usize = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                barrier.wait();
                (0..KEYS)
                    .filter(|key| {
                        let begin = format!("SELECT outcome FROM begin_once('work', '{key}')");
                        session.value(&begin) == "run"
                    })
                    .count()
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(runs, KEYS);

    let begin = "SELECT token FROM begin_once('takeover', 'k', '1 ms', wait => '1 min')";
    let mut tokens: Vec<i64> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            let database = &database;
            scope.spawn(move || {
                let mut session = database.session();
                Vec::from_iter((0..10).map(|_| session.number(begin)))
            })
        }));
        let told = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        told.collect()
    });
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 10 * CLIENTS);
}

/// The life of one piece of work.
#[test]
fn work_has_an_outcome() {
    let mut session = distributed().session();
    let begin = "SELECT outcome FROM begin_once('ns', 'k')";
    let token = session.number("SELECT token FROM begin_once('ns', 'k')");
    assert_eq!(session.value(begin), "in_progress");
    session.run(&format!("SELECT renew_once('ns', 'k', {token})"));
    assert!(session.is_true(&format!(
        "SELECT fail_once('ns', 'k', {token}, '{{\"e\": 1}}')"
    )));
    session.refused(&format!("SELECT fence_once('ns', 'k', {token})"), "55000");
    assert_eq!(
        session.value("SELECT result FROM begin_once('ns', 'k')"),
        "{\"e\": 1}"
    );
    let next = session.number("SELECT token FROM once.work_record");
    assert!(next > token);
    session.refused(
        &format!("SELECT complete_once('ns', 'k', {token})"),
        "55000",
    );
    for first in ["t", "f"] {
        let complete = format!("SELECT complete_once('ns', 'k', {next}, '7')");
        assert_eq!(session.value(&complete), first);
    }
    assert_eq!(
        session.value("SELECT outcome || result FROM begin_once('ns', 'k')"),
        "done7"
    );
    assert!(session.is_true("SELECT forget_once('ns', 'k')"));
    assert_eq!(session.value(begin), "run");
    session.begin_at("SERIALIZABLE");
    session.refused(begin, "0A000");
}

/// G8, G10: a begin that is undecided is in progress at once; a fence holds a takeover off, which is told so
/// in its time.
#[test]
fn a_fence_holds_a_takeover_off() {
    let database = distributed();
    let [mut holder, mut other] = database.sessions();
    let begin = "SELECT outcome FROM begin_once('ns', 'k', '1 s')";
    holder.begin();
    assert_eq!(holder.value(begin), "run");
    assert_eq!(other.value(begin), "in_progress");
    holder.commit();
    let token = holder.number("SELECT token FROM once.work_record");
    holder.begin();
    assert!(holder.is_true(&format!("SELECT fence_once('ns', 'k', {token})")));
    other.run("SELECT pg_sleep(1.1)");
    let asked = Instant::now();
    assert_eq!(other.value(begin), "in_progress");
    assert_eq!(
        other.value("SELECT outcome FROM begin_once('ns', 'k', wait => '50 ms')"),
        "in_progress"
    );
    assert!(asked.elapsed() < SOON);
    holder.commit();
    assert_eq!(other.value(begin), "run");
    holder.refused(&format!("SELECT fence_once('ns', 'k', {token})"), "55000");
}

/// The caller's own `lock_timeout` ends a wait for the record.
#[test]
fn work_waits_as_long_as_the_caller_allows() {
    let database = distributed();
    let [mut holder, mut other] = database.sessions();
    let token = holder.number("SELECT token FROM begin_once('ns', 'k')");
    holder.begin();
    holder.run(&format!("SELECT renew_once('ns', 'k', {token})"));
    other.run("SET lock_timeout = '50ms'");
    for call in ["renew_once", "complete_once", "fence_once"] {
        other.refused(&format!("SELECT {call}('ns', 'k', {token})"), "55P03");
    }
    holder.commit();
    assert!(other.is_true(&format!("SELECT complete_once('ns', 'k', {token})")));
}

/// once.sweep and once.purge remove what they are to, no more than asked, and wait for nobody; the floor of
/// the tokens rises.
#[test]
fn what_is_over_is_swept() {
    let database = distributed();
    let [mut session, mut other] = database.sessions();
    session.run("SELECT claim_once('stays', n::text) FROM generate_series(1, 3) n");
    session.run("SELECT * FROM begin_once('stays', 'k')");
    session.run("SELECT claim_once_per('1 ms', 'ends', n::text) FROM generate_series(1, 9) n");
    session.run("SELECT once.configure('work', '1 ms')");
    let token = session.number("SELECT token FROM begin_once('work', 'k')");
    session.run(&format!("SELECT complete_once('work', 'k', {token})"));
    session.run("SELECT pg_sleep(0.05)");
    other.begin();
    other.run("SELECT FROM once.claim WHERE ns = 'ends' AND key = '5' FOR UPDATE");
    assert_eq!(session.number("SELECT once.sweep(4)"), 4);
    assert_eq!(session.number("SELECT once.sweep()"), 5);
    assert_eq!(session.number("SELECT once.sweep()"), 0);
    other.commit();
    assert_eq!(session.number("SELECT once.sweep()"), 1);
    assert_eq!(session.number("SELECT token FROM once.work_floor"), token);
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 3);
    assert_eq!(session.number("SELECT once.purge('stays')"), 3);
    assert_eq!(
        session.number("SELECT once.purge('stays', unfinished => true)"),
        1
    );
    assert_eq!(session.number("SELECT count(*) FROM once.work_record"), 0);
    assert!(session.is_true(
        "SELECT token > (SELECT max(token) FROM once.work_floor) FROM begin_once('stays', 'k')"
    ));
}

/// G6, G7: a unique index on exactly the key lets callers of all nodes take turns: one row for each key, and no
/// update lost.
#[test]
fn rows_are_taken_in_turns() {
    const TURNS: usize = 10;
    let database = distributed();
    database.session().run(
        "CREATE TABLE counter (gone int, name text, \"of\" int DEFAULT 7, value int DEFAULT 0, UNIQUE (name, \"of\"));
         ALTER TABLE counter DROP COLUMN gone;
         INSERT INTO pg_catalog.pg_dist_partition VALUES ('counter')",
    );
    let created: usize = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            let database = &database;
            scope.spawn(move || {
                let mut session = database.session();
                let mut created = 0;
                for turn in 0..TURNS {
                    let key = format!("{{\"name\": \"k{}\", \"of\": 1}}", turn % 2);
                    session.begin();
                    let find = format!("SELECT created FROM find_or_create(NULL::counter, '{key}', lock => true)");
                    created += usize::from(session.is_true(&find));
                    session.run(&format!(
                        "DO $$ DECLARE c counter = with_row_lock(NULL::counter, '{key}');
                         BEGIN UPDATE counter SET value = c.value + 1 WHERE name = c.name AND \"of\" = c.\"of\"; END $$"
                    ));
                    session.commit();
                }
                created
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(created, 2);
    let mut session = database.session();
    assert_eq!(
        session.number("SELECT sum(value) FROM counter"),
        (CLIENTS * TURNS) as i64
    );
    let row =
        "SELECT with_row_lock(NULL::counter, '{\"name\": \"new\", \"of\": 2}', '{\"value\": 5}')";
    assert_eq!(session.value(row), "(new,2,5)");
}

/// G8 for rows: a timeout returns no row, and the caller's `lock_timeout` raises.
#[test]
fn a_turn_at_a_row_has_a_timeout() {
    let database = distributed();
    let [mut holder, mut other] = database.sessions();
    holder.run(
        "CREATE TABLE payments (service_id int, line_item_id text, amount int DEFAULT 0, PRIMARY KEY (service_id, line_item_id));
         INSERT INTO pg_catalog.pg_dist_partition VALUES ('payments')",
    );
    const KEY: &str = "NULL::payments, '{\"service_id\": 1, \"line_item_id\": \"a\"}'";
    for state in ["new", "old"] {
        holder.begin();
        let created = state == "new";
        let taken = holder.is_true("SELECT created FROM with_payment_lock(1, 'a')");
        assert_eq!(taken, created);
        other.begin();
        for timeout in ["0", "30 ms"] {
            let call = format!("SELECT count(*) FROM with_row_lock({KEY}, timeout => '{timeout}')");
            assert_eq!(other.number(&call), 0, "{state}");
        }
        other.commit();
        other.run("SET lock_timeout = '30ms'");
        other.refused(&format!("SELECT with_row_lock({KEY})"), "55P03");
        other.run("RESET lock_timeout");
        holder.commit();
    }
    assert!(!other.is_true(&format!("SELECT created FROM find_or_create({KEY})")));
    assert_eq!(
        other.value("SELECT payment FROM with_payment_lock('1', 'a')"),
        "{\"amount\": 0, \"service_id\": 1, \"line_item_id\": \"a\"}"
    );
    other.begin_at("SERIALIZABLE");
    other.refused(&format!("SELECT with_row_lock({KEY})"), "0A000");
}

/// Without such an index, and for all that merges, what Citus keeps is refused.
#[test]
fn rows_that_citus_keeps_are_refused() {
    let mut session = distributed().session();
    session.run("CREATE TABLE payments (service_id int, line_item_id text)");
    session.run("INSERT INTO pg_catalog.pg_dist_partition VALUES ('payments')");
    for call in [
        "with_payment_lock(1, 'a')",
        "with_row_lock(NULL::payments, '{\"service_id\": 1}')",
        "find_or_create(NULL::payments, '{\"service_id\": 1}')",
        "once.find_duplicates('payments', '{service_id}')",
        "once.merge_duplicates('payments', '{service_id}', dry_run => false)",
        "once.guard_plan('payments', '{service_id}')",
    ] {
        let error = session.refused(&format!("SELECT {call}"), "0A000");
        assert!(error.message().contains("Citus"), "{call}: {error:?}");
    }
}

/// Several nodes and tables that are not distributed are an error of once.check().
#[test]
fn tables_that_are_not_distributed_are_an_error() {
    const ERRORS: &str = "SELECT count(*) FROM once.check() WHERE severity = 'error'";
    let mut session = undistributed().session();
    session.run("DELETE FROM pg_catalog.pg_dist_node WHERE groupid > 0");
    assert_eq!(session.number(ERRORS), 0);
    session.run("INSERT INTO pg_catalog.pg_dist_node VALUES (1), (2)");
    assert_eq!(session.number(ERRORS), 4);
    assert_eq!(
        session.value("SELECT finding FROM once.check() WHERE finding LIKE '%once.claim is not%'"),
        "there are 3 nodes, and once.claim is not distributed"
    );
    assert!(session.is_true(DISTRIBUTE));
    assert_eq!(session.number(ERRORS), 0);
    assert!(session.is_true("SELECT EXISTS (SELECT FROM once.check() WHERE severity = 'notice' AND finding LIKE '%named locks%')"));
}

/// G12: where Citus keeps the tables, policies are those of all nodes, with roles by their names. Sessions go by the
/// newest, whatever they have looked at before; what is rolled back counts nowhere.
#[test]
fn policies_are_shared() {
    const ROW: &str = "SELECT ns || ' ' || coalesce(ttl::text, '-') || ' ' || coalesce(allowed_role, '-') FROM once.access_policy_shared";
    let database = distributed();
    let mut admin = database.session();
    let role = |name: &str| format!("{name}_{}", database.name);
    let (insider, outsider) = (role("insider"), role("\"Out sider"));
    let outsider = format!("{outsider}\"");
    admin.run(&format!("CREATE ROLE {insider}; CREATE ROLE {outsider}"));
    let as_role = |role: &str| {
        let mut session = database.session();
        session.run(&format!("SET ROLE {role}"));
        session
    };
    let (mut inside, mut outside) = (as_role(&insider), as_role(&outsider));
    assert!(outside.is_true("SELECT claim_once('ns', 'before')"));
    admin.begin();
    admin.run(&format!(
        "SELECT once.configure('ns', allowed_role => '{insider}')"
    ));
    assert!(outside.is_true("SELECT once.may_use('ns')"));
    admin.rollback();
    assert!(outside.is_true("SELECT is_claimed('ns', 'before')"));
    assert!(admin.is_true(&format!(
        "SELECT once.configure('ns', allowed_role => '{insider}')"
    )));
    assert!(admin.is_true("SELECT once.configure('ns', '1 day')"));
    assert_eq!(admin.value(ROW), format!("ns 1 day {insider}"));
    assert_eq!(admin.number("SELECT count(*) FROM once.access_policy"), 0);
    for call in [
        "SELECT claim_once('ns', 'k')",
        "SELECT is_claimed('ns', 'before')",
        "SELECT with_lock('ns', 'k')",
        "SELECT begin_once('ns', 'k')",
        "SELECT once.claims_of('ns')",
    ] {
        outside.refused(call, "42501");
    }
    assert!(!outside.is_true("SELECT once.may_use('ns')"));
    for view in ["claims", "work", "namespaces"] {
        assert_eq!(
            outside.number(&format!("SELECT count(*) FROM once.{view}")),
            0
        );
    }
    assert!(inside.is_true("SELECT claim_once('ns', 'k')"));
    assert_eq!(inside.number("SELECT count(*) FROM once.claims"), 2);
    assert!(inside.is_true(
        "SELECT expires_at < clock_timestamp() + interval '25 hours' FROM once.claims WHERE key = 'k'"
    ));
    let namespaces = "SELECT ns || ttl || allowed_role FROM once.namespaces";
    assert_eq!(inside.value(namespaces), format!("ns1 day{insider}"));
    // A role whose name has to be quoted.
    admin.run(&format!(
        "SELECT once.configure('ns', allowed_role => '{outsider}')"
    ));
    assert_eq!(outside.value(namespaces), format!("ns1 day{outsider}"));
    assert!(!inside.is_true("SELECT once.may_use('ns')"));
    // A role that is gone, or not on this node, leaves it closed.
    drop(outside);
    admin.run(&format!("DROP ROLE {outsider}"));
    inside.refused("SELECT claim_once('ns', 'x')", "42501");
    assert_eq!(admin.value("SELECT allowed_role FROM once.namespaces"), "-");
    assert!(admin.is_true(
        "SELECT EXISTS (SELECT FROM once.check() WHERE severity = 'warning' AND finding LIKE '%ns%is closed%')"
    ));
    assert!(admin.is_true("SELECT once.unconfigure('ns')"));
    assert!(!admin.is_true("SELECT once.unconfigure('ns')"));
    assert!(inside.is_true("SELECT claim_once('ns', 'open')"));
    assert!(inside.is_true("SELECT expires_at IS NULL FROM once.claims WHERE key = 'open'"));
    drop(inside);
    admin.run(&format!("DROP ROLE {insider}"));
}

/// once.distribute() takes what was configured on one node along. It can be called again, and is for who owns the
/// tables; whoever configures meanwhile waits, and says it to all nodes.
#[test]
fn what_was_configured_before_holds_after() {
    let database = undistributed();
    let [mut admin, mut other, mut user] = database.sessions();
    let (role, gone) = (
        format!("role_{}", database.name),
        format!("gone_{}", database.name),
    );
    admin.run(&format!("CREATE ROLE {role}; CREATE ROLE {gone}"));
    admin.run(&format!(
        "SELECT once.configure('a', allowed_role => '{role}'), once.configure('b', allowed_role => '{gone}'),
                once.configure('c', '1 hour'); DROP ROLE {gone}"
    ));
    user.run(&format!("SET ROLE {role}"));
    user.refused(DISTRIBUTE, "42501");
    assert!(
        user.is_true("SELECT once.may_use('a') AND NOT once.may_use('b') AND once.may_use('c')")
    );
    admin.begin();
    assert!(admin.is_true(DISTRIBUTE));
    other.send("SELECT once.configure('d', '2 hours')");
    other.waits_for(&admin);
    admin.commit();
    assert!(other.answered_true());
    assert!(!admin.is_true(DISTRIBUTE));
    assert_eq!(
        admin.value(
            "SELECT array_agg(logicalrelid ORDER BY logicalrelid::text) FROM pg_dist_partition"
        ),
        "{once.access_policy_shared,once.claim,once.work_floor,once.work_record}"
    );
    assert_eq!(admin.number("SELECT count(*) FROM once.access_policy"), 0);
    assert_eq!(
        admin.value("SELECT array_agg(concat(ns, ' ', ttl, ' ', allowed_role) ORDER BY ns) FROM once.access_policy_shared"),
        format!("{{\"a  {role}\",\"b  \",\"c 01:00:00 \",\"d 02:00:00 \"}}")
    );
    assert!(
        user.is_true("SELECT once.may_use('a') AND NOT once.may_use('b') AND once.may_use('c')")
    );
    drop(user);
    admin.run(&format!("SELECT once.unconfigure('a'); DROP ROLE {role}"));
}

/// Without Citus there is nothing to distribute over.
#[test]
fn distribute_needs_citus() {
    let error = database().session().refused(DISTRIBUTE, "55000");
    assert!(
        error.hint().unwrap().contains("citus_add_node"),
        "{error:?}"
    );
}

/// G12: where claims are distributed and policies are not, each node would have its own: all calls are refused.
#[test]
fn policies_that_are_not_shared_leave_nothing_open() {
    let mut session = undistributed().session();
    session.run("SELECT create_distributed_table('once.claim', 'hash_low')");
    for call in [
        "SELECT claim_once('ns', 'k')",
        "SELECT with_lock('ns', 'k')",
        "SELECT begin_once('ns', 'k')",
        "SELECT once.may_use('ns')",
        "SELECT * FROM once.claims",
        "SELECT * FROM once.namespaces",
        "SELECT once.configure('ns', '1 day')",
        "SELECT once.unconfigure('ns')",
    ] {
        let error = session.refused(call, "55000");
        assert!(
            error.hint().unwrap().contains("once.distribute()"),
            "{call}: {error:?}"
        );
    }
    assert!(session.is_true(
        "SELECT EXISTS (SELECT FROM once.check() WHERE severity = 'error' AND finding LIKE '%once.access_policy_shared is not distributed%'
                        AND advice LIKE '%once.distribute()%')"
    ));
    assert!(session.is_true(DISTRIBUTE));
    assert!(session.is_true("SELECT claim_once('ns', 'k')"));
}

/// G12: policies of several nodes that were restored to one leave nothing open before it has taken them over.
#[test]
fn restored_policies_leave_nothing_open() {
    let database = database();
    let [mut session, mut user] = database.sessions();
    user.run("SET ROLE pg_monitor");
    session.run(
        "SELECT once.configure('kept', '1 hour');
         INSERT INTO once.access_policy_shared VALUES ('mine', '1 day', 'pg_monitor'), ('gone', NULL, 'no such role'), ('all', '2 days', NULL)",
    );
    for call in [
        "SELECT claim_once('other', 'k')",
        "SELECT once.may_use('gone')",
        "SELECT * FROM once.work",
    ] {
        let error = user.refused(call, "55000");
        assert!(
            error.hint().unwrap().contains("once.configure(ns)"),
            "{call}: {error:?}"
        );
    }
    let finding = "SELECT count(*) FROM once.check() WHERE severity = 'error' AND advice LIKE '%once.configure(ns) FROM once.access_policy_shared%'";
    assert_eq!(session.number(finding), 1);
    session.run("SELECT once.configure(ns) FROM once.access_policy_shared");
    assert_eq!(session.number(finding), 0);
    assert_eq!(
        session.number("SELECT count(*) FROM once.access_policy_shared"),
        0
    );
    assert_eq!(
        session.value("SELECT array_agg(concat_ws(' ', ns, ttl, allowed_role) ORDER BY ns) FROM once.access_policy"),
        "{\"all 2 days\",\"gone -\",\"kept 01:00:00\",\"mine 1 day pg_monitor\"}"
    );
    assert!(user.is_true(
        "SELECT once.may_use('mine') AND NOT once.may_use('gone') AND once.may_use('all')"
    ));
}

/// A node that reads other policies, or has other tables distributed, or does not answer, is a finding of
/// once.check() with its name.
#[test]
fn nodes_that_do_not_agree_are_found() {
    const FINDINGS: &str = "SELECT array_agg(severity || ': ' || finding) FROM once.check() WHERE finding LIKE 'node %'";
    let mut session = undistributed().session();
    session.run(DISTRIBUTE);
    session.run("SELECT once.configure('ns', '1 day')");
    // Node 1 answers what this one says; what the others answer stands in a table.
    session.run(
        "CREATE TABLE public.said (nodeid int, of text, success bool, result text);
         CREATE FUNCTION pg_catalog.run_command_on_all_nodes(command text, OUT nodeid int, OUT success bool, OUT result text)
         RETURNS SETOF record LANGUAGE plpgsql AS $$
         BEGIN
             EXECUTE command INTO result;
             RETURN QUERY SELECT n.nodeid, coalesce(s.success, true), CASE WHEN s.nodeid IS NULL THEN $4 ELSE s.result END
                 FROM pg_dist_node n LEFT JOIN public.said s ON s.nodeid = n.nodeid AND command LIKE s.of;
         END $$",
    );
    assert!(session.is_true(
        "SELECT array_agg(finding) IS NULL FROM once.check() WHERE finding LIKE 'node %'"
    ));
    session
        .run("INSERT INTO public.said VALUES (2, '%access_policy_shared', true, 'another digest')");
    assert_eq!(
        session.value(FINDINGS),
        "{\"error: node b:5432 reads other policies of namespaces than this one\"}"
    );
    session.run("UPDATE public.said SET result = NULL");
    assert!(
        session
            .value(FINDINGS)
            .contains("node b:5432 reads other policies")
    );
    session.run("UPDATE public.said SET of = '%pg_dist_partition%', result = '0'");
    assert_eq!(
        session.value(FINDINGS),
        "{\"error: node b:5432 has other tables of the extension distributed than this one\"}"
    );
    session.run("UPDATE public.said SET nodeid = 3, of = '%md5%', success = false, result = 'no connection'");
    assert_eq!(
        session.value(FINDINGS),
        "{\"warning: node c:5432 does not say what it has: no connection\"}"
    );
}
