\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A partial unique index whose predicate follows from the key's values keeps a second row out: such a key
-- takes no entry of the shared lock table.
CREATE FUNCTION pg_temp.calls(target anyelement, key jsonb, defaults jsonb DEFAULT '{}', OUT created boolean, OUT locks bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	FOR number IN 1..2 LOOP
		SELECT f.created INTO created FROM find_or_create(target, key, defaults, lock => true) AS f;
		SELECT count(*) INTO locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
		RETURN NEXT;
	END LOOP;
END $$;
-- Whether the key is guarded by an index.
CREATE FUNCTION pg_temp.guarded(target anyelement, key jsonb, defaults jsonb DEFAULT '{}') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory');
BEGIN
	IF NOT (SELECT created FROM find_or_create(target, key, defaults, lock => true)) THEN
		RETURN NULL;
	END IF;
	IF (SELECT created FROM find_or_create(target, key, lock => true)) THEN
		RAISE 'created twice';
	END IF;
	RETURN before = (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory');
END $$;

-- Soft deletes.
CREATE TABLE member (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, deleted_at timestamptz, name text);
CREATE UNIQUE INDEX member_living ON member (email) WHERE deleted_at IS NULL;
INSERT INTO member (email, deleted_at, name) VALUES ('a@x', '2025-01-01', 'left last year'), ('a@x', NULL, 'of today');
SELECT id, name FROM with_row_lock(NULL::member, '{"email": "a@x", "deleted_at": null}');
SELECT id, name FROM with_row_lock(NULL::member, '{"email": "a@x", "deleted_at": null}', timeout => '0');
SELECT * FROM pg_temp.calls(NULL::member, '{"email": "b@x", "deleted_at": null}');
-- Not so where the predicate does not follow.
SELECT pg_temp.guarded(NULL::member, '{"email": "c@x"}');
SELECT pg_temp.guarded(NULL::member, '{"email": "c@x", "deleted_at": "2025-01-01"}');
-- Nor where the key has columns that neither the index nor its predicate speaks of: there may be a row with others.
SELECT pg_temp.guarded(NULL::member, '{"email": "d@x", "deleted_at": null, "name": "D"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::member, '{"email": "d@x", "deleted_at": null, "name": "E"}')$$);

-- Several rows, where an index says which one is meant.
UPDATE member SET deleted_at = '2025-02-01' WHERE email = 'b@x';
INSERT INTO member (email) VALUES ('b@x');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::member, '{"email": "b@x"}')$$);
SELECT id, name FROM with_row_lock(NULL::member, '{"email": "b@x", "deleted_at": null}');
SET pg_once.duplicate_rows = 'first';
SELECT email FROM with_row_lock(NULL::member, '{"email": "b@x"}');
RESET pg_once.duplicate_rows;
-- The same of other predicates. Where more than values of columns is asked for, or the key says otherwise, there is the
-- general advice.
CREATE TABLE rental (room int, state text, is_live boolean, price numeric(8,2), amount int, day date, at timestamptz, doc jsonb, nights int[]);
INSERT INTO rental VALUES (1, 'open', true, 1.5, 1, '2026-01-01', '2026-01-01 00:00+00', '{"a": 1}', '{1,2}');
INSERT INTO rental (room) VALUES (1);
CREATE FUNCTION pg_temp.advice(predicate text, key jsonb DEFAULT '{"room": 1}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE format('CREATE UNIQUE INDEX rental_partial ON rental (room) WHERE %s', predicate);
	PERFORM with_row_lock(NULL::rental, key);
	DROP INDEX rental_partial;
	RETURN 'none';
EXCEPTION WHEN cardinality_violation THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN hint;
END $$;
SELECT predicate, pg_temp.advice(predicate) FROM (VALUES
	($$state = 'open'$$), ($$'open' = state$$), ($$state IN ('open')$$), ($$state IN ('open', 'due')$$), ($$state IS NULL$$), ($$state IS NOT NULL$$), ($$is_live$$), ($$NOT is_live$$),
	($$is_live = true AND state = 'open'$$), ($$price = 1.5$$), ($$price > 1$$), ($$amount = 1$$), ($$day = '2026-01-01'$$), ($$at = '2026-01-01 00:00+00'$$),
	($$doc = '{"a": 1}'$$), ($$doc ->> 'a' = '1'$$), ($$nights = '{1,2}'$$), ($$state = 'open' OR is_live$$), ($$state = 'open' AND amount > 0$$)) AS case_of (predicate);
INSERT INTO rental VALUES (1, 'paid'), (1, 'paid');
SELECT pg_temp.advice($$state = 'open'$$, '{"room": 1, "state": "paid"}');
SELECT pg_temp.advice($$state = 'open' AND amount = 1$$, '{"room": 1, "state": "paid"}');
DROP TABLE rental;

-- Status columns, as text, varchar, a domain, an enum.
CREATE DOMAIN state AS varchar(10);
CREATE TYPE stage AS ENUM ('open', 'due', 'paid');
CREATE TABLE cart (customer int, t text, v varchar(10), c char(10), n name, s state, e stage, customers int[]);
CREATE UNIQUE INDEX ON cart (customer) WHERE t = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE v = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE c = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE n = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE s = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE e = 'open';
CREATE UNIQUE INDEX ON cart (customer) WHERE customers = '{1,2}';
BEGIN;
SELECT pg_temp.guarded(NULL::cart, '{"customer": 1, "t": "open"}') AS text, pg_temp.guarded(NULL::cart, '{"customer": 2, "v": "open"}') AS varchar,
	pg_temp.guarded(NULL::cart, '{"customer": 3, "c": "open"}') AS char, pg_temp.guarded(NULL::cart, '{"customer": 4, "n": "open"}') AS name,
	pg_temp.guarded(NULL::cart, '{"customer": 5, "s": "open"}') AS "domain", pg_temp.guarded(NULL::cart, '{"customer": 6, "e": "open"}') AS enum,
	pg_temp.guarded(NULL::cart, '{"customer": 8, "customers": [1, 2]}') AS "array";
SELECT pg_temp.guarded(NULL::cart, '{"customer": 11, "t": "paid"}') AS text, pg_temp.guarded(NULL::cart, '{"customer": 12, "v": "paid"}') AS varchar,
	pg_temp.guarded(NULL::cart, '{"customer": 16, "e": "paid"}') AS enum, pg_temp.guarded(NULL::cart, '{"customer": 17, "t": null}') AS "null";
-- The same at once: what was proved for one value is not taken for another.
SELECT pg_temp.guarded(NULL::cart, jsonb_build_object('customer', number, 't', CASE number % 2 WHEN 0 THEN 'open' ELSE 'status ' || number % 50 END)), count(*)
	FROM generate_series(100, 299) AS number GROUP BY 1 ORDER BY 1;
COMMIT;

-- Of other predicates it is core that decides.
CREATE TABLE job (queue text, state text, is_live boolean, price numeric, amount int, day date, at timestamptz, doc jsonb);
CREATE FUNCTION pg_temp.guarded(predicate text, key jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	guarded boolean;
BEGIN
	TRUNCATE job;
	EXECUTE format('CREATE UNIQUE INDEX job_partial ON job (queue) WHERE %s', predicate);
	guarded := pg_temp.guarded(NULL::job, key);
	DROP INDEX job_partial;
	RETURN guarded;
END $$;
CREATE FUNCTION truncated(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT trunc($1)';
SELECT predicate, key, pg_temp.guarded(predicate, jsonb_build_object('queue', predicate) || key) FROM (VALUES
	($$state IN ('open', 'due')$$, '{"state": "due"}'::jsonb),
	($$state IN ('open', 'due')$$, '{"state": "paid"}'),
	($$state <> 'paid'$$, '{"state": "open"}'),
	($$state <> 'paid'$$, '{"state": "paid"}'),
	($$state = 'open' AND is_live$$, '{"state": "open", "is_live": true}'),
	($$state = 'open' AND is_live$$, '{"state": "open", "is_live": false}'),
	($$state = 'open' AND is_live$$, '{"state": "open"}'),
	($$state = 'open' OR state IS NULL$$, '{"state": null}'),
	($$state = 'open' OR is_live$$, '{"state": "open", "is_live": false}'),
	($$state IS NOT NULL$$, '{"state": "x"}'),
	($$queue IS NOT NULL$$, '{}'),
	($$queue <> ''$$, '{}'),
	($$is_live$$, '{"is_live": true}'),
	($$is_live$$, '{"is_live": "yes"}'),
	($$NOT is_live$$, '{"is_live": false}'),
	($$is_live = false$$, '{"is_live": false}'),
	($$NOT is_live$$, '{"is_live": null}'),
	($$price = 1$$, '{"price": 1.00}'),
	($$price > 0.5$$, '{"price": 0.7}'),
	($$price > 0.5$$, '{"price": 0.5}'),
	($$price::text = '1'$$, '{"price": 1}'),
	($$truncated(price) = 1$$, '{"price": 1}'),
	($$amount BETWEEN 1 AND 9$$, '{"amount": 9}'),
	($$amount BETWEEN 1 AND 9$$, '{"amount": 10}'),
	($$amount = 1::bigint$$, '{"amount": 1}'),
	($$day >= '2026-01-01'$$, '{"day": "2026-11-30"}'),
	($$day IS NULL AND at IS NULL$$, '{"at": null, "day": null}'),
	($$at = '2026-01-01 00:00+00'$$, '{"at": "2026-01-01 01:00+01"}'),
	($$state COLLATE "C" = 'open'$$, '{"state": "open"}'),
	($$doc = '{"a": 1}'$$, '{"doc": {"a": 1.0}}'),
	($$doc ->> 'a' = '1'$$, '{"doc": {"a": 1}}'),
	($$true$$, '{}'),
	($$job IS NOT NULL$$, '{"state": "open"}')) AS case_of (predicate, key);
-- A row that the index holds beside those of the key is in the way, as core says it.
CREATE UNIQUE INDEX one_unpaid ON job (queue) WHERE state IN ('open', 'due');
TRUNCATE job;
SELECT state FROM with_row_lock(NULL::job, '{"queue": "q", "state": "open"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::job, '{"queue": "q", "state": "due"}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::job, '{"queue": "q", "state": "due"}', timeout => '1 s')$$);
SELECT state FROM with_row_lock(NULL::job, '{"queue": "q", "state": "open"}');

-- NULL in the index's own columns, and NULLS NOT DISTINCT.
CREATE TABLE seat (room int, number int, left_at date);
CREATE UNIQUE INDEX seat_taken ON seat (room, number) WHERE left_at IS NULL;
SELECT pg_temp.guarded(NULL::seat, '{"room": 1, "number": null, "left_at": null}');
DROP INDEX seat_taken;
CREATE UNIQUE INDEX seat_taken ON seat (room, number) NULLS NOT DISTINCT WHERE left_at IS NULL;
SELECT pg_temp.guarded(NULL::seat, '{"room": 2, "number": null, "left_at": null}');

-- Beside a deferrable constraint, which rules ON CONFLICT out.
ALTER TABLE seat ADD rank int CONSTRAINT one_rank UNIQUE DEFERRABLE;
SELECT pg_temp.guarded(NULL::seat, '{"room": 3, "number": 1, "left_at": null}', '{"rank": 1}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::seat, '{"room": 3, "number": 2, "left_at": null}', '{"rank": 1}')$$);

-- On partitions, by the index of the whole and by that of the part.
CREATE TABLE visit (site int, visitor text, left_at date) PARTITION BY LIST (site);
CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1);
CREATE TABLE visit_2 PARTITION OF visit FOR VALUES IN (2);
CREATE UNIQUE INDEX ON visit (site, visitor) WHERE left_at IS NULL;
SELECT pg_temp.guarded(NULL::visit, '{"site": 1, "visitor": "a", "left_at": null}');
SELECT pg_temp.guarded(NULL::visit_2, '{"site": 2, "visitor": "a", "left_at": null}');
SELECT pg_temp.guarded(NULL::visit, '{"site": 2, "visitor": "b", "left_at": "2026-01-01"}');

-- The typed form and a payment's key are guarded alike.
SELECT once.define_row_lock('typed_member', 'member', '{email,deleted_at}');
SELECT count(*) FROM typed_member('e@x', NULL);
DROP FUNCTION typed_member;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';

-- 20,000 keys in one transaction, all of them held at once.
BEGIN;
SELECT count(*) FROM generate_series(1, 20000) AS number, LATERAL with_row_lock(NULL::member, jsonb_build_object('email', number, 'deleted_at', NULL));
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
ROLLBACK;

-- Each row once, seen without indexes.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT count(*), count(DISTINCT email) FROM member WHERE deleted_at IS NULL;
SELECT count(*), count(DISTINCT (customer, t)) FROM cart WHERE t = 'open';
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;

-- An immutable function in a predicate is evaluated where a SELECT of the key evaluates it: of constants, when that is
-- planned, and never by define_row_lock.
CREATE FUNCTION noisy(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
	IF current_setting('test.noisy', true) = 'on' THEN RAISE 'evaluated'; END IF;
	RETURN true;
END $$;
DROP INDEX one_unpaid;
TRUNCATE job;
INSERT INTO job (queue, state) VALUES ('q', 'open');
CREATE UNIQUE INDEX job_noisy ON job (queue) WHERE noisy(state);
SET test.noisy = on;
SELECT queue FROM with_row_lock(NULL::job, '{"queue": "q", "state": "open"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::job, '{"queue": "q", "state": "due"}')$$);
RESET test.noisy;
DROP INDEX job_noisy;
CREATE UNIQUE INDEX job_noisy ON job (queue) WHERE noisy('constant');
SET test.noisy = on;
\c -
\i :file
SET test.noisy = on;
SELECT once.define_row_lock('with_job', 'job', '{queue}');
SELECT pg_temp.raised($$SELECT FROM job WHERE queue = 'q'$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::job, '{"queue": "q"}')$$);
RESET test.noisy;
SELECT queue FROM with_row_lock(NULL::job, '{"queue": "q"}');
DROP FUNCTION with_job;
DROP INDEX job_noisy;
DROP FUNCTION noisy;

DROP TABLE member, cart, job, seat, visit;
DROP FUNCTION truncated;
DROP TYPE stage CASCADE;
DROP DOMAIN state;
