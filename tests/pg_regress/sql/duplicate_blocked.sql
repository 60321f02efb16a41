\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A group that cannot be merged: a dry run lists each one with the constraint and the row; a real one raises at the first, or leaves it as it is.
CREATE TABLE person (id int PRIMARY KEY, email text, note text DEFAULT 'old');
CREATE TABLE seat (id int PRIMARY KEY, person int REFERENCES person, event int, UNIQUE (person, event));
CREATE TABLE pass (person int REFERENCES person, event int, UNIQUE (person, event));
CREATE TABLE room (id int, day int, person int CONSTRAINT guest REFERENCES person, PRIMARY KEY (id, day),
	CONSTRAINT one_each EXCLUDE (person WITH =, day WITH =));
CREATE TABLE badge (id int PRIMARY KEY, person int REFERENCES person, CONSTRAINT own_number CHECK (person % 2 = 0 OR id < 100));
CREATE TABLE voucher (id int PRIMARY KEY, person int REFERENCES person);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF OLD.id = 9 THEN RAISE 'voucher % is used', OLD.id USING ERRCODE = 'MY001', DETAIL = 'It is printed.'; END IF;
	IF OLD.id = 8 THEN RETURN OLD; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON voucher FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO person SELECT i, 'p' || (i + 1) / 2 FROM generate_series(1, 16) i;
INSERT INTO seat VALUES (1, 1, 7), (2, 2, 6), (3, 2, 7), (4, 14, 1);
INSERT INTO pass VALUES (3, 7), (4, 7);
INSERT INTO room VALUES (1, 1, 5), (2, 1, 6), (2, 2, 6);
INSERT INTO badge VALUES (99, 8), (100, 8);
INSERT INTO voucher VALUES (9, 10), (8, 12), (7, 14);
SELECT key, kept->'id' AS kept, removed, references_moved, blocked FROM once.merge_duplicates('person', '{email}');
SELECT count(*) FROM person;
-- At most two are merged, however many are blocked.
SELECT key, removed, blocked IS NOT NULL AS blocked FROM once.merge_duplicates('person', '{email}', max_groups => 2);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('person', '{email}', dry_run => false)$$);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('person', '{email}', dry_run => false, order_by => 'id', keep => 'newest')$$);
SELECT count(*) FROM person;

-- Left as it was, entirely: also what was moved before the row that blocks. The order in which rows are moved is theirs.
CREATE TEMPORARY TABLE before AS SELECT 'person' AS t, id, email AS v FROM person UNION ALL SELECT 'seat', id, person || '/' || event FROM seat
	UNION ALL SELECT 'pass', person, event::text FROM pass UNION ALL SELECT 'room', id * 10 + day, person::text FROM room
	UNION ALL SELECT 'badge', id, person::text FROM badge UNION ALL SELECT 'voucher', id, person::text FROM voucher;
SELECT key, removed, references_moved, blocked IS NOT NULL AS blocked FROM once.merge_duplicates('person', '{email}', dry_run => false, skip_blocked => true);
SELECT t, id, v FROM before EXCEPT SELECT * FROM (SELECT 'person' AS t, id, email AS v FROM person UNION ALL SELECT 'seat', id, person || '/' || event FROM seat
	UNION ALL SELECT 'pass', person, event::text FROM pass UNION ALL SELECT 'room', id * 10 + day, person::text FROM room
	UNION ALL SELECT 'badge', id, person::text FROM badge UNION ALL SELECT 'voucher', id, person::text FROM voucher) AS after ORDER BY 1, 2;
SELECT key, removed->'id' AS removed, moved FROM once.merged_rows ORDER BY 1;
-- Once more: the blocked ones are all that is left.
SELECT count(*), count(blocked), sum(removed) FROM once.merge_duplicates('person', '{email}', dry_run => false, skip_blocked => true);

-- A deferred constraint counts at the end of its group, and is deferred again.
ALTER TABLE seat DROP CONSTRAINT seat_person_event_key, ADD CONSTRAINT late UNIQUE (person, event) DEFERRABLE INITIALLY DEFERRED;
SELECT key, removed, blocked FROM once.merge_duplicates('person', '{email}', dry_run => false, skip_blocked => true, max_groups => 1) WHERE key->>'email' = 'p1';
BEGIN;
INSERT INTO seat VALUES (20, 1, 1), (21, 1, 1);
DELETE FROM seat WHERE id = 21;
COMMIT;
ALTER TABLE seat DROP CONSTRAINT late;

-- What points at a child by ON UPDATE SET NULL would be lost; a row that cannot be archived; a kept row that is NULL where it would be pointed at.
CREATE TABLE twin (id int PRIMARY KEY, k int, code int UNIQUE, doc json);
CREATE TABLE child (twin int PRIMARY KEY REFERENCES twin);
CREATE TABLE grandchild (child int REFERENCES child ON UPDATE SET NULL);
CREATE TABLE by_code (id int PRIMARY KEY, code int REFERENCES twin (code));
INSERT INTO twin SELECT i, (i + 1) / 2, CASE i WHEN 6 THEN 6 END, CASE i WHEN 4 THEN '{"a": "\u0000"}' END::json FROM generate_series(1, 8) i;
INSERT INTO child VALUES (2);
INSERT INTO grandchild VALUES (2);
INSERT INTO by_code VALUES (60, 6);
SELECT key, removed, blocked FROM once.merge_duplicates('twin', '{k}', dry_run => false, skip_blocked => true);
SELECT id FROM twin ORDER BY id;

-- What says nothing about the group is raised: a trigger without the right, a wait that is given up; all else a trigger may raise is listed.
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = TG_ARGV[0]; END $$;
INSERT INTO twin VALUES (9, 4), (10, 5), (11, 5);
SELECT state, r FROM (VALUES ('42501'), ('55P03'), ('40P01'), ('40001'), ('53100'), ('XX000')) AS s (state), LATERAL (
	SELECT pg_temp.raised(format($$DROP TRIGGER IF EXISTS fail ON twin; CREATE TRIGGER fail BEFORE DELETE ON twin FOR EACH ROW EXECUTE FUNCTION fail(%L);
		SELECT once.merge_duplicates('twin', '{k}', skip_blocked => true)$$, state)) AS r) AS raised;
SELECT state, r FROM (VALUES ('P0001'), ('27000'), ('55000'), ('IX001')) AS s (state), LATERAL (
	SELECT pg_temp.raised(format($$DROP TRIGGER IF EXISTS fail ON twin; CREATE TRIGGER fail BEFORE DELETE ON twin FOR EACH ROW EXECUTE FUNCTION fail(%L);
		SELECT once.merge_duplicates('twin', '{k}', skip_blocked => true)$$, state)) AS r) AS raised;

DROP TABLE once.merged_rows, grandchild, child, by_code, twin, seat, pass, room, badge, voucher, person;
DROP FUNCTION refuse, fail;
