#!/bin/sh
# pgrx.sh NN runs cargo pgrx test: the tests beside the code, those inside PostgreSQL NN among them.
set -eu
. "$(dirname "$0")/suite.sh"

"$CONFIG/build_tools.sh"
PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
USER=$(id -un)
export PGRX_HOME USER

data=$(mktemp -d /tmp/pg_once.XXXXXX)
stop_servers() {
    for pidfile in "$data"/*/postmaster.pid; do
        [ ! -f "$pidfile" ] || kill -INT "$(head -n 1 "$pidfile")" || true
    done
    rm -rf "$data"
}
trap stop_servers EXIT

set --
if is_root; then
    "$CONFIG/packages.sh" sudo:sudo
    "$CONFIG/as_server.sh" true
    chown postgres: "$data"
    set -- --runas postgres
fi
cd "$ROOT"
cargo_test cargo pgrx test "pg$major" "$@" --pgdata "$data"
