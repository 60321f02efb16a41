\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Which indexes over the key serve: where one does, a key takes no entry of the shared lock table. Where
-- none does, the new row is created behind an advisory lock; a row that exists is taken by its row lock.
CREATE FUNCTION pg_temp.calls(target anyelement, key jsonb, defaults jsonb DEFAULT '{}', OUT created boolean, OUT locks bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	FOR number IN 1..2 LOOP
		SELECT f.created INTO created FROM find_or_create(target, key, defaults, lock => true) AS f;
		SELECT count(*) INTO locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
		RETURN NEXT;
	END LOOP;
END $$;

CREATE TABLE no_index (a int, b int, c int);
SELECT * FROM pg_temp.calls(NULL::no_index, '{"a": 1, "b": 1}');
SELECT * FROM pg_temp.calls(NULL::no_index, '{"a": 1, "b": 1}');

CREATE TABLE plain_index (a int, b int, c int);
CREATE INDEX ON plain_index (a, b);
SELECT * FROM pg_temp.calls(NULL::plain_index, '{"a": 1, "b": 1}');

CREATE TABLE primary_key (a int, b int, c int, PRIMARY KEY (a, b));
SELECT * FROM pg_temp.calls(NULL::primary_key, '{"a": 1, "b": 1}');

CREATE TABLE unique_constraint (a int, b int, c int, UNIQUE (b, a));
SELECT * FROM pg_temp.calls(NULL::unique_constraint, '{"a": 1, "b": 1}');
-- NULLs are distinct in that index, so it does not keep such a row single.
SELECT * FROM pg_temp.calls(NULL::unique_constraint, '{"a": 1, "b": null}');

CREATE TABLE nulls_not_distinct (a int, b int, c int, UNIQUE NULLS NOT DISTINCT (a, b));
SELECT * FROM pg_temp.calls(NULL::nulls_not_distinct, '{"a": 1, "b": 1}');
SELECT * FROM pg_temp.calls(NULL::nulls_not_distinct, '{"a": 1, "b": null}');

CREATE TABLE including (a int, b int, c int, UNIQUE (a, b) INCLUDE (c));
SELECT * FROM pg_temp.calls(NULL::including, '{"a": 1, "b": 1}');

CREATE TABLE included (a int, b int, c int, UNIQUE (a) INCLUDE (b));
SELECT * FROM pg_temp.calls(NULL::included, '{"a": 1, "b": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::included, '{"a": 1, "b": 2}') $$);

CREATE TABLE partial (a int, b int, c int);
CREATE UNIQUE INDEX ON partial (a, b) WHERE c IS NULL;
SELECT * FROM pg_temp.calls(NULL::partial, '{"a": 1, "b": 1}');
SELECT * FROM pg_temp.calls(NULL::partial, '{"a": 1, "b": 2}', '{"c": 1}');

CREATE TABLE expression (a int, b text);
CREATE UNIQUE INDEX expression_lower ON expression (a, lower(b));
SELECT * FROM pg_temp.calls(NULL::expression, '{"a": 1, "b": "x"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::expression, '{"a": 1, "b": "X"}') $$);

CREATE TABLE immediate (a int, b int, UNIQUE (a, b) DEFERRABLE INITIALLY IMMEDIATE);
SELECT * FROM pg_temp.calls(NULL::immediate, '{"a": 1, "b": 1}');
CREATE TABLE deferred (a int, b int, UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED);
SELECT * FROM pg_temp.calls(NULL::deferred, '{"a": 1, "b": 1}');

CREATE TABLE invalid (a int, b int);
INSERT INTO invalid VALUES (9, 9), (9, 9);
CREATE UNIQUE INDEX CONCURRENTLY invalid_index ON invalid (a, b);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'invalid_index'::regclass;
SELECT * FROM pg_temp.calls(NULL::invalid, '{"a": 1, "b": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::invalid, '{"a": 9, "b": 9}') $$);

CREATE TABLE excluding (a int, b int, EXCLUDE USING btree (a WITH =, b WITH =));
SELECT * FROM pg_temp.calls(NULL::excluding, '{"a": 1, "b": 1}');

CREATE TABLE operators (a text);
CREATE UNIQUE INDEX ON operators (a text_pattern_ops);
SELECT * FROM pg_temp.calls(NULL::operators, '{"a": "x"}');

-- Another unique index in the way is 23505 as core raises it, with and without an index over the key.
CREATE TABLE two_keys (a int PRIMARY KEY, b int, c int CONSTRAINT one_c UNIQUE);
INSERT INTO two_keys VALUES (1, 1, 7);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::two_keys, '{"a": 2}', '{"c": 7}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::two_keys, '{"b": 2}', '{"a": 3, "c": 7}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::two_keys, '{"b": 2}', '{"a": 1}') $$);
SELECT * FROM with_row_lock(NULL::two_keys, '{"a": 1}', '{"c": 7}');
SELECT * FROM with_row_lock(NULL::two_keys, '{"c": 7}');
CREATE TABLE excluded (id int PRIMARY KEY, span int4range, CONSTRAINT no_overlap EXCLUDE USING gist (span WITH &&));
SELECT * FROM with_row_lock(NULL::excluded, '{"id": 1}', '{"span": "[1,5)"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::excluded, '{"id": 2}', '{"span": "[4,6)"}') $$);
SELECT * FROM with_row_lock(NULL::excluded, '{"id": 2}', '{"span": "[5,6)"}');
SELECT count(*) FROM two_keys;

-- A deferrable constraint beside the key rules out ON CONFLICT; rows are created all the same.
CREATE TABLE beside (a int PRIMARY KEY, rank int CONSTRAINT one_rank UNIQUE DEFERRABLE INITIALLY IMMEDIATE, late int CONSTRAINT one_late UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT created, (entity).* FROM find_or_create(NULL::beside, '{"a": 1}', '{"rank": 1, "late": 1}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::beside, '{"a": 1}', '{"rank": 1, "late": 1}', lock => true);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::beside, '{"a": 2}', '{"rank": 1}') $$);
SELECT * FROM with_row_lock(NULL::beside, '{"rank": 1}');
BEGIN;
SELECT * FROM with_row_lock(NULL::beside, '{"a": 2}', '{"late": 1}');
COMMIT;
SELECT * FROM beside;

-- So it does on the very columns of the key, beside an index that is none; and in a partition alone.
CREATE TABLE twofold (a int, b int, UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED);
CREATE UNIQUE INDEX ON twofold (b, a);
SELECT * FROM with_row_lock(NULL::twofold, '{"a": 1, "b": 1}');
SELECT created, (entity).* FROM find_or_create(NULL::twofold, '{"b": 1, "a": 2}', timeout => '1 s');
SELECT created, (entity).* FROM find_or_create(NULL::twofold, '{"b": 1, "a": 2}', lock => true);
CREATE TABLE parted (k int UNIQUE, pos int, span int4range) PARTITION BY RANGE (k);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20);
ALTER TABLE parted_high ADD CONSTRAINT one_pos UNIQUE (pos) DEFERRABLE, ADD CONSTRAINT apart EXCLUDE USING gist (span WITH &&) DEFERRABLE;
SELECT * FROM with_row_lock(NULL::parted, '{"k": 1}', '{"pos": 1}');
SELECT * FROM with_row_lock(NULL::parted, '{"k": 11}', '{"pos": 1, "span": "[1,3)"}');
SELECT * FROM with_row_lock(NULL::parted_high, '{"k": 12}', '{"pos": 2}', timeout => '1 s');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::parted, '{"k": 13}', '{"pos": 2}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::parted, '{"k": 13}', '{"span": "[2,4)"}') $$);
SELECT * FROM with_row_lock(NULL::parted, '{"pos": 5}', '{"k": 14}');
SELECT * FROM with_row_lock(NULL::parted, '{"k": 11}');

-- 20,000 keys in one transaction, all of them held at once.
BEGIN;
SELECT count(*) FROM generate_series(1, 20000) AS number, LATERAL with_row_lock(NULL::primary_key, jsonb_build_object('a', number, 'b', 0));
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
ROLLBACK;

-- Each row once, seen without indexes.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT count(*), count(DISTINCT (a, b)) FROM no_index;
SELECT count(*), count(DISTINCT (a, b)) FROM unique_constraint;
SELECT count(*), count(DISTINCT (a, b)) FROM partial;
SELECT count(*), count(DISTINCT (a, b)) FROM deferred;

DROP TABLE no_index, plain_index, primary_key, unique_constraint, nulls_not_distinct, including, included, partial, expression,
	immediate, deferred, invalid, excluding, operators, two_keys, excluded, beside, twofold, parted;
