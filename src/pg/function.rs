//! A function as an object of the catalog.

use std::cell::RefCell;
use std::ffi::c_int;
use std::rc::Rc;
use std::thread::LocalKey;

use pgrx::pg_sys::SysCacheIdentifier::PROCOID;
use pgrx::pg_sys::{self, AttrNumber, Datum, OffsetNumber, Oid, TransactionId, varlena};

use super::call::Call;
use super::guard::{Raised, guard};
use super::raw;
use super::refusal::Refusal;
use super::value::{copied, plain};
use crate::session_map::SessionMap;

/// How many bytes of a body are read: there is room for the names of all columns that a table can have, each
/// of 63 quotes, and for a condition of 8,000 bytes, each of which is six in JSON.
const BODY_LIMIT: usize = 300_000;

/// How many functions' meanings a session keeps.
const KEPT: usize = 1000;

/// What the body of a function means, and what the function returns.
pub struct Body<T> {
    pub meaning: T,
    pub(super) returns: Oid,
    /// Whose rows they are, where they are rows of a table.
    pub(super) relation: Oid,
}

/// What bodies mean, kept as long as the catalog has the same version of the function's row.
pub struct Meanings<T> {
    kept: SessionMap<Oid, (Version, Rc<Body<T>>)>,
}

impl<T> Default for Meanings<T> {
    fn default() -> Self {
        Self {
            kept: SessionMap::default(),
        }
    }
}

/// A version of a row: who wrote it, and where it stands.
type Version = (TransactionId, [u16; 2], OffsetNumber);

/// What the function that is called means, which `read` reads from its body.
pub fn meaning<T, E: From<Raised>>(
    call: Call,
    known: &'static LocalKey<RefCell<Meanings<T>>>,
    read: impl FnOnce(Option<&[u8]>) -> Result<T, E>,
) -> Result<Rc<Body<T>>, E> {
    let function = call.function();
    let kept = known.with_borrow(|known| known.kept.get(&function).cloned());
    let row = Row::of(function, kept.as_ref().map(|(version, _)| *version))?;
    if let (Source::Known, Some((_, body))) = (row.source, kept) {
        return Ok(body);
    }
    let body = Rc::new(Body {
        meaning: read(row.bytes()?.as_deref())?,
        returns: row.returns,
        // SAFETY: a catalog read.
        relation: unsafe { guard(|| raw::get_typ_typrelid(row.returns)) }?,
    });
    known.with_borrow_mut(|known| {
        if known.kept.len() >= KEPT {
            known.kept.clear();
        }
        let kept = (row.version, Rc::clone(&body));
        known.kept.insert(function, kept);
    });
    Ok(body)
}

/// Has `read` read the body of the function whose object id is the argument of a validator's call, where
/// `check_function_bodies` is on.
pub fn check_body<T, E: From<Raised>>(
    call: Call,
    read: impl FnOnce(Option<&[u8]>) -> Result<T, E>,
) -> Result<(), E> {
    let validator = call.function();
    let Some(function) = call.oid(0)? else {
        return Ok(());
    };
    // SAFETY: reads catalogs by object ids; raises an error where the function is of another language, or
    // the caller has no right to it.
    let is_checked = unsafe {
        guard(|| raw::CheckFunctionValidatorAccess(validator, function))?
            && pg_sys::check_function_bodies
    };
    if is_checked {
        read(Row::of(function, None)?.bytes()?.as_deref())?;
    }
    Ok(())
}

/// What pg_proc says of a function.
#[derive(Clone, Copy)]
struct Row {
    version: Version,
    returns: Oid,
    source: Source,
}

/// The body of a function.
#[derive(Clone, Copy)]
enum Source {
    /// The version of the row is the known one.
    Known,
    /// In memory of the call.
    Of(*const varlena),
    TooLong,
}

impl Row {
    fn of(function: Oid, known: Option<Version>) -> Result<Self, Raised> {
        const BODY: AttrNumber = pg_sys::Anum_pg_proc_prosrc as AttrNumber;
        // SAFETY: rows of this cache are of pg_proc, whose body is a text that is never NULL; the row is read
        // before it is released.
        let row = unsafe {
            guard(|| {
                let tuple = raw::SearchSysCache1(PROCOID as c_int, Datum::from(function));
                if tuple.is_null() {
                    return None;
                }
                let place = (*tuple).t_self;
                let block = [place.ip_blkid.bi_hi, place.ip_blkid.bi_lo];
                let writer = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
                let version = (writer, block, place.ip_posid);
                let source = if known == Some(version) {
                    Source::Known
                } else {
                    let mut is_null = false;
                    let body =
                        raw::SysCacheGetAttr(PROCOID as c_int, tuple, BODY, &raw mut is_null);
                    match raw::toast_raw_datum_size(body) {
                        ..=BODY_LIMIT => {
                            Source::Of(raw::pg_detoast_datum_copy(body.cast_mut_ptr()))
                        }
                        _ => Source::TooLong,
                    }
                };
                let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
                let returns = (*form).prorettype;
                raw::ReleaseSysCache(tuple);
                Some(Self {
                    version,
                    returns,
                    source,
                })
            })
        }?;
        row.ok_or_else(|| {
            Raised::Refused(Refusal::Gone {
                kind: "function".to_owned(),
                message: format!("The function had OID {}.", function.to_u32()),
            })
        })
    }

    /// The body, in the encoding of the database; none where it is too long.
    fn bytes(&self) -> Result<Option<Vec<u8>>, Raised> {
        match self.source {
            // SAFETY: it was copied, and lives as long as the call.
            Source::Of(body) => copied(unsafe { plain(body) }.unwrap_or_default()).map(Some),
            Source::Known | Source::TooLong => Ok(None),
        }
    }
}

/// Keeps other sessions from dropping the function of this object id, or from replacing it by way
/// of this lock, to the end of the transaction. CREATE OR REPLACE FUNCTION takes none: without it
/// the second of two sessions raises an internal error.
pub fn lock_against_change(function: u32) -> Result<(), Raised> {
    let mode = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: locks by object id.
    unsafe {
        guard(|| {
            raw::LockDatabaseObject(pg_sys::ProcedureRelationId, Oid::from(function), 0, mode);
        })
    }
}
