#!/bin/bash
# check.sh NN [EXAMPLE...]: runs the examples, by default all, with PostgreSQL NN.
# The extension must be installed there (pgrx-config/install.sh NN).
set -euo pipefail

major=${1:?which major version of PostgreSQL?}
shift
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")
config=$root/pgrx-config
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/examples/$major
jar=/usr/share/java/postgresql.jar
name=examples-$major
programs=$target/clients/$name
examples=${*:-shell python node ruby rust go java php perl leader_python leader_go rails django sqlalchemy drizzle prisma powertools}
jobs=8 payments=12
passed=0 failed=0

provision() {
    local program
    python=$("$config/clients.sh")
    mkdir -p "$work" "$programs"
    # Node looks for packages above the program.
    cp -R "$here/node/ci.mjs" "$here/drizzle" "$here/prisma" "$programs"
    export PATH=$target/clients/node_modules/.bin:$PATH
    (cd "$root" && cargo build --quiet -p pg_once_example)
    for program in ci leader; do
        GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$work/go_$program" "$here/go/$program.go"
    done
    javac -d "$work" "$here/java/Ci.java"
}

start_cluster() {
    trap '"$config/pooled_cluster.sh" drop "$name"' EXIT
    read -r PGPORT pooled_port < <("$config/pooled_cluster.sh" start "$name" "$major")
    PSQL=$("$("$config/pg_config.sh" "$major")" --bindir)/psql
    export PGHOST=127.0.0.1 PGPORT PGUSER=postgres PSQL
}

sql() {
    "$PSQL" -qXAt -v ON_ERROR_STOP=1 "$@"
}

create_database() {
    export PGDATABASE=$1
    sql -d postgres -c "CREATE DATABASE $1"
}

check() {
    if [[ $2 = "$3" ]]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAILED $1: wanted $2, got $3"
        failed=$((failed + 1))
    fi
}

# at_once COUNT COMMAND...: so many processes.
at_once() {
    local count=$1 number
    shift
    # Each writes to a file of its own, so that none can take the place of what another writes.
    for number in $(seq "$count"); do "$@" >"$work/said.$number" & done
    wait
    for number in $(seq "$count"); do cat "$work/said.$number"; done
}

# program NAME COMMAND...: one of the small programs, with many processes at once.
program() {
    local example=$1 said=$work/$1.log
    shift
    create_database "$example"
    sql -c 'CREATE EXTENSION pg_once' -c 'CREATE TABLE payments (
        id bigint GENERATED ALWAYS AS IDENTITY, service_id bigint, line_item_id text, amount numeric DEFAULT 0)'
    at_once $jobs "$@" notify 4711 org/repo >"$said"
    check "$example: $jobs jobs fail" "1 of $jobs" "$(grep -c '^sent: build 4711 of org/repo failed$' "$said") of $(grep -c sent "$said")"
    at_once $payments "$@" pay 1 A 1.25 >"$said"
    check "$example: $payments payments" "1 row of 15.00" "$(sql -c "SELECT count(*) || ' row of ' || sum(amount) FROM payments")"
    check "$example: the last one says" 15.00 "$(sort -n "$said" | tail -n 1)"
}

# leader NAME COMMAND...: three processes. The leader is killed, the next one is stopped for three leases, the third one
# is told to end.
leader() {
    local example=$1 said=$work/$1 seconds=1 number candidates=() stopped
    shift
    create_database "$example"
    sql -c 'CREATE EXTENSION pg_once' \
        -c 'CREATE TABLE tick (id bigint GENERATED ALWAYS AS IDENTITY, token bigint, name text)'
    for number in 1 2 3; do
        "$@" election "$seconds" >"$said.$number" 2>&1 &
        candidates+=($!)
    done
    kill -KILL "$(leader_of 1)"
    stopped=$(leader_of 2)
    kill -STOP "$stopped"
    sleep $((3 * seconds))
    kill -CONT "$stopped"
    kill -TERM "$(leader_of 3)"
    # Nobody else is left.
    check "$example: who was stopped leads again" "$stopped" "$(leader_of 4)"
    kill -KILL "${candidates[@]}" 2>/dev/null || true
    wait
    # Where it was stopped behind the fence, the server has ended its session.
    check "$example: it was refused before" 1 "$(cat "$said".[123] | grep -cE '^(lost$|cut off)')"
    check "$example: a stale leader writes" 0 "$(sql -c 'SELECT count(*) FROM (
        SELECT token < max(token) OVER (ORDER BY id) AS is_stale FROM tick) t WHERE is_stale')"
}

