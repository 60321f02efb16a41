#!/bin/sh
# history.sh NN runs tests/history: what many clients of PostgreSQL NN are told while something happens to the
# server, recorded and checked. The lines that it prints name the seeds.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/session_tools.sh"
"$CONFIG/packages.sh" iproute2:ip
cd "$ROOT"
# That the checkers find planted defects is a part of make proof.
cargo_test cargo test --package pg_once_history --no-fail-fast --lib --test broken --test scenarios \
    -- --nocapture --test-threads=2
