//! PostgreSQL's functions as C declares them: an ERROR leaves them by `longjmp`.
//!
//! The `pg_sys` functions of the same names turn an ERROR into a Rust panic and lose the
//! constraint, table and column names, foreign SQLSTATEs and the context on the way. These are
//! called inside [`guard`](super::guard::guard) only, which keeps the whole error.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use pgrx::pg_sys::{
    ArrayType, Bitmapset, CoercionForm, ConditionVariable, ConfigVariable, Const, Datum, ErrorData,
    Expr, FmgrInfo, ForkNumber, FuncExpr, FunctionCallInfo, GucAction, GucContext, GucSource,
    HeapTupleHeader, Jsonb, JsonbContainer, JsonbIterator, JsonbIteratorToken, JsonbValue, LOCKTAG,
    LWLock, LWLockMode, Latch, List, LockAcquireResult, MemoryContext, Node, Oid, PGFunction,
    ParamListInfo, ParseState, PlannerInfo, Portal, RangeVar, RangeVarGetRelidCallback,
    RawParseMode, RelabelType, Relation, SPIExecuteOptions, SPIPlanPtr, Size, Snapshot,
    SubXactCallback, SysScanDesc, TableScanDesc, TimestampTz, TupleDesc, TupleTableSlot,
    Tuplestorestate, TypeCacheEntry, TypeFuncClass, VacuumStmt, Var, XactCallback, varlena,
};

/// `enum TimeoutId` of `utils/timeout.h`, which pgrx does not have, and those of its values that
/// are of use here.
pub(super) type TimeoutId = c_uint;
pub(super) const DEADLOCK_TIMEOUT: TimeoutId = 1;
pub(super) const LOCK_TIMEOUT: TimeoutId = 2;
pub(super) const STATEMENT_TIMEOUT: TimeoutId = 3;
/// The request for an id of one's own.
pub(super) const USER_TIMEOUT: TimeoutId = if cfg!(any(feature = "pg15", feature = "pg16")) {
    12
} else {
    13
};

/// `void (*timeout_handler_proc)(void)` of `utils/timeout.h`; runs inside a signal handler.
pub(super) type TimeoutHandler = unsafe extern "C-unwind" fn();

