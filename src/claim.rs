//! Claims: exactly one committed transaction is told true.
//!
//! The unique index on the storage key decides. Three engines ask it: [`direct`], through the table and
//! index access methods, where the table is the plain heap that the extension made; [`statement`],
//! with SQL, on whatever the table is; [`remote`], with SQL that Citus sends to the nodes which have the
//! rows. All wait for a competitor whose transaction is open, and cost a duplicate no transaction id.

use pgrx::datum::AnyElement;
use pgrx::iter::SetOfIterator;
use pgrx::pg_extern;

use crate::digest;
use crate::distributed;
use crate::duration;
use crate::error::Error;
use crate::key::{self, Name};
use crate::pg::call::Interval;
use crate::pg::claims::{self, Claims, Opened, Purpose};
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::owner::{self, Access, OwnTable};
use crate::pg::settings::{self, ClaimEngine};
use crate::pg::spi::View;
use crate::pg::{Call, ErrorReport, session, worker};
use crate::policy;
use crate::stats::{self, Told};
use crate::storage_key::StorageKey;
use crate::timeout::Timeout;

mod batch;
mod direct;
mod remote;
mod statement;

use batch::Batch;
pub use batch::LIMIT as BATCH_LIMIT;

#[pg_extern(sql = false)]
fn claim_once(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    let policy = policy::admit(name.ns)?;
    let terms = Terms::lasting(policy.ttl);
    Ok(Claim::named(&name).observed(&terms)? == Answer::Won)
}

#[pg_extern(sql = false)]
fn claim_once_per(call: Call) -> Result<bool, ErrorReport> {
    let period = call
        .interval(0)?
        .ok_or(Error::Null { argument: "period" })?;
    let name = Name::of_arguments(call, 1)?;
    policy::admit(name.ns)?;
    times(Some(period))?;
    let terms = Terms::lasting(Some(period));
    Ok(Claim::named(&name).observed(&terms)? == Answer::Won)
}

#[pg_extern(sql = false)]
fn claim_many<'a>(call: Call<'a>) -> Result<SetOfIterator<'a, AnyElement>, ErrorReport> {
    let ns = key::namespace(call, 0)?;
    let policy = policy::admit(ns)?;
    let keys = call.texts(1).map_err(Error::from)?;
    let mut batch = Batch::new(ns, keys.ok_or(Error::Null { argument: "keys" })?)?;
    let terms = Terms::lasting(policy.ttl);
    let asked = batch.len();
    stats::observe(
        ns,
        || batch.claim(&terms).map(|()| batch.len()),
        |won| Told::Some {
            won: *won,
            duplicate: asked - won,
        },
    )?;
    Ok(SetOfIterator::new(batch.into_keys()?))
}

#[pg_extern(sql = false)]
fn try_claim_once(call: Call) -> Result<&'static str, ErrorReport> {
    let name = Name::of_texts(call, 0)?;
    let timeout = Timeout::starting_now(call.interval(2)?)?;
    let Some(policy) = policy::admit_in_time(name.ns, timeout)? else {
        return Ok("in_progress");
    };
    let ttl = call.interval(3)?;
    times(ttl).map_err(|error| match error {
        Error::PeriodOutOfRange => Error::TtlOutOfRange,
        other => other,
    })?;
    let terms = Terms {
        period: ttl.or(policy.ttl),
        owner: owner_digest(call, 4, &name)?,
    };
    let attempt = || Claim::named(&name).attempt(&terms, timeout);
    let told = |answer: &Option<Answer>| answer.map_or(Told::InProgress, Answer::told);
    Ok(match stats::observe(name.ns, attempt, told)? {
        Some(Answer::Won) => "won",
        Some(Answer::Duplicate) => "duplicate",
        None => "in_progress",
    })
}

#[pg_extern(sql = false)]
fn is_claimed(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    policy::admit(name.ns)?;
    Ok(Claim::named(&name).stands()?)
}

#[pg_extern(sql = false)]
fn unclaim(call: Call) -> Result<bool, ErrorReport> {
    let name = Name::of_arguments(call, 0)?;
    policy::admit(name.ns)?;
    Ok(Claim::named(&name).give_back()?)
}

/// The longest owner, in bytes.
pub const OWNER_LIMIT: usize = 200;

/// How often a call looks again when others make and give back the claim under its eyes.
const ROUNDS: usize = 100;

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

impl Answer {
    fn told(self) -> Told {
        match self {
            Self::Won => Told::Won,
            Self::Duplicate => Told::Duplicate,
        }
    }
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
type Claim<'a> = claims::Name<'a>;

/// What the table says about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Standing,
    /// It stands, is committed, and was made by the owner who asks.
    OfOwner,
    Expired,
}

/// What makes and finds claims in the table as it is.
enum Engine<'a, 'b> {
    Direct(&'a mut Claims<'b>),
    Statement,
    Remote,
}

impl<'a, 'b> Engine<'a, 'b> {
    /// A table without its unique index is no table for claims: neither engine works on it.
    fn of(opened: Opened<'a, 'b>) -> Result<Self, Error> {
        match (opened, settings::claim_engine()?) {
            (Opened::Unusable(unusable), _) => Err(unusable.into()),
            (Opened::Unguarded, _) => Err(Error::ClaimTableUnguarded),
            (Opened::Special(what), ClaimEngine::Direct) => Err(Error::ClaimTableSpecial { what }),
            (Opened::Distributed, ClaimEngine::Direct) => Err(Error::ClaimTableSpecial {
                what: "Citus keeps its rows",
            }),
            (Opened::Distributed, _) => {
                distributed::demand_isolation(OwnTable::Claim)?;
                Ok(Self::Remote)
            }
            (Opened::Plain(table), ClaimEngine::Auto | ClaimEngine::Direct) => {
                Ok(Self::Direct(table))
            }
            _ => Ok(Self::Statement),
        }
    }
}

