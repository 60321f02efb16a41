#!/bin/sh
# cron.sh NN lets pg_cron sweep as docs/worker.md says, on a private cluster of PostgreSQL NN with the pg_cron of this
# machine's Debian. That is unpacked beside a copy of the server: nothing is installed, and no other cluster is touched.
set -eu
. "$(dirname "$0")/suite.sh"

. "$CONFIG/postgres/private_apt.sh"
unpacked=$TARGET/tests/$major/cron
rm -rf "$unpacked"
mkdir -p "$unpacked"
private_apt update || die "apt-get update failed"
(cd "$unpacked" && private_apt download "postgresql-$major-cron") ||
    die "this Debian has no pg_cron for PostgreSQL $major"
dpkg-deb -x "$unpacked/postgresql-$major-cron_"*.deb "$unpacked/root"

copy_server cron
trap remove_copy EXIT
cp "$unpacked/root/usr/lib/postgresql/$major/lib/"*.so "$("$pg_config" --pkglibdir)/"
cp "$unpacked/root/usr/share/postgresql/$major/extension/"* "$("$pg_config" --sharedir)/extension/"

name=cron-$major
cat >"$unpacked/postgresql.conf" <<CONF
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
autovacuum = off
CONF
"$CONFIG/cluster.sh" drop "$name"
trap '"$CONFIG/cluster.sh" drop "$name"; remove_copy' EXIT
socket=$("$CONFIG/cluster.sh" start "$name" "$major" "$unpacked/postgresql.conf")

ask() {
    "$(dirname "$pg_config")/psql" -X -A -t -q -v ON_ERROR_STOP=1 -h "$socket" -U postgres -d "$1" -c "$2"
}

ask postgres "CREATE DATABASE app"
ask postgres "CREATE EXTENSION pg_cron"
for database in postgres app; do
    ask "$database" "CREATE EXTENSION pg_once"
    ask "$database" "SELECT count(claim_once_per('1 ms', 'cron', n)) FROM generate_series(1, 500) n"
done
# The lines of the document.
sed -n "s/^\(SELECT cron.schedule.*;\)$/\1/p" "$ROOT/docs/worker.md" >"$unpacked/schedule.sql"
scheduled=$(grep -c . "$unpacked/schedule.sql")
ask postgres "$(cat "$unpacked/schedule.sql")"

# Jobs begin with a minute.
runs="SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE status = 'succeeded'"
waited=0
while [ "$(ask postgres "$runs")" -lt "$scheduled" ] && [ "$waited" -lt 150 ]; do
    sleep 1
    waited=$((waited + 1))
done
ask postgres "SELECT j.jobname, d.database, d.status, d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) ORDER BY d.runid"
passed=0 failed=0
expect() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "$1: $2 instead of $3"
    fi
}
expect "jobs that succeeded" "$(ask postgres "$runs")" "$scheduled"
for database in postgres app; do
    expect "claims left in $database" "$(ask "$database" "SELECT count(*) FROM once.claim")" 0
done
expect "dead rows are vacuumed" \
    "$(ask postgres "SELECT vacuum_count > 0 FROM pg_stat_all_tables WHERE relid = 'once.claim'::regclass")" t
outcome $passed $failed
