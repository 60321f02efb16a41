/* Tokens are microseconds of the clock. The constraints keep a token that nothing could follow (2^62 is the year
   148,000) from being restored or written by the extension's owner, who has INSERT for dump and restore. */
/* Fixed-width columns first. The storage key, made like that of a claim, stands for (ns, key), which are compared at
   every hit.
   Whoever removes a record raises once.work_floor to its token in the same transaction, and removes
   only what has expires_at, which unfinished work never has. */
CREATE TABLE once.work_record (
    place_high  pg_catalog.int2        NOT NULL,
    place_low   pg_catalog.int2        NOT NULL,
    hash_high   pg_catalog.int4        NOT NULL,
    hash_low    pg_catalog.int8        NOT NULL,
    token       pg_catalog.int8        NOT NULL,
    begun_at    pg_catalog.timestamptz NOT NULL,
    lease_until pg_catalog.timestamptz,
    finished_at pg_catalog.timestamptz,
    expires_at  pg_catalog.timestamptz,
    request     pg_catalog.uuid,
    attempt     pg_catalog.int4        NOT NULL,
    state       pg_catalog."char"      NOT NULL,
    ns          pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    key         pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    result      pg_catalog.jsonb,
    worker      pg_catalog.text COLLATE pg_catalog."C",
    CONSTRAINT work_record_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low),
    CONSTRAINT work_record_token CHECK (token OPERATOR(pg_catalog.>=) 0 AND token OPERATOR(pg_catalog.<=) 4611686018427387904)
);
COMMENT ON TABLE once.work_record IS 'The work: written by begin_once and its like only. A row that is removed must leave its token in once.work_floor, in the same transaction';
COMMENT ON COLUMN once.work_record.place_high IS 'Upper half of the place of the key in the order in which such keys come';
COMMENT ON COLUMN once.work_record.place_low IS 'Lower half of the place';
COMMENT ON COLUMN once.work_record.hash_high IS 'First 4 bytes of BLAKE3 over the length-prefixed ns and key';
COMMENT ON COLUMN once.work_record.hash_low IS 'The 8 bytes behind them';
COMMENT ON COLUMN once.work_record.token IS 'The token of the latest begin';
COMMENT ON COLUMN once.work_record.begun_at IS 'When that was, by clock_timestamp()';
COMMENT ON COLUMN once.work_record.lease_until IS 'While it runs, the end of its lease; given back, when it may be run again, null for at once';
COMMENT ON COLUMN once.work_record.finished_at IS 'When it was completed, failed for good or forgotten';
COMMENT ON COLUMN once.work_record.expires_at IS 'From when on the record counts as none and may be swept; null for unfinished work, and where finished work is remembered for ever';
COMMENT ON COLUMN once.work_record.request IS 'Digest of the request; null where none was given';
COMMENT ON COLUMN once.work_record.attempt IS 'How often it was begun';
COMMENT ON COLUMN once.work_record.state IS 'r running, g given back, d done, f failed for good, x forgotten';
COMMENT ON COLUMN once.work_record.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.work_record.key IS 'Key, 1 to 2000 bytes';
COMMENT ON COLUMN once.work_record.result IS 'What it was completed with, or the error of the latest failure';
COMMENT ON COLUMN once.work_record.worker IS 'The name that the latest begin gave its worker';

/* One row at most: no lower than the token of any record that was removed. It is made by the first
   removal, so that a dump can be restored into a new extension. */
CREATE TABLE once.work_floor (
    one   pg_catalog.bool NOT NULL DEFAULT true CHECK (one),
    token pg_catalog.int8 NOT NULL,
    CONSTRAINT work_floor_pkey PRIMARY KEY (one),
    CONSTRAINT work_floor_token CHECK (token OPERATOR(pg_catalog.>=) 0 AND token OPERATOR(pg_catalog.<=) 4611686018427387904)
);
COMMENT ON TABLE once.work_floor IS 'The highest token of the work that was removed: later tokens are higher';
COMMENT ON COLUMN once.work_floor.one IS 'Always true: there is one row';
COMMENT ON COLUMN once.work_floor.token IS 'The highest token that was removed';

