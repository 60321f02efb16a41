import asyncio

import asyncpg
from part import play

loop = asyncio.new_event_loop()
db = loop.run_until_complete(asyncpg.connect())


def claim(ns, value, cast):
    return loop.run_until_complete(db.fetchval(f"SELECT claim_once($1, $2{cast})", ns, value))


def refused(error):
    """The driver raises errors of the same classes itself, which have no severity."""
    return error.sqlstate if getattr(error, "severity", None) else None


play(claim, refused)
