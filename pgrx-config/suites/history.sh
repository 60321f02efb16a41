#!/bin/sh
# history.sh NN runs tests/history: what many clients of PostgreSQL NN are told while something happens to the
# server, recorded and checked. The lines that it prints name the seeds.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/session_tools.sh"
"$CONFIG/packages.sh" iproute2:ip
cd "$ROOT"
cargo_test cargo test --package pg_once_history --no-fail-fast -- --nocapture --test-threads=2
