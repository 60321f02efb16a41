//! The row of a claim in memory of the caller's: to ask core's `heap_form_tuple` takes four times the
//! instructions.
//!
//! NULLs at the end are left out, as they are in a row that was there before ALTER TABLE added their
//! columns: so most rows need no map of NULLs, which would take eight bytes.

use std::mem::MaybeUninit;
use std::ptr;

use pgrx::pg_sys::{self, HeapTuple, HeapTupleData, HeapTupleHeaderData, ItemPointerData};

use super::shape::COLUMNS;
use super::{Entry, Name};
use crate::pg::raw;

/// A row's header up to where the columns begin, and where they do behind a map of NULLs.
const HEADER: usize = 24;
const HEADER_WITH_MAP: usize = 32;
const MAP_OF_NULLS: usize = 23;

/// Room for the longest names that are allowed.
const ROOM: usize = 2304;

/// The longest text that has a header of one byte.
const SHORT: usize = 126;

pub(super) struct Row {
    tuple: HeapTupleData,
    body: Body,
}

#[repr(C, align(8))]
struct Body([MaybeUninit<u8>; ROOM]);

impl Row {
    pub(super) fn new() -> Self {
        Self {
            tuple: HeapTupleData {
                t_len: 0,
                t_self: ItemPointerData::default(),
                t_tableOid: pg_sys::Oid::INVALID,
                t_data: ptr::null_mut(),
            },
            body: Body([MaybeUninit::uninit(); ROOM]),
        }
    }

    /// The row of this claim, which lies in `self`, or in the current memory where it is too long.
    ///
    /// # Safety
    /// Called within a guard. `self` stays where it is as long as the row is used.
    pub(super) unsafe fn form(&mut self, name: &Name, entry: &Entry) -> HeapTuple {
        const PADDING: usize = 8;
        const FIXED: usize = HEADER_WITH_MAP + 16 + 8 + 8 + 16;
        const ALL: usize = COLUMNS.len();
        let most = FIXED + 3 * PADDING + name.ns.len() + name.key.len();
        let (start, count) = match (entry.expires_at, entry.owner) {
            (None, None) => (HEADER, ALL - 2),
            (Some(_), None) => (HEADER, ALL - 1),
            (Some(_), Some(_)) => (HEADER, ALL),
            (None, Some(_)) => (HEADER_WITH_MAP, ALL),
        };
        // SAFETY: the caller's promise; all that is written is within `most` bytes, and the memory
        // is aligned for a row.
        unsafe {
            let body = match most <= ROOM {
                true => self.body.0.as_mut_ptr().cast::<u8>(),
                false => raw::palloc(most).cast(),
            };
            let mut columns = Columns { body, end: start };
            let key = name.storage_key.columns();
            columns.put(&key.place_high.to_ne_bytes());
            columns.put(&key.place_low.to_ne_bytes());
            columns.put(&key.hash_high.to_ne_bytes());
            columns.put(&key.hash_low.to_ne_bytes());
            columns.put(&entry.claimed_at.to_ne_bytes());
            columns.put_text(name.ns);
            columns.put_text(name.key);
            if let Some(expires_at) = entry.expires_at {
                columns.align(align_of::<i64>());
                columns.put(&expires_at.to_ne_bytes());
            }
            if let Some(owner) = &entry.owner {
                columns.put(owner);
            }

            ptr::write_bytes(body, 0, start);
            let header = body.cast::<HeapTupleHeaderData>();
            let mut mask = pg_sys::HEAP_HASVARWIDTH;
            if start == HEADER_WITH_MAP {
                const ALL_BUT_EXPIRES_AT: [u8; 2] = [0b0111_1111, 0b1];
                mask |= pg_sys::HEAP_HASNULL;
                body.add(MAP_OF_NULLS)
                    .cast::<[u8; 2]>()
                    .write(ALL_BUT_EXPIRES_AT);
            }
            (*header).t_infomask = mask as u16;
            (*header).t_infomask2 = count as u16;
            (*header).t_hoff = start as u8;
            self.tuple.t_len = columns.end as u32;
            self.tuple.t_data = header;
        }
        &raw mut self.tuple
    }
}

/// Where the columns are written, one behind the other.
struct Columns {
    body: *mut u8,
    end: usize,
}

