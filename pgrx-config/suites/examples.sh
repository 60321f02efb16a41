#!/bin/sh
# examples.sh NN runs the examples with PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

exec "$ROOT/examples/check.sh" "$major"
