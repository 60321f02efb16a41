#!/bin/sh
# newer.sh NN unpacks PostgreSQL NN from a Debian suite that is newer than this machine, with the loader and the
# libraries that its programs were made for. Nothing is installed, and nobody else sees them.
set -eu
. "$(dirname "$0")/way.sh"

eval "suites=\${DEBIAN_NEWER_$major:-}"
[ -n "$suites" ] || decline "not in a newer Debian suite known here"
command -v apt-get >/dev/null || decline "no apt-get to download its packages with"
suite=${suites%% *}

"$CONFIG/packages.sh" patchelf:patchelf >&2
. "$(dirname "$0")/private_apt.sh"
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[ -n "$(debian_archive "$codename")" ] || private_apt update || decline "apt-get update failed"
archive=$(debian_archive "$codename")
[ -n "$archive" ] || decline "this machine's apt sources name no Debian archive"

home=$PG_HOME/$major
fresh=$PG_HOME/.newer.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh/lists/partial" "$fresh/packages" "$fresh/libraries"
: >"$fresh/status"
for name in $suites; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $name main"
done >"$fresh/sources.list"

apt_of_suites() {
    private_apt -o Dir::State::Lists="$fresh/lists" -o Dir::State::status="$fresh/status" \
        -o Dir::Etc::SourceList="$fresh/sources.list" -o Dir::Etc::SourceParts=/dev/null "$@"
}

# The libraries that the packages named need.
needed_by() {
    for name in "$@"; do
        dpkg-deb -f "$fresh/packages/${name%%/*}_"*.deb Depends Pre-Depends
    done | tr ,: '\n' | sed -n 's/^ *\(lib[^ |]*\).*/\1/p' | grep -v -e '-dev$' -e perl | sort -u
}

say "downloading its Debian packages from $suite"
apt_of_suites update || decline "apt-get update failed"
named="postgresql-$major/$suite postgresql-client-$major/$suite postgresql-server-dev-$major/$suite libpq-dev/$suite libpq5/$suite"
had=' libpq5 '
while [ -n "$named" ]; do
    # shellcheck disable=SC2086 # a list of words
    (cd "$fresh/packages" && apt_of_suites download $named) || decline "apt-get download failed"
    wanted=
    # shellcheck disable=SC2086 # a list of words
    for name in $(needed_by $named); do
        case $had in *" $name "*) ;; *) wanted="$wanted $name" had="$had$name " ;; esac
    done
    named=$wanted
done

for package in "$fresh"/packages/*.deb; do
    case ${package##*/} in
    postgresql-* | libpq*) dpkg-deb -x "$package" "$fresh/root" ;;
    *) dpkg-deb -x "$package" "$fresh/libraries" ;;
    esac
done
mkdir "$fresh/root/usr/newer"
find "$fresh/libraries" -path '*-linux-gnu/*.so*' ! -type d ! -path '*/gconv/*' -exec cp -a -n {} "$fresh/root/usr/newer" \;
loader=$(cd "$fresh/root/usr/newer" && echo ld-linux*)

# In every process the libraries of the newer suite come first, also for what a library needs itself.
rm -rf "$home"
mv "$fresh/root/usr" "$home"
find "$home/lib/postgresql" -type f -perm -u+x | while read -r program; do
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    patchelf --set-interpreter "$home/newer/$loader" --force-rpath \
        --set-rpath "$home/newer:$(dirname "$(find "$home/lib" -name libpq.so.5)")" "$program"
done
"$home/lib/postgresql/$major/bin/postgres" --version >&2 || decline "its programs do not run here"
echo "$home/lib/postgresql/$major/bin/pg_config"
