//! The sessions that run one schedule after the other, and two that look at the server meanwhile.

use crate::schedule::SESSIONS;
use crate::subject::Subject;
use pg_once_sessions::{Database, Session};
use std::collections::BTreeMap;

/// What a server of schedules is set to: nothing happens by itself, and a deadlock is soon found.
pub const SETTINGS: &[&str] = &[
    "autovacuum = off",
    "deadlock_timeout = '15ms'",
    "synchronous_commit = off",
    "max_wal_size = '4GB'",
];

pub struct Stage {
    pub sessions: Vec<Session>,
    /// Looks at the data; it has a transaction of its own for each look.
    pub looker: Session,
    observer: Session,
    number: usize,
    planted: String,
}

/// The sessions that each waiting session waits for; `None` stands for another process.
pub type Waits = BTreeMap<usize, Vec<Option<usize>>>;

impl Stage {
    /// A stage with a schema of its own, which comes first in the search_path. What is planted is SQL
    /// that is run in it at last.
    pub fn open<S: Subject>(database: &Database, number: usize, planted: &str) -> Stage {
        let connect = || {
            let mut session = database.session();
            session.run(&format!("SET search_path = stage{number}, public"));
            session.run("SET statement_timeout = '20s'");
            session
        };
        let mut stage = Stage {
            sessions: (0..SESSIONS).map(|_| connect()).collect(),
            looker: connect(),
            observer: connect(),
            number,
            planted: planted.to_owned(),
        };
        stage.looker.run(&format!(
            "DROP SCHEMA IF EXISTS stage{number} CASCADE; CREATE SCHEMA stage{number}"
        ));
        S::install(&mut stage.looker);
        stage.looker.run(planted);
        stage.prepare("");
        stage
    }

    /// Runs SQL before a schedule. Looks that come later do not wait for a lock that a statement has on
    /// the table.
    pub fn prepare(&mut self, sql: &str) {
        self.looker.run(&format!(
            "SET lock_timeout = 0; {sql}; SET lock_timeout = '10ms'"
        ));
    }

    /// The same stage with other sessions, whatever the sessions until now do.
    pub fn renew<S: Subject>(&mut self, database: &Database) {
        for session in &self.sessions {
            let pid = session.pid();
            self.observer
                .run(&format!("SELECT pg_terminate_backend({pid}, 20000)"));
        }
        *self = Stage::open::<S>(database, self.number, &self.planted);
    }

    /// Who waits for a lock at one point in time, and for whom.
    pub fn waits(&mut self) -> Waits {
        // The first function reads all locks at once.
        let waiting = self
            .observer
            .rows("SELECT pid, pg_blocking_pids(pid) FROM pg_lock_status() WHERE NOT granted");
        let number = |pid: &str| {
            let pid: i32 = pid.parse().expect("a process id");
            self.sessions
                .iter()
                .position(|session| session.pid() == pid)
        };
        let mut waits = Waits::new();
        for row in waiting {
            let [Some(pid), Some(blockers)] = row.as_slice() else {
                continue;
            };
            if let Some(session) = number(pid) {
                let blockers = blockers.trim_matches(['{', '}']);
                let blockers = blockers.split(',').filter(|pid| !pid.is_empty());
                waits.insert(session, blockers.map(number).collect());
            }
        }
        waits
    }

    /// What the server says that a session does.
    pub fn activity(&mut self, session: usize) -> String {
        let pid = self.sessions[session].pid();
        let rows = self.observer.rows(&format!(
            "SELECT state, wait_event, ARRAY(SELECT locktype || ' ' || mode || ' ' || granted FROM pg_locks WHERE pid = {pid})
             FROM pg_stat_activity WHERE pid = {pid}"
        ));
        let columns = rows.into_iter().flatten().map(Option::unwrap_or_default);
        columns.collect::<Vec<String>>().join(", ")
    }

    pub fn cancel(&mut self, session: usize) {
        let pid = self.sessions[session].pid();
        self.observer
            .run(&format!("SELECT pg_cancel_backend({pid})"));
    }
}
