//! A user's table, as far as finding and creating one of its rows goes.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::PgTupleDesc;
use pgrx::pg_sys::{self, Datum, Oid, Relation};

use super::function::Body;
use super::guard::{Raised, guard};
use super::predicate::{self, Conditions, Implication, Predicate};
use super::refusal::Refusal;
use super::value::{Kind, Value, to_server};
use super::{Call, citus, known, partition, plan, raw, session, text};

/// A plain or partitioned table.
#[derive(Debug)]
pub struct Table {
    /// Schema and name, quoted.
    pub name: String,
    pub columns: Vec<Column>,
    /// The columns of the primary key, quoted; empty where there is none.
    pub primary_key: Vec<String>,
    /// The object ids of the tables whose turns a creator takes, in this order: of all that the table
    /// is a partition of, the topmost first, else of itself.
    pub turns: Vec<u32>,
    pub is_partitioned: bool,
    /// A partitioned table or a partition: an UPDATE may move a row to another one.
    pub rows_may_move: bool,
    /// A unique or exclusion constraint that is deferrable, which ON CONFLICT without a target
    /// does not accept.
    pub has_deferrable: bool,
    /// Rules on INSERT or UPDATE, which rule ON CONFLICT out.
    pub has_rules: bool,
    /// Triggers that run before an INSERT and may change the key.
    pub has_before_triggers: bool,
    /// Triggers that run after an INSERT and may change the row again.
    pub has_after_triggers: bool,
    /// A table of core's heap whose rows stay where they are and hold all their columns.
    pub is_plain: bool,
    /// Whether Citus keeps its rows.
    pub is_distributed: bool,
    /// Row security that may decide what somebody sees of the table.
    pub may_hide_rows: bool,
    /// Whether the last row that this session asked for was a new one.
    pub last_was_new: Cell<bool>,
    /// Tells this description from all others that the session has had.
    pub version: u64,
    /// Whether the session has heard of a change since.
    pub(super) is_over: Cell<bool>,
    pub(super) oid: Oid,
    schema: Oid,
    uniques: Vec<Unique>,
    /// Those with a predicate.
    partial_uniques: Vec<Unique>,
    /// The names of the unique indexes on expressions.
    expression_uniques: Vec<String>,
    indexes: Vec<Oid>,
    /// The tables that it is a partition of.
    ancestors: Vec<Oid>,
    pub(super) row_type: Oid,
    /// All columns, dropped ones too.
    pub(super) row: Vec<Attribute>,
    /// Whether this session hears of changes of the row type.
    is_heard: Cell<bool>,
}

/// How many columns a table has at most.
pub const MOST_COLUMNS: usize = pg_sys::MaxHeapAttributeNumber as usize;

/// How many bytes a name has at most, in the encoding of the database.
pub const LONGEST_NAME: usize = pg_sys::NAMEDATALEN as usize - 1;

/// A column as a row has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    /// In the encoding of the database.
    pub(super) name: CString,
    /// 0 for a dropped one.
    pub(super) kind: Oid,
    pub(super) typmod: i32,
}

/// A column that is not dropped.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub quoted: String,
    pub kind: Kind,
    pub number: i16,
    /// Whether an INSERT that does not name the column computes a value for it.
    pub has_default: bool,
    /// What gives it its value in every new row, so that no INSERT may.
    pub generated: Option<Generated>,
    pub(super) collation: Oid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// An expression of other columns, stored or not.
    Expression,
    /// The sequence of GENERATED ALWAYS AS IDENTITY.
    Identity,
}

/// A unique index that forbids two rows with equal values in exactly these columns, of all rows or
/// of those that its predicate is true for.
#[derive(Debug)]
pub struct Unique {
    pub name: String,
    pub(super) oid: Oid,
    /// In its order.
    pub(super) parts: Vec<Part>,
    nulls_are_equal: bool,
    predicate: Option<Predicate>,
}

/// The unique index that keeps a second row with a key out.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    pub index: &'a Unique,
    /// What stands in the index under the key's values has the key. A partial index can hold others
    /// too: with the predicate `status IN ('open', 'due')` those of the other status.
    pub is_exact: bool,
}

/// A column of an index.
#[derive(Debug)]
pub(super) struct Part {
    /// The column's number in the table.
    pub(super) column: i16,
    /// The function that says whether two of its values are equal.
    pub(super) equals: Oid,
}

