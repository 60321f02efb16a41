\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- One part is its own text.
SELECT once_key('a'), once_key(42), once_key(true), once_key(1.50), once_key('a'::text);

-- Vectors of the format, which is frozen: U+001E (1e) before each part; in a part U+001B (1b) is 1b 30
-- and U+001E is 1b 31.
CREATE FUNCTION pg_temp.hex(key text) RETURNS text LANGUAGE sql AS $$ SELECT encode(convert_to(key, 'UTF8'), 'hex') $$;
SELECT pg_temp.hex(once_key('a', 'b'));
SELECT pg_temp.hex(once_key('', ''));
SELECT pg_temp.hex(once_key(4711, 'org/repo'));
SELECT pg_temp.hex(once_key('org/repo', 4711));
SELECT pg_temp.hex(once_key(1, 2));
SELECT pg_temp.hex(once_key(1, true, 'x'::text, 2.50));
SELECT pg_temp.hex(once_key(E'a\x1eb', E'c\x1bd'));
SELECT pg_temp.hex(once_key('é', '漢'));

-- Every form of a call with the same texts gives the same key.
SELECT count(DISTINCT key) FROM (VALUES
	(once_key('1', 'b')), (once_key(1, 'b')), (once_key('1', 'b'::text)), (once_key(VARIADIC ARRAY['1', 'b'])),
	(once_key(1::bigint, 'b'::varchar)), (once_key('1'::char(1), 'b'::name)), (once_key(once_key('1', 'b')))) AS form (key);

-- Separators that could be confused between parts: all these are different keys.
SELECT count(*), count(DISTINCT key) FROM (VALUES
	(once_key('a', 'bc')), (once_key('ab', 'c')), (once_key('abc')), (once_key('a', 'b', 'c')), (once_key('', 'abc')),
	(once_key('abc', '')), (once_key('', '', 'abc')), (once_key('a,bc')), (once_key('a:bc')), (once_key('a/bc')),
	(once_key('a', ',bc')), (once_key(E'a\x1ebc', '')), (once_key('a', E'\x1ebc')), (once_key(E'a\x1b1bc', '')),
	(once_key('a', E'\x1bbc')), (once_key(E'a\x1b', 'bc')), (once_key(E'a\x1b0bc', '')), (once_key('A', 'bc')),
	(once_key(' a', 'bc')), (once_key('a ', 'bc'))) AS pair (key);

-- A single key that begins with U+001E must be what once_key makes.
SELECT once_key(once_key('a', 'b')) = once_key('a', 'b') AS same;
SELECT pg_temp.raised($$ SELECT once_key(E'\x1e') $$);
SELECT pg_temp.raised($$ SELECT once_key(E'\x1ea') $$);
SELECT pg_temp.raised($$ SELECT once_key(E'\x1ea\x1eb\x1bc') $$);
SELECT pg_temp.raised($$ SELECT claim_once('key', E'\x1ea') $$);
SELECT pg_temp.raised($$ SELECT is_claimed('key', E'\x1ea') $$);
SELECT pg_temp.raised($$ SELECT unclaim('key', E'\x1ea') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'key', E'\x1ea') $$);
SELECT pg_temp.hex(once_key(E'\x1ea', 'b'));

-- The padding of char(n) never counts, wherever the part stands.
SELECT count(DISTINCT key) FROM (VALUES (once_key('ab', '1', '2')), (once_key('ab'::char(5), 1, 2)), (once_key('ab'::char(9), '1'::char(3), 2)),
	(once_key('ab'::char(5), '1'::char(3), '2'::char(3)))) AS form (key);
SELECT once_key('ab'::char(5)) = 'ab' AS alone, once_key(1, 'ab'::char(5)) = once_key('1', 'ab') AS second, once_key('ab'::char(5), 1) = once_key('ab', '1') AS first;

