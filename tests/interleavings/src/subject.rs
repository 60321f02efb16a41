//! What the sessions of one interleaving do: one call each, in a transaction that ends somehow.

use crate::expectation::{self, Answers};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `claim_once` of a key that is free.
    FreeClaim,
    /// `claim_once` of a key whose claim has expired.
    ExpiredClaim,
    /// `find_or_create` with a lock of a row that is not there, in a table without a unique index.
    RowWithoutIndex,
    /// The same in a table with one.
    RowWithIndex,
}

pub const TABLES: &str = "
    CREATE TABLE without_index (key text NOT NULL, n bigint NOT NULL DEFAULT 0);
    CREATE TABLE with_index (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0)";

impl Subject {
    /// What comes before the sessions.
    pub fn prepare(self, key: &str) -> Option<String> {
        match self {
            Subject::ExpiredClaim => Some(format!(
                "SELECT claim_once_per('1 us', 'order', '{key}'), pg_sleep(0.001)"
            )),
            _ => None,
        }
    }

    pub fn call(self, key: &str) -> String {
        match self {
            Subject::FreeClaim | Subject::ExpiredClaim => {
                format!("SELECT claim_once('order', '{key}')")
            }
            Subject::RowWithoutIndex | Subject::RowWithIndex => format!(
                "SELECT CASE WHEN created THEN 'created' ELSE (entity).n::text END
                 FROM find_or_create(NULL::{}, '{{\"key\": \"{key}\"}}', lock => true)",
                self.table()
            ),
        }
    }

    /// The last statements of a transaction that was told this.
    pub fn end(self, key: &str, answer: &str, end: End) -> String {
        let end = match end {
            End::Commit => "COMMIT",
            End::Rollback => "ROLLBACK",
        };
        match self {
            Subject::FreeClaim | Subject::ExpiredClaim => end.to_owned(),
            Subject::RowWithoutIndex | Subject::RowWithIndex => {
                let next = answer.parse().unwrap_or(0) + 1;
                let table = self.table();
                format!("UPDATE {table} SET n = {next} WHERE key = '{key}'; {end}")
            }
        }
    }

    /// What must be true when all sessions have ended, where this many have won or added something.
    pub fn left(self, key: &str, effects: usize) -> String {
        match self {
            Subject::FreeClaim | Subject::ExpiredClaim => {
                format!("SELECT is_claimed('order', '{key}') = ({effects} > 0)")
            }
            Subject::RowWithoutIndex | Subject::RowWithIndex => format!(
                "SELECT coalesce(sum(n), 0) = {effects} AND count(*) = sign({effects})
                 FROM {} WHERE key = '{key}'",
                self.table()
            ),
        }
    }

    /// Whether a committed transaction that was told this has an effect.
    pub fn has_effect(self, answer: &str) -> bool {
        match self {
            Subject::FreeClaim | Subject::ExpiredClaim => answer == "t",
            Subject::RowWithoutIndex | Subject::RowWithIndex => true,
        }
    }

    /// What the sessions can be told.
    pub fn expected(self, ends: &[End]) -> BTreeSet<Answers> {
        match self {
            Subject::FreeClaim | Subject::ExpiredClaim => expectation::of_claims(ends),
            Subject::RowWithoutIndex | Subject::RowWithIndex => expectation::of_turns(ends),
        }
    }

    fn table(self) -> &'static str {
        match self {
            Subject::RowWithIndex => "with_index",
            _ => "without_index",
        }
    }
}
