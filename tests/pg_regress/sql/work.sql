\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What a begin is told, but for what differs from run to run.
CREATE FUNCTION pg_temp.begun(key text, lease interval DEFAULT '1 hour', request jsonb DEFAULT NULL, wait interval DEFAULT '0',
	OUT outcome text, OUT attempt int, OUT result jsonb, OUT has_token boolean, OUT has_lease boolean) LANGUAGE sql
	AS $$ SELECT b.outcome, b.attempt, b.result, b.token IS NOT NULL, b.lease_until > clock_timestamp() FROM begin_once('work', $1, $2, $3, $4) b $$;
CREATE FUNCTION pg_temp.token(key text) RETURNS bigint LANGUAGE sql AS $$ SELECT token FROM once.work w WHERE w.ns = 'work' AND w.key = $1 $$;
CREATE FUNCTION pg_temp.state(key text, OUT state text, OUT attempt int, OUT leased boolean, OUT finished boolean, OUT expires boolean) LANGUAGE sql
	AS $$ SELECT w.state, w.attempt, w.lease_until IS NOT NULL, w.finished_at IS NOT NULL, w.expires_at IS NOT NULL FROM once.work w WHERE w.ns = 'work' AND w.key = $1 $$;

-- Begun, in progress, completed. The result comes back as it is.
SELECT * FROM pg_temp.begun('a');
SELECT * FROM pg_temp.begun('a');
SELECT * FROM pg_temp.state('a');
SELECT complete_once('work', 'a', pg_temp.token('a'), '{"b": 1.50, "a": [null, "\u00e9", 1e3], "b": 2.500}');
SELECT * FROM pg_temp.state('a');
SELECT * FROM pg_temp.begun('a');
-- The same token again: false, and the first result stays.
SELECT complete_once('work', 'a', pg_temp.token('a'), '"other"');
SELECT result FROM begin_once('work', 'a');
-- A result may be left out, and JSON null is not NULL.
SELECT outcome FROM begin_once('work', 'none');
SELECT complete_once('work', 'none', pg_temp.token('none'));
SELECT outcome, result IS NULL AS is_null FROM begin_once('work', 'none');
SELECT outcome FROM begin_once('work', 'json null');
SELECT complete_once('work', 'json null', pg_temp.token('json null'), 'null');
SELECT outcome, result FROM begin_once('work', 'json null');

-- Given back: at once, and later.
SELECT outcome FROM begin_once('work', 'b');
SELECT fail_once('work', 'b', pg_temp.token('b'), '"why"');
SELECT * FROM pg_temp.state('b');
SELECT * FROM pg_temp.begun('b');
SELECT fail_once('work', 'b', pg_temp.token('b'), retry_after => '1 hour');
SELECT * FROM pg_temp.begun('b');
SELECT outcome FROM begin_once('work', 'soon');
SELECT fail_once('work', 'soon', pg_temp.token('soon'), retry_after => '200 ms');
SELECT * FROM pg_temp.begun('soon', wait => '30 s');
SELECT fail_once('work', 'soon', pg_temp.token('soon'), retry_after => '0');
SELECT * FROM pg_temp.begun('soon');
-- Who runs it next reads why it was given back; {} where nobody said.
SELECT outcome, token AS told FROM begin_once('work', 'told') \gset
SELECT fail_once('work', 'told', :told, '{"code": 503}');
SELECT * FROM pg_temp.begun('told', '1 microsecond');
-- Nothing is known of an attempt whose lease ran out.
SELECT * FROM pg_temp.begun('told');
SELECT fail_once('work', 'told', pg_temp.token('told'));
SELECT * FROM pg_temp.begun('told');
SELECT fail_once('work', 'told', pg_temp.token('told'), 'null');
SELECT * FROM pg_temp.begun('told');
-- A worker that asks again has its own token again, whether or not its lease is over; others are held off.
SELECT token AS own FROM begin_once('work', 'worker', worker => 'host-1') \gset
SELECT outcome, token = :own AS same, attempt, result, lease_until > clock_timestamp() + interval '59 minutes' AS leased
	FROM begin_once('work', 'worker', '1 hour', worker => 'host-1');
