//! Looks for a schedule that the model does not accept, and makes it as short as it can.

use crate::execution::{Run, execute};
use crate::order::Order;
use crate::schedule::Schedule;
use crate::stage::{SETTINGS, Stage};
use crate::subject::Subject;
use pg_once_sessions::{Cluster, Database};
use std::env;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Stages that run side by side: sessions wait more than they work.
const STAGES: usize = 4;

/// The most orders of short lists that are run, before the next lists have their turn.
const ORDERS: usize = 250;

/// How often a schedule is run again before it counts as one without a fault, while it is shortened.
const ATTEMPTS: usize = 3;

/// How often a schedule that is written down is run: who of several waiters gets a lock may differ.
const REPLAYS: usize = 20;

pub struct Budget {
    pub schedules: usize,
    pub time: Duration,
    pub first_seed: u64,
    /// After how many different faults it ends.
    pub faults: usize,
    /// Words of the faults that are looked for; others are passed over.
    pub wanted: &'static str,
    /// How long a schedule with a fault is shortened.
    pub shortening: Duration,
}

impl Budget {
    /// What the environment says: SCHEDULES is a number of schedules, SCHEDULE_SECONDS a time;
    /// SCHEDULE_SEED is where to begin, SCHEDULE_FAULTS after how many faults to end.
    pub fn of_the_environment() -> Budget {
        let number = |name: &str| -> Option<u64> {
            let value = env::var(name).ok()?;
            Some(
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
            )
        };
        let schedules = number("SCHEDULES");
        let seconds = match schedules {
            Some(_) => u64::from(u32::MAX),
            None => number("SCHEDULE_SECONDS").unwrap_or(30),
        };
        Budget {
            schedules: schedules.map_or(usize::MAX, |number| number as usize),
            time: Duration::from_secs(seconds),
            first_seed: number("SCHEDULE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 40)),
            faults: number("SCHEDULE_FAULTS").unwrap_or(1) as usize,
            wanted: "",
            shortening: Duration::from_secs(30),
        }
    }
}

/// A schedule with a fault.
pub struct Found {
    pub seed: u64,
    pub schedule: String,
    pub fault: String,
    pub log: Vec<String>,
    /// The same fault in fewer steps.
    pub shortest: Option<(String, String)>,
}

pub struct Report {
    pub schedules: usize,
    pub steps: usize,
    pub took: Duration,
    pub first_seed: u64,
    pub found: Vec<Found>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{} schedules, {} steps, {:.1} s, from seed {}",
            self.schedules,
            self.steps,
            self.took.as_secs_f64(),
            self.first_seed
        )?;
        for found in &self.found {
            writeln!(f, "SCHEDULE_SEED={}", found.seed)?;
            writeln!(f, "SCHEDULE='{}'", found.schedule)?;
            for line in &found.log {
                writeln!(f, "    {line}")?;
            }
            writeln!(f, "    fault: {}", found.fault)?;
            if let Some((schedule, fault)) = &found.shortest {
                writeln!(f, "shorter: SCHEDULE='{schedule}'")?;
                writeln!(f, "    fault: {fault}")?;
            }
        }
        Ok(())
    }
}

/// A fault without its numbers.
fn shape(fault: &str) -> String {
    fault.replace(|c: char| c.is_ascii_digit(), "")
}

/// What a test of the suite does: runs what SCHEDULE names, or else searches, and fails where there is a
/// fault.
pub fn check<S: Subject>() {
    let cluster = Cluster::start(SETTINGS);
    let database = cluster.database();
    let report = match env::var("SCHEDULE") {
        Ok(written) => replay::<S>(&database, &written, REPLAYS),
        Err(_) => search::<S>(&database, &Budget::of_the_environment(), ""),
    };
    println!("schedules: {}: {report}", S::NAME);
    assert!(report.found.is_empty(), "a schedule has a fault");
}

