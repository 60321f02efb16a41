\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A session keeps what it has learnt of tables and its plans. None of it outlives what it tells of.
CREATE FUNCTION pg_temp.turn_locks(call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before bigint; after bigint;
BEGIN
    SELECT count(*) INTO before FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
    EXECUTE call;
    SELECT count(*) INTO after FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
    RETURN after - before;
END $$;

-- Roles: rights and row security are those of the role that calls, each time.
CREATE ROLE regress_once_ann;
CREATE ROLE regress_once_bob;
CREATE TABLE payments (service_id int, line_item_id text, tenant name DEFAULT current_user, UNIQUE (service_id, line_item_id));
CREATE TABLE tenancy (member name, tenant name);
INSERT INTO tenancy VALUES ('regress_once_ann', 'regress_once_ann'), ('regress_once_bob', 'regress_once_bob');
INSERT INTO payments VALUES (1, 'ann', 'regress_once_ann'), (1, 'bob', 'regress_once_bob');
GRANT SELECT, INSERT, UPDATE ON payments TO regress_once_ann, regress_once_bob;
GRANT SELECT ON tenancy TO regress_once_ann, regress_once_bob;
CREATE POLICY own ON payments USING (tenant IN (SELECT t.tenant FROM tenancy t));
CREATE POLICY mine ON tenancy USING (member = current_user);
SELECT payment FROM with_payment_lock(1, 'ann');
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "bob"}');
SELECT created FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "bob"}');
SET ROLE regress_once_ann;
SELECT payment FROM with_payment_lock(1, 'bob');
RESET ROLE;
ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy ENABLE ROW LEVEL SECURITY;
SET ROLE regress_once_ann;
SELECT payment FROM with_payment_lock(1, 'ann');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'bob') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "bob"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "bob"}') $$);
SET ROLE regress_once_bob;
SELECT payment FROM with_payment_lock(1, 'bob');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'ann') $$);
SELECT created, (entity).* FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "bob"}');
RESET ROLE;
SELECT payment FROM with_payment_lock(1, 'ann');
SET ROLE regress_once_ann;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'bob') $$);
RESET ROLE;
REVOKE UPDATE ON payments FROM regress_once_ann;
SET ROLE regress_once_ann;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'ann') $$);
SELECT created FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "ann"}');
RESET ROLE;
DROP TABLE payments, tenancy;
DROP ROLE regress_once_ann, regress_once_bob;

-- Names: the table is the one that the search_path finds at each call.
CREATE SCHEMA north;
CREATE SCHEMA south;
CREATE TABLE north.payments (service_id int, line_item_id text, place text DEFAULT 'north');
CREATE TABLE south.payments (service_id int, line_item_id text, place text DEFAULT 'south');
SET search_path = north, public;
SELECT payment->>'place' AS place FROM with_payment_lock(1, 'a');
SET search_path = south, north, public;
SELECT payment->>'place' AS place FROM with_payment_lock(1, 'a');
SELECT payment->>'place' AS place FROM with_payment_lock(1, 'a');
CREATE TEMP TABLE payments (service_id int, line_item_id text, place text DEFAULT 'temporary');
SELECT payment->>'place' AS place FROM with_payment_lock(1, 'a');
DROP TABLE pg_temp.payments;
ALTER TABLE south.payments RENAME TO paid;
SELECT payment->>'place' AS place FROM with_payment_lock(1, 'a');
ALTER SCHEMA north RENAME TO east;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'a') $$);
SET search_path = east, public;
SELECT payment->>'place' AS place, created FROM with_payment_lock(1, 'a');
SELECT * FROM with_row_lock(NULL::east.payments, '{"service_id": 2}');
ALTER SCHEMA east RENAME TO west;
SELECT * FROM with_row_lock(NULL::west.payments, '{"service_id": 2}');
RESET search_path;
ALTER TABLE west.payments SET SCHEMA public;
SELECT payment->>'place' AS place, created FROM with_payment_lock(1, 'a');
DROP TABLE payments, south.paid;

