//! The extension's own tables, and acting as their owner.
//!
//! A table of schema `once` is a name that statements use later, with more rights than the caller
//! has. So it is looked up, locked, and proved under the lock to be the table that CREATE EXTENSION
//! made; only then the statements run, as its owner. The proof is kept for the session until
//! PostgreSQL announces a change of what it rests on. That the table is a member of the extension is checked when a session first uses it,
//! and again after such a change.
//!
//! Under the lock the name goes on to lead to the table: DROP, RENAME and SET SCHEMA of a table, and
//! DROP EXTENSION, wait for the lock. ALTER SCHEMA once RENAME does not, but it takes the owner of the
//! schema, whose rights these are.
//!
//! Strangers can add nothing else than triggers, where they were granted TRIGGER, and foreign keys
//! that point to the table, where they were granted REFERENCES, whose triggers are core's own. Rules,
//! indexes, defaults, checks, policies, partitions and children take the owner of the table.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{
    self, BOOLOID, CHAROID, INT4OID, INT8OID, INTERVALOID, JSONBOID, NameData, Oid, REGROLEOID,
    Relation, TEXTOID, TIMESTAMPTZOID, UUIDOID, XID8OID,
};

use super::Call;
use super::guard::{Raised, guard};
use super::local::{self, Meanwhile};
use super::role::Role;
use super::{catalog, citus, claims, identity, invalidation, raw};

/// A table that the extension has made in schema `once`: `MergedRows` by a merge, for the owner of the
/// extension, all others as its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTable {
    AccessPolicy,
    AccessPolicyShared,
    Claim,
    MergedRows,
    WorkFloor,
    WorkRecord,
}

/// What statements do with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They read them, also on a standby.
    Read,
    /// They write them, or lock rows.
    Write,
}

impl Access {
    pub(super) fn lock(self) -> c_int {
        match self {
            Self::Read => pg_sys::AccessShareLock as c_int,
            Self::Write => pg_sys::RowExclusiveLock as c_int,
        }
    }
}

/// Why a table is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    Missing(OwnTable),
    /// It is not, or no longer, as the extension has made it.
    Foreign(OwnTable, Flaw),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    NotATable,
    NotAMember,
    SchemaNotAMember,
    /// Of another role than the schema, and of no superuser.
    Owner,
    /// Of another role than a table that is used together with it.
    OwnersDiffer,
    Columns,
    /// A trigger that may be somebody else's.
    Trigger(String),
    /// A partition or child of another owner.
    Child,
}

impl OwnTable {
    const COUNT: usize = 6;

    /// The name in schema `once`.
    pub fn name(self) -> &'static str {
        self.c_name().to_str().unwrap_or_default()
    }

    fn c_name(self) -> &'static CStr {
        match self {
            Self::AccessPolicy => c"access_policy",
            Self::AccessPolicyShared => c"access_policy_shared",
            Self::Claim => c"claim",
            Self::MergedRows => c"merged_rows",
            Self::WorkFloor => c"work_floor",
            Self::WorkRecord => c"work_record",
        }
    }

    /// The columns that statements rely on. The owner may add others.
    fn columns(self) -> &'static [(&'static CStr, Oid)] {
        match self {
            Self::AccessPolicy => &[
                (c"ns", TEXTOID),
                (c"ttl", INTERVALOID),
                (c"allowed_role", REGROLEOID),
            ],
            Self::AccessPolicyShared => &[
                (c"ns", TEXTOID),
                (c"ttl", INTERVALOID),
                (c"allowed_role", TEXTOID),
            ],
            Self::Claim => &claims::COLUMNS,
            Self::MergedRows => &[
                (c"id", UUIDOID),
                (c"merged_at", TIMESTAMPTZOID),
                (c"merged_in", XID8OID),
                (c"merged_by", TEXTOID),
                (c"table_name", TEXTOID),
                (c"reason", TEXTOID),
                (c"key", JSONBOID),
                (c"kept", JSONBOID),
                (c"removed", JSONBOID),
                (c"moved", JSONBOID),
            ],
            Self::WorkFloor => &[(c"one", BOOLOID), (c"token", INT8OID)],
            Self::WorkRecord => &[
                claims::KEY[0],
                claims::KEY[1],
                claims::KEY[2],
                claims::KEY[3],
                (c"token", INT8OID),
                (c"begun_at", TIMESTAMPTZOID),
                (c"lease_until", TIMESTAMPTZOID),
                (c"finished_at", TIMESTAMPTZOID),
                (c"expires_at", TIMESTAMPTZOID),
                (c"request", UUIDOID),
                (c"attempt", INT4OID),
                (c"state", CHAROID),
                (c"ns", TEXTOID),
                (c"key", TEXTOID),
                (c"result", JSONBOID),
                (c"worker", TEXTOID),
            ],
        }
    }

    fn is_member(self) -> bool {
        self != Self::MergedRows
    }

    /// The schema and the table that the name leads to now.
    fn resolve(self) -> Result<Option<(Oid, Oid)>, Raised> {
        catalog::in_once(self.c_name())
    }
}

