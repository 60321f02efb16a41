\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- The caller's own rights count, one by one.
CREATE ROLE regress_once_reader;
CREATE SCHEMA vault;
CREATE TABLE vault.payments (service_id int, line_item_id text, amount int, PRIMARY KEY (service_id, line_item_id));
CREATE TABLE vault.bare (id int, note text);
INSERT INTO vault.payments VALUES (1, 'A', 1);
CREATE FUNCTION lock_it(line_item_id text) RETURNS text LANGUAGE sql AS $$ SELECT format('SELECT with_row_lock(NULL::vault.payments, ''{"service_id": 1, "line_item_id": "%s"}'')', $1) $$;
CREATE FUNCTION find_it(line_item_id text) RETURNS text LANGUAGE sql AS $$ SELECT format('SELECT find_or_create(NULL::vault.payments, ''{"service_id": 1, "line_item_id": "%s"}'')', $1) $$;
CREATE FUNCTION all_four() RETURNS TABLE (call text, said text) LANGUAGE sql AS $$
	SELECT 'lock A', pg_temp.raised(lock_it('A')) UNION ALL SELECT 'lock B', pg_temp.raised(lock_it('B'))
	UNION ALL SELECT 'find A', pg_temp.raised(find_it('A')) UNION ALL SELECT 'find C', pg_temp.raised(find_it('C'))
$$;
SET ROLE regress_once_reader;
SELECT pg_temp.raised(lock_it('A'));
RESET ROLE;
GRANT USAGE ON SCHEMA vault TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;
GRANT SELECT ON vault.payments TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;
GRANT INSERT ON vault.payments TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;
DELETE FROM vault.payments WHERE line_item_id <> 'A';
GRANT UPDATE ON vault.payments TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;
DELETE FROM vault.payments WHERE line_item_id <> 'A';
REVOKE SELECT ON vault.payments FROM regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;
REVOKE INSERT ON vault.payments FROM regress_once_reader;
GRANT SELECT ON vault.payments TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
RESET ROLE;

-- Rights on the columns that are used are enough for them.
REVOKE ALL ON vault.payments FROM regress_once_reader;
GRANT SELECT, INSERT (service_id, line_item_id), UPDATE (amount) ON vault.payments TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM all_four();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::vault.payments, '{"service_id": 1, "line_item_id": "D"}', '{"amount": 5}') $$);
RESET ROLE;

-- A right that was revoked counts for plans that were made before.
GRANT SELECT, INSERT, UPDATE ON vault.bare TO regress_once_reader;
SET ROLE regress_once_reader;
SELECT id FROM with_row_lock(NULL::vault.bare, '{"id": 1}');
SELECT id FROM with_row_lock(NULL::vault.bare, '{"id": 1}');
RESET ROLE;
REVOKE UPDATE ON vault.bare FROM regress_once_reader;
SET ROLE regress_once_reader;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::vault.bare, '{"id": 1}') $$);
SELECT created, (entity).id FROM find_or_create(NULL::vault.bare, '{"id": 1}');
RESET ROLE;

-- Claims need no right on the table once.claim, and give none.
SET ROLE regress_once_reader;
SELECT claim_once('privilege', '1'), is_claimed('privilege', '1'), unclaim('privilege', '1'), claim_once_per('1 hour', 'privilege', '1');
SELECT pg_temp.raised('SELECT count(*) FROM once.claim');
SELECT pg_temp.raised($$ DELETE FROM once.claim $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::once.claim, '{"key": "1"}') $$);
SELECT current_user = 'regress_once_reader' AS still_the_same;
RESET ROLE;
-- EXECUTE can be taken away.
REVOKE EXECUTE ON FUNCTION claim_once(text, text) FROM PUBLIC;
SET ROLE regress_once_reader;
SELECT pg_temp.raised($$ SELECT claim_once('privilege', '2') $$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION claim_once(text, text) TO PUBLIC;
-- Within a SECURITY DEFINER function the definer's rights count, as everywhere.
CREATE FUNCTION as_owner() RETURNS SETOF vault.payments LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$ SELECT * FROM with_row_lock(NULL::vault.payments, '{"service_id": 1, "line_item_id": "A"}') $$;
REVOKE ALL ON vault.payments FROM regress_once_reader;
SET ROLE regress_once_reader;
SELECT * FROM as_owner();
RESET ROLE;

DELETE FROM once.claim;
DROP FUNCTION as_owner, all_four, lock_it, find_it;
SET client_min_messages = error;
DROP SCHEMA vault CASCADE;
DROP ROLE regress_once_reader;
