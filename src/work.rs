//! Work: a claim with an outcome, across transactions. Begun under a lease, fenced by a token,
//! then completed or failed.
//!
//! A call looks at the newest committed record, whatever the isolation level. Only where that
//! lets it write does it lock the record, and then decides on what it has locked.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::datum::AnyElement;
use pgrx::pg_extern;

use crate::digest;
use crate::distributed;
use crate::duration;
use crate::error::Error;
use crate::key::{self, Name};
use crate::pg::call::Interval;
use crate::pg::condition_variable::ConditionVariable;
use crate::pg::deadline::{Attempt, Failure, attempt, attempt_to_get};
use crate::pg::owner::{self, Access, OwnTable, Unusable};
use crate::pg::probe::{self, Insertion};
use crate::pg::spi::{self, Place, Rows, View};
use crate::pg::{
    Answer, Call, ErrorReport, Raised, Value, citus, latch, session, settings, worker,
};
use crate::policy::{self, Policy};
use crate::stats;
use crate::storage_key::{StorageKey, has_storage_key, storage_key_columns};
use crate::timeout::{self, Timeout};

mod lifecycle;
mod request;

use lifecycle::{Begin, Begun, LeaseLost, Record, Request, State, TOKEN_MAX, TokensExhausted};

#[pg_extern(sql = false)]
fn begin_once(call: Call) -> Result<Answer, ErrorReport> {
    let told = stats::observe(key::namespace(call, 0)?, || begin(call), counted)?;
    Ok(answer(call, told)?)
}

#[pg_extern(sql = false)]
fn renew_once(call: Call) -> Result<Option<AnyElement>, ErrorReport> {
    let (work, _) = open(call, c"renew_once()")?;
    let token = token(call)?;
    let lease = lease(call, 3)?;
    let until = as_writer(|| work.renew(token, lease))?;
    Ok(Value::timestamp(Some(until)).into_any()?)
}

#[pg_extern(sql = false)]
fn complete_once(call: Call) -> Result<bool, ErrorReport> {
    let (work, policy) = open(call, c"complete_once()")?;
    let token = token(call)?;
    let result = json(call, 3, "result")?;
    Ok(as_writer(|| work.complete(token, policy, result))?)
}

#[pg_extern(sql = false)]
fn fail_once(call: Call) -> Result<bool, ErrorReport> {
    let (work, policy) = open(call, c"fail_once()")?;
    let token = token(call)?;
    let error = json(call, 3, "error")?;
    let retry = call.boolean(4)?.ok_or(Error::Null { argument: "retry" })?;
    let pause = call.interval(5)?;
    if let Some(pause) = pause {
        not_before(pause)?;
    }
    as_writer(|| match retry {
        true => work.give_back(token, pause, error),
        false => work.fail(token, policy, error),
    })?;
    Ok(true)
}

#[pg_extern(sql = false)]
fn fence_once(call: Call) -> Result<bool, ErrorReport> {
    let (work, _) = open(call, c"fence_once()")?;
    let token = token(call)?;
    as_writer(|| work.fence(token))?;
    Ok(true)
}

#[pg_extern(sql = false)]
fn forget_once(call: Call) -> Result<bool, ErrorReport> {
    let (work, _) = open(call, c"forget_once()")?;
    Ok(work.forget()?)
}

const TABLE: &CStr = c"work_record";

/// How often a call looks again when others write the record under its eyes.
const ROUNDS: usize = 100;

/// The longest wait for somebody else's work.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The pauses between the looks of a waiting call that nobody wakes grow from the first to the last
/// of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The pause between the looks of a waiting call that is woken: for what wakes nobody, such as COMMIT
/// PREPARED.
const SAFETY_PAUSE: Duration = Duration::from_secs(1);

/// The longest name of a worker, in bytes.
pub const WORKER_LIMIT: usize = 200;

/// What a request or a result may have at most, in bytes of jsonb, and a request also in bytes of text,
/// where numbers can be much longer: 100 MB.
const JSON_LIMIT: usize = 100 * 1024 * 1024;

