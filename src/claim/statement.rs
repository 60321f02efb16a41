//! The statement engine: kept plans of SQL, which work on whatever the table is.
//!
//! INSERT … ON CONFLICT DO NOTHING without a target waits for a competitor whose transaction is
//! open, costs a duplicate no transaction id, and raises nothing while the index is rebuilt
//! concurrently. They run as the owner of the table.

use super::{Answer, Claim, Found, ROUNDS, Terms, times};
use crate::error::Error;
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Value, session};

/// What made up its time before a wait is written anew after it, in microseconds.
pub const NEGLIGIBLE_WAIT: i64 = 100_000;

/// Makes the claim if it does not stand.
pub fn make(claim: &Claim, terms: &Terms) -> Result<Answer, Error> {
    let claim = Row::of(claim)?;
    let was_there = claim.was_in_snapshot()?;
    for _ in 0..ROUNDS {
        if claim.insert(terms)? {
            return match was_there {
                true => Err(Error::ClaimRemovedSinceSnapshot),
                false => Ok(Answer::Won),
            };
        }
        match claim.find(View::Isolated, terms)? {
            Found::Nothing => {}
            Found::Standing => return Ok(Answer::Duplicate),
            Found::OfOwner => return Ok(Answer::Won),
            Found::Expired if claim.take_over(terms)? => return Ok(Answer::Won),
            Found::Expired => {}
        }
    }
    Err(Error::ClaimUnsettled)
}

/// Whether the claim stands.
pub fn stands(claim: &Claim, view: View) -> Result<bool, Error> {
    Ok(Row::of(claim)?.find(view, &Terms::default())? == Found::Standing)
}

/// Gives the claim back. A wait for a competitor that gave it back and made it anew leaves a
/// newer claim than the statement saw: then it looks again.
pub fn give_back(claim: &Claim, view: View) -> Result<bool, Error> {
    let claim = Row::of(claim)?;
    for _ in 0..ROUNDS {
        if claim.delete(view)? {
            return Ok(true);
        }
        match claim.find(view, &Terms::default())? {
            Found::Standing | Found::OfOwner => {}
            Found::Nothing | Found::Expired => return Ok(false),
        }
    }
    Err(Error::ClaimUnsettled)
}

/// The claim's name as the statements' arguments.
struct Row {
    digest: Value<'static>,
    ns: Value<'static>,
    key: Value<'static>,
}

impl Row {
    fn of(claim: &Claim) -> Result<Self, Error> {
        Ok(Self {
            digest: Value::uuid(claim.digest)?,
            ns: Value::text(claim.ns)?,
            key: Value::text(claim.key)?,
        })
    }

    /// Under SERIALIZABLE an answer by a claim that was given back after the snapshot would be one
    /// that no order of the transactions explains. The look counts as a read.
    fn was_in_snapshot(&self) -> Result<bool, Error> {
        let is_serializable = session::isolation() == session::Isolation::Serializable;
        Ok(is_serializable && self.find(View::Isolated, &Terms::default())? == Found::Standing)
    }

