//! The worker: sweeps every database that has the extension, now and then. Only with preload.
//!
//! A launcher that is connected to no database sends a sweeper to one database after the other. A
//! visit is short, so that no database is kept from being dropped or copied; the next one goes on
//! where it left off. Where much has expired since the last sweep, the next one comes sooner, and
//! the sweeper has VACUUM make the space usable again: autovacuum looks at a database once a minute
//! only, in which claims of a few seconds pile up many times over.

use std::collections::HashMap;
use std::ffi::CStr;
use std::mem;
use std::time::{Duration, Instant};

use pgrx::pg_extern;

use crate::error::Error;
use crate::pg::latch::Event;
use crate::pg::spi::{self, View};
use crate::pg::store::Store;
use crate::pg::worker::{self, Course, Database, Expiring, Jobs, Outcome, Process, State, Visit};
use crate::pg::{Answer, Call, ErrorReport, Raised, Value, counters, session, settings};
use crate::sweep::{Count, Progress, Table};

/// Whether there is to be a worker, when it was here, and what is the matter with it.
#[pg_extern(sql = false)]
fn worker_state(call: Call) -> Result<Answer, ErrorReport> {
    Ok(state(call).map_err(Error::from)?)
}

fn state(call: Call) -> Result<Answer, Raised> {
    let text = |text: Option<&str>| Value::text_or_null(text.map(str::as_bytes));
    let state = worker::state();
    let awake_at = state.and_then(|state| state.awake_at);
    let visited_at = state.and_then(|state| Some(state.visited?.0));
    let (finding, advice) = state.filter(|_| is_wanted()).and_then(finding).unzip();
    call.answer_columns(Some([
        Value::boolean(state.is_some()),
        text(finding)?,
        text(advice)?,
        Value::timestamp(awake_at),
        Value::timestamp(visited_at),
    ]))
}

/// The other databases whose last sweep did not go well.
#[pg_extern(sql = false)]
fn worker_troubles(call: Call) -> Result<(), ErrorReport> {
    Ok(show_troubles(call).map_err(Error::from)?)
}

fn show_troubles(call: Call) -> Result<(), Raised> {
    let store = Store::of(call)?;
    let troubles = match is_wanted() {
        true => worker::troubles()?,
        false => Vec::new(),
    };
    for (database, outcome) in troubles {
        if let Some((trouble, advice)) = trouble(outcome) {
            store.put(&[
                Value::text(&database)?,
                Value::text(trouble.as_bytes())?,
                Value::text(advice.as_bytes())?,
            ])?;
        }
    }
    Ok(())
}

fn is_wanted() -> bool {
    settings::sweep_interval() > 0 && !session::is_standby()
}

pub fn register() {
    worker::register(Jobs { launch, visit });
}

/// By when a visit is to be over, in microseconds from its beginning, the start of the process
/// included; and by when its last VACUUM is.
const VISIT: i64 = 1_400_000;
const LAST_VACUUM: i64 = 1_700_000;

/// The launcher ends a visit that takes longer: DROP DATABASE waits for 5 seconds.
const VISIT_LIMIT: Duration = Duration::from_secs(2);

/// How long it waits for a process that it has told to end, before it goes on without it.
const LEAVING: Duration = Duration::from_secs(1);

/// How often the launcher shows that it is awake, while a visit is in progress.
const AWAKE: Duration = Duration::from_millis(500);

/// Where a visit was over its time the next one comes this much later, and twice as much each time,
/// up to the longest pause.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long tables are left to autovacuum where VACUUM was over its time.
const VACUUM_PAUSE: Duration = Duration::from_secs(600);

/// A VACUUM is begun with this much time at least, in microseconds, unless it is the first thing that a
/// visit does.
const VACUUM_TIME: i64 = 600_000;

/// How long a step is to take at most, in microseconds: where rows take longer it removes fewer.
const STEP_TIME: i64 = 100_000;

