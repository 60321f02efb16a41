\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What an expert types to make duplicates impossible in a table that is in use.
CREATE TABLE payment (id int PRIMARY KEY, service int NOT NULL, item text NOT NULL, note text);
INSERT INTO payment VALUES (1, 1, 'A'), (2, 1, 'A'), (3, 1, 'A'), (4, 2, 'A'), (5, 2, 'A'), (6, 3, 'A');
SELECT pg_temp.raised($$SELECT once.guard_plan('payment', '{service,item}')$$);
SELECT sum(removed) FROM once.merge_duplicates('payment', '{service,item}', dry_run => false);
SELECT once.guard_plan('payment', '{service,item}');
SELECT once.guard_plan('payment', '{service,item}') \gexec
\d payment
SHOW lock_timeout;
SHOW statement_timeout;
SELECT once.guard_plan('payment', '{service,item}');
SELECT once.guard_plan('payment', '{item,service}');
SELECT once.guard_plan('payment', '{id}');
INSERT INTO payment VALUES (7, 1, 'A');
EXPLAIN (COSTS OFF) SELECT FROM payment WHERE service = 1 AND item = 'A';

-- Each statement can be run again, and what is left of a plan that was broken off is what the next plan holds.
ALTER TABLE payment DROP CONSTRAINT payment_service_item_key;
CREATE TABLE plan AS SELECT row_number() OVER () AS n, s AS statement FROM once.guard_plan('payment', '{service,item}') s;
SELECT statement FROM plan WHERE statement LIKE 'CREATE%' \gexec
SELECT once.guard_plan('payment', '{service,item}');
SELECT statement FROM plan ORDER BY n \gexec
SELECT statement FROM plan ORDER BY n \gexec
SELECT once.guard_plan('payment', '{service,item}');
DROP TABLE plan;

-- Columns that can be NULL: NULLs are equal, here as everywhere. An index that lets NULLs pass is no guard.
ALTER TABLE payment ADD UNIQUE (service, note), ADD UNIQUE (note);
INSERT INTO payment VALUES (8, 8, 'B', NULL), (9, 8, 'C', NULL);
SELECT pg_temp.raised($$SELECT once.guard_plan('payment', '{service,note}')$$);
DELETE FROM payment WHERE id = 9;
SELECT once.guard_plan('payment', '{service,note}') \gexec
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'payment'::regclass AND contype = 'u' ORDER BY conname;
SELECT pg_temp.raised($$INSERT INTO payment VALUES (10, 8, 'D', NULL)$$);
SELECT once.guard_plan('payment', '{service,note}');

-- An INVALID index is dropped first: here it failed for a duplicate.
CREATE TABLE event (id int PRIMARY KEY, k int NOT NULL);
INSERT INTO event VALUES (1, 1), (2, 1);
CREATE UNIQUE INDEX CONCURRENTLY event_k_key ON event (k);
CREATE UNIQUE INDEX CONCURRENTLY "left Over" ON event (k);
DELETE FROM event WHERE id = 2;
SELECT once.guard_plan('event', '{k}');
SELECT once.guard_plan('event', '{k}') \gexec
\d event
-- Names that are taken; indexes that are no guard: partial, on an expression, deferrable, of more columns.
CREATE TABLE taken (id int PRIMARY KEY, k int NOT NULL, t text COLLATE "C" NOT NULL);
CREATE TABLE taken_k_key ();
ALTER TABLE taken ADD CONSTRAINT taken_k_key1 CHECK (k > 0), ADD CONSTRAINT late UNIQUE (k) DEFERRABLE;
CREATE UNIQUE INDEX ON taken (k) WHERE k > 1;
CREATE UNIQUE INDEX ON taken ((k + 1));
CREATE UNIQUE INDEX ON taken (k, t);
CREATE UNIQUE INDEX ON taken (t COLLATE "POSIX");
CREATE UNIQUE INDEX ON taken (t text_pattern_ops);
SELECT s FROM once.guard_plan('taken', '{k}') s WHERE s LIKE 'CREATE%';
SELECT s FROM once.guard_plan('taken', '{t}') s WHERE s LIKE 'CREATE%';
SELECT s FROM once.guard_plan('taken', '{t,k}') s;
CREATE UNIQUE INDEX ON taken (k) INCLUDE (t);
SELECT s FROM once.guard_plan('taken', '{k}') s;
-- Long and quoted names.
CREATE SCHEMA "a $once$ ""b""";
CREATE TABLE "a $once$ ""b"""."Ünïcödé täble with a rather lông nàme" (id int PRIMARY KEY, "ké'y" int NOT NULL, "anothér column" int NOT NULL);
SELECT once.guard_plan('"a $once$ ""b"""."Ünïcödé täble with a rather lông nàme"', ARRAY['ké''y', 'anothér column']) \gexec
SELECT conname, octet_length(conname) <= 63 AS fits, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '"a $once$ ""b"""."Ünïcödé täble with a rather lông nàme"'::regclass AND contype = 'u';
SELECT once.guard_plan('"a $once$ ""b"""."Ünïcödé täble with a rather lông nàme"', ARRAY['ké''y', 'anothér column']);

