//! Designs of the user's table, and changes that it goes through.

use pg_once_sessions::{Failure, Rows, Session, database};
use postgres::error::{DbError, ErrorPosition};
use std::thread;
use std::time::{Duration, Instant};

/// Every way to wait: without end, and bounded by more than a test lasts.
const TIMEOUTS: [&str; 2] = ["NULL", "'1 minute'"];

/// With 'first' all callers take turns at the same one of several rows.
#[test]
fn the_first_of_several_rows_is_the_same_for_all() {
    for (table, shape) in [("plain", ""), ("partitioned", "PARTITION BY RANGE (id)")] {
        let database = database();
        let mut owner = database.session();
        owner.run(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, key text, n int DEFAULT 0) {shape}"
        ));
        if !shape.is_empty() {
            owner.run(&format!(
                "CREATE TABLE {table}_high PARTITION OF {table} FOR VALUES FROM (2) TO (9);
                 CREATE TABLE {table}_low PARTITION OF {table} FOR VALUES FROM (0) TO (2)"
            ));
        }
        owner.run(&format!(
            "INSERT INTO {table} VALUES (3, 'k'), (2, 'k'), (1, 'k')"
        ));
        for (earlier, later) in [
            ("NULL", "NULL"),
            ("NULL", "'1 minute'"),
            ("'1 minute'", "NULL"),
        ] {
            let take = |timeout| {
                format!(
                    "SELECT id FROM with_row_lock(
                         NULL::{table}, '{{\"key\": \"k\"}}', timeout => {timeout})"
                )
            };
            let [mut first, mut second] = database.sessions();
            for session in [&mut first, &mut second] {
                session.run("SET pg_once.duplicate_rows = 'first'; BEGIN");
            }
            assert_eq!(first.number(&take(earlier)), 1, "{table}");
            assert_eq!(second.rows(&take("'0'")), no_rows(), "{table}");
            second.send(&take(later));
            second.waits_for(&first);
            first.run(&format!("UPDATE {table} SET n = n + 1 WHERE id = 1"));
            first.commit();
            assert_eq!(second.answered_value(), "1", "{table} {earlier} {later}");
            second.commit();
        }
    }
}

/// Row security that shows a row and keeps it from being locked, without an
/// index that would keep a second one out.
#[test]
fn a_row_that_may_be_seen_and_not_updated_is_not_created_again() {
    let database = database();
    let role = format!("reader_{}", database.name);
    let mut owner = database.session();
    owner.run(&format!(
        "CREATE ROLE {role} LOGIN;
         CREATE TABLE payments (service_id int, line_item_id text);
         INSERT INTO payments VALUES (7, 'A');
         ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON payments FOR SELECT USING (true);
         CREATE POLICY new ON payments FOR INSERT WITH CHECK (true);
         GRANT ALL ON payments TO {role}"
    ));
    let mut caller = database.session_as(&role);
    let key = r#"{"service_id": 7, "line_item_id": "A"}"#;
    for timeout in ["NULL", "'0'", "'1 minute'"] {
        for call in [
            format!("with_row_lock(NULL::payments, '{key}', timeout => {timeout})"),
            format!("find_or_create(NULL::payments, '{key}', lock => true, timeout => {timeout})"),
            format!("with_payment_lock(7, 'A', timeout => {timeout})"),
        ] {
            caller.refused(&format!("SELECT * FROM {call}"), "42501");
        }
    }
    assert_eq!(owner.number("SELECT count(*) FROM payments"), 1);
}