impl Part {
    pub(super) fn of(column: &Column) -> Result<Self, Raised> {
        let operator = equality(column.kind.base)?;
        // SAFETY: a catalog look-up, which finds nothing where there is no operator.
        let equals = unsafe { guard(|| raw::get_opcode(operator)) }?;
        Ok(Self {
            column: column.number,
            equals,
        })
    }

    /// What the key says of this column; none where it says nothing, or has a value of another type.
    pub(super) fn value_of<'k>(&self, key: &[(&Column, &'k Value<'k>)]) -> Option<&'k Value<'k>> {
        key.iter()
            .find(|(column, value)| column.number == self.column && column.kind.base == value.kind)
            .map(|(_, value)| *value)
    }
}

impl Unique {
    pub fn is_partial(&self) -> bool {
        self.predicate.is_some()
    }

    pub(super) fn covers(&self, column: &Column) -> bool {
        self.parts.iter().any(|part| part.column == column.number)
    }
}

/// What a look-up of a table found.
pub enum Opened {
    Table(Rc<Table>),
    /// Something else of this name, and what it is.
    Other {
        name: String,
        is: &'static str,
    },
    /// A type that is no table's row type.
    NoRow {
        kind: String,
    },
    Gone,
    /// The query that makes the call was planned for another row type, or another table.
    Replanned,
}

/// What a call returns of the row whose type its first argument has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// The row.
    Row,
    /// The row in this column of another one.
    Column(i16),
    /// The row, of a function whose declaration says which table's it is, not the query.
    RowOfFunction,
}

impl Table {
    /// The table whose row type the first argument has.
    pub fn of_row_type(call: Call, returns: Returns) -> Result<Opened, Raised> {
        let kind = call.kind(0)?;
        // SAFETY: a catalog read.
        let relation = unsafe { guard(|| raw::get_typ_typrelid(kind)) }?;
        Self::of_kind(kind, relation, call, returns)
    }

    /// The table whose rows the function returns that is called.
    pub fn of_result<T>(call: Call, function: &Body<T>) -> Result<Opened, Raised> {
        let Body {
            returns, relation, ..
        } = *function;
        Self::of_kind(returns, relation, call, Returns::RowOfFunction)
    }

    /// The table whose rows are of a type, which is that of a relation where it is valid.
    fn of_kind(kind: Oid, relation: Oid, call: Call, returns: Returns) -> Result<Opened, Raised> {
        let opened = Self::planned_for(kind, relation, call, returns);
        if matches!(opened, Ok(Opened::Replanned)) {
            plan::invalidate();
        }
        opened
    }

    fn planned_for(
        kind: Oid,
        relation: Oid,
        call: Call,
        returns: Returns,
    ) -> Result<Opened, Raised> {
        if relation == Oid::INVALID {
            return Ok(match text::base_type(kind) {
                Err(Raised::Refused(Refusal::Gone { .. })) => Opened::Replanned,
                base => {
                    base?;
                    Opened::NoRow {
                        kind: text::type_name(kind)?,
                    }
                }
            });
        }
        let (opened, before) = Self::open_anew(relation, true)?;
        let table = match opened {
            Opened::Table(table) => table,
            Opened::Gone => return Ok(Opened::Replanned),
            other => return Ok(other),
        };
        // A name or row type of which the session hears with the lock only is not the one that the
        // query was planned for.
        let is_renamed = returns != Returns::RowOfFunction
            && before
                .as_ref()
                .is_some_and(|before| before.name != table.name);
        let is_altered = before.is_some_and(|before| before.row != table.row);
        let fits = match returns {
            Returns::Row | Returns::RowOfFunction => {
                call.is_planned_for(&table)? && table.fits_result(call)
            }
            Returns::Column(index) => !is_altered || !call.uses_column(index)?,
        };
        if is_renamed || !fits {
            return Ok(Opened::Replanned);
        }
        if !table.is_heard.replace(true) {
            known::hear_of_row(relation);
        }
        Ok(Opened::Table(table))
    }

    /// The table of this name, quoted or not, found by the caller's search_path: the one that has
    /// the name when it is locked, whoever had it before.
    pub fn named(name: &str) -> Result<Opened, Raised> {
        let name = Value::text(to_server(name)?.as_bytes())?;
        let text = name.datum.cast_mut_ptr();
        // SAFETY: the name is a text; the lists and nodes are allocated for the call.
        let oid = unsafe {
            guard(|| {
                let names = raw::textToQualifiedNameList(text);
                let range = raw::makeRangeVarFromNameList(names);
                let lock = pg_sys::AccessShareLock as i32;
                raw::RangeVarGetRelidExtended(range, lock, 0, None, ptr::null_mut())
            })
        }?;
        Self::open(oid)
    }

