//! The plan that makes a call: what it expects of a row that a function returns.
//!
//! A plan that names a table by its row type alone does not depend on that table, so PostgreSQL
//! keeps it when the table is altered.

use std::ffi::{CStr, c_char, c_int};
use std::{ptr, slice};

use pgrx::pg_sys::{
    self, FunctionScan, List, Node, NodeTag, Plan, PlannedStmt, RangeTblEntry, RangeTblFunction,
    TargetEntry, Var,
};

use super::call::Call;
use super::guard::{Raised, guard};
use super::raw;
use super::table::{Attribute, Table};

/// Makes the session analyze all statements again that call functions of users or extensions, when
/// they are run the next time. Called from invalidation callbacks too.
pub(super) fn invalidate() {
    // SAFETY: calls the callbacks of this backend as any change of any function does, of which
    // that of the plan cache marks plans; none of them raises.
    unsafe { raw::CallSyscacheCallbacks(pg_sys::SysCacheIdentifier::PROCOID as c_int, 0) }
}

impl Call<'_> {
    /// Whether the query that makes the call was planned for the columns that the table has now, as
    /// far as the call is scanned as a table, and returns its rows.
    pub(super) fn is_planned_for(self, table: &Table) -> Result<bool, Raised> {
        match self.scan() {
            // SAFETY: the plan lives as long as the call.
            Some(scan) => unsafe { scan.fits(&table.row) },
            None => Ok(true),
        }
    }

    /// Whether the query scans the call as a table, and uses the column at `index` of its rows.
    pub(super) fn uses_column(self, index: i16) -> Result<bool, Raised> {
        let Some(scan) = self.scan() else {
            return Ok(false);
        };
        // SAFETY: the plan lives as long as the call.
        unsafe {
            let vars = scan.vars()?;
            Ok(vars
                .into_iter()
                .any(|var| scan.column(var) == Some(index) || (*var).varattno == 0))
        }
    }

    /// The node of the plan that scans the call as a table.
    fn scan(self) -> Option<Scan> {
        let info = self.raw();
        // SAFETY: what leads to the plan lives as long as the call.
        unsafe {
            let context = (*self.result_set()?).econtext;
            let state = context.as_ref()?.ecxt_estate;
            let statement = state.as_ref()?.es_plannedstmt.as_ref()?;
            let call = (*info).flinfo.as_ref()?.fn_expr;
            find(statement.planTree, call, statement).or_else(|| {
                items::<Plan>(statement.subplans).find_map(|plan| find(plan, call, statement))
            })
        }
    }
}

/// A scan of a function as a table.
struct Scan {
    node: *const FunctionScan,
    /// The topmost node of the plan.
    top: *const Plan,
    /// The function as it was when the query was analyzed.
    function: *const RangeTblFunction,
    /// How many columns of functions beside it come first.
    columns_before: usize,
    table: *const RangeTblEntry,
}

/// The node of the plan below `plan` that scans `call`.
unsafe fn find(plan: *const Plan, call: *const Node, statement: &PlannedStmt) -> Option<Scan> {
    // SAFETY: the caller passes a node of a plan, or null; a node is what its tag says that it is.
    unsafe {
        if plan.is_null() {
            return None;
        }
        let further = match (*plan).type_ {
            NodeTag::T_FunctionScan => return scan_of(plan.cast(), call, statement),
            NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            NodeTag::T_CustomScan => (*plan.cast::<pg_sys::CustomScan>()).custom_plans,
            NodeTag::T_SubqueryScan => {
                return find(
                    (*plan.cast::<pg_sys::SubqueryScan>()).subplan,
                    call,
                    statement,
                );
            }
            _ => ptr::null_mut(),
        };
        find((*plan).lefttree, call, statement)
            .or_else(|| find((*plan).righttree, call, statement))
            .or_else(|| items::<Plan>(further).find_map(|plan| find(plan, call, statement)))
    }
}

/// The scan, where it is one of `call`.
unsafe fn scan_of(
    node: *const FunctionScan,
    call: *const Node,
    statement: &PlannedStmt,
) -> Option<Scan> {
    // SAFETY: the caller passes a node of the statement's plan.
    unsafe {
        let mut columns_before = 0;
        for function in items::<RangeTblFunction>((*node).functions) {
            if (*function).funcexpr.cast_const() == call {
                let place = ((*node).scan.scanrelid as usize).checked_sub(1)?;
                return Some(Scan {
                    node,
                    top: statement.planTree,
                    function,
                    columns_before,
                    table: items::<RangeTblEntry>(statement.rtable).nth(place)?,
                });
            }
            columns_before += (*function).funccolcount as usize;
        }
        None
    }
}

