//! Timeouts of the row functions: what they bound and what they leave.

use pg_once_sessions::{Cluster, Database, Rows, Session, database};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any bounded call takes, also on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// What may follow the columns of a table: whether it is partitioned, and
/// whether a unique index covers the key.
const SHAPES: [(&str, &str); 4] = [
    ("plain_unique", ", UNIQUE (service_id, line_item_id))"),
    ("plain_bare", ")"),
    (
        "partitioned_unique",
        ", UNIQUE (service_id, line_item_id)) PARTITION BY LIST (service_id)",
    ),
    ("partitioned_bare", ") PARTITION BY LIST (service_id)"),
];

/// Overdue calls are terminated inside a trigger: only their backends end,
/// though the timer may run out at any moment of that.
#[test]
fn terminating_an_overdue_call_ends_nobody_else() {
    let cluster = Cluster::start(&["log_disconnections = on"]);
    let database = cluster.database();
    let mut witness = database.session();
    witness.run(
        "CREATE TABLE slow (k int PRIMARY KEY);
         CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$;
         CREATE TRIGGER doze BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION doze()",
    );
    for _ in 0..16 {
        let mut callers: [Session; 16] = database.sessions();
        for caller in &mut callers {
            caller.send("SELECT k FROM with_row_lock(NULL::slow, '{\"k\": 11}', '{}', '0.05 s')");
        }
        thread::sleep(Duration::from_millis(200));
        witness.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        for caller in &mut callers {
            assert!(caller.answer().is_err());
        }
        assert_eq!(witness.number("SELECT count(*) FROM slow"), 0);
    }
    let log = cluster.log();
    for sign in ["terminated by signal", "panic", "PANIC"] {
        assert!(!log.contains(sign), "{log}");
    }
}

