//! The calls of claims.

use super::Scene;
use crate::row::Timeout;
use fastrand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// claim_once.
    Claim {
        key: u8,
    },
    /// claim_once_per with a period that is over when the call has ended.
    ClaimBriefly {
        key: u8,
    },
    /// claim_many of both keys, the second one first where it is `turned`.
    ClaimBoth {
        turned: bool,
    },
    /// try_claim_once; with an owner, who may be 1 or 2, or none.
    Try {
        key: u8,
        timeout: Timeout,
        owner: u8,
    },
    IsClaimed {
        key: u8,
    },
    Unclaim {
        key: u8,
    },
    /// once.purge of the namespace.
    Purge,
}

impl Call {
    pub fn random(rng: &mut Rng, scene: &Scene) -> Call {
        let key = rng.u8(1..=scene.keys);
        match rng.u8(0..100) {
            0..30 => Call::Claim { key },
            30..40 => Call::ClaimBriefly { key },
            40..55 => Call::ClaimBoth { turned: rng.bool() },
            55..77 => Call::Try {
                key,
                timeout: Timeout::random(rng),
                owner: rng.u8(0..3),
            },
            77..82 => Call::IsClaimed { key },
            82..86 => Call::Purge,
            _ => Call::Unclaim { key },
        }
    }

    pub fn keys(self) -> &'static [u8] {
        match self {
            Call::ClaimBoth { .. } | Call::Purge => &[1, 2],
            Call::Claim { key }
            | Call::ClaimBriefly { key }
            | Call::Try { key, .. }
            | Call::IsClaimed { key }
            | Call::Unclaim { key } => match key {
                1 => &[1],
                _ => &[2],
            },
        }
    }

    pub fn sql(self, ns: &str) -> String {
        match self {
            Call::Claim { key } => format!("SELECT claim_once('{ns}', '{key}')"),
            Call::ClaimBriefly { key } => {
                format!("SELECT claim_once_per('1 ms', '{ns}', '{key}'), pg_sleep(0.003)")
            }
            Call::ClaimBoth { turned: false } => format!("SELECT claim_many('{ns}', '{{1,2}}')"),
            Call::ClaimBoth { turned: true } => format!("SELECT claim_many('{ns}', '{{2,1}}')"),
            Call::Try {
                key,
                timeout,
                owner,
            } => {
                let owner = match owner {
                    0 => "NULL".to_owned(),
                    _ => format!("'{owner}'"),
                };
                let timeout = timeout.sql();
                format!("SELECT try_claim_once('{ns}', '{key}', {timeout}, owner => {owner})")
            }
            Call::IsClaimed { key } => format!("SELECT is_claimed('{ns}', '{key}')"),
            Call::Unclaim { key } => format!("SELECT unclaim('{ns}', '{key}')"),
            Call::Purge => format!("SELECT once.purge('{ns}')"),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Call::Claim { key } => write!(f, "claim {key}"),
            Call::ClaimBriefly { key } => write!(f, "claim_briefly {key}"),
            Call::ClaimBoth { turned: false } => f.write_str("claim_many 1 2"),
            Call::ClaimBoth { turned: true } => f.write_str("claim_many 2 1"),
            Call::Try {
                key,
                timeout,
                owner,
            } => write!(f, "try {key} {owner}{}", timeout.word()),
            Call::IsClaimed { key } => write!(f, "is_claimed {key}"),
            Call::Unclaim { key } => write!(f, "unclaim {key}"),
            Call::Purge => f.write_str("purge"),
        }
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Call, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |at: usize| -> Result<u8, String> {
            let word = words.get(at).ok_or_else(|| format!("{text}: no number"))?;
            word.parse().map_err(|_| format!("{text}: no number"))
        };
        if text == "purge" {
            return Ok(Call::Purge);
        }
        let key = number(1)?;
        Ok(match words[0] {
            "claim" => Call::Claim { key },
            "claim_briefly" => Call::ClaimBriefly { key },
            "claim_many" => Call::ClaimBoth { turned: key == 2 },
            "try" => Call::Try {
                key,
                owner: number(2)?,
                timeout: match words.get(3) {
                    None => Timeout::None,
                    Some(word) => {
                        Timeout::named(word).ok_or_else(|| format!("{text}: no timeout"))?
                    }
                },
            },
            "is_claimed" => Call::IsClaimed { key },
            "unclaim" => Call::Unclaim { key },
            _ => return Err(format!("no step: {text}")),
        })
    }
}
