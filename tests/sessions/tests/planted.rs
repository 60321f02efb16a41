//! Rows that the extension's owner writes into its tables by INSERT, which dump and restore need:
//! every function gives a right answer or an error that says what is wrong, and no token is given twice.

use pg_once_sessions::{Cluster, Database, Failure, Session, database};
use std::collections::BTreeSet;

const LAST: i64 = 1 << 62;

/// Tokens that the owner plants.
const TOKENS: &[i64] = &[
    i64::MIN,
    -1,
    0,
    LAST - 1,
    LAST,
    LAST + 1,
    i64::MAX - 1,
    i64::MAX,
];

#[test]
fn no_token_is_given_twice_whatever_the_floor_is() {
    for constrained in [false, true] {
        for token in TOKENS {
            let database = database();
            let mut owner = prepared(&database, constrained);
            let planted = owner.try_run(&format!(
                "INSERT INTO once.work_floor VALUES (true, {token})"
            ));
            refused_by_a_constraint(planted, constrained && !(0..=LAST).contains(token));
            rises(&mut owner, "k");
        }
    }
}

#[test]
fn no_token_is_given_twice_whatever_the_record_is() {
    for constrained in [false, true] {
        for token in TOKENS {
            let database = database();
            let mut owner = prepared(&database, constrained);
            for (key, state, lease) in [
                ("1", 'r', "'-infinity'"),
                ("2", 'g', "NULL"),
                ("3", 'x', "NULL"),
            ] {
                let planted = owner.try_run(&plant_work(
                    key,
                    &format!("{token}"),
                    "1",
                    lease,
                    "NULL",
                    state,
                ));
                refused_by_a_constraint(planted, constrained && !(0..=LAST).contains(token));
                rises(&mut owner, key);
            }
        }
    }
}

/// Removed work is swept with its token, and what is planted for its key afterwards starts above it.
#[test]
fn a_planted_record_does_not_go_below_the_floor() {
    let database = database();
    let mut owner = prepared(&database, true);
    let high = LAST - (1 << 40);
    owner.run(&format!(
        "INSERT INTO once.work_floor VALUES (true, {high})"
    ));
    owner.run(&plant_work("k", "5", "1", "'-infinity'", "NULL", 'r'));
    assert!(owner.number("SELECT token FROM begin_once('n', 'k')") > high);
}

/// A worker may go on with the token of a begin that was rolled back. Nobody else gets that token, also
/// where the floor is ahead of the clock.
#[test]
fn a_token_that_was_rolled_back_is_not_given_again() {
    let database = database();
    let mut owner = prepared(&database, true);
    owner.run(
        "INSERT INTO once.work_floor
             SELECT true, (extract(epoch FROM now() - '2000-01-01'::timestamptz) * 1000000)::bigint + 3600000000",
    );
    let mut given = Vec::new();
    for end in ["ROLLBACK", "ROLLBACK TO s; COMMIT", "COMMIT"] {
        owner.run("BEGIN; SAVEPOINT s");
        given.push(owner.number("SELECT token FROM begin_once('n', 'k', '1 us')"));
        owner.run(end);
    }
    for token in &given[..2] {
        owner.refused(&format!("SELECT complete_once('n', 'k', {token})"), "55000");
    }
    given.dedup();
    assert_eq!(given.len(), 3, "{given:?}");
}

