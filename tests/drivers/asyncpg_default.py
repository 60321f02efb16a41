"""asyncpg: the server names the type of every parameter, and asyncpg takes only that type.

A part without a cast is text for the server, so a number is str(number) or stands beside ::bigint.
"""

import asyncio
import json
import os
from datetime import timedelta
from decimal import Decimal

import asyncpg
from report import check


async def main():
    db = await asyncpg.connect(database=os.environ["PGDATABASE"])

    async def first(query, *parameters):
        """The first row, or what was raised."""
        try:
            row = await db.fetchrow(query, *parameters)
        except asyncpg.PostgresError as error:
            return error.sqlstate
        row = row and tuple(row)
        return row[0] if row is not None and len(row) == 1 else row

    for name, one, two, parts in [
        ("text, text", "$1", "$2", ("build", "org/repo")),
        ("str(number), text", "$1", "$2", (str(4711), "org/repo")),
        ("number::bigint, text", "$1::bigint", "$2", (4712, "org/repo")),
        ("text, number::bigint", "$1", "$2::bigint", ("org/repo", 4711)),
    ]:
        claim = f"SELECT claim_once('two', {one}, {two})"
        check(f"claim_once({name}) first", True, await first(claim, *parts))
        check(f"claim_once({name}) again", False, await first(claim, *parts))
        check(f"is_claimed({name})", True, await first(f"SELECT is_claimed('two', {one}, {two})", *parts))
        check(f"unclaim({name})", True, await first(f"SELECT unclaim('two', {one}, {two})", *parts))
        per = f"SELECT claim_once_per('1 hour', 'per', {one}, {two})"
        check(f"claim_once_per({name})", True, await first(per, *parts))
        as_text = await first("SELECT once_key($1::text, $2::text)", *map(str, parts))
        check(f"once_key({name})", as_text, await first(f"SELECT once_key({one}, {two})", *parts))

    for name, one, part in [("text", "$1", "build"), ("number::bigint", "$1::bigint", 4711)]:
        check(f"claim_once(one {name}) first", True, await first(f"SELECT claim_once('one', {one})", part))
        check(f"claim_once(one {name}) again", False, await first(f"SELECT claim_once('one', {one})", part))
        check(f"is_claimed(one {name})", True, await first(f"SELECT is_claimed('one', {one})", part))
        check(f"unclaim(one {name})", True, await first(f"SELECT unclaim('one', {one})", part))
        check(f"claim_once_per(one {name})", True, await first(f"SELECT claim_once_per('1 hour', 'per', {one})", part))
        check(f"once_key(one {name})", str(part), await first(f"SELECT once_key({one})", part))

    check("namespace as a parameter", True, await first("SELECT claim_once($1, $2, $3)", "all", "4711", "org/repo"))
    check("the same key in SQL", False, await first("SELECT claim_once('all', 4711, 'org/repo')"))
    per = "SELECT claim_once_per($1, $2, $3)"
    check("period as text", True, await first(per, "1 hour", "period", "text"))
    check("a number without a unit", "22023", await first(per, "3600", "period", "number"))
    per = "SELECT claim_once_per($1::interval, $2, $3)"
    check("period as timedelta::interval", True, await first(per, timedelta(hours=1), "period", "timedelta"))
    two = "SELECT claim_once('two', $1, $2)"
    check("asyncpg itself refuses a bare number", "22000", await first(two, 4711, "org/repo"))

    three = "SELECT claim_once('three', $1, $2, $3)"
    check("three texts", True, await first(three, "4711", "org/repo", "linux"))
    mixed = (4711, "org/repo", "linux")
    untyped = "SELECT claim_once('three', $1::bigint, $2, $3)"
    check("three mixed parts need ::text", "42P18", await first(untyped, *mixed))
    typed = "SELECT claim_once('three', $1::bigint, $2::text, $3::text)"
    check("three mixed parts with ::text", False, await first(typed, *mixed))

    # A customer and an order where a key and a lease belong: of order 31 nothing is answered that belongs to order 30.
    charge = "SELECT outcome FROM begin_once('charge', $1, $2)"
    for order in "30", "31":
        check(f"begin_once(customer, order {order})", "22023", await first(charge, "7", order))
    charge = "SELECT outcome FROM begin_once('charge', once_key($1, $2))"
    for order in "30", "31":
        check(f"begin_once(once_key(customer, order {order}))", "run", await first(charge, "7", order))

    created = "SELECT created FROM with_payment_lock($1, $2)"
    check("with_payment_lock(str(number), text) first", True, await first(created, "7", "A"))
    numbered = "SELECT created FROM with_payment_lock($1::bigint, $2)"
    check("with_payment_lock(number::bigint, text) again", False, await first(numbered, 7, "A"))
    timed = "SELECT created FROM with_payment_lock($1, $2, $3::interval)"
    check("with_payment_lock(timeout)", False, await first(timed, "7", "A", timedelta(seconds=1)))
    await db.execute("SET pg_once.payment_table = 'payments_of_named_services'")
    check("with_payment_lock(text, text)", True, await first(created, "card", "A"))

    key = json.dumps({"service_id": 8, "line_item_id": "A"})
    defaults = json.dumps({"amount": "12.30", "currency": "EUR"})
    row = "SELECT amount FROM with_row_lock(NULL::payments, $1, $2)"
    check("with_row_lock(json), amount", Decimal("12.30"), await first(row, key, defaults))
    check("with_row_lock(key)", 8, await first("SELECT service_id FROM with_row_lock(NULL::payments, $1)", key))
    timed = "SELECT service_id FROM with_row_lock(NULL::payments, $1, timeout => $2::interval)"
    check("with_row_lock(timeout)", 8, await first(timed, key, timedelta(seconds=1)))

    dune = json.dumps({"title": "Dune", "author": "Frank Herbert"})
    book = "SELECT created, (entity).title, (entity).price FROM find_or_create(NULL::books, $1, $2)"
    price = Decimal("9.90")
    check("find_or_create(json) first", (True, "Dune", price), await first(book, dune, json.dumps({"price": "9.90"})))
    check("find_or_create(json) again", (False, "Dune", price), await first(book, dune, "{}"))
    locked = "SELECT created FROM find_or_create(NULL::books, $1, lock => $2, timeout => $3::interval)"
    check("find_or_create(lock, timeout)", False, await first(locked, dune, True, timedelta(seconds=1)))
    await db.close()


asyncio.run(main())