/// The work that the first two arguments name, where the caller may use the namespace and write.
fn open(call: Call, function: &'static CStr) -> Result<(Work, Policy), Error> {
    let name = Name::of_texts(call, 0)?;
    let policy = policy::admit(name.ns)?;
    session::demand_writable(function)?;
    Ok((Work::named(&name)?, policy))
}

/// The same within the timeout.
fn open_in_time(
    call: Call,
    function: &'static CStr,
    timeout: Timeout,
) -> Result<Option<Work>, Error> {
    let name = Name::of_texts(call, 0)?;
    let policy = policy::admit_in_time(name.ns, timeout)?;
    session::demand_writable(function)?;
    policy.map(|_| Work::named(&name)).transpose()
}

fn as_owner<T, E: From<Raised> + From<Unusable>>(
    access: Access,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    owner::run_as_owner(&[OwnTable::WorkRecord, OwnTable::WorkFloor], access, act)
}

/// Whether Citus keeps the records, which are locked to the end of the transaction.
fn is_distributed(access: Access) -> Result<bool, Error> {
    let is_distributed = owner::is_distributed(OwnTable::WorkRecord, access)??;
    if is_distributed {
        distributed::demand_isolation(OwnTable::WorkRecord)?;
    }
    Ok(is_distributed)
}

/// Runs `act`, which writes the record, as the owner of the tables.
fn as_writer<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    as_owner(Access::Write, || {
        if !is_distributed(Access::Write)? {
            return act();
        }
        match citus::attempt(None, act)? {
            Attempt::Done(done) => Ok(done),
            Attempt::TimedOut | Attempt::Moved => Err(Error::WorkUnsettled),
        }
    })
}

