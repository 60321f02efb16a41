#!/bin/bash
# run.sh NN [DRIVER...]: the first calls a user would type, through the drivers' default binding, on PostgreSQL NN; and
# statements that drivers keep while the table changes (plans.json), by default all.
# The extension must be installed there (pgrx-config/install.sh NN).
set -euo pipefail

major=${1:?which major version of PostgreSQL?}
shift
drivers=${*:-psycopg3 asyncpg node_pg node_postgres jdbc plans_psycopg3 plans_node_pg plans_lib_pq plans_jdbc}
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
config=$root/pgrx-config
work=${CARGO_TARGET_DIR:-$root/target}/drivers/$major
jdbc=/usr/share/java/postgresql.jar
gson=/usr/share/java/gson.jar
passed=0 failed=0

provision() {
    "$config/packages.sh" nodejs:node npm:npm default-jdk-headless:javac
    [[ -f $jdbc ]] || "$config/packages.sh" libpostgresql-jdbc-java
    [[ -f $gson ]] || "$config/packages.sh" libgoogle-gson-java
    "$config/packages.sh" golang-go:go golang-github-lib-pq-dev
    python=$("$config/pip.sh" --requirement "$here/requirements.txt")
    # Node looks for packages beside the program, so the programs are copied beside the packages.
    mkdir -p "$work"
    cp "$here"/package.json "$here"/plans.json "$here"/*.mjs "$work"
    GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$work/plans_lib_pq" "$here/plans_lib_pq.go"
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

command_of() {
    case $1 in
    psycopg3 | plans_psycopg3) echo "$python $here/$1.py" ;;
    asyncpg) echo "$python $here/asyncpg_default.py" ;;
    node_pg | node_postgres | plans_node_pg) echo "node $work/$1.mjs" ;;
    jdbc) echo "java -cp $jdbc $here/Jdbc.java" ;;
    plans_jdbc) echo "java -cp $jdbc:$gson $here/PlansJdbc.java $here/plans.json" ;;
    plans_lib_pq) echo "$work/plans_lib_pq $here/plans.json" ;;
    *) echo "there is no driver $1" >&2 && exit 1 ;;
    esac
}

provision
start_cluster
export PYTHONDONTWRITEBYTECODE=1
for driver in $drivers; do
    # shellcheck disable=SC2046 # a program and its arguments
    try "$driver" $(command_of "$driver")
done
echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
