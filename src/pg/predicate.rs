//! The predicate of a partial unique index, and whether it follows from a key.
//!
//! Core's planner decides that, by the clauses that a SELECT of the key would have. So only what
//! planning such a SELECT would evaluate is evaluated, with the same rights: operators of a btree
//! operator family on constants, and immutable functions of constants in the predicate.

use std::cell::RefCell;
use std::ffi::c_int;
use std::ptr;

use pgrx::pg_sys::{self, Datum, HeapTuple, List, Node, NodeTag, Oid};

use super::guard::{Raised, guard};
use super::memory::apart;
use super::raw;
use super::table::{Column, Part, equality};
use super::value::{Value, plain};

/// The predicate of an index.
#[derive(Debug)]
pub(super) struct Predicate {
    /// The columns in it.
    pub(super) columns: Vec<Part>,
    /// What was found for the values of keys, the latest ones last.
    known: RefCell<Vec<Proof>>,
}

/// What core has proved of the predicate and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Implication {
    /// The predicate does not follow from the key.
    None,
    /// It follows from the key, and is true for other rows too.
    Follows,
    /// It follows from the key; and where it is true, and the index's own columns have the key's
    /// values, the row has the key.
    Equivalent,
}

/// What was proved for these values of the key's columns.
#[derive(Debug)]
struct Proof {
    cells: Vec<(i16, Image)>,
    implication: Implication,
}

/// A value as it is stored.
#[derive(Debug, PartialEq, Eq)]
enum Image {
    Null,
    Immediate(usize),
    Bytes(Box<[u8]>),
}

/// Proofs kept for one index.
const PROOFS_KEPT: usize = 16;

/// Values longer than this are proved again each time.
const IMAGE_LIMIT: usize = 128;

impl Predicate {
    /// The predicate of the index that this row of pg_index describes; none where it has no
    /// predicate, or one that speaks of more than `columns`.
    ///
    /// # Safety
    /// It is a row of pg_index.
    pub(super) unsafe fn read(
        index: HeapTuple,
        columns: &[Column],
    ) -> Result<Option<Self>, Raised> {
        const PREDICATE: i16 = pg_sys::Anum_pg_index_indpred as i16;
        let mut numbers = Vec::new();
        // SAFETY: the caller's promise. The column is a node tree, which is text.
        unsafe {
            let cache = pg_sys::SysCacheIdentifier::INDEXRELID as c_int;
            let members = guard(|| {
                let mut is_null = true;
                let tree = raw::SysCacheGetAttr(cache, index, PREDICATE, &raw mut is_null);
                if is_null {
                    return ptr::null_mut();
                }
                let node = raw::stringToNode(raw::text_to_cstring(tree.cast_mut_ptr()));
                let mut members = ptr::null_mut();
                raw::pull_varattnos(node.cast(), 1, &raw mut members);
                members
            })?;
            let mut member = -1;
            loop {
                member = guard(|| raw::bms_next_member(members, member))?;
                if member < 0 {
                    break;
                }
                numbers.push(member + pg_sys::FirstLowInvalidHeapAttributeNumber);
            }
        }
        let mut parts = Vec::new();
        for number in numbers {
            let Some(column) = columns
                .iter()
                .find(|column| c_int::from(column.number) == number)
            else {
                return Ok(None);
            };
            parts.push(Part::of(column)?);
        }
        Ok(Some(Self {
            columns: parts,
            known: RefCell::default(),
        }))
    }

    pub(super) fn has(&self, column: &Column) -> bool {
        self.columns.iter().any(|part| part.column == column.number)
    }

    /// What the key has to do with the predicate of the index `index`, whose columns are `parts`.
    pub(super) fn implication(
        &self,
        index: Oid,
        parts: &[Part],
        key: &[(&Column, &Value)],
    ) -> Result<Implication, Raised> {
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let implication = apart(|| prove(index, parts, self.cells(key)))?;
        self.keep(key, implication);
        Ok(implication)
    }

