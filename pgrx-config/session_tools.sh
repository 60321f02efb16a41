# shellcheck shell=sh
# Sourced after places.sh by what runs tests with servers of their own: the programs that they call, the pg_config of
# PostgreSQL $major, and places for their clusters.

# The tests of crashes need kill as a program; shells have one of their own.
[ -x /usr/sbin/pgbouncer ] || RUNLEVEL=1 "$CONFIG/packages.sh" pgbouncer:pgbouncer
[ -x /bin/kill ] || "$CONFIG/packages.sh" procps
# shellcheck disable=SC2154 # of the script that sources this
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG

# Clusters that come and go by the dozen are in memory, where that has 8 GB free, and copies of one.
PG_ONCE_CLUSTERS=/tmp
free_kilobytes=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
[ "${free_kilobytes:-0}" -lt 8000000 ] || PG_ONCE_CLUSTERS=/dev/shm
PG_ONCE_INITDB=$("$CONFIG/as_server.sh" mktemp -d "$PG_ONCE_CLUSTERS/pgonce-initdb.XXXXXX")
trap 'rm -rf "$PG_ONCE_INITDB"' EXIT
export PG_ONCE_CLUSTERS PG_ONCE_INITDB