unsafe extern "C-unwind" {
    #[cfg(feature = "injection_points")]
    pub(super) fn InjectionPointRun(
        name: *const c_char,
        #[cfg(not(feature = "pg17"))] argument: *mut c_void,
    );
    pub(super) fn AbortCurrentTransaction();
    pub(super) fn AcceptInvalidationMessages();
    pub(super) fn AllocSetContextCreateInternal(
        parent: MemoryContext,
        name: *const c_char,
        min_size: Size,
        init_size: Size,
        max_size: Size,
    ) -> MemoryContext;
    pub(super) fn AtEOXact_GUC(is_commit: bool, nest_level: c_int);
    pub(super) fn BlessTupleDesc(description: TupleDesc) -> TupleDesc;
    pub(super) fn BeginInternalSubTransaction(name: *const c_char);
    pub(super) fn CacheInvalidateRelcacheByRelid(relation: Oid);
    pub(super) fn CallSyscacheCallbacks(cache: c_int, hash: u32);
    pub(super) fn CommitTransactionCommand();
    pub(super) fn ConditionVariableBroadcast(variable: *mut ConditionVariable);
    #[cfg(feature = "pg15")]
    pub(super) fn ConditionVariableCancelSleep();
    #[cfg(not(feature = "pg15"))]
    pub(super) fn ConditionVariableCancelSleep() -> bool;
    pub(super) fn ConditionVariableInit(variable: *mut ConditionVariable);
    pub(super) fn ConditionVariablePrepareToSleep(variable: *mut ConditionVariable);
    pub(super) fn ConditionVariableTimedSleep(
        variable: *mut ConditionVariable,
        milliseconds: c_long,
        event: u32,
    ) -> bool;
    pub(super) fn CheckFunctionValidatorAccess(validator: Oid, function: Oid) -> bool;
    pub(super) fn ConditionalLockRelationOid(relation: Oid, mode: c_int) -> bool;
    pub(super) fn ReleaseSysCache(row: HeapTuple);
    pub(super) fn SysCacheGetAttr(
        cache: c_int,
        row: HeapTuple,
        column: AttrNumber,
        is_null: *mut bool,
    ) -> Datum;
    pub(super) fn SearchSysCache1(cache: c_int, key: Datum) -> HeapTuple;
    pub(super) fn CopyErrorData() -> *mut ErrorData;
    pub(super) fn DirectFunctionCall1Coll(f: PGFunction, collation: Oid, arg: Datum) -> Datum;
    pub(super) fn DirectFunctionCall2Coll(
        f: PGFunction,
        collation: Oid,
        first: Datum,
        second: Datum,
    ) -> Datum;
    pub(super) fn ExecDropSingleTupleTableSlot(slot: *mut TupleTableSlot);
    pub(super) fn ExecVacuum(state: *mut ParseState, statement: *mut VacuumStmt, is_top: bool);
    pub(super) fn FlushErrorState();
    pub(super) fn FunctionCall2Coll(
        f: *mut FmgrInfo,
        collation: Oid,
        first: Datum,
        second: Datum,
    ) -> Datum;
    pub(super) fn FunctionCall1Coll(f: *mut FmgrInfo, collation: Oid, argument: Datum) -> Datum;
    pub(super) fn GenerationContextCreate(
        parent: MemoryContext,
        name: *const c_char,
        min_size: Size,
        init_size: Size,
        max_size: Size,
    ) -> MemoryContext;
    pub(super) fn GetCurrentTimestamp() -> TimestampTz;
    pub(super) fn GetCurrentTransactionStartTimestamp() -> TimestampTz;
    pub(super) fn GetUserId() -> Oid;
    pub(super) fn GetUserNameFromId(role: Oid, is_missing_ok: bool) -> *mut c_char;
    pub(super) fn GetLatestSnapshot() -> Snapshot;
    pub(super) fn HeapTupleHeaderGetDatum(row: HeapTupleHeader) -> Datum;
    pub(super) fn JsonbIteratorInit(container: *mut JsonbContainer) -> *mut JsonbIterator;
    pub(super) fn JsonbIteratorNext(
        iterator: *mut *mut JsonbIterator,
        value: *mut JsonbValue,
        skip_nested: bool,
    ) -> JsonbIteratorToken::Type;
    pub(super) fn JsonbValueToJsonb(value: *mut JsonbValue) -> *mut Jsonb;
    pub(super) fn InitMaterializedSRF(info: FunctionCallInfo, flags: u32);
    pub(super) fn LockDatabaseObject(class: Oid, object: Oid, part: u16, mode: c_int);
    pub(super) fn LockRelationOid(relation: Oid, mode: c_int);
    pub(super) fn LockAcquire(
        tag: *const LOCKTAG,
        mode: c_int,
        session: bool,
        dont_wait: bool,
    ) -> LockAcquireResult::Type;
    pub(super) fn MemoryContextDelete(context: MemoryContext);
    pub(super) fn MemoryContextReset(context: MemoryContext);
    pub(super) fn MemoryContextStrdup(context: MemoryContext, string: *const c_char)
    -> *mut c_char;
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    pub(super) fn LockHeldByMe(tag: *const LOCKTAG, mode: c_int) -> bool;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    pub(super) fn LockHeldByMe(tag: *const LOCKTAG, mode: c_int, or_stronger: bool) -> bool;
    pub(super) fn LockRelease(tag: *const LOCKTAG, mode: c_int, session: bool) -> bool;
    pub(super) fn LockWaiterCount(tag: *const LOCKTAG) -> c_int;
    pub(super) fn LWLockAcquire(lock: *mut LWLock, mode: LWLockMode::Type) -> bool;
    pub(super) fn LWLockRelease(lock: *mut LWLock);
    pub(super) fn OidFunctionCall2Coll(
        f: Oid,
        collation: Oid,
        first: Datum,
        second: Datum,
    ) -> Datum;
    pub(super) fn OidFunctionCall3Coll(
        f: Oid,
        collation: Oid,
        first: Datum,
        second: Datum,
        third: Datum,
    ) -> Datum;
    pub(super) fn OidInputFunctionCall(f: Oid, s: *mut c_char, io_param: Oid, typmod: i32)
    -> Datum;
    pub(super) fn OidOutputFunctionCall(f: Oid, value: Datum) -> *mut c_char;
    pub(super) fn ParseConfigFile(
        file: *const c_char,
        strict: bool,
        calling_file: *const c_char,
        calling_line: c_int,
        depth: c_int,
        level: c_int,
        head: *mut *mut ConfigVariable,
        tail: *mut *mut ConfigVariable,
    ) -> bool;
    pub(super) fn PreventCommandIfParallelMode(command: *const c_char);
    pub(super) fn PreventCommandIfReadOnly(command: *const c_char);
    pub(super) fn ProcessConfigFile(context: GucContext::Type);
    pub(super) fn ProcessInterrupts();
    pub(super) fn RangeVarGetRelidExtended(
        name: *const RangeVar,
        lock_mode: c_int,
        flags: u32,
        callback: RangeVarGetRelidCallback,
        argument: *mut c_void,
    ) -> Oid;
    pub(super) fn RecoveryInProgress() -> bool;
    pub(super) fn RelationGetNumberOfBlocksInFork(
        relation: Relation,
        fork: ForkNumber::Type,
    ) -> u32;
    pub(super) fn RegisterSnapshot(snapshot: Snapshot) -> Snapshot;
    pub(super) fn RegisterSubXactCallback(callback: SubXactCallback, argument: *mut c_void);
    pub(super) fn RegisterTimeout(id: TimeoutId, handler: TimeoutHandler) -> TimeoutId;
    pub(super) fn RegisterXactCallback(callback: XactCallback, argument: *mut c_void);
    pub(super) fn RelationIdGetRelation(relation: Oid) -> Relation;
    pub(super) fn RelationGetIndexList(relation: Relation) -> *mut List;
    pub(super) fn ReleaseCurrentSubTransaction();
    pub(super) fn ResetLatch(latch: *mut Latch);
    pub(super) fn RollbackAndReleaseCurrentSubTransaction();
    pub(super) fn SPI_connect() -> c_int;
    pub(super) fn SPI_cursor_close(portal: Portal);
    pub(super) fn SPI_cursor_fetch(portal: Portal, forward: bool, count: c_long);
    pub(super) fn SPI_cursor_open(
        name: *const c_char,
        plan: SPIPlanPtr,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
    ) -> Portal;
    pub(super) fn SPI_execute(statement: *const c_char, read_only: bool, count: c_long) -> c_int;
    pub(super) fn SPI_execute_snapshot(
        plan: SPIPlanPtr,
        values: *mut Datum,
        nulls: *const c_char,
        snapshot: Snapshot,
        crosscheck: Snapshot,
        read_only: bool,
        fire_triggers: bool,
        count: c_long,
    ) -> c_int;
    pub(super) fn SPI_execute_plan_extended(
        plan: SPIPlanPtr,
        options: *const SPIExecuteOptions,
    ) -> c_int;
    pub(super) fn SPI_finish() -> c_int;
    pub(super) fn SPI_freeplan(plan: SPIPlanPtr) -> c_int;
    pub(super) fn SPI_keepplan(plan: SPIPlanPtr) -> c_int;
    pub(super) fn SPI_plan_get_plan_sources(plan: SPIPlanPtr) -> *mut List;
    pub(super) fn SPI_prepare(text: *const c_char, count: c_int, types: *mut Oid) -> SPIPlanPtr;
    pub(super) fn SetCurrentStatementStartTimestamp();
    pub(super) fn StartTransactionCommand();
    pub(super) fn UnregisterSnapshot(snapshot: Snapshot);
    #[cfg(any(feature = "pg17", feature = "pg18", feature = "pg19"))]
    pub(super) fn WaitEventExtensionNew(name: *const c_char) -> u32;
    pub(super) fn WaitLatch(latch: *mut Latch, events: c_int, timeout: c_long, event: u32)
    -> c_int;
    pub(super) fn bms_next_member(set: *const Bitmapset, member: c_int) -> c_int;
    pub(super) fn check_enable_rls(relation: Oid, as_user: Oid, no_error: bool) -> c_int;
    pub(super) fn datumCopy(value: Datum, by_value: bool, length: c_int) -> Datum;
    pub(super) fn deconstruct_array(
        array: *mut ArrayType,
        kind: Oid,
        length: c_int,
        by_value: bool,
        align: c_char,
        elements: *mut *mut Datum,
        nulls: *mut *mut bool,
        count: *mut c_int,
    );
    #[cfg(not(feature = "pg19"))]
    pub(super) fn die(signal: c_int);
    #[cfg(feature = "pg19")]
    pub(super) fn die(signal: c_int, sender: *const pgrx::pg_sys::pg_signal_info);
    pub(super) fn disable_timeout(id: TimeoutId, keep_indicator: bool);
    pub(super) fn enable_timeout_at(id: TimeoutId, at: TimestampTz);
    pub(super) fn enable_timeout_every(id: TimeoutId, first: TimestampTz, every_ms: c_int);
    pub(super) fn err_generic_string(field: c_int, value: *const c_char) -> c_int;
    pub(super) fn errcode(code: c_int) -> c_int;
    pub(super) fn errcontext_msg(format: *const c_char, ...) -> c_int;
    pub(super) fn errdetail_log(format: *const c_char, ...) -> c_int;
    pub(super) fn errdetail_internal(format: *const c_char, ...) -> c_int;
    pub(super) fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    pub(super) fn errhint(format: *const c_char, ...) -> c_int;
    pub(super) fn errmsg(format: *const c_char, ...) -> c_int;
    pub(super) fn errmsg_internal(format: *const c_char, ...) -> c_int;
    pub(super) fn errposition(position: c_int) -> c_int;
    pub(super) fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub(super) fn find_all_inheritors(
        parent: Oid,
        lock_mode: c_int,
        parent_counts: *mut *mut List,
    ) -> *mut List;
    pub(super) fn compatible_oper_opid(
        name: *mut List,
        left: Oid,
        right: Oid,
        no_error: bool,
    ) -> Oid;
    pub(super) fn find_inheritance_children(parent: Oid, lock_mode: c_int) -> *mut List;
    pub(super) fn eval_const_expressions(root: *mut PlannerInfo, node: *mut Node) -> *mut Node;
    pub(super) fn exprType(expression: *const Node) -> Oid;
    pub(super) fn fmgr_info(function: Oid, info: *mut FmgrInfo);
    pub(super) fn format_type_extended(kind: Oid, typmod: i32, flags: u16) -> *mut c_char;
    pub(super) fn getBaseType(kind: Oid) -> Oid;
    pub(super) fn getTypeInputInfo(kind: Oid, input: *mut Oid, io_param: *mut Oid);
    pub(super) fn getTypeOutputInfo(kind: Oid, output: *mut Oid, is_varlena: *mut bool);
    pub(super) fn get_namespace_name(schema: Oid) -> *mut c_char;
    pub(super) fn get_namespace_name_or_temp(schema: Oid) -> *mut c_char;
    pub(super) fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> Oid;
    pub(super) fn get_opcode(operator: Oid) -> Oid;
    pub(super) fn get_opfamily_member(family: Oid, left: Oid, right: Oid, strategy: i16) -> Oid;
    pub(super) fn get_relname_relid(name: *const c_char, schema: Oid) -> Oid;
    pub(super) fn get_role_oid(name: *const c_char, missing_ok: bool) -> Oid;
    pub(super) fn get_typ_typrelid(kind: Oid) -> Oid;
    pub(super) fn get_call_result_type(
        info: FunctionCallInfo,
        kind: *mut Oid,
        description: *mut TupleDesc,
    ) -> TypeFuncClass::Type;
    pub(super) fn get_base_element_type(kind: Oid) -> Oid;
    pub(super) fn get_database_name(database: Oid) -> *mut c_char;
    pub(super) fn get_fn_expr_argtype(function: *mut FmgrInfo, argument: c_int) -> Oid;
    pub(super) fn getExtensionOfObject(catalog: Oid, object: Oid) -> Oid;
    pub(super) fn get_extension_oid(name: *const c_char, missing_ok: bool) -> Oid;
    pub(super) fn get_func_name(function: Oid) -> *mut c_char;
    pub(super) fn get_func_namespace(function: Oid) -> Oid;
    pub(super) fn get_func_variadictype(function: Oid) -> Oid;
    pub(super) fn get_func_signature(f: Oid, types: *mut *mut Oid, count: *mut c_int) -> Oid;
    pub(super) fn get_timeout_active(id: TimeoutId) -> bool;
    pub(super) fn get_timeout_indicator(id: TimeoutId, reset: bool) -> bool;
    pub(super) fn get_timeout_start_time(id: TimeoutId) -> TimestampTz;
    pub(super) fn get_typcollation(kind: Oid) -> Oid;
    pub(super) fn get_typlen(kind: Oid) -> i16;
    pub(super) fn get_typlenbyval(kind: Oid, length: *mut i16, by_value: *mut bool);
    pub(super) fn get_typlenbyvalalign(
        kind: Oid,
        length: *mut i16,
        by_value: *mut bool,
        align: *mut c_char,
    );
    pub(super) fn has_privs_of_role(member: Oid, role: Oid) -> bool;
    pub(super) fn heap_endscan(scan: TableScanDesc);
    pub(super) fn index_close(index: Relation, lock_mode: c_int);
    pub(super) fn index_open(index: Oid, lock_mode: c_int) -> Relation;
    pub(super) fn internalerrposition(position: c_int) -> c_int;
    pub(super) fn internalerrquery(query: *const c_char) -> c_int;
    pub(super) fn jsonb_in(info: FunctionCallInfo) -> Datum;
    pub(super) fn jsonb_out(info: FunctionCallInfo) -> Datum;
    pub(super) fn lookup_type_cache(kind: Oid, flags: c_int) -> *mut TypeCacheEntry;
    pub(super) fn makeString(text: *mut c_char) -> *mut pgrx::pg_sys::String;
    pub(super) fn lappend(list: *mut List, element: *mut c_void) -> *mut List;
    pub(super) fn makeConst(
        kind: Oid,
        typmod: i32,
        collation: Oid,
        length: c_int,
        value: Datum,
        is_null: bool,
        by_value: bool,
    ) -> *mut Const;
    pub(super) fn makeFuncExpr(
        function: Oid,
        result: Oid,
        arguments: *mut List,
        result_collation: Oid,
        collation: Oid,
        form: CoercionForm::Type,
    ) -> *mut FuncExpr;
    pub(super) fn makeRelabelType(
        argument: *mut Expr,
        kind: Oid,
        typmod: i32,
        collation: Oid,
        form: CoercionForm::Type,
    ) -> *mut RelabelType;
    pub(super) fn makeVar(
        relation: c_int,
        column: AttrNumber,
        kind: Oid,
        typmod: i32,
        collation: Oid,
        levels_up: u32,
    ) -> *mut Var;
    pub(super) fn makeRangeVarFromNameList(names: *mut List) -> *mut RangeVar;
    pub(super) fn makeParamList(count: c_int) -> ParamListInfo;
    pub(super) fn make_opclause(
        operator: Oid,
        result: Oid,
        returns_set: bool,
        left: *mut Expr,
        right: *mut Expr,
        result_collation: Oid,
        collation: Oid,
    ) -> *mut Expr;
    pub(super) fn make_parsestate(parent: *mut ParseState) -> *mut ParseState;
    pub(super) fn numeric_out(info: FunctionCallInfo) -> Datum;
    pub(super) fn op_input_types(operator: Oid, left: *mut Oid, right: *mut Oid);
    pub(super) fn palloc(size: Size) -> *mut c_void;
    pub(super) fn pfree(memory: *mut c_void);
    pub(super) fn pg_any_to_server(s: *const c_char, length: c_int, encoding: c_int)
    -> *mut c_char;
    pub(super) fn pstrdup(text: *const c_char) -> *mut c_char;
    pub(super) fn pull_var_clause(node: *mut Node, flags: c_int) -> *mut List;
    pub(super) fn pg_detoast_datum(value: *mut varlena) -> *mut varlena;
    pub(super) fn pg_detoast_datum_copy(value: *mut varlena) -> *mut varlena;
    pub(super) fn pg_detoast_datum_packed(value: *mut varlena) -> *mut varlena;
    pub(super) fn pg_mbcliplen(s: *const c_char, length: c_int, limit: c_int) -> c_int;
    pub(super) fn pg_server_to_any(s: *const c_char, length: c_int, encoding: c_int)
    -> *mut c_char;
    pub(super) fn predicate_implied_by(
        predicate: *mut List,
        clauses: *mut List,
        weak: bool,
    ) -> bool;
    pub(super) fn pull_varattnos(node: *mut Node, relation: u32, columns: *mut *mut Bitmapset);
    pub(super) fn pgstat_report_stat(force: bool) -> c_long;
    pub(super) fn quote_qualified_identifier(
        schema: *const c_char,
        name: *const c_char,
    ) -> *mut c_char;
    pub(super) fn quote_identifier(name: *const c_char) -> *const c_char;
    pub(super) fn raw_parser(statements: *const c_char, mode: RawParseMode::Type) -> *mut List;
    pub(super) fn relation_close(relation: Relation, lock_mode: c_int);
    pub(super) fn slot_getsomeattrs_int(slot: *mut TupleTableSlot, count: c_int);
    pub(super) fn stringToNode(text: *const c_char) -> *mut c_void;
    #[cfg(not(feature = "pg15"))]
    pub(super) fn object_ownercheck(catalog: Oid, object: Oid, role: Oid) -> bool;
    #[cfg(feature = "pg15")]
    pub(super) fn pg_database_ownercheck(database: Oid, role: Oid) -> bool;
    #[cfg(feature = "pg15")]
    pub(super) fn pg_extension_ownercheck(extension: Oid, role: Oid) -> bool;
    pub(super) fn superuser_arg(role: Oid) -> bool;
    pub(super) fn systable_beginscan(
        catalog: Relation,
        index: Oid,
        index_ok: bool,
        snapshot: Snapshot,
        key_count: c_int,
        keys: ScanKey,
    ) -> SysScanDesc;
    pub(super) fn systable_endscan(scan: SysScanDesc);
    pub(super) fn systable_getnext(scan: SysScanDesc) -> HeapTuple;
    pub(super) fn table_slot_create(
        relation: Relation,
        list: *mut *mut List,
    ) -> *mut TupleTableSlot;
    pub(super) fn text_to_cstring(text: *const varlena) -> *mut c_char;
    pub(super) fn textToQualifiedNameList(text: *mut varlena) -> *mut List;
    pub(super) fn timestamp_pl_interval(info: FunctionCallInfo) -> Datum;
    pub(super) fn toast_raw_datum_size(value: Datum) -> Size;
    pub(super) fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: GucContext::Type,
        source: GucSource::Type,
        action: GucAction::Type,
        change: bool,
        elevel: c_int,
        is_reload: bool,
    ) -> c_int;
    pub(super) fn try_relation_open(relation: Oid, lock_mode: c_int) -> Relation;
    pub(super) fn type_is_rowtype(kind: Oid) -> bool;
    pub(super) fn tuplestore_begin_heap(
        random_access: bool,
        across_transactions: bool,
        kilobytes: c_int,
    ) -> *mut Tuplestorestate;
    pub(super) fn tuplestore_puttuple(state: *mut Tuplestorestate, row: HeapTuple);
    pub(super) fn tuplestore_putvalues(
        state: *mut Tuplestorestate,
        description: TupleDesc,
        values: *const Datum,
        nulls: *const bool,
    );
}

