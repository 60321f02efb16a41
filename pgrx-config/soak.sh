#!/bin/sh
# soak.sh MINUTES NN runs the scenarios of tests/history on PostgreSQL NN for so long, with 100 kills of the
# postmaster first. It prints what each has survived, with its seed.
set -eu
. "$(dirname "$0")/places.sh"

minutes=${1:?for how many minutes?} major=${2:?which major version of PostgreSQL?}
. "$CONFIG/session_tools.sh"
"$CONFIG/packages.sh" iproute2:ip
cd "$ROOT"
cargo build --quiet --package pg_once_history
"$TARGET/debug/soak" "$minutes"
