//! Runs one schedule: sends a step, waits until every session has answered or waits for a lock, and lets
//! the model say what is wrong.

use crate::order::Order;
use crate::schedule::{Schedule, Step};
use crate::stage::{Stage, Waits};
use crate::subject::{Answer, Model, Subject};
use std::collections::{BTreeSet, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

/// How long sessions may wait when nobody is left who could end that.
const HANG: Duration = Duration::from_secs(5);

/// How long a session waits for one of another stage before it counts as one that waits.
const SHARED: Duration = Duration::from_millis(500);

/// The pauses between two looks at the locks grow from the first to the second.
const LOOK: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(20));

/// How long a step usually takes.
const SOON: Duration = Duration::from_micros(700);

/// What happened.
pub struct Run {
    /// The session that took each step.
    pub order: Vec<usize>,
    pub log: Vec<String>,
    pub fault: Option<String>,
}

struct Progress<C> {
    steps: VecDeque<Step<C>>,
    call: Option<C>,
    cancelled: bool,
}

struct Execution<'s, S: Subject> {
    stage: &'s mut Stage,
    model: S::Model,
    sessions: Vec<Progress<S::Call>>,
    /// Who waits, and for whom, though what it waits for was undone: a rollback to a savepoint does not
    /// end a wait for a subtransaction that had been released before. Core waits for the transaction then.
    stuck: BTreeSet<(usize, usize)>,
    log: Vec<String>,
}

/// Runs the steps of a schedule in this order. After a fault the stage is of no use any more.
pub fn execute<S: Subject>(stage: &mut Stage, schedule: &Schedule<S>, order: &mut Order) -> Run {
    let model = S::prepare(&schedule.scene, stage, schedule.sessions.len());
    let mut execution = Execution::<S> {
        stage,
        model,
        sessions: schedule
            .sessions
            .iter()
            .map(|steps| Progress {
                steps: steps.iter().cloned().collect(),
                call: None,
                cancelled: false,
            })
            .collect(),
        stuck: BTreeSet::new(),
        log: Vec::new(),
    };
    let mut taken = Vec::new();
    let fault = execution.run(order, &mut taken).err();
    Run {
        order: taken,
        log: execution.log,
        fault,
    }
}

