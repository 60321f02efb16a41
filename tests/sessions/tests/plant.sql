-- Imitates pg_catalog in the schema evil and in the temporary schema. Whatever of it runs writes
-- its name into evil.probe.
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.probe (what pg_catalog.text);
GRANT ALL ON evil.probe TO PUBLIC;
CREATE FUNCTION evil.spy(what pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN INSERT INTO evil.probe VALUES (what); RETURN true; END';
SET check_function_bodies = off;
DO $plant$
DECLARE
    planted record;
    body text;
    kinds text[] := '{text,character varying,name,bigint,integer,oid,uuid,jsonb,json,numeric,boolean,regclass,timestamptz,bytea}';
    kind text;
    other text;
    sign text;
BEGIN
    FOR planted IN
        SELECT oid, proname, proretset, pg_get_function_identity_arguments(oid) AS arguments,
               format_type(prorettype, NULL) AS result
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
    LOOP
        body := format('BEGIN INSERT INTO evil.probe VALUES (%L); %s END', planted.proname,
                       CASE WHEN planted.proretset OR planted.result = 'void' THEN 'RETURN;'
                            WHEN planted.result = 'text' THEN 'RETURN ''planted'';'
                            ELSE 'RETURN NULL;' END);
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L',
                planted.proname, planted.arguments,
                CASE WHEN planted.proretset THEN 'SETOF' END, planted.result, body);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    FOR planted IN
        SELECT oid, oprname, format_type(oprleft, NULL) AS lefttype,
               format_type(oprright, NULL) AS righttype, format_type(oprresult, NULL) AS result
        FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                planted.oid, planted.lefttype, planted.righttype, planted.result,
                format('BEGIN INSERT INTO evil.probe VALUES (%L); RETURN NULL; END', planted.oprname));
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.operator_%s, LEFTARG = %s, RIGHTARG = %s)',
                planted.oprname, planted.oid, planted.lefttype, planted.righttype);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    FOREACH kind IN ARRAY kinds LOOP
        FOREACH other IN ARRAY kinds LOOP
            FOREACH sign IN ARRAY '{=,<>,<,>,<=,>=,||,->,->>}'::text[] LOOP
                BEGIN
                    EXECUTE format('CREATE FUNCTION evil.%I(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L',
                        sign, kind, other,
                        format('BEGIN INSERT INTO evil.probe VALUES (%L); RETURN NULL; END', sign));
                    EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.%I, LEFTARG = %s, RIGHTARG = %s)',
                        sign, sign, kind, other);
                EXCEPTION WHEN OTHERS THEN
                    NULL;
                END;
            END LOOP;
            EXECUTE format(
                'CREATE OR REPLACE FUNCTION evil.format(%1$s, %2$s) RETURNS pg_catalog.text LANGUAGE plpgsql AS %3$L;
                 CREATE OR REPLACE FUNCTION evil.concat(%1$s, %2$s) RETURNS pg_catalog.text LANGUAGE plpgsql AS %3$L;
                 CREATE OR REPLACE FUNCTION evil.jsonb_build_object(%1$s, %2$s) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS %3$L',
                kind, other, 'BEGIN INSERT INTO evil.probe VALUES (''variadic''); RETURN NULL; END');
        END LOOP;
    END LOOP;
    FOR planted IN
        SELECT relname, string_agg(quote_ident(attname), ', ') AS columns
        FROM pg_catalog.pg_class
            JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid
            JOIN pg_catalog.pg_type ON atttypid = pg_type.oid
        WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
            AND attnum > 0 AND typtype <> 'p' AND relname <> 'pg_statistic_ext_data'
        GROUP BY relname
    LOOP
        EXECUTE format('CREATE VIEW evil.%1$I AS SELECT %2$s FROM pg_catalog.%1$I WHERE evil.spy(%1$L)',
            planted.relname, planted.columns);
        EXECUTE format('CREATE TEMP VIEW %1$I AS SELECT %2$s FROM pg_catalog.%1$I WHERE evil.spy(%1$L)',
            planted.relname, planted.columns);
        EXECUTE format('GRANT SELECT ON evil.%1$I, pg_temp.%1$I TO PUBLIC', planted.relname);
    END LOOP;
    FOREACH kind IN ARRAY '{text,name,uuid,jsonb,json,bytea,regclass,regtype,oid,int8,int4,bool,timestamptz}'::text[] LOOP
        EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.spy(%2$L))', kind, 'type ' || kind);
        EXECUTE format('CREATE DOMAIN pg_temp.%1$I AS pg_catalog.%1$I CHECK (evil.spy(%2$L))', kind, 'type ' || kind);
    END LOOP;
    CREATE TEMP TABLE claim (place_high int2, place_low int2, hash_high int4, hash_low int8, claimed_at timestamptz, ns text, key text, expires_at timestamptz, owner text);
    CREATE TABLE evil.claim (LIKE pg_temp.claim);
END
$plant$;
