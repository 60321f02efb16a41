\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file
SET client_min_messages = notice;

-- A database of its own would be no other: the extension is dropped here only where that fails.
CREATE TABLE doc (id int PRIMARY KEY, k text);
CREATE SCHEMA kept;

-- A dry run, and a merge that finds nothing, make no archive.
SELECT once.merge_duplicates('doc', '{k}', dry_run => false);
INSERT INTO doc VALUES (1, 'a'), (2, 'a');
SELECT removed FROM once.merge_duplicates('doc', '{k}');
SELECT to_regclass('once.merged_rows') AS none_yet;

-- The first merge makes it, with nobody's default privileges, tablespace or access method.
CREATE ROLE regress_archive;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_archive, PUBLIC;
CREATE ACCESS METHOD regress_heap TYPE TABLE HANDLER heap_tableam_handler;
SET default_table_access_method = regress_heap;
BEGIN;
SELECT removed FROM once.merge_duplicates('doc', '{k}', dry_run => false);
ROLLBACK;
SELECT to_regclass('once.merged_rows') AS none_yet;
SELECT removed FROM once.merge_duplicates('doc', '{k}', dry_run => false);
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_archive, PUBLIC;
RESET default_table_access_method;
DROP ACCESS METHOD regress_heap;
SELECT grantee::regrole, count(*) FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE oid = 'once.merged_rows'::regclass AND grantee <> relowner GROUP BY 1;
SELECT relowner = extowner AS of_the_owner, relkind, relpersistence FROM pg_class, pg_extension WHERE pg_class.oid = 'once.merged_rows'::regclass AND extname = 'pg_once';
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull, pg_get_expr(adbin, adrelid) AS default, col_description(attrelid, attnum) IS NOT NULL AS commented
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = 'once.merged_rows'::regclass AND attnum > 0 ORDER BY attnum;
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'once.merged_rows'::regclass ORDER BY 1;
SELECT count(*) AS memberships FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = 'once.merged_rows'::regclass AND deptype = 'e';
SELECT * FROM once.check() WHERE finding LIKE '%merged_rows%';

-- DROP EXTENSION stops at it, and names it.
SELECT pg_temp.raised('DROP EXTENSION pg_once');
BEGIN;
DROP EXTENSION pg_once CASCADE;
SELECT to_regclass('once.merged_rows') AS gone;
ROLLBACK;
ALTER TABLE once.merged_rows SET SCHEMA kept;
BEGIN;
DROP EXTENSION pg_once;
SELECT kept, removed FROM kept.merged_rows;
ROLLBACK;

-- The next merge makes a new one.
INSERT INTO doc VALUES (3, 'b'), (4, 'b');
SELECT removed FROM once.merge_duplicates('doc', '{k}', dry_run => false);
SELECT (SELECT count(*) FROM kept.merged_rows) AS saved, (SELECT count(*) FROM once.merged_rows) AS new;

-- A table that is not as a merge has made it is not used, and nothing is merged.
INSERT INTO doc VALUES (5, 'c'), (6, 'c');
CREATE FUNCTION pg_temp.of_stranger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
ALTER FUNCTION pg_temp.of_stranger OWNER TO regress_archive;
CREATE TRIGGER watch BEFORE INSERT ON once.merged_rows FOR EACH ROW EXECUTE FUNCTION pg_temp.of_stranger();
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
DROP TRIGGER watch ON once.merged_rows;
ALTER TABLE once.merged_rows OWNER TO regress_archive;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}')$$);
ALTER TABLE once.merged_rows OWNER TO CURRENT_USER;
ALTER TABLE once.merged_rows RENAME moved TO elsewhere;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
DROP TABLE once.merged_rows;
CREATE VIEW once.merged_rows AS TABLE kept.merged_rows;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
DROP VIEW once.merged_rows;
SELECT count(*) FROM doc;
-- A trigger that swallows what is archived loses nothing.
SELECT removed FROM once.merge_duplicates('doc', '{k}', dry_run => false);
CREATE FUNCTION pg_temp.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER swallow BEFORE INSERT ON once.merged_rows FOR EACH ROW EXECUTE FUNCTION pg_temp.swallow();
INSERT INTO doc VALUES (7, 'd'), (8, 'd');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
SELECT count(*) FROM doc WHERE k = 'd';

DROP TABLE once.merged_rows, doc;
DROP TABLE kept.merged_rows;
DROP SCHEMA kept;
DROP FUNCTION pg_temp.of_stranger;
DROP ROLE regress_archive;