    /// The part of the key that the predicate speaks of.
    fn cells<'k, 'v>(
        &self,
        key: &'k [(&'v Column, &'v Value<'v>)],
    ) -> impl Iterator<Item = (&'v Column, &'v Value<'v>)> + use<'_, 'k, 'v> {
        key.iter().copied().filter(|(column, _)| self.has(column))
    }

    fn known(&self, key: &[(&Column, &Value)]) -> Option<Implication> {
        let known = self.known.borrow();
        let proof = known.iter().find(|proof| {
            let mut cells = self.cells(key);
            proof.cells.iter().all(|(number, image)| {
                cells.next().is_some_and(|(column, value)| {
                    column.number == *number && image.is_of(column, value)
                })
            }) && cells.next().is_none()
        });
        proof.map(|proof| proof.implication)
    }

    fn keep(&self, key: &[(&Column, &Value)], implication: Implication) {
        let cells: Option<Vec<_>> = self
            .cells(key)
            .map(|(column, value)| Some((column.number, Image::of(column, value)?)))
            .collect();
        let Some(cells) = cells else {
            return;
        };
        let mut known = self.known.borrow_mut();
        if known.len() >= PROOFS_KEPT {
            known.remove(0);
        }
        known.push(Proof { cells, implication });
    }
}

impl Image {
    fn of(column: &Column, value: &Value) -> Option<Self> {
        if value.null {
            return Some(Self::Null);
        }
        if column.kind.by_value {
            return Some(Self::Immediate(value.datum.value()));
        }
        let bytes = bytes(column, value).filter(|bytes| bytes.len() <= IMAGE_LIMIT)?;
        Some(Self::Bytes(bytes.into()))
    }

    fn is_of(&self, column: &Column, value: &Value) -> bool {
        match self {
            Self::Null => value.null,
            Self::Immediate(datum) => {
                !value.null && column.kind.by_value && value.datum.value() == *datum
            }
            Self::Bytes(image) => {
                !value.null
                    && !column.kind.by_value
                    && bytes(column, value).is_some_and(|bytes| bytes == &**image)
            }
        }
    }
}

/// What the value points to; none where that is compressed, stored apart or not one piece.
fn bytes<'v>(column: &Column, value: &'v Value) -> Option<&'v [u8]> {
    let start = value.datum.cast_mut_ptr::<u8>();
    // SAFETY: a value that is not null and not passed by value points to one of its type.
    unsafe {
        match column.kind.length {
            -1 => plain(start.cast()),
            length if length > 0 => Some(std::slice::from_raw_parts(
                start,
                usize::from(length.unsigned_abs()),
            )),
            _ => None,
        }
    }
}

/// Whether the predicate of the partial index `index`, valid or not, follows from these values of
/// columns of its table.
pub fn follows(index: u32, values: &[(&Column, &Value)]) -> Result<bool, Raised> {
    let implication = apart(|| prove(index.into(), &[], values.iter().copied()))?;
    Ok(implication != Implication::None)
}

/// Asks the planner, by the part of the key that the predicate speaks of. What it allocates is in memory of its own.
fn prove<'v>(
    index: Oid,
    parts: &[Part],
    cells: impl Iterator<Item = (&'v Column, &'v Value<'v>)>,
) -> Result<Implication, Raised> {
    let (mut all, mut beside) = (ptr::null_mut::<List>(), ptr::null_mut::<List>());
    let mut beside_is_whole = true;
    for (column, value) in cells {
        let is_part = parts.iter().any(|part| part.column == column.number);
        let clause = clause(column, value)?;
        beside_is_whole &= is_part || !clause.is_null();
        if clause.is_null() {
            continue;
        }
        // SAFETY: lists of nodes.
        unsafe {
            all = guard(|| raw::lappend(all, clause.cast()))?;
            if !is_part {
                beside = guard(|| raw::lappend(beside, clause.cast()))?;
            }
        }
    }
    let Some(predicate) = predicate_of(index)? else {
        return Ok(Implication::None);
    };
    // SAFETY: the lists are nodes that were made here, and those that core has made of the predicate.
    unsafe {
        let (follows, decides) = guard(|| {
            let follows = raw::predicate_implied_by(predicate, all, false);
            (
                follows,
                follows && raw::predicate_implied_by(beside, predicate, false),
            )
        })?;
        Ok(match (follows, decides && beside_is_whole) {
            (false, _) => Implication::None,
            (true, false) => Implication::Follows,
            (true, true) => Implication::Equivalent,
        })
    }
}

/// Columns, and the values that a predicate asks for.
pub(super) type Conditions<'t> = Vec<(&'t Column, Value<'static>)>;

