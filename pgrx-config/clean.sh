#!/bin/sh
# clean.sh stops every private cluster and removes what was built, PostgreSQL included.
set -eu
. "$(dirname "$0")/places.sh"

for cluster in "$CLUSTERS"/*/; do
    [ ! -d "$cluster" ] || "$CONFIG/cluster.sh" drop "$(basename "$cluster")"
done
[ "$SERVERS_HOME" = "$TARGET" ] || rm -rf "$SERVERS_HOME"
rm -rf "$TARGET"
