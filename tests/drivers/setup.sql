CREATE EXTENSION pg_once;

CREATE TABLE payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_id bigint NOT NULL,
    line_item_id text NOT NULL,
    amount numeric(12,2) NOT NULL DEFAULT 0,
    currency text
);

CREATE TABLE payments_of_named_services (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_id text NOT NULL,
    line_item_id text NOT NULL
);

CREATE TABLE books (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    author text NOT NULL,
    price numeric(8,2)
);
