//! Calling PostgreSQL and keeping the whole error when it raises one.

use std::backtrace::Backtrace;
use std::env;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};

use cee_scape::call_with_sigsetjmp;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, ErrorContextCallback, ErrorData, MemoryContext};

use super::memory;
use super::raw;
use super::refusal::Refusal;
use super::text;

/// Why a function of the fence has no result.
///
/// It is a value to be raised. The transaction stands where the error left it, so going on without
/// raising is allowed only after the rollback of a subtransaction that covers the failed call.
#[derive(Debug)]
pub enum Raised {
    Server(ServerError),
    Refused(Refusal),
}

/// An ERROR that PostgreSQL raised, with every field it had, in memory of its own.
#[derive(Debug)]
pub struct ServerError(NonNull<ErrorData>);

impl Raised {
    /// Whether core raised it with this message, before translation.
    pub(super) fn says(&self, message: &CStr) -> bool {
        match self {
            Self::Server(error) => error.says(message),
            Self::Refused(_) => false,
        }
    }

    pub(super) fn is(&self, code: PgSqlErrorCode) -> bool {
        match self {
            Self::Server(error) => error.is(code),
            Self::Refused(_) => false,
        }
    }
}

impl From<ServerError> for Raised {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

impl ServerError {
    /// The SQLSTATE as PostgreSQL packs it.
    pub fn code(&self) -> i32 {
        self.data().sqlerrcode
    }

    pub fn is(&self, code: PgSqlErrorCode) -> bool {
        self.code() == code as i32
    }

    /// Whether what is stored is damaged or cannot be read: an error of class 58 (system error) or XX
    /// (internal error), which core raises for sizes and references that make no sense.
    pub fn is_damage(&self) -> bool {
        /// The bits of the first two characters.
        const CLASS: i32 = 0xFFF;
        let classes = [
            PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        ];
        classes
            .map(|class| class as i32 & CLASS)
            .contains(&(self.code() & CLASS))
    }

    /// Whether a table is not where a statement looks for it: on this node, or on another.
    pub fn is_missing_table(&self) -> bool {
        self.is(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE)
    }

    /// Whether the caller's `lock_timeout` ended a wait.
    pub fn is_lock_timeout(&self) -> bool {
        self.is(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE)
    }

    /// The five characters of the SQLSTATE.
    pub fn state(&self) -> String {
        let digit = |place: i32| char::from(b'0' + ((self.code() >> (6 * place)) & 0x3F) as u8);
        (0..5).map(digit).collect()
    }

    /// What it says, in the language of the session.
    pub fn message(&self) -> String {
        decoded(self.data().message).unwrap_or_default()
    }

    pub fn detail(&self) -> Option<String> {
        decoded(self.data().detail)
    }

    /// Whether core raised it with this message, before translation.
    pub(super) fn says(&self, message: &CStr) -> bool {
        let id = self.data().message_id;
        // SAFETY: a field of ErrorData is null or a NUL-terminated string that lives as long.
        !id.is_null() && unsafe { CStr::from_ptr(id) } == message
    }

    /// Whether the row to be locked was changed since the snapshot of the statement.
    pub fn is_overtaken(&self) -> bool {
        OVERTAKEN.iter().any(|message| self.says(message))
    }

    /// The constraint or index that the error names.
    pub fn constraint(&self) -> Option<String> {
        text_of(self.data().constraint_name)
    }

    /// The column that the error names.
    pub fn column(&self) -> Option<String> {
        text_of(self.data().column_name)
    }

    /// Whether `statement` raised it, and no function or trigger that the statement called.
    pub fn is_of_statement(&self, statement: &str) -> bool {
        let context = text_of(self.data().context).unwrap_or_default();
        let innermost = context.find(statement).map(|start| &context[..start]);
        innermost.is_some_and(|before| !before.contains('\n'))
    }

    /// The table that the error names, quoted and with its schema.
    pub fn table(&self) -> Option<String> {
        let data = self.data();
        if data.schema_name.is_null() || data.table_name.is_null() {
            return None;
        }
        let (schema, table) = (data.schema_name, data.table_name);
        // SAFETY: both are NUL-terminated strings.
        let name = unsafe { guard(|| raw::quote_qualified_identifier(schema, table)) };
        name.ok().and_then(|name| text_of(name))
    }

