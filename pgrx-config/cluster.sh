#!/bin/sh
# cluster.sh start NAME NN [FILE]  starts a private cluster of PostgreSQL NN, made first if need be;
#                                  FILE holds more lines for postgresql.conf. Prints its socket directory.
# cluster.sh stop NAME             stops it.
# cluster.sh drop NAME             stops and removes it.
# cluster.sh env NAME              prints the settings with which clients find it, for eval.
# It listens on a Unix socket only. Its superuser is called postgres, whoever runs it.
set -eu
. "$(dirname "$0")/places.sh"

usage() {
    sed -n 's/^# //p' "$0" | sed '/^It listens/,$d' >&2
    exit 1
}
[ $# -ge 2 ] || usage
command=$1 name=$2
case $name in *[!a-z0-9_-]*) die "a cluster's name has a-z, 0-9, _ and - only: $name" ;; esac
cluster=$CLUSTERS/$name

as_server() {
    "$CONFIG/as_server.sh" "$@"
}

# A socket's path has room for about 100 bytes.
socket_directory() {
    if [ "${#cluster}" -lt 80 ]; then
        echo "$cluster"
    else
        echo "/tmp/pg_once-$(printf %s "$cluster" | cksum | cut -d' ' -f1)"
    fi
}

create() {
    echo "making the cluster $name in $cluster" >&2
    mkdir -p "$CLUSTERS" "$cluster"
    socket=$(socket_directory)
    mkdir -p "$socket"
    if is_root; then
        as_server true
        chown postgres: "$cluster" "$socket"
    fi
    as_server "$bin/initdb" -D "$cluster/data" -U postgres -A trust --no-locale -E UTF8 >"$cluster/initdb.log" 2>&1 || {
        cat "$cluster/initdb.log" >&2
        die "initdb failed"
    }
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$socket'"
        echo "port = 5432"
        echo "timezone = 'UTC'"
        [ -z "$extra" ] || cat "$extra"
    } >>"$cluster/data/postgresql.conf"
    echo "$bin" >"$cluster/bin"
}

running() {
    [ -f "$cluster/bin" ] && as_server "$(cat "$cluster/bin")/pg_ctl" status -D "$cluster/data" >/dev/null 2>&1
}

start() {
    bin=$("$("$CONFIG/pg_config.sh" "$1")" --bindir)
    extra=$2
    [ ! -f "$cluster/bin" ] || [ "$(cat "$cluster/bin")" = "$bin" ] ||
        die "the cluster $name is of $(cat "$cluster/bin"), not of PostgreSQL $1: drop it first"
    [ -f "$cluster/bin" ] || create
    running || as_server "$bin/pg_ctl" start -w -t 60 -D "$cluster/data" -l "$cluster/data/server.log" >/dev/null || {
        tail -n 20 "$cluster/data/server.log" >&2
        die "the cluster $name does not start (whole log: $cluster/data/server.log)"
    }
    socket_directory
}

stop() {
    if running; then
        as_server "$(cat "$cluster/bin")/pg_ctl" stop -w -m fast -D "$cluster/data" >/dev/null
    fi
}

case $command in
start)
    [ $# -ge 3 ] || usage
    start "$3" "${4:-}"
    ;;
stop) stop ;;
drop)
    stop
    rm -rf "$cluster" "$(socket_directory)"
    ;;
env)
    [ -f "$cluster/bin" ] || die "there is no cluster $name"
    echo "export PGHOST='$(socket_directory)' PGPORT=5432 PGUSER=postgres"
    ;;
*) usage ;;
esac