SELECT pg_catalog.pg_extension_config_dump('once.work_record', '');
SELECT pg_catalog.pg_extension_config_dump('once.work_floor', '');

CREATE FUNCTION begin_once(
    ns pg_catalog.text, key pg_catalog.text, lease once.duration DEFAULT '1 minute', request pg_catalog.jsonb DEFAULT NULL, wait once.duration DEFAULT '0',
    worker pg_catalog.text DEFAULT NULL
) RETURNS TABLE (outcome pg_catalog.text, token pg_catalog.int8, attempt pg_catalog.int4, result pg_catalog.jsonb, lease_until pg_catalog.timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'begin_once_wrapper';
COMMENT ON FUNCTION begin_once(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.jsonb, once.duration, pg_catalog.text) IS
    'Begins work under a lease. One row. outcome run: do the work, token fences it; result is the error with which the attempt before gave the work back, {} where it gave none, and NULL where nothing is known of its effects, because its lease ran out or its worker asks again; done: result is what was completed; failed: failed for good, result is the error; in_progress: somebody''s lease runs until lease_until (NULL while a transaction that decides is open); mismatch: begun with another request, comes before all others. Sleeps up to wait, at most 1 minute, while it is in progress. worker (at most 200 bytes, shown in once.work) names the process that asks: the same name whose token is current is answered run again, with the same token, a new lease and an attempt more, once no fence of that token is open. A token fences workers of different names only. Call it in autocommit: others see the lease at COMMIT. Reads the newest committed state at every isolation level. Errors: 22004 for NULL, 22023 for a lease that is not positive and at most 10 years a wait that is negative or infinite or a too long worker, 54000 for a request over 100 MB, 42501, 25006 in a read-only transaction, 40001.';

CREATE FUNCTION renew_once(ns pg_catalog.text, key pg_catalog.text, token pg_catalog.int8, lease once.duration DEFAULT '1 minute') RETURNS pg_catalog.timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'renew_once_wrapper';
COMMENT ON FUNCTION renew_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, once.duration) IS
    'Lets the lease end after this much time from now, and answers when that is. Also after its end, as long as nobody has taken the work over. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 22023 for a lease that is not positive and at most 10 years, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION complete_once(ns pg_catalog.text, key pg_catalog.text, token pg_catalog.int8, result pg_catalog.jsonb DEFAULT NULL) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'complete_once_wrapper';
COMMENT ON FUNCTION complete_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
    'Stores the result, which every later begin_once is told. True the first time, false if this token has completed the work already: the first result stays. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 54000 for a result over 100 MB, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION fail_once(
    ns pg_catalog.text, key pg_catalog.text, token pg_catalog.int8, error pg_catalog.jsonb DEFAULT NULL, retry pg_catalog.bool DEFAULT true, retry_after once.duration DEFAULT NULL
) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'fail_once_wrapper';
COMMENT ON FUNCTION fail_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb, pg_catalog.bool, once.duration) IS
    'With retry gives the work back, to be run again, not before retry_after is over; without retry ends it as failed, and every later begin_once is told the error. True. Waits for an open transaction that changes the work. Errors: 55000 (lease lost) for a token that is not current, 22004, 22023 for a retry_after that is negative or infinite, 54000 for an error over 100 MB, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION fence_once(ns pg_catalog.text, key pg_catalog.text, token pg_catalog.int8) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'fence_once_wrapper';
COMMENT ON FUNCTION fence_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8) IS
    'For the transaction that writes the effect. Always true: raises 55000 (lease lost) unless the token is current, and holds off a takeover until the transaction ends. Calls with the same token are not held off. Waits for an open transaction that changes the work. Errors: 55000, 22004, 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';

CREATE FUNCTION forget_once(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'forget_once_wrapper';
COMMENT ON FUNCTION forget_once(pg_catalog.text, pg_catalog.text) IS
    'Removes the record of finished work, as of commit: the next begin_once runs it, with a higher token. True if there was one; unfinished work is left alone. Errors: 22004, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 42501, 25006 in a read-only transaction; at REPEATABLE READ and SERIALIZABLE 40001 where it had to wait.';
