//! Named locks: a mutex called (ns, key), whose timeout is an answer.
//!
//! A lock is taken and waited for in the server's lock manager, so turns, deadlocks, cancels and
//! `pg_blocking_pids` are the server's own. A wait with a timeout is a subtransaction: what was
//! granted at the very moment of the timeout goes with it.

use std::borrow::Cow;

use pgrx::pg_extern;

use crate::digest;
use crate::error::Error;
use crate::key;
use crate::pg::deadline::{Attempt, attempt};
use crate::pg::lock::names::{self, Known};
use crate::pg::lock::{Class, Lock, Mode, Scope};
use crate::pg::{Answer, Call, ErrorReport, Value, role, session};
use crate::policy;
use crate::stats::{self, Told};
use crate::timeout::Timeout;

#[pg_extern(sql = false)]
fn with_lock(call: Call) -> Result<bool, ErrorReport> {
    Ok(take(call, Scope::Transaction)?)
}

#[pg_extern(sql = false)]
fn with_locks(call: Call) -> Result<bool, ErrorReport> {
    Ok(take_all(call)?)
}

#[pg_extern(sql = false)]
fn hold_lock(call: Call) -> Result<bool, ErrorReport> {
    Ok(take(call, Scope::Session)?)
}

#[pg_extern(sql = false)]
fn release_lock(call: Call) -> Result<bool, ErrorReport> {
    Ok(give_back(call)?)
}

#[pg_extern(sql = false)]
fn lock_hash(call: Call) -> Result<i64, ErrorReport> {
    Ok(admitted(call)?.number() as i64)
}

/// One row.
#[pg_extern(sql = false)]
fn lock_name(call: Call) -> Result<Answer, ErrorReport> {
    Ok(describe(call)?)
}

/// The name of a lock, in a namespace that the caller may use.
fn admitted(call: Call) -> Result<key::Name, Error> {
    let name = key::Name::of_texts(call, 0)?;
    policy::admit(name.ns)?;
    Ok(name)
}

fn take(call: Call, scope: Scope) -> Result<bool, Error> {
    refuse_on_standby()?;
    let name = key::Name::of_texts(call, 0)?;
    let timeout = Timeout::starting_now(call.interval(2)?)?;
    let mode = mode(call, 3)?;
    if policy::admit_in_time(name.ns, timeout)?.is_none() {
        return Ok(false);
    }
    let lock = name.lock(mode);
    if lock.try_take(scope)? {
        return Ok(true);
    }
    let wait = || wait(&lock, scope, timeout);
    stats::observe(name.ns, wait, counted)
}

fn wait(lock: &Lock, scope: Scope, timeout: Timeout) -> Result<bool, Error> {
    match timeout.deadline() {
        None => lock.wait()?,
        Some(deadline) if deadline <= session::now() => return Ok(false),
        Some(deadline) => {
            let waited = attempt(Some(deadline), || lock.wait().map_err(Error::from))?;
            let Attempt::Done(()) = waited else {
                return Ok(false);
            };
        }
    }
    if scope == Scope::Session {
        lock.keep_for_session()?;
    }
    Ok(true)
}

/// How many locks one call takes at most: each takes an entry of the shared lock table.
pub const LIMIT: usize = 1_000;