/// What the predicate of the index asks for, where it is that columns have certain values and no more.
pub(super) fn conditions(index: Oid, columns: &[Column]) -> Result<Option<Conditions<'_>>, Raised> {
    apart(|| {
        let Some(predicate) = predicate_of(index)? else {
            return Ok(None);
        };
        // SAFETY: a list of expressions.
        let clauses = unsafe { items(predicate) };
        // SAFETY: each is one.
        let conditions = clauses
            .iter()
            .map(|clause| unsafe { condition(*clause, columns) });
        conditions.collect()
    })
}

/// The column and its value, where the clause says no more than that.
///
/// # Safety
/// It is an expression.
unsafe fn condition(
    clause: *mut Node,
    columns: &[Column],
) -> Result<Option<(&Column, Value<'static>)>, Raised> {
    // SAFETY: a node is what its tag says that it is, and so are the nodes in it.
    unsafe {
        match (*clause).type_ {
            NodeTag::T_NullTest => {
                let test = clause.cast::<pg_sys::NullTest>();
                let column = variable((*test).arg.cast(), columns);
                let column =
                    column.filter(|_| (*test).nulltesttype == pg_sys::NullTestType::IS_NULL);
                Ok(column.map(|column| (column, Value::null(column.kind))))
            }
            NodeTag::T_Var => {
                Ok(variable(clause, columns).map(|column| (column, Value::boolean(true))))
            }
            NodeTag::T_BoolExpr => {
                let not = clause.cast::<pg_sys::BoolExpr>();
                let is_not = (*not).boolop == pg_sys::BoolExprType::NOT_EXPR;
                let column = match items((*not).args) {
                    [negated] if is_not => variable(*negated, columns),
                    _ => None,
                };
                Ok(column.map(|column| (column, Value::boolean(false))))
            }
            NodeTag::T_OpExpr => {
                let operation = clause.cast::<pg_sys::OpExpr>();
                let [left, right] = *items((*operation).args) else {
                    return Ok(None);
                };
                let (column, constant) = match variable(left, columns) {
                    Some(column) => (Some(column), right),
                    None => (variable(right, columns), left),
                };
                let Some(column) = column else {
                    return Ok(None);
                };
                let constant = constant.cast::<pg_sys::Const>();
                if (*constant).xpr.type_ != NodeTag::T_Const
                    || (*constant).constisnull
                    || (*operation).opno != equality(column.kind.base)?
                {
                    return Ok(None);
                }
                let (value, kind) = ((*constant).constvalue, (*constant).consttype);
                let length = (*constant).constlen as i16;
                let value = Value::copy(value, kind, length, (*constant).constbyval)?;
                Ok(Some((column, value)))
            }
            _ => Ok(None),
        }
    }
}

