//! One key of several parts. The format is frozen: stored claims depend on it.
//!
//! One part is its own text. Two and more are each preceded by U+001E; inside a part, U+001B is
//! written as U+001B `0`, and U+001E as U+001B `1`. So no two lists of parts give the same key, in
//! every encoding of the database, and a key that does not begin with U+001E is one part.

use std::borrow::Cow;

const SEPARATOR: u8 = 0x1e;
const ESCAPE: u8 = 0x1b;
const ESCAPED_ESCAPE: u8 = b'0';
const ESCAPED_SEPARATOR: u8 = b'1';

/// The key that `parts` make. One part that looks like several is taken as such.
pub fn encode<'a>(parts: &[Cow<'a, [u8]>]) -> Cow<'a, [u8]> {
    if let [part] = parts {
        return part.clone();
    }
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        key.push(SEPARATOR);
        for byte in part.iter() {
            match *byte {
                ESCAPE => key.extend([ESCAPE, ESCAPED_ESCAPE]),
                SEPARATOR => key.extend([ESCAPE, ESCAPED_SEPARATOR]),
                byte => key.push(byte),
            }
        }
    }
    Cow::Owned(key)
}

/// The parts that `key` was made of. An escape that [`encode`] does not write is left as it is.
pub fn decode(key: &[u8]) -> Vec<Cow<'_, [u8]>> {
    match key.strip_prefix(&[SEPARATOR]) {
        None => vec![Cow::Borrowed(key)],
        Some(parts) => parts
            .split(|byte| *byte == SEPARATOR)
            .map(unescape)
            .collect(),
    }
}

fn unescape(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.contains(&ESCAPE) {
        return Cow::Borrowed(part);
    }
    let (mut plain, mut bytes) = (
        Vec::with_capacity(part.len()),
        part.iter().copied().peekable(),
    );
    while let Some(byte) = bytes.next() {
        let escaped = match bytes.peek() {
            Some(&ESCAPED_ESCAPE) if byte == ESCAPE => Some(ESCAPE),
            Some(&ESCAPED_SEPARATOR) if byte == ESCAPE => Some(SEPARATOR),
            _ => None,
        };
        if escaped.is_some() {
            bytes.next();
        }
        plain.push(escaped.unwrap_or(byte));
    }
    Cow::Owned(plain)
}

/// Whether `key` is one that [`encode`] can make of parts whose text is free of U+001E at its
/// beginning: any text that does not begin with U+001E, or two and more well-formed parts.
pub fn is_well_formed(key: &[u8]) -> bool {
    if key.first() != Some(&SEPARATOR) {
        return true;
    }
    let escapes_are_whole = key
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == ESCAPE)
        .all(|(at, _)| matches!(key.get(at + 1), Some(&(ESCAPED_ESCAPE | ESCAPED_SEPARATOR))));
    escapes_are_whole && key.iter().filter(|byte| **byte == SEPARATOR).count() > 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(parts: &[&[u8]]) -> Vec<u8> {
        let parts: Vec<Cow<[u8]>> = parts.iter().map(|part| Cow::Borrowed(*part)).collect();
        encode(&parts).into_owned()
    }

    #[test]
    fn frozen_vectors() {
        assert_eq!(key(&[b"42"]), b"42");
        assert_eq!(key(&[b"a", b"bc"]), b"\x1ea\x1ebc");
        assert_eq!(key(&[b"ab", b"c"]), b"\x1eab\x1ec");
        assert_eq!(key(&[b"a", b""]), b"\x1ea\x1e");
        assert_eq!(key(&[b"a\x1eb", b"c\x1bd"]), b"\x1ea\x1b1b\x1ec\x1b0d");
    }

    #[test]
    fn what_is_not_made_here_is_not_well_formed() {
        assert!(is_well_formed(b"plain"));
        assert!(is_well_formed(b"plain\x1b"));
        assert!(is_well_formed(b"\x1ea\x1eb"));
        assert!(!is_well_formed(b"\x1e"));
        assert!(!is_well_formed(b"\x1ea"));
        assert!(!is_well_formed(b"\x1ea\x1eb\x1b"));
        assert!(!is_well_formed(b"\x1ea\x1b2\x1eb"));
    }

    proptest! {
        #[test]
        fn several_parts_come_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 2..6)) {
            let borrowed: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let key = key(&borrowed);
            prop_assert!(is_well_formed(&key));
            prop_assert_eq!(decode(&key), parts);
        }

        #[test]
        fn a_well_formed_key_is_made_of_its_parts(bytes in prop::collection::vec(prop::sample::select(vec![0x1b_u8, 0x1e, b'0', b'1', b'a']), 1..9)) {
            let parts = decode(&bytes);
            let borrowed: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
            prop_assert_eq!(is_well_formed(&bytes), key(&borrowed) == bytes);
        }
    }
}
