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
for script in "$installed/pg_once--$version.sql" "$ROOT"/sql/pg_once--*--*.sql; do
    looked_at=$TARGET/tests/pgspot-$(basename "$script")
    # What CREATE EXTENSION puts in these places is a quoted name, and psql alone reads \echo.
    sed '/^\\echo/d; s/@extowner@/some_owner/g; s/@extschema@/some_schema/g' "$script" >"$looked_at"
    if "$python" -m pgspot "$looked_at"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
outcome "$passed" "$failed"
