CREATE FUNCTION with_row_lock(
    target pg_catalog.anyelement, key pg_catalog.jsonb, defaults pg_catalog.jsonb DEFAULT '{}', "timeout" once.duration DEFAULT NULL
) RETURNS SETOF pg_catalog.anyelement
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_row_lock_wrapper';
COMMENT ON FUNCTION with_row_lock(pg_catalog.anyelement, pg_catalog.jsonb, pg_catalog.jsonb, once.duration) IS
    'Takes the turn at the one row of the table that has this key, finds or creates it, locks it FOR NO KEY UPDATE until commit and returns it; no row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). defaults are used only when the row is created. Runs with the rights of the caller. At REPEATABLE READ and SERIALIZABLE a row created or changed after the snapshot raises 40001. Errors: 22004, 22023 for a malformed key, 42703, 42809 where the target is no table, 21000 for several rows, 42501, 55000 where a trigger or rule keeps the row out; those of the table''s own constraints and triggers arrive whole.';

CREATE FUNCTION find_or_create(
    target pg_catalog.anyelement, key pg_catalog.jsonb, defaults pg_catalog.jsonb DEFAULT '{}', lock pg_catalog.bool DEFAULT false,
    "timeout" once.duration DEFAULT NULL, OUT created pg_catalog.bool, OUT entity pg_catalog.anyelement
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'find_or_create_wrapper';
COMMENT ON FUNCTION find_or_create(pg_catalog.anyelement, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.bool, once.duration) IS
    'Finds the one row of the table that has this key without locking or writing anything; creates it, in turns, when there is none. With lock it is locked as with_row_lock does. No row when the timeout is over. Runs with the rights of the caller. Isolation and errors are those of with_row_lock.';

/* The language of the functions that define_row_lock makes: a body is the table and the key, in JSON. */
CREATE FUNCTION once.row_lock_handler() RETURNS pg_catalog.language_handler
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'row_lock_handler_wrapper';
COMMENT ON FUNCTION once.row_lock_handler() IS
    'Runs the functions of language once_row_lock. PostgreSQL calls it.';
CREATE FUNCTION once.row_lock_validator(pg_catalog.oid) RETURNS pg_catalog.void
    LANGUAGE c STRICT
    AS 'MODULE_PATHNAME', 'row_lock_validator_wrapper';
COMMENT ON FUNCTION once.row_lock_validator(pg_catalog.oid) IS
    'Checks the body of a function of language once_row_lock when it is created. PostgreSQL calls it.';
CREATE TRUSTED LANGUAGE once_row_lock HANDLER once.row_lock_handler VALIDATOR once.row_lock_validator;
ALTER LANGUAGE once_row_lock OWNER TO @extowner@;
COMMENT ON LANGUAGE once_row_lock IS
    'Functions that once.define_row_lock makes: each takes the turn at a row of one table by one key.';

CREATE FUNCTION once.define_row_lock(
    function_name pg_catalog.text, target pg_catalog.regclass, key_columns pg_catalog.text[], condition pg_catalog.jsonb DEFAULT '{}'
) RETURNS pg_catalog.regprocedure
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'define_row_lock_wrapper';
COMMENT ON FUNCTION once.define_row_lock(pg_catalog.text, pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb) IS
    'Creates function_name(the key columns, "timeout" interval DEFAULT NULL, defaults jsonb DEFAULT ''{}'') RETURNS SETOF target, which does what with_row_lock does for this table and key, with typed arguments. condition is a JSON object of more columns of the key, with the values that they have in every call ({"deleted_at": null}). function_name is an SQL name, with or without a schema (else the current one). The function belongs to the caller, runs with the rights of its caller, and is dumped and restored; its language is once_row_lock. A function of the same name and key types that the caller made with define_row_lock is replaced. Where a key column is called timeout or defaults, that argument is called timeout_ or defaults_. Errors: 22004 for NULL, 22023 for no or repeated columns, a column in key_columns and condition, a condition that is no object or a malformed name, 42703, 42723 where another function of this name and these types exists, 42809 where the target is no table, 0A000 for a type without equality, 2BP01 where something depends on a function that cannot be replaced as it is, 3F000 without a current schema, 42501.';
