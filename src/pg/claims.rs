//! The claim table `once.claim` through its table and index access methods, without the executor.
//!
//! [`open`] opens and locks the table, looks at what it is, and lends it as [`Claims`] where it is
//! the plain heap that the extension made. One call may look at and make as many claims as it
//! likes with one `Claims`: a scan of the index is shared, where one is needed.
//!
//! - [`Claims::probe`] looks at a name by what is true now, outside any snapshot, and never waits:
//!   nothing, a claim ([`Claim`]), or somebody's open transaction that decides ([`Holder`]).
//! - [`Claims::wait`] waits for that transaction's end, as long as the session's timeouts allow;
//!   within [`deadline::attempt`](super::deadline::attempt) up to a deadline. Look again after it.
//! - [`Claims::insert`] makes a claim; false if somebody came first meanwhile. Look again then.
//! - [`Claims::renew`] makes an existing claim anew, [`Claims::remove`] removes one; false if
//!   somebody changed it since it was looked at.
//! - [`Claims::newest`] finds the committed or own claim in a snapshot: a read that a standby does.
//!
//! - [`Claims::probe_next`] is the look for very many names in the order of their storage keys.
//!
//! No lock on a page is held between two calls, and no pin but by [`Claims::probe_next`], so that
//! waiting blocks no vacuum and a subtransaction may begin and be rolled back around any of them:
//! what is kept from call to call belongs to the resource owner that the table was opened under.
//!
//! Where a [`Claim`] stood stays its place as long as it can be used: it does not outlive the call of
//! [`open`], which has a snapshot meanwhile. Who changes or removes it after the look leaves a dead
//! row that this snapshot might see, so nobody may clear it away. Rows of the own transaction that
//! were rolled back are the exception: [`Claims::renew`] and [`Claims::remove`] know them.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::slice;

use pgrx::pg_sys::{
    self, Datum, HeapTuple, HeapTupleData, IndexInfo, IndexScanDesc, ItemPointerData,
    MemoryContext, Relation, ResourceOwner, ScanKeyData, Snapshot, SnapshotData, TransactionId,
};

use super::guard::{Raised, guard};
use super::injection_point::{self, Point};
use super::owner::{Access, Unusable};
use super::spi::View;
use super::{memory, raw};
use crate::storage_key::StorageKey;

mod form;
mod key;
mod leaf;
mod run;
mod shape;
mod walk;

pub(super) use key::{KEY, KEY_COLUMNS, equal_to, of_key};

use form::Row;
use leaf::Leaf;
use run::Run;
use shape::{Fitness, Indexes};
use walk::Walk;

pub(super) use shape::{COLUMNS, names_changed, relation_changed};

/// What the table is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look at claims by [`Claims::newest`]: on a standby too.
    Look,
    /// To make one claim.
    Claim,
    /// To make at most so many: the scan is kept from one to the next.
    ClaimMany(usize),
    /// To remove one.
    Remove,
}

/// What the table turned out to be.
pub enum Opened<'a, 'b> {
    /// The plain heap.
    Plain(&'a mut Claims<'b>),
    /// Something that only statements can work on, and what is special about it.
    Special(&'static str),
    /// A table whose rows Citus keeps.
    Distributed,
    /// No valid unique index on the storage key keeps two claims of one name apart.
    Unguarded,
    /// It is missing, or not the extension's own.
    Unusable(Unusable),
}

/// A claim's name and what it is found by.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub storage_key: StorageKey,
    pub ns: &'a [u8],
    pub key: &'a [u8],
}

/// What is written about a claim beside its name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub claimed_at: i64,
    pub expires_at: Option<i64>,
    pub owner: Option<[u8; 16]>,
}

/// A claim in the table, committed or made by the own transaction.
#[derive(Clone, Copy)]
pub struct Claim<'t> {
    /// Whether namespace and key are those asked for: two names may have one storage key.
    pub is_of_name: bool,
    pub expires_at: Option<i64>,
    pub owner: Option<[u8; 16]>,
    /// Whether the own transaction made it, or made it anew.
    pub is_own: bool,
    /// The open transaction of another session that has locked it, maybe to make it anew.
    pub locker: Option<Holder>,
    maker: TransactionId,
    at: ItemPointerData,
    table: PhantomData<&'t ()>,
}

