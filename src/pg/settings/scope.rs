//! Whose value of a setting counts.
//!
//! A value that a role has set counts only while that role is `current_user`, so that it does not
//! reach into a SECURITY DEFINER function of another role. PostgreSQL keeps the role and the
//! source of a value next to it, restores both with it, and hands them over when the library
//! defines a setting that was set before. They are read here at each use: a check hook would run
//! as whoever happens to load the library.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{self, Datum, GucSource, Oid, config_generic, varlena};
use pgrx::{GucEnum, GucSetting, PgLogLevel};

use crate::pg::array::Texts;
use crate::pg::guard::{Raised, guard};
use crate::pg::{ErrorReport, raw, text};

/// A setting that every role may set, and PostgreSQL's record of it.
pub(super) struct Scoped {
    name: &'static CStr,
    record: AtomicPtr<config_generic>,
}

/// Which of the values of a setting counts for `current_user`.
enum Layer {
    /// The one in force.
    Current,
    /// The one that RESET brings back.
    Reset,
    /// Neither, since another role has set both: what is configured for every role.
    Configured,
}

impl Scoped {
    pub(super) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            record: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Finds the record of a setting that this library has just defined.
    pub(super) fn defined(&self) {
        // SAFETY: PostgreSQL never frees or moves the record of a setting that a library defined.
        self.record.store(unsafe { record(self.name) }, Relaxed);
    }

    pub(super) fn choice<T: GucEnum>(
        &self,
        setting: &GucSetting<T>,
        default: T,
    ) -> Result<T, Raised> {
        let record = self.record.load(Relaxed);
        match self.layer() {
            Layer::Current => Ok(setting.get()),
            // SAFETY: `layer` has found a record, that of an enum setting.
            Layer::Reset => Ok(T::from_ordinal(unsafe { (*enum_part(record)).reset_val })),
            Layer::Configured => {
                let name = self.configured()?;
                let mut value = 0;
                // SAFETY: as above; the name is NUL-terminated.
                let is_known = name.is_some_and(|name| unsafe {
                    let record = enum_part(record);
                    pg_sys::config_enum_lookup_by_name(record, name.as_ptr(), &raw mut value)
                });
                Ok(if is_known {
                    T::from_ordinal(value)
                } else {
                    default
                })
            }
        }
    }

    /// None where the value is not valid text.
    pub(super) fn text(
        &self,
        setting: &GucSetting<Option<CString>>,
        default: &CStr,
    ) -> Result<Option<String>, Raised> {
        match self.bytes(setting, default)? {
            Some(value) => text::decode(value.to_bytes()),
            None => Ok(None),
        }
    }

