//! Memory: for a part of a call, for scans, and a reserve for when the system refuses more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys::{self, MemoryContext, MemoryContextData};

use super::guard::{Raised, guard};
use super::raw;
use super::refusal::Refusal;

/// Runs `act` with memory of its own, which is given back after it. Values that leave it own what
/// they point to.
pub fn apart<T, E: From<Raised>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: the context is a child of the call's, so that it goes with it where `act` raises.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let own = guard(|| {
            raw::AllocSetContextCreateInternal(
                outer,
                c"pg_once part".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })?;
        pg_sys::CurrentMemoryContext = own;
        let result = act();
        pg_sys::CurrentMemoryContext = outer;
        if result.is_ok() {
            guard(|| raw::MemoryContextDelete(own))?;
        }
        result
    }
}

/// Empty memory for one scan of an index, which the session keeps.
///
/// A scan of a B-tree takes 27 kB in one piece. Memory of a call asks the system for so much each
/// time and gives it back, which is a twentieth of what a claim costs. A generation context takes
/// it from its first block, which it never gives back.
///
/// # Safety
/// Called within a guard. What was in it before is over: so the scan begins and ends within that
/// guard, or an error breaks it off.
pub(super) unsafe fn of_scan() -> MemoryContext {
    static MEMORY: AtomicPtr<MemoryContextData> = AtomicPtr::new(ptr::null_mut());
    /// Room for a scan with all that it may allocate.
    const FIRST_BLOCK: usize = 48 * 1024;
    /// Pieces larger than a sixteenth of it would get blocks of their own.
    const LARGEST_BLOCK: usize = 512 * 1024;
    // SAFETY: the caller's promise. The context lives as long as the session.
    unsafe {
        let memory = MEMORY.load(Relaxed);
        if !memory.is_null() {
            raw::MemoryContextReset(memory);
            return memory;
        }
        let memory = raw::GenerationContextCreate(
            pg_sys::TopMemoryContext,
            c"pg_once scan".as_ptr(),
            FIRST_BLOCK,
            FIRST_BLOCK,
            LARGEST_BLOCK,
        );
        MEMORY.store(memory, Relaxed);
        memory
    }
}

/// Whether the system gives so many bytes in pieces of any size. Rust code that works on a text of the user's
/// takes for granted that it does, and ends the server where it does not.
pub fn demand(bytes: usize) -> Result<(), Raised> {
    // A compiler may leave out memory that nobody uses.
    with_room(bytes).map(|room| drop(black_box(room)))
}

/// Room for so many bytes.
pub(super) fn with_room(bytes: usize) -> Result<Vec<u8>, Raised> {
    let mut room = Vec::new();
    match room.try_reserve_exact(bytes) {
        Ok(()) => Ok(room),
        Err(_) => Err(Raised::Refused(Refusal::OutOfMemory)),
    }
}

/// What a session keeps to report an error where the system refuses more: pgrx takes memory for the report, and
/// an error of that is one during an error, of which core's stack has place for five.
static FOR_REPORT: Reserve = Reserve::new();

/// What small pieces are taken from before Rust ends the process for the lack of one.
static FOR_PIECES: Reserve = Reserve::new();

static IS_KEPT: AtomicBool = AtomicBool::new(false);

/// Keeps a reserve, where the system has one to give.
pub(super) fn keep_reserve() {
    if !IS_KEPT.load(Relaxed) {
        IS_KEPT.store(FOR_REPORT.keep() & FOR_PIECES.keep(), Relaxed);
    }
}

/// Gives up the reserve, for the report of an error.
pub fn use_reserve() {
    FOR_REPORT.give_up();
    IS_KEPT.store(false, Relaxed);
}

/// How long a small piece is at most.
pub(super) const PIECE: usize = 64 * 1024;

struct Reserve(AtomicPtr<u8>);

impl Reserve {
    /// Below what glibc maps apart, so that small pieces fit in when it is freed.
    const LAYOUT: Layout = Layout::new::<[u8; PIECE]>();

    const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[cold]
    fn keep(&self) -> bool {
        if self.0.load(Relaxed).is_null() {
            // SAFETY: of a size that is not zero.
            self.0.store(unsafe { System.alloc(Self::LAYOUT) }, Relaxed);
        }
        !self.0.load(Relaxed).is_null()
    }

    fn give_up(&self) -> bool {
        let kept = self.0.swap(ptr::null_mut(), Relaxed);
        if !kept.is_null() {
            // SAFETY: `keep` has it from there, with this layout.
            unsafe { System.dealloc(kept, Self::LAYOUT) };
        }
        !kept.is_null()
    }
}

/// The system's allocator, and the reserve for small pieces where that refuses one.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

impl Allocator {
    #[cold]
    fn again(layout: Layout, act: impl Fn() -> *mut u8) -> *mut u8 {
        if layout.size() < PIECE && FOR_PIECES.give_up() {
            IS_KEPT.store(false, Relaxed);
            return act();
        }
        ptr::null_mut()
    }
}

// SAFETY: it is the system's allocator, asked a second time.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let act = || unsafe { System.alloc(layout) };
        match act() {
            piece if piece.is_null() => Self::again(layout, act),
            piece => piece,
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let act = || unsafe { System.alloc_zeroed(layout) };
        match act() {
            piece if piece.is_null() => Self::again(layout, act),
            piece => piece,
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise. A piece that did not grow is as it was.
        let act = || unsafe { System.realloc(piece, layout, size) };
        match (act(), Layout::from_size_align(size, layout.align())) {
            (piece, Ok(layout)) if piece.is_null() => Self::again(layout, act),
            (piece, _) => piece,
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(piece, layout) }
    }
}
