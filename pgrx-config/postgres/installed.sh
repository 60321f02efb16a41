#!/bin/sh
# installed.sh NN copies an installed PostgreSQL NN, so that nothing is ever installed into it.
# PostgreSQL finds its files relative to its programs, so a copy of the same shape works anywhere.
set -eu
. "$(dirname "$0")/way.sh"

find_installed() {
    for candidate in \
        "/usr/lib/postgresql/$major/bin/pg_config" \
        "/usr/pgsql-$major/bin/pg_config" \
        "/opt/homebrew/opt/postgresql@$major/bin/pg_config" \
        "/usr/local/opt/postgresql@$major/bin/pg_config" \
        "$(command -v pg_config)"; do
        [ -x "$candidate" ] || continue
        case $("$candidate" --version) in "PostgreSQL $major"[.a-z]*) ;; *) continue ;; esac
        if [ ! -f "$("$candidate" --includedir-server)/postgres.h" ] || [ ! -x "$("$candidate" --bindir)/postgres" ]; then
            continue
        fi
        echo "$candidate"
        return
    done
    decline "not installed here"
}

common_prefix() {
    prefix=$1
    for directory in "$@"; do
        while case $directory/ in "$prefix"/*) false ;; esac; do prefix=${prefix%/*}; done
    done
    echo "$prefix"
}

original=$(find_installed)
set -- "$("$original" --bindir)" "$("$original" --pkglibdir)" "$("$original" --sharedir)" \
    "$("$original" --includedir)" "$("$original" --includedir-server)"
prefix=$(common_prefix "$@")
copy=$PG_HOME/$major
fresh=$PG_HOME/.copy.$$
trap 'rm -rf "$fresh"' EXIT

say "copying $("$original" --version) from $prefix to $copy"
for directory in "$@"; do
    inside=$fresh${directory#"$prefix"}
    [ -d "$inside" ] && continue
    mkdir -p "$(dirname "$inside")"
    cp -R "$directory" "$inside"
done
rm -rf "$copy"
mv "$fresh" "$copy"

pg_config=$copy${1#"$prefix"}/pg_config
for place in --bindir --pkglibdir --sharedir --includedir-server; do
    case $("$pg_config" $place) in
    "$copy"/*) ;;
    *) decline "the copy of $original still points to $("$pg_config" $place)" ;;
    esac
done
echo "$pg_config"
