#!/bin/sh
# clippy.sh NN lints the code as it is built for PostgreSQL NN; a warning is an error.
set -eu
. "$(dirname "$0")/suite.sh"

cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
"$CONFIG/build_tools.sh"
PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
export PGRX_HOME
cd "$ROOT"
if cargo clippy --workspace --all-targets --no-default-features \
    --features "pg$major pg_test" -- --deny warnings; then outcome 1 0; else outcome 0 1; fi