/// Runs `act` in a subtransaction in which no wait lasts longer than to the deadline.
fn attempt_on<T, E: From<Raised> + Into<Failure<E>>>(
    nodes: Nodes,
    deadline: i64,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<Attempt<T>, E> {
    match nodes {
        Nodes::ThisOne => attempt(Some(deadline), act),
        Nodes::Several => citus::attempt(Some(deadline), act),
    }
}

fn begin(call: Call) -> Result<Told, Error> {
    let (begun, wait) = (Instant::now(), wait(call.interval(4)?)?);
    // By the clock of the machine, which may be set meanwhile: so anew for each look.
    let left = || wait.saturating_sub(begun.elapsed());
    let terms = Terms {
        lease: lease(call, 2)?,
        request: request(call)?,
        worker: worker(call)?,
    };
    let timeout = Timeout::At(after(left()));
    let Some(work) = open_in_time(call, c"begin_once()", timeout)? else {
        return Ok(Told::nothing_but(Outcome::InProgress));
    };
    let woken_by = work.condition_variable();
    let mut pause = PAUSES.0;
    loop {
        let broadcasts = woken_by.map(ConditionVariable::broadcasts);
        let told = work.begin(&terms, after(left()))?;
        let left = left();
        if told.outcome != Outcome::InProgress || left.is_zero() {
            return Ok(told);
        }
        // The wait is for one thing, the end of somebody's work, and bounded as any wait for a lock.
        let left = match settings::lock_timeout() {
            Some(limit) if limit <= begun.elapsed() => return Err(Error::LockTimeout),
            Some(limit) => left.min(limit - begun.elapsed()),
            None => left,
        };
        // Who decides on another node wakes nobody here.
        let woken = woken_by
            .zip(broadcasts)
            .filter(|_| told.nodes == Nodes::ThisOne);
        let longest = woken.map_or(pause, |_| SAFETY_PAUSE).min(left);
        let now = session::now();
        let lease = told.lease_until.map(|until| until.saturating_sub(now));
        let next = lease.filter(|lease| *lease > 0).map_or(longest, |lease| {
            longest.min(Duration::from_micros(lease.unsigned_abs()))
        });
        match woken {
            Some((variable, broadcasts)) => variable.sleep(broadcasts, next)?,
            None => {
                latch::sleep(next)?;
                pause = (2 * pause).min(PAUSES.1);
            }
        }
    }
}

/// The time after this one from now.
fn after(time: Duration) -> i64 {
    session::now().saturating_add(time.as_micros() as i64)
}

fn answer(call: Call, told: Told) -> Result<Answer, Raised> {
    call.answer_columns(Some([
        Value::text(told.outcome.text().as_bytes())?,
        Value::integer_or_null(told.token),
        Value::int4_or_null(told.attempt),
        told.result.unwrap_or_else(Value::null_json),
        Value::timestamp(told.lease_until),
    ]))
}

fn counted(told: &Told) -> stats::Told {
    match told.outcome {
        Outcome::Run if told.is_takeover => stats::Told::Takeover,
        Outcome::Run => stats::Told::Won,
        Outcome::Done | Outcome::Failed => stats::Told::Duplicate,
        Outcome::InProgress => stats::Told::InProgress,
        Outcome::Mismatch => stats::Told::Mismatch,
    }
}

fn token(call: Call) -> Result<i64, Error> {
    call.integer(2)?.ok_or(Error::Null { argument: "token" })
}

fn lease(call: Call, index: usize) -> Result<Interval, Error> {
    let lease = call
        .interval(index)?
        .ok_or(Error::Null { argument: "lease" })?;
    lease_end(session::now(), lease)?;
    Ok(lease)
}

fn lease_end(now: i64, lease: Interval) -> Result<i64, Error> {
    duration::end(now, lease)?.ok_or(Error::LeaseOutOfRange)
}

/// When work that is given back now may be run again.
fn not_before(pause: Interval) -> Result<i64, Error> {
    let now = session::now();
    match session::after(now, pause)? {
        Some(end) if end >= now && end < i64::MAX => Ok(end),
        _ => Err(Error::RetryAfterOutOfRange),
    }
}

fn wait(wait: Option<Interval>) -> Result<Duration, Error> {
    match timeout::longest(wait) {
        Ok(None) => Ok(LONGEST_WAIT),
        Ok(Some(length)) => Ok(LONGEST_WAIT.min(Duration::from_micros(length.unsigned_abs()))),
        Err(Error::TimeoutOutOfRange) => Err(Error::WaitOutOfRange),
        Err(error) => Err(error),
    }
}

fn request(call: Call) -> Result<Option<Request>, Error> {
    const REQUEST: &str = "request";
    if json(call, 3, REQUEST)?.is_null() {
        return Ok(None);
    }
    let printed = call.json(3)?.flatten();
    let printed = printed.ok_or(Error::TextInvalid { what: REQUEST })?;
    if printed.len() > JSON_LIMIT {
        return Err(Error::JsonTooLong { argument: REQUEST });
    }
    Ok(Some(digest::request(request::canonical(&printed))))
}

fn json<'a>(call: Call<'a>, index: usize, argument: &'static str) -> Result<Value<'a>, Error> {
    let json = call.jsonb(index)?;
    match json.is_null() {
        false if json.size()? > JSON_LIMIT => Err(Error::JsonTooLong { argument }),
        _ => Ok(json),
    }
}

fn worker(call: Call<'_>) -> Result<Option<&[u8]>, Error> {
    match call.text(5, WORKER_LIMIT)? {
        None => Ok(None),
        Some(Ok(worker)) => Ok(Some(worker)),
        Some(Err(bytes)) => Err(Error::WorkerTooLong { bytes }),
    }
}

/// What a begin asks for.
struct Terms<'a> {
    lease: Interval,
    request: Option<Request>,
    worker: Option<&'a [u8]>,
}

