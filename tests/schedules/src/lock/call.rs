//! The calls of named locks.

use crate::row::Timeout;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// with_lock of one of two keys, or with_locks of both, the second one first where it is turned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    One(u8),
    Both { turned: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    pub keys: Keys,
    pub is_shared: bool,
    pub timeout: Timeout,
}

impl Call {
    pub fn random(rng: &mut Rng) -> Call {
        if rng.bool() {
            return Call::random_batch(rng);
        }
        Call {
            keys: Keys::One(rng.u8(1..=2)),
            ..Call::random_batch(rng)
        }
    }

    pub fn random_batch(rng: &mut Rng) -> Call {
        Call {
            keys: Keys::Both { turned: rng.bool() },
            is_shared: rng.u8(0..4) == 0,
            timeout: Timeout::random(rng),
        }
    }

    pub fn keys(self) -> &'static [u8] {
        match self.keys {
            Keys::Both { .. } => &[1, 2],
            Keys::One(1) => &[1],
            Keys::One(_) => &[2],
        }
    }

    pub fn is_batch(self) -> bool {
        matches!(self.keys, Keys::Both { .. })
    }

    pub fn sql(self, ns: &str) -> String {
        let rest = format!("{}, {}", self.timeout.sql(), self.is_shared);
        match self.keys {
            Keys::One(key) => format!("SELECT with_lock('{ns}', '{key}', {rest})"),
            Keys::Both { turned: false } => format!("SELECT with_locks('{ns}', '{{1,2}}', {rest})"),
            Keys::Both { turned: true } => format!("SELECT with_locks('{ns}', '{{2,1}}', {rest})"),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.keys {
            Keys::One(key) => write!(f, "lock {key}")?,
            Keys::Both { turned: false } => write!(f, "locks 1 2")?,
            Keys::Both { turned: true } => write!(f, "locks 2 1")?,
        }
        let shared = if self.is_shared { " shared" } else { "" };
        write!(f, "{shared}{}", self.timeout.word())
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Call, String> {
        let wrong = || format!("no step: {text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (keys, rest) = match words[..] {
            ["lock", key, ref rest @ ..] => (Keys::One(key.parse().map_err(|_| wrong())?), rest),
            ["locks", "1", "2", ref rest @ ..] => (Keys::Both { turned: false }, rest),
            ["locks", "2", "1", ref rest @ ..] => (Keys::Both { turned: true }, rest),
            _ => return Err(wrong()),
        };
        let (is_shared, rest) = match rest {
            ["shared", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let timeout = match rest {
            [] => Timeout::None,
            [word] => Timeout::named(word).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        Ok(Call {
            keys,
            is_shared,
            timeout,
        })
    }
}
