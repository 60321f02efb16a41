//! The constants of PostgreSQL that the extension repeats, because pgrx does not have them, and what stands in the
//! headers.

use crate::cfg::Condition;
use crate::{Source, cfg};
use syn::visit::{self, Visit};
use syn::{Expr, ItemConst, Lit, UnOp};

/// A constant, or a part of one, and the same in C.
pub struct Constant {
    pub file: &'static str,
    pub name: &'static str,
    pub c: &'static str,
}

const fn constant(file: &'static str, name: &'static str, c: &'static str) -> Constant {
    Constant { file, name, c }
}

const CONSTANTS: &[Constant] = &[
    constant("src/pg/block.rs", "LARGEST", "MaxAllocSize"),
    constant("src/pg/claims.rs", "SPECULATIVE", "SpecTokenOffsetNumber"),
    constant(
        "src/pg/claims/form.rs",
        "HEADER",
        "MAXALIGN(SizeofHeapTupleHeader)",
    ),
    constant(
        "src/pg/claims/form.rs",
        "HEADER_WITH_MAP",
        "MAXALIGN(SizeofHeapTupleHeader + (9 + 7) / 8)",
    ),
    constant(
        "src/pg/claims/form.rs",
        "MAP_OF_NULLS",
        "offsetof(HeapTupleHeaderData, t_bits)",
    ),
    constant(
        "src/pg/claims/form.rs",
        "SHORT",
        "VARATT_SHORT_MAX - VARHDRSZ_SHORT",
    ),
    constant("src/pg/claims/key.rs", "EQUAL", "BTEqualStrategyNumber"),
    constant(
        "src/pg/claims/key.rs",
        "GREATER_OR_EQUAL",
        "BTGreaterEqualStrategyNumber",
    ),
    constant("src/pg/claims/key.rs", "NO_STRATEGY", "InvalidStrategy"),
    constant("src/pg/page.rs", "UPPER_BOUND", "P_HIKEY"),
    constant("src/pg/creator.rs", "EQUAL", "BTEqualStrategyNumber"),
    constant("src/pg/raw.rs", "DEADLOCK_TIMEOUT", "DEADLOCK_TIMEOUT"),
    constant("src/pg/raw.rs", "LOCK_TIMEOUT", "LOCK_TIMEOUT"),
    constant("src/pg/raw.rs", "STATEMENT_TIMEOUT", "STATEMENT_TIMEOUT"),
    constant("src/pg/raw.rs", "USER_TIMEOUT", "USER_TIMEOUT"),
    constant(
        "src/pg/settings/scope.rs",
        "CATALOG",
        "DbRoleSettingRelationId",
    ),
    constant(
        "src/pg/settings/scope.rs",
        "COLUMNS",
        "Natts_pg_db_role_setting",
    ),
    constant(
        "src/pg/settings/scope.rs",
        "INDEX",
        "DbRoleSettingDatidRolidIndexId",
    ),
    constant("src/pg/table.rs", "EQUAL", "BTEqualStrategyNumber"),
    constant("src/pg/table.rs", "RLS_ENABLED", "RLS_ENABLED"),
    constant(
        "src/pg/text.rs",
        "ALLOW_INVALID",
        "FORMAT_TYPE_ALLOW_INVALID",
    ),
    constant(
        "src/pg/text.rs",
        "FORCE_QUALIFY",
        "FORMAT_TYPE_FORCE_QUALIFY",
    ),
    constant(
        "src/pg/text.rs",
        "TYPMOD_GIVEN",
        "FORMAT_TYPE_TYPEMOD_GIVEN",
    ),
    constant("src/pg/value.rs", "ALIGNED", "ALIGNOF_INT"),
    constant("src/pg/worker.rs", "SIGTERM", "SIGTERM"),
];