/// What fails inside a bounded call leaves the transaction where it was: what
/// is done after it is committed.
#[test]
fn an_error_leaves_no_subtransaction_open() {
    let database = database();
    let [mut holder, mut caller, mut witness] = database.sessions();
    holder.run(
        "CREATE TABLE mark (n int);
         CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TABLE bounded (k int PRIMARY KEY, checked positive, n int CHECK (n > 0));
         CREATE TABLE twice (k int);
         CREATE TABLE nothing_like_it (k int);
         CREATE VIEW looks AS SELECT * FROM bounded;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.k = 13 THEN RAISE EXCEPTION 'no' USING ERRCODE = 'PT013'; END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bounded FOR EACH ROW EXECUTE FUNCTION refuse();
         INSERT INTO twice VALUES (1), (1);
         INSERT INTO bounded VALUES (9, 1, 1)",
    );
    holder.run("BEGIN; SELECT FROM bounded WHERE k = 9 FOR UPDATE");
    let mut marks = 0;
    let mut is_committed = |caller: &mut Session, what: &str| {
        marks += 1;
        caller.run(&format!("INSERT INTO mark VALUES ({marks})"));
        assert_eq!(
            witness.number("SELECT count(*) FROM mark"),
            marks,
            "after {what}"
        );
    };
    let bounded = |key: i32, defaults: &str| {
        format!("with_row_lock(NULL::bounded, '{{\"k\": {key}}}', '{defaults}', '30 s')")
    };
    for (setting, call, sqlstate) in [
        ("", bounded(1, r#"{"checked": 0}"#), "23514"),
        ("", bounded(1, r#"{"n": "x"}"#), "22P02"),
        ("", bounded(1, r#"{"n": 0}"#), "23514"),
        ("", bounded(13, "{}"), "PT013"),
        ("lock_timeout = '30ms'", bounded(9, "{}"), "55P03"),
        ("statement_timeout = '60ms'", bounded(9, "{}"), "57014"),
        (
            "",
            "with_row_lock(NULL::twice, '{\"k\": 1}', '{}', '30 s')".to_owned(),
            "21000",
        ),
        (
            "",
            "with_row_lock(NULL::looks, '{\"k\": 1}', '{}', '30 s')".to_owned(),
            "42809",
        ),
        (
            "pg_once.payment_table = 'missing'",
            "with_payment_lock(1, 'a', '30 s')".to_owned(),
            "42P01",
        ),
        (
            "pg_once.payment_table = 'nothing_like_it'",
            "with_payment_lock(1, 'a', '30 s')".to_owned(),
            "42703",
        ),
    ] {
        if !setting.is_empty() {
            caller.run(&format!("SET {setting}"));
        }
        caller.run(&format!(
            "DO $$ BEGIN
                 PERFORM * FROM {call};
                 RAISE EXCEPTION 'no error' USING ERRCODE = 'PT999';
             EXCEPTION WHEN query_canceled OR OTHERS THEN
                 IF SQLSTATE <> '{sqlstate}' THEN RAISE; END IF;
             END $$"
        ));
        is_committed(&mut caller, &call);
        caller.refused(&format!("SELECT * FROM {call}"), sqlstate);
        is_committed(&mut caller, &call);
        caller.run("BEGIN; SAVEPOINT s");
        caller.refused(&format!("SELECT * FROM {call}"), sqlstate);
        caller.run("ROLLBACK TO s; COMMIT");
        is_committed(&mut caller, &call);
        if let Some((name, _)) = setting.split_once(' ') {
            caller.run(&format!("RESET {name}"));
        }
    }
}

/// Who drops the domain of a column waits for the call that converts values.
#[test]
fn a_domain_dropped_meanwhile_waits_for_the_call() {
    let database = database();
    let [mut dropper, mut caller, mut witness] = database.sessions();
    dropper.run(
        "CREATE FUNCTION slept(int) RETURNS boolean LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_sleep(1); RETURN true; END $$;
         CREATE DOMAIN slow AS int CHECK (slept(VALUE));
         CREATE DOMAIN passing AS int;
         CREATE TABLE kept (k int PRIMARY KEY, a_slow slow, b_passing passing)",
    );
    caller.send(
        "DO $$ BEGIN
             PERFORM * FROM with_row_lock(
                 NULL::kept, '{\"k\": 1}', '{\"a_slow\": 1, \"b_passing\": 2}', '30 s');
         EXCEPTION WHEN OTHERS THEN RAISE WARNING '%', SQLERRM;
         END $$",
    );
    sleeps(&mut witness, &caller);
    dropper.send("DROP DOMAIN passing CASCADE");
    dropper.waits_for(&caller);
    caller.answered_rows();
    dropper.answered_rows();
    caller.run("INSERT INTO kept (k) VALUES (2)");
    let keys = witness.rows("SELECT k FROM kept ORDER BY k");
    assert_eq!(keys, [[Some("1".to_owned())], [Some("2".to_owned())]]);
}

/// A trigger's own 40001 is neither swallowed nor tried again, also where its
/// message is one of the server's.
#[test]
fn a_serialization_failure_of_a_trigger_arrives_whole() {
    in_every_shape(|database, table| {
        let mut caller = database.session();
        caller.run(&format!(
            "CREATE SEQUENCE {table}_runs;
             CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM nextval('{table}_runs');
                 RAISE EXCEPTION USING ERRCODE = '40001', DETAIL = 'their detail',
                     HINT = 'their hint', MESSAGE = current_setting('test.message');
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON {table}
                 FOR EACH ROW EXECUTE FUNCTION {table}_refuse();
             SET pg_once.payment_table = '{table}'"
        ));
        let mut runs = 0;
        for message in [
            "their message",
            "could not serialize access due to concurrent update",
            "tuple to be locked was already moved to another partition due to concurrent update",
        ] {
            caller.run(&format!("SET test.message = '{message}'"));
            for level in ["READ COMMITTED", "REPEATABLE READ"] {
                for timeout in ["NULL", "'10 s'", "'0'"] {
                    for call in calls(table, "new", timeout) {
                        caller.begin_at(level);
                        let error = caller.refused(&call, "40001");
                        assert_eq!(error.message(), message, "{call}");
                        assert_eq!(error.detail(), Some("their detail"), "{call}");
                        assert_eq!(error.hint(), Some("their hint"), "{call}");
                        caller.rollback();
                        runs += 1;
                        let seen = format!("SELECT last_value FROM {table}_runs");
                        assert_eq!(caller.number(&seen), runs, "{call}");
                    }
                }
            }
        }
    });
}

/// After the deadline as well, an error that only reads like a cancelled wait
/// is the trigger's own.
#[test]
fn an_error_that_reads_like_a_timeout_is_raised() {
    in_every_shape(|database, table| {
        let mut caller = database.session();
        caller.run(&format!(
            "CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep(0.1);
                 RAISE EXCEPTION 'canceling statement due to user request'
                     USING ERRCODE = '57014', DETAIL = 'their detail';
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON {table}
                 FOR EACH ROW EXECUTE FUNCTION {table}_refuse();
             SET pg_once.payment_table = '{table}'"
        ));
        for call in calls(table, "new", "'10 ms'") {
            let error = caller.refused(&call, "57014");
            assert_eq!(error.detail(), Some("their detail"), "{call}");
        }
    });
}

/// A statement_timeout that comes together with the deadline is not lost: the
/// statement would go on without it.
#[test]
fn no_statement_outlives_its_own_timeout() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        holder.run(&format!("BEGIN; {}", take(table, "held", "NULL")));
        caller.run("SET statement_timeout = '50ms'");
        for timeout in 40..=60 {
            let call = take(table, "held", &format!("'{timeout} ms'"));
            caller.refused(
                &format!("SELECT (SELECT count(*) FROM ({call}) taken), pg_sleep(0.2)"),
                "57014",
            );
        }
    });
}

/// A call that got the turn and then not the row, which plain SQL has put
/// there meanwhile and holds, gives the turn back.
#[test]
fn a_timeout_gives_the_turn_back() {
    let bare = |(_, shape): &&(&str, &str)| !shape.contains("UNIQUE");
    for (table, shape) in SHAPES.iter().filter(bare) {
        let database = database();
        create(&mut database.session(), table, shape);
        let [mut creator, mut writer, mut caller, mut next] = database.sessions();
        creator.run(&format!("BEGIN; {}", take(table, "k", "NULL")));
        creator.run(&format!("DELETE FROM {table}"));
        assert_eq!(turns(&mut creator), 1, "{table}");
        caller.begin();
        caller.send(&take(table, "k", "'3 s'"));
        caller.waits_for(&creator);
        writer.run(&insert(table, "k"));
        writer.run(&format!("BEGIN; SELECT FROM {table} FOR UPDATE"));
        creator.commit();
        caller.waits_for(&writer);
        assert_eq!(caller.answered_rows(), no_rows(), "{table}");
        assert_eq!(turns(&mut caller), 0, "{table}");
        writer.rollback();
        assert_eq!(next.rows(&take(table, "k", "'0'")).len(), 1, "{table}");
        caller.commit();
    }
}

/// Whatever others hold, a bounded call answers soon: with the row where it
/// need not wait, else with none.
#[test]
fn every_wait_of_every_call_is_bounded() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        holder.run(&insert(table, "there"));
        caller.run(&format!(
            "SET pg_once.payment_table = '{table}'; SET statement_timeout = '20s'"
        ));
        // The first query of a session that names a row type waits for its
        // table before any function is called.
        caller.run(&take(table, "there", "NULL"));
        let other = "(service_id, line_item_id, other, partly)";
        for held in [
            Held::new(format!("LOCK TABLE {table}"), false, false, false),
            Held::new(
                format!("LOCK TABLE {table} IN EXCLUSIVE MODE"),
                true,
                false,
                false,
            ),
            Held::new(
                format!("LOCK TABLE {table} IN SHARE MODE"),
                true,
                true,
                false,
            ),
            Held::new(format!("SELECT FROM {table} FOR UPDATE"), true, false, true),
            Held::new(
                format!("SELECT FROM {table}_parent FOR UPDATE"),
                true,
                true,
                false,
            ),
            Held::new(
                format!("INSERT INTO {table} {other} VALUES (7, 'X', 7, 0)"),
                true,
                true,
                false,
            ),
            Held::new(
                format!("INSERT INTO {table} {other} VALUES (7, 'X', 6, 7)"),
                true,
                true,
                false,
            ),
        ] {
            holder.run(&format!("BEGIN; {}", held.by));
            for timeout in ["'0'", "'1 ms'", "'40 ms'"] {
                for item in ["there", "missing"] {
                    for call in calls(table, item, timeout) {
                        let is_answered = match item {
                            "missing" => held.creates,
                            _ if call.contains("lock => false") => held.finds,
                            _ => held.locks,
                        };
                        caller.begin();
                        let called = Instant::now();
                        let rows = caller.rows(&call);
                        let took = called.elapsed();
                        assert_eq!(rows.len(), usize::from(is_answered), "{}: {call}", held.by);
                        assert!(took < SOON, "{}: {call}: {took:?}", held.by);
                        if !is_answered {
                            assert_eq!(turns(&mut caller), 0, "{}: {call}", held.by);
                        }
                        caller.rollback();
                    }
                }
            }
            holder.rollback();
        }
        for call in calls(table, "missing", "'0'") {
            assert_eq!(caller.rows(&call).len(), 1, "{call}");
        }
    });
}