-- A partitioned table: an index for each partition, then attached.
CREATE TABLE sale (id int NOT NULL, day int NOT NULL, k text NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE sale1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
CREATE TABLE sale2 (k text NOT NULL, gone int, day int NOT NULL, id int NOT NULL);
ALTER TABLE sale2 DROP gone;
ALTER TABLE sale ATTACH PARTITION sale2 FOR VALUES FROM (10) TO (20);
CREATE TABLE sale3 PARTITION OF sale FOR VALUES FROM (20) TO (30) PARTITION BY LIST (day);
CREATE TABLE sale31 PARTITION OF sale3 DEFAULT;
CREATE TABLE sale32 PARTITION OF sale3 FOR VALUES IN (21);
INSERT INTO sale VALUES (1, 1, 'a'), (2, 11, 'a'), (3, 21, 'a'), (4, 22, 'a'), (5, 22, 'a');
SELECT pg_temp.raised($$SELECT once.guard_plan('sale', '{k}')$$);
SELECT pg_temp.raised($$SELECT once.guard_plan('sale', '{day,k}')$$);
SELECT sum(removed) FROM once.merge_duplicates('sale', '{day,k}', dry_run => false, order_by => 'id');
CREATE UNIQUE INDEX by_hand ON sale32 (day, k);
SELECT once.guard_plan('sale', '{day,k}');
-- Broken off in the middle, and taken up again.
SELECT s FROM once.guard_plan('sale', '{day,k}') s LIMIT 9 \gexec
CREATE TABLE sale4 PARTITION OF sale FOR VALUES FROM (30) TO (40);
SELECT once.guard_plan('sale', '{day,k}');
SELECT once.guard_plan('sale', '{day,k}') \gexec
SELECT once.guard_plan('sale', '{day,k}');
SELECT indexrelid::regclass, indrelid::regclass, indisvalid FROM pg_index WHERE indrelid IN (SELECT relid FROM pg_partition_tree('sale')) ORDER BY indrelid::regclass::text, 1;
SELECT pg_temp.raised($$INSERT INTO sale VALUES (9, 22, 'a')$$);
SELECT created FROM find_or_create(NULL::sale, '{"day": 22, "k": "a"}');
-- Partitions whose names begin alike, and whose own indexes are written in another way than that of the whole.
CREATE TABLE alike (a int NOT NULL, b int NOT NULL, c int) PARTITION BY RANGE (a);
CREATE TABLE alike_with_a_name_that_is_as_long_as_a_name_can_be_2026_01 PARTITION OF alike FOR VALUES FROM (0) TO (10);
CREATE TABLE alike_with_a_name_that_is_as_long_as_a_name_can_be_2026_02 PARTITION OF alike FOR VALUES FROM (10) TO (20);
CREATE TABLE alike3 PARTITION OF alike FOR VALUES FROM (20) TO (30);
CREATE TABLE alike4 PARTITION OF alike FOR VALUES FROM (30) TO (40);
CREATE TABLE alike5 PARTITION OF alike FOR VALUES FROM (40) TO (50);
CREATE TABLE alike6 PARTITION OF alike FOR VALUES FROM (50) TO (60);
CREATE UNIQUE INDEX ON alike3 (b, a);
CREATE UNIQUE INDEX ON alike4 (a, b) INCLUDE (c);
CREATE UNIQUE INDEX ON alike5 (a, b DESC);
CREATE UNIQUE INDEX ON alike6 (a, b) NULLS NOT DISTINCT;
SELECT once.guard_plan('alike', '{a,b}') \gexec
SELECT once.guard_plan('alike', '{a,b}');
SELECT conname, conrelid::regclass, convalidated FROM pg_constraint WHERE conrelid::regclass::text LIKE 'alike%' AND contype = 'u' ORDER BY conrelid::regclass::text;
-- The columns in another order than those of a plan that was broken off.
ALTER TABLE alike DROP CONSTRAINT alike_a_b_key;
ALTER TABLE ONLY alike ADD CONSTRAINT turned_round UNIQUE (b, a);
SELECT once.guard_plan('alike', '{a,b}') \gexec
SELECT once.guard_plan('alike', '{a,b}');
DROP TABLE alike;

-- A partition by itself; an expression as partition key; a foreign partition.
SELECT once.guard_plan('sale1', '{k}') \gexec
CREATE TABLE hashed (k text) PARTITION BY LIST (lower(k));
SELECT pg_temp.raised($$SELECT once.guard_plan('hashed', '{k}')$$);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE TABLE mixed (k int) PARTITION BY LIST (k);
CREATE FOREIGN TABLE far PARTITION OF mixed FOR VALUES IN (1) SERVER nowhere;
SELECT pg_temp.raised($$SELECT once.guard_plan('mixed', '{k}')$$);

-- What is wrong with the call.
CREATE VIEW payment_view AS SELECT * FROM payment;
CREATE TABLE odd (id int PRIMARY KEY, doc json, tx xid);
SELECT call, pg_temp.raised(format('SELECT %s', call)) FROM (VALUES
	($$once.guard_plan(NULL, '{a}')$$), ($$once.guard_plan('payment', NULL)$$), ($$once.guard_plan('payment', '{}')$$),
	($$once.guard_plan('payment', '{service,NULL}')$$), ($$once.guard_plan('payment', '{service,service}')$$),
	($$once.guard_plan('payment', '{Service}')$$), ($$once.guard_plan('payment_view', '{id}')$$),
	($$once.guard_plan('odd', '{doc}')$$), ($$once.guard_plan('odd', '{tx}')$$)) AS wrong (call);
CREATE ROLE regress_guard;
SET ROLE regress_guard;
SELECT pg_temp.raised($$SELECT once.guard_plan('event', '{id}')$$);
SELECT pg_temp.raised($$SELECT once.guard_plan('odd', '{id,id}')$$);
SELECT pg_temp.raised($$SELECT once.guard_plan('hashed', '{k}')$$);
SELECT pg_temp.raised($$SELECT once.guard_plan('taken', '{id,k}')$$);
RESET ROLE;
GRANT SELECT ON taken TO regress_guard;
ALTER TABLE taken ENABLE ROW LEVEL SECURITY;
SET ROLE regress_guard;
SELECT pg_temp.raised($$SELECT once.guard_plan('taken', '{id,k}')$$);
RESET ROLE;
DROP OWNED BY regress_guard;
DROP ROLE regress_guard;

DROP TABLE once.merged_rows;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP SCHEMA "a $once$ ""b""" CASCADE;
DROP TABLE payment, event, taken, taken_k_key, sale, hashed, mixed, odd CASCADE;

-- More columns than an index can have.
SELECT format('CREATE TABLE wide (%s)', string_agg('c' || n || ' int', ', ')) FROM generate_series(1, 33) n \gexec
SELECT pg_temp.raised($$ SELECT once.guard_plan('wide', ARRAY(SELECT 'c' || n FROM generate_series(1, 33) n)) $$);
SELECT count(*) FROM once.guard_plan('wide', ARRAY(SELECT 'c' || n FROM generate_series(1, 32) n));
-- A plan that is run twice does nothing the second time, whatever is quoted.
CREATE TABLE again (id int PRIMARY KEY, k int NOT NULL, "Odd ""name" int NOT NULL);
SET quote_all_identifiers = on;
CREATE TEMPORARY TABLE planned AS SELECT * FROM once.guard_plan('again', '{k,"Odd \"name"}') WITH ORDINALITY plan (statement, number);
SELECT statement FROM planned ORDER BY number \gexec
SELECT statement FROM planned ORDER BY number \gexec
RESET quote_all_identifiers;
SELECT statement FROM planned ORDER BY number \gexec
SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'again'::regclass AND contype = 'u';
SELECT once.guard_plan('again', '{k,"Odd \"name"}');
DROP TABLE wide, again;
