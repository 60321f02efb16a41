\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What has expired is removed, and nothing else.
SELECT count(*) FROM generate_series(1, 30) n WHERE claim_once_per('1 hour', 'sweep', n::text);
SELECT claim_once('sweep', 'for ever'), claim_once_per('1 hour', 'sweep', 'later');
SELECT once.sweep();
UPDATE once.claim SET expires_at = clock_timestamp() WHERE key ~ '^\d+$';
SELECT once.sweep(0), once.sweep(7), once.sweep(max_rows => 13), once.sweep(), once.sweep();
SELECT key FROM once.claims WHERE ns = 'sweep' ORDER BY key;
-- What was swept can be claimed, as what has expired.
SELECT claim_once('sweep', '1'), claim_once('sweep', '1');
-- A sweep that is rolled back has removed nothing.
UPDATE once.claim SET expires_at = clock_timestamp() WHERE key = 'later';
BEGIN;
SELECT once.sweep();
ROLLBACK;
SELECT once.sweep();
-- More than one statement removes or reads, and goes on within a page.
INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
	SELECT 0, 0, 0, n, now(), now(), repeat('s', 100), repeat('k', 450 + n % 100) || n FROM generate_series(1, 32000) n;
SELECT pg_relation_size('once.claim') / 8192 > 1024 AS several_ranges;
SELECT once.sweep(10001), once.sweep(30000), once.sweep();
SELECT count(*) FROM once.claim;
-- Mistakes.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT once.sweep(-1)$$,
	$$SELECT once.sweep(NULL)$$]) f;
BEGIN READ ONLY;
SELECT pg_temp.raised($$ SELECT once.sweep() $$);
COMMIT;
CREATE ROLE regress_once_sweeper;
SET ROLE regress_once_sweeper;
SELECT pg_temp.raised($$ SELECT once.sweep() $$);
RESET ROLE;
SELECT current_database() AS db, current_user AS me \gset
ALTER DATABASE :"db" OWNER TO regress_once_sweeper;
SET ROLE regress_once_sweeper;
SELECT once.sweep();
RESET ROLE;
ALTER DATABASE :"db" OWNER TO :"me";
DROP ROLE regress_once_sweeper;
DELETE FROM once.claim;

-- A purge removes claims of one namespace that were made before a time.
SELECT count(*) FROM generate_series(1, 30) n WHERE claim_once('purge', n::text);
SELECT claim_once('beside', '1');
SELECT clock_timestamp() AS noon \gset
SELECT claim_once('purge', 'later'), claim_once_per('1 microsecond', 'purge', 'expired');
SELECT once.purge('purge', :'noon', 7), once.purge('purge', :'noon'), once.purge('purge', :'noon');
SELECT ns, key FROM once.claims ORDER BY ns, key;
SELECT claim_once('purge', '1'), claim_once('purge', 'later');
BEGIN;
SELECT once.purge('purge');
ROLLBACK;
SELECT once.purge('purge', '-infinity'), once.purge('purge', max_rows => 0), once.purge('purge', 'infinity'), once.purge('purge'), once.purge('nothing');
SELECT ns, key FROM once.claims;
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT once.purge(NULL)$$,
	$$SELECT once.purge('')$$,
	$$SELECT once.purge('n', max_rows => -1)$$,
	$$SELECT once.purge('n', max_rows => NULL)$$,
	$$SELECT once.purge('n', unfinished => NULL)$$]) f;
BEGIN READ ONLY;
SELECT pg_temp.raised($$ SELECT once.purge('n') $$);
COMMIT;
-- For administrators and the role of the namespace: an open one is nobody's.
CREATE ROLE regress_once_ci;
CREATE ROLE regress_once_bob IN ROLE regress_once_ci;
SELECT claim_once('kept', '1');
SET ROLE regress_once_bob;
SELECT pg_temp.raised($$ SELECT once.purge('kept') $$);
RESET ROLE;
SELECT once.configure('kept', allowed_role => 'regress_once_ci');
SET ROLE regress_once_bob;
SELECT once.purge('kept'), pg_temp.raised($$ SELECT once.purge('beside') $$);
SELECT claim_once('kept', '1');
RESET ROLE;
CREATE ROLE regress_once_eve;
SET ROLE regress_once_eve;
SELECT pg_temp.raised($$ SELECT once.purge('kept') $$);
RESET ROLE;
-- Whoever owns the database may, also where it is kept for others.
ALTER DATABASE :"db" OWNER TO regress_once_eve;
SET ROLE regress_once_eve;
SELECT once.purge('kept'), once.purge('beside');
RESET ROLE;
ALTER DATABASE :"db" OWNER TO :"me";
SELECT once.unconfigure('kept');
DROP ROLE regress_once_bob, regress_once_ci, regress_once_eve;
-- Work that is finished; with unfinished all of it. Tokens go on rising.
SELECT outcome, token AS running FROM begin_once('purge', 'running') \gset
SELECT token AS given FROM begin_once('purge', 'given back') \gset
SELECT token AS done FROM begin_once('purge', 'done') \gset
SELECT token AS failed FROM begin_once('purge', 'failed') \gset
SELECT fail_once('purge', 'given back', :given), complete_once('purge', 'done', :done), fail_once('purge', 'failed', :failed, retry => false);
SELECT once.purge('purge'), once.purge('purge');
SELECT key FROM once.work WHERE ns = 'purge' ORDER BY key;
SELECT once.purge('purge', '-infinity', unfinished => true), once.purge('purge', unfinished => true);
SELECT pg_temp.raised(format('SELECT complete_once(''purge'', ''running'', %s)', :running));
SELECT outcome, token > :failed AS rises FROM begin_once('purge', 'running');
SELECT once.purge('purge', unfinished => true);

