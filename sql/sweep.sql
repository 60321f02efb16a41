CREATE FUNCTION once.sweep(max_rows pg_catalog.int4 DEFAULT 10000) RETURNS pg_catalog.int8
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'sweep_wrapper';
COMMENT ON FUNCTION once.sweep(pg_catalog.int4) IS
    'Removes up to max_rows rows, claims that have expired and work that is over and no longer remembered, and returns how many it removed: half of them of each kind where there are so many, so that neither waits for the other. Never removes unfinished work. Skips what is in use at this moment. It reads the tables once; calls for the keys that it removed wait for its transaction, so let it be short. For the owner of the extension or of the database. Errors: 22004 for NULL, 22023 for a negative number, 42501, 25006 in a read-only transaction; 40001 at REPEATABLE READ and SERIALIZABLE where a claim changed after the snapshot.';

CREATE FUNCTION once.purge(
    ns pg_catalog.text, before pg_catalog.timestamptz DEFAULT NULL, max_rows pg_catalog.int4 DEFAULT 10000, unfinished pg_catalog.bool DEFAULT false
) RETURNS pg_catalog.int8
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'purge_wrapper';
COMMENT ON FUNCTION once.purge(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.bool) IS
    'Removes up to max_rows rows of the namespace, claims that were made and work that was finished before that time (NULL: whenever), and returns how many it removed: call it until it returns 0. What was removed can be claimed and begun again as of commit; tokens go on rising. With unfinished also work that was begun before that time and is not finished: its tokens become stale. Skips what is in use at this moment. It reads the tables once. For the owner of the extension or of the database, and the members of the role that the namespace is kept for. Errors: 22004 for NULL but in before, 22023 for an empty or too long ns (128 bytes) or a negative max_rows, 42501, 25006 in a read-only transaction; 40001 at REPEATABLE READ and SERIALIZABLE where a row changed after the snapshot.';
