//! The worker: sweeps every database that has the extension, now and then. Only with preload.
//!
//! A launcher that is connected to no database sends a sweeper to one database after the other. A
//! visit is short, so that no database is kept from being dropped or copied; the next one goes on
//! where it left off.

use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::error::Error;
use crate::pg::spi::{self, View};
use crate::pg::worker::{self, Database, Jobs, State};
use crate::pg::{Call, ErrorReport, Raised, session, settings};
use crate::sweep::{Progress, Table};

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

const SECOND: i64 = 1_000_000;
const MINUTE: u64 = 60_000_000;

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
    let mut places = HashMap::new();
    loop {
        if let Err(raised) = round(&mut places) {
            raise(raised.into());
        }
    }
}

fn round(places: &mut HashMap<Database, u64>) -> Result<(), Raised> {
    worker::show_awake();
    let interval = settings::sweep_interval();
    if interval == 0 {
        return worker::sleep(MINUTE);
    }
    let databases = worker::databases();
    places.retain(|database, _| databases.contains(database));
    for database in databases {
        worker::sleep(0)?;
        worker::show_awake();
        let place = places.get(&database).copied().unwrap_or(0);
        match worker::visit(database, place) {
            (true, place) => places.insert(database, place),
            (false, _) => places.remove(&database),
        };
    }
    // What was left off is gone on with soon.
    let pause = if places.is_empty() { interval } else { 1 };
    worker::sleep(u64::from(pause.unsigned_abs()) * SECOND as u64)
}

/// One visit to the database that this process is connected to.
fn visit() {
    let end = session::now() + VISIT;
    if !worker::transaction(c"pg_once: looking for the extension", is_installed) {
        return worker::leave(0);
    }
    let mut progress = Some(Progress::from(worker::place()));
    while let Some(at) = progress {
        let begun = session::now();
        if begun >= end {
            return worker::leave(at.into());
        }
        progress = worker::transaction(activity(at.table()), || step(at));
        // The claimers get the processor at least half of the time.
        if let Err(raised) = worker::sleep((session::now() - begun).unsigned_abs()) {
            raise(raised.into());
        }
    }
    worker::leave(0);
}

fn activity(table: Table) -> &'static CStr {
    match table {
        Table::Claim => c"pg_once: sweeping once.claim",
        Table::Work => c"pg_once: sweeping once.work_record",
    }
}

/// An error ends the process, as in any worker; the server logs it.
fn step(at: Progress) -> Option<Progress> {
    at.step().unwrap_or_else(|error| raise(error))
}

fn raise(error: Error) -> ! {
    ErrorReport::from(error).report(pgrx::PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

fn is_installed() -> bool {
    const INSTALLED: &str = "SELECT pg_catalog.set_config('lock_timeout', '1s', false) \
         FROM pg_catalog.pg_extension \
         WHERE extname OPERATOR(pg_catalog.=) 'pg_once' \
           AND pg_catalog.to_regclass('once.work_record') IS NOT NULL";
    spi::run(INSTALLED, &[], View::Isolated, |rows| {
        Ok::<_, Error>(rows.count() == 1)
    })
    .unwrap_or(false)
}
