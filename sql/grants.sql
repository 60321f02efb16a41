/* Default privileges of the installing role must not reach the extension's own tables, nor its
   administration: who could write them, or put a trigger on them, would act with their owner's rights. */
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT 'SCHEMA once' AS object, acl.grantee
        FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) acl
        WHERE n.nspname OPERATOR(pg_catalog.=) 'once'
          AND acl.grantee OPERATOR(pg_catalog.<>) n.nspowner
        UNION
        SELECT pg_catalog.format('TABLE once.%I', c.relname), acl.grantee
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
             pg_catalog.aclexplode(c.relacl) acl
        WHERE n.nspname OPERATOR(pg_catalog.=) 'once'
          AND acl.grantee OPERATOR(pg_catalog.<>) c.relowner
        UNION
        SELECT pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure), acl.grantee
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace,
             pg_catalog.aclexplode(p.proacl) acl
        WHERE n.nspname OPERATOR(pg_catalog.=) 'once'
          AND acl.grantee OPERATOR(pg_catalog.<>) p.proowner
          AND acl.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
    LOOP
        EXECUTE pg_catalog.format(
            'REVOKE ALL ON %s FROM %s CASCADE', given.object,
            CASE
                WHEN given.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(given.grantee))
            END);
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA once TO PUBLIC;
/* The extension's owner may dump and restore the claims. */
GRANT SELECT, INSERT ON once.claim, once.access_policy, once.work_record, once.work_floor TO @extowner@;

/* The removed rows are data of users: only the extension's owner reads them, restores a dump of them,
   and clears them away. */
GRANT SELECT, INSERT, DELETE ON once.merged_rows TO @extowner@;

/* Everybody may look at what he may use. */
GRANT SELECT ON once.claims, once.locks, once.namespaces, once.stats, once.work TO PUBLIC;

/* Administration is for the owners of the extension and of the database. */
REVOKE ALL ON FUNCTION
    once.configure(text, interval, regrole), once.unconfigure(text), once.sweep(integer),
    once.reset_stats(text), once.namespace_changed(), once.namespace_written() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    once.configure(text, interval, regrole), once.unconfigure(text), once.sweep(integer),
    once.reset_stats(text)
    TO @extowner@, pg_database_owner;
