\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A row that a trigger or a rule keeps out or changes is 55000, with and without a unique index.
CREATE TABLE book (title text PRIMARY KEY, note text);
CREATE TABLE bare (title text, note text);
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION swallow();
CREATE TRIGGER swallow BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION swallow();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Dune"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Dune"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::book, '{"title": "Dune"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::bare, '{"title": "Dune"}') $$);
DROP FUNCTION swallow CASCADE;

CREATE FUNCTION rewrite() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.title = upper(new.title); RETURN new; END $$;
CREATE TRIGGER rewrite BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION rewrite();
CREATE TRIGGER rewrite BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION rewrite();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Dune"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Dune"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::book, '{"title": "Dune"}') $$);
SELECT * FROM book UNION ALL SELECT * FROM bare;
-- As the trigger writes it, the key is kept; and it finds its row again.
SELECT * FROM with_row_lock(NULL::book, '{"title": "DUNE"}');
SELECT * FROM with_row_lock(NULL::book, '{"title": "DUNE"}');
DROP FUNCTION rewrite CASCADE;

-- Other columns may be changed as the trigger likes; the row is returned as it was written.
CREATE FUNCTION annotate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.note = 'annotated ' || new.title; RETURN new; END $$;
CREATE TRIGGER annotate BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION annotate();
SELECT * FROM with_row_lock(NULL::book, '{"title": "Emma"}', '{"note": "mine"}');
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Ulysses"}');
DROP FUNCTION annotate CASCADE;

-- An AFTER trigger that changes or removes the new row.
CREATE FUNCTION amend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE book SET note = 'amended' WHERE title = new.title; RETURN NULL; END $$;
CREATE TRIGGER amend AFTER INSERT ON book FOR EACH ROW EXECUTE FUNCTION amend();
SELECT title FROM with_row_lock(NULL::book, '{"title": "Amended"}');
SELECT * FROM with_row_lock(NULL::book, '{"title": "Amended"}');
DROP FUNCTION amend CASCADE;
CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM book WHERE title = new.title; RETURN NULL; END $$;
CREATE TRIGGER remove AFTER INSERT ON book FOR EACH ROW EXECUTE FUNCTION remove();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Removed"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::book, '{"title": "Removed"}') $$);
DROP FUNCTION remove CASCADE;

-- An AFTER trigger that calls for the same row, and one that never stops calling for new ones.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM with_row_lock(NULL::book, jsonb_build_object('title', new.title));
	PERFORM find_or_create(NULL::book, jsonb_build_object('title', new.title || '!')) WHERE length(new.title) < 8;
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT ON book FOR EACH ROW EXECUTE FUNCTION again();
SELECT * FROM with_row_lock(NULL::book, '{"title": "Again"}');
SELECT title FROM book WHERE title LIKE 'Again%' ORDER BY title;
CREATE OR REPLACE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM with_row_lock(NULL::book, jsonb_build_object('title', new.title || '!'));
	RETURN NULL;
END $$;
SET max_stack_depth = '200kB';
SELECT left(line, 50) AS line FROM pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "For ever"}') $$) AS line LIMIT 1;
RESET max_stack_depth;
SELECT count(*) FROM book WHERE title LIKE 'For ever%';
DROP FUNCTION again CASCADE;

-- Only a row that is created fires triggers.
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING '% % % of book', tg_when, tg_op, tg_level; RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END; END $$;
CREATE TRIGGER fired_before BEFORE INSERT OR UPDATE OR DELETE ON book FOR EACH ROW EXECUTE FUNCTION fired();
CREATE TRIGGER fired_after AFTER INSERT OR UPDATE OR DELETE ON book FOR EACH ROW EXECUTE FUNCTION fired();
SELECT title FROM with_row_lock(NULL::book, '{"title": "Quiet"}');
SELECT title FROM with_row_lock(NULL::book, '{"title": "Quiet"}');
SELECT created FROM find_or_create(NULL::book, '{"title": "Quiet"}');
DROP FUNCTION fired CASCADE;

