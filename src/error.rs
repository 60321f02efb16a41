//! Every error that pg_once raises on purpose: variant, then SQLSTATE, message, detail and hint.

use std::ffi::CStr;

use pgrx::PgSqlErrorCode::{self, *};

use crate::pg::owner::{Flaw, OwnTable, Unusable};
use crate::pg::table::Generated;
use crate::pg::{ErrorReport, Raised, Refusal, ServerError, deadline::Failure, session};
use crate::storage_key::storage_key_columns;

#[derive(Debug)]
pub enum Error {
    /// A claim whose storage key is that of another key.
    StorageKeyCollision,
    KeyArray {
        kind: String,
    },
    KeyEmpty,
    /// What is wrong with one key of an array.
    KeyOfArray {
        subscript: i64,
        error: Box<Error>,
    },
    KeysNotOneDimensional {
        dimensions: usize,
    },
    KeyMalformed,
    KeyPartNull,
    KeyRow {
        kind: String,
    },
    /// Several parts make a key of so many bytes at least; the others were not read.
    KeyOfPartsTooLong {
        bytes: usize,
    },
    KeyTooLong {
        bytes: usize,
    },
    ClaimNewerThanSnapshot,
    ClaimRemovedSinceSnapshot,
    /// The direct engine is asked for, and the table needs statements.
    ClaimTableSpecial {
        what: &'static str,
    },
    /// No unique index keeps two claims of one name apart.
    ClaimTableUnguarded,
    /// Nothing to distribute tables over.
    CitusMissing,
    /// Citus keeps the claims, and each node would have policies of its own.
    PoliciesUndistributed,
    /// Policies of several nodes, in a database of one.
    PoliciesLeftOver,
    /// A table whose rows Citus keeps, at SERIALIZABLE.
    DistributedSerializable {
        table: OwnTable,
    },
    /// The claim came and went again and again while the call looked at it.
    ClaimUnsettled,
    LockOnStandby,
    JsonTooLong {
        argument: &'static str,
    },
    /// The token is not the current one.
    LeaseLost,
    /// An interval is one number, which says no unit.
    DurationWithoutUnit {
        given: Option<String>,
    },
    LeaseOutOfRange,
    MaxRowsNegative,
    /// The caller is neither an administrator nor of the role that the namespace is kept for.
    PurgeRefused {
        ns: Option<String>,
    },
    /// The namespace is bound to a role that the caller is no member of.
    NamespaceClosed {
        ns: Option<String>,
    },
    NamespaceEmpty,
    NamespaceTooLong {
        bytes: usize,
    },
    Null {
        argument: &'static str,
    },
    OutOfMemory,
    OwnerTooLong {
        bytes: usize,
    },
    PeriodOutOfRange,
    RetryAfterOutOfRange,
    LockTimeout,
    RoleMissing,
    TimeoutOutOfRange,
    WorkerTooLong {
        bytes: usize,
    },
    TooManyKeys {
        keys: usize,
    },
    TooManyLocks {
        keys: usize,
    },
    /// Somebody has written a token into the tables that no token can follow.
    TokensExhausted {
        last: i64,
    },
    TtlOutOfRange,
    /// What stands in the table of policies as the ttl of the namespace is none.
    TtlInvalid {
        ns: Option<String>,
    },
    WaitOutOfRange,
    /// Somebody has written a record that no call writes.
    WorkRecordInvalid,
    /// No primary key keeps two records of one piece of work apart.
    WorkTableUnguarded,
    /// The record was written again and again while the call looked at it.
    WorkUnsettled,
    TextInvalid {
        what: &'static str,
    },
    JsonNotObject {
        argument: &'static str,
    },
    RowKeyEmpty,
    ColumnInKeyAndDefaults {
        column: String,
    },
    ColumnInKeyAndCondition {
        column: String,
    },
    ColumnMissing {
        table: String,
        column: String,
    },
    /// More members than a table can have columns: at least one names none.
    ColumnsTooMany {
        argument: &'static str,
        columns: usize,
    },
    /// A name that is longer than one of a column can be.
    ColumnNameTooLong {
        argument: &'static str,
        bytes: usize,
    },
    DefaultOfGenerated {
        column: String,
        generated: Generated,
    },
    /// A row is to be created with an identity that only the table gives.
    KeyOfIdentity {
        table: String,
        column: String,
    },
    /// A column of the key is computed from others, and not to what the key says.
    KeyNotComputed {
        table: String,
        column: String,
    },
    ColumnWithoutEquality {
        table: String,
        column: String,
    },
    PaymentIdNotScalar {
        argument: &'static str,
        kind: String,
    },
    NotARowType {
        kind: String,
    },
    NotATable {
        name: String,
        is: &'static str,
    },
    /// Citus keeps its rows, which are not this node's.
    TableDistributed {
        table: String,
    },
    /// No unique index on exactly the key, or one on a computed column, of a table that Citus keeps.
    RowDistributed {
        table: String,
    },
    RowDistributedSerializable {
        table: String,
    },
    TableGone,
    /// A table of schema once that is missing, or not as the extension has made it.
    TableUnusable(Unusable),
    /// The query was planned for another row type, or another table, than there is now.
    PlanOutdated,
    Duplicates {
        table: String,
        columns: String,
        /// What to do, where that is known better than to merge them.
        hint: Option<String>,
    },
    /// The key has several rows, 'first' is asked for, and nothing says which one is first.
    DuplicatesWithoutPrimaryKey {
        table: String,
        columns: String,
    },
    RowHidden {
        table: String,
    },
    RowNewerThanSnapshot {
        table: String,
    },
    /// A partition is being detached: a new row goes there and is not seen.
    PartitionDetaching {
        table: String,
        partition: String,
    },
    RowSwallowed {
        table: String,
    },
    /// A trigger has created a row of the key too.
    RowCreatedTwice {
        table: String,
    },
    RowRewritten {
        table: String,
    },
    /// The row came and went again and again while the call looked at it.
    RowUnsettled {
        table: String,
    },
    KeyColumnsEmpty,
    TooManyIndexColumns {
        limit: usize,
    },
    KeyColumnTwice {
        column: String,
    },
    ColumnWithoutOrder {
        table: String,
        column: String,
    },
    /// A virtual generated column, which can have no index.
    ColumnNotStored {
        table: String,
        column: String,
    },
    NameTooLong {
        argument: &'static str,
    },
    KeepUnknown,
    MaxGroupsOutOfRange,
    NothingSaysWhichIsOlder {
        table: String,
    },
    /// What would run with the statement belongs to a role that does not have the rights that it
    /// would run with.
    BelongsToStranger {
        what: String,
        table: String,
        owner: String,
        runs_as: String,
    },
    /// The caller could decide what code of another role finds by name.
    SearchPathMissing {
        function: String,
        what: String,
        table: String,
        runs_as: String,
    },
    /// The caller lacks a right.
    PermissionDenied {
        what: String,
        right: &'static str,
    },
    RowSecurityActive {
        table: String,
    },
    RulesInTheWay {
        table: String,
    },
    ReferenceOfPeriod {
        table: String,
        constraint: String,
    },
    /// Something still points at a row that is to be removed.
    ReferenceKept {
        table: String,
        constraint: String,
    },
    /// Moving what points at a duplicate would undo what points at that by a foreign key.
    ReferenceLost {
        table: String,
        constraint: String,
    },
    RowNotRemoved {
        table: String,
    },
    DuplicatesLeft {
        table: String,
        groups: i64,
        rows: i64,
    },
    PartitionKeyNotInKey {
        table: String,
        missing: String,
    },
    NoCurrentSchema,
    /// A trigger function that no trigger of the extension's own table calls.
    NotItsTrigger {
        function: &'static str,
    },
    FunctionNameMalformed,
    /// The body of a function of language once_row_lock is not what define_row_lock writes, or its arguments are
    /// others.
    FunctionBodyMalformed,
    /// The condition of define_row_lock or of guard_plan, which is kept.
    ConditionTooLong {
        bytes: usize,
    },
    /// A function of language once_row_lock was made for a table that had another name then.
    FunctionOfAnotherTable {
        table: String,
        is: String,
    },
    FunctionExists {
        function: String,
    },
    /// A value that is not of the type that it is read as.
    Refused(Refusal),
    /// An error of the server or of the user's own objects: it is raised again as it was.
    Postgres(ServerError),
}

