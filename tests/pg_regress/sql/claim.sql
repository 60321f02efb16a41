\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- True for the first who asks, false for all others, also in the same statement.
SELECT claim_once('claim', '1'), claim_once('claim', '1'), claim_once('claim', '1');
SELECT claim_once('claim', '1');
SELECT is_claimed('claim', '1'), is_claimed('claim', '2'), is_claimed('other', '1');

-- Every form, and what is the same key in another form.
SELECT claim_once('form', 'text'::text), claim_once('form', 42), claim_once('form', 4711, 'org/repo'), claim_once('form', 'org/repo', 4711),
	claim_once('form', 'a', 'b'), claim_once('form', 'a', 'b', 'c'), claim_once('form', VARIADIC ARRAY['x', 'y', 'z']),
	claim_once('form', VARIADIC ARRAY[1, 2, 3]), claim_once('form', 1, true, 2.50, '2026-11-21'::date);
SELECT claim_once('form', 'text'), claim_once('form', '42'), claim_once('form', '4711', 'org/repo'), claim_once('form', 'org/repo', '4711'),
	claim_once('form', VARIADIC ARRAY['a', 'b']), claim_once('form', once_key('a', 'b', 'c')), claim_once('form', 'x', 'y', 'z'),
	claim_once('form', 1, 2, 3), claim_once('form', once_key('1', 'true', '2.50', '2026-11-21'));
SELECT is_claimed('form', 4711, 'org/repo'), is_claimed('form', VARIADIC ARRAY['a', 'b']), is_claimed('form', 1::bigint, 2::smallint, 3),
	is_claimed('form', 'b', 'a'), is_claimed('form', 'ab');
PREPARE untyped AS SELECT claim_once('form', $1, $2);
EXECUTE untyped('a', 'b');
PREPARE two AS SELECT claim_once('form', 1, $1), claim_once('form', $2, 1);
EXECUTE two('a', 'b');
EXECUTE two('a', 'b');
PREPARE one AS SELECT claim_once($1, $2);
EXECUTE one('form', '42');
DEALLOCATE ALL;

