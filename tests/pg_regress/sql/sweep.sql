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
-- More than one statement removes or reads.
INSERT INTO once.claim (digest, claimed_at, expires_at, ns, key)
	SELECT gen_random_uuid(), now(), now(), repeat('s', 100), repeat('k', 500) || n FROM generate_series(1, 21000) n;
SELECT pg_relation_size('once.claim') / 8192 > 1024 AS several_ranges;
SELECT once.sweep(20500), once.sweep();
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
