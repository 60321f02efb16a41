\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Virtual generated columns came with PostgreSQL 18; the other expected file is for those before.
SELECT current_setting('server_version_num')::int < 180000 AS too_old \gset
\if :too_old
\echo this server has no virtual generated columns
\quit
\endif
CREATE TABLE computed (name text PRIMARY KEY, size int GENERATED ALWAYS AS (length(name)) VIRTUAL);
SELECT * FROM with_row_lock(NULL::computed, '{"name": "abc"}');
SELECT * FROM with_row_lock(NULL::computed, '{"name": "abc"}');
SELECT created, (entity).* FROM find_or_create(NULL::computed, '{"name": "abcd"}');
SELECT created, (entity).* FROM find_or_create(NULL::computed, '{"name": "abcd"}');
SELECT * FROM with_row_lock(NULL::computed, '{"size": 3}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::computed, '{"size": 5}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::computed, '{"name": "d"}', '{"size": 1}') $$);
-- A key on it is created from defaults, and compared.
SELECT * FROM with_row_lock(NULL::computed, '{"size": 5}', '{"name": "abcde"}');
SELECT * FROM with_row_lock(NULL::computed, '{"size": 5}', '{"name": "other"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::computed, '{"size": 6}', '{"name": "six"}') $$);
-- No index can guard such a column.
SELECT pg_temp.raised($$ SELECT once.guard_plan('computed', '{size}') $$);
DROP TABLE computed;