impl<S: Subject> Execution<'_, S> {
    fn run(&mut self, order: &mut Order, taken: &mut Vec<usize>) -> Result<(), String> {
        loop {
            let able = self.able();
            if !able.is_empty() {
                let session = order.choose(&able);
                taken.push(session);
                let step = self.sessions[session].steps.pop_front();
                self.take(session, step.expect("it is able to"))?;
            } else if let Some(session) = self.idle_in_transaction() {
                self.take(session, Step::Commit)?;
            } else if self.sessions.iter().any(|one| one.call.is_some()) {
                self.await_any()?;
            } else {
                return self.model.end(&mut self.stage.looker);
            }
        }
    }

    /// The sessions that can take their next step.
    fn able(&self) -> Vec<usize> {
        (0..self.sessions.len())
            .filter(|session| {
                let one = &self.sessions[*session];
                match one.steps.front() {
                    Some(Step::Cancel) => true,
                    Some(_) => one.call.is_none(),
                    None => false,
                }
            })
            .collect()
    }

    fn idle_in_transaction(&mut self) -> Option<usize> {
        (0..self.sessions.len()).find(|session| {
            self.sessions[*session].call.is_none() && self.model.transaction(*session).is_open()
        })
    }

    fn take(&mut self, session: usize, step: Step<S::Call>) -> Result<(), String> {
        let transaction = self.model.transaction(session);
        let (is_open, has_failed) = (transaction.is_open(), transaction.has_failed());
        match step {
            Step::Call(call) => {
                let Some(sql) = self.model.statement(session, &call) else {
                    return Ok(());
                };
                let is_alone = S::Model::is_alone(&call);
                if has_failed || (is_alone && is_open) {
                    return Ok(());
                }
                if !is_alone {
                    self.begin(session)?;
                }
                self.log.push(format!("{session}: {call}    {sql}"));
                self.model.sent(session, &call);
                self.stage.sessions[session].send(&sql);
                self.sessions[session].call = Some(call);
                return self.settle(Some(session));
            }
            Step::Cancel => {
                // A timeout may be over before the cancel comes.
                let call = self.sessions[session].call.as_ref();
                if call.is_none_or(S::Model::is_brief) {
                    return Ok(());
                }
                self.log.push(format!("{session}: cancel"));
                self.sessions[session].cancelled = true;
                self.stage.cancel(session);
                return self.settle(Some(session));
            }
            Step::Savepoint if !has_failed => {
                self.begin(session)?;
                self.control(session, "SAVEPOINT s")?;
                self.model.transaction(session).begin();
                return Ok(());
            }
            Step::RollbackToSavepoint if self.model.transaction(session).has_savepoint() => {
                self.control(session, "ROLLBACK TO s")?;
                self.model.transaction(session).roll_back_to_savepoint();
                self.note_undone(session);
            }
            Step::ReleaseSavepoint
                if !has_failed && self.model.transaction(session).has_savepoint() =>
            {
                self.control(session, "RELEASE s")?;
                self.model.transaction(session).release_savepoint();
                return Ok(());
            }
            Step::Commit if is_open => {
                self.control(session, "COMMIT")?;
                if let Some(done) = self.model.transaction(session).end(true) {
                    self.model.committed(session, done);
                }
            }
            Step::Rollback if is_open => {
                self.control(session, "ROLLBACK")?;
                self.model.transaction(session).end(false);
            }
            _ => return Ok(()),
        }
        if !self.model.transaction(session).is_open() {
            self.stuck.retain(|(_, other)| *other != session);
        }
        self.model.changed();
        self.settle(None)
    }

    fn begin(&mut self, session: usize) -> Result<(), String> {
        if self.model.transaction(session).is_open() {
            return Ok(());
        }
        let begin = self.model.begin(session);
        self.control(session, &begin)?;
        self.model.transaction(session).begin();
        Ok(())
    }

    /// A part of this session's transaction was undone.
    fn note_undone(&mut self, session: usize) {
        let sessions = 0..self.sessions.len();
        let waiting = sessions.filter(|other| self.sessions[*other].call.is_some());
        self.stuck.extend(waiting.map(|other| (other, session)));
    }

    fn control(&mut self, session: usize, sql: &str) -> Result<(), String> {
        self.log.push(format!("{session}: {sql}"));
        let answer = self.stage.sessions[session].try_run(sql);
        answer
            .map(drop)
            .map_err(|failure| format!("session {session}, {sql}: {failure:?}"))
    }

    /// Waits until no session is at work, and checks what came of it.
    fn settle(&mut self, recent: Option<usize>) -> Result<(), String> {
        let (answers, waits) = self.gather(recent)?;
        self.explain(&answers)?;
        for (session, blockers) in &waits {
            let Some(call) = &self.sessions[*session].call else {
                continue;
            };
            self.log
                .push(format!("{session}: … waits for {}", shown(blockers)));
            let blockers = blockers.iter().flatten().copied();
            let is_stuck = |other: &usize| self.stuck.contains(&(*session, *other));
            let blockers: Vec<usize> = blockers.filter(|other| !is_stuck(other)).collect();
            if blockers.is_empty() {
                continue;
            }
            self.model
                .waits(*session, call, &blockers)
                .map_err(|fault| format!("session {session} waits in {call}: {fault}"))?;
        }
        self.model.look(&mut self.stage.looker)
    }

    /// The answers that come until every session that has not answered waits for a lock, and is
    /// going to.
    fn gather(&mut self, recent: Option<usize>) -> Result<(Vec<(usize, Answer)>, Waits), String> {
        let mut answers = Vec::new();
        let started = Instant::now();
        let mut patience = SOON;
        loop {
            if let Some(session) = recent.filter(|session| self.sessions[*session].call.is_some())
                && !answers.iter().any(|(answered, _)| *answered == session)
            {
                self.stage.sessions[session].answers_within(patience);
            }
            let waits = match self.busy(&answers).is_empty() {
                true => return Ok((answers, Waits::new())),
                false => self.stage.waits(),
            };
            // What has answered by now may have let others go on since the look.
            let before = answers.len();
            for session in self.busy(&answers) {
                if self.stage.sessions[session].has_answered() {
                    let answer = self.stage.sessions[session].answer();
                    let answer = answer.map_err(|failure| failure.sqlstate().to_owned());
                    answers.push((session, answer));
                }
            }
            let busy = self.busy(&answers);
            if busy.is_empty() {
                return Ok((answers, Waits::new()));
            }
            // The model has not heard yet that it is over.
            let is_alone_over = answers.iter().any(|(answered, _)| {
                let call = &self.sessions[*answered].call;
                call.as_ref().is_some_and(S::Model::is_alone)
            });
            let ends_itself = |session: &usize| {
                let one = &self.sessions[*session];
                let gives_up = |call: &S::Call| {
                    self.model.gives_up(*session, call) || is_alone_over && S::Model::is_brief(call)
                };
                one.cancelled || one.call.as_ref().is_some_and(gives_up)
            };
            // One that waits for nobody any more was let go between the two looks; for another process it
            // waits while a table that stages share grows, and for longer where another stage's purge is open.
            let is_long = started.elapsed() > SHARED;
            let is_waiting = |session: &usize| {
                let blockers = waits.get(session);
                blockers
                    .is_some_and(|of| !of.is_empty() && (is_long || of.iter().all(Option::is_some)))
            };
            let all_wait = busy.iter().all(is_waiting);
            if before == answers.len()
                && all_wait
                && !busy.iter().any(ends_itself)
                && !has_circle(&waits)
            {
                return Ok((answers, waits));
            }
            if started.elapsed() > HANG {
                let mut doing = Vec::new();
                for session in busy {
                    if let Some(call) = self.sessions[session].call.clone() {
                        let of = waits.get(&session).map(|blockers| shown(blockers));
                        let activity = self.stage.activity(session);
                        doing.push(format!(
                            "session {session} in {call}, waiting for {of:?} ({activity})"
                        ));
                    }
                }
                return Err(format!("no end of {}", doing.join("; ")));
            }
            // Each look keeps the sessions from their locks: on a busy machine frequent ones would for seconds.
            patience = (started.elapsed() / 8).clamp(LOOK.0, LOOK.1);
            if all_wait || recent.is_none_or(|recent| !self.busy(&answers).contains(&recent)) {
                thread::sleep(patience);
            }
        }
    }

    fn busy(&self, answers: &[(usize, Answer)]) -> Vec<usize> {
        (0..self.sessions.len())
            .filter(|session| {
                self.sessions[*session].call.is_some()
                    && !answers.iter().any(|(answered, _)| answered == session)
            })
            .collect()
    }

    /// Nobody is left to take a step: what waits now must be answered by itself.
    fn await_any(&mut self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let (answers, _) = self.gather(None)?;
            if !answers.is_empty() {
                self.explain(&answers)?;
                return self.model.look(&mut self.stage.looker);
            }
            if started.elapsed() > HANG {
                let waits = self.stage.waits();
                return Err(format!("all wait, and nobody is left: {waits:?}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Finds an order of the answers that the model accepts; where there is none, what it says of the
    /// order in which they came.
    fn explain(&mut self, answers: &[(usize, Answer)]) -> Result<(), String> {
        for (session, answer) in answers {
            let told = match answer {
                Ok(rows) => format!("{:?}", plain(rows)),
                Err(sqlstate) => format!("error {sqlstate}"),
            };
            self.log.push(format!("{session}: → {told}"));
        }
        let mut places: Vec<usize> = (0..answers.len()).collect();
        let mut complaint = None;
        loop {
            let ordered: Vec<&(usize, Answer)> = places.iter().map(|at| &answers[*at]).collect();
            match self.accept(&ordered) {
                Ok(model) => {
                    self.model = model;
                    for (session, _) in answers {
                        self.sessions[*session].call = None;
                        self.sessions[*session].cancelled = false;
                        self.stuck.retain(|(waiting, _)| waiting != session);
                    }
                    for (session, answer) in answers {
                        if answer.is_err() && self.model.transaction(*session).has_savepoint() {
                            self.note_undone(*session);
                        }
                    }
                    return Ok(());
                }
                Err(fault) => complaint = complaint.or(Some(fault)),
            }
            if !next_permutation(&mut places) {
                return Err(complaint.expect("there is one order at least"));
            }
        }
    }

    /// Whether a wait for what was undone, as core has it, may be a part of a circle: both were at work.
    fn may_deadlock_by_stuck(&self) -> bool {
        let is_at_work = |session: &usize| self.sessions[*session].call.is_some();
        let mut stuck = self.stuck.iter();
        stuck.any(|(waiting, other)| is_at_work(waiting) && is_at_work(other))
    }

    fn accept(&self, answers: &[&(usize, Answer)]) -> Result<S::Model, String> {
        let mut model = self.model.clone();
        for (session, answer) in answers {
            let one = &self.sessions[*session];
            let call = one.call.as_ref().expect("it was sent");
            let named = |fault| format!("session {session}, {call}: {fault}");
            let is_canceled = *answer == Err("57014".to_owned());
            if one.cancelled != is_canceled {
                let what = if is_canceled {
                    "57014 without a cancel"
                } else {
                    "a cancel is not served"
                };
                return Err(named(what.to_owned()));
            }
            // To the model a deadlock by a wait for what was undone is as a cancel.
            let canceled = Err("57014".to_owned());
            let is_of_core = *answer == Err("40P01".to_owned()) && self.may_deadlock_by_stuck();
            let answer = if is_of_core { &canceled } else { answer };
            model.answered(*session, call, answer).map_err(named)?;
            if answer.is_err() {
                model.transaction(*session).fail();
                model.changed();
            }
        }
        Ok(model)
    }
}

fn shown(blockers: &[Option<usize>]) -> String {
    let names: Vec<String> = blockers
        .iter()
        .map(|blocker| blocker.map_or("somebody else".to_owned(), |number| number.to_string()))
        .collect();
    names.join(", ")
}

fn plain(rows: &[Vec<Option<String>>]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            let values: Vec<&str> = row
                .iter()
                .map(|value| value.as_deref().unwrap_or("NULL"))
                .collect();
            values.join(" ")
        })
        .collect()
}

/// Whether sessions wait for one another, so that the server is going to end one.
fn has_circle(waits: &Waits) -> bool {
    waits.keys().any(|start| {
        let mut reached = vec![*start];
        let mut at = 0;
        while at < reached.len() {
            let blockers = waits.get(&reached[at]).into_iter().flatten();
            for blocker in blockers.flatten() {
                if blocker == start {
                    return true;
                }
                if !reached.contains(blocker) {
                    reached.push(*blocker);
                }
            }
            at += 1;
        }
        false
    })
}

fn next_permutation(places: &mut [usize]) -> bool {
    let Some(at) = places.windows(2).rposition(|pair| pair[0] < pair[1]) else {
        return false;
    };
    let with = places.iter().rposition(|place| *place > places[at]);
    places.swap(at, with.expect("the next one is greater"));
    places[at + 1..].reverse();
    true
}
