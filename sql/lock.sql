CREATE FUNCTION with_lock(ns pg_catalog.text, key pg_catalog.text, "timeout" once.duration DEFAULT NULL, shared pg_catalog.bool DEFAULT false) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'with_lock_wrapper';
COMMENT ON FUNCTION with_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.bool) IS
    'Takes the named lock (ns, key) until the transaction ends, or is rolled back to a savepoint before the call. True when it is held, false when it was not obtained within timeout (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait; more than 24 days counts as 24): then the transaction goes on, and nothing is held. With shared several may hold it at a time. At READ COMMITTED what the next statement reads is fresh; at REPEATABLE READ and SERIALIZABLE reads are as old as the snapshot. Works in read-only transactions. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes) or a negative or infinite timeout, 42501, 40P01, 25006 on a standby, 25000 in a parallel operation, 53200 when the lock table is full.';

CREATE FUNCTION with_locks(ns pg_catalog.text, keys pg_catalog.text[], "timeout" once.duration DEFAULT NULL, shared pg_catalog.bool DEFAULT false) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'with_locks_wrapper';
COMMENT ON FUNCTION with_locks(pg_catalog.text, pg_catalog.text[], once.duration, pg_catalog.bool) IS
    'Takes the named locks (ns, key) of all these keys as with_lock does, all or none: true when all are held, false when they were not all obtained within timeout; then none of this call is held. They are taken in one order, whatever the order of the array, so that transactions with one such call each cannot deadlock with one another. A key that stands in the array twice counts once; an empty array is true. Each key takes an entry of the shared lock table. Isolation is that of with_lock. Errors: those of with_lock, 22004 for NULL, also as an element, 22023 for an array of several dimensions, 54000 for more than 1,000 keys.';

CREATE FUNCTION hold_lock(ns pg_catalog.text, key pg_catalog.text, "timeout" once.duration DEFAULT NULL, shared pg_catalog.bool DEFAULT false) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'hold_lock_wrapper';
COMMENT ON FUNCTION hold_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.bool) IS
    'Takes the named lock (ns, key) for the session: it stays, also after a rollback, until release_lock was called as often as hold_lock said true, or pg_advisory_unlock_all, DISCARD ALL or the end of the session. Not for connections that a pooler shares out by transaction: there use with_lock. Answers, timeout and errors are those of with_lock.';

CREATE FUNCTION release_lock(ns pg_catalog.text, key pg_catalog.text, shared pg_catalog.bool DEFAULT false) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'release_lock_wrapper';
COMMENT ON FUNCTION release_lock(pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
    'Gives back one hold of hold_lock on (ns, key), at once and for good. False when this session has none of that kind (shared or not); what with_lock took is not given back. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501, 25006 on a standby, 25000 in a parallel operation.';

CREATE FUNCTION once.lock_hash(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.int8
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'lock_hash_wrapper';
COMMENT ON FUNCTION once.lock_hash(pg_catalog.text, pg_catalog.text) IS
    'The number that stands for the named lock (ns, key), as column name_hash of once.locks shows it; pg_locks shows its upper half as classid, the lower one as objid, and 20602 as objsubid. The same name has another number in another database or cluster. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501.';

CREATE FUNCTION once.lock_name(
    class pg_catalog.int8, name_hash pg_catalog.int8, pid pg_catalog.int8, mode pg_catalog.text, OUT ns pg_catalog.text, OUT key pg_catalog.text, OUT since pg_catalog.timestamptz
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10 ROWS 1
    AS 'MODULE_PATHNAME', 'lock_name_wrapper';
COMMENT ON FUNCTION once.lock_name(pg_catalog.int8, pg_catalog.int8, pg_catalog.int8, pg_catalog.text) IS
    'What the view once.locks knows of one lock: the name, where it is known and the caller may see it, and since when pid holds it in that mode. NULL for what is not known. One row.';

CREATE VIEW once.locks WITH (security_barrier) AS
    SELECT CASE WHEN held.class OPERATOR(pg_catalog.=) 20601 THEN 'row' ELSE 'lock' END AS kind,
           known.ns, known.key, held.mode, held.granted,
           CASE WHEN held.granted THEN known.since ELSE held.waitstart END AS since,
           held.pid, activity.usename, activity.application_name, held.name_hash
    FROM (SELECT l.objsubid::pg_catalog.int8 AS class,
                 (l.classid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) l.objid::pg_catalog.int8 AS name_hash,
                 l.mode, l.granted, l.waitstart, l.pid
          FROM pg_catalog.pg_locks l
          WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
            AND l.objsubid OPERATOR(pg_catalog.=) ANY (ARRAY[20601, 20602])
            AND l.database OPERATOR(pg_catalog.=)
                (SELECT d.oid FROM pg_catalog.pg_database d
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) held
    LEFT JOIN pg_catalog.pg_stat_activity activity ON activity.pid OPERATOR(pg_catalog.=) held.pid
    CROSS JOIN LATERAL once.lock_name(held.class, held.name_hash, held.pid::pg_catalog.int8, held.mode) known;
COMMENT ON VIEW once.locks IS 'Who holds and who waits for which named lock (kind lock) or turn to create a row (kind row: ns is the table, key the key). ns and key are null where the name is not known here or the caller may not see it: without shared_preload_libraries only the names of what the own session holds are known';
COMMENT ON COLUMN once.locks.since IS 'Since when it waits, or holds the lock where that is known';
COMMENT ON COLUMN once.locks.pid IS 'The backend; null for a prepared transaction';
COMMENT ON COLUMN once.locks.name_hash IS 'The number of the lock, which once.lock_hash gives for a known name';
