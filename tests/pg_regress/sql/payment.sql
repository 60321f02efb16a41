\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- The table is called payments, its columns service_id and line_item_id.
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A') $$);
CREATE TABLE payments (service_id bigint, line_item_id text, amount numeric(12, 2) DEFAULT 0, seen timestamptz);
SELECT * FROM with_payment_lock(1, 'A');
SELECT * FROM with_payment_lock(1, 'A');
SELECT created, payment ->> 'amount' FROM with_payment_lock(1, 'B', '1 second');
UPDATE payments SET amount = 12345678.90 WHERE line_item_id = 'A';
SELECT payment ->> 'amount' FROM with_payment_lock(1, 'A');

-- Any type that is no array, for each of the two.
SELECT created, payment ->> 'service_id' AS service, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, 3);
SELECT created FROM with_payment_lock('2', '3');
SELECT created FROM with_payment_lock(2::smallint, '3'::varchar);
SELECT created FROM with_payment_lock('2'::text, 3);
SELECT created FROM with_payment_lock(2::numeric, 3::bigint);
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid);
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, true);
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, '2026-11-21'::date);
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, '');
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(2, E'"\\''{é漢\n');
PREPARE pay AS SELECT created FROM with_payment_lock($1, $2);
EXECUTE pay(2, 3);
EXECUTE pay(2, 'four');
PREPARE pay_number(int, int) AS SELECT created FROM with_payment_lock($1, $2);
EXECUTE pay_number(2, 3);
PREPARE pay_mixed AS SELECT created FROM with_payment_lock(2, $1, $2);
EXECUTE pay_mixed(3, '0');
DEALLOCATE ALL;
SELECT service_id, count(*) FROM payments GROUP BY service_id ORDER BY service_id;

-- What the ids and the timeout must be.
SELECT pg_temp.raised($$ SELECT with_payment_lock(NULL, 'A') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, NULL) $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, NULL::int) $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(ARRAY[1], 'A') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, ARRAY['A']) $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, ROW(1, 2)) $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock('one', 'A') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1.5, 'A') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(9223372036854775808, 'A') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A', '-1 second') $$);
SELECT created FROM with_payment_lock(1, 'A', '0');
SELECT created FROM with_payment_lock(1, 'A', timeout => NULL);
SELECT created FROM with_payment_lock(service_id => 1, line_item_id => 'A', timeout => '10 years');
SELECT created, (payment ->> 'line_item_id') = repeat('x', 100000) AS whole FROM with_payment_lock(3, repeat('x', 100000));
BEGIN READ ONLY;
SELECT with_payment_lock(1, 'A');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- It is the table that the caller's search_path finds, or the setting names.
CREATE SCHEMA shop;
CREATE TABLE shop.payments (service_id uuid, line_item_id uuid, shop text DEFAULT 'shop', PRIMARY KEY (service_id, line_item_id));
CREATE TABLE shop."Bills 2026" (line_item_id int, service_id int, bill text DEFAULT 'bill');
SET search_path = shop, public;
SELECT created, payment ->> 'shop' AS shop FROM with_payment_lock('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12');
SELECT created, payment ->> 'shop' AS shop FROM with_payment_lock('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'::uuid);
RESET search_path;
SELECT created, payment ->> 'line_item_id' AS item FROM with_payment_lock(1, 'A');
SET pg_once.payment_table = 'shop.payments';
SELECT created, payment ->> 'shop' AS shop FROM with_payment_lock('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'::uuid);
SET pg_once.payment_table = 'shop."Bills 2026"';
SELECT * FROM with_payment_lock(1, 2);
BEGIN;
SET LOCAL pg_once.payment_table = 'public.payments';
SELECT created FROM with_payment_lock(1, 'A');
COMMIT;
SELECT * FROM with_payment_lock(1, 2);
SET pg_once.payment_table = 'no_such_table';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
-- A missing schema is 3F000 before PostgreSQL 16 and 42P01 since.
SET pg_once.payment_table = 'no_such_schema.payments';
SELECT left(line, 5) IN ('3F000', '42P01') AS raised FROM pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$) AS line;
SET pg_once.payment_table = '';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
SET pg_once.payment_table = 'a.b.c.d';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
SELECT left(line, 60) AS line FROM pg_temp.raised($$ SELECT set_config('pg_once.payment_table', repeat('v', 40000), false) $$) AS line;
SET pg_once.payment_table = 'payments; DROP TABLE payments';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
CREATE TABLE no_service (line_item_id int);
SET pg_once.payment_table = 'no_service';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
CREATE TABLE no_item (service_id int);
SET pg_once.payment_table = 'no_item';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
CREATE VIEW looked_at AS SELECT * FROM payments;
SET pg_once.payment_table = 'looked_at';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
CREATE SEQUENCE counted;
SET pg_once.payment_table = 'counted';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
CREATE INDEX an_index ON payments (amount);
SET pg_once.payment_table = 'an_index';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
SET pg_once.payment_table = 'pg_class';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
RESET pg_once.payment_table;
SHOW pg_once.payment_table;

-- Duplicates that were there before.
INSERT INTO payments VALUES (7, 'twice', 1), (7, 'twice', 2);
SELECT pg_temp.raised($$ SELECT with_payment_lock(7, 'twice') $$);
-- The table is dropped and made anew between calls.
DROP VIEW looked_at;
DROP TABLE payments;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A') $$);
CREATE TABLE payments (line_item_id int, service_id int);
SELECT * FROM with_payment_lock(1, 2);
DROP TABLE payments, no_service, no_item;
DROP SEQUENCE counted;
SET client_min_messages = error;
DROP SCHEMA shop CASCADE;