/// How a sweeper goes on: how many rows it removes in one transaction at most, and how many times as long
/// as that took it rests then. Claims share the processors and the log with it.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rows: i64,
    rest: i64,
}

const CALM: Pace = Pace { rows: 200, rest: 3 };

/// Where the sweep is more than one visit's work.
const HURRIED: Pace = Pace {
    rows: 2_000,
    rest: 1,
};

/// The shortest time between two visits to a database.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest time until it is looked whether claims expire faster than before: in a minute those of
/// some seconds would pile up, and an index does not shrink again. It may be longer where a sweep
/// takes long, which is to be no more than one part in so many of the time, and where sweeps find
/// nothing.
const LOOK: Duration = Duration::from_secs(5);
const PART: u32 = 20;

/// The longest time until a database is visited in which nothing is made that expires, in intervals.
const QUIET: u32 = 4;

/// How long the launcher sleeps that has nothing to do.
const IDLE: Duration = Duration::from_secs(60);

/// Of a thousand rows, how many are to expire from one sweep to the next.
const CROWDING: u64 = 125;

/// Of a thousand rows, how many may be dead without VACUUM: fewer than a sweep leaves, so that VACUUM comes
/// after each one that was worth it, and not after every second.
const DEAD: i64 = 80;

/// So many rows more or less make no difference to the space.
const FEW: i64 = 200;

/// The largest table that the sweeper has vacuumed, its indexes included: larger ones take VACUUM
/// longer than a visit should be. Those are left to autovacuum.
const VACUUMED: i64 = 256 << 20;

/// Where a row takes more than this, in bytes, most of the table is empty.
const SPACIOUS: i64 = 500;

const SECOND: i64 = 1_000_000;

/// The launcher is awake at least every [`LOOK`]. So far apart it can also be because the clock was set: then
/// for that long.
const PATIENCE: i64 = 60 * SECOND;

fn finding(state: State) -> Option<(&'static str, &'static str)> {
    let is_awake = state
        .awake_at
        .is_some_and(|at| (session::now() - at).abs() < PATIENCE);
    if !is_awake {
        return Some((
            "the worker is absent",
            "Look for \"pg_once launcher\" in the server's log; max_worker_processes must have room \
             for two.",
        ));
    }
    let (_, outcome) = state.visited?;
    match outcome {
        Outcome::Done => None,
        Outcome::Failed => Some((
            "the worker's last sweep of this database failed",
            "The server's log has its error. It tries again.",
        )),
        Outcome::LateConnecting => Some((
            "the worker could not connect to this database in time",
            LOCKED,
        )),
        Outcome::LateSweeping => Some((
            "the worker's last sweep of this database took too long, and was ended",
            SLOW,
        )),
        Outcome::NoPlace => Some((
            "the worker's last sweep of this database failed: the server had no place for its process",
            NO_PLACE,
        )),
    }
}

/// What the sweep of another database did not end well with.
fn trouble(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Done => None,
        Outcome::Failed => Some((
            "it failed",
            "The server's log has its error. It tries again.",
        )),
        Outcome::LateConnecting => Some(("it could not connect in time", LOCKED)),
        Outcome::LateSweeping => Some(("it took too long, and was ended", SLOW)),
        Outcome::NoPlace => None,
    }
}

const LOCKED: &str = "Somebody keeps the database locked: an open ALTER DATABASE, or CREATE DATABASE with it as \
     the template. pg_locks shows who, with locktype 'object'. Other databases are swept meanwhile; this one is \
     tried again later.";
const SLOW: &str = "Look for triggers on the tables of schema once and for what slows the server down. Other databases are \
     swept meanwhile; this one is tried again later, in smaller steps.";
const NO_PLACE: &str = "max_worker_processes must have room for two. It tries again.";

