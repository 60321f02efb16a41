//! The rows of a batch that are inserted under one number, which others who meet one of them wait
//! for: to take a number and give it back is an eighth of what an insertion costs.
//!
//! Whoever holds a number waits for nobody, so it is given back before any wait; and it is held for
//! some rows only, so that others do not wait long.

use pgrx::pg_sys::TransactionId;

use super::shape::Indexes;
use crate::pg::raw;

/// Without a length, each row is inserted under a number of its own.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    length: u32,
    /// How many rows the number was used for. 0: none is held.
    rows: u32,
    number: u32,
    transaction: TransactionId,
}

impl Run {
    const LENGTH: u32 = 64;

    /// For rows that go into these indexes. Where there are several they are locked anew for each
    /// row, and that may mean to wait.
    pub(super) fn of(indexes: &Indexes) -> Self {
        let length = match indexes.ids() {
            [_] => Self::LENGTH,
            _ => 0,
        };
        Self {
            length,
            ..Self::default()
        }
    }

    /// The number of the row that is inserted next.
    ///
    /// # Safety
    /// Called within a guard.
    pub(super) unsafe fn begin_row(&mut self, transaction: TransactionId) -> u32 {
        if self.rows == 0 {
            self.transaction = transaction;
            // SAFETY: the caller's promise; the transaction is the current one.
            self.number = unsafe { raw::SpeculativeInsertionLockAcquire(transaction) };
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
            // SAFETY: taken by begin_row.
            unsafe { raw::SpeculativeInsertionLockRelease(self.transaction) }
            self.rows = 0;
        }
    }
}
