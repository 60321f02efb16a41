\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Finding, merging, and the archive.
CREATE TABLE payment (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, service int NOT NULL, item text,
	amount numeric(12,2) NOT NULL DEFAULT 0, changed timestamptz, cents bigint GENERATED ALWAYS AS (amount * 100) STORED
);
INSERT INTO payment (service, item, amount, changed) VALUES
	(1, 'A', 10, '2026-01-01 00:00+00'), (1, 'A', 20, '2026-01-03 00:00+00'), (1, 'A', 30, '2026-01-02 00:00+00'),
	(2, NULL, 5, NULL), (2, NULL, 6, '2026-01-01 00:00+00'), (3, 'A', 1, NULL), (1, 'a', 2, NULL);
SELECT key, copies, jsonb_path_query_array(rows, '$[*].id') AS ids FROM once.find_duplicates('payment', '{service,item}');
SELECT * FROM once.find_duplicates('payment', '{item}');
SELECT * FROM once.find_duplicates('payment', '{id}');

-- The default is a dry run: it answers, and changes nothing.
SELECT * FROM once.merge_duplicates('payment', '{service,item}');
SELECT count(*) FROM payment;
SELECT to_regclass('once.merged_rows') AS none_yet;

-- 'oldest' and 'newest', by the primary key or a column; NULL is last both ways.
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('payment', '{service,item}', 'newest');
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('payment', '{service,item}', order_by => 'changed');
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('payment', '{service,item}', 'newest', order_by => 'changed');
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('payment', '{item,service}', max_groups => 1);
-- Ties go by the primary key.
SELECT key, kept->'id' AS kept FROM once.merge_duplicates('payment', '{item}', 'newest', order_by => 'service');

SELECT * FROM once.merge_duplicates('payment', '{service,item}', 'newest', false, 'changed');
SELECT id, service, item, amount FROM payment ORDER BY id;
SELECT table_name, merged_by = current_user AS by_me, merged_at = transaction_timestamp() AS now, merged_in IS NOT NULL AS "in", reason, key, kept, removed, moved
FROM once.merged_rows ORDER BY removed->'id';
SELECT * FROM once.merge_duplicates('payment', '{service,item}', dry_run => false);

-- All groups are merged, however many rows of the answer are read; batches go on where the last one ended.
TRUNCATE payment;
INSERT INTO payment (service, item) SELECT i % 50, 'x' FROM generate_series(1, 200) i;
SELECT (once.merge_duplicates('payment', '{service,item}', dry_run => false, max_groups => 20)).removed LIMIT 1;
SELECT count(*), count(DISTINCT service) FROM payment;
SELECT count(*), sum(removed) FROM once.merge_duplicates('payment', '{service,item}', dry_run => false, max_groups => 20);
SELECT count(*), sum(removed) FROM once.merge_duplicates('payment', '{service,item}', dry_run => false, max_groups => 20);
SELECT count(*), sum(removed) FROM once.merge_duplicates('payment', '{service,item}', dry_run => false, max_groups => 20);
SELECT count(*), count(DISTINCT service) FROM payment;
DELETE FROM once.merged_rows;

-- Progress.
SET client_min_messages = notice;
INSERT INTO payment (service, item) SELECT i, 'p' FROM generate_series(1, 2500) i, generate_series(1, 2);
SELECT count(*) FROM once.merge_duplicates('payment', '{service,item}');
INSERT INTO payment (service, item) SELECT 0, 'many' FROM generate_series(1, 20001) i;
SELECT removed FROM once.merge_duplicates('payment', '{service,item}', dry_run => false, max_groups => 1);
-- A large group: all copies are counted, some are shown.
INSERT INTO payment (service, item) SELECT 0, 'many' FROM generate_series(1, 1500) i;
SELECT copies, jsonb_array_length(rows) FROM once.find_duplicates('payment', '{service,item}') LIMIT 1;
SET client_min_messages = warning;
TRUNCATE payment;
DELETE FROM once.merged_rows;

