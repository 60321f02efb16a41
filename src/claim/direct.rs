//! The direct engine: the plain table through its access methods.
//!
//! It looks at the index by what is true now, whatever the snapshot is, and inserts only where
//! nothing is: that is how it answers at REPEATABLE READ, and what a duplicate costs is a look.

use super::{Answer, Claim, Found, ROUNDS, Terms, in_time, times_of};
use crate::error::Error;
use crate::pg::claims::{self, Claims, Entry};
use crate::pg::session::{self, Isolation};
use crate::pg::spi::View;
use crate::timeout::Timeout;

/// Makes the claim if it does not stand.
pub fn make(table: &mut Claims, claim: &Claim, terms: &Terms) -> Result<Answer, Error> {
    match attempt(table, claim, terms, Timeout::None)? {
        Some(answer) => Ok(answer),
        None => Err(Error::ClaimUnsettled),
    }
}

/// The same within the timeout; none when it is over and somebody else's transaction decides.
pub fn attempt(
    table: &mut Claims,
    claim: &Claim,
    terms: &Terms,
    timeout: Timeout,
) -> Result<Option<Answer>, Error> {
    let mut rounds = 0;
    while rounds < ROUNDS {
        let found = match table.probe(claim)? {
            claims::Found::Held(holder) => {
                if !has_ended(table, holder, timeout)? {
                    return Ok(None);
                }
                continue;
            }
            claims::Found::Nothing => {
                if was_in_snapshot(table, claim)? {
                    return Err(Error::ClaimRemovedSinceSnapshot);
                }
                if table.insert(claim, &terms.entry(1)?)? {
                    return Ok(Some(Answer::Won));
                }
                if let Some(rival) = table.rival(claim)?
                    && !has_ended(table, rival, timeout)?
                {
                    return Ok(None);
                }
                rounds += 1;
                continue;
            }
            claims::Found::Claim(found) => found,
        };
        match (judge(table, &found, terms)?, found.locker) {
            (Found::OfOwner, _) => return Ok(Some(Answer::Won)),
            (Found::Expired, Some(locker)) => {
                if !has_ended(table, locker, timeout)? {
                    return Ok(None);
                }
            }
            (Found::Expired, None) => {
                let entry = terms.entry(1)?;
                match in_time(timeout, || Ok(table.renew(&found, claim, &entry)?))? {
                    Some(true) => return Ok(Some(Answer::Won)),
                    Some(false) => {}
                    None => return Ok(None),
                }
                if session::isolation() == Isolation::Serializable {
                    return Err(Error::ClaimNewerThanSnapshot);
                }
                rounds += 1;
            }
            _ => return Ok(Some(Answer::Duplicate)),
        }
    }
    Err(Error::ClaimUnsettled)
}

/// The same, as `entry`, where nobody has to be waited for and nothing has expired; none otherwise.
/// The claims come in the order of their storage keys.
pub fn make_at_once(
    table: &mut Claims,
    claim: &Claim,
    terms: &Terms,
    entry: &Entry,
) -> Result<Option<Answer>, Error> {
    Ok(match table.probe_next(claim)? {
        claims::Found::Nothing if was_in_snapshot(table, claim)? => {
            return Err(Error::ClaimRemovedSinceSnapshot);
        }
        claims::Found::Nothing => table.insert(claim, entry)?.then_some(Answer::Won),
        claims::Found::Held(_) => None,
        claims::Found::Claim(found) => match judge(table, &found, terms)? {
            Found::Standing => Some(Answer::Duplicate),
            Found::OfOwner => Some(Answer::Won),
            Found::Nothing | Found::Expired => None,
        },
    })
}

/// What the claim that was found is for this transaction.
fn judge(table: &mut Claims, found: &claims::Claim, terms: &Terms) -> Result<Found, Error> {
    let judged = terms.of(found)?;
    match is_newer_than_snapshot(table, found)? {
        true => Err(Error::ClaimNewerThanSnapshot),
        false => Ok(judged),
    }
}

/// Whether the transaction has ended within the timeout.
fn has_ended(table: &mut Claims, holder: claims::Holder, timeout: Timeout) -> Result<bool, Error> {
    if timeout
        .deadline()
        .is_some_and(|deadline| deadline <= session::now())
    {
        return Ok(false);
    }
    Ok(in_time(timeout, || Ok(table.wait(holder)?))?.is_some())
}

/// Whether the claim stands.
pub fn stands(table: &mut Claims, claim: &Claim, view: View) -> Result<bool, Error> {
    match table.newest(claim, view)? {
        None => Ok(false),
        Some(found) => Ok(Terms::default().of(&found)? == Found::Standing),
    }
}

/// Gives the newest committed claim back, or the own one. A competitor that gave it back and made
/// it anew during the wait for it leaves a newer one: then it looks again.
pub fn give_back(table: &mut Claims, claim: &Claim) -> Result<bool, Error> {
    for _ in 0..ROUNDS {
        let Some(found) = table.newest(claim, View::Newest)? else {
            return Ok(false);
        };
        if Terms::default().of(&found)? != Found::Standing {
            return Ok(false);
        }
        if table.remove(&found)? {
            return Ok(true);
        }
    }
    Err(Error::ClaimUnsettled)
}

/// Under SERIALIZABLE an answer by a claim that the snapshot does not have would be one that no
/// order of the transactions explains. The look counts as a read, so that a claim given back
/// meanwhile is noticed.
fn is_newer_than_snapshot(table: &mut Claims, found: &claims::Claim) -> Result<bool, Error> {
    if found.is_own || session::isolation() != Isolation::Serializable {
        return Ok(false);
    }
    Ok(!table.is_in_snapshot(found)?)
}

/// The same of a claim that the snapshot has and that was given back since. The look counts as a
/// read that nothing was there.
fn was_in_snapshot(table: &mut Claims, claim: &Claim) -> Result<bool, Error> {
    Ok(session::isolation() == Isolation::Serializable && stands(table, claim, View::Isolated)?)
}

impl Terms {
    /// What is written about so many claims that are made now.
    pub fn entry(&self, claims: usize) -> Result<Entry, Error> {
        let (claimed_at, expires_at) = times_of(claims, self.period)?;
        Ok(Entry {
            claimed_at,
            expires_at,
            owner: self.owner,
        })
    }

    /// What a claim in the table is.
    fn of(&self, found: &claims::Claim) -> Result<Found, Error> {
        if !found.is_of_name {
            return Err(Error::StorageKeyCollision);
        }
        Ok(self.judge(found.expires_at, found.owner, found.is_own))
    }
}
