#!/bin/bash
# pooled_cluster.sh start NAME NN  starts a new private cluster of PostgreSQL NN that listens on the loopback address, for
#                                  drivers that know no Unix sockets, and pgbouncer in transaction mode before it.
#                                  Prints the ports of both.
# pooled_cluster.sh drop NAME      stops and removes both.
set -euo pipefail
. "$(dirname "$0")/places.sh"

command=${1:?start or drop?} name=${2:?which cluster?}
cluster=$CLUSTERS/$name

start() {
    local major=$1 port pooled_port settings
    drop
    port=$("$CONFIG/free_port.sh")
    pooled_port=$("$CONFIG/free_port.sh")
    settings=$(mktemp)
    printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $port" >"$settings"
    "$CONFIG/cluster.sh" start "$name" "$major" "$settings" >/dev/null
    rm "$settings"
    cat >"$cluster/pgbouncer.ini" <<END
[databases]
* = host=127.0.0.1 port=$port user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooled_port
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
logfile = $cluster/pgbouncer.log
pidfile = $cluster/pgbouncer.pid
END
    "$CONFIG/as_server.sh" pgbouncer --quiet --daemon "$cluster/pgbouncer.ini"
    echo "$port $pooled_port"
}

drop() {
    local pid
    if pid=$(cat "$cluster/pgbouncer.pid" 2>/dev/null) && [[ $(ps -o comm= -p "$pid") = pgbouncer ]]; then
        kill "$pid"
    fi
    "$CONFIG/cluster.sh" drop "$name"
}

case $command in
start) start "${3:?which major version of PostgreSQL?}" ;;
drop) drop ;;
*) die "start or drop, not $command" ;;
esac