# leader_of NUMBER: the process that leads as this one of all, once it does.
leader_of() {
    local process tries
    for tries in $(seq 300); do
        process=$(sql -c "SELECT split_part(min(name), ':', 2) FROM tick GROUP BY token ORDER BY token OFFSET $1 - 1 LIMIT 1")
        if [[ -n $process ]]; then
            echo "$process"
            return
        fi
        sleep 0.1
    done
    echo "nobody after $tries tries"
}

# framework NAME MIGRATION COMMAND...: tests of their own, directly and through pgbouncer in transaction mode. The
# framework's own tool makes the tables, directly.
framework() {
    local example=$1 migration=$2 way
    shift 2
    for way in direct pooled; do
        create_database "${example}_$way"
        framework_migrates "$example" "$way" "$migration"
        framework_tests "$example" "$way" "$@"
    done
}

home_of() {
    if [[ -d $programs/$1 ]]; then echo "$programs/$1"; else echo "$here/$1"; fi
}

framework_migrates() {
    local example=$1 said=$work/$1-$2-migration.log outcome=passes
    (cd "$(home_of "$example")" && bash -c "$3") >"$said" 2>&1 || outcome=fails
    [[ $outcome = passes ]] || tail -n 40 "$said"
    check "$example $2: its migration" passes "$outcome"
}

framework_tests() {
    local example=$1 way=$2 said=$work/$1-$2.log port=$PGPORT outcome=passes
    shift 2
    [[ $way = direct ]] || port=$pooled_port
    (
        cd "$(home_of "$example")"
        [[ $way = direct ]] || export POOLED=1
        PGPORT=$port "$@"
    ) >"$said" 2>&1 || outcome=fails
    [[ $outcome = passes ]] || tail -n 40 "$said"
    check "$example $way: its tests ($(grep -E '^Ran |runs, |^# (pass|fail) ' "$said" | paste -sd ,))" passes "$outcome"
}

play() {
    case $1 in
    shell) program shell "$here/shell/ci.sh" ;;
    python) program python "$python" "$here/python/ci.py" ;;
    node) program node node "$programs/ci.mjs" ;;
    ruby) program ruby ruby "$here/ruby/ci.rb" ;;
    rust) program rust "$target/debug/pg_once_example" ;;
    go) program go "$work/go_ci" ;;
    java) program java java -cp "$jar:$work" Ci ;;
    php) program php php "$here/php/ci.php" ;;
    perl) program perl perl "$here/perl/ci.pl" ;;
    leader_python) leader leader_python "$python" "$here/python/leader.py" ;;
    leader_go) leader leader_go "$work/go_leader" ;;
    rails) framework rails "ruby migrate.rb" ruby once_test.rb ;;
    django) framework django "$python -m django migrate --settings settings" "$python" -m unittest ;;
    sqlalchemy) framework sqlalchemy "$python -m alembic upgrade head" "$python" -m unittest ;;
    drizzle) framework drizzle "drizzle-kit migrate" node once.test.mjs ;;
    prisma) framework prisma ./migrate.sh node once.test.mjs ;;
    powertools) framework powertools "$PSQL -c 'CREATE EXTENSION pg_once'" "$python" -m unittest ;;
    *) check "there is no example $1" yes no ;;
    esac
}

provision
start_cluster
export PYTHONDONTWRITEBYTECODE=1
for example in $examples; do
    play "$example"
done
echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