/// Visits all databases, and sleeps. Ends with an error only, and is started again then.
fn launch(process: &mut Process) {
    let mut launcher = Launcher::default();
    loop {
        if let Err(raised) = launcher.round(process) {
            raise(raised.into());
        }
    }
}

#[derive(Default)]
struct Launcher {
    plans: HashMap<Database, Plan>,
    /// Those that were told to end and are still there. Their databases are passed over.
    leaving: Vec<Visit>,
}

impl Launcher {
    fn round(&mut self, process: &mut Process) -> Result<(), Raised> {
        worker::show_awake();
        let counted = counters::databases();
        let databases = process.databases();
        for database in counted {
            if !databases.contains_key(&database) {
                counters::forget(database);
            }
        }
        let is_open = |database: &Database| databases.get(database) == Some(&true);
        self.plans.retain(|database, _| is_open(database));
        worker::forget(|database| is_open(&database));
        let interval = settings::sweep_interval();
        if interval == 0 {
            return process.sleep(IDLE, Event::Launcher);
        }
        let interval = Duration::from_secs(interval.unsigned_abs().into());
        for database in databases.keys().copied().filter(is_open) {
            self.leaving.retain(|visit| !visit.is_over());
            let is_leaving = self.leaving.iter().any(|left| left.database() == database);
            let plan = self.plans.entry(database).or_default();
            plan.look(worker::expiring(database), session::now());
            if !is_leaving && plan.wait(interval).is_zero() {
                process.sleep(Duration::ZERO, Event::Launcher)?;
                worker::show_awake();
                self.leaving
                    .extend(plan.visit(process, database, interval)?);
            }
        }
        let waits = self.plans.values().map(|plan| plan.wait(interval));
        let pause = waits.min().unwrap_or(interval).min(LOOK);
        let pause = if self.leaving.is_empty() {
            pause
        } else {
            pause.max(LEAVING)
        };
        process.sleep(pause, Event::Launcher)
    }
}

/// Sends a sweeper to the database, and ends it where it is over its time. What it leaves behind, or
/// why there is nothing; and the sweeper where it is still there.
fn send(
    process: &mut Process,
    database: Database,
    course: Course,
) -> Result<(Result<Course, Outcome>, Option<Visit>), Raised> {
    let Some(visit) = Visit::begin(database, course) else {
        return Ok((Err(Outcome::NoPlace), None));
    };
    let begun = Instant::now();
    let mut ended = None;
    while !visit.is_over() {
        let limit = if ended.is_some() {
            VISIT_LIMIT + LEAVING
        } else {
            VISIT_LIMIT
        };
        let left = limit.saturating_sub(begun.elapsed());
        match (left.is_zero(), ended) {
            (false, _) => {
                process.sleep(left.min(AWAKE), Event::Launcher)?;
                worker::show_awake();
            }
            (true, None) => {
                ended = Some(match visit.is_connected() {
                    true => Outcome::LateSweeping,
                    false => Outcome::LateConnecting,
                });
                visit.terminate();
            }
            (true, Some(outcome)) => return Ok((Err(outcome), Some(visit))),
        }
    }
    let course = visit.course();
    Ok((course.ok_or(ended.unwrap_or(Outcome::Failed)), None))
}

/// When a database is visited next, and what that visit is told. At first: now, and nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// When the last visit ended, and how long to wait after it.
    visited: Option<(Instant, Duration)>,
    /// When the last sweep came to its end, and how long the visits since then took.
    swept: Option<Instant>,
    worked: Duration,
    course: Course,
    /// How many visits in a row were over their time.
    late: u32,
    /// When VACUUM was over its time.
    vacuum_late: Option<Instant>,
    /// Whether the last sweep has found nothing: then the next one comes after twice the time.
    is_idle: bool,
    /// [`Expiring::made`] at the last look; whether it has changed since the last visit began, and between
    /// that one and the one before.
    made: u32,
    is_busy: bool,
    was_busy: bool,
    /// What was made since a visit of which nothing had expired at the last one.
    wave: Wave,
    /// The shortest pause, by what the last sweep took.
    rest: Duration,
}

