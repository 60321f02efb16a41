"""leader.py ELECTION SECONDS: campaigns, leads under a lease of so many seconds, and campaigns again where it has lost.

SIGTERM makes it resign and end."""

import os
import secrets
import signal
import socket
import sys
import threading

import psycopg
from psycopg.errors import ObjectNotInPrerequisiteState

# Another one at each start: a token fences processes of different names.
NAME = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
ending = threading.Event()


def campaign(db, election, lease):
    """The token once this process leads, None where it is to end."""
    begin = "SELECT token FROM begin_once('leader', %s, %s, wait => %s, worker => %s)"
    while not ending.is_set():
        token, = db.execute(begin, (election, lease, lease, NAME)).fetchone()
        if token is not None:
            return token


def lead(db, election, token, lease, seconds):
    """Until it is to end; raises once somebody else leads."""
    while not ending.wait(seconds / 3):
        db.execute("SELECT renew_once('leader', %s, %s, %s)", (election, token, lease))
        work(db, election, token, seconds)
    db.execute("SELECT fail_once('leader', %s, %s)", (election, token))


def work(db, election, token, seconds):
    """The fence comes first in each transaction that writes. One that is stopped in it holds off the next leader no
    longer than a lease."""
    with db.transaction():
        db.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'")
        db.execute("SELECT fence_once('leader', %s, %s)", (election, token))
        db.execute("INSERT INTO tick (token, name) VALUES (%s, %s)", (token, NAME))


def main(election, seconds):
    lease = f"{seconds} seconds"
    while not ending.is_set():
        try:
            with psycopg.connect(autocommit=True) as db:
                while token := campaign(db, election, lease):
                    print("leads", flush=True)
                    lead(db, election, token, lease, seconds)
        except ObjectNotInPrerequisiteState:
            print("lost", flush=True)
        except psycopg.Error as error:
            print(f"cut off: {error}", flush=True)
            ending.wait(1)


signal.signal(signal.SIGTERM, lambda *_: ending.set())
main(sys.argv[1], int(sys.argv[2]))
