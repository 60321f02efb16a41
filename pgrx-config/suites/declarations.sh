#!/bin/sh
# declarations.sh NN compares what the extension declares by hand of PostgreSQL's C interface with the headers and the
# program of PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

"$CONFIG/build_tools.sh"
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG
cd "$ROOT"
cargo_test cargo test --no-fail-fast --package pg_once_declarations