/// An open transaction of another session.
#[derive(Clone, Copy)]
pub struct Holder {
    transaction: TransactionId,
    /// The number of its insertion, 0 once that is complete.
    insertion: u32,
    at: ItemPointerData,
}

/// What is true of a name now.
#[derive(Clone, Copy)]
pub enum Found<'t> {
    Nothing,
    Claim(Claim<'t>),
    /// This transaction is making, renewing or removing the claim.
    Held(Holder),
}

/// Opens the table for `act`, and closes it. The lock on it is kept to the transaction's end.
///
/// For any other purpose than to look, a read-only transaction is refused with 25006, as the
/// statement would be.
pub fn open<T, E: From<Raised>>(
    purpose: Purpose,
    act: impl FnOnce(Opened) -> Result<T, E>,
) -> Result<T, E> {
    let (access, command) = match purpose {
        Purpose::Look => (Access::Read, None),
        Purpose::Claim | Purpose::ClaimMany(_) => (Access::Write, Some(c"INSERT")),
        Purpose::Remove => (Access::Write, Some(c"DELETE")),
    };
    let mode = access.lock();
    if let Some(command) = command {
        refuse_read_only(command)?;
    }
    let (heap, fitness) = match shape::open(access)? {
        Ok(opened) => opened,
        Err(unusable) => return act(Opened::Unusable(unusable)),
    };
    let indexes = match fitness {
        Fitness::Plain { indexes } => indexes,
        other => {
            close(heap)?;
            return act(match other {
                Fitness::Special(what) => Opened::Special(what),
                Fitness::Distributed => Opened::Distributed,
                _ => Opened::Unguarded,
            });
        }
    };
    let mut cursor = Cursor::new();
    // SAFETY: reads globals of this backend.
    let (memory, resources) =
        unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    let mut claims = Claims {
        heap,
        index: open_index(indexes.ids()[0], mode)?,
        snapshot: snapshot_where_none_is()?,
        indexes,
        mode,
        memory,
        resources,
        cursor: &mut cursor,
        walk: Walk::NEVER,
        run: Run::single(resources),
    };
    if let Purpose::ClaimMany(names) = purpose {
        claims.keep_scan()?;
        claims.walk = Walk::of(&claims, names)?;
        claims.run = Run::of(&claims.indexes, resources);
    }
    let done = act(Opened::Plain(&mut claims))?;
    claims.close()?;
    Ok(done)
}

/// Locks the table to the transaction's end as [`open`] does to make a claim. False if others keep
/// it locked and `wait` is not wanted.
pub fn lock(wait: bool) -> Result<bool, Raised> {
    refuse_read_only(c"INSERT")?;
    let mode = pg_sys::RowExclusiveLock as i32;
    let table = shape::table()?;
    if table == pg_sys::Oid::INVALID {
        return Ok(true);
    }
    // SAFETY: a number of a table; that it may be gone meanwhile is noticed when it is opened.
    unsafe {
        guard(|| match wait {
            true => {
                raw::LockRelationOid(table, mode);
                true
            }
            false => raw::ConditionalLockRelationOid(table, mode),
        })
    }
}

/// The open table.
pub struct Claims<'a> {
    heap: Relation,
    /// The index that decides.
    index: Relation,
    indexes: Indexes,
    mode: i32,
    /// One of its own, where the caller has none; else null.
    snapshot: Snapshot,
    /// Where a scan that is kept allocates, whatever context the caller works in.
    memory: MemoryContext,
    /// What the scan and the run hold belongs to it, also where a subtransaction has begun since.
    resources: ResourceOwner,
    cursor: &'a mut Cursor,
    walk: Walk,
    run: Run,
}

/// What a scan of the index points to: it stays where it is while the scan lives.
struct Cursor {
    keys: [ScanKeyData; KEY_COLUMNS],
    /// Where a walk began, a key for each column.
    first: [ScanKeyData; KEY_COLUMNS],
    dirty: SnapshotData,
    /// A scan that is kept from probe to probe, or null.
    scan: IndexScanDesc,
}

