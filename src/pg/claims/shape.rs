//! What kind of table `once.claim` is, looked up once and again when the catalog changes.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Oid, Relation};

use super::key::{INTEGER_OPS, KEY, KEY_COLUMNS, of_key};
use crate::pg::guard::{Raised, guard};
use crate::pg::owner::{self, Access, OwnTable, Unusable};
use crate::pg::{catalog, invalidation, raw};

/// What the claim table is fit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// A plain heap of the columns that the extension made, whose only indexes are unique ones on
    /// the storage key: the claims are decided by the first of them.
    Plain { indexes: Indexes },
    /// Something that statements work on: what is special about it.
    Special(&'static str),
    /// A table whose rows Citus keeps.
    Distributed,
    /// Nothing keeps two claims of one name apart.
    Unguarded,
}

/// The indexes that a new claim goes into; the first one is valid and decides. While an index is
/// rebuilt concurrently there are up to three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indexes {
    ids: [Oid; Self::MOST],
    count: usize,
}

impl Indexes {
    pub(super) const MOST: usize = 4;

    pub(super) fn ids(&self) -> &[Oid] {
        &self.ids[..self.count]
    }

    fn push(&mut self, id: Oid) -> bool {
        let fits = self.count < Self::MOST;
        if fits {
            self.ids[self.count] = id;
            self.count += 1;
        }
        fits
    }
}

/// The table as this session knows it.
#[derive(Clone, Copy)]
struct Known {
    table: Oid,
    fitness: Option<Fitness>,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { table: Oid::INVALID, fitness: None }) };
}

/// Whether the catalog changed since the table was looked up. One thread writes it.
static STALE: AtomicBool = AtomicBool::new(true);

/// How often the table is looked up anew when it changes under the call's eyes.
const ROUNDS: usize = 100;

/// Opens and locks `once.claim`, which is the extension's own then.
///
/// The lock comes first and the look at the table after it: what was looked up before the lock
/// counts only if no change was announced since. Else the name must lead to the same table still.
pub(super) fn open(access: Access) -> Result<Result<(Relation, Fitness), Unusable>, Raised> {
    const MISSING: Unusable = Unusable::Missing(OwnTable::Claim);
    let mode = access.lock();
    invalidation::register();
    for _ in 0..ROUNDS {
        if STALE.swap(false, Relaxed) {
            // What was known is over.
            know(Oid::INVALID);
            match table() {
                Ok(table) => know(table),
                Err(raised) => {
                    STALE.store(true, Relaxed);
                    return Err(raised);
                }
            }
        }
        let table = KNOWN.get().table;
        if table == Oid::INVALID {
            STALE.store(true, Relaxed);
            return Ok(Err(MISSING));
        }
        // SAFETY: the lock stays to the end of the (sub)transaction.
        unsafe { guard(|| raw::LockRelationOid(table, mode)) }?;
        if STALE.load(Relaxed) {
            if self::table()? != table {
                // SAFETY: locked above with this mode; it is looked up anew.
                unsafe { guard(|| raw::UnlockRelationOid(table, mode)) }?;
                continue;
            }
            know(table);
        }
        // SAFETY: the table is locked and was there after that, so that it stays. The caller closes
        // it, or the abort of the (sub)transaction that an error leads to.
        let relation = unsafe { guard(|| raw::relation_open(table, pg_sys::NoLock as i32)) }?;
        let fitness = match KNOWN.get().fitness {
            Some(fitness) => fitness,
            None => {
                let proof = match owner::lock(OwnTable::Claim, access)? {
                    Ok(proof) => proof,
                    Err(unusable) => {
                        // SAFETY: opened above; the lock stays.
                        unsafe { guard(|| raw::relation_close(relation, pg_sys::NoLock as i32)) }?;
                        return Ok(Err(unusable));
                    }
                };
                let fitness = match look(relation)? {
                    Fitness::Plain { .. } | Fitness::Special(_) if proof.is_distributed => {
                        Fitness::Distributed
                    }
                    fitness => fitness,
                };
                KNOWN.set(Known {
                    table,
                    fitness: Some(fitness),
                });
                fitness
            }
        };
        return Ok(Ok((relation, fitness)));
    }
    Ok(Err(MISSING))
}

