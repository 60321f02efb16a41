/* The first statement of an upgrade script, and with another list its last: proves that the members of the extension
   are those that are listed, neither more nor fewer, and that all belong to the superuser who owns the schema once.
   Whoever owns an extension may add members to it and rename its schema; what was looked at stays locked until the
   upgrade ends. With an empty list, in a database with nothing but the extension, the DETAIL of its error is the
   list. */
DO $prove$
DECLARE
    known CONSTANT pg_catalog.text[] := ARRAY[
-- the members, one a line
    ]::pg_catalog.text[];
    extension pg_catalog.oid;
    home pg_catalog.oid;
    home_name pg_catalog.name;
    keeper pg_catalog.oid;
    keeper_name pg_catalog.text;
    members pg_catalog.jsonb;
    strange pg_catalog.text;
    strange_lines pg_catalog.text;
BEGIN
    /* The names of types are compared as this setting writes them. */
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    /* ALTER EXTENSION has updated this row, which keeps everybody from dropping the extension. */
    SELECT e.oid, e.extnamespace INTO STRICT extension, home
    FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_once';
    SELECT n.nspname INTO STRICT home_name
    FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) home FOR SHARE;
    SELECT n.nspowner INTO STRICT keeper
    FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'once' FOR SHARE;
    keeper_name := pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(keeper));
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) keeper AND r.rolsuper
    ) THEN
        RAISE EXCEPTION 'schema once belongs to %, who is not superuser', keeper_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A superuser can take over the objects of extension pg_once, with REASSIGN OWNED BY.';
    END IF;

    PERFORM FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
          AND d.refobjid OPERATOR(pg_catalog.=) extension
          AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char"
          AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid))
    FOR SHARE;
    /* Row types and array types, which count as members from PostgreSQL 17 on, come and go with their table or type. */
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
               'line', pg_catalog.concat_ws(' ', named.type,
                   CASE WHEN pg_catalog.cardinality(named.object_names) OPERATOR(pg_catalog.>) 1
                             AND named.object_names[1] OPERATOR(pg_catalog.=) home_name::pg_catalog.text
                        THEN pg_catalog.array_prepend(''::pg_catalog.text, named.object_names[2:])
                        ELSE named.object_names END,
                   named.object_args),
               'description', pg_catalog.pg_describe_object(d.classid, d.objid, 0),
               'owner', COALESCE(
                   (SELECT o.relowner FROM pg_catalog.pg_class o
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                      AND o.oid OPERATOR(pg_catalog.=) d.objid),
                   (SELECT o.proowner FROM pg_catalog.pg_proc o
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
                      AND o.oid OPERATOR(pg_catalog.=) d.objid),
                   (SELECT o.nspowner FROM pg_catalog.pg_namespace o
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
                      AND o.oid OPERATOR(pg_catalog.=) d.objid),
                   (SELECT o.typowner FROM pg_catalog.pg_type o
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
                      AND o.oid OPERATOR(pg_catalog.=) d.objid))))
    INTO members
    FROM pg_catalog.pg_depend d
    CROSS JOIN LATERAL pg_catalog.pg_identify_object_as_address(d.classid, d.objid, 0) named
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
      AND d.refobjid OPERATOR(pg_catalog.=) extension
      AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char"
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend part
          WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
            AND part.classid OPERATOR(pg_catalog.=) d.classid AND part.objid OPERATOR(pg_catalog.=) d.objid
            AND part.deptype OPERATOR(pg_catalog.=) 'i'::pg_catalog."char");

    SELECT pg_catalog.min(member.value OPERATOR(pg_catalog.->>) 'description'),
           pg_catalog.string_agg(pg_catalog.quote_literal(member.value OPERATOR(pg_catalog.->>) 'line'), E',\n'
               ORDER BY member.value OPERATOR(pg_catalog.->>) 'line' COLLATE pg_catalog."C" USING OPERATOR(pg_catalog.<))
    INTO strange, strange_lines
    FROM pg_catalog.jsonb_array_elements(members) AS member (value)
    WHERE ((member.value OPERATOR(pg_catalog.->>) 'line') OPERATOR(pg_catalog.=) ANY (known)) IS NOT TRUE;
    IF strange IS NOT NULL THEN
        RAISE EXCEPTION '% is a member of extension pg_once, but not one of its own objects', strange
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = strange_lines,
                  HINT = 'Take it out with ALTER EXTENSION pg_once DROP, or drop it, and try again.';
    END IF;

    SELECT pg_catalog.min(listed.line) INTO strange
    FROM pg_catalog.unnest(known) AS listed (line)
    WHERE listed.line OPERATOR(pg_catalog.<>) ALL (ARRAY(
        SELECT member.value OPERATOR(pg_catalog.->>) 'line'
        FROM pg_catalog.jsonb_array_elements(members) AS member (value)));
    IF strange IS NOT NULL THEN
        RAISE EXCEPTION '% is not a member of extension pg_once', strange
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    SELECT pg_catalog.min(member.value OPERATOR(pg_catalog.->>) 'description') INTO strange
    FROM pg_catalog.jsonb_array_elements(members) AS member (value)
    WHERE (member.value OPERATOR(pg_catalog.->>) 'owner')::pg_catalog.oid OPERATOR(pg_catalog.<>) keeper;
    IF strange IS NOT NULL THEN
        RAISE EXCEPTION '% of extension pg_once does not belong to %', strange, keeper_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'The owner of schema once owns everything in the extension: see ALTER … OWNER TO.';
    END IF;

    /* What the script was told is called @extschema@ stands in its search path. */
    IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) ALL (ARRAY[
        pg_catalog.concat(pg_catalog.quote_ident(home_name), ', pg_temp'),
        pg_catalog.concat('"', pg_catalog.replace(home_name::pg_catalog.text, '"', '""'), '", pg_temp')
    ]) THEN
        RAISE EXCEPTION 'schema % of extension pg_once was renamed', pg_catalog.quote_ident(home_name)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Try again.';
    END IF;
END
$prove$;
