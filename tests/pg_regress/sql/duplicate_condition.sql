\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Soft deletes: a row that was deleted is neither kept nor removed, nor does it make another one a duplicate.
CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, deleted_at timestamptz, name text);
CREATE TABLE purchase (id int, customer bigint REFERENCES customer);
INSERT INTO customer (email, deleted_at, name) VALUES
	('a@x', '2026-01-01', 'left'), ('a@x', NULL, 'customer'), ('b@x', '2026-01-01', 'left'), ('b@x', '2026-02-01', 'left again'),
	('c@x', '2026-01-01', 'left'), ('c@x', NULL, 'customer'), ('c@x', NULL, 'too many');
INSERT INTO purchase VALUES (1, 1), (2, 2), (3, 5), (4, 6), (5, 7);
SELECT key, copies, jsonb_path_query_array(rows, '$[*].id') AS ids FROM once.find_duplicates('customer', '{email}');
SELECT key, copies, jsonb_path_query_array(rows, '$[*].id') AS ids FROM once.find_duplicates('customer', '{email}', '{"deleted_at": null}');
SELECT key, kept->'id' AS kept, removed, references_moved, blocked FROM once.merge_duplicates('customer', '{email}', condition => '{"deleted_at": null}');
SELECT key, kept->'id' AS kept, removed, references_moved, blocked
	FROM once.merge_duplicates('customer', '{email}', 'newest', dry_run => false, condition => '{"deleted_at": null}');
SELECT id, name FROM customer ORDER BY id;
TABLE purchase;
SELECT key, reason, removed->'id' AS removed FROM once.merged_rows;
SELECT * FROM once.merge_duplicates('customer', '{email}', dry_run => false, condition => '{"deleted_at": null}');

-- Of two paid orders both stay. An enum, a domain, a number, a char(n), an array and several columns, which no index begins with, and one does.
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE DOMAIN place AS text CHECK (value <> '');
CREATE TABLE cart (id int PRIMARY KEY, owner int, state state, at place, n numeric, c char(3), tags text[], spare boolean);
INSERT INTO cart SELECT i, 1, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'paid' END::state, 'here', 1.50, 'x', '{a,b}', NULL FROM generate_series(1, 6) i;
INSERT INTO cart VALUES (7, 1, 'open', 'there', 1.50, 'x', '{a,b}', NULL), (8, 1, 'open', 'here', 2, 'x', '{a,b}', NULL),
	(9, 1, 'open', 'here', 1.5, 'y', '{a,b}', NULL), (10, 1, 'open', 'here', 1.5, 'x', '{a}', NULL), (11, 1, 'open', 'here', 1.5, 'x', '{a,b}', true),
	(12, 2, 'open', 'here', 1.5, 'x', '{a,b}', NULL), (13, NULL, 'open', 'here', 1.5, 'x', '{a,b}', NULL), (14, NULL, 'open', 'here', 1.5, 'x', '{a,b}', NULL);
\set all '{"state": "open", "at": "here", "n": 1.5, "c": "x", "tags": ["a", "b"], "spare": null}'
SELECT key, jsonb_path_query_array(rows, '$[*].id') AS ids FROM once.find_duplicates('cart', '{owner}', :'all');
CREATE INDEX ON cart (owner);
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('cart', '{owner}', condition => :'all');
DROP INDEX cart_owner_idx;
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('cart', '{owner}', dry_run => false, condition => :'all');
SELECT array_agg(id ORDER BY id) AS ids FROM cart;

-- A row that points at a duplicate is moved also where it is not one of those that count.
CREATE TABLE node (id int PRIMARY KEY, k int, up int REFERENCES node, gone boolean NOT NULL);
INSERT INTO node VALUES (1, 1, NULL, false), (2, 1, 1, false), (3, 1, 2, true), (4, 1, 2, false);
SELECT * FROM once.merge_duplicates('node', '{k}', dry_run => false, condition => '{"gone": false}');
TABLE node ORDER BY id;

-- A column of the type that orders the rows may have no order; partitions; a table without a primary key.
CREATE TABLE part (id int, k int, gone boolean, doc xid) PARTITION BY LIST (gone);
CREATE TABLE part_gone PARTITION OF part FOR VALUES IN (true);
CREATE TABLE part_here PARTITION OF part FOR VALUES IN (false);
INSERT INTO part VALUES (1, 1, true, '1'), (2, 1, false, '1'), (3, 1, false, '1'), (4, 1, false, '2');
SELECT key, kept->'id' AS kept, removed FROM once.merge_duplicates('part', '{k}', order_by => 'id', dry_run => false, condition => '{"gone": false, "doc": "1"}');
SELECT id FROM part ORDER BY id;

-- Rights: SELECT on the columns of the condition too.
CREATE ROLE regress_condition;
GRANT SELECT (id, k) ON node TO regress_condition;
SET ROLE regress_condition;
SELECT pg_temp.raised($$SELECT once.guard_plan('node', '{k,id}', '{"gone": false}')$$);
RESET ROLE;
DROP OWNED BY regress_condition;
DROP ROLE regress_condition;

-- What is wrong with the call.
CREATE TABLE odd (id int PRIMARY KEY, k int, doc json);
SELECT call, pg_temp.raised(format('SELECT once.%s', call)) FROM (VALUES
	($$find_duplicates('cart', '{owner}', NULL)$$), ($$find_duplicates('cart', '{owner}', '[]')$$), ($$find_duplicates('cart', '{owner}', '"open"')$$),
	($$find_duplicates('cart', '{owner}', '{"State": "open"}')$$), ($$find_duplicates('cart', '{owner}', '{"owner": 1}')$$),
	($$find_duplicates('cart', '{owner}', '{"state": "closed"}')$$), ($$find_duplicates('cart', '{owner}', '{"at": ""}')$$),
	($$find_duplicates('cart', '{owner}', '{"n": "x"}')$$), ($$find_duplicates('odd', '{k}', '{"doc": 1}')$$),
	($$merge_duplicates('cart', '{owner}', condition => '{"owner": 1}')$$), ($$merge_duplicates('cart', '{owner}', condition => NULL)$$),
	($$merge_duplicates('cart', '{owner}', skip_blocked => NULL)$$), ($$guard_plan('cart', '{owner}', '{"owner": 1}')$$), ($$guard_plan('cart', '{owner}', NULL)$$)) AS wrong (call);
-- A json column that is null is one that can be asked for.
SELECT once.find_duplicates('odd', '{k}', '{"doc": null}');

DROP TABLE once.merged_rows, purchase, customer, cart, node, part, odd;
DROP TYPE state;
DROP DOMAIN place;
