//! VACUUM, which is no statement of a transaction: it begins and commits its own.

use std::ffi::{CStr, c_int};
use std::ptr;

use pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED;
use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::owner::Proved;
use super::raw;

/// `STATEMENT_TIMEOUT` of `utils/timeout.h`, the same in 15 to 18.
const STATEMENT_TIMEOUT: c_int = 3;

/// Runs a statement that is one VACUUM of one table: this one, whatever its name leads to by now.
/// False where it was not done by `end`, and was broken off. Only in a background worker, outside of
/// any transaction.
pub fn run(statement: &CStr, table: Proved, end: i64) -> Result<bool, Raised> {
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
            (*named.cast::<pg_sys::VacuumRelation>()).oid = table.0;
            let state = raw::make_parsestate(ptr::null_mut());
            raw::SetCurrentStatementStartTimestamp();
            raw::StartTransactionCommand();
            raw::enable_timeout_at(STATEMENT_TIMEOUT, end);
            raw::ExecVacuum(state, vacuum, true);
            raw::disable_timeout(STATEMENT_TIMEOUT, false);
            raw::CommitTransactionCommand();
        });
        raw::disable_timeout(STATEMENT_TIMEOUT, false);
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