impl<'t> Claims<'t> {
    /// What is true of the name now, whatever the transaction's snapshot is. Never waits.
    pub fn probe(&mut self, name: &Name) -> Result<Found<'t>, Raised> {
        self.rest()?;
        let (heap, index) = (self.heap, self.index);
        let cursor = ptr::from_mut(&mut *self.cursor);
        // SAFETY: the relations are open, and what the table is fit for says that the index is on the
        // storage key. The leaf is let go of within the guard, or by the error that ends it.
        let found = unsafe {
            guard(|| {
                if pg_sys::InterruptPending != 0 {
                    raw::ProcessInterrupts();
                }
                match leaf::find(index, name.storage_key) {
                    Leaf::Nothing => Some(Found::Nothing),
                    Leaf::Some(entries) => {
                        let snapshot = (*cursor).dirty();
                        let mut rows = entries.rows().iter();
                        let claim = rows.find_map(|row| visible(heap, *row, snapshot, name).claim);
                        entries.let_go();
                        Some((*cursor).found(claim))
                    }
                    Leaf::Unclear => None,
                }
            })
        }?;
        let found = match found {
            Some(found) => found,
            None => self.scan(name)?,
        };
        injection_point::reach(Point::Probe)?;
        Ok(found)
    }

    /// What is true of the name, by a scan of the index: however many entries there are.
    fn scan(&mut self, name: &Name) -> Result<Found<'t>, Raised> {
        let (heap, index, memory) = (self.heap, self.index, self.memory);
        // An error breaks the kept scan off: it is not used again, and what it holds is released
        // with the (sub)transaction that the error ends.
        let kept = mem::replace(&mut self.cursor.scan, ptr::null_mut());
        let cursor = ptr::from_mut(&mut *self.cursor);
        // SAFETY: the relations are open, and the cursor outlives the scan that points to it.
        let found = unsafe {
            guard(|| {
                let own = match kept.is_null() {
                    true => memory::of_scan(),
                    false => memory,
                };
                let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, own);
                let scan = match kept.is_null() {
                    true => Cursor::scan_dirty(cursor, heap, index, name.storage_key),
                    false => {
                        Cursor::aim(kept, name.storage_key);
                        kept
                    }
                };
                let found = (*cursor).found(next(scan, heap, name, caller));
                match kept.is_null() {
                    true => raw::index_endscan(scan),
                    false => (*cursor).rest(scan),
                }
                pg_sys::CurrentMemoryContext = caller;
                found
            })
        }?;
        self.cursor.scan = kept;
        Ok(found)
    }

    /// Who has inserted the name, as any of the indexes says, where an insertion failed though the one that
    /// decides shows nothing. While REINDEX CONCURRENTLY puts an index in the place of another, sessions
    /// differ in which one decides, and so in which one they insert first.
    pub fn rival(&mut self, name: &Name) -> Result<Option<Holder>, Raised> {
        self.rest()?;
        let (heap, indexes) = (self.heap, self.open_indexes()?);
        let cursor = ptr::from_mut(&mut *self.cursor);
        // SAFETY: the relations are open, and the cursor outlives the scans.
        let rival = unsafe {
            guard(|| {
                let mut rival = None;
                for index in indexes {
                    if index.is_null() || rival.is_some() {
                        continue;
                    }
                    let own = memory::of_scan();
                    let caller = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, own);
                    let scan = Cursor::scan_dirty(cursor, heap, index, name.storage_key);
                    let claim = next(scan, heap, name, caller);
                    if let Found::Held(holder) = (*cursor).found(claim) {
                        rival = Some(holder);
                    }
                    raw::index_endscan(scan);
                    pg_sys::CurrentMemoryContext = caller;
                }
                rival
            })
        }?;
        self.close_indexes(indexes)?;
        Ok(rival)
    }

    /// Waits for the end of the transaction.
    pub fn wait(&mut self, holder: Holder) -> Result<(), Raised> {
        self.end_run()?;
        injection_point::reach(Point::Wait)?;
        let (heap, mut at) = (self.heap, holder.at);
        let at = &raw mut at;
        // SAFETY: the table is open; no pin is held.
        unsafe {
            guard(|| {
                if holder.insertion != 0 {
                    raw::SpeculativeInsertionWait(holder.transaction, holder.insertion);
                } else {
                    let reason = pg_sys::XLTW_Oper::XLTW_InsertIndex;
                    raw::XactLockTableWait(holder.transaction, heap, at, reason);
                }
            })
        }
    }

    /// Makes a claim where [`Found::Nothing`] was. False if somebody came first: then nothing is
    /// left of it but a dead row.
    ///
    /// The insertion is speculative: others who meet the row wait until it is known whether all
    /// indexes took it. So two who insert at once cannot both stay, nor one raise an error.
    pub fn insert(&mut self, name: &Name, entry: &Entry) -> Result<bool, Raised> {
        self.may_write()?;
        let heap = self.heap;
        let mut key = key::values(name.storage_key);
        let (key, indexes) = (&raw mut key, self.open_indexes()?);
        // What an error breaks off ends with the (sub)transaction.
        let mut run = mem::replace(&mut self.run, Run::single(self.resources));
        let mut row = Row::new();
        // SAFETY: the relations are open and locked for writing. The order is the executor's.
        let (inserted, run) = unsafe {
            guard(|| {
                let transaction = raw::GetCurrentTransactionId();
                let row = row.form(name, entry);
                (*(*row).t_data).t_ctid = insertion_number(run.begin_row(transaction));
                let command = raw::GetCurrentCommandId(true);
                let speculative = pg_sys::HEAP_INSERT_SPECULATIVE as _;
                raw::heap_insert(heap, row, command, speculative, ptr::null_mut());
                let at = &raw mut (*row).t_self;
                let partial = pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL;
                let is_first = insert_into(indexes, key, at, heap, partial);
                injection_point::reach_within_guard(Point::Confirm);
                if is_first {
                    raw::heap_finish_speculative(heap, at);
                } else {
                    raw::heap_abort_speculative(heap, at);
                }
                run.end_row();
                (is_first, run)
            })
        }?;
        self.run = run;
        self.close_indexes(indexes)?;
        Ok(inserted)
    }

    /// Makes the claim anew. Waits for those who have locked it. False if it was changed or
    /// removed since it was found.
    pub fn renew(&mut self, claim: &Claim, name: &Name, entry: &Entry) -> Result<bool, Raised> {
        self.may_write()?;
        self.end_run()?;
        if claim.is_rolled_back() {
            return Ok(false);
        }
        let heap = self.heap;
        let (mut key, mut at) = (key::values(name.storage_key), claim.at);
        let (key, at) = (&raw mut key, &raw mut at);
        let indexes = self.open_indexes()?;
        let mut row = Row::new();
        injection_point::reach(Point::Renew)?;
        // SAFETY: the relations are open and locked for writing.
        let renewed = unsafe {
            guard(|| {
                // So that the own claim of this very statement can be made anew.
                raw::CommandCounterIncrement();
                let row = row.form(name, entry);
                let is_done = update(heap, at, row);
                if is_done && u32::from((*(*row).t_data).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE == 0
                {
                    let whole = pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES;
                    insert_into(indexes, key, &raw mut (*row).t_self, heap, whole);
                }
                is_done
            })
        }?;
        self.close_indexes(indexes)?;
        Ok(renewed)
    }

    /// Removes the claim. Waits for those who have locked it, or are changing it. False if it was
    /// changed or removed since it was found.
    pub fn remove(&mut self, claim: &Claim) -> Result<bool, Raised> {
        self.may_write()?;
        self.end_run()?;
        if claim.is_rolled_back() {
            return Ok(false);
        }
        let heap = self.heap;
        let mut at = claim.at;
        let at = &raw mut at;
        // SAFETY: the table is open and locked for writing.
        unsafe {
            guard(|| {
                raw::CommandCounterIncrement();
                let command = raw::GetCurrentCommandId(true);
                let mut failure = MaybeUninit::uninit();
                let result = raw::heap_delete(
                    heap,
                    at,
                    command,
                    #[cfg(feature = "pg19")]
                    0,
                    ptr::null_mut(),
                    true,
                    failure.as_mut_ptr(),
                    #[cfg(not(feature = "pg19"))]
                    false,
                );
                result == pg_sys::TM_Result::TM_Ok
            })
        }
    }

    /// The claim as the snapshot of `view` has it, those of the own transaction included. Under
    /// SERIALIZABLE the answer counts as a read.
    pub fn newest(&mut self, name: &Name, view: View) -> Result<Option<Claim<'t>>, Raised> {
        let (heap, index) = (self.heap, self.index);
        let cursor = ptr::from_mut(&mut *self.cursor);
        // SAFETY: the relations are open. The key is copied into the scan, which ends here, as
        // the snapshot does; an error releases both with the (sub)transaction.
        unsafe {
            guard(|| {
                raw::CommandCounterIncrement();
                (*cursor).prepare(name.storage_key);
                let snapshot = raw::RegisterSnapshot(match view {
                    View::Isolated => raw::GetTransactionSnapshot(),
                    View::Newest => raw::GetLatestSnapshot(),
                });
                let scan = begin_scan(heap, index, snapshot, (*cursor).keys());
                let found = next(scan, heap, name, pg_sys::CurrentMemoryContext);
                raw::index_endscan(scan);
                raw::UnregisterSnapshot(snapshot);
                found
            })
        }
    }

    /// Whether the transaction's snapshot sees the claim. Under SERIALIZABLE that counts as having
    /// read it, so that removing it conflicts with the answer.
    pub fn is_in_snapshot(&mut self, claim: &Claim) -> Result<bool, Raised> {
        let (heap, at) = (self.heap, claim.at);
        // SAFETY: the table is open; no pin is kept.
        unsafe {
            guard(|| {
                let snapshot = raw::RegisterSnapshot(raw::GetTransactionSnapshot());
                let mut row = HeapTupleData {
                    t_self: at,
                    ..mem::zeroed()
                };
                let mut buffer = 0;
                let row = &raw mut row;
                let is_seen = raw::heap_fetch(heap, snapshot, row, &raw mut buffer, false);
                if is_seen {
                    raw::ReleaseBuffer(buffer);
                }
                raw::UnregisterSnapshot(snapshot);
                is_seen
            })
        }
    }

    /// Begins the scan that all probes share. It belongs to the subtransaction that opened the
    /// table, so that the rollback of a later one leaves it whole.
    fn keep_scan(&mut self) -> Result<(), Raised> {
        let (heap, index) = (self.heap, self.index);
        let cursor = ptr::from_mut(&mut *self.cursor);
        // Each probe says what it looks for.
        let any = StorageKey::default();
        // SAFETY: the relations are open, and the cursor outlives the scan.
        self.cursor.scan = unsafe { guard(|| Cursor::scan_dirty(cursor, heap, index, any)) }?;
        Ok(())
    }

    /// Lets those go on who wait for rows that are inserted by now.
    fn end_run(&mut self) -> Result<(), Raised> {
        let mut run = self.run;
        if run.is_open() {
            // SAFETY: no row is incomplete between two calls.
            self.run = unsafe {
                guard(|| {
                    run.end();
                    run
                })
            }?;
        }
        Ok(())
    }

    /// One opened to look may write where its transaction may.
    fn may_write(&mut self) -> Result<(), Raised> {
        let mode = pg_sys::RowExclusiveLock as i32;
        if self.mode == mode {
            return Ok(());
        }
        refuse_read_only(c"INSERT")?;
        let heap = self.heap;
        // SAFETY: the table is open.
        unsafe { guard(|| raw::LockRelationOid((*heap).rd_id, mode)) }
    }

    /// All indexes that a new row goes into, the one that decides first.
    fn open_indexes(&self) -> Result<OpenIndexes, Raised> {
        let mut open = [ptr::null_mut(); Indexes::MOST];
        open[0] = self.index;
        for (place, id) in open.iter_mut().zip(self.indexes.ids()).skip(1) {
            *place = open_index(*id, self.mode)?;
        }
        Ok(open)
    }

    fn close_indexes(&self, indexes: OpenIndexes) -> Result<(), Raised> {
        for index in indexes.into_iter().skip(1) {
            if !index.is_null() {
                let mode = self.mode;
                // SAFETY: opened by open_indexes with this mode.
                unsafe { guard(|| raw::index_close(index, mode)) }?;
            }
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), Raised> {
        self.end_run()?;
        let (scan, heap, snapshot) = (self.cursor.scan, self.heap, self.snapshot);
        let (index, keep_lock) = (self.index, pg_sys::NoLock as i32);
        // SAFETY: all are open, and nobody has them after `self`. The locks stay: the next call of
        // the transaction finds them.
        unsafe {
            guard(|| {
                if !scan.is_null() {
                    raw::index_endscan(scan);
                }
                raw::index_close(index, keep_lock);
                raw::relation_close(heap, keep_lock);
                if !snapshot.is_null() {
                    raw::UnregisterSnapshot(snapshot);
                }
            })
        }
    }
}