/// What will expire.
#[derive(Clone, Copy, Debug, Default)]
struct Wave {
    rows: u32,
    /// When the first of it expires.
    begins: Option<Instant>,
}

impl Wave {
    /// When it is to be swept first: what piles up until then stays in the index.
    fn is_due(self) -> Option<Instant> {
        self.begins
            .filter(|_| i64::from(self.rows) >= FEW)
            .and_then(|at| at.checked_add(SHORTEST))
    }
}

impl Plan {
    fn wait(&self, interval: Duration) -> Duration {
        let longest = match (self.late, self.is_busy) {
            (1.., _) => BACKOFF.1,
            (0, true) => interval,
            (0, false) => QUIET * interval,
        };
        let Some((at, pause)) = self.visited else {
            return Duration::ZERO;
        };
        let early = match self.wave.is_due().filter(|_| self.late == 0) {
            Some(due) => due.saturating_duration_since(at).max(self.rest),
            None => longest,
        };
        pause.min(longest).min(early).saturating_sub(at.elapsed())
    }

    /// Where something begins to be made that expires, it is looked soon how fast.
    fn look(&mut self, expiring: Expiring, now: i64) {
        let made = expiring.made.wrapping_sub(self.made);
        if made == 0 {
            return;
        }
        self.made = expiring.made;
        self.is_busy = true;
        self.wave.rows = self.wave.rows.saturating_add(made);
        let begins = expiring
            .soonest
            .and_then(|at| u64::try_from(at - now).ok())
            .and_then(|time| Instant::now().checked_add(Duration::from_micros(time)));
        self.wave.begins = match (self.wave.begins, begins) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if !self.was_busy && self.is_idle {
            self.swept = Some(Instant::now());
            self.visited = self.visited.map(|(at, pause)| (at, pause.min(LOOK)));
        }
    }

    /// The sweeper, where it is still there. None is sent to a database that is locked: so it costs
    /// no time, however many there are.
    fn visit(
        &mut self,
        process: &mut Process,
        database: Database,
        interval: Duration,
    ) -> Result<Option<Visit>, Raised> {
        if process.is_locked(database) {
            // DDL keeps it locked for a moment.
            if self.late > 0 {
                worker::record(database, Outcome::LateConnecting);
            }
            self.late += 1;
            self.visited = Some((Instant::now(), LOOK));
            return Ok(None);
        }
        self.vacuum_late = self.vacuum_late.filter(|at| at.elapsed() < VACUUM_PAUSE);
        self.course.is_vacuum_off = self.vacuum_late.is_some();
        self.course.end = session::now() + VISIT;
        self.was_busy = mem::take(&mut self.is_busy);
        let begun = Instant::now();
        let has_begun = self.wave.begins.is_some_and(|at| at <= begun);
        let expired_since = has_begun
            .then(|| mem::take(&mut self.wave).begins)
            .flatten();
        let (course, left) = send(process, database, self.course)?;
        let now = Instant::now();
        worker::record(database, course.err().unwrap_or(Outcome::Done));
        self.worked += now - begun;
        if let Ok(course) = course
            && course.is_vacuum_off
        {
            self.vacuum_late.get_or_insert(now);
        }
        let is_late = matches!(course, Err(Outcome::LateConnecting | Outcome::LateSweeping));
        self.late = if is_late { self.late + 1 } else { 0 };
        let pause = match course {
            Ok(course) if course.is_through => {
                let since = self.swept.replace(now).map_or(interval, |at| now - at);
                let since = expired_since.map_or(since, |at| since.min(SHORTEST.max(now - at)));
                self.rest = SHORTEST.max(PART * mem::take(&mut self.worked));
                self.course = Course {
                    rows: course.rows,
                    ..Course::default()
                };
                self.is_idle = course.crowding == 0;
                let longest = match self.is_idle {
                    true => Duration::MAX,
                    false => LOOK.max(self.rest),
                };
                pause(since, course.crowding).min(longest)
            }
            Ok(course) => {
                self.course = course;
                SHORTEST
            }
            Err(_) if is_late => {
                self.course = Course {
                    rows: (self.course.rows / 10).max(1),
                    ..Course::default()
                };
                backoff(self.late)
            }
            Err(_) => {
                self.course = Course::default();
                interval
            }
        };
        self.visited = Some((now, pause));
        Ok(left)
    }
}

