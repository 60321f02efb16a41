#!/bin/sh
# newer.sh NN unpacks PostgreSQL NN from a Debian suite that is newer than this machine, with the loader and the
# libraries that its programs were made for. Nothing is installed, and nobody else sees them.
set -eu
. "$(dirname "$0")/way.sh"

eval "suites=\${DEBIAN_NEWER_$major:-}"
[ -n "$suites" ] || decline "not in a newer Debian suite known here"
command -v apt-get >/dev/null || decline "no apt-get to download its packages with"
suite=${suites%% *}

. "$(dirname "$0")/private_apt.sh"
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[ -n "$(debian_archive "$codename")" ] || private_apt update || decline "apt-get update failed"
archive=$(debian_archive "$codename")
[ -n "$archive" ] || decline "this machine's apt sources name no Debian archive"

home=$PG_HOME/$major
fresh=$PG_HOME/.newer.$$
trap 'rm -rf "$fresh"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$fresh/lists/partial" "$fresh/packages" "$fresh/libraries" "$fresh/tools" "$fresh/cache/archives/partial"
: >"$fresh/status"
for name in $suites; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $name main"
done >"$fresh/sources.list"

apt_of_suites() {
    private_apt -o Dir::State::Lists="$fresh/lists" -o Dir::State::status="$fresh/status" -o Dir::Cache="$fresh/cache" \
        -o Dir::Etc::SourceList="$fresh/sources.list" -o Dir::Etc::SourceParts=/dev/null "$@"
}

say "downloading its Debian packages from $suite"
(cd "$fresh/tools" && { private_apt download patchelf 2>/dev/null || { private_apt update && private_apt download patchelf; }; }) ||
    decline "apt-get download of patchelf failed"
dpkg-deb -x "$fresh"/tools/patchelf_*.deb "$fresh/tools"
apt_of_suites update || decline "apt-get update of $suites failed"
named="postgresql-$major/$suite postgresql-client-$major/$suite postgresql-server-dev-$major/$suite libpq-dev/$suite libpq5/$suite"
while [ -n "$named" ]; do
    # shellcheck disable=SC2086 # a list of words
    (cd "$fresh/packages" && apt_of_suites download $named) || decline "apt-get download failed: $named"
    named=
    for name in $(libraries_of "$fresh"/packages/*.deb); do
        [ -n "$(find "$fresh/packages" -name "${name}_*.deb")" ] || named="$named $name"
    done
done

for package in "$fresh"/packages/*.deb; do
    case ${package##*/} in
    postgresql-* | libpq*) dpkg-deb -x "$package" "$fresh/root" ;;
    *) dpkg-deb -x "$package" "$fresh/libraries" ;;
    esac
done
tree=$fresh/root/usr
mkdir "$tree/newer"
find "$fresh/libraries" -path '*-linux-gnu/*.so*' ! -type d ! -path '*/gconv/*' -exec cp -a -n {} "$tree/newer" \;
loader=$(cd "$tree/newer" && echo ld-linux*)
libpq=$(cd "$tree" && find lib -name libpq.so.5)

# In every process the libraries of the newer suite come first, also for what a library needs itself.
find "$tree/lib/postgresql" -type f -perm -u+x | while read -r program; do
    "$fresh/tools/usr/bin/patchelf" --print-interpreter "$program" >/dev/null 2>&1 || continue
    "$fresh/tools/usr/bin/patchelf" --set-interpreter "$home/newer/$loader" --force-rpath \
        --set-rpath "$home/newer:$home/$(dirname "$libpq")" "$program" || exit
done || decline "patchelf failed"
rm -rf "$home"
mv "$tree" "$home"
"$home/lib/postgresql/$major/bin/postgres" --version >&2 || decline "its programs do not run here"
echo "$home/lib/postgresql/$major/bin/pg_config"