/// Runs `act` as the owner of these tables, which are locked before and proved to be the
/// extension's own. `act` uses no others of schema `once`.
///
/// It is a security-restricted operation: no deferred trigger is left for the time after it, and
/// functions of triggers find nothing by the caller's search_path. The caller's identity and
/// settings are restored however `act` ends: here, or by the abort of the (sub)transaction.
pub fn run_as_owner<T, E: From<Raised> + From<Unusable>>(
    tables: &[OwnTable],
    access: Access,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    match owner_of::<E>(tables, access)? {
        Some(owner) => identity::restricted(Role(owner), 0, c"pg_catalog, pg_temp", act),
        None => act(),
    }
}

/// Runs `act`, which makes the table, as the owner of schema `once`. The schema is proved to be the
/// extension's own, and locked until the transaction ends: of all who would make a table, one does.
///
/// The caller's settings that say where and how tables are stored do not count.
pub fn run_as_schema_owner<T, E: From<Raised> + From<Unusable>>(
    table: OwnTable,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    const STORAGE: [(&CStr, &CStr); 2] = [
        (c"default_tablespace", c""),
        (c"default_table_access_method", c"heap"),
    ];
    let mode = pg_sys::ShareRowExclusiveLock as c_int;
    let missing = Unusable::Missing(table);
    let Some(schema) = catalog::schema_once()? else {
        return Err(missing.into());
    };
    // SAFETY: locks by object id; catalog look-ups by name and number.
    let (extension, of_schema) = unsafe {
        guard(|| {
            raw::LockDatabaseObject(pg_sys::NamespaceRelationId, schema, 0, mode);
            let extension = raw::get_extension_oid(c"pg_once".as_ptr(), true);
            let of_schema = raw::getExtensionOfObject(pg_sys::NamespaceRelationId, schema);
            (extension, of_schema)
        })
    }?;
    if extension == Oid::INVALID || of_schema != extension {
        return Err(Unusable::Foreign(table, Flaw::SchemaNotAMember).into());
    }
    let Some(owner) = catalog::owner_of_schema(schema)?
        .filter(|_| catalog::schema_once().is_ok_and(|now| now == Some(schema)))
    else {
        return Err(missing.into());
    };
    identity::restricted(Role(owner), 0, c"pg_catalog, pg_temp", || {
        local::with(&STORAGE, Meanwhile::IsUndone, act)
    })
}

/// Locks the tables and proves them. Their owner; none where there are no tables.
fn owner_of<E: From<Raised> + From<Unusable>>(
    tables: &[OwnTable],
    access: Access,
) -> Result<Option<Oid>, E> {
    let mut owner = None;
    for table in tables {
        let proof = lock(*table, access)??;
        if owner.is_some_and(|owner| owner != proof.owner) {
            return Err(Unusable::Foreign(*table, Flaw::OwnersDiffer).into());
        }
        owner = Some(proof.owner);
    }
    Ok(owner)
}

/// A table that was proved to be the extension's own, by its number: it means this one for ever.
#[derive(Clone, Copy, Debug)]
pub struct Proved {
    pub(super) table: OwnTable,
    pub(super) number: Oid,
}

/// Locks the table to the end of the transaction, and proves it.
pub fn proved(table: OwnTable, access: Access) -> Result<Result<Proved, Unusable>, Raised> {
    Ok(lock(table, access)?.map(|proof| Proved {
        table,
        number: proof.table,
    }))
}

/// Whether Citus keeps the rows of the table, which is locked to the end of the transaction.
pub fn is_distributed(table: OwnTable, access: Access) -> Result<Result<bool, Unusable>, Raised> {
    Ok(lock(table, access)?.map(|proof| proof.is_distributed))
}

/// Whether the call is that of a trigger of this table, which is the extension's own.
pub fn is_trigger_of(call: Call, table: OwnTable) -> Result<bool, Raised> {
    // SAFETY: the context of a call is null or a node; that of a trigger has its open table.
    let fired = unsafe {
        let context = (*call.raw()).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            return Ok(false);
        }
        (*(*context.cast::<pg_sys::TriggerData>()).tg_relation).rd_id
    };
    let proof = lock(table, Access::Read)?;
    Ok(proof.is_ok_and(|proof| proof.table == fired))
}

/// A table that was proved to be the extension's.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    table: Oid,
    owner: Oid,
    /// Whether it has partitions or children, whose changes count too.
    has_children: bool,
    /// Whether Citus keeps its rows.
    pub(super) is_distributed: bool,
}

