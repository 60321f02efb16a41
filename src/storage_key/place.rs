//! Where a claim is stored: keys that usually come one after the other stand one beside the other in
//! the index, so that new ones meet few of its pages.
//!
//! The place is a guess at the order in which such keys come. A wrong guess costs locality and never
//! an answer. It is frozen all the same, since stored claims are found by it.
//!
//! The first part of the key that has one of these forms decides:
//!
//! 1. a UUID: its first 48 bits (version 7: milliseconds);
//! 2. a date, 2026-11-30: with a time behind it milliseconds, else the day and what follows;
//! 3. hexadecimal digits with a letter among them, 16 and more: the first 48 bits (ObjectId: seconds);
//! 4. 26 digits of Crockford's base 32 (ULID): the first 50 bits;
//! 5. other letters and digits, unless these are letters before a number: the first six, 6 bits each
//!    (KSUID, Stripe).
//!
//! Where none has: of all numbers the one with the most digits, the first among equals, without what
//! is finer than a 42-bit count (Snowflake, nanoseconds); without a number the first six letters.
//! The lowest 32 bits of that are counted from where the namespace begins, round and round.

/// Where a namespace begins.
#[derive(Clone, Copy)]
pub(super) struct Beginning(u32);

impl Beginning {
    /// FNV-1a of its name.
    pub(super) fn of(ns: &[u8]) -> Self {
        const OFFSET: u32 = 0x811c_9dc5;
        const PRIME: u32 = 0x0100_0193;
        Self(ns.iter().fold(OFFSET, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(PRIME)
        }))
    }

    /// The place of `key` among the claims of the namespace.
    pub(super) fn place(self, key: &[u8]) -> u32 {
        self.0.wrapping_add(order(key) as u32)
    }
}

/// Rises from key to key, where they come in an order that is known here.
fn order(key: &[u8]) -> u64 {
    let mut longest: Option<Number> = None;
    let mut rest = key;
    while let Some(at) = rest.iter().position(u8::is_ascii_alphanumeric) {
        rest = &rest[at..];
        if let Some(order) = uuid(rest).or_else(|| date(rest)) {
            return order;
        }
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let (part, behind) = rest.split_at(length);
        if let Some(order) = identifier(part) {
            return order;
        }
        let letters = part.iter().position(u8::is_ascii_digit).unwrap_or(length);
        if let Some(number) = Number::of(&part[letters..])
            && longest.is_none_or(|longest| number.digits > longest.digits)
        {
            longest = Some(number);
        }
        rest = behind;
    }
    longest.map_or_else(|| first_six(key), Number::order)
}

#[derive(Clone, Copy)]
struct Number {
    /// Without zeros in front.
    digits: usize,
    value: u64,
}

impl Number {
    /// Of digits only; none where there is no digit. Of a longer number the first 19 digits.
    fn of(text: &[u8]) -> Option<Self> {
        const MOST: usize = 19;
        let zeros = text.iter().position(|digit| *digit != b'0');
        let significant = match zeros {
            Some(zeros) => &text[zeros..],
            None if text.is_empty() => return None,
            None => &[],
        };
        Some(Self {
            digits: significant.len(),
            value: decimal(&significant[..significant.len().min(MOST)]),
        })
    }

    /// A number wider than milliseconds since 1970, without what changes more often than they do.
    fn order(self) -> u64 {
        const BITS: u32 = 42;
        self.value >> (u64::BITS - self.value.leading_zeros()).saturating_sub(BITS)
    }
}

fn decimal(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}

fn hexadecimal(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |value, digit| value << 4 | rank(*digit))
}

/// 0 to 9, then letters of both cases alike.
fn rank(byte: u8) -> u64 {
    u64::from(match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    })
}

