//! The worker: sweeps every database that has the extension, now and then. Only with preload.
//!
//! A launcher that is connected to no database sends a sweeper to one database after the other. A
//! visit is short, so that no database is kept from being dropped or copied; the next one goes on
//! where it left off. Where much has expired since the last sweep, the next one comes sooner, and
//! the sweeper has VACUUM make the space usable again: autovacuum looks at a database once a minute
//! only, in which claims of a few seconds pile up many times over.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem;
use std::time::{Duration, Instant};

use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::error::Error;
use crate::pg::latch::Event;
use crate::pg::spi::{self, View};
use crate::pg::worker::{self, Course, Database, Jobs, State};
use crate::pg::{Call, ErrorReport, Raised, counters, session, settings};
use crate::sweep::{Count, Progress, Table};

type Text = Option<String>;

/// Whether there is to be a worker, and what is the matter with it.
#[pg_extern(sql = false)]
fn worker_state(
    _call: Call,
) -> Result<
    TableIterator<
        'static,
        (
            name!(preloaded, bool),
            name!(finding, Text),
            name!(advice, Text),
        ),
    >,
    ErrorReport,
> {
    let state = worker::state();
    let (finding, advice) = state
        .filter(|_| settings::sweep_interval() > 0 && !session::is_standby())
        .and_then(finding)
        .unzip();
    Ok(TableIterator::once((
        state.is_some(),
        finding.map(str::to_owned),
        advice.map(str::to_owned),
    )))
}

pub fn register() {
    worker::register(Jobs { launch, visit });
}

/// The longest visit, in microseconds.
const VISIT: i64 = 1_500_000;

/// How a sweeper goes on: how many rows it removes in one transaction, and how many times as long as that took it
/// rests then. Claims share the processors and the log with it.
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
/// takes long, which is to be no more than one part in so many of the time.
const LOOK: Duration = Duration::from_secs(5);
const PART: u32 = 20;

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

/// After its interval and this, the launcher should have been awake.
const PATIENCE: i64 = 60 * SECOND;

fn finding(state: State) -> Option<(&'static str, &'static str)> {
    let interval = i64::from(settings::sweep_interval()) * SECOND;
    let is_awake = state
        .awake_at
        .is_some_and(|at| session::now() - at < interval + PATIENCE);
    if !is_awake {
        return Some((
            "the worker is absent",
            "Look for \"pg_once launcher\" in the server's log; max_worker_processes must have room \
             for two.",
        ));
    }
    state.failed_at.map(|_| {
        (
            "the worker's last sweep of this database failed",
            "The server's log has its error. It tries again.",
        )
    })
}

/// Visits all databases, and sleeps. Ends with an error only, and is started again then.
fn launch() {
    let mut plans = HashMap::new();
    loop {
        if let Err(raised) = round(&mut plans) {
            raise(raised.into());
        }
    }
}

fn round(plans: &mut HashMap<Database, Plan>) -> Result<(), Raised> {
    worker::show_awake();
    let counted = counters::databases();
    let databases = worker::databases();
    for database in counted {
        if !databases.contains_key(&database) {
            counters::forget(database);
        }
    }
    plans.retain(|database, _| databases.get(database) == Some(&true));
    let interval = settings::sweep_interval();
    if interval == 0 {
        return worker::sleep(IDLE, Event::Launcher);
    }
    let interval = Duration::from_secs(interval.unsigned_abs().into());
    for (database, _) in databases.into_iter().filter(|(_, is_open)| *is_open) {
        let plan = plans.entry(database).or_default();
        if plan.wait(interval).is_zero() {
            worker::sleep(Duration::ZERO, Event::Launcher)?;
            worker::show_awake();
            plan.visit(database, interval);
        }
    }
    let waits = plans.values().map(|plan| plan.wait(interval));
    worker::sleep(waits.min().unwrap_or(interval), Event::Launcher)
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
}

impl Plan {
    fn wait(&self, interval: Duration) -> Duration {
        match self.visited {
            Some((at, pause)) => pause.min(interval).saturating_sub(at.elapsed()),
            None => Duration::ZERO,
        }
    }

    fn visit(&mut self, database: Database, interval: Duration) {
        let begun = Instant::now();
        let course = worker::visit(database, self.course);
        let now = Instant::now();
        self.worked += now - begun;
        let pause = match course {
            Some(course) if course.is_through => {
                let since = self.swept.replace(now).map_or(interval, |at| now - at);
                let worked = mem::take(&mut self.worked);
                self.course = Course::default();
                match course.is_installed {
                    true => pause(since, course.crowding).min(LOOK.max(PART * worked)),
                    false => interval,
                }
            }
            Some(course) => {
                self.course = course;
                SHORTEST
            }
            None => {
                self.course = Course::default();
                interval
            }
        };
        self.visited = Some((now, pause));
    }
}

