#!/usr/bin/env python3
"""conformance.py NAME COMMAND...: plays scenarios.json through one client.

COMMAND starts a client: a program with one connection (PGHOST, PGPORT, PGUSER, PGDATABASE,
PGAPPNAME) that reads a statement a line as JSON, {"sql": ..., "with": [...]}, and answers with a
line, {"rows": [[...], ...]} or {"raises": "SQLSTATE"}. Each session of a scenario is such a program.
A client whose driver asks the server for types plays "cast" instead of "sql": CASTS says so.
A value {"keeps": NAME} of a row is any, and stands where {"kept": NAME} is among later parameters.
A scenario for "only": "direct" is left out behind a pooler: POOLED says so.
PSQL names the psql with which tables are made and waits are observed, OBSERVER_PORT its port.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE = 30.0


class Failed(Exception):
    pass


class Session:
    """A client and the statement that it is busy with."""

    def __init__(self, command, name):
        self.name = f"conformance {name}"
        self.program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PGAPPNAME": self.name},
        )
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.program.stdout:
            self.answers.put(json.loads(line))
        self.answers.put({"died": True})

    def send(self, step, kept):
        sql = step.get("cast", step["sql"]) if "CASTS" in os.environ else step["sql"]
        parameters = [kept[value["kept"]] if isinstance(value, dict) else value for value in step.get("with", [])]
        statement = {"sql": sql, "with": parameters}
        self.program.stdin.write(json.dumps(statement) + "\n")
        self.program.stdin.flush()

    def answer(self):
        try:
            return self.answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failed("no answer") from None

    def waits(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.answers.empty():
                raise Failed(f"did not wait but answered {self.answers.get()}")
            if is_waiting(self.name):
                return
            time.sleep(0.02)
        raise Failed("did not wait")

    def die(self):
        self.program.kill()
        self.program.wait()

    def close(self):
        self.program.stdin.close()
        try:
            self.program.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.die()


def psql(*statements):
    commands = [part for statement in statements for part in ("-c", statement)]
    command = [os.environ["PSQL"], "-qXAt", "-v", "ON_ERROR_STOP=1", *commands]
    observer = os.environ | {"PGPORT": os.environ["OBSERVER_PORT"]}
    return subprocess.run(command, env=observer, check=True, text=True, capture_output=True).stdout


def is_waiting(name):
    count = psql(
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE application_name = '{name}' AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    return count.strip() != "0"


def as_text(value):
    """Drivers differ in how they show a number: its digits count."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def keep(rows, answer, kept):
    """The rows that are wanted, with the values that are to be kept as they were answered."""

    def value(at, column):
        wanted = rows[at][column]
        if not isinstance(wanted, dict):
            return wanted
        try:
            kept[wanted["keeps"]] = answer["rows"][at][column]
        except (KeyError, IndexError):
            return wanted
        return kept[wanted["keeps"]]

    return [[value(at, column) for column in range(len(row))] for at, row in enumerate(rows)]


def compare(step, answer, kept):
    if "raises" in step:
        wanted = {"raises": step["raises"]}
    elif "rows" in step:
        wanted = {"rows": [[as_text(value) for value in row] for row in keep(step["rows"], answer, kept)]}
        if "rows" in answer:
            answer = {"rows": [[as_text(value) for value in row] for row in answer["rows"]]}
    elif "rows" in answer:
        return
    else:
        wanted = "no error"
    if answer != wanted:
        raise Failed(f"{step['in']}: {step.get('sql', 'the end')}: wanted {wanted}, got {answer}")


class Sessions(dict):
    """The sessions by their names: each is there until it dies or fails."""

    def __init__(self, command):
        self.command = command

    def __missing__(self, name):
        self[name] = Session(self.command, name)
        return self[name]

    def close(self):
        for session in self.values():
            session.close()
        self.clear()


def play(scenario, sessions):
    psql("DROP TABLE IF EXISTS payments, books", *scenario.get("tables", []))
    kept = {}
    for step in scenario["steps"]:
        session = sessions[step["in"]]
        if step.get("dies"):
            sessions.pop(step["in"]).die()
            continue
        if "sql" in step:
            session.send(step, kept)
        if step.get("waits"):
            session.waits()
        else:
            compare(step, session.answer(), kept)


def main():
    client, command = sys.argv[1], sys.argv[2:]
    scenarios = json.loads((Path(__file__).parent / "scenarios.json").read_text())
    sessions = Sessions(command)
    failures = 0
    for scenario in scenarios:
        if scenario.get("only") == "direct" and "POOLED" in os.environ:
            continue
        try:
            play(scenario, sessions)
            print(f"ok {client}: {scenario['name']}", flush=True)
        except Failed as failure:
            failures += 1
            print(f"FAILED {client}: {scenario['name']}: {failure}", flush=True)
            sessions.close()
    sessions.close()
    sys.exit(failures > 0)


main()
