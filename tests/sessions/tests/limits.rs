//! Limits: what a call takes of memory where there is little, and how soon it ends when it is cancelled.

use pg_once_sessions::{Cluster, Database, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const MEGABYTE: u64 = 1 << 20;

/// How much more memory a backend may get than it has.
const ROOM: [u64; 3] = [10, 60, 200];

/// Within what a call ends, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// What core and the extension raise where memory is refused or a limit is exceeded.
const REFUSED: [&str; 3] = ["53200", "54000", "54023"];

/// Sizes of which each stands in the way of another copy of the same thing.
const LARGE: &str = "
    CREATE TABLE account (id int PRIMARY KEY, name text, note text, data jsonb, numbers int[]);
    CREATE TABLE bare (name text, note text);
    CREATE TABLE doubled (id int PRIMARY KEY, k int, note text);
    INSERT INTO doubled SELECT n, 1, repeat('x', 10000000) FROM generate_series(1, 3) n;
    SELECT once.define_row_lock('lock_account', 'account', '{id}');
    SELECT begin_once('limits', 'result', '1 hour');
    SELECT claim_once('limits', 'claimed')";

const CALLS: [&str; 13] = [
    "SELECT begin_once('limits', 'numbers', request => (SELECT jsonb_agg(1e1000) FROM generate_series(1, 80000)))",
    "SELECT begin_once('limits', 'points', request => (SELECT jsonb_agg(1e-20) FROM generate_series(1, 300000)))",
    "SELECT begin_once('limits', 'text', request => to_jsonb(repeat('x', 30000000)))",
    "SELECT complete_once('limits', 'result', (SELECT token FROM once.work), to_jsonb(repeat('x', 30000000)))",
    "SELECT fail_once('limits', 'result', (SELECT token FROM once.work), to_jsonb(repeat('x', 30000000)))",
    "SELECT FROM with_row_lock(NULL::account, '{\"id\": 1}', jsonb_build_object('note', repeat('x', 30000000)))",
    "SELECT FROM with_row_lock(NULL::account, '{\"id\": 1}', jsonb_build_object('data', to_jsonb(repeat('x', 30000000))))",
    "SELECT FROM with_row_lock(NULL::account, '{\"id\": 1}',
         jsonb_build_object('numbers', (SELECT jsonb_agg(n) FROM generate_series(1, 500000) n)))",
    "SELECT FROM with_row_lock(NULL::bare, jsonb_build_object('name', repeat('x', 30000000)))",
    "SELECT FROM lock_account(1, defaults => jsonb_build_object('note', repeat('x', 30000000)))",
    "SELECT count(*) FROM claim_many('limits', (SELECT array_agg(n::text) FROM generate_series(1, 1000000) n))",
    "SELECT count(*) FROM once.find_duplicates('doubled', '{k}')",
    "SELECT FROM once.merge_duplicates('doubled', '{k}', dry_run => false)",
];

/// G11: memory that the system refuses is an error of the call.
#[test]
fn what_the_system_refuses_is_an_error_of_the_call() {
    let database = database();
    database.session().run(LARGE);
    for room in ROOM {
        let mut session = limited(&database, room * MEGABYTE);
        for call in CALLS {
            session.begin();
            if let Err(failure) = session.try_run(call) {
                assert!(
                    REFUSED.contains(&failure.sqlstate()),
                    "{room} MB more: {call}: {failure:?}"
                );
            }
            session.rollback();
            assert_eq!(session.value("SELECT is_claimed('limits', 'claimed')"), "t");
        }
    }
}

/// What names more columns than a table can have, or one whose name is longer than a name can be. `named` has a
/// JSON object of a million members, and one with a name of 30 MB.
const NAMES: [&str; 8] = [
    "SELECT FROM named, with_row_lock(NULL::account, members)",
    "SELECT FROM named, with_row_lock(NULL::account, long)",
    "SELECT FROM named, with_row_lock(NULL::account, '{\"id\": 1}', members)",
    "SELECT FROM named, find_or_create(NULL::account, members)",
    "SELECT FROM named, find_or_create(NULL::account, '{\"id\": 1}', long)",
    "SELECT FROM named, lock_account(1, defaults => members)",
    "SELECT once.define_row_lock('f', 'account', '{id}', members) FROM named",
    "SELECT once.define_row_lock('f', 'account', ARRAY[repeat('x', 30000000)])",
];

/// The same of the functions for duplicates.
const CONDITIONS: [&str; 4] = [
    "SELECT FROM named, once.find_duplicates('doubled', '{k}', members)",
    "SELECT FROM named, once.merge_duplicates('doubled', '{k}', condition => members)",
    "SELECT FROM named, once.guard_plan('doubled', '{k}', members)",
    "SELECT FROM named, once.guard_plan('doubled', '{k}', long)",
];