impl Claim<'_> {
    /// Whether the own subtransaction that made it was rolled back since: then its place may be
    /// another row's by now.
    fn is_rolled_back(&self) -> bool {
        // SAFETY: looks at this backend's own transactions, and raises nothing.
        self.is_own && !unsafe { raw::TransactionIdIsCurrentTransactionId(self.maker) }
    }
}

type OpenIndexes = [Relation; Indexes::MOST];

impl Cursor {
    fn new() -> Self {
        // SAFETY: all are plain C data, for which zeros are a valid value.
        unsafe { mem::zeroed() }
    }

    /// Fills what a scan needs.
    unsafe fn prepare(&mut self, storage_key: StorageKey) {
        // SAFETY: the caller is within a guard.
        self.keys = unsafe { equal_to(storage_key) };
    }

    /// What is true now.
    fn dirty(&mut self) -> Snapshot {
        self.dirty.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
        &raw mut self.dirty
    }

    fn keys(&mut self) -> *mut ScanKeyData {
        self.keys.as_mut_ptr()
    }

    /// Makes a scan that rests one for this storage key: it reads its own copy of the keys.
    unsafe fn aim(scan: IndexScanDesc, storage_key: StorageKey) {
        for (at, value) in key::values(storage_key).into_iter().enumerate() {
            // SAFETY: the scan was begun with as many keys.
            unsafe { (*(*scan).keyData.add(at)).sk_argument = value }
        }
    }

