//! Statements whose rows are read piece by piece.

use std::ffi::{CString, c_char, c_long};
use std::ptr;

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;
use super::spi::{Rows, Running, plan};
use super::value::Value;

/// A statement in progress.
pub struct Cursor {
    name: CString,
}

impl Cursor {
    /// Begins `statement` with `arguments` for `$1`, `$2`, …, with a snapshot of this moment where
    /// the isolation level allows one.
    pub fn open(statement: &str, arguments: &[Value]) -> Result<Self, Raised> {
        Self::begin(statement, arguments, false)
    }

    /// The same with the snapshot of the SQL statement that makes the call, as a view would read.
    pub fn open_as_view(statement: &str, arguments: &[Value]) -> Result<Self, Raised> {
        // SAFETY: reads this backend's stack of snapshots.
        let read_only = unsafe { pg_sys::ActiveSnapshotSet() };
        Self::begin(statement, arguments, read_only)
    }

    fn begin(statement: &str, arguments: &[Value], read_only: bool) -> Result<Self, Raised> {
        let mut values: Vec<pg_sys::Datum> = arguments.iter().map(|value| value.datum).collect();
        let nulls: Vec<c_char> = arguments
            .iter()
            .map(|value| if value.null { b'n' } else { b' ' } as c_char)
            .collect();
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
        let name = secret_name();
        let _running = Running::enter();
        // SAFETY: the arrays and the name outlive the call, which copies them. The portal holds on to
        // its plan, and lives until it is closed or its (sub)transaction ends.
        unsafe {
            guard(|| raw::SPI_connect())?;
            let plan = plan(statement, arguments)?;
            guard(|| {
                let portal = raw::SPI_cursor_open(name.as_ptr(), plan, values, nulls, read_only);
                (*portal).visible = false;
                raw::SPI_finish();
            })?;
            Ok(Self { name })
        }
    }

    /// Reads the next rows, `count` at most; none where the cursor is at its end or gone.
    pub fn fetch<T, E: From<Raised>>(
        &self,
        count: usize,
        read: impl FnOnce(&Rows) -> Result<T, E>,
    ) -> Result<T, E> {
        let (name, count) = (self.name.as_ptr(), count as c_long);
        let _running = Running::enter();
        // SAFETY: the portal is looked up by its name, and used before anything can close it.
        unsafe {
            guard(|| raw::SPI_connect())?;
            let portal = pg_sys::SPI_cursor_find(name);
            let mut rows = Rows {
                processed: 0,
                table: ptr::null_mut(),
            };
            if !portal.is_null() {
                guard(|| raw::SPI_cursor_fetch(portal, true, count))?;
                rows.processed = pg_sys::SPI_processed as usize;
                rows.table = pg_sys::SPI_tuptable;
            }
            let result = read(&rows)?;
            guard(|| raw::SPI_finish())?;
            Ok(result)
        }
    }

    pub fn close(self) -> Result<(), Raised> {
        let name = self.name.as_ptr();
        // SAFETY: a look-up by name; a portal that is found may be closed.
        unsafe {
            let portal = pg_sys::SPI_cursor_find(name);
            if portal.is_null() {
                return Ok(());
            }
            guard(|| raw::SPI_cursor_close(portal))
        }
    }
}

/// A name that nobody can guess: FETCH reads from any cursor of the session whose name it has, with
/// the rights of whoever opened it, and a trigger of somebody else may run meanwhile.
fn secret_name() -> CString {
    let mut secret = [0_u8; 16];
    // SAFETY: fills as many bytes as there are. Without randomness the name is only not secret.
    unsafe { pg_sys::pg_strong_random(secret.as_mut_ptr().cast(), secret.len()) };
    CString::new(format!("pg_once {:032x}", u128::from_ne_bytes(secret))).unwrap_or_default()
}
