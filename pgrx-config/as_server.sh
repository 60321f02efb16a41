#!/bin/sh
# as_server.sh COMMAND... runs a command as the user of the PostgreSQL servers:
# for root that is postgres, since PostgreSQL refuses root; for everybody else it is he himself.
set -eu
. "$(dirname "$0")/places.sh"

# The present directory may be closed to him.
cd /
unset RUST_BACKTRACE PGDATABASE PGHOST PGPORT PGUSER PGOPTIONS PGDATA
if is_root; then
    id postgres >/dev/null 2>&1 || (
        one_at_a_time "$TARGET/user.lock"
        id postgres >/dev/null 2>&1 && exit
        echo "creating the system user postgres, as whom the test servers run" >&2
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /bin/sh postgres
    )
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
fi
exec "$@"
