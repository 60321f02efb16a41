\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Nothing that somebody plants in a schema of the search_path is picked up by the extension's own code.
CREATE TABLE book (title text PRIMARY KEY, n numeric, doc jsonb);
CREATE TABLE bare (title text, n numeric, doc jsonb);
CREATE SCHEMA evil;
CREATE TABLE evil.ran (what text);
CREATE FUNCTION evil.eq(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('text ='); RETURN false; END $$;
CREATE FUNCTION evil.eq(a numeric, b numeric) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('numeric ='); RETURN false; END $$;
CREATE FUNCTION evil.eq(a uuid, b uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('uuid ='); RETURN false; END $$;
CREATE FUNCTION evil.eq(a jsonb, b jsonb) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('jsonb ='); RETURN false; END $$;
CREATE FUNCTION evil.le(a timestamptz, b timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('timestamptz'); RETURN false; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = numeric, RIGHTARG = numeric);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = uuid, RIGHTARG = uuid);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = jsonb, RIGHTARG = jsonb);
CREATE OPERATOR evil.<= (FUNCTION = evil.le, LEFTARG = timestamptz, RIGHTARG = timestamptz);
CREATE OPERATOR evil.> (FUNCTION = evil.le, LEFTARG = timestamptz, RIGHTARG = timestamptz);
CREATE FUNCTION evil.jsonb_populate_record(anyelement, jsonb) RETURNS anyelement LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('jsonb_populate_record'); RETURN NULL; END $$;
CREATE FUNCTION evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('jsonb_typeof'); RETURN NULL; END $$;
CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('to_jsonb'); RETURN NULL; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('clock_timestamp'); RETURN NULL; END $$;
CREATE FUNCTION evil.format_type(oid, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.ran VALUES ('format_type'); RETURN NULL; END $$;
CREATE FUNCTION evil.claim_once(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT NULL::boolean';
CREATE TABLE evil.claim (digest uuid, ns text, key text);
CREATE TABLE evil.pg_index (LIKE pg_catalog.pg_index);
CREATE TABLE evil.pg_attribute (attrelid oid, attname name, attnum int2);
CREATE TABLE evil.pg_class (LIKE pg_catalog.pg_class);
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (false);
CREATE DOMAIN evil.int4 AS pg_catalog.int4 CHECK (false);
SET search_path = evil, pg_catalog, public;
SELECT public.claim_once('path', '1'), public.claim_once('path', '1'), public.is_claimed('path', '1'), public.unclaim('path', '1');
SELECT public.claim_once('path', 1, 'two'), public.claim_once('path', 1, true, 'x'::pg_catalog.varchar), public.claim_once_per('1 ms', 'path', '3');
SELECT pg_sleep(0.01);
SELECT public.claim_once_per('1 hour', 'path', '3'), public.claim_once_per('1 hour', 'path', '3'), public.is_claimed('path', '3');
SELECT created, (entity).* FROM public.find_or_create(NULL::public.book, '{"title": "Dune"}', '{"n": 1, "doc": {}}');
SELECT created, (entity).* FROM public.find_or_create(NULL::public.book, '{"title": "Dune"}', lock => true);
SELECT created, (entity).* FROM public.find_or_create(NULL::public.bare, '{"title": "Dune", "n": 1.0, "doc": {"a": 1}}');
SELECT created, (entity).* FROM public.find_or_create(NULL::public.bare, '{"title": "Dune", "n": 1.00, "doc": {"a": 1.0}}', lock => true);
SELECT * FROM public.with_row_lock(NULL::public.bare, '{"n": 1}');
SELECT public.with_row_lock(NULL::public.bare, '{"none": 1}');
SELECT * FROM evil.ran;
SELECT count(*) FROM evil.claim;

-- Temporary objects of the same names.
RESET search_path;
CREATE TEMPORARY TABLE claim (digest uuid, ns text, key text);
CREATE TEMPORARY TABLE pg_index (LIKE pg_catalog.pg_index);
CREATE TEMPORARY TABLE payments (service_id int, line_item_id int, temporary boolean DEFAULT true);
CREATE TABLE public.payments (service_id int, line_item_id int);
SELECT claim_once('path', 'temporary'), is_claimed('path', 'temporary'), (SELECT count(*) FROM claim);
-- The payments table is the caller's business, and a temporary one comes first, as in any statement of his.
SELECT * FROM with_payment_lock(1, 2);
SELECT count(*) FROM public.payments;
SET search_path = '';
SELECT public.claim_once('path', 'empty'), public.is_claimed('path', 'empty');
SELECT public.with_payment_lock(1, 2);
SELECT created, (entity).title FROM public.find_or_create(NULL::public.book, '{"title": "Emma"}');
SET search_path = no_such_schema;
SELECT public.claim_once('path', 'none'), public.is_claimed('path', 'none');
SHOW search_path;
RESET search_path;

DELETE FROM once.claim;
SET client_min_messages = error;
DROP SCHEMA evil CASCADE;
DROP TABLE book, bare, pg_temp.claim, pg_temp.pg_index, pg_temp.payments, public.payments;
