"""ci.py notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT"""

import sys
from decimal import Decimal

import psycopg
from psycopg.types.json import Jsonb


def notify(db, build, repo):
    with db.transaction():
        won, = db.execute("SELECT claim_once('ci_failure', %s, %s)", (build, repo)).fetchone()
        return f"sent: build {build} of {repo} failed" if won else "not sent"


def pay(db, service, line_item, amount):
    key = Jsonb({"service_id": service, "line_item_id": line_item})
    with db.transaction():
        id, = db.execute("SELECT id FROM with_row_lock(NULL::payments, %s)", (key,)).fetchone()
        update = "UPDATE payments SET amount = amount + %s WHERE id = %s RETURNING amount"
        return db.execute(update, (amount, id)).fetchone()[0]


with psycopg.connect() as db:
    match sys.argv[1:]:
        case ["notify", build, repo]:
            print(notify(db, int(build), repo))
        case ["pay", service, line_item, amount]:
            print(pay(db, int(service), line_item, Decimal(amount)))