-- Types, operators and their schemas are named in the statements.
CREATE TYPE west.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN west.feeling AS west.mood;
CREATE TABLE diary (mood west.feeling, note text DEFAULT 'x');
SELECT * FROM with_row_lock(NULL::diary, '{"mood": "glad"}');
ALTER TYPE west.mood RENAME TO spirit;
SELECT created FROM find_or_create(NULL::diary, '{"mood": "glad"}', lock => true);
SELECT created FROM find_or_create(NULL::diary, '{"mood": "sad"}', lock => true);
ALTER TYPE west.spirit SET SCHEMA public;
SELECT created FROM find_or_create(NULL::diary, '{"mood": "sad"}', lock => true);
ALTER TYPE spirit SET SCHEMA south;
ALTER SCHEMA south RENAME TO north;
SELECT created FROM find_or_create(NULL::diary, '{"mood": "sad"}', lock => true);
DROP TABLE diary;
DROP SCHEMA north, west CASCADE;

-- Indexes, triggers, rules and children that come and go.
CREATE TABLE stock (item text NOT NULL, pieces int DEFAULT 0);
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "a"}') $$);
CREATE UNIQUE INDEX stock_item ON stock (item);
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "b"}') $$);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'stock_item'::regclass;
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "c"}') $$);
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'stock_item'::regclass;
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "d"}') $$);
BEGIN;
DROP INDEX stock_item;
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "e"}') $$);
ROLLBACK;
SELECT pg_temp.turn_locks($$ SELECT with_row_lock(NULL::stock, '{"item": "e"}') $$);
BEGIN;
SAVEPOINT s;
ALTER TABLE stock ADD COLUMN place text DEFAULT 'shelf';
SELECT * FROM with_row_lock(NULL::stock, '{"item": "e"}');
ROLLBACK TO s;
SELECT * FROM with_row_lock(NULL::stock, '{"item": "e"}');
COMMIT;
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE stock SET pieces = 9 WHERE item = new.item; RETURN NULL; END $$;
CREATE TRIGGER fill AFTER INSERT ON stock FOR EACH ROW EXECUTE FUNCTION fill();
SELECT * FROM with_row_lock(NULL::stock, '{"item": "f"}');
ALTER TABLE stock DISABLE TRIGGER fill;
SELECT * FROM with_row_lock(NULL::stock, '{"item": "g"}');
CREATE RULE nothing AS ON INSERT TO stock DO INSTEAD NOTHING;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::stock, '{"item": "h"}') $$);
DROP RULE nothing ON stock;
SELECT * FROM with_row_lock(NULL::stock, '{"item": "h"}');
CREATE TABLE spare () INHERITS (stock);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::stock, '{"item": "h"}') $$);
DROP TABLE spare;
SELECT * FROM with_row_lock(NULL::stock, '{"item": "h"}');
DROP TABLE stock;
DROP FUNCTION fill;

-- What decides how many rows are looked at.
CREATE TABLE bill (id int PRIMARY KEY, number int);
CREATE UNIQUE INDEX bill_number ON bill (number);
INSERT INTO bill VALUES (1, 7);
SELECT * FROM with_row_lock(NULL::bill, '{"number": 7}');
DROP INDEX bill_number;
INSERT INTO bill VALUES (2, 7);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bill, '{"number": 7}') $$);
SET pg_once.duplicate_rows = 'first';
SELECT * FROM with_row_lock(NULL::bill, '{"number": 7}');
RESET pg_once.duplicate_rows;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bill, '{"number": 7}') $$);
DELETE FROM bill WHERE id = 2;
SELECT * FROM with_row_lock(NULL::bill, '{"number": 7}');
SELECT created FROM find_or_create(NULL::bill, '{"number": null}', '{"id": 3}', lock => true);
SELECT created FROM find_or_create(NULL::bill, '{"number": null}', '{"id": 4}', lock => true);
DROP TABLE bill;

-- A partition of one table becomes one of another.
CREATE TABLE parted (k int, v text DEFAULT 'x') PARTITION BY RANGE (k);
CREATE TABLE piece (k int, v text DEFAULT 'x');
SELECT created FROM find_or_create(NULL::piece, '{"k": 1}', lock => true);
ALTER TABLE parted ATTACH PARTITION piece FOR VALUES FROM (1) TO (10);
SELECT created FROM find_or_create(NULL::piece, '{"k": 1}', lock => true);
SELECT created FROM find_or_create(NULL::parted, '{"k": 1}', lock => true);
SELECT created FROM find_or_create(NULL::parted, '{"k": 2}', lock => true);
ALTER TABLE parted DETACH PARTITION piece;
SELECT created FROM find_or_create(NULL::piece, '{"k": 2}', lock => true);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::parted, '{"k": 2}') $$);
DROP TABLE parted, piece;
