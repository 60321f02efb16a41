//! SQL statements, prepared once per session and kept.
//!
//! They run through SPI with `read_only = false`, which takes a new snapshot for each statement at
//! READ COMMITTED and, unlike pgrx's `update`, assigns no transaction id by itself.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, SPIPlanPtr, SPITupleTable};

use super::call::Interval;
use super::guard::{Raised, guard};
use super::raw;
use super::refusal::{Expected, types};
use super::role::Role;
use super::session;
use super::text;
use super::value::{Value, from_server, to_server};
use crate::session_map::SessionMap;

/// Which rows a statement sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What the isolation level says: at READ COMMITTED all that is committed now.
    Isolated,
    /// All that is committed now, at every isolation level.
    Newest,
}

/// Where a version of a row stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place([u8; size_of::<pg_sys::ItemPointerData>()]);

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

    pub fn boolean(&self, row: usize, column: usize) -> Result<Option<bool>, Raised> {
        let datum = self.datum(row, column, types::BOOLEAN)?;
        Ok(datum.map(|datum| datum.value() as u8 != 0))
    }

    /// A timestamptz: microseconds since 2000-01-01 UTC.
    pub fn timestamp(&self, row: usize, column: usize) -> Result<Option<i64>, Raised> {
        let datum = self.datum(row, column, types::TIMESTAMPTZ)?;
        Ok(datum.map(|datum| datum.value() as i64))
    }

    /// A column of type int8.
    pub fn integer(&self, row: usize, column: usize) -> Result<Option<i64>, Raised> {
        let datum = self.datum(row, column, types::BIGINT)?;
        Ok(datum.map(|datum| datum.value() as i64))
    }

    /// A column of type int2.
    pub fn int2(&self, row: usize, column: usize) -> Result<Option<i16>, Raised> {
        let datum = self.datum(row, column, types::SMALLINT)?;
        Ok(datum.map(|datum| datum.value() as i16))
    }

    /// A column of type int4.
    pub fn int4(&self, row: usize, column: usize) -> Result<Option<i32>, Raised> {
        let datum = self.datum(row, column, types::INTEGER)?;
        Ok(datum.map(|datum| datum.value() as i32))
    }

    /// A column of type "char".
    pub fn letter(&self, row: usize, column: usize) -> Result<Option<u8>, Raised> {
        let datum = self.datum(row, column, types::CHAR)?;
        Ok(datum.map(|datum| datum.value() as u8))
    }

    /// The bytes of a text column, in the database's encoding.
    pub fn bytes(&self, row: usize, column: usize) -> Result<Option<Vec<u8>>, Raised> {
        match self.datum(row, column, types::TEXT)? {
            // SAFETY: the column is a text, which lives as long as the rows.
            Some(datum) => unsafe {
                let bytes = Value::lent(datum, pg_sys::TEXTOID).into_bytes()?;
                Ok(Some(bytes.into_owned()))
            },
            None => Ok(None),
        }
    }

    pub fn interval(&self, row: usize, column: usize) -> Result<Option<Interval>, Raised> {
        let datum = self.datum(row, column, types::INTERVAL)?;
        // SAFETY: the column is an interval, which is passed by reference.
        Ok(datum.map(|datum| unsafe { *datum.cast_mut_ptr::<pg_sys::Interval>() }.into()))
    }

    /// A column of type regrole.
    pub fn role(&self, row: usize, column: usize) -> Result<Option<Role>, Raised> {
        let datum = self.datum(row, column, types::REGROLE)?;
        Ok(datum.map(|datum| Role(Oid::from(datum.value() as u32))))
    }

    pub fn uuid(&self, row: usize, column: usize) -> Result<Option<[u8; 16]>, Raised> {
        let datum = self.datum(row, column, types::UUID)?;
        // SAFETY: the column is a uuid, which is 16 bytes passed by reference.
        Ok(datum.map(|datum| unsafe { *datum.cast_mut_ptr::<[u8; 16]>() }))
    }

    /// A column of type tid.
    pub fn place(&self, row: usize, column: usize) -> Result<Option<Place>, Raised> {
        let datum = self.datum(row, column, types::TID)?;
        // SAFETY: the column is a tid, which is passed by reference.
        Ok(datum.map(|datum| unsafe { *datum.cast_mut_ptr::<Place>() }))
    }

    /// Whether a column of type xid is the transaction in progress, or a subtransaction of it.
    pub fn is_own(&self, row: usize, column: usize) -> Result<bool, Raised> {
        let datum = self.datum(row, column, types::XID)?;
        // SAFETY: looks at this backend's own transactions.
        Ok(datum.is_some_and(|datum| unsafe {
            pg_sys::TransactionIdIsCurrentTransactionId((datum.value() as u32).into())
        }))
    }

    /// A column of type text; none too where it is not valid text.
    pub fn text(&self, row: usize, column: usize) -> Result<Option<String>, Raised> {
        match self.datum(row, column, types::TEXT)? {
            // SAFETY: the column is a text, which lives as long as the rows.
            Some(datum) => unsafe {
                from_server(&Value::lent(datum, pg_sys::TEXTOID).into_bytes()?)
            },
            None => Ok(None),
        }
    }

    /// A column of type jsonb, copied so that it outlives the rows.
    pub fn jsonb(&self, row: usize, column: usize) -> Result<Option<Value<'static>>, Raised> {
        self.datum(row, column, types::JSONB)?;
        self.keep(row, column)
    }

    /// A column of any type, copied so that it outlives the rows.
    pub fn keep(&self, row: usize, column: usize) -> Result<Option<Value<'static>>, Raised> {
        let Some(field) = self.field(row, column) else {
            return Ok(None);
        };
        let Some(datum) = field.datum else {
            return Ok(None);
        };
        let kind = text::base_type(field.kind)?;
        // SAFETY: the datum is of this type; the rows hold none that is expanded.
        unsafe { Value::copy(datum, kind, field.length, field.by_value) }.map(Some)
    }

    /// A column of any type.
    pub(super) fn value(&self, row: usize, column: usize) -> Result<Option<Value<'_>>, Raised> {
        let Some(field) = self.field(row, column) else {
            return Ok(None);
        };
        let Some(datum) = field.datum else {
            return Ok(None);
        };
        let kind = text::base_type(field.kind)?;
        // SAFETY: the datum is of this type, and lives as long as the rows.
        Ok(Some(unsafe { Value::lent(datum, kind) }))
    }

    /// The same without a copy of their own, which a long text would need memory for.
    pub fn borrowed_bytes(
        &self,
        row: usize,
        column: usize,
    ) -> Result<Option<Cow<'_, [u8]>>, Raised> {
        let datum = self.datum(row, column, types::TEXT)?;
        // SAFETY: the column is a text, which lives as long as the rows.
        datum
            .map(|datum| unsafe { Value::lent(datum, pg_sys::TEXTOID) }.into_bytes())
            .transpose()
    }

    /// What stands in a column of this type, or of a domain over it; none where that is NULL or
    /// there is no such row.
    fn datum(
        &self,
        row: usize,
        column: usize,
        expected: Expected,
    ) -> Result<Option<Datum>, Raised> {
        let Some(Field { datum, kind, .. }) = self.field(row, column) else {
            return Ok(None);
        };
        if expected.is(kind) || expected.is(text::base_type(kind)?) {
            return Ok(datum);
        }
        Err(expected.not_column(column, kind))
    }

    /// What stands in a column; none where there is no such row or column.
    fn field(&self, row: usize, column: usize) -> Option<Field> {
        if self.table.is_null() {
            return None;
        }
        // SAFETY: SPI's table holds `numvals` rows until SPI_finish, which comes after the closure
        // that `self` was lent to. The column is one of the description.
        unsafe {
            if row as u64 >= (*self.table).numvals {
                return None;
            }
            let rows = (*self.table).tupdesc;
            let columns = PgTupleDesc::from_pg_unchecked(rows);
            let attribute = columns.get(column)?;
            let tuple = *(*self.table).vals.add(row);
            let mut null = false;
            let number = column as c_int + 1;
            let datum = pg_sys::SPI_getbinval(tuple, rows, number, &raw mut null);
            Some(Field {
                datum: (!null).then_some(datum),
                kind: attribute.atttypid,
                length: attribute.attlen,
                by_value: attribute.attbyval,
            })
        }
    }
}

