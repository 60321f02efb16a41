\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What calls were told. Without preload: in this session.
SELECT claim_once('stats', 'a'), claim_once('stats', 'a'), claim_once('stats', 'b'), is_claimed('stats', 'a');
SELECT try_claim_once('stats', 'c'), try_claim_once('stats', 'c'), claim_once_per('1 hour', 'stats', 'd');
SELECT count(*) FROM claim_many('stats', ARRAY['a', 'b', 'x', 'y', 'x']);
SELECT outcome FROM begin_once('stats', 'w', lease => '1 microsecond', request => '{"n": 1}');
SELECT outcome FROM begin_once('stats', 'w', request => '{"n": 2}');
SELECT outcome, token AS second FROM begin_once('stats', 'w', request => '{"n": 1}') \gset
SELECT outcome FROM begin_once('stats', 'w');
SELECT complete_once('stats', 'w', :second);
SELECT outcome FROM begin_once('stats', 'w');
UPDATE once.claim SET expires_at = clock_timestamp() WHERE key IN ('a', 'b', 'c');
SELECT once.sweep();
SELECT ns, won, duplicate, in_progress, takeovers, mismatches, swept FROM once.stats WHERE ns = 'stats' AND waits >= 0 AND wait_time >= '0' AND timeouts >= 0;
-- A rollback takes nothing back.
BEGIN;
SELECT claim_once('stats rolled back', 'a');
ROLLBACK;
SELECT won FROM once.stats WHERE ns = 'stats rolled back';
-- Switched off.
SET pg_once.stats = off;
SELECT claim_once('stats off', 'a');
RESET pg_once.stats;
SELECT count(*) FROM once.stats WHERE ns = 'stats off';
-- Set back.
SELECT once.reset_stats('stats rolled back');
SELECT won FROM once.stats WHERE ns = 'stats rolled back';
SELECT won > 0 FROM once.stats WHERE ns = 'stats';
SELECT once.reset_stats();
SELECT count(*) FROM once.stats;
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT once.reset_stats('')$$,
	$$SELECT once.reset_stats(repeat('n', 129))$$]) f;
-- However many namespaces.
SELECT count(*) FROM generate_series(1, 3000) n WHERE is_claimed('stats ' || n, 'k');
SELECT count(*) FROM generate_series(1, 3000) n WHERE claim_once('stats ' || n, 'k');
SELECT count(ns) BETWEEN 500 AND 1024 AS bounded, sum(won), count(*) FILTER (WHERE ns IS NULL) AS others FROM once.stats;
-- Who may not use a namespace does not see it, nor set anything back.
SELECT once.reset_stats();
SELECT claim_once('stats', 'closed'), claim_once('stats open', 'a');
SELECT once.configure('stats', allowed_role => current_user::regrole);
CREATE ROLE regress_once_watcher;
SET ROLE regress_once_watcher;
SELECT ns FROM once.stats;
SELECT ns FROM once.counters();
SELECT pg_temp.raised($$ SELECT once.reset_stats() $$);
SELECT pg_temp.raised($$ SET pg_once.stats = off $$);
RESET ROLE;
SELECT ns FROM once.stats ORDER BY ns;
DROP ROLE regress_once_watcher;
SELECT once.unconfigure('stats');
DELETE FROM once.claim;
DELETE FROM once.work_record;
DELETE FROM once.work_floor;
