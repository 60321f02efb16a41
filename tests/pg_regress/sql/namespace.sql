\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Namespaces: who may use them, and how long claims last in them.
CREATE ROLE regress_once_ci;
CREATE ROLE regress_once_bob IN ROLE regress_once_ci;
CREATE ROLE regress_once_eve;
SELECT claim_once('open', 'a'), claim_once('open', E'a\x1eb', E'c\x1bd'), claim_once('open', '', ''), claim_once('open', '1', ''), claim_once('open', E'plain\x1b1');
SELECT once.configure('closed', allowed_role => 'regress_once_ci');
SELECT once.configure('hours', '2 hours');
-- NULL leaves a part as it is.
SELECT once.configure('closed', '1 day');
SELECT once.configure('hours', '1 hour');
SELECT * FROM once.namespaces ORDER BY ns;

-- The namespace's ttl, unless the call names its own.
SELECT claim_once('closed', 'a'), claim_once('hours', 'a'), claim_once_per('1 minute', 'hours', 'b');
SELECT ns, key, parts, expires_at - claimed_at AS lasts FROM once.claims ORDER BY ns, key;
-- What was claimed before keeps its time.
SELECT once.configure('open', '1 second');
SELECT count(*) FROM once.claims WHERE ns = 'open' AND expires_at IS NOT NULL;
SELECT once.unconfigure('open'), once.unconfigure('open'), once.unconfigure('never configured');

-- A member of the role, by inheritance.
SET ROLE regress_once_bob;
SELECT claim_once('closed', 'b'), is_claimed('closed', 'a'), unclaim('closed', 'b');
SELECT count(*) FROM once.claims WHERE ns = 'closed';

-- Nobody else, whatever the call.
SET ROLE regress_once_eve;
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT claim_once('closed', 'a')$$,
	$$SELECT claim_once('closed', 'never claimed')$$,
	$$SELECT claim_once('closed', 1, 'x')$$,
	$$SELECT claim_once_per('1 hour', 'closed', 'a')$$,
	$$SELECT is_claimed('closed', 'a')$$,
	$$SELECT is_claimed('closed', 'never claimed')$$,
	$$SELECT unclaim('closed', 'a')$$]) f;
SELECT once.may_use('closed'), once.may_use('open'), once.may_use('hours'), once.may_use(NULL);
SELECT ns, count(*) FROM once.claims GROUP BY ns ORDER BY ns;
SELECT * FROM once.namespaces;
-- A view's own condition comes first: what is hidden reaches no function of the caller.
CREATE FUNCTION pg_temp.told(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE WARNING '%', $1; RETURN true; END $$;
SELECT count(*) FROM once.claims WHERE pg_temp.told(ns) AND ns = 'closed';
-- Administration is not hers.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT once.configure('open', '1 hour')$$,
	$$SELECT once.unconfigure('closed')$$,
	$$SELECT * FROM once.access_policy$$,
	$$INSERT INTO once.access_policy VALUES ('mine')$$,
	$$SELECT once.namespace_changed()$$,
	$$SELECT once.namespace_written()$$]) f;
RESET ROLE;

-- What is not committed counts for the own transaction, and is forgotten with it.
BEGIN;
SELECT once.configure('open', '1 hour', 'regress_once_ci');
SET LOCAL ROLE regress_once_eve;
SELECT pg_temp.raised($$ SELECT claim_once('open', 'c') $$);
RESET ROLE;
SAVEPOINT s;
SELECT once.unconfigure('open');
SET LOCAL ROLE regress_once_eve;
SELECT claim_once('open', 'c');
ROLLBACK TO s;
SET LOCAL ROLE regress_once_eve;
SELECT pg_temp.raised($$ SELECT claim_once('open', 'c') $$);
ROLLBACK;
SET ROLE regress_once_eve;
SELECT claim_once('open', 'c');
RESET ROLE;
SELECT expires_at FROM once.claims WHERE key = 'c';

-- A function that runs with its owner's rights is that owner.
GRANT CREATE ON SCHEMA public TO regress_once_ci;
SET ROLE regress_once_ci;
CREATE FUNCTION public.notify_once(what text) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
	AS $$ SELECT claim_once('closed', what) $$;
SET ROLE regress_once_eve;
SELECT notify_once('by way of a function'), notify_once('by way of a function');
RESET ROLE;
DROP FUNCTION notify_once;
REVOKE CREATE ON SCHEMA public FROM regress_once_ci;

-- The owner of the database configures and sees all, and may not use what is closed.
SELECT current_database() AS db, current_user AS me \gset
ALTER DATABASE :"db" OWNER TO regress_once_eve;
SET ROLE regress_once_eve;
SELECT once.configure('new', '1 hour');
SELECT * FROM once.namespaces ORDER BY ns;
SELECT pg_temp.raised($$ SELECT claim_once('closed', 'a') $$);
SELECT once.unconfigure('new');
RESET ROLE;
ALTER DATABASE :"db" OWNER TO :"me";

-- Mistakes.
SELECT f, pg_temp.raised(f) FROM unnest(ARRAY[
	$$SELECT once.configure(NULL)$$,
	$$SELECT once.configure('')$$,
	$$SELECT once.configure(repeat('n', 129))$$,
	$$SELECT once.configure('n', '0')$$,
	$$SELECT once.configure('n', '-1 second')$$,
	$$SELECT once.configure('n', '1 month -40 days')$$,
	$$SELECT once.configure('n', '300000 years')$$,
	$$SELECT once.configure('n', NULL, 'no_such_role')$$,
	$$SELECT once.configure('n', NULL, 4000000000::oid)$$,
	$$SELECT once.configure('n', NULL, '-')$$,
	$$SELECT once.unconfigure(NULL)$$,
	$$SELECT once.unconfigure('')$$]) f;
BEGIN READ ONLY;
SELECT pg_temp.raised($$ SELECT once.configure('n') $$);
SELECT pg_temp.raised($$ SELECT once.unconfigure('hours') $$);
SELECT is_claimed('hours', 'a'), count(*) FROM once.namespaces;
COMMIT;

-- Dropped roles leave it closed, but to superusers.
DROP ROLE regress_once_bob, regress_once_ci;
SELECT is_claimed('closed', 'a');
SET ROLE regress_once_eve;
SELECT pg_temp.raised($$ SELECT is_claimed('closed', 'a') $$);
RESET ROLE;
-- A dump names such a role by its number, which may be another's where it is restored.
DELETE FROM once.access_policy;
COPY once.access_policy (ns, ttl, allowed_role) FROM stdin;
closed	1 day	4000000000
hours	01:00:00	\N
eves	\N	regress_once_eve
\.
SELECT * FROM once.namespaces ORDER BY ns;
SET ROLE regress_once_eve;
SELECT pg_temp.raised($$ SELECT is_claimed('closed', 'a') $$), once.may_use('eves'), once.may_use('hours');
RESET ROLE;
-- However it is emptied.
TRUNCATE once.access_policy;
SET ROLE regress_once_eve;
SELECT is_claimed('closed', 'a');
RESET ROLE;
DELETE FROM once.claim;
DROP FUNCTION pg_temp.told;
DROP ROLE regress_once_eve;

-- Not in a parallel operation, where nothing can be looked up.
CREATE FUNCTION pg_temp.mislabelled(i int) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS $$ BEGIN RETURN is_claimed('parallel', i::text); END $$;
CREATE TABLE wide AS SELECT generate_series(1, 1000) AS i;
ALTER TABLE wide SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT pg_temp.raised('SELECT count(*) FROM wide WHERE pg_temp.mislabelled(i)');
RESET ALL;
DROP TABLE wide;