// Tables and indexes through their access methods.
#[cfg(feature = "pg19")]
use pgrx::pg_sys::BufferLockMode;
#[cfg(any(feature = "pg18", feature = "pg19"))]
use pgrx::pg_sys::IndexScanInstrumentation;
#[cfg(not(feature = "pg15"))]
use pgrx::pg_sys::TU_UpdateIndexes;
use pgrx::pg_sys::{
    AclMaskHow, AclMode, AclResult, AttrNumber, BTScanInsert, BTStack, BlockNumber, Buffer,
    BulkInsertState, CommandId, HeapTuple, IndexInfo, IndexScanDesc, IndexTuple, IndexUniqueCheck,
    ItemPointer, LockTupleMode, OffsetNumber, Page, ScanDirection, ScanKey, StrategyNumber,
    TM_FailureData, TM_Result, TransactionId, XLTW_Oper,
};

unsafe extern "C-unwind" {
    pub(super) fn CommandCounterIncrement();
    pub(super) fn GetCurrentCommandId(used: bool) -> CommandId;
    pub(super) fn GetCurrentTransactionId() -> TransactionId;
    pub(super) fn GetTransactionSnapshot() -> Snapshot;
    pub(super) fn HaveRegisteredOrActiveSnapshot() -> bool;
    pub(super) fn IsInParallelMode() -> bool;
    #[cfg(not(feature = "pg19"))]
    fn LockBuffer(buffer: Buffer, mode: c_int);
    #[cfg(feature = "pg19")]
    fn LockBufferInternal(buffer: Buffer, mode: BufferLockMode::Type);
    #[cfg(feature = "pg19")]
    fn UnlockBuffer(buffer: Buffer);
    pub(super) fn ReadBuffer(relation: Relation, block: BlockNumber) -> Buffer;
    pub(super) fn RelationGetIndexPredicate(index: Relation) -> *mut List;
    pub(super) fn ReleaseBuffer(buffer: Buffer);
    pub(super) fn ScanKeyEntryInitialize(
        key: ScanKey,
        flags: c_int,
        column: AttrNumber,
        strategy: StrategyNumber,
        subtype: Oid,
        collation: Oid,
        procedure: Oid,
        argument: Datum,
    );
    pub(super) fn ScanKeyInit(
        key: ScanKey,
        column: AttrNumber,
        strategy: StrategyNumber,
        procedure: Oid,
        argument: Datum,
    );
    pub(super) fn SpeculativeInsertionLockAcquire(transaction: TransactionId) -> u32;
    pub(super) fn SpeculativeInsertionWait(transaction: TransactionId, insertion: u32);
    pub(super) fn TransactionIdIsCurrentTransactionId(transaction: TransactionId) -> bool;
    pub(super) fn TransactionIdIsInProgress(transaction: TransactionId) -> bool;
    pub(super) fn UnlockRelationOid(relation: Oid, mode: c_int);
    pub(super) fn XactLockTableWait(
        transaction: TransactionId,
        relation: Relation,
        row: ItemPointer,
        operation: XLTW_Oper::Type,
    );
    pub(super) fn heap_abort_speculative(relation: Relation, row: ItemPointer);
    pub(super) fn heap_deform_tuple(
        row: HeapTuple,
        description: TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    );
    pub(super) fn heap_delete(
        relation: Relation,
        row: ItemPointer,
        command: CommandId,
        #[cfg(feature = "pg19")] options: u32,
        crosscheck: Snapshot,
        wait: bool,
        failure: *mut TM_FailureData,
        #[cfg(not(feature = "pg19"))] changes_partition: bool,
    ) -> TM_Result::Type;
    pub(super) fn heap_fetch(
        relation: Relation,
        snapshot: Snapshot,
        row: HeapTuple,
        buffer: *mut Buffer,
        keep_buffer: bool,
    ) -> bool;
    pub(super) fn heap_finish_speculative(relation: Relation, row: ItemPointer);
    pub(super) fn heap_form_tuple(
        description: TupleDesc,
        values: *const Datum,
        nulls: *const bool,
    ) -> HeapTuple;
    pub(super) fn heap_hot_search_buffer(
        row: ItemPointer,
        relation: Relation,
        buffer: Buffer,
        snapshot: Snapshot,
        found: HeapTuple,
        all_dead: *mut bool,
        first_call: bool,
    ) -> bool;
    pub(super) fn heap_insert(
        relation: Relation,
        row: HeapTuple,
        command: CommandId,
        #[cfg(not(feature = "pg19"))] options: c_int,
        #[cfg(feature = "pg19")] options: u32,
        bulk: BulkInsertState,
    );
    pub(super) fn _bt_compare(
        index: Relation,
        key: BTScanInsert,
        page: Page,
        at: OffsetNumber,
    ) -> i32;
    fn _bt_metaversion(index: Relation, heapkeyspace: *mut bool, allequalimage: *mut bool);
    fn _bt_mkscankey(index: Relation, entry: IndexTuple) -> BTScanInsert;
    #[cfg(not(feature = "pg19"))]
    fn _bt_freestack(stack: BTStack);
    fn _bt_search(
        index: Relation,
        #[cfg(not(feature = "pg15"))] heap: Relation,
        key: BTScanInsert,
        leaf: *mut Buffer,
        access: c_int,
        #[cfg(any(feature = "pg15", feature = "pg16"))] snapshot: Snapshot,
        #[cfg(feature = "pg19")] returns_stack: bool,
    ) -> BTStack;
    fn pgstat_assoc_relation(relation: Relation);
    fn heap_page_prune_opt(
        relation: Relation,
        buffer: Buffer,
        #[cfg(feature = "pg19")] map: *mut Buffer,
        #[cfg(feature = "pg19")] is_read_only: bool,
    );
    pub(super) fn heap_update(
        relation: Relation,
        old: ItemPointer,
        new: HeapTuple,
        command: CommandId,
        #[cfg(feature = "pg19")] options: u32,
        crosscheck: Snapshot,
        wait: bool,
        failure: *mut TM_FailureData,
        lock_mode: *mut LockTupleMode::Type,
        #[cfg(not(feature = "pg15"))] updated_indexes: *mut TU_UpdateIndexes::Type,
    ) -> TM_Result::Type;
    fn index_beginscan(
        heap: Relation,
        index: Relation,
        snapshot: Snapshot,
        #[cfg(any(feature = "pg18", feature = "pg19"))] instrument: *mut IndexScanInstrumentation,
        keys: c_int,
        orders: c_int,
        #[cfg(feature = "pg19")] flags: u32,
    ) -> IndexScanDesc;
    pub(super) fn index_endscan(scan: IndexScanDesc);
    pub(super) fn index_getnext_slot(
        scan: IndexScanDesc,
        direction: ScanDirection::Type,
        slot: *mut TupleTableSlot,
    ) -> bool;
    pub(super) fn index_getnext_tid(
        scan: IndexScanDesc,
        direction: ScanDirection::Type,
    ) -> ItemPointer;
    pub(super) fn index_insert(
        index: Relation,
        values: *mut Datum,
        nulls: *mut bool,
        row: ItemPointer,
        heap: Relation,
        check: IndexUniqueCheck::Type,
        unchanged: bool,
        info: *mut IndexInfo,
    ) -> bool;
    pub(super) fn index_rescan(
        scan: IndexScanDesc,
        keys: ScanKey,
        key_count: c_int,
        orders: ScanKey,
        order_count: c_int,
    );
    pub(super) fn relation_open(relation: Oid, mode: c_int) -> Relation;
    pub(super) fn pg_class_aclmask(
        table: Oid,
        role: Oid,
        rights: AclMode,
        how: AclMaskHow::Type,
    ) -> AclMode;
    pub(super) fn pg_attribute_aclcheck_all(
        table: Oid,
        role: Oid,
        rights: AclMode,
        how: AclMaskHow::Type,
    ) -> AclResult::Type;
    #[cfg(not(feature = "pg15"))]
    fn object_aclcheck(class: Oid, object: Oid, role: Oid, rights: AclMode) -> AclResult::Type;
    #[cfg(feature = "pg15")]
    fn pg_namespace_aclcheck(schema: Oid, role: Oid, rights: AclMode) -> AclResult::Type;
}

