//! What the server has in the end, and whether its structures and its log are in order.

use crate::plan::{KEYED, PAYMENTS, PLAIN, WORK};
use crate::record::Key;
use crate::{claim, work};
use pg_once_sessions::{Rows, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

/// How long backends whose clients are gone may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings that a cluster of this crate needs: every line of its log has its SQLSTATE, who
/// waits for a lost client's lock does not wait long, and deadlocks are found soon.
pub const SETTINGS: [&str; 5] = [
    "log_line_prefix = '%m [%p] %e '",
    "client_connection_check_interval = '100ms'",
    "deadlock_timeout = '20ms'",
    "max_connections = 60",
    "timezone = 'UTC'",
];

/// The tables that clients write to.
pub const TABLES: &str = "
    CREATE TABLE signature (number bigint PRIMARY KEY);
    CREATE TABLE counter_keyed (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
    CREATE TABLE counter_plain (key text NOT NULL, n bigint NOT NULL DEFAULT 0);
    CREATE TABLE payments (service_id int, line_item_id text, n bigint NOT NULL DEFAULT 0,
                           PRIMARY KEY (service_id, line_item_id));
    CREATE TABLE effect (n bigserial, key text, token bigint, completes boolean);
    CREATE TABLE scrap (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0)";

/// Everything that the checks need to know of the tables.
pub struct Left {
    pub claims: BTreeSet<Key>,
    pub counts: BTreeMap<Key, i64>,
    pub records: BTreeMap<Key, work::Record>,
    pub signatures: BTreeSet<u64>,
}

/// Waits until all sessions but the own one are gone, and with them everything that they may still
/// have done.
pub fn settle(session: &mut Session) {
    let started = Instant::now();
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND backend_type = 'client backend'";
    while session.number(others) > 0 {
        assert!(
            started.elapsed() < PATIENCE,
            "backends stay: {:?}",
            session.rows("SELECT pid, state, wait_event, query FROM pg_stat_activity")
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Reads the tables by sequential scans: an index could hide a second row. Fails where a key has
/// two.
pub fn left(session: &mut Session) -> Result<Left, String> {
    session.run("SET enable_indexscan = off; SET enable_indexonlyscan = off");
    session.run("SET enable_bitmapscan = off");
    let claims = session.rows("SELECT ns, key FROM once.claim");
    let mut left = Left {
        claims: BTreeSet::new(),
        counts: BTreeMap::new(),
        records: BTreeMap::new(),
        signatures: BTreeSet::new(),
    };
    for row in &claims {
        let space = [claim::KEPT, claim::TURNED]
            .into_iter()
            .find(|space| row[0].as_deref() == Some(space));
        let Some(space) = space else { continue };
        let key = key(space, &row[1]);
        if left.claims.contains(&key) {
            return Err(format!("claim {key}: two rows"));
        }
        left.claims.insert(key);
    }
    for (table, column) in [(KEYED, "key"), (PLAIN, "key"), (PAYMENTS, "line_item_id")] {
        for row in session.rows(&format!("SELECT {column}, n FROM {table}")) {
            let key = key(table, &row[0]);
            if left.counts.insert(key.clone(), number(&row[1])).is_some() {
                return Err(format!("row {key}: two rows"));
            }
        }
    }
    let records = session.rows(
        "SELECT key, state, token, (extract(epoch FROM lease_until) * 1000000)::bigint
         FROM once.work_record WHERE ns = 'work'",
    );
    for row in records {
        let state = match row[1].as_deref() {
            Some("r") => work::State::Running {
                until: Some(number(&row[3])),
            },
            Some("g") => work::State::GivenBack,
            Some("d") => work::State::Done,
            Some("f") => work::State::Failed,
            Some("x") => work::State::Forgotten,
            other => panic!("a record is {other:?}"),
        };
        let key = key(WORK, &row[0]);
        let record = (state, number(&row[2]));
        if left.records.insert(key.clone(), record).is_some() {
            return Err(format!("work {key}: two rows"));
        }
    }
    let signatures = session.rows("SELECT number FROM signature");
    left.signatures = signatures
        .iter()
        .map(|row| number(&row[0]) as u64)
        .collect();
    Ok(left)
}

/// Invariants of the tables and of the lock manager.
pub fn is_in_order(session: &mut Session) -> Result<(), String> {
    let nothing = |what: &str, rows: Rows| match rows.is_empty() {
        true => Ok(()),
        false => Err(format!("{what}: {rows:?}")),
    };
    nothing(
        "an advisory lock is left",
        session.rows("SELECT pid, classid, objid, objsubid, mode, granted FROM pg_locks WHERE locktype = 'advisory'"),
    )?;
    nothing(
        "a prepared transaction is left",
        session.rows("SELECT gid FROM pg_prepared_xacts"),
    )?;
    nothing(
        "an effect was written behind the fence with a lower token",
        session.rows(
            "SELECT * FROM (SELECT key, token, lag(token) OVER (PARTITION BY key ORDER BY n) AS before
                            FROM effect) AS e WHERE token < before",
        ),
    )?;
    nothing(
        "work was completed twice under one token",
        session.rows("SELECT key, token, count(*) FROM effect WHERE completes GROUP BY 1, 2 HAVING count(*) > 1"),
    )?;
    // The library of an index check is part of contrib, which not every server has.
    if session.is_true("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')")
    {
        session.run("CREATE EXTENSION IF NOT EXISTS amcheck");
        let check = "SELECT bt_index_check(c.oid, true)
             FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'btree' AND c.relpersistence <> 't' AND i.indisready AND i.indisvalid
                 AND c.relnamespace IN ('once'::regnamespace, 'public'::regnamespace)";
        if let Err(failure) = session.try_run(check) {
            return Err(format!("amcheck: {failure:?}"));
        }
    }
    Ok(())
}

/// The lines of a log that no run may leave: panics, failed assertions, leaks, crashes, and errors
/// that begin with none of these codes. `deaths` are the ends of processes that the scenario brings
/// about.
pub fn odd_lines<'l>(log: &'l str, codes: &[&str], deaths: &[&str]) -> Vec<&'l str> {
    let is_odd = |line: &&str| {
        let said = |word: &str| line.contains(word);
        let is_death = deaths.iter().any(|death| said(death));
        if said(" ERROR:  ") || said(" FATAL:  ") || said(" PANIC:  ") {
            let said = line.split("] ").nth(1).unwrap_or_default();
            let said = said.replacen("ERROR:  ", "", 1);
            return !codes.iter().any(|code| said.starts_with(code)) && !is_death;
        }
        ["TRAP", "leak", "terminated by signal", "stack smashing"]
            .iter()
            .any(|trouble| said(trouble))
            && !is_death
    };
    log.lines().filter(is_odd).collect()
}

fn key(space: &'static str, name: &Option<String>) -> Key {
    Key {
        space,
        name: name.clone().expect("a key is not null"),
    }
}

fn number(value: &Option<String>) -> i64 {
    let value = value.as_ref().expect("a number is not null");
    value.parse().expect("it is a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DROPPED;

    #[test]
    fn odd_lines_of_a_log_are_found() {
        let log = "2026-11-21 13:00:00.000 UTC [7] 40001 ERROR:  could not serialize\n\
                   2026-11-21 13:00:00.000 UTC [7] XX000 ERROR:  cache lookup failed\n\
                   2026-11-21 13:00:00.000 UTC [7] XX000 ERROR:  could not open relation with OID 7\n\
                   2026-11-21 13:00:00.000 UTC [7] 01000 WARNING:  relcache reference leak\n\
                   2026-11-21 13:00:00.000 UTC [1] 00000 LOG:  server process was terminated by signal 11\n\
                   2026-11-21 13:00:00.000 UTC [1] 00000 LOG:  server process was terminated by signal 9";
        let odd = odd_lines(log, &["40001", DROPPED[0]], &["terminated by signal 9"]);
        assert_eq!(odd.len(), 3, "{odd:#?}");
    }
}