/// Begins the work again and again: each token is higher than the one before, or there is none.
fn rises(session: &mut Session, key: &str) {
    let mut last = i64::MIN;
    for _ in 0..4 {
        let begin = format!("SELECT outcome, token FROM begin_once('n', '{key}', '1 us')");
        match session.try_run(&begin) {
            Ok(rows) => {
                assert_eq!(rows[0][0].as_deref(), Some("run"));
                let token: i64 = rows[0][1].as_deref().unwrap().parse().unwrap();
                assert!(token > last && token > 0, "{token} after {last}");
                last = token;
                session.run(&format!("SELECT fail_once('n', '{key}', {token})"));
            }
            Err(Failure::Refused(error)) => {
                assert_eq!(error.code().code(), "55000", "{error}");
                assert!(error.hint().unwrap().contains("once.work_floor"), "{error}");
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }
}

fn refused_by_a_constraint(planted: Result<pg_once_sessions::Rows, Failure>, wanted: bool) {
    match planted {
        Ok(_) => assert!(!wanted, "it was taken"),
        Err(failure) => assert!(wanted && failure.sqlstate() == "23514", "{failure:?}"),
    }
}

/// A session of the owner, who is no superuser, of the extension and its database. Without constraints
/// what follows holds all the same.
fn prepared(database: &Database, constrained: bool) -> Session {
    let (mut admin, keeper) = (database.session(), format!("{}_keeper", database.name));
    admin.run(&format!(
        "DROP EXTENSION IF EXISTS pg_once;
         CREATE ROLE {keeper} LOGIN;
         ALTER DATABASE {} OWNER TO {keeper};
         GRANT ALL ON SCHEMA public TO {keeper}",
        database.name
    ));
    let mut owner = database.session_as(&keeper);
    owner.run("CREATE EXTENSION pg_once");
    // The storage key of a name is the same in all databases.
    owner.run(
        "CREATE TABLE storage_keys (key text, place_high int2, place_low int2, hash_high int4, hash_low int8);
         SELECT count(*) FROM unnest(ARRAY['k', '1', '2', '3']) key, begin_once('n', key);
         INSERT INTO storage_keys SELECT key, place_high, place_low, hash_high, hash_low FROM once.work_record",
    );
    admin.run("TRUNCATE once.work_record, once.work_floor");
    if !constrained {
        unconstrain(&mut admin);
    }
    owner
}

fn unconstrain(admin: &mut Session) {
    admin.run(
        "DO $$ DECLARE c record; BEGIN
             FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
                      WHERE contype = 'c' AND connamespace = 'once'::regnamespace
             LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname); END LOOP;
         END $$",
    );
}

fn plant_work(
    key: &str,
    token: &str,
    attempt: &str,
    lease: &str,
    expires: &str,
    state: char,
) -> String {
    format!(
        "INSERT INTO once.work_record (place_high, place_low, hash_high, hash_low, token, begun_at, lease_until, expires_at, attempt, state, ns, key)
         SELECT place_high, place_low, hash_high, hash_low, {token}, '-infinity', {lease}, {expires}, {attempt}, '{state}', 'n', key
         FROM storage_keys WHERE key = '{key}'"
    )
}

/// What a call may raise for what was planted.
const ALLOWED: &[&str] = &["21000", "22023", "42501", "55000"];

const WORK_CALLS: &[&str] = &[
    "begin_once('n', 'k', '1 ms', wait => '2 ms')",
    "begin_once('n', 'k', '1 ms', '{}')",
    "renew_once('n', 'k', 7)",
    "fence_once('n', 'k', 7)",
    "fail_once('n', 'k', 7, '{}', true, '1 ms')",
    "complete_once('n', 'k', 7)",
    "forget_once('n', 'k')",
    "once.work_of('n')",
    "once.check()",
    "once.sweep()",
];

#[test]
fn malformed_work_is_answered_or_named() {
    let database = database();
    let mut owner = prepared(&database, false);
    let mut admin = database.session();
    let mut told = BTreeSet::new();
    for state in ['r', 'g', 'd', 'f', 'x', '?', ' ', '\u{1}'] {
        for (attempt, lease, expires) in [
            ("2147483647", "'infinity'", "NULL"),
            ("-2147483648", "'-infinity'", "'-infinity'"),
            ("0", "NULL", "'infinity'"),
            (
                "2147483647",
                "now() - interval '1 hour'",
                "now() - interval '1 hour'",
            ),
        ] {
            for call in WORK_CALLS {
                admin.run("TRUNCATE once.work_record");
                owner.run(&plant_work("k", "7", attempt, lease, expires, state));
                if let Some(sqlstate) = ask(&mut owner, call) {
                    told.insert(format!("{state} {sqlstate}"));
                }
                owner.run("TABLE once.work");
            }
        }
    }
    assert!(told.contains("? 55000"), "{told:?}");
}

const CLAIM_CALLS: &[&str] = &[
    "is_claimed('n', 'k')",
    "try_claim_once('n', 'k', '0', '1 hour', 'me')",
    "claim_once('n', 'k')",
    "claim_many('n', ARRAY['k', 'l'])",
    "claim_once_per('1 hour', 'n', 'k')",
    "unclaim('n', 'k')",
    "once.claims_of('n')",
    "once.claims_of('n', 'a', 2)",
    "once.check()",
    "once.sweep()",
    "with_lock('n', 'k', '0')",
];

/// What the owner plants: storage key, times, namespace and key.
const CLAIMS: &[&str] = &[
    "k.place_high, k.place_low, k.hash_high, k.hash_low, 'infinity', '-infinity', 'n', 'k'",
    "k.place_high, k.place_low, k.hash_high, k.hash_low, '-infinity', 'infinity', 'n', 'k'",
    "k.place_high, k.place_low, k.hash_high, k.hash_low, now(), NULL, 'n', 'another'",
    "k.place_high, k.place_low, k.hash_high, k.hash_low, now(), now() - interval '1 s', 'another', 'k'",
    "1, 2, 3, 4, now(), NULL, 'n', 'k'",
    "1, 2, 3, 4, now(), NULL, 'n', E'\\x1e'",
    "1, 2, 3, 4, now(), NULL, 'n', E'\\x1ea\\x1b\\x1eb\\x1b2\\x1e'",
    "1, 2, 3, 4, now(), NULL, 'n', ''",
    "1, 2, 3, 4, now(), NULL, '', ''",
    "1, 2, 3, 4, now(), now(), repeat('n', 1000), repeat('k', 6000)",
    "1, 2, 3, 4, now(), NULL, 'n', E'\\x1e' || repeat(E'a\\x1e', 3500)",
];

#[test]
fn malformed_claims_are_answered_or_named() {
    for encoding in [
        "",
        "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    ] {
        let cluster = Cluster::start(&[]);
        let database = cluster.database_like(encoding);
        let mut admin = database.session();
        let mut owner = prepared(&database, false);
        let mut rows: Vec<String> = CLAIMS.iter().map(|row| (*row).to_owned()).collect();
        if !encoding.is_empty() {
            rows.push("1, 2, 3, 4, now(), now(), E'\\xff\\xfe', E'\\x1e\\xff\\x1e\\xc3'".into());
            rows.push(
                "k.place_high, k.place_low, k.hash_high, k.hash_low, now(), NULL, E'\\xc3', E'\\xff'"
                    .into(),
            );
        }
        let mut told = BTreeSet::new();
        for row in &rows {
            for engine in ["direct", "statement"] {
                for call in CLAIM_CALLS {
                    admin.run("TRUNCATE once.claim");
                    admin.run(&format!("SET pg_once.claim_engine = '{engine}'"));
                    owner.run(&format!("SET pg_once.claim_engine = '{engine}'"));
                    owner.run(&format!(
                        "INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key) SELECT {row}
                         FROM storage_keys k WHERE k.key = 'k'"
                    ));
                    if let Some(sqlstate) = ask(&mut owner, call) {
                        told.insert(format!("{call} {sqlstate}"));
                    }
                    owner.run("SELECT count(*), count(parts) FROM once.claims");
                }
            }
        }
        assert!(told.contains("is_claimed('n', 'k') 55000"), "{told:?}");
    }
}

#[test]
fn malformed_policies_are_answered_or_named() {
    let database = database();
    let mut owner = prepared(&database, false);
    let mut admin = database.session();
    let name = format!("{}_stranger", database.name);
    admin.run(&format!("CREATE ROLE {name} LOGIN"));
    let mut stranger = database.session_as(&name);
    for (ttl, role, wrong_ttl, is_closed) in [
        ("NULL", "0", false, true),
        ("NULL", "1234567", false, true),
        ("'-1 day'", "NULL", true, false),
        ("'0'", "NULL", true, false),
        ("'170000000 years'", "NULL", true, false),
        ("'-170000000 years'", "NULL", true, false),
        ("'1 month -40 days'", "NULL", true, false),
        ("'-1 day'", "1234567", true, true),
        ("NULL", "NULL", false, false),
        ("'1 day'", "NULL", false, false),
    ] {
        admin.run("TRUNCATE once.access_policy, once.claim, once.work_record");
        owner.run(&format!(
            "INSERT INTO once.access_policy VALUES ('n', {ttl}, {role}), (repeat('n', 129), {ttl}, {role}), ('', {ttl}, {role})"
        ));
        let expected = match (is_closed, wrong_ttl) {
            (true, _) => Some("42501"),
            (false, true) => Some("55000"),
            (false, false) => None,
        };
        for call in WORK_CALLS.iter().chain(CLAIM_CALLS) {
            let sqlstate = ask(&mut stranger, call);
            if call.starts_with("once.sweep") {
                assert_eq!(sqlstate.as_deref(), Some("42501"));
            } else if call.starts_with("once.check") {
                assert_eq!(sqlstate, None);
            } else if expected.is_some() || !call.contains('7') {
                assert_eq!(sqlstate.as_deref(), expected, "{call} {ttl} {role}");
            }
        }
        for call in [
            "TABLE once.namespaces",
            "TABLE once.claims",
            "TABLE once.work",
            "SELECT once.may_use('n')",
        ] {
            stranger.run(call);
            owner.run(call);
        }
        owner.run("SELECT once.sweep()");
        owner.run("SELECT once.configure('n', '1 day', current_user::regrole)");
        assert!(owner.is_true("SELECT claim_once('n', 'mended')"));
    }
}

/// The SQLSTATE that a call raises, which is one that says what is wrong.
fn ask(session: &mut Session, call: &str) -> Option<String> {
    match session.try_run(&format!("SELECT * FROM {call}")) {
        Ok(_) => None,
        Err(Failure::Refused(error)) => {
            let sqlstate = error.code().code().to_owned();
            assert!(ALLOWED.contains(&sqlstate.as_str()), "{call}: {error}");
            Some(sqlstate)
        }
        Err(failure) => panic!("{call}: {failure:?}"),
    }
}