    /// The table that the regclass argument at `index` is; none where that is NULL.
    pub fn of_regclass(call: Call, index: usize) -> Result<Option<Opened>, Raised> {
        call.relation(index)?.map(Self::open).transpose()
    }

    /// The relation, locked against changes of its shape to the end of the transaction where it is
    /// a table.
    fn open(oid: Oid) -> Result<Opened, Raised> {
        Ok(Self::open_anew(oid, false)?.0)
    }

    /// The same, and how the session knew the table until it was locked, where that is out of date.
    fn open_anew(oid: Oid, may_insert: bool) -> Result<(Opened, Option<Rc<Table>>), Raised> {
        session::demand_not_parallel()?;
        citus::demand_no_shard_query()?;
        let before = match known::find(oid, may_insert)? {
            Some(table) if table.is_known() => return Ok((Opened::Table(table), None)),
            before => before,
        };
        let news = known::news();
        // SAFETY: the relation is open and locked while it is read, and closed after.
        let opened = unsafe {
            let lock = pg_sys::AccessShareLock as i32;
            let relation = guard(|| raw::try_relation_open(oid, lock))?;
            if relation.is_null() {
                return Ok((Opened::Gone, before));
            }
            let opened = citus::keeps(oid).and_then(|kept| describe(relation, kept));
            let released = match opened {
                Ok(Opened::Table(_)) => pg_sys::NoLock as i32,
                _ => lock,
            };
            guard(|| raw::relation_close(relation, released))?;
            opened
        }?;
        if let Opened::Table(table) = &opened {
            known::keep(oid, table, news);
        }
        Ok((opened, before))
    }

    /// Whether the description was read from this relation, among others.
    pub(super) fn tells_of(&self, relation: Oid) -> bool {
        self.oid == relation
            || self.indexes.contains(&relation)
            || self.ancestors.contains(&relation)
    }

    /// Whether the description is still the one that this session goes by.
    pub fn is_known(&self) -> bool {
        !self.is_over.get()
    }

    /// Takes the table lock that a statement which locks rows takes, ahead of it.
    pub fn lock_for_rows(&self) -> Result<(), Raised> {
        let (oid, mode) = (self.oid, pg_sys::RowShareLock as i32);
        // SAFETY: locks by object id.
        unsafe { guard(|| raw::LockRelationOid(oid, mode)) }
    }