/// The column that the expression is, be it as another type of the same form.
///
/// # Safety
/// It is an expression.
unsafe fn variable(mut expression: *mut Node, columns: &[Column]) -> Option<&Column> {
    // SAFETY: a node is what its tag says that it is.
    unsafe {
        if (*expression).type_ == NodeTag::T_RelabelType {
            expression = (*expression.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        if (*expression).type_ != NodeTag::T_Var {
            return None;
        }
        let number = (*expression.cast::<pg_sys::Var>()).varattno;
        columns.iter().find(|column| column.number == number)
    }
}

/// # Safety
/// It is null, or a list of nodes that lives as long.
unsafe fn items<'l>(list: *mut List) -> &'l mut [*mut Node] {
    // SAFETY: the caller's promise; a cell of such a list holds one pointer.
    unsafe {
        match list.is_null() {
            true => &mut [],
            false => {
                std::slice::from_raw_parts_mut((*list).elements.cast(), (*list).length as usize)
            }
        }
    }
}

/// The predicate of the index as the planner has it, a list of clauses that are all true; none where
/// the index is gone.
fn predicate_of(index: Oid) -> Result<Option<*mut List>, Raised> {
    const LOCK: c_int = pg_sys::AccessShareLock as c_int;
    // SAFETY: the index is open and locked while its predicate is copied.
    unsafe {
        guard(|| {
            let index = raw::try_relation_open(index, LOCK);
            if index.is_null() {
                return None;
            }
            let predicate = raw::RelationGetIndexPredicate(index);
            raw::relation_close(index, LOCK);
            for clause in items(predicate) {
                *clause = operation(*clause);
            }
            Some(predicate)
        })
    }
}

/// The clause, and where it calls the function of a type's equality, as guard_plan writes it for a type with
/// implicit casts, the operator instead.
///
/// # Safety
/// Called under a guard, with an expression.
unsafe fn operation(clause: *mut Node) -> *mut Node {
    // SAFETY: a node is what its tag says that it is; the type cache lives as long as the session.
    unsafe {
        if (*clause).type_ != NodeTag::T_FuncExpr {
            return clause;
        }
        let call = clause.cast::<pg_sys::FuncExpr>();
        let [left, right] = *items((*call).args) else {
            return clause;
        };
        let flags = pg_sys::TYPECACHE_EQ_OPR as c_int;
        let equality = (*raw::lookup_type_cache(raw::exprType(left), flags)).eq_opr;
        if equality == Oid::INVALID || raw::get_opcode(equality) != (*call).funcid {
            return clause;
        }
        let (result, collation) = (pg_sys::BOOLOID, (*call).inputcollid);
        raw::make_opclause(
            equality,
            result,
            false,
            left.cast(),
            right.cast(),
            Oid::INVALID,
            collation,
        )
        .cast()
    }
}

/// The clause that the column has this value, as the planner has it of a WHERE clause that says so;
/// null where the type has no equality.
fn clause(column: &Column, value: &Value) -> Result<*mut Node, Raised> {
    let kind = column.kind;
    let equals = equality(kind.base)?;
    if !value.null && (equals == Oid::INVALID || value.kind != kind.base) {
        return Ok(ptr::null_mut());
    }
    // SAFETY: nodes that are made here. The operator is the type's own; the value is of the type,
    // and outlives the proof.
    unsafe {
        guard(|| {
            let variable =
                raw::makeVar(1, column.number, kind.oid, kind.typmod, column.collation, 0);
            let clause: *mut Node = if value.null {
                let size = size_of::<pg_sys::NullTest>();
                let test = raw::palloc(size).cast::<pg_sys::NullTest>();
                test.write_bytes(0, 1);
                (*test).xpr.type_ = NodeTag::T_NullTest;
                (*test).arg = variable.cast();
                (*test).nulltesttype = pg_sys::NullTestType::IS_NULL;
                (*test).location = -1;
                test.cast()
            } else {
                let (mut left, mut right) = (Oid::INVALID, Oid::INVALID);
                raw::op_input_types(equals, &raw mut left, &raw mut right);
                let left = operand(left, kind.base);
                let right = operand(right, kind.base);
                raw::make_opclause(
                    equals,
                    pg_sys::BOOLOID,
                    false,
                    relabeled(variable, column, left),
                    constant(right, column, value.datum),
                    Oid::INVALID,
                    column.collation,
                )
                .cast()
            };
            raw::eval_const_expressions(ptr::null_mut(), clause)
        })
    }
}

/// The type that an operand of a value's own type has once it is given to an operator that is
/// declared for `declared`.
fn operand(declared: Oid, base: Oid) -> Oid {
    const ANY: [Oid; 9] = [
        pg_sys::ANYOID,
        pg_sys::ANYELEMENTOID,
        pg_sys::ANYARRAYOID,
        pg_sys::ANYNONARRAYOID,
        pg_sys::ANYENUMOID,
        pg_sys::ANYRANGEOID,
        pg_sys::ANYMULTIRANGEOID,
        pg_sys::RECORDOID,
        pg_sys::RECORDARRAYOID,
    ];
    if ANY.contains(&declared) {
        base
    } else {
        declared
    }
}

/// # Safety
/// Called under a guard, with a node.
unsafe fn relabeled(variable: *mut pg_sys::Var, column: &Column, kind: Oid) -> *mut pg_sys::Expr {
    if column.kind.oid == kind {
        return variable.cast();
    }
    // SAFETY: the caller's promise.
    unsafe {
        let collation = match raw::get_typcollation(kind) {
            Oid::INVALID => Oid::INVALID,
            _ => column.collation,
        };
        let form = pg_sys::CoercionForm::COERCE_IMPLICIT_CAST;
        raw::makeRelabelType(variable.cast(), kind, -1, collation, form).cast()
    }
}

/// # Safety
/// Called under a guard; the value is one of the column's type.
unsafe fn constant(kind: Oid, column: &Column, value: Datum) -> *mut pg_sys::Expr {
    // SAFETY: the caller's promise.
    unsafe {
        raw::makeConst(
            kind,
            -1,
            raw::get_typcollation(kind),
            column.kind.length.into(),
            value,
            false,
            column.kind.by_value,
        )
        .cast()
    }
}
