#!/bin/sh
# pgspot.sh NN looks with pgspot for what a hostile schema could make of the install script.
set -eu
. "$(dirname "$0")/suite.sh"

python=$(dirname "$("$CONFIG/pip.sh")")/python
"$python" -m pip install --quiet --disable-pip-version-check 'pgspot==0.9.4'
installed=$("$("$CONFIG/pg_config.sh" "$major")" --sharedir)/extension
script=$TARGET/tests/pgspot.sql
mkdir -p "$(dirname "$script")"
# What CREATE EXTENSION puts in these places is a quoted name.
sed 's/@extowner@/some_owner/g; s/@extschema@/some_schema/g' "$installed/pg_once--$(sed -n "s/^version = \"\(.*\)\"/\1/p" "$ROOT/Cargo.toml").sql" >"$script"
if "$python" -m pgspot "$script"; then outcome 1 0; else outcome 0 1; fi
