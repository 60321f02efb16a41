#!/bin/sh
# rust.sh makes sure of a Rust that is as new as Cargo.toml asks. Where the machine's own is older and Debian has newer
# packages, it unpacks them under target, which places.sh puts first in PATH: nothing is installed, rustup's stays.
set -eu
. "$(dirname "$0")/places.sh"

wanted=$(sed -n 's/^rust-version *= *"\([0-9.]*\)"/\1/p' "$ROOT/Cargo.toml")
[ -n "$wanted" ] || die "Cargo.toml names no version of Rust"

# The version of a Rust in the form "1.96.0".
version_of() {
    rustc --version 2>/dev/null | cut -d' ' -f2
}

# In the root folder, where no rust-toolchain.toml of somebody else's counts.
is_new_enough() {
    has=$(cd "$ROOT" && version_of)
    [ -n "$has" ] && [ "$(printf '%s\n%s\n' "$wanted" "${has%%-*}" | sort -V | head -n 1)" = "$wanted" ]
}

is_new_enough && command -v cargo >/dev/null && exit

# In words that name what to do, with the reason why Debian's could not be had.
refuse() {
    die "Rust $wanted or later is needed, here is ${has:-none} ($1): rustup update, or https://rustup.rs"
}

command -v apt-get >/dev/null || refuse "no apt-get"
. "$CONFIG/postgres/private_apt.sh"
echo "unpacking Rust from Debian's packages, since the one here (${has:-none}) is older than $wanted" >&2
private_apt update || refuse "apt-get update failed"
fresh=$TARGET/.rust.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh/packages"
# Debian's Rust for building browsers, which is newer than that of the distribution.
(cd "$fresh/packages" && private_apt download patchelf \
    rustc-web cargo-web rust-web-clippy rustfmt-web libstd-rust-web-dev "libstd-rust-web-$wanted") ||
    refuse "Debian's packages have no $wanted"
for package in "$fresh"/packages/*.deb; do
    dpkg-deb -x "$package" "$fresh/root"
done

tree=$fresh/root/usr
for program in "$tree"/bin/rust* "$tree"/bin/cargo* "$tree"/bin/clippy-driver; do
    "$tree/bin/patchelf" --set-rpath "\$ORIGIN/../lib/$(uname -m)-linux-gnu" "$program"
done
if ldd "$tree"/bin/* "$tree"/lib/*-linux-gnu/librustc_driver-*.so | grep -q 'not found'; then
    # shellcheck disable=SC2046 # a list of words
    "$CONFIG/packages.sh" $(for package in "$fresh"/packages/*.deb; do dpkg-deb -f "$package" Depends; done |
        tr , '\n' | sed -n 's/^ *\(lib[^ :]*\).*/\1/p' | grep -v -e '^libstd-rust' -e '-dev$' | sort -u) >&2
fi
rm -rf "$TARGET/rust"
mv "$tree" "$TARGET/rust"
PATH=$TARGET/rust/bin:$PATH
is_new_enough || refuse "Debian's packages have ${has:-none that runs}"
