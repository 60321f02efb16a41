/* From 0.1.0 to 0.2.0: namespaces, batches, timeouts and owners of claims, named locks, work, sweep,
   statistics, repair of duplicates, check. */
\echo Use "ALTER EXTENSION pg_once UPDATE TO '0.2.0'" to load this file. \quit

/* What is configured. A namespace that is not here is open to every role that has EXECUTE. */
CREATE TABLE once.namespace (
    ns           text COLLATE "C" NOT NULL,
    ttl          interval,
    allowed_role regrole,
    CONSTRAINT namespace_pkey PRIMARY KEY (ns)
);
COMMENT ON TABLE once.namespace IS 'The policy of namespaces: written by once.configure and once.unconfigure only';
COMMENT ON COLUMN once.namespace.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.namespace.ttl IS 'How long claims last that name no period of their own, and how long work that is over is remembered; for ever where null';
COMMENT ON COLUMN once.namespace.allowed_role IS 'The role that, with its members, may use the namespace; every role where null';

SELECT pg_catalog.pg_extension_config_dump('once.namespace', '');

CREATE FUNCTION once.configure(ns text, ttl interval DEFAULT NULL, allowed_role regrole DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'configure_wrapper';
COMMENT ON FUNCTION once.configure(text, interval, regrole) IS
    'Says how long claims of the namespace last and how long work that is over is remembered (ttl), and which role with its members may use it (allowed_role). NULL leaves that part as it is. Counts as of commit, for all calls that begin later. A role that is dropped leaves the namespace closed. For the owner of the extension or of the database. Errors: 22004 for a NULL ns, 22023 for an empty or too long ns (128 bytes), a ttl that is not positive and finite, or a role that does not exist, 42501, 25006 in a read-only transaction.';

CREATE FUNCTION once.unconfigure(ns text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unconfigure_wrapper';
COMMENT ON FUNCTION once.unconfigure(text) IS
    'Forgets what once.configure said of the namespace: it is open to every role, and claims that are made from then on last for ever. True if there was something to forget. For the owner of the extension or of the database. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes), 42501, 25006 in a read-only transaction.';

CREATE FUNCTION once.may_use(ns text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'may_use_wrapper';
COMMENT ON FUNCTION once.may_use(text) IS
    'Whether current_user may use the namespace, by the newest committed configuration and that of the own transaction. NULL for NULL. The views of schema once show what it allows.';

CREATE FUNCTION once.namespace_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'namespace_changed_wrapper';
COMMENT ON FUNCTION once.namespace_changed() IS
    'Trigger of once.namespace: tells all sessions, as of commit, that the configuration has changed.';

CREATE FUNCTION once.namespace_written() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'namespace_written_wrapper';
COMMENT ON FUNCTION once.namespace_written() IS
    'Trigger of once.namespace: closes for good what a restored dump gives to a role that no longer exists.';

CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON once.namespace
    FOR EACH ROW EXECUTE FUNCTION once.namespace_changed();
CREATE TRIGGER written AFTER INSERT OR UPDATE ON once.namespace
    FOR EACH STATEMENT EXECUTE FUNCTION once.namespace_written();
/* Also for what logical replication writes. */
ALTER TABLE once.namespace ENABLE ALWAYS TRIGGER changed;
ALTER TABLE once.namespace ENABLE ALWAYS TRIGGER written;

CREATE VIEW once.namespaces WITH (security_barrier) AS
    SELECT n.ns, n.ttl, n.allowed_role
    FROM once.namespace n
    WHERE once.may_use(n.ns)
       OR pg_catalog.pg_has_role('pg_database_owner', 'USAGE')
       OR pg_catalog.pg_has_role(
              (SELECT e.extowner FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once'), 'USAGE');
COMMENT ON VIEW once.namespaces IS 'What once.configure said: of namespaces that the caller may use, and all for the owner of the extension or of the database';

CREATE VIEW once.claims WITH (security_barrier) AS
    SELECT c.ns, c.key,
           CASE WHEN pg_catalog.starts_with(c.key, E'\x1e') THEN ARRAY(
               SELECT pg_catalog.replace(pg_catalog.replace(part.text, E'\x1b1', E'\x1e'), E'\x1b0', E'\x1b')
               FROM pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.substr(c.key, 2), E'\x1e'))
                    WITH ORDINALITY AS part (text, position)
               ORDER BY part.position)
           ELSE ARRAY[c.key] END AS parts,
           c.claimed_at, c.expires_at
    FROM once.claim c
    WHERE once.may_use(c.ns);
COMMENT ON VIEW once.claims IS 'The committed claims of namespaces that the caller may use, expired ones included until they are swept; parts are those of which once_key made the key';

/* A session that has the library of 0.1.0 loaded knows of no policies: it does not find these. */
CREATE OR REPLACE FUNCTION claim_once(ns text, key text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once(ns text, VARIADIC parts "any") RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once(ns text, VARIADIC parts text[]) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once(ns text, part1 anynonarray, part2 text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once(ns text, part1 text, part2 anynonarray) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once_per(period interval, ns text, key text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once_per(period interval, ns text, VARIADIC parts "any") RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once_per(period interval, ns text, VARIADIC parts text[]) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once_per(period interval, ns text, part1 anynonarray, part2 text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_0_2_wrapper';

CREATE OR REPLACE FUNCTION claim_once_per(period interval, ns text, part1 text, part2 anynonarray) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_0_2_wrapper';

CREATE OR REPLACE FUNCTION is_claimed(ns text, key text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_0_2_wrapper';

CREATE OR REPLACE FUNCTION is_claimed(ns text, VARIADIC parts "any") RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_0_2_wrapper';

CREATE OR REPLACE FUNCTION is_claimed(ns text, VARIADIC parts text[]) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_0_2_wrapper';

CREATE OR REPLACE FUNCTION is_claimed(ns text, part1 anynonarray, part2 text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_0_2_wrapper';

CREATE OR REPLACE FUNCTION is_claimed(ns text, part1 text, part2 anynonarray) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_0_2_wrapper';

CREATE OR REPLACE FUNCTION unclaim(ns text, key text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_0_2_wrapper';

CREATE OR REPLACE FUNCTION unclaim(ns text, VARIADIC parts "any") RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_0_2_wrapper';

CREATE OR REPLACE FUNCTION unclaim(ns text, VARIADIC parts text[]) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_0_2_wrapper';

CREATE OR REPLACE FUNCTION unclaim(ns text, part1 anynonarray, part2 text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_0_2_wrapper';

CREATE OR REPLACE FUNCTION unclaim(ns text, part1 text, part2 anynonarray) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_0_2_wrapper';

COMMENT ON FUNCTION claim_once(text, text) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

COMMENT ON FUNCTION claim_once(text, VARIADIC "any") IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

COMMENT ON FUNCTION claim_once(text, VARIADIC text[]) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

COMMENT ON FUNCTION claim_once(text, anynonarray, text) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

COMMENT ON FUNCTION claim_once(text, text, anynonarray) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

COMMENT ON FUNCTION claim_once_per(interval, text, text) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and finite.';

COMMENT ON FUNCTION claim_once_per(interval, text, VARIADIC "any") IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and finite.';

COMMENT ON FUNCTION claim_once_per(interval, text, VARIADIC text[]) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and finite.';

COMMENT ON FUNCTION claim_once_per(interval, text, anynonarray, text) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and finite.';

COMMENT ON FUNCTION claim_once_per(interval, text, text, anynonarray) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and finite.';

CREATE FUNCTION claim_many(ns text, keys text[]) RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'claim_many_wrapper';

COMMENT ON FUNCTION claim_many(text, text[]) IS
    'Claims many keys and returns those that this call won, in the order of the array, each once however often it stands there. All are claimed before the first row comes. Waits for competitors as claim_once does, in one order for all: transactions that make one such call each cannot deadlock. At REPEATABLE READ a key is lost to a claim though that is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors, after which nothing is claimed: 22004 for NULL, also as an element, 22023 for an array of several dimensions and for an empty or too long ns (128 bytes) or key (2000 bytes), 54000 for more than 10,000,000 keys, 25006 in a read-only transaction.';

CREATE FUNCTION try_claim_once(
    ns text, key text, "timeout" interval DEFAULT '0', ttl interval DEFAULT NULL, owner text DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'try_claim_once_wrapper';

COMMENT ON FUNCTION try_claim_once(text, text, interval, interval, text) IS
    '''won'', ''duplicate'', or ''in_progress'' when somebody''s transaction, which is open, still decides and the timeout is over (''0'': does not wait, NULL: waits as long as lock_timeout and statement_timeout allow). Then nothing was written, nothing is held and the transaction goes on. With a ttl the claim ends that long after it was made. A committed, unexpired claim with the same non-NULL owner answers ''won'' again and changes nothing; owner is a secret of the caller, at most 200 bytes, stored as a digest. At REPEATABLE READ ''duplicate'' is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for a NULL ns or key, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), a too long owner, a negative or infinite timeout and a ttl that is not positive and finite, 25006 in a read-only transaction.';

CREATE FUNCTION with_lock(ns text, key text, "timeout" interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'with_lock_wrapper';
COMMENT ON FUNCTION with_lock(text, text, interval, boolean) IS
    'Takes the named lock (ns, key) until the transaction ends, or is rolled back to a savepoint before the call. True when it is held, false when it was not obtained within timeout (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait; more than 24 days counts as 24): then the transaction goes on, and nothing is held. With shared several may hold it at a time. At READ COMMITTED what the next statement reads is fresh; at REPEATABLE READ and SERIALIZABLE reads are as old as the snapshot. Works in read-only transactions. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes) or a negative or infinite timeout, 42501, 40P01, 25006 on a standby, 25000 in a parallel operation, 53200 when the lock table is full.';

CREATE FUNCTION hold_lock(ns text, key text, "timeout" interval DEFAULT NULL, shared boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'hold_lock_wrapper';
COMMENT ON FUNCTION hold_lock(text, text, interval, boolean) IS
    'Takes the named lock (ns, key) for the session: it stays, also after a rollback, until release_lock was called as often as hold_lock said true, or pg_advisory_unlock_all, DISCARD ALL or the end of the session. Not for connections that a pooler shares out by transaction: there use with_lock. Answers, timeout and errors are those of with_lock.';

CREATE FUNCTION release_lock(ns text, key text, shared boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'release_lock_wrapper';
COMMENT ON FUNCTION release_lock(text, text, boolean) IS
    'Gives back one hold of hold_lock on (ns, key), at once and for good. False when this session has none of that kind (shared or not); what with_lock took is not given back. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501, 25006 on a standby, 25000 in a parallel operation.';

CREATE FUNCTION once.lock_hash(ns text, key text) RETURNS bigint
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'lock_hash_wrapper';
COMMENT ON FUNCTION once.lock_hash(text, text) IS
    'The number that stands for the named lock (ns, key), as column name_hash of once.locks shows it; pg_locks shows its upper half as classid, the lower one as objid, and 20602 as objsubid. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501.';

CREATE FUNCTION once.lock_name(
    class bigint, name_hash bigint, pid bigint, mode text, OUT ns text, OUT key text, OUT since timestamptz
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10 ROWS 1
    AS 'MODULE_PATHNAME', 'lock_name_wrapper';
COMMENT ON FUNCTION once.lock_name(bigint, bigint, bigint, text) IS
    'What the view once.locks knows of one lock: the name, where it is known and the caller may see it, and since when pid holds it in that mode. NULL for what is not known. One row.';

CREATE VIEW once.locks WITH (security_barrier) AS
    SELECT CASE WHEN held.class OPERATOR(pg_catalog.=) 20601 THEN 'row' ELSE 'lock' END AS kind,
           known.ns, known.key, held.mode, held.granted,
           CASE WHEN held.granted THEN known.since ELSE held.waitstart END AS since,
           held.pid, activity.usename, activity.application_name, held.name_hash
    FROM (SELECT l.objsubid::bigint AS class,
                 (l.classid::bigint OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) l.objid::bigint AS name_hash,
                 l.mode, l.granted, l.waitstart, l.pid
          FROM pg_catalog.pg_locks l
          WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
            AND l.objsubid OPERATOR(pg_catalog.=) ANY (ARRAY[20601, 20602])
            AND l.database OPERATOR(pg_catalog.=)
                (SELECT d.oid FROM pg_catalog.pg_database d
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) held
    LEFT JOIN pg_catalog.pg_stat_activity activity ON activity.pid OPERATOR(pg_catalog.=) held.pid
    CROSS JOIN LATERAL once.lock_name(held.class, held.name_hash, held.pid::bigint, held.mode) known;
COMMENT ON VIEW once.locks IS 'Who holds and who waits for which named lock (kind lock) or turn to create a row (kind row: ns is the table, key the key). ns and key are null where the name is not known here or the caller may not see it: without shared_preload_libraries only the names of what the own session holds are known';
COMMENT ON COLUMN once.locks.since IS 'Since when it waits, or holds the lock where that is known';
COMMENT ON COLUMN once.locks.pid IS 'The backend; null for a prepared transaction';
COMMENT ON COLUMN once.locks.name_hash IS 'The number of the lock, which once.lock_hash gives for a known name';

/* Fixed-width columns first. The digest stands for (ns, key), which are compared at every hit.
   Whoever removes a record raises once.work_floor to its token in the same transaction, and removes
   only what has expires_at, which unfinished work never has. */
CREATE TABLE once.work_record (
    digest      uuid        NOT NULL,
    token       bigint      NOT NULL,
    begun_at    timestamptz NOT NULL,
    lease_until timestamptz,
    finished_at timestamptz,
    expires_at  timestamptz,
    request     uuid,
    attempt     integer     NOT NULL,
    state       "char"      NOT NULL,
    ns          text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    result      jsonb,
    CONSTRAINT work_record_pkey PRIMARY KEY (digest)
);
COMMENT ON TABLE once.work_record IS 'The work: written by begin_once and its like only. A row that is removed must leave its token in once.work_floor, in the same transaction';
COMMENT ON COLUMN once.work_record.digest IS 'First 16 bytes of BLAKE3 over the length-prefixed ns and key';
COMMENT ON COLUMN once.work_record.token IS 'The token of the latest begin';
COMMENT ON COLUMN once.work_record.begun_at IS 'When that was, by clock_timestamp()';
COMMENT ON COLUMN once.work_record.lease_until IS 'While it runs, the end of its lease; given back, when it may be run again, null for at once';
COMMENT ON COLUMN once.work_record.finished_at IS 'When it was completed, failed for good or forgotten';
COMMENT ON COLUMN once.work_record.expires_at IS 'From when on the record counts as none and may be swept; null for unfinished work, and where finished work is remembered for ever';
COMMENT ON COLUMN once.work_record.request IS 'Digest of the request; null where none was given';
COMMENT ON COLUMN once.work_record.attempt IS 'How often it was begun';
COMMENT ON COLUMN once.work_record.state IS 'r running, g given back, d done, f failed for good, x forgotten';
COMMENT ON COLUMN once.work_record.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.work_record.key IS 'Key, 1 to 2000 bytes';
COMMENT ON COLUMN once.work_record.result IS 'What it was completed with, or the error of the latest failure';

/* One row at most: no lower than the token of any record that was removed. It is made by the first
   removal, so that a dump can be restored into a new extension. */
CREATE TABLE once.work_floor (
    one   boolean NOT NULL DEFAULT true CHECK (one),
    token bigint  NOT NULL,
    CONSTRAINT work_floor_pkey PRIMARY KEY (one)
);
COMMENT ON TABLE once.work_floor IS 'The highest token of the work that was removed: later tokens are higher';
COMMENT ON COLUMN once.work_floor.one IS 'Always true: there is one row';
COMMENT ON COLUMN once.work_floor.token IS 'The highest token that was removed';

SELECT pg_catalog.pg_extension_config_dump('once.work_record', '');
SELECT pg_catalog.pg_extension_config_dump('once.work_floor', '');

CREATE VIEW once.work WITH (security_barrier) AS
    SELECT w.ns, w.key,
           CASE WHEN w.state OPERATOR(pg_catalog.=) 'r' THEN 'running'
                WHEN w.state OPERATOR(pg_catalog.=) 'g' THEN 'given back'
                WHEN w.state OPERATOR(pg_catalog.=) 'd' THEN 'done'
                ELSE 'failed' END AS state,
           w.token, w.attempt, w.begun_at, w.lease_until, w.finished_at, w.expires_at
    FROM once.work_record w
    WHERE once.may_use(w.ns)
      AND w.state OPERATOR(pg_catalog.<>) 'x'
      AND (w.expires_at IS NULL OR w.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp());
COMMENT ON VIEW once.work IS 'The committed work of namespaces that the caller may use: running (its lease may be over), given back (lease_until is when it may be run again, NULL for at once), done or failed. What has expired or was forgotten is left out. Requests and results are not shown';

CREATE FUNCTION begin_once(
    ns text, key text, lease interval DEFAULT '1 minute', request jsonb DEFAULT NULL, wait interval DEFAULT '0'
) RETURNS TABLE (outcome text, token bigint, attempt integer, result jsonb, lease_until timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'begin_once_wrapper';
COMMENT ON FUNCTION begin_once(text, text, interval, jsonb, interval) IS
    'Begins work under a lease. One row. outcome run: do the work, token fences it; done: result is what was completed; failed: failed for good, result is the error; in_progress: somebody''s lease runs until lease_until (NULL while a transaction that decides is open); mismatch: begun with another request, comes before all others. Sleeps up to wait, at most 1 minute, while it is in progress. Call it in autocommit: others see the lease at COMMIT. Reads the newest committed state at every isolation level. Errors: 22004 for NULL, 22023 for a lease that is not positive and finite or a wait that is negative or infinite, 54000 for a request over 100 MB, 42501, 25006 in a read-only transaction, 40001.';

CREATE FUNCTION renew_once(ns text, key text, token bigint, lease interval DEFAULT '1 minute') RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'renew_once_wrapper';
COMMENT ON FUNCTION renew_once(text, text, bigint, interval) IS
    'Lets the lease end after this much time from now, and answers when that is. Also after its end, as long as nobody has taken the work over. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 22023 for a lease that is not positive and finite, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION complete_once(ns text, key text, token bigint, result jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'complete_once_wrapper';
COMMENT ON FUNCTION complete_once(text, text, bigint, jsonb) IS
    'Stores the result, which every later begin_once is told. True the first time, false if this token has completed the work already: the first result stays. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 54000 for a result over 100 MB, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION fail_once(
    ns text, key text, token bigint, error jsonb DEFAULT NULL, retry boolean DEFAULT true, retry_after interval DEFAULT NULL
) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'fail_once_wrapper';
COMMENT ON FUNCTION fail_once(text, text, bigint, jsonb, boolean, interval) IS
    'With retry gives the work back, to be run again, not before retry_after is over; without retry ends it as failed, and every later begin_once is told the error. True. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 22023 for a retry_after that is negative or infinite, 54000 for an error over 100 MB, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION fence_once(ns text, key text, token bigint) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'fence_once_wrapper';
COMMENT ON FUNCTION fence_once(text, text, bigint) IS
    'For the transaction that writes the effect: raises 55000 (lease lost) unless the token is current, and holds off a takeover until the transaction ends. Calls with the same token are not held off. Waits for an open takeover. Errors: 55000, 22004, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION forget_once(ns text, key text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'forget_once_wrapper';
COMMENT ON FUNCTION forget_once(text, text) IS
    'Removes the record of finished work, as of commit: the next begin_once runs it, with a higher token. True if there was one; unfinished work is left alone. Errors: 22004, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION once.define_row_lock(function_name text, target regclass, key_columns text[]) RETURNS regprocedure
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'define_row_lock_wrapper';

COMMENT ON FUNCTION once.define_row_lock(text, regclass, text[]) IS
    'Creates function_name(the key columns, "timeout" interval DEFAULT NULL) RETURNS SETOF target, which does what with_row_lock does for this table and key, with typed arguments. function_name is an SQL name, with or without a schema (else the current one). The function belongs to the caller, runs with the rights of whoever calls it, is ordinary SQL, and is dumped and restored. Where a column is called timeout, the last argument is called timeout_. Errors: 22004 for NULL, 22023 for no or repeated columns or a malformed name, 42703, 42723 where such a function exists, 42809 where the target is no table, 0A000 for a type without equality, 3F000 without a current schema, 42501.';

CREATE FUNCTION once.sweep(max_rows integer DEFAULT 10000) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'sweep_wrapper';
COMMENT ON FUNCTION once.sweep(integer) IS
    'Removes up to max_rows rows, claims that have expired and work that is over and no longer remembered, and returns how many it removed: half of them of each kind where there are so many, so that neither waits for the other. Never removes unfinished work. Skips what is in use at this moment. It reads the tables once; calls for the keys that it removed wait for its transaction, so let it be short. For the owner of the extension or of the database. Errors: 22004 for NULL, 22023 for a negative number, 42501, 25006 in a read-only transaction; 40001 at REPEATABLE READ and SERIALIZABLE where a claim changed after the snapshot.';

CREATE FUNCTION once.counters() RETURNS TABLE (ns text, counts bigint[])
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100
    AS 'MODULE_PATHNAME', 'counters_wrapper';
COMMENT ON FUNCTION once.counters() IS
    'What once.stats shows: the counters of the namespaces that the caller may use.';

CREATE VIEW once.stats AS
    SELECT c.ns, c.counts[1] AS won, c.counts[2] AS duplicate, c.counts[3] AS in_progress, c.counts[4] AS waits,
           pg_catalog.make_interval(secs => c.counts[5]::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8) AS wait_time,
           c.counts[6] AS timeouts, c.counts[7] AS takeovers, c.counts[8] AS mismatches, c.counts[9] AS swept
    FROM once.counters() c;
COMMENT ON VIEW once.stats IS 'What calls were told in the namespaces that the caller may use, since the start of the server or the last once.reset_stats; without preload, what this session was told';
COMMENT ON COLUMN once.stats.ns IS 'Namespace; null for all those of the server that found no place among 1024';
COMMENT ON COLUMN once.stats.won IS 'Claims won, and work told to run';
COMMENT ON COLUMN once.stats.duplicate IS 'Claims that stood already, and work that was over';
COMMENT ON COLUMN once.stats.in_progress IS 'Calls told that somebody else is at it';
COMMENT ON COLUMN once.stats.waits IS 'Calls that had to wait: for a lock, or in begin_once for somebody''s work';
COMMENT ON COLUMN once.stats.wait_time IS 'How long these took';
COMMENT ON COLUMN once.stats.timeouts IS 'Those of them whose timeout, lock_timeout or statement_timeout was over, or that were cancelled';
COMMENT ON COLUMN once.stats.takeovers IS 'Work told to run after somebody''s lease was over';
COMMENT ON COLUMN once.stats.mismatches IS 'Work begun with another request';
COMMENT ON COLUMN once.stats.swept IS 'Claims and work removed by sweeps';

CREATE FUNCTION once.reset_stats(ns text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'reset_stats_wrapper';
COMMENT ON FUNCTION once.reset_stats(text) IS
    'Sets the counters of once.stats back to zero: of one namespace, or with NULL of all namespaces of this database. At once, whether or not the transaction commits. For the owner of the extension or of the database. Errors: 22023 for an empty or too long ns (128 bytes), 42501.';

/* What merging has removed. A uuid, and not a number of a sequence, so that a restored dump goes on
   without a collision. */
CREATE TABLE once.merged_rows (
    id          uuid        NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    merged_at   timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp(),
    merged_in   xid8        NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    merged_by   text        NOT NULL,
    table_name  text        NOT NULL,
    reason      text        NOT NULL,
    key         jsonb       NOT NULL,
    kept        jsonb       NOT NULL,
    removed     jsonb       NOT NULL,
    moved       jsonb,
    CONSTRAINT merged_rows_pkey PRIMARY KEY (id)
);
CREATE INDEX merged_rows_merged_at_idx ON once.merged_rows (merged_at);
COMMENT ON TABLE once.merged_rows IS 'The rows that once.merge_duplicates has removed: written by it only';
COMMENT ON COLUMN once.merged_rows.merged_at IS 'The transaction_timestamp() of the merge';
COMMENT ON COLUMN once.merged_rows.merged_in IS 'The pg_current_xact_id() of the merge; unique together with merged_at also after a restore elsewhere';
COMMENT ON COLUMN once.merged_rows.merged_by IS 'The current_user of the call';
COMMENT ON COLUMN once.merged_rows.table_name IS 'Schema and table, quoted where SQL needs it';
COMMENT ON COLUMN once.merged_rows.reason IS 'What made it a duplicate, and which row was kept';
COMMENT ON COLUMN once.merged_rows.key IS 'The key columns and their values';
COMMENT ON COLUMN once.merged_rows.kept IS 'The primary key of the row that was kept, or that row where there is none';
COMMENT ON COLUMN once.merged_rows.removed IS 'The row that was removed, as it was';
COMMENT ON COLUMN once.merged_rows.moved IS 'For each foreign key by which rows pointed at it: constraint, table, count, and the primary keys of up to 10000 of them in rows';

SELECT pg_catalog.pg_extension_config_dump('once.merged_rows', '');

CREATE FUNCTION once.find_duplicates(
    target regclass, key_columns text[]
) RETURNS TABLE (key jsonb, copies bigint, rows jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'find_duplicates_wrapper';
COMMENT ON FUNCTION once.find_duplicates(regclass, text[]) IS
    'The groups of rows that are equal in the key columns, by the columns'' own equality, NULL being equal to NULL: the key, how many, and the rows by primary key (of a large group the first 1000, of 16 MB at most). Reads with the rights of the caller, writes nothing, and sorts on disk what does not fit into work_mem. Errors: 22004 for NULL, 22023 for no or repeated columns, 42703, 42809 where the target is no table, 0A000 for a type without equality or order, 42501.';

CREATE FUNCTION once.merge_duplicates(
    target regclass, key_columns text[], keep text DEFAULT 'oldest', dry_run boolean DEFAULT true,
    order_by text DEFAULT NULL, max_groups int DEFAULT NULL
) RETURNS TABLE (key jsonb, kept jsonb, removed int, references_moved bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'merge_duplicates_wrapper';
COMMENT ON FUNCTION once.merge_duplicates(regclass, text[], text, boolean, text, int) IS
    'Keeps one row of each group of duplicates (''oldest'' or ''newest'' by the column order_by, NULLs last, ties and the default by primary key), lets every foreign key that points at the others point at it, archives these in once.merged_rows and deletes them. With dry_run, the default, all of it is done and rolled back. Takes each group''s turn, locks its rows FOR UPDATE and merges what it sees locked; the locks last until the transaction ends. At most max_groups groups. Runs with the rights of the caller: SELECT, UPDATE and DELETE on the target, SELECT and UPDATE on the tables that point at it. At REPEATABLE READ and SERIALIZABLE rows newer than the snapshot raise 40001. Errors: 22004, 22023, 42703, 42809, 0A000 for a type without equality or order, 55000 where nothing says which row is older, a trigger or rule keeps a row or reference, or ON UPDATE SET NULL would lose one, 25006 in a read-only transaction, 42501 also where row security is active for the caller; 23505 where a row that points at a duplicate would become a duplicate itself; those of the tables'' own constraints and triggers.';

CREATE FUNCTION once.guard_plan(target regclass, key_columns text[]) RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'guard_plan_wrapper';
COMMENT ON FUNCTION once.guard_plan(regclass, text[]) IS
    'The statements, in order, that make duplicates in the key columns impossible while the table is in use: for psql''s \gexec, each in a transaction of its own; each can be run again. No rows where a unique index guards the key already. Writes nothing, reads with the rights of the caller. Errors: 55000 with the number while there are duplicates, 0A000 where the key lacks a column of the partition key or has a virtual generated one, or for a type without equality or order, 22004, 22023, 42703, 42809, 42501 also where row security is active for the caller.';

CREATE FUNCTION once.backlog() RETURNS TABLE (total bigint, expired bigint, endless bigint, crowd text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'backlog_wrapper';
COMMENT ON FUNCTION once.backlog() IS
    'How many claims and works there are, how many of them expired more than a minute ago, and how many never expire, in namespaces that nobody has configured; in which of these is most. Of a table with more than 1000 pages, estimated from a sample of its pages. For once.check.';

CREATE FUNCTION once.worker_state() RETURNS TABLE (preloaded boolean, finding text, advice text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'worker_state_wrapper';
COMMENT ON FUNCTION once.worker_state() IS
    'Whether the library is preloaded, and what is the matter with its worker where there should be one. For once.check.';

CREATE FUNCTION once.check() RETURNS TABLE (severity text, finding text, advice text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 10000 ROWS 10
    SET search_path = pg_catalog, pg_temp
    AS $$
WITH tables (name, oid) AS (
    SELECT c.relname, c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'once' AND c.relkind IN ('r', 'p')
),
/* With what holds their large values, and without those where indexes are being made at this moment. */
indexed AS (
    SELECT c.oid
    FROM pg_class c JOIN tables t ON c.oid IN (t.oid, (SELECT m.reltoastrelid FROM pg_class m WHERE m.oid = t.oid))
    WHERE NOT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.relation = c.oid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
),
claim AS (
    SELECT oid FROM tables WHERE name = 'claim'
),
stored AS (
    SELECT * FROM once.backlog()
),
kept (name) AS (
    VALUES ('claim'), ('namespace'), ('work_record'), ('work_floor'), ('merged_rows')
),
/* A lock has an entry, and an entry of another table, which is twice as large, for each of its holders. Those of
   SERIALIZABLE are elsewhere. */
locks AS (
    SELECT DISTINCT l.pid, l.virtualtransaction,
           ROW(l.locktype, l.database, l.relation, l.page, l.tuple, l.classid, l.objid, l.objsubid)::text AS lock
    FROM pg_locks l WHERE NOT l.fastpath AND l.locktype NOT IN ('virtualxid', 'transactionid') AND l.mode <> 'SIReadLock'
),
holder AS (
    SELECT l.pid, count(*) AS entries FROM locks l
    GROUP BY l.pid, l.virtualtransaction ORDER BY entries DESC LIMIT 1
),
used AS (
    SELECT GREATEST(count(DISTINCT l.lock), count(*) / 2) AS entries FROM locks l
),
room AS (
    SELECT current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) AS entries
),
open AS (
    SELECT a.pid, a.usename, age(clock_timestamp(), a.xact_start) AS age
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.relation IN (SELECT oid FROM claim)
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode = 'RowExclusiveLock' AND l.granted AND a.backend_type <> 'pg_once sweeper'
      AND a.xact_start < clock_timestamp() - interval '5 minutes'
)
SELECT 'error', format('once.%s has no usable primary key', t.name),
       'Duplicates are possible now. Rebuild it: REINDEX TABLE CONCURRENTLY, or restore the constraint.'
FROM tables t
WHERE NOT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = t.oid AND i.indisprimary AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate)
UNION ALL
SELECT 'error', format('once.%s is not logged', c.relname),
       format('What it holds is lost in a crash, and is not on standbys: ALTER TABLE once.%I SET LOGGED', c.relname)
FROM pg_class c JOIN tables t ON t.oid = c.oid WHERE c.relpersistence <> 'p'
UNION ALL
SELECT 'warning', format('index %s is invalid', i.indexrelid::regclass),
       format('A REINDEX CONCURRENTLY or CREATE INDEX CONCURRENTLY has left it: DROP INDEX CONCURRENTLY %s', i.indexrelid::regclass)
FROM pg_index i JOIN indexed t ON t.oid = i.indrelid
WHERE NOT (i.indisvalid AND i.indisready) AND NOT i.indisprimary
UNION ALL
SELECT 'error', format('once.%s is not saved by pg_dump', k.name),
       'It is not registered with the extension: a restored database would have forgotten it. Install the extension anew, or report this.'
FROM kept k JOIN tables t USING (name)
WHERE NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_once' AND t.oid = ANY (e.extconfig))
UNION ALL
SELECT 'warning', format('about %s of %s claims and works have expired and are still stored', s.expired, s.total),
       CASE WHEN w.preloaded THEN 'The worker does not keep up: see pg_once.sweep_interval and the server''s log.'
            ELSE 'Call once.sweep() from a scheduler more often, or preload pg_once, which brings a worker.' END
FROM stored s, once.worker_state() w
WHERE s.expired >= 1000 AND s.expired > s.total / 4
UNION ALL
SELECT 'warning', w.finding, w.advice FROM once.worker_state() w WHERE w.finding IS NOT NULL
UNION ALL
SELECT 'warning', format('backend %s (%s) has had claims open for %s', o.pid, o.usename, date_trunc('second', o.age)),
       format('Who asks for the same keys waits for it. Look at its query, let it end, or SELECT pg_terminate_backend(%s)', o.pid)
FROM open o
UNION ALL
SELECT 'warning', format('prepared transaction %L has had claims open for %s', p.gid, date_trunc('second', age(clock_timestamp(), p.prepared))),
       format('COMMIT PREPARED %L or ROLLBACK PREPARED it.', p.gid)
FROM pg_prepared_xacts p
WHERE p.database = current_database() AND p.prepared < clock_timestamp() - interval '5 minutes'
  AND EXISTS (
    SELECT FROM pg_locks l JOIN pg_locks x ON x.virtualtransaction = l.virtualtransaction
    WHERE l.pid IS NULL AND l.relation IN (SELECT oid FROM claim) AND x.locktype = 'transactionid' AND x.transactionid = p.transaction)
UNION ALL
SELECT 'warning', format('the shared lock table is %s %% full', 100 * u.entries / r.entries),
       format('%s holds %s of its entries. When it is full every session gets 53200. Raise max_locks_per_transaction, or ask that session to commit more often.',
              CASE WHEN h.pid IS NULL THEN 'A prepared transaction' ELSE format('Backend %s', h.pid) END, h.entries)
FROM used u, room r, holder h WHERE u.entries > r.entries / 2
UNION ALL
SELECT 'warning', 'synchronous_commit is off',
       'A claim that was answered may be lost in a crash, and won again. Set it to local at least, where claims are made.'
WHERE current_setting('synchronous_commit') = 'off'
UNION ALL
SELECT 'warning',
       format('synchronous_commit is off%s%s',
              CASE WHEN s.setrole <> 0 THEN format(' for role %s', s.setrole::regrole) END,
              CASE WHEN s.setdatabase <> 0 THEN format(' in database %s', (SELECT d.datname FROM pg_database d WHERE d.oid = s.setdatabase)) END),
       'A claim that was answered may be lost in a crash, and won again. Set it to local at least, where claims are made.'
FROM pg_db_role_setting s
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE lower(c) IN ('synchronous_commit=off', 'synchronous_commit=false', 'synchronous_commit=0', 'synchronous_commit=no'))
UNION ALL
SELECT 'notice', 'client_connection_check_interval is 0',
       'A call whose client has gone away goes on waiting, and may win a claim that nobody hears of. Set it to 10s.'
WHERE current_setting('client_connection_check_interval') = '0'
UNION ALL
SELECT 'notice', format('PostgreSQL %s has known faults in two-phase commit', current_setting('server_version')),
       format('Update to %s.%s or later: row locks of prepared transactions may be overlooked.', v.major, v.minor)
FROM (VALUES (15, 18), (16, 14), (17, 10), (18, 4)) AS v (major, minor)
WHERE current_setting('server_version_num')::int / 10000 = v.major
  AND current_setting('server_version_num')::int % 10000 < v.minor
  AND current_setting('max_prepared_transactions') <> '0'
UNION ALL
SELECT 'notice', format('PostgreSQL %s has known faults in ON CONFLICT', current_setting('server_version')),
       'At SERIALIZABLE, which is a default here, an INSERT ... ON CONFLICT DO NOTHING of your own may let write skew pass; claims do not. Update to the newest minor.'
FROM (VALUES (15, 20), (16, 16), (17, 12), (18, 7)) AS v (major, minor)
WHERE current_setting('server_version_num')::int / 10000 = v.major
  AND current_setting('server_version_num')::int % 10000 < v.minor
  AND (current_setting('default_transaction_isolation') = 'serializable'
       OR EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) c
                  WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                    AND lower(c) = 'default_transaction_isolation=serializable'))
UNION ALL
SELECT 'warning', format('namespace %L is closed: its role was dropped', n.ns),
       'Configure another role, or SELECT once.unconfigure of it.'
FROM once.namespaces n WHERE n.allowed_role IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = n.allowed_role)
UNION ALL
SELECT 'notice', format('about %s claims and works never expire, most of them in namespace %L', s.endless, s.crowd),
       'Whoever makes them fills the disk. Give the namespace a ttl with once.configure, or a role where they are meant to stay: what is configured is not looked at here.'
FROM stored s WHERE s.endless > 10000000
UNION ALL
SELECT 'notice', 'once.stats has no room for further namespaces',
       'They are counted together, in the row without a name. SELECT once.reset_stats() forgets those that are no longer used.'
FROM once.stats s WHERE s.ns IS NULL
$$;
COMMENT ON FUNCTION once.check() IS
    'What an operator should know, with advice: severity is error, warning or notice. No row where all is well. With the rights of the caller: sessions of others are looked at by members of pg_read_all_stats. It reads a sample of at most 1000 pages of each table.';

/* What was made here belongs to the role that owns the rest, whoever makes the upgrade. Default
   privileges of his must reach neither tables nor administration: who could write them, or put a
   trigger on them, would act with their owner's rights. What was granted on once.claim since stays. */
DO $$
DECLARE
    home oid;
    owner oid;
    made record;
    given oid;
BEGIN
    SELECT n.oid, n.nspowner INTO STRICT home, owner
    FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'once';
    FOR made IN
        SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, 'TABLE' AS grants,
               pg_catalog.format('once.%I', c.relname) AS name,
               c.relowner AS owner, c.relacl AS acl, c.relnamespace AS schema
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid
        WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once' AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
          AND c.relname OPERATOR(pg_catalog.<>) 'claim'
        UNION ALL
        SELECT 'FUNCTION', 'FUNCTION', p.oid::pg_catalog.regprocedure::pg_catalog.text,
               p.proowner, p.proacl, p.pronamespace
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
        WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once' AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    LOOP
        IF made.owner OPERATOR(pg_catalog.<>) owner THEN
            EXECUTE pg_catalog.format(
                'ALTER %s %s OWNER TO %I', made.kind, made.name, pg_catalog.pg_get_userbyid(owner));
        END IF;
        FOR given IN
            SELECT DISTINCT acl.grantee FROM pg_catalog.aclexplode(made.acl) acl
            WHERE made.schema OPERATOR(pg_catalog.=) home
              AND acl.grantee OPERATOR(pg_catalog.<>) made.owner
              AND acl.grantee OPERATOR(pg_catalog.<>) owner
              AND (made.grants OPERATOR(pg_catalog.=) 'TABLE' OR acl.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)
        LOOP
            EXECUTE pg_catalog.format(
                'REVOKE ALL ON %s %s FROM %s CASCADE', made.grants, made.name,
                CASE
                    WHEN given OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(given))
                END);
        END LOOP;
    END LOOP;
END
$$;

/* Everybody may look at what he may use. */
GRANT SELECT ON once.claims, once.locks, once.namespaces, once.stats, once.work TO PUBLIC;

/* Administration is for the owners of the extension and of the database. */
REVOKE ALL ON FUNCTION
    once.configure(text, interval, regrole), once.unconfigure(text), once.sweep(integer),
    once.reset_stats(text), once.namespace_changed(), once.namespace_written() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    once.configure(text, interval, regrole), once.unconfigure(text), once.sweep(integer),
    once.reset_stats(text)
    TO pg_database_owner;

/* The extension's owner dumps and restores what is there. A superuser who makes the upgrade is
   another one, so that he is looked up. */
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.extowner)) INTO STRICT owner
    FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once';
    EXECUTE 'GRANT SELECT, INSERT ON once.namespace, once.work_record, once.work_floor TO ' OPERATOR(pg_catalog.||) owner;
    EXECUTE 'GRANT SELECT, INSERT, DELETE ON once.merged_rows TO ' OPERATOR(pg_catalog.||) owner;
    EXECUTE 'GRANT EXECUTE ON FUNCTION once.configure(text, interval, regrole), once.unconfigure(text), once.sweep(integer), once.reset_stats(text) TO '
        OPERATOR(pg_catalog.||) owner;
END
$$;
