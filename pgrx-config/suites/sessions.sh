#!/bin/sh
# sessions.sh NN runs tests/sessions: real concurrent connections to clusters of PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

# The tests of crashes need kill as a program; shells have one of their own.
[ -x /usr/sbin/pgbouncer ] || RUNLEVEL=1 "$CONFIG/packages.sh" pgbouncer:pgbouncer
[ -x /bin/kill ] || "$CONFIG/packages.sh" procps
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG
"$CONFIG/as_server.sh" true
cd "$ROOT"
cargo_test cargo test --package pg_once_sessions --no-fail-fast
