#!/bin/sh
# pgspot.sh NN looks with pgspot for what a hostile schema could make of the install script and of the upgrade scripts.
set -eu
. "$(dirname "$0")/suite.sh"

python=$(dirname "$("$CONFIG/pip.sh")")/python
"$python" -m pip install --quiet --disable-pip-version-check 'pgspot==0.9.4'
installed=$("$("$CONFIG/pg_config.sh" "$major")" --sharedir)/extension
version=$(sed -n "s/^version = \"\(.*\)\"/\1/p" "$ROOT/Cargo.toml")
mkdir -p "$TARGET/tests"
passed=0 failed=0

# made_plain SCRIPT: what CREATE EXTENSION puts in these places is a quoted name, and psql alone reads \echo.
made_plain() {
    plain=$TARGET/tests/pgspot-$(basename "$1")
    sed '/^\\echo/d; s/@extowner@/some_owner/g; s/@extschema@/some_schema/g' "$1" >"$plain"
    echo "$plain"
}

# expect_clean SCRIPT...: nothing is found in the last of these, which come one after the other.
expect_clean() {
    found=$("$python" -m pgspot --append "$@") || true
    echo "$found"
    if [ "$(echo "$found" | grep '^ Errors: ' | tail -n 1)" = ' Errors: 0 Warnings: 0 Unknown: 0 ' ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

expect_clean "$(made_plain "$installed/pg_once--$version.sql")"
for script in "$ROOT"/sql/pg_once--*--*.sql; do
    # It may replace functions of the version that it leads from, and no others.
    expect_clean "$(made_plain "${script%--*}.sql")" "$(made_plain "$script")"
done
outcome "$passed" "$failed"
