#!/bin/sh
# pg_config.sh NN prints the path of the pg_config of PostgreSQL NN, provisioned first if need be. It ends with status 3
# where no way to provision it succeeds, and with 1 where something that was chosen is wrong.
set -eu
. "$(dirname "$0")/places.sh"

major=${1:?which major version of PostgreSQL?}
case " $PG_VERSIONS " in
*" $major "*) ;;
*) die "PostgreSQL $major is not one of $PG_VERSIONS" ;;
esac

can_build_extensions() {
    [ -x "$1" ] && case $("$1" --version) in
    "PostgreSQL $major"[.a-z]*) [ -f "$("$1" --includedir-server)/postgres.h" ] ;;
    *) false ;;
    esac
}

# What somebody chose by hand comes first, as it is.
eval "chosen=\${PG_CONFIG_$major:-}"
if [ -n "$chosen" ]; then
    can_build_extensions "$chosen" || die "PG_CONFIG_$major=$chosen is no PostgreSQL $major with server headers"
    echo "$chosen"
    exit
fi

pgrx_config=${PGRX_HOME:-$HOME/.pgrx}/config.toml
if [ -f "$pgrx_config" ]; then
    chosen=$(sed -n "s/^pg$major *= *[\"']\(.*\)[\"']/\1/p" "$pgrx_config")
    if [ -n "$chosen" ] && can_build_extensions "$chosen"; then
        echo "$chosen"
        exit
    fi
fi

# Then what an earlier run has provisioned, then the ways to provision it.
answer=$PG_HOME/$major.pg_config
is_provisioned() {
    [ -f "$answer" ] && can_build_extensions "$(cat "$answer")" && cat "$answer"
}
is_provisioned && exit
one_at_a_time "$PG_HOME/$major.lock"
is_provisioned && exit

DECLINED=$PG_HOME/$major.declined
export DECLINED
: >"$DECLINED"
for way in ${PG_WAYS:-installed download debian wheel source newer}; do
    if found=$("$CONFIG/postgres/$way.sh" "$major") && can_build_extensions "$found"; then
        echo "$found" >"$answer"
        echo "$found"
        exit
    fi
    grep -q "^  $way: " "$DECLINED" || echo "  $way: failed, see above" >>"$DECLINED"
done
echo "no PostgreSQL $major could be had here:
$(cat "$DECLINED")" >&2
exit 3
