#!/bin/sh
# proof.sh NN judges PostgreSQL NN as strictly as the tests here can: recorded histories by two independent checkers,
# which must find planted defects; and every order of sessions through injection points, in a copy of the server into
# which the extension is built with them. HISTORIES names a directory for the histories as JSON. The server must be one
# that was built with injection points, as PostgreSQL 17 is where it is built from source here.
set -eu
. "$(dirname "$0")/suite.sh"

"$CONFIG/build_tools.sh"
copy_server proof
trap remove_copy EXIT
"$pg_config" --configure | grep -q enable-injection-points || die "PostgreSQL $major is built without injection points"
PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
export PGRX_HOME
cd "$ROOT"
rm -f "$("$pg_config" --sharedir)"/extension/pg_once--*.sql
cargo pgrx install --pg-config "$pg_config" --no-default-features --features "pg$major,injection_points"
# It sets a trap of its own.
. "$CONFIG/session_tools.sh"
trap 'rm -rf "$PG_ONCE_INITDB"; remove_copy' EXIT
"$CONFIG/packages.sh" iproute2:ip

record=$(mktemp)
{
    cargo_test cargo test --package pg_once_history --package pg_once_interleavings --no-fail-fast --lib --test scenarios \
        --test defects --test orders --test reindex -- --nocapture --test-threads=1 && ended=0 || ended=1
    echo "$ended" >"$record.ended"
} | tee "$record"
awk '
    / transactions \(.* operations checked, / {
        scenarios++
        for (word = 1; word < NF; word++) {
            if ($(word + 1) == "operations") operations += $word
            if ($(word + 1) == "faults") faults += $word
            if ($(word + 1) == "claims") claims += $word
            if ($(word + 1) ~ /^lost/) lost += $word
        }
    }
    /^planted: [0-9]+ defects, / { sub(/^planted: /, ""); planted = $0 }
    /orders: .* orders, / {
        for (word = 1; word < NF; word++) {
            if ($(word + 1) == "orders,") orders += $word
            if ($(word + 1) == "stops,") stops += $word
        }
    }
    END {
        printf "proof: %d scenarios: %d operations checked by both checkers, %d faults survived, %d claims acknowledged, %d lost\n", \
            scenarios, operations, faults, claims, lost
        print "proof: " planted
        printf "proof: %d orders through injection points with %d stops, compared with the model\n", orders, stops
    }' "$record"
tail -n 1 "$record"
ended=$(cat "$record.ended")
rm -f "$record" "$record.ended"
exit "$ended"