impl Columns {
    /// # Safety
    /// There is room for the bytes.
    unsafe fn put(&mut self, bytes: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.body.add(self.end), bytes.len()) }
        self.end += bytes.len();
    }

    /// Fills up with zeros.
    ///
    /// # Safety
    /// There is room for them.
    unsafe fn align(&mut self, alignment: usize) {
        let padding = self.end.next_multiple_of(alignment) - self.end;
        // SAFETY: the caller's promise; nothing is aligned to more than eight bytes.
        unsafe { self.put(&[0; 8][..padding]) }
    }

    /// # Safety
    /// There is room for the bytes, and for eight more.
    unsafe fn put_text(&mut self, text: &[u8]) {
        // SAFETY: the caller's promise. A header of four bytes is aligned to four, by zeros.
        unsafe {
            if text.len() <= SHORT {
                let header = self.body.add(self.end).cast();
                pgrx::set_varsize_1b(header, (pg_sys::VARHDRSZ_SHORT + text.len()) as i32);
                self.end += pg_sys::VARHDRSZ_SHORT;
            } else {
                self.align(align_of::<u32>());
                let header = self.body.add(self.end).cast();
                pgrx::set_varsize_4b(header, (pg_sys::VARHDRSZ + text.len()) as i32);
                self.end += pg_sys::VARHDRSZ;
            }
            self.put(text);
        }
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::*;
    use crate::storage_key::StorageKey;
    use pgrx::prelude::*;
    use pgrx::rel::PgRelation;

    /// What core reads in the row.
    fn read(table: &PgRelation, row: HeapTuple) -> [Option<Vec<u8>>; COLUMNS.len()] {
        let mut values = [pg_sys::Datum::null(); COLUMNS.len()];
        let mut nulls = [false; COLUMNS.len()];
        // SAFETY: the row is one of the table.
        unsafe {
            let columns = table.tuple_desc().as_ptr();
            raw::heap_deform_tuple(row, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
        }
        let mut at = 0;
        values.map(|value| {
            let (kind, is_null) = (COLUMNS[at].1, nulls[at]);
            at += 1;
            // SAFETY: the value is of this type.
            (!is_null).then(|| unsafe {
                match kind {
                    pg_sys::TEXTOID => pgrx::text_to_rust_str_unchecked(value.cast_mut_ptr())
                        .as_bytes()
                        .to_vec(),
                    pg_sys::UUIDOID => (*value.cast_mut_ptr::<[u8; 16]>()).to_vec(),
                    _ => value.value().to_ne_bytes().to_vec(),
                }
            })
        })
    }

    #[pg_test]
    fn core_reads_what_was_formed() {
        // SAFETY: the table is there.
        let table = unsafe { PgRelation::open_with_name("once.claim") }.unwrap();
        let lengths = [1, 2, 125, 126, 127, 128, 130, 1999, 2000, 9000];
        for (ns, key) in lengths.iter().flat_map(|ns| lengths.map(|key| (*ns, key))) {
            for (expires_at, owner, header) in [
                (None, None, HEADER),
                (Some(8_i64), None, HEADER),
                (None, Some([7; 16]), HEADER_WITH_MAP),
                (Some(-1), Some([9; 16]), HEADER),
            ] {
                let (ns, key) = (vec![b'n'; ns], vec![b'k'; key]);
                let name = Name {
                    storage_key: StorageKey::of(&ns, &key),
                    ns: &ns,
                    key: &key,
                };
                let entry = Entry {
                    claimed_at: 0x0102_0304_0506_0708,
                    expires_at,
                    owner,
                };
                let mut row = Row::new();
                // SAFETY: the row is read while it is there.
                let formed = unsafe { row.form(&name, &entry) };
                let number = |number: i64| Some(number.to_ne_bytes().to_vec());
                let columns = name.storage_key.columns();
                let expected = [
                    number(columns.place_high.into()),
                    number(columns.place_low.into()),
                    number(columns.hash_high.into()),
                    number(columns.hash_low),
                    number(entry.claimed_at),
                    Some(ns.clone()),
                    Some(key.clone()),
                    expires_at.and_then(number),
                    owner.map(|owner: [u8; 16]| owner.to_vec()),
                ];
                assert_eq!(read(&table, formed), expected);
                // SAFETY: as above.
                assert_eq!(usize::from(unsafe { (*(*formed).t_data).t_hoff }), header);
            }
        }
    }
}
