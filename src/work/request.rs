//! What of a request is stored: a digest of its JSON, the same for equal values of jsonb.

use std::borrow::Cow;

/// The text by which equal requests are known.
///
/// jsonb prints equal values alike, in one order of names and with fixed spaces, but for numbers:
/// 1.0 and 1.00 are equal and keep their zeros.
pub fn canonical(printed: &str) -> Cow<'_, str> {
    if !printed.contains('.') {
        return Cow::Borrowed(printed);
    }
    let mut canonical = String::with_capacity(printed.len());
    let mut rest = printed;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, token) = rest.split_at(start);
        canonical += before;
        let (length, is_number) = match token.starts_with('"') {
            true => (string_length(token), false),
            false => (number_length(token), true),
        };
        let (token, next) = token.split_at(length);
        canonical += if is_number {
            without_zeros(token)
        } else {
            token
        };
        rest = next;
    }
    Cow::Owned(canonical + rest)
}

/// The length of the JSON string that the text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn number_length(text: &str) -> usize {
    let end = |byte: u8| !(byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.bytes().position(end).unwrap_or(text.len())
}

/// jsonb prints numbers without an exponent.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::canonical;

    #[test]
    fn zeros_behind_the_point_do_not_count() {
        for (printed, expected) in [
            ("1.0", "1"),
            ("100", "100"),
            ("[1.50, -2.00, 0.0]", "[1.5, -2, 0]"),
            (r#"{"1.0": "2.0", "a": 3.0}"#, r#"{"1.0": "2.0", "a": 3}"#),
            (r#"["\"1.0", 1.0]"#, r#"["\"1.0", 1]"#),
            (r#"["\\", 1.0, "x"]"#, r#"["\\", 1, "x"]"#),
            ("[0.001, 10.010]", "[0.001, 10.01]"),
            ("null", "null"),
        ] {
            assert_eq!(canonical(printed), expected, "{printed}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_kept(text in any::<String>()) {
            let printed = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(canonical(&printed), printed.as_str());
            let pair = format!("{{{printed}: {printed}, \"b\": 1.50}}");
            prop_assert_eq!(canonical(&pair), format!("{{{printed}: {printed}, \"b\": 1.5}}"));
        }

        #[test]
        fn other_numbers_stay_other(a in -5_000_000..5_000_000_i64, b in -5_000_000..5_000_000_i64, zeros in 0..4_usize) {
            let printed = |n: i64, zeros| format!(
                "{}{}.{:03}{}", if n < 0 { "-" } else { "" }, n.abs() / 1000, n.abs() % 1000, "0".repeat(zeros)
            );
            let (one, other) = (printed(a, 0), printed(b, zeros));
            prop_assert_eq!(canonical(&one) == canonical(&other), a == b);
        }
    }
}
