//! A map that a session keeps for itself, with a hash that costs less than the look-up saves.
//!
//! Whoever can choose keys that meet makes his own session slower, and what is kept has a bound.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type SessionMap<K, V> = HashMap<K, V, BuildHasherDefault<Words>>;

/// A hash that takes eight bytes at a time.
#[derive(Default)]
pub struct Words(u64);

/// An odd number without a pattern: the digits of pi.
const FACTOR: u64 = 0x243f_6a88_85a3_08d3;

const WORD: usize = size_of::<u64>();

impl Words {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, number: u8) {
        self.add(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.add(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.add(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    /// A product says most in its high bits; a map takes the place from the low ones.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    fn hash(text: &str) -> u64 {
        BuildHasherDefault::<Words>::default().hash_one(text)
    }

    /// What differs in one place is spread over the places of a map, as numbers taken at random are.
    #[test]
    fn statements_of_many_tables_are_spread() {
        const PLACES: u64 = 1024;
        let statement = |table| {
            format!(
                "INSERT INTO public.t{table} AS once_row (k) VALUES ($1) ON CONFLICT DO NOTHING"
            )
        };
        let hashes: Vec<u64> = (0..PLACES).map(|table| hash(&statement(table))).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash % PLACES).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 54).collect();
        assert!(low.len() > 550, "{}", low.len());
        assert!(high.len() > 550, "{}", high.len());
    }

    #[test]
    fn numbers_are_spread() {
        const PLACES: u64 = 1024;
        let state = BuildHasherDefault::<Words>::default();
        let places = (0..PLACES).map(|number| state.hash_one(number as u32) % PLACES);
        assert!(places.collect::<HashSet<_>>().len() > 550);
    }

    #[test]
    fn texts_of_all_lengths_are_told_apart() {
        let text = "x".repeat(100);
        let hashes: HashSet<u64> = (0..=100).map(|length| hash(&text[..length])).collect();
        assert_eq!(hashes.len(), 101);
    }
}
