\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What is no plain or partitioned table is 42809.
CREATE TABLE book (id int PRIMARY KEY, title text);
CREATE VIEW shelf AS SELECT * FROM book;
CREATE MATERIALIZED VIEW catalogue AS SELECT * FROM book;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE abroad (id int, title text) SERVER nowhere;
CREATE SEQUENCE counter;
CREATE TYPE free_standing AS (id int, title text);
CREATE DOMAIN book_domain AS book;
CREATE TABLE parent (id int);
CREATE TABLE child (extra int) INHERITS (parent);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::shelf, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::catalogue, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::abroad, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::counter, '{"last_value": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::free_standing, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book_domain, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::parent, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::pg_class, '{"relname": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::information_schema.tables, '{"table_name": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::information_schema.sql_features, '{"feature_id": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(1, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock('book'::text, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock('book'::regclass, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book[], '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(ROW(1, 'x'), '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::shelf, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::parent, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(1, '{"id": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::no_such_table, '{"id": 1}') $$);
SELECT count(*) FROM book;

-- A parent whose children are gone is a plain table; a child is one anyway.
SELECT * FROM with_row_lock(NULL::child, '{"id": 1}');
DROP TABLE child;
SELECT * FROM with_row_lock(NULL::parent, '{"id": 1}');

-- Temporary and unlogged tables.
CREATE TEMPORARY TABLE scratch (id int PRIMARY KEY, title text) ON COMMIT PRESERVE ROWS;
SELECT * FROM with_row_lock(NULL::scratch, '{"id": 1}');
SELECT * FROM with_row_lock(NULL::scratch, '{"id": 1}');
CREATE UNLOGGED TABLE fast (id int PRIMARY KEY, title text);
SELECT * FROM with_row_lock(NULL::fast, '{"id": 1}');
SELECT * FROM with_row_lock(NULL::fast, '{"id": 1}');
CREATE TYPE book_row AS (id int, title text);
CREATE TABLE typed OF book_row (PRIMARY KEY (id));
SELECT * FROM with_row_lock(NULL::typed, '{"id": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book_row, '{"id": 1}') $$);

-- Partitioned, with the key covered by a unique index.
CREATE TABLE covered (a int, b text, c int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
CREATE TABLE covered_1 PARTITION OF covered FOR VALUES IN (1);
CREATE TABLE covered_2 PARTITION OF covered FOR VALUES IN (2) PARTITION BY HASH (b);
CREATE TABLE covered_2_0 PARTITION OF covered_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
BEGIN;
SELECT * FROM with_row_lock(NULL::covered, '{"a": 1, "b": "x"}');
SELECT * FROM with_row_lock(NULL::covered, '{"a": 2, "b": "y"}', '{"c": 5}');
SELECT * FROM with_row_lock(NULL::covered, '{"a": 2, "b": "y"}');
SELECT * FROM with_row_lock(NULL::covered_1, '{"a": 1, "b": "x"}');
SELECT * FROM with_row_lock(NULL::covered_2, '{"a": 2, "b": "z"}');
SELECT * FROM with_row_lock(NULL::covered, '{"a": 2, "b": "z"}');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::covered, '{"a": 3, "b": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::covered_1, '{"a": 2, "b": "x"}') $$);
SELECT tableoid::regclass, * FROM covered ORDER BY a, b;

-- Partitioned, without a unique index over the key: by another column, with partitions of another layout.
CREATE TABLE uncovered (id int, dropped int, region text DEFAULT 'north', note text) PARTITION BY LIST (region);
CREATE TABLE north PARTITION OF uncovered FOR VALUES IN ('north');
CREATE TABLE south (note text, region text, id int, dropped int);
ALTER TABLE uncovered ATTACH PARTITION south FOR VALUES IN ('south');
CREATE TABLE elsewhere PARTITION OF uncovered DEFAULT;
CREATE UNIQUE INDEX ON north (id);
ALTER TABLE uncovered DROP COLUMN dropped;
BEGIN;
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 1}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 1}', '{"region": "south"}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 2}', '{"region": "south", "note": "far"}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 2}');
SELECT created, (entity).* FROM find_or_create(NULL::uncovered, '{"id": 2}');
SELECT * FROM with_row_lock(NULL::south, '{"id": 2}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 3}', '{"region": "moon"}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 4, "region": null}');
SELECT * FROM with_row_lock(NULL::uncovered, '{"id": 4, "region": null}');
COMMIT;
SELECT tableoid::regclass, * FROM uncovered ORDER BY id;
-- One key in two partitions is a duplicate like any other.
INSERT INTO uncovered VALUES (5, 'north'), (5, 'south');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::uncovered, '{"id": 5}') $$);

SET client_min_messages = error;
DROP TABLE book, parent, scratch, fast, typed, covered, uncovered CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP SEQUENCE counter;
DROP TYPE free_standing, book_row;