/// The table of payments is replaced while a call waits for it.
#[test]
fn a_payment_goes_to_the_table_that_has_the_name_now() {
    for replacement in [
        "ALTER TABLE payments RENAME TO former;
         CREATE TABLE payments (LIKE former INCLUDING ALL)",
        "DROP TABLE payments;
         CREATE TABLE payments (service_id bigint, line_item_id varchar);
         CREATE TABLE former ()",
        "ALTER TABLE payments RENAME TO former;
         ALTER TABLE prepared RENAME TO payments",
    ] {
        for timeout in TIMEOUTS {
            let database = database();
            let [mut owner, mut caller] = database.sessions();
            owner.run(
                "CREATE TABLE payments (service_id int, line_item_id text);
                 CREATE TABLE prepared (line_item_id text, service_id int)",
            );
            owner.begin();
            owner.run(replacement);
            caller.send(&format!(
                "SELECT created FROM with_payment_lock(7, 'A', timeout => {timeout})"
            ));
            caller.waits_for(&owner);
            owner.commit();
            assert!(caller.answered_true(), "{replacement}");
            let counts = "SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM former)";
            assert_eq!(
                owner.rows(counts),
                [["1", "0"].map(|count| Some(count.to_owned()))],
                "{replacement}"
            );
        }
    }
}

/// Plain SQL creates exactly the row, kept unique by an index that does not
/// cover the key: it is found, and no unique violation is raised.
#[test]
fn a_row_that_another_index_keeps_unique_is_found() {
    for (number, (after_columns, index)) in [
        ("", "CREATE UNIQUE INDEX ON {t} (key, n)"),
        ("", "CREATE UNIQUE INDEX ON {t} (n)"),
        ("", "CREATE UNIQUE INDEX ON {t} (key) WHERE n = 0"),
        ("", "CREATE UNIQUE INDEX ON {t} (lower(key))"),
        (
            "",
            "ALTER TABLE {t} ADD m int, ADD UNIQUE (m) DEFERRABLE;
             CREATE UNIQUE INDEX ON {t} (key) WHERE n = 0",
        ),
        (
            "PARTITION BY LIST (n)",
            "CREATE UNIQUE INDEX ON {t}_0 (key)",
        ),
        (
            "PARTITION BY LIST (n)",
            "CREATE UNIQUE INDEX ON {t} (key, n)",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let database = database();
        let [mut writer, mut caller] = database.sessions();
        let table = format!("design_{number}");
        writer.run(&format!(
            "CREATE TABLE {table} (key text, n int DEFAULT 0) {after_columns}"
        ));
        if !after_columns.is_empty() {
            writer.run(&format!(
                "CREATE TABLE {table}_0 PARTITION OF {table} DEFAULT"
            ));
        }
        writer.run(&index.replace("{t}", &table));
        for timeout in TIMEOUTS {
            for call in [
                format!(
                    "SELECT key FROM with_row_lock(
                         NULL::{table}, '{{\"key\": \"k\"}}', timeout => {timeout})"
                ),
                format!(
                    "SELECT (entity).key FROM find_or_create(
                         NULL::{table}, '{{\"key\": \"k\"}}', timeout => {timeout})"
                ),
            ] {
                writer.begin();
                writer.run(&format!("INSERT INTO {table} VALUES ('k')"));
                caller.send(&call);
                caller.waits_for(&writer);
                writer.commit();
                assert_eq!(caller.answered_value(), "k", "{index}: {call}");
                assert_eq!(count(&mut writer, &table), 1, "{index}: {call}");
                writer.run(&format!("DELETE FROM {table}"));
            }
        }
    }
}

/// A partition's row that is locked is counted with the others: whoever has it locked may be removing it, so
/// the call waits for that transaction, as long as its timeout allows.
#[test]
fn several_rows_of_a_partitioned_table_are_noticed_when_one_is_locked() {
    let database = database();
    let [mut holder, mut caller] = database.sessions();
    holder.run(
        "CREATE TABLE spread (k int, region text) PARTITION BY LIST (region);
         CREATE TABLE spread_n PARTITION OF spread FOR VALUES IN ('n');
         CREATE TABLE spread_s PARTITION OF spread FOR VALUES IN ('s');
         INSERT INTO spread VALUES (5, 's')",
    );
    for (end, several) in [("ROLLBACK", true), ("COMMIT", false)] {
        for timeout in ["NULL", "'1 minute'"] {
            holder.run("DELETE FROM spread_n; INSERT INTO spread VALUES (5, 'n')");
            holder.run("BEGIN; SELECT FROM spread_n FOR UPDATE; DELETE FROM spread_n");
            caller.send(&format!(
                "SELECT region FROM with_row_lock(NULL::spread, '{{\"k\": 5}}', timeout => {timeout})"
            ));
            caller.waits_for(&holder);
            holder.run(end);
            match several {
                true => drop(caller.answered_refusal("21000")),
                false => assert_eq!(caller.answered_value(), "s"),
            }
        }
    }
}