/// Somebody rebuilds an index, or holds a table that a policy looks at: the
/// statements wait for that before they wait for any row.
#[test]
fn a_timeout_bounds_waits_for_indexes_and_policies() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        let user = format!("clerk_{}", database.name);
        holder.run(&format!(
            "DO $$ BEGIN CREATE ROLE {user}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             CREATE TABLE {table}_tenant (id int PRIMARY KEY);
             INSERT INTO {table}_tenant VALUES (7);
             GRANT SELECT ON {table}_tenant, {table}_parent TO {user};
             GRANT SELECT, INSERT, UPDATE ON {table} TO {user};
             CREATE POLICY own ON {table}
                 USING (service_id IN (SELECT id FROM {table}_tenant));
             {}",
            insert(table, "there")
        ));
        let leaf = holder.value(&format!(
            "SELECT coalesce(min(inhrelid::regclass::text), '{table}')
             FROM pg_inherits WHERE inhparent = '{table}'::regclass"
        ));
        let index = holder.value(&format!(
            "SELECT min(indexrelid::regclass::text) FROM pg_index
             WHERE indrelid = '{leaf}'::regclass AND NOT (indkey[0] > 1 AND {})",
            table.ends_with("unique")
        ));
        caller.run(&format!("SET ROLE {user}; SET statement_timeout = '20s'"));
        for (before, held) in [
            (
                "SELECT 1".to_owned(),
                format!("ALTER INDEX {index} SET TABLESPACE pg_default"),
            ),
            ("SELECT 1".to_owned(), format!("REINDEX TABLE {leaf}")),
            (
                format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"),
                format!("LOCK TABLE {table}_tenant"),
            ),
        ] {
            holder.run(&before);
            // Once with a plan that is kept, once with one that must be made.
            for warm in [true, false] {
                if warm {
                    caller.run(&take(table, "there", "'5 s'"));
                } else {
                    caller.run("DISCARD PLANS");
                }
                holder.run(&format!("BEGIN; {held}"));
                let called = Instant::now();
                let taken = caller.rows(&take(table, "there", "'50 ms'"));
                // A kept plan does not need the indexes that it does not use.
                let is_needed =
                    !(warm && held.starts_with("ALTER INDEX") && !table.ends_with("unique"));
                assert!(taken.is_empty() || !is_needed, "{table}, {held}");
                assert!(called.elapsed() < SOON, "{table}, {held}");
                holder.rollback();
                assert_eq!(caller.rows(&take(table, "there", "'5 s'")).len(), 1);
            }
        }
    });
}

