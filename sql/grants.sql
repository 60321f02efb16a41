/* Who may do what. This is the last part of the script: every object below was made by it. What default privileges
   of the installing role gave to others is taken back first: who could write the tables, or put a trigger on them,
   would act with their owner's rights. */

/* Grants with the rights of the extension's owner, who can then revoke. It is dropped below. */
CREATE FUNCTION once.grant_to_public(functions pg_catalog.text) RETURNS pg_catalog.void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE pg_catalog.concat('GRANT EXECUTE ON FUNCTION ', functions, ' TO PUBLIC');
END
$$;
ALTER FUNCTION once.grant_to_public(pg_catalog.text) OWNER TO @extowner@;

DO $$
DECLARE
    tables CONSTANT pg_catalog.text[] := ARRAY[
        'once.access_policy',
        'once.claim',
        'once.merged_rows',
        'once.work_floor',
        'once.work_record'
    ];
    views CONSTANT pg_catalog.text[] := ARRAY[
        'once.claims',
        'once.locks',
        'once.namespaces',
        'once.stats',
        'once.work'
    ];
    /* Functions of the schema that was chosen, for everybody. */
    application CONSTANT pg_catalog.text[] := ARRAY[
        'begin_once(text, text, interval, jsonb, interval)',
        'claim_many(text, text[])',
        'claim_once(text, "any")',
        'claim_once(text, anynonarray, text)',
        'claim_once(text, text)',
        'claim_once(text, text, anynonarray)',
        'claim_once(text, text[])',
        'claim_once_per(interval, text, "any")',
        'claim_once_per(interval, text, anynonarray, text)',
        'claim_once_per(interval, text, text)',
        'claim_once_per(interval, text, text, anynonarray)',
        'claim_once_per(interval, text, text[])',
        'complete_once(text, text, bigint, jsonb)',
        'fail_once(text, text, bigint, jsonb, boolean, interval)',
        'fence_once(text, text, bigint)',
        'find_or_create(anyelement, jsonb, jsonb, boolean, interval)',
        'forget_once(text, text)',
        'hold_lock(text, text, interval, boolean)',
        'is_claimed(text, "any")',
        'is_claimed(text, anynonarray, text)',
        'is_claimed(text, text)',
        'is_claimed(text, text, anynonarray)',
        'is_claimed(text, text[])',
        'once_key("any")',
        'once_key(anynonarray, text)',
        'once_key(text)',
        'once_key(text, anynonarray)',
        'once_key(text[])',
        'release_lock(text, text, boolean)',
        'renew_once(text, text, bigint, interval)',
        'try_claim_once(text, text, interval, interval, text)',
        'unclaim(text, "any")',
        'unclaim(text, anynonarray, text)',
        'unclaim(text, text)',
        'unclaim(text, text, anynonarray)',
        'unclaim(text, text[])',
        'with_lock(text, text, interval, boolean)',
        'with_payment_lock("any", "any", interval)',
        'with_payment_lock(anynonarray, text, interval)',
        'with_payment_lock(text, anynonarray, interval)',
        'with_payment_lock(text, text, interval)',
        'with_row_lock(anyelement, jsonb, jsonb, interval)'
    ];
    /* Functions of schema once, for everybody. */
    looks CONSTANT pg_catalog.text[] := ARRAY[
        'once.backlog()',
        'once.check()',
        'once.claims_of(text, text, integer)',
        'once.counters()',
        'once.define_row_lock(text, regclass, text[])',
        'once.find_duplicates(regclass, text[])',
        'once.guard_plan(regclass, text[])',
        'once.lock_hash(text, text)',
        'once.lock_name(bigint, bigint, bigint, text)',
        'once.may_use(text)',
        'once.merge_duplicates(regclass, text[], text, boolean, text, integer)',
        'once.row_lock(anyelement, text[], jsonb, interval, "any")',
        'once.visible_claims()',
        'once.visible_namespaces()',
        'once.visible_work()',
        'once.work_of(text, text, integer)',
        'once.worker_state()',
        'once.worker_troubles()'
    ];
    /* For the owners of the extension and of the database. */
    administration CONSTANT pg_catalog.text[] := ARRAY[
        'once.configure(text, interval, regrole)',
        'once.reset_stats(text)',
        'once.sweep(integer)',
        'once.unconfigure(text)'
    ];
    /* For nobody: triggers call them. */
    internal CONSTANT pg_catalog.text[] := ARRAY[
        'once.namespace_changed()',
        'once.namespace_written()'
    ];

    relations CONSTANT pg_catalog.text[] := pg_catalog.array_cat(tables, views);
    home pg_catalog.name;
    owner pg_catalog.text;
    everybody pg_catalog.text[];
    functions pg_catalog.text[];
    strangers pg_catalog.text;
