//! The row of a claim, as core's `heap_form_tuple` would make it for the six columns, in memory of the
//! caller's: to ask core takes four times the instructions.

use std::mem::MaybeUninit;
use std::ptr;

use pgrx::pg_sys::{self, HeapTuple, HeapTupleData, HeapTupleHeaderData, ItemPointerData};

use super::shape::COLUMNS;
use super::{Entry, Name};
use crate::pg::raw;

/// A row's header with its map of NULLs, up to where the columns begin.
const HEADER: usize = 24;
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
        const PADDED_HEADER: usize = 8;
        let fixed = HEADER + 16 + 8 + 8 + 16;
        let most = fixed + 2 * PADDED_HEADER + name.ns.len() + name.key.len();
        // SAFETY: the caller's promise; all that is written is within `most` bytes, and the memory
        // is aligned for a row.
        unsafe {
            let body = match most <= ROOM {
                true => self.body.0.as_mut_ptr().cast::<u8>(),
                false => raw::palloc(most).cast(),
            };
            let mut columns = Columns { body, end: HEADER };
            columns.put(&name.digest);
            columns.put(&entry.claimed_at.to_ne_bytes());
            if let Some(expires_at) = entry.expires_at {
                columns.put(&expires_at.to_ne_bytes());
            }
            if let Some(owner) = &entry.owner {
                columns.put(owner);
            }
            columns.put_text(name.ns);
            columns.put_text(name.key);

            ptr::write_bytes(body, 0, HEADER);
            let header = body.cast::<HeapTupleHeaderData>();
            let mut mask = pg_sys::HEAP_HASVARWIDTH;
            let (expires, owned) = (entry.expires_at.is_some(), entry.owner.is_some());
            if !(expires && owned) {
                mask |= pg_sys::HEAP_HASNULL;
                *body.add(MAP_OF_NULLS) = 0b11_0011 | u8::from(expires) << 2 | u8::from(owned) << 3;
            }
            (*header).t_infomask = mask as u16;
            (*header).t_infomask2 = COLUMNS.len() as u16;
            (*header).t_hoff = HEADER as u8;
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
                let padding = self.end.next_multiple_of(4) - self.end;
                self.put(&[0; 4][..padding]);
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
    use pgrx::prelude::*;
    use pgrx::rel::PgRelation;
    use std::slice;

    /// What a row says behind the fields that the insertion fills.
    fn bytes(row: HeapTuple) -> Vec<u8> {
        const FILLED: usize = 18;
        // SAFETY: the row is whole.
        unsafe {
            let length = (*row).t_len as usize;
            // The transaction's bits are the insertion's to set; what core leaves there differs by version.
            (*(*row).t_data).t_infomask &= !(pg_sys::HEAP_XACT_MASK as u16);
            slice::from_raw_parts((*row).t_data.cast::<u8>(), length)[FILLED..].to_vec()
        }
    }

    fn of_core(table: &PgRelation, name: &Name, entry: &Entry) -> Vec<u8> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().into_datum();
        let uuid = |bytes| pgrx::Uuid::from_bytes(bytes).into_datum();
        let values = [
            uuid(name.digest),
            entry.claimed_at.into_datum(),
            entry.expires_at.into_datum(),
            entry.owner.and_then(uuid),
            text(name.ns),
            text(name.key),
        ];
        let nulls = values.map(|value| value.is_none());
        let datums = values.map(|value| value.unwrap_or(pg_sys::Datum::null()));
        // SAFETY: the values are of the table's columns.
        bytes(unsafe {
            let columns = table.tuple_desc().as_ptr();
            raw::heap_form_tuple(columns, datums.as_ptr(), nulls.as_ptr())
        })
    }

    #[pg_test]
    fn a_row_is_formed_as_core_does() {
        // SAFETY: the table is there.
        let table = unsafe { PgRelation::open_with_name("once.claim") }.unwrap();
        let lengths = [1, 2, 125, 126, 127, 128, 130, 1999, 2000, 9000];
        for (ns, key) in lengths.iter().flat_map(|ns| lengths.map(|key| (*ns, key))) {
            for (expires_at, owner) in [
                (None, None),
                (Some(8), None),
                (None, Some([7; 16])),
                (Some(-1), Some([9; 16])),
            ] {
                let (ns, key) = (vec![b'n'; ns], vec![b'k'; key]);
                let name = Name {
                    digest: [3; 16],
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
                let formed = bytes(unsafe { row.form(&name, &entry) });
                assert_eq!(formed, of_core(&table, &name, &entry));
            }
        }
    }
}