    /// Takes the scan back to where it begins: it keeps no page.
    unsafe fn rest(&mut self, scan: IndexScanDesc) {
        // SAFETY: the scan was begun with as many keys, which are copied.
        unsafe {
            raw::index_rescan(scan, self.keys(), KEY_COLUMNS as i32, ptr::null_mut(), 0);
        }
    }

    /// Begins a scan for a storage key by what is true now.
    unsafe fn scan_dirty(
        cursor: *mut Self,
        heap: Relation,
        index: Relation,
        storage_key: StorageKey,
    ) -> IndexScanDesc {
        // SAFETY: the caller's cursor outlives the scan, and its relations are open.
        unsafe {
            (*cursor).prepare(storage_key);
            begin_scan(heap, index, (*cursor).dirty(), (*cursor).keys())
        }
    }

    /// What a claim that the dirty snapshot shows means: the snapshot names the transaction that
    /// is making it, or is changing or removing it.
    fn found<'t>(&self, claim: Option<Claim<'t>>) -> Found<'t> {
        let Some(claim) = claim else {
            return Found::Nothing;
        };
        let none = TransactionId::from(0);
        let (maker, changer) = (self.dirty.xmin, self.dirty.xmax);
        if maker == none && changer == none {
            return Found::Claim(claim);
        }
        Found::Held(Holder {
            transaction: if maker == none { changer } else { maker },
            insertion: self.dirty.speculativeToken,
            at: claim.at,
        })
    }
}