impl<'a> Claim<'a> {
    fn named(name: &'a Name) -> Self {
        Self {
            storage_key: StorageKey::of(name.ns, &name.key),
            ns: name.ns,
            key: &name.key,
        }
    }

    /// Makes the claim if it does not stand, and counts the answer.
    fn observed(&self, terms: &Terms) -> Result<Answer, Error> {
        stats::observe(self.ns, || self.make(terms), |answer| answer.told())
    }

    fn make(&self, terms: &Terms) -> Result<Answer, Error> {
        claims::open(Purpose::Claim, |opened| match Engine::of(opened)? {
            Engine::Direct(table) => direct::make(table, self, terms),
            Engine::Statement => as_owner(Access::Write, || statement::make(self, terms)),
            Engine::Remote => as_owner(Access::Write, || remote::make(self, terms)),
        })
    }

    /// The same, but not waiting longer than `timeout`: none when it is over and somebody else's
    /// transaction still decides. Nothing is written then.
    fn attempt(&self, terms: &Terms, timeout: Timeout) -> Result<Option<Answer>, Error> {
        if timeout == Timeout::None {
            return self.make(terms).map(Some);
        }
        if !claims::lock(false)? && in_time(timeout, || Ok(claims::lock(true)?))?.is_none() {
            return Ok(None);
        }
        claims::open(Purpose::Claim, |opened| match Engine::of(opened)? {
            Engine::Direct(table) => direct::attempt(table, self, terms, timeout),
            Engine::Statement => {
                let make = || statement::make(self, terms);
                in_time(timeout, || as_owner(Access::Write, make))
            }
            Engine::Remote => as_owner(Access::Write, || remote::attempt(self, terms, timeout)),
        })
    }

    /// Whether the claim stands now.
    fn stands(&self) -> Result<bool, Error> {
        let view = newest_but_serializable();
        claims::open(Purpose::Look, |opened| match Engine::of(opened)? {
            Engine::Direct(table) => direct::stands(table, self, view),
            Engine::Statement | Engine::Remote => {
                as_owner(Access::Read, || statement::stands(self, view))
            }
        })
    }

    /// Gives the claim back. Under SERIALIZABLE a statement does it, since what it read counts.
    fn give_back(&self) -> Result<bool, Error> {
        let view = newest_but_serializable();
        claims::open(Purpose::Remove, |opened| match Engine::of(opened)? {
            Engine::Direct(table) if view == View::Newest => direct::give_back(table, self),
            Engine::Remote => as_owner(Access::Write, || remote::give_back(self)),
            _ => as_owner(Access::Write, || statement::give_back(self, view)),
        })
    }
}

impl Terms {
    /// What a claim is that has these data. `is_own`: whether the own transaction made it.
    fn judge(&self, expires_at: Option<i64>, owner: Option<[u8; 16]>, is_own: bool) -> Found {
        match expires_at {
            Some(expiry) if expiry <= session::now() => Found::Expired,
            _ if !is_own && self.owner.is_some() && owner == self.owner => Found::OfOwner,
            _ => Found::Standing,
        }
    }
}

fn as_owner<T>(access: Access, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    owner::run_as_owner(&[OwnTable::Claim], access, act)
}

/// What `act` does within the timeout; none, and nothing of it, when that is over.
fn in_time<T>(
    timeout: Timeout,
    act: impl FnOnce() -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let Some(deadline) = timeout.deadline() else {
        return act().map(Some);
    };
    Ok(match attempt(Some(deadline), act)? {
        Attempt::Done(done) => Some(done),
        Attempt::TimedOut | Attempt::Moved => None,
    })
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

/// Now, and when a claim that is made now for `period` expires.
fn times(period: Option<Interval>) -> Result<(i64, Option<i64>), Error> {
    let now = session::now();
    let Some(period) = period else {
        return Ok((now, None));
    };
    match duration::end(now, period)? {
        Some(expiry) => Ok((now, Some(expiry))),
        None => Err(Error::PeriodOutOfRange),
    }
}

/// The same, for so many claims about which the worker is to know.
fn times_of(claims: usize, period: Option<Interval>) -> Result<(i64, Option<i64>), Error> {
    let (now, expiry) = times(period)?;
    if let Some(expiry) = expiry {
        worker::will_expire(claims, expiry);
    }
    Ok((now, expiry))
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn the_table_holds_the_frozen_storage_key() {
        Spi::run("SELECT claim_once('ci_failure', '4711')").unwrap();
        let key = Spi::get_one::<String>(
            "SELECT concat_ws(' ', place_high, place_low, hash_high, hash_low) FROM once.claim",
        );
        assert_eq!(
            key,
            Ok(Some(
                "-21685 -9841 -1174753957 1770104406806990164".to_owned()
            ))
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

    #[pg_test(error = "the storage key of this namespace and key belongs to another claim")]
    fn another_key_under_the_same_storage_key_is_an_error() {
        Spi::run(
            "SELECT claim_once('ns', 'one'); UPDATE once.claim SET key = 'two' WHERE key = 'one'; \
             SELECT claim_once('ns', 'one')",
        )
        .unwrap();
    }
}
