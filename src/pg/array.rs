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

/// The number of the array's elements.
///
/// # Safety
/// It is an array, neither compressed nor stored apart.
pub(super) unsafe fn items(array: *const ArrayType) -> usize {
    // SAFETY: the lengths of the dimensions stand behind the header.
    let lengths = unsafe {
        let dimensions = (*array).ndim as usize;
        slice::from_raw_parts(array.add(1).cast::<i32>(), dimensions)
    };
    match lengths {
        [] => 0,
        lengths => lengths.iter().map(|length| *length as usize).product(),
    }
}

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
            let len = items(array);
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
            let size = self.varlena(place).map_or(0, |(_, size)| size);
            next = (next + size).next_multiple_of(4);
            Some(place)
        })
    }

    /// The bytes of the element at `place`, in the database's encoding; empty where no element is.
    pub fn at(self, place: Place) -> &'a [u8] {
        self.varlena(place)
            // SAFETY: a text within the array.
            .and_then(|(start, _)| unsafe { plain(start) })
            .unwrap_or_default()
    }

    /// The element at `place` as the result of a polymorphic function.
    pub fn any(self, place: Place) -> Option<AnyElement> {
        let datum = self.varlena(place)?.0.into();
        // SAFETY: a text within the array.
        unsafe { AnyElement::from_polymorphic_datum(datum, false, pg_sys::TEXTOID) }
    }

    /// Where the text at `place` begins, and its size, header included. None where the array ends
    /// before the text does, as for a place of another array.
    fn varlena(self, place: Place) -> Option<(*const pg_sys::varlena, usize)> {
        let rest = self.data.get(place.0 as usize..)?;
        let start = rest.as_ptr().cast::<pg_sys::varlena>();
        // SAFETY: all that is read of the header is there. Places are aligned as headers are. An
        // array holds texts as they are, never compressed or stored apart.
        unsafe {
            let header = match !rest.is_empty() && pgrx::varatt_is_1b(start) {
                true if pgrx::varatt_is_1b_e(start) => return None,
                true => pg_sys::VARHDRSZ_SHORT,
                false if rest.len() < pg_sys::VARHDRSZ || !pgrx::varatt_is_4b_u(start) => {
                    return None;
                }
                false => pg_sys::VARHDRSZ,
            };
            let size = pgrx::varsize_any(start);
            (header..=rest.len())
                .contains(&size)
                .then_some((start, size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4))]
    struct Aligned([u8; 12]);

    #[test]
    fn a_place_of_another_array_is_empty() {
        let mut data = Aligned(*b"    ab\0\0\0\0\0\0");
        // SAFETY: the header of a text of six bytes.
        unsafe { pgrx::set_varsize_4b(data.0.as_mut_ptr().cast(), 6) };
        let texts = Texts {
            data: &data.0,
            nulls: None,
            len: 1,
            dimensions: 1,
            lower_bound: 1,
        };
        assert_eq!(texts.at(Place(0)), b"ab");
        for place in [4, 8, 12, 400] {
            assert_eq!(texts.at(Place(place)), b"", "{place}");
        }
    }
}
