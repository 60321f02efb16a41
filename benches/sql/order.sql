/* Claims by hand, with what a claim stores; each key in a transaction of its own, as applications claim. */
CREATE TABLE keys (key text, is_warming boolean NOT NULL);
CREATE TABLE hand (
    ns         text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (ns, key)
);

CREATE PROCEDURE insert_each(the_ns text, warming boolean) LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
BEGIN
    FOR the_key IN SELECT key FROM keys WHERE is_warming = warming LOOP
        INSERT INTO hand VALUES (the_ns, the_key) ON CONFLICT DO NOTHING;
        COMMIT;
    END LOOP;
END
$$;

CREATE PROCEDURE claim_each(the_ns text, warming boolean) LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
BEGIN
    FOR the_key IN SELECT key FROM keys WHERE is_warming = warming LOOP
        PERFORM claim_once(the_ns, the_key);
        COMMIT;
    END LOOP;
END
$$;

/* The columns of a claim with a hash alone as the primary key. */
CREATE TABLE by_hash (
    hash       uuid PRIMARY KEY,
    claimed_at timestamptz NOT NULL,
    ns         text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    expires_at timestamptz,
    owner      uuid
);

CREATE FUNCTION row_by_hash(the_ns text, keys text[]) RETURNS SETOF by_hash LANGUAGE sql AS $$
    SELECT md5(the_ns || ' ' || key)::uuid, now(), the_ns, key, NULL::timestamptz, NULL::uuid FROM unnest(keys) key
$$;

CREATE PROCEDURE insert_each_by_hash(the_ns text, warming boolean) LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
BEGIN
    FOR the_key IN SELECT key FROM keys WHERE is_warming = warming LOOP
        INSERT INTO by_hash SELECT * FROM row_by_hash(the_ns, ARRAY[the_key]) ON CONFLICT DO NOTHING;
        COMMIT;
    END LOOP;
END
$$;
