//! `ON CONFLICT DO SELECT` of PostgreSQL 19 beside the row functions: what docs/do-select.md says of both, and that
//! they go together. On earlier versions there is no such statement.

use pg_once_sessions::{Database, Session, database};
use std::fs;
use std::path::Path;

const TABLE: &str = "
    CREATE TABLE account (
        id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner   text NOT NULL UNIQUE,
        balance numeric NOT NULL DEFAULT 0
    );
    CREATE FUNCTION wal(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE plan jsonb;
    BEGIN
        EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT JSON) ' || statement INTO plan;
        RETURN coalesce((plan -> 0 -> 'Plan' ->> 'WAL Bytes')::bigint, 0);
    END $$;
    CREATE PROCEDURE hits(statement text, times int) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..times LOOP EXECUTE statement; COMMIT; END LOOP;
    END $$;
    INSERT INTO account (owner) VALUES ('Ada');";

const DO_SELECT: &str = "INSERT INTO account (owner) VALUES ('Ada') \
     ON CONFLICT (owner) DO SELECT FOR NO KEY UPDATE RETURNING *";
const DO_SELECT_UNLOCKED: &str =
    "INSERT INTO account (owner) VALUES ('Ada') ON CONFLICT (owner) DO SELECT RETURNING *";
const ROW_LOCK: &str = "SELECT * FROM with_row_lock(NULL::account, '{\"owner\": \"Ada\"}')";
const FIND: &str = "SELECT (entity).* FROM find_or_create(NULL::account, '{\"owner\": \"Ada\"}')";

/// A session in a database with the table; none where the server is too old, which it must say.
fn sessions<const N: usize>(database: &Database) -> Option<[Session; N]> {
    let mut sessions = database.sessions();
    let first: &mut Session = &mut sessions[0];
    first.run(TABLE);
    if first.number("SELECT current_setting('server_version_num')::int / 10000") < 19 {
        first.refused(DO_SELECT, "42601");
        return None;
    }
    Some(sessions)
}

/// How many values of the sequence a call takes that finds the row, whether it gets a transaction id, and how many
/// bytes it writes to the WAL.
fn hit(session: &mut Session, statement: &str) -> [String; 3] {
    // Pages that are dirty since the last checkpoint are not written whole again.
    for _ in 0..3 {
        session.run(statement);
    }
    let before = session.number("SELECT last_value FROM account_id_seq");
    session.run(&format!("CALL hits({}, 100)", quoted(statement)));
    let values = session.number("SELECT last_value FROM account_id_seq") - before;
    session.begin();
    session.run(statement);
    let has_id = session.is_true("SELECT pg_current_xact_id_if_assigned() IS NOT NULL");
    session.rollback();
    // Each in a transaction of its own. The least: the sequence is logged once in 32 values.
    let wal = format!("SELECT wal({})", quoted(statement));
    let bytes = (0..10).map(|_| session.number(&wal)).min().unwrap();
    [
        format!("{}", values as f64 / 100.0),
        if has_id { "1" } else { "0" }.to_owned(),
        bytes.to_string(),
    ]
}

fn quoted(statement: &str) -> String {
    format!("'{}'", statement.replace('\'', "''"))
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/do-select.md");
    fs::read_to_string(page).unwrap()
}

/// The figures of the page, which are counts.
#[test]
fn what_a_hit_costs() {
    let database = database();
    let Some([mut session]) = sessions(&database) else {
        return;
    };
    let mut lines = Vec::new();
    for (name, statement) in [
        ("`DO SELECT FOR NO KEY UPDATE`", DO_SELECT),
        ("`with_row_lock`", ROW_LOCK),
        ("`DO SELECT`", DO_SELECT_UNLOCKED),
        ("`find_or_create`", FIND),
    ] {
        let [values, ids, bytes] = hit(&mut session, statement);
        lines.push(format!("| {name} | 1 | {values} | {ids} | {bytes} |"));
    }
    let lines = lines.join("\n");
    assert!(
        page().contains(&lines),
        "docs/do-select.md does not say:\n{lines}"
    );
    assert_eq!(session.number("SELECT count(*) FROM account"), 1);
}

