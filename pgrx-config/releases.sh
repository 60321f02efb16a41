#!/bin/sh
# releases.sh DIRECTORY puts the install scripts of earlier releases there. cargo-pgrx brings the newest version's
# and the upgrade scripts.
set -eu
. "$(dirname "$0")/places.sh"

directory=${1:?into which directory?}
for script in "$ROOT"/sql/pg_once--*.sql; do
    case ${script#"$ROOT"/sql/pg_once--} in
    *--*) ;;
    *) install -m 644 "$script" "$directory/" ;;
    esac
done
