\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- A key on a stored generated column: the row is created from defaults, and its key is compared afterwards.
CREATE TABLE webhook (payload jsonb NOT NULL, event_id text GENERATED ALWAYS AS (payload ->> 'id') STORED UNIQUE, note text);
SELECT event_id, payload FROM with_row_lock(NULL::webhook, '{"event_id": "evt_1"}', '{"payload": {"id": "evt_1", "retry": 0}}');
SELECT event_id, payload FROM with_row_lock(NULL::webhook, '{"event_id": "evt_1"}', '{"payload": {"id": "evt_1", "retry": 1}}');
SELECT event_id FROM with_row_lock(NULL::webhook, '{"event_id": "evt_1"}', timeout => '0');
SELECT created, (entity).event_id FROM find_or_create(NULL::webhook, '{"event_id": "evt_2"}', '{"payload": {"id": "evt_2"}}', timeout => '1 s');
SELECT created, (entity).event_id FROM find_or_create(NULL::webhook, '{"event_id": null}', '{"payload": {}}');
SELECT created, (entity).event_id FROM find_or_create(NULL::webhook, '{"event_id": null}', '{"payload": {}}');
SELECT event_id, note FROM with_row_lock(NULL::webhook, '{"event_id": "evt_3", "note": "n"}', '{"payload": {"id": "evt_3"}}');
-- Where it is not the key, nothing stays.
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"event_id": "evt_4"}', '{"payload": {"id": "evt_5"}}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"event_id": "evt_4"}', '{"payload": {"id": "evt_1"}}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"event_id": "evt_4"}', '{"payload": {}}', timeout => '1 s')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"event_id": null, "note": "m"}', '{"payload": {"id": "evt_4"}}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"event_id": "evt_4"}')$$);
SELECT event_id FROM webhook ORDER BY event_id;
-- defaults that name it, also where the row is there.
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"note": "x"}', '{"event_id": "evt_6"}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::webhook, '{"note": "n"}', '{"event_id": "evt_6"}')$$);
-- An identity that only the table gives.
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
SELECT * FROM with_row_lock(NULL::numbered, '{"note": "x"}');
SELECT * FROM with_row_lock(NULL::numbered, '{"id": 1}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::numbered, '{"id": 100}', '{"note": "y"}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::numbered, '{"note": "y"}', '{"id": 6}')$$);

-- Nothing but generated columns, without an index, of several columns, beside triggers and rules.
CREATE TABLE hashed (url text NOT NULL DEFAULT 'http://x', url_hash text GENERATED ALWAYS AS (md5(url)) STORED, host text GENERATED ALWAYS AS (split_part(url, '/', 3)) STORED);
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://x'), 'host', 'x'));
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://x'), 'host', 'x'));
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://y')), '{"url": "http://y"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::hashed, '{"host": "z"}', '{"url": "http://y"}')$$);
SELECT once.define_row_lock('with_hash', 'hashed', '{url_hash}');
SELECT url FROM with_hash(md5('http://z'), defaults => '{"url": "http://z"}');
CREATE FUNCTION shorten() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.url := rtrim(NEW.url, '/'); RETURN NEW; END $$;
CREATE TRIGGER shorten BEFORE INSERT ON hashed FOR EACH ROW EXECUTE FUNCTION shorten();
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://t')), '{"url": "http://t/"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://u/')), '{"url": "http://u/"}')$$);
DROP TRIGGER shorten ON hashed;
ALTER TABLE hashed ADD rank int CONSTRAINT one_rank UNIQUE DEFERRABLE;
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://d')), '{"url": "http://d"}');
CREATE RULE ignored AS ON UPDATE TO hashed DO ALSO NOTHING;
SELECT url FROM with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://r')), '{"url": "http://r"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::hashed, jsonb_build_object('url_hash', md5('http://s')), '{"url": "http://r"}')$$);
SELECT url FROM hashed ORDER BY url;

-- On partitions.
CREATE TABLE part (site int, payload jsonb, event_id text GENERATED ALWAYS AS (payload ->> 'id') STORED, UNIQUE (site, event_id)) PARTITION BY LIST (site);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
SELECT event_id FROM with_row_lock(NULL::part, '{"site": 1, "event_id": "a"}', '{"payload": {"id": "a"}}');
SELECT event_id FROM with_row_lock(NULL::part_1, '{"site": 1, "event_id": "b"}', '{"payload": {"id": "b"}}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::part, '{"site": 1, "event_id": "c"}', '{"payload": {"id": "a"}}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::part, '{"site": 1, "event_id": "c"}', '{"payload": {"id": "d"}}')$$);

-- A unique index on an expression that is in the way: core's error, whole, and what to do.
CREATE TABLE account (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL);
CREATE UNIQUE INDEX account_email ON account (lower(email));
SELECT email FROM with_row_lock(NULL::account, '{"email": "Ada@x"}');
SELECT email FROM with_row_lock(NULL::account, '{"email": "Ada@x"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::account, '{"email": "ada@x"}')$$);
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::account, '{"email": "ada@x"}', timeout => '0')$$);
SELECT pg_temp.raised($$SELECT find_or_create(NULL::account, '{"email": "ada@x"}')$$);
-- What it says to do.
ALTER TABLE account ADD email_key text GENERATED ALWAYS AS (lower(email)) STORED UNIQUE;
SELECT id, email FROM with_row_lock(NULL::account, '{"email_key": "ada@x"}', '{"email": "ada@x"}');
-- Not where another index is in the way, or the table of a trigger.
ALTER TABLE account ADD number int CONSTRAINT one_number UNIQUE;
UPDATE account SET number = 1;
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::account, '{"email": "eve@x"}', '{"number": 1}')$$);
CREATE TABLE logged (email text);
CREATE UNIQUE INDEX account_email_logged ON logged (lower(email));
CREATE FUNCTION log_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO logged VALUES (NEW.email), (NEW.email); RETURN NULL; END $$;
CREATE TRIGGER log AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION log_twice();
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::account, '{"email": "bob@x"}')$$);
CREATE TABLE split (site int, email text) PARTITION BY LIST (site);
CREATE TABLE split_1 PARTITION OF split FOR VALUES IN (1);
CREATE UNIQUE INDEX ON split (site, lower(email));
SELECT email FROM with_row_lock(NULL::split, '{"site": 1, "email": "A"}');
SELECT pg_temp.raised($$SELECT with_row_lock(NULL::split, '{"site": 1, "email": "a"}')$$);

DROP TABLE webhook, numbered, hashed, part, account, logged, split CASCADE;
DROP FUNCTION shorten, log_twice;