-- Work that is over and no longer remembered; never unfinished work.
SELECT once.configure('sweep', '1 hour');
SELECT outcome FROM begin_once('sweep', 'running', lease => '1 microsecond');
SELECT outcome FROM begin_once('sweep', 'given back');
SELECT fail_once('sweep', 'given back', token) FROM once.work WHERE key = 'given back';
SELECT outcome FROM begin_once('sweep', 'done');
SELECT outcome FROM begin_once('sweep', 'failed');
SELECT outcome FROM begin_once('sweep', 'remembered');
SELECT complete_once('sweep', key, token) FROM once.work WHERE key IN ('done', 'remembered') ORDER BY key;
SELECT fail_once('sweep', 'failed', token, retry => false) FROM once.work WHERE key = 'failed';
SELECT once.unconfigure('sweep');
SELECT outcome FROM begin_once('sweep', 'for ever');
SELECT complete_once('sweep', 'for ever', token) FROM once.work WHERE key = 'for ever';
SELECT once.sweep();
UPDATE once.work_record SET expires_at = clock_timestamp() WHERE key IN ('done', 'failed');
SELECT once.sweep();
SELECT key, state FROM once.work WHERE ns = 'sweep' ORDER BY key COLLATE "C";
-- The tokens go on rising, also when the clock has stepped back since.
UPDATE once.work_record SET token = 4000000000000000000, expires_at = clock_timestamp() WHERE key = 'remembered';
UPDATE once.work_record SET expires_at = clock_timestamp() WHERE key = 'for ever';
SELECT once.sweep();
SELECT outcome, token > 4000000000000000000 AS is_higher FROM begin_once('sweep', 'remembered');
-- One limit for both.
SELECT claim_once_per('1 hour', 'sweep', 'a'), claim_once_per('1 hour', 'sweep', 'b');
UPDATE once.claim SET expires_at = clock_timestamp() WHERE ns = 'sweep';
UPDATE once.work_record SET state = 'd', finished_at = clock_timestamp(), expires_at = clock_timestamp() WHERE key IN ('remembered', 'running');
SELECT once.sweep(3), once.sweep(3);
-- Where there is much of both, each gets half; where there is little of one, the other gets the rest.
DELETE FROM once.work_record;
CREATE FUNCTION pg_temp.expire(rows int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
		SELECT 0, 0, 0, n, now(), now(), 'sweep', n::text FROM generate_series(1, rows) n;
	INSERT INTO once.work_record (place_high, place_low, hash_high, hash_low, token, begun_at, attempt, state, finished_at, expires_at, ns, key)
		SELECT 0, 0, 0, n, n, now(), 1, 'd', now(), now(), 'sweep', n::text FROM generate_series(1, rows) n;
$$;
CREATE TEMPORARY VIEW stored AS SELECT (SELECT count(*) FROM once.claim) AS claims, (SELECT count(*) FROM once.work_record) AS works;
SELECT pg_temp.expire(40);
SELECT once.sweep(21);
SELECT * FROM stored;
DELETE FROM once.work_record WHERE token > 14;
SELECT once.sweep(20);
SELECT * FROM stored;
DELETE FROM once.claim;
SELECT pg_temp.expire(40);
DELETE FROM once.claim WHERE key::int > 5;
SELECT once.sweep(30);
SELECT * FROM stored;
SELECT once.sweep(1), once.sweep(100);
DROP FUNCTION pg_temp.expire;
DROP VIEW stored;
DELETE FROM once.work_floor;