-- The rollback of the caller brings everything back; so does a savepoint.
INSERT INTO payment (service, item) VALUES (1, 'A'), (1, 'A');
BEGIN;
SAVEPOINT s;
SELECT removed FROM once.merge_duplicates('payment', '{service,item}', dry_run => false);
SELECT count(*) FROM payment;
ROLLBACK TO s;
SELECT count(*) FROM payment;
SELECT count(*) FROM once.merged_rows;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
ROLLBACK;

-- Equality is the column's own: 1.0 is 1.00, and the collation counts. NaN is NaN, -0 is 0.
CREATE TABLE price (id int PRIMARY KEY, amount numeric, rate float8, flag "char", span interval);
INSERT INTO price VALUES (1, 1.0, '-0', 'a', '1 day'), (2, 1.00, 0, 'a', '24 hours'), (3, 'NaN', 'NaN', NULL, NULL), (4, 'NaN', 'NaN', NULL, NULL), (5, 1, 0.1::float8 + 0.2, 'b', '1 mon');
SELECT key, copies FROM once.find_duplicates('price', '{amount,rate,flag,span}');
SET extra_float_digits = -15;
SELECT key, kept, removed FROM once.merge_duplicates('price', '{amount,rate,flag,span}', dry_run => false);
INSERT INTO price VALUES (6, 1, 0.1::float8 + 0.2, 'b', '30 days');
SELECT removed FROM once.merge_duplicates('price', '{amount,rate}', dry_run => false);
SELECT removed FROM once.merged_rows WHERE removed->'id' = '6';
RESET extra_float_digits;

-- A composite value of NULLs is not NULL, though IS NULL says so; with and without an index.
CREATE TYPE place AS (shelf int, box int);
CREATE TABLE stored (id int PRIMARY KEY, place place);
INSERT INTO stored VALUES (1, NULL), (2, NULL), (3, ROW(NULL, NULL)), (4, ROW(1, NULL)), (5, ROW(1, NULL));
SELECT rows FROM once.find_duplicates('stored', '{place}');
SELECT kept, removed FROM once.merge_duplicates('stored', '{place}', dry_run => true);
CREATE INDEX ON stored (place);
SELECT kept, removed FROM once.merge_duplicates('stored', '{place}', dry_run => false);
SELECT id FROM stored ORDER BY id;
SELECT created, (entity).id FROM find_or_create(NULL::stored, '{"place": null}', '{"id": 9}');
DROP TABLE stored;
DROP TYPE place;