/// A trigger's own calls end with the deadline of the call that runs it.
#[test]
fn an_outer_deadline_bounds_the_calls_of_triggers() {
    in_every_shape(|database, table| {
        let [mut holder, mut caller] = database.sessions();
        holder.run(&format!(
            "CREATE FUNCTION {table}_descend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM 1 FROM with_row_lock(
                     NULL::inner_row, '{{\"k\": 1}}', timeout => '10 ms');
                 PERFORM 1 FROM with_row_lock(
                     NULL::inner_row, '{{\"k\": 1}}',
                     timeout => current_setting('test.timeout')::interval);
                 RETURN NEW; END $$;
             CREATE TRIGGER descend BEFORE INSERT ON {table}
                 FOR EACH ROW EXECUTE FUNCTION {table}_descend();
             CREATE TABLE IF NOT EXISTS inner_row (k int PRIMARY KEY)"
        ));
        holder.run("BEGIN; SELECT FROM with_row_lock(NULL::inner_row, '{\"k\": 1}')");
        caller.run("SET statement_timeout = '20s'; BEGIN");
        for inner in ["1 minute", "15 s", "100 ms"] {
            caller.run(&format!("SET test.timeout = '{inner}'"));
            let called = Instant::now();
            let rows = caller.rows(&take(table, "k", "'50 ms'"));
            let took = called.elapsed();
            assert_eq!(rows, no_rows(), "{table} {inner}");
            assert!(took < SOON, "{table} {inner}: {took:?}");
            assert_eq!(turns(&mut caller), 0, "{table} {inner}");
        }
        caller.run("SET test.timeout = '20 ms'");
        assert_eq!(caller.rows(&take(table, "k", "'15 s'")).len(), 1, "{table}");
        caller.rollback();
        holder.rollback();
    });
}