BEGIN
    SELECT n.nspname, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.extowner))
    INTO STRICT home, owner
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once';

    SELECT pg_catalog.array_cat(looks, pg_catalog.array_agg(pg_catalog.format('%I.%s', home, a.signature)))
    INTO STRICT everybody
    FROM pg_catalog.unnest(application) AS a (signature);
    functions := pg_catalog.array_cat(everybody, pg_catalog.array_cat(administration, internal));

    SELECT pg_catalog.concat_ws(', ', 'PUBLIC',
        pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(acl.grantee)), ', '))
    INTO STRICT strangers
    FROM (
        SELECT n.nspacl, n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'once'
        UNION ALL
        SELECT c.relacl, c.relowner FROM pg_catalog.pg_class c
        WHERE c.oid OPERATOR(pg_catalog.=) ANY (relations::pg_catalog.regclass[]::pg_catalog.oid[])
        UNION ALL
        SELECT p.proacl, p.proowner FROM pg_catalog.pg_proc p
        WHERE p.oid OPERATOR(pg_catalog.=) ANY (functions::pg_catalog.regprocedure[]::pg_catalog.oid[])
    ) AS given (acl, owner), pg_catalog.aclexplode(given.acl) acl
    WHERE acl.grantee OPERATOR(pg_catalog.<>) given.owner
      AND acl.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;

    EXECUTE pg_catalog.concat('REVOKE ALL ON SCHEMA once FROM ', strangers, ' CASCADE');
    EXECUTE pg_catalog.concat('REVOKE ALL ON TABLE ', pg_catalog.array_to_string(relations, ', '), ' FROM ', strangers, ' CASCADE');
    EXECUTE pg_catalog.concat('REVOKE ALL ON FUNCTION ', pg_catalog.array_to_string(functions, ', '), ' FROM ', strangers, ' CASCADE');

    GRANT USAGE ON SCHEMA once TO PUBLIC;
    EXECUTE pg_catalog.concat('GRANT SELECT ON TABLE ', pg_catalog.array_to_string(views, ', '), ' TO PUBLIC');
    IF owner OPERATOR(pg_catalog.<>) pg_catalog.quote_ident(CURRENT_USER) THEN
        EXECUTE pg_catalog.concat('GRANT EXECUTE ON FUNCTION ', pg_catalog.array_to_string(everybody, ', '), ' TO ', owner, ' WITH GRANT OPTION');
    END IF;
    PERFORM once.grant_to_public(pg_catalog.array_to_string(everybody, ', '));
    EXECUTE pg_catalog.concat('GRANT EXECUTE ON FUNCTION ', pg_catalog.array_to_string(administration, ', '), ' TO ', owner, ', pg_database_owner');

    /* VACUUM, ANALYZE and REINDEX, where PostgreSQL has a privilege for them. */
    IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 170000 THEN
        EXECUTE pg_catalog.concat('GRANT MAINTAIN ON TABLE ', pg_catalog.array_to_string(tables, ', '), ' TO ', owner);
    END IF;
END
$$;
DROP FUNCTION once.grant_to_public(pg_catalog.text);

/* The extension's owner may dump and restore the users' facts. The removed rows are data of users: only he reads
   them, and clears them away. */
GRANT SELECT, INSERT ON TABLE once.access_policy TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.claim TO @extowner@;
GRANT SELECT, INSERT, DELETE ON TABLE once.merged_rows TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.work_floor TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.work_record TO @extowner@;
