"""psycopg 3: statements that it prepares, while the table changes, beside core's own SELECT."""

import json
import os
import pathlib

import psycopg
from report import check

cases = json.loads(pathlib.Path(__file__).with_name("plans.json").read_text())


def connect():
    return psycopg.connect(f"dbname={os.environ['PGDATABASE']}", autocommit=True)


def outcome(db, statement):
    """The rows, or what was raised."""
    try:
        return db.execute(statement, prepare=True).fetchall()
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"


owner = connect()
for change, statements in cases["changes"].items():
    for form, pair in cases["forms"].items():
        if form == "defined" and change.startswith("swap of tables"):
            continue
        for statement in cases["table"]:
            owner.execute(statement)
        with connect() as ours, connect() as cores:
            for _ in range(2):
                check(f"{change}: {form} before", outcome(cores, pair[1]), outcome(ours, pair[0]))
            with owner.transaction():
                for statement in statements:
                    owner.execute(statement)
            for call in range(1, 4):
                check(f"{change}: {form}, call {call}", outcome(cores, pair[1]), outcome(ours, pair[0]))
