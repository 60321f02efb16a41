\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What this call won, in the order of the array, each once.
SELECT claim_many('many', ARRAY['c', 'a', 'b', 'a', 'c']);
SELECT claim_many('many', ARRAY['x', 'c', 'b', 'w', 'x']);
SELECT claim_many('many', ARRAY['a', 'b']);
SELECT * FROM claim_many('many', ARRAY['2', '1', 'a']) AS won;
SELECT key, number FROM claim_many('many', ARRAY['4', '3', '1', '5']) WITH ORDINALITY AS won (key, number);
SELECT claim_many('many', '{}'), claim_many('many', ARRAY[]::text[]);
SELECT key FROM once.claim WHERE ns = 'many' ORDER BY key;
-- Other lower bounds than 1.
SELECT claim_many('many', '[5:7]={p,q,p}'), is_claimed('many', 'q');
SELECT claim_many('many', '[-1:-1]={r}');
SELECT claim_many('many', (ARRAY['s', 't', 'u'])[2:3]);
-- Claims of the other functions are the same ones.
SELECT claim_once('many', 'one'), try_claim_once('many', 'two', owner => 'me'), claim_once_per('1 hour', 'many', 'three');
SELECT claim_many('many', ARRAY['three', 'four', 'two', 'one']);
SELECT claim_once('many', 'four'), try_claim_once('many', 'four'), unclaim('many', 'four');
SELECT claim_many('many', ARRAY['three', 'four']);
-- Another namespace has other claims.
SELECT claim_many('many2', ARRAY['a', 'b']), is_claimed('many2', 'a');
-- Keys of several parts.
SELECT replace(claim_many('many', ARRAY[once_key(1, 'a'), once_key('a', 'bc'), once_key('ab', 'c'), once_key(1, 'a')]), E'\x1e', '/');
SELECT claim_once('many', 1, 'a'), claim_once('many', 'ab', 'c');
-- Compared byte by byte, and long ones.
SELECT count(*) FROM claim_many('bytes', ARRAY['a', 'A', ' a', 'a ', 'á', E'a\u0301', E'a\u200b', E'a\t', E'a\n', E'\\', '''', '"', '%', E'\x01', 'NULL', '{}', ',']);
SELECT length(claim_many(repeat('n', 128), ARRAY[repeat('k', 2000), repeat('é', 1000), 'short']));
SELECT claim_once(repeat('n', 128), repeat('k', 2000)), is_claimed(repeat('n', 128), repeat('é', 1000));

-- From tables and columns, compressed or not, several arrays in one statement.
CREATE TABLE work (id int, keys text[]);
INSERT INTO work SELECT number, (SELECT array_agg(repeat('k', 100) || key ORDER BY key) FROM generate_series(number, number + 1000) AS key) FROM generate_series(1, 3) AS number;
SELECT id, count(*) FROM (SELECT id, claim_many('table', keys) FROM work ORDER BY id) AS won GROUP BY id ORDER BY id;
DROP TABLE work;
-- In PL/pgSQL, in a variable and in a loop.
DO $$
DECLARE
	keys text[] := ARRAY['v1'];
	key text;
BEGIN
	keys := keys || 'v2'::text || 'v1'::text;
	FOR key IN SELECT claim_many('variable', keys) LOOP
		RAISE NOTICE 'won %', key;
	END LOOP;
	IF EXISTS (SELECT claim_many('variable', keys)) THEN
		RAISE 'won again';
	END IF;
END $$;
-- All are claimed before the first row comes, also where it is the only one that is taken.
SELECT claim_many('limit', ARRAY['a', 'b', 'c']) LIMIT 1;
SELECT is_claimed('limit', 'a'), is_claimed('limit', 'b'), is_claimed('limit', 'c');
BEGIN;
DECLARE won CURSOR FOR SELECT claim_many('cursor', ARRAY['a', 'b', 'c']);
FETCH won;
SELECT is_claimed('cursor', 'c');
FETCH won;
COMMIT;
-- An outbox in one statement.
WITH event (key, mail) AS (VALUES ('e1', 'one'), ('e2', 'two'), ('e1', 'again'))
SELECT key, min(mail) AS mail FROM event WHERE key IN (SELECT claim_many('event', ARRAY['e1', 'e2'])) GROUP BY key ORDER BY key;
PREPARE many AS SELECT claim_many($1, $2);
EXECUTE many('prepared', '{a,b}');
EXECUTE many('prepared', '{b,"c d"}');
DEALLOCATE many;

-- A rollback gives back all, also to a savepoint.
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM claim_many('rollback', ARRAY['a', 'b']);
SELECT count(*) FROM claim_many('rollback', ARRAY['b', 'c']);
ROLLBACK TO s;
SELECT claim_many('rollback', ARRAY['b', 'c']);
COMMIT;
SELECT is_claimed('rollback', 'a'), is_claimed('rollback', 'b'), is_claimed('rollback', 'c');

-- Expired claims are taken again, those that stand are not; the namespace's ttl counts.
SELECT count(claim_once_per(CASE WHEN number % 3 = 0 THEN '1 ms' ELSE '1 hour' END::interval, 'expired', number)) FROM generate_series(1, 3000) AS number;
SELECT pg_sleep(0.01) IS NOT NULL AS slept;
SELECT count(*), bool_and(key::int % 3 = 0 OR key::int > 3000) AS right_ones, min(key::int), max(key::int)
FROM claim_many('expired', (SELECT array_agg(number::text ORDER BY number DESC) FROM generate_series(1, 3100) AS number)) AS key;
SELECT count(*) FROM claim_many('expired', (SELECT array_agg(number::text) FROM generate_series(1, 3100) AS number));
SELECT expires_at - claimed_at AS lasts, count(*) FROM once.claim WHERE ns = 'expired' GROUP BY lasts ORDER BY lasts;
SELECT once.configure('many_ttl', ttl => '2 days');
SELECT claim_many('many_ttl', ARRAY['a', 'b']);
SELECT expires_at - claimed_at AS lasts, count(*) FROM once.claim WHERE ns = 'many_ttl' GROUP BY lasts;
SELECT once.unconfigure('many_ttl');

-- More than one statement's worth, with duplicates of all kinds; in input order.
SELECT claim_once('large', number) FROM generate_series(1, 20000, 4000) AS number;
SELECT count(*), bool_and(number = expected) AS in_order
FROM (SELECT key, row_number() OVER () AS number FROM claim_many('large',
		(SELECT array_agg((number % 20000)::text ORDER BY number) FROM generate_series(20000, 60000) AS number)) AS key) AS won
JOIN (SELECT key, row_number() OVER (ORDER BY key) AS expected FROM generate_series(0, 19999) AS key WHERE key % 4000 <> 1) AS wanted ON won.key = wanted.key::text;
-- A call that wins nothing writes nothing.
SELECT pg_relation_size('once.claim') AS size \gset
BEGIN;
SELECT count(*) FROM claim_many('large', (SELECT array_agg(number::text) FROM generate_series(0, 19999) AS number));
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;
SELECT pg_relation_size('once.claim') = :size AS same_size;

-- One row for each claim, seen without any index.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT place_high, place_low, hash_high, hash_low, count(*) FROM once.claim GROUP BY place_high, place_low, hash_high, hash_low HAVING count(*) > 1;
SELECT ns, count(*) FROM once.claim WHERE ns IN ('large', 'expired', 'bytes', 'table') GROUP BY ns ORDER BY ns;
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;

-- NULL, empty, too long, several dimensions, too many: nothing is claimed.
SELECT pg_temp.raised($$ SELECT claim_many(NULL, '{bad}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('', '{bad}') $$);
SELECT pg_temp.raised($$ SELECT claim_many(repeat('n', 129), '{bad}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', '{bad,NULL}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', ARRAY[NULL]::text[]) $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', '[4:6]={bad,"",x}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', ARRAY['bad', repeat('k', 2001)]) $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', ARRAY['bad', E'\x1ea']) $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', '{{bad,a},{b,c}}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', '{{{bad}}}') $$);
SELECT pg_temp.raised($$ SELECT claim_many('bad', array_fill('k'::text, ARRAY[10000001])) $$);
SELECT pg_temp.raised($$ SELECT claim_once('bad', ARRAY['bad']) $$);
SELECT count(*) FROM once.claim WHERE ns = 'bad';
BEGIN READ ONLY;
SELECT claim_many('bad', '{bad}');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

DELETE FROM once.claim;
