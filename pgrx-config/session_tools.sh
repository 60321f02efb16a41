# shellcheck shell=sh
# Sourced after places.sh by what runs tests with servers of their own: the programs that they call, and the pg_config of
# PostgreSQL $major.

# The tests of crashes need kill as a program; shells have one of their own.
[ -x /usr/sbin/pgbouncer ] || RUNLEVEL=1 "$CONFIG/packages.sh" pgbouncer:pgbouncer
[ -x /bin/kill ] || "$CONFIG/packages.sh" procps
PG_CONFIG=$("$CONFIG/pg_config.sh" "$major")
export PG_CONFIG
"$CONFIG/as_server.sh" true
