"""Claims by parts of Python's types. What a program of parts does is said in parts.py."""

import json
import sys
from datetime import date, datetime, timezone
from decimal import Decimal
from uuid import UUID

VALUES = [
    ("integer", 4711),
    ("bigint", 9007199254740993),
    ("text", "é, org/repo"),
    ("boolean", True),
    ("date", date(2026, 12, 1)),
    ("timestamptz", datetime(2026, 12, 1, 12, 34, 56, 789000, timezone.utc)),
    ("timestamp", datetime(2026, 12, 1, 12, 34, 56, 789000)),
    ("numeric", Decimal("12.5")),
    ("uuid", UUID("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")),
    ("bytea", b"\xff\xfe"),
    ("float8", 0.1 + 0.2),
    ("array", ["a", "b"]),
]


def play(claim, refused):
    """`claim(ns, value, cast)` says whether it won, `refused(error)` the SQLSTATE, if it came to that."""
    mode, *namespaces = sys.argv[1:]
    for ns in namespaces:
        for kind, value in VALUES:
            answer = {"ns": ns, "kind": kind, "as": type(value).__name__}
            if mode == "default":
                try:
                    claim(f"{ns} {kind} {answer['as']}", value, "")
                except Exception as error:
                    answer["refused"] = refused(error) or "driver"
            elif kind == "array":
                continue
            else:
                answer["won"] = claim(ns, value, f"::{kind}")
            print(json.dumps(answer), flush=True)
