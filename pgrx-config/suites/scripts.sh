#!/bin/sh
# scripts.sh reads the shell scripts with shellcheck.
set -eu
. "$(dirname "$0")/suite.sh"

"$CONFIG/packages.sh" shellcheck:shellcheck
cd "$ROOT"
good=0 bad=0
for script in $(git ls-files '*.sh' .ci/run); do
    if shellcheck --external-sources --source-path=SCRIPTDIR --source-path=pgrx-config "$script"; then good=$((good + 1)); else bad=$((bad + 1)); fi
done
outcome $good $bad