impl Terms<'_> {
    /// A begin of what nobody has begun.
    fn first(&self) -> Result<Begin, Error> {
        let now = session::now();
        Ok(Begin {
            now,
            lease_until: lease_end(now, self.lease)?,
            request: self.request,
            floor: 0,
            is_of_same_worker: false,
        })
    }

    /// A begin of what stands in the table.
    fn again(&self, found: &Found) -> Result<Begin, Error> {
        let worker = found.worker.as_deref();
        Ok(Begin {
            is_of_same_worker: worker.is_some() && worker == self.worker,
            ..self.first()?
        })
    }
}

/// The row that a begin answers.
struct Told {
    outcome: Outcome,
    token: Option<i64>,
    attempt: Option<i32>,
    result: Option<Value<'static>>,
    lease_until: Option<i64>,
    /// Whether it is run although somebody else had a token that was current.
    is_takeover: bool,
    /// Where its record is.
    nodes: Nodes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Mismatch,
    Run,
    Done,
    Failed,
    InProgress,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Mismatch => "mismatch",
            Self::Run => "run",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
        }
    }
}

impl Told {
    fn nothing_but(outcome: Outcome) -> Self {
        Self {
            outcome,
            token: None,
            attempt: None,
            result: None,
            lease_until: None,
            is_takeover: false,
            nodes: Nodes::ThisOne,
        }
    }

    fn run(record: Record) -> Self {
        Self {
            token: Some(record.token),
            attempt: Some(record.attempt),
            lease_until: record.lease_until,
            ..Self::nothing_but(Outcome::Run)
        }
    }

    /// As `record`, which was made of what was found.
    fn run_again(found: Found, record: Record) -> Result<Self, Error> {
        Ok(Self {
            is_takeover: found.record.state == State::Running && found.record.token != record.token,
            result: match (found.record.state, found.result) {
                (State::GivenBack, None) => Some(Value::empty_json()?),
                (State::GivenBack, error) => error.map(Value::detoasted).transpose()?,
                _ => None,
            },
            ..Self::run(record)
        })
    }

    fn in_progress(record: Record) -> Self {
        Self {
            attempt: Some(record.attempt),
            lease_until: record.lease_until,
            ..Self::nothing_but(Outcome::InProgress)
        }
    }

    /// Where another transaction has the record locked: the lease under which it is, as far as that runs.
    fn while_held(self, record: Record) -> Self {
        let runs = |until| until > session::now();
        match (self.outcome, record.lease_until) {
            (Outcome::InProgress, Some(until)) if runs(until) => Self::in_progress(record),
            _ => self,
        }
    }

    fn over(outcome: Outcome, found: Found) -> Result<Self, Error> {
        Ok(Self {
            attempt: Some(found.record.attempt),
            result: found.result.map(Value::detoasted).transpose()?,
            ..Self::nothing_but(outcome)
        })
    }
}

/// Work by its name, whether or not it has been begun.
struct Work {
    storage_key: StorageKey,
    ns: Value<'static>,
    key: Value<'static>,
}

/// What the table holds: the record, and what it was completed with or failed with last.
struct Found {
    record: Record,
    result: Option<Value<'static>>,
    place: Option<Place>,
    /// Who began it last, where that was said.
    worker: Option<Vec<u8>>,
}

/// Which servers have the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nodes {
    ThisOne,
    Several,
}

/// What a begin sees.
enum Seen {
    Found(Found),
    /// No record, and who is inserting one.
    Nothing(Insertion),
}

/// Why a begin leaves a record alone that it came to take.
enum Left {
    /// Somebody else has locked it.
    Held,
    /// What it has locked is not what it saw, and not to be taken.
    Changed,
    Error(Error),
}

impl Work {
    fn named(name: &Name) -> Result<Self, Error> {
        Ok(Self {
            storage_key: StorageKey::of(name.ns, &name.key),
            ns: Value::text(name.ns)?,
            key: Value::text(&name.key)?,
        })
    }

