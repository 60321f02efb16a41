#!/bin/sh
# pgspot.sh NN looks with pgspot for what a hostile schema could make of every script of the extension that is installed,
# and of the pieces of upgrade scripts, and for names without a schema; and then whether it would have found something.
set -eu
. "$(dirname "$0")/suite.sh"

python=$("$CONFIG/pip.sh" 'pgspot==0.9.4')
installed=$("$("$CONFIG/pg_config.sh" "$major")" --sharedir)/extension
work=$TARGET/tests/pgspot-$major
rm -rf "$work"
mkdir -p "$work"
passed=0 failed=0

# made_plain SCRIPT NAME: what CREATE EXTENSION puts in these places is a quoted name, and psql alone reads \echo.
made_plain() {
    sed '/^\\echo/d; s/@extowner@/some_owner/g; s/@extschema@/some_schema/g' "$1" >"$work/$2"
}

# judge CLEAN|HIJACKED NAME FILE...: whether pgspot finds something in them, read one after the other. Its exit status
# and its sum must say the same. Of several files only the TOTAL is a sum: the line of each says 0 whatever it found.
judge() {
    wanted=$1 name=$2
    shift 2
    status=0
    if [ $# -eq 1 ]; then
        said=$(cd "$work" && "$python" -m pgspot "$1" 2>&1) || status=$?
        sum=$(echo "$said" | sed -n 's/^ \(Errors: .*[0-9]\) $/\1/p')
    else
        said=$(cd "$work" && "$python" -m pgspot --append "$@" 2>&1) || status=$?
        sum=$(echo "$said" | sed -n 's/^TOTAL: \(Errors: .*[0-9]\)$/\1/p')
    fi
    case $status/$sum in
    '0/Errors: 0 Warnings: 0 Unknown: 0') found=CLEAN ;;
    0/*) found="unclear: status 0 and '$sum'" ;;
    */'Errors: 0 Warnings: 0 Unknown: 0' | */) found="unclear: status $status and '$sum'" ;;
    *) found=HIJACKED ;;
    esac
    if [ "$found" = "$wanted" ]; then
        echo "ok: $name is $found ($sum)"
        passed=$((passed + 1))
    else
        echo "$said"
        echo "not ok: $name is $found, not $wanted"
        failed=$((failed + 1))
    fi
}

# judge_names QUALIFIED|UNQUALIFIED NAME FILE: whether something in it is written without its schema.
judge_names() {
    status=0
    said=$(cd "$work" && "$python" "$CONFIG/suites/unqualified.py" "$3" 2>&1) || status=$?
    case $status/$said in
    0/) found=QUALIFIED ;;
    1/"$3":*) found=UNQUALIFIED ;;
    *) found="unclear: status $status" ;;
    esac
    if [ "$found" = "$1" ]; then
        echo "ok: $2 is $found"
        passed=$((passed + 1))
    else
        echo "$said"
        echo "not ok: $2 is $found, not $1"
        failed=$((failed + 1))
    fi
}

scripts=$(cd "$installed" && ls pg_once--*.sql)
for script in $scripts; do
    made_plain "$installed/$script" "$script"
    judge_names QUALIFIED "$script" "$script"
    case ${script#pg_once--} in
    # It may replace functions of the version that it leads from, and no others.
    *--*) judge CLEAN "$script" "${script%--*}.sql" "$script" ;;
    *)
        judge CLEAN "$script" "$script"
        newest=$script
        ;;
    esac
done
for piece in "$ROOT"/sql/upgrade/*.sql; do
    made_plain "$piece" "$(basename "$piece")"
    judge CLEAN "$(basename "$piece")" "$(basename "$piece")"
    judge_names QUALIFIED "$(basename "$piece")" "$(basename "$piece")"
done

# One after the other, each at the end of what was found clean.
hijack() {
    printf '%s\n' "$2" >"$work/hijack-$1.sql"
    cat "$work/$newest" "$work/hijack-$1.sql" >"$work/hijacked-$1.sql"
    judge HIJACKED "a script with $1" "hijacked-$1.sql"
    judge HIJACKED "two scripts, the first with $1" "hijacked-$1.sql" prove.sql
}
hijack operator "DO \$\$ BEGIN PERFORM CASE acl.grantee WHEN 0 THEN 'PUBLIC' END FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) acl; END \$\$;"
hijack function 'SELECT lower(pg_catalog.version());'
hijack replacing 'CREATE OR REPLACE VIEW some_schema.tally AS SELECT 1 AS total;'
hijack keeping 'CREATE TABLE IF NOT EXISTS some_schema.tally (total int);'

unqualified() {
    { cat "$work/$newest" && printf '%s\n' "$2"; } >"$work/unqualified-$1.sql"
    judge_names UNQUALIFIED "a script with an unqualified $1" "unqualified-$1.sql"
}
unqualified argument "COMMENT ON FUNCTION once.may_use(text) IS 'A comment';"
unqualified column 'CREATE TABLE some_schema.tally (total bigint);'
unqualified result 'CREATE FUNCTION some_schema.tally() RETURNS "any" LANGUAGE c AS '"'MODULE_PATHNAME';"
unqualified cast "SELECT 'pg_class'::regclass;"
unqualified collation "CREATE VIEW some_schema.tally AS SELECT 'a'::pg_catalog.text COLLATE \"C\" AS total;"
unqualified signature "DO \$\$ DECLARE all_of_them CONSTANT pg_catalog.text[] := ARRAY[
'once.may_use(text)'
]; BEGIN END \$\$;"
unqualified declaration 'DO $$ DECLARE total int; BEGIN END $$;'
unqualified 'cast-in-a-block' "DO \$\$ BEGIN PERFORM '1'::text; END \$\$;"
outcome "$passed" "$failed"
