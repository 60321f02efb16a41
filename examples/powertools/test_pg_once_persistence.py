"""With the package itself: python -m unittest, a database with pg_once in PGHOST, PGDATABASE..."""

import threading
import time
import unittest
import warnings
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from pg_once_persistence import PgOncePersistenceLayer


@dataclass
class Context:
    """What Lambda tells a function of itself."""

    milliseconds: int = 60_000

    def get_remaining_time_in_millis(self):
        return self.milliseconds


def store(ns, **options):
    return PgOncePersistenceLayer(psycopg.connect(autocommit=True), ns, **options)


class Persistence(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore")
        self.runs = []
        self.ns = self.id()

    def handler(self, **config):
        """A handler with a store of its own, as each Lambda container has one."""
        configured = IdempotencyConfig(event_key_jmespath="order", **config)

        @idempotent(persistence_store=store(self.ns), config=configured)
        def handle(event, context):
            self.runs.append(event)
            if event.get("fails"):
                raise ValueError("the card was refused")
            return {"receipt": len(self.runs), "order": event["order"]}

        return handle

    def test_the_first_result_is_given_to_all(self):
        first = self.handler()({"order": 1}, Context())
        again = self.handler()({"order": 1}, Context())
        other = self.handler()({"order": 2}, Context())
        self.assertEqual((first, again), ({"receipt": 1, "order": 1},) * 2)
        self.assertEqual(other, {"receipt": 2, "order": 2})

    def test_a_failure_is_run_again(self):
        with self.assertRaises(ValueError):
            self.handler()({"order": 1, "fails": True}, Context())
        self.assertEqual(self.handler()({"order": 1}, Context())["receipt"], 2)

    def test_another_payload_under_the_key_is_refused(self):
        handler = self.handler(payload_validation_jmespath="amount")
        handler({"order": 1, "amount": 10}, Context())
        with self.assertRaises(IdempotencyValidationError):
            handler({"order": 1, "amount": 99}, Context())
        self.assertEqual(len(self.runs), 1)

    def test_the_local_cache_gives_the_same_result(self):
        handler = self.handler(use_local_cache=True)
        self.assertEqual(handler({"order": 1}, Context()), handler({"order": 1}, Context()))
        self.assertEqual(len(self.runs), 1)

    def test_eight_at_once_run_once(self):
        outcomes = []
        together = threading.Barrier(8)

        def deliver():
            handler = self.handler()
            together.wait()
            try:
                outcomes.append(handler({"order": 1}, Context())["receipt"])
            except IdempotencyAlreadyInProgressError:
                outcomes.append("in progress")

        threads = [threading.Thread(target=deliver) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(self.runs), 1)
        self.assertEqual(len(outcomes), 8)
        self.assertLessEqual(set(outcomes), {1, "in progress"})

    def test_who_was_taken_over_cannot_store_a_result(self):
        def charge(lease, by, work=lambda: None):
            @idempotent_function(
                data_keyword_argument="order",
                persistence_store=store(self.ns, lease=timedelta(seconds=lease)),
                key_prefix="charge",
            )
            def run(order):
                self.runs.append(by)
                work()
                return {"by": by}

            return run(order={"id": 1})

        errors = []
        begun, taken_over = threading.Event(), threading.Event()

        def pause():
            begun.set()
            taken_over.wait(60)

        def slow():
            try:
                charge(lease=0.2, by="first", work=pause)
            except IdempotencyPersistenceLayerError as error:
                errors.append(str(error))

        paused = threading.Thread(target=slow)
        paused.start()
        self.assertTrue(begun.wait(60))
        time.sleep(0.3)
        self.assertEqual(charge(lease=60, by="second"), {"by": "second"})
        taken_over.set()
        paused.join()
        self.assertEqual(charge(lease=60, by="third"), {"by": "second"})
        self.assertEqual(self.runs, ["first", "second"])
        self.assertIn("lease lost", errors[0])


if __name__ == "__main__":
    unittest.main()
