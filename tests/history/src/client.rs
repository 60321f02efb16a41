//! One client: asks what its plan says, and writes down what it was told.

use crate::door::Door;
use crate::plan::{Call, DROPPED, End, GORGE, How, SCRAP, Script};
use crate::record::{Deed, Key, Level, Moment, NEVER, Outcome, Span, Step, Transaction, Work};
use crate::wire::Wire;
use pg_once_sessions::{Failure, Rows, Session};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may be away, or killed again before a slow machine has let this client in.
const PATIENCE: Duration = Duration::from_secs(300);

/// Refusals that any client must expect: serialization, deadlock, cancel.
const EXPECTED: [&str; 3] = ["40001", "40P01", "57014"];

/// The tokens that a client remembers, the stale ones too.
const TOKENS: usize = 4;

/// Why a statement has no answer.
enum Broken {
    /// The session goes on; its transaction does not.
    Refused,
    /// A call with a token that is not current.
    Stale,
    /// The session is gone.
    Gone,
}

type Asked<T> = Result<T, Broken>;

/// An answer with its times.
struct Told {
    asked: Moment,
    told: Moment,
    rows: Rows,
}

pub struct Client<'a> {
    number: usize,
    door: &'a Door,
    wire: Option<Wire>,
    session: Option<Session>,
    sessions: u32,
    start: Instant,
    /// When the session certainly was there, the last time: when that was asked which was answered
    /// last. By the time the answer is read its backend may have been ended.
    alive: Moment,
    /// Refusals that this scenario brings with it, each by its SQLSTATE or also the beginning of its message.
    allowed: &'a [&'a str],
    done: u64,
    tokens: VecDeque<(Key, i64)>,
    held: Vec<(Key, bool)>,
    /// The claim with an owner whose COMMIT was not answered: it is asked once more.
    doubt: Option<(Key, u64)>,
    history: Vec<Transaction>,
}