unsafe fn begin_scan(
    heap: Relation,
    index: Relation,
    snapshot: Snapshot,
    keys: *mut ScanKeyData,
) -> IndexScanDesc {
    const COUNT: i32 = KEY_COLUMNS as i32;
    // SAFETY: the caller's relations are open; the snapshot outlives the scan, the keys are copied.
    unsafe {
        let scan = raw::begin_scan(heap, index, snapshot, COUNT);
        raw::index_rescan(scan, keys, COUNT, ptr::null_mut(), 0);
        scan
    }
}

/// The next row that the scan's snapshot shows.
///
/// The scan allocates for itself at any time: the current memory is its own, `caller` that of what
/// is needed only now.
unsafe fn next<'t>(
    scan: IndexScanDesc,
    heap: Relation,
    name: &Name,
    caller: MemoryContext,
) -> Option<Claim<'t>> {
    // SAFETY: the caller's scan of the caller's table.
    unsafe {
        loop {
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            if raw::index_getnext_tid(scan, forward).is_null() {
                return None;
            }
            let claim = visible_entry(scan, heap, name, caller);
            if claim.is_some() {
                return claim;
            }
        }
    }
}

/// The row of the entry that the scan stands at, if the scan's snapshot shows it.
unsafe fn visible_entry<'t>(
    scan: IndexScanDesc,
    heap: Relation,
    name: &Name,
    caller: MemoryContext,
) -> Option<Claim<'t>> {
    // SAFETY: the caller's scan of the caller's table.
    unsafe {
        let own = ptr::replace(&raw mut pg_sys::CurrentMemoryContext, caller);
        let seen = visible(heap, (*scan).xs_heaptid, (*scan).xs_snapshot, name);
        pg_sys::CurrentMemoryContext = own;
        // Tells the index that the entry is of use to nobody.
        (*scan).kill_prior_tuple = seen.is_dead_to_all && !(*scan).xactStartedInRecovery;
        seen.claim
    }
}