/// ON CONFLICT without a target refuses tables with such constraints.
#[test]
fn deferrable_constraints_beside_the_key_are_no_obstacle() {
    for (number, (key, constraint, after_columns)) in [
        ("UNIQUE", "UNIQUE (n) DEFERRABLE", ""),
        ("UNIQUE", "UNIQUE (n) DEFERRABLE INITIALLY DEFERRED", ""),
        ("", "UNIQUE (n) DEFERRABLE", ""),
        ("", "UNIQUE (key) DEFERRABLE", ""),
        ("UNIQUE", "EXCLUDE (n WITH =) DEFERRABLE", ""),
        ("", "EXCLUDE (n WITH =) DEFERRABLE INITIALLY DEFERRED", ""),
        (
            "UNIQUE",
            "UNIQUE (key, n) DEFERRABLE",
            "PARTITION BY HASH (key)",
        ),
        ("", "UNIQUE (key, n) DEFERRABLE", "PARTITION BY HASH (key)"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = database();
        let [mut first, mut second] = database.sessions();
        let table = format!("design_{number}");
        first.run(&format!(
            "CREATE TABLE {table} (key text {key}, n int, {constraint}) {after_columns}"
        ));
        if !after_columns.is_empty() {
            first.run(&format!(
                "CREATE TABLE {table}_0 PARTITION OF {table}
                     FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
            ));
        }
        for (n, timeout) in TIMEOUTS.into_iter().enumerate() {
            let create = format!(
                "SELECT created FROM find_or_create(
                     NULL::{table}, '{{\"key\": \"{n}\"}}', '{{\"n\": {n}}}', true, {timeout})"
            );
            first.begin();
            assert!(first.is_true(&create), "{key} {constraint}");
            second.send(&create);
            second.waits_for(&first);
            first.commit();
            assert!(!second.answered_true(), "{key} {constraint}");
            assert_eq!(
                count(&mut first, &table),
                n as i64 + 1,
                "{key} {constraint}"
            );
        }
    }
}

