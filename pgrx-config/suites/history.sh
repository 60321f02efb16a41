#!/bin/sh
# history.sh NN runs tests/history: what many clients of PostgreSQL NN are told while something happens to the
# server, recorded and checked. The lines that it prints name the seeds.
set -eu
. "$(dirname "$0")/suite.sh"

[ -x /usr/sbin/pgbouncer ] || RUNLEVEL=1 "$CONFIG/packages.sh" pgbouncer:pgbouncer
[ -x /bin/kill ] || "$CONFIG/packages.sh" procps
"$CONFIG/packages.sh" libfaketime iproute2:ip
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG
"$CONFIG/as_server.sh" true
cd "$ROOT"
cargo_test cargo test --package pg_once_history --no-fail-fast -- --nocapture --test-threads=2
