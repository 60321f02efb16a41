//! Keys: texts of 36 bytes, random as uuids are, or in the order of time.

use std::fmt::Write;

pub fn random(generator: &mut fastrand::Rng) -> String {
    let digits = format!("{:032x}", generator.u128(..));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

pub fn many(generator: &mut fastrand::Rng, count: usize) -> Vec<String> {
    (0..count).map(|_| random(generator)).collect()
}

/// The keys as PostgreSQL writes an array of texts.
pub fn array(keys: &[String]) -> String {
    let mut array = String::with_capacity(keys.len() * 37 + 2);
    array.push('{');
    for (place, key) in keys.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(array, "{comma}{key}");
    }
    array.push('}');
    array
}