/// The time in which so much expires as should be there to sweep, by what the last sweep found
/// that came so long after the one before.
fn pause(since: Duration, crowding: u64) -> Duration {
    let wanted = since.as_secs_f64() * CROWDING as f64 / crowding.max(1) as f64;
    Duration::from_secs_f64(wanted).clamp(SHORTEST, SHORTEST.max(2 * since))
}

/// One visit to the database that this process is connected to.
fn visit() {
    let end = session::now() + VISIT;
    let mut course = worker::course();
    let mut progress = Some(Progress::from(course.place));
    let pace = if course.place == 0 { CALM } else { HURRIED };
    course.is_installed = worker::transaction(c"pg_once: looking for the extension", is_installed);
    if !course.is_installed {
        progress = None;
    }
    while let Some(at) = progress {
        let begun = session::now();
        if begun >= end {
            course.place = at.into();
            return worker::leave(course);
        }
        let (removed, next) = worker::transaction(activity(at.table()), || step(at, pace.rows));
        course.removed += removed.unsigned_abs();
        if next.map(Progress::table) != Some(at.table()) {
            let crowding = tidy(at.table(), course.removed);
            course.crowding = course.crowding.max(crowding);
            course.removed = 0;
        }
        progress = next;
        if progress.is_some() {
            rest(pace, begun, end);
        }
    }
    course.is_through = true;
    worker::leave(course);
}

/// Rests after work that began then, but not beyond the end of the visit.
fn rest(pace: Pace, begun: i64, end: i64) {
    let now = session::now();
    let rest = (pace.rest * (now - begun)).min(end - now).max(0);
    worker::sleep(Duration::from_micros(rest.unsigned_abs()), Event::Sweeper)
        .unwrap_or_else(|raised| raise(raised.into()));
}

/// Has the table vacuumed where it needs it, once it is swept. Of a thousand rows, how many the
/// sweep has removed.
fn tidy(table: Table, removed: u64) -> u64 {
    worker::report_statistics().unwrap_or_else(|raised| raise(raised.into()));
    let count = worker::transaction(c"pg_once: looking for dead rows", || {
        table.count().unwrap_or_else(|error| raise(error))
    });
    if let Some(statement) = vacuum(table, count) {
        worker::vacuum(&statement).unwrap_or_else(|raised| raise(raised.into()));
    }
    1000 * removed / (count.live.max(0) + FEW).unsigned_abs()
}

/// The VACUUM that the table needs. It waits for nobody. Only where most of the table is empty does
/// it give space back to the operating system, for which it keeps others out for a moment.
fn vacuum(table: Table, count: Count) -> Option<CString> {
    let wanted = FEW + count.live * DEAD / 1000;
    if count.dead < wanted || count.bytes > VACUUMED {
        return None;
    }
    let is_spacious = count.heap > SPACIOUS * (count.live + FEW);
    let truncate = if is_spacious { "on" } else { "off" };
    let without = match cfg!(feature = "pg15") {
        true => "",
        false => ", SKIP_DATABASE_STATS",
    };
    let name = table.name();
    CString::new(format!(
        "VACUUM (SKIP_LOCKED, TRUNCATE {truncate}{without}) {name}"
    ))
    .ok()
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

/// Whether the extension is there. What was set for the database or its superuser does not count
/// for the sweeper: it could keep it from writing. A sweep that a crash takes back is made again,
/// so no commit waits for the disk or for a standby.
fn is_installed() -> bool {
    macro_rules! installed {
        ($($setting:literal: $value:literal),*) => {
            concat!(
                "SELECT true", $(", pg_catalog.set_config('", $setting, "', '", $value, "', false)",)*
                " FROM pg_catalog.pg_extension \
                 WHERE extname OPERATOR(pg_catalog.=) 'pg_once' \
                   AND pg_catalog.to_regclass('once.work_record') IS NOT NULL"
            )
        };
    }
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    const INSTALLED: &str = installed!(
        "lock_timeout": "1s",
        "synchronous_commit": "off",
        "search_path": "pg_catalog, pg_temp",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off"
    );
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    const INSTALLED: &str = installed!(
        "lock_timeout": "1s",
        "synchronous_commit": "off",
        "search_path": "pg_catalog, pg_temp",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off",
        "transaction_timeout": "0"
    );
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
        let statement = |count| vacuum(Table::Claim, count).map(|text| text.into_string().unwrap());
        let usual = statement(count).unwrap();
        assert!(
            usual.contains("TRUNCATE off") && usual.ends_with(" once.claim"),
            "{usual}"
        );
        assert_eq!(
            statement(Count {
                dead: 6_000,
                ..count
            }),
            None
        );
        assert_eq!(
            statement(Count {
                bytes: 1 << 30,
                ..count
            }),
            None
        );
        let emptied = statement(Count { live: 800, ..count }).unwrap();
        assert!(emptied.contains("TRUNCATE on"), "{emptied}");
    }
}
