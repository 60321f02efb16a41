//! The statement engine: kept plans of SQL, which work on whatever the table is.
//!
//! INSERT … ON CONFLICT DO NOTHING without a target waits for a competitor whose transaction is
//! open, costs a duplicate no transaction id, and raises nothing while the index is rebuilt
//! concurrently. They run as the owner of the table.

use super::{Answer, Claim, Found, ROUNDS, Terms, times, times_of};
use crate::error::Error;
use crate::pg::deadline::{Attempt, attempt_to_get};
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Value, session};
use crate::storage_key::{has_storage_key, storage_key_columns};

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
pub struct Row {
    storage_key: [Value<'static>; 4],
    ns: Value<'static>,
    key: Value<'static>,
    /// Whether it is on another node, whose transaction ids are not this server's.
    is_remote: bool,
}

impl Row {
    fn of(claim: &Claim) -> Result<Self, Error> {
        Ok(Self {
            storage_key: Value::storage_key(claim.storage_key),
            ns: Value::text(claim.ns)?,
            key: Value::text(claim.key)?,
            is_remote: false,
        })
    }

    pub fn on_a_node(claim: &Claim) -> Result<Self, Error> {
        Ok(Self {
            is_remote: true,
            ..Self::of(claim)?
        })
    }

    /// Arguments whose first ones are the storage key.
    fn with<const COUNT: usize>(&self, more: [Value<'static>; COUNT]) -> Vec<Value<'static>> {
        self.storage_key.iter().cloned().chain(more).collect()
    }

    /// Under SERIALIZABLE an answer by a claim that was given back after the snapshot would be one
    /// that no order of the transactions explains. The look counts as a read.
    fn was_in_snapshot(&self) -> Result<bool, Error> {
        let is_serializable = session::isolation() == session::Isolation::Serializable;
        Ok(is_serializable && self.find(View::Isolated, &Terms::default())? == Found::Standing)
    }

    fn delete(&self, view: View) -> Result<bool, Error> {
        const DELETE: &str = concat!(
            "DELETE FROM once.claim WHERE ",
            has_storage_key!(),
            " AND ns OPERATOR(pg_catalog.=) $5 AND key OPERATOR(pg_catalog.=) $6 \
              AND (expires_at IS NULL OR expires_at OPERATOR(pg_catalog.>) $7)"
        );
        let now = Value::timestamp(Some(session::now()));
        let arguments = self.with([self.ns.clone(), self.key.clone(), now]);
        spi::run(DELETE, &arguments, view, was_written)
    }

    /// The time is written as it was before a wait for a competitor. After a long one that was
    /// won it is written anew, so that no claim is born old.
    pub fn insert(&self, terms: &Terms) -> Result<bool, Error> {
        const INSERT: &str = concat!(
            "INSERT INTO once.claim (",
            storage_key_columns!(),
            ", claimed_at, expires_at, owner, ns, key) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
        );
        const RENEW: &str = concat!(
            "UPDATE once.claim SET claimed_at = $5, expires_at = $6 WHERE ",
            has_storage_key!()
        );
        let (now, expiry) = times_of(1, terms.period)?;
        let arguments = self.with([
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner)?,
            self.ns.clone(),
            self.key.clone(),
        ]);
        if !spi::run(INSERT, &arguments, View::Isolated, was_written)? {
            return Ok(false);
        }
        if terms.period.is_some() && session::now() - now > NEGLIGIBLE_WAIT {
            let (now, expiry) = times(terms.period)?;
            let arguments = self.with([Value::timestamp(Some(now)), Value::timestamp(expiry)]);
            spi::run(RENEW, &arguments, View::Isolated, was_written)?;
        }
        Ok(true)
    }

    /// Makes an expired claim anew. False if somebody else has done so, or it was swept.
    pub fn take_over(&self, terms: &Terms) -> Result<bool, Error> {
        const LOCK: &str = concat!(
            "SELECT FROM once.claim WHERE ",
            has_storage_key!(),
            " AND expires_at OPERATOR(pg_catalog.<=) $5 FOR UPDATE"
        );
        const RENEW: &str = concat!(
            "UPDATE once.claim SET claimed_at = $5, expires_at = $6, owner = $7 WHERE ",
            has_storage_key!()
        );
        let now = self.with([Value::timestamp(Some(session::now()))]);
        if !get(|| spi::run(LOCK, &now, View::Isolated, was_written))? {
            return Ok(false);
        }
        let (now, expiry) = times_of(1, terms.period)?;
        let arguments = self.with([
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner)?,
        ]);
        spi::run(RENEW, &arguments, View::Isolated, was_written)
    }