/// How long to wait after so many visits in a row that were over their time.
fn backoff(late: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first
        .saturating_mul(1 << late.saturating_sub(1).min(10))
        .min(longest)
}

/// The time in which so much expires as should be there to sweep, by what the last sweep found
/// that came so long after the one before.
fn pause(since: Duration, crowding: u64) -> Duration {
    let wanted = since.as_secs_f64() * CROWDING as f64 / crowding.max(1) as f64;
    Duration::from_secs_f64(wanted).clamp(SHORTEST, SHORTEST.max(2 * since))
}

/// Where a visit goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sweep(Progress),
    /// The table is swept; it may need VACUUM.
    Tidy(Table),
    Through,
}

/// What a [`Stage`] is kept as: how far the sweep has come, and above it whether that is tidying.
const TIDY: u64 = 1 << 63;

impl From<u64> for Stage {
    fn from(kept: u64) -> Self {
        let progress = Progress::from(kept & !TIDY);
        match kept & TIDY {
            0 => Self::Sweep(progress),
            _ => Self::Tidy(progress.table()),
        }
    }
}

impl From<Stage> for u64 {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Sweep(progress) => progress.into(),
            Stage::Tidy(table) => u64::from(Progress::begin(table)) | TIDY,
            Stage::Through => 0,
        }
    }
}

/// One visit to the database that this process is connected to.
fn visit(process: &mut Process) {
    let begun = session::now();
    let mut course = worker::course();
    let end = course.end.min(begun + VISIT);
    let pace = if course.place == 0 { CALM } else { HURRIED };
    let mut rows = match course.rows {
        0 => CALM.rows,
        rows => pace.rows.min(rows as i64),
    };
    let mut stage = Stage::from(course.place);
    course.is_installed = process.transaction(c"pg_once: looking for the extension", is_installed);
    if !course.is_installed {
        stage = Stage::Through;
    }
    let mut is_first = true;
    while stage != Stage::Through {
        let now = session::now();
        let needed = if matches!(stage, Stage::Tidy(_)) {
            VACUUM_TIME
        } else {
            0
        };
        if !is_first && now + needed >= end {
            course.place = stage.into();
            course.rows = rows.unsigned_abs();
            return worker::leave(course);
        }
        is_first = false;
        stage = match stage {
            Stage::Sweep(at) => {
                let (removed, next) = process.transaction(activity(at.table()), || step(at, rows));
                course.removed += removed.unsigned_abs();
                rows = next_rows(rows, session::now() - now).min(pace.rows);
                if next.is_some() {
                    rest(process, pace, now, end);
                }
                match next {
                    Some(next) if next.table() == at.table() => Stage::Sweep(next),
                    _ => Stage::Tidy(at.table()),
                }
            }
            Stage::Tidy(table) => {
                let crowding = tidy(process, table, &mut course, end + LAST_VACUUM - VISIT);
                course.crowding = course.crowding.max(crowding);
                course.removed = 0;
                match table {
                    Table::Claim => Stage::Sweep(Progress::begin(Table::Work)),
                    Table::Work => Stage::Through,
                }
            }
            Stage::Through => stage,
        };
    }
    course.rows = rows.unsigned_abs();
    course.is_through = true;
    worker::leave(course);
}