    /// Takes the locks that such a statement takes on the indexes, where none has to be waited for.
    pub fn locks_indexes_at_once(&self) -> Result<bool, Raised> {
        let mode = pg_sys::RowShareLock as i32;
        for oid in self.indexes.iter().copied() {
            // SAFETY: locks by object id.
            if !unsafe { guard(|| raw::ConditionalLockRelationOid(oid, mode)) }? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps foreign keys to the table, or to its partition `oid`, from coming and going, to the
    /// end of the transaction.
    pub fn lock_for_changes(oid: u32) -> Result<(), Raised> {
        let mode = pg_sys::RowExclusiveLock as i32;
        // SAFETY: locks by object id.
        unsafe { guard(|| raw::LockRelationOid(oid.into(), mode)) }
    }

    pub fn oid(&self) -> u32 {
        self.oid.to_u32()
    }

    /// Whether the query that makes the call was planned for the row type that the table has now.
    fn fits_result(&self, call: Call) -> bool {
        call.expected_row().is_none_or(|expected| {
            types(&expected).eq(self.row.iter().map(|attribute| attribute.kind))
        })
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The unique index that keeps two rows with this key out, if there is one.
    pub fn guard_of(&self, key: &[(&Column, &Value)]) -> Result<Option<Guard<'_>>, Raised> {
        let has_null = key.iter().any(|(_, value)| value.null);
        let whole = self.uniques.iter().find(|unique| {
            unique.parts.len() == key.len()
                && key.iter().all(|(column, _)| unique.covers(column))
                && (unique.nulls_are_equal || !has_null)
        });
        match whole {
            Some(index) => Ok(Some(Guard {
                index,
                is_exact: true,
            })),
            None if self.partial_uniques.is_empty() => Ok(None),
            None => self.partial_guard_of(key),
        }
    }

    /// A partial unique index on columns of the key, whose predicate follows from the key and speaks
    /// of all other columns of it; one that holds no other rows if there is one.
    fn partial_guard_of(&self, key: &[(&Column, &Value)]) -> Result<Option<Guard<'_>>, Raised> {
        let mut guard = None;
        for index in &self.partial_uniques {
            let Some(predicate) = &index.predicate else {
                continue;
            };
            let parts = key.iter().filter(|(column, _)| index.covers(column));
            let has_null = || parts.clone().any(|(_, value)| value.null);
            let fits = parts.clone().count() == index.parts.len()
                && key
                    .iter()
                    .all(|(column, _)| index.covers(column) || predicate.has(column))
                && (index.nulls_are_equal || !has_null());
            if !fits {
                continue;
            }
            match predicate.implication(index.oid, &index.parts, key)? {
                Implication::Equivalent => {
                    return Ok(Some(Guard {
                        index,
                        is_exact: true,
                    }));
                }
                Implication::Follows => {
                    guard = guard.or(Some(Guard {
                        index,
                        is_exact: false,
                    }));
                }
                Implication::None => {}
            }
        }
        Ok(guard)
    }

    /// What would have to be added to the key so that its rows are those of a partial unique index:
    /// the name of the index, and values of columns that the key does not name. As far as that can
    /// be read from the predicate; whether it is enough is for [`Self::guard_of`] to say.
    pub fn missing_conditions(
        &self,
        key: &[(&Column, &Value)],
    ) -> Result<Vec<(&str, Conditions<'_>)>, Raised> {
        let mut missing = Vec::new();
        for index in &self.partial_uniques {
            let is_in_key =
                |part: &Part| key.iter().any(|(column, _)| column.number == part.column);
            if !index.parts.iter().all(is_in_key) {
                continue;
            }
            let Some(mut conditions) = predicate::conditions(index.oid, &self.columns)? else {
                continue;
            };
            conditions
                .retain(|(column, _)| key.iter().all(|(other, _)| other.number != column.number));
            if !conditions.is_empty() {
                missing.push((index.name.as_str(), conditions));
            }
        }
        Ok(missing)
    }

    /// Whether a unique index of this name is on an expression.
    pub fn has_unique_expression(&self, index: &str) -> bool {
        self.expression_uniques.iter().any(|name| name == index)
    }

    /// Whether the current user may read all columns and change each, by rights on the table, and
    /// nobody but core is asked for that, nor for where the rows are.
    pub fn is_open_to_user(&self) -> Result<bool, Raised> {
        const RIGHTS: pg_sys::AclMode =
            (pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE) as pg_sys::AclMode;
        let (oid, schema) = (self.oid, self.schema);
        // SAFETY: reads a global of this backend; look-ups by object id.
        unsafe {
            let (rights, paths) = (
                pg_sys::ExecutorCheckPerms_hook,
                pg_sys::set_rel_pathlist_hook,
            );
            if rights.is_some() || paths.is_some() {
                return Ok(false);
            }
            guard(|| {
                let user = raw::GetUserId();
                let all = pg_sys::AclMaskHow::ACLMASK_ALL;
                raw::pg_class_aclmask(oid, user, RIGHTS, all) == RIGHTS
                    && raw::is_open(schema, user)
            })
        }
    }

    /// Whether row security decides what the current user sees of the table.
    pub fn has_row_security(&self) -> Result<bool, Raised> {
        const RLS_ENABLED: i32 = 2;
        let oid = self.oid;
        // SAFETY: a look-up by object id.
        let state = unsafe { guard(|| raw::check_enable_rls(oid, Oid::INVALID, true)) }?;
        Ok(state == RLS_ENABLED)
    }
}

impl Column {
    /// The condition that the column, of the row called `alias` if it has a name, equals `parameter`, by
    /// the equality of the column's type; none where the type has none.
    pub fn equals(&self, alias: Option<&str>, parameter: &str) -> Result<Option<String>, Raised> {
        let base = self.kind.base;
        let operator = equality(base)?;
        if operator == Oid::INVALID {
            return Ok(None);
        }
        // A polymorphic operator, such as that of enums, does not look through a domain.
        let cast = if base == self.kind.oid {
            Some(String::new())
        } else {
            text::full_type_name(base, -1)?.map(|name| format!("::{name}"))
        };
        // SAFETY: catalog reads of an existing operator; the tuple is released after its last use.
        let (name, function) = unsafe {
            let cache = pg_sys::SysCacheIdentifier::OPEROID as i32;
            let tuple = guard(|| raw::SearchSysCache1(cache, Datum::from(operator)))?;
            if tuple.is_null() {
                return Ok(None);
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_operator>();
            let name = QualifiedName {
                schema: guard(|| raw::get_namespace_name((*form).oprnamespace))?,
                name: guard(|| raw::pstrdup((&raw const (*form).oprname.data).cast()))?,
            };
            let function = (*form).oprcode;
            guard(|| raw::ReleaseSysCache(tuple))?;
            (name, function)
        };
        // SAFETY: names of the catalogs, or null.
        let condition = unsafe {
            let row = alias.map_or(String::new(), |alias| format!("{alias}."));
            let column = cast.map(|cast| format!("{row}{}{cast}", self.quoted));
            if name.is_operator(operator, base)? {
                let schema = quoted(name.schema)?;
                let name = text::from_c(name.name)?;
                column
                    .zip(schema.zip(name))
                    .map(|(column, (schema, name))| {
                        format!("{column} OPERATOR({schema}.{name}) {parameter}")
                    })
            } else {
                // Where the type has implicit casts, a polymorphic operator is one of several that fit:
                // `value = value` is 42725 then. Its function has the name alone.
                let name = QualifiedName::of_function(function)?;
                let name = quoted(name.schema)?.zip(quoted(name.name)?);
                column.zip(name).map(|(column, (schema, name))| {
                    format!("{schema}.{name}({column}, {parameter})")
                })
            }
        };
        Ok(condition)
    }

    /// The condition that the column of the row called `alias` is NULL. A composite value whose
    /// fields are NULL is none, though IS NULL says so.
    pub fn is_null(&self, alias: &str) -> String {
        format!("{alias}.{} IS NOT DISTINCT FROM NULL", self.quoted)
    }

    /// A hash that is the same for values that are equal by the column's type and collation.
    /// 0 for every value of a type that cannot be hashed, or of another one than the column's.
    pub fn hash(&self, value: &Value) -> Result<u64, Raised> {
        let (kind, collation, datum) = (self.kind.base, self.collation, value.datum);
        if value.null || value.kind != kind {
            return Ok(0);
        }
        // SAFETY: the type cache lives as long as the session; the hash function is the type's.
        unsafe {
            let hash = guard(|| {
                let flags = pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32;
                let function =
                    &raw mut (*raw::lookup_type_cache(kind, flags)).hash_extended_proc_finfo;
                if (*function).fn_oid == Oid::INVALID {
                    Datum::from(0_i64)
                } else {
                    raw::FunctionCall2Coll(function, collation, datum, Datum::from(0_i64))
                }
            })?;
            Ok(hash.value() as u64)
        }
    }

    /// Whether the column's type has an order, which a btree index needs.
    pub fn has_order(&self) -> Result<bool, Raised> {
        let kind = self.kind.base;
        let flags = pg_sys::TYPECACHE_LT_OPR as i32;
        // SAFETY: the type cache lives as long as the session.
        let less = unsafe { guard(|| (*raw::lookup_type_cache(kind, flags)).lt_opr) }?;
        Ok(less != Oid::INVALID)
    }

    /// The column's type with its schema and without its length, as a function's argument names
    /// it.
    pub fn bare_type_name(&self) -> Result<Option<String>, Raised> {
        text::full_type_name(self.kind.oid, -1)
    }

    /// The type below a domain, as a cast of a constant names it that the column is compared with.
    pub fn base_type_name(&self) -> Result<Option<String>, Raised> {
        text::full_type_name(self.kind.base, -1)
    }

    /// The column's type with its schema and length, as a column definition names it.
    pub fn type_name(&self) -> Result<Option<String>, Raised> {
        text::full_type_name(self.kind.oid, self.kind.typmod)
    }
}

/// `attgenerated` of a column that is computed when it is read.
const VIRTUAL: u8 = b'v';

/// `attidentity` of a column that no INSERT may give a value without OVERRIDING SYSTEM VALUE.
const ALWAYS: u8 = b'a';

/// The versions that were given to descriptions.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

/// Reads an open relation.
unsafe fn describe(relation: Relation, is_distributed: bool) -> Result<Opened, Raised> {
    // SAFETY: the caller holds the relation open, so its cache entry stays.
    unsafe {
        let oid = (*relation).rd_id;
        let form = &*(*relation).rd_rel;
        let schema = quoted(guard(|| {
            raw::get_namespace_name_or_temp(form.relnamespace)
        })?)?;
        let table = quoted((&raw const form.relname.data).cast())?;
        let Some((schema, table)) = schema.zip(table) else {
            return Ok(Opened::Other {
                name: oid.to_u32().to_string(),
                is: "not named in text",
            });
        };
        let name = format!("{schema}.{table}");
        if let Some(is) = unsuitable(relation)? {
            return Ok(Opened::Other { name, is });
        }
        let mut columns = Vec::new();
        let mut has_virtual = false;
        let description = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
        let row = description.iter().map(|attribute| Attribute {
            name: CStr::from_ptr((&raw const attribute.attname.data).cast()).to_owned(),
            kind: attribute.atttypid,
            typmod: attribute.atttypmod,
        });
        let row = row.collect();
        for attribute in description
            .iter()
            .filter(|attribute| !attribute.attisdropped)
        {
            has_virtual |= attribute.attgenerated as u8 == VIRTUAL;
            let raw_name = (&raw const attribute.attname.data).cast();
            let (name, quoted) = (text::from_c(raw_name)?, quoted(raw_name)?);
            if let Some((name, quoted)) = name.zip(quoted) {
                columns.push(Column {
                    name,
                    quoted,
                    kind: Kind::of(attribute.atttypid, attribute.atttypmod)?,
                    number: attribute.attnum,
                    has_default: attribute.atthasdef || attribute.attidentity != 0,
                    generated: match (attribute.attgenerated, attribute.attidentity as u8) {
                        (0, ALWAYS) => Some(Generated::Identity),
                        (0, _) => None,
                        _ => Some(Generated::Expression),
                    },
                    collation: attribute.attcollation,
                });
            }
        }
        let Indexes {
            uniques,
            partial_uniques,
            expression_uniques,
            primary_key,
            has_deferrable,
            oids: indexes,
        } = indexes(relation, &columns)?;
        let is_partition = form.relispartition;
        let ancestors = match is_partition {
            true => partition::ancestors(oid)?,
            false => Vec::new(),
        };
        let mut turns: Vec<u32> = ancestors.iter().rev().map(|oid| oid.to_u32()).collect();
        if turns.is_empty() {
            turns.push(oid.to_u32());
        }
        let triggers = insert_triggers(relation);
        let is_partitioned = form.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
        Ok(Opened::Table(Rc::new(Table {
            name,
            primary_key,
            turns,
            is_partitioned,
            rows_may_move: is_partitioned || is_partition,
            has_deferrable,
            has_rules: has_rules(relation),
            // Partitions may have triggers of their own.
            has_before_triggers: is_partitioned || triggers.before,
            has_after_triggers: is_partitioned || triggers.after,
            is_plain: form.relkind as u8 == pg_sys::RELKIND_RELATION
                && form.relam == pg_sys::HEAP_TABLE_AM_OID
                && !is_partition
                && !has_virtual,
            is_distributed,
            may_hide_rows: form.relrowsecurity,
            last_was_new: Cell::new(false),
            version: VERSIONS.fetch_add(1, Relaxed),
            is_over: Cell::new(false),
            oid,
            schema: form.relnamespace,
            uniques,
            partial_uniques,
            expression_uniques,
            indexes,
            ancestors,
            row_type: form.reltype,
            row,
            is_heard: Cell::new(false),
            columns,
        })))
    }
}

/// The types of all columns, 0 for a dropped one.
pub(super) fn types(description: &PgTupleDesc) -> impl Iterator<Item = Oid> {
    description.iter().map(|attribute| attribute.atttypid)
}

struct InsertTriggers {
    before: bool,
    after: bool,
}

/// Catalog look-ups may rebuild what this reads, so it makes none.
unsafe fn insert_triggers(relation: Relation) -> InsertTriggers {
    // SAFETY: the caller holds the relation open.
    unsafe {
        let triggers = (*relation).trigdesc;
        if triggers.is_null() {
            return InsertTriggers {
                before: false,
                after: false,
            };
        }
        InsertTriggers {
            before: (*triggers).trig_insert_before_row,
            after: (*triggers).trig_insert_after_row || (*triggers).trig_insert_after_statement,
        }
    }
}

/// What the relation is, where it is not a table whose rows have one place.
unsafe fn unsuitable(relation: Relation) -> Result<Option<&'static str>, Raised> {
    // SAFETY: the caller holds the relation open.
    unsafe {
        let oid = (*relation).rd_id;
        let form = &*(*relation).rd_rel;
        let plain = match form.relkind as u8 {
            pg_sys::RELKIND_RELATION => true,
            pg_sys::RELKIND_PARTITIONED_TABLE => false,
            pg_sys::RELKIND_VIEW => return Ok(Some("a view")),
            pg_sys::RELKIND_MATVIEW => return Ok(Some("a materialized view")),
            pg_sys::RELKIND_FOREIGN_TABLE => return Ok(Some("a foreign table")),
            pg_sys::RELKIND_COMPOSITE_TYPE => return Ok(Some("a composite type")),
            pg_sys::RELKIND_SEQUENCE => return Ok(Some("a sequence")),
            _ => return Ok(Some("another kind of relation")),
        };
        if oid.to_u32() < pg_sys::FirstNormalObjectId {
            return Ok(Some("a system catalog"));
        }
        if plain && form.relhassubclass {
            let none = pg_sys::NoLock as i32;
            let children = guard(|| raw::find_inheritance_children(oid, none))?;
            if !children.is_null() {
                return Ok(Some("the parent of an inheritance tree"));
            }
        }
        Ok(None)
    }
}

unsafe fn has_rules(relation: Relation) -> bool {
    // SAFETY: the caller holds the relation open; `rules` has `numLocks` entries.
    unsafe {
        let rules = (*relation).rd_rules;
        !rules.is_null()
            && slice::from_raw_parts((*rules).rules, (*rules).numLocks as usize)
                .iter()
                .any(|rule| {
                    matches!(
                        (**rule).event,
                        pg_sys::CmdType::CMD_INSERT | pg_sys::CmdType::CMD_UPDATE
                    )
                })
    }
}

#[derive(Default)]
struct Indexes {
    /// Those that can be relied upon.
    uniques: Vec<Unique>,
    partial_uniques: Vec<Unique>,
    expression_uniques: Vec<String>,
    /// The quoted columns of the primary key.
    primary_key: Vec<String>,
    has_deferrable: bool,
    oids: Vec<Oid>,
}

unsafe fn indexes(relation: Relation, columns: &[Column]) -> Result<Indexes, Raised> {
    let lock = pg_sys::AccessShareLock as i32;
    let mut indexes = Indexes::default();
    let mut deferrable = Vec::new();
    // SAFETY: the caller holds the relation open; each index is open and locked while it is read.
    unsafe {
        for oid in oids(guard(|| raw::RelationGetIndexList(relation))?) {
            indexes.oids.push(oid);
            let index = guard(|| raw::index_open(oid, lock))?;
            let form = &*(*index).rd_index;
            indexes.has_deferrable |=
                (form.indisunique || form.indisexclusion) && !form.indimmediate;
            let numbers =
                slice::from_raw_parts(form.indkey.values.as_ptr(), form.indnkeyatts as usize);
            if form.indisunique && !form.indimmediate {
                deferrable.push(BTreeSet::from_iter(numbers.iter().copied()));
            }
            let key: Option<Vec<&Column>> = numbers
                .iter()
                .map(|number| columns.iter().find(|column| column.number == *number))
                .collect();
            let name = text::from_c((&raw const (*(*index).rd_rel).relname.data).cast())?;
            let name = name.unwrap_or_default();
            if form.indisunique && numbers.contains(&0) {
                indexes.expression_uniques.push(name);
            } else if let Some(key) = key {
                if form.indisprimary {
                    indexes.primary_key = key.iter().map(|column| column.quoted.clone()).collect();
                }
                if is_reliable(index, &key)? {
                    let tuple = (*index).rd_indextuple;
                    let attribute = pg_sys::Anum_pg_index_indpred as i32;
                    let is_partial = !pg_sys::heap_attisnull(tuple, attribute, ptr::null_mut());
                    let predicate = match is_partial {
                        true => Predicate::read(tuple, columns)?,
                        false => None,
                    };
                    let unique = Unique {
                        name,
                        oid,
                        parts: key
                            .iter()
                            .map(|column| Part::of(column))
                            .collect::<Result<_, _>>()?,
                        nulls_are_equal: form.indnullsnotdistinct,
                        predicate,
                    };
                    match (is_partial, &unique.predicate) {
                        (false, _) => indexes.uniques.push(unique),
                        (true, Some(_)) => indexes.partial_uniques.push(unique),
                        (true, None) => {}
                    }
                }
            }
            guard(|| raw::index_close(index, lock))?;
        }
    }
    // ON CONFLICT with these columns would take the deferrable constraint too, and refuse it.
    indexes.uniques.retain(|unique| {
        let columns = unique.parts.iter().map(|part| part.column);
        !deferrable.contains(&columns.collect())
    });
    Ok(indexes)
}

/// Whether the index is unique over whole columns, at once, for the rows that it holds, by the
/// columns' own equality and collation.
unsafe fn is_reliable(index: Relation, key: &[&Column]) -> Result<bool, Raised> {
    const EQUAL: i16 = 3;
    // SAFETY: the caller holds the index open; its arrays have an entry for each key column.
    unsafe {
        let form = &*(*index).rd_index;
        let holds_now = form.indisunique
            && form.indimmediate
            && form.indisvalid
            && form.indisready
            && form.indislive;
        let is_btree = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID;
        if !holds_now || !is_btree {
            return Ok(false);
        }
        for (i, column) in key.iter().enumerate() {
            let family = *(*index).rd_opfamily.add(i);
            let kind = *(*index).rd_opcintype.add(i);
            if *(*index).rd_indcollation.add(i) != column.collation
                || guard(|| raw::get_opfamily_member(family, kind, kind, EQUAL))?
                    != equality(column.kind.base)?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The operator `=` of the default btree or hash operator class of a type.
pub(super) fn equality(kind: Oid) -> Result<Oid, Raised> {
    // SAFETY: the type cache lives as long as the session.
    unsafe { guard(|| (*raw::lookup_type_cache(kind, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr) }
}

/// Of an operator or a function; null where it is there no more.
#[derive(Clone, Copy)]
struct QualifiedName {
    schema: *mut c_char,
    name: *mut c_char,
}

impl QualifiedName {
    unsafe fn of_function(function: Oid) -> Result<Self, Raised> {
        // SAFETY: catalog reads.
        unsafe {
            guard(|| Self {
                schema: raw::get_namespace_name(raw::get_func_namespace(function)),
                name: raw::get_func_name(function),
            })
        }
    }

    /// Whether the parser takes the operator of this name between two values of `kind` for `operator`.
    unsafe fn is_operator(&self, operator: Oid, kind: Oid) -> Result<bool, Raised> {
        // SAFETY: the names live as long as the call.
        unsafe {
            guard(|| {
                if self.schema.is_null() {
                    return false;
                }
                let schema = raw::makeString(self.schema).cast();
                let name = raw::makeString(self.name).cast();
                let name = raw::lappend(raw::lappend(ptr::null_mut(), schema), name);
                raw::compatible_oper_opid(name, kind, kind, true) == operator
            })
        }
    }
}

unsafe fn oids(list: *mut pg_sys::List) -> Vec<Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller passes a list of object ids; each cell holds one.
    unsafe {
        let cells = slice::from_raw_parts((*list).elements, (*list).length as usize);
        cells.iter().map(|cell| cell.oid_value).collect()
    }
}

/// The name in quotes where it needs them; none of null.
///
/// # Safety
/// It is a C string, or null.
unsafe fn quoted(name: *const c_char) -> Result<Option<String>, Raised> {
    // SAFETY: the caller's promise.
    unsafe {
        if name.is_null() {
            return Ok(None);
        }
        text::from_c(guard(|| raw::quote_identifier(name))?)
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use pgrx::prelude::*;

    use super::Relaxed;

    /// As Citus leaves the rows of a distributed table on other servers.
    #[pg_test]
    fn whoever_says_where_rows_are_is_asked() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C-unwind" fn ask(
            _: *mut pg_sys::PlannerInfo,
            _: *mut pg_sys::RelOptInfo,
            _: u32,
            table: *mut pg_sys::RangeTblEntry,
        ) {
            // SAFETY: the planner says what it plans for.
            if unsafe { (*table).rellockmode } == pg_sys::RowShareLock as i32 {
                ASKED.fetch_add(1, Relaxed);
            }
        }
        Spi::run("CREATE TABLE elsewhere (k int PRIMARY KEY); INSERT INTO elsewhere VALUES (1)")
            .unwrap();
        // SAFETY: a static function; this backend has no other thread.
        unsafe { pg_sys::set_rel_pathlist_hook = Some(ask) };
        let row = Spi::get_one::<i32>("SELECT k FROM with_row_lock(NULL::elsewhere, '{\"k\": 1}')");
        // SAFETY: as above.
        unsafe { pg_sys::set_rel_pathlist_hook = None };
        assert_eq!(row, Ok(Some(1)));
        assert_eq!(ASKED.load(Relaxed), 1);
    }
}
