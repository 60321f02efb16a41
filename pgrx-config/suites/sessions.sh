#!/bin/sh
# sessions.sh NN runs tests/sessions: real concurrent connections to clusters of PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/session_tools.sh"
cd "$ROOT"
cargo_test cargo test --package pg_once_sessions --no-fail-fast