SELECT b.outcome, b.token IS NULL AS none, b.attempt FROM (VALUES ('host-2'), (NULL), ('')) other (name), begin_once('work', 'worker', worker => other.name) b;
SELECT outcome, token = :own AS same, attempt FROM begin_once('work', 'worker', '1 microsecond', worker => 'host-1');
SELECT outcome, token = :own AS same, attempt FROM begin_once('work', 'worker', worker => 'host-1');
SELECT worker, attempt, state FROM once.work WHERE ns = 'work' AND key = 'worker';
SELECT worker FROM once.work_of('work') WHERE key = 'worker';
-- Another request is a mismatch for it too, and what it gave back is begun anew.
SELECT outcome FROM begin_once('work', 'worker', request => '1', worker => 'host-1');
SELECT outcome FROM begin_once('work', 'worker', request => '2', worker => 'host-1');
SELECT fail_once('work', 'worker', :own, '"why"');
SELECT outcome, token > :own AS higher, attempt, result FROM begin_once('work', 'worker', worker => 'host-1');
SELECT complete_once('work', 'worker', pg_temp.token('worker'), '7');
SELECT outcome, result FROM begin_once('work', 'worker', worker => 'host-1');
SELECT worker, state FROM once.work WHERE ns = 'work' AND key = 'worker';
-- The name is that of the latest begin.
SELECT outcome FROM begin_once('work', 'named', '1 microsecond', worker => 'host-1');
SELECT outcome FROM begin_once('work', 'named', '1 microsecond');
SELECT outcome, attempt FROM begin_once('work', 'named', worker => repeat('w', 200));
SELECT length(worker) FROM once.work WHERE ns = 'work' AND key = 'named';
SELECT pg_temp.raised($$ SELECT begin_once('work', 'named', worker => repeat('w', 201)) $$);
-- Failed for good.
SELECT outcome FROM begin_once('work', 'c');
SELECT fail_once('work', 'c', pg_temp.token('c'), '{"code": 402}', retry => false, retry_after => '1 hour');
SELECT * FROM pg_temp.state('c');
SELECT * FROM pg_temp.begun('c', wait => '1 s');

-- A lease that is over is taken: a higher token, one more attempt. Until then the old token counts.
SELECT token AS first FROM begin_once('work', 'd', '1 ms') \gset
SELECT pg_sleep(0.01);
SELECT fence_once('work', 'd', :first);
SELECT renew_once('work', 'd', :first, '1 ms') IS NOT NULL AS renewed;
SELECT pg_sleep(0.01);
SELECT token AS second, attempt, token > :first AS higher FROM begin_once('work', 'd') \gset
SELECT :attempt AS attempt, :'higher' AS higher;
\set VERBOSITY sqlstate
SELECT renew_once('work', 'd', :first);
SELECT complete_once('work', 'd', :first);
SELECT fail_once('work', 'd', :first);
SELECT fence_once('work', 'd', :first);
\set VERBOSITY default
SELECT fence_once('work', 'd', :second);
SELECT renew_once('work', 'd', :second, '1 day') BETWEEN clock_timestamp() + '1 day' - '1 minute'::interval AND clock_timestamp() + '1 day' AS renewed;
SELECT complete_once('work', 'd', :second);
-- While a lease runs, a wait that is over says so.
SELECT outcome FROM begin_once('work', 'e');
SELECT * FROM pg_temp.begun('e', wait => '100 ms');

-- A request: equal values of jsonb are equal, and a NULL is not compared.
SELECT outcome FROM begin_once('work', 'r', request => '{"amount": 1.0, "b": "1.0"}');
SELECT request, outcome, attempt, result, lease_until FROM (VALUES ('{"b":"1.0","amount":1.000}'::jsonb), ('{"amount": 1, "b": "1.0"}'), ('{"amount": 1.0, "b": "1.00"}'),
	('{"amount": 1.01, "b": "1.0"}'), ('null'), (NULL), ('[]')) AS given (request),
	LATERAL (SELECT outcome, attempt, result, lease_until IS NOT NULL AS lease_until FROM begin_once('work', 'r', request => given.request)) AS told;
SELECT fail_once('work', 'r', pg_temp.token('r'));
SELECT * FROM pg_temp.begun('r', request => '2');
SELECT * FROM pg_temp.begun('r');
SELECT complete_once('work', 'r', pg_temp.token('r'));
SELECT * FROM pg_temp.begun('r', request => '2');
SELECT outcome FROM begin_once('work', 'late');
SELECT fail_once('work', 'late', pg_temp.token('late'));
SELECT outcome FROM begin_once('work', 'late', request => '1');
SELECT * FROM pg_temp.begun('late', request => '2');

