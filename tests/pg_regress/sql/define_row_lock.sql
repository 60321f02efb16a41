\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A typed function for one table and one key.
CREATE TABLE invoice (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint, number text, total numeric DEFAULT 0);
SELECT once.define_row_lock('with_invoice_lock', 'invoice', '{account_id,number}');
\sf with_invoice_lock
SELECT obj_description('with_invoice_lock'::regproc, 'pg_proc');
SELECT * FROM with_invoice_lock(1, 'A');
SELECT * FROM with_invoice_lock(account_id => 1, number => 'A', timeout => '0');
SELECT (with_invoice_lock(1, 'B')).total;
-- NULL is JSON null: matched as NULL.
SELECT * FROM with_invoice_lock(NULL, 'A');
SELECT * FROM with_invoice_lock(NULL, 'A');
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(1, 'A', '-1 s')$$);
-- The table may get columns. With another name it needs another function.
ALTER TABLE invoice ADD note text DEFAULT 'n';
SELECT * FROM with_invoice_lock(1, 'A');
ALTER TABLE invoice ALTER account_id TYPE numeric;
SELECT * FROM with_invoice_lock(1, 'A');
ALTER TABLE invoice ALTER account_id TYPE bigint;
ALTER TABLE invoice RENAME TO bill;
DROP FUNCTION with_invoice_lock;
SELECT once.define_row_lock('with_invoice_lock', 'bill', '{account_id,number}');
SELECT * FROM with_invoice_lock(2, 'A');
INSERT INTO bill (account_id, number) VALUES (2, 'A');
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(2, 'A')$$);

-- defaults are for a row that is created.
SELECT account_id, number, total FROM with_invoice_lock(3, 'A', defaults => '{"total": 7.50}');
SELECT account_id, number, total FROM with_invoice_lock(3, 'A', '1 s', '{"total": 8}');
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(3, 'B', defaults => '{"number": "C"}')$$);
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(3, 'B', defaults => '{"nothing": 1}')$$);
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(3, 'B', defaults => NULL)$$);
SELECT pg_temp.raised($$SELECT * FROM with_invoice_lock(3, 'B', defaults => '[]')$$);

-- A condition is a part of the key that every call has.
CREATE TYPE stage AS ENUM ('open', 'it''s \paid');
CREATE DOMAIN short AS varchar(5);
CREATE TABLE cart (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, deleted_at timestamptz, stage stage, word short, amount numeric, tags text[], doc json, "Note" text);
CREATE UNIQUE INDEX ON cart (customer) WHERE deleted_at IS NULL;
INSERT INTO cart (customer, deleted_at) VALUES (1, '2026-01-01'), (1, NULL);
SELECT once.define_row_lock('with_cart', 'cart', '{customer}', '{"deleted_at": null}');
\sf with_cart
SELECT id FROM with_cart(1);
SELECT id, deleted_at FROM with_cart(2, defaults => '{"amount": 3}');
SELECT id FROM with_row_lock(NULL::cart, '{"customer": 2, "deleted_at": null}');
SELECT pg_temp.raised($$SELECT with_cart(3, defaults => '{"deleted_at": "now"}')$$);
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';
SELECT once.define_row_lock('with_all', 'cart', '{customer}', '{"deleted_at": "02/03/2026 05:30", "stage": "it''s \\paid", "word": "a''b", "amount": 1.50, "tags": ["x", "y z"], "doc": null, "Note": "n"}');
RESET datestyle; RESET timezone;
\sf with_all
SELECT * FROM with_all(7);
SELECT count(*) FROM with_all(7);
SELECT count(*) FROM cart WHERE customer = 7;
SELECT call, pg_temp.raised(format('SELECT %s', call)) FROM (VALUES
	($$once.define_row_lock('f', 'cart', '{customer}', NULL)$$), ($$once.define_row_lock('f', 'cart', '{customer}', '[]')$$), ($$once.define_row_lock('f', 'cart', '{customer}', '"open"')$$),
	($$once.define_row_lock('f', 'cart', '{customer}', '{"nothing": 1}')$$), ($$once.define_row_lock('f', 'cart', '{customer}', '{"customer": 1}')$$),
	($$once.define_row_lock('f', 'cart', '{customer}', '{"stage": "due"}')$$), ($$once.define_row_lock('f', 'cart', '{customer}', '{"word": "too long"}')$$),
	($$once.define_row_lock('f', 'cart', '{customer}', '{"doc": {}}')$$)) AS wrong (call);
DROP FUNCTION with_cart, with_all;
DROP TABLE cart;
DROP DOMAIN short;
DROP TYPE stage;

