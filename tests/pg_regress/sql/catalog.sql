\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Everything that the extension brings, and nothing else. Whoever adds an object adds it here.
SELECT pg_describe_object(classid, objid, objsubid) COLLATE "C" AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_once') AND deptype = 'e'
	-- From PostgreSQL 17 on row types and array types count as members too.
	AND classid <> 'pg_type'::regclass
ORDER BY object;
SELECT extversion = default_version AS newest, extrelocatable, extnamespace::regnamespace, extconfig::regclass[], extcondition FROM pg_extension JOIN pg_available_extensions ON name = extname WHERE extname = 'pg_once';
SELECT superuser, trusted, relocatable, schema, requires FROM pg_available_extension_versions WHERE name = 'pg_once';

CREATE TEMPORARY VIEW function AS
	SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid WHERE e.extname = 'pg_once';
-- What applications call: arguments and results.
SELECT proname COLLATE "C", pg_get_function_arguments(oid) COLLATE "C" AS arguments, pg_get_function_result(oid) AS result FROM function
ORDER BY proname, arguments;
-- No call has a result that an ORM cannot read: Prisma knows neither void nor interval, and fails after the call has taken
-- effect. What remains is the type's own input and output, and what stands behind a view.
SELECT function.oid::regprocedure, pg_get_function_result(function.oid) AS result FROM function
WHERE prorettype IN ('void'::regtype, 'interval'::regtype, 'record'::regtype, 'once.duration'::regtype)
	AND NOT (prorettype = 'record'::regtype AND proallargtypes IS NOT NULL AND NOT EXISTS (
		SELECT FROM unnest(proallargtypes, proargmodes) AS argument (type, mode)
		WHERE mode IN ('o', 't') AND type IN ('void'::regtype, 'interval'::regtype, 'once.duration'::regtype)))
ORDER BY function.oid::regprocedure::text COLLATE "C";
-- Every one is VOLATILE, PARALLEL UNSAFE, called on NULL, of COST 10000, SECURITY INVOKER, and has a comment.
SELECT DISTINCT provolatile, proparallel, proisstrict, procost, prosecdef, proleakproof, prokind, lanname, proconfig,
	nullif(obj_description(function.oid, 'pg_proc'), '') IS NOT NULL AS commented
FROM function JOIN pg_language ON pg_language.oid = prolang;
SELECT oid::regprocedure FROM function WHERE obj_description(oid, 'pg_proc') IS NULL OR length(obj_description(oid, 'pg_proc')) < 40;
-- Everybody may execute them, but for administration.
SELECT grantee::regrole, privilege_type, is_grantable, count(*)
FROM function, aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee <> proowner GROUP BY grantee, privilege_type, is_grantable ORDER BY grantee;
-- Who may execute each of them, but for its owner. Whoever adds a function says it here.
SELECT function.oid::regprocedure::text COLLATE "C" AS function,
	string_agg(CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ' ORDER BY grantee) AS may_execute
FROM function LEFT JOIN LATERAL aclexplode(coalesce(proacl, acldefault('f', proowner))) ON grantee <> proowner
GROUP BY function.oid ORDER BY function;
-- What the schema and the tables allow to others than their owner.
SELECT nspname, grantee, privilege_type, is_grantable FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
WHERE nspname = 'once' AND grantee <> nspowner ORDER BY grantee, privilege_type;
SELECT relname, relkind, relpersistence, grantee, privilege_type
FROM pg_class LEFT JOIN LATERAL aclexplode(coalesce(relacl, acldefault('r', relowner))) ON grantee <> relowner
WHERE relnamespace = 'once'::regnamespace AND relkind <> 'i' ORDER BY relname, privilege_type;
SELECT attrelid::regclass, attname, attacl FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'once'::regnamespace AND attacl IS NOT NULL;

-- The claim table: its columns, and one unique index, its primary key.
SELECT attnum, attname, format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation FROM pg_attribute
WHERE attrelid = 'once.claim'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT indexrelid::regclass, indisunique, indisprimary, indnkeyatts, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'once.claim'::regclass;
SELECT conname, contype FROM pg_constraint WHERE conrelid = 'once.claim'::regclass AND contype <> 'n' ORDER BY conname;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = 'once.claim'::regclass;
SELECT count(*) AS rules FROM pg_rewrite WHERE ev_class = 'once.claim'::regclass;
SELECT count(*) AS sequences FROM pg_class WHERE relkind = 'S' AND relnamespace = 'once'::regnamespace;
SELECT relrowsecurity, relreplident, obj_description(oid, 'pg_class') IS NOT NULL AS commented FROM pg_class WHERE oid = 'once.claim'::regclass;

-- The storage key of a namespace and a key is frozen.
SELECT claim_once('ci_failure', '4711'), claim_once('ci_failure', 4711, 'org/repo'), claim_once('é', '漢');
SELECT ns, key, place_high, place_low, hash_high, hash_low FROM once.claim ORDER BY ns COLLATE "C", key COLLATE "C";
DELETE FROM once.claim;

-- The settings.
SELECT name, setting, context, vartype, enumvals, boot_val, nullif(short_desc, '') IS NOT NULL AS described FROM pg_settings WHERE name LIKE 'pg\_once.%' ORDER BY name;
SET pg_once.no_such_setting = 1;