    /// What a begin is told at this moment. It waits for nobody but those who keep a table locked, until
    /// `end`.
    fn begin(&self, terms: &Terms, end: i64) -> Result<Told, Error> {
        for _ in 0..ROUNDS {
            let seen = attempt(Some(end), || as_owner(Access::Read, || self.see()))?;
            let Attempt::Done((seen, nodes)) = seen else {
                return Ok(Told::nothing_but(Outcome::InProgress));
            };
            let told = match seen {
                Seen::Nothing(Insertion::Open) => Some(Told::nothing_but(Outcome::InProgress)),
                Seen::Nothing(Insertion::None) => self.insert(terms, nodes)?,
                Seen::Nothing(Insertion::Unguarded) => return Err(Error::WorkTableUnguarded),
                Seen::Found(found) => match found.record.begin(terms.again(&found)?)? {
                    Begun::Run(_) => self
                        .take(terms, end, nodes)?
                        .map(|told| told.while_held(found.record)),
                    Begun::Mismatch => Some(Told::nothing_but(Outcome::Mismatch)),
                    Begun::Done => Some(Told::over(Outcome::Done, found)?),
                    Begun::Failed => Some(Told::over(Outcome::Failed, found)?),
                    Begun::InProgress => Some(Told::in_progress(found.record)),
                },
            };
            if let Some(told) = told {
                return Ok(Told { nodes, ..told });
            }
        }
        Err(Error::WorkUnsettled)
    }

    /// None where the record has to be looked at again.
    ///
    /// The token is compared with the floor once the record is there: what a sweep removed, it
    /// removed before.
    fn insert(&self, terms: &Terms, nodes: Nodes) -> Result<Option<Told>, Error> {
        const INSERT: &str = concat!(
            "INSERT INTO once.work_record (",
            storage_key_columns!(),
            ", token, begun_at, lease_until, finished_at, expires_at, request, attempt, state, ns, key, worker) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             ON CONFLICT DO NOTHING"
        );
        let insert = || {
            let begin = terms.first()?;
            let record = Record::first(begin)?;
            let mut arguments = self.row(&record)?;
            let worker = Value::text_or_null(terms.worker)?;
            arguments.extend([self.ns.clone(), self.key.clone(), worker]);
            if !spi::run(INSERT, &arguments, View::Newest, was_written)? {
                return Ok::<_, Error>(None);
            }
            let lifted = Record::first(Begin {
                floor: floor()?,
                ..begin
            })?;
            if lifted != record {
                self.write_begun(&lifted, terms.worker)?;
            }
            self.wake_at_end()?;
            Ok(Some(Told::run(lifted)))
        };
        let inserted = attempt_on(nodes, session::now(), || as_owner(Access::Write, insert));
        match inserted {
            Ok(Attempt::Done(told)) => Ok(told),
            Ok(Attempt::TimedOut | Attempt::Moved) => {
                Ok(Some(Told::nothing_but(Outcome::InProgress)))
            }
            Err(error) => again_if_overtaken(error),
        }
    }

    /// Takes a record that can be run again. None where it has to be looked at again.
    fn take(&self, terms: &Terms, end: i64, nodes: Nodes) -> Result<Option<Told>, Error> {
        const LOCK: &str = select!("FOR UPDATE SKIP LOCKED");
        let take = || {
            let found = self.select(LOCK, &[])?.ok_or(Left::Held)?;
            let begin = Begin {
                floor: floor()?,
                ..terms.again(&found)?
            };
            match found.record.begin(begin).map_err(Error::from)? {
                Begun::Run(record) => {
                    self.write_begun(&record, terms.worker)?;
                    Ok(Told::run_again(found, record)?)
                }
                _ => Err(Left::Changed),
            }
        };
        let taken = attempt_on(nodes, end, || as_owner(Access::Write, take));
        match taken {
            Ok(Attempt::Done(told)) => Ok(Some(told)),
            Ok(Attempt::Moved) | Err(Left::Changed) => Ok(None),
            Ok(Attempt::TimedOut) | Err(Left::Held) => {
                Ok(Some(Told::nothing_but(Outcome::InProgress)))
            }
            Err(Left::Error(error)) => again_if_overtaken(error),
        }
    }

