\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

SELECT unclaim('unclaim', '1');
SELECT claim_once('unclaim', '1'), unclaim('unclaim', '1'), unclaim('unclaim', '1'), claim_once('unclaim', '1');
SELECT is_claimed('unclaim', '1'), unclaim('unclaim', '1'), is_claimed('unclaim', '1');

-- Every form gives back what any form has claimed.
SELECT claim_once('form', 42), claim_once('form', 4711, 'org/repo'), claim_once('form', 'org/repo', 4711), claim_once('form', 'a', 'b', 'c'), claim_once('form', 1, true);
SELECT unclaim('form', '42'), unclaim('form', '4711', 'org/repo'), unclaim('form', VARIADIC ARRAY['org/repo', '4711']),
	unclaim('form', once_key('a', 'b', 'c')), unclaim('form', 1, 'true');
SELECT claim_once('form', '42'), claim_once('form', 'x', 1), unclaim('form', 42), unclaim('form', 'x'::text, 1), unclaim('form', 'x', '1');

-- Only this one.
SELECT claim_once('unclaim', 'a', 'bc'), claim_once('unclaim', 'ab', 'c'), claim_once('other', 'a', 'bc');
SELECT unclaim('unclaim', 'a', 'bc'), is_claimed('unclaim', 'a', 'bc'), is_claimed('unclaim', 'ab', 'c'), is_claimed('other', 'a', 'bc');

-- Given back as of commit: a rollback keeps the claim.
SELECT claim_once('unclaim', 'kept');
BEGIN;
SELECT unclaim('unclaim', 'kept'), is_claimed('unclaim', 'kept'), claim_once('unclaim', 'kept'), unclaim('unclaim', 'kept');
ROLLBACK;
SELECT is_claimed('unclaim', 'kept'), claim_once('unclaim', 'kept');
BEGIN;
SAVEPOINT s;
SELECT unclaim('unclaim', 'kept');
ROLLBACK TO s;
SELECT is_claimed('unclaim', 'kept'), claim_once('unclaim', 'kept');
COMMIT;

-- Given back and claimed again and again in one transaction.
BEGIN;
SELECT bool_and(claim_once('again', '1') AND unclaim('again', '1')) FROM generate_series(1, 100);
SELECT claim_once('again', '1');
COMMIT;
SELECT is_claimed('again', '1'), (SELECT count(*) FROM once.claim WHERE ns = 'again');

-- At the other isolation levels, without a competitor.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT unclaim('unclaim', 'kept'), is_claimed('unclaim', 'kept'), claim_once('unclaim', 'kept'), is_claimed('unclaim', 'kept');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT unclaim('unclaim', 'kept'), is_claimed('unclaim', 'kept'), claim_once('unclaim', 'kept'), is_claimed('unclaim', 'kept');
COMMIT;
SELECT is_claimed('unclaim', 'kept');

SELECT pg_temp.raised($$ SELECT unclaim(NULL, 'a') $$);
SELECT pg_temp.raised($$ SELECT unclaim('unclaim', NULL) $$);
SELECT pg_temp.raised($$ SELECT unclaim('unclaim', 'a', NULL) $$);
SELECT pg_temp.raised($$ SELECT unclaim('', 'a') $$);
SELECT pg_temp.raised($$ SELECT unclaim('unclaim', '') $$);
SELECT pg_temp.raised($$ SELECT unclaim(repeat('n', 129), 'a') $$);
SELECT pg_temp.raised($$ SELECT unclaim('unclaim', repeat('k', 2001)) $$);
BEGIN READ ONLY;
SELECT unclaim('unclaim', 'kept');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT unclaim('unclaim', 'never claimed');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

DELETE FROM once.claim;
