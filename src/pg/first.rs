//! The first row of a statement, taken as it comes: SPI's own table is made for many.

use std::ffi::c_int;
use std::ptr;
use std::slice;

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{
    self, DestReceiver, MemoryContext, Oid, ParamExternData, ParamListInfo, SPIExecuteOptions,
    TupleDesc, TupleTableSlot,
};

use super::guard::{Raised, guard};
use super::raw;
use super::spi::{Running, plan};
use super::value::Value;

/// What a statement returned, as far as it was asked for.
pub struct First<const COLUMNS: usize> {
    /// How many rows came.
    pub count: usize,
    /// The first columns of the first row, copied; none where they are NULL, or no row came.
    pub values: [Option<Value>; COLUMNS],
}

/// Runs `statement` as [`super::spi::run`] does, with what the isolation level lets it see. It has
/// at least as many columns as are asked for.
pub fn first<const COLUMNS: usize>(
    statement: &str,
    arguments: &[Value],
) -> Result<First<COLUMNS>, Raised> {
    let _running = Running::enter();
    // SAFETY: reads a global of this backend.
    let mut receiver = Receiver::<COLUMNS>::new(unsafe { pg_sys::CurrentMemoryContext });
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
    Ok(receiver.first)
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
            let value = *given.add(i);
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
    memory: MemoryContext,
    kinds: [Type; COLUMNS],
    first: First<COLUMNS>,
}

#[derive(Clone, Copy)]
struct Type {
    oid: Oid,
    length: i16,
    by_value: bool,
}

impl<const COLUMNS: usize> Receiver<COLUMNS> {
    /// One that copies values into `memory`.
    fn new(memory: MemoryContext) -> Self {
        Self {
            calls: DestReceiver {
                receiveSlot: Some(Self::receive),
                rStartup: Some(Self::begin),
                rShutdown: Some(Self::end),
                rDestroy: Some(Self::end),
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            memory,
            kinds: [Type {
                oid: Oid::INVALID,
                length: 0,
                by_value: true,
            }; COLUMNS],
            first: First {
                count: 0,
                values: [None; COLUMNS],
            },
        }
    }

    unsafe extern "C-unwind" fn begin(this: *mut DestReceiver, _: c_int, rows: TupleDesc) {
        // SAFETY: the executor calls with what it was given and the description of its rows.
        unsafe {
            let this = &mut *this.cast::<Self>();
            let columns = PgTupleDesc::from_pg_unchecked(rows);
            for (kind, column) in this.kinds.iter_mut().zip(columns.iter()) {
                *kind = Type {
                    oid: column.atttypid,
                    length: column.attlen,
                    by_value: column.attbyval,
                };
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
            if ((*row).tts_nvalid as usize) < COLUMNS {
                raw::slot_getsomeattrs_int(row, COLUMNS as c_int);
            }
            let datums = slice::from_raw_parts((*row).tts_values, COLUMNS);
            let nulls = slice::from_raw_parts((*row).tts_isnull, COLUMNS);
            let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, this.memory);
            for i in 0..COLUMNS {
                let kind = this.kinds[i];
                this.first.values[i] = (!nulls[i]).then(|| Value {
                    datum: raw::datumCopy(datums[i], kind.by_value, kind.length.into()),
                    null: false,
                    kind: kind.oid,
                });
            }
            pg_sys::CurrentMemoryContext = caller;
            true
        }
    }

    unsafe extern "C-unwind" fn end(_: *mut DestReceiver) {}
}
