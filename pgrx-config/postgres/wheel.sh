#!/bin/sh
# wheel.sh NN unpacks PostgreSQL NN from the Python wheel that carries it.
set -eu
. "$(dirname "$0")/way.sh"

eval "tree=\${PGSERVER_TREE_$major:-}"
[ -n "$tree" ] || decline "not in the wheel $PGSERVER_WHEEL"

"$CONFIG/packages.sh" python3-venv:python3 >&2
wheels=$PG_HOME/wheels
if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
    say "downloading the wheel $PGSERVER_WHEEL"
    python=$("$CONFIG/pip.sh")
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
        --python-version "$PGSERVER_PYTHON" --dest "$wheels.$$" "$PGSERVER_WHEEL" >&2 ||
        decline "pip could not download $PGSERVER_WHEEL"
    mkdir -p "$wheels"
    mv "$wheels.$$"/*.whl "$wheels"
    rmdir "$wheels.$$"
fi

home=$PG_HOME/$major
fresh=$PG_HOME/.wheel.$$
trap 'rm -rf "$fresh"' EXIT
say "unpacking the wheel to $home"
mkdir -p "$fresh"
python3 - "$wheels"/*.whl "$fresh" "$tree" <<'PYTHON'
import sys, zipfile
wheel, home, tree = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(home, [
        name for name in archive.namelist()
        if name.split("/")[0].endswith(".libs") or name.split("/")[1:2] == [tree]
    ])
PYTHON
set -- "$fresh"/*/"$tree"
chmod +x "$1"/bin/* "$1"/lib/postgresql/pgxs/src/test/regress/pg_regress \
    "$1"/lib/postgresql/pgxs/src/test/isolation/* \
    "$1"/lib/postgresql/pgxs/config/install-sh
python3 "$CONFIG/postgres/mend_segments.py" "$1"/bin/* "$1"/lib/postgresql/pgxs/src/test/*/*
rm -rf "$home"
mv "$fresh" "$home"
echo "$home${1#"$fresh"}/bin/pg_config"
