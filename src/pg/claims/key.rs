//! The storage key as the tables have it: the columns of their primary keys, which come first, and how
//! an index is searched for it.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Datum, Oid, ScanKeyData};

use crate::pg::raw;
use crate::storage_key::{Columns, StorageKey, with_columns};

/// What core has for the type of a column.
struct Type {
    id: Oid,
    equal: u32,
    compare: u32,
}

trait Integer {
    const TYPE: Type;
}

impl Integer for i16 {
    const TYPE: Type = Type {
        id: pg_sys::INT2OID,
        equal: pg_sys::F_INT2EQ,
        compare: pg_sys::F_BTINT2CMP,
    };
}

impl Integer for i32 {
    const TYPE: Type = Type {
        id: pg_sys::INT4OID,
        equal: pg_sys::F_INT4EQ,
        compare: pg_sys::F_BTINT4CMP,
    };
}

impl Integer for i64 {
    const TYPE: Type = Type {
        id: pg_sys::INT8OID,
        equal: pg_sys::F_INT8EQ,
        compare: pg_sys::F_BTINT8CMP,
    };
}

macro_rules! columns_of_table {
    ([] $($name:ident: $type:ty = $_:literal,)+) => {
        /// How many columns it has.
        pub(in crate::pg) const KEY_COLUMNS: usize = [$(stringify!($name)),+].len();

        /// Name and type of each.
        pub(in crate::pg) const KEY: [(&CStr, Oid); KEY_COLUMNS] =
            [$((c_str(concat!(stringify!($name), "\0")), <$type>::TYPE.id)),+];

        const TYPES: [Type; KEY_COLUMNS] = [$(<$type>::TYPE),+];

        /// What the columns hold: all are passed by value.
        pub(super) fn values(storage_key: StorageKey) -> [Datum; KEY_COLUMNS] {
            let columns = storage_key.columns();
            [$(Datum::from(columns.$name)),+]
        }
    };
}
with_columns!([columns_of_table]);

const fn c_str(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name ends with NUL"),
    }
}

/// The B-tree operator family of these types.
pub(super) const INTEGER_OPS: u32 = 1976;

/// What an index says of each column of a storage key.
///
/// # Safety
/// It says something of as many columns.
pub(in crate::pg) unsafe fn of_key<T: Copy>(start: *const T) -> [T; KEY_COLUMNS] {
    // SAFETY: as the caller promises.
    unsafe { *start.cast::<[T; KEY_COLUMNS]>() }
}

/// Finds the entries of this storage key.
///
/// # Safety
/// Called within a guard.
pub(in crate::pg) unsafe fn equal_to(storage_key: StorageKey) -> [ScanKeyData; KEY_COLUMNS] {
    const EQUAL: u16 = 3;
    let mut keys = [ScanKeyData::default(); KEY_COLUMNS];
    for (at, value) in values(storage_key).into_iter().enumerate() {
        let (key, column) = (&raw mut keys[at], at as i16 + 1);
        // SAFETY: the function is core's equality of the column's type.
        unsafe { raw::ScanKeyInit(key, column, EQUAL, TYPES[at].equal.into(), value) }
    }
    keys
}

/// What the descent of a B-tree compares with.
///
/// # Safety
/// Called within a guard. What the keys allocate lives as long as the current memory.
pub(super) unsafe fn compared_to(storage_key: StorageKey) -> [ScanKeyData; KEY_COLUMNS] {
    const NO_STRATEGY: u16 = 0;
    let mut keys = [ScanKeyData::default(); KEY_COLUMNS];
    for (at, value) in values(storage_key).into_iter().enumerate() {
        let (key, column) = (&raw mut keys[at], at as i16 + 1);
        // SAFETY: the function is core's comparison for the column's type.
        unsafe { raw::ScanKeyInit(key, column, NO_STRATEGY, TYPES[at].compare.into(), value) }
    }
    keys
}

/// Finds the entries from this storage key on: one comparison of rows, whose parts are `parts`. The
/// other places repeat the bound of its first column, so that there are as many keys as elsewhere.
///
/// # Safety
/// Called within a guard. `parts` stays where it is as long as the scan uses the keys.
pub(super) unsafe fn from(
    storage_key: StorageKey,
    parts: &mut [ScanKeyData; KEY_COLUMNS],
) -> [ScanKeyData; KEY_COLUMNS] {
    const GREATER_OR_EQUAL: u16 = 4;
    let values = values(storage_key);
    let mut first_column = ScanKeyData::default();
    // SAFETY: the functions are core's for the columns' types; filled as ExecIndexBuildScanKeys does.
    unsafe {
        for at in 0..KEY_COLUMNS {
            let (part, column) = (&raw mut parts[at], at as i16 + 1);
            raw::ScanKeyInit(
                part,
                column,
                GREATER_OR_EQUAL,
                TYPES[at].compare.into(),
                values[at],
            );
            parts[at].sk_flags = pg_sys::SK_ROW_MEMBER as i32;
        }
        parts[KEY_COLUMNS - 1].sk_flags |= pg_sys::SK_ROW_END as i32;
        let key = &raw mut first_column;
        let function = pg_sys::F_INT2GE.into();
        raw::ScanKeyInit(key, 1, GREATER_OR_EQUAL, function, values[0]);
    }
    let row = ScanKeyData {
        sk_flags: pg_sys::SK_ROW_HEADER as i32,
        sk_attno: 1,
        sk_strategy: GREATER_OR_EQUAL,
        sk_argument: Datum::from(parts.as_mut_ptr()),
        ..ScanKeyData::default()
    };
    let mut keys = [first_column; KEY_COLUMNS];
    keys[0] = row;
    keys
}

/// The storage key of an entry of the index.
///
/// # Safety
/// The columns begin there, none of them NULL.
pub(super) unsafe fn read(start: *const u8) -> StorageKey {
    // SAFETY: one behind the other they fill sixteen bytes, each aligned as its type is.
    unsafe {
        StorageKey::from(Columns {
            place_high: *start.cast(),
            place_low: *start.add(2).cast(),
            hash_high: *start.add(4).cast(),
            hash_low: *start.add(8).cast(),
        })
    }
}
