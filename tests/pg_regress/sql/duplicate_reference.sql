\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- What points at a row that is merged away points at the one that is kept: every form of foreign key.
CREATE SCHEMA other;
CREATE DOMAIN small AS int;
CREATE TABLE payment (
	id bigint PRIMARY KEY, k text, region int NOT NULL DEFAULT 7, code text UNIQUE,
	corrects bigint REFERENCES payment ON DELETE CASCADE,
	UNIQUE (region, id)
);
CREATE TABLE cascading (id int PRIMARY KEY, payment bigint NOT NULL REFERENCES payment ON DELETE CASCADE);
CREATE TABLE restricting (id int PRIMARY KEY, payment small REFERENCES payment ON DELETE RESTRICT);
CREATE TABLE other.nulling (payment int REFERENCES payment ON DELETE SET NULL);
CREATE TABLE other."De faulting" (id int PRIMARY KEY, "pay ment" smallint DEFAULT 1, FOREIGN KEY ("pay ment") REFERENCES payment ON DELETE SET DEFAULT);
CREATE TABLE composite (id int PRIMARY KEY, p bigint, r int, FOREIGN KEY (r, p) REFERENCES payment (region, id) MATCH FULL ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE coded (id int PRIMARY KEY, code text REFERENCES payment (code) ON DELETE CASCADE);
CREATE TABLE deferred (id int PRIMARY KEY, payment bigint REFERENCES payment DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE unchecked (id int PRIMARY KEY, payment bigint);
ALTER TABLE unchecked ADD FOREIGN KEY (payment) REFERENCES payment ON DELETE CASCADE NOT VALID;
CREATE TABLE parted (id int, payment bigint REFERENCES payment ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE parted21 PARTITION OF parted2 DEFAULT;
CREATE TABLE by_payment (payment bigint PRIMARY KEY REFERENCES payment ON DELETE CASCADE) PARTITION BY LIST (payment);
CREATE TABLE by_payment_odd PARTITION OF by_payment FOR VALUES IN (1, 3, 5);
CREATE TABLE by_payment_even PARTITION OF by_payment FOR VALUES IN (2, 4, 6);
CREATE TABLE heir (id int PRIMARY KEY, payment bigint REFERENCES payment);
CREATE TABLE heirs_child () INHERITS (heir);
INSERT INTO payment (id, k, code, corrects) VALUES (1, 'a', 'x', 2), (2, 'a', 'y', NULL), (3, 'a', 'z', 2), (4, 'b', NULL, 3), (5, 'b', 'q', 5), (6, 'c', 'w', 2);
INSERT INTO cascading VALUES (1, 1), (2, 2), (3, 3), (4, 5);
INSERT INTO restricting VALUES (1, 2), (2, NULL);
INSERT INTO other.nulling VALUES (2), (2), (NULL);
INSERT INTO other."De faulting" VALUES (1, 3);
INSERT INTO composite VALUES (1, 2, 7), (2, NULL, NULL), (3, 3, 7);
INSERT INTO coded VALUES (1, 'y'), (2, 'x');
INSERT INTO deferred VALUES (1, 3);
INSERT INTO unchecked VALUES (1, 2);
INSERT INTO parted VALUES (1, 2), (11, 3);
INSERT INTO by_payment VALUES (2), (6);
INSERT INTO heir VALUES (1, 2);
INSERT INTO heirs_child VALUES (2, 2);

SELECT key, kept, removed, references_moved FROM once.merge_duplicates('payment', '{k}', max_groups => 1);
SELECT count(*) FROM payment;
SELECT key, kept, removed, references_moved FROM once.merge_duplicates('payment', '{k}', dry_run => false, max_groups => 1);
TABLE payment ORDER BY id;
SELECT 'cascading' AS t, id, payment FROM cascading UNION ALL SELECT 'restricting', id, payment FROM restricting
UNION ALL SELECT 'nulling', NULL, payment FROM other.nulling UNION ALL SELECT 'defaulting', id, "pay ment" FROM other."De faulting"
UNION ALL SELECT 'composite', id, p FROM composite UNION ALL SELECT 'deferred', id, payment FROM deferred
UNION ALL SELECT 'unchecked', id, payment FROM unchecked UNION ALL SELECT 'parted', id, payment FROM parted
UNION ALL SELECT tableoid::regclass::text, NULL, payment FROM by_payment UNION ALL SELECT tableoid::regclass::text, id, payment FROM heir ORDER BY 1, 2, 3;
TABLE coded ORDER BY id;
SELECT removed, jsonb_pretty(moved) FROM once.merged_rows ORDER BY removed->'id';

-- A reference that the kept row has no value for: error, nothing lost.
INSERT INTO coded VALUES (3, 'q');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{k}', dry_run => false)$$);
SELECT count(*) FROM payment;
UPDATE coded SET code = NULL WHERE id = 3;
SELECT key, removed, references_moved FROM once.merge_duplicates('payment', '{k}', dry_run => false);
TABLE payment ORDER BY id;

-- A child that would become a duplicate under its own unique constraint, at once or deferred.
CREATE TABLE label (payment bigint REFERENCES payment ON DELETE CASCADE, name text, UNIQUE (payment, name));
INSERT INTO payment (id, k) VALUES (10, 'd'), (11, 'd');
INSERT INTO label VALUES (10, 'x'), (11, 'y');
SELECT references_moved FROM once.merge_duplicates('payment', '{k}');
INSERT INTO label VALUES (11, 'x');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{k}', dry_run => false)$$);
SELECT key, removed, blocked FROM once.merge_duplicates('payment', '{k}');
ALTER TABLE label DROP CONSTRAINT label_payment_name_key, ADD CONSTRAINT late UNIQUE (payment, name) DEFERRABLE INITIALLY DEFERRED;
SELECT key, removed, blocked FROM once.merge_duplicates('payment', '{k}');
SELECT references_moved FROM once.merge_duplicates('payment', '{k}', dry_run => false);
SELECT (SELECT count(*) FROM label) AS labels, (SELECT count(*) FROM payment WHERE k = 'd') AS payments;
DROP TABLE label;

-- A trigger or rule that keeps a reference from being moved: error, no cascade.
CREATE TABLE stubborn (id int PRIMARY KEY, payment bigint REFERENCES payment ON DELETE CASCADE);
INSERT INTO stubborn VALUES (1, 11);
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stay BEFORE UPDATE ON stubborn FOR EACH ROW EXECUTE FUNCTION stay();
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{k}', dry_run => false)$$);
DROP TRIGGER stay ON stubborn;
CREATE RULE stay AS ON UPDATE TO stubborn DO INSTEAD NOTHING;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('payment', '{k}', dry_run => false)$$);
DROP RULE stay ON stubborn;
-- A trigger that counts the children in the parent changes rows that are about to be removed.
ALTER TABLE payment ADD children int DEFAULT 0;
CREATE FUNCTION recount() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE payment SET children = children - 1 WHERE id = OLD.payment;
	UPDATE payment SET children = children + 1 WHERE id = NEW.payment;
	RETURN NULL;
END $$;
CREATE TRIGGER recount AFTER UPDATE ON stubborn FOR EACH ROW EXECUTE FUNCTION recount();
SELECT key, kept, removed, references_moved FROM once.merge_duplicates('payment', '{k}', dry_run => false);
TABLE stubborn;

-- Row security of a referencing table: a cascade would delete what the caller cannot see.
CREATE ROLE regress_merger;
CREATE TABLE doc (id int PRIMARY KEY, k int);
CREATE TABLE secret (doc int REFERENCES doc ON DELETE CASCADE);
INSERT INTO doc VALUES (1, 1), (2, 1);
INSERT INTO secret VALUES (2);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
GRANT ALL ON doc, secret TO regress_merger;
SET ROLE regress_merger;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
RESET ROLE;
REVOKE UPDATE ON secret FROM regress_merger;
ALTER TABLE secret DISABLE ROW LEVEL SECURITY;
SET ROLE regress_merger;
SELECT pg_temp.raised($$SELECT once.merge_duplicates('doc', '{k}', dry_run => false)$$);
RESET ROLE;
SELECT (SELECT count(*) FROM doc) AS docs, (SELECT count(*) FROM secret) AS secrets;
DROP TABLE doc, secret;
DROP ROLE regress_merger;

-- Foreign keys that share a column are moved by one UPDATE.
CREATE TABLE bill (id int PRIMARY KEY, k int, region int, UNIQUE (region, id));
CREATE TABLE item (
	id int PRIMARY KEY, bill int CONSTRAINT a_narrow REFERENCES bill ON DELETE CASCADE, region int,
	CONSTRAINT b_wide FOREIGN KEY (region, bill) REFERENCES bill (region, id) ON DELETE CASCADE
);
INSERT INTO bill VALUES (1, 1, 7), (2, 1, 8);
INSERT INTO item VALUES (1, 2, 8), (2, 2, NULL), (3, 1, 7);
SELECT kept, removed, references_moved FROM once.merge_duplicates('bill', '{k}', dry_run => false);
TABLE item ORDER BY id;
DROP TABLE item, bill;

-- What points at a row that is moved would be lost: ON UPDATE SET NULL. Not where nothing is to be moved.
CREATE TABLE bill (id int PRIMARY KEY, k int);
CREATE TABLE item (bill int REFERENCES bill, nr int, PRIMARY KEY (bill, nr));
CREATE TABLE remark (bill int, nr int, CONSTRAINT of_item FOREIGN KEY (bill, nr) REFERENCES item ON UPDATE SET NULL);
INSERT INTO bill VALUES (1, 1), (2, 1), (3, 3), (4, 3);
INSERT INTO item VALUES (2, 1), (3, 1);
INSERT INTO remark VALUES (2, 1);
SELECT pg_temp.raised($$SELECT once.merge_duplicates('bill', '{k}', dry_run => false)$$);
TABLE remark;
ALTER TABLE remark DROP CONSTRAINT of_item, ADD CONSTRAINT of_item FOREIGN KEY (bill, nr) REFERENCES item ON UPDATE CASCADE;
SELECT kept, references_moved FROM once.merge_duplicates('bill', '{k}', dry_run => false);
TABLE remark;
ALTER TABLE remark DROP CONSTRAINT of_item, ADD CONSTRAINT of_item FOREIGN KEY (bill, nr) REFERENCES item ON UPDATE SET NULL;
INSERT INTO bill VALUES (5, 3);
SELECT kept, references_moved FROM once.merge_duplicates('bill', '{k}', dry_run => false);
DROP TABLE remark, item, bill;

-- Foreign keys to a partitioned table, to one of its partitions, and from a partitioned table to itself.
CREATE TABLE tree (id int PRIMARY KEY, k text, up int REFERENCES tree ON DELETE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE tree1 PARTITION OF tree FOR VALUES FROM (0) TO (10);
CREATE TABLE tree2 PARTITION OF tree FOR VALUES FROM (10) TO (20);
CREATE TABLE leaf (id int PRIMARY KEY, tree int REFERENCES tree ON DELETE CASCADE);
CREATE TABLE leaf2 (id int PRIMARY KEY, tree int REFERENCES tree2 (id) ON DELETE CASCADE);
INSERT INTO tree VALUES (1, 'a', NULL), (2, 'a', 1), (11, 'a', 2), (12, 'b', 11), (3, 'b', 11);
INSERT INTO leaf VALUES (1, 2), (2, 11);
SELECT * FROM once.merge_duplicates('tree', '{k}', dry_run => false, max_groups => 1);
SELECT tableoid::regclass, * FROM tree ORDER BY id;
TABLE leaf;
-- The partition's rows are the only ones that this foreign key can point at.
INSERT INTO leaf2 VALUES (1, 12);
SELECT key, removed, blocked FROM once.merge_duplicates('tree', '{k}');
SELECT pg_temp.raised($$SELECT once.merge_duplicates('tree', '{k}', dry_run => false)$$);
SELECT references_moved FROM once.merge_duplicates('tree', '{k}', 'newest');
INSERT INTO tree VALUES (13, 'b', NULL);
SELECT * FROM once.merge_duplicates('tree2', '{k}', dry_run => false);
TABLE leaf2;

DROP TABLE once.merged_rows;
DROP TABLE heirs_child, heir, by_payment, parted, unchecked, deferred, coded, composite, restricting, cascading, stubborn, leaf, leaf2, tree;
DROP SCHEMA other CASCADE;
DROP TABLE payment;
DROP FUNCTION stay, recount;
DROP DOMAIN small;
