//! Claims: exactly one committed transaction is told true.
//!
//! The statement engine: the unique index on the digest decides, through INSERT … ON CONFLICT DO
//! NOTHING without a target. That form waits for a competitor whose transaction is open, costs a
//! duplicate no transaction id, and raises nothing while the index is rebuilt concurrently.

use pgrx::datum::AnyElement;
use pgrx::iter::SetOfIterator;
use pgrx::pg_extern;

use crate::digest;
use crate::error::Error;
use crate::key::{self, Name};
use crate::pg::call::Interval;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, owner, session};
use crate::policy;
use crate::timeout::Timeout;

mod batch;

use batch::Batch;
pub use batch::LIMIT as BATCH_LIMIT;

#[pg_extern(sql = false)]
fn claim_once(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    let policy = policy::admit(name.ns)?;
    let terms = Terms::lasting(policy.ttl);
    Ok(Claim::named(&name)?.make(&terms)? == Answer::Won)
}

#[pg_extern(sql = false)]
fn claim_once_per(call: Call) -> Result<bool, ErrorReport> {
    let period = call.interval(0).ok_or(Error::Null { argument: "period" })?;
    let name = Name::of_arguments(call, 1)?;
    policy::admit(name.ns)?;
    let terms = Terms::lasting(Some(period));
    Ok(Claim::named(&name)?.make(&terms)? == Answer::Won)
}

#[pg_extern(sql = false)]
fn claim_many<'a>(call: Call<'a>) -> Result<SetOfIterator<'a, AnyElement>, ErrorReport> {
    let ns = key::namespace(call, 0)?;
    let policy = policy::admit(ns)?;
    let keys = call.texts(1).map_err(Error::from)?;
    let mut batch = Batch::new(ns, keys.ok_or(Error::Null { argument: "keys" })?)?;
    batch.claim(&Terms::lasting(policy.ttl))?;
    Ok(SetOfIterator::new(
        batch.into_keys().filter_map(Value::into_any),
    ))
}

#[pg_extern(sql = false)]
fn try_claim_once(call: Call) -> Result<&'static str, ErrorReport> {
    let name = Name::of_texts(call, 0)?;
    let policy = policy::admit(name.ns)?;
    let timeout = Timeout::starting_now(call.interval(2))?;
    let ttl = call.interval(3);
    times(ttl).map_err(|error| match error {
        Error::PeriodOutOfRange => Error::TtlOutOfRange,
        other => other,
    })?;
    let terms = Terms {
        period: ttl.or(policy.ttl),
        owner: owner_digest(call, 4, &name)?,
    };
    Ok(match Claim::named(&name)?.attempt(&terms, timeout)? {
        Some(Answer::Won) => "won",
        Some(Answer::Duplicate) => "duplicate",
        None => "in_progress",
    })
}

#[pg_extern(sql = false)]
fn is_claimed(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    policy::admit(name.ns)?;
    Ok(Claim::named(&name)?.stands()?)
}

#[pg_extern(sql = false)]
fn unclaim(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    policy::admit(name.ns)?;
    Ok(Claim::named(&name)?.give_back()?)
}

/// The longest owner, in bytes.
pub const OWNER_LIMIT: usize = 200;

/// How often a call looks again when others make and give back the claim under its eyes.
const ROUNDS: usize = 100;

/// What made up its time before a wait is written anew after it, in microseconds.
const NEGLIGIBLE_WAIT: i64 = 100_000;

/// How a claim is made.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// How long it lasts; none: without end.
    period: Option<Interval>,
    /// The digest of the owner, who may ask again.
    owner: Option<[u8; 16]>,
}

/// What a caller is told once nobody else's transaction is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Won,
    Duplicate,
}

impl Terms {
    fn lasting(period: Option<Interval>) -> Self {
        Self {
            period,
            owner: None,
        }
    }
}

/// A claim by its name, whether or not it has been made.
struct Claim {
    digest: Value,
    ns: Value,
    key: Value,
}

/// What the table says about a claim.
enum Found {
    Nothing,
    Standing,
    /// It stands, is committed, and was made by the owner who asks.
    OfOwner,
    Expired,
}

impl Claim {
    fn named(name: &Name) -> Result<Self, Error> {
        Ok(Self {
            digest: Value::uuid(digest::claim(name.ns, &name.key)),
            ns: Value::text(name.ns)?,
            key: Value::text(&name.key)?,
        })
    }

    /// Makes the claim if it does not stand.
    fn make(&self, terms: &Terms) -> Result<Answer, Error> {
        owner::acting(|| {
            for _ in 0..ROUNDS {
                if self.insert(terms)? {
                    return Ok(Answer::Won);
                }
                match self.find(View::Isolated, terms)? {
                    Found::Nothing => {}
                    Found::Standing => return Ok(Answer::Duplicate),
                    Found::OfOwner => return Ok(Answer::Won),
                    Found::Expired if self.take_over(terms)? => return Ok(Answer::Won),
                    Found::Expired => {}
                }
            }
            Err(Error::ClaimUnsettled)
        })
    }

    /// The same, but not waiting longer than `timeout`: none when it is over and somebody else's
    /// transaction still decides. Nothing is written then.
    fn attempt(&self, terms: &Terms, timeout: Timeout) -> Result<Option<Answer>, Error> {
        let Some(deadline) = timeout.deadline() else {
            return self.make(terms).map(Some);
        };
        Ok(match attempt(Some(deadline), || self.make(terms))? {
            Attempt::Done(answer) => Some(answer),
            Attempt::TimedOut | Attempt::Moved => None,
        })
    }

