//! The first row of a statement, taken as it comes: SPI's own table is made for many.

use std::ffi::c_int;
use std::ptr;
use std::slice;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{
    self, DestReceiver, Oid, ParamExternData, ParamListInfo, SPIExecuteOptions, TupleDesc,
    TupleTableSlot,
};

use super::guard::{Raised, guard};
use super::raw;
use super::spi::{Running, plan};
use super::value::{Value, flat};

/// What a statement returned, as far as it was asked for.
pub struct First<const COLUMNS: usize> {
    /// How many rows came.
    pub count: usize,
    /// The first columns of the first row, copied; none where they are NULL, or no row came.
    pub values: [Option<Value<'static>>; COLUMNS],
}

/// Runs `statement` as [`super::spi::run`] does, with what the isolation level lets it see. Columns
/// that it has not are none.
pub fn first<const COLUMNS: usize>(
    statement: &str,
    arguments: &[Value],
) -> Result<First<COLUMNS>, Raised> {
    let _running = Running::enter();
    let mut receiver = Receiver::<COLUMNS>::new();
    // SAFETY: receiver and options outlive the execution, and nothing else touches them meanwhile.
    unsafe {
        guard(|| raw::SPI_connect())?;
        let plan = plan(statement, arguments)?;
        let dest = (&raw mut receiver).cast::<DestReceiver>();
        let (given, count) = (arguments.as_ptr(), arguments.len());
        guard(|| {
            let options = SPIExecuteOptions {
                params: parameters(given, count),
                read_only: false,
                allow_nonatomic: false,
                must_return_tuples: false,
                tcount: 0,
                dest,
                owner: ptr::null_mut(),
            };
            raw::SPI_execute_plan_extended(plan, &raw const options);
            raw::SPI_finish()
        })?;
    }
    match receiver.refused {
        None => Ok(receiver.first),
        Some(raised) => Err(raised),
    }
}

/// The values of `$1`, `$2`, … as a plan takes them.
unsafe fn parameters(given: *const Value, count: usize) -> ParamListInfo {
    if count == 0 {
        return ptr::null_mut();
    }
    // SAFETY: the caller says how many there are; the list is made with as many places.
    unsafe {
        let list = raw::makeParamList(count as c_int);
        let places = (*list).params.as_mut_ptr();
        for i in 0..count {
            let value = &*given.add(i);
            places.add(i).write(ParamExternData {
                value: value.datum,
                isnull: value.null,
                pflags: pg_sys::PARAM_FLAG_CONST as u16,
                ptype: value.kind,
            });
        }
        list
    }
}

/// What the executor hands its rows to.
#[repr(C)]
struct Receiver<const COLUMNS: usize> {
    /// First, so that a pointer to it is one to the whole.
    calls: DestReceiver,
    /// Of the columns that there are.
    kinds: [Option<Type>; COLUMNS],
    first: First<COLUMNS>,
    /// Why a value could not be copied.
    refused: Option<Raised>,
}

#[derive(Clone, Copy)]
struct Type {
    oid: Oid,
    length: i16,
    by_value: bool,
}

impl<const COLUMNS: usize> Receiver<COLUMNS> {
    fn new() -> Self {
        Self {
            calls: DestReceiver {
                receiveSlot: Some(Self::receive),
                rStartup: Some(Self::begin),
                rShutdown: Some(Self::end),
                rDestroy: Some(Self::end),
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            kinds: [None; COLUMNS],
            first: First {
                count: 0,
                values: [const { None }; COLUMNS],
            },
            refused: None,
        }
    }

    unsafe extern "C-unwind" fn begin(this: *mut DestReceiver, _: c_int, rows: TupleDesc) {
        // SAFETY: the executor calls with what it was given and the description of its rows.
        unsafe {
            let this = &mut *this.cast::<Self>();
            let columns = PgTupleDesc::from_pg_unchecked(rows);
            for (kind, column) in this.kinds.iter_mut().zip(columns.iter()) {
                *kind = Some(Type {
                    oid: column.atttypid,
                    length: column.attlen,
                    by_value: column.attbyval,
                });
            }
        }
    }

    unsafe extern "C-unwind" fn receive(row: *mut TupleTableSlot, this: *mut DestReceiver) -> bool {
        // SAFETY: the executor calls with what it was given and a row as it was described. An ERROR
        // jumps over nothing that needs dropping.
        unsafe {
            let this = &mut *this.cast::<Self>();
            this.first.count += 1;
            if this.first.count > 1 {
                return true;
            }
            let count = this.kinds.iter().flatten().count();
            if ((*row).tts_nvalid as usize) < count {
                raw::slot_getsomeattrs_int(row, count as c_int);
            }
            let datums = slice::from_raw_parts((*row).tts_values, count);
            let nulls = slice::from_raw_parts((*row).tts_isnull, count);
            for (i, kind) in this.kinds.iter().flatten().enumerate() {
                if nulls[i] {
                    continue;
                }
                let datum = match kind.length {
                    -1 => flat(datums[i]),
                    _ => datums[i],
                };
                match Value::copy(datum, kind.oid, kind.length, kind.by_value) {
                    Ok(value) => this.first.values[i] = Some(value),
                    Err(raised) => this.refused = Some(raised),
                }
            }
            true
        }
    }

    unsafe extern "C-unwind" fn end(_: *mut DestReceiver) {}
}
