//! What a client is going to ask. It comes of the seed alone, so that a seed replays it, though not
//! how the clients meet.

use crate::claim::{KEPT, TURNED};
use crate::record::{Key, Level};
use fastrand::Rng;

/// So many transactions of each client go to the same few keys. Then come new ones, so that the
/// history of each key is short enough to search.
pub const GENERATION: u64 = 20;

pub const KEYED: &str = "counter_keyed";
pub const PLAIN: &str = "counter_plain";
pub const PAYMENTS: &str = "payments";
/// A table that is dropped and made anew meanwhile: nobody counts on its rows.
pub const SCRAP: &str = "scrap";

/// What core says of `NULL::scrap` where the table is dropped while it looks at the type: that is before
/// it calls a function of the extension, which is why there it is no fault.
pub const DROPPED: [&str; 2] = [
    "XX000 could not open relation with OID",
    "XX000 cache lookup failed for type",
];

/// A statement that needs 900 MB.
pub const GORGE: &str = "SELECT length(repeat('x', 900000000))";

const LOCK: &str = "lock";
const SESSION_LOCK: &str = "session lock";
pub const WORK: &str = "work";

/// What a scenario leaves out, or has more of.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// `hold_lock` and `release_lock`: not behind a pooler.
    pub session_locks: bool,
    /// Connections are cut around COMMIT.
    pub cuts: bool,
    /// Turns in a table that is dropped meanwhile.
    pub scrap: bool,
    /// Statements that want more memory than there is.
    pub gluttony: bool,
    /// Long pauses in the midst of transactions.
    pub dawdling: bool,
}

