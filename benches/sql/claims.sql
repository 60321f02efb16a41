/* What a user would write instead of a claim: each form with a table of its own, so that all grow alike. */
CREATE TABLE hand_insert    (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE hand_returning (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE hand_update    (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE hand_plpgsql   (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE hand_exception (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE hand_advisory  (ns text, key text, PRIMARY KEY (ns, key));

/* A model of ActiveRecord has an id. */
CREATE TABLE rails_create   (id bigserial PRIMARY KEY, ns text NOT NULL, key text NOT NULL, UNIQUE (ns, key));
CREATE TABLE rails_nested   (id bigserial PRIMARY KEY, ns text NOT NULL, key text NOT NULL, UNIQUE (ns, key));
CREATE TABLE rails_find     (id bigserial PRIMARY KEY, ns text NOT NULL, key text NOT NULL, UNIQUE (ns, key));

CREATE FUNCTION claim_by_plpgsql(the_ns text, the_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hand_plpgsql VALUES (the_ns, the_key) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

CREATE FUNCTION claim_by_exception(the_ns text, the_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hand_exception VALUES (the_ns, the_key);
    RETURN true;
EXCEPTION WHEN unique_violation THEN
    RETURN false;
END
$$;

/* One statement after the other inside the backend, each from a kept plan. */
CREATE FUNCTION loop_over_nothing(the_ns text, keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
    won bigint := 0;
BEGIN
    FOREACH the_key IN ARRAY keys LOOP
    END LOOP;
    RETURN won;
END
$$;

CREATE FUNCTION loop_over_insert(the_ns text, keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
    won bigint := 0;
BEGIN
    FOREACH the_key IN ARRAY keys LOOP
        INSERT INTO hand_insert VALUES (the_ns, the_key) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            won := won + 1;
        END IF;
    END LOOP;
    RETURN won;
END
$$;

CREATE FUNCTION loop_over_claim_once(the_ns text, keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    the_key text;
    won bigint := 0;
BEGIN
    FOREACH the_key IN ARRAY keys LOOP
        IF claim_once(the_ns, the_key) THEN
            won := won + 1;
        END IF;
    END LOOP;
    RETURN won;
END
$$;
