#!/bin/sh
# soak.sh MINUTES NN runs the scenarios of tests/history on PostgreSQL NN for so long, with 100 kills of the
# postmaster first. It prints what each has survived, with its seed.
set -eu
. "$(dirname "$0")/places.sh"

minutes=${1:?for how many minutes?} major=${2:?which major version of PostgreSQL?}
[ -x /usr/sbin/pgbouncer ] || RUNLEVEL=1 "$CONFIG/packages.sh" pgbouncer:pgbouncer
[ -x /bin/kill ] || "$CONFIG/packages.sh" procps
"$CONFIG/packages.sh" libfaketime iproute2:ip
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG
"$CONFIG/as_server.sh" true
cd "$ROOT"
cargo build --quiet --package pg_once_history
exec "$TARGET/debug/soak" "$minutes"
