//! The calls of work. Those that need a token use the one that the session got last, or else the one that
//! anybody got last.

use super::Scene;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// begin_once; its lease is over when the call has ended, where it is brief.
    /// The worker is called 1 or 2, or has no name.
    Begin {
        is_brief: bool,
        waits: bool,
        worker: u8,
    },
    Renew {
        is_brief: bool,
    },
    Complete,
    /// fail_once, to be run again.
    GiveBack,
    /// fail_once, to be run again in an hour.
    PutOff,
    /// fail_once for good.
    Fail,
    Fence,
    Forget,
    /// once.purge of the namespace, which has one key then; with work that has not ended where it says so.
    Purge {
        unfinished: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    pub act: Act,
    pub key: u8,
}

const WORDS: [(&str, Act); 14] = [
    ("begin", Act::begin(false, false)),
    ("begin_briefly", Act::begin(true, false)),
    ("wait", Act::begin(false, true)),
    ("wait_briefly", Act::begin(true, true)),
    ("renew", Act::Renew { is_brief: false }),
    ("renew_briefly", Act::Renew { is_brief: true }),
    ("complete", Act::Complete),
    ("give_back", Act::GiveBack),
    ("put_off", Act::PutOff),
    ("fail", Act::Fail),
    ("fence", Act::Fence),
    ("forget", Act::Forget),
    ("purge", Act::Purge { unfinished: false }),
    ("purge_all", Act::Purge { unfinished: true }),
];

impl Act {
    const fn begin(is_brief: bool, waits: bool) -> Act {
        Act::Begin {
            is_brief,
            waits,
            worker: 0,
        }
    }

    /// The same begin by this worker, as the words have it: `begin as 2 1` is key 1.
    fn by(self, name: u8) -> Act {
        match self {
            Act::Begin {
                is_brief, waits, ..
            } => Act::Begin {
                is_brief,
                waits,
                worker: name,
            },
            other => other,
        }
    }

    fn worker(self) -> u8 {
        match self {
            Act::Begin { worker, .. } => worker,
            _ => 0,
        }
    }
}

impl Call {
    pub fn random(rng: &mut Rng, scene: &Scene) -> Call {
        let waits = rng.u8(0..6) == 0;
        let worker = rng.u8(0..5).saturating_sub(2);
        let act = match rng.u8(0..100) {
            0..15 => Act::Begin {
                is_brief: false,
                waits,
                worker,
            },
            15..42 => Act::Begin {
                is_brief: true,
                waits,
                worker,
            },
            42..47 => Act::Renew { is_brief: false },
            47..52 => Act::Renew { is_brief: true },
            52..64 => Act::Complete,
            64..72 => Act::GiveBack,
            72..74 => Act::PutOff,
            74..77 => Act::Fail,
            77..92 => Act::Fence,
            92..95 if scene.keys == 1 => Act::Purge {
                unfinished: rng.bool(),
            },
            _ => Act::Forget,
        };
        Call {
            act,
            key: rng.u8(1..=scene.keys),
        }
    }

    pub fn sql(self, ns: &str, token: i64) -> String {
        let name = format!("'{ns}', '{}'", self.key);
        let lease = |is_brief| if is_brief { "'1 ms'" } else { "'1 hour'" };
        // A brief lease is over at the end of the statement.
        let pause = |is_brief| if is_brief { ", pg_sleep(0.003)" } else { "" };
        match self.act {
            Act::Begin {
                is_brief,
                waits,
                worker,
            } => format!(
                "SELECT outcome, token, attempt{} FROM begin_once({name}, {}, wait => {}, worker => {})",
                pause(is_brief),
                lease(is_brief),
                if waits { "'10 ms'" } else { "'0'" },
                match worker {
                    0 => "NULL".to_owned(),
                    _ => format!("'worker {worker}'"),
                }
            ),
            Act::Renew { is_brief } => format!(
                "SELECT renew_once({name}, {token}, {}){}",
                lease(is_brief),
                pause(is_brief)
            ),
            Act::Complete => format!("SELECT complete_once({name}, {token})"),
            Act::GiveBack => format!("SELECT fail_once({name}, {token})"),
            Act::PutOff => format!("SELECT fail_once({name}, {token}, retry_after => '1 hour')"),
            Act::Fail => format!("SELECT fail_once({name}, {token}, retry => false)"),
            Act::Fence => format!("SELECT fence_once({name}, {token})"),
            Act::Forget => format!("SELECT forget_once({name})"),
            Act::Purge { unfinished } => {
                format!("SELECT once.purge('{ns}', unfinished => {unfinished})")
            }
        }
    }

    pub fn begins(self) -> bool {
        matches!(self.act, Act::Begin { .. })
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let word = WORDS.iter().find(|(_, act)| *act == self.act.by(0));
        write!(f, "{}", word.expect("each has a word").0)?;
        match self.act.worker() {
            0 => write!(f, " {}", self.key),
            worker => write!(f, " as {worker} {}", self.key),
        }
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Call, String> {
        let wrong = || format!("no step: {text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (word, worker, key) = match words[..] {
            [word, key] => (word, 0, key),
            [word, "as", worker, key] => (word, worker.parse().map_err(|_| wrong())?, key),
            _ => return Err(wrong()),
        };
        let (_, act) = WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .ok_or_else(wrong)?;
        let key = key.parse().map_err(|_| wrong())?;
        Ok(Call {
            act: act.by(worker),
            key,
        })
    }
}
