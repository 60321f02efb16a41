#!/bin/sh
# package.sh NN            makes the Debian package for PostgreSQL NN of the build that the other suites use, unpacks it
#                          into a copy of that server, which has never seen the extension, and tries it there.
# package.sh NN --release  does so with the package that "make package" makes.
set -eu
. "$(dirname "$0")/suite.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
packages=$TARGET/package build=
if [ "${2:-}" != --release ]; then
    packages=$packages/debug build=--debug
fi
# shellcheck disable=SC2086 # nothing, or one word
"$CONFIG/package.sh" $build "$major"
package=$packages/postgresql-$major-pg-once_$version-1_$(dpkg --print-architecture).deb
unpacked=$packages/unpacked-$major
rm -rf "$unpacked"
copy_server packaged
trap remove_copy EXIT
find "$copy" -name 'pg_once*' -exec rm -rf {} +
[ -z "$(find "$copy" -name 'pg_once*')" ] || die "the copy is not clean"
dpkg-deb -x "$package" "$unpacked"
cp "$unpacked/usr/lib/postgresql/$major/lib/"* "$("$pg_config" --pkglibdir)/"
cp "$unpacked/usr/share/postgresql/$major/extension/"* "$("$pg_config" --sharedir)/extension/"

name=packaged-$major
settings=$packages/preload-$major.conf
echo "shared_preload_libraries = 'pg_once'" >"$settings"
"$CONFIG/cluster.sh" drop "$name"
trap '"$CONFIG/cluster.sh" drop "$name"; remove_copy' EXIT
socket=$("$CONFIG/cluster.sh" start "$name" "$major" "$settings")
said=$("$pg_config" --version; "$(dirname "$pg_config")/psql" -X -A -t -v ON_ERROR_STOP=1 -h "$socket" -U postgres -d postgres <<'SQL'
CREATE EXTENSION pg_once;
SELECT claim_once('package', 1, 'x'), claim_once('package', 1, 'x');
SELECT won, duplicate FROM once.stats;
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_once launcher';
SELECT extversion = default_version FROM pg_extension JOIN pg_available_extensions ON name = extname WHERE extname = 'pg_once';
SQL
)
echo "$said"
case $said in
*'CREATE EXTENSION
t|f
1|1
1
t') outcome 1 0 ;;
*) outcome 0 1 ;;
esac
