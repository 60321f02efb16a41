#!/bin/bash
# pooler.sh DIRECTORY PORT SERVER_PORT: pgbouncer in transaction mode on the loopback address, before a server there, with
# its files in this directory. It ends when it is killed.
set -euo pipefail
. "$(dirname "$0")/places.sh"

directory=$1 port=$2 server_port=$3
cat >"$directory/pgbouncer.ini" <<END
[databases]
* = host=127.0.0.1 port=$server_port user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
END
exec "$CONFIG/as_server.sh" pgbouncer --quiet "$directory/pgbouncer.ini" >"$directory/pgbouncer.log" 2>&1
