-- What an operator should know. A healthy server has no finding.
SET client_connection_check_interval = '10s';
\set but_the_minor 'WHERE finding NOT LIKE ''%known faults%'''
SELECT * FROM once.check() :but_the_minor;

-- Each fault is found.
BEGIN;
INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
	SELECT 0, 0, 0, n, now(), now() - interval '1 hour', 'check', n::text FROM generate_series(1, 2000) n;
SELECT * FROM once.check() :but_the_minor;
SELECT once.sweep();
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
-- A large table is sampled.
BEGIN;
INSERT INTO once.claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
	SELECT 0, 0, 0, n, now(), CASE n % 2 WHEN 0 THEN now() - interval '1 hour' END, repeat('c', 100), repeat('k', 500) || n FROM generate_series(1, 40000) n;
SELECT pg_relation_size('once.claim') > 2 * 8192000 AS large, total BETWEEN 35000 AND 45000 AS total, expired BETWEEN 17000 AND 23000 AS expired FROM once.backlog();
ROLLBACK;
BEGIN;
ALTER TABLE once.claim DROP CONSTRAINT claim_pkey;
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
BEGIN;
ALTER TABLE once.claim DROP CONSTRAINT claim_pkey, ADD PRIMARY KEY (hash_low, hash_high, place_low, place_high);
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
BEGIN;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'once.access_policy_pkey'::regclass;
CREATE INDEX access_policy_pkey_ccnew ON once.access_policy (ns);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'once.access_policy_pkey_ccnew'::regclass;
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
BEGIN;
ALTER TABLE once.claim SET UNLOGGED;
SELECT severity, finding FROM once.check() :but_the_minor;
ROLLBACK;
BEGIN;
UPDATE pg_extension SET extconfig = array_remove(extconfig, 'once.work_floor'::regclass::oid) WHERE extname = 'pg_once';
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
BEGIN;
CREATE ROLE regress_once_hasty;
ALTER ROLE regress_once_hasty SET synchronous_commit = off;
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
SET synchronous_commit = off;
SELECT severity, finding FROM once.check() :but_the_minor;
RESET synchronous_commit;
SET client_connection_check_interval = 0;
SELECT * FROM once.check() :but_the_minor;
SET client_connection_check_interval = '10s';
BEGIN;
CREATE ROLE regress_once_gone;
SELECT once.configure('check', allowed_role => 'regress_once_gone');
DROP ROLE regress_once_gone;
SELECT * FROM once.check() :but_the_minor;
ROLLBACK;
-- A role that exhausts the lock table is named.
BEGIN;
SELECT count(pg_advisory_xact_lock(n)) > 0 AS locked
FROM generate_series(1, (current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) * 0.6)::int) n;
SELECT severity, regexp_replace(finding, '\d+', 'N') AS finding, advice LIKE 'Backend ' || pg_backend_pid() || ' holds%' AS names_it FROM once.check() :but_the_minor;
ROLLBACK;
-- Everybody may ask.
CREATE ROLE regress_once_curious;
SET ROLE regress_once_curious;
SELECT * FROM once.check() :but_the_minor;
RESET ROLE;
DROP ROLE regress_once_curious;
SELECT * FROM once.check() :but_the_minor;
