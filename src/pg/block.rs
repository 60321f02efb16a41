//! Memory that values own.

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::fmt::{self, Debug, Formatter};
use std::ptr::{self, NonNull};

use super::guard::Raised;
use super::refusal::Refusal;

/// A piece of memory, aligned as PostgreSQL aligns the values of all types. It is given back with
/// the last clone.
pub(super) struct Block(NonNull<Head>);

/// What stands before the memory itself.
#[repr(C, align(8))]
struct Head {
    users: Cell<usize>,
    size: usize,
}

/// The largest value of PostgreSQL.
const LARGEST: usize = 0x3fff_ffff;

impl Block {
    /// Memory of this size, all of it zero.
    pub(super) fn zeroed(size: usize) -> Result<Self, Raised> {
        if size > LARGEST {
            return Err(Raised::Refused(Refusal::OutOfMemory));
        }
        // SAFETY: the layout is not empty. The head is written before anything reads it.
        unsafe {
            let head = alloc::alloc_zeroed(layout(size)).cast::<Head>();
            let head = NonNull::new(head).ok_or(Raised::Refused(Refusal::OutOfMemory))?;
            head.write(Head {
                users: Cell::new(1),
                size,
            });
            Ok(Self(head))
        }
    }

    /// A copy of the `size` bytes from `start` on.
    ///
    /// # Safety
    /// They can be read.
    pub(super) unsafe fn copy(start: *const u8, size: usize) -> Result<Self, Raised> {
        let block = Self::zeroed(size)?;
        // SAFETY: the caller's promise; the block is new and of this size.
        unsafe { ptr::copy_nonoverlapping(start, block.start(), size) };
        Ok(block)
    }

    /// Where it begins.
    pub(super) fn start(&self) -> *mut u8 {
        // SAFETY: the memory stands behind its head.
        unsafe { self.0.as_ptr().add(1).cast() }
    }

    pub(super) fn size(&self) -> usize {
        self.head().size
    }

    fn head(&self) -> &Head {
        // SAFETY: the head lives as long as one of its users.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        let users = &self.head().users;
        users.set(users.get() + 1);
        Self(self.0)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Head { users, size } = self.head();
        let (left, size) = (users.get() - 1, *size);
        users.set(left);
        if left == 0 {
            // SAFETY: it was made with this layout, and nothing else uses it.
            unsafe { alloc::dealloc(self.0.as_ptr().cast(), layout(size)) }
        }
    }
}

impl Debug for Block {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

/// The layout of a head and `size` bytes behind it.
fn layout(size: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no size comes near the largest one.
    unsafe { Layout::from_size_align_unchecked(size_of::<Head>() + size, align_of::<Head>()) }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use super::*;

    #[pg_test]
    fn it_lives_as_long_as_its_last_clone() {
        let block = Block::zeroed(5).unwrap();
        let clone = block.clone();
        // SAFETY: within the five bytes.
        unsafe { block.start().add(4).write(7) };
        drop(block);
        // SAFETY: as above.
        assert_eq!(unsafe { clone.start().add(4).read() }, 7);
        assert_eq!(clone.start() as usize % 8, 0);
    }

    #[pg_test]
    fn too_much_is_refused() {
        assert!(matches!(
            Block::zeroed(usize::MAX),
            Err(Raised::Refused(Refusal::OutOfMemory))
        ));
    }
}
