//! The calls: functions of the extension, and statements of applications beside them.

use super::Scene;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    None,
    Zero,
    /// Is over while the call waits.
    Short,
    /// Is never over.
    Long,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// with_row_lock; `part` names the partition of key 1.
    Take {
        key: u8,
        timeout: Timeout,
        part: bool,
    },
    /// find_or_create.
    Find {
        key: u8,
        lock: bool,
        timeout: Timeout,
    },
    /// Adds one to the number of the row that was taken last, as the call has returned it.
    Add,
    /// Takes the row that was taken last, or that key 1 had at the beginning, out of its key.
    Leave,
    /// Takes a row into the key: the one that was taken last, or one of the session's own.
    Enter {
        key: u8,
    },
    /// Moves the row that was taken last, or that key 1 had at the beginning, to another partition.
    Wander,
    /// Deletes the row that was taken last, or that key 1 had at the beginning.
    Delete,
    Insert {
        key: u8,
    },
    /// Detaches the partition of key 1 concurrently.
    Detach,
}

impl Timeout {
    pub fn random(rng: &mut Rng) -> Timeout {
        match rng.u8(0..10) {
            0..5 => Timeout::None,
            5..7 => Timeout::Zero,
            7 => Timeout::Short,
            _ => Timeout::Long,
        }
    }

    pub fn sql(self) -> &'static str {
        match self {
            Timeout::None => "NULL",
            Timeout::Zero => "'0'",
            Timeout::Short => "'4 ms'",
            Timeout::Long => "'1 minute'",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Timeout::None => "",
            Timeout::Zero => " zero",
            Timeout::Short => " short",
            Timeout::Long => " long",
        }
    }

    pub fn named(word: &str) -> Option<Timeout> {
        [Timeout::Zero, Timeout::Short, Timeout::Long]
            .into_iter()
            .find(|timeout| timeout.word().trim() == word)
    }

    pub fn is_soon_over(self) -> bool {
        matches!(self, Timeout::Zero | Timeout::Short)
    }
}

impl Call {
    pub fn random(rng: &mut Rng, scene: &Scene) -> Call {
        let key = rng.u8(1..=scene.keys);
        match rng.u8(0..100) {
            0..40 => Call::Take {
                key,
                timeout: Timeout::random(rng),
                part: scene.table.detaches && key == 1 && rng.bool(),
            },
            40..48 => Call::Find {
                key,
                lock: true,
                timeout: Timeout::random(rng),
            },
            48..56 => Call::Find {
                key,
                lock: false,
                timeout: Timeout::random(rng),
            },
            56..66 => Call::Add,
            66..80 => Call::Leave,
            80..86 => Call::Enter { key },
            86..90 if scene.table.wander.is_some() => Call::Wander,
            86..94 => Call::Delete,
            _ => Call::Insert { key },
        }
    }

    pub fn timeout(self) -> Timeout {
        match self {
            Call::Take { timeout, .. } | Call::Find { timeout, .. } => timeout,
            _ => Timeout::None,
        }
    }

    /// The key that a function of the extension is called for.
    pub fn asks_for(self) -> Option<u8> {
        match self {
            Call::Take { key, .. } | Call::Find { key, .. } => Some(key),
            _ => None,
        }
    }

    pub fn key(self) -> Option<u8> {
        match self {
            Call::Enter { key } | Call::Insert { key } => Some(key),
            _ => self.asks_for(),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let word = |timeout: &Timeout| timeout.word();
        match self {
            Call::Take {
                key,
                timeout,
                part: false,
            } => write!(f, "take {key}{}", word(timeout)),
            Call::Take {
                key,
                timeout,
                part: true,
            } => write!(f, "take_part {key}{}", word(timeout)),
            Call::Find {
                key,
                timeout,
                lock: false,
            } => write!(f, "find {key}{}", word(timeout)),
            Call::Find {
                key,
                timeout,
                lock: true,
            } => write!(f, "find_locked {key}{}", word(timeout)),
            Call::Add => f.write_str("add"),
            Call::Leave => f.write_str("leave"),
            Call::Enter { key } => write!(f, "enter {key}"),
            Call::Wander => f.write_str("wander"),
            Call::Delete => f.write_str("delete"),
            Call::Insert { key } => write!(f, "insert {key}"),
            Call::Detach => f.write_str("detach"),
        }
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Call, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let key = || -> Result<u8, String> {
            let word = words.get(1).ok_or_else(|| format!("{text}: no key"))?;
            word.parse().map_err(|_| format!("{text}: no key"))
        };
        let timeout = match words.get(2) {
            None => Timeout::None,
            Some(word) => Timeout::named(word).ok_or_else(|| format!("{text}: no timeout"))?,
        };
        Ok(match words.first().copied() {
            Some("take") => Call::Take {
                key: key()?,
                timeout,
                part: false,
            },
            Some("take_part") => Call::Take {
                key: key()?,
                timeout,
                part: true,
            },
            Some("find") => Call::Find {
                key: key()?,
                timeout,
                lock: false,
            },
            Some("find_locked") => Call::Find {
                key: key()?,
                timeout,
                lock: true,
            },
            Some("add") => Call::Add,
            Some("leave") => Call::Leave,
            Some("enter") => Call::Enter { key: key()? },
            Some("wander") => Call::Wander,
            Some("delete") => Call::Delete,
            Some("insert") => Call::Insert { key: key()? },
            Some("detach") => Call::Detach,
            _ => return Err(format!("no step: {text}")),
        })
    }
}