    fn renew(&self, token: i64, lease: Interval) -> Result<i64, Error> {
        let record = self.current(token)?;
        let until = lease_end(session::now(), lease)?;
        self.write(&record.renew(token, until)?, Value::null_json())?;
        Ok(until)
    }

    /// False where this token has completed it already.
    fn complete(&self, token: i64, policy: Policy, result: Value) -> Result<bool, Error> {
        let record = match self.current(token) {
            Ok(record) => record,
            Err(Error::LeaseLost) => {
                let found = self.look()?;
                let now = session::now();
                let again = found.is_some_and(|found| found.record.was_completed_by(token, now));
                return again.then_some(false).ok_or(Error::LeaseLost);
            }
            Err(error) => return Err(error),
        };
        let (now, expiry) = finish(policy)?;
        self.write(&record.complete(token, now, expiry)?, result)?;
        Ok(true)
    }

    fn fail(&self, token: i64, policy: Policy, error: Value) -> Result<(), Error> {
        let record = self.current(token)?;
        let (now, expiry) = finish(policy)?;
        self.write(&record.fail(token, now, expiry)?, error)
    }

    fn give_back(&self, token: i64, pause: Option<Interval>, error: Value) -> Result<(), Error> {
        let record = self.current(token)?;
        let not_before = pause.map(not_before).transpose()?;
        self.write(&record.give_back(token, not_before)?, error)
    }

    /// The lock lets the same token renew, complete and fail, and keeps everybody from taking
    /// the record over or removing it. It does not say that the token is current: a version that
    /// another transaction has updated since, without changing the key, is locked and returned as
    /// it was (heap_lock_tuple). So the newest version is looked at behind the lock.
    ///
    /// Nor does it say that a version which another transaction is about to commit is locked: where
    /// heap_lock_tuple, on its way along the versions of a transaction, waits until that one is rolled back,
    /// it misses those that a third one has made meanwhile (PostgreSQL 15 to 19). So the lock counts only
    /// where nobody is changing the record behind it; whoever changes it then takes the lock along. On
    /// another node that cannot be seen: a stronger lock, which waits for all changes, is taken there.
    fn fence(&self, token: i64) -> Result<(), Error> {
        const FENCE: &str = select!(
            "AND token OPERATOR(pg_catalog.=) $7 AND state OPERATOR(pg_catalog.=) 'r' FOR KEY SHARE"
        );
        const FENCE_ON_A_NODE: &str = select!(
            "AND token OPERATOR(pg_catalog.=) $7 AND state OPERATOR(pg_catalog.=) 'r' FOR SHARE"
        );
        let is_distributed = is_distributed(Access::Write)?;
        let lock = if is_distributed {
            FENCE_ON_A_NODE
        } else {
            FENCE
        };
        let is_current =
            |found: &Found| found.record.token == token && found.record.state == State::Running;
        for _ in 0..ROUNDS {
            let locked = self.select(lock, &[Value::integer(token)])?;
            let locked = locked.ok_or(Error::LeaseLost)?;
            if !is_distributed && probe::await_change(TABLE, self.storage_key)? {
                continue;
            }
            let newest = self.look()?.filter(is_current).ok_or(Error::LeaseLost)?;
            if newest.place == locked.place {
                return Ok(self.wake_at_end()?);
            }
        }
        Err(Error::WorkUnsettled)
    }

    /// In a subtransaction: a record that another transaction has begun anew, while it was waited for, is
    /// locked and not returned.
    fn forget(&self) -> Result<bool, Error> {
        const LOCK: &str = select!(
            "AND (state OPERATOR(pg_catalog.=) 'd' OR state OPERATOR(pg_catalog.=) 'f') FOR NO KEY UPDATE"
        );
        let finished = |found: Option<Found>| found?.record.forget(session::now());
        if finished(as_owner(Access::Write, || self.look())?).is_none() {
            return Ok(false);
        }
        let forget = || match finished(self.select(LOCK, &[])?) {
            Some(record) => {
                worker::will_expire(1, session::now());
                self.write(&record, Value::null_json()).map(Some)
            }
            None => Ok(None),
        };
        let forgotten = attempt_to_get(|| as_writer(forget))?;
        Ok(matches!(forgotten, Attempt::Done(Some(()))))
    }