/// How many rows the next step removes, after one of so many that took this long, in microseconds.
fn next_rows(rows: i64, time: i64) -> i64 {
    match time > STEP_TIME {
        true => (rows * STEP_TIME / time).max(1),
        false => 2 * rows,
    }
}

/// Rests after work that began then, but not beyond the end of the visit.
fn rest(process: &mut Process, pace: Pace, begun: i64, end: i64) {
    let now = session::now();
    let rest = (pace.rest * (now - begun)).min(end - now).max(0);
    process
        .sleep(Duration::from_micros(rest.unsigned_abs()), Event::Sweeper)
        .unwrap_or_else(|raised| raise(raised.into()));
}

/// Has the table vacuumed where it needs it, once it is swept, but not beyond `end`. Of a thousand
/// rows, how many the sweep has removed; 1 at least where it has removed any.
fn tidy(process: &mut Process, table: Table, course: &mut Course, end: i64) -> u64 {
    process
        .report_statistics()
        .unwrap_or_else(|raised| raise(raised.into()));
    let (proved, count) = process.transaction(c"pg_once: looking for dead rows", || {
        table.count().unwrap_or_else(|error| raise(error))
    });
    if !course.is_vacuum_off
        && let Some(truncate) = vacuum(count)
    {
        let end = end.max(session::now() + VACUUM_TIME);
        let is_done = process
            .vacuum(proved, truncate, end)
            .unwrap_or_else(|raised| raise(raised.into()));
        course.is_vacuum_off = !is_done;
    }
    let crowding = 1000 * course.removed / (count.live.max(0) + FEW).unsigned_abs();
    crowding.max(u64::from(course.removed > 0))
}

/// Whether a table needs VACUUM, and whether that is to give space back to the operating system:
/// only where most of the table is empty.
fn vacuum(count: Count) -> Option<bool> {
    let wanted = FEW + count.live * DEAD / 1000;
    let is_wanted = count.dead >= wanted && count.bytes <= VACUUMED;
    is_wanted.then(|| count.heap > SPACIOUS * (count.live + FEW))
}

fn activity(table: Table) -> &'static CStr {
    match table {
        Table::Claim => c"pg_once: sweeping once.claim",
        Table::Work => c"pg_once: sweeping once.work_record",
    }
}

/// An error ends the process, as in any worker; the server logs it.
fn step(at: Progress, rows: i64) -> (i64, Option<Progress>) {
    at.step(rows).unwrap_or_else(|error| raise(error))
}