    /// The value in the database's encoding.
    fn bytes(
        &self,
        setting: &GucSetting<Option<CString>>,
        default: &CStr,
    ) -> Result<Option<CString>, Raised> {
        let record = self.record.load(Relaxed);
        Ok(match self.layer() {
            Layer::Current => setting.get(),
            // SAFETY: `layer` has found a record, that of a string setting, whose value is
            // NUL-terminated or null.
            Layer::Reset => unsafe {
                let value = (*string_part(record)).reset_val;
                (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
            },
            Layer::Configured => Some(self.configured()?.unwrap_or_else(|| default.to_owned())),
        })
    }

    /// What SHOW, `current_setting` and `pg_settings` show, so that a function that sets what it has
    /// read does not make the value of another role its own. For a show hook, whose caller copies
    /// the answer at once.
    pub(super) fn show_choice<T: GucEnum>(
        &self,
        setting: &GucSetting<T>,
        default: T,
    ) -> *const c_char {
        let value = self
            .choice(setting, default)
            .unwrap_or_else(|raised| raise(raised))
            .to_ordinal();
        let mut entry = T::CONFIG_ENUM_ENTRY;
        // SAFETY: the static array ends with an entry without a name.
        unsafe {
            while !(*entry).name.is_null() && (*entry).val != value {
                entry = entry.add(1);
            }
            match (*entry).name {
                name if name.is_null() => c"".as_ptr(),
                name => name,
            }
        }
    }

    /// As `show_choice`.
    pub(super) fn show_text(
        &self,
        setting: &GucSetting<Option<CString>>,
        default: &CStr,
    ) -> *const c_char {
        thread_local! {
            static SHOWN: RefCell<CString> = RefCell::default();
        }
        let value = self
            .bytes(setting, default)
            .unwrap_or_else(|raised| raise(raised));
        SHOWN.set(value.unwrap_or_default());
        SHOWN.with_borrow(|shown| shown.as_ptr())
    }

    fn layer(&self) -> Layer {
        let record = self.record.load(Relaxed);
        if record.is_null() {
            return Layer::Configured;
        }
        // SAFETY: see `defined`; nothing writes to it meanwhile.
        let record = unsafe { &*record };
        if counts(record.source, record.srole) {
            Layer::Current
        } else if !is_parallel_worker() && counts(record.reset_source, record.reset_srole) {
            Layer::Reset
        } else {
            Layer::Configured
        }
    }

    /// The value for every role that lies beneath those of single roles: that of ALTER DATABASE,
    /// of ALTER ROLE ALL, or of a configuration file.
    fn configured(&self) -> Result<Option<CString>, Raised> {
        match of_database(self.name)? {
            Some(value) => Ok(Some(value)),
            None => of_files(self.name),
        }
    }
}

fn raise(raised: Raised) -> ! {
    ErrorReport::from(raised).report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// A parallel worker has the value in force from its leader, and not the one that RESET brings back.
fn is_parallel_worker() -> bool {
    // SAFETY: reads a global of this process.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

/// Whether a value of this source, set by `role`, counts for `current_user`.
fn counts(source: GucSource::Type, role: Oid) -> bool {
    if source <= GucSource::PGC_S_DATABASE || source == GucSource::PGC_S_OVERRIDE {
        return true;
    }
    // SAFETY: reads this backend's identity.
    unsafe {
        let user = raw::GetUserId();
        // ALTER ROLE … SET and the client's options: they are of whoever has logged in, and
        // PostgreSQL keeps no role with the former.
        if source <= GucSource::PGC_S_CLIENT {
            return user == pg_sys::GetAuthenticatedUserId();
        }
        user == role
    }
}

#[cfg(feature = "pg15")]
unsafe fn record(name: &CStr) -> *mut config_generic {
    // SAFETY: the array holds that many records, each with a NUL-terminated name.
    unsafe {
        let (records, count) = (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions());
        (0..count as usize)
            .map(|i| *records.add(i))
            .find(|record| CStr::from_ptr((**record).name) == name)
            .unwrap_or(ptr::null_mut())
    }
}

#[cfg(not(feature = "pg15"))]
unsafe fn record(name: &CStr) -> *mut config_generic {
    // SAFETY: looks a NUL-terminated name up, makes nothing and raises nothing.
    unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) }
}

/// What a record has for the type of its setting: before PostgreSQL 19 it lies around the generic record,
/// since then within.
#[cfg(not(feature = "pg19"))]
unsafe fn enum_part(record: *mut config_generic) -> *mut pg_sys::config_enum {
    record.cast()
}

#[cfg(feature = "pg19")]
unsafe fn enum_part(record: *mut config_generic) -> *mut pg_sys::config_enum {
    // SAFETY: the caller has the record of an enum setting.
    unsafe { &raw mut (*record).__bindgen_anon_1._enum }
}

/// As `enum_part`.
#[cfg(not(feature = "pg19"))]
unsafe fn string_part(record: *mut config_generic) -> *mut pg_sys::config_string {
    record.cast()
}

#[cfg(feature = "pg19")]
unsafe fn string_part(record: *mut config_generic) -> *mut pg_sys::config_string {
    // SAFETY: the caller has the record of a string setting.
    unsafe { &raw mut (*record).__bindgen_anon_1._string }
}

/// What ALTER DATABASE says of this database, or else ALTER ROLE ALL. Nothing outside a transaction,
/// where no catalog can be read.
///
/// The catalog is read as core itself reads it: a statement would take the snapshot of the
/// transaction, which SHOW must not, and cannot run in a parallel worker.
fn of_database(name: &CStr) -> Result<Option<CString>, Raised> {
    // SAFETY: both read this backend's state.
    let (database, is_readable) = unsafe { (pg_sys::MyDatabaseId, pg_sys::IsTransactionState()) };
    if !is_readable || database == Oid::INVALID {
        return Ok(None);
    }
    match entry_of(database, name)? {
        Some(value) => Ok(Some(value)),
        None => entry_of(Oid::INVALID, name),
    }
}

/// What `pg_db_role_setting` says of the database for all roles.
fn entry_of(database: Oid, name: &CStr) -> Result<Option<CString>, Raised> {
    // SAFETY: reads the catalog by its index. The array is a copy of its own, an array of texts.
    unsafe {
        let array = guard(|| settings_of(database))?;
        if array.is_null() {
            return Ok(None);
        }
        let entries = Texts::read(array.cast());
        let value = entries.iter().flatten().find_map(|place| {
            let entry = entries.at(place);
            let (entry_name, value) = entry.split_at_checked(name.count_bytes())?;
            let value = value.strip_prefix(b"=")?;
            let is_this = entry_name.eq_ignore_ascii_case(name.to_bytes());
            is_this.then(|| CString::new(value).ok()).flatten()
        });
        guard(|| raw::pfree(array.cast()))?;
        Ok(value)
    }
}

/// `setconfig` of the row for this database and no role, or null.
///
/// # Safety
/// In a transaction, under a guard.
unsafe fn settings_of(database: Oid) -> *mut varlena {
    /// Of `pg_db_role_setting` and its index, and its columns setdatabase, setrole, setconfig: the
    /// same in 15 to 19.
    const CATALOG: Oid = Oid::from_u32(2964);
    const INDEX: Oid = Oid::from_u32(2965);
    const COLUMNS: usize = 3;
    const LOCK: c_int = pg_sys::AccessShareLock as c_int;
    let keys = [database, Oid::INVALID];
    // SAFETY: the keys are those of the index; a row has that many columns. The relation is closed
    // at the end, or by the abort.
    unsafe {
        let mut scan_keys = [pg_sys::ScanKeyData::default(); 2];
        for (i, key) in keys.into_iter().enumerate() {
            raw::ScanKeyInit(
                scan_keys.as_mut_ptr().add(i),
                i as pg_sys::AttrNumber + 1,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::F_OIDEQ.into(),
                key.into(),
            );
        }
        let catalog = raw::relation_open(CATALOG, LOCK);
        let (count, keys) = (scan_keys.len() as c_int, scan_keys.as_mut_ptr());
        let scan = raw::systable_beginscan(catalog, INDEX, true, ptr::null_mut(), count, keys);
        let row = raw::systable_getnext(scan);
        let mut array = ptr::null_mut();
        if !row.is_null() {
            let mut values = [Datum::null(); COLUMNS];
            let mut nulls = [true; COLUMNS];
            let (value, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            raw::heap_deform_tuple(row, (*catalog).rd_att, value, null);
            if let ([.., config], [.., false]) = (values, nulls) {
                array = raw::pg_detoast_datum_copy(config.cast_mut_ptr());
            }
        }
        raw::systable_endscan(scan);
        raw::relation_close(catalog, LOCK);
        array
    }
}

/// The settings of this extension in the configuration files, as of the last time that this
/// session has loaded them.
struct Files {
    loaded_at: i64,
    values: Vec<(CString, CString)>,
}

fn of_files(name: &CStr) -> Result<Option<CString>, Raised> {
    thread_local! {
        static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
    }
    // SAFETY: reads a global of this process.
    let loaded_at = unsafe { pg_sys::PgReloadTime };
    let is_known = FILES.with_borrow(|files| {
        files
            .as_ref()
            .is_some_and(|files| files.loaded_at == loaded_at)
    });
    if !is_known {
        let values = read_files()?;
        FILES.set(Some(Files { loaded_at, values }));
    }
    // The last entry counts.
    Ok(FILES.with_borrow(|files| {
        let mut values = files.iter().flat_map(|files| files.values.iter().rev());
        values
            .find(|(entry, _)| entry.to_bytes().eq_ignore_ascii_case(name.to_bytes()))
            .map(|(_, value)| value.clone())
    }))
}

fn read_files() -> Result<Vec<(CString, CString)>, Raised> {
    let (mut head, mut tail) = (ptr::null_mut(), ptr::null_mut());
    let mut values = Vec::new();
    // SAFETY: the files are those that the server itself reads, in its order; what is wrong with
    // them is noted in the list, whose entries hold NUL-terminated strings or null.
    unsafe {
        let main = pg_sys::ConfigFileName.cast_const();
        let automatic = pg_sys::PG_AUTOCONF_FILENAME.as_ptr();
        for file in [main, automatic] {
            if !file.is_null() {
                guard(|| parse_file(file, &raw mut head, &raw mut tail))?;
            }
        }
        let mut entry: *const pg_sys::ConfigVariable = head;
        while !entry.is_null() {
            let pg_sys::ConfigVariable {
                name, value, next, ..
            } = *entry;
            if !name.is_null() && !value.is_null() {
                let name = CStr::from_ptr(name);
                if is_own(name) {
                    values.push((name.to_owned(), CStr::from_ptr(value).to_owned()));
                }
            }
            entry = next;
        }
    }
    Ok(values)
}

fn is_own(name: &CStr) -> bool {
    const PREFIX: &[u8] = b"pg_once.";
    let start = name.to_bytes().get(..PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

unsafe fn parse_file(
    file: *const c_char,
    head: *mut *mut pg_sys::ConfigVariable,
    tail: *mut *mut pg_sys::ConfigVariable,
) -> bool {
    let level = pg_sys::DEBUG3 as i32;
    // SAFETY: the caller's promise is the one that PostgreSQL asks for.
    unsafe { raw::ParseConfigFile(file, false, ptr::null(), 0, 0, level, head, tail) }
}
