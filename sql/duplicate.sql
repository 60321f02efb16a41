CREATE FUNCTION once.find_duplicates(
    target pg_catalog.regclass, key_columns pg_catalog.text[], condition pg_catalog.jsonb DEFAULT '{}'
) RETURNS TABLE (key pg_catalog.jsonb, copies pg_catalog.int8, rows pg_catalog.jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'find_duplicates_wrapper';
COMMENT ON FUNCTION once.find_duplicates(pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb) IS
    'The groups of rows that are equal in the key columns, by the columns'' own equality, NULL being equal to NULL, of the rows alone that have the values of condition: the key, how many, and the rows by primary key (of a large group the first 1000, of 16 MB at most). Needs SELECT on the table; reads as its owner, or as the caller where row security is active for the caller. Writes nothing, and sorts on disk what does not fit into work_mem. Errors: 22004 for NULL, 22023 for no or repeated columns and for one that is in key_columns and condition, 42703, 42809 where the target is no table, 0A000 for a type without equality or order, 42501, also for a partition, column type or policy of a role that does not have the rights it would run with.';

CREATE FUNCTION once.merge_duplicates(
    target pg_catalog.regclass, key_columns pg_catalog.text[], keep pg_catalog.text DEFAULT 'oldest', dry_run pg_catalog.bool DEFAULT true,
    order_by pg_catalog.text DEFAULT NULL, max_groups pg_catalog.int4 DEFAULT NULL, skip_blocked pg_catalog.bool DEFAULT false,
    condition pg_catalog.jsonb DEFAULT '{}'
) RETURNS TABLE (key pg_catalog.jsonb, kept pg_catalog.jsonb, removed pg_catalog.int4, references_moved pg_catalog.int8, blocked pg_catalog.text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'merge_duplicates_wrapper';
COMMENT ON FUNCTION once.merge_duplicates(pg_catalog.regclass, pg_catalog.text[], pg_catalog.text, pg_catalog.bool, pg_catalog.text, pg_catalog.int4, pg_catalog.bool, pg_catalog.jsonb) IS
    'Keeps one row of each group of duplicates (''oldest'' or ''newest'' by the column order_by, NULLs last, ties and the default by primary key), lets every foreign key that points at the others point at it, archives these in once.merged_rows and deletes them. With dry_run, the default, all of it is done and rolled back. Takes each group''s turn, locks its rows FOR UPDATE and merges what it sees locked; the locks last until the transaction ends. At most max_groups groups. Where a constraint or trigger keeps a group from being merged a dry run says which in blocked, with the row that blocks; otherwise that error is raised, or with skip_blocked such groups are left as they are. With condition, such as {"deleted_at": null}, rows that do not have its values are neither kept nor removed. The caller needs SELECT, UPDATE and DELETE on the target, SELECT and UPDATE on the tables that point at it. As in the actions of a foreign key, statements on a table run as its owner, and so do its triggers. At REPEATABLE READ and SERIALIZABLE rows newer than the snapshot raise 40001. Errors: 22004, 22023, 42703, 42809, 0A000 for a type without equality or order, 55000 where nothing says which row is older, a trigger or rule keeps a row or reference, or ON UPDATE SET NULL would lose one, 25006 in a read-only transaction, 42501 also where row security is active for the caller, and for a trigger, partition or column type of a role that does not have the rights of the table''s owner; 23505 where a row that points at a duplicate would become a duplicate itself; those of the tables'' own constraints and triggers.';

CREATE FUNCTION once.guard_plan(
    target pg_catalog.regclass, key_columns pg_catalog.text[], condition pg_catalog.jsonb DEFAULT '{}'
) RETURNS SETOF pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'guard_plan_wrapper';
COMMENT ON FUNCTION once.guard_plan(pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb) IS
    E'The statements, in order, that make duplicates in the key columns impossible while the table is in use: for psql''s \\gexec, each in a transaction of its own; each can be run again. No rows where a unique index guards the key already. Writes nothing. Needs SELECT on the key columns while there is no such index; reads as the table''s owner. Errors: 55000 with the number while there are duplicates, 0A000 where the key lacks a column of the partition key or has a virtual generated one, or for a type without equality or order, 22004, 22023, 42703, 42809, 42501 also where row security is active for the caller.';
