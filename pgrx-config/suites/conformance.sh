#!/bin/sh
# conformance.sh NN plays tests/conformance/scenarios.json through every client, with PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

exec "$ROOT/tests/conformance/run.sh" "$major"
