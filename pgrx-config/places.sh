# shellcheck shell=sh
# Sourced by every script here: where things stand.

ROOT=$(cd "$(dirname "$0")" && pwd -P)
while [ ! -f "$ROOT/pg_once.control" ]; do ROOT=$(dirname "$ROOT"); done
CONFIG=$ROOT/pgrx-config
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
LOGS=$TARGET/logs
mkdir -p "$LOGS"
# What rust.sh unpacks where the machine's own Rust is too old.
case $PATH in "$TARGET/rust/bin:"*) ;; *) PATH=$TARGET/rust/bin:$PATH ;; esac
# shellcheck source=versions.env
. "$CONFIG/versions.env"

die() {
    echo "$*" >&2
    exit 1
}

# one_at_a_time FILE: of the processes that name this file one goes on, until it ends. Where there is no flock, as on
# macOS, they all go on.
one_at_a_time() {
    if command -v flock >/dev/null; then
        exec 8>"$1"
        flock 8
    fi
}

# Whether of PostgreSQL NN only a candidate for the release can be had here.
is_candidate() {
    case " $PG_CANDIDATES " in *" $1 "*) ;; *) false ;; esac
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# PostgreSQL refuses to run as root, so root's servers run as another user, who must be able to
# read their programs. Under a closed directory such as /root he is not.
open_to_everyone() {
    setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1"
}

servers_home() {
    mkdir -p "$TARGET"
    if ! is_root || open_to_everyone "$TARGET"; then
        echo "$TARGET"
        return
    fi
    open=/var/tmp/pg_once-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)
    [ -d "$open" ] || mkdir -m 755 "$open"
    [ -n "$(find "$open" -prune -user root)" ] || die "$open belongs to somebody else"
    for part in pg clusters; do
        mkdir -p "$open/$part"
        [ -e "$TARGET/$part" ] || ln -s "$open/$part" "$TARGET/$part"
    done
    echo "$open"
}

SERVERS_HOME=$(servers_home)
PG_HOME=$SERVERS_HOME/pg
# shellcheck disable=SC2034 # for the scripts that source this
CLUSTERS=$SERVERS_HOME/clusters
mkdir -p "$PG_HOME"