-- Defining one again replaces it.
CREATE VIEW depends AS SELECT id FROM with_invoice_lock(1, 'A');
SELECT once.define_row_lock('with_invoice_lock', 'bill', '{account_id,number}');
SELECT once.define_row_lock('public.With_Invoice_Lock', 'bill', '{account_id,number}');
SELECT * FROM depends;
SELECT count(*) FROM pg_proc WHERE proname = 'with_invoice_lock';
-- With other names, or of another table, only where nothing depends on it.
CREATE TABLE receipt (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint, number text, "timeout" text, defaults text);
SELECT pg_temp.raised($$SELECT once.define_row_lock('with_invoice_lock', 'receipt', '{account_id,number}')$$);
DROP VIEW depends;
SELECT once.define_row_lock('with_invoice_lock', 'receipt', '{account_id,number}');
SELECT once.define_row_lock('with_invoice_lock', 'receipt', '{account_id,defaults}');
SELECT once.define_row_lock('with_invoice_lock', 'receipt', '{account_id,timeout}');
SELECT proargnames, prorettype::regtype FROM pg_proc WHERE proname = 'with_invoice_lock';
SELECT once.define_row_lock('with_receipt_lock', 'receipt', '{timeout,defaults}');
SELECT proargnames FROM pg_proc WHERE proname = 'with_receipt_lock';
SELECT "timeout", defaults, number FROM with_receipt_lock(timeout => 't', defaults => 'd', timeout_ => '1 s', defaults_ => '{"number": "n"}');
DROP FUNCTION with_receipt_lock;
SELECT once.define_row_lock('with_invoice_lock', 'bill', '{account_id,number}');
DROP TABLE receipt;
-- Others are not replaced.
CREATE FUNCTION manual(text, interval, jsonb) RETURNS SETOF bill LANGUAGE sql AS 'SELECT * FROM bill LIMIT 1';
CREATE PROCEDURE proc(text, interval, jsonb) LANGUAGE sql AS '';
SELECT pg_temp.raised($$SELECT once.define_row_lock('manual', 'bill', '{number}')$$);
SELECT pg_temp.raised($$SELECT once.define_row_lock('proc', 'bill', '{number}')$$);
SELECT prosrc FROM pg_proc WHERE proname = 'manual';
DROP FUNCTION manual;
DROP PROCEDURE proc;

-- Names: as SQL reads them, with and without a schema.
CREATE SCHEMA app;
SELECT once.define_row_lock('with_invoice_lock', 'bill', '{number,account_id}');
SELECT once.define_row_lock('app.with_invoice_lock', 'bill', '{account_id,number}');
SELECT once.define_row_lock('app."With ""it"" ö"', 'bill', '{number}');
SELECT id FROM app."With ""it"" ö"('B');
SET search_path = app, public;
SELECT once.define_row_lock('here', 'bill', '{number}');
RESET search_path;
SELECT call, pg_temp.raised(format('SELECT %s', call)) FROM (VALUES
	($$once.define_row_lock(NULL, 'bill', '{number}')$$), ($$once.define_row_lock('f', NULL, '{number}')$$), ($$once.define_row_lock('f', 'bill', NULL)$$),
	($$once.define_row_lock('f', 'bill', '{}')$$), ($$once.define_row_lock('f', 'bill', '{number,NULL}')$$), ($$once.define_row_lock('f', 'bill', '{number,number}')$$),
	($$once.define_row_lock('f', 'bill', '{Number}')$$), ($$once.define_row_lock('', 'bill', '{number}')$$), ($$once.define_row_lock('a.b.c', 'bill', '{number}')$$),
	($$once.define_row_lock('f()', 'bill', '{number}')$$), ($$once.define_row_lock('1f', 'bill', '{number}')$$), ($$once.define_row_lock('nowhere.f', 'bill', '{number}')$$),
	($$once.define_row_lock('f', 'pg_class', '{oid}')$$), ($$once.define_row_lock('f', 'pg_tables', '{tablename}')$$), ($$once.define_row_lock('once.f', 'bill', '{number}')$$)) AS wrong (call);
SET search_path = nowhere;
SELECT once.define_row_lock('f', 'public.bill', '{number}');
RESET search_path;
SELECT proname, pronamespace::regnamespace FROM pg_proc WHERE prorettype = 'bill'::regtype ORDER BY 1, 2;