    /// The record, locked, where this token is its current one.
    fn current(&self, token: i64) -> Result<Record, Error> {
        const LOCK: &str = select!(
            "AND token OPERATOR(pg_catalog.=) $7 AND state OPERATOR(pg_catalog.=) 'r' FOR NO KEY UPDATE"
        );
        let found = self.select(LOCK, &[Value::integer(token)])?;
        found.map(|found| found.record).ok_or(Error::LeaseLost)
    }

    fn see(&self) -> Result<(Seen, Nodes), Error> {
        let nodes = match is_distributed(Access::Read)? {
            false => Nodes::ThisOne,
            true => Nodes::Several,
        };
        let seen = match (self.look()?, nodes) {
            (Some(found), _) => Seen::Found(found),
            (None, Nodes::ThisOne) => Seen::Nothing(probe::insertion(TABLE, self.storage_key)?),
            // Whoever inserts it on another node is found by inserting too.
            (None, Nodes::Several) => Seen::Nothing(Insertion::None),
        };
        Ok((seen, nodes))
    }

    fn look(&self) -> Result<Option<Found>, Error> {
        const LOOK: &str = select!("");
        self.select(LOOK, &[])
    }

    fn select(&self, statement: &str, more: &[Value]) -> Result<Option<Found>, Error> {
        let mut arguments = Value::storage_key(self.storage_key).to_vec();
        arguments.extend([self.ns.clone(), self.key.clone()]);
        arguments.extend_from_slice(more);
        spi::run(statement, &arguments, View::Newest, |rows| {
            if rows.count() == 0 {
                return Ok(None);
            }
            match (rows.boolean(0, 0)?, record(rows)?) {
                (Some(true), Some(record)) => Ok(Some(Found {
                    record,
                    result: rows.jsonb(0, RESULT)?,
                    place: rows.place(0, PLACE)?,
                    worker: rows.bytes(0, WORKER)?,
                })),
                (Some(true), None) => Err(Error::WorkRecordInvalid),
                _ => Err(Error::StorageKeyCollision),
            }
        })
    }

    /// Writes the record, which the caller has locked or inserted.
    fn write(&self, record: &Record, result: Value) -> Result<(), Error> {
        const WRITE: &str = write!("result = $13");
        let mut arguments = self.row(record)?;
        arguments.push(result);
        spi::run(WRITE, &arguments, View::Newest, |_| Ok(self.wake_at_end()?))
    }

    /// The same of what is begun.
    fn write_begun(&self, record: &Record, worker: Option<&[u8]>) -> Result<(), Error> {
        const WRITE: &str = write!("result = NULL, worker = $13");
        let mut arguments = self.row(record)?;
        arguments.push(Value::text_or_null(worker)?);
        spi::run(WRITE, &arguments, View::Newest, |_| Ok(self.wake_at_end()?))
    }

    /// What calls that wait for this work sleep on, where they can be woken.
    fn condition_variable(&self) -> Option<ConditionVariable> {
        ConditionVariable::of(self.storage_key.columns().hash_low as u64)
    }

    /// Wakes them once the transaction has ended, which has locked or written the record.
    fn wake_at_end(&self) -> Result<(), Raised> {
        match self.condition_variable() {
            Some(variable) => variable.broadcast_at_end(),
            None => Ok(()),
        }
    }

    fn row(&self, record: &Record) -> Result<Vec<Value<'static>>, Raised> {
        let mut row = Value::storage_key(self.storage_key).to_vec();
        row.extend([
            Value::integer(record.token),
            Value::timestamp(Some(record.begun_at)),
            Value::timestamp(record.lease_until),
            Value::timestamp(record.finished_at),
            Value::timestamp(record.expires_at),
            Value::uuid_or_null(record.request)?,
            Value::integer(record.attempt.into()),
            Value::letter(record.state.letter()),
        ]);
        Ok(row)
    }
}