/// Whether the role may use what stands in the schema.
///
/// # Safety
/// As for the functions above.
pub(super) unsafe fn is_open(schema: Oid, role: Oid) -> bool {
    const USAGE: AclMode = pgrx::pg_sys::ACL_USAGE as AclMode;
    // SAFETY: a look-up by object id.
    let answer = unsafe {
        #[cfg(not(feature = "pg15"))]
        let answer = object_aclcheck(pgrx::pg_sys::NamespaceRelationId, schema, role, USAGE);
        #[cfg(feature = "pg15")]
        let answer = pg_namespace_aclcheck(schema, role, USAGE);
        answer
    };
    answer == AclResult::ACLCHECK_OK
}

/// `ExecClearTuple`, which is inline in C.
///
/// # Safety
/// As for the functions above.
pub(super) unsafe fn clear(slot: *mut TupleTableSlot) {
    // SAFETY: the caller passes a slot, whose methods are complete.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

use pgrx::pg_sys::pqsigfunc;

unsafe extern "C-unwind" {
    /// PostgreSQL 18 has another name for it in the server.
    #[cfg(any(feature = "pg18", feature = "pg19"))]
    #[link_name = "pqsignal_be"]
    fn pqsignal(signal: c_int, handler: pqsigfunc);
    #[cfg(not(any(feature = "pg18", feature = "pg19")))]
    fn pqsignal(signal: c_int, handler: pqsigfunc) -> pqsigfunc;
}

/// # Safety
/// The handler may run whenever the process is not in a critical place, as those of the server do.
pub(super) unsafe fn set_signal_handler(signal: c_int, handler: pqsigfunc) {
    // SAFETY: the caller's promise.
    unsafe { pqsignal(signal, handler) };
}

/// `LockBuffer` for reading, which is inline in C since PostgreSQL 19.
///
/// # Safety
/// The buffer is pinned and not locked.
pub(super) unsafe fn lock_to_read(buffer: Buffer) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg19"))]
        LockBuffer(buffer, pgrx::pg_sys::BUFFER_LOCK_SHARE as c_int);
        #[cfg(feature = "pg19")]
        LockBufferInternal(buffer, BufferLockMode::BUFFER_LOCK_SHARE);
    }
}

