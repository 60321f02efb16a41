\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Row security: a row that is hidden or refused is 42501.
CREATE ROLE regress_once_clerk;
CREATE TABLE payments (service_id int, line_item_id text, tenant text DEFAULT 'clerk', PRIMARY KEY (service_id, line_item_id));
CREATE TABLE bare (id int, tenant text DEFAULT 'clerk');
GRANT SELECT, INSERT, UPDATE ON payments, bare TO regress_once_clerk;
ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE bare ENABLE ROW LEVEL SECURITY;
INSERT INTO payments VALUES (1, 'hidden', 'other'), (1, 'visible', 'clerk');
-- No policy: nothing is visible, nothing may be inserted.
SET ROLE regress_once_clerk;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'hidden') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'new') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"id": 1}') $$);
RESET ROLE;
CREATE POLICY own ON payments USING (tenant = 'clerk');
CREATE POLICY own ON bare USING (tenant = 'clerk');
SET ROLE regress_once_clerk;
SELECT * FROM with_payment_lock(1, 'visible');
SELECT * FROM with_payment_lock(1, 'new');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'hidden') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "hidden"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "theirs"}', '{"tenant": "other"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"id": 1}', '{"tenant": "other"}') $$);
SELECT * FROM with_row_lock(NULL::bare, '{"id": 1}');
SET row_security = off;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'visible') $$);
RESET row_security;
RESET ROLE;
-- Visible, but not for UPDATE: it can be found, not locked.
DROP POLICY own ON payments;
CREATE POLICY look ON payments FOR SELECT USING (true);
CREATE POLICY make ON payments FOR INSERT WITH CHECK (true);
CREATE POLICY change ON payments FOR UPDATE USING (tenant = 'clerk');
SET ROLE regress_once_clerk;
SELECT created, (entity).line_item_id FROM find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "hidden"}');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'hidden') $$);
SELECT line_item_id FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "visible"}');
RESET ROLE;
-- The new row may be inserted, but not seen.
DROP POLICY look ON payments;
CREATE POLICY look ON payments FOR SELECT USING (tenant = 'clerk');
SET ROLE regress_once_clerk;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "blind"}', '{"tenant": "other"}') $$);
RESET ROLE;
-- The owner is not bound, unless the table forces it.
SELECT count(*) FROM payments;
ALTER TABLE payments FORCE ROW LEVEL SECURITY;
ALTER TABLE payments OWNER TO regress_once_clerk;
SET ROLE regress_once_clerk;
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'hidden') $$);
RESET ROLE;
SELECT * FROM payments ORDER BY line_item_id;
DROP TABLE payments, bare;
DROP ROLE regress_once_clerk;
