#!/bin/sh
# bench.sh NN runs the shortest parts of the benchmark with PostgreSQL NN, the gates of WAL among them, and the
# tests beside its code.
set -eu
. "$(dirname "$0")/suite.sh"

cd "$ROOT"
trap '"$CONFIG/cluster.sh" drop bench' EXIT
if SCALE=0.01 cargo run --quiet --package pg_once_bench -- "$major" herd,order; then
    cargo_test cargo test --package pg_once_bench
else
    outcome 0 1
fi
