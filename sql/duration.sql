/* An interval as a parameter, given in a text with its unit. A function with a parameter of type interval cannot tell
   '5000' from '5000 seconds'. */
CREATE TYPE once.duration;

CREATE FUNCTION once.duration_in(pg_catalog.cstring, pg_catalog.oid, pg_catalog.int4) RETURNS once.duration
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'duration_in_wrapper';
COMMENT ON FUNCTION once.duration_in(pg_catalog.cstring, pg_catalog.oid, pg_catalog.int4) IS
    'Reads an interval as interval_in does. Errors: those of interval_in; 22023 for a number without a unit, but for zero.';

CREATE FUNCTION once.duration_out(once.duration) RETURNS pg_catalog.cstring
    LANGUAGE internal STABLE STRICT PARALLEL SAFE
    AS 'interval_out';
COMMENT ON FUNCTION once.duration_out(once.duration) IS 'Prints it as an interval, by IntervalStyle.';

CREATE FUNCTION once.duration_recv(pg_catalog.internal, pg_catalog.oid, pg_catalog.int4) RETURNS once.duration
    LANGUAGE internal STABLE STRICT PARALLEL SAFE
    AS 'interval_recv';
COMMENT ON FUNCTION once.duration_recv(pg_catalog.internal, pg_catalog.oid, pg_catalog.int4) IS 'Reads the binary form of an interval.';

CREATE FUNCTION once.duration_send(once.duration) RETURNS pg_catalog.bytea
    LANGUAGE internal STABLE STRICT PARALLEL SAFE
    AS 'interval_send';
COMMENT ON FUNCTION once.duration_send(once.duration) IS 'Writes it in the binary form of an interval.';

CREATE TYPE once.duration (
    INPUT = once.duration_in,
    OUTPUT = once.duration_out,
    RECEIVE = once.duration_recv,
    SEND = once.duration_send,
    LIKE = pg_catalog.interval,
    CATEGORY = 'T'
);
COMMENT ON TYPE once.duration IS 'The type of the parameters timeout, wait, lease, ttl, period and retry_after: an interval. Given as text (an untyped literal or parameter, text, varchar) it needs a unit: ''5 seconds'', not ''5''; zero needs none';

CREATE CAST (pg_catalog.interval AS once.duration) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.text AS once.duration) WITH INOUT AS IMPLICIT;
CREATE CAST (pg_catalog.varchar AS once.duration) WITH INOUT AS IMPLICIT;
CREATE CAST (once.duration AS pg_catalog.interval) WITHOUT FUNCTION AS ASSIGNMENT;