/// A column of a row: what stands there, none for NULL, and of what type it is.
struct Field {
    datum: Option<Datum>,
    kind: Oid,
    length: i16,
    by_value: bool,
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
            View::Newest => {
                session::demand_not_parallel()?;
                guard(|| raw::RegisterSnapshot(raw::GetLatestSnapshot()))?
            }
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

/// Runs a command that is no query, whose plan is not kept.
pub(super) fn run_command(command: &CStr) -> Result<(), Raised> {
    let command = command.as_ptr();
    let _running = Running::enter();
    // SAFETY: the text is NUL-terminated.
    unsafe {
        guard(|| {
            raw::SPI_connect();
            raw::SPI_execute(command, false, 0);
            raw::SPI_finish();
        })
    }
}

/// The plans of each statement, one for each list of argument types.
type Plans = SessionMap<String, Vec<(Vec<Oid>, SPIPlanPtr)>>;

thread_local! {
    static PLANS: RefCell<Plans> = RefCell::default();
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
    match kept {
        Some(plan) if is_rewritten_to_nothing(plan) => forget(statement, plan)?,
        Some(plan) => return Ok(plan),
        None => {}
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

/// Whether a rule has left nothing of the statement. PostgreSQL does not analyze such a plan again when the
/// rule is changed: a plan of nothing depends on no table.
fn is_rewritten_to_nothing(plan: SPIPlanPtr) -> bool {
    // SAFETY: a kept plan has a list of its statements, of which there is one; both live as long as it. The call
    // raises nothing.
    unsafe {
        let sources = raw::SPI_plan_get_plan_sources(plan);
        let source: *const pg_sys::CachedPlanSource = (*(*sources).elements).ptr_value.cast();
        (*source).query_list.is_null()
    }
}

/// Frees a kept plan that is not running.
fn forget(statement: &str, plan: SPIPlanPtr) -> Result<(), Raised> {
    PLANS.with_borrow_mut(|plans| {
        if let Some(plans) = plans.get_mut(statement) {
            plans.retain(|(_, kept)| *kept != plan);
        }
    });
    // SAFETY: nothing refers to it any more.
    unsafe { guard(|| raw::SPI_freeplan(plan)).map(drop) }
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

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use super::*;

    /// One value of each kind that is passed in another way.
    const VALUES: [&str; 13] = [
        "true",
        "1::int2",
        "1::int4",
        "1::int8",
        "'c'::\"char\"",
        "'t'::text",
        "'v'::varchar",
        "'1 day'::interval",
        "now()",
        "'00000000-0000-0000-0000-000000000001'::uuid",
        "'pg_monitor'::regrole",
        "'3'::xid",
        "NULL::point",
    ];

    type Read = fn(&Rows) -> Result<bool, Raised>;

    /// Each accessor, and the one value above that it reads.
    const READS: [(&str, Read); 11] = [
        ("true", |rows| Ok(rows.boolean(0, 0)?.is_some())),
        ("1::int2", |rows| Ok(rows.int2(0, 0)?.is_some())),
        ("1::int4", |rows| Ok(rows.int4(0, 0)?.is_some())),
        ("1::int8", |rows| Ok(rows.integer(0, 0)?.is_some())),
        ("'c'::\"char\"", |rows| Ok(rows.letter(0, 0)?.is_some())),
        ("'t'::text", |rows| {
            Ok(rows.bytes(0, 0)?.is_some() && rows.text(0, 0)?.is_some())
        }),
        ("'1 day'::interval", |rows| {
            Ok(rows.interval(0, 0)?.is_some())
        }),
        ("now()", |rows| Ok(rows.timestamp(0, 0)?.is_some())),
        ("'00000000-0000-0000-0000-000000000001'::uuid", |rows| {
            Ok(rows.uuid(0, 0)?.is_some())
        }),
        ("'pg_monitor'::regrole", |rows| {
            Ok(rows.role(0, 0)?.is_some())
        }),
        ("'3'::xid", |rows| rows.is_own(0, 0).map(|_| true)),
    ];

    #[pg_test]
    fn a_column_is_read_as_what_it_is_only() {
        for (of, read) in READS {
            for value in VALUES {
                let statement = format!("SELECT {value}");
                let read = run(&statement, &[], View::Isolated, |rows| {
                    Ok::<_, Raised>(read(rows))
                });
                match read.unwrap() {
                    Ok(is_there) => assert!(is_there && value == of, "{value} as {of}"),
                    Err(Raised::Refused(_)) => assert_ne!(value, of),
                    Err(raised) => panic!("{value} as {of}: {raised:?}"),
                }
            }
        }
    }

    #[pg_test]
    fn a_domain_is_read_as_what_it_is_over() {
        Spi::run("CREATE DOMAIN inner_span AS interval; CREATE DOMAIN span AS inner_span").unwrap();
        let read = run("SELECT '1 day'::span", &[], View::Isolated, |rows| {
            rows.interval(0, 0)
        });
        assert_eq!(read.unwrap().map(|span| span.days), Some(1));
    }

    #[pg_test]
    fn numbers_keep_their_sign_and_what_is_not_there_is_none() {
        let statement = "SELECT -7::int4, -8::int8, -9::int2";
        let read = run(statement, &[], View::Isolated, |rows| {
            assert_eq!(rows.int4(0, 3)?, None);
            assert_eq!(rows.int4(1, 0)?, None);
            Ok::<_, Raised>((rows.int4(0, 0)?, rows.integer(0, 1)?, rows.int2(0, 2)?))
        });
        assert_eq!(read.unwrap(), (Some(-7), Some(-8), Some(-9)));
    }
}
