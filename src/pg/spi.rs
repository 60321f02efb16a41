//! SQL statements, prepared once per session and kept.
//!
//! They run through SPI with `read_only = false`, which takes a new snapshot for each statement at
//! READ COMMITTED and, unlike pgrx's `update`, assigns no transaction id by itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid, SPIPlanPtr, SPITupleTable};

use super::call::Interval;
use super::guard::{Raised, guard};
use super::raw;
use super::role::Role;
use super::value::{Value, from_server, to_server};

/// Which rows a statement sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What the isolation level says: at READ COMMITTED all that is committed now.
    Isolated,
    /// All that is committed now, at every isolation level.
    Newest,
}

/// The rows that a statement returned; gone when the closure that reads them ends.
pub struct Rows {
    pub(super) processed: usize,
    pub(super) table: *mut SPITupleTable,
}

impl Rows {
    /// The rows returned, or changed where the statement returns none.
    pub fn count(&self) -> usize {
        self.processed
    }

    pub fn boolean(&self, row: usize, column: usize) -> Option<bool> {
        self.value(row, column)
            .map(|value| value.datum.value() != 0)
    }

    pub fn timestamp(&self, row: usize, column: usize) -> Option<i64> {
        self.value(row, column)
            .map(|value| value.datum.value() as i64)
    }

    /// A column of type int8, int4 or "char".
    pub fn integer(&self, row: usize, column: usize) -> Option<i64> {
        self.value(row, column)
            .map(|value| value.datum.value() as i64)
    }

    /// The bytes of a text column, in the database's encoding.
    pub fn bytes(&self, row: usize, column: usize) -> Result<Option<Vec<u8>>, Raised> {
        match self.value(row, column) {
            Some(value) if value.kind == pg_sys::TEXTOID => Ok(Some(value.bytes()?.to_vec())),
            _ => Ok(None),
        }
    }

    pub fn interval(&self, row: usize, column: usize) -> Option<Interval> {
        let value = self.value(row, column)?;
        // SAFETY: the statement asks for an interval, which is passed by reference.
        let interval = unsafe { *value.datum.cast_mut_ptr::<pg_sys::Interval>() };
        Some(interval.into())
    }

    pub fn role(&self, row: usize, column: usize) -> Option<Role> {
        self.value(row, column)
            .map(|value| Role(Oid::from(value.datum.value() as u32)))
    }

    pub fn uuid(&self, row: usize, column: usize) -> Option<[u8; 16]> {
        let value = self.value(row, column)?;
        // SAFETY: the statement asks for a uuid, which is 16 bytes passed by reference.
        Some(unsafe { *value.datum.cast_mut_ptr::<[u8; 16]>() })
    }

    /// Whether a column of type xid is the transaction in progress, or a subtransaction of it.
    pub fn is_own(&self, row: usize, column: usize) -> bool {
        // SAFETY: looks at this backend's own transactions.
        self.value(row, column).is_some_and(|value| unsafe {
            pg_sys::TransactionIdIsCurrentTransactionId((value.datum.value() as u32).into())
        })
    }

    /// A column of type text; none too where it is not valid text.
    pub fn text(&self, row: usize, column: usize) -> Result<Option<String>, Raised> {
        match self.value(row, column) {
            Some(value) if value.kind == pg_sys::TEXTOID => from_server(value.bytes()?),
            _ => Ok(None),
        }
    }

    /// A column of any type, copied so that it outlives the rows.
    pub fn keep(&self, row: usize, column: usize) -> Result<Option<Value>, Raised> {
        let Some(value) = self.value(row, column) else {
            return Ok(None);
        };
        let datum = value.datum;
        let (mut length, mut by_value) = (0, false);
        // SAFETY: the datum is of this type; SPI copies it into the memory of the caller.
        let datum = unsafe {
            pg_sys::get_typlenbyval(value.kind, &raw mut length, &raw mut by_value);
            guard(|| raw::SPI_datumTransfer(datum, by_value, length.into()))
        }?;
        Ok(Some(Value { datum, ..value }))
    }

