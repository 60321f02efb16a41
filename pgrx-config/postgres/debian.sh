#!/bin/sh
# debian.sh NN unpacks the Debian packages of PostgreSQL NN under target, without installing them:
# no service appears, and a server that is installed stays at its version.
set -eu
. "$(dirname "$0")/way.sh"

eval "suite=\${DEBIAN_SUITE_$major:-}"
here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
[ "${suite:-none}" = "$here" ] || decline "no package of Debian ${here:-(not Debian)}"

. "$(dirname "$0")/private_apt.sh"
say "downloading its Debian packages"
private_apt update || decline "apt-get update failed"

home=$PG_HOME/$major
fresh=$PG_HOME/.debian.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh/packages"
(cd "$fresh/packages" && private_apt download "postgresql-$major" "postgresql-client-$major" "postgresql-server-dev-$major" libpq-dev) ||
    decline "apt-get download failed"
for package in "$fresh"/packages/*.deb; do
    dpkg-deb -x "$package" "$fresh/root"
done

programs=$fresh/root/usr/lib/postgresql/$major
if ldd "$programs/bin/postgres" "$programs/bin/psql" | grep -q 'not found'; then
    # shellcheck disable=SC2046 # a list of words
    "$CONFIG/packages.sh" $(dpkg-deb -f "$fresh/packages/postgresql-${major}_"*.deb Depends | tr , '\n' |
        sed -n 's/^ *\(lib[^ :]*\).*/\1/p') libpq5 >&2
fi
rm -rf "$home"
mv "$fresh/root/usr" "$home"
echo "$home/lib/postgresql/$major/bin/pg_config"
