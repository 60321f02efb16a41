//! What a claim or work is stored and found by: the primary key of its table. Frozen, since stored
//! rows depend on it.
//!
//! The first four bytes are the [`place`] of the key in the order in which such keys come, from where
//! the namespace begins. The other twelve are those of the BLAKE3 hash of the length-prefixed
//! namespace and key: that nobody can make two keys meet rests on them alone. Both namespace and key
//! stand beside it in the table and are compared at every hit.

use crate::digest;
use place::Beginning;

mod place;

/// Sixteen bytes, in the order of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageKey([u8; 16]);

/// The columns of the primary key in their order, each with the parameter that has its value in the
/// extension's statements: what the macro `$make` makes of them and of what follows it.
///
/// The first is the same for very many neighbours: at a growing end of the index nbtree leaves full
/// pages behind only where it is.
macro_rules! with_columns {
    ([$($make:tt)+] $($with:tt)*) => {
        $($make)+! {
            [$($with)*]
            place_high: i16 = "$1",
            place_low: i16 = "$2",
            hash_high: i32 = "$3",
            hash_low: i64 = "$4",
        }
    };
}
pub(crate) use with_columns;

macro_rules! columns {
    ([] $($name:ident: $type:ty = $_:literal,)+) => {
        /// A storage key as the columns of the primary key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Columns {
            $(pub $name: $type,)+
        }
    };
}
with_columns!([columns]);

impl StorageKey {
    pub fn of(ns: &[u8], key: &[u8]) -> Self {
        Self::new(Beginning::of(ns).place(key), digest::name(ns, key))
    }

    fn new(place: u32, hash: [u8; 12]) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&place.to_be_bytes());
        bytes[4..].copy_from_slice(&hash);
        Self(bytes)
    }

    /// Signed numbers of the order that the bytes have.
    pub fn columns(self) -> Columns {
        let number = u128::from_be_bytes(self.0) ^ SIGNS;
        Columns {
            place_high: (number >> 112) as i16,
            place_low: (number >> 96) as i16,
            hash_high: (number >> 64) as i32,
            hash_low: number as i64,
        }
    }
}

/// The columns of a storage key as SQL lists them; with the name of a table, its columns.
macro_rules! storage_key_columns {
    ($($table:literal)?) => {
        $crate::storage_key::with_columns!([$crate::storage_key::listed] $($table)?)
    };
}
pub(crate) use storage_key_columns;

macro_rules! listed {
    ([] $first:ident: $_:ty = $__:literal, $($name:ident: $___:ty = $____:literal,)+) => {
        concat!(stringify!($first), $(", ", stringify!($name)),+)
    };
    ([$table:literal] $first:ident: $_:ty = $__:literal, $($name:ident: $___:ty = $____:literal,)+) => {
        concat!($table, ".", stringify!($first), $(", ", $table, ".", stringify!($name)),+)
    };
}
pub(crate) use listed;

/// The condition of SQL that a row has the storage key of the parameters; or, of two tables, that
/// their rows have the same.
macro_rules! has_storage_key {
    ($($table:literal = $other:literal)?) => {
        $crate::storage_key::with_columns!([$crate::storage_key::compared] $($table = $other)?)
    };
}
pub(crate) use has_storage_key;

macro_rules! compared {
    ([] $first:ident: $_:ty = $value:literal, $($name:ident: $__:ty = $values:literal,)+) => {
        concat!(
            stringify!($first), " OPERATOR(pg_catalog.=) ", $value,
            $(" AND ", stringify!($name), " OPERATOR(pg_catalog.=) ", $values),+
        )
    };
    ([$table:literal = $other:literal]
     $first:ident: $_:ty = $__:literal, $($name:ident: $___:ty = $____:literal,)+) => {
        concat!(
            $table, ".", stringify!($first), " OPERATOR(pg_catalog.=) ", $other, ".", stringify!($first),
            $(" AND ", $table, ".", stringify!($name), " OPERATOR(pg_catalog.=) ", $other, ".", stringify!($name)),+
        )
    };
}
pub(crate) use compared;

impl From<Columns> for StorageKey {
    fn from(columns: Columns) -> Self {
        let number = u128::from(columns.place_high as u16) << 112
            | u128::from(columns.place_low as u16) << 96
            | u128::from(columns.hash_high as u32) << 64
            | u128::from(columns.hash_low as u64);
        Self((number ^ SIGNS).to_be_bytes())
    }
}

/// The highest bit of each column.
const SIGNS: u128 = 1 << 127 | 1 << 111 | 1 << 95 | 1 << 63;

/// Makes the storage keys of many names in one namespace.
pub struct Namespace {
    beginning: Beginning,
    hashes: digest::Names,
}

impl Namespace {
    pub fn new(ns: &[u8]) -> Self {
        Self {
            beginning: Beginning::of(ns),
            hashes: digest::Names::of(ns),
        }
    }

    pub fn storage_key(&mut self, key: &[u8]) -> StorageKey {
        StorageKey::new(self.beginning.place(key), self.hashes.name(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(key: StorageKey) -> String {
        key.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn frozen_vectors() {
        let key = StorageKey::of(b"ci_failure", b"4711");
        assert_eq!(hex(key), "2b4b598f39faad5b9890ac945f158d54");
        let columns = Columns {
            place_high: -21_685,
            place_low: -9_841,
            hash_high: -1_174_753_957,
            hash_low: 1_770_104_406_806_990_164,
        };
        assert_eq!(key.columns(), columns);
        let of_parts = StorageKey::of(b"ci_failure", b"\x1e4711\x1eorg/repo");
        assert_eq!(hex(of_parts), "2b4b598ff7fa2077b0d59f6700ec4185");
        let accented = StorageKey::of(b"stripe", "\u{e9}vt".as_bytes());
        assert_eq!(hex(accented)[8..], *"81c4ec50a071403834629054");
    }

    #[test]
    fn sql_names_every_column() {
        assert_eq!(
            storage_key_columns!(),
            "place_high, place_low, hash_high, hash_low"
        );
        assert_eq!(
            storage_key_columns!("claim"),
            "claim.place_high, claim.place_low, claim.hash_high, claim.hash_low"
        );
        assert_eq!(
            has_storage_key!(),
            "place_high OPERATOR(pg_catalog.=) $1 AND place_low OPERATOR(pg_catalog.=) $2 \
             AND hash_high OPERATOR(pg_catalog.=) $3 AND hash_low OPERATOR(pg_catalog.=) $4"
        );
        assert!(
            has_storage_key!("a" = "b")
                .starts_with("a.place_high OPERATOR(pg_catalog.=) b.place_high AND a.")
        );
    }

    proptest! {
        #[test]
        fn columns_have_the_order_of_the_bytes(one in any::<[u8; 16]>(), other in any::<[u8; 16]>(), same in 0..16_usize) {
            let mut other = other;
            other[..same].copy_from_slice(&one[..same]);
            let (one, other) = (StorageKey(one), StorageKey(other));
            let tuple = |key: StorageKey| {
                let Columns { place_high, place_low, hash_high, hash_low } = key.columns();
                (place_high, place_low, hash_high, hash_low)
            };
            prop_assert_eq!(one.cmp(&other), tuple(one).cmp(&tuple(other)));
            prop_assert_eq!(StorageKey::from(one.columns()), one);
        }

        #[test]
        fn many_are_made_as_one_is(ns in any::<Vec<u8>>(), keys in any::<[Vec<u8>; 3]>()) {
            let mut namespace = Namespace::new(&ns);
            for key in &keys {
                prop_assert_eq!(namespace.storage_key(key), StorageKey::of(&ns, key));
            }
        }
    }
}
