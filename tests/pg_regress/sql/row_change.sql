\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- The table changes between calls: plans that were made before do not outlive it.
CREATE TABLE book (title text, note text);
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Dune"}');
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Dune"}', lock => true);
ALTER TABLE book ADD COLUMN year int DEFAULT 1965;
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Dune"}', lock => true);
SELECT * FROM with_row_lock(NULL::book, '{"year": 1965}');
ALTER TABLE book ADD PRIMARY KEY (title);
BEGIN;
SELECT * FROM with_row_lock(NULL::book, '{"title": "Emma"}', '{"year": 1815}');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
ALTER TABLE book DROP CONSTRAINT book_pkey;
BEGIN;
SELECT * FROM with_row_lock(NULL::book, '{"title": "Ulysses"}', '{"year": 1922}');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
ALTER TABLE book DROP COLUMN note;
SELECT * FROM with_row_lock(NULL::book, '{"title": "Ulysses"}');
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Ivanhoe"}', '{"year": 1819}');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"note": "x"}') $$);
ALTER TABLE book ALTER COLUMN year TYPE text;
SELECT * FROM with_row_lock(NULL::book, '{"year": "1819"}');
ALTER TABLE book RENAME COLUMN title TO name;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Dune"}') $$);
SELECT * FROM with_row_lock(NULL::book, '{"name": "Dune"}');
ALTER TABLE book RENAME TO novel;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"name": "Dune"}') $$);
SELECT * FROM with_row_lock(NULL::novel, '{"name": "Dune"}');
CREATE SCHEMA library;
ALTER TABLE novel SET SCHEMA library;
SELECT * FROM with_row_lock(NULL::library.novel, '{"name": "Dune"}');
-- A new table of the old name is another table.
CREATE TABLE book (name text, pages int);
SELECT * FROM with_row_lock(NULL::book, '{"name": "Dune"}');
DROP TABLE book;
CREATE TABLE book (name text, pages int);
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"name": "Dune"}');
TRUNCATE book;
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"name": "Dune"}');
-- Created and dropped in one transaction.
BEGIN;
CREATE TABLE brief (id int PRIMARY KEY);
SELECT * FROM with_row_lock(NULL::brief, '{"id": 1}');
DROP TABLE brief;
CREATE TABLE brief (id int PRIMARY KEY, note text);
SELECT * FROM with_row_lock(NULL::brief, '{"id": 1}');
ROLLBACK;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::brief, '{"id": 1}') $$);
-- The statement that calls is still using the table.
CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE book CASCADE; RETURN new; END $$;
CREATE TRIGGER drop_it AFTER INSERT ON book FOR EACH ROW EXECUTE FUNCTION drop_it();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"name": "Emma"}') $$);
-- What a domain checks alters the table during the call that is to return a row of it.
CREATE TABLE switch (is_on boolean);
CREATE FUNCTION alter_it(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
	UPDATE switch SET is_on = false WHERE is_on;
	IF FOUND THEN ALTER TABLE shelf ALTER COLUMN v TYPE bigint, ALTER COLUMN note TYPE int USING 77; END IF;
	RETURN true; END $$;
CREATE DOMAIN altering AS text CHECK (alter_it(VALUE));
CREATE TABLE shelf (k altering PRIMARY KEY, v int, note text);
INSERT INTO shelf VALUES ('a', 5, 'five');
INSERT INTO switch VALUES (true);
SELECT pg_temp.raised($$ SELECT * FROM with_row_lock(NULL::shelf, '{"k": "a"}') $$);
SELECT pg_temp.raised($$ SELECT (entity).* FROM find_or_create(NULL::shelf, '{"k": "a"}', lock => true) $$);
UPDATE switch SET is_on = false;
SELECT * FROM with_row_lock(NULL::shelf, '{"k": "a"}');
DROP TABLE shelf;
DROP DOMAIN altering;
DROP FUNCTION alter_it;
DROP TABLE switch;
SET client_min_messages = error;
DROP TABLE book CASCADE;
DROP FUNCTION drop_it;
DROP SCHEMA library CASCADE;