/// Equality of domains is that of the types below them.
#[test]
fn domains_are_key_columns() {
    for index in ["", "CREATE UNIQUE INDEX ON {t} (key)"] {
        let database = database();
        let [mut first, mut second] = database.sessions();
        first.run(CASELESS);
        first.run(
            "CREATE TYPE mood AS ENUM ('calm', 'tense');
             CREATE DOMAIN felt AS mood CHECK (VALUE IS NOT NULL);
             CREATE DOMAIN deeply_felt AS felt;
             CREATE DOMAIN amount AS numeric(10, 2) CHECK (VALUE > 0);
             CREATE DOMAIN price AS amount CHECK (VALUE < 100);
             CREATE DOMAIN word AS caseless CHECK (length(VALUE::text) < 9);
             CREATE DOMAIN short_word AS word CHECK (length(VALUE::text) < 6)",
        );
        for (kind, one, other) in [
            ("felt", r#""tense""#, r#""tense""#),
            ("deeply_felt", r#""calm""#, r#""calm""#),
            ("price", "1.5", "1.500"),
            ("caseless", r#""Word""#, r#""wORD""#),
            ("word", r#""Word""#, r#""wORD""#),
            ("short_word", r#""Word""#, r#""wORD""#),
        ] {
            let table = format!("of_{kind}");
            first.run(&format!("CREATE TABLE {table} (key {kind})"));
            first.run(&index.replace("{t}", &table));
            let create = |key: &str| {
                format!(
                    "SELECT created FROM find_or_create(
                         NULL::{table}, '{{\"key\": {key}}}', lock => true)"
                )
            };
            first.begin();
            assert!(first.is_true(&create(one)), "{kind}");
            second.send(&create(other));
            second.waits_for(&first);
            first.commit();
            assert!(!second.answered_true(), "{kind} {index}");
            assert_eq!(count(&mut first, &table), 1, "{kind} {index}");
        }
    }
}

/// Triggers that only a partition has count as well.
#[test]
fn triggers_of_a_partition_change_what_is_returned() {
    for key in ["key text PRIMARY KEY", "key text"] {
        for timeout in TIMEOUTS {
            let database = database();
            let mut session = database.session();
            session.run(&format!(
                "CREATE TABLE whole ({key}, n int DEFAULT 0) PARTITION BY LIST (key);
                 CREATE TABLE kept PARTITION OF whole FOR VALUES IN ('kept');
                 CREATE TABLE dropped PARTITION OF whole FOR VALUES IN ('dropped');
                 CREATE FUNCTION raise_n() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN UPDATE kept SET n = n + 41; RETURN NULL; END $$;
                 CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN DELETE FROM dropped; RETURN NULL; END $$;
                 CREATE TRIGGER raise_n AFTER INSERT ON kept
                     FOR EACH ROW EXECUTE FUNCTION raise_n();
                 CREATE TRIGGER remove AFTER INSERT ON dropped
                     FOR EACH ROW EXECUTE FUNCTION remove()"
            ));
            for target in ["whole", "kept"] {
                let take = format!(
                    "SELECT n FROM with_row_lock(
                         NULL::{target}, '{{\"key\": \"kept\"}}', '{{\"n\": 1}}', {timeout})"
                );
                assert_eq!(session.number(&take), 42, "{key} {target}");
                assert_eq!(session.number("SELECT n FROM kept"), 42, "{key} {target}");
                session.run("DELETE FROM kept");
            }
            for target in ["whole", "dropped"] {
                session.refused(
                    &format!(
                        "SELECT n FROM with_row_lock(
                             NULL::{target}, '{{\"key\": \"dropped\"}}', timeout => {timeout})"
                    ),
                    "55000",
                );
                assert_eq!(count(&mut session, "whole"), 0, "{key} {target}");
            }
        }
    }
}

/// The row leaves the partition that is named, or comes into another one of
/// the table that is named, while it is waited for.
#[test]
fn a_row_that_moves_to_another_partition_is_no_error() {
    for index in [
        "",
        "CREATE UNIQUE INDEX ON here (key); CREATE UNIQUE INDEX ON there (key)",
    ] {
        for timeout in TIMEOUTS {
            let database = database();
            let [mut mover, mut caller] = database.sessions();
            mover.run(
                "CREATE TABLE whole (key text, place text) PARTITION BY LIST (place);
                 CREATE TABLE here PARTITION OF whole FOR VALUES IN ('here');
                 CREATE TABLE there PARTITION OF whole FOR VALUES IN ('there')",
            );
            mover.run(index);
            for (target, key, place, rows) in [("here", "a", "here", 2), ("whole", "b", "there", 1)]
            {
                mover.run(&format!("INSERT INTO whole VALUES ('{key}', 'here')"));
                mover.begin();
                mover.run(&format!(
                    "UPDATE whole SET place = 'there' WHERE key = '{key}'"
                ));
                caller.send(&format!(
                    "SELECT place FROM with_row_lock(
                         NULL::{target}, '{{\"key\": \"{key}\"}}', '{{\"place\": \"here\"}}',
                         {timeout})"
                ));
                caller.waits_for(&mover);
                mover.commit();
                assert_eq!(caller.answered_value(), place, "{target} {timeout}");
                assert_eq!(
                    mover.number(&format!("SELECT count(*) FROM whole WHERE key = '{key}'")),
                    rows,
                    "{target} {timeout}"
                );
            }
        }
    }
}

/// JSON as deep as jsonb takes it, not as deep as a parser's default.
#[test]
fn deeply_nested_json_is_stored() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE document (key jsonb, body jsonb, raw json);
         CREATE FUNCTION nested(open text, shut text) RETURNS text LANGUAGE sql
             RETURN repeat(open, 200) || '1' || repeat(shut, 200)",
    );
    for (open, shut) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = format!("nested('{open}', '{shut}')");
        for created in [true, false] {
            let rows = session.rows(&format!(
                "SELECT created, (entity).key = {nested}::jsonb, (entity).body = {nested}::jsonb,
                     (entity).raw::jsonb = {nested}::jsonb
                 FROM find_or_create(NULL::document, jsonb_build_object('key', {nested}::jsonb),
                     jsonb_build_object('body', {nested}::jsonb, 'raw', {nested}::jsonb))"
            ));
            let answer = if created { "t" } else { "f" };
            let expected = [answer, "t", "t", "t"].map(|truth| Some(truth.to_owned()));
            assert_eq!(rows, [expected], "{open}");
        }
    }
}