/// Whether `text` begins with this form, where 0 stands for any digit and other bytes for themselves.
/// All bytes are looked at, which takes fewer instructions than to stop at the first that differs.
fn has_form<const LENGTH: usize>(
    text: &[u8],
    form: &[u8; LENGTH],
    is_digit: fn(&u8) -> bool,
) -> bool {
    let Some(text) = text.first_chunk::<LENGTH>() else {
        return false;
    };
    form.iter().zip(text).fold(true, |fits, (form, byte)| {
        fits & ((*form == b'0') & is_digit(byte) | (*form != b'0') & (form == byte))
    })
}

fn uuid(text: &[u8]) -> Option<u64> {
    const FORM: &[u8; 36] = b"00000000-0000-0000-0000-000000000000";
    let may_be = text.get(8) == Some(&b'-');
    (may_be && has_form(text, FORM, u8::is_ascii_hexdigit))
        .then(|| hexadecimal(&text[..8]) << 16 | hexadecimal(&text[9..13]))
}

/// Days are counted as if each month had 31: their order is what counts.
fn date(text: &[u8]) -> Option<u64> {
    const FORM: &[u8; 10] = b"0000-00-00";
    const MILLISECONDS: u64 = 86_400_000;
    const REST_BITS: u32 = 20;
    let may_be = text.get(4) == Some(&b'-');
    if !may_be
        || !has_form(text, FORM, u8::is_ascii_digit)
        || text.get(10).is_some_and(u8::is_ascii_digit)
    {
        return None;
    }
    let months = decimal(&text[..4]) * 12 + decimal(&text[5..7]);
    let days = months * 31 + decimal(&text[8..10]);
    let behind = &text[10..];
    Some(match time(behind) {
        Some(milliseconds) => days * MILLISECONDS + milliseconds,
        None => days << REST_BITS | order(behind) & ((1 << REST_BITS) - 1),
    })
}

/// The milliseconds of T12:34:56.789, or with a blank for the T.
fn time(text: &[u8]) -> Option<u64> {
    const FORM: &[u8; 8] = b"00:00:00";
    let text = text
        .strip_prefix(b"T")
        .or_else(|| text.strip_prefix(b" "))?;
    if !has_form(text, FORM, u8::is_ascii_digit) {
        return None;
    }
    let minutes = decimal(&text[..2]) * 60 + decimal(&text[3..5]);
    let thousandths = match has_form(&text[8..], b".000", u8::is_ascii_digit) {
        true => decimal(&text[9..12]),
        false => 0,
    };
    Some((minutes * 60 + decimal(&text[6..8])) * 1000 + thousandths)
}

