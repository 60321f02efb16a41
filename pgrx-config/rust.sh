#!/bin/sh
# rust.sh makes sure of a Rust that is as new as Cargo.toml asks. Where the machine's own is older and Debian has newer
# packages, it unpacks them under target, which places.sh puts first in PATH: nothing is installed, rustup's stays.
set -eu
. "$(dirname "$0")/places.sh"

wanted=$(sed -n 's/^rust-version *= *"\([0-9.]*\)"/\1/p' "$ROOT/Cargo.toml")
[ -n "$wanted" ] || die "Cargo.toml names no version of Rust"

# at_least VERSION: whether it is no older than the version that is wanted.
at_least() {
    [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$wanted" "$1" | sort -V | head -n 1)" = "$wanted" ]
}

# In the root folder, where no rust-toolchain.toml of another project counts.
is_new_enough() {
    has=$(cd "$ROOT" && rustc --version 2>/dev/null | sed 's/^rustc \([0-9.]*\).*/\1/') || true
    at_least "$has" && command -v cargo >/dev/null
}

# Says what to do, and why Debian's could not be had.
refuse() {
    die "Rust $wanted or later is needed, here is ${has:-none}, and Debian's packages are no help ($1): run \"rustup update\", or see https://rustup.rs"
}

is_new_enough && exit
one_at_a_time "$TARGET/rust.lock"
is_new_enough && exit

command -v apt-get >/dev/null || refuse "no apt-get"
. "$CONFIG/postgres/private_apt.sh"
echo "Rust ${has:-is missing}${has:+ is older than $wanted}: unpacking Debian's to $TARGET/rust" >&2
private_apt update || refuse "apt-get update failed"
fresh=$TARGET/.rust.$$
trap 'rm -rf "$fresh"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$fresh/packages"

download() {
    (cd "$fresh/packages" && private_apt download "$@") || refuse "apt-get download failed"
}

# The packages of libraries that are needed, and neither installed nor downloaded.
missing_libraries() {
    for name in $(libraries_of "$fresh"/packages/*.deb); do
        [ -z "$(find "$fresh/packages" -name "${name}_*.deb")" ] || continue
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done
}

# Debian's Rust for building browsers, which is newer than that of the distribution.
download rustc-web
version=$(dpkg-deb -f "$fresh"/packages/rustc-web_*.deb Version)
at_least "${version%%[!0-9.]*}" || refuse "they have ${version%%[!0-9.]*}"
download cargo-web rust-web-clippy rustfmt-web libstd-rust-web-dev patchelf
while missing=$(missing_libraries) && [ -n "$missing" ]; do
    # shellcheck disable=SC2086 # a list of words
    download $missing
done
for package in "$fresh"/packages/*.deb; do
    dpkg-deb -x "$package" "$fresh/root"
done

# The programs look for libraries beside them first, also for what a library needs itself.
tree=$fresh/root/usr
libraries=lib/$(uname -m)-linux-gnu
[ ! -d "$fresh/root/$libraries" ] || cp -a "$fresh/root/$libraries/." "$tree/$libraries/"
for program in "$tree"/bin/rust* "$tree"/bin/cargo* "$tree"/bin/clippy-driver; do
    "$tree/bin/patchelf" --force-rpath --set-rpath "\$ORIGIN/../$libraries" "$program"
done
for program in rustc cargo; do
    "$tree/bin/$program" --version >&2 || refuse "their $program does not run here"
done
rm -rf "$TARGET/rust"
mv "$tree" "$TARGET/rust"
is_new_enough || refuse "they have ${has:-none that runs}"
