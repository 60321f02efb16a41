\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- REPEATABLE READ and SERIALIZABLE without a competitor: the own rows, and rows older than the snapshot.
CREATE TABLE book (title text PRIMARY KEY, note text);
CREATE TABLE bare (title text, note text);
INSERT INTO book VALUES ('Dune', 'old');
INSERT INTO bare VALUES ('Dune', 'old');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Dune"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Emma"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Emma"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::bare, '{"title": "Dune"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::bare, '{"title": "Emma"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::bare, '{"title": "Emma"}');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Emma"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Ulysses"}');
SELECT created, (entity).* FROM find_or_create(NULL::book, '{"title": "Ulysses"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::bare, '{"title": "Ulysses"}', lock => true);
SELECT created, (entity).* FROM find_or_create(NULL::bare, '{"title": "Ulysses"}', lock => true);
COMMIT;
-- Rolled back to a savepoint: the row is gone, and made again.
BEGIN;
SAVEPOINT s;
SELECT created FROM find_or_create(NULL::book, '{"title": "Ivanhoe"}', lock => true);
SELECT created FROM find_or_create(NULL::bare, '{"title": "Ivanhoe"}', lock => true);
ROLLBACK TO s;
SELECT created FROM find_or_create(NULL::book, '{"title": "Ivanhoe"}', lock => true);
SELECT created FROM find_or_create(NULL::bare, '{"title": "Ivanhoe"}', lock => true);
-- Deleted in the same transaction.
DELETE FROM book WHERE title = 'Ivanhoe';
DELETE FROM bare WHERE title = 'Ivanhoe';
SELECT created FROM find_or_create(NULL::book, '{"title": "Ivanhoe"}', lock => true);
SELECT created FROM find_or_create(NULL::bare, '{"title": "Ivanhoe"}', lock => true);
-- Changed in the same transaction, and in the same statement before the call.
UPDATE book SET note = 'changed' WHERE title = 'Ivanhoe';
SELECT note FROM with_row_lock(NULL::book, '{"title": "Ivanhoe"}');
UPDATE book SET title = 'Rob Roy' WHERE title = 'Ivanhoe';
SELECT created FROM find_or_create(NULL::book, '{"title": "Ivanhoe"}', lock => true);
COMMIT;
SELECT title, note FROM book ORDER BY title;
SELECT title, note FROM bare ORDER BY title;
-- A cursor that is open while rows are locked, created and written.
BEGIN;
DECLARE walk CURSOR FOR SELECT title FROM book ORDER BY title;
FETCH 1 FROM walk;
SELECT created FROM find_or_create(NULL::book, '{"title": "Zorba"}', lock => true);
FETCH ALL FROM walk;
COMMIT;
DROP TABLE book, bare;