    /// Adds a hint where the error has none.
    pub fn with_hint(self, hint: &CStr) -> Self {
        let (data, hint) = (self.0.as_ptr(), hint.as_ptr());
        // SAFETY: the data was copied for this value alone; the hint is copied to the same memory.
        unsafe {
            if (*data).hint.is_null()
                && let Ok(hint) = guard(|| raw::MemoryContextStrdup((*data).assoc_context, hint))
            {
                (*data).hint = hint;
            }
        }
        self
    }

    /// The report that raises this error again, with all its fields.
    ///
    /// pgrx knows message, detail and hint only, so the report is a shell: while PostgreSQL
    /// finishes it, the callback below puts every field of the original in place. It must be
    /// raised next, before any other error.
    pub fn into_report(self) -> ErrorReport {
        memory::use_reserve();
        let data = ManuallyDrop::new(self).0;
        // SAFETY: backends are single-threaded. The callback is static, so it outlives the raise;
        // whoever catches the error restores error_context_stack, which takes it off again.
        // `previous` is null because the original context already holds the outer lines.
        unsafe {
            RESTORE = ErrorContextCallback {
                previous: ptr::null_mut(),
                callback: Some(restore),
                arg: data.as_ptr().cast(),
            };
            pg_sys::error_context_stack = &raw mut RESTORE;
        }
        ErrorReport::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "", "pg_once")
    }

    /// What core looked up by its object id and did not find, which it takes for a broken catalog: an
    /// object that was dropped while a cursor or a call still names it.
    #[cold]
    fn gone(&self) -> Option<Refusal> {
        const LOOKED_UP: &str = "cache lookup failed for ";
        const OPENED: &str = "could not open relation with OID ";
        let (data, internal) = (self.data(), PgSqlErrorCode::ERRCODE_INTERNAL_ERROR);
        if data.message_id.is_null() || !self.is(internal) {
            return None;
        }
        // SAFETY: a NUL-terminated string.
        let id = unsafe { CStr::from_ptr(data.message_id) }.to_str().ok()?;
        let message = text_of(data.message).unwrap_or_default();
        if id.starts_with(OPENED) {
            return Some(Refusal::Gone {
                kind: "relation".to_owned(),
                message,
            });
        }
        let kind = id.strip_prefix(LOOKED_UP)?.split(' ').next()?.to_owned();
        Some(Refusal::Gone { kind, message })
    }

    fn data(&self) -> &ErrorData {
        // SAFETY: the copy is this value's.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ServerError {
    fn drop(&mut self) {
        // SAFETY: `guard` made the memory for it alone, and nothing else points there.
        unsafe { raw::MemoryContextDelete((*self.0.as_ptr()).assoc_context) }
    }
}

/// Keeps backtraces out of errors, whatever the environment says: an error is an answer, and to write down where
/// it was made takes memory that there may not be, in a place where a failure hangs the process.
pub fn without_backtraces() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    let told = env::var_os(VARIABLE);
    // SAFETY: a process of PostgreSQL has one thread. The first capture settles it for this library, and the
    // environment is then as it was for others.
    unsafe {
        env::set_var(VARIABLE, "0");
        drop(Backtrace::capture());
        match told {
            Some(value) => env::set_var(VARIABLE, value),
            None => env::remove_var(VARIABLE),
        }
    }
}

/// What core says, before translation, when a wait is cancelled by neither `lock_timeout` nor
/// `statement_timeout`.
pub(super) const CANCELED: &CStr = c"canceling statement due to user request";

/// What core says, before translation, at READ COMMITTED, where it means only: look again.
pub(super) const MOVED: &CStr =
    c"tuple to be locked was already moved to another partition due to concurrent update";

/// What core says, before translation, under one snapshot about a row that others have changed.
const OVERTAKEN: [&CStr; 2] = [
    c"could not serialize access due to concurrent update",
    c"could not serialize access due to concurrent delete",
];

/// Calls `f`, which calls PostgreSQL, and catches an ERROR as a value.
///
/// # Safety
/// `f` must neither panic nor hold anything that needs dropping: an ERROR jumps over it. It calls
/// functions of [`raw`] only, since those of `pg_sys` panic.
pub(super) unsafe fn guard<T: Copy>(f: impl FnOnce() -> T) -> Result<T, Raised> {
    // SAFETY: what PG_TRY and PG_CATCH do. The jump buffer lives in call_with_sigsetjmp's frame
    // and is off PG_exception_stack before that frame is gone; `f` is as the caller promises.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let exceptions = pg_sys::PG_exception_stack;
        let contexts = pg_sys::error_context_stack;
        let mut result = MaybeUninit::<T>::uninit();
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = ptr::from_ref(buffer).cast_mut().cast();
            result.write(f());
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = contexts;
        if jumped == 0 {
            return Ok(result.assume_init());
        }
        pg_sys::CurrentMemoryContext = memory;
        Err(caught())
    }
}