thread_local! {
    static PROOFS: [Cell<Option<Proof>>; OwnTable::COUNT] =
        const { [const { Cell::new(None) }; OwnTable::COUNT] };
}

/// Counts the changes that this session has heard of. One thread writes it.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// How often the name is looked up when it leads elsewhere each time that its table is locked.
const ROUNDS: usize = 100;

/// Locks the table to the end of the transaction, as statements do, and proves it.
pub(super) fn lock(table: OwnTable, access: Access) -> Result<Result<Proof, Unusable>, Raised> {
    let mode = access.lock();
    invalidation::register();
    for _ in 0..ROUNDS {
        let id = match known(table) {
            Some(proof) => proof.table,
            None => match table.resolve()? {
                Some((_, id)) => id,
                None => return Ok(Err(Unusable::Missing(table))),
            },
        };
        // SAFETY: a number that was a table's; what was announced before the lock is heard of now.
        unsafe { guard(|| raw::LockRelationOid(id, mode)) }?;
        if let Some(proof) = known(table).filter(|proof| proof.table == id) {
            return Ok(Ok(proof));
        }
        if let Some((schema, found)) = table.resolve()?
            && found == id
        {
            let proved = prove(table, schema, id, mode)?;
            return Ok(proved.map_err(|flaw| Unusable::Foreign(table, flaw)));
        }
        // SAFETY: locked above with this mode.
        unsafe { guard(|| raw::UnlockRelationOid(id, mode)) }?;
    }
    Ok(Err(Unusable::Missing(table)))
}

fn known(table: OwnTable) -> Option<Proof> {
    PROOFS.with(|proofs| proofs[table as usize].get())
}

/// Proves that the table, which is locked, is the extension's own.
fn prove(
    table: OwnTable,
    schema: Oid,
    id: Oid,
    mode: c_int,
) -> Result<Result<Proof, Flaw>, Raised> {
    let since = CHANGES.load(Relaxed);
    // SAFETY: the caller has locked the table, which was there after that.
    let relation = unsafe { guard(|| raw::relation_open(id, pg_sys::NoLock as c_int)) }?;
    let proved = look(table, schema, relation, mode)?;
    // SAFETY: opened above; the lock stays.
    unsafe { guard(|| raw::relation_close(relation, pg_sys::NoLock as c_int)) }?;
    if let Ok(proof) = &proved
        && CHANGES.load(Relaxed) == since
    {
        PROOFS.with(|proofs| proofs[table as usize].set(Some(*proof)));
    }
    Ok(proved)
}

fn look(
    table: OwnTable,
    schema: Oid,
    relation: Relation,
    mode: c_int,
) -> Result<Result<Proof, Flaw>, Raised> {
    // SAFETY: the relation is open and locked, so what its relcache entry points to is valid.
    unsafe {
        let (id, row) = ((*relation).rd_id, &*(*relation).rd_rel);
        let is_table = [pg_sys::RELKIND_RELATION, pg_sys::RELKIND_PARTITIONED_TABLE]
            .contains(&(row.relkind as u8));
        if !is_table {
            return Ok(Err(Flaw::NotATable));
        }
        let (extension, of_schema, of_table) = guard(|| {
            (
                raw::get_extension_oid(c"pg_once".as_ptr(), true),
                raw::getExtensionOfObject(pg_sys::NamespaceRelationId, schema),
                raw::getExtensionOfObject(pg_sys::RelationRelationId, id),
            )
        })?;
        if extension == Oid::INVALID || (table.is_member() && of_table != extension) {
            return Ok(Err(Flaw::NotAMember));
        }
        if of_schema != extension {
            return Ok(Err(Flaw::SchemaNotAMember));
        }
        // A member by itself proves little: who owns the extension may add tables of his own, but
        // cannot give them to a superuser, nor to the owner of the schema.
        let owner = row.relowner;
        // It is the owner of the schema to whom CREATE EXTENSION gave its tables: the superuser that
        // created the extension, else the one that made the cluster.
        //
        // The archive may belong to the owner of the extension, or of the database, to whom a superuser
        // restores it: what is attached to it runs as its owner.
        let is_trusted = is_trusted(owner, catalog::owner_of_schema(schema)?)?
            || (!table.is_member() && catalog::is_administrator(extension, owner)?);
        if !is_trusted {
            return Ok(Err(Flaw::Owner));
        }
        if !has_columns(relation, table.columns()) {
            return Ok(Err(Flaw::Columns));
        }
        if let Some(trigger) = strange_trigger(relation, owner)? {
            return Ok(Err(Flaw::Trigger(trigger)));
        }
        let has_children = row.relhassubclass;
        if has_children && let Err(flaw) = look_at_children(id, owner, mode)? {
            return Ok(Err(flaw));
        }
        Ok(Ok(Proof {
            table: id,
            owner,
            has_children,
            is_distributed: citus::keeps(id)?,
        }))
    }
}