    pub(super) fn value(&self, row: usize, column: usize) -> Option<Value> {
        if self.table.is_null() || row >= self.processed {
            return None;
        }
        // SAFETY: SPI's table holds `processed` rows until SPI_finish, which comes after the
        // closure that `self` was lent to. SPI_getbinval answers null for a column out of range.
        unsafe {
            let description = (*self.table).tupdesc;
            let tuple = *(*self.table).vals.add(row);
            let number = column as c_int + 1;
            let mut null = false;
            let datum = pg_sys::SPI_getbinval(tuple, description, number, &raw mut null);
            let kind = pg_sys::getBaseType(pg_sys::SPI_gettypeid(description, number));
            (!null).then_some(Value { datum, null, kind })
        }
    }
}

/// Runs `statement` with `arguments` for `$1`, `$2`, … and reads its result.
///
/// The plan is kept for the session under the text and the argument types, and PostgreSQL plans
/// it anew by itself when what it refers to changes.
pub fn run<T, E: From<Raised>>(
    statement: &str,
    arguments: &[Value],
    view: View,
    read: impl FnOnce(&Rows) -> Result<T, E>,
) -> Result<T, E> {
    let mut values: Vec<Datum> = arguments.iter().map(|value| value.datum).collect();
    let nulls: Vec<c_char> = arguments
        .iter()
        .map(|value| if value.null { b'n' } else { b' ' } as c_char)
        .collect();
    let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
    let _running = Running::enter();
    // SAFETY: the arrays outlive the calls and have one entry for each parameter of the plan.
    // A registered snapshot that an ERROR leaves behind is released with its resource owner.
    unsafe {
        guard(|| raw::SPI_connect())?;
        let plan = plan(statement, arguments)?;
        let snapshot = match view {
            View::Isolated => ptr::null_mut(),
            View::Newest => guard(|| raw::RegisterSnapshot(raw::GetLatestSnapshot()))?,
        };
        guard(|| {
            raw::SPI_execute_snapshot(
                plan,
                values,
                nulls,
                snapshot,
                ptr::null_mut(),
                false,
                true,
                0,
            )
        })?;
        let rows = Rows {
            processed: pg_sys::SPI_processed as usize,
            table: pg_sys::SPI_tuptable,
        };
        let result = read(&rows)?;
        guard(|| {
            if !snapshot.is_null() {
                raw::UnregisterSnapshot(snapshot);
            }
            raw::SPI_finish()
        })?;
        Ok(result)
    }
}

/// The plans of each statement, one for each list of argument types.
type Plans = HashMap<String, Vec<(Vec<Oid>, SPIPlanPtr)>>;

thread_local! {
    static PLANS: RefCell<Plans> = RefCell::new(HashMap::new());
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Plans kept at most, before all are given up: a bound for sessions that see thousands of tables.
const PLANS_KEPT: usize = 512;

/// The kept plan of `statement`, prepared if this session has none.
pub(super) fn plan(statement: &str, arguments: &[Value]) -> Result<SPIPlanPtr, Raised> {
    let kept = PLANS.with_borrow(|plans| {
        let kinds = arguments.iter().map(|value| &value.kind);
        let mut plans = plans.get(statement)?.iter();
        plans
            .find(|(types, _)| types.iter().eq(kinds.clone()))
            .map(|(_, plan)| *plan)
    });
    if let Some(plan) = kept {
        return Ok(plan);
    }
    let mut key: Vec<Oid> = arguments.iter().map(|value| value.kind).collect();
    let text = to_server(statement)?;
    let (text, count, types) = (text.as_ptr(), key.len() as c_int, key.as_mut_ptr());
    // SAFETY: text and types outlive the call. SPI_keepplan moves the plan into memory of the
    // session. Plans are freed only when none is running.
    unsafe {
        let plan = guard(|| {
            let plan = raw::SPI_prepare(text, count, types);
            raw::SPI_keepplan(plan);
            plan
        })?;
        if DEPTH.get() == 1 && PLANS.with_borrow(plans_kept) >= PLANS_KEPT {
            for (_, plan) in PLANS.take().into_values().flatten() {
                guard(|| raw::SPI_freeplan(plan))?;
            }
        }
        PLANS.with_borrow_mut(|plans| {
            let plans = plans.entry(statement.to_owned()).or_default();
            plans.push((key, plan));
        });
        Ok(plan)
    }
}

fn plans_kept(plans: &Plans) -> usize {
    plans.values().map(Vec::len).sum()
}

/// Counts the statements in progress: a user's trigger may call back into this extension.
pub(super) struct Running;

impl Running {
    pub(super) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
