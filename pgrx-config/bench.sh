#!/bin/sh
# bench.sh all|gates|baseline|PART,... NN compares pg_once on PostgreSQL NN with what a user would pick instead, on a private
# cluster. "all" takes up to 45 minutes and writes docs/benchmarks; "gates" counts instructions and bytes, takes minutes,
# and compares turns at rows with benches/baseline.json, which "baseline" writes.
# SCALE=0.1 makes it shorter and coarser.
set -eu
. "$(dirname "$0")/places.sh"

what=${1:?all, gates, baseline or a part?} major=${2:?which major version of PostgreSQL?}
"$CONFIG/packages.sh" valgrind:valgrind
# The server of the package is not to be started: the run has private ones.
[ "$what" = gates ] || [ "$what" = baseline ] || RUNLEVEL=1 "$CONFIG/packages.sh" redis-server:redis-server

log=$LOGS/bench-build.log
echo "building pg_once for PostgreSQL $major, optimized; the first time takes minutes; log in $log"
"$CONFIG/install.sh" "$major" --release >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "the build failed (whole log: $log)"
}
"$CONFIG/as_server.sh" true
cd "$ROOT"
cargo build --quiet --release --package pg_once_bench
trap '"$CONFIG/cluster.sh" drop bench' EXIT
trap 'exit 130' INT TERM
"$TARGET/release/pg_once_bench" "$major" "$what"
