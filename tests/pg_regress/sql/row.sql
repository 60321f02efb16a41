\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- One row of the table: created by the first call, found by all others.
CREATE TABLE payments (service_id int, line_item_id text, amount numeric NOT NULL DEFAULT 0, note text, PRIMARY KEY (service_id, line_item_id));
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
-- The order of the columns does not matter.
SELECT * FROM with_row_lock(NULL::payments, '{"line_item_id": "A", "service_id": 1}');
-- defaults are used only when the row is created.
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "B"}', '{"amount": 5, "note": "new"}');
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "B"}', '{"amount": 7, "note": "ignored"}');
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', '{"amount": 7}', '1 second');
-- NULL in defaults is NULL, not the column's default.
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "C"}', '{"note": null}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "D"}', '{"amount": null}') $$);
-- Several calls in one transaction, and one in each row of a statement.
BEGIN;
SELECT (p).line_item_id FROM (VALUES ('X'), ('Y'), ('X')) AS item (id), LATERAL with_row_lock(NULL::payments, jsonb_build_object('service_id', 2, 'line_item_id', id)) AS p;
UPDATE payments SET amount = amount + 1 WHERE service_id = 2 AND line_item_id = 'X';
SELECT amount FROM with_row_lock(NULL::payments, '{"service_id": 2, "line_item_id": "X"}');
-- It is a NO KEY UPDATE lock of the row, and nothing else is locked.
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'tuple');
ROLLBACK;
SELECT count(*) FROM payments WHERE service_id = 2;
-- Any row of the type names the table.
SELECT * FROM with_row_lock((SELECT p FROM payments p WHERE line_item_id = 'B'), '{"service_id": 1, "line_item_id": "A"}');
SELECT (with_row_lock(p, jsonb_build_object('service_id', p.service_id, 'line_item_id', p.line_item_id))).* FROM payments p WHERE line_item_id = 'B';
-- A key of one column of a key of two: the rows it finds are many.
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}') $$);
SELECT * FROM with_row_lock(NULL::payments, '{"note": "new"}');
-- A key of more columns than the unique index has, for a row that is there and for one that collides.
SELECT * FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "B", "note": "new"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "B", "note": "old"}') $$);

-- What the arguments must be.
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, NULL) $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}', NULL) $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '[]') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '[{"service_id": 1}]') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '1') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '"service_id"') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, 'null') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, 'no json') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}', '[]') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}', 'true') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', '{"line_item_id": "A"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "item": "A"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"SERVICE_ID": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"ctid": "(0,1)"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"tableoid": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', '{"notes": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '-1 second') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '-1 month') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL, '{"service_id": 1}') $$);

-- Timeouts: '0' gets a free row, more than 24 days counts as 24, and no setting is changed.
SET lock_timeout = '77s';
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '0');
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '1 year');
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '170000000 years');
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => '1 microsecond');
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}', timeout => NULL);
SHOW lock_timeout;
RESET lock_timeout;

-- Read-only and failed transactions.
BEGIN READ ONLY;
SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "new"}');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT 1/0;
SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "A"}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

SELECT * FROM payments ORDER BY service_id, line_item_id;
DROP TABLE payments;
