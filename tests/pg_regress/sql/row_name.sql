\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Names that must be quoted, and names that would be SQL if they were not.
CREATE SCHEMA "Sch ema""; DROP TABLE x; --";
CREATE TABLE "Sch ema""; DROP TABLE x; --"."select" ("from" int, "a b" text, "we""ird" text, "$1" int DEFAULT 1, "'" text, "é漢" text, PRIMARY KEY ("from", "a b"));
SET search_path = "Sch ema""; DROP TABLE x; --", public;
SELECT * FROM with_row_lock(NULL::"select", '{"from": 1, "a b": "x"}', '{"we\"ird": "y", "$1": 2, "''": "z", "é漢": "w"}');
SELECT * FROM with_row_lock(NULL::"select", '{"from": 1, "a b": "x"}');
SELECT created, (entity)."$1" FROM find_or_create(NULL::"select", '{"we\"ird": "y", "$1": 2, "''": "z", "é漢": "w"}', '{"from": 2, "a b": ""}');
SELECT created, (entity)."$1" FROM find_or_create(NULL::"select", '{"we\"ird": "q"}', '{"from": 2, "a b": ""}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::"select", '{"from\" = 1; --": 1}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::"select", '{"from": "1); DROP TABLE x; --", "a b": "x"}') $$);
SELECT (entity)."a b" FROM find_or_create(NULL::"select", '{"from": 3, "a b": "''; DROP TABLE x; --\\"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::"select", '{"a b": "x", "from": 9}', '{"From": 1}') $$);
SET pg_once.payment_table = '"Sch ema""; DROP TABLE x; --"."select"';
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2) $$);
RESET pg_once.payment_table;
RESET search_path;

-- Names as long as they can be, and longer.
CREATE TABLE t123456789012345678901234567890123456789012345678901234567890ab (c123456789012345678901234567890123456789012345678901234567890ab int);
SELECT * FROM with_row_lock(NULL::t123456789012345678901234567890123456789012345678901234567890ab, '{"c123456789012345678901234567890123456789012345678901234567890ab": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::t123456789012345678901234567890123456789012345678901234567890ab, '{"c123456789012345678901234567890123456789012345678901234567890abc": 1}') $$);
DO $$
BEGIN
	PERFORM with_row_lock(NULL::t123456789012345678901234567890123456789012345678901234567890ab, jsonb_build_object(repeat('c', 100000), 1));
EXCEPTION WHEN undefined_column THEN
	NULL;
END $$;
-- A column, a table and a type that are called as what the extension might use itself.
CREATE TABLE key (key int, defaults text, target int, timeout text, entity int, created boolean, k int, t int, "old" int, "new" int, excluded int, jsonb text);
SELECT * FROM with_row_lock(NULL::key, '{"key": 1, "target": 2, "entity": 3, "created": true, "k": 4, "t": 5, "old": 6, "new": 7, "excluded": 8}', '{"defaults": "d", "timeout": "x", "jsonb": "j"}');
SELECT * FROM with_row_lock(NULL::key, '{"key": 1, "target": 2, "entity": 3, "created": true, "k": 4, "t": 5, "old": 6, "new": 7, "excluded": 8}');
SELECT (entity).key, created FROM find_or_create(NULL::key, '{"key": 1}');
SELECT count(*) FROM key;
SET client_min_messages = error;
DROP SCHEMA "Sch ema""; DROP TABLE x; --" CASCADE;
DROP TABLE key, t123456789012345678901234567890123456789012345678901234567890ab;
