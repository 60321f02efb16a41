\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Several existing rows for one key: 21000, or the one with the lowest primary key and a WARNING.
CREATE TABLE payments (id int PRIMARY KEY, service_id int, line_item_id text, note text);
INSERT INTO payments VALUES (3, 1, 'A', 'third'), (1, 1, 'A', 'first'), (2, 1, 'A', 'second'), (4, 1, 'B', 'single');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "A"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', lock => true) $$);
SHOW pg_once.duplicate_rows;
SET pg_once.duplicate_rows = 'first';
SELECT * FROM with_payment_lock(1, 'A');
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
SELECT created, (entity).* FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
SELECT created, (entity).* FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', lock => true);
-- No warning for a single row, and none is created where some are.
SELECT * FROM with_payment_lock(1, 'B');
SELECT count(*) FROM payments;
-- The order is that of the primary key, of all its columns.
CREATE TABLE ranked (major text, minor int, key int, PRIMARY KEY (major, minor));
INSERT INTO ranked VALUES ('b', 1, 7), ('a', 10, 7), ('a', 9, 7);
SELECT * FROM with_row_lock(NULL::ranked, '{"key": 7}');
-- Without a primary key there is no first one.
CREATE TABLE unranked (key int, note text);
INSERT INTO unranked VALUES (7, 'a'), (7, 'b');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::unranked, '{"key": 7}') $$);
SET pg_once.duplicate_rows = 'last';
SET pg_once.duplicate_rows = 'error';
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::ranked, '{"key": 7}') $$);
RESET pg_once.duplicate_rows;
DROP TABLE payments, ranked, unranked;