fn raise(error: Error) -> ! {
    ErrorReport::from(error).report(pgrx::PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// Whether the extension is there.
fn is_installed() -> bool {
    const INSTALLED: &str = "SELECT FROM pg_catalog.pg_extension \
         WHERE extname OPERATOR(pg_catalog.=) 'pg_once' \
           AND pg_catalog.to_regclass('once.work_record') IS NOT NULL";
    spi::run(INSTALLED, &[], View::Isolated, |rows| {
        Ok::<_, Error>(rows.count() == 1)
    })
    .unwrap_or_else(|error| raise(error))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_expires_fast_is_swept_soon() {
        // Ten times as much has expired as is left: claims that last six seconds.
        assert_eq!(pause(MINUTE, 10_000), SHORTEST);
        assert_eq!(pause(MINUTE, 500), MINUTE / 4);
        assert_eq!(pause(MINUTE, CROWDING), MINUTE);
        assert_eq!(pause(Duration::ZERO, 0), SHORTEST);
    }

    #[test]
    fn it_calms_down_step_by_step() {
        let mut since = SHORTEST;
        for _ in 0..10 {
            let next = pause(since, 0);
            assert_eq!(next, 2 * since);
            since = next;
        }
    }

    /// A plan after a sweep that found nothing, so long after the one before.
    fn idle_plan(since: Duration) -> Plan {
        Plan {
            visited: Some((Instant::now(), pause(since, 0))),
            is_idle: true,
            ..Plan::default()
        }
    }

    fn roughly(time: Duration) -> u64 {
        (time + SHORTEST / 2).as_secs()
    }

    #[test]
    fn a_database_in_which_nothing_expires_is_visited_every_fourth_interval() {
        assert_eq!(roughly(idle_plan(MINUTE).wait(MINUTE)), 120);
        assert_eq!(roughly(idle_plan(60 * MINUTE).wait(MINUTE)), 240);
    }

    /// One that has no time, so that no wave begins.
    const MADE: Expiring = Expiring {
        made: 1,
        soonest: None,
    };

    #[test]
    fn what_begins_to_expire_brings_it_back_and_what_goes_on_does_not() {
        let mut plan = idle_plan(60 * MINUTE);
        plan.look(MADE, 0);
        assert_eq!(roughly(plan.wait(MINUTE)), LOOK.as_secs());
        let mut plan = idle_plan(60 * MINUTE);
        plan.was_busy = true;
        plan.look(MADE, 0);
        assert_eq!(roughly(plan.wait(MINUTE)), 60);
    }

    /// `made` since the visit, of which the first expires after so many seconds.
    fn plan_of_wave(made: u32, seconds: u64) -> Plan {
        let mut plan = idle_plan(60 * MINUTE);
        plan.was_busy = true;
        let soonest = Some(seconds as i64 * SECOND);
        plan.look(Expiring { made, soonest }, 0);
        plan
    }

    #[test]
    fn much_that_expires_soon_is_swept_when_the_first_of_it_has_expired() {
        assert_eq!(roughly(plan_of_wave(200, 6).wait(MINUTE)), 7);
        assert_eq!(roughly(plan_of_wave(199, 6).wait(MINUTE)), 60);
        assert_eq!(roughly(plan_of_wave(200, 600).wait(MINUTE)), 60);
        let rested = Plan {
            rest: Duration::from_secs(20),
            ..plan_of_wave(200, 6)
        };
        assert_eq!(roughly(rested.wait(MINUTE)), 20);
    }

    #[test]
    fn a_late_database_waits_longer_each_time() {
        let pauses = [1, 2, 3, 7, 100].map(|late| backoff(late).as_secs());
        assert_eq!(pauses, [5, 10, 20, 300, 300]);
    }

    #[test]
    fn slow_rows_make_small_steps() {
        assert_eq!(next_rows(200, 1_000), 400);
        assert_eq!(next_rows(200, 200_000), 100);
        assert_eq!(next_rows(1, 5_000_000), 1);
    }

    #[test]
    fn a_stage_is_kept() {
        for stage in [
            Stage::Sweep(Progress::begin(Table::Claim)),
            Stage::Sweep(Progress::begin(Table::Work)),
            Stage::Tidy(Table::Claim),
            Stage::Tidy(Table::Work),
        ] {
            assert_eq!(Stage::from(u64::from(stage)), stage);
        }
    }

    #[test]
    fn a_steady_load_settles() {
        // A tenth of the rows expires each second.
        let mut since = MINUTE;
        for _ in 0..5 {
            since = pause(since, (100.0 * since.as_secs_f64()) as u64);
        }
        assert!(since >= SHORTEST && since <= 2 * SHORTEST, "{since:?}");
    }

    #[test]
    fn vacuum_comes_for_many_dead_rows_of_a_table_that_is_not_too_large() {
        let count = Count {
            live: 80_000,
            dead: 20_000,
            heap: 10 << 20,
            bytes: 16 << 20,
        };
        assert_eq!(vacuum(count), Some(false));
        assert_eq!(
            vacuum(Count {
                dead: 6_000,
                ..count
            }),
            None
        );
        assert_eq!(
            vacuum(Count {
                bytes: 1 << 30,
                ..count
            }),
            None
        );
        assert_eq!(vacuum(Count { live: 800, ..count }), Some(true));
    }
}