/// Whether the role is this owner, or a superuser.
fn is_trusted(role: Oid, owner: Option<Oid>) -> Result<bool, Raised> {
    // SAFETY: a catalog read.
    Ok(Some(role) == owner || unsafe { guard(|| raw::superuser_arg(role)) }?)
}

/// # Safety
/// The relation is open.
unsafe fn has_columns(relation: Relation, columns: &[(&CStr, Oid)]) -> bool {
    // SAFETY: as the caller promises.
    let found = unsafe { PgTupleDesc::from_pg_unchecked((*relation).rd_att) };
    columns.iter().all(|(name, kind)| {
        found.iter().any(|column| {
            !column.attisdropped && column.atttypid == *kind && name_of(&column.attname) == *name
        })
    })
}

fn name_of(name: &NameData) -> &CStr {
    // SAFETY: a name is NUL-terminated.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }
}

/// A trigger that may run somebody else's code: by its function, unless that is the owner's or a
/// superuser's, by its condition, or by what arguments make of a superuser's function.
///
/// # Safety
/// The relation is open.
unsafe fn strange_trigger(relation: Relation, owner: Oid) -> Result<Option<String>, Raised> {
    // SAFETY: as the caller promises.
    for trigger in unsafe { triggers(relation) } {
        let is_own = match catalog::owner_of_function(trigger.function)? {
            Some(role) => trigger.is_plain && is_trusted(role, Some(owner))?,
            None => false,
        };
        if !is_own {
            return Ok(Some(trigger.name));
        }
    }
    Ok(None)
}

struct FoundTrigger {
    name: String,
    function: Oid,
    /// Whether it has neither a condition nor arguments.
    is_plain: bool,
}

/// The triggers of a relation, but for core's own, which foreign keys and unique constraints have.
///
/// They are copied: a look-up in the catalogs may hear of a change, such as every VACUUM announces,
/// and then frees the descriptions of the triggers of open relations too, to make them anew.
///
/// # Safety
/// The relation is open.
unsafe fn triggers(relation: Relation) -> Vec<FoundTrigger> {
    // SAFETY: as the caller promises; names are NUL-terminated. Nothing here looks into a catalog.
    unsafe {
        let description = (*relation).trigdesc;
        if description.is_null() {
            return Vec::new();
        }
        let count = (*description).numtriggers as usize;
        std::slice::from_raw_parts((*description).triggers, count)
            .iter()
            .filter(|trigger| !trigger.tgisinternal)
            .map(|trigger| FoundTrigger {
                name: CStr::from_ptr(trigger.tgname)
                    .to_string_lossy()
                    .into_owned(),
                function: trigger.tgfoid,
                is_plain: trigger.tgqual.is_null() && trigger.tgnargs == 0,
            })
            .collect()
    }
}

/// Partitions and children, which are locked as statements lock them.
fn look_at_children(parent: Oid, owner: Oid, mode: c_int) -> Result<Result<(), Flaw>, Raised> {
    // SAFETY: the list is a copy in the memory of the call; its tables are locked.
    unsafe {
        let list = guard(|| raw::find_all_inheritors(parent, mode, ptr::null_mut()))?;
        let count = if list.is_null() { 0 } else { (*list).length };
        for at in 0..count as usize {
            let id = (*(*list).elements.add(at)).oid_value;
            let child = guard(|| raw::relation_open(id, pg_sys::NoLock as c_int))?;
            let is_owned = (*(*child).rd_rel).relowner == owner;
            let trigger = strange_trigger(child, owner)?;
            guard(|| raw::relation_close(child, pg_sys::NoLock as c_int))?;
            if !is_owned {
                return Ok(Err(Flaw::Child));
            }
            if let Some(trigger) = trigger {
                return Ok(Err(Flaw::Trigger(trigger)));
            }
        }
    }
    Ok(Ok(()))
}

/// Called for every table or index whose definition changes, with 0 for all of them.
pub(super) fn relation_changed(relation: Oid) {
    forget(|proof| relation == Oid::INVALID || proof.table == relation || proof.has_children);
}

/// Called when a schema, a role or a function changes.
pub(super) fn catalog_changed() {
    forget(|_| true);
}

fn forget(is_over: impl Fn(Proof) -> bool) {
    CHANGES.fetch_add(1, Relaxed);
    PROOFS.with(|proofs| {
        for proof in proofs {
            if proof.get().is_some_and(&is_over) {
                proof.set(None);
            }
        }
    });
}
