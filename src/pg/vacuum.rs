//! VACUUM, which is no statement of a transaction: it begins and commits its own.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;

/// Runs a statement that is one VACUUM. Only in a background worker, outside of any transaction.
pub fn run(statement: &CStr) -> Result<(), Raised> {
    // SAFETY: the order of calls is that of a backend that is told VACUUM: it commits the
    // transaction that was begun here, and leaves another one to be committed. So what was parsed
    // is kept in memory that no transaction frees; the process ends soon.
    unsafe {
        guard(|| {
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            let text = statement.as_ptr();
            let parsed = raw::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
            let parsed = (*(*parsed).elements).ptr_value.cast::<pg_sys::RawStmt>();
            let state = raw::make_parsestate(ptr::null_mut());
            raw::SetCurrentStatementStartTimestamp();
            raw::StartTransactionCommand();
            raw::ExecVacuum(state, (*parsed).stmt.cast(), true);
            raw::CommitTransactionCommand();
        })
    }
}
