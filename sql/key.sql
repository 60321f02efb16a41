/* Every function that takes a key has five forms, so that the default binding of every driver
   resolves: one text, any parts, an array of texts, and two parts of which one is not a text. */
CREATE FUNCTION once_key(key pg_catalog.text) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(pg_catalog.text) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(VARIADIC parts pg_catalog."any") RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(VARIADIC pg_catalog."any") IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(VARIADIC parts pg_catalog.text[]) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(VARIADIC pg_catalog.text[]) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(part1 pg_catalog.anynonarray, part2 pg_catalog.text) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(pg_catalog.anynonarray, pg_catalog.text) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(part1 pg_catalog.text, part2 pg_catalog.anynonarray) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(pg_catalog.text, pg_catalog.anynonarray) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';