/// What the extension takes for granted of layouts without a constant of its own: the file, and what must hold.
pub const LAYOUTS: &[(&str, &str)] = &[
    (
        "src/pg/array.rs",
        "ARR_OVERHEAD_NONULLS(1) == MAXALIGN(sizeof(ArrayType) + 2 * sizeof(int))",
    ),
    (
        "src/pg/array.rs",
        "ARR_OVERHEAD_WITHNULLS(1, 9) == MAXALIGN(sizeof(ArrayType) + 2 * sizeof(int) + 2)",
    ),
    (
        "src/pg/claims/key.rs",
        "ALIGNOF_SHORT == 2 && ALIGNOF_INT == 4 && ALIGNOF_DOUBLE == 8",
    ),
    (
        "src/pg/page.rs",
        "offsetof(PageHeaderData, pd_linp) == SizeOfPageHeaderData && sizeof(ItemIdData) == 4",
    ),
    (
        "src/pg/claims/walk.rs",
        "MAXALIGN(sizeof(IndexTupleData)) == sizeof(IndexTupleData)",
    ),
    (
        "src/pg/settings/scope.rs",
        "Anum_pg_db_role_setting_setdatabase == 1",
    ),
    (
        "src/pg/settings/scope.rs",
        "Anum_pg_db_role_setting_setrole == 2",
    ),
    (
        "src/pg/settings/scope.rs",
        "Anum_pg_db_role_setting_setconfig == 3",
    ),
    // A value is passed by reference or in a Datum as of 64 bits.
    ("src/pg/value.rs", "SIZEOF_DATUM == 8"),
];

/// A constant with the value that it has for this version.
pub struct Repeated {
    pub constant: &'static Constant,
    pub value: i128,
}

pub fn constants(sources: &[Source], major: u32) -> Result<Vec<Repeated>, String> {
    let mut repeated = Vec::new();
    for constant in CONSTANTS {
        let source = sources.iter().find(|source| source.name == constant.file);
        let Some(source) = source else {
            return Err(format!("there is no {}", constant.file));
        };
        let mut search = Search {
            name: constant.name,
            major,
            found: Vec::new(),
        };
        search.visit_file(&source.code);
        match search.found.as_slice() {
            [Some(value)] => repeated.push(Repeated {
                constant,
                value: *value,
            }),
            [] => {
                return Err(format!(
                    "{} has no constant {}",
                    constant.file, constant.name
                ));
            }
            [None] => {
                return Err(format!(
                    "{}: the value of {} is not read",
                    constant.file, constant.name
                ));
            }
            _ => {
                return Err(format!(
                    "{} has several constants {}",
                    constant.file, constant.name
                ));
            }
        }
    }
    Ok(repeated)
}

struct Search {
    name: &'static str,
    major: u32,
    found: Vec<Option<i128>>,
}

impl<'ast> Visit<'ast> for Search {
    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        if item.ident == self.name && cfg::is_compiled(&item.attrs, self.major).unwrap_or(true) {
            self.found.push(value(&item.expr, self.major));
        }
        visit::visit_item_const(self, item);
    }
}

/// A number, such as `3`, `-1`, `Oid::from_u32(2964)`, `if cfg!(…) { 12 } else { 13 }`.
fn value(expression: &Expr, major: u32) -> Option<i128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => Some(-value(&unary.expr, major)?),
        Expr::Call(call) if call.args.len() == 1 => value(&call.args[0], major),
        Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(inner, None)] => value(inner, major),
            _ => None,
        },
        Expr::If(branch) => {
            let Expr::Macro(condition) = &*branch.cond else {
                return None;
            };
            let condition: Condition = condition.mac.parse_body().ok()?;
            match condition.holds(major) {
                true => value(&one(&branch.then_branch)?, major),
                false => value(&branch.else_branch.as_ref()?.1, major),
            }
        }
        _ => None,
    }
}

fn one(block: &syn::Block) -> Option<Expr> {
    match block.stmts.as_slice() {
        [syn::Stmt::Expr(inner, None)] => Some(inner.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn values_are_read() {
        let read = |expression: Expr| value(&expression, 16);
        assert_eq!(read(parse_quote!(0x3fff_ffff)), Some(0x3fff_ffff));
        assert_eq!(read(parse_quote!(-1)), Some(-1));
        assert_eq!(read(parse_quote!(Oid::from_u32(2964))), Some(2964));
        let by_version: Expr = parse_quote!(if cfg!(any(feature = "pg15", feature = "pg16")) {
            12
        } else {
            13
        });
        assert_eq!(
            [16, 18].map(|major| value(&by_version, major)),
            [Some(12), Some(13)]
        );
        assert_eq!(read(parse_quote!(size_of::<u8>())), None);
    }
}
