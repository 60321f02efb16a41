#!/bin/sh
# pip.sh [OPTION...] makes a private Python environment under target/venv, lets its pip install what the options name,
# and prints the path of its Python.
set -eu
. "$(dirname "$0")/places.sh"

venv=$TARGET/venv
one_at_a_time "$venv.lock"
if [ ! -x "$venv/bin/pip" ]; then
    python3 -m venv "$venv" >"$LOGS/venv.log" 2>&1 || {
        "$CONFIG/packages.sh" python3-venv >&2
        python3 -m venv --clear "$venv" >&2
    }
fi
[ $# -eq 0 ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2
echo "$venv/bin/python"
