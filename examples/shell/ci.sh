#!/bin/sh
# ci.sh notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
set -eu

sql() {
    "${PSQL:-psql}" -qXAt -v ON_ERROR_STOP=1 "$@"
}

case $1 in
notify)
    won=$(sql -v build="$2" -v repo="$3" <<'SQL'
SELECT claim_once('ci_failure', :'build', :'repo');
SQL
    )
    if [ "$won" = t ]; then echo "sent: build $2 of $3 failed"; else echo "not sent"; fi
    ;;
pay)
    sql -v service="$2" -v line_item="$3" -v amount="$4" <<'SQL'
BEGIN;
SELECT id FROM with_row_lock(NULL::payments,
    jsonb_build_object('service_id', :'service', 'line_item_id', :'line_item')) \gset
UPDATE payments SET amount = amount + :'amount' WHERE id = :id RETURNING amount;
COMMIT;
SQL
    ;;
esac
