"""One session: a statement a line comes in as JSON, its outcome goes out as a line of JSON."""

import json
import sys


def serve(run):
    for line in sys.stdin:
        statement = json.loads(line)
        outcome = run(statement["sql"], statement.get("with", []))
        print(json.dumps(outcome, default=str), flush=True)
