//! Waiting for locks up to a point in time, after which the transaction goes on.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pgrx::pg_sys;

use super::guard::{CANCELED, MOVED, Raised, guard};
use super::raw;

/// How an [`attempt`] ended.
pub enum Attempt<T> {
    Done(T),
    /// The deadline came while it waited for a lock. Nothing of it is left.
    TimedOut,
    /// The row moved to another partition while it was waited for. Nothing of it is left.
    Moved,
}

/// Runs `act` in a subtransaction. From `deadline` on it gives up as soon as it waits for a lock
/// (any heavyweight lock: of rows, transactions, tables or by name); work that waits for nobody
/// goes on.
///
/// The server's own timeouts stay as they are: a shorter `lock_timeout` or `statement_timeout`
/// of the caller raises its own error. No transaction id is used by waiting. A timeout of its own
/// is what makes the bound hold for the whole of `act`: `lock_timeout` counts each wait anew.
pub fn attempt<T, E: From<Raised> + Into<Failure<E>>>(
    deadline: Option<i64>,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<Attempt<T>, E> {
    let timer = deadline
        .map(|deadline| Ok::<_, Raised>((Timer::id()?, deadline)))
        .transpose()?;
    // SAFETY: the order of calls is PL/pgSQL's for a block with an EXCEPTION clause: memory
    // context and resource owner are saved, and restored after the subtransaction has ended,
    // which it does on every way out.
    unsafe {
        let (memory, resources) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        guard(|| raw::BeginInternalSubTransaction(ptr::null()))?;
        pg_sys::CurrentMemoryContext = memory;
        let timer = timer.map(|(id, deadline)| Timer::start(id, deadline));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let done = act()?;
            // A timeout that came together with the lock is noticed here, not in the caller's
            // transaction.
            guard(|| {
                if pg_sys::InterruptPending != 0 {
                    raw::ProcessInterrupts();
                }
            })?;
            Ok::<T, E>(done)
        }));
        let fired = timer.is_some_and(Timer::stop);
        let ended = match ended {
            Ok(Ok(done)) => match guard(|| raw::ReleaseCurrentSubTransaction()) {
                Ok(()) => Ok(Ok(done)),
                Err(raised) => Ok(Err(raised.into())),
            },
            other => other,
        };
        if !matches!(ended, Ok(Ok(_))) {
            pg_sys::CurrentMemoryContext = memory;
            guard(|| raw::RollbackAndReleaseCurrentSubTransaction())?;
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = resources;
        match ended {
            Ok(Ok(done)) => Ok(Attempt::Done(done)),
            Ok(Err(error)) => match error.into() {
                Failure::Raised(raised) if fired && raised.says(CANCELED) => Ok(Attempt::TimedOut),
                Failure::Raised(raised) if raised.says(MOVED) => Ok(Attempt::Moved),
                Failure::Raised(raised) => Err(raised.into()),
                Failure::Other(error) => Err(error),
            },
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Runs `act` in a subtransaction that is undone also where nothing comes of it.
pub fn attempt_to_get<T, E: From<Raised> + Into<Failure<E>>>(
    act: impl FnOnce() -> Result<Option<T>, E>,
) -> Result<Attempt<Option<T>>, E> {
    let got = attempt(None, || match act() {
        Ok(got) => got.ok_or(Vain::Nothing),
        Err(error) => Err(Vain::Failed(error)),
    });
    match got {
        Ok(Attempt::Done(got)) => Ok(Attempt::Done(Some(got))),
        Ok(Attempt::TimedOut) => Ok(Attempt::TimedOut),
        Ok(Attempt::Moved) => Ok(Attempt::Moved),
        Err(Vain::Nothing) => Ok(Attempt::Done(None)),
        Err(Vain::Failed(error)) => Err(error),
    }
}

/// Why a subtransaction is undone.
enum Vain<E> {
    Nothing,
    Failed(E),
}

impl<E: From<Raised>> From<Raised> for Vain<E> {
    fn from(raised: Raised) -> Self {
        Self::Failed(raised.into())
    }
}

impl<E: Into<Failure<E>>> From<Vain<E>> for Failure<Vain<E>> {
    fn from(vain: Vain<E>) -> Self {
        match vain {
            Vain::Nothing => Self::Other(Vain::Nothing),
            Vain::Failed(error) => match error.into() {
                Failure::Raised(raised) => Self::Raised(raised),
                Failure::Other(error) => Self::Other(Vain::Failed(error)),
            },
        }
    }
}

/// An error, told apart by where it came from.
pub enum Failure<E> {
    Raised(Raised),
    Other(E),
}

/// Set by the timer when it has cancelled a lock wait.
static FIRED: AtomicBool = AtomicBool::new(false);

/// When that was.
static FIRED_AT: AtomicI64 = AtomicI64::new(0);

/// The deadline that the timer runs for, where it runs.
static RUNNING: AtomicI64 = AtomicI64::new(0);

/// How often a wait is looked for once the deadline has passed, in milliseconds.
const EVERY: c_int = 2;

/// How long after a cancel another one may follow, in microseconds.
const AGAIN: i64 = 1_000_000;

/// The timer of one attempt. Attempts nest where a user's trigger takes a turn of its own: the
/// inner one then ends no later than the outer one.
struct Timer {
    id: raw::TimeoutId,
    deadline: i64,
    outer: Option<i64>,
}

impl Timer {
    /// The id of this extension's timeout in this backend.
    fn id() -> Result<raw::TimeoutId, Raised> {
        static ID: OnceLock<raw::TimeoutId> = OnceLock::new();
        if let Some(id) = ID.get() {
            return Ok(*id);
        }
        // SAFETY: RegisterTimeout may be called at any time in a backend; the handler does only
        // what a signal handler may.
        let id = unsafe { guard(|| raw::RegisterTimeout(raw::USER_TIMEOUT, give_up_waiting)) }?;
        Ok(*ID.get_or_init(|| id))
    }

    fn start(id: raw::TimeoutId, deadline: i64) -> Self {
        // SAFETY: reads the state of a registered timeout.
        let is_nested = unsafe { raw::get_timeout_active(id) };
        let outer = is_nested.then(|| RUNNING.load(Ordering::Relaxed));
        let timer = Self {
            id,
            deadline,
            outer,
        };
        FIRED.store(false, Ordering::Relaxed);
        timer.run_until(outer.map_or(deadline, |outer| outer.min(deadline)));
        timer
    }

    /// Switches the timer off. Whether it is what ended the wait: a cancel request of the user
    /// that was served instead leaves the timer's own pending, which is taken back here. What is
    /// pending because of the caller's `lock_timeout` or `statement_timeout`, which came while the
    /// timer's was served, stays: it raises its own error next. Where the outer attempt's deadline
    /// ended the wait, that attempt is told.
    fn stop(self) -> bool {
        // SAFETY: the timeout functions raise nothing for registered ids; the flag is this
        // backend's.
        let fired = unsafe {
            raw::disable_timeout(self.id, false);
            let fired = FIRED.swap(false, Ordering::Relaxed);
            let theirs = [raw::LOCK_TIMEOUT, raw::STATEMENT_TIMEOUT]
                .into_iter()
                .any(|id| raw::get_timeout_indicator(id, false));
            let unserved = fired && pg_sys::QueryCancelPending != 0 && !theirs;
            if unserved {
                pg_sys::QueryCancelPending = 0;
            }
            fired && !unserved
        };
        let is_outer = self.outer.is_some() && super::session::now() < self.deadline;
        let told = fired && is_outer;
        drop(self);
        FIRED.store(told, Ordering::Relaxed);
        fired && !told
    }

    fn run_until(&self, deadline: i64) {
        RUNNING.store(deadline, Ordering::Relaxed);
        // SAFETY: the id is registered; enable_timeout_every raises nothing then.
        unsafe { raw::enable_timeout_every(self.id, deadline, EVERY) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the id is registered; disable_timeout raises nothing then.
        unsafe { raw::disable_timeout(self.id, false) }
        if let Some(outer) = self.outer {
            self.run_until(outer);
        }
    }
}

/// Cancels the lock wait in progress, if there is one. Runs inside the signal handler of the
/// server's timers, once at the deadline and then every [`EVERY`] milliseconds.
unsafe extern "C-unwind" fn give_up_waiting() {
    // SAFETY: own PGPROC and flags only, as core's own timeout handlers do. PGPROC is gone, or
    // about to go, while the process exits. A lock that is waited for stays in shared memory.
    unsafe {
        if pg_sys::proc_exit_inprogress || pg_sys::MyProc.is_null() {
            return;
        }
        let lock = (*pg_sys::MyProc).waitLock;
        let waits = !lock.is_null()
            && u32::from((*lock).tag.locktag_type) != pg_sys::LockTagType::LOCKTAG_RELATION_EXTEND;
        // Twice at once would be taken for a cancel of the user: until the subtransaction is
        // rolled back, the backend seems to wait still. A trigger that catches the cancel and
        // waits again is cancelled again.
        let now = raw::GetCurrentTimestamp();
        let is_again = FIRED.load(Ordering::Relaxed);
        if waits
            && pg_sys::QueryCancelPending == 0
            && (!is_again || now - FIRED_AT.load(Ordering::Relaxed) > AGAIN)
        {
            FIRED.store(true, Ordering::Relaxed);
            FIRED_AT.store(now, Ordering::Relaxed);
            pg_sys::QueryCancelPending = 1;
            pg_sys::InterruptPending = 1;
        }
    }
}
