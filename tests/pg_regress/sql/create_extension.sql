\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Where the extension is created, and where it refuses.
SELECT current_database() AS home \gset
CREATE DATABASE regress_once_create;
\c regress_once_create
\i :file
CREATE SCHEMA once;
SELECT pg_temp.raised('CREATE EXTENSION pg_once');
SELECT count(*) FROM pg_proc WHERE proname = 'claim_once';
CREATE TABLE once.claim (mine int);
SELECT pg_temp.raised('CREATE EXTENSION pg_once');
SELECT * FROM once.claim;
DROP TABLE once.claim;
DROP SCHEMA once;
-- A function of ours that is there already is not replaced.
CREATE FUNCTION claim_once(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT pg_temp.raised('CREATE EXTENSION pg_once');
DROP FUNCTION claim_once;
SELECT count(*) FROM pg_namespace WHERE nspname = 'once';

-- In a schema of its own.
CREATE SCHEMA pgonce;
CREATE EXTENSION pg_once SCHEMA pgonce;
SELECT pgonce.claim_once('create', '1'), pgonce.claim_once('create', 2, 'x'), pgonce.is_claimed('create', '1'), pgonce.once_key('a');
SELECT pg_temp.raised($$ SELECT claim_once('create', '1') $$) LIMIT 1;
CREATE TABLE payments (service_id int, line_item_id int);
SELECT * FROM pgonce.with_payment_lock(1, 2);
SELECT * FROM pgonce.with_row_lock(NULL::payments, '{"service_id": 1}');
SELECT created, (entity).* FROM pgonce.find_or_create(NULL::payments, '{"service_id": 2}');
SELECT pg_temp.raised('ALTER EXTENSION pg_once SET SCHEMA public');
SELECT pg_temp.raised('DROP TABLE once.claim');
SELECT pg_temp.raised('DROP FUNCTION pgonce.claim_once(text, text)');
SELECT pg_temp.raised('CREATE EXTENSION pg_once');
-- Dropped, everything is gone, and it can be created again in a session that has used it.
DROP EXTENSION pg_once;
SELECT count(*) FROM pg_namespace WHERE nspname = 'once';
CREATE EXTENSION pg_once;
SELECT claim_once('create', '1'), claim_once('create', '1'), is_claimed('create', '2');
SELECT * FROM with_payment_lock(1, 2);
BEGIN;
DROP EXTENSION pg_once;
ROLLBACK;
SELECT claim_once('create', '1');

-- By an owner of the database who is no superuser: the extension is trusted.
DROP EXTENSION pg_once;
CREATE ROLE regress_once_owner;
CREATE ROLE regress_once_user;
ALTER DATABASE regress_once_create OWNER TO regress_once_owner;
GRANT CREATE ON SCHEMA public TO regress_once_owner;
SET ROLE regress_once_user;
SELECT pg_temp.raised('CREATE EXTENSION pg_once');
RESET ROLE;
SET ROLE regress_once_owner;
CREATE EXTENSION pg_once;
SELECT claim_once('owner', '1'), claim_once('owner', '1');
SELECT extowner::regrole FROM pg_extension WHERE extname = 'pg_once';
-- What pg_dump needs. MAINTAIN comes with PostgreSQL 17; tests/sessions/tests/operations.rs looks at it.
SELECT relname, privilege_type FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'once'::regnamespace AND grantee = 'regress_once_owner'::regrole AND privilege_type <> 'MAINTAIN' ORDER BY relname, privilege_type;
SELECT privilege_type FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'once' AND grantee = 'regress_once_owner'::regrole ORDER BY privilege_type;
SELECT count(*) FROM once.claim;
RESET ROLE;
SET ROLE regress_once_user;
SELECT claim_once('owner', '1'), claim_once('owner', '2'), is_claimed('owner', '1'), unclaim('owner', '1');
SELECT pg_temp.raised('SELECT * FROM once.claim');
RESET ROLE;
SET ROLE regress_once_owner;
DROP EXTENSION pg_once;
RESET ROLE;
SELECT extconfig IS NULL FROM pg_extension WHERE extname = 'pg_once';
\c :home
DROP DATABASE regress_once_create;
DROP ROLE regress_once_owner, regress_once_user;
