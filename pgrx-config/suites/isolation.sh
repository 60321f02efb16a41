#!/bin/sh
# isolation.sh NN runs tests/isolation with PostgreSQL NN's own isolationtester.
set -eu
. "$(dirname "$0")/suite.sh"

golden isolation/pg_isolation_regress isolation specs spec
