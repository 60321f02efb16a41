//! What the fence itself refuses: values that are not what the caller takes them for.

use pgrx::pg_sys::Oid;

use super::guard::Raised;
use super::text::{base_type, type_name};

/// An error of the fence's own, which PostgreSQL did not raise.
#[derive(Debug)]
pub enum Refusal {
    /// A column of a statement has another type than the one that it is read as. Counted from 1.
    ColumnType {
        column: usize,
        is: String,
        expected: &'static str,
    },
    /// An argument has another type than the one that it is read as: the function was declared
    /// with other arguments. Counted from 1.
    ArgumentType {
        argument: usize,
        is: String,
        expected: &'static str,
    },
    /// A value has another type than the one that it is read as.
    ValueType { is: String, expected: &'static str },
    /// An object that was dropped while a cursor or a call still names it: what kind of object, and
    /// what core says.
    Gone { kind: String, message: String },
    /// A row has not the columns that the query was planned for.
    RowChanged,
    /// Citus runs a part of another node's query in this session.
    ShardQuery,
    /// The system gave no memory, or more was asked for than a value can have.
    OutOfMemory,
}

/// A type that values are read as.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    kind: Oid,
    name: &'static str,
}

/// The types that values are read as.
pub(super) mod types {
    use pgrx::pg_sys::{self, Oid};

    use super::Expected;

    macro_rules! types {
        ($($constant:ident = $kind:ident $name:literal;)*) => {
            $(pub(in super::super) const $constant: Expected = Expected {
                kind: pg_sys::$kind,
                name: $name,
            };)*
        };
    }

    /// Of arrays of all kinds: no type of its own.
    pub(in super::super) const ARRAY: Expected = Expected {
        kind: pg_sys::ANYARRAYOID,
        name: "an array",
    };

    /// Of the row that a function returns: no type of its own.
    pub(in super::super) const ROW: Expected = Expected {
        kind: Oid::INVALID,
        name: "the type that the function returns",
    };

    /// Of all types of variable length: no type of its own.
    pub(in super::super) const VARLENA: Expected = Expected {
        kind: Oid::INVALID,
        name: "a type of variable length",
    };

    types! {
        BIGINT = INT8OID "bigint";
        BOOLEAN = BOOLOID "boolean";
        CHAR = CHAROID "\"char\"";
        INTEGER = INT4OID "integer";
        CSTRING = CSTRINGOID "cstring";
        INTERVAL = INTERVALOID "interval";
        JSONB = JSONBOID "jsonb";
        OID = OIDOID "oid";
        REGCLASS = REGCLASSOID "regclass";
        REGROLE = REGROLEOID "regrole";
        SMALLINT = INT2OID "smallint";
        TEXT = TEXTOID "text";
        TEXTS = TEXTARRAYOID "text[]";
        TID = TIDOID "tid";
        TIMESTAMPTZ = TIMESTAMPTZOID "timestamp with time zone";
        UUID = UUIDOID "uuid";
        XID = XIDOID "xid";
    }
}

impl Expected {
    pub(super) fn is(self, kind: Oid) -> bool {
        self.kind == kind
    }

    /// The refusal of the column at `index`, which has type `kind`.
    #[cold]
    pub(super) fn not_column(self, index: usize, kind: Oid) -> Raised {
        match name_of(kind) {
            Ok(is) => Raised::Refused(Refusal::ColumnType {
                column: index + 1,
                is,
                expected: self.name,
            }),
            Err(raised) => raised,
        }
    }

    /// The refusal of the argument at `index`, which has type `kind`.
    #[cold]
    pub(super) fn not_argument(self, index: usize, kind: Oid) -> Raised {
        match name_of(kind) {
            Ok(is) => Raised::Refused(Refusal::ArgumentType {
                argument: index + 1,
                is,
                expected: self.name,
            }),
            Err(raised) => raised,
        }
    }

    /// The refusal of a value of type `kind`.
    #[cold]
    pub(super) fn not_value(self, kind: Oid) -> Raised {
        match name_of(kind) {
            Ok(is) => Raised::Refused(Refusal::ValueType {
                is,
                expected: self.name,
            }),
            Err(raised) => raised,
        }
    }
}

/// The name of a type, which must be there.
fn name_of(kind: Oid) -> Result<String, Raised> {
    if kind != Oid::INVALID {
        base_type(kind)?;
    }
    type_name(kind)
}
