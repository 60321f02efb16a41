//! Background workers: one that is always there, and one that it sends to a database for a moment.
//!
//! What they know of each other is in shared memory; it is there where the library is preloaded.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_long};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, Datum, Oid};

use super::guard::{Raised, guard};
use super::latch::{Event, LONGEST};
use super::owner::Proved;
use super::{raw, session, settings, vacuum};

/// What the workers do.
pub struct Jobs {
    /// Of the one that is always there. It comes back to the caller never.
    pub launch: fn(&mut Process),
    /// Of one in a database, which is to end soon.
    pub visit: fn(&mut Process),
}

/// A background worker between two transactions. Only the job that is given it can do what would
/// end the transaction that a backend is in.
pub struct Process(());

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
    /// How many rows one step removes; 0 where that is not known yet.
    pub rows: u64,
    /// By when the visit is to be over.
    pub end: i64,
    /// Whether all tables have been swept.
    pub is_through: bool,
    /// Whether the database has the extension.
    pub is_installed: bool,
    /// Whether tables are not vacuumed, because that has taken too long before.
    pub is_vacuum_off: bool,
}

/// What became of the last visit to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It raised an error, which is in the server's log.
    Failed,
    /// It was over its time before it was connected to the database.
    LateConnecting,
    /// It was over its time while it swept.
    LateSweeping,
    /// The server had no place for another process.
    NoPlace,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::LateConnecting,
        Self::LateSweeping,
        Self::NoPlace,
    ];
}

/// What the workers and those who look at them share. All zero at first.
#[repr(C)]
pub struct Shared {
    /// When the launcher was last awake.
    awake_at: AtomicI64,
    /// The number of the latest visit: one that was told to end may still be there while the next one
    /// is in progress, and then has no say any more.
    visit: AtomicU32,
    /// The number of the visit that was connected to its database last.
    connected: AtomicU32,
    /// The course of the visit in progress.
    place: AtomicU64,
    removed: AtomicU64,
    crowding: AtomicU64,
    rows: AtomicU64,
    end: AtomicI64,
    is_through: AtomicBool,
    is_installed: AtomicBool,
    is_vacuum_off: AtomicBool,
    /// Whether the visit came to its end.
    is_done: AtomicBool,
    /// What became of the last visit to each database.
    records: [Record; RECORDS],
    /// What was made that expires, in the databases of each of these numbers.
    expiring: [SharedExpiring; EXPIRING],
}

/// Databases whose numbers meet are visited once too often.
const EXPIRING: usize = 4096;

#[repr(C)]
struct SharedExpiring {
    /// How much it was, for ever; the number starts again from 0.
    made: AtomicU32,
    /// When the first of it expires, in microseconds before the end of time: 0 is none.
    soonest: AtomicI64,
}

/// The launcher alone writes it.
#[repr(C)]
struct Record {
    /// 0 where it is free.
    database: AtomicU32,
    outcome: AtomicU32,
    at: AtomicI64,
}

/// In a cluster with more databases some are not remembered.
const RECORDS: usize = 1024;

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

/// # Safety
/// Called by the server, as what a background worker does.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_once_launcher(_nothing: Datum) {
    take_signals();
    BackgroundWorker::connect_worker_to_spi_by_oid(None, None);
    if let Some(jobs) = JOBS.get() {
        (jobs.launch)(&mut Process(()));
    }
}

/// # Safety
/// Called by the server, as what a background worker does.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_once_sweeper(database: Datum) {
    take_signals();
    let argument = database.value() as u64;
    VISIT.store((argument >> 32) as u32, Relaxed);
    keep_configuration();
    let database = Oid::from(argument as u32);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    if let Some(shared) = shared() {
        shared.connected.store(VISIT.load(Relaxed), Relaxed);
    }
    // The launcher bounds the wait for the lock on the database, and tells what it was.
    override_setting(c"lock_timeout", c"200ms");
    if let Some(jobs) = JOBS.get() {
        (jobs.visit)(&mut Process(()));
    }
}

/// The number of the visit that this process is.
static VISIT: AtomicU32 = AtomicU32::new(0);

/// What the sweeper works with, whatever the server's configuration says.
const SETTINGS: &[(&CStr, &CStr)] = &[
    (c"default_transaction_deferrable", c"off"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"lock_timeout", c"0"),
    (c"role", c"none"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"session_replication_role", c"origin"),
    (c"statement_timeout", c"0"),
    (c"synchronous_commit", c"off"),
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    (c"transaction_timeout", c"0"),
];

