#!/bin/sh
# schedules.sh NN runs tests/schedules: what two to four sessions of PostgreSQL NN do in some order, compared with a
# model. SCHEDULE_SECONDS is a time for each of its tests, SCHEDULES a number of schedules instead. SCHEDULE_SEED begins at
# a seed, SCHEDULE runs one schedule that is written down.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/session_tools.sh"
cd "$ROOT"
# That the search finds planted faults does not depend on the version.
tests="--lib --test rows --test claims --test work --test locks"
[ "$major" != "$PG_NEWEST" ] || tests=
# shellcheck disable=SC2086 # a list of words
cargo_test cargo test --package pg_once_schedules --no-fail-fast $tests -- --nocapture --test-threads=1
