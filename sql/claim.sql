/* Made after once.access_policy: DROP EXTENSION locks the tables in the order in which they were made, and a call reads
   the policy of its namespace before it claims.

   The storage key stands for (ns, key), which are compared at every hit. Columns that are mostly NULL come last: a row
   leaves them out. */
CREATE TABLE once.claim (
    place_high pg_catalog.int2        NOT NULL,
    place_low  pg_catalog.int2        NOT NULL,
    hash_high  pg_catalog.int4        NOT NULL,
    hash_low   pg_catalog.int8        NOT NULL,
    claimed_at pg_catalog.timestamptz NOT NULL,
    ns         pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    key        pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    expires_at pg_catalog.timestamptz,
    owner      pg_catalog.uuid,
    CONSTRAINT claim_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low)
);
/* Both together fit a page: nothing is compressed or stored apart. */
ALTER TABLE once.claim ALTER COLUMN ns SET STORAGE PLAIN, ALTER COLUMN key SET STORAGE PLAIN;
COMMENT ON TABLE once.claim IS 'The claims: written by claim_once and its like only';
COMMENT ON COLUMN once.claim.place_high IS 'Upper half of the place of the key in the order in which such keys come';
COMMENT ON COLUMN once.claim.place_low IS 'Lower half of the place';
COMMENT ON COLUMN once.claim.hash_high IS 'First 4 bytes of BLAKE3 over the length-prefixed ns and key';
COMMENT ON COLUMN once.claim.hash_low IS 'The 8 bytes behind them';
COMMENT ON COLUMN once.claim.claimed_at IS 'When the claim was made, by clock_timestamp()';
COMMENT ON COLUMN once.claim.expires_at IS 'When it ends; never where null';
COMMENT ON COLUMN once.claim.owner IS 'Digest of the owner given with the claim';
COMMENT ON COLUMN once.claim.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.claim.key IS 'Key, 1 to 2000 bytes, as once_key makes it';

/* pg_dump saves the claims. */
SELECT pg_catalog.pg_extension_config_dump('once.claim', '');

