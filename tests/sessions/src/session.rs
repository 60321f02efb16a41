//! One connection with a thread of its own, so that a statement can be left
//! waiting in the server while the test goes on.

use crate::cluster::as_server;
use postgres::error::DbError;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long any answer may take: longer than the statement_timeout of sessions.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long it may take until a statement is seen to wait.
const LOOK: Duration = Duration::from_secs(20);

/// What every backend does, the locks that it has or waits for, and who keeps it from them.
const LOCKS: &str = "
    SELECT a.pid, a.state, a.wait_event, pg_blocking_pids(a.pid), l.locktype, l.mode, l.granted, l.page, l.tuple,
           l.transactionid
    FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    WHERE a.pid <> pg_backend_pid() AND l.locktype NOT IN ('relation', 'virtualxid')
    ORDER BY a.pid";

pub type Rows = Vec<Vec<Option<String>>>;

/// Of two sessions that wait for each other, the one that went on, with its
/// answer, and the one that was told 40P01.
pub fn end_deadlock(pair: [Session; 2]) -> (Session, Rows, Session) {
    let [mut first, mut second] = pair;
    match (first.answer(), second.answer()) {
        (Ok(rows), Err(failure)) if failure.sqlstate() == "40P01" => (first, rows, second),
        (Err(failure), Ok(rows)) if failure.sqlstate() == "40P01" => (second, rows, first),
        other => panic!("expected one 40P01: {other:?}"),
    }
}

#[derive(Debug)]
pub enum Failure {
    /// The server said no.
    Refused(Box<DbError>),
    /// The connection is gone, and what the statement did is not known.
    Lost(String),
}

impl Failure {
    pub fn sqlstate(&self) -> &str {
        match self {
            Failure::Refused(error) => error.code().code(),
            Failure::Lost(_) => "lost",
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Failure::Refused(error) => error.message(),
            Failure::Lost(message) => message,
        }
    }
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(refusal) => Failure::Refused(Box::new(refusal.clone())),
            None => Failure::Lost(error.to_string()),
        }
    }
}

pub struct Session {
    address: Config,
    pid: i32,
    statements: Sender<String>,
    answers: Receiver<Result<Rows, Failure>>,
    early: Option<Result<Rows, Failure>>,
    sent: String,
}

/// The place of the session that answers first.
pub fn first_to_answer(sessions: &mut [Session]) -> usize {
    let started = Instant::now();
    loop {
        if let Some(place) = sessions.iter_mut().position(Session::has_answered) {
            return place;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "none answers: {}",
            sessions[0].sent
        );
        thread::sleep(Duration::from_millis(2));
    }
}

impl Session {
    pub fn open(address: Config) -> Result<Session, Failure> {
        let mut client = address.connect(NoTls)?;
        // A simple query: a pooler may send what follows a Parse elsewhere.
        let pid = pid(&mut client)?;
        let (statements, inbox) = channel::<String>();
        let (outbox, answers) = channel();
        thread::spawn(move || {
            for statement in inbox {
                if outbox.send(ask(&mut client, &statement)).is_err() {
                    return;
                }
            }
        });
        Ok(Session {
            address,
            pid,
            statements,
            answers,
            early: None,
            sent: String::new(),
        })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a statement and does not wait for its answer.
    pub fn send(&mut self, sql: &str) {
        self.sent = sql.to_owned();
        self.statements.send(sql.to_owned()).unwrap();
    }

    /// The answer to the statement that was sent last.
    pub fn answer(&mut self) -> Result<Rows, Failure> {
        if let Some(answer) = self.early.take() {
            return answer;
        }
        self.answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| match error {
                RecvTimeoutError::Timeout => panic!("no answer in {PATIENCE:?}: {}", self.sent),
                RecvTimeoutError::Disconnected => {
                    panic!("the session's thread is gone: {}", self.sent)
                }
            })
    }

    pub fn try_run(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.send(sql);
        self.answer()
    }

    pub fn rows(&mut self, sql: &str) -> Rows {
        self.send(sql);
        self.answered_rows()
    }

    pub fn run(&mut self, sql: &str) {
        self.rows(sql);
    }

    /// The only value of the only row.
    pub fn value(&mut self, sql: &str) -> String {
        self.send(sql);
        self.answered_value()
    }

    pub fn is_true(&mut self, sql: &str) -> bool {
        self.send(sql);
        self.answered_true()
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        let value = self.value(sql);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{sql}: {value} is not a number"))
    }

    /// Expects an error of this SQLSTATE and returns all of it.
    pub fn refused(&mut self, sql: &str, sqlstate: &str) -> DbError {
        self.send(sql);
        self.answered_refusal(sqlstate)
    }

    pub fn answered_rows(&mut self) -> Rows {
        self.answer()
            .unwrap_or_else(|failure| panic!("{failure:?}: {}", self.sent))
    }