-- Keys are compared byte by byte, whatever looks alike.
SELECT count(*), count(*) FILTER (WHERE won) FROM (
	SELECT claim_once('bytes', key) AS won FROM unnest(ARRAY['a', 'A', ' a', 'a ', 'á', E'a\u0301', E'a\u200b', E'a\t', E'a\n', E'\\', '''', '"', '%', E'\x01']) AS key) AS claim;
-- The namespace is another text than the beginning of the key.
SELECT claim_once('a', 'b:c'), claim_once('a:b', 'c'), claim_once('ab', 'c'), claim_once('a', 'bc');

-- A rollback gives the claim back, also to a savepoint, also by an error that PL/pgSQL catches.
BEGIN;
SELECT claim_once('rollback', '1'), is_claimed('rollback', '1');
ROLLBACK;
SELECT is_claimed('rollback', '1');
BEGIN;
SAVEPOINT s;
SELECT claim_once('rollback', '1');
ROLLBACK TO s;
SELECT is_claimed('rollback', '1'), claim_once('rollback', '1');
COMMIT;
SELECT is_claimed('rollback', '1');
DO $$
BEGIN
	PERFORM claim_once('rollback', '2');
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	IF is_claimed('rollback', '2') THEN
		RAISE 'the claim stands';
	END IF;
END $$;

-- A duplicate and a look write nothing: no transaction ID, no tuple.
SELECT pg_relation_size('once.claim') AS size \gset
BEGIN;
SELECT claim_once('claim', '1'), is_claimed('claim', '1'), unclaim('claim', 'never'), claim_once_per('1 hour', 'claim', '1');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;
SELECT count(*) FROM generate_series(1, 1000) WHERE claim_once('claim', '1');
SELECT pg_relation_size('once.claim') = :size AS same_size;

-- Many in one transaction, and in one statement.
SELECT count(*) FILTER (WHERE claim_once('many', number)) AS won FROM generate_series(1, 5000) AS number;
SELECT count(*) FILTER (WHERE claim_once('many', number)) AS won FROM generate_series(4901, 5100) AS number;
DO $$
BEGIN
	FOR number IN 1..1000 LOOP
		IF claim_once('loop', number % 10) <> (number <= 10) THEN
			RAISE 'claim % was answered wrongly', number;
		END IF;
	END LOOP;
END $$;

-- A claim in a WHERE clause is evaluated last: one claim is made.
CREATE FUNCTION cheap(number int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN number = 3; END $$;
SELECT number FROM generate_series(1, 5) AS number WHERE claim_once('where', number) AND cheap(number) AND number > 1;
SELECT number FROM generate_series(1, 5) AS number WHERE is_claimed('where', number);

-- In a CASE, a CTE, an INSERT, a DEFAULT and a trigger.
SELECT CASE WHEN claim_once('case', '1') THEN 'notify' ELSE 'done' END FROM generate_series(1, 2);
WITH won AS MATERIALIZED (SELECT number FROM generate_series(1, 4) AS number WHERE claim_once('cte', number / 2)) SELECT count(*) FROM won;
CREATE TABLE outbox (key text, won boolean DEFAULT claim_once('default', '1'));
INSERT INTO outbox (key) VALUES ('1'), ('2');
INSERT INTO outbox SELECT 'select', claim_once('insert', '1') FROM generate_series(1, 2);
CREATE FUNCTION only_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN claim_once('trigger', new.key) THEN new END; END $$;
CREATE TRIGGER only_once BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION only_once();
INSERT INTO outbox VALUES ('t', NULL), ('t', NULL), ('u', NULL);
SELECT key, won FROM outbox ORDER BY key, won;
-- It is volatile, so it cannot be in an index or a generated column.
\set VERBOSITY sqlstate
CREATE INDEX ON outbox (claim_once('index', key));
\set VERBOSITY default
CREATE TABLE generated (key text, won boolean GENERATED ALWAYS AS (claim_once('generated', key)) STORED);
DROP TABLE outbox;
DROP FUNCTION only_once, cheap;

-- The settings of a hurried or a replicating session change nothing.
SET session_replication_role = replica;
SELECT claim_once('setting', '1'), claim_once('setting', '1');
RESET session_replication_role;
SET row_security = off;
SELECT claim_once('setting', '1'), claim_once('setting', '2');
RESET row_security;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT claim_once('setting', '2'), is_claimed('setting', '2'), is_claimed('setting', '3');
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;
SET plan_cache_mode = force_custom_plan;
SELECT claim_once('setting', '2'), claim_once('setting', '3');
RESET plan_cache_mode;
-- PostgreSQL 19 has no other string literals than the standard's.
DO $$ BEGIN
	IF current_setting('server_version_num')::int < 190000 THEN
		SET standard_conforming_strings = off;
		SET escape_string_warning = off;
	END IF;
END $$;
SELECT claim_once('setting', '3'), claim_once('setting', '4');
DO $$ BEGIN
	IF current_setting('server_version_num')::int < 190000 THEN
		RESET standard_conforming_strings;
		RESET escape_string_warning;
	END IF;
END $$;
SET default_transaction_isolation = 'serializable';
SELECT claim_once('setting', '4'), claim_once('setting', '5'), claim_once('setting', '5');
SET default_transaction_isolation = 'repeatable read';
SELECT claim_once('setting', '5'), claim_once('setting', '6'), claim_once('setting', '6');
RESET default_transaction_isolation;
DISCARD ALL;
SELECT claim_once('setting', '6'), claim_once('setting', '7');
\i :file

-- One row for each claim, seen without any index.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT ns, key, count(*) FROM once.claim GROUP BY ns, key HAVING count(*) > 1;
SELECT place_high, place_low, hash_high, hash_low, count(*) FROM once.claim GROUP BY place_high, place_low, hash_high, hash_low HAVING count(*) > 1;
SELECT count(*) FROM once.claim WHERE ns = 'many';
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;

-- NULL, empty and too long.
SELECT pg_temp.raised($$ SELECT claim_once(NULL, 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', 'a', NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', 1, NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', VARIADIC ARRAY['a', NULL]) $$);
SELECT pg_temp.raised($$ SELECT claim_once('', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', '') $$);
SELECT pg_temp.raised($$ SELECT claim_once(repeat('n', 129), 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once(repeat('é', 65), 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once(repeat('n', 1048576), 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', repeat('k', 2001)) $$);
SELECT pg_temp.raised($$ SELECT claim_once('claim', repeat('k', 1048576)) $$);
SELECT claim_once(repeat('n', 128), repeat('k', 2000)), claim_once(repeat('é', 64), repeat('é', 1000));
SELECT claim_once(repeat('n', 128), repeat('k', 2000)), is_claimed(repeat('é', 64), repeat('é', 1000));
SELECT pg_temp.raised($$ SELECT is_claimed(NULL, 'a') $$);
SELECT pg_temp.raised($$ SELECT is_claimed('claim', NULL) $$);
SELECT pg_temp.raised($$ SELECT is_claimed('', 'a') $$);
SELECT pg_temp.raised($$ SELECT is_claimed(repeat('n', 129), 'a') $$);
SELECT pg_temp.raised($$ SELECT is_claimed('claim', repeat('k', 2001)) $$);

-- Read-only and failed transactions.
BEGIN READ ONLY;
SELECT is_claimed('claim', '1'), is_claimed('claim', 'new');
SELECT claim_once('claim', 'new');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT claim_once('claim', '1');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT claim_once_per('1 hour', 'claim', 'new');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT 1/0;
SELECT claim_once('claim', 'failed');
\echo :LAST_ERROR_SQLSTATE
SELECT is_claimed('claim', 'failed');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT is_claimed('claim', 'new'), is_claimed('claim', 'failed');

DELETE FROM once.claim;
