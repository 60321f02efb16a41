//! An array of texts, read in place.

use std::slice;

use pgrx::FromDatum;
use pgrx::datum::AnyElement;
use pgrx::pg_sys::{self, ArrayType};

use super::call::Call;
use super::guard::Raised;
use super::refusal::types;
use super::value::plain;

/// An array of texts as PostgreSQL stores it.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    /// The elements, one behind the other.
    data: &'a [u8],
    /// One bit for each element, zero where it is NULL.
    nulls: Option<&'a [u8]>,
    len: usize,
    dimensions: usize,
    lower_bound: i32,
}

/// Where an element begins. Places are in the order of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

impl<'fcx> Call<'fcx> {
    /// The argument at `index`, declared `text[]`.
    pub fn texts(self, index: usize) -> Result<Option<Texts<'fcx>>, Raised> {
        let Some(datum) = self.datum(index, types::TEXTS)? else {
            return Ok(None);
        };
        // SAFETY: the argument is an array of texts.
        unsafe {
            let array = self.detoasted(datum.cast_mut_ptr())?.cast::<ArrayType>();
            Ok(Some(Texts::read(array)))
        }
    }
}

impl<'a> Texts<'a> {
    /// # Safety
    /// It is an array of texts, neither compressed nor stored apart, which lives for `'a`.
    pub(super) unsafe fn read(array: *const ArrayType) -> Self {
        // SAFETY: what is read is what the header says that the array has: dimensions, lower bounds,
        // the bits of NULLs, then the elements up to its size.
        unsafe {
            let start = array.cast::<u8>();
            let size = pgrx::varsize_any(array.cast());
            let dimensions = (*array).ndim as usize;
            let numbers = slice::from_raw_parts(
                start.add(size_of::<ArrayType>()).cast::<i32>(),
                2 * dimensions,
            );
            let bits = size_of::<ArrayType>() + size_of_val(numbers);
            let len = match numbers.get(..dimensions) {
                Some([]) | None => 0,
                Some(lengths) => lengths.iter().map(|length| *length as usize).product(),
            };
            let (nulls, begin) = match (*array).dataoffset as usize {
                0 => (
                    None,
                    bits.next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize),
                ),
                begin => {
                    let nulls = slice::from_raw_parts(start.add(bits), len.div_ceil(8));
                    (Some(nulls), begin)
                }
            };
            let data = match size.checked_sub(begin) {
                Some(length) if len > 0 => slice::from_raw_parts(start.add(begin), length),
                _ => &[],
            };
            Self {
                data,
                nulls,
                len,
                dimensions,
                lower_bound: numbers.get(dimensions).copied().unwrap_or(1),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The subscript of the element that `iter` gives as its `number`th.
    pub fn subscript(&self, number: usize) -> i64 {
        i64::from(self.lower_bound) + number as i64
    }

    /// The elements in their order; none for NULL.
    pub fn iter(self) -> impl Iterator<Item = Option<Place>> {
        let mut next = 0;
        (0..self.len).map(move |number| {
            let is_null = self
                .nulls
                .is_some_and(|bits| bits[number / 8] & (1 << (number % 8)) == 0);
            if is_null {
                return None;
            }
            let place = Place(next as u32);
            next = (next + self.varlena(place).1).next_multiple_of(4);
            Some(place)
        })
    }

    /// The bytes of the element at `place`, in the database's encoding.
    pub fn at(self, place: Place) -> &'a [u8] {
        // SAFETY: the element is a text, which an array holds as it is, never compressed or stored
        // apart.
        unsafe { plain(self.varlena(place).0) }.unwrap_or_default()
    }

    /// The element at `place` as the result of a polymorphic function.
    pub fn any(self, place: Place) -> Option<AnyElement> {
        let datum = self.varlena(place).0.into();
        // SAFETY: the element is a text.
        unsafe { AnyElement::from_polymorphic_datum(datum, false, pg_sys::TEXTOID) }
    }

    fn varlena(self, place: Place) -> (*const pg_sys::varlena, usize) {
        let start = self.data[place.0 as usize..].as_ptr().cast();
        // SAFETY: a place of this array is where one of its elements begins.
        (start, unsafe { pgrx::varsize_any(start) })
    }
}