impl Mix {
    pub const ALL: Mix = Mix {
        session_locks: true,
        cuts: true,
        scrap: false,
        gluttony: false,
        dawdling: false,
    };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// One call that commits by itself.
    Alone { call: Call, cut: Option<u64> },
    Transaction {
        level: Level,
        engine: &'static str,
        signed: bool,
        calls: Vec<Call>,
        end: End,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
    /// The connection is cut so many microseconds after COMMIT is sent.
    Cut(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Claim(Key),
    ClaimMany(Vec<Key>),
    Try {
        key: Key,
        timeout: &'static str,
        owned: bool,
    },
    Unclaim(Key),
    IsClaimed(Key),
    Turn {
        row: Key,
        how: How,
        timeout: &'static str,
    },
    Lock {
        name: Key,
        shared: bool,
        timeout: &'static str,
    },
    Savepoint,
    Undo,
    /// Microseconds.
    Pause(u64),
    /// A statement that needs much memory.
    Gorge,
    Hold {
        name: Key,
        shared: bool,
        timeout: &'static str,
    },
    /// Of the locks that the session holds, the one at this place, counted round.
    Release(usize),
    Begin {
        key: Key,
        milliseconds: u32,
        wait: &'static str,
    },
    /// With one of the latest tokens of the client, here and below.
    Renew {
        which: usize,
        milliseconds: u32,
    },
    /// In a transaction with its effect, or alone.
    Complete {
        which: usize,
    },
    Fail {
        which: usize,
        retry: bool,
        after: &'static str,
    },
    /// In a transaction with an effect.
    Fence {
        which: usize,
    },
    Forget(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    WithRowLock,
    FindOrCreate,
    WithPaymentLock,
}

/// The scripts of one client, without an end.
pub struct Plan {
    random: Rng,
    mix: Mix,
    next: u64,
}

impl Plan {
    pub fn new(seed: u64, client: usize, mix: Mix) -> Plan {
        let own = (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Plan {
            random: Rng::with_seed(seed ^ own),
            mix,
            next: 0,
        }
    }

    fn transaction(&mut self) -> Script {
        let level = self.level();
        let mut calls = Vec::new();
        if self.random.u8(..6) == 0 {
            let which = self.random.usize(..4);
            let fence = Call::Fence { which };
            let complete = Call::Complete { which };
            calls.push(if self.random.bool() { fence } else { complete });
        } else {
            self.steps(&mut calls);
        }
        Script::Transaction {
            level,
            engine: ["auto", "statement"][self.random.usize(..2)],
            signed: self.random.bool(),
            calls,
            end: match self.random.u8(..20) {
                0..=3 => End::Rollback,
                4 if self.mix.cuts => End::Cut(self.random.u64(..1500)),
                _ => End::Commit,
            },
        }
    }

    fn level(&mut self) -> Level {
        match self.random.u8(..5) {
            0 => Level::RepeatableRead,
            1 => Level::Serializable,
            _ => Level::ReadCommitted,
        }
    }

    fn steps(&mut self, calls: &mut Vec<Call>) {
        let count = self.random.u8(1..=4);
        let savepoint = self.random.u8(..8);
        let has_savepoint = savepoint < count;
        for step in 0..count {
            if step == savepoint {
                calls.push(Call::Savepoint);
            }
            let call = self.step();
            calls.push(call);
            if has_savepoint && step >= savepoint && self.random.u8(..3) == 0 {
                calls.push(Call::Undo);
            }
            let longest = if self.mix.dawdling { 60_000 } else { 1000 };
            calls.push(Call::Pause(self.random.u64(..longest)));
        }
    }

    fn step(&mut self) -> Call {
        match self.random.u8(..32) {
            0..=13 => self.claim(),
            14..=23 => self.turn(),
            24 | 25 if self.mix.scrap => Call::Turn {
                row: self.key(SCRAP, 3),
                how: How::WithRowLock,
                timeout: self.timeout(),
            },
            26 if self.mix.gluttony => Call::Gorge,
            _ => Call::Lock {
                name: self.key(LOCK, 3),
                shared: self.random.u8(..3) == 0,
                timeout: self.timeout(),
            },
        }
    }

    fn claim(&mut self) -> Call {
        match self.random.u8(..13) {
            0..=4 => Call::Claim(self.any_claim()),
            5 | 6 => {
                let many = self.random.usize(2..6);
                Call::ClaimMany((0..many).map(|_| self.key(KEPT, 8)).collect())
            }
            7..=9 => Call::Try {
                key: self.any_claim(),
                timeout: self.timeout(),
                owned: self.random.bool(),
            },
            10 => Call::IsClaimed(self.any_claim()),
            _ => Call::Unclaim(self.key(TURNED, 3)),
        }
    }

    fn turn(&mut self) -> Call {
        let timeout = self.timeout();
        let (space, how) = match self.random.u8(..5) {
            0 => (KEYED, How::WithRowLock),
            1 => (PLAIN, How::WithRowLock),
            2 => (KEYED, How::FindOrCreate),
            3 => (PLAIN, How::FindOrCreate),
            _ => (PAYMENTS, How::WithPaymentLock),
        };
        Call::Turn {
            row: self.key(space, 2),
            how,
            timeout,
        }
    }

    fn alone(&mut self) -> Call {
        match self.random.u8(..16) {
            0..=5 => self.claim(),
            6 | 7 if self.mix.session_locks => Call::Hold {
                name: self.key(SESSION_LOCK, 3),
                shared: self.random.u8(..3) == 0,
                timeout: ["'0'", "'5 ms'"][self.random.usize(..2)],
            },
            8 | 9 if self.mix.session_locks => Call::Release(self.random.usize(..4)),
            14 => Call::Forget(self.key(WORK, 3)),
            13 => Call::Renew {
                which: self.random.usize(..4),
                milliseconds: self.random.u32(5..60),
            },
            12 => Call::Complete {
                which: self.random.usize(..4),
            },
            11 => Call::Fail {
                which: self.random.usize(..4),
                retry: self.random.u8(..4) != 0,
                after: ["NULL", "'10 ms'"][self.random.usize(..2)],
            },
            _ => Call::Begin {
                key: self.key(WORK, 3),
                milliseconds: self.random.u32(5..60),
                wait: ["'0'", "'0'", "'20 ms'"][self.random.usize(..3)],
            },
        }
    }

    fn any_claim(&mut self) -> Key {
        if self.random.bool() {
            self.key(KEPT, 8)
        } else {
            self.key(TURNED, 3)
        }
    }

    /// One of the few keys of this space that are hot now.
    fn key(&mut self, space: &'static str, count: usize) -> Key {
        let generation = self.next / GENERATION;
        Key {
            space,
            name: format!("{generation}/{}", self.random.usize(..count)),
        }
    }

    fn timeout(&mut self) -> &'static str {
        ["NULL", "NULL", "'0'", "'3 ms'", "'1 minute'"][self.random.usize(..5)]
    }
}

impl Iterator for Plan {
    type Item = Script;

    fn next(&mut self) -> Option<Script> {
        let script = if self.random.u8(..5) < 2 {
            let call = self.alone();
            let cut = self.mix.cuts && self.random.u8(..30) == 0;
            Script::Alone {
                call,
                cut: cut.then(|| self.random.u64(..800)),
            }
        } else {
            self.transaction()
        };
        self.next += 1;
        Some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_plan() {
        let plan = |seed, client| Plan::new(seed, client, Mix::ALL).take(500);
        assert!(plan(7, 3).eq(plan(7, 3)));
        assert!(plan(7, 3).ne(plan(8, 3)));
        assert!(plan(7, 3).ne(plan(7, 4)));
    }
}
