#!/bin/sh
# format.sh compares the layout of the code with rustfmt's.
set -eu
. "$(dirname "$0")/suite.sh"

cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cd "$ROOT"
if cargo fmt --all --check; then outcome 1 0; else outcome 0 1; fi
