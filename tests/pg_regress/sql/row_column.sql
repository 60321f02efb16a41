\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Columns of every kind, in the key and beside it. None of these tables has a unique index over the key,
-- so that only the equality of the column decides which row is found.
CREATE FUNCTION pg_temp.twice(target anyelement, first jsonb, second jsonb, OUT first_created boolean, OUT second_created boolean) LANGUAGE plpgsql AS $$
BEGIN
	SELECT created INTO first_created FROM find_or_create(target, first, lock => true);
	SELECT created INTO second_created FROM find_or_create(target, second, lock => true);
END $$;
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TYPE address AS (street text, number int);
CREATE DOMAIN even AS int CHECK (value % 2 = 0);
CREATE DOMAIN shout AS varchar(5);
CREATE TABLE thing (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	small smallint, big bigint, num numeric, money numeric(10, 2), single real, double float8, truth boolean,
	word text, short varchar(3), padded char(5), shouted shout, id_of uuid, raw bytea, day date, moment timestamp,
	instant timestamptz, second timestamptz(0), span interval, mood mood, even even, doc jsonb, old json, list int[], place address,
	"range" int4range, net inet, bits bit(3), "Quoted ""name""" text
);
SELECT * FROM pg_temp.twice(NULL::thing, '{"small": 1}', '{"small": "1"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"big": 9007199254740993}', '{"big": 9007199254740993}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"big": 9007199254740992}', '{"big": "9007199254740992"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"num": 1.0}', '{"num": 1.00}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"num": 123456789012345678901234567890.123456789}', '{"num": "123456789012345678901234567890.123456789000"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"num": "NaN"}', '{"num": "nan"}');
-- The declared precision, scale and length count, so a rounded key finds what it has made.
SELECT * FROM pg_temp.twice(NULL::thing, '{"money": 1.005}', '{"money": 1.005}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"money": 1.01}', '{"money": 1.0100}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"second": "2026-11-21 00:00:00.4+00"}', '{"second": "2026-11-21 01:00:00+01"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"single": 0.1}', '{"single": 0.1}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"double": 0}', '{"double": "-0"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"double": "NaN"}', '{"double": "NaN"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"truth": true}', '{"truth": "yes"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"word": "a"}', '{"word": "A"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"word": "1"}', '{"word": 1}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"word": ""}', '{"word": ""}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"small": null, "word": "n"}', '{"word": "n", "small": null}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"short": "abc"}', '{"short": "abc  "}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"padded": "ab"}', '{"padded": "ab  "}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"shouted": "HELLO"}', '{"shouted": "HELLO"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"id_of": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}', '{"id_of": "a0eebc999c0b4ef8bb6d6bb9bd380a11"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"raw": "\\x00ff"}', '{"raw": "\\x00FF"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"day": "2026-11-21"}', '{"day": "20261121"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"moment": "2026-11-21 03:00"}', '{"moment": "2026-11-21T03:00:00"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"instant": "2026-11-21 03:00+00"}', '{"instant": "2026-11-21 04:00+01"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"span": "1 day"}', '{"span": "24 hours"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"mood": "glad"}', '{"mood": "glad"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"even": 2}', '{"even": 2}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"doc": {"a": 1.0, "b": [1]}}', '{"doc": {"b": [1], "a": 1}}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"doc": "text"}', '{"doc": "text"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"list": [1, 2]}', '{"list": "{1,2}"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"list": []}', '{"list": []}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"place": {"street": "Main", "number": 1}}', '{"place": {"number": 1, "street": "Main"}}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"place": {"street": "Main"}}', '{"place": {"street": "Main", "number": null}}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"range": "[1,5)"}', '{"range": "[1,4]"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"net": "10.0.0.1"}', '{"net": "10.0.0.1/32"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"bits": "101"}', '{"bits": "101"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"Quoted \"name\"": "x"}', '{"Quoted \"name\"": "x"}');
SELECT * FROM pg_temp.twice(NULL::thing, '{"small": 2, "word": "a", "day": null}', '{"day": null, "small": 2, "word": "a"}');
SELECT num, money, second, padded, span, doc, list, place FROM thing
	WHERE coalesce(num::text, money::text, second::text, padded, span::text, doc::text, list::text, place::text) IS NOT NULL ORDER BY id;

-- A column without equality cannot be in the key, but in defaults.
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"old": {"a": 1}}') $$);
SELECT old, doc FROM with_row_lock(NULL::thing, '{"small": 3}', '{"old": {"a":  1}, "doc": null}');

-- Values that the column does not take: core's errors.
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"small": "one"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"small": 32768}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"small": 1.5}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"small": {}}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"short": "abcd"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"shouted": "HELLO!"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"money": 123456789}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"mood": "so so"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"even": 3}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"day": "2026-02-30"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"list": ["a"]}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"place": [1]}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"small": 1}', '{"even": 3}') $$);

