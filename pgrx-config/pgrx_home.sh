#!/bin/sh
# pgrx_home.sh NN prints a PGRX_HOME that knows PostgreSQL NN alone and leaves the user's own untouched.
# Its file is rewritten only when it changes, since cargo generates the bindings anew when it does.
set -eu
. "$(dirname "$0")/places.sh"

major=${1:?which major version of PostgreSQL?}
home=$TARGET/pgrx/$major
wanted="[configs]
pg$major = \"$("$CONFIG/pg_config.sh" "$major")\""
mkdir -p "$home"
[ "$(cat "$home/config.toml" 2>/dev/null)" = "$wanted" ] || echo "$wanted" >"$home/config.toml"
echo "$home"
