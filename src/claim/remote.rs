//! The remote engine: the statements of [`statement`](super::statement) on a table whose rows Citus keeps on
//! several nodes.
//!
//! Each statement is a message to the node that has the row, and waits there. So it looks first: that is
//! one message for a duplicate. An insert, which may wait, gets the end of its waiting sent along.

use super::statement::{self, Row};
use super::{Answer, Claim, Found, ROUNDS, Terms};
use crate::error::Error;
use crate::pg::citus;
use crate::pg::deadline::Attempt;
use crate::pg::spi::View;
use crate::timeout::Timeout;

/// Makes the claim if it does not stand.
pub fn make(claim: &Claim, terms: &Terms) -> Result<Answer, Error> {
    match attempt(claim, terms, Timeout::None)? {
        Some(answer) => Ok(answer),
        None => Err(Error::ClaimUnsettled),
    }
}

/// The same, but not waiting longer than `timeout`: none when it is over.
pub fn attempt(claim: &Claim, terms: &Terms, timeout: Timeout) -> Result<Option<Answer>, Error> {
    in_rounds(claim, terms, |write| {
        Ok(match citus::attempt(timeout.deadline(), write)? {
            Attempt::Done(written) => Some(written),
            Attempt::TimedOut | Attempt::Moved => None,
        })
    })
}

/// The same within [`with_callers_timeout`].
pub fn make_waiting(claim: &Claim, terms: &Terms) -> Result<Answer, Error> {
    in_rounds(claim, terms, |write| write().map(Some))?.ok_or(Error::ClaimUnsettled)
}

/// Runs `act` so that all its waits end with the caller's `lock_timeout`.
pub fn with_callers_timeout(act: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    citus::attempt(None, act).map(|_| ())
}

/// Gives the claim back.
pub fn give_back(claim: &Claim) -> Result<bool, Error> {
    match citus::attempt(None, || statement::give_back(claim, View::Newest))? {
        Attempt::Done(was_given_back) => Ok(was_given_back),
        Attempt::TimedOut | Attempt::Moved => Err(Error::ClaimUnsettled),
    }
}

/// `bounded` runs a statement that writes and may wait: none where its time is over.
fn in_rounds(
    claim: &Claim,
    terms: &Terms,
    bounded: impl Fn(&mut dyn FnMut() -> Result<bool, Error>) -> Result<Option<bool>, Error>,
) -> Result<Option<Answer>, Error> {
    let claim = Row::on_a_node(claim)?;
    for _ in 0..ROUNDS {
        let written = match claim.find(View::Isolated, terms)? {
            Found::Standing => return Ok(Some(Answer::Duplicate)),
            Found::OfOwner => return Ok(Some(Answer::Won)),
            Found::Nothing => bounded(&mut || claim.insert(terms))?,
            Found::Expired => bounded(&mut || claim.take_over(terms))?,
        };
        match written {
            Some(true) => return Ok(Some(Answer::Won)),
            Some(false) => {}
            None => return Ok(None),
        }
    }
    Err(Error::ClaimUnsettled)
}
