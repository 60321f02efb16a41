#!/bin/sh
# install.sh NN installs the extension for the suites that follow, in PostgreSQL NN's tree under target.
set -eu
. "$(dirname "$0")/suite.sh"

if "$CONFIG/install.sh" "$major"; then outcome 1 0; else outcome 0 1; fi