-- Forgotten: run again, with a higher token and another request. Unfinished work is left alone.
SELECT pg_temp.token('a') AS last, forget_once('work', 'a') AS forgotten \gset
SELECT :'forgotten' AS forgotten, forget_once('work', 'a') AS again, forget_once('work', 'e') AS running, forget_once('work', 'b') AS given_back, forget_once('work', 'never') AS never, forget_once('work', 'c') AS failed;
SELECT * FROM pg_temp.state('a');
SELECT complete_once('work', 'a', :last);
SELECT attempt, token > :last AS higher FROM begin_once('work', 'a', request => '"new"');
BEGIN;
SELECT complete_once('work', 'a', pg_temp.token('a'), '1'), forget_once('work', 'a');
SELECT outcome, attempt FROM begin_once('work', 'a');
ROLLBACK;
SELECT * FROM pg_temp.begun('a');

-- A record that was removed leaves its token behind, also where the clock has stepped back.
INSERT INTO once.work_floor (token) VALUES (9007199254740993);
SELECT token AS above FROM begin_once('work', 'above the floor') \gset
SELECT :above > 9007199254740993 AS is_higher, fail_once('work', 'above the floor', :above);
SELECT token > :above AS is_higher, attempt FROM begin_once('work', 'above the floor');
DELETE FROM once.work_floor;

-- How long finished work is remembered: decided when it is read.
SELECT once.configure('brief', '1 hour');
SELECT token AS brief FROM begin_once('brief', 'k', request => '1') \gset
SELECT complete_once('brief', 'k', :brief, '"r"');
SELECT outcome, result, state, expires_at - finished_at AS remembered FROM begin_once('brief', 'k'), once.work WHERE ns = 'brief';
UPDATE once.work_record SET expires_at = clock_timestamp() WHERE ns = 'brief';
SELECT count(*) FROM once.work WHERE ns = 'brief';
SELECT forget_once('brief', 'k');
SELECT pg_temp.raised(format('SELECT complete_once(''brief'', ''k'', %s)', :brief));
SELECT outcome, attempt, result, token > :brief AS higher FROM begin_once('brief', 'k', request => '2');
SELECT once.unconfigure('brief');

-- Inside a transaction, with savepoints.
BEGIN;
SELECT outcome FROM begin_once('work', 't');
SAVEPOINT s;
SELECT complete_once('work', 't', pg_temp.token('t'), '1');
SELECT * FROM pg_temp.begun('t');
ROLLBACK TO s;
SELECT * FROM pg_temp.begun('t');
SELECT fence_once('work', 't', pg_temp.token('t'));
SELECT complete_once('work', 't', pg_temp.token('t'), '2');
COMMIT;
SELECT * FROM pg_temp.begun('t');
BEGIN;
SELECT outcome FROM begin_once('work', 'undone');
ROLLBACK;
SELECT * FROM pg_temp.state('undone');
SELECT * FROM pg_temp.begun('undone');
-- At the other levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outcome FROM begin_once('work', 'rr');
SELECT complete_once('work', 'rr', pg_temp.token('rr'), '1');
SELECT outcome, result FROM begin_once('work', 'rr', wait => '1 s');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT outcome, result FROM begin_once('work', 'rr');
SELECT outcome FROM begin_once('work', 'ser');
SELECT fence_once('work', 'ser', pg_temp.token('ser'));
SELECT complete_once('work', 'ser', pg_temp.token('ser'), '1');
COMMIT;

-- An answer that writes nothing uses no transaction ID.
BEGIN;
SELECT outcome FROM begin_once('work', 'rr') UNION ALL SELECT outcome FROM begin_once('work', 'e', wait => '20 ms') UNION ALL SELECT outcome FROM begin_once('work', 'late', request => '3');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;

-- Work, claims and other namespaces never meet.
SELECT claim_once('work', 'a'), is_claimed('work', 'e'), (SELECT outcome FROM begin_once('other', 'a'));

-- Several rows, several begins.
SELECT key, outcome FROM unnest(ARRAY['x', 'y', 'x', 'a']) WITH ORDINALITY AS wanted (key, n), begin_once('many', wanted.key) ORDER BY n;