/// G11: names are counted and measured before they are read.
#[test]
fn more_names_than_a_table_can_have_are_refused_at_once() {
    let database = database();
    database.session().run(LARGE);
    database.session().run(
        "CREATE TABLE named AS SELECT
             (SELECT jsonb_object_agg('c' || n, 1) FROM generate_series(1, 1000000) n) AS members,
             jsonb_build_object(repeat('x', 30000000), 1) AS long;
         CREATE PROCEDURE write_by_hand(names int) LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE format('CREATE FUNCTION by_hand(text, once.duration, jsonb) RETURNS SETOF account
                 LANGUAGE once_row_lock AS %L', jsonb_build_object('table', 'public.account', 'key',
                 (SELECT jsonb_agg('c' || n) FROM generate_series(1, names) n)));
         END $$",
    );
    let mut session = database.session();
    for call in NAMES.iter().chain(&CONDITIONS) {
        // The object is there before the call begins.
        session.run("SELECT FROM named WHERE members = long");
        let begun = Instant::now();
        session.refused(call, "42703");
        let took = begun.elapsed();
        assert!(took < SOON, "{call}: {took:?}");
    }
    for room in ROOM {
        let mut session = limited(&database, room * MEGABYTE);
        for call in NAMES.iter().chain(&CONDITIONS) {
            let failure = session.try_run(call).expect_err(call);
            let sqlstate = failure.sqlstate();
            let is_right = sqlstate == "42703" || REFUSED.contains(&sqlstate);
            assert!(is_right, "{room} MB more: {call}: {failure:?}");
        }
        let failure = session.try_run("CALL write_by_hand(1000000)").unwrap_err();
        assert!(
            ["22023", "53200"].contains(&failure.sqlstate()),
            "{failure:?}"
        );
    }
    session.run("SET check_function_bodies = off; CALL write_by_hand(1000000)");
    session.refused("SELECT FROM by_hand('a', NULL, '{}')", "22023");
}

/// Calls with texts that are as long as they may be, and longer ones. `long` has a condition of 3 MB.
const TEXTS: [&str; 5] = [
    "SELECT FROM lock_noted('q')",
    "SELECT once.guard_plan('noted', '{name}', condition) FROM long",
    "SELECT once.define_row_lock('lock_long', 'noted', '{name}', condition) FROM long",
    "SELECT set_config('pg_once.payment_table', repeat('v', 3000000), true)",
    "SELECT count(*) FROM once.claims",
];

/// G11: at whatever piece of memory the system begins to refuse, the server goes on, and no backtrace is taken.
#[test]
fn wherever_memory_ends_the_server_goes_on() {
    let cluster = Cluster::start_with(&[], &[("RUST_BACKTRACE", "1")]);
    let database = cluster.database();
    let mut onlooker = database.session();
    onlooker.run(
        "CREATE TABLE noted (name text, note text);
         CREATE TABLE long AS SELECT jsonb_build_object('note', repeat('x', 3000000)) AS condition;
         SELECT once.define_row_lock('lock_noted', 'noted', '{name}', jsonb_build_object('note', repeat('x', 8000)))",
    );
    let small = (1..=20).map(|step| step * MEGABYTE / 4);
    for room in small.chain((3..=20).map(|step| 2 * step * MEGABYTE)) {
        for call in TEXTS {
            let mut session = limited(&database, room);
            if let Err(failure) = session.try_run(call) {
                let sqlstate = failure.sqlstate();
                let is_right = sqlstate == "22023" || REFUSED.contains(&sqlstate);
                assert!(is_right, "{room} bytes more: {call}: {failure:?}");
            }
            assert_eq!(session.value("SELECT is_claimed('limits', 'claimed')"), "t");
        }
        assert_eq!(onlooker.value("SELECT 1"), "1");
    }
}

/// A session whose backend gets no more than so many bytes in addition.
fn limited(database: &Database, room: u64) -> Session {
    let mut session = database.session();
    session.run("SET statement_timeout = '80s'; SELECT claim_once('limits', 'claimed')");
    // The stack has grown before: where it cannot, every process ends.
    session.run("SELECT length((repeat('[', 5000) || repeat(']', 5000))::jsonb::text)");
    session.limit_memory(room);
    session
}

/// A request may have 100 MB, as jsonb and as text.
#[test]
fn a_request_is_measured_as_text_too() {
    let mut session = database().session();
    let begin = |numbers: u32| {
        format!(
            "SELECT outcome FROM begin_once('limits', 'numbers', request =>
                 (SELECT jsonb_agg(1e1000) FROM generate_series(1, {numbers})))"
        )
    };
    assert_eq!(session.value(&begin(10_000)), "run");
    let failure = session.try_run(&begin(110_000)).unwrap_err();
    assert_eq!(failure.sqlstate(), "54000");
}

/// G11: a cancel ends a call of a million keys, wherever it is.
#[test]
fn a_cancel_ends_a_large_call_at_once() {
    let database = database();
    let [mut caller, mut canceller] = database.sessions();
    caller.run(
        "CREATE TABLE keys AS SELECT array_agg(n::text) AS keys FROM generate_series(1, 1000000) n",
    );
    for engine in ["direct", "statement"] {
        caller.run(&format!("SET pg_once.claim_engine = {engine}"));
        for size in [0, 0, 4, 12] {
            caller.run("TRUNCATE once.claim");
            caller.send("SELECT count(*) FROM keys, claim_many('limits', keys)");
            // While the keys are read and sorted, and while they are claimed.
            thread::sleep(Duration::from_millis(300));
            let claimed = "SELECT pg_relation_size('once.claim') / 1000000";
            while canceller.number(claimed) < size {
                thread::sleep(Duration::from_millis(5));
            }
            let cancelled = Instant::now();
            canceller.run(&format!("SELECT pg_cancel_backend({})", caller.pid()));
            caller.answered_refusal("57014");
            let took = cancelled.elapsed();
            assert!(took < SOON, "{engine}, {size} MB: {took:?}");
        }
    }
}