impl<'a> Client<'a> {
    pub fn new(
        number: usize,
        door: &'a Door,
        wire: Option<Wire>,
        start: Instant,
        allowed: &'a [&'a str],
    ) -> Client<'a> {
        Client {
            number,
            door,
            wire,
            session: None,
            sessions: 0,
            start,
            alive: Moment::ZERO,
            allowed,
            done: 0,
            tokens: VecDeque::new(),
            held: Vec::new(),
            doubt: None,
            history: Vec::new(),
        }
    }

    pub fn into_history(self) -> Vec<Transaction> {
        self.history
    }

    /// Connects, if need be. False where it was told to stop before there was a server.
    pub fn connect(&mut self, is_over: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        while self.session.is_none() {
            let address = match &self.wire {
                Some(wire) => self.door.address(wire.directory(), self.number),
                None => self.door.address(self.door.socket(), self.number),
            };
            match Session::open(address) {
                Ok(session) => {
                    self.session = Some(session);
                    self.sessions += 1;
                    self.held.clear();
                }
                Err(failure) => {
                    if is_over() {
                        return false;
                    }
                    assert!(
                        begun.elapsed() < PATIENCE,
                        "the server stays away: {failure:?}"
                    );
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        true
    }

    pub fn play(&mut self, script: Script) {
        if let Some((key, owner)) = self.doubt.take() {
            let sql = try_claim(&key, "'1 s'", Some(owner));
            self.alone(None, |client, transaction| {
                client.try_claim(transaction, &key, owner, &sql)
            });
        }
        match script {
            Script::Alone { call, cut } => {
                self.alone(cut, |client, transaction| client.call(transaction, call));
            }
            Script::Transaction {
                level,
                engine,
                signed,
                calls,
                end,
            } => self.transaction(level, engine, signed, calls, end),
        }
    }

    fn begun(&mut self, level: Level, signed: bool) -> Transaction {
        self.done += 1;
        let now = self.start.elapsed();
        Transaction {
            client: self.number,
            session: self.sessions,
            number: self.number as u64 * 10_000_000 + self.done,
            level,
            signed,
            steps: Vec::new(),
            end: Span {
                from: now,
                until: now,
            },
            outcome: Outcome::RolledBack,
            open_until: now,
        }
    }

    /// A call that commits by itself.
    fn alone(&mut self, cut: Option<u64>, call: impl FnOnce(&mut Self, &mut Open) -> Asked<()>) {
        let mut transaction = self.begun(Level::ReadCommitted, false);
        let mut open = Open {
            transaction: &mut transaction,
            is_alone: true,
            cut: cut.filter(|_| self.wire.is_some()),
        };
        let asked = call(self, &mut open);
        let Some(last) = transaction.steps.last() else {
            return;
        };
        transaction.end = Span {
            from: last.asked,
            until: last.told,
        };
        transaction.open_until = match asked {
            Err(Broken::Gone) => self.alive,
            _ => last.asked,
        };
        transaction.outcome = match asked {
            Ok(()) => Outcome::Committed,
            Err(Broken::Gone) => Outcome::Unknown,
            Err(Broken::Refused | Broken::Stale) => Outcome::RolledBack,
        };
        if transaction.outcome == Outcome::Unknown {
            transaction.end.until = NEVER;
            self.note_doubt(&transaction);
        }
        self.history.push(transaction);
    }

    fn transaction(
        &mut self,
        level: Level,
        engine: &str,
        signed: bool,
        calls: Vec<Call>,
        end: End,
    ) {
        let mut transaction = self.begun(level, signed);
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL {}; SET LOCAL pg_once.claim_engine = '{engine}'",
            level.sql()
        );
        if signed {
            begin += &format!("; INSERT INTO signature VALUES ({})", transaction.number);
        }
        let mut ended = match self.say_at(&begin, None) {
            Ok(_) => Ok(()),
            Err((_, broken)) => Err(broken),
        };
        let mut calls = calls.into_iter();
        let mut has_savepoint = false;
        while ended.is_ok() {
            let Some(call) = calls.next() else { break };
            let is_savepoint = call == Call::Savepoint;
            let mut open = Open {
                transaction: &mut transaction,
                is_alone: false,
                cut: None,
            };
            ended = self.call(&mut open, call);
            if matches!(ended, Err(Broken::Refused | Broken::Stale)) && has_savepoint {
                ended = self.control(&mut transaction, "ROLLBACK TO s", Deed::Undone);
            }
            has_savepoint |= is_savepoint && ended.is_ok();
        }
        let last = if ended.is_ok() && end != End::Rollback {
            let cut = match end {
                End::Cut(after) if self.wire.is_some() => Some(after),
                _ => None,
            };
            (self.say_at("COMMIT", cut), Outcome::Committed)
        } else if matches!(ended, Err(Broken::Gone)) {
            (Err((self.alive, Broken::Gone)), Outcome::RolledBack)
        } else {
            (self.say_at("ROLLBACK", None), Outcome::RolledBack)
        };
        match last {
            (Ok(told), outcome) => {
                transaction.outcome = outcome;
                transaction.end = Span {
                    from: told.asked,
                    until: told.told,
                };
                transaction.open_until = told.asked;
            }
            (Err((asked, broken)), outcome) => {
                // A COMMIT that was refused is rolled back; of one that was not answered nobody knows.
                let is_gone = matches!(broken, Broken::Gone);
                transaction.outcome = match outcome {
                    Outcome::Committed if is_gone => Outcome::Unknown,
                    _ => Outcome::RolledBack,
                };
                transaction.end = Span {
                    from: asked,
                    until: if is_gone { NEVER } else { self.start.elapsed() },
                };
                transaction.open_until = self.alive;
                if !is_gone && self.say_at("ROLLBACK", None).is_err() {
                    self.session = None;
                }
            }
        }
        if transaction.outcome == Outcome::Unknown {
            self.note_doubt(&transaction);
        }
        self.history.push(transaction);
    }

    fn control(&mut self, transaction: &mut Transaction, sql: &str, deed: Deed) -> Asked<()> {
        match self.say_at(sql, None) {
            Ok(told) => {
                transaction.steps.push(told.step(deed));
                Ok(())
            }
            Err((asked, broken)) => Err(self.refused(transaction, asked, broken)),
        }
    }

    fn note_doubt(&mut self, transaction: &Transaction) {
        self.doubt = transaction.steps.iter().find_map(|step| match &step.deed {
            Deed::Claim { key, owner, won } if *owner > 0 && *won != Some(false) => {
                Some((key.clone(), *owner))
            }
            _ => None,
        });
    }

    /// Asks, and writes down what was told, or that it was refused, or that the answer to a call
    /// that commits by itself was lost.
    fn ask(
        &mut self,
        open: &mut Open,
        sql: &str,
        lost: &[Deed],
        read: impl FnOnce(&Rows) -> Vec<Deed>,
    ) -> Asked<()> {
        match self.say_at(sql, open.cut) {
            Ok(told) => {
                let deeds = read(&told.rows);
                let steps = deeds.into_iter().map(|deed| told.step(deed));
                open.transaction.steps.extend(steps);
                Ok(())
            }
            Err((asked, broken)) => {
                let told = self.start.elapsed();
                let step = |deed| Step { asked, told, deed };
                let steps = &mut open.transaction.steps;
                match broken {
                    Broken::Refused => steps.push(step(Deed::Refused)),
                    Broken::Stale => {
                        if let Some(Deed::Work { key, act }) = lost.first() {
                            let act = Work::Stale {
                                token: token_of(act),
                            };
                            steps.push(step(Deed::Work {
                                key: key.clone(),
                                act,
                            }));
                        }
                        steps.push(step(Deed::Refused));
                    }
                    Broken::Gone if open.is_alone => {
                        steps.extend(lost.iter().cloned().map(step));
                    }
                    Broken::Gone => {}
                }
                Err(broken)
            }
        }
    }

    fn call(&mut self, open: &mut Open, call: Call) -> Asked<()> {
        match call {
            Call::Pause(microseconds) => thread::sleep(Duration::from_micros(microseconds)),
            Call::Claim(key) => {
                let sql = format!("SELECT claim_once('{}', '{}')", key.space, key.name);
                let claim = |won| Deed::Claim {
                    key: key.clone(),
                    owner: 0,
                    won,
                };
                self.ask(open, &sql, &[claim(None)], |rows| {
                    vec![claim(Some(is_true(rows)))]
                })?;
            }
            Call::ClaimMany(mut keys) => {
                let names = Vec::from_iter(keys.iter().map(|key| key.name.as_str())).join(",");
                let space = keys[0].space;
                let sql = format!("SELECT claim_many('{space}', '{{{names}}}')");
                keys.sort_unstable();
                keys.dedup();
                let claim = |key: &Key, won| Deed::Claim {
                    key: key.clone(),
                    owner: 0,
                    won,
                };
                let lost: Vec<Deed> = keys.iter().map(|key| claim(key, None)).collect();
                self.ask(open, &sql, &lost, |rows| {
                    let won = |key: &Key| rows.iter().any(|row| row[0].as_ref() == Some(&key.name));
                    keys.iter().map(|key| claim(key, Some(won(key)))).collect()
                })?;
            }
            Call::Try {
                key,
                timeout,
                owned,
            } => {
                let step = open.transaction.steps.len() as u64 + 1;
                let owner = owned.then_some(open.transaction.number * 100 + step);
                let sql = try_claim(&key, timeout, owner);
                self.try_claim(open, &key, owner.unwrap_or(0), &sql)?;
            }
            Call::Unclaim(key) => {
                let sql = format!("SELECT unclaim('{}', '{}')", key.space, key.name);
                let unclaim = |gave| Deed::Unclaim {
                    key: key.clone(),
                    gave,
                };
                self.ask(open, &sql, &[unclaim(None)], |rows| {
                    vec![unclaim(Some(is_true(rows)))]
                })?;
            }
            Call::IsClaimed(key) => {
                let sql = format!("SELECT is_claimed('{}', '{}')", key.space, key.name);
                self.ask(open, &sql, &[], |rows| {
                    let claimed = is_true(rows);
                    vec![Deed::Look { key, claimed }]
                })?;
            }
            Call::Turn { row, how, timeout } => self.turn(open, row, how, timeout)?,
            Call::Lock {
                name,
                shared,
                timeout,
            } => {
                let taken =
                    Vec::from_iter(open.transaction.steps.iter().filter_map(
                        |step| match &step.deed {
                            Deed::Lock {
                                name: of, shared, ..
                            } if *of == name => Some(*shared),
                            _ => None,
                        },
                    ));
                // A shared lock is not made exclusive: that is not a mutex of one mode any more.
                if taken.iter().all(|of| *of == shared) {
                    self.lock(open, "with_lock", name, shared, timeout)?;
                }
            }
            Call::Hold {
                name,
                shared,
                timeout,
            } => {
                if self
                    .held
                    .iter()
                    .all(|(held, of)| *held != name || *of == shared)
                {
                    self.lock(open, "hold_lock", name, shared, timeout)?;
                }
            }
            Call::Release(which) => {
                if !self.held.is_empty() {
                    let which = which % self.held.len();
                    let (name, shared) = self.held.swap_remove(which);
                    let sql = format!(
                        "SELECT release_lock('{}', '{}', {shared})",
                        name.space, name.name
                    );
                    self.ask(open, &sql, &[], |rows| {
                        assert!(is_true(rows), "a lock that was held is gone: {name}");
                        vec![Deed::Release { name, shared }]
                    })
                    // A cancel that comes too late for the release leaves open whether it was done.
                    .inspect_err(|_| self.session = None)?;
                }
            }
            Call::Savepoint => self.control(open.transaction, "SAVEPOINT s", Deed::Savepoint)?,
            Call::Undo => self.control(open.transaction, "ROLLBACK TO s", Deed::Undone)?,
            Call::Gorge => {
                self.ask(open, GORGE, &[], |_| Vec::new())?;
            }
            Call::Begin { .. }
            | Call::Renew { .. }
            | Call::Complete { .. }
            | Call::Fail { .. }
            | Call::Fence { .. }
            | Call::Forget(_) => self.work(open, call)?,
        }
        Ok(())
    }

    fn try_claim(&mut self, open: &mut Open, key: &Key, owner: u64, sql: &str) -> Asked<()> {
        let claim = |won| Deed::Claim {
            key: key.clone(),
            owner,
            won,
        };
        self.ask(open, sql, &[claim(None)], |rows| {
            match rows[0][0].as_deref() {
                Some("won") => vec![claim(Some(true))],
                Some("duplicate") => vec![claim(Some(false))],
                Some("in_progress") => Vec::new(),
                other => panic!("{other:?}: {sql}"),
            }
        })
    }

    /// Takes the turn of a row, and writes the next count.
    fn turn(&mut self, open: &mut Open, row: Key, how: How, timeout: &str) -> Asked<()> {
        let Key { space, name } = &row;
        let key = format!("'{{\"key\": \"{name}\"}}'");
        let (select, of_row) = match how {
            How::WithRowLock => (
                format!(
                    "SELECT NULL, n FROM with_row_lock(NULL::{space}, {key}, timeout => {timeout})"
                ),
                format!("key = '{name}'"),
            ),
            How::FindOrCreate => (
                format!(
                    "SELECT created, (entity).n
                     FROM find_or_create(NULL::{space}, {key}, lock => true, timeout => {timeout})"
                ),
                format!("key = '{name}'"),
            ),
            How::WithPaymentLock => (
                format!(
                    "SELECT created, payment->>'n'
                     FROM with_payment_lock(7, '{name}', timeout => {timeout})"
                ),
                format!("(service_id, line_item_id) = (7, '{name}')"),
            ),
        };
        let mut shown = None;
        let mut span = None;
        match self.say_at(&select, None) {
            Ok(told) => {
                if let Some(row) = told.rows.first() {
                    let count: i64 = row[1].as_ref().unwrap().parse().unwrap();
                    shown = Some((row[0].as_deref().map(|created| created == "t"), count));
                    span = Some((told.asked, told.told));
                }
            }
            Err((asked, broken)) => return Err(self.refused(open.transaction, asked, broken)),
        }
        let (Some((created, seen)), Some((asked, told))) = (shown, span) else {
            return Ok(());
        };
        let update = format!("UPDATE {space} SET n = {} WHERE {of_row}", seen + 1);
        if let Err((asked, broken)) = self.say_at(&update, None) {
            return Err(self.refused(open.transaction, asked, broken));
        }
        if *space != SCRAP {
            let deed = Deed::Turn { row, created, seen };
            open.transaction.steps.push(Step { asked, told, deed });
        }
        Ok(())
    }

    fn refused(&self, transaction: &mut Transaction, asked: Moment, broken: Broken) -> Broken {
        if !matches!(broken, Broken::Gone) {
            transaction.steps.push(Step {
                asked,
                told: self.start.elapsed(),
                deed: Deed::Refused,
            });
        }
        broken
    }

    fn lock(
        &mut self,
        open: &mut Open,
        function: &str,
        name: Key,
        shared: bool,
        timeout: &str,
    ) -> Asked<()> {
        let sql = format!(
            "SELECT {function}('{}', '{}', {timeout}, {shared})",
            name.space, name.name
        );
        let of_session = function == "hold_lock";
        let mut obtained = false;
        self.ask(open, &sql, &[], |rows| {
            obtained = is_true(rows);
            let lock = Deed::Lock {
                name: name.clone(),
                shared,
                of_session,
            };
            if obtained { vec![lock] } else { Vec::new() }
        })?;
        if obtained && of_session {
            self.held.push((name, shared));
        }
        Ok(())
    }

    fn work(&mut self, open: &mut Open, call: Call) -> Asked<()> {
        let token = match &call {
            Call::Renew { which, .. }
            | Call::Complete { which }
            | Call::Fail { which, .. }
            | Call::Fence { which } => match self.tokens.len() {
                0 => return Ok(()),
                count => Some(self.tokens[which % count].clone()),
            },
            _ => None,
        };
        let named = |key: &Key| format!("'{}', '{}'", key.space, key.name);
        let work = |key: &Key, act| Deed::Work {
            key: key.clone(),
            act,
        };
        match (call, token) {
            (
                Call::Begin {
                    key,
                    milliseconds,
                    wait,
                },
                _,
            ) => {
                let sql = format!(
                    "SELECT outcome, token, result, (extract(epoch FROM lease_until) * 1000000)::bigint
                     FROM begin_once({}, '{milliseconds} ms', wait => {wait})",
                    named(&key)
                );
                let mut run = None;
                self.ask(open, &sql, &[work(&key, Work::BeginLost)], |rows| {
                    let number =
                        |column: usize| rows[0][column].as_ref().map(|n| n.parse().unwrap());
                    let act = match rows[0][0].as_deref() {
                        Some("run") => {
                            let (token, until): (i64, i64) =
                                (number(1).unwrap(), number(3).unwrap());
                            run = Some(token);
                            Work::Run {
                                token,
                                begun: until - i64::from(milliseconds) * 1000,
                                until,
                            }
                        }
                        Some("in_progress") => match number(3) {
                            Some(until) => Work::InProgress { until },
                            None => return Vec::new(),
                        },
                        Some("done") => Work::Done {
                            token: number(2).unwrap(),
                        },
                        Some("failed") => Work::FailedForGood {
                            token: number(2).unwrap(),
                        },
                        other => panic!("{other:?}: {key}"),
                    };
                    vec![work(&key, act)]
                })?;
                if let Some(token) = run {
                    self.tokens.truncate(TOKENS - 1);
                    self.tokens.push_front((key, token));
                }
            }
            (Call::Renew { milliseconds, .. }, Some((key, token))) => {
                let sql = format!(
                    "SELECT (extract(epoch FROM renew_once({}, {token}, '{milliseconds} ms'))
                             * 1000000)::bigint",
                    named(&key)
                );
                let lost = work(&key, Work::Renew { token, until: None });
                self.ask(open, &sql, &[lost], |rows| {
                    let until = rows[0][0].as_ref().map(|until| until.parse().unwrap());
                    vec![work(&key, Work::Renew { token, until })]
                })?;
            }
            (Call::Complete { .. }, Some((key, token))) => {
                let sql = format!("SELECT complete_once({}, {token}, '{token}')", named(&key));
                let lost = work(&key, Work::Complete { token, first: None });
                let mut first = false;
                self.ask(open, &sql, &[lost], |rows| {
                    first = is_true(rows);
                    let first = Some(first);
                    vec![work(&key, Work::Complete { token, first })]
                })?;
                if first && !open.is_alone {
                    self.effect(open, &key, token, true)?;
                }
            }
            (Call::Fail { retry, after, .. }, Some((key, token))) => {
                let sql = format!(
                    "SELECT fail_once({}, {token}, '{token}', {retry}, {after})",
                    named(&key)
                );
                let fail = work(&key, Work::Fail { token, retry });
                self.ask(open, &sql, std::slice::from_ref(&fail), |_| {
                    vec![fail.clone()]
                })?;
            }
            (Call::Fence { .. }, Some((key, token))) => {
                let sql = format!("SELECT fence_once({}, {token})", named(&key));
                let fence = work(&key, Work::Fence { token });
                self.ask(open, &sql, std::slice::from_ref(&fence), |_| {
                    vec![fence.clone()]
                })?;
                self.effect(open, &key, token, false)?;
            }
            (Call::Forget(key), _) => {
                let sql = format!("SELECT forget_once({})", named(&key));
                let lost = work(&key, Work::Forget { gone: None });
                self.ask(open, &sql, &[lost], |rows| {
                    let gone = Some(is_true(rows));
                    vec![work(&key, Work::Forget { gone })]
                })?;
            }
            (call, _) => unreachable!("{call:?} is no work"),
        }
        Ok(())
    }

    fn effect(&mut self, open: &mut Open, key: &Key, token: i64, completes: bool) -> Asked<()> {
        let sql = format!(
            "INSERT INTO effect (key, token, completes) VALUES ('{}', {token}, {completes})",
            key.name
        );
        self.ask(open, &sql, &[], |_| Vec::new())
    }

    /// Sends a statement and waits for its answer; with `cut` the connection is cut so many
    /// microseconds later.
    fn say_at(&mut self, sql: &str, cut: Option<u64>) -> Result<Told, (Moment, Broken)> {
        let asked = self.start.elapsed();
        let Some(session) = &mut self.session else {
            return Err((asked, Broken::Gone));
        };
        session.send(sql);
        if let (Some(after), Some(wire)) = (cut, &self.wire) {
            thread::sleep(Duration::from_micros(after));
            wire.cut();
        }
        let failure = match session.answer() {
            Ok(rows) => {
                self.alive = asked;
                let told = self.start.elapsed();
                return Ok(Told { asked, told, rows });
            }
            Err(failure) => failure,
        };
        let broken = match &failure {
            Failure::Lost(_) => Broken::Gone,
            Failure::Refused(error) if error.severity() != "ERROR" => Broken::Gone,
            Failure::Refused(error) => {
                let code = error.code().code();
                if code == "55000" && error.message().contains("lease lost") {
                    Broken::Stale
                } else {
                    let said = format!("{code} {}", error.message());
                    let expected = EXPECTED.contains(&code)
                        || self.allowed.iter().any(|of| said.starts_with(of));
                    let is_dropped = DROPPED.iter().any(|of| said.starts_with(of));
                    let of_scrap = !is_dropped || sql.contains(SCRAP);
                    assert!(expected && of_scrap, "{failure:?}: {sql}");
                    Broken::Refused
                }
            }
        };
        match broken {
            Broken::Gone => self.session = None,
            Broken::Refused | Broken::Stale => self.alive = asked,
        }
        Err((asked, broken))
    }
}

/// A transaction that is being recorded.
struct Open<'t> {
    transaction: &'t mut Transaction,
    is_alone: bool,
    cut: Option<u64>,
}

impl Told {
    fn step(&self, deed: Deed) -> Step {
        Step {
            asked: self.asked,
            told: self.told,
            deed,
        }
    }
}

fn try_claim(key: &Key, timeout: &str, owner: Option<u64>) -> String {
    let owner = owner.map_or("NULL".to_owned(), |owner| format!("'{owner}'"));
    format!(
        "SELECT try_claim_once('{}', '{}', {timeout}, owner => {owner})",
        key.space, key.name
    )
}

fn token_of(act: &Work) -> i64 {
    match act {
        Work::Renew { token, .. }
        | Work::Complete { token, .. }
        | Work::Fail { token, .. }
        | Work::Fence { token } => *token,
        other => unreachable!("{other:?} has no token to be stale"),
    }
}

fn is_true(rows: &Rows) -> bool {
    rows[0][0].as_deref() == Some("t")
}