/// The error that core is handling, which it handles no more.
///
/// # Safety
/// An error was caught.
#[cold]
unsafe fn caught() -> Raised {
    // SAFETY: as in `guard`: what the closure calls may raise, and it holds nothing that needs dropping.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let exceptions = pg_sys::PG_exception_stack;
        let contexts = pg_sys::error_context_stack;
        let mut own: MemoryContext = ptr::null_mut();
        let mut data: *mut ErrorData = ptr::null_mut();
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = ptr::from_ref(buffer).cast_mut().cast();
            // FreeErrorData leaves copies of the names of the file and the function.
            own = raw::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"pg_once error".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            );
            pg_sys::CurrentMemoryContext = own;
            data = raw::CopyErrorData();
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = contexts;
        pg_sys::CurrentMemoryContext = memory;
        raw::FlushErrorState();
        // Without memory for the copy this is an error during an error, of which core's stack has place for five.
        if jumped != 0 {
            if !own.is_null() {
                raw::MemoryContextDelete(own);
            }
            return Raised::Refused(Refusal::OutOfMemory);
        }
        let error = ServerError(NonNull::new_unchecked(data));
        match error.gone() {
            Some(gone) => Raised::Refused(gone),
            None => Raised::Server(error),
        }
    }
}

/// The text, where it is valid in the database's encoding.
fn decoded(string: *const c_char) -> Option<String> {
    // SAFETY: callers pass null or a NUL-terminated string.
    let text = (!string.is_null()).then(|| unsafe { text::from_c(string) });
    text?.ok()?
}

fn text_of(string: *const c_char) -> Option<String> {
    // SAFETY: callers pass null or a NUL-terminated string.
    (!string.is_null()).then(|| {
        unsafe { CStr::from_ptr(string) }
            .to_string_lossy()
            .into_owned()
    })
}

static mut RESTORE: ErrorContextCallback = ErrorContextCallback {
    previous: ptr::null_mut(),
    callback: None,
    arg: ptr::null_mut(),
};

/// Runs inside errfinish and makes the error being raised equal to the original.
unsafe extern "C-unwind" fn restore(original: *mut c_void) {
    type Field = unsafe extern "C-unwind" fn(*const c_char, ...) -> c_int;
    if original.is_null() {
        return;
    }
    // SAFETY: `original` is the ErrorData that into_report put there; errfinish calls this while
    // an error is under construction, which is when the err… functions may be called. They copy
    // what they are given.
    unsafe {
        let data = &*original.cast::<ErrorData>();
        raw::errcode(data.sqlerrcode);
        let fields: [(Field, *mut c_char); 5] = [
            (raw::errmsg_internal, data.message),
            (raw::errdetail_internal, data.detail),
            (raw::errdetail_log, data.detail_log),
            (raw::errhint, data.hint),
            (raw::errcontext_msg, data.context),
        ];
        for (set, value) in fields {
            if !value.is_null() {
                set(c"%s".as_ptr(), value);
            }
        }
        // An outer call of this extension tells these by their untranslated text.
        for known in [CANCELED, MOVED] {
            if !data.message_id.is_null() && CStr::from_ptr(data.message_id) == known {
                raw::errmsg(known.as_ptr());
            }
        }
        let names = [
            (pg_sys::PG_DIAG_SCHEMA_NAME, data.schema_name),
            (pg_sys::PG_DIAG_TABLE_NAME, data.table_name),
            (pg_sys::PG_DIAG_COLUMN_NAME, data.column_name),
            (pg_sys::PG_DIAG_DATATYPE_NAME, data.datatype_name),
            (pg_sys::PG_DIAG_CONSTRAINT_NAME, data.constraint_name),
        ];
        for (field, value) in names {
            if !value.is_null() {
                raw::err_generic_string(field as c_int, value);
            }
        }
        if !data.internalquery.is_null() {
            raw::internalerrquery(data.internalquery);
            raw::internalerrposition(data.internalpos);
        }
        raw::errposition(data.cursorpos);
        RESTORE.arg = ptr::null_mut();
        raw::MemoryContextDelete(data.assoc_context);
    }
}
