/* The schema of the extension's tables and of administration. It must be the extension's own:
   objects that somebody put into a schema of this name before would be taken for its. */
DO $$
DECLARE
    home pg_catalog.text;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'once') THEN
        RAISE EXCEPTION 'schema "once" already exists'
            USING ERRCODE = 'duplicate_schema',
                  HINT = 'pg_once needs the schema "once" for its own tables. Rename or drop the existing one.';
    END IF;
    /* In a schema of the server its functions would come before all others of their names. */
    SELECT n.nspname INTO STRICT home
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once';
    IF home OPERATOR(pg_catalog.=) 'information_schema' OR pg_catalog.starts_with(home, 'pg_') THEN
        RAISE EXCEPTION 'pg_once cannot be created in schema "%"', home
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Name a schema of your own: CREATE SCHEMA pgonce; CREATE EXTENSION pg_once SCHEMA pgonce.';
    END IF;
END
$$;

CREATE SCHEMA once;
COMMENT ON SCHEMA once IS 'pg_once: its tables and administration';

/* The storage key stands for (ns, key), which are compared at every hit. Columns that are mostly NULL come last: a row
   leaves them out. */
CREATE TABLE once.claim (
    place_high pg_catalog.int2        NOT NULL,
    place_low  pg_catalog.int2        NOT NULL,
    hash_high  pg_catalog.int4        NOT NULL,
    hash_low   pg_catalog.int8        NOT NULL,
    claimed_at pg_catalog.timestamptz NOT NULL,
    ns         pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    key        pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    expires_at pg_catalog.timestamptz,
    owner      pg_catalog.uuid,
    CONSTRAINT claim_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low)
);
/* Both together fit a page: nothing is compressed or stored apart. */
ALTER TABLE once.claim ALTER COLUMN ns SET STORAGE PLAIN, ALTER COLUMN key SET STORAGE PLAIN;
COMMENT ON TABLE once.claim IS 'The claims: written by claim_once and its like only';
COMMENT ON COLUMN once.claim.place_high IS 'Upper half of the place of the key in the order in which such keys come';
COMMENT ON COLUMN once.claim.place_low IS 'Lower half of the place';
COMMENT ON COLUMN once.claim.hash_high IS 'First 4 bytes of BLAKE3 over the length-prefixed ns and key';
COMMENT ON COLUMN once.claim.hash_low IS 'The 8 bytes behind them';
COMMENT ON COLUMN once.claim.claimed_at IS 'When the claim was made, by clock_timestamp()';
COMMENT ON COLUMN once.claim.expires_at IS 'When it ends; never where null';
COMMENT ON COLUMN once.claim.owner IS 'Digest of the owner given with the claim';
COMMENT ON COLUMN once.claim.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.claim.key IS 'Key, 1 to 2000 bytes, as once_key makes it';

/* pg_dump saves the claims. */
SELECT pg_catalog.pg_extension_config_dump('once.claim', '');
