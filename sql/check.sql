CREATE FUNCTION once.backlog() RETURNS TABLE (
    total pg_catalog.int8, expired pg_catalog.int8, endless pg_catalog.int8, crowd pg_catalog.text, closed pg_catalog.text[],
    damaged pg_catalog.text[], unusable pg_catalog.text[], locked pg_catalog.text[]
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'backlog_wrapper';
COMMENT ON FUNCTION once.backlog() IS
    'How many claims and works there are, how many of them expired more than a minute ago, and how many never expire, in namespaces that nobody has configured; in which of these is most; the namespaces whose role was dropped, as far as the caller may see them; which tables cannot be read, are not as the extension has made them, or are kept locked by somebody for longer than a second. Of a table with more than 1000 pages, estimated from a sample of its pages. For once.check.';

CREATE FUNCTION once.distribution() RETURNS TABLE (severity pg_catalog.text, finding pg_catalog.text, advice pg_catalog.text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'distribution_wrapper';
COMMENT ON FUNCTION once.distribution() IS
    'What an operator should know where Citus has several nodes: which tables are not distributed, which nodes do not agree with this one, and what holds on one node only. For once.check.';

CREATE FUNCTION once.worker_state() RETURNS TABLE (
    preloaded pg_catalog.bool, finding pg_catalog.text, advice pg_catalog.text, awake_at pg_catalog.timestamptz, visited_at pg_catalog.timestamptz
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'worker_state_wrapper';
COMMENT ON FUNCTION once.worker_state() IS
    'Whether the library is preloaded, and what is the matter with its worker where there should be one; when the launcher was last awake, and when the last visit of a sweeper to this database ended (NULL: there was none). For every role: it needs no membership in pg_read_all_stats. Of one row.';

CREATE FUNCTION once.worker_troubles() RETURNS TABLE (database pg_catalog.text, trouble pg_catalog.text, advice pg_catalog.text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
    AS 'MODULE_PATHNAME', 'worker_troubles_wrapper';
COMMENT ON FUNCTION once.worker_troubles() IS
    'The other databases of the cluster whose last sweep did not go well, and why. Only where the library is preloaded. For once.check.';

CREATE FUNCTION once.check() RETURNS TABLE (severity pg_catalog.text, finding pg_catalog.text, advice pg_catalog.text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 10000 ROWS 10
    SET search_path = pg_catalog, pg_temp
    AS $$
WITH tables (name, oid) AS (
    SELECT c.relname, c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'once' AND c.relkind IN ('r', 'p')
),
/* With what holds their large values, and without those where indexes are being made at this moment. */
indexed AS (
    SELECT c.oid
    FROM pg_class c JOIN tables t ON c.oid IN (t.oid, (SELECT m.reltoastrelid FROM pg_class m WHERE m.oid = t.oid))
    WHERE NOT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.relation = c.oid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
),
/* What a transaction keeps from others, by the locks with which it was made. */
made (oid, what) AS (
    SELECT t.oid, m.what
    FROM (VALUES ('claim', 'claims'), ('work_record', 'work'), ('work_floor', 'work'), ('access_policy', 'policies'), ('access_policy_shared', 'policies')) AS m (name, what)
    JOIN tables t USING (name)
),
stored AS (
    SELECT * FROM once.backlog()
),
kept (name) AS (
    VALUES ('access_policy'), ('access_policy_shared'), ('claim'), ('work_record'), ('work_floor')
),
/* A lock has an entry, and an entry of another table, which is twice as large, for each of its holders. Those of
   SERIALIZABLE are elsewhere. */
locks AS (
    SELECT DISTINCT l.pid, l.virtualtransaction,
           ROW(l.locktype, l.database, l.relation, l.page, l.tuple, l.classid, l.objid, l.objsubid)::text AS lock
    FROM pg_locks l WHERE NOT l.fastpath AND l.locktype NOT IN ('virtualxid', 'transactionid') AND l.mode <> 'SIReadLock'
),
holder AS (
    SELECT l.pid, count(*) AS entries FROM locks l
    GROUP BY l.pid, l.virtualtransaction ORDER BY entries DESC LIMIT 1
),
used AS (
    SELECT GREATEST(count(DISTINCT l.lock), count(*) / 2) AS entries FROM locks l
),
room AS (
    SELECT current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) AS entries
),
/* A release candidate has the number of the release that it is not yet. */
server (version, major, minor) AS (
    SELECT current_setting('server_version'), n.number / 10000,
           CASE WHEN current_setting('server_version') ~ '^[0-9]+(devel|alpha|beta|rc)' THEN -1 ELSE n.number % 10000 END
    FROM (SELECT current_setting('server_version_num')::int) n (number)
),
/* The minors of 2026-11-12, and the first release after them; the minors that mend row locks of prepared transactions. */
faulty AS (
    SELECT s.version, format('Update to %s.%s or later', v.major, v.minor) AS advice, s.minor < v.row_locks AS overlooks_row_locks
    FROM (VALUES (15, 20, 18), (16, 16, 14), (17, 12, 10), (18, 7, 4), (19, 0, -1)) AS v (major, minor, row_locks)
    JOIN server s ON s.major = v.major AND s.minor < v.minor
),
/* Stronger locks keep all callers waiting, but for those with which VACUUM and REINDEX CONCURRENTLY work. */
kept_open AS (
    SELECT l.pid, l.virtualtransaction,
           concat(string_agg(DISTINCT m.what, ', ' ORDER BY m.what),
                  CASE WHEN bool_or(l.mode NOT IN ('RowExclusiveLock', 'RowShareLock')) THEN ' locked for all' ELSE ' open' END) AS what
    FROM pg_locks l JOIN made m ON m.oid = l.relation
    WHERE l.locktype = 'relation' AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock') AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY l.pid, l.virtualtransaction
),
/* The transactions that last long, by their beginning. Where that is still to come the clock was set back meanwhile. */
lasting (since, duration) AS (
    SELECT b.since, CASE WHEN b.since < clock_timestamp() THEN date_trunc('second', age(clock_timestamp(), b.since))::text
                         ELSE 'some time (the clock was set back)' END
    FROM (SELECT xact_start FROM pg_stat_activity UNION SELECT prepared FROM pg_prepared_xacts) b (since)
    WHERE b.since NOT BETWEEN clock_timestamp() - interval '5 minutes' AND clock_timestamp() + interval '5 minutes'
),
open AS (
    SELECT a.pid, a.usename, k.what, d.duration
    FROM kept_open k JOIN pg_stat_activity a ON a.pid = k.pid JOIN lasting d ON d.since = a.xact_start
    WHERE a.backend_type <> 'pg_once sweeper'
)
SELECT 'error', format('once.%s has no usable primary key', t.name),
       'Duplicates are possible now. Rebuild it: REINDEX TABLE CONCURRENTLY, or restore the constraint.'
FROM tables t
WHERE NOT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = t.oid AND i.indisprimary AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate)
UNION ALL
SELECT 'error', format('the primary key of once.%s is not (place_high, place_low, hash_high, hash_low)', t.name),
       format('No claim and no work is found by it. Make it anew: ALTER TABLE once.%1$I DROP CONSTRAINT %2$I, ADD PRIMARY KEY (place_high, place_low, hash_high, hash_low)', t.name, c.relname)
FROM tables t JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary JOIN pg_class c ON c.oid = i.indexrelid
WHERE t.name IN ('claim', 'work_record') AND ARRAY['place_high', 'place_low', 'hash_high', 'hash_low'] IS DISTINCT FROM (
    SELECT array_agg(a.attname::text ORDER BY k.number)
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attribute, number)
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attribute
    WHERE k.number <= i.indnkeyatts)
UNION ALL
SELECT d.severity, d.finding, d.advice FROM once.distribution() d
UNION ALL
SELECT 'error', format('once.%s is not logged', c.relname),
       format('What it holds is lost in a crash, and is not on standbys: ALTER TABLE once.%I SET LOGGED', c.relname)
FROM pg_class c JOIN tables t ON t.oid = c.oid WHERE c.relpersistence <> 'p'
UNION ALL
SELECT 'error', format('a table cannot be read: %s', d.damage),
       'The disk or the server has damaged it. Take a copy of the data directory, and restore from a backup; the log has what else is said of it.'
FROM stored s, unnest(s.damaged) AS d (damage)
UNION ALL
SELECT 'error', u.message, 'Calls that need this table fail with the same message. Make it again as CREATE EXTENSION has made it.'
FROM stored s, unnest(s.unusable) AS u (message)
UNION ALL
SELECT 'warning', format('%s is locked', l.name),
       format('Calls that need this table wait, as this one did for a second. SELECT pid, mode, granted FROM pg_locks WHERE relation = %L::regclass shows for whom.', l.name)
FROM stored s, unnest(s.locked) AS l (name)
UNION ALL
SELECT 'warning', format('index %s is invalid', i.indexrelid::regclass),
       format('A REINDEX CONCURRENTLY or CREATE INDEX CONCURRENTLY has left it: DROP INDEX CONCURRENTLY %s', i.indexrelid::regclass)
FROM pg_index i JOIN indexed t ON t.oid = i.indrelid
WHERE NOT (i.indisvalid AND i.indisready) AND NOT i.indisprimary
UNION ALL
SELECT 'error', format('once.%s is not saved by pg_dump', k.name),
       'It is not registered with the extension: a restored database would have forgotten it. Install the extension again, or report this.'
FROM kept k JOIN tables t USING (name)
WHERE NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_once' AND t.oid = ANY (e.extconfig))
UNION ALL
SELECT 'notice', format('%s, who owns the extension and once.merged_rows, could not restore that table from a dump', quote_ident(pg_get_userbyid(e.extowner))),
       'Only a superuser creates in schema once. Let one restore the dump, or move the table before pg_dump: ALTER TABLE once.merged_rows SET SCHEMA another; the next merge makes a new one.'
FROM pg_extension e, tables t JOIN pg_namespace n ON n.nspname = 'once'
WHERE e.extname = 'pg_once' AND t.name = 'merged_rows' AND NOT has_schema_privilege(e.extowner, n.oid, 'CREATE')
UNION ALL
SELECT 'warning', format('about %s of %s claims and works have expired and are still stored', s.expired, s.total),
       CASE WHEN w.preloaded THEN 'The worker does not keep up: see pg_once.sweep_interval and the server''s log.'
            ELSE 'Call once.sweep() from a scheduler more often, or preload pg_once, which brings a worker.' END
FROM stored s, once.worker_state() w
WHERE s.expired >= 1000 AND s.expired > s.total / 4
UNION ALL
SELECT 'warning', w.finding, w.advice FROM once.worker_state() w WHERE w.finding IS NOT NULL
UNION ALL
SELECT 'warning', format('the worker''s last sweep of database %I: %s', t.database, t.trouble), t.advice
FROM (SELECT * FROM once.worker_troubles() ORDER BY 1 LIMIT 20) t
UNION ALL
SELECT 'warning', format('backend %s (%s) has had %s for %s', o.pid, o.usename, o.what, o.duration),
       format('Who asks for the same keys waits for it. Look at its query, let it end, or SELECT pg_terminate_backend(%s)', o.pid)
FROM open o
UNION ALL
SELECT 'warning', format('prepared transaction %L has had %s for %s', p.gid, k.what, d.duration),
       format('COMMIT PREPARED %L or ROLLBACK PREPARED it. Who asks for the same keys waits for it, or is told in_progress.', p.gid)
FROM pg_prepared_xacts p JOIN lasting d ON d.since = p.prepared
JOIN pg_locks x ON x.locktype = 'transactionid' AND x.transactionid = p.transaction
JOIN kept_open k ON k.pid IS NULL AND k.virtualtransaction = x.virtualtransaction
WHERE p.database = current_database()
UNION ALL
SELECT 'warning', format('once.%s is replicated to this database, and the worker sweeps it here too', t.name),
       'What is removed here and renewed at the publisher is missing for good. SET pg_once.sweep_interval = 0 on this server until it is the primary.'
FROM tables t, once.worker_state() w
WHERE w.preloaded AND current_setting('pg_once.sweep_interval', true) <> '0'
  AND t.name IN ('claim', 'work_record') AND EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = t.oid)
UNION ALL
SELECT 'warning', format('the shared lock table is %s %% full', 100 * u.entries / r.entries),
       format('%s holds %s of its entries. When it is full every session gets 53200. Raise max_locks_per_transaction, or ask that session to commit more often.',
              CASE WHEN h.pid IS NULL THEN 'A prepared transaction' ELSE format('Backend %s', h.pid) END, h.entries)
FROM used u, room r, holder h WHERE u.entries > r.entries / 2
UNION ALL
SELECT 'warning', format('%s owns the extension and cannot read %s', quote_ident(pg_get_userbyid(e.extowner)), string_agg(format('once.%s', t.name), ', ' ORDER BY t.name)),
       'REASSIGN OWNED hands over the extension without the rights on its tables and functions: a superuser grants them again, see operations.'
FROM pg_extension e, tables t
WHERE e.extname = 'pg_once' AND NOT has_table_privilege(e.extowner, t.oid, 'SELECT')
GROUP BY e.extowner
UNION ALL
SELECT 'notice', format('%s has rights on %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                        string_agg(DISTINCT format('once.%s', t.name), ', ')),
       format('Such a role sees or writes what namespaces keep for other roles. Where that is not meant: REVOKE ALL ON %s FROM %s',
              string_agg(DISTINCT format('once.%s', t.name), ', '), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_extension e, tables t JOIN pg_class c ON c.oid = t.oid, aclexplode(c.relacl) a
WHERE e.extname = 'pg_once' AND a.grantee NOT IN (c.relowner, e.extowner)
GROUP BY a.grantee
UNION ALL
SELECT 'warning', 'synchronous_commit is off',
       'A claim that was answered may be lost in a crash, and won again. Set it to local at least, where claims are made.'
WHERE current_setting('synchronous_commit') = 'off'
UNION ALL
SELECT 'warning',
       format('synchronous_commit is off%s%s',
              CASE WHEN s.setrole <> 0 THEN format(' for role %s', s.setrole::regrole) END,
              CASE WHEN s.setdatabase <> 0 THEN format(' in database %s', (SELECT d.datname FROM pg_database d WHERE d.oid = s.setdatabase)) END),
       'A claim that was answered may be lost in a crash, and won again. Set it to local at least, where claims are made.'
FROM pg_db_role_setting s
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE lower(c) IN ('synchronous_commit=off', 'synchronous_commit=false', 'synchronous_commit=0', 'synchronous_commit=no'))
UNION ALL
SELECT 'notice', 'client_connection_check_interval is 0',
       'A call whose client has gone away goes on waiting, and may win a claim that nobody hears of. Set it to 10s.'
WHERE current_setting('client_connection_check_interval') = '0'
UNION ALL
SELECT 'notice', format('PostgreSQL %s has known faults in composite types, row locks and indexes', f.version),
       f.advice || ', and install pg_once as built for it. Without it a row may be read in the layout that it had before an ALTER TABLE (CVE-2026-6460), a crash may lose data where several transactions lock one row, and REINDEX CONCURRENTLY may leave the index of large values (TOAST) without entries. Then REINDEX what its release notes name.'
FROM faulty f
UNION ALL
SELECT 'notice', format('PostgreSQL %s has known faults in two-phase commit', f.version),
       f.advice || ': a prepared transaction that was rolled back may be committed after a crash'
                || CASE WHEN f.overlooks_row_locks THEN ', and row locks of prepared transactions may be overlooked.' ELSE '.' END
FROM faulty f
WHERE current_setting('max_prepared_transactions') <> '0'
UNION ALL
SELECT 'notice', format('PostgreSQL %s has known faults in ON CONFLICT', f.version),
       f.advice || ': at SERIALIZABLE, which is a default here, an INSERT ... ON CONFLICT DO NOTHING of your own may let write skew pass; claims do not.'
FROM faulty f
WHERE (current_setting('default_transaction_isolation') = 'serializable'
       OR EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) c
                  WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                    AND lower(c) = 'default_transaction_isolation=serializable'))
