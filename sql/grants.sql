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
        'once.access_policy_shared',
        'once.claim',
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
        'begin_once(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.jsonb, once.duration, pg_catalog.text)',
        'claim_many(pg_catalog.text, pg_catalog.text[])',
        'claim_once(pg_catalog.text, pg_catalog."any")',
        'claim_once(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text)',
        'claim_once(pg_catalog.text, pg_catalog.text)',
        'claim_once(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray)',
        'claim_once(pg_catalog.text, pg_catalog.text[])',
        'claim_once_per(once.duration, pg_catalog.text, pg_catalog."any")',
        'claim_once_per(once.duration, pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text)',
        'claim_once_per(once.duration, pg_catalog.text, pg_catalog.text)',
        'claim_once_per(once.duration, pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray)',
        'claim_once_per(once.duration, pg_catalog.text, pg_catalog.text[])',
        'complete_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb)',
        'fail_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb, pg_catalog.bool, once.duration)',
        'fence_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8)',
        'find_or_create(pg_catalog.anyelement, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.bool, once.duration)',
        'forget_once(pg_catalog.text, pg_catalog.text)',
        'hold_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.bool)',
        'is_claimed(pg_catalog.text, pg_catalog."any")',
        'is_claimed(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text)',
        'is_claimed(pg_catalog.text, pg_catalog.text)',
        'is_claimed(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray)',
        'is_claimed(pg_catalog.text, pg_catalog.text[])',
        'once_key(pg_catalog."any")',
        'once_key(pg_catalog.anynonarray, pg_catalog.text)',
        'once_key(pg_catalog.text)',
        'once_key(pg_catalog.text, pg_catalog.anynonarray)',
        'once_key(pg_catalog.text[])',
        'release_lock(pg_catalog.text, pg_catalog.text, pg_catalog.bool)',
        'renew_once(pg_catalog.text, pg_catalog.text, pg_catalog.int8, once.duration)',
        'try_claim_once(pg_catalog.text, pg_catalog.text, once.duration, once.duration, pg_catalog.text)',
        'unclaim(pg_catalog.text, pg_catalog."any")',
        'unclaim(pg_catalog.text, pg_catalog.anynonarray, pg_catalog.text)',
        'unclaim(pg_catalog.text, pg_catalog.text)',
        'unclaim(pg_catalog.text, pg_catalog.text, pg_catalog.anynonarray)',
        'unclaim(pg_catalog.text, pg_catalog.text[])',
        'with_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.bool)',
        'with_locks(pg_catalog.text, pg_catalog.text[], once.duration, pg_catalog.bool)',
        'with_payment_lock(pg_catalog."any", pg_catalog."any", once.duration, pg_catalog.jsonb)',
        'with_payment_lock(pg_catalog.anynonarray, pg_catalog.text, once.duration, pg_catalog.jsonb)',
        'with_payment_lock(pg_catalog.text, pg_catalog.anynonarray, once.duration, pg_catalog.jsonb)',
        'with_payment_lock(pg_catalog.text, pg_catalog.text, once.duration, pg_catalog.jsonb)',
        'with_row_lock(pg_catalog.anyelement, pg_catalog.jsonb, pg_catalog.jsonb, once.duration)'
    ];
    /* Functions of schema once, for everybody. */
    looks CONSTANT pg_catalog.text[] := ARRAY[
        'once.backlog()',
        'once.check()',
        'once.claims_of(pg_catalog.text, pg_catalog.text, pg_catalog.int4)',
        'once.counters()',
        'once.define_row_lock(pg_catalog.text, pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb)',
        'once.distribution()',
        'once.find_duplicates(pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb)',
        'once.guard_plan(pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb)',
        'once.lock_hash(pg_catalog.text, pg_catalog.text)',
        'once.lock_name(pg_catalog.int8, pg_catalog.int8, pg_catalog.int8, pg_catalog.text)',
        'once.may_use(pg_catalog.text)',
        'once.merge_duplicates(pg_catalog.regclass, pg_catalog.text[], pg_catalog.text, pg_catalog.bool, pg_catalog.text, pg_catalog.int4, pg_catalog.bool, pg_catalog.jsonb)',
        'once.purge(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.bool)',
        'once.visible_claims()',
        'once.visible_namespaces()',
        'once.visible_work()',
        'once.work_of(pg_catalog.text, pg_catalog.text, pg_catalog.int4)',
        'once.worker_state()',
        'once.worker_troubles()'
    ];
    /* For the owners of the extension and of the database. */
    administration CONSTANT pg_catalog.text[] := ARRAY[
        'once.configure(pg_catalog.text, once.duration, pg_catalog.regrole)',
        'once.reset_stats(pg_catalog.text)',
        'once.sweep(pg_catalog.int4)',
        'once.unconfigure(pg_catalog.text)'
    ];
    /* For superusers, and for nobody: PostgreSQL calls the others itself, as triggers, for a type and for a language. */
    internal CONSTANT pg_catalog.text[] := ARRAY[
        'once.distribute()',
        'once.duration_in(pg_catalog.cstring, pg_catalog.oid, pg_catalog.int4)',
        'once.duration_out(once.duration)',
        'once.duration_recv(pg_catalog.internal, pg_catalog.oid, pg_catalog.int4)',
        'once.duration_send(once.duration)',
        'once.namespace_changed()',
        'once.namespace_written()',
        'once.row_lock_handler()',
        'once.row_lock_validator(pg_catalog.oid)'
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
        SELECT t.typacl, t.typowner FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) 'once.duration'::pg_catalog.regtype::pg_catalog.oid
        UNION ALL
        SELECT p.proacl, p.proowner FROM pg_catalog.pg_proc p
        WHERE p.oid OPERATOR(pg_catalog.=) ANY (functions::pg_catalog.regprocedure[]::pg_catalog.oid[])
    ) AS given (acl, owner), pg_catalog.aclexplode(given.acl) acl
    WHERE acl.grantee OPERATOR(pg_catalog.<>) given.owner
      AND acl.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;

    EXECUTE pg_catalog.concat('REVOKE ALL ON SCHEMA once FROM ', strangers, ' CASCADE');
    EXECUTE pg_catalog.concat('REVOKE ALL ON TABLE ', pg_catalog.array_to_string(relations, ', '), ' FROM ', strangers, ' CASCADE');
    EXECUTE pg_catalog.concat('REVOKE ALL ON FUNCTION ', pg_catalog.array_to_string(functions, ', '), ' FROM ', strangers, ' CASCADE');
    EXECUTE pg_catalog.concat('REVOKE ALL ON TYPE once.duration FROM ', strangers, ' CASCADE');

    GRANT USAGE ON SCHEMA once TO PUBLIC;
    GRANT USAGE ON TYPE once.duration TO PUBLIC;
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

/* The extension's owner may dump and restore the users' facts. */
GRANT SELECT, INSERT ON TABLE once.access_policy TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.access_policy_shared TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.claim TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.work_floor TO @extowner@;
GRANT SELECT, INSERT ON TABLE once.work_record TO @extowner@;
