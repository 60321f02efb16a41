#!/bin/sh
# attacks.sh NN runs tests/attacks: attacks on the extension by roles of every kind, on PostgreSQL NN. The lines
# "attacks: KIND n" of the tests are added up at the end. PG_ONCE_SEED repeats the hostile calls of a run.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/session_tools.sh"
cd "$ROOT"
log=$(mktemp)
trap 'rm -rf "$PG_ONCE_INITDB" "$log"' EXIT

attack() {
    cargo_test cargo test --package pg_once_attacks --no-fail-fast -- --nocapture --test-threads=4 || true
}
attack | tee "$log" | sed '$d'

awk '
    sub(/^.*attacks: /, "") { made = $NF; sub(/ [0-9]+$/, ""); kinds[$0] += made; all += made }
    END {
        for (kind in kinds) printf "%8d %s\n", kinds[kind], kind | "sort -rn"
        close("sort -rn")
        printf "%8d attacks\n", all
    }' "$log"
last=$(tail -n 1 "$log")
echo "$last"
case $last in
"0 passed"*) false ;;
*" passed, 0 failed") true ;;
*) false ;;
esac
