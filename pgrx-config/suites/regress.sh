#!/bin/sh
# regress.sh NN runs tests/pg_regress with PostgreSQL NN's own pg_regress.
set -eu
. "$(dirname "$0")/suite.sh"

golden regress/pg_regress pg_regress sql sql
