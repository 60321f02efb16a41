#!/bin/sh
# format.sh compares the layout of the code with rustfmt's, and looks whether the mutants of tests/mutants still fit it.
set -eu
. "$(dirname "$0")/suite.sh"

cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cd "$ROOT"
good=0 bad=0
if cargo fmt --all --check; then good=$((good + 1)); else bad=$((bad + 1)); fi
if "$CONFIG/mutants.sh" check; then good=$((good + 1)); else bad=$((bad + 1)); fi
outcome $good $bad
