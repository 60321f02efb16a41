#!/bin/sh
# build_tools.sh makes sure that the extension can be built: a compiler, libclang for the bindings, cargo-pgrx.
set -eu
. "$(dirname "$0")/places.sh"

"$CONFIG/rust.sh"
[ "$(uname)" = Darwin ] || "$CONFIG/packages.sh" gcc:cc clang:clang libclang-dev pkg-config:pkg-config zlib1g-dev libssl-dev
"$CONFIG/cargo_pgrx.sh"
