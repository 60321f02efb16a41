//! What a session that makes many calls keeps of memory: nothing. PG_ONCE_CALLS=2000000 makes that many.

use pg_once_sessions::{Session, database};
use std::fs;

/// What may be kept of each call or error, in bytes: less than the header of one piece of memory.
const KEPT: f64 = 4.0;

/// What the caches of the session may take more or less, in bytes.
const CACHES: i64 = 400_000;

const USED: &str = "SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts";

/// Calls of one round of the procedure `calls`.
const ROUND: i64 = 20;

const CALLS: &str = "
    CREATE TABLE account (id int PRIMARY KEY, n int DEFAULT 0);
    CREATE TABLE bare (id int, n int DEFAULT 0);
    CREATE PROCEDURE calls(rounds int) LANGUAGE plpgsql AS $$
    DECLARE work record;
    BEGIN
        FOR i IN 1..rounds LOOP
            PERFORM claim_once('leak', i::text);
            PERFORM claim_once('leak', i::text);
            PERFORM claim_once('leak', i, 'part');
            PERFORM is_claimed('leak', i::text);
            PERFORM try_claim_once('leak', i::text, '10 ms');
            PERFORM claim_once_per('1 day', 'leak', 'per ' || i);
            PERFORM claim_many('leak', ARRAY['a ' || i, 'b ' || i, 'c']);
            PERFORM unclaim('leak', i::text);
            SELECT * INTO work FROM begin_once('leak', i::text, request => '{\"n\": 1}');
            PERFORM renew_once('leak', i::text, work.token);
            PERFORM fence_once('leak', i::text, work.token);
            PERFORM complete_once('leak', i::text, work.token, '{\"n\": 1}');
            PERFORM forget_once('leak', i::text);
            PERFORM with_row_lock(NULL::account, '{\"id\": 1}', '{\"n\": 1}');
            PERFORM with_row_lock(NULL::bare, '{\"id\": 1}', timeout => '1 s');
            PERFORM find_or_create(NULL::account, '{\"id\": 1}');
            PERFORM with_lock('leak', 'one', '1 s');
            PERFORM with_locks('leak', ARRAY['two', 'three']);
            PERFORM hold_lock('leak', 'session');
            PERFORM release_lock('leak', 'session');
            IF i % 10 = 0 THEN COMMIT; END IF;
            IF i % 1000 = 0 THEN PERFORM once.purge('leak', max_rows => 100000, unfinished => true); END IF;
        END LOOP;
        COMMIT;
    END $$";

#[test]
fn calls_leave_no_memory_behind() {
    let count = std::env::var("PG_ONCE_CALLS").map_or(20_000, |count| count.parse().unwrap());
    let mut session = database().session();
    session.run(CALLS);
    session.run("SET statement_timeout = 0");
    session.run("CALL calls(200)");
    let (used, resident) = (session.number(USED), resident(&session));
    session.run(&format!("CALL calls({})", count / ROUND));
    let more_used = session.number(USED) - used;
    let more_resident = self::resident(&session) - resident;
    eprintln!(
        "{count} calls: {more_used} bytes more in memory contexts after {used}, \
         {more_resident} bytes more resident after {resident}"
    );
    assert_kept_little(more_used, count);
    // What malloc keeps for itself.
    assert_kept_little(more_resident - 2_000_000, count);
}

/// Memory of the backend that it shares with nobody, in bytes.
fn resident(session: &Session) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", session.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes: i64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    1024 * kilobytes
}

fn assert_kept_little(bytes: i64, count: i64) {
    let kept = (bytes - CACHES) as f64 / count as f64;
    assert!(kept < KEPT, "{kept} bytes of each of {count}");
}

/// E7: neither an error that is caught nor a timeout that is an answer keeps memory until the transaction ends.
#[test]
fn caught_errors_keep_no_memory() {
    const COUNT: i64 = 3000;
    let database = database();
    let [mut holder, mut session] = database.sessions();
    holder.run(
        "CREATE TABLE account (id int PRIMARY KEY, n int DEFAULT 0 CHECK (n < 10));
         CREATE FUNCTION caught(call text, count int) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN FOR i IN 1..count LOOP
             BEGIN EXECUTE call; EXCEPTION WHEN others THEN END;
         END LOOP; END $$;
         SELECT with_row_lock(NULL::account, '{\"id\": 1}')",
    );
    holder.begin();
    holder.run(
        "SELECT claim_once('leak', 'k'), begin_once('leak', 'k'), with_lock('leak', 'k'),
             with_row_lock(NULL::account, '{\"id\": 1}'), with_row_lock(NULL::account, '{\"id\": 2}')",
    );
    let used = |session: &mut Session, call: &str| {
        session.begin();
        session.run(&format!("SELECT caught($call${call}$call$, 50)"));
        let before = session.number(USED);
        session.run(&format!("SELECT caught($call${call}$call$, {COUNT})"));
        let used = session.number(USED) - before;
        session.rollback();
        used
    };
    let of_core = used(&mut session, "INSERT INTO account VALUES (3, 10)");
    for call in [
        "SELECT claim_once('', 'k')",
        "SELECT complete_once('leak', 'none', 1)",
        "SELECT with_row_lock(NULL::account, '{\"id\": 3}', '{\"n\": 10}')",
        "SELECT with_row_lock(NULL::account, '{\"none\": 3}')",
        "SELECT once.configure('leak', '-1 s')",
        "SELECT try_claim_once('leak', 'k')",
        "SELECT begin_once('leak', 'k')",
        "SELECT with_lock('leak', 'k', '0')",
        "SELECT with_row_lock(NULL::account, '{\"id\": 1}', timeout => '0')",
        "SELECT with_row_lock(NULL::account, '{\"id\": 2}', timeout => '0')",
    ] {
        let kept = used(&mut session, call) - of_core;
        assert!(
            (kept as f64) < KEPT * COUNT as f64,
            "{call}: {kept} bytes of {COUNT} calls"
        );
    }
}
