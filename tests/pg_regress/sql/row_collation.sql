\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A collation under which different texts are equal: 'Dune' is 'DUNE', with and without a unique index.
-- A server built without ICU has no such collations; the other expected file is for it.
SELECT count(*) = 0 AS without_icu FROM pg_collation WHERE collname = 'en-x-icu' \gset
\if :without_icu
\echo this server is built without ICU
\quit
\endif
CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE book (title text COLLATE caseless PRIMARY KEY, note text);
CREATE TABLE note (title text COLLATE caseless, note text);
SELECT * FROM with_row_lock(NULL::book, '{"title": "Dune"}', '{"note": "first"}');
SELECT * FROM with_row_lock(NULL::book, '{"title": "DUNE"}', '{"note": "second"}');
SELECT * FROM with_row_lock(NULL::note, '{"title": "Dune"}', '{"note": "first"}');
SELECT * FROM with_row_lock(NULL::note, '{"title": "DUNE"}', '{"note": "second"}');
SELECT * FROM with_row_lock(NULL::note, '{"title": "Emma"}', '{"note": "third"}');
SELECT count(*) FROM book;
SELECT count(*) FROM note;
-- A unique index under another collation than the column's does not decide.
CREATE TABLE exact (title text COLLATE caseless, note text);
CREATE UNIQUE INDEX ON exact (title COLLATE "C");
SELECT * FROM with_row_lock(NULL::exact, '{"title": "Dune"}', '{"note": "first"}');
SELECT * FROM with_row_lock(NULL::exact, '{"title": "DUNE"}', '{"note": "second"}');
SELECT count(*) FROM exact;
DROP TABLE book, note, exact;
DROP COLLATION caseless;
