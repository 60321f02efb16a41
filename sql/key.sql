/* Every function that takes a key has five forms, so that the default binding of every driver
   resolves: one text, any parts, an array of texts, and two parts of which one is not a text. */
CREATE FUNCTION once_key(key text) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(text) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(VARIADIC parts "any") RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(VARIADIC "any") IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(VARIADIC parts text[]) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(VARIADIC text[]) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(part1 anynonarray, part2 text) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(anynonarray, text) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';

CREATE FUNCTION once_key(part1 text, part2 anynonarray) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'once_key_wrapper';
COMMENT ON FUNCTION once_key(text, anynonarray) IS
    'The one key of several parts, for every function that takes a key: (''a'',''bc'') and (''ab'',''c'') differ. One part is its own text. The text of a part depends on no setting. At most 2000 bytes. Errors: 22004 for a NULL part, 22023 for an empty, too long or malformed key, 0A000 for an array or a row.';