    pub fn answered_value(&mut self) -> String {
        let rows = self.answered_rows();
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0]
                .clone()
                .unwrap_or_else(|| panic!("{}: NULL", self.sent)),
            _ => panic!("{}: {rows:?} is not one value", self.sent),
        }
    }

    pub fn answered_true(&mut self) -> bool {
        match self.answered_value().as_str() {
            "t" => true,
            "f" => false,
            other => panic!("{}: {other} is not a boolean", self.sent),
        }
    }

    pub fn answered_refusal(&mut self, sqlstate: &str) -> DbError {
        match self.answer() {
            Err(Failure::Refused(error)) if error.code().code() == sqlstate => *error,
            other => panic!("{}: expected {sqlstate}, got {other:?}", self.sent),
        }
    }

    pub fn begin(&mut self) {
        self.run("BEGIN");
    }

    pub fn begin_at(&mut self, level: &str) {
        self.run(&format!("BEGIN ISOLATION LEVEL {level}"));
    }

    pub fn commit(&mut self) {
        self.run("COMMIT");
    }

    pub fn rollback(&mut self) {
        self.run("ROLLBACK");
    }

    /// Asks until the condition holds, for no longer than this.
    pub fn wait_until(&mut self, condition: &str, patience: Duration) {
        let started = Instant::now();
        while !self.is_true(condition) {
            assert!(started.elapsed() < patience, "never true: {condition}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that the statement that was sent comes to wait for a lock, as
    /// the server's own views show it.
    pub fn waits(&mut self) {
        self.waits_where("true");
    }

    /// The same, and that what it waits for is held by this session.
    pub fn waits_for(&mut self, holder: &Session) {
        self.waits_where(&format!(
            "{} = ANY (pg_blocking_pids({}))",
            holder.pid, self.pid
        ));
    }

    /// The same, and that what it waits for is held by a prepared transaction.
    pub fn waits_for_a_prepared_transaction(&mut self) {
        self.waits_where(&format!("0 = ANY (pg_blocking_pids({}))", self.pid));
    }

    /// The answer to the statement that was sent last, or none once it is seen to
    /// wait for a lock.
    pub fn answer_or_wait(&mut self, observer: &mut Session) -> Option<Result<Rows, Failure>> {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {} AND NOT granted)",
            self.pid
        );
        let started = Instant::now();
        while !self.has_answered() {
            if started.elapsed() > Duration::from_millis(1) && observer.is_true(&sql) {
                return None;
            }
            assert!(started.elapsed() < LOOK, "no answer: {}", self.sent);
            thread::sleep(Duration::from_micros(200));
        }
        Some(self.answer())
    }

    pub fn cancel(&self) {
        assert!(
            self.observer()
                .is_true(&format!("SELECT pg_cancel_backend({})", self.pid))
        );
    }

    /// Ends the backend and waits until the server has forgotten it.
    pub fn terminate(&self) {
        let sql = format!("SELECT pg_terminate_backend({}, 20000)", self.pid);
        assert!(
            self.observer().is_true(&sql),
            "backend {} does not end",
            self.pid
        );
    }

    /// The locks of this backend that another reader or writer could have to
    /// wait for, as another session sees them.
    pub fn locks(&self) -> Rows {
        self.observer().rows(&format!(
            "SELECT locktype, mode, relation, objsubid, granted FROM pg_locks
             WHERE pid = {} AND locktype <> 'virtualxid'
             AND NOT (locktype = 'relation'
                      AND mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'))",
            self.pid
        ))
    }

    /// The system gives this backend no more than so many bytes beside those that it has.
    pub fn limit_memory(&self, room: u64) {
        let pid = self.pid.to_string();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process on Linux");
        let kilobytes = status.lines().find_map(|line| {
            let size = line.strip_prefix("VmSize:")?.strip_suffix("kB")?;
            size.trim().parse::<u64>().ok()
        });
        let limit = kilobytes.expect("the size of the process") * 1024 + room;
        let limited = as_server("prlimit")
            .args(["--pid", &pid, &format!("--as={limit}:")])
            .status()
            .expect("prlimit of util-linux");
        assert!(limited.success());
    }

    /// Whether the statement that was sent last has been answered.
    pub fn has_answered(&mut self) -> bool {
        if self.early.is_none() {
            self.early = self.answers.try_recv().ok();
        }
        self.early.is_some()
    }

    /// The same, at once or within this time.
    pub fn answers_within(&mut self, time: Duration) -> bool {
        if self.early.is_none() {
            self.early = self.answers.recv_timeout(time).ok();
        }
        self.early.is_some()
    }

    fn waits_where(&mut self, condition: &str) {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity JOIN pg_locks USING (pid)
                            WHERE pid = {} AND wait_event_type = 'Lock' AND NOT granted)
                    AND {condition}",
            self.pid
        );
        let mut observer = self.observer();
        let started = Instant::now();
        while !observer.is_true(&sql) {
            if self.has_answered() {
                panic!(
                    "expected to wait: {}, but it answered {:?}",
                    self.sent, self.early
                );
            }
            assert!(
                started.elapsed() < LOOK,
                "does not wait where {condition}: {}, process {}: {:?}",
                self.sent,
                self.pid,
                observer.rows(LOCKS)
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn observer(&self) -> Session {
        let mut address = self.address.clone();
        address.user("postgres").dbname("postgres");
        Session::open(address).unwrap_or_else(|failure| panic!("no observer: {failure:?}"))
    }
}

fn pid(client: &mut Client) -> Result<i32, Failure> {
    let rows = ask(client, "SELECT pg_backend_pid()")?;
    let pid = rows[0][0].as_deref().and_then(|pid| pid.parse().ok());
    Ok(pid.expect("a backend has a number"))
}

fn ask(client: &mut Client, sql: &str) -> Result<Rows, Failure> {
    let messages = client.simple_query(sql).inspect_err(|_| {
        // The server sends an error before it undoes the transaction, and
        // answers an empty query after that.
        let _ = client.simple_query("");
    })?;
    let mut rows = Rows::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            );
        }
    }
    Ok(rows)
}