/// What a snapshot shows of a row.
struct Seen<'t> {
    claim: Option<Claim<'t>>,
    is_dead_to_all: bool,
}

/// The row of an entry of the index, if the snapshot shows it. Its page is let go of before it
/// returns.
unsafe fn visible<'t>(
    heap: Relation,
    mut at: ItemPointerData,
    snapshot: Snapshot,
    name: &Name,
) -> Seen<'t> {
    // SAFETY: the steps are those of the table access method's index fetch. The row is read under
    // the pin, which keeps it where it is.
    unsafe {
        let block = (u32::from(at.ip_blkid.bi_hi) << 16) | u32::from(at.ip_blkid.bi_lo);
        let buffer = raw::ReadBuffer(heap, block);
        raw::prune(heap, buffer);
        let mut row: HeapTupleData = mem::zeroed();
        let mut is_dead_to_all = false;
        raw::lock_to_read(buffer);
        let is_seen = raw::heap_hot_search_buffer(
            &raw mut at,
            heap,
            buffer,
            snapshot,
            &raw mut row,
            &raw mut is_dead_to_all,
            true,
        );
        // Others write the header under the lock. Of a row that they are making or changing nothing else
        // counts, and its large values, which are elsewhere, may go at any moment.
        let header = is_seen.then(|| Header::of(&raw const row));
        let is_held = (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_DIRTY
            && [(*snapshot).xmin, (*snapshot).xmax] != [TransactionId::from(0); 2];
        raw::unlock(buffer);
        let claim = header.map(|header| {
            row.t_self = at;
            read(heap, &raw mut row, header, (!is_held).then_some(name))
        });
        raw::ReleaseBuffer(buffer);
        Seen {
            is_dead_to_all: claim.is_none() && is_dead_to_all,
            claim,
        }
    }
}

/// What a row says of its transactions.
#[derive(Clone, Copy)]
struct Header {
    maker: TransactionId,
    changer: TransactionId,
    marks: u32,
}

impl Header {
    /// # Safety
    /// The row's page is locked.
    unsafe fn of(row: *const HeapTupleData) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let header = &*(*row).t_data;
            Self {
                maker: header.t_choice.t_heap.t_xmin,
                changer: header.t_choice.t_heap.t_xmax,
                marks: header.t_infomask.into(),
            }
        }
    }

    fn is_own(self) -> bool {
        // SAFETY: looks at this backend's own transactions, and raises nothing.
        self.marks & pg_sys::HEAP_XMIN_COMMITTED == 0
            && unsafe { raw::TransactionIdIsCurrentTransactionId(self.maker) }
    }

    /// The open transaction of another session that has locked the row, if only one has.
    ///
    /// # Safety
    /// Called within a guard.
    unsafe fn locker(self) -> Option<TransactionId> {
        const LOCK: u32 = pg_sys::HEAP_XMAX_LOCK_ONLY;
        const NONE_OR_MANY: u32 = pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_IS_MULTI;
        // SAFETY: asks for the state of a transaction.
        let is_locked = unsafe {
            self.marks & LOCK != 0
                && self.marks & NONE_OR_MANY == 0
                && !raw::TransactionIdIsCurrentTransactionId(self.changer)
                && raw::TransactionIdIsInProgress(self.changer)
        };
        is_locked.then_some(self.changer)
    }
}

/// Reads a row under its pin, its name only where one is asked for. A row without a name is of no name,
/// whatever the columns promise: a constraint may be there that was not checked for the rows before it.
unsafe fn read<'t>(
    heap: Relation,
    row: HeapTuple,
    header: Header,
    name: Option<&Name>,
) -> Claim<'t> {
    let mut values = [Datum::null(); COLUMNS.len()];
    let mut nulls = [false; COLUMNS.len()];
    // SAFETY: the table has these columns, and no more; the row is pinned.
    unsafe {
        raw::heap_deform_tuple(row, (*heap).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        let at = (*row).t_self;
        let [.., ns, key, expires_at, owner] = values;
        let [.., no_ns, no_key, no_expiry, no_owner] = nulls;
        Claim {
            is_of_name: name.is_some_and(|name| {
                !(no_ns || no_key) && text(key) == name.key && text(ns) == name.ns
            }),
            expires_at: (!no_expiry).then_some(expires_at.value() as i64),
            owner: (!no_owner).then(|| *owner.cast_mut_ptr::<[u8; 16]>()),
            is_own: header.is_own(),
            locker: header.locker().map(|transaction| Holder {
                transaction,
                insertion: 0,
                at,
            }),
            maker: header.maker,
            at,
            table: PhantomData,
        }
    }
}

