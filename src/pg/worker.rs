//! Background workers: one that is always there, and one that it sends to a database for a moment.
//!
//! What they know of each other is in shared memory; it is there where the library is preloaded.

use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_long};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{IntoDatum, pg_guard};

use super::guard::{Raised, guard};
use super::latch::Event;
use super::{raw, session, settings, vacuum};

/// What the workers do.
pub struct Jobs {
    /// Of the one that is always there. It comes back to the caller never.
    pub launch: fn(),
    /// Of one in a database, which is to end soon.
    pub visit: fn(),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Database(pub(super) Oid);

/// What a visit is told, and what it leaves behind for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Where it goes on.
    pub place: u64,
    /// How many rows were removed of the table that it has come to.
    pub removed: u64,
    /// Of a thousand rows of a table, how many were removed since it was last swept: the most of
    /// any.
    pub crowding: u64,
    /// Whether all tables have been swept.
    pub is_through: bool,
    /// Whether the database has the extension.
    pub is_installed: bool,
}

/// What the workers and those who look at them share. All zero at first.
#[repr(C)]
pub struct Shared {
    /// When the launcher was last awake.
    awake_at: AtomicI64,
    /// The course of the visit in progress.
    place: AtomicU64,
    removed: AtomicU64,
    crowding: AtomicU64,
    is_through: AtomicBool,
    is_installed: AtomicBool,
    /// Whether the visit came to its end.
    is_done: AtomicBool,
    /// The databases whose last visit failed. One that falls on the place of another takes it.
    failures: [Failure; FAILURES],
}

#[repr(C)]
struct Failure {
    database: AtomicU32,
    at: AtomicI64,
}

const FAILURES: usize = 1024;

const NAME: &CStr = c"pg_once workers";

static JOBS: OnceLock<Jobs> = OnceLock::new();
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

static mut EARLIER_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut EARLIER_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Registers the launcher, while the postmaster loads the library. It starts once the server is
/// no standby, and again 5 seconds after it failed.
///
/// There is none while pg_upgrade works on the cluster: it has noted the next transaction id before,
/// and the new server would give out again those that a sweep took.
pub fn register(jobs: Jobs) {
    if !settings::is_preloaded() || is_upgrade() || JOBS.set(jobs).is_err() {
        return;
    }
    // SAFETY: hooks are set by the postmaster alone, and those that were there are called.
    unsafe {
        EARLIER_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(at_request);
        EARLIER_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(at_startup);
    }
    BackgroundWorkerBuilder::new("pg_once launcher")
        .set_type("pg_once launcher")
        .set_library("pg_once")
        .set_function("pg_once_launcher")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(5)))
        .load();
}

fn is_upgrade() -> bool {
    // SAFETY: reads a global of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_request() {
    // SAFETY: called by the postmaster when memory may be asked for.
    unsafe {
        if let Some(earlier) = EARLIER_REQUEST {
            earlier();
        }
        pg_sys::RequestAddinShmemSpace(size_of::<Shared>());
    }
}