impl Scan {
    /// Whether the columns that the query uses are those of the table now: of the same names and
    /// types; and none is missing where the query uses all that there were.
    unsafe fn fits(&self, row: &[Attribute]) -> Result<bool, Raised> {
        // SAFETY: the caller says that the plan is there.
        unsafe {
            let expected = (*self.function).funccolcount as usize;
            let is_stored = self.is_stored();
            for var in self.vars()? {
                let Some(index) = self.column(var) else {
                    continue;
                };
                let fits = row.get(index as usize).is_some_and(|attribute| {
                    attribute.kind == (*var).vartype
                        && attribute.typmod == (*var).vartypmod
                        && (is_stored
                            || self
                                .name(index as usize)
                                .is_none_or(|name| name == attribute.name.as_c_str()))
                });
                if !fits {
                    return Ok(false);
                }
            }
            Ok(is_stored
                || expected == row.len()
                || (expected < row.len() && !self.uses_all(expected)?))
        }
    }

    /// Whether the call comes from a view or a function whose body is kept parsed. The columns are those of
    /// the time when that was made, by number, as in any view; who analyzes it again finds the same ones.
    unsafe fn is_stored(&self) -> bool {
        // SAFETY: the caller says that the plan is there. What is read from a catalog has no location.
        unsafe {
            let call = (*self.function).funcexpr;
            (*call).type_ == NodeTag::T_FuncExpr && (*call.cast::<pg_sys::FuncExpr>()).location < 0
        }
    }

    /// Whether the query uses all columns that the function had when it was analyzed, as `*` does.
    unsafe fn uses_all(&self, expected: usize) -> Result<bool, Raised> {
        // SAFETY: the caller says that the plan is there.
        unsafe {
            let mut is_used = vec![false; expected];
            for var in self.vars()? {
                if let Some(used) = self
                    .column(var)
                    .and_then(|index| is_used.get_mut(index as usize))
                {
                    *used = true;
                }
            }
            let was_dropped = |index| self.name(index).is_some_and(CStr::is_empty);
            Ok((0..expected).all(|index| is_used[index] || was_dropped(index)))
        }
    }

    /// The columns that the scan returns or looks at, and those that the whole plan returns: below a
    /// join a scan is planned to return all columns that the function has by then.
    unsafe fn vars(&self) -> Result<Vec<*const Var>, Raised> {
        const FLAGS: c_int = (pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_RECURSE_PLACEHOLDERS) as c_int;
        // SAFETY: the caller says that the plan is there; a node is what its tag says that it is.
        unsafe {
            let plan = &(*self.node).scan.plan;
            let is_top = ptr::eq(plan, self.top);
            let returned = if is_top {
                ptr::null()
            } else {
                (*self.top).targetlist.cast_const()
            };
            let targets = items::<TargetEntry>(plan.targetlist).chain(items(returned));
            let targets = targets.map(|target| (*target).expr.cast());
            let mut vars = Vec::new();
            for expression in targets.chain(items::<Node>(plan.qual)) {
                if (*expression).type_ == NodeTag::T_Var {
                    vars.push(expression.cast::<Var>().cast_const());
                    continue;
                }
                let found = guard(|| raw::pull_var_clause(expression, FLAGS))?;
                vars.extend(items::<Var>(found).map(<*mut Var>::cast_const));
            }
            Ok(vars)
        }
    }

    /// Which column of the function's row it is, counted from 0.
    unsafe fn column(&self, var: *const Var) -> Option<i16> {
        // SAFETY: the caller passes a column of the plan.
        unsafe {
            let scan = (*self.node).scan.scanrelid;
            let number = match (*var).varno as u32 == scan {
                true => (*var).varattno,
                false if (*var).varnosyn == scan => (*var).varattnosyn,
                false => return None,
            };
            let before = i16::try_from(self.columns_before).ok()?;
            let index = number.checked_sub(before)?.checked_sub(1)?;
            let is_own = (0..(*self.function).funccolcount).contains(&c_int::from(index));
            is_own.then_some(index)
        }
    }

    /// The name that the column at `index` had when the query was analyzed, empty for a dropped
    /// one; none where the query gives it a name of its own.
    unsafe fn name(&self, index: usize) -> Option<&CStr> {
        // SAFETY: the caller says that the plan is there.
        unsafe {
            let place = self.columns_before + index;
            let (alias, names) = ((*self.table).alias, (*self.table).eref);
            if !alias.is_null() && items::<Node>((*alias).colnames).nth(place).is_some() {
                return None;
            }
            let name = items::<pg_sys::String>((*names).colnames).nth(place)?;
            let name: *const c_char = (*name).sval;
            (!name.is_null()).then(|| CStr::from_ptr(name))
        }
    }
}

/// What a list of nodes points to.
unsafe fn items<'a, T: 'a>(list: *const List) -> impl Iterator<Item = *mut T> + 'a {
    // SAFETY: the caller passes a list of pointers that lives on, or null; its cells are as many as
    // it says.
    let cells = match list.is_null() {
        true => &[][..],
        false => unsafe { slice::from_raw_parts((*list).elements, (*list).length as usize) },
    };
    // SAFETY: each cell of such a list holds a pointer.
    cells.iter().map(|cell| unsafe { cell.ptr_value.cast() })
}
