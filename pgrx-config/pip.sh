#!/bin/sh
# pip.sh prints the path of a pip in a private environment under target/venv.
set -eu
. "$(dirname "$0")/places.sh"

venv=$TARGET/venv
if [ ! -x "$venv/bin/pip" ]; then
    python3 -m venv "$venv" >"$LOGS/venv.log" 2>&1 || {
        "$CONFIG/packages.sh" python3-venv >&2
        python3 -m venv --clear "$venv" >&2
    }
fi
echo "$venv/bin/pip"
