"""SQLAlchemy on psycopg 3: transactions by its own means, statements as text() with names."""

import os
import re

from session import serve
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

pooled = {"prepare_threshold": None} if "POOLED" in os.environ else {}
engine = create_engine("postgresql+psycopg://", connect_args=pooled, pool_reset_on_return=None)
db = engine.connect()
transaction = None


def run(sql, parameters):
    global transaction
    if sql.startswith("BEGIN") and transaction is None:
        transaction = db.begin()
        return run(sql.replace("BEGIN", "SET TRANSACTION"), []) if sql != "BEGIN" else {"rows": []}
    if sql in ("COMMIT", "ROLLBACK"):
        transaction.commit() if sql == "COMMIT" else transaction.rollback()
        transaction = None
        return {"rows": []}
    names = {f"p{i}": value for i, value in enumerate(parameters, 1)}
    statement = text(re.sub(r"\$(\d+)", r":p\1", sql.replace("::", r"\:\:")))
    own = transaction is None and db.begin()
    try:
        found = db.execute(statement, names)
        rows = [list(row) for row in found] if found.returns_rows else []
        own and own.commit()
    except DBAPIError as error:
        own and own.rollback()
        return {"raises": error.orig.sqlstate}
    return {"rows": rows}


serve(run)
