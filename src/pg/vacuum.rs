//! VACUUM, which is no statement of a transaction: it begins and commits its own.

use std::ffi::{CStr, CString};
use std::ptr;

use pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED;
use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::owner::Proved;
use super::raw;

/// A VACUUM of this table that waits for nobody. With `truncate` it gives space back to the
/// operating system, for which it keeps others out for a moment.
pub(super) fn statement(table: Proved, truncate: bool) -> CString {
    let truncate = if truncate { "on" } else { "off" };
    let without = match cfg!(feature = "pg15") {
        true => "",
        false => ", SKIP_DATABASE_STATS",
    };
    let name = table.table.name();
    let text = format!("VACUUM (SKIP_LOCKED, TRUNCATE {truncate}{without}) once.{name}");
    CString::new(text).unwrap_or_default()
}

/// Runs VACUUM of this table, whatever its name leads to by now. False where it was not done by
/// `end`, and was broken off.
///
/// # Safety
/// The process is a background worker that is in no transaction, and `statement` is that of
/// [`statement()`] for this table.
pub(super) unsafe fn run(statement: &CStr, table: Proved, end: i64) -> Result<bool, Raised> {
    // SAFETY: the order of calls is that of a backend that is told VACUUM: it commits the
    // transaction that was begun here, and leaves another one to be committed. So what was parsed
    // is kept in memory that no transaction frees; the process ends soon. A cancel is served as in a
    // backend: the transaction that it leaves is rolled back.
    unsafe {
        let done = guard(|| {
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            let text = statement.as_ptr();
            let parsed = raw::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
            let parsed = (*(*parsed).elements).ptr_value.cast::<pg_sys::RawStmt>();
            let vacuum = (*parsed).stmt.cast::<pg_sys::VacuumStmt>();
            let named = (*(*(*vacuum).rels).elements).ptr_value;
            (*named.cast::<pg_sys::VacuumRelation>()).oid = table.number;
            let state = raw::make_parsestate(ptr::null_mut());
            raw::SetCurrentStatementStartTimestamp();
            raw::StartTransactionCommand();
            raw::enable_timeout_at(raw::STATEMENT_TIMEOUT, end);
            raw::ExecVacuum(state, vacuum, true);
            raw::disable_timeout(raw::STATEMENT_TIMEOUT, false);
            raw::CommitTransactionCommand();
        });
        raw::disable_timeout(raw::STATEMENT_TIMEOUT, false);
        match done {
            Ok(()) => Ok(true),
            Err(raised) if raised.is(ERRCODE_QUERY_CANCELED) => {
                guard(|| raw::AbortCurrentTransaction())?;
                pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
                Ok(false)
            }
            Err(raised) => Err(raised),
        }
    }
}
