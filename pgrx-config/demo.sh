#!/bin/sh
# demo.sh [NN] shows pg_once at work on a private cluster, which keeps running until "make stop".
set -eu
. "$(dirname "$0")/places.sh"

# Without a version named: the newest stable one that needs no long build; where none does, the newest stable one.
at_hand() {
    for major in $(printf '%s\n' "$PG_VERSIONS" | tr ' ' '\n' | sort -rn); do
        [ "$major" -le "$PG_NEWEST" ] || continue
        if PG_WAYS='installed wheel debian' "$CONFIG/pg_config.sh" "$major" >/dev/null 2>"$LOGS/demo-postgres.log"; then
            echo "$major"
            return
        fi
    done
    echo "$PG_NEWEST"
}

major=${1:-$(at_hand)}
pg_config=$("$CONFIG/pg_config.sh" "$major")
"$CONFIG/build_tools.sh"
"$CONFIG/webhooks.sh"

log=$LOGS/demo-build.log
echo "building pg_once for PostgreSQL $major, optimized; the first time takes minutes; log in $log"
"$CONFIG/install.sh" "$major" --release >"$log" 2>&1 || {
    tail -n 30 "$log"
    die "the build failed (whole log: $log)"
}

"$CONFIG/cluster.sh" start demo "$major" >/dev/null
eval "$("$CONFIG/cluster.sh" env demo)"
if ! command -v psql >/dev/null; then
    PSQL=$("$pg_config" --bindir)/psql
    export PSQL
fi
cd "$ROOT"
exec cargo run --quiet --release --package pg_once_demo -- "$TARGET/demo/webhooks-examples"
