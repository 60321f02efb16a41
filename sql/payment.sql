/* Four forms, so that the default binding of every driver resolves: two values of any types, and
   texts in the place of either or both. */

CREATE FUNCTION with_payment_lock(
    service_id "any", line_item_id "any", "timeout" interval DEFAULT NULL, OUT created boolean, OUT payment jsonb
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock("any", "any", interval) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id text, line_item_id text, "timeout" interval DEFAULT NULL, OUT created boolean, OUT payment jsonb
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(text, text, interval) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id anynonarray, line_item_id text, "timeout" interval DEFAULT NULL, OUT created boolean, OUT payment jsonb
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(anynonarray, text, interval) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 42P01 where the table is missing.';

CREATE FUNCTION with_payment_lock(
    service_id text, line_item_id anynonarray, "timeout" interval DEFAULT NULL, OUT created boolean, OUT payment jsonb
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'with_payment_lock_wrapper';
COMMENT ON FUNCTION with_payment_lock(text, anynonarray, interval) IS
    'Takes the turn at the payment (service_id, line_item_id) of the table named by pg_once.payment_table, finds or creates its row, locks it FOR NO KEY UPDATE until commit and returns it as jsonb, for looking: change amounts with SQL. No row when the timeout is over (NULL: waits as long as lock_timeout and statement_timeout allow, ''0'': does not wait). Runs with the rights of the caller. Isolation and errors are those of with_row_lock; 0A000 for an array as an identifier, 42P01 where the table is missing.';