-- Quoted names, domains, enums, columns called as the extension's own names are.
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN feeling AS mood;
CREATE SCHEMA "my ""schema""";
CREATE TABLE "my ""schema"""."Weird table\" ("Pri mary" int PRIMARY KEY, "it's\" code, once_row feeling, k0 int, g int);
INSERT INTO "my ""schema"""."Weird table\" VALUES (1, 'x', 'ok', 1, 1), (2, 'x', 'ok', 1, 1), (3, 'x', 'sad', 1, 1);
SELECT key, copies FROM once.find_duplicates('"my ""schema"""."Weird table\"', ARRAY['it''s\', 'once_row', 'k0', 'g']);
SELECT key, kept, removed FROM once.merge_duplicates('"my ""schema"""."Weird table\"', ARRAY['it''s\', 'once_row', 'k0', 'g'], dry_run => false);
SELECT table_name, reason, kept, removed FROM once.merged_rows WHERE table_name LIKE '%Weird%';

-- No primary key: order_by says which is older, the rows are told apart by their place.
CREATE TABLE log (at int, what text);
INSERT INTO log VALUES (3, 'x'), (1, 'x'), (1, 'x'), (2, 'y');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('log', '{what}')$$);
SELECT * FROM once.merge_duplicates('log', '{what}', order_by => 'at', dry_run => false);
SELECT * FROM log ORDER BY at;
SELECT reason, kept, removed FROM once.merged_rows WHERE table_name = 'public.log' ORDER BY removed->'at';

-- A primary key of several columns, one of them in the key.
CREATE TABLE line (doc int, nr int, sku text, PRIMARY KEY (doc, nr));
INSERT INTO line VALUES (1, 1, 'a'), (1, 2, 'a'), (2, 1, 'a'), (2, 2, 'b');
SELECT * FROM once.merge_duplicates('line', '{doc,sku}', 'newest', false);
SELECT kept, removed FROM once.merged_rows WHERE table_name = 'public.line';

-- A partitioned target, whose duplicates lie in several partitions; temporary tables.
CREATE TABLE part (id int, k text) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part2 (k text, gone int, id int);
ALTER TABLE part2 DROP gone;
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20);
INSERT INTO part VALUES (1, 'a'), (11, 'a'), (2, 'a'), (12, 'b');
SELECT * FROM once.merge_duplicates('part', '{k}', order_by => 'id');
SELECT * FROM once.merge_duplicates('part1', '{k}', order_by => 'id');
SELECT * FROM once.merge_duplicates('part', '{k}', 'newest', false, 'id');
SELECT tableoid::regclass, * FROM part ORDER BY id;
CREATE TEMPORARY TABLE temp (id int PRIMARY KEY, k int);
INSERT INTO temp VALUES (1, 1), (2, 1);
SELECT * FROM once.merge_duplicates('temp', '{k}', dry_run => false);

-- Triggers: their effects count, and a row that they keep is an error.
CREATE TABLE watched (id int PRIMARY KEY, k int, note text);
INSERT INTO watched VALUES (1, 1, 'keep'), (2, 1, 'go'), (3, 2, 'keep'), (4, 2, 'stay');
CREATE FUNCTION keep_some() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF OLD.note = 'stay' THEN RETURN NULL; END IF;
	UPDATE watched SET note = note || '+' || OLD.id WHERE id = 1;
	RETURN OLD;
END $$;
CREATE TRIGGER keep_some BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION keep_some();
SELECT key, removed, blocked FROM once.merge_duplicates('watched', '{k}');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('watched', '{k}', dry_run => false)$$);
SELECT kept FROM once.merge_duplicates('watched', '{k}', dry_run => false, max_groups => 1);
CREATE RULE no_delete AS ON DELETE TO log DO INSTEAD NOTHING;
INSERT INTO log VALUES (4, 'x'), (5, 'x');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('log', '{what}', order_by => 'at')$$);

-- What is wrong with the call.
CREATE VIEW payment_view AS SELECT * FROM payment;
CREATE TABLE parent (id int PRIMARY KEY, k int);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE odd (id int PRIMARY KEY, doc json, spot point, tx xid);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int, k int) SERVER nowhere;
SELECT call, pg_temp.raised(format('SELECT %s', call)) FROM (VALUES
	($$once.find_duplicates(NULL, '{a}')$$), ($$once.find_duplicates('payment', NULL)$$), ($$once.find_duplicates('payment', '{}')$$),
	($$once.find_duplicates('payment', '{service,NULL}')$$), ($$once.find_duplicates('payment', '{service,service}')$$),
	($$once.find_duplicates('payment', '{Service}')$$), ($$once.find_duplicates('payment', '{ctid}')$$),
	($$once.find_duplicates('payment_view', '{id}')$$), ($$once.find_duplicates('far', '{id}')$$), ($$once.find_duplicates('parent', '{id}')$$),
	($$once.find_duplicates('pg_class', '{oid}')$$), ($$once.find_duplicates(1::regclass, '{id}')$$),
	($$once.find_duplicates('odd', '{doc}')$$), ($$once.find_duplicates('odd', '{spot}')$$), ($$once.find_duplicates('odd', '{tx}')$$),
	($$once.merge_duplicates(NULL, '{a}')$$), ($$once.merge_duplicates('payment', NULL)$$), ($$once.merge_duplicates('payment', '{}')$$),
	($$once.merge_duplicates('payment', '{nr}')$$), ($$once.merge_duplicates('payment_view', '{id}')$$), ($$once.merge_duplicates('far', '{id}')$$),
	($$once.merge_duplicates('parent', '{k}')$$), ($$once.merge_duplicates('pg_class', '{oid}')$$),
	($$once.merge_duplicates('payment', '{item}', NULL)$$), ($$once.merge_duplicates('payment', '{item}', 'Oldest')$$),
	($$once.merge_duplicates('payment', '{item}', 'oldest', NULL)$$), ($$once.merge_duplicates('payment', '{item}', order_by => 'nr')$$),
	($$once.merge_duplicates('odd', '{id}', order_by => 'doc')$$), ($$once.merge_duplicates('odd', '{id}', order_by => 'tx')$$),
	($$once.merge_duplicates('payment', '{item}', max_groups => 0)$$), ($$once.merge_duplicates('payment', '{item}', max_groups => -1)$$),
	($$once.merge_duplicates('payment', '{item}', repeat('x', 2000))$$)) AS wrong (call);
