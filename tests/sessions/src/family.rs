//! Families of keys as applications make them: the order in which they come is what counts here.

use fastrand::Rng;

pub struct Family {
    pub name: &'static str,
    /// Whether keys come in an order. Those with a time in them are made at a thousand a second.
    pub is_in_order: bool,
    make: fn(u64, &mut Rng) -> String,
}

impl Family {
    /// The keys of these numbers; a generator of the same seed makes the same ones again.
    pub fn keys(&self, numbers: std::ops::Range<u64>, rng: &mut Rng) -> Vec<String> {
        numbers.map(|n| (self.make)(n, rng)).collect()
    }

    const fn in_order(name: &'static str, make: fn(u64, &mut Rng) -> String) -> Family {
        Family {
            name,
            is_in_order: true,
            make,
        }
    }
}

/// The family of this name.
pub fn family(name: &str) -> &'static Family {
    let found = FAMILIES.iter().find(|family| family.name == name);
    found.expect("a family of this name")
}

pub static FAMILIES: [Family; 14] = [
    Family::in_order("integers", |n, _| n.to_string()),
    Family::in_order("zero-padded", |n, _| format!("ord-{n:012}")),
    Family::in_order("prefix and integer", |n, _| format!("order-{n}")),
    Family::in_order("integer, text", |n, _| {
        several(&[&n.to_string(), "org/repo"])
    }),
    Family::in_order("text, integer", |n, _| {
        several(&["org/repo", &n.to_string()])
    }),
    Family::in_order("date, text", |n, _| {
        several(&["2026-11-30", &format!("user-{n:07}")])
    }),
    Family::in_order("epoch milliseconds", |n, _| milliseconds(n).to_string()),
    Family::in_order("Snowflake", |n, _| {
        (((milliseconds(n) - 1_288_834_974_657) << 22) | 20_480).to_string()
    }),
    Family::in_order("UUIDv7", |n, rng| {
        let (ms, random) = (milliseconds(n), rng.u64(..));
        let (high, low) = (ms >> 16, ms & 0xffff);
        format!(
            "{high:08x}-{low:04x}-7{:03x}-8000-{:012x}",
            random & 0xfff,
            random >> 16
        )
    }),
    Family::in_order("ULID", |n, rng| {
        let random = u128::from(rng.u64(..)) << 16;
        base(
            (u128::from(milliseconds(n)) << 80 | random).to_be_bytes(),
            &DIGITS_OF_ULID,
            26,
        )
    }),
    Family::in_order("KSUID", |n, rng| {
        const EPOCH: u64 = 1_400_000_000;
        let mut bytes = [0; 20];
        let seconds = (milliseconds(n) / 1000 - EPOCH) as u32;
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        rng.fill(&mut bytes[4..]);
        base(bytes, &DIGITS_OF_62, 27)
    }),
    Family::in_order("ObjectId", |n, _| {
        let count = n & 0xff_ffff;
        format!("{:08x}5f3a9c1d2e{count:06x}", milliseconds(n) / 1000)
    }),
    Family::in_order("Stripe", |n, rng| {
        let seconds = base((milliseconds(n) / 1000).to_be_bytes(), &DIGITS_OF_62, 6);
        let random = base(rng.u64(..).to_be_bytes(), &DIGITS_OF_62, 11);
        format!("evt_{seconds}2eZvKYlo2C{random}")
    }),
    Family {
        name: "UUIDv4",
        is_in_order: false,
        make: |_, rng| {
            let random = format!("{:032x}", rng.u128(..));
            format!(
                "{}-{}-4{}-8{}-{}",
                &random[..8],
                &random[8..12],
                &random[13..16],
                &random[17..20],
                &random[20..]
            )
        },
    },
];

const DIGITS_OF_ULID: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS_OF_62: [u8; 62] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn milliseconds(n: u64) -> u64 {
    1_796_000_000_000 + n
}

/// What `once_key` makes of these parts.
fn several(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("\u{1e}{part}")).collect()
}

/// The number of these bytes, the most significant first, in so many digits.
fn base<const BYTES: usize, const RADIX: usize>(
    mut number: [u8; BYTES],
    digits: &[u8; RADIX],
    length: usize,
) -> String {
    let mut text = vec![digits[0]; length];
    for place in text.iter_mut().rev() {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest << 8 | usize::from(*byte);
            (*byte, rest) = ((value / RADIX) as u8, value % RADIX);
        }
        *place = digits[rest];
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_order_rise_from_second_to_second() {
        for family in FAMILIES.iter().filter(|family| family.is_in_order) {
            let mut rng = Rng::with_seed(1);
            let keys: Vec<_> = [1_000_000, 1_001_000, 1_002_000]
                .map(|n| family.keys(n..n + 1, &mut rng).remove(0))
                .into();
            assert!(keys.is_sorted(), "{}: {keys:?}", family.name);
        }
    }

    #[test]
    fn a_number_in_another_base() {
        assert_eq!(base([1, 0], &DIGITS_OF_62, 3), "048");
        assert_eq!(
            base([0xff; 20], &DIGITS_OF_62, 27),
            "aWgEPTl1tmebfsQzFP4bxwgy80V"
        );
    }
}
