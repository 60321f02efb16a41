//! Warnings and notices, which go to the client while the call goes on.

use std::ptr;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;
use super::value::to_server;

/// Sends a WARNING. Sending serves interrupts, so a cancel may come back as an error.
pub fn warn(message: &str, detail: &str, hint: &str) -> Result<(), Raised> {
    let (message, detail, hint) = (to_server(message)?, to_server(detail)?, to_server(hint)?);
    let (message, detail, hint) = (message.as_ptr(), detail.as_ptr(), hint.as_ptr());
    // SAFETY: what ereport does; the strings outlive the call.
    unsafe {
        guard(|| {
            if raw::errstart(pg_sys::WARNING as i32, ptr::null()) {
                raw::errcode(PgSqlErrorCode::ERRCODE_WARNING as i32);
                raw::errmsg_internal(c"%s".as_ptr(), message);
                raw::errdetail_internal(c"%s".as_ptr(), detail);
                raw::errhint(c"%s".as_ptr(), hint);
                raw::errfinish(c"pg_once".as_ptr(), 0, c"warn".as_ptr());
            }
        })
    }
}

/// Sends a NOTICE. Sending serves interrupts, as with [`warn`].
pub fn tell(message: &str) -> Result<(), Raised> {
    let message = to_server(message)?;
    let message = message.as_ptr();
    // SAFETY: what ereport does; the string outlives the call.
    unsafe {
        guard(|| {
            if raw::errstart(pg_sys::NOTICE as i32, ptr::null()) {
                raw::errmsg_internal(c"%s".as_ptr(), message);
                raw::errfinish(c"pg_once".as_ptr(), 0, c"tell".as_ptr());
            }
        })
    }
}