/// # Safety
/// The buffer is locked.
pub(super) unsafe fn unlock(buffer: Buffer) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg19"))]
        LockBuffer(buffer, pgrx::pg_sys::BUFFER_LOCK_UNLOCK as c_int);
        #[cfg(feature = "pg19")]
        UnlockBuffer(buffer);
    }
}

/// `heap_page_prune_opt`, without a look at the visibility map.
///
/// # Safety
/// The buffer is pinned and not locked.
pub(super) unsafe fn prune(relation: Relation, buffer: Buffer) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg19"))]
        heap_page_prune_opt(relation, buffer);
        #[cfg(feature = "pg19")]
        {
            let mut map: Buffer = 0;
            heap_page_prune_opt(relation, buffer, &raw mut map, false);
            if map != 0 {
                ReleaseBuffer(map);
            }
        }
    }
}

/// `index_beginscan` without instruments and orders.
///
/// # Safety
/// The relations are open; the snapshot outlives the scan.
pub(super) unsafe fn begin_scan(
    heap: Relation,
    index: Relation,
    snapshot: Snapshot,
    keys: c_int,
) -> IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe {
        index_beginscan(
            heap,
            index,
            snapshot,
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            std::ptr::null_mut(),
            keys,
            0,
            #[cfg(feature = "pg19")]
            0,
        )
    }
}