/// Of letters and digits that belong together. None for letters, digits, and letters before digits.
fn identifier(part: &[u8]) -> Option<u64> {
    const HEXADECIMAL: usize = 16;
    const ULID: usize = 26;
    let is_of_one_case = || {
        let has_upper = part.iter().any(u8::is_ascii_uppercase);
        has_upper != part.iter().any(u8::is_ascii_lowercase)
    };
    if part.len() >= HEXADECIMAL && part.iter().all(u8::is_ascii_hexdigit) && is_of_one_case() {
        return Some(hexadecimal(&part[..12]));
    }
    let digit = part.iter().position(u8::is_ascii_digit)?;
    if part[digit..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    if part.len() == ULID && part[0] <= b'7' && is_of_one_case() {
        let digits = part[..10].iter();
        return Some(digits.fold(0, |value, digit| value << 5 | crockford(*digit)));
    }
    Some(first_six(part))
}

/// Crockford's base 32 has no I, L, O and U.
fn crockford(digit: u8) -> u64 {
    const LEFT_OUT: [u64; 4] = [18, 21, 24, 30];
    let rank = rank(digit);
    rank - LEFT_OUT.iter().filter(|left_out| rank > **left_out).count() as u64
}

/// The first six letters and digits, in the order of their bytes.
fn first_six(text: &[u8]) -> u64 {
    let ranks = text.iter().filter_map(|byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    });
    ranks
        .chain([0; 6])
        .take(6)
        .fold(0, |value, rank| value << 6 | u64::from(rank))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key of several parts.
    fn several(parts: &[&str]) -> Vec<u8> {
        let parts = parts.iter().map(|part| format!("\u{1e}{part}"));
        parts.collect::<String>().into_bytes()
    }

    #[test]
    fn frozen_vectors() {
        for (key, expected) in [
            ("4711", 4711),
            ("order-4711", 4711),
            ("INV0004711", 4711),
            ("ord-000000004711", 4711),
            ("0", 0),
            ("7/4711", 4711),
            ("4711/7", 4711),
            ("12/34", 12),
            ("1796000000123", 1_796_000_000_123),
            ("1970000000000000000", 1_970_000_000_000_000_000 >> 19),
            ("99999999999999999999999", 9_999_999_999_999_999_999 >> 22),
            ("0193a5c2-7b1e-7000-8000-000000000000", 0x0193_a5c2_7b1e),
            (
                "user:0193A5C2-7B1E-7000-8000-000000000000",
                0x0193_a5c2_7b1e,
            ),
            ("5f3a9c1d2e5f3a9c1d2e0001", 0x5f3a_9c1d_2e5f),
            ("01KB8XKZW0ABCDEFGHJKMNPQRS", 0x19a_d1d9_ff80),
            ("evt_1NG8Du2eZvKYlo2C", 0x5740_8378),
            ("2026-11-30", 754_043 << 20),
            ("daily:2026-11-30:user17", 754_043 << 20 | 17),
            ("2026-11-30T01:02:03.456Z", 754_043 * 86_400_000 + 3_723_456),
            ("2026-11-30 01:02:03", 754_043 * 86_400_000 + 3_723_000),
            ("org/repo", 0xc_b5ab_5a33),
            ("-", 0),
            ("", 0),
        ] {
            assert_eq!(
                order(key.as_bytes()),
                expected,
                "{key}: {:#x}",
                order(key.as_bytes())
            );
        }
        assert_eq!(order(&several(&["4711", "org/repo"])), 4711);
        assert_eq!(order(&several(&["org/repo", "4711"])), 4711);
        assert_eq!(order(&several(&["2026-11-30", "12"])), 754_043 << 20 | 12);
        let beginning = Beginning::of(b"ci_failure");
        assert_eq!(beginning.0, 0x2b4b_4728);
        assert_eq!(beginning.place(b"4711"), 0x2b4b_4728 + 4711);
    }

    proptest! {
        #[test]
        fn every_key_has_a_place(ns in any::<Vec<u8>>(), key in any::<Vec<u8>>()) {
            let beginning = Beginning::of(&ns);
            prop_assert_eq!(beginning.place(&key).wrapping_sub(beginning.0), order(&key) as u32);
        }

        #[test]
        fn keys_of_known_forms_have_a_place(key in "[0-9a-zA-Z:.T _-]{0,60}") {
            order(key.as_bytes());
        }

        #[test]
        fn numbers_rise(number in 0..u64::from(u32::MAX), prefix in "([a-z]{1,8}[-_:/])?", width in 0_usize..14) {
            let key = |number: u64| format!("{prefix}{number:0width$}");
            prop_assert_eq!(order(key(number).as_bytes()) + 1, order(key(number + 1).as_bytes()));
        }

        #[test]
        fn milliseconds_of_identifiers_rise(ms in 0..(1_u64 << 47), random in any::<u64>()) {
            const CROCKFORD: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
            let uuid = |ms: u64| {
                let (high, low) = (ms >> 16, ms & 0xffff);
                format!("{high:08x}-{low:04x}-7{:03x}-8000-{:012x}", random & 0xfff, random >> 16)
            };
            let ulid = |ms: u64| {
                let time = (0..10).rev().map(|digit| CROCKFORD[(ms >> (5 * digit)) as usize & 31]);
                let rest = (0..16).map(|digit| CROCKFORD[(random >> (4 * digit)) as usize & 15]);
                let mut text: Vec<u8> = time.chain(rest).collect();
                // A letter at the end: without any it would be a number.
                text[25] = b'Z';
                text
            };
            prop_assert_eq!(order(uuid(ms).as_bytes()), ms);
            prop_assert_eq!(order(&ulid(ms)), ms);
        }
    }
}
