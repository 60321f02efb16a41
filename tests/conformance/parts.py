#!/usr/bin/env python3
"""parts.py NAME=COMMAND...: the same values as parts of keys, from every client.

A COMMAND is a client of parts/. With the argument `default` it claims each of its values, bound as its driver
binds it, in the namespace "KIND TYPE"; with `cast NS...` it claims each in each namespace, with the cast that the
documents show. It writes a line for each claim as JSON: {"ns", "kind", "as", and "won", or "refused" with the SQLSTATE or
"driver"}.

1. With the casts every value is one key: whoever claims it first, every other client is told false.
2. docs/drivers.md shows which text arrives without a cast. PARTS_WRITE=1 writes the table anew.

PGDATABASE must be empty but for the extension; PSQL names the psql to look with.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "drivers.md"
BEGIN = "<!-- The table is what tests/conformance/parts.py sees: PARTS_WRITE=1 writes it. -->\n"
KINDS = {
    "integer": ("4711", "4711"),
    "bigint": ("9007199254740993", "9007199254740993"),
    "text": ("é, org/repo", "é, org/repo"),
    "boolean": ("true", "true"),
    "date": ("2026-12-01", "2026-12-01"),
    "timestamptz": ("12:34:56.789 in UTC", "2026-12-01T12:34:56.789000Z"),
    "timestamp": ("12:34:56.789", "2026-12-01 12:34:56.789"),
    "numeric": ("12.5", "12.5"),
    "uuid": ("A0EE…", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "bytea": ("FF FE", "\\xfffe"),
    "float8": ("0.1 + 0.2", "0.30000000000000004"),
    "array": ("a, b", None),
}
failures = 0


def check(name, wanted, found):
    global failures
    if wanted == found:
        print(f"ok parts: {name}", flush=True)
    else:
        failures += 1
        print(f"FAILED parts: {name}: wanted {wanted}, got {found}", flush=True)


def play(command, *arguments, zone="America/New_York"):
    """Nobody's clock is set to UTC: a text that depends on the zone of the client shows it."""
    environment = os.environ | {"TZ": zone}
    said = subprocess.run([*command, *arguments], env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in said.splitlines()]


def keys(ns):
    look = f"SELECT key FROM once.claims_of($ns${ns}$ns$) ORDER BY key COLLATE \"C\""
    said = subprocess.run([os.environ["PSQL"], "-qXAtc", look], check=True, text=True, stdout=subprocess.PIPE).stdout
    return said.splitlines()


def one_value_is_one_key(clients):
    for name, command in clients.items():
        first = play(command, "cast", f"first {name}", zone="Asia/Tokyo")
        lost = {answer["kind"] for answer in first} - {answer["kind"] for answer in first if answer["won"]}
        check(f"{name} claims each value first", set(), lost)
        texts = sorted(text for _, text in KINDS.values() if text)
        check(f"what arrives from {name} with a cast", texts, sorted(keys(f"first {name}")))
    for name, command in clients.items():
        others = [f"first {other}" for other in clients if other != name]
        wins = [f"{answer['kind']} after {answer['ns']}" for answer in play(command, "cast", *others) if answer["won"]]
        check(f"{name} is told false after every other client", [], wins)


def arrivals(clients):
    """By kind of value and by the text that arrives, or the refusal: from which types of which clients."""
    arrives = {kind: {} for kind in KINDS}
    for name, command in clients.items():
        for answer in play(command, "default", name):
            kind, of = answer["kind"], answer["as"]
            if refused := answer.get("refused"):
                text = "refused by the driver" if refused == "driver" else f"refused: {refused}"
            else:
                [key] = keys(f"{name} {kind} {of}")
                text = f"`{key}`"
            arrives[kind].setdefault(text, []).append(f"{name} `{of}`")
    return arrives


def table(arrives):
    yield "| value | arrives as | from |\n|---|---|---|\n"
    for kind, texts in arrives.items():
        shown, right = KINDS[kind]
        for text in sorted(texts, key=lambda text: (text != f"`{right}`", "refused" in text, text)):
            yield f"| {kind} {shown} | {text} | {', '.join(texts[text])} |\n"


def the_document_shows_what_arrives(clients):
    seen = "".join(table(arrivals(clients)))
    document = DOCUMENT.read_text()
    before, after = document.split(BEGIN)
    shown, rest = after.split("\n\n", 1)
    if "PARTS_WRITE" in os.environ:
        DOCUMENT.write_text(f"{before}{BEGIN}{seen}\n{rest}")
    else:
        check("the table in docs/drivers.md", seen, shown + "\n")


def main():
    clients = {name: command.split() for name, command in (argument.split("=", 1) for argument in sys.argv[1:])}
    one_value_is_one_key(clients)
    the_document_shows_what_arrives(clients)
    sys.exit(failures > 0)


main()