-- Rules.
CREATE RULE nothing AS ON INSERT TO book DO INSTEAD NOTHING;
CREATE RULE nothing AS ON INSERT TO bare DO INSTEAD NOTHING;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Ruled"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Ruled"}') $$);
SELECT title FROM with_row_lock(NULL::book, '{"title": "DUNE"}');
DROP RULE nothing ON book;
-- Another rule in the place of one that left nothing of the INSERT.
CREATE TABLE entered (title text);
CREATE OR REPLACE RULE nothing AS ON INSERT TO bare DO ALSO INSERT INTO entered VALUES (new.title);
SELECT title FROM with_row_lock(NULL::bare, '{"title": "Entered"}');
SELECT * FROM entered;
DROP RULE nothing ON bare;
CREATE TABLE elsewhere (title text, note text);
CREATE RULE away AS ON INSERT TO bare DO INSTEAD INSERT INTO elsewhere VALUES (new.title, 'from bare');
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Ruled"}') $$);
SELECT * FROM elsewhere;
DROP RULE away ON bare;
CREATE RULE copy AS ON INSERT TO bare WHERE new.note IS NULL DO INSTEAD NOTHING;
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Ruled"}') $$);
DROP RULE copy ON bare;

-- Errors of the user's own triggers and constraints arrive whole.
CREATE FUNCTION object_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'PX042', MESSAGE = 'no books today', DETAIL = 'The library is closed.', HINT = 'Come tomorrow.',
		SCHEMA = 'library', TABLE = 'shelf', COLUMN = 'place', CONSTRAINT = 'opening_hours', DATATYPE = 'weekday';
END $$;
CREATE TRIGGER object_to BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION object_to();
CREATE TRIGGER object_to BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION object_to();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::book, '{"title": "Closed"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::bare, '{"title": "Closed"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::book, '{"title": "Closed"}') $$);
SELECT title FROM with_row_lock(NULL::book, '{"title": "DUNE"}');
\set VERBOSITY sqlstate
SELECT with_row_lock(NULL::book, '{"title": "Closed"}');
\set VERBOSITY default
\echo :LAST_ERROR_MESSAGE
DROP FUNCTION object_to CASCADE;
CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'new: %', new.title; RETURN new; END $$;
CREATE TRIGGER warn BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION warn();
SELECT title FROM with_row_lock(NULL::book, '{"title": "Warned"}');
DROP FUNCTION warn CASCADE;

CREATE TABLE author (name text PRIMARY KEY);
CREATE TABLE novel (title text PRIMARY KEY, author text REFERENCES author, pages int CONSTRAINT pages_positive CHECK (pages > 0), year int NOT NULL DEFAULT 2026,
	sequel_of text CONSTRAINT sequel_of_novel REFERENCES novel DEFERRABLE INITIALLY DEFERRED);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::novel, '{"title": "Emma"}', '{"author": "Jane Austen"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::novel, '{"title": "Emma"}', '{"pages": 0}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::novel, '{"title": "Emma"}', '{"year": null}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::novel, '{"title": null}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::novel, '{"pages": -1}', '{"title": "x"}') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::novel, '{"year": 1965}') $$);
SELECT count(*) FROM novel;
-- A deferred constraint speaks at commit, as it does for any INSERT.
BEGIN;
SELECT title, sequel_of FROM with_row_lock(NULL::novel, '{"title": "Dune Messiah"}', '{"sequel_of": "Dune"}');
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT title FROM novel;

-- A trigger that changes the key to that of a row that is there already.
CREATE TABLE shouted (title text PRIMARY KEY);
INSERT INTO shouted VALUES ('DUNE');
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.title = upper(new.title); RETURN new; END $$;
CREATE TRIGGER shout BEFORE INSERT ON shouted FOR EACH ROW EXECUTE FUNCTION shout();
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::shouted, '{"title": "dune"}') $$);
SELECT title FROM with_row_lock(NULL::shouted, '{"title": "DUNE"}');

DROP TABLE book, bare, elsewhere, novel, author, shouted;
DROP FUNCTION shout;
