//! The rows of a batch that are inserted under one number, which others who meet one of them wait
//! for: to take a number and give it back is an eighth of what an insertion costs.
//!
//! Whoever holds a number waits for nobody, so it is given back before any wait; and it is held for
//! some rows only, so that others do not wait long.

use std::ptr;

use pgrx::pg_sys::{self, LOCKTAG, ResourceOwner, TransactionId};

use super::shape::Indexes;
use crate::pg::raw;

/// Without a length, each row is inserted under a number of its own.
#[derive(Clone, Copy)]
pub(super) struct Run {
    length: u32,
    /// How many rows the number was used for. 0: none is held.
    rows: u32,
    number: u32,
    transaction: TransactionId,
    /// The number is its, whatever subtransaction is the current one.
    resources: ResourceOwner,
}

impl Run {
    const LENGTH: u32 = 64;

    /// For rows that go into these indexes. Where there are several they are locked anew for each
    /// row, and that may mean to wait.
    pub(super) fn of(indexes: &Indexes, resources: ResourceOwner) -> Self {
        let length = match indexes.ids() {
            [_] => Self::LENGTH,
            _ => 0,
        };
        Self {
            length,
            ..Self::single(resources)
        }
    }

    /// Each row under a number of its own.
    pub(super) fn single(resources: ResourceOwner) -> Self {
        Self {
            length: 0,
            rows: 0,
            number: 0,
            transaction: pg_sys::InvalidTransactionId,
            resources,
        }
    }

    /// The number of the row that is inserted next. It is one of this (sub)transaction.
    ///
    /// # Safety
    /// Called within a guard, while no row is incomplete.
    pub(super) unsafe fn begin_row(&mut self, transaction: TransactionId) -> u32 {
        // SAFETY: the caller's promise; the transaction is the current one.
        unsafe {
            if self.transaction != transaction {
                self.end();
            }
            if self.rows == 0 {
                self.transaction = transaction;
                let owner = ptr::replace(&raw mut pg_sys::CurrentResourceOwner, self.resources);
                self.number = raw::SpeculativeInsertionLockAcquire(transaction);
                pg_sys::CurrentResourceOwner = owner;
            }
        }
        self.rows += 1;
        self.number
    }

    /// # Safety
    /// Called within a guard, when the row is complete or given up.
    pub(super) unsafe fn end_row(&mut self) {
        if self.rows >= self.length {
            // SAFETY: the caller's promise.
            unsafe { self.end() }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.rows > 0
    }

    /// # Safety
    /// Called within a guard, while no row is incomplete.
    pub(super) unsafe fn end(&mut self) {
        if self.is_open() {
            let tag = self.tag();
            // SAFETY: taken by begin_row. Core's own function releases the number that was taken
            // last, which may be a statement's.
            unsafe {
                let owner = ptr::replace(&raw mut pg_sys::CurrentResourceOwner, self.resources);
                raw::LockRelease(&raw const tag, pg_sys::ExclusiveLock as i32, false);
                pg_sys::CurrentResourceOwner = owner;
            }
            self.rows = 0;
        }
    }

    /// Filled as SET_LOCKTAG_SPECULATIVE_INSERTION does.
    fn tag(&self) -> LOCKTAG {
        LOCKTAG {
            locktag_field1: self.transaction.into_inner(),
            locktag_field2: self.number,
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_SPECULATIVE_TOKEN as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        }
    }
}