CREATE FUNCTION claim_once(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_wrapper';
COMMENT ON FUNCTION claim_once(pg_catalog.text, pg_catalog.text) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION claim_once(ns pg_catalog.text, VARIADIC parts pg_catalog."any") RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_wrapper';
COMMENT ON FUNCTION claim_once(pg_catalog.text, VARIADIC pg_catalog."any") IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION claim_once(ns pg_catalog.text, VARIADIC parts pg_catalog.text[]) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_wrapper';
COMMENT ON FUNCTION claim_once(pg_catalog.text, VARIADIC pg_catalog.text[]) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION claim_once(ns pg_catalog.text, part1 pg_catalog.anynonarray, part2 pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_wrapper';
COMMENT ON FUNCTION claim_once(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION claim_once(ns pg_catalog.text, part1 pg_catalog.text, part2 pg_catalog.anynonarray) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_wrapper';
COMMENT ON FUNCTION claim_once(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray) IS
    'True for exactly one committed transaction, false for all others. Waits for a competitor whose transaction is open; if that rolls back, one of those who wait wins. A rollback, also to a savepoint, gives the claim back. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION claim_once_per(period once.duration, ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_wrapper';
COMMENT ON FUNCTION claim_once_per(once.duration, pg_catalog.text, pg_catalog.text) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and at most 10 years.';

CREATE FUNCTION claim_once_per(period once.duration, ns pg_catalog.text, VARIADIC parts pg_catalog."any") RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_wrapper';
COMMENT ON FUNCTION claim_once_per(once.duration, pg_catalog.text, VARIADIC pg_catalog."any") IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and at most 10 years.';

CREATE FUNCTION claim_once_per(period once.duration, ns pg_catalog.text, VARIADIC parts pg_catalog.text[]) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_wrapper';
COMMENT ON FUNCTION claim_once_per(once.duration, pg_catalog.text, VARIADIC pg_catalog.text[]) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and at most 10 years.';

CREATE FUNCTION claim_once_per(period once.duration, ns pg_catalog.text, part1 pg_catalog.anynonarray, part2 pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_wrapper';
COMMENT ON FUNCTION claim_once_per(once.duration, pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and at most 10 years.';

CREATE FUNCTION claim_once_per(period once.duration, ns pg_catalog.text, part1 pg_catalog.text, part2 pg_catalog.anynonarray) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'claim_once_per_wrapper';
COMMENT ON FUNCTION claim_once_per(once.duration, pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray) IS
    'True at most once per period: a claim that expires. A day is 24 hours, a month a calendar month in UTC. An expired claim is taken again by exactly one. At REPEATABLE READ false is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction. 22023 also for a period that is not positive and at most 10 years.';

CREATE FUNCTION claim_many(ns pg_catalog.text, keys pg_catalog.text[]) RETURNS SETOF pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'claim_many_wrapper';
COMMENT ON FUNCTION claim_many(pg_catalog.text, pg_catalog.text[]) IS
    'Claims many keys and returns those that this call won, in the order of the array, each once however often it stands there. All are claimed before the first row comes. Waits for competitors as claim_once does, in one order for all: transactions that make one such call each cannot deadlock. At REPEATABLE READ a key is lost to a claim though that is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors, after which nothing is claimed: 22004 for NULL, also as an element, 22023 for an array of several dimensions and for an empty or too long ns (128 bytes) or key (2000 bytes), 54000 for more than 10,000,000 keys, 25006 in a read-only transaction.';

CREATE FUNCTION try_claim_once(
    ns pg_catalog.text, key pg_catalog.text, "timeout" once.duration DEFAULT '0', ttl once.duration DEFAULT NULL, owner pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'try_claim_once_wrapper';
COMMENT ON FUNCTION try_claim_once(pg_catalog.text, pg_catalog.text, once.duration, once.duration, pg_catalog.text) IS
    '''won'', ''duplicate'', or ''in_progress'' when somebody''s transaction, which is open, still decides and the timeout is over (''0'': does not wait, NULL: waits as long as lock_timeout and statement_timeout allow). Then nothing was written, nothing is held and the transaction goes on. With a ttl the claim ends that long after it was made. A committed, unexpired claim with the same non-NULL owner answers ''won'' again and changes nothing; owner is a secret of the caller, at most 200 bytes, stored as a digest. At REPEATABLE READ ''duplicate'' is said though the claim is newer than the snapshot; at SERIALIZABLE that raises 40001. Errors: 22004 for a NULL ns or key, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), a too long owner, a negative or infinite timeout and a ttl that is not positive and at most 10 years, 25006 in a read-only transaction.';

CREATE FUNCTION is_claimed(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_wrapper';
COMMENT ON FUNCTION is_claimed(pg_catalog.text, pg_catalog.text) IS
    'Whether a committed, unexpired claim exists, or one of the own transaction. Never waits. Sees the newest committed state, under SERIALIZABLE the snapshot. Works in read-only transactions and on a standby, where it may be behind. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part.';

CREATE FUNCTION is_claimed(ns pg_catalog.text, VARIADIC parts pg_catalog."any") RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_wrapper';
COMMENT ON FUNCTION is_claimed(pg_catalog.text, VARIADIC pg_catalog."any") IS
    'Whether a committed, unexpired claim exists, or one of the own transaction. Never waits. Sees the newest committed state, under SERIALIZABLE the snapshot. Works in read-only transactions and on a standby, where it may be behind. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part.';

CREATE FUNCTION is_claimed(ns pg_catalog.text, VARIADIC parts pg_catalog.text[]) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_wrapper';
COMMENT ON FUNCTION is_claimed(pg_catalog.text, VARIADIC pg_catalog.text[]) IS
    'Whether a committed, unexpired claim exists, or one of the own transaction. Never waits. Sees the newest committed state, under SERIALIZABLE the snapshot. Works in read-only transactions and on a standby, where it may be behind. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part.';

CREATE FUNCTION is_claimed(ns pg_catalog.text, part1 pg_catalog.anynonarray, part2 pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_wrapper';
COMMENT ON FUNCTION is_claimed(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text) IS
    'Whether a committed, unexpired claim exists, or one of the own transaction. Never waits. Sees the newest committed state, under SERIALIZABLE the snapshot. Works in read-only transactions and on a standby, where it may be behind. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part.';

CREATE FUNCTION is_claimed(ns pg_catalog.text, part1 pg_catalog.text, part2 pg_catalog.anynonarray) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'is_claimed_wrapper';
COMMENT ON FUNCTION is_claimed(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray) IS
    'Whether a committed, unexpired claim exists, or one of the own transaction. Never waits. Sees the newest committed state, under SERIALIZABLE the snapshot. Works in read-only transactions and on a standby, where it may be behind. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part.';

CREATE FUNCTION unclaim(ns pg_catalog.text, key pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_wrapper';
COMMENT ON FUNCTION unclaim(pg_catalog.text, pg_catalog.text) IS
    'Gives the newest committed claim, or the own one, back as of commit. True if there was an unexpired one. Claimers that meet an open unclaim wait, and win if it commits. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION unclaim(ns pg_catalog.text, VARIADIC parts pg_catalog."any") RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_wrapper';
COMMENT ON FUNCTION unclaim(pg_catalog.text, VARIADIC pg_catalog."any") IS
    'Gives the newest committed claim, or the own one, back as of commit. True if there was an unexpired one. Claimers that meet an open unclaim wait, and win if it commits. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION unclaim(ns pg_catalog.text, VARIADIC parts pg_catalog.text[]) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_wrapper';
COMMENT ON FUNCTION unclaim(pg_catalog.text, VARIADIC pg_catalog.text[]) IS
    'Gives the newest committed claim, or the own one, back as of commit. True if there was an unexpired one. Claimers that meet an open unclaim wait, and win if it commits. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION unclaim(ns pg_catalog.text, part1 pg_catalog.anynonarray, part2 pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_wrapper';
COMMENT ON FUNCTION unclaim(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text) IS
    'Gives the newest committed claim, or the own one, back as of commit. True if there was an unexpired one. Claimers that meet an open unclaim wait, and win if it commits. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';

CREATE FUNCTION unclaim(ns pg_catalog.text, part1 pg_catalog.text, part2 pg_catalog.anynonarray) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unclaim_wrapper';
COMMENT ON FUNCTION unclaim(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray) IS
    'Gives the newest committed claim, or the own one, back as of commit. True if there was an unexpired one. Claimers that meet an open unclaim wait, and win if it commits. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes) or key (2000 bytes), 0A000 for an array or a row as a part, 25006 in a read-only transaction.';
