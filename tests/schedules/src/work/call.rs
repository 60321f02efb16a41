//! The calls of work. Those that need a token use the one that the session got last, or else the one that
//! anybody got last.

use super::Scene;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// begin_once; its lease is over when the call has ended, where it is brief.
    Begin {
        is_brief: bool,
        waits: bool,
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
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    pub act: Act,
    pub key: u8,
}

const WORDS: [(&str, Act); 12] = [
    (
        "begin",
        Act::Begin {
            is_brief: false,
            waits: false,
        },
    ),
    (
        "begin_briefly",
        Act::Begin {
            is_brief: true,
            waits: false,
        },
    ),
    (
        "wait",
        Act::Begin {
            is_brief: false,
            waits: true,
        },
    ),
    (
        "wait_briefly",
        Act::Begin {
            is_brief: true,
            waits: true,
        },
    ),
    ("renew", Act::Renew { is_brief: false }),
    ("renew_briefly", Act::Renew { is_brief: true }),
    ("complete", Act::Complete),
    ("give_back", Act::GiveBack),
    ("put_off", Act::PutOff),
    ("fail", Act::Fail),
    ("fence", Act::Fence),
    ("forget", Act::Forget),
];

impl Call {
    pub fn random(rng: &mut Rng, scene: &Scene) -> Call {
        let waits = rng.u8(0..6) == 0;
        let act = match rng.u8(0..100) {
            0..15 => Act::Begin {
                is_brief: false,
                waits,
            },
            15..42 => Act::Begin {
                is_brief: true,
                waits,
            },
            42..47 => Act::Renew { is_brief: false },
            47..52 => Act::Renew { is_brief: true },
            52..64 => Act::Complete,
            64..72 => Act::GiveBack,
            72..74 => Act::PutOff,
            74..77 => Act::Fail,
            77..94 => Act::Fence,
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
            Act::Begin { is_brief, waits } => format!(
                "SELECT outcome, token, attempt{} FROM begin_once({name}, {}, wait => {})",
                pause(is_brief),
                lease(is_brief),
                if waits { "'10 ms'" } else { "'0'" }
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
        }
    }

    pub fn begins(self) -> bool {
        matches!(self.act, Act::Begin { .. })
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let word = WORDS.iter().find(|(_, act)| *act == self.act);
        write!(f, "{} {}", word.expect("each has a word").0, self.key)
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Call, String> {
        let wrong = || format!("no step: {text}");
        let (word, key) = text.split_once(' ').ok_or_else(wrong)?;
        let (_, act) = WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .ok_or_else(wrong)?;
        let key = key.parse().map_err(|_| wrong())?;
        Ok(Call { act: *act, key })
    }
}