/// The index that was relied upon is dropped before the statement that relies
/// on it.
#[test]
fn an_index_dropped_meanwhile_lets_no_second_row_in() {
    for drop in ["DROP INDEX slow_key", "DROP INDEX CONCURRENTLY slow_key"] {
        for timeout in TIMEOUTS {
            let database = database();
            let [mut first, mut second, mut dropper, mut witness] = database.sessions();
            dropper.run(
                "CREATE FUNCTION slept(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                     PERFORM pg_sleep(current_setting('test.sleep', true)::float8);
                     RETURN true; END $$;
                 CREATE DOMAIN slow AS text CHECK (slept(VALUE));
                 CREATE TABLE slow_rows (key slow);
                 CREATE UNIQUE INDEX slow_key ON slow_rows (key)",
            );
            let create = format!(
                "SELECT created FROM find_or_create(
                     NULL::slow_rows, '{{\"key\": \"k\"}}', timeout => {timeout})"
            );
            first.run("SET test.sleep = 0.7");
            second.run("SET test.sleep = 0");
            first.send(&create);
            sleeps(&mut witness, &first);
            dropper.send(drop);
            dropper.waits_for(&first);
            second.send(&create);
            let created = [first.answered_true(), second.answered_true()];
            dropper.answered_rows();
            assert_ne!(created[0], created[1], "{drop}");
            assert_eq!(count(&mut witness, "slow_rows"), 1, "{drop}");
            let is_there = "SELECT to_regclass('slow_key') IS NOT NULL";
            assert!(!witness.is_true(is_there), "{drop}");
        }
    }
}

/// Who is given rights on all new tables and schemas is given none on the
/// extension's.
#[test]
fn default_privileges_do_not_reach_the_extension() {
    for public in [false, true] {
        let database = database().cluster.database_like("TEMPLATE template0");
        let app = format!("app_{}", database.name);
        let grantee = if public { "PUBLIC" } else { &app };
        let mut owner = database.session();
        owner.run(&format!(
            "CREATE ROLE {app} LOGIN;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {grantee};
             ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {grantee};
             ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {grantee};
             CREATE EXTENSION pg_once"
        ));
        let held = owner.rows(
            "SELECT c.relname, acl.privilege_type FROM pg_class c, aclexplode(c.relacl) acl
             WHERE c.relnamespace = 'once'::regnamespace AND acl.grantee <> c.relowner
                 AND (c.relkind, acl.grantee, acl.privilege_type) <> ('v', 0, 'SELECT')
             UNION ALL
             SELECT nspname, acl.privilege_type FROM pg_namespace n, aclexplode(nspacl) acl
             WHERE nspname = 'once' AND acl.grantee <> nspowner
                 AND (acl.grantee <> 0 OR acl.privilege_type <> 'USAGE')",
        );
        assert_eq!(held, no_rows(), "{grantee}");
        let mut caller = database.session_as(&app);
        caller.run(
            "CREATE FUNCTION pg_temp.act() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN RETURN NULL; END $$",
        );
        for forbidden in [
            "CREATE TRIGGER act BEFORE INSERT ON once.claim
                 FOR EACH ROW EXECUTE FUNCTION pg_temp.act()",
            "SELECT FROM once.claim",
            "INSERT INTO once.claim DEFAULT VALUES",
            "UPDATE once.claim SET ns = ns",
            "DELETE FROM once.claim",
            "TRUNCATE once.claim",
            "CREATE TABLE mine (place_high int2, place_low int2, hash_high int4, hash_low int8, FOREIGN KEY (place_high, place_low, hash_high, hash_low) REFERENCES once.claim)",
            "CREATE TABLE once.planted ()",
        ] {
            caller.refused(forbidden, "42501");
        }
        assert!(caller.is_true("SELECT claim_once('ns', 'k')"));
    }
}