/// `_bt_search` for reading: the leaf where the key belongs, pinned and locked; 0 where the index has no
/// page yet.
///
/// # Safety
/// The index is a B-tree and open, and the key is one of its columns.
pub(super) unsafe fn descend(index: Relation, key: BTScanInsert) -> Buffer {
    // BT_READ.
    #[cfg(not(feature = "pg19"))]
    let access = pgrx::pg_sys::BUFFER_LOCK_SHARE;
    #[cfg(feature = "pg19")]
    let access = BufferLockMode::BUFFER_LOCK_SHARE;
    let mut leaf = 0;
    // SAFETY: the caller's promise. Who is not to insert needs neither the table nor the stack.
    unsafe {
        let _stack = _bt_search(
            index,
            #[cfg(not(feature = "pg15"))]
            std::ptr::null_mut(),
            key,
            &raw mut leaf,
            access as c_int,
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            std::ptr::null_mut(),
            #[cfg(feature = "pg19")]
            false,
        );
        #[cfg(not(feature = "pg19"))]
        _bt_freestack(_stack);
    }
    leaf
}

/// What the descent compares with, without values yet: a key for each key column of the index.
///
/// # Safety
/// The index is a B-tree, and open.
pub(super) unsafe fn search_of(index: Relation) -> BTScanInsert {
    // SAFETY: the caller's promise. Without an entry it is for the caller to say how the index is laid out.
    unsafe {
        let search = _bt_mkscankey(index, std::ptr::null_mut());
        _bt_metaversion(
            index,
            &raw mut (*search).heapkeyspace,
            &raw mut (*search).allequalimage,
        );
        search
    }
}

/// `pgstat_count_index_scan`, a macro of C.
///
/// # Safety
/// The index is open.
pub(super) unsafe fn count_index_scan(index: Relation) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*index).pgstat_info.is_null() {
            if !(*index).pgstat_enabled {
                return;
            }
            pgstat_assoc_relation(index);
        }
        let table = (*index).pgstat_info;
        #[cfg(feature = "pg15")]
        let count = &raw mut (*table).t_counts.t_numscans;
        #[cfg(not(feature = "pg15"))]
        let count = &raw mut (*table).counts.numscans;
        *count += 1;
    }
}

/// The fields of `ItemIdData`: where on its page an item is, and what became of it. Those that bindgen
/// makes put them together bit by bit.
pub(super) fn line_offset(line: u32) -> usize {
    const BITS: u32 = 15;
    let offset = match cfg!(target_endian = "little") {
        true => line & ((1 << BITS) - 1),
        false => line >> (u32::BITS - BITS),
    };
    offset as usize
}

pub(super) fn line_flags(line: u32) -> u32 {
    line >> 15 & 0b11
}