/// A select of the record by its storage key, with what follows the condition.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT ns OPERATOR(pg_catalog.=) $5 AND key OPERATOR(pg_catalog.=) $6, \
             token, begun_at, lease_until, finished_at, expires_at, request, attempt, state, result, ctid, worker \
             FROM once.work_record WHERE ",
            has_storage_key!(),
            " ",
            $tail
        )
    };
}
use select;

/// An update of the record by its storage key, which sets what follows too.
macro_rules! write {
    ($more:literal) => {
        concat!(
            "UPDATE once.work_record SET token = $5, begun_at = $6, lease_until = $7, finished_at = $8, \
                 expires_at = $9, request = $10, attempt = $11, state = $12, ",
            $more,
            " WHERE ",
            has_storage_key!()
        )
    };
}
use write;

/// Where the result, the place of the row and the worker stand in what is selected.
const RESULT: usize = 9;
const PLACE: usize = 10;
const WORKER: usize = 11;

/// None where something is NULL that must not be, or the state is none.
fn record(rows: &Rows) -> Result<Option<Record>, Raised> {
    let state = rows.letter(0, 8)?.and_then(State::of_letter);
    let (Some(token), Some(begun_at), Some(attempt), Some(state)) = (
        rows.integer(0, 1)?,
        rows.timestamp(0, 2)?,
        rows.int4(0, 7)?,
        state,
    ) else {
        return Ok(None);
    };
    Ok(Some(Record {
        token,
        begun_at,
        lease_until: rows.timestamp(0, 3)?,
        finished_at: rows.timestamp(0, 4)?,
        expires_at: rows.timestamp(0, 5)?,
        request: rows.uuid(0, 6)?,
        attempt,
        state,
    }))
}

fn was_written(rows: &Rows) -> Result<bool, Error> {
    Ok(rows.count() == 1)
}

/// The highest token of what was removed.
fn floor() -> Result<i64, Error> {
    const FLOOR: &str = "SELECT token FROM once.work_floor";
    spi::run(FLOOR, &[], View::Newest, |rows| {
        Ok(rows.integer(0, 0)?.unwrap_or(0))
    })
}

/// Now, and when what is finished now is forgotten.
fn finish(policy: Policy) -> Result<(i64, Option<i64>), Error> {
    let now = session::now();
    let expiry = match policy.ttl {
        Some(ttl) => session::after(now, ttl)?,
        None => None,
    };
    if let Some(expiry) = expiry {
        worker::will_expire(1, expiry);
    }
    Ok((now, expiry))
}

/// Under one snapshot a record that was written between the look and the lock raises 40001. What
/// was tried is undone by then, and the call looks again. A 40001 for what SERIALIZABLE found out
/// about all that was read is no such one: it goes on to the caller.
fn again_if_overtaken(error: Error) -> Result<Option<Told>, Error> {
    match error {
        Error::Postgres(raised) if raised.is_overtaken() => Ok(None),
        error => Err(error),
    }
}

impl From<LeaseLost> for Error {
    fn from(LeaseLost: LeaseLost) -> Self {
        Self::LeaseLost
    }
}

impl From<TokensExhausted> for Error {
    fn from(TokensExhausted: TokensExhausted) -> Self {
        Self::TokensExhausted { last: TOKEN_MAX }
    }
}

impl From<Error> for Left {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Unusable> for Left {
    fn from(unusable: Unusable) -> Self {
        Self::Error(unusable.into())
    }
}

impl From<Raised> for Left {
    fn from(raised: Raised) -> Self {
        Self::Error(raised.into())
    }
}

impl From<Left> for Failure<Left> {
    fn from(left: Left) -> Self {
        match left {
            Left::Error(Error::Postgres(raised)) => Self::Raised(raised.into()),
            left => Self::Other(left),
        }
    }
}