/// What a statement inside a trigger raises is told as plain SQL would be:
/// with its own constraint, query, position and context.
#[test]
fn errors_inside_triggers_keep_their_context() {
    for key in ["int PRIMARY KEY", "int"] {
        let database = database();
        let mut session = database.session();
        session.run(&format!(
            "CREATE TABLE ledger (id int PRIMARY KEY);
             INSERT INTO ledger VALUES (1);
             CREATE TABLE told (k {key});
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 EXECUTE current_setting('test.statement'); RETURN NEW; END $$;
             CREATE TRIGGER tell BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION tell()"
        ));
        for (statement, sqlstate) in [
            ("INSERT INTO ledger VALUES (1)", "23505"),
            ("SELECT 1 FROM ledger WHERE nowhere = 1", "42703"),
            ("SELEC 1", "42601"),
            ("SELECT 1 / id FROM (VALUES (0)) AS v (id)", "22012"),
        ] {
            session.run(&format!("SET test.statement = '{statement}'"));
            let plain = session.refused("INSERT INTO told VALUES (1)", sqlstate);
            for timeout in TIMEOUTS {
                let error = session.refused(
                    &format!(
                        "SELECT k FROM with_row_lock(
                             NULL::told, '{{\"k\": 1}}', timeout => {timeout})"
                    ),
                    sqlstate,
                );
                assert_eq!(fields(&error), fields(&plain), "{statement}");
                assert_eq!(query(&error), query(&plain), "{statement}");
                let (context, plain) = (error.where_().unwrap(), plain.where_().unwrap());
                assert!(context.starts_with(plain), "{context}\n--\n{plain}");
                assert!(context.contains("SQL statement \"INSERT INTO"), "{context}");
            }
        }
    }
}

/// So is a deadlock, of which the server's log names the processes and their
/// queries.
#[test]
fn a_deadlock_inside_a_trigger_is_logged_in_full() {
    for timeout in TIMEOUTS {
        let database = database();
        let mut pair: [Session; 2] = database.sessions();
        pair[0].run(
            "CREATE TABLE account (id int PRIMARY KEY, n int);
             INSERT INTO account VALUES (1, 0), (2, 0);
             CREATE TABLE told (k int PRIMARY KEY);
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 EXECUTE 'UPDATE account SET n = n + 1 WHERE id = ' || NEW.k; RETURN NEW; END $$;
             CREATE TRIGGER tell BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION tell()",
        );
        for (session, id) in pair.iter_mut().zip([1, 2]) {
            session.begin();
            session.run(&format!("UPDATE account SET n = 5 WHERE id = {id}"));
        }
        for (session, k) in pair.iter_mut().zip([2, 1]) {
            session.send(&format!(
                "SELECT k FROM with_row_lock(NULL::told, '{{\"k\": {k}}}', timeout => {timeout})"
            ));
        }
        let pids = [pair[0].pid(), pair[1].pid()];
        let mut pair = pair.map(|mut session| session.answer());
        pair.sort_by_key(Result::is_ok);
        let [Err(Failure::Refused(error)), Ok(_)] = pair else {
            panic!("expected one deadlock: {pair:?}");
        };
        assert_eq!(error.code().code(), "40P01");
        let detail = error.detail().unwrap();
        let context = error.where_().unwrap();
        assert!(
            context.contains("SQL statement \"UPDATE account"),
            "{context}"
        );
        assert!(context.contains("PL/pgSQL function tell()"), "{context}");
        let log = database.cluster.log();
        for pid in pids {
            assert!(
                detail.contains(&format!("Process {pid} waits for")),
                "{detail}"
            );
            assert!(log.contains(&format!("Process {pid} waits for")), "{log}");
            assert!(
                log.contains(&format!("Process {pid}: SELECT k FROM with_row_lock")),
                "{log}"
            );
        }
    }
}