BEGIN READ ONLY;
SELECT count(*) FROM once.find_duplicates('payment', '{service}');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{service}')$$);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{id}')$$);
COMMIT;

-- Rights are the caller's: on the table, not on the archive.
CREATE ROLE regress_merger;
CREATE TABLE plain (id int PRIMARY KEY, k int);
INSERT INTO plain VALUES (1, 1), (2, 1);
SET ROLE regress_merger;
SELECT pg_temp.raised($$SELECT once.find_duplicates('plain', '{k}')$$);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('plain', '{k}')$$);
RESET ROLE;
GRANT SELECT ON plain TO regress_merger;
SET ROLE regress_merger;
SELECT * FROM once.find_duplicates('plain', '{k}');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('plain', '{k}')$$);
RESET ROLE;
GRANT UPDATE ON plain TO regress_merger;
SET ROLE regress_merger;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('plain', '{k}')$$);
RESET ROLE;
GRANT DELETE ON plain TO regress_merger;
SET ROLE regress_merger;
SELECT * FROM once.merge_duplicates('plain', '{k}', dry_run => false);
SELECT pg_temp.raised($$TABLE once.merged_rows$$);
SELECT pg_temp.raised($$DELETE FROM once.merged_rows$$);
RESET ROLE;
SELECT merged_by, removed FROM once.merged_rows WHERE table_name = 'public.plain';

-- Row security that is active for the caller.
INSERT INTO plain VALUES (3, 1);
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON plain USING (true);
SET ROLE regress_merger;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('plain', '{k}')$$);
SELECT copies FROM once.find_duplicates('plain', '{k}');
RESET ROLE;
-- A policy may call functions that need the caller's search_path.
CREATE TABLE seen (id int);
INSERT INTO seen SELECT id FROM plain;
CREATE FUNCTION is_seen(int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN EXISTS (SELECT FROM seen WHERE id = $1); END';
GRANT SELECT ON seen TO regress_merger;
ALTER POLICY all_rows ON plain USING (is_seen(id));
SET ROLE regress_merger;
SELECT copies FROM once.find_duplicates('plain', '{k}');
RESET ROLE;
ALTER POLICY all_rows ON plain USING (true);
DROP FUNCTION is_seen;
DROP TABLE seen;
SELECT removed FROM once.merge_duplicates('plain', '{k}');
DROP OWNED BY regress_merger;
DROP ROLE regress_merger;

-- More columns than a function call has arguments.
SELECT format('CREATE TABLE broad (id int PRIMARY KEY, %s)', string_agg(format('c%s int DEFAULT %1$s', n), ', ' ORDER BY n)) FROM generate_series(1, 120) AS n \gexec
INSERT INTO broad SELECT generate_series(1, 3);
SELECT array_agg('c' || n ORDER BY n) AS columns FROM generate_series(1, 120) AS n \gset
SELECT (SELECT count(*) FROM jsonb_object_keys(key)) AS columns, key ->> 'c120' AS last, copies FROM once.find_duplicates('broad', :'columns');
SELECT (SELECT count(*) FROM jsonb_object_keys(key)) AS columns, key ->> 'c51' AS one, removed, blocked FROM once.merge_duplicates('broad', :'columns', dry_run => false);
SELECT count(*) FROM broad;
DROP TABLE broad;

DROP TABLE once.merged_rows;
DROP SCHEMA "my ""schema""" CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP TABLE payment, price, log, line, part, watched, parent, child, odd, plain CASCADE;
DROP FUNCTION keep_some;
DROP DOMAIN code, feeling;
DROP TYPE mood;
