CREATE TABLE payments (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_id   bigint NOT NULL,
    line_item_id text NOT NULL,
    amount       numeric(12,2) NOT NULL DEFAULT 0,
    UNIQUE (service_id, line_item_id)
);

/* The one call, as docs/payments.md has it. */
CREATE FUNCTION add_to_payment(service bigint, item text, added numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    payment payments;
BEGIN
    SELECT * INTO STRICT payment
        FROM with_row_lock(NULL::payments, jsonb_build_object('service_id', service, 'line_item_id', item));
    UPDATE payments SET amount = amount + added WHERE id = payment.id RETURNING amount INTO payment.amount;
    RETURN payment.amount;
END
$$;

/* The same by a typed function. */
SELECT once.define_row_lock('lock_payment', 'payments', '{service_id,line_item_id}');

CREATE FUNCTION add_by_lock_payment(service bigint, item text, added numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    payment payments;
BEGIN
    payment := lock_payment(service, item);
    UPDATE payments SET amount = amount + added WHERE id = payment.id RETURNING amount INTO payment.amount;
    RETURN payment.amount;
END
$$;

/* The same by hand, for a table with a unique index: a row that was just inserted is not looked for. */
CREATE FUNCTION add_by_insert_first(service bigint, item text, added numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    payment payments;
BEGIN
    INSERT INTO payments (service_id, line_item_id) VALUES (service, item) ON CONFLICT DO NOTHING
        RETURNING * INTO payment;
    IF NOT FOUND THEN
        SELECT * INTO STRICT payment FROM payments
            WHERE service_id = service AND line_item_id = item FOR NO KEY UPDATE;
    END IF;
    UPDATE payments SET amount = amount + added WHERE id = payment.id RETURNING amount INTO payment.amount;
    RETURN payment.amount;
END
$$;

CREATE FUNCTION add_by_select_first(service bigint, item text, added numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    payment payments;
BEGIN
    SELECT * INTO payment FROM payments
        WHERE service_id = service AND line_item_id = item FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO payments (service_id, line_item_id) VALUES (service, item) ON CONFLICT DO NOTHING
            RETURNING * INTO payment;
        IF NOT FOUND THEN
            SELECT * INTO STRICT payment FROM payments
                WHERE service_id = service AND line_item_id = item FOR NO KEY UPDATE;
        END IF;
    END IF;
    UPDATE payments SET amount = amount + added WHERE id = payment.id RETURNING amount INTO payment.amount;
    RETURN payment.amount;
END
$$;
