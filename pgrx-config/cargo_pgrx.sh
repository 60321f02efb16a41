#!/bin/sh
# cargo_pgrx.sh makes sure that cargo-pgrx is there in the version of pgrx that Cargo.toml names.
set -eu
. "$(dirname "$0")/places.sh"

wanted=$(sed -n 's/^pgrx *=.*"=\([0-9.]*\)".*/\1/p' "$ROOT/Cargo.toml")
[ -n "$wanted" ] || die "Cargo.toml pins no version of pgrx"
[ "$(cargo pgrx --version 2>/dev/null)" = "cargo-pgrx $wanted" ] && exit

"$CONFIG/packages.sh" gcc:cc pkg-config:pkg-config libssl-dev >&2
log=$LOGS/cargo-pgrx.log
echo "installing cargo-pgrx $wanted, some minutes; log in $log" >&2
cargo install cargo-pgrx --version "=$wanted" --locked >"$log" 2>&1 </dev/null || {
    tail -n 20 "$log" >&2
    die "could not install cargo-pgrx $wanted (whole log: $log)"
}
