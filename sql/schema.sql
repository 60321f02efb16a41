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
