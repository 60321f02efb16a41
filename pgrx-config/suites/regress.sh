#!/bin/sh
# regress.sh NN [BEGINNING] runs tests/pg_regress, or the files of this beginning, with PostgreSQL NN's own pg_regress.
set -eu
. "$(dirname "$0")/suite.sh"

golden regress/pg_regress pg_regress sql sql "${2:-}"
