#!/bin/sh
# isolation.sh NN [BEGINNING] runs tests/isolation with PostgreSQL NN's own isolationtester: all specs, or those of
# this beginning, then those of claims with the statement engine.
set -eu
. "$(dirname "$0")/suite.sh"

beginning=${2:-}
golden isolation/pg_isolation_regress isolation specs spec "$beginning"
case $beginning in claim-* | '') ;; *) exit ;; esac
first=$passed
export PGOPTIONS='-c pg_once.claim_engine=statement'
golden isolation/pg_isolation_regress isolation specs spec "${beginning:-claim-}"
echo "$((first + passed)) passed, $failed failed"
