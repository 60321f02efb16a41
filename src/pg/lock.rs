//! Advisory locks in spaces of their own, taken and waited for in the server's lock manager.

use pgrx::pg_sys::{self, LOCKTAG, LockAcquireResult, Oid};

use super::guard::{Raised, guard};
use super::raw;

pub mod names;

use names::Name;

/// The fourth field of an advisory lock's tag, which keeps the spaces apart: pg_locks shows it as
/// `objsubid`.
///
/// Known values of others: 1 and 2 are core's (`pg_advisory_lock` of one and of two numbers),
/// 4 to 16 Citus', 29749 TimescaleDB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Class {
    /// The turn to create a row of a user's table.
    Row = 20_601,
    /// A named lock.
    Named = 20_602,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Exclusive,
    Shared,
}

impl Mode {
    pub const ALL: [Self; 2] = [Self::Exclusive, Self::Shared];

    /// As pg_locks prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "ExclusiveLock",
            Self::Shared => "ShareLock",
        }
    }

    fn number(self) -> i32 {
        (match self {
            Self::Exclusive => pg_sys::ExclusiveLock,
            Self::Shared => pg_sys::ShareLock,
        }) as i32
    }
}

/// How long a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Transaction,
    Session,
}

/// One lock of one class. Locks of equal numbers are one lock, whatever their names are.
#[derive(Clone, Copy)]
pub struct Lock<'a> {
    pub class: Class,
    pub number: u64,
    pub mode: Mode,
    pub name: Name<'a>,
}

impl Lock<'_> {
    /// Takes the lock to the end of the transaction, in turn with all who wait for it.
    pub fn take(&self) -> Result<(), Raised> {
        if self.try_take(Scope::Transaction)? {
            return Ok(());
        }
        self.wait()
    }

    /// Takes the lock if it is free, or held by this session already. It is not free either
    /// where others wait whose request this one conflicts with: nobody is overtaken.
    pub fn try_take(&self, scope: Scope) -> Result<bool, Raised> {
        match self.acquire(scope, true)? {
            LockAcquireResult::LOCKACQUIRE_NOT_AVAIL => return Ok(false),
            LockAcquireResult::LOCKACQUIRE_OK => names::granted(self, scope),
            _ if scope == Scope::Session => names::kept(self),
            _ => {}
        }
        Ok(true)
    }

    /// As `take`, for one that is not free.
    pub fn wait(&self) -> Result<(), Raised> {
        names::asked(self);
        // SAFETY: reads and sets the current resource owner, which an ERROR leaves to the abort
        // of the (sub)transaction to set anew, as after any other. The transaction's own owner,
        // not that of the running portal, is the one that `keep_for_session` finds the lock at,
        // also when a subtransaction around this call has handed it on.
        unsafe {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
            let taken = self.acquire(Scope::Transaction, false);
            pg_sys::CurrentResourceOwner = owner;
            if taken? == LockAcquireResult::LOCKACQUIRE_OK {
                names::granted(self, Scope::Transaction);
            }
        }
        Ok(())
    }

    /// Makes a lock that was waited for one of the session.
    ///
    /// A lock of the session must never be waited for: it outlives an abort, so it would stay
    /// where a cancel meets the grant. Here it is held already, so this only counts, and no
    /// interrupt is served in between.
    pub fn keep_for_session(&self) -> Result<(), Raised> {
        let tag = self.tag();
        let tag = &raw const tag;
        let mode = self.mode.number();
        // SAFETY: the tag outlives the calls; for the owner see `wait`.
        unsafe {
            guard(|| {
                if pg_sys::InterruptPending != 0 {
                    raw::ProcessInterrupts();
                }
            })?;
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
            let kept = guard(|| {
                raw::LockAcquire(tag, mode, true, true);
                raw::LockRelease(tag, mode, false);
            });
            pg_sys::CurrentResourceOwner = owner;
            kept?;
        }
        names::kept(self);
        Ok(())
    }

    /// Takes the lock for a part of the transaction, to be given back by [`Self::give_back`].
    pub fn take_for_now(&self) -> Result<(), Raised> {
        // SAFETY: for the owner see `wait`.
        unsafe {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
            let taken = self.take();
            pg_sys::CurrentResourceOwner = owner;
            taken
        }
    }

    /// Gives back one [`Self::take_for_now`] of the same (sub)transaction.
    pub fn give_back(&self) -> Result<(), Raised> {
        let tag = self.tag();
        let tag = &raw const tag;
        let mode = self.mode.number();
        // SAFETY: the tag outlives the call; for the owner see `wait`. A lock that is not held
        // makes a WARNING.
        unsafe {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
            let released = guard(|| raw::LockRelease(tag, mode, false));
            pg_sys::CurrentResourceOwner = owner;
            released.map(|_| ())
        }
    }

    /// Gives back one hold of the session. False where it has none.
    pub fn release(&self) -> Result<bool, Raised> {
        let tag = self.tag();
        let tag = &raw const tag;
        let mode = self.mode.number();
        // SAFETY: the tag outlives the call. That the session holds no such lock is an answer
        // here; core also warns of it, which these two settings keep off for the one call.
        unsafe {
            let log = log_level();
            let levels = (pg_sys::client_min_messages, *log);
            pg_sys::client_min_messages = pg_sys::PGERROR as i32;
            *log = pg_sys::PGERROR as i32;
            let released = guard(|| raw::LockRelease(tag, mode, true));
            (pg_sys::client_min_messages, *log) = levels;
            released
        }
    }

    fn acquire(&self, scope: Scope, dont_wait: bool) -> Result<LockAcquireResult::Type, Raised> {
        let tag = self.tag();
        let tag = &raw const tag;
        let mode = self.mode.number();
        let session = scope == Scope::Session;
        // SAFETY: the tag outlives the call.
        unsafe { guard(|| raw::LockAcquire(tag, mode, session, dont_wait)) }
    }

    fn tag(&self) -> LOCKTAG {
        // SAFETY: reads a global of this backend.
        let database = unsafe { pg_sys::MyDatabaseId };
        tag(self.class as u16, self.number, database)
    }
}

/// What this backend writes to the server's log at least.
fn log_level() -> *mut i32 {
    #[cfg(not(feature = "pg19"))]
    return &raw mut pg_sys::log_min_messages;
    // SAFETY: since 19 it is an array with a place for each kind of backend.
    #[cfg(feature = "pg19")]
    unsafe {
        let levels = (&raw mut pg_sys::log_min_messages).cast::<i32>();
        levels.add(pg_sys::MyBackendType as usize)
    }
}

/// Filled as SET_LOCKTAG_ADVISORY does.
fn tag(class: u16, number: u64, database: Oid) -> LOCKTAG {
    LOCKTAG {
        locktag_field1: database.to_u32(),
        locktag_field2: (number >> 32) as u32,
        locktag_field3: number as u32,
        locktag_field4: class,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}