    fn delete(&self, view: View) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM once.claim \
             WHERE digest OPERATOR(pg_catalog.=) $1 \
               AND ns OPERATOR(pg_catalog.=) $2 AND key OPERATOR(pg_catalog.=) $3 \
               AND (expires_at IS NULL OR expires_at OPERATOR(pg_catalog.>) $4)";
        let now = Value::timestamp(Some(session::now()));
        spi::run(
            DELETE,
            &[self.digest.clone(), self.ns.clone(), self.key.clone(), now],
            view,
            was_written,
        )
    }

    /// The time is written as it was before a wait for a competitor. After a long one that was
    /// won it is written anew, so that no claim is born old.
    fn insert(&self, terms: &Terms) -> Result<bool, Error> {
        const INSERT: &str = "INSERT INTO once.claim (digest, claimed_at, expires_at, owner, ns, key) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        const RENEW: &str = "UPDATE once.claim SET claimed_at = $2, expires_at = $3 \
             WHERE digest OPERATOR(pg_catalog.=) $1";
        let (now, expiry) = times(terms.period)?;
        let arguments = [
            self.digest.clone(),
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner)?,
            self.ns.clone(),
            self.key.clone(),
        ];
        if !spi::run(INSERT, &arguments, View::Isolated, was_written)? {
            return Ok(false);
        }
        if terms.period.is_some() && session::now() - now > NEGLIGIBLE_WAIT {
            let (now, expiry) = times(terms.period)?;
            let arguments = [
                self.digest.clone(),
                Value::timestamp(Some(now)),
                Value::timestamp(expiry),
            ];
            spi::run(RENEW, &arguments, View::Isolated, was_written)?;
        }
        Ok(true)
    }

    /// Makes an expired claim anew. False if somebody else has done so, or it was swept.
    fn take_over(&self, terms: &Terms) -> Result<bool, Error> {
        const LOCK: &str = "SELECT FROM once.claim WHERE digest OPERATOR(pg_catalog.=) $1 \
             AND expires_at OPERATOR(pg_catalog.<=) $2 FOR UPDATE";
        const RENEW: &str = "UPDATE once.claim \
             SET claimed_at = $2, expires_at = $3, owner = $4 \
             WHERE digest OPERATOR(pg_catalog.=) $1";
        let now = Value::timestamp(Some(session::now()));
        if !spi::run(
            LOCK,
            &[self.digest.clone(), now],
            View::Isolated,
            was_written,
        )? {
            return Ok(false);
        }
        let (now, expiry) = times(terms.period)?;
        let arguments = [
            self.digest.clone(),
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner)?,
        ];
        spi::run(RENEW, &arguments, View::Isolated, was_written)
    }

    /// What stands in the table. Who claimed it is asked for only where there is an owner to
    /// compare with: not every kind of table knows the transaction of a row.
    fn find(&self, view: View, terms: &Terms) -> Result<Found, Error> {
        const FIND: &str = "SELECT expires_at, \
                 ns OPERATOR(pg_catalog.=) $2 AND key OPERATOR(pg_catalog.=) $3 \
             FROM once.claim WHERE digest OPERATOR(pg_catalog.=) $1";
        const FIND_WITH_OWNER: &str = "SELECT expires_at, \
                 ns OPERATOR(pg_catalog.=) $2 AND key OPERATOR(pg_catalog.=) $3, \
                 owner OPERATOR(pg_catalog.=) $4, xmin \
             FROM once.claim WHERE digest OPERATOR(pg_catalog.=) $1";
        let owner = Value::uuid_or_null(terms.owner)?;
        let arguments = [
            self.digest.clone(),
            self.ns.clone(),
            self.key.clone(),
            owner,
        ];
        let (statement, arguments) = match terms.owner {
            None => (FIND, &arguments[..3]),
            Some(_) => (FIND_WITH_OWNER, &arguments[..]),
        };
        spi::run(statement, arguments, view, |rows| {
            match rows.count() {
                0 => return Ok(Found::Nothing),
                1 => {}
                // The snapshot has a claim that others gave back since, and the own one.
                _ => return Err(Error::ClaimNewerThanSnapshot),
            }
            if rows.boolean(0, 1)? != Some(true) {
                return Err(Error::DigestCollision);
            }
            let is_of_owner =
                terms.owner.is_some() && rows.boolean(0, 2)? == Some(true) && !rows.is_own(0, 3)?;
            Ok(match rows.timestamp(0, 0)? {
                Some(expiry) if expiry <= session::now() => Found::Expired,
                _ if is_of_owner => Found::OfOwner,
                _ => Found::Standing,
            })
        })
    }
}

fn was_written(rows: &Rows) -> Result<bool, Error> {
    Ok(rows.count() == 1)
}
