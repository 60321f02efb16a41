/* What merging has removed: a table that is no member of the extension, which the first merge makes. A uuid, and not
   a number of a sequence, so that a restored dump goes on without a collision. */
CREATE TABLE once.merged_rows (
    id          pg_catalog.uuid        NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    merged_at   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp(),
    merged_in   pg_catalog.xid8        NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    merged_by   pg_catalog.text        NOT NULL,
    table_name  pg_catalog.text        NOT NULL,
    reason      pg_catalog.text        NOT NULL,
    key         pg_catalog.jsonb       NOT NULL,
    kept        pg_catalog.jsonb       NOT NULL,
    removed     pg_catalog.jsonb       NOT NULL,
    moved       pg_catalog.jsonb,
    CONSTRAINT merged_rows_pkey PRIMARY KEY (id)
);
CREATE INDEX merged_rows_merged_at_idx ON once.merged_rows (merged_at);
COMMENT ON TABLE once.merged_rows IS 'The rows that once.merge_duplicates has removed: written by it only. Not a member of the extension';
COMMENT ON COLUMN once.merged_rows.merged_at IS 'The transaction_timestamp() of the merge';
COMMENT ON COLUMN once.merged_rows.merged_in IS 'The pg_current_xact_id() of the merge; unique together with merged_at also after a restore elsewhere';
COMMENT ON COLUMN once.merged_rows.merged_by IS 'The current_user of the call';
COMMENT ON COLUMN once.merged_rows.table_name IS 'Schema and table, quoted where SQL needs it';
COMMENT ON COLUMN once.merged_rows.reason IS 'What made it a duplicate, and which row was kept';
COMMENT ON COLUMN once.merged_rows.key IS 'The key columns and their values';
COMMENT ON COLUMN once.merged_rows.kept IS 'The primary key of the row that was kept, or that row where there is none';
COMMENT ON COLUMN once.merged_rows.removed IS 'The row that was removed, as it was';
COMMENT ON COLUMN once.merged_rows.moved IS 'For each foreign key by which rows pointed at it: constraint, table, count, and the primary keys of up to 10000 of them in rows';
