"""Django on psycopg 3: transaction.atomic by hand, statements through its cursor."""

import os
import re

import django
from session import serve
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "DISABLE_SERVER_SIDE_CURSORS": "POOLED" in os.environ,
        }
    }
)
django.setup()

from django.db import DatabaseError, connection, transaction  # noqa: E402


def run(sql, parameters):
    if sql.startswith("BEGIN"):
        transaction.set_autocommit(False)
        return run(sql.replace("BEGIN", "SET TRANSACTION"), []) if sql != "BEGIN" else {"rows": []}
    if sql in ("COMMIT", "ROLLBACK"):
        transaction.commit() if sql == "COMMIT" else transaction.rollback()
        transaction.set_autocommit(True)
        return {"rows": []}
    try:
        with connection.cursor() as cursor:
            cursor.execute(re.sub(r"\$\d+", "%s", sql), parameters or None)
            return {"rows": cursor.fetchall() if cursor.description else []}
    except DatabaseError as error:
        return {"raises": error.__cause__.sqlstate}


serve(run)
