#!/bin/sh
# download.sh NN lets cargo-pgrx download and build PostgreSQL NN, where the network allows it.
set -eu
. "$(dirname "$0")/way.sh"

"$CONFIG/packages.sh" curl:curl
curl --silent --head --connect-timeout 5 --max-time 15 --output /dev/null https://www.postgresql.org/versions.rss ||
    decline "cannot download it, www.postgresql.org does not answer"

"$CONFIG/packages.sh" bison:bison flex:flex perl:perl pkg-config:pkg-config libreadline-dev zlib1g-dev libicu-dev >&2
"$CONFIG/cargo_pgrx.sh" >&2
log=$LOGS/download-$major.log
say "cargo pgrx init downloads and builds it, some minutes; log in $log"
PGRX_HOME=$PG_HOME/pgrx cargo pgrx init "--pg$major" download >"$log" 2>&1 </dev/null || {
    tail -n 5 "$log" >&2
    decline "cargo pgrx init failed (whole log: $log)"
}
sed -n "s/^pg$major *= *[\"']\(.*\)[\"']/\1/p" "$PG_HOME/pgrx/config.toml"