-- Bad input.
SELECT pg_temp.raised(call) FROM (VALUES
	($$SELECT begin_once(NULL, 'k')$$), ($$SELECT begin_once('work', NULL)$$), ($$SELECT begin_once('work', 'k', NULL)$$),
	($$SELECT begin_once('', 'k')$$), ($$SELECT begin_once(repeat('n', 129), 'k')$$), ($$SELECT begin_once('work', '')$$),
	($$SELECT begin_once('work', repeat('k', 2001))$$), ($$SELECT begin_once('work', E'\x1ek')$$),
	($$SELECT begin_once('work', 'k', '0')$$), ($$SELECT begin_once('work', 'k', '-1 second')$$), ($$SELECT begin_once('work', 'k', '1 month -31 days')$$),
	($$SELECT begin_once('work', 'k', '300000 years')$$),
	($$SELECT begin_once('work', 'k', wait => '-1 second')$$),
	($$SELECT begin_once('work', 'k', request => '"\u0000"')$$), ($$SELECT begin_once('work', 'k', request => '{')$$),
	($$SELECT renew_once('work', 'e', NULL)$$), ($$SELECT renew_once('work', 'e', 1, NULL)$$), ($$SELECT renew_once('work', 'e', 1, '0')$$),
	($$SELECT complete_once('work', 'e', NULL)$$), ($$SELECT complete_once('work', 'e', 1, '"\u0000"')$$),
	($$SELECT fail_once('work', 'e', NULL)$$), ($$SELECT fail_once('work', 'e', 1, retry => NULL)$$),
	($$SELECT fail_once('work', 'e', 1, retry_after => '-1 second')$$),
	($$SELECT fence_once('work', 'e', NULL)$$), ($$SELECT fence_once(NULL, 'e', 1)$$), ($$SELECT forget_once('work', NULL)$$)) AS wrong (call);
-- A token that is not current: of nothing, of another key, of what is over.
SELECT count(*), min(said), max(said) FROM (
	SELECT said FROM unnest(ARRAY['renew_once(%L, %L, %s)', 'complete_once(%1$L, %2$L, %3$s, ''1'')', 'fail_once(%L, %L, %s)', 'fence_once(%L, %L, %s)']) AS call,
		(VALUES ('never', 0), ('never', -1), ('e', 0), ('e', 9223372036854775807), ('e', -9223372036854775808), ('e', pg_temp.token('late')),
			('b', pg_temp.token('b'))) AS wrong (key, token),
		pg_temp.raised('SELECT ' || format(call, 'work', wrong.key, wrong.token)) AS said WHERE said !~ '^(detail|hint)') AS all_said;
SELECT pg_temp.raised(format('SELECT fail_once(''work'', ''d'', %s)', :second));
SELECT pg_temp.raised(format('SELECT renew_once(''work'', ''d'', %s)', :second));
SELECT complete_once('work', 'd', :second), pg_temp.token('d') = :second AS kept;
-- Nothing of that wrote anything.
SELECT * FROM pg_temp.state('e');
SELECT count(*) FROM once.work WHERE ns = 'work' AND key IN ('k', 'never', '');
-- A read-only transaction, whatever the answer would be.
BEGIN READ ONLY;
SELECT pg_temp.raised(call) FROM (VALUES ($$SELECT begin_once('work', 'rr')$$), ($$SELECT renew_once('work', 'e', 1)$$), ($$SELECT complete_once('work', 'e', 1)$$),
	($$SELECT fail_once('work', 'e', 1)$$), ($$SELECT fence_once('work', 'e', 1)$$), ($$SELECT forget_once('work', 'rr')$$)) AS writing (call);
SELECT count(*) > 0 AS seen FROM once.work;
COMMIT;
-- Too much.
SELECT pg_temp.raised($$SELECT begin_once('work', 'large', request => to_jsonb(repeat('x', 100 * 1024 * 1024)))$$);
SELECT outcome FROM begin_once('work', 'large', request => to_jsonb(repeat('x', 1024 * 1024) || 'a'));
SELECT outcome FROM begin_once('work', 'large', request => to_jsonb(repeat('x', 1024 * 1024) || 'b'));
SELECT pg_temp.raised(format($$SELECT complete_once('work', 'large', %s, to_jsonb(repeat('x', 100 * 1024 * 1024)))$$, pg_temp.token('large')));
SELECT pg_temp.raised(format($$SELECT fail_once('work', 'large', %s, to_jsonb(repeat('x', 100 * 1024 * 1024)))$$, pg_temp.token('large')));
SELECT complete_once('work', 'large', pg_temp.token('large'), to_jsonb(repeat('é', 1024 * 1024)));
SELECT outcome, result = to_jsonb(repeat('é', 1024 * 1024)) AS same FROM begin_once('work', 'large');
-- The settings of the caller change nothing.
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET search_path = pg_temp;
SELECT outcome, attempt FROM public.begin_once('work', 'rr');
RESET ALL;

-- One row for each key, as a sequential scan sees it.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT count(*) = count(DISTINCT (ns, key)) AS unique_keys, count(*) > 20 AS many FROM once.work_record;
RESET ALL;
DELETE FROM once.work_record;
DELETE FROM once.claim;
