#!/bin/sh
# package.sh [NN...]          makes the archive for PGXN, and a Debian package of the extension for each PostgreSQL NN,
#                             in target/package.
# package.sh --debug [NN...]  the same of the build that the tests use, in target/package/debug.
set -eu
. "$(dirname "$0")/places.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
packages=$TARGET/package build='' packed=''
if [ "${1:-}" = --debug ]; then
    packages=$packages/debug build=--debug packed='-Zgzip -z1'
    shift
fi
mkdir -p "$packages"

archive() {
    name=pg_once-$version
    if git -C "$ROOT" rev-parse HEAD >/dev/null 2>&1; then
        git -C "$ROOT" archive --format=zip --prefix="$name/" -o "$packages/$name.zip" HEAD
        echo "$packages/$name.zip"
    fi
}

debian() {
    major=$1
    pg_config=$("$CONFIG/pg_config.sh" "$major")
    architecture=$(dpkg --print-architecture)
    name=postgresql-$major-pg-once
    built=$packages/built/$major tree=$packages/tree/$major
    rm -rf "$built" "$tree" "$tree.needs"
    "$CONFIG/packages.sh" dpkg-dev
    "$CONFIG/build_tools.sh"
    PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
    export PGRX_HOME
    # shellcheck disable=SC2086 # nothing, or one word
    (cd "$ROOT" && cargo pgrx package $build --pg-config "$pg_config" --out-dir "$built" \
        --no-default-features --features "pg$major" >"$LOGS/package-$major.log" 2>&1) || {
        tail -n 20 "$LOGS/package-$major.log" >&2
        die "could not build for PostgreSQL $major (whole log: $LOGS/package-$major.log)"
    }

    # Debian's places, whatever those of the server it was built against are.
    lib=$tree/usr/lib/postgresql/$major/lib extension=$tree/usr/share/postgresql/$major/extension
    documents=$tree/usr/share/doc/$name
    mkdir -p "$lib" "$extension" "$documents" "$tree/DEBIAN"
    find "$built" -name 'pg_once.so' -exec install -m 644 {} "$lib/" \;
    find "$built" \( -name 'pg_once--*.sql' -o -name 'pg_once.control' \) -exec install -m 644 {} "$extension/" \;
    install -m 644 "$ROOT/README.md" "$ROOT/CHANGELOG.md" "$ROOT/LICENSE" "$documents/"
    # What the library needs of the machine that it is installed on.
    mkdir -p "$tree.needs/debian"
    : >"$tree.needs/debian/control"
    needs=$(cd "$tree.needs" && dpkg-shlibdeps -O "$lib/pg_once.so" 2>>"$LOGS/package-$major.log" |
        sed -n 's/^shlibs:Depends=//p')
    [ -n "$needs" ] || die "what pg_once.so depends on is not known (whole log: $LOGS/package-$major.log)"
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: $name
Version: $version-1
Architecture: $architecture
Maintainer: The pg_once developers <pg_once@localhost>
Section: database
Priority: optional
Depends: postgresql-$major, $needs
Description: exactly one caller wins, inside PostgreSQL $major
 An extension that answers in one SQL call who may do something once: claims
 that are atomic with the transaction, rows found or created in turns, named
 locks, and work under a lease.
CONTROL
    # shellcheck disable=SC2086 # nothing, or words
    dpkg-deb $packed --root-owner-group --build "$tree" "$packages/${name}_$version-1_$architecture.deb" >/dev/null
    echo "$packages/${name}_$version-1_$architecture.deb"
}

archive
for wanted in "$@"; do
    debian "$wanted"
done