/// Each waits for the other, and gets the row when the other is done.
#[test]
fn they_wait_for_each_other() {
    let database = database();
    let Some([mut one, mut other]) = sessions(&database) else {
        return;
    };
    for (holds, waits) in [(DO_SELECT, ROW_LOCK), (ROW_LOCK, DO_SELECT)] {
        for key in ["Ada", "new"] {
            let of = |statement: &str| statement.replace("Ada", &format!("{key} {}", holds.len()));
            one.begin();
            assert_eq!(one.rows(&of(holds)).len(), 1);
            one.run("UPDATE account SET balance = balance + 1");
            other.begin();
            other.send(&of(waits));
            other.waits_for(&one);
            one.commit();
            assert_eq!(other.answered_rows().len(), 1);
            other.commit();
        }
    }
    one.run(
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    assert_eq!(
        one.number("SELECT count(*) - count(DISTINCT owner) FROM account"),
        0
    );
}

/// An error that ends the transaction, against an answer.
#[test]
fn a_timeout_is_an_error_of_the_statement_and_an_answer_of_the_function() {
    let database = database();
    let Some([mut holder, mut waiter]) = sessions(&database) else {
        return;
    };
    holder.begin();
    holder.run(ROW_LOCK);
    waiter.begin();
    waiter.run("SET LOCAL lock_timeout = '100 ms'");
    waiter.refused(DO_SELECT, "55P03");
    waiter.refused("SELECT 1", "25P02");
    waiter.rollback();
    waiter.begin();
    let bounded = ROW_LOCK.replace("}')", "}', timeout => '100 ms')");
    assert!(waiter.rows(&bounded).is_empty());
    assert!(waiter.rows(&bounded.replace("100 ms", "0")).is_empty());
    assert_eq!(waiter.number("SELECT 1"), 1);
    waiter.rollback();
    let skipped = DO_SELECT.replace("RETURNING", "SKIP LOCKED RETURNING");
    waiter.refused(&skipped, "42601");
}

/// BEFORE INSERT triggers fire though nothing is inserted, and a column without a value is refused though the row is
/// there.
#[test]
fn the_statement_makes_the_row_that_it_does_not_insert() {
    let database = database();
    let Some([mut session]) = sessions(&database) else {
        return;
    };
    session.run(
        "CREATE TABLE fired (n int);
         CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO fired VALUES (1); RETURN new; END $$;
         CREATE TRIGGER fire BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION fire();",
    );
    session.run(ROW_LOCK);
    session.run(FIND);
    assert_eq!(session.number("SELECT count(*) FROM fired"), 0);
    session.run(DO_SELECT);
    assert_eq!(session.number("SELECT count(*) FROM fired"), 1);
    session.run(
        "DROP TRIGGER fire ON account;
         ALTER TABLE account ADD created_at timestamptz NOT NULL DEFAULT now();
         ALTER TABLE account ALTER created_at DROP DEFAULT",
    );
    assert_eq!(session.rows(ROW_LOCK).len(), 1);
    assert_eq!(session.rows(FIND).len(), 1);
    session.refused(DO_SELECT, "23502");
}

/// The statement needs a unique index on exactly the key.
#[test]
fn without_a_unique_index_there_is_the_function_only() {
    let database = database();
    let Some([mut session]) = sessions(&database) else {
        return;
    };
    session.run("ALTER TABLE account DROP CONSTRAINT account_owner_key");
    session.refused(DO_SELECT, "42P10");
    assert_eq!(session.rows(ROW_LOCK).len(), 1);
    let new = ROW_LOCK.replace("Ada", "Eve");
    assert_eq!(session.rows(&new).len(), 1);
    assert_eq!(session.number("SELECT count(*) FROM account"), 2);
}

/// A row that is newer than the snapshot of a transaction at REPEATABLE READ is no answer for either.
#[test]
fn a_newer_row_is_a_serialization_failure_of_both() {
    let database = database();
    let Some([mut reader, mut writer]) = sessions(&database) else {
        return;
    };
    for (place, statement) in [DO_SELECT, ROW_LOCK].into_iter().enumerate() {
        let name = format!("new {place}");
        reader.begin_at("REPEATABLE READ");
        reader.number("SELECT count(*) FROM account");
        writer.run(&format!("INSERT INTO account (owner) VALUES ('{name}')"));
        reader.refused(&statement.replace("Ada", &name), "40001");
        reader.rollback();
    }
}