/// The bytes of a text in a row.
unsafe fn text<'a>(datum: Datum) -> &'a [u8] {
    // SAFETY: the column is a text, which is not NULL.
    unsafe {
        let text = raw::pg_detoast_datum_packed(datum.cast_mut_ptr());
        let length = pgrx::varsize_any_exhdr(text);
        slice::from_raw_parts(pgrx::vardata_any(text).cast(), length)
    }
}

/// Where a row points to while its insertion is speculative: at the number of the insertion.
fn insertion_number(number: u32) -> ItemPointerData {
    const SPECULATIVE: u16 = 0xfffe;
    ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: (number >> 16) as u16,
            bi_lo: number as u16,
        },
        ip_posid: SPECULATIVE,
    }
}

/// Whether all unique indexes took the row as the first of its storage key.
unsafe fn insert_into(
    indexes: OpenIndexes,
    key: *mut [Datum; KEY_COLUMNS],
    at: *mut ItemPointerData,
    heap: Relation,
    check: pg_sys::IndexUniqueCheck::Type,
) -> bool {
    let mut nulls = [false; KEY_COLUMNS];
    let mut is_first = true;
    // SAFETY: the relations are open; a B-tree asks nothing of the description but its kind.
    unsafe {
        let mut info: IndexInfo = mem::zeroed();
        info.type_ = pg_sys::NodeTag::T_IndexInfo;
        let (values, nulls, info) = ((*key).as_mut_ptr(), nulls.as_mut_ptr(), &raw mut info);
        for index in indexes {
            if !index.is_null() {
                injection_point::reach_within_guard(Point::Insert);
                is_first &= raw::index_insert(index, values, nulls, at, heap, check, false, info);
            }
        }
    }
    is_first
}

/// Whether the row at `at` was there and is now `row`.
unsafe fn update(heap: Relation, at: *mut ItemPointerData, row: HeapTuple) -> bool {
    let mut failure = MaybeUninit::uninit();
    let mut lock = pg_sys::LockTupleMode::LockTupleExclusive;
    #[cfg(not(feature = "pg15"))]
    let mut indexes = pg_sys::TU_UpdateIndexes::TU_None;
    // SAFETY: the table is open and locked for writing; the row is formed for it.
    let result = unsafe {
        let command = raw::GetCurrentCommandId(true);
        raw::heap_update(
            heap,
            at,
            row,
            command,
            #[cfg(feature = "pg19")]
            0,
            ptr::null_mut(),
            true,
            failure.as_mut_ptr(),
            &raw mut lock,
            #[cfg(not(feature = "pg15"))]
            (&raw mut indexes),
        )
    };
    result == pg_sys::TM_Result::TM_Ok
}

/// A snapshot of this moment where there is none; null where there is one.
fn snapshot_where_none_is() -> Result<Snapshot, Raised> {
    // SAFETY: to ask reads this backend's state, and raises nothing. What is registered is so with
    // the resource owner, which releases it where an error ends the call.
    unsafe {
        if raw::HaveRegisteredOrActiveSnapshot() {
            return Ok(ptr::null_mut());
        }
        guard(|| raw::RegisterSnapshot(raw::GetTransactionSnapshot()))
    }
}

fn refuse_read_only(command: &CStr) -> Result<(), Raised> {
    let command = command.as_ptr();
    // SAFETY: reads this backend's state; the string is static.
    unsafe {
        if !pg_sys::XactReadOnly && !raw::IsInParallelMode() {
            return Ok(());
        }
        guard(|| {
            raw::PreventCommandIfReadOnly(command);
            raw::PreventCommandIfParallelMode(command);
        })
    }
}

fn open_index(id: pg_sys::Oid, mode: i32) -> Result<Relation, Raised> {
    // SAFETY: the table is locked, so that its index is there.
    unsafe { guard(|| raw::index_open(id, mode)) }
}

/// Closes the table. Its lock stays to the transaction's end.
fn close(heap: Relation) -> Result<(), Raised> {
    // SAFETY: opened by `shape::open`.
    unsafe { guard(|| raw::relation_close(heap, pg_sys::NoLock as i32)) }
}