/// What an error says, where it is not raised.
pub struct Words {
    pub text: String,
    pub detail: Option<String>,
    /// The table that the server's error names, quoted and with its schema.
    pub table: Option<String>,
}

/// The hint for an answer that a transaction with one snapshot cannot give.
const RETRY: &CStr = c"Retry the whole transaction. At READ COMMITTED the call answers instead.";

/// What core says where a kept plan would return other columns than before, and the function that
/// says so. Drivers know the error by one or the other, and prepare the statement again.
const PLAN_OUTDATED: &str = "cached plan must not change result type";
const PLAN_FUNCTION: &str = "RevalidateCachedQuery";

struct Message {
    code: PgSqlErrorCode,
    text: String,
    detail: Option<String>,
    hint: Option<String>,
    /// The function that is named as the one that raises it.
    function: &'static str,
}

impl Error {
    pub fn into_words(self) -> Words {
        match self.message() {
            Ok(message) => Words {
                text: message.text,
                detail: message.detail,
                table: None,
            },
            Err(raised) => Words {
                text: raised.message(),
                detail: raised.detail(),
                table: raised.table(),
            },
        }
    }

    fn message(self) -> Result<Message, ServerError> {
        let denied = |ns: Option<String>| Message {
            code: ERRCODE_INSUFFICIENT_PRIVILEGE,
            text: format!(
                "permission denied for namespace {}",
                ns.map_or("(not valid text)".into(), |ns| format!("\"{ns}\""))
            ),
            detail: None,
            hint: None,
            function: "pg_once",
        };
        let plain = |code, text: &str| Message {
            code,
            text: text.into(),
            detail: None,
            hint: None,
            function: "pg_once",
        };
        let too_many = |keys: usize, limit: usize| {
            plain(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                &format!("keys must not be more than {limit} in one call"),
            )
            .detail(format!("There are {keys}."))
        };
        Ok(match self {
            Self::StorageKeyCollision => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the storage key of this namespace and key belongs to another claim",
            )
            .hint("Choose another key: the two cannot both be claimed."),
            Self::KeyArray { kind } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("an array cannot be part of a key: {kind}"),
            )
            .hint(
                "For many keys there is claim_many. For one key of many parts write \
                 VARIADIC before the array, as in VARIADIC $2::text[].",
            ),
            Self::KeyEmpty => plain(ERRCODE_INVALID_PARAMETER_VALUE, "key must not be empty")
                .hint("A key has 1 to 2000 bytes."),
            Self::KeyOfArray { subscript, error } => {
                let message = error.message()?;
                let detail = match &message.detail {
                    Some(detail) => format!("It is keys[{subscript}]. {detail}"),
                    None => format!("It is keys[{subscript}]."),
                };
                message.detail(detail)
            }
            Self::KeysNotOneDimensional { dimensions } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("keys must be an array of one dimension, not of {dimensions}"),
            )
            .hint("For keys of several parts make each one with once_key."),
            Self::KeyMalformed => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "a key that begins with U+001E must be one that once_key made",
            )
            .hint("U+001E marks keys of several parts. Give the parts as separate arguments."),
            Self::KeyPartNull => plain(
                ERRCODE_NULL_VALUE_NOT_ALLOWED,
                "no part of a key may be null",
            ),
            Self::KeyRow { kind } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("a row cannot be part of a key: {kind}"),
            )
            .hint(
                "Give its columns as separate parts. For many keys there is claim_many. For one key \
                 of many parts write VARIADIC before an array, as in VARIADIC $2::text[].",
            ),
            Self::KeyOfPartsTooLong { bytes } => Message {
                detail: Some(format!("It has {bytes} bytes or more.")),
                ..Self::KeyTooLong { bytes }.message()?
            },
            Self::KeyTooLong { bytes } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!(
                    "key must not be longer than {} bytes",
                    crate::key::KEY_LIMIT
                ),
            )
            .detail(format!("It has {bytes} bytes."))
            .hint("Use a digest of what makes the key, for example sha256."),
            Self::ClaimNewerThanSnapshot => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to concurrent update",
            )
            .detail("The claim is newer than the transaction's snapshot.".into())
            .hint(&RETRY.to_string_lossy()),
            Self::ClaimRemovedSinceSnapshot => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to concurrent delete",
            )
            .detail("The claim was given back after the transaction's snapshot.".into())
            .hint(&RETRY.to_string_lossy()),
            Self::ClaimTableSpecial { what } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("the direct engine cannot work on table once.claim: {what}"),
            )
            .hint("Set pg_once.claim_engine to 'auto' or 'statement'."),
            Self::ClaimTableUnguarded => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "table once.claim has no valid unique index on its storage key",
            )
            .detail("Without it two callers could win the same claim.".into())
            .hint(concat!("Rebuild an invalid index with REINDEX, or restore the primary key with ALTER TABLE once.claim ADD CONSTRAINT claim_pkey PRIMARY KEY (", storage_key_columns!(), ").")),
            Self::CitusMissing => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the extension citus is not in this database",
            )
            .hint("CREATE EXTENSION citus and citus_add_node() come first."),
            Self::PoliciesUndistributed => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "Citus keeps the claims, and not the policies of their namespaces",
            )
            .detail("What once.configure says would hold on one node only.".into())
            .hint("On the coordinator: SELECT once.distribute()."),
            Self::PoliciesLeftOver => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the policies of namespaces are those of several nodes",
            )
            .detail("They were restored from a dump, and this node has not taken them over.".into())
            .hint("On one node: SELECT once.configure(ns) FROM once.access_policy_shared. On several: SELECT once.distribute()."),
            Self::DistributedSerializable { table } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("table once.{} is distributed, which rules SERIALIZABLE out", table.name()),
            )
            .detail("Each node has a snapshot of its own: together they are not serializable.".into())
            .hint("Call it at READ COMMITTED."),
            Self::Refused(Refusal::ShardQuery) => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the function was called in a part of a distributed query",
            )
            .detail("Citus runs the query on the nodes that have the rows. What a node did for it would not belong to the transaction of the caller.".into())
            .hint("Select what it is called with first, then call it in a statement of its own that names no distributed table."),
            Self::ClaimUnsettled => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                "the claim was made and given back again and again during the call",
            )
            .hint("Retry the transaction."),
            Self::LockOnStandby => plain(
                ERRCODE_READ_ONLY_SQL_TRANSACTION,
                "named locks cannot be taken or released during recovery",
            )
            .detail("A lock on a standby would be its own: nobody on the primary would see it.".into())
            .hint("Connect to the primary."),
            Self::JsonTooLong { argument } => plain(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                &format!("{argument} must not be larger than 100 MB"),
            )
            .hint("Store it elsewhere, and give its place or its digest."),
            Self::LeaseLost => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "lease lost: the token is not current",
            )
            .detail(
                "Another begin_once took the work over, or it was completed or failed, or it never \
                 had this token."
                    .into(),
            )
            .hint("Write no effect. begin_once tells what has become of the work."),
            Self::DurationWithoutUnit { given } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!(
                    "an interval needs a unit{}",
                    given.map_or(String::new(), |given| format!(": \"{}\"", given.trim()))
                ),
            )
            .hint(&crate::duration::HINT.to_string_lossy()),
            Self::LeaseOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "lease must be positive and at most 10 years",
            ),
            Self::MaxRowsNegative => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "max_rows must not be negative",
            ),
            Self::PurgeRefused { ns } => denied(ns).hint(
                "once.purge is for the owners of the extension and of the database, and for the members of \
                 the role that once.configure has named.",
            ),
            Self::NamespaceClosed { ns } => denied(ns)
            .hint("It is for the members of the role that once.configure has named."),
            Self::NamespaceEmpty => plain(ERRCODE_INVALID_PARAMETER_VALUE, "ns must not be empty")
                .hint("A namespace has 1 to 128 bytes, such as 'ci_failure'."),
            Self::NamespaceTooLong { bytes } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!(
                    "ns must not be longer than {} bytes",
                    crate::key::NAMESPACE_LIMIT
                ),
            )
            .detail(format!("It has {bytes} bytes.")),
            Self::Null { argument } => plain(
                ERRCODE_NULL_VALUE_NOT_ALLOWED,
                &format!("{argument} must not be null"),
            ),
            Self::OwnerTooLong { bytes } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!(
                    "owner must not be longer than {} bytes",
                    crate::claim::OWNER_LIMIT
                ),
            )
            .detail(format!("It has {bytes} bytes.")),
            Self::WorkerTooLong { bytes } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!(
                    "worker must not be longer than {} bytes",
                    crate::work::WORKER_LIMIT
                ),
            )
            .detail(format!("It has {bytes} bytes.")),
            Self::PeriodOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "period must be positive and at most 10 years",
            ),
            // As PostgreSQL says it.
            Self::LockTimeout => plain(
                ERRCODE_LOCK_NOT_AVAILABLE,
                "canceling statement due to lock timeout",
            ),
            Self::RetryAfterOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "retry_after must not be negative, and must end at a time that a timestamp can have",
            ),
            Self::RoleMissing => plain(ERRCODE_INVALID_PARAMETER_VALUE, "allowed_role does not exist"),
            Self::TtlOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "ttl must be positive and at most 10 years",
            ),
            Self::TokensExhausted { last } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "no higher token is left for this work",
            )
            .detail(format!("The last token is {last}. Tokens follow the clock and do not come near it by themselves."))
            .hint("Correct the token in table once.work_floor or of this work in table once.work_record: it was not written by pg_once."),
            Self::TtlInvalid { ns } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!(
                    "the configured ttl of namespace {} is not positive and at most 10 years",
                    ns.map_or("(not valid text)".into(), |ns| format!("\"{ns}\""))
                ),
            )
            .hint("Set it with once.configure."),
            Self::WorkRecordInvalid => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the record of this work has an unknown state",
            )
            .hint("Correct or remove its row in table once.work_record: it was not written by pg_once."),
            Self::TimeoutOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "timeout must be neither negative nor infinite",
            )
            .hint("NULL waits as long as lock_timeout and statement_timeout allow, '0' does not wait."),
            Self::TooManyLocks { keys } => too_many(keys, crate::lock::LIMIT)
                .hint("Take one lock that stands for all of them, or lock the rows of a table."),
            Self::TooManyKeys { keys } => too_many(keys, crate::claim::BATCH_LIMIT)
            .hint("Make several calls, each in a transaction of its own."),
            Self::WaitOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "wait must be neither negative nor infinite",
            )
            .hint("'0' does not wait. The longest wait is one minute, which NULL means too."),
            Self::WorkTableUnguarded => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "table once.work_record has no valid primary key",
            )
            .detail("Without it two callers could be told to run the same work.".into())
            .hint(concat!("Rebuild an invalid index with REINDEX, or restore the primary key with ALTER TABLE once.work_record ADD CONSTRAINT work_record_pkey PRIMARY KEY (", storage_key_columns!(), ").")),
            Self::WorkUnsettled => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                "the work was written again and again during the call",
            )
            .hint("Retry the transaction."),
            Self::TextInvalid { what } => plain(
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                &format!("{what} is not valid text in UTF-8"),
            ),
            Self::JsonNotObject { argument } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("{argument} must be a JSON object of columns and values"),
            )
            .hint("For example '{\"service_id\": 1, \"line_item_id\": \"A\"}'."),
            Self::RowKeyEmpty => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "key must name at least one column",
            ),
            Self::ColumnInKeyAndDefaults { column } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("column \"{column}\" is in key and in defaults"),
            )
            .hint("The key decides its own columns. Leave the column out of defaults."),
            Self::ColumnInKeyAndCondition { column } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("column \"{column}\" is in key_columns and in condition"),
            )
            .hint("A column of the key has any value, one of the condition the same in all rows. Leave it out of one of the two."),
            Self::ColumnsTooMany { argument, columns } => plain(
                ERRCODE_UNDEFINED_COLUMN,
                &format!("{argument} names columns that do not exist"),
            )
            .detail(format!(
                "It names {columns}. A table has at most {}.",
                crate::pg::table::MOST_COLUMNS
            )),
            Self::ColumnNameTooLong { argument, bytes } => plain(
                ERRCODE_UNDEFINED_COLUMN,
                &format!("{argument} names a column that does not exist"),
            )
            .detail(format!(
                "Its name has {bytes} bytes. One of a column has at most {}.",
                crate::pg::table::LONGEST_NAME
            )),
            Self::ColumnMissing { table, column } => plain(
                ERRCODE_UNDEFINED_COLUMN,
                &format!("column \"{column}\" of table {table} does not exist"),
            ),
            Self::DefaultOfGenerated { column, generated } => {
                let message = generated_always(&column, generated);
                match generated {
                    Generated::Expression => message.hint(
                        "Leave it out of defaults, and give values to the columns that it is computed from.",
                    ),
                    Generated::Identity => {
                        message.hint("Leave it out of defaults: the table numbers its rows itself.")
                    }
                }
            }
            Self::KeyOfIdentity { table, column } => {
                generated_always(&column, Generated::Identity).hint(&format!(
                    "Table {table} has no row with this key, and numbers a new one itself. Leave the \
                     column out of the key to create a row."
                ))
            }
            Self::KeyNotComputed { table, column } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("the new row of table {table} does not have the key"),
            )
            .detail(format!(
                "Column \"{column}\" is computed from other columns, with another result."
            ))
            .hint("Give in defaults the columns that it is computed from, with values that result in the key."),
            Self::ColumnWithoutEquality { table, column } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("column \"{column}\" of table {table} has a type without equality"),
            )
            .hint("Choose key columns that can be compared, jsonb instead of json for example."),
            Self::PaymentIdNotScalar { argument, kind } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("{argument} must be a single value, not {kind}"),
            ),
            Self::NotARowType { kind } => plain(
                ERRCODE_WRONG_OBJECT_TYPE,
                &format!("{kind} is not the row type of a table"),
            )
            .hint("Name the table by its row type, as in NULL::payments."),
            Self::NotATable { name, is } => plain(
                ERRCODE_WRONG_OBJECT_TYPE,
                &format!("{name} is {is}, not a plain or partitioned table"),
            )
            .hint("Rows are found and created in tables: name the table that holds them."),
            Self::TableDistributed { table } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("Citus keeps the rows of table {table}"),
            )
            .hint("Duplicates are found and merged in tables of one node."),
            Self::RowDistributed { table } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("Citus keeps the rows of table {table}, and no unique index is on exactly the key"),
            )
            .detail("A turn that is taken on this node does not keep the other nodes out.".into())
            .hint("Create a unique index on exactly the columns of the key, none of them a generated one. On a distributed table they include the distribution column."),
            Self::RowDistributedSerializable { table } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("Citus keeps the rows of table {table}, which rules SERIALIZABLE out"),
            )
            .detail("Each node has a snapshot of its own: together they are not serializable.".into())
            .hint("Call it at READ COMMITTED."),
            Self::TableGone => plain(ERRCODE_UNDEFINED_TABLE, "the table does not exist any more"),
            Self::TableUnusable(unusable) => unusable_table(unusable),
            Self::PlanOutdated | Self::Refused(Refusal::RowChanged) => {
                let mut message = plain(ERRCODE_FEATURE_NOT_SUPPORTED, PLAN_OUTDATED)
                    .detail("The table was altered, renamed or dropped after the query was planned.".into())
                    .hint("Run the query again; prepare it again first where the client has prepared it.");
                message.function = PLAN_FUNCTION;
                message
            }
            Self::Duplicates {
                table,
                columns,
                hint,
            } => plain(
                ERRCODE_CARDINALITY_VIOLATION,
                &format!("table {table} holds several rows for this key"),
            )
            .detail(format!("The key is ({columns})."))
            .hint(hint.as_deref().unwrap_or(
                "Find them with once.find_duplicates. Until they are merged, \
                 pg_once.duplicate_rows = 'first' takes the one with the lowest primary key.",
            )),
            Self::DuplicatesWithoutPrimaryKey { table, columns } => plain(
                ERRCODE_CARDINALITY_VIOLATION,
                &format!("table {table} holds several rows for this key and has no primary key"),
            )
            .detail(format!(
                "The key is ({columns}). pg_once.duplicate_rows = 'first' takes the row with the \
                 lowest primary key."
            ))
            .hint("Find them with once.find_duplicates."),
            Self::RowHidden { table } => plain(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                &format!("a row of table {table} with this key exists, but row security withholds it"),
            )
            .hint("Let the policies for SELECT and UPDATE give the row to this role, or use another key."),
            Self::RowNewerThanSnapshot { table } => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                &format!("the row of table {table} is newer than the transaction's snapshot"),
            )
            .hint(&RETRY.to_string_lossy()),
            Self::PartitionDetaching { table, partition } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("partition {partition} is being detached from table {table}"),
            )
            .hint(
                "Retry when DETACH PARTITION ... CONCURRENTLY has ended; one that was cancelled ends with \
                 ALTER TABLE ... DETACH PARTITION ... FINALIZE.",
            ),
            Self::RowCreatedTwice { table } => plain(
                ERRCODE_CARDINALITY_VIOLATION,
                &format!("table {table} got two rows for this key"),
            )
            .hint("A trigger of the table created a row for the same key. Let it take the row, or none."),
            Self::RowSwallowed { table } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("the INSERT into table {table} did not create the row"),
            )
            .hint(
                "A trigger that returns NULL, or a rule, swallowed it, or removed the row again.",
            ),
            Self::RowRewritten { table } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("a trigger of table {table} changed the key of the new row"),
            )
            .hint("Ask for the key as the trigger writes it."),
            Self::RowUnsettled { table } => plain(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                &format!("the row of table {table} was created and removed again and again"),
            )
            .hint("Retry the transaction."),
            Self::TooManyIndexColumns { limit } => plain(
                ERRCODE_TOO_MANY_COLUMNS,
                &format!("cannot use more than {limit} columns in an index"),
            )
            .hint("Rows of such a key are created in turns without an index."),
            Self::KeyColumnsEmpty => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "key_columns must name at least one column",
            ),
            Self::KeyColumnTwice { column } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("column \"{column}\" is in key_columns twice"),
            ),
            Self::ColumnWithoutOrder { table, column } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("column \"{column}\" of table {table} has a type without an order"),
            )
            .hint("Duplicates are found by sorting, and a unique index needs an order too: choose another column."),
            Self::ColumnNotStored { table, column } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("column \"{column}\" of table {table} is a virtual generated column"),
            )
            .hint("PostgreSQL has no indexes on such columns: name those that it is made of, or have it STORED."),
            Self::NameTooLong { argument } => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                &format!("{argument} must not be longer than 1000 bytes"),
            ),
            Self::KeepUnknown => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "keep must be 'oldest' or 'newest'",
            ),
            Self::MaxGroupsOutOfRange => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "max_groups must be at least 1",
            )
            .hint("NULL merges all groups."),
            Self::NothingSaysWhichIsOlder { table } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("nothing says which row of table {table} is the oldest"),
            )
            .hint("The table has no primary key: name a column in order_by."),
            Self::BelongsToStranger {
                what,
                table,
                owner,
                runs_as,
            } => plain(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                &format!("{what} of table {table} belongs to role \"{owner}\""),
            )
            .detail(format!(
                "It could run code with the rights of role \"{runs_as}\", which \"{owner}\" does not have."
            ))
            .hint("Let it, and the functions that it calls, belong to the owner of the table or to a role that has the owner's rights. A disabled trigger is accepted."),
            Self::SearchPathMissing {
                function,
                what,
                table,
                runs_as,
            } => plain(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                &format!("function {function} has no search_path of its own"),
            )
            .detail(format!(
                "It runs for {what} of table {table} with the rights of role \"{runs_as}\", which the caller does not have, and could find objects of the caller by name."
            ))
            .hint("ALTER FUNCTION … SET search_path = …, pg_temp; or let the owner of the table make the call."),
            Self::PermissionDenied { what, right } => plain(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                &format!("permission denied for {what}"),
            )
            .detail(format!("The call needs {right} on it.")),
            Self::RowSecurityActive { table } => plain(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                &format!("row security of table {table} is active for this role"),
            )
            .detail("Rows that it hides would be left out, or deleted unseen by a cascade.".into())
            .hint("Call it as the table's owner or as a role with BYPASSRLS."),
            Self::RulesInTheWay { table } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("table {table} has rules on UPDATE or DELETE"),
            )
            .hint("What they do instead cannot be seen. Drop the rules, or merge by hand."),
            Self::ReferenceOfPeriod { table, constraint } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("foreign key \"{constraint}\" of table {table} has a PERIOD"),
            )
            .hint("Rows that are valid for a time only are to be merged by hand."),
            Self::ReferenceKept { table, constraint } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("a row of table {table} still points at a duplicate by \"{constraint}\""),
            )
            .hint(
                "A trigger kept it from being moved, or the row that is kept is NULL where it \
                 would have to point. Nothing was changed.",
            ),
            Self::ReferenceLost { table, constraint } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!(
                    "moving a row of table {table} would lose what points at it by \"{constraint}\""
                ),
            )
            .hint("That foreign key says ON UPDATE SET NULL or SET DEFAULT. Let it say CASCADE until the duplicates are merged. Nothing was changed."),
            Self::RowNotRemoved { table } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("the DELETE from table {table} did not remove the row"),
            )
            .hint(
                "A trigger that returns NULL kept it, or a trigger changed it meanwhile. Nothing \
                 was changed.",
            ),
            Self::DuplicatesLeft {
                table,
                groups,
                rows,
            } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!(
                    "table {table} holds duplicates: groups {groups}, rows too many {rows}"
                ),
            )
            .hint("Merge them first: see once.find_duplicates and once.merge_duplicates."),
            Self::PartitionKeyNotInKey { table, missing } => plain(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                &format!("{missing} of the partition key of table {table} is not in key_columns"),
            )
            .hint("PostgreSQL has unique indexes on a partitioned table only where they include its partition key."),
            Self::FunctionExists { function } => plain(
                ERRCODE_DUPLICATE_FUNCTION,
                &format!("function {function} already exists with same argument types"),
            )
            .detail("Only a function of the caller that once.define_row_lock made is replaced.".to_owned())
            .hint("Drop it, or name another function."),
            Self::NoCurrentSchema => plain(
                ERRCODE_INVALID_SCHEMA_NAME,
                "no schema has been selected to create in",
            )
            .hint("Name the schema, as in 'app.with_invoice_lock', or set search_path."),
            Self::NotItsTrigger { function } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("function {function} was not called by its trigger of table once.access_policy"),
            ),
            Self::FunctionNameMalformed => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "function_name must be a name, or a schema and a name",
            )
            .hint("For example 'with_invoice_lock' or 'app.with_invoice_lock'."),
            Self::FunctionBodyMalformed => plain(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "a function of language once_row_lock is not as once.define_row_lock makes it",
            )
            .hint("Make it with once.define_row_lock."),
            Self::ConditionTooLong { bytes } => plain(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                &format!(
                    "condition must not be longer than {} bytes",
                    crate::row::CONDITION_LIMIT
                ),
            )
            .detail(format!("It has {bytes} at least.")),
            Self::FunctionOfAnotherTable { table, is } => plain(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                &format!("the function was made for table {table}, and returns rows of table {is}"),
            )
            .hint("Make the function again with once.define_row_lock."),
            Self::Refused(Refusal::ColumnType {
                column,
                is,
                expected,
            }) => plain(
                ERRCODE_DATATYPE_MISMATCH,
                &format!(
                    "column {column} of the extension's own statement is of type {is}, but \
                     {expected} was expected"
                ),
            )
            .hint("A table or column of schema once was altered. Restore it as the extension made it."),
            Self::Refused(Refusal::ArgumentType {
                argument,
                is,
                expected,
            }) => plain(
                ERRCODE_DATATYPE_MISMATCH,
                &format!("argument {argument} is of type {is}, but {expected} was expected"),
            )
            .hint("The function is not declared as the extension declares it."),
            Self::Refused(Refusal::ValueType { is, expected }) => plain(
                ERRCODE_DATATYPE_MISMATCH,
                &format!("a value is of type {is}, but {expected} was expected"),
            ),
            Self::OutOfMemory | Self::Refused(Refusal::OutOfMemory) => {
                plain(ERRCODE_OUT_OF_MEMORY, "out of memory")
            }
            Self::Refused(Refusal::Gone { kind, message }) => {
                let code = match kind.as_str() {
                    "relation" | "index" => ERRCODE_UNDEFINED_TABLE,
                    "attribute" => ERRCODE_UNDEFINED_COLUMN,
                    "function" | "operator" => ERRCODE_UNDEFINED_FUNCTION,
                    _ => ERRCODE_UNDEFINED_OBJECT,
                };
                plain(code, &format!("a {kind} was dropped while it was used"))
                    .detail(message)
                    .hint("Run the query again.")
            }
            Self::Postgres(raised) => return Err(raised),
        })
    }
}