/// Backends inherit what is found out here.
#[pg_guard]
unsafe extern "C-unwind" fn at_startup() {
    // SAFETY: called by the postmaster when shared memory is made, also anew after a crash.
    unsafe {
        if let Some(earlier) = EARLIER_STARTUP {
            earlier();
        }
        let mut found = false;
        let shared =
            pg_sys::ShmemInitStruct(NAME.as_ptr(), size_of::<Shared>(), &raw mut found).cast();
        if !found {
            ptr::write_bytes::<Shared>(shared, 0, 1);
        }
        SHARED.store(shared, Relaxed);
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_once_launcher(_nothing: Datum) {
    take_signals();
    BackgroundWorker::connect_worker_to_spi_by_oid(None, None);
    if let Some(jobs) = JOBS.get() {
        (jobs.launch)();
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_once_sweeper(database: Datum) {
    take_signals();
    let database = Oid::from(database.value() as u32);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    if let Some(jobs) = JOBS.get() {
        (jobs.visit)();
    }
}

/// SIGTERM is served as in any backend, also in the middle of a statement.
fn take_signals() {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    // SAFETY: the handler is the one of all backends.
    unsafe { raw::set_signal_handler(SIGTERM, raw::die) };
}

const SIGTERM: c_int = 15;

/// Sleeps, and serves interrupts and a reload of the settings. Where the postmaster is gone the
/// process ends, so that the server can be started again.
pub fn sleep(time: Duration, event: Event) -> Result<(), Raised> {
    let event = event.number()?;
    let events = (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as c_int;
    let milliseconds = time.as_micros().div_ceil(1000) as c_long;
    // SAFETY: in the main loop of a worker, outside of any transaction. The latch is this
    // process's, and is reset before what it was set for is served.
    unsafe {
        guard(|| {
            raw::WaitLatch(pg_sys::MyLatch, events, milliseconds, event);
            raw::ResetLatch(pg_sys::MyLatch);
            raw::ProcessInterrupts();
        })?;
        if BackgroundWorker::sighup_received() {
            guard(|| raw::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP))?;
        }
    }
    Ok(())
}

/// The launcher tells that it is there.
pub fn show_awake() {
    if let Some(shared) = shared() {
        shared.awake_at.store(session::now(), Relaxed);
    }
}

/// All databases, and whether they can be visited: those that allow connections and are no
/// templates.
pub fn databases() -> HashMap<Database, bool> {
    let mut databases = HashMap::new();
    BackgroundWorker::transaction(std::panic::AssertUnwindSafe(|| {
        // SAFETY: a scan of a shared catalog, which needs no database. The tuple is read before
        // the next one is asked for.
        unsafe {
            let lock = pg_sys::AccessShareLock as c_int;
            let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let scan = pg_sys::table_beginscan_catalog(relation, 0, ptr::null_mut());
            loop {
                let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
                if tuple.is_null() {
                    break;
                }
                let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
                // A limit of -2 marks a database that is half dropped.
                let is_open = row.datallowconn && !row.datistemplate && row.datconnlimit != -2;
                databases.insert(Database(row.oid), is_open);
            }
            raw::heap_endscan(scan);
            pg_sys::table_close(relation, lock);
        }
    }));
    databases
}

/// Sends a worker to the database, and waits for its end. What it leaves behind; none where it
/// failed.
pub fn visit(database: Database, course: Course) -> Option<Course> {
    let shared = shared()?;
    shared.set_course(course);
    shared.is_done.store(false, Relaxed);
    // SAFETY: reads a global of this backend.
    let pid = unsafe { pg_sys::MyProcPid };
    let worker = BackgroundWorkerBuilder::new("pg_once sweeper")
        .set_type("pg_once sweeper")
        .set_library("pg_once")
        .set_function("pg_once_sweeper")
        .enable_spi_access()
        .set_argument(database.0.into_datum())
        .set_notify_pid(pid)
        .load_dynamic();
    let ended = worker.is_ok_and(|worker| worker.wait_for_shutdown().is_ok());
    let is_done = ended && shared.is_done.load(Relaxed);
    let (database, failure) = (database.0.to_u32(), shared.failure(database));
    match is_done {
        false => {
            failure.at.store(session::now(), Relaxed);
            failure.database.store(database, Relaxed);
            None
        }
        true => {
            if failure.database.load(Relaxed) == database {
                failure.database.store(0, Relaxed);
            }
            Some(shared.course())
        }
    }
}

/// What the visit in progress was told.
pub fn course() -> Course {
    shared().map_or_else(Course::default, Shared::course)
}

/// What the visit leaves behind, at its end.
pub fn leave(course: Course) {
    if let Some(shared) = shared() {
        shared.set_course(course);
        shared.is_done.store(true, Relaxed);
    }
}

impl Shared {
    fn course(&self) -> Course {
        Course {
            place: self.place.load(Relaxed),
            removed: self.removed.load(Relaxed),
            crowding: self.crowding.load(Relaxed),
            is_through: self.is_through.load(Relaxed),
            is_installed: self.is_installed.load(Relaxed),
        }
    }

    fn set_course(&self, course: Course) {
        self.place.store(course.place, Relaxed);
        self.removed.store(course.removed, Relaxed);
        self.crowding.store(course.crowding, Relaxed);
        self.is_through.store(course.is_through, Relaxed);
        self.is_installed.store(course.is_installed, Relaxed);
    }

    fn failure(&self, database: Database) -> &Failure {
        &self.failures[database.0.to_u32() as usize % FAILURES]
    }
}

/// Runs `act` in a transaction of its own, which `pg_stat_activity` shows as `activity`.
pub fn transaction<T>(activity: &CStr, act: impl FnOnce() -> T) -> T {
    shown(activity, || {
        BackgroundWorker::transaction(std::panic::AssertUnwindSafe(act))
    })
}

/// Runs a statement that is one VACUUM.
pub fn vacuum(statement: &CStr) -> Result<(), Raised> {
    shown(statement, || vacuum::run(statement))
}

fn shown<T>(activity: &CStr, act: impl FnOnce() -> T) -> T {
    // SAFETY: a NUL-terminated text, copied by the call; null is none.
    let report = |state, activity: *const _| unsafe {
        pg_sys::pgstat_report_activity(state, activity);
    };
    report(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr());
    let result = act();
    report(pg_sys::BackendState::STATE_IDLE, ptr::null());
    result
}

/// Tells the server's statistics what this process has done so far, as backends do when idle.
pub fn report_statistics() -> Result<(), Raised> {
    // SAFETY: outside of any transaction.
    unsafe { guard(|| raw::pgstat_report_stat(true)) }.map(drop)
}

/// What others may know of the workers.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// When the launcher was last awake; none where it never was.
    pub awake_at: Option<i64>,
    /// When the last visit to this database failed.
    pub failed_at: Option<i64>,
}

/// None where the library is not preloaded.
pub fn state() -> Option<State> {
    let shared = shared()?;
    // SAFETY: reads a global of this backend.
    let database = Database(unsafe { pg_sys::MyDatabaseId });
    let awake_at = shared.awake_at.load(Relaxed);
    let failure = shared.failure(database);
    let has_failed = failure.database.load(Relaxed) == database.0.to_u32();
    Some(State {
        awake_at: (awake_at != 0).then_some(awake_at),
        failed_at: has_failed.then(|| failure.at.load(Relaxed)),
    })
}

fn shared() -> Option<&'static Shared> {
    // SAFETY: null, or shared memory of atomics that stays where it is.
    unsafe { SHARED.load(Relaxed).as_ref() }
}
