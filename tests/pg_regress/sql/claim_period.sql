\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- True at most once per period. Time goes by here only in the one pause.
SELECT claim_once_per('1 hour', 'period', 'long'), claim_once_per('1 hour', 'period', 'long'), claim_once_per('1 ms', 'period', 'long');
SELECT claim_once_per('10 ms', 'period', 'short'), claim_once_per('10 ms', 'period', 'taken again'), claim_once_per('10 ms', 'period', 'for ever'),
	claim_once_per('10 ms', 'period', 'given back');
SELECT is_claimed('period', 'long'), claim_once('period', 'long');
SELECT claim_once('period', 'ever'), claim_once_per('1 ms', 'period', 'ever');
SELECT pg_sleep(0.05);
SELECT is_claimed('period', 'short'), is_claimed('period', 'long'), is_claimed('period', 'ever');
SELECT claim_once_per('1 hour', 'period', 'short'), claim_once_per('1 hour', 'period', 'short');
SELECT claim_once_per('1 hour', 'period', 'long'), claim_once_per('1 hour', 'period', 'ever');
-- A claim without a period takes an expired one for ever.
SELECT claim_once('period', 'for ever'), claim_once('period', 'for ever'), is_claimed('period', 'for ever');
-- An expired claim is not there to be given back.
SELECT unclaim('period', 'given back');
-- Taken again and rolled back: still free.
BEGIN;
SELECT claim_once_per('1 hour', 'period', 'taken again'), claim_once_per('1 hour', 'period', 'taken again'), is_claimed('period', 'taken again');
ROLLBACK;
SELECT is_claimed('period', 'taken again'), claim_once_per('1 hour', 'period', 'taken again'), is_claimed('period', 'taken again');
SELECT key, expires_at IS NULL AS for_ever, count(*) FROM once.claim WHERE ns = 'period' GROUP BY key, for_ever ORDER BY key;

-- Every form.
SELECT claim_once_per('1 hour', 'form', 'text'::text), claim_once_per('1 hour', 'form', 42), claim_once_per('1 hour', 'form', 4711, 'org/repo'),
	claim_once_per('1 hour', 'form', 'org/repo', 4711), claim_once_per('1 hour', 'form', 1, true, 'x'::text),
	claim_once_per('1 hour', 'form', VARIADIC ARRAY['x', 'y', 'z']), claim_once_per('1 hour', 'form', VARIADIC ARRAY[1, 2]);
SELECT claim_once('form', 'text'), claim_once('form', '42'), claim_once('form', '4711', 'org/repo'),
	claim_once('form', 'org/repo', '4711'), claim_once('form', '1', 'true', 'x'),
	claim_once('form', 'x', 'y', 'z'), claim_once('form', 1, 2);

-- A day is 24 hours, a month a calendar month in UTC, whatever the time zone; the clock runs on in a transaction.
SET TimeZone = 'America/New_York';
SELECT claim_once_per('400 days', 'length', 'day'), claim_once_per('14 months', 'length', 'month'), claim_once_per('0.5 seconds', 'length', 'second');
SELECT key, CASE key
		WHEN 'day' THEN extract(epoch FROM expires_at - claimed_at) = 400 * 24 * 3600
		WHEN 'month' THEN expires_at AT TIME ZONE 'UTC' = claimed_at AT TIME ZONE 'UTC' + interval '14 months'
		WHEN 'second' THEN expires_at - claimed_at = interval '0.5 seconds'
	END AS exact
FROM once.claim WHERE ns = 'length' ORDER BY key;
RESET TimeZone;

-- The period must be positive and finite and end in the range of timestamps.
SELECT pg_temp.raised($$ SELECT claim_once_per(NULL, 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('0', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('-1 second', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('-1 month', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 day -25 hours', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('300000 years', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('178000000 years', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('10 years 1 hour', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per(make_interval(days => 2147483647), 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', NULL, 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'period', NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'period', 'a', NULL) $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', '', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'period', '') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', repeat('n', 129), 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('1 hour', 'period', repeat('k', 2001)) $$);
-- It is looked at first, also when the claim stands.
SELECT pg_temp.raised($$ SELECT claim_once_per('0', 'period', 'ever') $$);
SELECT is_claimed('period', 'a');
SELECT claim_once_per('1 day -23 hours', 'period', 'mixed signs'), claim_once_per('10 years', 'period', 'very long');

DELETE FROM once.claim;