impl Message {
    fn detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// In a database that is not in UTF-8 names in messages are written with escapes.
    fn into_report(self) -> ErrorReport {
        crate::pg::memory::use_reserve();
        let text = |text: String| {
            if session::is_utf8() || text.is_ascii() {
                text
            } else {
                text.chars()
                    .map(|c| {
                        if c.is_ascii() {
                            c.to_string()
                        } else {
                            c.escape_unicode().to_string()
                        }
                    })
                    .collect()
            }
        };
        let mut report = ErrorReport::new(self.code, text(self.text), self.function);
        if let Some(detail) = self.detail {
            report = report.set_detail(text(detail));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(text(hint));
        }
        report
    }
}

/// In core's words.
fn generated_always(column: &str, generated: Generated) -> Message {
    let what = match generated {
        Generated::Expression => "a generated column",
        Generated::Identity => "an identity column defined as GENERATED ALWAYS",
    };
    Message {
        code: ERRCODE_GENERATED_ALWAYS,
        text: format!("cannot insert a non-DEFAULT value into column \"{column}\""),
        detail: Some(format!("Column \"{column}\" is {what}.")),
        hint: None,
        function: "pg_once",
    }
}

/// In core's words where it is missing, as a statement would say.
fn unusable_table(unusable: Unusable) -> Message {
    let name = |table: OwnTable| format!("once.{}", table.name());
    let (table, flaw) = match unusable {
        Unusable::Missing(table) => {
            return Message {
                code: ERRCODE_UNDEFINED_TABLE,
                text: format!("relation \"{}\" does not exist", name(table)),
                detail: None,
                hint: None,
                function: "pg_once",
            };
        }
        Unusable::Foreign(table, flaw) => (table, flaw),
    };
    let what = match flaw {
        Flaw::NotATable => "is not a table".into(),
        Flaw::NotAMember => "does not belong to extension pg_once".into(),
        Flaw::SchemaNotAMember => "is in a schema that does not belong to extension pg_once".into(),
        Flaw::Owner if table == OwnTable::MergedRows => {
            "belongs neither to the owner of extension pg_once nor to that of the database".into()
        }
        Flaw::Owner => "has another owner than schema once".into(),
        Flaw::OwnersDiffer => "has another owner than the other tables of extension pg_once".into(),
        Flaw::Columns => "does not have the columns of extension pg_once".into(),
        Flaw::Trigger(trigger) => {
            format!("has a trigger that may run code of others than its owner: \"{trigger}\"")
        }
        Flaw::Child => "has a partition or child of another owner".into(),
    };
    Message {
        code: ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        text: format!("table {} {what}", name(table)),
        detail: None,
        hint: Some(match table {
            OwnTable::MergedRows => "pg_once uses this table only as a merge has made it, for the owner of the extension. Move it away with ALTER TABLE once.merged_rows SET SCHEMA …: the next merge makes a new one.".into(),
            _ => "pg_once uses a table of schema once only as CREATE EXTENSION has made it.".into(),
        }),
        function: "pg_once",
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        match error.message() {
            Ok(message) => message.into_report(),
            Err(raised)
                if raised.is(ERRCODE_T_R_SERIALIZATION_FAILURE)
                    && session::isolation().has_one_snapshot() =>
            {
                raised.with_hint(RETRY).into_report()
            }
            Err(raised) => raised.into_report(),
        }
    }
}

impl From<Raised> for ErrorReport {
    fn from(raised: Raised) -> Self {
        Error::from(raised).into()
    }
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        Self::TableUnusable(unusable)
    }
}

impl From<Raised> for Error {
    fn from(raised: Raised) -> Self {
        match raised {
            Raised::Server(error) => Self::Postgres(error),
            Raised::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<Error> for Failure<Error> {
    fn from(error: Error) -> Self {
        match error {
            Error::Postgres(raised) => Self::Raised(raised.into()),
            error => Self::Other(error),
        }
    }
}
