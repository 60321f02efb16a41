\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Won by the first, a duplicate for all others; claim_once and it share their names.
SELECT try_claim_once('try', '1'), try_claim_once('try', '1'), claim_once('try', '1'), is_claimed('try', '1');
SELECT claim_once('try', '2'), try_claim_once('try', '2');
SELECT unclaim('try', '2'), try_claim_once('try', '2');
-- A key of several parts is made by once_key, and an array is none.
SELECT try_claim_once('try', once_key(4711, 'org/repo')), claim_once('try', 4711, 'org/repo');
\set VERBOSITY sqlstate
SELECT try_claim_once('try', ARRAY['a']);
\set VERBOSITY default
-- By position and by name.
SELECT try_claim_once('try', '3', '1 second', '1 hour', 'me'), try_claim_once(ns => 'try', key => '4', timeout => NULL, ttl => '1 day', owner => 'me');
SELECT key, expires_at - claimed_at AS lasts, owner IS NOT NULL AS owned FROM once.claim WHERE ns = 'try' AND key IN ('1', '3', '4') ORDER BY key;
PREPARE untyped AS SELECT try_claim_once($1, $2, $3, $4, $5);
EXECUTE untyped('try', '5', '0', NULL, NULL);
EXECUTE untyped('try', '5', '1 s', '1 h', 'me');
DEALLOCATE untyped;

-- The same owner has won again, once that is committed; it changes nothing.
SELECT ctid, claimed_at, expires_at FROM once.claim WHERE ns = 'try' AND key = '3' \gset before_
SELECT try_claim_once('try', '3', owner => 'me'), try_claim_once('try', '3', ttl => '1 day', owner => 'me'), try_claim_once('try', '3', NULL, owner => 'me');
SELECT try_claim_once('try', '3', owner => 'you'), try_claim_once('try', '3', owner => 'ME'), try_claim_once('try', '3', owner => ''), try_claim_once('try', '3'), try_claim_once('try', '1', owner => 'me');
SELECT ctid = :'before_ctid' AND claimed_at = :'before_claimed_at' AND expires_at = :'before_expires_at' AS unchanged FROM once.claim WHERE ns = 'try' AND key = '3';
-- Not so in the transaction that won, which is told the truth at once.
BEGIN;
SELECT try_claim_once('try', '6', owner => 'me'), try_claim_once('try', '6', owner => 'me');
SAVEPOINT s;
SELECT try_claim_once('try', '6', owner => 'me');
COMMIT;
SELECT try_claim_once('try', '6', owner => 'me');
-- An empty owner is one, and an owner of 200 bytes.
SELECT try_claim_once('try', '7', owner => ''), try_claim_once('try', '8', owner => repeat('é', 100));
SELECT try_claim_once('try', '7', owner => ''), try_claim_once('try', '8', owner => repeat('é', 100)), try_claim_once('try', '7');
-- The text of an owner is nowhere, and equal owners are not seen to be equal.
SELECT count(DISTINCT owner) = count(owner) AS differ, bool_and(claim::text !~ 'me') AS hidden FROM once.claim WHERE ns = 'try' AND owner IS NOT NULL;
SELECT count(*) AS columns FROM information_schema.columns WHERE table_schema = 'once' AND table_name = 'claims' AND column_name = 'owner';

-- An expired claim is taken, with the taker's owner and ttl.
SELECT try_claim_once('try', '9', ttl => '1 ms', owner => 'me'), pg_sleep(0.01) IS NOT NULL AS slept;
SELECT try_claim_once('try', '9', ttl => '1 hour', owner => 'you');
SELECT try_claim_once('try', '9', owner => 'me');
SELECT try_claim_once('try', '9', owner => 'you');
SELECT try_claim_once('try', '10', ttl => '1 ms', owner => 'me'), pg_sleep(0.01) IS NOT NULL AS slept;
SELECT claim_once('try', '10');
SELECT try_claim_once('try', '10', owner => 'me');

-- The namespace's ttl counts where none is given.
SELECT once.configure('try_ttl', ttl => '2 days');
SELECT try_claim_once('try_ttl', '1'), try_claim_once('try_ttl', '2', ttl => '1 hour');
SELECT key, expires_at - claimed_at AS lasts FROM once.claim WHERE ns = 'try_ttl' ORDER BY key;
SELECT once.unconfigure('try_ttl');

-- Duplicates write nothing.
SELECT try_claim_once('try', '1'), try_claim_once('try', '3', owner => 'me'), try_claim_once('try', '1', '1 s'), pg_current_xact_id_if_assigned() IS NULL AS no_xid;
-- The transaction goes on, and what is rolled back was never claimed.
BEGIN;
SELECT try_claim_once('try', '11', '1 s');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT try_claim_once('try', '11');
ROLLBACK TO s;
SELECT is_claimed('try', '11'), try_claim_once('try', '11'), is_claimed('try', '11');
COMMIT;

-- NULL, out of range, too long.
SELECT pg_temp.raised($$ SELECT try_claim_once(NULL, 'a') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', NULL) $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('', 'a') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', '') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once(repeat('n', 129), 'a') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', repeat('k', 2001)) $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', E'\x1ea') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', '-1 ms') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', '1 s', '-1 ms') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', '1', '1 s', '0') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', NULL, '300000 years') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', owner => repeat('o', 201)) $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', owner => repeat('é', 101)) $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('try', 'bad', owner => repeat('o', 1048576)) $$);
SELECT is_claimed('try', 'bad');
BEGIN READ ONLY;
SELECT try_claim_once('try', 'bad');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

DELETE FROM once.claim;