/// These belong to a transaction, or are set by connecting.
const NOT_KEPT: [&CStr; 6] = [
    c"client_encoding",
    c"seed",
    c"session_authorization",
    c"transaction_deferrable",
    c"transaction_isolation",
    c"transaction_read_only",
];

/// Makes what ALTER DATABASE and ALTER ROLE set for a database, a role or all of them count for
/// nothing in this process, which is not yet connected: they are meant for clients, and could stop,
/// slow down or mislead the sweeper. Every setting that they may name keeps the value of the
/// configuration, as one that overrides theirs.
fn keep_configuration() {
    // SAFETY: the list is core's own, and stays; texts are NUL-terminated. A value that is refused
    // says so at DEBUG1, and stays as it is.
    unsafe {
        #[cfg(feature = "pg15")]
        let (count, all) = (pg_sys::GetNumConfigOptions(), pg_sys::get_guc_variables());
        #[cfg(not(feature = "pg15"))]
        let (count, all) = {
            let mut count = 0;
            let all = pg_sys::get_guc_variables(&raw mut count);
            (count, all)
        };
        for at in 0..count as usize {
            let setting = &**all.add(at);
            let name = CStr::from_ptr(setting.name);
            let is_theirs = matches!(
                setting.context,
                pg_sys::GucContext::PGC_USERSET | pg_sys::GucContext::PGC_SUSET
            );
            if !is_theirs || NOT_KEPT.contains(&name) {
                continue;
            }
            let value = pg_sys::GetConfigOption(setting.name, true, false);
            if !value.is_null() {
                let value = CString::from(CStr::from_ptr(value));
                override_setting(name, &value);
            }
        }
    }
    for (name, value) in SETTINGS {
        override_setting(name, value);
    }
}

fn override_setting(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated and copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            pg_sys::DEBUG1 as c_int,
            false,
        );
    }
}

/// SIGTERM is served as in any backend, also in the middle of a statement.
fn take_signals() {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    // SAFETY: the handler is the one of all backends.
    unsafe { raw::set_signal_handler(SIGTERM, Some(raw::die)) };
}

const SIGTERM: c_int = 15;

