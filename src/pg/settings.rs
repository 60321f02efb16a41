//! The settings `pg_once.*`.

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

use pgrx::pg_sys::GucSource;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum, pg_guard, pg_sys};

use super::{Raised, memory};
use scope::Scoped;

mod scope;

/// What the row functions do when a key has several rows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PostgresGucEnum)]
pub enum DuplicateRows {
    /// Raise 21000.
    #[name = c"error"]
    Error,
    /// Take the one with the lowest primary key, and warn.
    #[name = c"first"]
    First,
}

/// What makes and finds claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum ClaimEngine {
    /// Direct where the table is a plain heap, else statements.
    #[name = c"auto"]
    Auto,
    /// The table and index access methods.
    #[name = c"direct"]
    Direct,
    /// Kept plans of SQL statements.
    #[name = c"statement"]
    Statement,
}

static CLAIM_ENGINE: GucSetting<ClaimEngine> = GucSetting::<ClaimEngine>::new(ClaimEngine::Auto);
static CLAIM_ENGINE_SCOPE: Scoped = Scoped::new(c"pg_once.claim_engine");

static DUPLICATE_ROWS: GucSetting<DuplicateRows> =
    GucSetting::<DuplicateRows>::new(DuplicateRows::Error);
static DUPLICATE_ROWS_SCOPE: Scoped = Scoped::new(c"pg_once.duplicate_rows");

const PAYMENTS: &CStr = c"payments";
static PAYMENT_TABLE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(PAYMENTS));
static PAYMENT_TABLE_SCOPE: Scoped = Scoped::new(c"pg_once.payment_table");

/// How many names of locks there is room for in shared memory.
static LOCK_NAMES: GucSetting<i32> = GucSetting::<i32>::new(1024);

/// Seconds between the sweeps of the worker.
static SWEEP_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);

/// Whether answers are counted.
static STATS: GucSetting<bool> = GucSetting::<bool>::new(true);

pub fn define() {
    GucRegistry::define_int_guc(
        c"pg_once.sweep_interval",
        c"Seconds between the sweeps of the worker.",
        c"The worker is there where the library is in shared_preload_libraries. 0: it does not sweep.",
        &SWEEP_INTERVAL,
        0,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"pg_once.stats",
        c"Whether the answers of calls are counted for once.stats.",
        c"",
        &STATS,
        GucContext::Suset,
        GucFlags::default(),
    );
    define_for_users();
    if is_preloaded() {
        GucRegistry::define_int_guc(
            c"pg_once.lock_names",
            c"How many names of locks there is room for in shared memory.",
            c"The names of all sessions that once.locks shows. Each takes about 2.4 kB. 0 keeps \
              none.",
            &LOCK_NAMES,
            0,
            1_000_000,
            GucContext::Postmaster,
            GucFlags::default(),
        );
    }
    // SAFETY: a static string; from here on an unknown pg_once.* setting is an error.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"pg_once".as_ptr()) }
}

/// The settings that every role may set. What is shown of them is what counts for `current_user`.
fn define_for_users() {
    // SAFETY: the hooks are guarded, and return a NUL-terminated string.
    unsafe {
        GucRegistry::define_enum_guc_with_hooks(
            c"pg_once.claim_engine",
            c"What makes and finds claims.",
            c"\"auto\" is \"direct\" where once.claim is the plain table that the extension made, \
              else \"statement\". \"direct\" works through the table and index access methods, \
              answers at REPEATABLE READ, and costs less. \"statement\" runs SQL statements.",
            &CLAIM_ENGINE,
            GucContext::Userset,
            GucFlags::default(),
            None,
            None,
            Some(show_claim_engine),
        );
        GucRegistry::define_enum_guc_with_hooks(
            c"pg_once.duplicate_rows",
            c"What the row functions do when a key has several rows already.",
            c"\"error\" raises cardinality_violation. \"first\" takes the row with the lowest \
              primary key and warns: to roll out before the duplicates are merged.",
            &DUPLICATE_ROWS,
            GucContext::Userset,
            GucFlags::default(),
            None,
            None,
            Some(show_duplicate_rows),
        );
        GucRegistry::define_string_guc_with_hooks(
            c"pg_once.payment_table",
            c"The table that with_payment_lock works on.",
            c"Found by the caller's search_path unless it names its schema. Its key columns are \
              called service_id and line_item_id.",
            &PAYMENT_TABLE,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_payment_table),
            None,
            Some(show_payment_table),
        );
    }
    CLAIM_ENGINE_SCOPE.defined();
    DUPLICATE_ROWS_SCOPE.defined();
    PAYMENT_TABLE_SCOPE.defined();
}

pub fn claim_engine() -> Result<ClaimEngine, Raised> {
    CLAIM_ENGINE_SCOPE.choice(&CLAIM_ENGINE, ClaimEngine::Auto)
}

pub fn duplicate_rows() -> Result<DuplicateRows, Raised> {
    DUPLICATE_ROWS_SCOPE.choice(&DUPLICATE_ROWS, DuplicateRows::Error)
}

/// The table's name, none where it is not valid text.
pub fn payment_table() -> Result<Option<String>, Raised> {
    PAYMENT_TABLE_SCOPE.text(&PAYMENT_TABLE, PAYMENTS)
}

/// Whether it is no longer than what there is memory for wherever a name is copied: much more than a table's name.
#[pg_guard]
unsafe extern "C-unwind" fn check_payment_table(
    name: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: GucSource::Type,
) -> bool {
    const LONGEST: usize = memory::PIECE / 2;
    // SAFETY: core passes a C string, or null; it shows the detail before the next call.
    unsafe {
        let is_short = (*name).is_null() || CStr::from_ptr(*name).count_bytes() <= LONGEST;
        if !is_short {
            let detail = c"It is longer than the name of a table.";
            pg_sys::GUC_check_errdetail_string = detail.as_ptr().cast_mut();
        }
        is_short
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn show_claim_engine() -> *const c_char {
    CLAIM_ENGINE_SCOPE.show_choice(&CLAIM_ENGINE, ClaimEngine::Auto)
}

#[pg_guard]
unsafe extern "C-unwind" fn show_duplicate_rows() -> *const c_char {
    DUPLICATE_ROWS_SCOPE.show_choice(&DUPLICATE_ROWS, DuplicateRows::Error)
}

#[pg_guard]
unsafe extern "C-unwind" fn show_payment_table() -> *const c_char {
    PAYMENT_TABLE_SCOPE.show_text(&PAYMENT_TABLE, PAYMENTS)
}

/// Whether the postmaster is loading the library, at its start.
pub fn is_preloaded() -> bool {
    // SAFETY: reads a global of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

pub fn sweep_interval() -> i32 {
    SWEEP_INTERVAL.get()
}

/// The caller's `lock_timeout`.
pub fn lock_timeout() -> Option<Duration> {
    // SAFETY: reads a setting of this backend.
    let limit = u64::try_from(unsafe { pg_sys::LockTimeout }).ok()?;
    (limit > 0).then(|| Duration::from_millis(limit))
}

pub fn stats() -> bool {
    STATS.get()
}

pub fn lock_names() -> usize {
    LOCK_NAMES.get().try_into().unwrap_or(0)
}
