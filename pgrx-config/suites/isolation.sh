#!/bin/sh
# isolation.sh NN runs tests/isolation with PostgreSQL NN's own isolationtester: all specs, then those of claims
# with the statement engine.
set -eu
. "$(dirname "$0")/suite.sh"

golden isolation/pg_isolation_regress isolation specs spec
first=$passed
export PGOPTIONS='-c pg_once.claim_engine=statement'
golden isolation/pg_isolation_regress isolation specs spec claim-
echo "$((first + passed)) passed, $failed failed"