/// Runs schedules until the budget is used up or there is a fault. One seed of 32 is short lists in every
/// order, the others are longer lists in one order.
///
/// What is planted is SQL that is run in the schema of each stage, which comes first in the search_path.
pub fn search<S: Subject>(database: &Database, budget: &Budget, planted: &str) -> Report {
    let started = Instant::now();
    let (schedules, steps) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seeds = AtomicU64::new(budget.first_seed);
    let found = Mutex::new(Vec::<Found>::new());
    let is_over = || {
        started.elapsed() > budget.time
            || schedules.load(Ordering::Relaxed) >= budget.schedules
            || found.lock().unwrap().len() >= budget.faults
    };
    let count = |run: &Run| {
        schedules.fetch_add(1, Ordering::Relaxed);
        steps.fetch_add(run.order.len(), Ordering::Relaxed);
        is_over()
    };
    // Whether it is the first of its kind.
    let note = |seed: u64, schedule: &Schedule<S>, fault: &str, log: Vec<String>| {
        let mut found = found.lock().unwrap();
        let is_known = found.iter().any(|one| shape(&one.fault) == shape(fault));
        let is_new = !is_known && fault.contains(budget.wanted) && found.len() < budget.faults;
        if is_new {
            found.push(Found {
                seed,
                schedule: schedule.to_string(),
                fault: fault.to_owned(),
                log,
                shortest: None,
            });
        }
        is_new
    };
    thread::scope(|scope| {
        for number in 0..STAGES {
            let (seeds, found, is_over, count, note) = (&seeds, &found, &is_over, &count, &note);
            scope.spawn(move || {
                let mut stage = Stage::open::<S>(database, number, planted);
                while !is_over() {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let Some((schedule, run)) = run_seed::<S>(&mut stage, seed, count) else {
                        continue;
                    };
                    let fault = run.fault.expect("that is why it ended");
                    stage.renew::<S>(database);
                    if !note(seed, &schedule, &fault, run.log) {
                        continue;
                    }
                    let shortest =
                        shorten(database, &mut stage, schedule, &fault, budget.shortening);
                    let mut found = found.lock().unwrap();
                    let mut those = found.iter_mut();
                    let this = those.find(|one| one.seed == seed).expect("it was noted");
                    this.shortest = shortest.map(|(schedule, fault)| (schedule.to_string(), fault));
                }
            });
        }
    });
    Report {
        schedules: schedules.into_inner(),
        steps: steps.into_inner(),
        took: started.elapsed(),
        first_seed: budget.first_seed,
        found: found.into_inner().unwrap(),
    }
}

/// Runs the schedule that is written down, until there is a fault or it has run as often.
pub fn replay<S: Subject>(database: &Database, written: &str, times: usize) -> Report {
    let started = Instant::now();
    let mut schedule: Schedule<S> = written.parse().unwrap_or_else(|error| panic!("{error}"));
    let mut stage = Stage::open::<S>(database, 0, "");
    let mut report = Report {
        schedules: 0,
        steps: 0,
        took: Duration::ZERO,
        first_seed: 0,
        found: Vec::new(),
    };
    for _ in 0..times {
        let run = execute(&mut stage, &schedule, &mut Order::written(&schedule.order));
        report.schedules += 1;
        report.steps += run.order.len();
        if let Some(fault) = run.fault {
            schedule.order = run.order;
            report.found.push(Found {
                seed: 0,
                schedule: schedule.to_string(),
                fault,
                log: run.log,
                shortest: None,
            });
            break;
        }
    }
    report.took = started.elapsed();
    report
}

/// Runs all schedules of one seed; the first with a fault.
fn run_seed<S: Subject>(
    stage: &mut Stage,
    seed: u64,
    is_enough: impl Fn(&Run) -> bool,
) -> Option<(Schedule<S>, Run)> {
    let (mut schedule, mut order) = match seed % 32 {
        0 => (Schedule::<S>::short(seed), Order::first()),
        _ => {
            let schedule = Schedule::long(seed);
            let order = Order::written(&schedule.order);
            (schedule, order)
        }
    };
    for _ in 0..ORDERS {
        let run = execute(stage, &schedule, &mut order);
        let is_enough = is_enough(&run);
        if run.fault.is_some() {
            schedule.order = run.order.clone();
            return Some((schedule, run));
        }
        if is_enough || !order.advance() {
            break;
        }
    }
    None
}

/// Leaves out steps and sessions as long as a fault remains.
fn shorten<S: Subject>(
    database: &Database,
    stage: &mut Stage,
    mut schedule: Schedule<S>,
    sought: &str,
    patience: Duration,
) -> Option<(Schedule<S>, String)> {
    let mut shortest = None;
    let started = Instant::now();
    'again: loop {
        for candidate in shorter(&schedule) {
            for _ in 0..ATTEMPTS {
                if started.elapsed() > patience {
                    return shortest;
                }
                let run = execute(stage, &candidate, &mut Order::written(&candidate.order));
                let Some(fault) = run.fault else {
                    continue;
                };
                stage.renew::<S>(database);
                if shape(&fault) == shape(sought) {
                    schedule = candidate;
                    schedule.order = run.order;
                    shortest = Some((schedule.clone(), fault));
                    continue 'again;
                }
            }
        }
        return shortest;
    }
}

/// The schedule without one session, or without one step.
fn shorter<S: Subject>(schedule: &Schedule<S>) -> Vec<Schedule<S>> {
    let mut all = Vec::new();
    for session in 0..schedule.sessions.len() {
        if schedule.sessions.len() > 1 {
            let mut without = schedule.clone();
            without.sessions.remove(session);
            without.order.retain(|other| *other != session);
            for other in &mut without.order {
                *other -= usize::from(*other > session);
            }
            all.push(without);
        }
    }
    for session in 0..schedule.sessions.len() {
        for step in 0..schedule.sessions[session].len() {
            let mut without = schedule.clone();
            without.sessions[session].remove(step);
            let mut seen = 0;
            without.order.retain(|other| {
                seen += usize::from(*other == session);
                *other != session || seen != step + 1
            });
            all.push(without);
        }
    }
    all
}
