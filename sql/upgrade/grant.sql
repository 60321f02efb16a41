/* In an upgrade script behind the functions that it has created for everybody: they belong to the owner of schema once,
   default privileges give them to nobody, and EXECUTE is granted as in sql/grants.sql. */
CREATE FUNCTION once.grant_to_public(functions pg_catalog.text) RETURNS pg_catalog.void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE pg_catalog.concat('GRANT EXECUTE ON FUNCTION ', functions, ' TO PUBLIC');
END
$$;

DO $grant$
DECLARE
    /* As in 'once.check()' or '%1$I.once_key(pg_catalog.text)', where %1$I stands for the schema of the extension. */
    created CONSTANT pg_catalog.text[] := ARRAY[
-- the functions, one a line
    ]::pg_catalog.text[];
    home pg_catalog.name;
    owner pg_catalog.text;
    keeper pg_catalog.text;
    function pg_catalog.text;
    strangers pg_catalog.text;
BEGIN
    SELECT n.nspname, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.extowner))
    INTO STRICT home, owner
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once';
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) INTO STRICT keeper
    FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'once';

    /* Whoever upgrades is another one at times. */
    EXECUTE pg_catalog.concat('ALTER FUNCTION once.grant_to_public(pg_catalog.text) OWNER TO ', owner);
    FOREACH function IN ARRAY created LOOP
        function := pg_catalog.format(function, home);
        EXECUTE pg_catalog.concat('ALTER FUNCTION ', function, ' OWNER TO ', keeper);
        SELECT pg_catalog.concat_ws(', ', 'PUBLIC',
            pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(acl.grantee)), ', '))
        INTO STRICT strangers
        FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) acl
        WHERE p.oid OPERATOR(pg_catalog.=) function::pg_catalog.regprocedure::pg_catalog.oid
          AND acl.grantee OPERATOR(pg_catalog.<>) p.proowner
          AND acl.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
        EXECUTE pg_catalog.concat('REVOKE ALL ON FUNCTION ', function, ' FROM ', strangers, ' CASCADE');
        IF owner OPERATOR(pg_catalog.<>) keeper THEN
            EXECUTE pg_catalog.concat('GRANT EXECUTE ON FUNCTION ', function, ' TO ', owner, ' WITH GRANT OPTION');
        END IF;
        PERFORM once.grant_to_public(function);
    END LOOP;
END
$grant$;
DROP FUNCTION once.grant_to_public(pg_catalog.text);
