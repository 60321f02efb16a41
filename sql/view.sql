/* The views read from functions, which return what the caller may see and nothing else: no condition of
   the caller comes before the check of the role, and EXPLAIN knows nothing of the tables. */
CREATE FUNCTION once.visible_namespaces() RETURNS TABLE (ns pg_catalog.text, ttl pg_catalog.interval, allowed_role pg_catalog.regrole)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'visible_namespaces_wrapper';
COMMENT ON FUNCTION once.visible_namespaces() IS
    'The rows of the view once.namespaces, as of the snapshot of the calling statement. Reads the whole table, whatever the caller looks for. Errors: 25000 in a parallel operation.';

CREATE VIEW once.namespaces AS
    SELECT n.ns COLLATE pg_catalog."C" AS ns, n.ttl, n.allowed_role FROM once.visible_namespaces() n;
COMMENT ON VIEW once.namespaces IS 'What once.configure said: of namespaces that the caller may use, and all for the owner of the extension or of the database';

CREATE FUNCTION once.visible_claims() RETURNS TABLE (
    ns pg_catalog.text, key pg_catalog.text, parts pg_catalog.text[], claimed_at pg_catalog.timestamptz, expires_at pg_catalog.timestamptz
)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'visible_claims_wrapper';
COMMENT ON FUNCTION once.visible_claims() IS
    'The rows of the view once.claims, as of the snapshot of the calling statement. Reads the whole table, whatever the caller looks for. Errors: 25000 in a parallel operation.';

CREATE VIEW once.claims AS
    SELECT c.ns COLLATE pg_catalog."C" AS ns, c.key COLLATE pg_catalog."C" AS key, c.parts COLLATE pg_catalog."C" AS parts, c.claimed_at, c.expires_at
    FROM once.visible_claims() c;
COMMENT ON VIEW once.claims IS 'The committed claims of namespaces that the caller may use, expired ones included until they are swept; parts are those of which once_key made the key. Reads all claims: once.claims_of reads a page of one namespace';

CREATE FUNCTION once.claims_of(ns pg_catalog.text, after pg_catalog.text DEFAULT NULL, max_rows pg_catalog.int4 DEFAULT 1000) RETURNS TABLE (
    ns pg_catalog.text, key pg_catalog.text, parts pg_catalog.text[], claimed_at pg_catalog.timestamptz, expires_at pg_catalog.timestamptz
)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'claims_of_wrapper';
COMMENT ON FUNCTION once.claims_of(pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
    'The rows of once.claims of one namespace whose keys come after the given key, in the order of the keys (COLLATE "C"), max_rows at most. The next page comes after the last key of this one. Errors: 22004 for a NULL ns or max_rows, 22023 for an empty or too long ns (128 bytes) or a negative max_rows, 42501.';

CREATE FUNCTION once.visible_work() RETURNS TABLE (
    ns pg_catalog.text, key pg_catalog.text, state pg_catalog.text, token pg_catalog.int8, attempt pg_catalog.int4,
    begun_at pg_catalog.timestamptz, lease_until pg_catalog.timestamptz, finished_at pg_catalog.timestamptz, expires_at pg_catalog.timestamptz,
    worker pg_catalog.text
)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'visible_work_wrapper';
COMMENT ON FUNCTION once.visible_work() IS
    'The rows of the view once.work, as of the snapshot of the calling statement. Reads the whole table, whatever the caller looks for. Errors: 25000 in a parallel operation.';

CREATE VIEW once.work AS
    SELECT w.ns COLLATE pg_catalog."C" AS ns, w.key COLLATE pg_catalog."C" AS key, w.state,
           w.token, w.attempt, w.begun_at, w.lease_until, w.finished_at, w.expires_at,
           w.worker COLLATE pg_catalog."C" AS worker
    FROM once.visible_work() w;
COMMENT ON VIEW once.work IS 'The committed work of namespaces that the caller may use: running (its lease may be over), given back (lease_until is when it may be run again, NULL for at once), done or failed. worker is the name that the latest begin gave. What has expired or was forgotten is left out. Requests and results are not shown. Reads all work: once.work_of reads a page of one namespace';

CREATE FUNCTION once.work_of(ns pg_catalog.text, after pg_catalog.text DEFAULT NULL, max_rows pg_catalog.int4 DEFAULT 1000) RETURNS TABLE (
    ns pg_catalog.text, key pg_catalog.text, state pg_catalog.text, token pg_catalog.int8, attempt pg_catalog.int4,
    begun_at pg_catalog.timestamptz, lease_until pg_catalog.timestamptz, finished_at pg_catalog.timestamptz, expires_at pg_catalog.timestamptz,
    worker pg_catalog.text
)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'work_of_wrapper';
COMMENT ON FUNCTION once.work_of(pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
    'The rows of once.work of one namespace whose keys come after the given key, in the order of the keys (COLLATE "C"), max_rows at most. The next page comes after the last key of this one. Errors: 22004 for a NULL ns or max_rows, 22023 for an empty or too long ns (128 bytes) or a negative max_rows, 42501.';
