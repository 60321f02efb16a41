//! A session that has just created a row looks for the next one on a leaf of the unique index: what is
//! there is never taken for new, which an INSERT in vain would show by the value of the sequence that
//! it uses up.

use pg_once_sessions::{Session, database};

/// What an index on the key looks like, and the key of a row.
const INDEXES: [(&str, &str); 6] = [
    ("(key)", r#"{"key": "%"}"#),
    ("(key DESC)", r#"{"key": "%"}"#),
    ("(part, key) INCLUDE (n)", r#"{"key": "%", "part": 7}"#),
    (
        "(key, part DESC NULLS LAST) NULLS NOT DISTINCT",
        r#"{"key": "%", "part": null}"#,
    ),
    (
        "(part NULLS FIRST, key DESC) NULLS NOT DISTINCT",
        r#"{"key": "%", "part": null}"#,
    ),
    (
        "(key) WHERE part = 7 AND part IS NOT NULL",
        r#"{"key": "%", "part": 7}"#,
    ),
];

/// Longer keys have fewer entries on a leaf: these rows have about a hundred leaves.
const PADDING: &str = "repeat('x', 200)";
const ROWS: i64 = 3_000;

fn table(session: &mut Session, index: &str) {
    session.run(&format!(
        "DROP TABLE IF EXISTS t;
         CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, key text COLLATE \"C\" NOT NULL, part int,
                         n int NOT NULL DEFAULT 0);
         CREATE UNIQUE INDEX ON t {index}"
    ));
}

fn values_used(session: &mut Session) -> i64 {
    session
        .number("SELECT coalesce(last_value, 0) FROM pg_sequences WHERE sequencename = 't_id_seq'")
}

#[test]
fn a_row_that_is_there_is_found_after_a_new_one() {
    let database = database();
    let mut session = database.session();
    for (index, key) in INDEXES {
        table(&mut session, index);
        let part = if key.contains("null") { "NULL" } else { "7" };
        session.run(&format!(
            "INSERT INTO t (key, part) SELECT md5(i::text) || {PADDING}, {part}
             FROM generate_series(1, {ROWS}) i ORDER BY md5(i::text)"
        ));
        for lock in [true, false] {
            let used = values_used(&mut session);
            let made = format!("'{}'", key.replace('%', "' || made.key || '"));
            let found = format!("'{}'", key.replace('%', "' || found.key || '"));
            let wrong = session.number(&format!(
                "SELECT count(*) FROM (
                     SELECT i, md5(i::text || '{lock}') || {PADDING} FROM generate_series(1, {ROWS}) i
                 ) made (i, key)
                 JOIN LATERAL (SELECT md5(made.i::text) || {PADDING}) found (key) ON true,
                 find_or_create(NULL::t, ({made})::jsonb, lock => {lock}) first,
                 find_or_create(NULL::t, ({found})::jsonb, lock => {lock}) second
                 WHERE NOT first.created OR second.created"
            ));
            assert_eq!(wrong, 0, "{index}, {lock}");
            assert_eq!(values_used(&mut session), used + ROWS, "{index}, {lock}");
        }
        assert_eq!(
            session.number("SELECT count(*) FROM t"),
            3 * ROWS,
            "{index}"
        );
    }
}

/// Versions of one row fill leaves of several inner pages, and are removed. A leaf that is the last one below an inner
/// page stays, though it is empty: where the key belongs there is nothing, and its entry is on another leaf.
#[test]
fn an_entry_behind_the_leaf_is_found() {
    const VERSIONS: usize = 3_000;
    let database = database();
    let [mut session, mut reader] = database.sessions();
    table(&mut session, "(key) WITH (deduplicate_items = off)");
    session.run(&format!(
        "CREATE INDEX ON t (n);
         INSERT INTO t (key) SELECT chr(96 + i) || {PADDING} FROM generate_series(1, 26) i"
    ));
    reader.begin_at("REPEATABLE READ");
    reader.run("SELECT FROM t");
    for version in 0..VERSIONS {
        session.run(&format!("UPDATE t SET n = {version} WHERE key LIKE 'm%'"));
    }
    reader.commit();
    session.run("VACUUM t");
    let used = values_used(&mut session);
    session.run("SELECT with_row_lock(NULL::t, '{\"key\": \"new\"}')");
    let version = session.number(&format!(
        "SELECT n FROM with_row_lock(NULL::t, jsonb_build_object('key', 'm' || {PADDING}))"
    ));
    assert_eq!(version, VERSIONS as i64 - 1);
    assert_eq!(values_used(&mut session), used + 1);
}

/// The locks of an INSERT, which the look takes, are not waited for.
#[test]
fn a_table_that_is_locked_against_inserts_is_no_reason_to_wait() {
    let database = database();
    let [mut caller, mut other] = database.sessions();
    table(&mut caller, "(key)");
    let call =
        |key: &str| format!("SELECT key FROM with_row_lock(NULL::t, '{{\"key\": \"{key}\"}}')");
    caller.run(&call("there"));
    caller.run(&call("new"));
    other.begin();
    other.run("LOCK TABLE t IN SHARE MODE");
    caller.run("SET statement_timeout = '5 s'");
    assert_eq!(caller.value(&call("there")), "there");
}

/// Who holds the index has the table's lock too: a REINDEX has neither of them, and stands in no circle.
#[test]
fn a_reindex_waits_for_whoever_has_created_a_row() {
    let database = database();
    let [mut caller, mut other] = database.sessions();
    table(&mut caller, "(key)");
    let call =
        |key: &str| format!("SELECT key FROM with_row_lock(NULL::t, '{{\"key\": \"{key}\"}}')");
    caller.run(&call("a"));
    caller.begin();
    caller.run(&call("a"));
    other.send("REINDEX INDEX t_key_idx");
    other.waits_for(&caller);
    for key in ["b", "c"] {
        caller.run(&call(key));
    }
    caller.commit();
    other.answer().unwrap();
    assert_eq!(caller.number("SELECT count(*) FROM t"), 3);
}
