//! Sessions that stop at injection points, and one that sees where they are and lets them go on.

use pg_once_sessions::{Database, Failure, Session};
use std::thread;
use std::time::{Duration, Instant};

/// A step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub const POINTS: [&str; 6] = ["probe", "insert", "confirm", "wait", "renew", "create-row"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The session has no transaction.
    Idle,
    /// At this injection point.
    Point(String),
    /// It waits for a lock.
    Blocked,
    /// Its call has returned this.
    Answered(String),
}

pub struct Stage {
    sessions: Vec<Session>,
    pub observer: Session,
    pub places: Vec<Place>,
}

impl Stage {
    pub fn open(database: &Database, count: usize) -> Stage {
        let mut observer = database.session();
        observer.run("CREATE EXTENSION IF NOT EXISTS injection_points");
        let session = |number: usize| {
            let mut session = database.session();
            session.run(&format!("SET application_name = 's{number}'"));
            session
        };
        Stage {
            sessions: (0..count).map(session).collect(),
            observer,
            places: vec![Place::Idle; count],
        }
    }

    /// Lets the sessions stop at these points.
    pub fn attach(&mut self, points: &[&str]) {
        self.for_each_point(points, "attach", ", 'wait'");
    }

    pub fn detach(&mut self, points: &[&str]) {
        self.for_each_point(points, "detach", "");
    }

    fn for_each_point(&mut self, points: &[&str], act: &str, argument: &str) {
        for point in points {
            for session in 0..self.sessions.len() {
                for turn in 0..2 {
                    self.observer.run(&format!(
                        "SELECT injection_points_{act}('pg_once-{point}-s{session}-{turn}'{argument})"
                    ));
                }
            }
        }
    }

    /// Sends a session on its way, and waits until none is on its way.
    pub fn send(&mut self, session: usize, sql: &str) {
        self.sessions[session].send(sql);
        self.settle(Some(session));
    }

    /// Lets a session go on from its point, and waits until none is on its way.
    pub fn wake(&mut self, session: usize) {
        let Place::Point(name) = &self.places[session] else {
            panic!("session {session} is at no point: {:?}", self.places);
        };
        self.observer
            .run(&format!("SELECT injection_points_wakeup('{name}')"));
        self.settle(Some(session));
    }

    /// Ends the transaction of a session that has been answered.
    pub fn end(&mut self, session: usize, sql: &str) {
        self.sessions[session].run(sql);
        self.places[session] = Place::Idle;
        self.settle(None);
    }

    /// Waits until each session has answered, or is at a point, or waits for a lock. The one that moves is no
    /// longer where it was.
    fn settle(&mut self, mover: Option<usize>) {
        let started = Instant::now();
        // Where the mover was, until it is somewhere else.
        let mut left = mover.map(|mover| (mover, self.places[mover].clone()));
        loop {
            let mut moving = 0;
            // Before the look: what an answer has released the look finds released.
            let sessions = self.sessions.iter_mut();
            let answered = Vec::from_iter(sessions.map(|session| session.has_answered()));
            let pids = self
                .sessions
                .iter()
                .map(|session| session.pid().to_string());
            let pids = Vec::from_iter(pids).join(",");
            let seen = self.observer.rows(&format!(
                "SELECT s.pid, a.wait_event, EXISTS (SELECT FROM pg_locks AS l
                     WHERE l.pid = s.pid AND NOT l.granted)
                 FROM unnest('{{{pids}}}'::int[]) WITH ORDINALITY AS s (pid, place)
                     LEFT JOIN pg_stat_activity AS a
                         ON a.pid = s.pid AND a.wait_event_type = 'InjectionPoint'
                 ORDER BY place"
            ));
            for (number, row) in seen.iter().enumerate() {
                let is_mover = left.as_ref().is_some_and(|(mover, _)| *mover == number);
                if !is_mover && !matches!(self.places[number], Place::Blocked) {
                    continue;
                }
                let place = if answered[number] {
                    Some(Place::Answered(match self.sessions[number].answer() {
                        Ok(rows) => rows[0][0].clone().unwrap_or_default(),
                        Err(Failure::Refused(error)) => error.code().code().to_owned(),
                        Err(Failure::Lost(why)) => panic!("session {number} is lost: {why}"),
                    }))
                } else if let Some(name) = &row[1] {
                    Some(Place::Point(name.clone()))
                } else if row[2].as_deref() == Some("t") {
                    Some(Place::Blocked)
                } else {
                    None
                };
                let is_where_it_was = |place: &Place| {
                    is_mover && left.as_ref().is_some_and(|(_, left)| left == place)
                };
                match place {
                    Some(place) if !is_where_it_was(&place) => {
                        self.places[number] = place;
                        if is_mover {
                            left = None;
                        }
                    }
                    _ => moving += 1,
                }
            }
            if moving == 0 {
                return;
            }
            if started.elapsed() > PATIENCE {
                let activity = self.observer.rows(
                    "SELECT application_name, state, wait_event_type, wait_event, query
                     FROM pg_stat_activity WHERE application_name LIKE 's_'",
                );
                panic!("no end: {:?}, {activity:?}", self.places);
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
}
