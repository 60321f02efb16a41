\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Named locks, as one session sees them.
CREATE ROLE regress_once_ci;
CREATE ROLE regress_once_bob IN ROLE regress_once_ci;
CREATE ROLE regress_once_eve;
CREATE VIEW pg_temp.held AS
	SELECT kind, ns, key, mode, granted, since BETWEEN now() - interval '1 minute' AND clock_timestamp() AS since_now,
		pid = pg_backend_pid() AS own, usename, application_name, name_hash = once.lock_hash(ns, key) AS own_hash
	FROM once.locks ORDER BY kind, ns COLLATE "C", key COLLATE "C", mode;

-- To the end of the transaction; a transaction takes what it has.
BEGIN;
SELECT with_lock('ci', 'deploy'), with_lock('ci', 'deploy', '0'), with_lock('ci', 'deploy', '1 s'), with_lock('ci', 'deploy', shared => true);
SELECT with_lock('ci', 'read', shared => true), with_lock('ci', 'read', '0'), with_lock('ci', 'é漢');
SELECT * FROM pg_temp.held;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
-- Only hold_lock's holds are released.
SELECT release_lock('ci', 'deploy'), release_lock('ci', 'deploy', true), release_lock('ci', 'never');
COMMIT;
SELECT * FROM pg_temp.held;

-- A rollback to a savepoint gives back what came after it.
BEGIN;
SELECT with_lock('sp', 'before');
SAVEPOINT s;
SELECT with_lock('sp', 'before'), with_lock('sp', 'after'), hold_lock('sp', 'session');
ROLLBACK TO s;
SELECT ns, key FROM pg_temp.held;
RELEASE s;
SELECT ns, key FROM pg_temp.held;
ROLLBACK;
-- Several, all or none. A key that is there twice counts once.
BEGIN;
SELECT with_locks('many', '{b,a,c,a}'), with_locks('many', '{}'), with_locks('many', '{c,d}', '0', shared => true);
SELECT ns, key, mode FROM pg_temp.held;
ROLLBACK;
BEGIN;
SELECT with_locks('many', ARRAY(SELECT n::text FROM generate_series(1, 1000) n));
SELECT count(*) FROM once.locks;
ROLLBACK;
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT with_locks('many', ARRAY(SELECT n::text FROM generate_series(1, 1001) n))$$,
	$$SELECT with_locks('many', NULL)$$,
	$$SELECT with_locks('many', '{a,NULL}')$$,
	$$SELECT with_locks('many', '{a,""}')$$,
	$$SELECT with_locks('many', '{{a,b},{c,d}}')$$,
	$$SELECT with_locks('', '{a}')$$,
	$$SELECT with_locks('many', '{a}', '-1 s')$$,
	$$SELECT with_locks('many', '{a}', shared => NULL)$$]) f;
SELECT * FROM pg_temp.held;
-- The session's hold outlives the transaction, a failed one too.
SELECT ns, key FROM pg_temp.held;
SELECT release_lock('sp', 'session'), release_lock('sp', 'session');

-- Holds are counted, shared and exclusive ones apart. No warning tells of one too many.
SET client_min_messages = debug1;
SELECT hold_lock('n', 'k'), hold_lock('n', 'k', '0'), hold_lock('n', 'k', shared => true);
SELECT ns, key, mode FROM pg_temp.held;
SELECT release_lock('n', 'k', true), release_lock('n', 'k', true);
SELECT release_lock('n', 'k'), release_lock('n', 'k'), release_lock('n', 'k');
SELECT * FROM pg_temp.held;
SHOW client_min_messages;
SET client_min_messages = warning;

-- Released and held by the transaction too: it stays to the end.
BEGIN;
SELECT hold_lock('both', 'k'), with_lock('both', 'k'), release_lock('both', 'k'), release_lock('both', 'k');
SELECT ns, key FROM pg_temp.held;
COMMIT;
SELECT * FROM pg_temp.held;

-- What releases core's session locks releases these.
SELECT hold_lock('all', 'a'), hold_lock('all', 'a'), hold_lock('all', 'b', shared => true), pg_advisory_lock(1) IS NOT NULL AS core;
SELECT pg_advisory_unlock_all();
SELECT * FROM pg_temp.held;
SELECT release_lock('all', 'a'), release_lock('all', 'b', true);
SELECT hold_lock('all', 'a');
SELECT since_now, ns FROM pg_temp.held;
SELECT release_lock('all', 'a'), release_lock('all', 'a');

-- A space of its own: core's locks of the same numbers are others.
SELECT once.lock_hash('a', 'b') AS hash, (once.lock_hash('a', 'b') >> 32)::int AS high, (once.lock_hash('a', 'b') << 32 >> 32)::int AS low \gset
SELECT hold_lock('a', 'b'), pg_advisory_lock(:hash) IS NOT NULL AS bigint, pg_advisory_lock(:high, :low) IS NOT NULL AS ints;
SELECT objsubid, count(*), count(DISTINCT (classid, objid)) FROM pg_locks WHERE locktype = 'advisory' GROUP BY objsubid ORDER BY objsubid;
SELECT count(*) FROM once.locks;
SELECT pg_advisory_unlock(:hash), pg_advisory_unlock(:high, :low), release_lock('a', 'b');

-- The numbers are of the whole name: its border counts. They are this database's own.
SELECT count(DISTINCT hash) FROM (VALUES (once.lock_hash('a', 'b')), (once.lock_hash('a', 'bc')), (once.lock_hash('ab', 'c')), (once.lock_hash('é', '漢')),
	(once.lock_hash(repeat('n', 128), repeat('k', 2000))), (once.lock_hash('m', once_key('a', 'bc'))), (once.lock_hash('a', 'b'))) AS number (hash);
