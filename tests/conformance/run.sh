#!/bin/bash
# run.sh NN [CLIENT...]: plays scenarios.json through the clients, by default all, with PostgreSQL NN:
# once directly and once through pgbouncer in transaction mode. Without a CLIENT, or with `parts`, it claims the same
# values through the programs of parts/ too (parts.py).
# The extension must be installed there (pgrx-config/install.sh NN).
set -euo pipefail

major=${1:?which major version of PostgreSQL?}
shift
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
config=$root/pgrx-config
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/conformance/$major
jars=/usr/share/java/postgresql.jar:/usr/share/java/gson.jar
name=conformance-$major
programs=$target/clients/$name
clients=${*:-psql psycopg3 asyncpg sqlalchemy django node_pg node_postgres knex ruby_pg activerecord tokio_postgres sqlx lib_pq jdbc pdo dbi parts}
passed=0 failed=0

provision() {
    python=$("$config/clients.sh")
    mkdir -p "$work" "$programs"
    # Node looks for packages above the program, so the programs are copied below the packages.
    mkdir -p "$programs/parts"
    cp "$here"/clients/*.mjs "$programs"
    cp "$here"/parts/*.mjs "$programs/parts"
    (cd "$root" && cargo build --quiet -p pg_once_conformance)
    GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$work/lib_pq" "$here/clients/lib_pq.go"
    GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$work/parts_lib_pq" "$here/parts/lib_pq.go"
    javac -cp "$jars" -d "$work" "$here/clients/Jdbc.java" "$here/parts/PartsJdbc.java"
}

start_cluster() {
    trap '"$config/pooled_cluster.sh" drop "$name"' EXIT
    read -r port pooled_port < <("$config/pooled_cluster.sh" start "$name" "$major")
    PSQL=$("$("$config/pg_config.sh" "$major")" --bindir)/psql
    export PGHOST=127.0.0.1 PGUSER=postgres PSQL OBSERVER_PORT=$port
}

command_of() {
    case $1 in
    psql) echo "python3 $here/clients/psql_client.py" ;;
    psycopg3) echo "$python $here/clients/psycopg3.py" ;;
    asyncpg | sqlalchemy | django) echo "$python $here/clients/$1_client.py" ;;
    node_pg | node_postgres) echo "node $programs/$1.mjs" ;;
    knex) echo "node $programs/knex_client.mjs" ;;
    ruby_pg | activerecord) echo "ruby $here/clients/$1.rb" ;;
    tokio_postgres | sqlx) echo "$target/debug/$1" ;;
    lib_pq) echo "$work/lib_pq" ;;
    jdbc) echo "java -cp $jars:$work Jdbc" ;;
    pdo) echo "php $here/clients/pdo.php" ;;
    dbi) echo "perl $here/clients/dbi.pl" ;;
    *) echo "there is no client $1" >&2 && exit 1 ;;
    esac
}

# Drivers that ask the server for the types of parameters need the casts.
needs_casts() {
    [[ $1 = asyncpg || $1 = tokio_postgres ]]
}

# play CLIENT WAY: all scenarios in a database of their own.
play() {
    local client=$1 way=$2 output ok bad finished=yes
    output=$work/$client-$way.log
    export PGDATABASE=${client}_$way
    unset POOLED CASTS
    export PGPORT=$port
    "$PSQL" -qX -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $PGDATABASE"
    "$PSQL" -qX -v ON_ERROR_STOP=1 -c "CREATE EXTENSION pg_once"
    if [[ $way = pooled ]]; then export PGPORT=$pooled_port POOLED=yes; fi
    if needs_casts "$client"; then export CASTS=yes; fi
    # shellcheck disable=SC2046 # a program and its arguments
    python3 "$here/conformance.py" "$client" $(command_of "$client") >"$output" 2>&1 || finished=no
    report "$client $way"
}

# parts: the same values as parts of keys, through each driver.
parts() {
    local output ok bad finished=yes
    output=$work/parts.log
    export PGDATABASE=parts PGPORT=$port
    "$PSQL" -qX -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $PGDATABASE"
    "$PSQL" -qX -v ON_ERROR_STOP=1 -c "CREATE EXTENSION pg_once"
    python3 "$here/parts.py" \
        "psycopg=$python $here/parts/psycopg3.py" "asyncpg=$python $here/parts/asyncpg_client.py" \
        "node pg=node $programs/parts/node_pg.mjs" "node postgres=node $programs/parts/node_postgres.mjs" \
        "Ruby pg=ruby $here/parts/ruby_pg.rb" "lib/pq=$work/parts_lib_pq" "JDBC=java -cp $jars:$work PartsJdbc" \
        "PDO=php $here/parts/pdo.php" "DBI=perl $here/parts/dbi.pl" \
        "tokio-postgres=$target/debug/parts_tokio_postgres" >"$output" 2>&1 || finished=no
    report parts
}

# report WHAT: counts the lines of $output.
report() {
    ok=$(grep -c '^ok ' "$output" || true)
    bad=$(grep -c '^FAILED ' "$output" || true)
    grep '^FAILED ' "$output" || true
    if [[ $finished = no && $bad = 0 || $((ok + bad)) = 0 ]]; then
        tail -n 20 "$output"
        echo "FAILED $1 did not finish"
        bad=$((bad + 1))
    fi
    echo "$1: $ok passed, $bad failed"
    passed=$((passed + ok)) failed=$((failed + bad))
}

provision
start_cluster
export PYTHONDONTWRITEBYTECODE=1
for client in $clients; do
    if [[ $client = parts ]]; then
        parts
        continue
    fi
    play "$client" direct
    play "$client" pooled
done
echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
