"""psycopg 3, with its defaults; behind a pooler without prepared statements of its own."""

import os
import re

import psycopg
from session import serve

pooled = "POOLED" in os.environ
db = psycopg.connect(autocommit=True, prepare_threshold=None if pooled else 5)


def run(sql, parameters):
    try:
        cursor = db.execute(re.sub(r"\$\d+", "%s", sql), parameters or None)
    except psycopg.Error as error:
        return {"raises": error.sqlstate}
    return {"rows": cursor.fetchall() if cursor.description else []}


serve(run)
