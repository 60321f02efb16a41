\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Databases in other encodings than UTF-8. In SQL_ASCII any bytes are text: an answer or 22021, and never
-- another key than the bytes that were given.
SELECT current_database() AS home \gset
CREATE DATABASE regress_once_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_once_ascii
\i :file
SET client_encoding = 'SQL_ASCII';
CREATE EXTENSION pg_once;
SELECT claim_once('ascii', 'plain'), claim_once('ascii', 'plain');
SELECT pg_temp.raised($$ SELECT claim_once('ascii', E'\xff\xfe') $$);
SELECT pg_temp.raised($$ SELECT claim_once('ascii', E'\xe9') $$);
SELECT pg_temp.raised($$ SELECT claim_once(E'\xc3', E'\xa9') $$);
SELECT pg_temp.raised($$ SELECT claim_once('ascii', 'a', E'\xff') $$);
SELECT pg_temp.raised($$ SELECT once_key(E'\xff', 1) $$);
SELECT claim_once('ascii', E'\xff\xfe'), claim_once('ascii', E'\xff'), claim_once('ascii', E'\xe9'), claim_once('ascii', E'\xc3\xa9');
SELECT encode(convert_to(once_key(E'\xff', 1), 'SQL_ASCII'), 'hex'), is_claimed('ascii', E'\xff'), unclaim('ascii', E'\xff'), is_claimed('ascii', E'\xff');
SELECT octet_length(once_key(repeat(E'\xff', 2000)));
SELECT pg_temp.raised($$ SELECT once_key(repeat(E'\xff', 2001)) $$);
SELECT encode(convert_to(ns, 'SQL_ASCII'), 'hex') AS ns, encode(convert_to(key, 'SQL_ASCII'), 'hex') AS key FROM once.claim ORDER BY ns COLLATE "C", key COLLATE "C";
CREATE TABLE payments (service_id int, line_item_id text, note text);
SELECT created, encode(convert_to(payment::text, 'SQL_ASCII'), 'escape') FROM with_payment_lock(1, 'plain');
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, E'\xff') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, jsonb_build_object('service_id', 1, 'line_item_id', E'\xff'::text)) $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, jsonb_build_object('service_id', 1, E'\xff'::text, 2)) $$);
INSERT INTO payments VALUES (2, E'\xff', E'\xfe');
SELECT pg_temp.raised($$ SELECT with_payment_lock(2, E'\xff') $$);
SELECT (SELECT encode(convert_to(line_item_id, 'SQL_ASCII'), 'hex') FROM with_row_lock(NULL::payments, '{"service_id": 2}'));
SELECT count(*) FROM payments;
CREATE TABLE "cafÃ©" (id int);
SELECT * FROM with_row_lock(NULL::"cafÃ©", '{"id": 1}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::"cafÃ©", '{"none": 1}') $$) IS NOT NULL AS raised LIMIT 1;

\c :home
CREATE DATABASE regress_once_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_once_latin1
\i :file
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_once;
SELECT claim_once('latin', 'é'), claim_once('latin', 'é'), claim_once('latin', U&'\00e9'), claim_once('latin', 'e'), octet_length(once_key('é'));
SELECT octet_length(once_key(repeat('é', 2000))), encode(convert_to(once_key('é', 1), 'LATIN1'), 'hex');
SELECT pg_temp.raised($$ SELECT once_key(repeat('é', 2001)) $$);
CREATE TABLE "café" (id int, "größe" text);
SELECT * FROM with_row_lock(NULL::"café", '{"größe": "süß"}', '{"id": 1}');
SELECT created, (entity).* FROM find_or_create(NULL::"café", '{"größe": "süß"}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::"café", '{"größer": "süß"}') $$);
SELECT with_row_lock(NULL::"café", '{"größer": "süß"}');
-- The statements of a plan are text of the database.
INSERT INTO "café" VALUES (2, 'grün'), (3, 'rot');
SELECT once.guard_plan('café', '{id}', '{"größe": "grün"}');
SELECT once.guard_plan('café', '{id}', '{"größe": "grün"}') \gexec
SELECT pg_temp.raised($$ INSERT INTO "café" VALUES (2, 'grün') $$) LIKE '23505%' AS kept LIMIT 1;
SELECT once.guard_plan('café', '{id}', '{"größe": "grün"}');
\c :home
DROP DATABASE regress_once_ascii;
DROP DATABASE regress_once_latin1;
