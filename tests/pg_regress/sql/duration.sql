\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- An interval that is given as text names its unit; zero needs none.
SELECT given, pg_temp.raised(format('SELECT with_lock(%L, %L, %L)', 'n', 'k', given)) FROM unnest(ARRAY[
	'5 s', '5s', '0', '0.0', '-0', ' 0 ', '00:00:05', 'PT5S', '@ 5 secs', '1 0:00:00', '1-2', '1 2:03',
	'5', '5000', ' 5 ', '+5', '- 5', '0.5', '.5', '5.', '1e3', '1E+3', '-5000', '', 's', '5 apples', 'order-7', '1e', '5;', '5,', '@ 5', E'\x0B5\f']) AS given;
-- So it does as text and varchar, as a parameter and as the constant of a type, and not as an interval.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT with_lock('n', 'k', '5'::text)$$,
	$$SELECT with_lock('n', 'k', '5'::varchar)$$,
	$$SELECT with_lock('n', 'k', once.duration '5')$$,
	$$SELECT with_lock('n', 'k', interval '5')$$,
	$$SELECT with_lock('n', 'k', '5 s'::text)$$,
	$$SELECT with_lock('n', 'k', '5 s'::varchar)$$,
	$$SELECT with_lock('n', 'k', make_interval(secs => 5))$$,
	$$SELECT with_lock('n', 'k', NULL)$$,
	$$SELECT with_lock('n', 'k', NULL::interval)$$,
	$$SELECT with_lock('n', 'k', NULL::text)$$]) f;
PREPARE take AS SELECT with_lock('n', 'k', $1);
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[$$EXECUTE take('5')$$, $$EXECUTE take('5 s')$$]) f;
DEALLOCATE take;
-- What was meant as a part of a key is refused in every parameter.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT begin_once('charge', 'customer', '4711')$$,
	$$SELECT begin_once('charge', 'customer', wait => '4711')$$,
	$$SELECT renew_once('charge', 'customer', 1, '60')$$,
	$$SELECT fail_once('charge', 'customer', 1, retry_after => '60')$$,
	$$SELECT try_claim_once('charge', 'customer', '4711')$$,
	$$SELECT try_claim_once('charge', 'customer', ttl => '3600')$$,
	$$SELECT claim_once_per('86400', 'mail', 'ann')$$,
	$$SELECT with_locks('charge', '{a}', '4711')$$,
	$$SELECT hold_lock('charge', 'customer', '4711')$$,
	$$SELECT with_payment_lock(1, 'a', '5000')$$,
	$$SELECT once.configure('charge', '86400')$$]) f;
SELECT count(*) FROM once.claims;
SELECT count(*) FROM once.work;
-- It prints as an interval does, and goes where one is stored.
SELECT once.duration '90 minutes' AS printed, once.duration '90 minutes'::interval = interval '90 minutes' AS same;
CREATE TABLE piece (id int PRIMARY KEY, lasts interval);
INSERT INTO piece VALUES (1, once.duration '2 days') RETURNING lasts;

-- Every call resolves: with any of its optional arguments, by position and by name, of their types and untyped.
CREATE FUNCTION pg_temp.written(type oid, style int, number int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE type::regtype::text
		WHEN 'once.duration' THEN (ARRAY['''1 s''', '''1 s''::text', '''1 s''::varchar', 'interval ''1 s''', 'NULL', '$' || number])[style]
		WHEN 'anyelement' THEN 'NULL::piece'
		WHEN 'anynonarray' THEN (ARRAY['1', '1.5', 'now()', 'true', '''a''::name', '1::bigint'])[style]
		WHEN '"any"' THEN (ARRAY['1', '1.5', 'now()', 'true', '''a''::text', '1::bigint'])[style]
		WHEN 'text' THEN (ARRAY['''x''', '''x''::text', '''x''::varchar', '''x''', 'NULL', '$' || number])[style]
		WHEN 'jsonb' THEN (ARRAY['''{}''', '''{}''::jsonb', '''{}''', '''{}''::jsonb', 'NULL', '$' || number])[style]
		WHEN 'text[]' THEN (ARRAY['''{a}''', 'ARRAY[''a'']', 'ARRAY[''a'', ''b'']', '''{a}''', 'NULL', '$' || number])[style]
		WHEN 'boolean' THEN (ARRAY['''t''', 'true', 'true', '''t''', 'NULL', '$' || number])[style]
		WHEN 'integer' THEN (ARRAY['''1''', '1', '1::smallint', '1', 'NULL', '$' || number])[style]
		WHEN 'bigint' THEN (ARRAY['''1''', '1', '1::smallint', '1::bigint', 'NULL', '$' || number])[style]
		WHEN 'regclass' THEN (ARRAY['''piece''', '''piece''::regclass', '''piece''::text', '''piece''', 'NULL', '$' || number])[style]
		WHEN 'regrole' THEN (ARRAY['''postgres''', '''postgres''::regrole', '''postgres''', '''postgres''', 'NULL', '$' || number])[style]
		WHEN 'timestamp with time zone' THEN (ARRAY['''now''', 'now()', 'now()', 'localtimestamp', 'NULL', '$' || number])[style]
	END $$;
CREATE FUNCTION pg_temp.resolved(OUT calls int, OUT failed text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	f record; style int; subset int; arguments text; required int;
BEGIN
	calls := 0;
	FOR f IN
		SELECT format('%I.%I', n.nspname, p.proname) AS name, p.pronargs AS given, p.pronargdefaults AS optional,
			p.proargtypes::oid[] AS types, p.proargnames AS names, p.provariadic
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_once'
		WHERE p.prorettype <> 'trigger'::regtype AND p.proname !~ '^(duration|row_lock)_'
	LOOP
		required := f.given - f.optional;
		FOR style IN 1..6 LOOP
			-- So many by position, then each subset of them by name.
			FOR subset IN 0..f.optional + (1 << f.optional) - 1 LOOP
				SELECT string_agg(CASE WHEN i > required AND subset > f.optional THEN format('%I => ', f.names[i]) ELSE '' END
					|| CASE WHEN f.provariadic <> 0 AND i = f.given AND f.types[i - 1]::regtype::text = 'text[]' THEN 'VARIADIC ' ELSE '' END
					|| pg_temp.written(f.types[i - 1], style, number), ', ' ORDER BY i)
				INTO arguments
				FROM (SELECT i, (count(*) FILTER (WHERE f.types[i - 1]::regtype::text !~ '^"?any') OVER (ORDER BY i))::int AS number
					FROM generate_series(1, f.given) i
					WHERE i <= required
						OR subset <= f.optional AND i <= required + subset
						OR subset > f.optional AND (subset - f.optional) & (1 << (i - required - 1)) <> 0) chosen;
				calls := calls + 1;
				BEGIN
					EXECUTE format('PREPARE probe AS SELECT %s(%s)', f.name, arguments);
					DEALLOCATE probe;
				EXCEPTION WHEN OTHERS THEN
					failed := format('%s %s(%s): %s', SQLSTATE, f.name, arguments, SQLERRM);
					RETURN NEXT;
				END;
			END LOOP;
		END LOOP;
	END LOOP;
	failed := NULL;
	RETURN NEXT;
END $$;
SELECT failed FROM pg_temp.resolved() WHERE failed IS NOT NULL ORDER BY failed COLLATE "C";
SELECT calls > 1000 AS many FROM pg_temp.resolved() WHERE failed IS NULL;
DROP TABLE piece;