/// The same for whatever else a trigger waits in.
#[test]
fn an_outer_deadline_bounds_every_wait_of_triggers() {
    for inner in [
        "(SELECT FROM inner_row FOR UPDATE) AS locked",
        "with_row_lock(NULL::inner_row, '{\"k\": 1}')",
        "with_row_lock(NULL::inner_row, '{\"k\": 1}', timeout => '1 min')",
        "find_or_create(NULL::inner_row, '{\"k\": 1}', lock => true)",
        "claim_once('ns', 'k')",
        "claim_once_per('1 day', 'ns', 'k2')",
    ] {
        bounds(inner, "RAISE");
    }
}

/// A trigger that goes on after its wait was cancelled does not wait again.
#[test]
fn a_deadline_bounds_a_trigger_that_catches_the_cancel() {
    let wait = "(SELECT FROM inner_row FOR UPDATE) AS locked";
    bounds(wait, &format!("PERFORM 1 FROM {wait}"));
}

/// A bounded call whose trigger waits in `inner`, and does `then` when that is
/// cancelled, answers soon.
fn bounds(inner: &str, then: &str) {
    let database = database();
    let [mut holder, mut caller] = database.sessions();
    holder.run(&format!(
        "CREATE TABLE outer_row (k int PRIMARY KEY);
         CREATE TABLE inner_row (k int);
         INSERT INTO inner_row VALUES (1);
         CREATE FUNCTION descend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM 1 FROM {inner};
             RETURN NEW;
         EXCEPTION WHEN query_canceled THEN
             {then};
             RETURN NEW; END $$;
         CREATE TRIGGER descend BEFORE INSERT ON outer_row
             FOR EACH ROW EXECUTE FUNCTION descend()"
    ));
    holder.run(
        "BEGIN; SELECT FROM inner_row FOR UPDATE;
         SELECT claim_once('ns', 'k'), claim_once_per('1 day', 'ns', 'k2')",
    );
    caller.run("SET statement_timeout = '10s'");
    let called = Instant::now();
    let take = "SELECT k FROM with_row_lock(NULL::outer_row, '{\"k\": 1}', timeout => '50 ms')";
    let answer = caller.try_run(take);
    assert!(
        matches!(&answer, Ok(rows) if rows.is_empty()),
        "{inner}, {then}: {answer:?}"
    );
    assert!(called.elapsed() < SOON, "{inner}, {then}");
    holder.rollback();
    assert_eq!(caller.rows(take).len(), 1, "{inner}, {then}");
}