fn know(table: Oid) {
    KNOWN.set(Known {
        table,
        fitness: None,
    });
}

/// The table's number by its name; 0 where it is missing.
pub(super) fn table() -> Result<Oid, Raised> {
    Ok(catalog::in_once(c"claim")?.map_or(Oid::INVALID, |(_, table)| table))
}

/// Called for every table or index whose definition changes, with 0 for all of them.
pub(in crate::pg) fn relation_changed(relation: Oid) {
    let known = KNOWN.get();
    let is_of_claims = match known.fitness {
        Some(Fitness::Plain { indexes }) => {
            relation == known.table || indexes.ids().contains(&relation)
        }
        Some(Fitness::Distributed) => relation == known.table,
        _ => true,
    };
    if is_of_claims || relation == Oid::INVALID {
        STALE.store(true, Relaxed);
    }
}

/// Called when a schema is renamed, or a role or its memberships change.
pub(in crate::pg) fn names_changed() {
    STALE.store(true, Relaxed);
}

/// What the open table is fit for.
fn look(table: Relation) -> Result<Fitness, Raised> {
    // SAFETY: the relation is open, so what its relcache entry points to is valid.
    let kind = unsafe { (*(*table).rd_rel).relkind } as u8;
    if kind != pg_sys::RELKIND_RELATION && kind != pg_sys::RELKIND_PARTITIONED_TABLE {
        return Ok(Fitness::Special("it is not a table"));
    }
    let found = look_at_indexes(table)?;
    if found.indexes.count == 0 {
        return Ok(Fitness::Unguarded);
    }
    let special = match what_is_special(table) {
        None => found.special,
        special => special,
    };
    Ok(match special {
        Some(special) => Fitness::Special(special),
        None if !owner_may_write(table)? => Fitness::Special("its owner has not all rights on it"),
        None => Fitness::Plain {
            indexes: found.indexes,
        },
    })
}

/// The columns that the direct engine reads and writes, in order: those of the primary key first.
pub(in crate::pg) const COLUMNS: [(&CStr, Oid); 9] = [
    KEY[0],
    KEY[1],
    KEY[2],
    KEY[3],
    (c"claimed_at", pg_sys::TIMESTAMPTZOID),
    (c"ns", pg_sys::TEXTOID),
    (c"key", pg_sys::TEXTOID),
    (c"expires_at", pg_sys::TIMESTAMPTZOID),
    (c"owner", pg_sys::UUIDOID),
];

/// Why statements, with all that the executor does, are needed for this table.
fn what_is_special(table: Relation) -> Option<&'static str> {
    // SAFETY: the relation is open, so what its relcache entry points to is valid.
    unsafe {
        let row = &*(*table).rd_rel;
        let description = (*table).rd_att;
        let columns = PgTupleDesc::from_pg_unchecked(description);
        let constraints = (*description).constr;
        let is_plain_kind = row.relkind as u8 == pg_sys::RELKIND_RELATION
            && row.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT
            && row.relam == pg_sys::HEAP_TABLE_AM_OID;
        let is_family = row.relispartition || row.relhassubclass;
        let is_identified = [
            pg_sys::REPLICA_IDENTITY_DEFAULT,
            pg_sys::REPLICA_IDENTITY_FULL,
        ]
        .contains(&(row.relreplident as u8));
        let has_columns = (*description).natts as usize == COLUMNS.len()
            && COLUMNS.iter().enumerate().all(|(at, (name, kind))| {
                columns.get(at).is_some_and(|column| {
                    !column.attisdropped
                        && column.attgenerated == 0
                        && column.atttypid == *kind
                        && CStr::from_ptr(column.attname.data.as_ptr()) == *name
                })
            });
        let has_constraints = !constraints.is_null()
            && ((*constraints).num_check > 0 || (*constraints).num_defval > 0);
        let rules = [
            (!is_plain_kind, "it is not a plain, logged heap"),
            (is_family, "it is a partition, or has tables that inherit"),
            (
                !is_identified,
                "its replica identity is not its primary key",
            ),
            (!has_columns, "its columns are not those it was made with"),
            (has_constraints, "it has checks or column defaults"),
            (!(*table).trigdesc.is_null(), "it has triggers"),
            (!(*table).rd_rules.is_null(), "it has rules"),
            (row.relrowsecurity, "it has row security"),
        ];
        rules.iter().find(|rule| rule.0).map(|rule| rule.1)
    }
}

