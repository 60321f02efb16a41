//! What of a request is stored: a digest of its JSON, the same for equal values of jsonb.

/// The text by which equal requests are known, in pieces: no copy is made of it.
///
/// jsonb prints equal values alike, in one order of names and with fixed spaces, but for numbers:
/// 1.0 and 1.00 are equal and keep their zeros.
pub fn canonical(printed: &str) -> Canonical<'_> {
    Canonical {
        rest: printed,
        has_points: printed.contains('.'),
    }
}

#[derive(Clone)]
pub struct Canonical<'a> {
    rest: &'a str,
    has_points: bool,
}

impl<'a> Iterator for Canonical<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let begins_token = |c: char| c == '"' || c == '-' || c.is_ascii_digit();
        let length = match self.rest.find(begins_token) {
            _ if self.rest.is_empty() => return None,
            Some(start) if self.has_points => start,
            _ => self.rest.len(),
        };
        let (length, is_number) = match (length, self.rest.starts_with('"')) {
            (0, true) => (string_length(self.rest), false),
            (0, false) => (number_length(self.rest), true),
            (length, _) => (length, false),
        };
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(match is_number {
            true => without_zeros(piece),
            false => piece,
        })
    }
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

    fn canonical(printed: &str) -> String {
        super::canonical(printed).collect()
    }

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
            prop_assert_eq!(canonical(&printed), printed.clone());
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