-- Every type arrives as it was sent, whatever the session's settings are.
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE DOMAIN code AS varchar(10) CHECK (VALUE <> '');
CREATE DOMAIN codes AS code[];
CREATE TYPE pair AS (a int, b text);
CREATE TABLE every (
	b bool, i2 smallint, i8 bigint, n numeric, n2 numeric(8,2), f4 real, f8 double precision, t text, c char(5), v varchar(5), "N" name, ch "char",
	u uuid, by bytea, d date, ts timestamp, tz timestamptz, tm time, ttz timetz, iv interval, e mood, co code, cos codes, a int[], a2 timestamptz[],
	r tstzrange, mr int4multirange, j jsonb, ne inet, ci cidr, ma macaddr, bi bit(4), vb varbit, m money, o oid, rc regclass, ls pg_lsn, p pair, tsv tsvector, timeout int
);
SELECT once.define_row_lock('every_row', 'every', (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'every'::regclass AND attnum > 0));
SELECT proconfig FROM pg_proc WHERE proname = 'every_row';
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata'; SET extra_float_digits = -15; SET intervalstyle = 'sql_standard'; SET bytea_output = 'escape';
CREATE FUNCTION pg_temp.call() RETURNS SETOF every LANGUAGE sql AS $$
	SELECT * FROM every_row(true, 3::smallint, 9007199254740993, 12345678901234567890.12345678901234567890, 1.5, 0.1::real, 0.1::float8 + 0.2, E'q"\\''é\n', 'ab', 'xy', 'nm', 'z',
		'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff5c27', '2026-02-01', '2026-02-01 03:04:05.123456', '2026-02-01 03:04:05.123456+00', '03:04:05.6', '03:04:05.6+05:30',
		'-1 year 2 mons -3 days 04:05:06.789', 'it''s "ok"', 'k', '{a,b}', '[2:3]={1,NULL}', '{2026-02-01 03:04:05.123456+00,NULL}',
		'[2026-02-01 03:04:05+00,)', '{[1,3),[5,7)}', '{"a": [1.0, null, "x"]}', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '1010', '101', '12.34', 42, 'every', '0/1A', '(1,"x y")', 'a:1 b', 7) $$;
SELECT count(*) FROM pg_temp.call();
SELECT count(*) FROM pg_temp.call();
RESET datestyle; RESET timezone; RESET extra_float_digits; RESET intervalstyle; RESET bytea_output;
SELECT count(*) FROM every;
\x
SELECT f4, f8, c, by, tz, iv, cos, a, a2, r, m, p FROM every;
SELECT n = 12345678901234567890.12345678901234567890 AND f8 = 0.1::float8 + 0.2 AND a = '[2:3]={1,NULL}'::int[] AND tz = '2026-02-01 03:04:05.123456+00' AND iv = '-1 year 2 mons -3 days 04:05:06.789' AND t = E'q"\\''é\n' AS exact FROM every;
\x
-- Settings are what they were; a domain keeps its values out.
SHOW extra_float_digits;
SELECT once.define_row_lock('by_code', 'every', '{co}');
SELECT pg_temp.raised($$SELECT * FROM by_code('')$$);
-- Nondeterministic equality is the column's: 1.0 is 1.00.
SELECT once.define_row_lock('by_number', 'every', '{n2}');
SELECT count(*) FROM by_number(2.50) a, by_number(2.5000) b;
CREATE TABLE odd (doc json, spot point);
SELECT pg_temp.raised($$SELECT once.define_row_lock('f', 'odd', '{doc}')$$);

-- Nothing in the caller's search_path stands in for what the function calls.
CREATE SCHEMA trap;
CREATE FUNCTION trap.with_row_lock(anyelement, jsonb, jsonb, interval) RETURNS SETOF anyelement LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE FUNCTION trap.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS 'jsonb_build_object';
SET search_path = trap, pg_catalog, public;
SELECT once.define_row_lock('public.safe', 'bill', '{number}');
SELECT id FROM public.safe('B');
RESET search_path;

-- It belongs to the caller, and runs with the rights of whoever calls it.
CREATE ROLE regress_definer;
CREATE ROLE regress_user;
SET ROLE regress_definer;
SELECT pg_temp.raised($$SELECT once.define_row_lock('app.mine', 'bill', '{number}')$$);
RESET ROLE;
GRANT CREATE, USAGE ON SCHEMA app TO regress_definer;
GRANT USAGE ON SCHEMA app TO regress_user;
SET ROLE regress_definer;
SELECT once.define_row_lock('app.mine', 'bill', '{number}');
SELECT pg_temp.raised($$SELECT * FROM app.mine('B')$$);
RESET ROLE;
-- Another role's is not replaced, not even by a superuser.
SELECT pg_temp.raised($$SELECT once.define_row_lock('app.mine', 'bill', '{number}')$$);
GRANT SELECT, UPDATE ON bill TO regress_user;
SET ROLE regress_user;
SELECT id FROM app.mine('B');
RESET ROLE;
SELECT proowner::regrole, prosecdef, provolatile, proparallel, proisstrict FROM pg_proc WHERE proname = 'mine';

-- It depends on its table.
SELECT pg_temp.raised($$DROP TABLE bill$$);
DROP SCHEMA app CASCADE;
DROP SCHEMA trap CASCADE;
DROP OWNED BY regress_definer, regress_user;
DROP ROLE regress_definer, regress_user;
DROP TABLE bill, every, odd CASCADE;
DROP DOMAIN codes, code;
DROP TYPE mood, pair;