/// The unique indexes on the storage key, a valid one first, and whether there are others.
struct FoundIndexes {
    indexes: Indexes,
    special: Option<&'static str>,
}

fn look_at_indexes(table: Relation) -> Result<FoundIndexes, Raised> {
    const MODE: i32 = pg_sys::AccessShareLock as i32;
    let mut guards = Indexes {
        ids: [Oid::INVALID; Indexes::MOST],
        count: 0,
    };
    let mut twins = guards;
    let mut special = None;
    // SAFETY: the table is open and locked, so that its indexes stay while they are looked at; the
    // list is a copy in the memory of the call.
    unsafe {
        let key = key_of(table);
        let list = guard(|| raw::RelationGetIndexList(table))?;
        let count = if list.is_null() { 0 } else { (*list).length };
        for at in 0..count as usize {
            let id = (*(*list).elements.add(at)).oid_value;
            let index = guard(|| raw::index_open(id, MODE))?;
            let row = &*(*index).rd_index;
            let predicate = guard(|| raw::RelationGetIndexPredicate(index))?;
            let is_guard = row.indisunique
                && row.indimmediate
                && row.indnkeyatts as usize == KEY_COLUMNS
                && key.is_some_and(|key| of_key(row.indkey.values.as_ptr()) == key)
                && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                && of_key((*index).rd_opfamily) == [Oid::from(INTEGER_OPS); KEY_COLUMNS]
                && predicate.is_null();
            // A walk goes from the least key to the greatest.
            let is_plain = is_guard
                && row.indnatts == row.indnkeyatts
                && of_key((*index).rd_indoption) == [0; KEY_COLUMNS];
            let (is_ready, is_valid) = (row.indisready, row.indisvalid);
            guard(|| raw::index_close(index, MODE))?;
            let kept = match () {
                () if !is_ready => true,
                () if is_guard && is_valid => guards.push(id),
                () if is_plain => twins.push(id),
                () => false,
            };
            if !kept || (is_ready && !is_plain) {
                special = Some("it has other indexes than those on its storage key");
            }
        }
    }
    for twin in twins.ids() {
        if guards.count > 0 && !guards.push(*twin) {
            special = Some("it has too many indexes");
        }
    }
    Ok(FoundIndexes {
        indexes: guards,
        special,
    })
}

/// The number of a column.
///
/// # Safety
/// The table is open.
unsafe fn number_of(table: Relation, name: &CStr) -> Option<i16> {
    // SAFETY: as the caller promises; a name is NUL-terminated.
    unsafe {
        let columns = PgTupleDesc::from_pg_unchecked((*table).rd_att);
        columns
            .iter()
            .find(|column| {
                !column.attisdropped && CStr::from_ptr(column.attname.data.as_ptr()) == name
            })
            .map(|column| column.attnum)
    }
}

/// The numbers of the columns of the primary key.
///
/// # Safety
/// The table is open.
unsafe fn key_of(table: Relation) -> Option<[i16; KEY_COLUMNS]> {
    let mut key = [0; KEY_COLUMNS];
    for (number, (name, _)) in key.iter_mut().zip(KEY) {
        // SAFETY: as the caller promises.
        *number = unsafe { number_of(table, name) }?;
    }
    Some(key)
}

/// Whether the role that statements on claims are run as may do with the table what they do.
fn owner_may_write(table: Relation) -> Result<bool, Raised> {
    const RIGHTS: pg_sys::AclMode =
        (pg_sys::ACL_SELECT | pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE)
            as pg_sys::AclMode;
    // SAFETY: the table is open.
    unsafe {
        let (id, owner) = ((*table).rd_id, (*(*table).rd_rel).relowner);
        guard(|| raw::pg_class_aclmask(id, owner, RIGHTS, pg_sys::AclMaskHow::ACLMASK_ALL))
            .map(|held| held == RIGHTS)
    }
}
