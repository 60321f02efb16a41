"""psycopg 3: str is sent without a type, int with one (smallint, integer or bigint by its size)."""

import json
import os
from datetime import timedelta
from decimal import Decimal

import psycopg
from psycopg.types.json import Jsonb
from report import check

db = psycopg.connect(f"dbname={os.environ['PGDATABASE']}", autocommit=True)


def first(query, *parameters):
    """The first row, or what was raised."""
    try:
        row = db.execute(query, parameters).fetchone()
    except psycopg.Error as error:
        return error.sqlstate or str(error)
    return row[0] if row is not None and len(row) == 1 else row


for name, parts in {
    "text, text": ("build", "org/repo"),
    "number, text": (4711, "org/repo"),
    "text, number": ("org/repo", 4711),
    "number, number": (4711, 9_000_000_000),
}.items():
    check(f"claim_once({name}) first", True, first("SELECT claim_once('two', %s, %s)", *parts))
    check(f"claim_once({name}) again", False, first("SELECT claim_once('two', %s, %s)", *parts))
    check(f"is_claimed({name})", True, first("SELECT is_claimed('two', %s, %s)", *parts))
    check(f"unclaim({name})", True, first("SELECT unclaim('two', %s, %s)", *parts))
    check(f"claim_once_per({name})", True, first("SELECT claim_once_per('1 hour', 'per', %s, %s)", *parts))
    as_text = first("SELECT once_key(%s::text, %s::text)", *parts)
    check(f"once_key({name})", as_text, first("SELECT once_key(%s, %s)", *parts))

for name, part in {"text": "build", "number": 4711}.items():
    check(f"claim_once(one {name}) first", True, first("SELECT claim_once('one', %s)", part))
    check(f"claim_once(one {name}) again", False, first("SELECT claim_once('one', %s)", part))
    check(f"is_claimed(one {name})", True, first("SELECT is_claimed('one', %s)", part))
    check(f"unclaim(one {name})", True, first("SELECT unclaim('one', %s)", part))
    check(f"claim_once_per(one {name})", True, first("SELECT claim_once_per('1 hour', 'per', %s)", part))
    check(f"once_key(one {name})", str(part), first("SELECT once_key(%s)", part))

check("namespace as a parameter", True, first("SELECT claim_once(%s, %s, %s)", "all", 4711, "org/repo"))
check("the same key in SQL", False, first("SELECT claim_once('all', 4711, 'org/repo')"))
per = "SELECT claim_once_per(%s, %s, %s)"
check("period as text", True, first(per, "1 hour", "period", "text"))
check("period as timedelta", True, first(per, timedelta(hours=1), "period", "timedelta"))

mixed = (4711, "org/repo", "linux")
check("three texts", True, first("SELECT claim_once('three', %s, %s, %s)", "4711", "org/repo", "linux"))
check("three mixed parts need ::text", "42P18", first("SELECT claim_once('three', %s, %s, %s)", *mixed))
check("three mixed parts with ::text", False, first("SELECT claim_once('three', %s, %s::text, %s::text)", *mixed))

# A customer and an order where a key and a lease belong: of order 31 nothing is answered that belongs to order 30.
charge = "SELECT outcome FROM begin_once('charge', %s, %s)"
check("begin_once(customer, order) as numbers", ("42883", "42883"), (first(charge, 7, 30), first(charge, 7, 31)))
check("begin_once(customer, order) as text", ("22023", "22023"), (first(charge, "7", "30"), first(charge, "7", "31")))
charge = "SELECT outcome FROM begin_once('charge', once_key(%s, %s))"
check("begin_once(once_key(customer, order))", ("run", "run"), (first(charge, 7, 30), first(charge, 7, 31)))

created = "SELECT created FROM with_payment_lock(%s, %s)"
check("with_payment_lock(number, text) first", True, first(created, 7, "A"))
check("with_payment_lock(number, text) again", False, first(created, 7, "A"))
check("with_payment_lock(text, text) for a bigint", False, first(created, "7", "A"))
check("with_payment_lock(number, number)", True, first(created, 7, 1))
timed = "SELECT created FROM with_payment_lock(%s, %s, %s)"
check("with_payment_lock(timeout as text)", False, first(timed, 7, "A", "1 second"))
check("with_payment_lock(timeout as timedelta)", False, first(timed, 7, "A", timedelta(seconds=1)))
db.execute("SET pg_once.payment_table = 'payments_of_named_services'")
check("with_payment_lock(text, text)", True, first(created, "card", "A"))

key = {"service_id": 8, "line_item_id": "A"}
defaults = {"amount": "12.30", "currency": "EUR"}
row = "SELECT amount FROM with_row_lock(NULL::payments, %s, %s)"
check("with_row_lock(Jsonb), amount", Decimal("12.30"), first(row, Jsonb(key), Jsonb(defaults)))
check("with_row_lock(text), amount", Decimal("12.30"), first(row, json.dumps(key), json.dumps(defaults)))
check("with_row_lock(key)", 8, first("SELECT service_id FROM with_row_lock(NULL::payments, %s)", Jsonb(key)))
timed = "SELECT service_id FROM with_row_lock(NULL::payments, %s, timeout => %s)"
check("with_row_lock(timeout)", 8, first(timed, Jsonb(key), timedelta(seconds=1)))

dune = {"title": "Dune", "author": "Frank Herbert"}
book = "SELECT created, (entity).title, (entity).price FROM find_or_create(NULL::books, %s, %s)"
price = Decimal("9.90")
check("find_or_create(Jsonb) first", (True, "Dune", price), first(book, Jsonb(dune), Jsonb({"price": "9.90"})))
check("find_or_create(text) again", (False, "Dune", price), first(book, json.dumps(dune), "{}"))
locked = "SELECT created FROM find_or_create(NULL::books, %s, lock => %s, timeout => %s)"
check("find_or_create(lock, timeout)", False, first(locked, Jsonb(dune), True, "1 second"))
