#!/bin/sh
# model.sh looks at every order of events in the models of claims, turns and work.
set -eu
. "$(dirname "$0")/suite.sh"

cd "$ROOT"
cargo_test cargo test --quiet --no-fail-fast -p pg_once_model