    /// Whether the claim stands now.
    fn stands(&self) -> Result<bool, Error> {
        owner::acting(|| {
            Ok(matches!(
                self.find(newest_but_serializable(), &Terms::default())?,
                Found::Standing
            ))
        })
    }

    /// Gives the claim back. A wait for a competitor that gave it back and made it anew leaves a
    /// newer claim than the statement saw: then it looks again.
    fn give_back(&self) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM once.claim \
             WHERE digest OPERATOR(pg_catalog.=) $1 \
               AND ns OPERATOR(pg_catalog.=) $2 AND key OPERATOR(pg_catalog.=) $3 \
               AND (expires_at IS NULL OR expires_at OPERATOR(pg_catalog.>) $4)";
        let view = newest_but_serializable();
        owner::acting(|| {
            for _ in 0..ROUNDS {
                let now = Value::timestamp(Some(session::now()));
                let arguments = [self.digest, self.ns, self.key, now];
                if spi::run(DELETE, &arguments, view, was_written)? {
                    return Ok(true);
                }
                match self.find(view, &Terms::default())? {
                    Found::Standing | Found::OfOwner => {}
                    Found::Nothing | Found::Expired => return Ok(false),
                }
            }
            Err(Error::ClaimUnsettled)
        })
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
            self.digest,
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner),
            self.ns,
            self.key,
        ];
        if !spi::run(INSERT, &arguments, View::Isolated, was_written)? {
            return Ok(false);
        }
        if terms.period.is_some() && session::now() - now > NEGLIGIBLE_WAIT {
            let (now, expiry) = times(terms.period)?;
            let arguments = [
                self.digest,
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
        if !spi::run(LOCK, &[self.digest, now], View::Isolated, was_written)? {
            return Ok(false);
        }
        let (now, expiry) = times(terms.period)?;
        let arguments = [
            self.digest,
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
            Value::uuid_or_null(terms.owner),
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
        let owner = Value::uuid_or_null(terms.owner);
        let arguments = [self.digest, self.ns, self.key, owner];
        let (statement, arguments) = match terms.owner {
            None => (FIND, &arguments[..3]),
            Some(_) => (FIND_WITH_OWNER, &arguments[..]),
        };
        spi::run(statement, arguments, view, |rows| {
            if rows.count() == 0 {
                return Ok(Found::Nothing);
            }
            if rows.boolean(0, 1) != Some(true) {
                return Err(Error::DigestCollision);
            }
            let is_of_owner =
                terms.owner.is_some() && rows.boolean(0, 2) == Some(true) && !rows.is_own(0, 3);
            Ok(match rows.timestamp(0, 0) {
                Some(expiry) if expiry <= session::now() => Found::Expired,
                _ if is_of_owner => Found::OfOwner,
                _ => Found::Standing,
            })
        })
    }
}

/// Claims stand outside the snapshot. Under SERIALIZABLE the snapshot decides, so that the answer
/// counts as a read of it.
fn newest_but_serializable() -> View {
    match session::isolation() {
        session::Isolation::Serializable => View::Isolated,
        _ => View::Newest,
    }
}

/// The digest of the owner that the argument at `index` names, for this claim.
fn owner_digest(call: Call, index: usize, name: &Name) -> Result<Option<[u8; 16]>, Error> {
    match call.text(index, OWNER_LIMIT)? {
        None => Ok(None),
        Some(Ok(owner)) => Ok(Some(digest::owner(name.ns, &name.key, owner))),
        Some(Err(bytes)) => Err(Error::OwnerTooLong { bytes }),
    }
}

fn was_written(rows: &Rows) -> Result<bool, Error> {
    Ok(rows.count() == 1)
}

/// Now, and when a claim that is made now for `period` expires.
fn times(period: Option<Interval>) -> Result<(i64, Option<i64>), Error> {
    let now = session::now();
    let Some(period) = period else {
        return Ok((now, None));
    };
    match session::after(now, period)? {
        Some(expiry) if expiry > now && expiry < i64::MAX => Ok((now, Some(expiry))),
        _ => Err(Error::PeriodOutOfRange),
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn the_table_holds_the_frozen_digest() {
        Spi::run("SELECT claim_once('ci_failure', '4711')").unwrap();
        let digest = Spi::get_one::<String>("SELECT digest::text FROM once.claim");
        assert_eq!(
            digest,
            Ok(Some("39faad5b-9890-ac94-5f15-8d54d1c2ffc6".to_owned()))
        );
    }

    #[pg_test]
    fn a_look_uses_no_transaction_id() {
        let assigned = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
        let used = Spi::connect(|client| {
            for call in ["SELECT is_claimed('a', 'b')", "SELECT unclaim('a', 'b')"] {
                client.select(call, None, &[]).unwrap();
            }
            client
                .select(assigned, None, &[])
                .unwrap()
                .first()
                .get_one::<bool>()
        });
        assert_eq!(used, Ok(Some(false)));
    }

    #[pg_test(error = "the digest of this namespace and key belongs to another claim")]
    fn another_key_under_the_same_digest_is_an_error() {
        Spi::run(
            "SELECT claim_once('ns', 'one'); UPDATE once.claim SET key = 'two' WHERE key = 'one'; \
             SELECT claim_once('ns', 'one')",
        )
        .unwrap();
    }
}
