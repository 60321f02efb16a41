\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A table as frameworks make them: NOT NULL columns without a default.
CREATE TABLE payments (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, service_id bigint NOT NULL, line_item_id text NOT NULL,
	amount numeric(12,2) NOT NULL, created_at timestamptz NOT NULL, updated_on date NOT NULL, state text NOT NULL DEFAULT 'new',
	UNIQUE (service_id, line_item_id));
SELECT once.define_row_lock('with_payment', 'payments', '{service_id,line_item_id}');

-- What was not given is named, with the form in which it is.
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(1, 'A') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '{"amount": 5}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '{"amount": 5, "created_at": "now"}', timeout => '1 minute') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1, "line_item_id": "A"}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_payment(1, 'A') $$) AS line WHERE line !~ '^detail';
-- A value that is given as NULL was given.
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '{"amount": null}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": null}') $$) AS line WHERE line !~ '^detail';
SELECT count(*) FROM payments;

-- It is created with defaults; one that is there is not touched by them.
SELECT created, payment->'amount' AS amount, (payment->>'created_at')::timestamptz = now() AS is_now, (payment->>'updated_on')::date = current_date AS is_today, payment->'state' AS state
	FROM with_payment_lock(1, 'A', defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
SELECT created, payment->'amount' AS amount FROM with_payment_lock(1, 'A', '1 second', '{"amount": 6}');
SELECT created, payment->'amount' AS amount FROM with_payment_lock(1, 'A', '0');
SELECT created FROM with_payment_lock(1, 'A');
SELECT created, payment->'state' AS state
	FROM with_payment_lock(service_id => 1, line_item_id => 'B', timeout => NULL, defaults => '{"amount": 5, "created_at": "now", "updated_on": "2026-11-30", "state": "open"}');
SELECT amount, created_at = now() AS is_now FROM with_payment(1, 'C', defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
SELECT amount, created_at = now() AS is_now FROM with_row_lock(NULL::payments, '{"service_id": 1, "line_item_id": "D"}', '{"amount": 5, "created_at": "now", "updated_on": "now"}');
-- The four forms.
SELECT created FROM with_payment_lock(2::bigint, 'A'::text, defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
SELECT created FROM with_payment_lock(2::int, 3::int, defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
SELECT created FROM with_payment_lock('2'::text, 4, defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
SELECT created FROM with_payment_lock('2', '5', defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}');
PREPARE pay AS SELECT created FROM with_payment_lock($1, $2, defaults => $3);
EXECUTE pay(2, '6', '{"amount": 5, "created_at": "now", "updated_on": "now"}');
DEALLOCATE pay;
SELECT line_item_id, count(*) FROM payments WHERE service_id = 2 GROUP BY line_item_id ORDER BY line_item_id;

-- What defaults must be.
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => NULL) $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '[]') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '{"service_id": 2}') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 'A', defaults => '{"currency": "EUR"}') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(9, 'A', defaults => '{"amount": "much"}') $$);

-- Another statement than the function's own raised it: of a trigger, on another table and on the same one.
CREATE TABLE ledger (line_item_id text, booked_at timestamptz NOT NULL);
CREATE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger (line_item_id) VALUES (new.line_item_id); RETURN new; END $$;
CREATE TRIGGER book AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION book();
SELECT pg_temp.raised($$ SELECT with_payment_lock(3, 'A', defaults => '{"amount": 5, "created_at": "now", "updated_on": "now"}') $$);
CREATE OR REPLACE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO payments (service_id, line_item_id, amount, updated_on) VALUES (new.service_id, 'fee', 0, 'now'); RETURN new; END $$;
-- The caller's row has what it needs from another trigger, and the trigger's own row has not.
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.created_at = coalesce(new.created_at, CASE WHEN new.line_item_id <> 'fee' THEN now() END); RETURN new; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION stamp();
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(3, 'A', defaults => '{"updated_on": "now", "amount": 1}') $$) AS line WHERE line !~ '^detail';
DROP TRIGGER stamp ON payments;
DROP TRIGGER book ON payments;
-- A trigger empties a column that was given, and one that has a default.
CREATE OR REPLACE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.amount = NULL; RETURN new; END $$;
CREATE TRIGGER book BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION book();
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(3, 'A', defaults => '{"created_at": "now", "updated_on": "now", "amount": 1}') $$) AS line WHERE line !~ '^detail';
CREATE OR REPLACE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.state = NULL; RETURN new; END $$;
SELECT line FROM pg_temp.raised($$ SELECT with_payment_lock(3, 'A', defaults => '{"created_at": "now", "updated_on": "now", "amount": 1}') $$) AS line WHERE line !~ '^detail';
DROP TABLE ledger, payments CASCADE;
DROP FUNCTION book, stamp;

-- In a partition; with a name in quotes; in a generated column, whose value nobody gives; in a domain, which names no column.
CREATE DOMAIN paid AS int NOT NULL;
CREATE TABLE bill (number int, "the ""day""" date NOT NULL, twice int NOT NULL GENERATED ALWAYS AS (half * 2) STORED, half int, paid paid DEFAULT 1) PARTITION BY LIST (number);
CREATE TABLE bills PARTITION OF bill DEFAULT;
SELECT line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::bill, '{"number": 1}', '{"half": 1}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::bill, '{"number": 1}', '{"the \"day\"": "now"}') $$) AS line WHERE line !~ '^detail';
SELECT line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::bill, '{"number": 1}', '{"the \"day\"": "now", "half": 1, "paid": null}') $$) AS line WHERE line !~ '^detail';
SELECT twice FROM with_row_lock(NULL::bill, '{"number": 1}', '{"the \"day\"": "now", "half": 1}');
DROP TABLE bill;
DROP DOMAIN paid;
