\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

CREATE TABLE books (title text, author text, year int DEFAULT 1900, PRIMARY KEY (title, author));
SELECT created, (entity).* FROM find_or_create(NULL::books, '{"title":"Dune","author":"Frank Herbert"}');
SELECT created, (entity).* FROM find_or_create(NULL::books, '{"title":"Dune","author":"Frank Herbert"}');
SELECT * FROM find_or_create(NULL::books, '{"author":"Frank Herbert","title":"Dune"}', '{"year": 1965}');
SELECT * FROM find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}', '{"year": 1815}');
SELECT find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}');
SELECT (find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}')).*;

-- Without lock it finds without locking or writing anything; with lock it locks.
BEGIN;
SELECT created FROM find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
SELECT created FROM find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}', lock => true);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;
CREATE TABLE notes (id int, note text);
INSERT INTO notes VALUES (1, 'one');
BEGIN;
SELECT created FROM find_or_create(NULL::notes, '{"id": 1}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid, (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks;
COMMIT;
-- A sequence value is used for a row that is created, for no other.
CREATE TABLE numbered (id serial PRIMARY KEY, name text UNIQUE);
SELECT created, (entity).id FROM find_or_create(NULL::numbered, '{"name": "a"}');
SELECT created, (entity).id FROM find_or_create(NULL::numbered, '{"name": "a"}');
SELECT created, (entity).id FROM find_or_create(NULL::numbered, '{"name": "a"}', lock => true);
SELECT id FROM with_row_lock(NULL::numbered, '{"name": "a"}');
SELECT created, (entity).id FROM find_or_create(NULL::numbered, '{"name": "b"}');
-- What exists can be found in a read-only transaction, what does not cannot be made there.
BEGIN READ ONLY;
SELECT created, (entity).* FROM find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}');
SELECT find_or_create(NULL::books, '{"title":"new","author":"new"}');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT find_or_create(NULL::books, '{"title":"Emma","author":"Jane Austen"}', lock => true);
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- Many in one statement, some twice.
SELECT count(*), count(*) FILTER (WHERE created) FROM generate_series(1, 300) AS n, LATERAL find_or_create(NULL::books, jsonb_build_object('title', n % 100, 'author', 'many'));
SELECT count(*), count(*) FILTER (WHERE created) FROM generate_series(1, 300) AS n, LATERAL find_or_create(NULL::notes, jsonb_build_object('id', n % 100));
SELECT count(*), count(DISTINCT id) FROM notes;
-- Rows as big as they come.
SELECT created, length((entity).note) FROM find_or_create(NULL::notes, '{"id": 1000}', jsonb_build_object('note', repeat('x', 3000000)));
SELECT created, length((entity).note) FROM find_or_create(NULL::notes, jsonb_build_object('note', repeat('x', 3000000)));
SELECT created, (entity).id FROM find_or_create(NULL::notes, jsonb_build_object('note', repeat('y', 3000000)));

SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, NULL) $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '[]') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', NULL) $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', '1') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', lock => NULL) $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', '{"title": "b"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"name": "a"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', '{"name": "b"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"author": "many"}') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::books, '{"title": "a"}', timeout => '-1 s') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL, '{"title": "a"}') $$);
DROP TABLE books, notes, numbered;
