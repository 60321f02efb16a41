#!/bin/sh
# source.sh NN builds PostgreSQL NN from the source package of the Debian suite that carries it,
# with assertions and injection points.
set -eu
. "$(dirname "$0")/way.sh"

eval "suite=\${DEBIAN_SUITE_$major:-}"
[ -n "$suite" ] || decline "not in a Debian suite known here"
command -v apt-get >/dev/null || decline "no apt-get to download its source with"

"$CONFIG/packages.sh" dpkg-dev gcc:cc make:make bison:bison flex:flex perl:perl bzip2:bzip2 xz-utils:xz \
    pkg-config:pkg-config libreadline-dev zlib1g-dev libicu-dev libssl-dev >&2

. "$(dirname "$0")/private_apt.sh"
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[ -n "$(debian_archive "$codename")" ] || private_apt update || decline "apt-get update failed"
archive=$(debian_archive "$codename")
[ -n "$archive" ] || decline "this machine's apt sources name no Debian archive"

# PostgreSQL's makefiles behave otherwise inside another make.
unset MAKEFLAGS MAKELEVEL MFLAGS
build=$PG_HOME/.source.$$
trap 'rm -rf "$build"' EXIT
mkdir -p "$build/lists/partial"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$build/sources.list"
log=$LOGS/source-$major.log

build_step() {
    "$@" >>"$log" 2>&1 </dev/null || {
        tail -n 20 "$log" >&2
        decline "$1 failed (whole log: $log)"
    }
}

apt_of_suite() {
    private_apt -o Dir::State::Lists="$build/lists" -o Dir::Etc::SourceList="$build/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null "$@"
}

# A mirror may list a source package that it does not have.
download_pinned() {
    version='' sum=''
    eval "version=\${PG_SOURCE_$major:-} sum=\${PG_SOURCE_SHA256_$major:-}"
    [ -n "$version" ] || decline "the archive has not the source that it lists (whole log: $log)"
    tarball=postgresql-${major}_$version.orig.tar.bz2
    say "the archive has not the source that it lists: downloading $version"
    build_step /usr/lib/apt/apt-helper -o APT::Sandbox::User="$(id -un)" download-file \
        "${archive%/}/pool/main/p/postgresql-$major/$tarball" "$tarball" "SHA256:$sum"
}

say "downloading the source from Debian $suite; log in $log"
: >"$log"
cd "$build"
build_step apt_of_suite update
if ! apt_of_suite source --download-only "postgresql-$major" >>"$log" 2>&1; then
    download_pinned
fi
mkdir source
build_step tar -xf postgresql-"$major"_*.orig.tar.* --strip-components=1 -C source

home=$PG_HOME/$major
cd source
say "configuring and building, some minutes"
build_step ./configure --prefix="$home" --enable-cassert --enable-debug --enable-injection-points \
    --with-icu --with-openssl CFLAGS="-O2 -fno-omit-frame-pointer"
build_step make -s -j"$(getconf _NPROCESSORS_ONLN)" world-bin
rm -rf "$home"
build_step make -s install-world-bin
[ ! -d src/test/modules/injection_points ] || build_step make -s -C src/test/modules/injection_points install
echo "$home/bin/pg_config"
