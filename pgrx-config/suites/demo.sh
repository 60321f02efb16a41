#!/bin/sh
# demo.sh runs the tests beside the code of the demo.
set -eu
. "$(dirname "$0")/suite.sh"

cd "$ROOT"
cargo_test cargo test --package pg_once_demo