/// A cancel request that comes while a warning is on its way to the client.
#[test]
fn a_session_cancelled_amid_warnings_stays_usable() {
    let database = database();
    let [mut caller, mut witness] = database.sessions();
    caller.run(
        "CREATE TABLE twice (id int PRIMARY KEY, k int);
         INSERT INTO twice VALUES (1, 1), (2, 1);
         CREATE TABLE mark (n int);
         SET pg_once.duplicate_rows = 'first'",
    );
    for round in 1..=60 {
        caller.run(&format!("SET statement_timeout = '{}ms'", 5 + round % 15));
        let timeout = if round % 2 == 0 { "NULL" } else { "'30 s'" };
        let error = caller.refused(
            &format!(
                "DO $$ BEGIN LOOP
                     PERFORM 1 FROM with_row_lock(
                         NULL::twice, '{{\"k\": 1}}', timeout => {timeout});
                 END LOOP; END $$"
            ),
            "57014",
        );
        assert_eq!(
            error.message(),
            "canceling statement due to statement timeout"
        );
        caller.run("RESET statement_timeout");
        caller.run(&format!("INSERT INTO mark VALUES ({round})"));
        assert_eq!(witness.number("SELECT count(*) FROM mark"), round);
    }
}

/// What somebody holds, and whether under it a row can be found, locked and
/// created without waiting.
struct Held {
    by: String,
    finds: bool,
    locks: bool,
    creates: bool,
}

impl Held {
    fn new(by: String, finds: bool, locks: bool, creates: bool) -> Held {
        Held {
            by,
            finds,
            locks,
            creates,
        }
    }
}

fn in_every_shape(test: impl Fn(&Database, &str)) {
    let database = database();
    for (table, shape) in SHAPES {
        create(&mut database.session(), table, shape);
        test(&database, table);
    }
}

/// A table with a parent, another unique column and a partly unique one.
fn create(session: &mut Session, table: &str, shape: &str) {
    let is_partitioned = shape.contains("PARTITION");
    let leaf = if is_partitioned {
        format!("{table}_0")
    } else {
        table.to_owned()
    };
    session.run(&format!(
        "CREATE TABLE {table}_parent (id int PRIMARY KEY);
         INSERT INTO {table}_parent VALUES (1);
         CREATE TABLE {table} (
             service_id int NOT NULL, line_item_id text NOT NULL,
             parent int NOT NULL DEFAULT 1 REFERENCES {table}_parent,
             other int DEFAULT 7, partly int DEFAULT 7{shape}"
    ));
    if is_partitioned {
        session.run(&format!("CREATE TABLE {leaf} PARTITION OF {table} DEFAULT"));
    }
    session.run(&format!(
        "CREATE UNIQUE INDEX ON {leaf} (other);
         CREATE UNIQUE INDEX ON {leaf} (partly) WHERE partly > 0"
    ));
}

/// A plain row that shares no unique value with the rows that calls create.
fn insert(table: &str, item: &str) -> String {
    format!(
        "INSERT INTO {table} (service_id, line_item_id, other, partly)
         VALUES (7, '{item}', NULL, NULL)"
    )
}

fn take(table: &str, item: &str, timeout: &str) -> String {
    format!(
        "SELECT line_item_id FROM with_row_lock(
             NULL::{table}, '{{\"service_id\": 7, \"line_item_id\": \"{item}\"}}',
             timeout => {timeout})"
    )
}

/// Every call that has a timeout, for one row. The table of payments is to be
/// this one.
fn calls(table: &str, item: &str, timeout: &str) -> Vec<String> {
    let key = format!("{{\"service_id\": 7, \"line_item_id\": \"{item}\"}}");
    let mut calls = vec![
        take(table, item, timeout),
        format!("SELECT payment FROM with_payment_lock(7, '{item}', timeout => {timeout})"),
    ];
    calls.extend(["false", "true"].map(|lock| {
        format!(
            "SELECT created FROM find_or_create(
                 NULL::{table}, '{key}', lock => {lock}, timeout => {timeout})"
        )
    }));
    calls
}

/// How many turns of rows the session holds.
fn turns(session: &mut Session) -> i64 {
    session.number(
        "SELECT count(*) FROM pg_locks
         WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = 20601",
    )
}

/// Waits until the session is asleep in the server.
fn sleeps(witness: &mut Session, session: &Session) {
    let started = Instant::now();
    while !witness.is_true(&format!(
        "SELECT wait_event IS NOT DISTINCT FROM 'PgSleep' FROM pg_stat_activity WHERE pid = {}",
        session.pid()
    )) {
        assert!(started.elapsed() < SOON, "does not sleep");
        thread::sleep(Duration::from_millis(2));
    }
}

fn no_rows() -> Rows {
    Rows::new()
}
