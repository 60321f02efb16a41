/* Four forms, so that the default binding of every driver resolves: two values of any types, and
   texts in the place of either or both. */

CREATE FUNCTION with_payment_lock(
    service_id pg_catalog."any", line_item_id pg_catalog."any", "timeout" once.duration DEFAULT NULL,
    defaults pg_catalog.jsonb DEFAULT '{}', OUT created pg_catalog.bool, OUT payment pg_catalog.jsonb
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(pg_catalog."any", pg_catalog."any", once.duration, pg_catalog.jsonb) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). defaults gives other columns of the row their values when it is created. Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 22023 where defaults is not a JSON object or names a key column, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id pg_catalog.text, line_item_id pg_catalog.text, "timeout" once.duration DEFAULT NULL,
    defaults pg_catalog.jsonb DEFAULT '{}', OUT created pg_catalog.bool, OUT payment pg_catalog.jsonb
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.jsonb) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). defaults gives other columns of the row their values when it is created. Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 22023 where defaults is not a JSON object or names a key column, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id pg_catalog.anynonarray, line_item_id pg_catalog.text, "timeout" once.duration DEFAULT NULL,
    defaults pg_catalog.jsonb DEFAULT '{}', OUT created pg_catalog.bool, OUT payment pg_catalog.jsonb
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(pg_catalog.anynonarray, pg_catalog.text, once.duration, pg_catalog.jsonb) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). defaults gives other columns of the row their values when it is created. Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 22023 where defaults is not a JSON object or names a key column, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id pg_catalog.text, line_item_id pg_catalog.anynonarray, "timeout" once.duration DEFAULT NULL,
    defaults pg_catalog.jsonb DEFAULT '{}', OUT created pg_catalog.bool, OUT payment pg_catalog.jsonb
) RETURNS SETOF pg_catalog.record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(pg_catalog.text, pg_catalog.anynonarray, once.duration, pg_catalog.jsonb) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). defaults gives other columns of the row their values when it is created. Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 22023 where defaults is not a JSON object or names a key column, 42P01 where the table is missing.';
