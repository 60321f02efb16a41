\getenv dir PG_ABS_SRCDIR
\set file :dir '/raised.psql'
\i :file

-- Infinite intervals came with PostgreSQL 17; the other expected file is for those before.
SELECT current_setting('server_version_num')::int < 170000 AS too_old \gset
\if :too_old
\echo this server has no infinite intervals
\quit
\endif
SELECT pg_temp.raised($$ SELECT claim_once_per('infinity', 'period', 'a') $$);
SELECT pg_temp.raised($$ SELECT claim_once_per('-infinity', 'period', 'a') $$);
CREATE TABLE payments (service_id int, line_item_id int);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2, 'infinity') $$);
SELECT pg_temp.raised($$ SELECT with_payment_lock(1, 2, '-infinity') $$);
SELECT pg_temp.raised($$ SELECT with_row_lock(NULL::payments, '{"service_id": 1}', timeout => 'infinity') $$);
SELECT pg_temp.raised($$ SELECT find_or_create(NULL::payments, '{"service_id": 1}', timeout => 'infinity') $$);
DROP TABLE payments;
SELECT pg_temp.raised($$ SELECT try_claim_once('period', 'a', 'infinity') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('period', 'a', '-infinity') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('period', 'a', ttl => 'infinity') $$);
SELECT pg_temp.raised($$ SELECT try_claim_once('period', 'a', ttl => '-infinity') $$);
SELECT pg_temp.raised($$ SELECT begin_once('period', 'a', 'infinity') $$);
SELECT pg_temp.raised($$ SELECT begin_once('period', 'a', '-infinity') $$);
SELECT pg_temp.raised($$ SELECT begin_once('period', 'a', wait => 'infinity') $$);
SELECT pg_temp.raised($$ SELECT begin_once('period', 'a', wait => '-infinity') $$);
SELECT pg_temp.raised($$ SELECT renew_once('period', 'a', 1, 'infinity') $$);
SELECT pg_temp.raised($$ SELECT fail_once('period', 'a', 1, retry_after => 'infinity') $$);