impl Process {
    /// Sleeps, and serves interrupts and a reload of the settings. Where the postmaster is gone the
    /// process ends, so that the server can be started again.
    pub fn sleep(&mut self, time: Duration, event: Event) -> Result<(), Raised> {
        let event = event.number()?;
        let events =
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as c_int;
        let milliseconds = time.as_micros().div_ceil(1000).min(LONGEST) as c_long;
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

    /// All databases, and whether they can be visited: those that allow connections and are no
    /// templates.
    pub fn databases(&mut self) -> HashMap<Database, bool> {
        let mut databases = HashMap::new();
        BackgroundWorker::transaction(std::panic::AssertUnwindSafe(|| {
            // SAFETY: a scan of a shared catalog, which needs no database. The tuple is read before
            // the next one is asked for.
            unsafe {
                let lock = pg_sys::AccessShareLock as c_int;
                let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
                let scan = pg_sys::table_beginscan_catalog(relation, 0, ptr::null_mut());
                loop {
                    let tuple =
                        pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
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

    /// Whether somebody keeps the database locked against connections: a worker would wait for that.
    pub fn is_locked(&mut self, database: Database) -> bool {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: 0,
            locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
            locktag_field3: database.0.to_u32(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let mode = pg_sys::RowExclusiveLock as c_int;
        BackgroundWorker::transaction(std::panic::AssertUnwindSafe(|| {
            // SAFETY: the lock that a connection takes on its database, asked for without waiting; the
            // end of the transaction releases it. An ERROR is raised past the commit.
            let taken = unsafe { pg_sys::LockAcquire(&raw const tag, mode, false, true) };
            taken == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
        }))
    }

    /// Runs `act` in a transaction of its own, which `pg_stat_activity` shows as `activity`.
    pub fn transaction<T>(&mut self, activity: &CStr, act: impl FnOnce() -> T) -> T {
        shown(activity, || {
            BackgroundWorker::transaction(std::panic::AssertUnwindSafe(act))
        })
    }

    /// Vacuums this table, whatever it is called by now. False where it was not done by `end`, and
    /// was broken off. With `truncate` space is given back to the operating system.
    pub fn vacuum(&mut self, table: Proved, truncate: bool, end: i64) -> Result<bool, Raised> {
        let statement = vacuum::statement(table, truncate);
        // SAFETY: a process between two transactions; the statement is of this table.
        shown(&statement, || unsafe {
            vacuum::run(&statement, table, end)
        })
    }

    /// Tells the server's statistics what this process has done so far, as backends do when idle.
    pub fn report_statistics(&mut self) -> Result<(), Raised> {
        // SAFETY: outside of any transaction.
        unsafe { guard(|| raw::pgstat_report_stat(true)) }.map(drop)
    }
}

/// The launcher tells that it is there.
pub fn show_awake() {
    if let Some(shared) = shared() {
        shared.awake_at.store(session::now(), Relaxed);
    }
}

/// A worker in a database.
pub struct Visit {
    database: Database,
    number: u32,
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

impl Visit {
    /// Sends a worker to the database; none where the server has no place for it.
    pub fn begin(database: Database, course: Course) -> Option<Self> {
        let shared = shared()?;
        let number = shared.visit.load(Relaxed).wrapping_add(1).max(1);
        shared.set_course(course);
        shared.is_done.store(false, Relaxed);
        shared.visit.store(number, Relaxed);
        let argument = u64::from(number) << 32 | u64::from(database.0.to_u32());
        // SAFETY: reads a global of this backend.
        let pid = unsafe { pg_sys::MyProcPid };
        let builder = BackgroundWorkerBuilder::new("pg_once sweeper")
            .set_type("pg_once sweeper")
            .set_library("pg_once")
            .set_function("pg_once_sweeper")
            .enable_spi_access()
            .set_argument(Some(Datum::from(argument)))
            .set_notify_pid(pid);
        let mut worker: pg_sys::BackgroundWorker = (&builder).into();
        let mut handle = ptr::null_mut();
        // SAFETY: the worker is copied; the handle is kept for the visit, in memory that lives as
        // long as the process.
        let is_begun = unsafe {
            let top = pg_sys::TopMemoryContext;
            let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, top);
            let is_begun =
                pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle);
            pg_sys::CurrentMemoryContext = caller;
            is_begun
        };
        is_begun.then(|| Self {
            database,
            number,
            handle,
        })
    }

    pub fn database(&self) -> Database {
        self.database
    }

    pub fn is_connected(&self) -> bool {
        shared().is_some_and(|shared| shared.connected.load(Relaxed) == self.number)
    }

    /// Whether the process is gone. The launcher's latch is set when it begins and when it ends.
    pub fn is_over(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is that of a worker that this process registered.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &raw mut pid) };
        !matches!(
            status,
            pg_sys::BgwHandleStatus::BGWH_STARTED | pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED
        )
    }

    /// Tells the process to end; one that has not begun yet never begins.
    pub fn terminate(&self) {
        // SAFETY: the handle is that of a worker that this process registered.
        unsafe { pg_sys::TerminateBackgroundWorker(self.handle) }
    }

    /// What it has left behind; none where it failed.
    pub fn course(&self) -> Option<Course> {
        shared()
            .filter(|shared| {
                shared.is_done.load(Relaxed) && shared.visit.load(Relaxed) == self.number
            })
            .map(Shared::course)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // SAFETY: the handle was allocated for this value alone.
        unsafe { pg_sys::pfree(self.handle.cast()) }
    }
}

/// What the visit in progress was told.
pub fn course() -> Course {
    own_visit().map_or_else(Course::default, Shared::course)
}

/// What the visit leaves behind, at its end.
pub fn leave(course: Course) {
    if let Some(shared) = own_visit() {
        shared.set_course(course);
        shared.is_done.store(true, Relaxed);
    }
}

/// What is shared, where this process is the visit in progress.
fn own_visit() -> Option<&'static Shared> {
    shared().filter(|shared| shared.visit.load(Relaxed) == VISIT.load(Relaxed))
}

/// Remembers what became of a visit.
pub fn record(database: Database, outcome: Outcome) {
    let (Some(shared), number) = (shared(), database.0.to_u32()) else {
        return;
    };
    let record = shared.record(number).or_else(|| shared.record(0));
    if let Some(record) = record {
        record.outcome.store(outcome as u32, Relaxed);
        record.at.store(session::now(), Relaxed);
        record.database.store(number, Relaxed);
    }
}

/// Forgets the visits to databases that are not wanted.
pub fn forget(is_wanted: impl Fn(Database) -> bool) {
    for record in shared().into_iter().flat_map(|shared| &shared.records) {
        let number = record.database.load(Relaxed);
        if number != 0 && !is_wanted(Database(Oid::from(number))) {
            record.database.store(0, Relaxed);
        }
    }
}

impl Shared {
    fn course(&self) -> Course {
        Course {
            place: self.place.load(Relaxed),
            removed: self.removed.load(Relaxed),
            crowding: self.crowding.load(Relaxed),
            rows: self.rows.load(Relaxed),
            end: self.end.load(Relaxed),
            is_through: self.is_through.load(Relaxed),
            is_installed: self.is_installed.load(Relaxed),
            is_vacuum_off: self.is_vacuum_off.load(Relaxed),
        }
    }

    fn set_course(&self, course: Course) {
        self.place.store(course.place, Relaxed);
        self.removed.store(course.removed, Relaxed);
        self.crowding.store(course.crowding, Relaxed);
        self.rows.store(course.rows, Relaxed);
        self.end.store(course.end, Relaxed);
        self.is_through.store(course.is_through, Relaxed);
        self.is_installed.store(course.is_installed, Relaxed);
        self.is_vacuum_off.store(course.is_vacuum_off, Relaxed);
    }

    fn expiring(&self, database: Database) -> &SharedExpiring {
        &self.expiring[database.0.to_u32() as usize % EXPIRING]
    }

    fn record(&self, database: u32) -> Option<&Record> {
        let mut records = self.records.iter();
        records.find(|record| record.database.load(Relaxed) == database)
    }
}

impl Record {
    fn outcome(&self) -> Outcome {
        let number = self.outcome.load(Relaxed) as usize;
        Outcome::ALL.get(number).copied().unwrap_or(Outcome::Failed)
    }
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

/// What others may know of the workers.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// When the launcher was last awake; none where it never was.
    pub awake_at: Option<i64>,
    /// When the last visit to this database ended, and what became of it.
    pub visited: Option<(i64, Outcome)>,
}

/// None where the library is not preloaded.
pub fn state() -> Option<State> {
    let shared = shared()?;
    // SAFETY: reads a global of this backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let awake_at = shared.awake_at.load(Relaxed);
    let record = shared.record(database.to_u32());
    Some(State {
        awake_at: (awake_at != 0).then_some(awake_at),
        visited: record.map(|record| (record.at.load(Relaxed), record.outcome())),
    })
}

/// The other databases whose last visit did not go well, by name, and what became of it.
pub fn troubles() -> Result<Vec<(Vec<u8>, Outcome)>, Raised> {
    let mut troubles = Vec::new();
    for record in shared().into_iter().flat_map(|shared| &shared.records) {
        let (number, outcome) = (record.database.load(Relaxed), record.outcome());
        // SAFETY: reads a global of this backend.
        let is_own = unsafe { pg_sys::MyDatabaseId }.to_u32() == number;
        if number == 0 || outcome == Outcome::Done || is_own {
            continue;
        }
        // SAFETY: a catalog read; null where the database is gone, else a text of this call's.
        unsafe {
            let name = guard(|| raw::get_database_name(Oid::from(number)))?;
            if !name.is_null() {
                troubles.push((CStr::from_ptr(name).to_bytes().to_vec(), outcome));
            }
        }
    }
    Ok(troubles)
}

/// So much is made in this database that expires then.
pub fn will_expire(count: usize, at: i64) {
    if let Some(shared) = shared() {
        // SAFETY: reads a global of this backend.
        let database = Database(unsafe { pg_sys::MyDatabaseId });
        let expiring = shared.expiring(database);
        expiring.made.fetch_add(count as u32, Relaxed);
        let before_end = i64::MAX.saturating_sub(at);
        // Later ones, which most are, write nothing here.
        if expiring.soonest.load(Relaxed) < before_end {
            expiring.soonest.fetch_max(before_end, Relaxed);
        }
    }
}

/// What was made in a database that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// How much it was since the server started; the number starts again from 0.
    pub made: u32,
    /// When the first expires of what was made since the last look.
    pub soonest: Option<i64>,
}

/// Looks what was made in the database that expires.
pub fn expiring(database: Database) -> Expiring {
    let expiring = shared().map(|shared| shared.expiring(database));
    let soonest = expiring.map_or(0, |expiring| expiring.soonest.swap(0, Relaxed));
    Expiring {
        made: expiring.map_or(0, |expiring| expiring.made.load(Relaxed)),
        soonest: (soonest != 0).then(|| i64::MAX - soonest),
    }
}

fn shared() -> Option<&'static Shared> {
    // SAFETY: null, or shared memory of atomics that stays where it is.
    unsafe { SHARED.load(Relaxed).as_ref() }
}
