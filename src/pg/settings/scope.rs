//! Whose value of a setting counts.
//!
//! A value that a role has set counts only while that role is `current_user`, so that it does not
//! reach into a SECURITY DEFINER function of another role. PostgreSQL keeps the role and the
//! source of a value next to it, restores both with it, and hands them over when the library
//! defines a setting that was set before. They are read here at each use: a check hook would run
//! as whoever happens to load the library.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{self, GucSource, Oid, config_generic};
use pgrx::{GucEnum, GucSetting};

use crate::pg::guard::{Raised, guard};
use crate::pg::spi::{self, View};
use crate::pg::{raw, text};

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
        let record = self.record.load(Relaxed).cast::<pg_sys::config_enum>();
        match self.layer() {
            Layer::Current => Ok(setting.get()),
            // SAFETY: `layer` has found a record, and that of an enum setting is a config_enum.
            Layer::Reset => Ok(T::from_ordinal(unsafe { (*record).reset_val })),
            Layer::Configured => {
                let name = self.configured()?.and_then(|text| CString::new(text).ok());
                let mut value = 0;
                // SAFETY: as above; the name is NUL-terminated.
                let is_known = name.is_some_and(|name| unsafe {
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
        default: &str,
    ) -> Result<Option<String>, Raised> {
        let record = self.record.load(Relaxed).cast::<pg_sys::config_string>();
        match self.layer() {
            Layer::Current => match setting.get() {
                Some(value) => text::decode(value.to_bytes()),
                None => Ok(None),
            },
            // SAFETY: `layer` has found a record, and that of a string setting is a config_string,
            // whose value is NUL-terminated or null.
            Layer::Reset => unsafe {
                match (*record).reset_val {
                    value if value.is_null() => Ok(None),
                    value => text::from_c(value),
                }
            },
            Layer::Configured => Ok(Some(
                self.configured()?.unwrap_or_else(|| default.to_owned()),
            )),
        }
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
        } else if counts(record.reset_source, record.reset_srole) {
            Layer::Reset
        } else {
            Layer::Configured
        }
    }

    /// The value for every role that lies beneath those of single roles: that of ALTER DATABASE,
    /// of ALTER ROLE ALL, or of a configuration file.
    fn configured(&self) -> Result<Option<String>, Raised> {
        let name = self.name.to_string_lossy();
        match of_database(&name)? {
            Some(value) => Ok(Some(value)),
            None => of_files(&name),
        }
    }
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

/// What ALTER DATABASE says of this database, or else ALTER ROLE ALL.
fn of_database(name: &str) -> Result<Option<String>, Raised> {
    const READ: &str = "SELECT pg_catalog.substr(c.entry, \
             pg_catalog.length($1) OPERATOR(pg_catalog.+) 2) \
         FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS c(entry) \
         WHERE s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
           AND (s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
             OR s.setdatabase OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d \
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) \
           AND pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1) COLLATE pg_catalog.\"C\") \
             OPERATOR(pg_catalog.=) $1 \
         ORDER BY s.setdatabase DESC LIMIT 1";
    spi::run(READ, &[text::value(name)?], View::Newest, |rows| {
        rows.text(0, 0)
    })
}

/// The settings of this extension in the configuration files, as of the last time that this
/// session has loaded them.
struct Files {
    loaded_at: i64,
    values: Vec<(String, String)>,
}

fn of_files(name: &str) -> Result<Option<String>, Raised> {
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
            .find(|(entry, _)| entry == name)
            .map(|(_, value)| value.clone())
    }))
}

fn read_files() -> Result<Vec<(String, String)>, Raised> {
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
                let name = CStr::from_ptr(name).to_string_lossy().to_ascii_lowercase();
                if let (true, Some(value)) = (name.starts_with("pg_once."), text::from_c(value)?) {
                    values.push((name, value));
                }
            }
            entry = next;
        }
    }
    Ok(values)
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
