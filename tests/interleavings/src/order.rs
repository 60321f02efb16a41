//! All orders, one after the other: each is run from the beginning, with a key of its own.

use crate::expectation::Answers;
use crate::stage::{Place, Stage};
use crate::subject::{End, Subject};
use std::collections::BTreeSet;

/// Two or three sessions that do the same and stop at these points.
#[derive(Clone, Debug)]
pub struct Interleaving<'a> {
    pub subject: Subject,
    pub ends: &'a [End],
    pub points: &'a [&'a str],
}

/// What became of all orders.
#[derive(Debug, Default)]
pub struct Report {
    pub orders: usize,
    pub steps: usize,
    /// How often a session stopped at a point.
    pub stops: usize,
    pub seen: BTreeSet<Answers>,
    pub expected: BTreeSet<Answers>,
}

/// Where there was a choice: the sessions that could make a step, and which of them made it.
#[derive(Clone, Debug)]
struct Choice {
    sessions: Vec<usize>,
    /// Its place among them; the last one where there are fewer than in the order that is replayed.
    chosen: usize,
}

impl Choice {
    fn session(&self) -> usize {
        self.sessions[self.chosen.min(self.sessions.len() - 1)]
    }
}

impl Interleaving<'_> {
    /// Runs every order; fails at the first whose answers the model does not have.
    pub fn explore(&self, stage: &mut Stage, space: &str) -> Result<Report, String> {
        let mut report = Report {
            expected: self.distinct(self.subject.expected(self.ends)),
            ..Report::default()
        };
        stage.attach(self.points);
        let mut next = Some(Vec::new());
        while let Some(prefix) = next {
            let key = format!("{space}-{}", report.orders);
            let made = self.run(stage, &key, &prefix, &mut report)?;
            report.orders += 1;
            next = following(made);
        }
        stage.detach(self.points);
        Ok(report)
    }

    fn run(
        &self,
        stage: &mut Stage,
        key: &str,
        prefix: &[usize],
        report: &mut Report,
    ) -> Result<Vec<Choice>, String> {
        let count = self.ends.len();
        if let Some(sql) = self.subject.prepare(key) {
            stage.observer.run(&sql);
        }
        let mut answers: Answers = vec![String::new(); count];
        let mut has_begun = vec![false; count];
        let mut made: Vec<Choice> = Vec::new();
        loop {
            let sessions = self.movable(stage, &has_begun);
            if sessions.is_empty() {
                break;
            }
            // A replayed order has the same choices, but where several were waiting for one lock: who of them comes
            // first is up to the server.
            let choice = Choice {
                sessions,
                chosen: prefix.get(made.len()).copied().unwrap_or(0),
            };
            let session = choice.session();
            made.push(choice);
            report.steps += 1;
            match stage.places[session].clone() {
                Place::Idle => {
                    has_begun[session] = true;
                    let call = self.subject.call(key);
                    stage.send(session, &format!("BEGIN; {call}"));
                }
                Place::Point(_) => {
                    report.stops += 1;
                    stage.wake(session);
                }
                Place::Answered(answer) => {
                    let end = self.subject.end(key, &answer, self.ends[session]);
                    answers[session] = answer;
                    stage.end(session, &end);
                }
                Place::Blocked => unreachable!("who is blocked makes no step"),
            }
        }
        self.check(stage, key, answers, report)
            .map_err(|why| format!("{why}\n{self:?}: {}", order(&made)))?;
        Ok(made)
    }

    /// The sessions that can make a step. Of those that have not begun and end alike only the first: the others
    /// are its doubles.
    fn movable(&self, stage: &Stage, has_begun: &[bool]) -> Vec<usize> {
        let mut sessions = Vec::new();
        for (session, place) in stage.places.iter().enumerate().take(self.ends.len()) {
            let is_movable = match place {
                Place::Blocked => false,
                Place::Idle => {
                    let is_double =
                        |other: usize| !has_begun[other] && self.ends[other] == self.ends[session];
                    !has_begun[session] && !(0..session).any(is_double)
                }
                Place::Point(_) | Place::Answered(_) => true,
            };
            if is_movable {
                sessions.push(session);
            }
        }
        sessions
    }

    fn check(
        &self,
        stage: &mut Stage,
        key: &str,
        answers: Answers,
        report: &mut Report,
    ) -> Result<(), String> {
        if stage.places.contains(&Place::Blocked) {
            return Err(format!("somebody waits for ever: {:?}", stage.places));
        }
        let answers = self.sorted(answers);
        if !report.expected.contains(&answers) {
            return Err(format!(
                "the model has no such answers: {answers:?}, but {:?}",
                report.expected
            ));
        }
        let effects = answers
            .iter()
            .zip(self.ends)
            .filter(|(answer, end)| **end == End::Commit && self.subject.has_effect(answer))
            .count();
        if !stage.observer.is_true(&self.subject.left(key, effects)) {
            return Err(format!("something else is left than by {answers:?}"));
        }
        report.seen.insert(answers);
        Ok(())
    }

    /// Sessions that end alike are doubles: it is all the same which of them was told what.
    fn distinct(&self, all: BTreeSet<Answers>) -> BTreeSet<Answers> {
        all.into_iter()
            .map(|answers| self.sorted(answers))
            .collect()
    }

    fn sorted(&self, answers: Answers) -> Answers {
        let mut sorted = answers.clone();
        for end in [End::Commit, End::Rollback] {
            let of_end = || (0..answers.len()).filter(|session| self.ends[*session] == end);
            let mut alike = Vec::from_iter(of_end().map(|session| answers[session].clone()));
            alike.sort();
            for (session, answer) in of_end().zip(alike) {
                sorted[session] = answer;
            }
        }
        sorted
    }
}

/// The order after this one: the last choice that can be another one is made anew.
fn following(mut made: Vec<Choice>) -> Option<Vec<usize>> {
    while let Some(last) = made.pop() {
        if last.chosen + 1 < last.sessions.len() {
            let mut prefix = Vec::from_iter(made.iter().map(|choice| choice.chosen));
            prefix.push(last.chosen + 1);
            return Some(prefix);
        }
    }
    None
}

fn order(made: &[Choice]) -> String {
    let session = |choice: &Choice| choice.session().to_string();
    Vec::from_iter(made.iter().map(session)).join(" ")
}
