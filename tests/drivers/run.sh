#!/bin/bash
# run.sh NN: the first calls a user would type, through the drivers' default binding, on PostgreSQL NN.
# The extension must be installed there (pgrx-config/install.sh NN).
set -euo pipefail

major=${1:?which major version of PostgreSQL?}
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
config=$root/pgrx-config
work=${CARGO_TARGET_DIR:-$root/target}/drivers/$major
jdbc=/usr/share/java/postgresql.jar
passed=0 failed=0

provision() {
    "$config/packages.sh" nodejs:node npm:npm default-jdk-headless:javac
    [[ -f $jdbc ]] || "$config/packages.sh" libpostgresql-jdbc-java
    python=$("$config/pip.sh" --requirement "$here/requirements.txt")
    # Node looks for packages beside the program, so the programs are copied beside the packages.
    mkdir -p "$work"
    cp "$here"/package.json "$here"/*.mjs "$work"
    npm install --prefix "$work" --no-package-lock --no-audit --no-fund --loglevel=error >"$work/npm.log" 2>&1 ||
        { cat "$work/npm.log" >&2; exit 1; }
}

# JDBC knows no Unix sockets, so this cluster listens on the loopback address too.
start_cluster() {
    local port settings
    port=$("$config/free_port.sh")
    settings=$(mktemp)
    printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $port" >"$settings"
    "$config/cluster.sh" drop "drivers-$major"
    trap '"$config/cluster.sh" stop "drivers-$major"' EXIT
    "$config/cluster.sh" start "drivers-$major" "$major" "$settings" >/dev/null
    rm "$settings"
    eval "$("$config/cluster.sh" env "drivers-$major")"
    export PGPORT=$port
    psql=$("$("$config/pg_config.sh" "$major")" --bindir)/psql
}

# try DATABASE COMMAND...: one driver in a database of its own.
try() {
    local finished=yes
    export PGDATABASE=$1
    local output=$work/$1.log
    shift
    "$psql" -qX -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $PGDATABASE"
    "$psql" -qX -v ON_ERROR_STOP=1 -f "$here/setup.sql"
    "$@" >"$output" || finished=no
    local ok bad
    ok=$(grep -c '^ok ' "$output" || true)
    bad=$(grep -c '^FAILED ' "$output" || true)
    grep '^FAILED ' "$output" || true
    if [[ $finished = no || $((ok + bad)) = 0 ]]; then
        echo "FAILED $PGDATABASE did not finish"
        bad=$((bad + 1))
    fi
    echo "$PGDATABASE: $ok passed, $bad failed"
    passed=$((passed + ok)) failed=$((failed + bad))
}

provision
start_cluster
export PYTHONDONTWRITEBYTECODE=1
try psycopg3 "$python" "$here/psycopg3.py"
try asyncpg "$python" "$here/asyncpg_default.py"
try node_pg node "$work/node_pg.mjs"
try node_postgres node "$work/node_postgres.mjs"
try jdbc java -cp "$jdbc" "$here/Jdbc.java"
echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
