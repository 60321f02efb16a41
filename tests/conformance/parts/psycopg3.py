import psycopg
from part import play

db = psycopg.connect(autocommit=True)


def claim(ns, value, cast):
    return db.execute(f"SELECT claim_once(%s, %s{cast})", (ns, value)).fetchone()[0]


play(claim, lambda error: getattr(error, "sqlstate", None))
