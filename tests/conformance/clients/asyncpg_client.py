"""asyncpg, with its defaults; behind a pooler without prepared statements of its own."""

import asyncio
import os

import asyncpg
from session import serve

loop = asyncio.new_event_loop()
cache = {"statement_cache_size": 0} if "POOLED" in os.environ else {}
db = loop.run_until_complete(asyncpg.connect(server_settings={"application_name": os.environ["PGAPPNAME"]}, **cache))


def run(sql, parameters):
    try:
        if not parameters and not sql.startswith("SELECT"):
            loop.run_until_complete(db.execute(sql))
            return {"rows": []}
        rows = loop.run_until_complete(db.fetch(sql, *parameters))
    except asyncpg.PostgresError as error:
        return {"raises": error.sqlstate}
    return {"rows": [list(row) for row in rows]}


serve(run)
