\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- With a condition the guard is a partial unique index. What the plan says, and that it is enough: the plan is empty then.
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE DOMAIN place AS text;
CREATE TABLE customer (id int PRIMARY KEY, email text NOT NULL, deleted_at timestamptz, state state, at place, n numeric(10,2), vip boolean, born date, "Odd 'name" text, nick varchar(20));
INSERT INTO customer (id, email, deleted_at) VALUES (1, 'a@x', now()), (2, 'a@x', now()), (3, 'a@x', NULL), (4, 'a@x', NULL);
SELECT pg_temp.raised($$SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}')$$);
SELECT removed FROM once.merge_duplicates('customer', '{email}', dry_run => false, condition => '{"deleted_at": null}');
SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}') AS statement;
SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}') \gexec
SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}');
\d customer
-- The other rows go on to be what they are.
INSERT INTO customer (id, email, deleted_at) VALUES (5, 'a@x', now());
SELECT pg_temp.raised($$INSERT INTO customer (id, email) VALUES (6, 'a@x')$$);
-- Without the condition, or with another one, it is no guard; with a narrower one it is.
SELECT pg_temp.raised($$SELECT once.guard_plan('customer', '{email}')$$);
SELECT count(*) > 0 AS planned FROM once.guard_plan('customer', '{email}', '{"vip": true}');
SELECT count(*) > 0 AS planned FROM once.guard_plan('customer', '{email}', '{"vip": true, "deleted_at": null}');

-- Values of all kinds of types, and what they need quotes for; the plan is empty once it was run.
\set all '{"state": "open", "at": "a''b\\\\c", "n": 1.5, "vip": true, "born": "2026-02-01", "Odd ''name": "", "nick": "x"}'
DROP INDEX customer_email_key;
ALTER TABLE customer DROP CONSTRAINT customer_pkey;
SET datestyle = 'SQL, DMY';
SELECT once.guard_plan('customer', '{id}', :'all') AS statement;
SELECT once.guard_plan('customer', '{id}', :'all') \gexec
RESET datestyle;
SELECT once.guard_plan('customer', '{id}', :'all');
SELECT pg_get_indexdef('customer_id_key'::regclass);
DROP INDEX customer_id_key;

-- What others wrote counts where it says the same or more: full indexes, wider predicates, columns of the condition in the index.
CREATE FUNCTION pg_temp.guards(index text, condition jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	guards boolean;
BEGIN
	EXECUTE 'CREATE UNIQUE INDEX given ON customer ' || index;
	guards := NOT EXISTS (SELECT FROM once.guard_plan('customer', '{email,born}', condition));
	DROP INDEX given;
	RETURN guards;
END $$;
DELETE FROM customer WHERE id > 1;
SELECT index, condition, pg_temp.guards(index, condition) AS guards FROM (VALUES
	('(email, born) NULLS NOT DISTINCT', '{"vip": true}'::jsonb), ('(born, email) NULLS NOT DISTINCT WHERE vip', '{"vip": true}'),
	('(born, email) NULLS NOT DISTINCT WHERE vip IS TRUE', '{"vip": true}'), ('(email, born) WHERE vip', '{"vip": true}'),
	('(email, born) NULLS NOT DISTINCT WHERE NOT vip', '{"vip": true}'), ('(email, born) NULLS NOT DISTINCT WHERE NOT vip', '{"vip": false}'),
	('(email, born) NULLS NOT DISTINCT WHERE vip IS NOT NULL', '{"vip": true}'), ('(email, born) NULLS NOT DISTINCT WHERE state IN (''open'', ''paid'')', '{"state": "open"}'),
	('(email, born) NULLS NOT DISTINCT WHERE n > 1', '{"n": 2}'), ('(email, born) NULLS NOT DISTINCT WHERE n > 1', '{"n": 1}'),
	('(email, born, vip) NULLS NOT DISTINCT', '{"vip": true}'), ('(email, born, deleted_at) NULLS NOT DISTINCT', '{"deleted_at": null}'), ('(email, born, deleted_at)', '{"deleted_at": null}'),
	('(email, vip) NULLS NOT DISTINCT', '{"vip": true}'), ('(email, born, vip, n) NULLS NOT DISTINCT', '{"vip": true}'),
	('(email, born) INCLUDE (n) NULLS NOT DISTINCT WHERE vip', '{"vip": true}'), ('(lower(email), born) NULLS NOT DISTINCT WHERE vip', '{"vip": true}'),
	('(email, born) NULLS NOT DISTINCT WHERE vip AND email <> ''''', '{"vip": true}')) AS given (index, condition);

-- Partitions: the partition key is in the key, not in the condition.
CREATE TABLE event (id int, day date NOT NULL, email text, gone boolean NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY RANGE (day);
CREATE TABLE event_2026_1 PARTITION OF event_2026 FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
INSERT INTO event VALUES (1, '2026-01-01', 'a', true), (2, '2026-01-01', 'a', true), (3, '2026-01-01', 'a', false);
SELECT once.guard_plan('event', '{day,email}', '{"gone": false}') AS statement;
CREATE TEMPORARY TABLE plan AS SELECT n, statement FROM once.guard_plan('event', '{day,email}', '{"gone": false}') WITH ORDINALITY AS plan (statement, n);
-- Broken off after the indexes of the partitions, which are used then.
SELECT statement FROM plan WHERE statement LIKE 'CREATE UNIQUE INDEX CONCURRENTLY%' ORDER BY n \gexec
SELECT once.guard_plan('event', '{day,email}', '{"gone": false}') \gexec
SELECT once.guard_plan('event', '{day,email}', '{"gone": false}');
SELECT indexrelid::regclass AS index, indisvalid, pg_get_expr(indpred, indrelid) AS predicate FROM pg_index WHERE indrelid::regclass::text LIKE 'event%' ORDER BY 1;
CREATE TABLE event_2026_2 PARTITION OF event_2026 FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
SELECT pg_temp.raised($$INSERT INTO event VALUES (4, '2026-01-01', 'a', false)$$);
INSERT INTO event VALUES (5, '2026-01-01', 'a', true);
SELECT pg_temp.raised($$SELECT once.guard_plan('event', '{email}', '{"day": "2026-01-01"}')$$);

-- What an attempt has left INVALID is dropped where it guards the condition, and kept where it does not.
INSERT INTO customer (id, email) VALUES (20, 'z@x'), (21, 'z@x');
CREATE UNIQUE INDEX CONCURRENTLY customer_email_key ON customer (email) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX CONCURRENTLY other ON customer (email) WHERE vip IS NULL;
DELETE FROM customer WHERE id = 21;
SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}') AS statement;
SELECT once.guard_plan('customer', '{email}', '{"deleted_at": null}') \gexec
SELECT indexrelid::regclass AS index, indisvalid FROM pg_index WHERE indrelid = 'customer'::regclass ORDER BY 1;

-- The function of a predicate runs as the table's owner.
CREATE ROLE regress_whose;
CREATE TABLE whose (k int, gone boolean);
CREATE FUNCTION runs_as(boolean) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ BEGIN RAISE WARNING 'as %', current_user; RETURN $1; END $$;
CREATE UNIQUE INDEX ON whose (k) NULLS NOT DISTINCT WHERE gone = runs_as(false);
ALTER TABLE whose OWNER TO regress_whose;
SELECT once.guard_plan('whose', '{k}', '{"gone": false}');
DROP TABLE whose;
DROP FUNCTION runs_as;
DROP ROLE regress_whose;

DROP TABLE once.merged_rows, customer, event;
DROP TYPE state;
DROP DOMAIN place;
