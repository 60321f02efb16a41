//! Condition variables in shared memory: a session sleeps until another one's transaction has ended.
//! Only where the library is in `shared_preload_libraries`.
//!
//! Their number is fixed. Things that meet in one wake each other's waiters, who look and sleep
//! again. Each counts its broadcasts, and a sleep ends when the count is no longer what the caller
//! read before it looked: so no broadcast is missed between the look and the sleep, whatever the look
//! does to the one sleep that a backend can be prepared for.

use std::ffi::{CStr, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys::{self, SubTransactionId, SubXactEvent, XactEvent};

use super::guard::{Raised, guard};
use super::latch::{self, Event, LONGEST};
use super::{raw, session, settings};

/// What the waiters for one thing sleep on, and the waiters for whatever else meets it there.
#[derive(Clone, Copy)]
pub struct ConditionVariable(usize);

/// As many broadcasts as a condition variable had had at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Broadcasts(u64);

impl ConditionVariable {
    /// That of the thing with this hash in the session's database. None where the library is not
    /// preloaded.
    pub fn of(hash: u64) -> Option<Self> {
        // Odd, so that databases differ in all bits.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let database = u64::from(session::database()).wrapping_mul(SPREAD);
        let is_shared = !SHARED.load(Relaxed).is_null();
        is_shared.then_some(Self((hash ^ database) as usize % COUNT))
    }

    /// To be read before the look that decides whether to sleep.
    pub fn broadcasts(self) -> Broadcasts {
        Broadcasts(self.shared().broadcasts.load(Acquire))
    }

    /// Sleeps this long, or until there is a broadcast after these. A cancel, a timeout or the end of
    /// the backend is served at once.
    pub fn sleep(self, seen: Broadcasts, length: Duration) -> Result<(), Raised> {
        let event = Event::Begin.number()?;
        let begun = Instant::now();
        let variable = &raw const self.shared().variable;
        // SAFETY: the variable is initialized and stays. Preparing raises nothing. Where an error is
        // raised out of the sleep, or the sleep is over, the backend leaves the list of those to wake.
        unsafe {
            raw::ConditionVariablePrepareToSleep(variable.cast_mut());
            let slept = loop {
                let left = length.saturating_sub(begun.elapsed());
                if left.is_zero() || self.broadcasts() != seen {
                    break Ok(());
                }
                latch::note_sleep();
                let milliseconds = left.as_micros().div_ceil(1000).min(LONGEST) as c_long;
                let woken = guard(|| {
                    raw::ConditionVariableTimedSleep(variable.cast_mut(), milliseconds, event)
                });
                if let Err(raised) = woken {
                    break Err(raised);
                }
            };
            raw::ConditionVariableCancelSleep();
            slept
        }
    }

    /// Wakes all who sleep on it once the transaction has ended, however it ends, and whenever a
    /// subtransaction of it is rolled back. A prepared transaction wakes nobody.
    pub fn broadcast_at_end(self) -> Result<(), Raised> {
        register()?;
        PENDING[self.0 / BITS].fetch_or(1 << (self.0 % BITS), Relaxed);
        Ok(())
    }

    fn broadcast(self) {
        let shared = self.shared();
        shared.broadcasts.fetch_add(1, Release);
        // SAFETY: the variable is initialized and stays; a broadcast raises nothing.
        unsafe { raw::ConditionVariableBroadcast((&raw const shared.variable).cast_mut()) }
    }

    fn shared(self) -> &'static Shared {
        // SAFETY: one is made only where there is shared memory, which stays as long as the process,
        // for one of the COUNT. What is not atomic in it is used by the server's functions alone.
        unsafe { &*SHARED.load(Relaxed).add(self.0) }
    }
}

#[repr(C, align(64))]
struct Shared {
    broadcasts: AtomicU64,
    variable: pg_sys::ConditionVariable,
}

const COUNT: usize = 1024;
const SIZE: usize = COUNT * size_of::<Shared>();

const NAME: &CStr = c"pg_once condition variables";

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// Those to be broadcast at the end of this backend's transaction, a bit each.
static PENDING: [AtomicU64; COUNT / BITS] = [const { AtomicU64::new(0) }; COUNT / BITS];
const BITS: usize = u64::BITS as usize;

static mut EARLIER_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut EARLIER_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for the memory, while the postmaster loads the library.
pub fn request() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !settings::is_preloaded() || ASKED.swap(true, Relaxed) {
        return;
    }
    // SAFETY: hooks are set by the postmaster alone, and those that were there are called.
    unsafe {
        EARLIER_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(at_request);
        EARLIER_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(at_startup);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_request() {
    // SAFETY: called by the postmaster when memory may be asked for.
    unsafe {
        if let Some(earlier) = EARLIER_REQUEST {
            earlier();
        }
        pg_sys::RequestAddinShmemSpace(SIZE);
    }
}

/// Backends inherit what is found out here.
#[pg_guard]
unsafe extern "C-unwind" fn at_startup() {
    // SAFETY: called by the postmaster when shared memory is made, also anew after a crash; no
    // other process uses it yet. Shared memory is aligned to the cache line.
    unsafe {
        if let Some(earlier) = EARLIER_STARTUP {
            earlier();
        }
        let mut found = false;
        let shared = pg_sys::ShmemInitStruct(NAME.as_ptr(), SIZE, &raw mut found).cast::<Shared>();
        if !found {
            ptr::write_bytes(shared, 0, COUNT);
            for place in 0..COUNT {
                raw::ConditionVariableInit(&raw mut (*shared.add(place)).variable);
            }
        }
        SHARED.store(shared, Relaxed);
    }
}

fn register() -> Result<(), Raised> {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.load(Relaxed) {
        return Ok(());
    }
    // SAFETY: both callbacks are static functions. Where the memory for the second is refused, the
    // first is registered again later: then it finds nothing to do the second time.
    unsafe {
        guard(|| {
            raw::RegisterXactCallback(Some(transaction_ended), ptr::null_mut());
            raw::RegisterSubXactCallback(Some(subtransaction_ended), ptr::null_mut());
        })?;
    }
    REGISTERED.store(true, Relaxed);
    Ok(())
}

/// Called when others see how the transaction has ended, before its locks are released.
unsafe extern "C-unwind" fn transaction_ended(event: XactEvent::Type, _: *mut c_void) {
    match event {
        XactEvent::XACT_EVENT_COMMIT | XactEvent::XACT_EVENT_ABORT => {
            broadcast_each(|bits| bits.swap(0, Relaxed));
        }
        XactEvent::XACT_EVENT_PREPARE => PENDING.iter().for_each(|bits| bits.store(0, Relaxed)),
        _ => {}
    }
}

unsafe extern "C-unwind" fn subtransaction_ended(
    event: SubXactEvent::Type,
    _: SubTransactionId,
    _: SubTransactionId,
    _: *mut c_void,
) {
    if event == SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        broadcast_each(|bits| bits.load(Relaxed));
    }
}

fn broadcast_each(read: impl Fn(&AtomicU64) -> u64) {
    for (word, bits) in PENDING.iter().enumerate() {
        let mut bits = read(bits);
        while bits != 0 {
            ConditionVariable(word * BITS + bits.trailing_zeros() as usize).broadcast();
            bits &= bits - 1;
        }
    }
}