/// The padding of char(n) is no part of a key, in whatever form it is given.
#[test]
fn padding_never_counts() {
    let database = database();
    let mut session = database.session();
    for (number, (plain, padded)) in [
        (
            "'ab'",
            vec!["'ab'::char(5)", "VARIADIC ARRAY['ab'::char(5)]::text[]"],
        ),
        (
            "'ab', 'x'",
            vec![
                "'ab'::char(5), 'x'",
                "'ab', 'x'::char(3)",
                "'ab'::char(5), 'x'::char(3)",
                "VARIADIC ARRAY['ab'::char(5), 'x'::char(3)]::text[]",
            ],
        ),
        (
            "'1', 'x'",
            vec!["1, 'x'::char(4)", "'1'::char(9), 'x'::char(4)"],
        ),
        ("'x', '1'", vec!["'x'::char(4), 1"]),
        (
            "'a', 'b', '1'",
            vec![
                "'a'::char(4), 'b'::char(5), 1",
                "'a', 'b'::char(2), '1'::char(3)",
                "VARIADIC ARRAY['a', 'b', '1']::char(7)[]::text[]",
            ],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for one in padded {
            let ns = format!("'ns {number} {}'", one.replace('\'', ""));
            assert!(
                session.is_true(&format!("SELECT claim_once({ns}, {one})")),
                "{one}"
            );
            assert!(
                !session.is_true(&format!("SELECT claim_once({ns}, {plain})")),
                "{one}"
            );
            assert!(
                session.is_true(&format!("SELECT is_claimed({ns}, {plain})")),
                "{one}"
            );
            assert!(
                session.is_true(&format!("SELECT is_claimed({ns}, {one})")),
                "{one}"
            );
            assert!(
                session.is_true(&format!("SELECT unclaim({ns}, {one})")),
                "{one}"
            );
            let per = |key| format!("SELECT claim_once_per('1 day', {ns}, {key})");
            assert!(session.is_true(&per(plain)), "{one}");
            assert!(!session.is_true(&per(one)), "{one}");
            let keys = format!("SELECT once_key({one}) = once_key({plain})");
            assert!(session.is_true(&keys), "{one}");
        }
    }
}

/// Identifiers of payments: padding and zeros behind the point do not count,
/// and an array is none.
#[test]
fn identifiers_of_payments_are_single_values() {
    let database = database();
    let mut session = database.session();
    session.run(
        "CREATE TABLE payments (service_id int, line_item_id text);
         CREATE TABLE arrays (service_id int[], line_item_id text)",
    );
    let take = |ids: &str| format!("SELECT created FROM with_payment_lock({ids})");
    assert!(session.is_true(&take("7, 'A-1'")));
    for ids in [
        "7.00, 'A-1'",
        "7::numeric(9, 4), 'A-1'",
        "7.00, 'A-1'::char(8)",
        "'7'::char(3), 'A-1'::char(8)",
        "'7', 'A-1'::char(8)",
        "7::float8, 'A-1'::name",
    ] {
        assert!(!session.is_true(&take(ids)), "{ids}");
    }
    session.refused(&take("7.5, 'A-1'"), "22P02");
    for table in ["payments", "arrays"] {
        session.run(&format!("SET pg_once.payment_table = '{table}'"));
        for ids in [
            "ARRAY[7], 'A-1'",
            "7, ARRAY['A-1']",
            "ARRAY[7], ARRAY['A-1']",
        ] {
            session.refused(&take(ids), "0A000");
        }
    }
    assert_eq!(count(&mut session, "payments"), 1);
    assert_eq!(count(&mut session, "arrays"), 0);
}

/// A type that compares texts without regard to case, as citext does.
const CASELESS: &str = "
    CREATE TYPE caseless;
    CREATE FUNCTION caseless_in(cstring) RETURNS caseless
        AS 'textin' LANGUAGE internal IMMUTABLE STRICT;
    CREATE FUNCTION caseless_out(caseless) RETURNS cstring
        AS 'textout' LANGUAGE internal IMMUTABLE STRICT;
    CREATE TYPE caseless (
        INPUT = caseless_in, OUTPUT = caseless_out, INTERNALLENGTH = VARIABLE,
        STORAGE = extended, COLLATABLE = true);
    CREATE CAST (caseless AS text) WITHOUT FUNCTION AS IMPLICIT;
    CREATE FUNCTION caseless_compare(caseless, caseless) RETURNS int LANGUAGE sql IMMUTABLE STRICT
        RETURN bttextcmp(lower($1::text), lower($2::text));
    CREATE FUNCTION caseless_hash(caseless) RETURNS int LANGUAGE sql IMMUTABLE STRICT
        RETURN hashtext(lower($1::text));
    CREATE FUNCTION caseless_hash(caseless, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT
        RETURN hashtextextended(lower($1::text), $2);
    CREATE FUNCTION caseless_eq(caseless, caseless) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
        RETURN caseless_compare($1, $2) = 0;
    CREATE FUNCTION caseless_lt(caseless, caseless) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
        RETURN caseless_compare($1, $2) < 0;
    CREATE FUNCTION caseless_le(caseless, caseless) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
        RETURN caseless_compare($1, $2) <= 0;
    CREATE FUNCTION caseless_ge(caseless, caseless) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
        RETURN caseless_compare($1, $2) >= 0;
    CREATE FUNCTION caseless_gt(caseless, caseless) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
        RETURN caseless_compare($1, $2) > 0;
    CREATE OPERATOR = (FUNCTION = caseless_eq, LEFTARG = caseless, RIGHTARG = caseless,
        COMMUTATOR = =, HASHES, MERGES);
    CREATE OPERATOR < (FUNCTION = caseless_lt, LEFTARG = caseless, RIGHTARG = caseless);
    CREATE OPERATOR <= (FUNCTION = caseless_le, LEFTARG = caseless, RIGHTARG = caseless);
    CREATE OPERATOR >= (FUNCTION = caseless_ge, LEFTARG = caseless, RIGHTARG = caseless);
    CREATE OPERATOR > (FUNCTION = caseless_gt, LEFTARG = caseless, RIGHTARG = caseless);
    CREATE OPERATOR CLASS caseless_btree DEFAULT FOR TYPE caseless USING btree AS
        OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
        FUNCTION 1 caseless_compare(caseless, caseless);
    CREATE OPERATOR CLASS caseless_hashing DEFAULT FOR TYPE caseless USING hash AS
        OPERATOR 1 =, FUNCTION 1 caseless_hash(caseless),
        FUNCTION 2 caseless_hash(caseless, bigint)";

/// The fields of an error that name what it is about.
fn fields(error: &DbError) -> [Option<&str>; 8] {
    [
        Some(error.severity()),
        Some(error.message()),
        error.detail(),
        error.hint(),
        error.schema(),
        error.table(),
        error.column(),
        error.constraint(),
    ]
}

/// The query inside the server that an error is about, and the place in it.
fn query(error: &DbError) -> Option<(u32, &str)> {
    match error.position()? {
        ErrorPosition::Internal { position, query } => Some((*position, query)),
        ErrorPosition::Original(_) => None,
    }
}

fn count(session: &mut Session, table: &str) -> i64 {
    session.number(&format!("SELECT count(*) FROM {table}"))
}

/// Waits until the session is asleep in the server.
fn sleeps(witness: &mut Session, session: &Session) {
    let started = Instant::now();
    while !witness.is_true(&format!(
        "SELECT wait_event IS NOT DISTINCT FROM 'PgSleep' FROM pg_stat_activity WHERE pid = {}",
        session.pid()
    )) {
        assert!(started.elapsed() < Duration::from_secs(8), "does not sleep");
        thread::sleep(Duration::from_millis(2));
    }
}

fn no_rows() -> Rows {
    Rows::new()
}
