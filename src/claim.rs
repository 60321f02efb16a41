//! Claims: exactly one committed transaction is told true.
//!
//! The statement engine: the unique index on the digest decides, through INSERT … ON CONFLICT DO
//! NOTHING without a target. That form waits for a competitor whose transaction is open, costs a
//! duplicate no transaction id, and raises nothing while the index is rebuilt concurrently.

use pgrx::pg_extern;

use crate::digest;
use crate::error::Error;
use crate::key::Name;
use crate::pg::call::Interval;
use crate::pg::spi::{self, Rows, View};
use crate::pg::{Call, ErrorReport, Value, owner, session};
use crate::policy;

#[pg_extern(sql = false)]
fn claim_once(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    let policy = policy::admit(name.ns)?;
    Ok(Claim::named(&name)?.make(policy.ttl)?)
}

#[pg_extern(sql = false)]
fn claim_once_per(call: Call) -> Result<bool, ErrorReport> {
    let period = call.interval(0).ok_or(Error::Null { argument: "period" })?;
    let name = Name::of_arguments(call, 1)?;
    policy::admit(name.ns)?;
    Ok(Claim::named(&name)?.make(Some(period))?)
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

/// How often a call looks again when others make and give back the claim under its eyes.
const ROUNDS: usize = 100;

/// What made up its time before a wait is written anew after it, in microseconds.
const NEGLIGIBLE_WAIT: i64 = 100_000;

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

    /// Makes the claim, for `period` where one is given. False if it stands already.
    fn make(&self, period: Option<Interval>) -> Result<bool, Error> {
        owner::acting(|| {
            for _ in 0..ROUNDS {
                if self.insert(period)? {
                    return Ok(true);
                }
                match self.find(View::Isolated)? {
                    Found::Nothing => {}
                    Found::Standing => return Ok(false),
                    Found::Expired if self.take_over(period)? => return Ok(true),
                    Found::Expired => {}
                }
            }
            Err(Error::ClaimUnsettled)
        })
    }

    /// Whether the claim stands now.
    fn stands(&self) -> Result<bool, Error> {
        owner::acting(|| {
            Ok(matches!(
                self.find(newest_but_serializable())?,
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
                match self.find(view)? {
                    Found::Standing => {}
                    Found::Nothing | Found::Expired => return Ok(false),
                }
            }
            Err(Error::ClaimUnsettled)
        })
    }

    /// The time is written as it was before a wait for a competitor. After a long one that was
    /// won it is written anew, so that no claim is born old.
    fn insert(&self, period: Option<Interval>) -> Result<bool, Error> {
        const INSERT: &str = "INSERT INTO once.claim (digest, claimed_at, expires_at, ns, key) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        const RENEW: &str = "UPDATE once.claim SET claimed_at = $2, expires_at = $3 \
             WHERE digest OPERATOR(pg_catalog.=) $1";
        let (now, expiry) = times(period)?;
        let (at, until) = (Value::timestamp(Some(now)), Value::timestamp(expiry));
        let arguments = [self.digest, at, until, self.ns, self.key];
        if !spi::run(INSERT, &arguments, View::Isolated, was_written)? {
            return Ok(false);
        }
        if period.is_some() && session::now() - now > NEGLIGIBLE_WAIT {
            let (now, expiry) = times(period)?;
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
    fn take_over(&self, period: Option<Interval>) -> Result<bool, Error> {
        const LOCK: &str = "SELECT FROM once.claim WHERE digest OPERATOR(pg_catalog.=) $1 \
             AND expires_at OPERATOR(pg_catalog.<=) $2 FOR UPDATE";
        const RENEW: &str = "UPDATE once.claim \
             SET claimed_at = $2, expires_at = $3, owner = NULL \
             WHERE digest OPERATOR(pg_catalog.=) $1";
        let now = Value::timestamp(Some(session::now()));
        if !spi::run(LOCK, &[self.digest, now], View::Isolated, was_written)? {
            return Ok(false);
        }
        let (now, expiry) = times(period)?;
        let arguments = [
            self.digest,
            Value::timestamp(Some(now)),
            Value::timestamp(expiry),
        ];
        spi::run(RENEW, &arguments, View::Isolated, was_written)
    }

    fn find(&self, view: View) -> Result<Found, Error> {
        const FIND: &str = "SELECT expires_at, \
                 ns OPERATOR(pg_catalog.=) $2 AND key OPERATOR(pg_catalog.=) $3 \
             FROM once.claim WHERE digest OPERATOR(pg_catalog.=) $1";
        spi::run(FIND, &[self.digest, self.ns, self.key], view, |rows| {
            Ok(match (rows.count(), rows.boolean(0, 1)) {
                (0, _) => Found::Nothing,
                (_, Some(true)) => match rows.timestamp(0, 0) {
                    Some(expiry) if expiry <= session::now() => Found::Expired,
                    _ => Found::Standing,
                },
                _ => return Err(Error::DigestCollision),
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
