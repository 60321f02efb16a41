# shellcheck shell=sh
# Sourced by each way to come by a PostgreSQL. A way prints the path of a pg_config, or declines.
# Reasons to decline matter only when no other way succeeds: pg_config.sh collects them.

. "$(dirname "$0")/../places.sh"
major=${1:?which major version of PostgreSQL?}

decline() {
    echo "  $(basename "$0" .sh): $*" >>"${DECLINED:-/dev/stderr}"
    exit 1
}

say() {
    echo "PostgreSQL $major: $*" >&2
}