BEGIN;
SELECT with_lock('ci_failure', '4711');
SELECT own_hash FROM pg_temp.held;
COMMIT;

-- The turn to create a row of a table is shown too.
CREATE TABLE lock_book (title text, part int, made date);
BEGIN;
SELECT count(*) FROM with_row_lock(NULL::lock_book, '{"title": "Dune \"1\"", "part": 2, "made": "1965-08-01"}');
SELECT kind, ns, key, mode, granted, since_now, own FROM pg_temp.held;
COMMIT;
BEGIN;
SELECT with_row_lock(NULL::lock_book, '{"title": null}');
SELECT kind, ns, key FROM pg_temp.held;
COMMIT;
-- A long key is remembered in part, to a whole character.
BEGIN;
SELECT count(*) FROM with_row_lock(NULL::lock_book, jsonb_build_object('title', repeat('漢', 1000000)));
SELECT kind, ns, left(key, 13), right(key, 1), octet_length(key) FROM pg_temp.held;
ROLLBACK;
DROP TABLE lock_book;

-- In a read-only transaction.
BEGIN READ ONLY ISOLATION LEVEL SERIALIZABLE;
SELECT with_lock('ro', 'k', '1 s'), hold_lock('ro', 'k'), release_lock('ro', 'k');
COMMIT;

-- Not in a parallel operation, where core refuses its own locks too.
CREATE FUNCTION pg_temp.mislabelled(i int) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS $$ BEGIN RETURN with_lock('parallel', i::text); END $$;
CREATE TABLE lock_wide AS SELECT i FROM generate_series(1, 20) i;
ALTER TABLE lock_wide SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode');
SELECT bool_and(with_lock('parallel', i::text)) FROM lock_wide;
SELECT pg_temp.raised('SELECT bool_and(pg_temp.mislabelled(i)) FROM lock_wide');
RESET ALL;
SET client_min_messages = warning;
SELECT * FROM pg_temp.held;
DROP TABLE lock_wide;

-- Bad input.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT with_lock(NULL, 'k')$$,
	$$SELECT with_lock('n', NULL)$$,
	$$SELECT with_lock('n', 'k', shared => NULL)$$,
	$$SELECT with_lock('', 'k')$$,
	$$SELECT with_lock('n', '')$$,
	$$SELECT with_lock(repeat('n', 129), 'k')$$,
	$$SELECT with_lock('n', repeat('k', 2001))$$,
	$$SELECT with_lock('n', E'\x1ek')$$,
	$$SELECT with_lock('n', 'k', '-1 us')$$,
	$$SELECT with_lock('n', 'k', '1 day -25 hours')$$,
	$$SELECT hold_lock(NULL, 'k')$$,
	$$SELECT hold_lock('n', NULL)$$,
	$$SELECT hold_lock('n', 'k', shared => NULL)$$,
	$$SELECT hold_lock('', 'k')$$,
	$$SELECT hold_lock('n', repeat('k', 2001))$$,
	$$SELECT hold_lock('n', 'k', '-1 us')$$,
	$$SELECT release_lock(NULL, 'k')$$,
	$$SELECT release_lock('n', NULL)$$,
	$$SELECT release_lock('n', 'k', NULL)$$,
	$$SELECT release_lock('', 'k')$$,
	$$SELECT release_lock('n', '')$$,
	$$SELECT once.lock_hash(NULL, 'k')$$,
	$$SELECT once.lock_hash('n', NULL)$$,
	$$SELECT once.lock_hash('', 'k')$$]) f;
-- More than 24 days is 24; a month counts as 30 days.
SELECT with_lock('n', 'k', '1000000 years'), with_lock('n', 'k', '25 days'), with_lock('n', 'k', '1 month -29 days');
SELECT * FROM once.lock_name(NULL, NULL, NULL, NULL) a, once.lock_name(1, 2, 3, 'x') b;

-- A namespace's role. What one role asked for, another does not read.
SELECT once.configure('closed', allowed_role => 'regress_once_ci');
SELECT hold_lock('closed', 'by superuser'), hold_lock('open', 'by superuser');
SET ROLE regress_once_bob;
SELECT hold_lock('closed', 'by bob'), hold_lock('open', 'by bob');
SELECT ns, key, usename = session_user AS session_user FROM once.locks ORDER BY ns COLLATE "C", key COLLATE "C";
SET ROLE regress_once_eve;
SELECT hold_lock('open', 'by eve');
SELECT ns, key FROM once.locks ORDER BY ns COLLATE "C", key COLLATE "C";
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT with_lock('closed', 'by bob')$$,
	$$SELECT with_lock('closed', 'never', '0')$$,
	$$SELECT hold_lock('closed', 'by bob')$$,
	$$SELECT release_lock('closed', 'by bob')$$,
	$$SELECT once.lock_hash('closed', 'by bob')$$]) f;
RESET ROLE;
GRANT pg_read_all_stats TO regress_once_eve;
SET ROLE regress_once_eve;
SELECT ns, key FROM once.locks ORDER BY ns COLLATE "C", key COLLATE "C";
RESET ROLE;
SELECT once.unconfigure('closed');
DISCARD ALL;
SELECT count(*) FROM once.locks;
DROP ROLE regress_once_ci, regress_once_bob, regress_once_eve;