/// In the order of their numbers, so that no two calls wait for one another. Where the timeout is over, the
/// subtransaction that is undone takes those along that were obtained.
fn take_all(call: Call) -> Result<bool, Error> {
    refuse_on_standby()?;
    let ns = key::namespace(call, 0)?;
    let keys = call.texts(1)?.ok_or(Error::Null { argument: "keys" })?;
    let names = key::of_array(keys, LIMIT, |keys| Error::TooManyLocks { keys })?
        .map(|key| {
            let key = Cow::Borrowed(key?.1);
            Ok(key::Name { ns, key })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let timeout = Timeout::starting_now(call.interval(2)?)?;
    let mode = mode(call, 3)?;
    if policy::admit_in_time(ns, timeout)?.is_none() {
        return Ok(false);
    }
    let mut locks: Vec<_> = names.iter().map(|name| name.lock(mode)).collect();
    locks.sort_by_key(|lock| lock.number);
    let take = || locks.iter().try_for_each(Lock::take).map_err(Error::from);
    let take_in_time = || match timeout.deadline() {
        None => take().map(|()| true),
        deadline => Ok(matches!(attempt(deadline, take)?, Attempt::Done(()))),
    };
    stats::observe(ns, take_in_time, counted)
}

fn counted(obtained: &bool) -> Told {
    match obtained {
        true => Told::Other,
        false => Told::TimedOut,
    }
}

fn give_back(call: Call) -> Result<bool, Error> {
    refuse_on_standby()?;
    let name = admitted(call)?;
    let lock = name.lock(mode(call, 2)?);
    Ok(lock.release()?)
}

fn mode(call: Call, index: usize) -> Result<Mode, Error> {
    match call.boolean(index)? {
        None => Err(Error::Null { argument: "shared" }),
        Some(true) => Ok(Mode::Shared),
        Some(false) => Ok(Mode::Exclusive),
    }
}

/// A lock that is taken on a standby keeps out nobody on the primary.
fn refuse_on_standby() -> Result<(), Error> {
    match session::is_standby() {
        true => Err(Error::LockOnStandby),
        false => Ok(()),
    }
}

/// Longer than the name of any mode.
const MODE_LIMIT: usize = 64;

fn describe(call: Call) -> Result<Answer, Error> {
    let (name, since) = look_up(call)?;
    Ok(call.answer_columns(Some([
        Value::text_or_null(name.as_ref().map(|name| &*name.ns))?,
        Value::text_or_null(name.as_ref().map(|name| &*name.key))?,
        Value::timestamp(since),
    ]))?)
}

/// What the caller may know of the lock (class, number) that `pid` holds or waits for in `mode`.
fn look_up(call: Call) -> Result<(Option<Known>, Option<i64>), Error> {
    let class = match call.integer(0)? {
        Some(class) if class == Class::Named as i64 => Class::Named,
        Some(class) if class == Class::Row as i64 => Class::Row,
        _ => return Ok((None, None)),
    };
    let Some(number) = call.integer(1)?.map(|number| number as u64) else {
        return Ok((None, None));
    };
    let mut name = None;
    for known in names::known(class, number) {
        if may_read(class, &known)? {
            name = Some(known);
            break;
        }
    }
    let pid = call.integer(2)?.map(|pid| pid as i32);
    let mode = match call.text(3, MODE_LIMIT)? {
        Some(Ok(name)) => Mode::ALL
            .into_iter()
            .find(|mode| mode.name().as_bytes() == name),
        _ => None,
    };
    let since = match (pid, mode) {
        (Some(pid), Some(mode)) => names::since(class, number, mode, pid),
        _ => None,
    };
    Ok((name, since))
}

/// Whether `current_user` may read the name: one that its own role asked for, or, in a namespace
/// that is kept for a role, the members of that; and who may see what everybody does.
fn may_read(class: Class, name: &Known) -> Result<bool, Error> {
    if role::READ_ALL_STATS.includes_caller()? {
        return Ok(true);
    }
    let kept = match class {
        Class::Named => policy::is_kept_for_caller(&name.ns)?,
        Class::Row => None,
    };
    match kept {
        Some(is_kept_for_caller) => Ok(is_kept_for_caller),
        None => Ok(name.role.includes_caller()?),
    }
}

impl key::Name<'_> {
    /// What stands for the name in the server's lock table.
    fn number(&self) -> u64 {
        let (secret, database) = (session::cluster_secret(), session::database());
        digest::lock(&secret, database, &[self.ns, &self.key])
    }

    fn lock(&self, mode: Mode) -> Lock<'_> {
        Lock {
            class: Class::Named,
            number: self.number(),
            mode,
            name: names::Name {
                ns: self.ns,
                key: &self.key,
            },
        }
    }
}