    /// What stands in the table. Who claimed it is asked for only where there is an owner to
    /// compare with: not every kind of table knows the transaction of a row.
    pub fn find(&self, view: View, terms: &Terms) -> Result<Found, Error> {
        const FIND: &str = concat!(
            "SELECT expires_at, ns OPERATOR(pg_catalog.=) $5 AND key OPERATOR(pg_catalog.=) $6 \
             FROM once.claim WHERE ",
            has_storage_key!()
        );
        const FIND_WITH_OWNER: &str = concat!(
            "SELECT expires_at, ns OPERATOR(pg_catalog.=) $5 AND key OPERATOR(pg_catalog.=) $6, \
                 owner OPERATOR(pg_catalog.=) $7, xmin \
             FROM once.claim WHERE ",
            has_storage_key!()
        );
        // A row that is seen though its transaction is in progress is one of that transaction.
        const FIND_WITH_OWNER_ON_A_NODE: &str = concat!(
            "SELECT expires_at, ns OPERATOR(pg_catalog.=) $5 AND key OPERATOR(pg_catalog.=) $6, \
                 owner OPERATOR(pg_catalog.=) $7, \
                 pg_catalog.pg_xact_status(GREATEST(0::pg_catalog.int8, ",
            later_id!(),
            " OPERATOR(pg_catalog.-) ((",
            later_id!(),
            " OPERATOR(pg_catalog.-) xmin::pg_catalog.text::pg_catalog.int8) OPERATOR(pg_catalog.&) 4294967295::pg_catalog.int8) \
                 )::pg_catalog.text::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'in progress' \
             FROM once.claim WHERE ",
            has_storage_key!()
        );
        let mut arguments = self.with([self.ns.clone(), self.key.clone()]);
        let statement = match terms.owner {
            None => FIND,
            Some(owner) => {
                arguments.push(Value::uuid(owner)?);
                match self.is_remote {
                    true => FIND_WITH_OWNER_ON_A_NODE,
                    false => FIND_WITH_OWNER,
                }
            }
        };
        spi::run(statement, &arguments, view, |rows| {
            match rows.count() {
                0 => return Ok(Found::Nothing),
                1 => {}
                // The snapshot has a claim that others gave back since, and the own one.
                _ => return Err(Error::ClaimNewerThanSnapshot),
            }
            if rows.boolean(0, 1)? != Some(true) {
                return Err(Error::StorageKeyCollision);
            }
            let is_of_owner = terms.owner.is_some() && rows.boolean(0, 2)? == Some(true) && {
                let is_own = match self.is_remote {
                    true => rows.boolean(0, 3)? == Some(true),
                    false => rows.is_own(0, 3)?,
                };
                !is_own
            };
            Ok(match rows.timestamp(0, 0)? {
                Some(expiry) if expiry <= session::now() => Found::Expired,
                _ if is_of_owner => Found::OfOwner,
                _ => Found::Standing,
            })
        })
    }
}

/// An id, with its epoch, that is later than all in use by half as many as there are without it.
macro_rules! later_id {
    () => {
        "(pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 \
             OPERATOR(pg_catalog.+) 2147483648::pg_catalog.int8)"
    };
}
use later_id;

/// Whether `act` got a row that is there. It may have waited for one that is another by now: core has
/// locked that, and where it is not the one, the lock is given back, so that nobody waits for it.
fn get(act: impl FnOnce() -> Result<bool, Error>) -> Result<bool, Error> {
    let got = attempt_to_get(|| Ok::<_, Error>(act()?.then_some(())))?;
    Ok(matches!(got, Attempt::Done(Some(()))))
}

fn was_written(rows: &Rows) -> Result<bool, Error> {
    Ok(rows.count() == 1)
}