UNION ALL
SELECT 'warning', format('namespace %L is closed: its role was dropped', n.ns),
       'Configure another role, or SELECT once.unconfigure of it.'
FROM stored s, unnest(s.closed) AS n (ns)
UNION ALL
SELECT 'notice', format('about %s claims and works never expire, most of them in namespace %L', s.endless, s.crowd),
       'They fill the disk. Give the namespace a ttl with once.configure, or a role where they are meant to stay: what is configured is not looked at here.'
FROM stored s WHERE s.endless > 10000000
UNION ALL
SELECT 'notice', 'once.stats has no room for further namespaces',
       CASE c.holder
           WHEN 'this database' THEN 'They are counted together, in the row without a name. SELECT once.reset_stats() forgets those that are no longer used.'
           ELSE 'They are counted together, in the row without a name. Other databases hold most of the room, which each gives back with once.reset_stats(), or when it is dropped: SELECT count(*) FROM once.stats in each says how much.'
       END
FROM once.counters() c WHERE c.ns IS NULL AND c.holder IS NOT NULL
$$;
COMMENT ON FUNCTION once.check() IS
    'What an operator should know, with advice: severity is error, warning or notice. No row where all is well. With the rights of the caller: sessions of others are looked at by members of pg_read_all_stats. It reads a sample of at most 1000 pages of each table.';