-- Identity columns: BY DEFAULT may be in the key, ALWAYS may be looked for but not chosen.
CREATE TABLE numbered (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text);
SELECT * FROM with_row_lock(NULL::numbered, '{"id": 7}', '{"name": "seven"}');
SELECT * FROM with_row_lock(NULL::numbered, '{"id": 7}');
SELECT * FROM with_row_lock(NULL::numbered, '{"name": "generated"}');
SELECT word FROM with_row_lock(NULL::thing, '{"id": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"id": 100000}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::thing, '{"word": "new"}', '{"id": 100000}') $$);

-- Generated columns: computed for a new row; may be looked for but not written.
CREATE TABLE computed (name text, size int GENERATED ALWAYS AS (length(name)) STORED);
SELECT * FROM with_row_lock(NULL::computed, '{"name": "abc"}');
SELECT * FROM with_row_lock(NULL::computed, '{"size": 3}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::computed, '{"size": 4}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::computed, '{"name": "d"}', '{"size": 1}') $$);
SELECT count(*) FROM computed;

-- Types with implicit casts to others, of which `=` in a statement does not say which equality it means.
CREATE TYPE stage AS ENUM ('cart', 'order');
CREATE CAST (stage AS text) WITH INOUT AS IMPLICIT;
CREATE TYPE "Shelf" AS (hall text, number int);
CREATE CAST ("Shelf" AS text) WITH INOUT AS IMPLICIT;
CREATE DOMAIN step AS stage;
CREATE TABLE basket (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stage stage, step step, place "Shelf", stages stage[], note text);
SELECT pg_temp.raised($$ SELECT FROM basket WHERE stage = stage $$) LIMIT 1;
SELECT * FROM pg_temp.twice(NULL::basket, '{"stage": "cart"}', '{"stage": "cart"}');
SELECT * FROM pg_temp.twice(NULL::basket, '{"stage": "order", "step": "cart"}', '{"step": "cart", "stage": "order"}');
SELECT * FROM pg_temp.twice(NULL::basket, '{"place": {"hall": "A", "number": 1}}', '{"place": {"number": 1, "hall": "A"}}');
SELECT * FROM pg_temp.twice(NULL::basket, '{"stages": ["cart", "order"]}', '{"stages": "{cart,order}"}');
SELECT once.define_row_lock('lock_basket', 'basket', '{stage}', '{"step": "order"}');
SELECT id, stage, step FROM lock_basket('order');
SELECT id, stage, step FROM lock_basket('order', defaults => '{"note": "there"}');
INSERT INTO basket (stage, step) VALUES ('order', 'order');
SELECT key, copies FROM once.find_duplicates('basket', '{stage}', '{"step": "order"}');
SELECT key, kept, removed, blocked FROM once.merge_duplicates('basket', '{stage}', condition => '{"step": "order"}', dry_run => false);
SELECT once.guard_plan('basket', '{stage}', '{"step": "order"}');
SELECT once.guard_plan('basket', '{stage}', '{"step": "order"}') \gexec
SELECT once.guard_plan('basket', '{stage}', '{"step": "order"}');
SELECT id, stage, step FROM lock_basket('order');
SELECT id, stage, step FROM lock_basket('cart');
SELECT id, stage, step, place, stages, note FROM basket ORDER BY id;
DROP FUNCTION lock_basket(stage, once.duration, jsonb);
DROP TABLE basket, once.merged_rows;
DROP DOMAIN step;
DROP TYPE stage, "Shelf" CASCADE;

-- Dropped columns are gone, those that follow keep their values.
ALTER TABLE numbered ADD COLUMN middle int DEFAULT 1, ADD COLUMN last text DEFAULT 'z';
ALTER TABLE numbered DROP COLUMN middle;
SELECT * FROM with_row_lock(NULL::numbered, '{"id": 8}', '{"last": "y"}');
SELECT * FROM with_row_lock(NULL::numbered, '{"last": "y"}');
SELECT created, (entity).* FROM find_or_create(NULL::numbered, '{"last": "x"}', '{"id": 9}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::numbered, '{"middle": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::numbered, '{"........pg.dropped.3........": 1}') $$);

-- A table without columns, and one with many.
CREATE TABLE nothing ();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::nothing, '{"a": 1}') $$);
DO $$ BEGIN EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || n || ' int', ',') FROM generate_series(1, 1600) n) || ')'; END $$;
SELECT c1, c1600 FROM with_row_lock(NULL::wide, '{"c1": 1}', '{"c1600": 2}');
SELECT c1, c1600 FROM with_row_lock(NULL::wide, '{"c1600": 2, "c1": 1}');
SELECT count(*) FROM with_row_lock(NULL::wide, (SELECT jsonb_object_agg('c' || n, n) FROM generate_series(1, 1600) n));
SELECT count(*) FROM with_row_lock(NULL::wide, (SELECT jsonb_object_agg('c' || n, n) FROM generate_series(1, 1600) n));
SELECT count(*) FROM wide;

DROP TABLE thing, numbered, computed, nothing, wide;
DROP TYPE mood, address;
DROP DOMAIN even, shout;
