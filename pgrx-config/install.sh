#!/bin/sh
# install.sh NN [--release] builds the extension for PostgreSQL NN and installs it in that tree. No script of another
# build stays there: whoever may create an extension may name its version.
set -eu
. "$(dirname "$0")/places.sh"

major=${1:?which major version of PostgreSQL?}
shift
"$CONFIG/build_tools.sh"
pg_config=$("$CONFIG/pg_config.sh" "$major")
PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
export PGRX_HOME
cd "$ROOT"
rm -f "$("$pg_config" --sharedir)"/extension/pg_once--*.sql
cargo pgrx install --pg-config "$pg_config" --no-default-features --features "pg$major" "$@"
