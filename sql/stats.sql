CREATE FUNCTION once.counters() RETURNS TABLE (ns pg_catalog.text, counts pg_catalog.int8[], holder pg_catalog.text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100
    AS 'MODULE_PATHNAME', 'counters_wrapper';
COMMENT ON FUNCTION once.counters() IS
    'What once.stats shows: the counters of the namespaces that the caller may use. The row without a name, where there is no room for further names, also says who holds it: this database or others. For once.check.';

CREATE VIEW once.stats AS
    SELECT c.ns, c.counts[1] AS won, c.counts[2] AS duplicate, c.counts[3] AS in_progress, c.counts[4] AS waits,
           pg_catalog.make_interval(secs => c.counts[5]::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8) AS wait_time,
           c.counts[6] AS timeouts, c.counts[7] AS takeovers, c.counts[8] AS mismatches, c.counts[9] AS swept
    FROM once.counters() c;
COMMENT ON VIEW once.stats IS 'What calls were told in the namespaces that the caller may use, since the start of the server or the last once.reset_stats; without preload, what this session was told';
COMMENT ON COLUMN once.stats.ns IS 'Namespace; null for all those of this database that found no place. Only members of pg_read_all_stats and of pg_database_owner, and the owner of the extension, see that row';
COMMENT ON COLUMN once.stats.won IS 'Claims won, and work told to run';
COMMENT ON COLUMN once.stats.duplicate IS 'Claims that stood already, and work that was over';
COMMENT ON COLUMN once.stats.in_progress IS 'Calls told that somebody else is at it';
COMMENT ON COLUMN once.stats.waits IS 'Calls that had to wait: for a lock, or in begin_once for somebody''s work';
COMMENT ON COLUMN once.stats.wait_time IS 'How long these took';
COMMENT ON COLUMN once.stats.timeouts IS 'Those of them whose timeout, lock_timeout or statement_timeout was over, or that were cancelled';
COMMENT ON COLUMN once.stats.takeovers IS 'Work told to run after somebody''s lease was over';
COMMENT ON COLUMN once.stats.mismatches IS 'Work begun with another request';
COMMENT ON COLUMN once.stats.swept IS 'Claims and work removed by sweeps';

CREATE FUNCTION once.reset_stats(ns pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'reset_stats_wrapper';
COMMENT ON FUNCTION once.reset_stats(pg_catalog.text) IS
    'Always true. Sets the counters of once.stats back to zero: of one namespace, or with NULL of all namespaces of this database. At once, whether or not the transaction commits. For the owner of the extension or of the database. Errors: 22023 for an empty or too long ns (128 bytes), 42501.';