-- The text of a part depends on no setting.
CREATE TYPE mood AS ENUM ('glad', 'so so');
CREATE DOMAIN share AS numeric(5, 2);
CREATE DOMAIN nested_share AS share;
CREATE TABLE "Ticket" (id int);
CREATE TABLE part (
	number serial PRIMARY KEY,
	value text,
	make text
);
INSERT INTO part (value) VALUES
	('true'), ('false'),
	('(-32768)::smallint'), ('42'), ('(-9223372036854775808)::bigint'),
	('1.0'), ('1.00'), ('-0.000001'), ('123456789012345678901234567890.123456789'), ('''NaN''::numeric'), ('''Infinity''::numeric'),
	('0.1::float4'), ('0.1::float8'), ('1e300::float8'), ('(1.0/3)::float8'), ('''-0''::float8'), ('''Infinity''::float8'), ('''NaN''::float4'),
	('''2026-11-21 03:28:29.5+01''::timestamptz'), ('''2026-11-21''::timestamptz AT TIME ZONE ''UTC'''),
	('''0044-03-15 12:00:00 BC''::timestamp'), ('''0044-03-15 12:00:00+00 BC''::timestamptz'), ('''10000-01-01 00:00:00+00''::timestamptz'), ('''infinity''::timestamptz'), ('''-infinity''::timestamp'),
	('''2026-11-21''::date'), ('''0044-03-15 BC''::date'), ('''infinity''::date'),
	('''03:28:29.123456''::time'), ('''03:28:29+05:30''::timetz'),
	('''1 year 2 mons 3 days 04:05:06.789''::interval'), ('''-1 day''::interval'), ('''0''::interval'), ('''1 day -1 hour''::interval'),
	('''A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11''::uuid'),
	('''\x00ffDE''::bytea'), ('''\x5c''::bytea'),
	('''so so''::mood'), ('1.5::share'), ('1.5::nested_share'),
	('''ab''::char(5)'), ('''ab''::varchar(5)'), ('''ab''::name'),
	('''12.34''::money'), ('''192.168.0.1/24''::inet'), ('''10.0.0.0/8''::cidr'), ('''08:00:2B:01:02:03''::macaddr'),
	('B''101'''), ('''(1.5,2)''::point'), ('''7''::oid'), ('''16/B374D848''::pg_lsn'), ('''2 > 1''::text'),
	('''{"b":1,  "a":2}''::json'), ('''{"b":1,  "a":2.10}''::jsonb'), ('''fat & rat''::tsquery'),
	('''"Ticket"''::regclass'), ('''mood''::regtype'), ('''int4''::regtype'), ('''public''::regnamespace'), ('''now''::regproc'),
	('int4range(1, 5)'), ('numrange(1.0, 2.00)'), ('daterange(''2026-01-02'', ''2026-02-01'')'),
	('tstzrange(''2026-11-21 00:00+00'', ''2026-11-21 12:00+01'')'), ('datemultirange(daterange(''2026-01-02'', ''2026-02-01''))');

CREATE FUNCTION pg_temp.part(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	key text;
	with_text text;
BEGIN
	EXECUTE format('SELECT once_key(%1$s), once_key(%1$s, ''x''::text)', value) INTO key, with_text;
	IF with_text IS DISTINCT FROM E'\x1e' || key || E'\x1ex' THEN
		RAISE 'the part % is % alone and % beside another', value, key, with_text;
	END IF;
	RETURN key;
END $$;

SET TimeZone = 'UTC';
UPDATE part SET make = pg_temp.part(value);
SELECT value, make FROM part ORDER BY number;

CREATE FUNCTION pg_temp.changed() RETURNS TABLE (value text, made text, makes text) LANGUAGE sql AS $$
	SELECT value, make, pg_temp.part(value) FROM part WHERE make IS DISTINCT FROM pg_temp.part(value) ORDER BY number
$$;

SET TimeZone = 'Pacific/Auckland';
SELECT * FROM pg_temp.changed() WHERE value NOT LIKE '%AT TIME ZONE%';
RESET TimeZone;
SET DateStyle = 'German, DMY';
SELECT * FROM pg_temp.changed() WHERE value LIKE '%infinity%' OR value LIKE '%range%' OR value LIKE '%interval%';
-- Under another DateStyle the same literals are read as other days, so these are values, not literals.
CREATE TABLE moment AS SELECT make_date(2026, 2, 1) AS d, make_timestamp(2026, 2, 1, 3, 4, 5.6) AS t,
	make_timestamptz(2026, 2, 1, 3, 4, 5.6, 'UTC') AS tz, make_time(3, 4, 5.6) AS clock,
	daterange(make_date(2026, 2, 1), make_date(2026, 3, 1)) AS span,
	tstzrange(make_timestamptz(2026, 2, 1, 3, 4, 5.6, 'UTC'), NULL) AS since;
CREATE FUNCTION pg_temp.moment() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', once_key(d), once_key(t), once_key(tz), once_key(clock), once_key(span), once_key(since)) FROM moment
$$;
RESET DateStyle;
SELECT pg_temp.moment();
SET DateStyle = 'German, DMY';
SELECT pg_temp.moment();
SET DateStyle = 'SQL, MDY';
SELECT pg_temp.moment();
SET DateStyle = 'Postgres, YMD';
SET TimeZone = 'America/St_Johns';
SELECT pg_temp.moment();
RESET DateStyle;
RESET TimeZone;

SET TimeZone = 'UTC';
SET IntervalStyle = 'sql_standard';
SELECT * FROM pg_temp.changed();
SET IntervalStyle = 'iso_8601';
SELECT * FROM pg_temp.changed();
SET IntervalStyle = 'postgres_verbose';
SELECT * FROM pg_temp.changed();
RESET IntervalStyle;
SET extra_float_digits = -15;
SELECT * FROM pg_temp.changed();
SET extra_float_digits = 3;
SELECT * FROM pg_temp.changed();
RESET extra_float_digits;
SET bytea_output = 'escape';
SELECT * FROM pg_temp.changed();
RESET bytea_output;
SET search_path = pg_catalog;
SET quote_all_identifiers = on;
SELECT public.once_key('pg_class'::regclass);
RESET quote_all_identifiers;
SELECT public.once_key('public."Ticket"'::regclass), public.once_key('public.mood'::regtype), public.once_key(1, 'b');
RESET search_path;

-- Whatever locales this machine has.
DO $$
DECLARE
	locale text;
	differs text;
BEGIN
	FOR locale IN SELECT DISTINCT collcollate FROM pg_collation WHERE collprovider = 'c' AND collcollate IS NOT NULL LOOP
		BEGIN
			PERFORM set_config('lc_monetary', locale, true), set_config('lc_numeric', locale, true), set_config('lc_time', locale, true);
		EXCEPTION WHEN invalid_parameter_value THEN
			CONTINUE;
		END;
		SELECT value INTO differs FROM pg_temp.changed() LIMIT 1;
		IF differs IS NOT NULL THEN
			RAISE 'the part % is another one under the locale %', differs, locale;
		END IF;
	END LOOP;
END $$;

-- The settings are as they were, after an answer and after an error.
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -1;
SELECT once_key('1 day'::interval, 0.1::float8, make_date(2026, 2, 1));
SELECT once_key('1 day'::interval, ARRAY[1]);
SELECT current_setting('DateStyle') AS datestyle, current_setting('IntervalStyle') AS intervalstyle,
	current_setting('extra_float_digits') AS extra_float_digits, current_setting('TimeZone') AS timezone;
RESET ALL;

-- A NULL is no part.
SELECT pg_temp.raised($$ SELECT once_key(NULL) $$);
SELECT pg_temp.raised($$ SELECT once_key(NULL::int) $$);
SELECT pg_temp.raised($$ SELECT once_key('a', NULL) $$);
SELECT pg_temp.raised($$ SELECT once_key(NULL, 'a'::text) $$);
SELECT pg_temp.raised($$ SELECT once_key(1, NULL::text) $$);
SELECT pg_temp.raised($$ SELECT once_key(1, 2, NULL::int) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC NULL::text[]) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC NULL::int[]) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC ARRAY['a', NULL]) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC ARRAY[1, NULL]) $$);

-- Arrays and rows are no parts either.
SELECT pg_temp.raised($$ SELECT once_key(ARRAY[1, 2]) $$);
SELECT pg_temp.raised($$ SELECT once_key(ARRAY['a', 'b']) $$);
SELECT pg_temp.raised($$ SELECT once_key('a', ARRAY['b']) $$);
SELECT pg_temp.raised($$ SELECT once_key(1, ARRAY[2], 3) $$);
SELECT pg_temp.raised($$ SELECT once_key('1 2'::int2vector) $$);
SELECT pg_temp.raised($$ SELECT once_key(ROW(1, 2)) $$);
SELECT pg_temp.raised($$ SELECT once_key("Ticket") FROM (VALUES (1)) AS "Ticket" (id) $$);
SELECT pg_temp.raised($$ SELECT once_key(ROW(1)::"Ticket", 'a') $$);
SELECT pg_temp.raised($$ SELECT once_key(NULL::int[], 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once('key', ARRAY['a', 'b']) $$);
SELECT pg_temp.raised($$ SELECT claim_once('key', ROW(1, 2)) $$);
SELECT pg_temp.raised($$ SELECT is_claimed('key', 'a', ARRAY[1]) $$);
SELECT pg_temp.raised($$ SELECT unclaim('key', ARRAY[1]) $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'key', ARRAY[1]) $$);

-- VARIADIC unpacks an array of any type.
SELECT pg_temp.hex(once_key(VARIADIC ARRAY['a', 'b'])), pg_temp.hex(once_key(VARIADIC ARRAY[1, 2])),
	pg_temp.hex(once_key(VARIADIC ARRAY['glad'::mood, 'so so'])), once_key(VARIADIC ARRAY[1]), once_key(VARIADIC '{a}'::text[]);
SELECT once_key(VARIADIC ARRAY[[1, 2], [3, 4]]) = once_key(1, 2, 3, 4) AS in_order;
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC '{}'::text[]) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC '{}'::int[]) $$);
SELECT pg_temp.raised($$ SELECT claim_once('key', VARIADIC '{}'::text[]) $$);

-- Limits: 2,000 bytes with the encoding, not characters.
SELECT octet_length(once_key(repeat('a', 2000))), octet_length(once_key(repeat('é', 1000))), octet_length(once_key(repeat('a', 1997), 'b'));
SELECT pg_temp.raised($$ SELECT once_key('') $$);
SELECT pg_temp.raised($$ SELECT once_key(repeat('a', 2001)) $$);
SELECT pg_temp.raised($$ SELECT once_key(repeat('é', 1001)) $$);
SELECT pg_temp.raised($$ SELECT once_key(repeat('a', 1998), 'b') $$);
SELECT pg_temp.raised($$ SELECT once_key(repeat(E'\x1e', 1000), 'b') $$);
SELECT pg_temp.raised($$ SELECT once_key(repeat('a', 1048576)) $$);
SELECT pg_temp.raised($$ SELECT once_key(decode(repeat('00', 1048576), 'hex')) $$);
SELECT pg_temp.raised($$ SELECT once_key(1, repeat('a', 1048576)) $$);
SELECT pg_temp.raised($$ SELECT once_key(VARIADIC array_fill(1, ARRAY[100000])) $$);

DROP TABLE part, moment, "Ticket";
DROP DOMAIN nested_share, share;
DROP TYPE mood;
