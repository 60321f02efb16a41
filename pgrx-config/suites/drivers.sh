#!/bin/sh
# drivers.sh NN runs tests/drivers: the default binding of client drivers with PostgreSQL NN.
set -eu
. "$(dirname "$0")/suite.sh"

exec "$ROOT/tests/drivers/run.sh" "$major"
