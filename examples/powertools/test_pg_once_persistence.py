"""With the package itself: python -m unittest, a database with pg_once in PGHOST, PGDATABASE..."""

import math
import os
import socket
import threading
import time
import unittest
import warnings
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from unittest import mock

import psycopg
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyItemAlreadyExistsError,
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


def connect():
    return psycopg.connect(autocommit=True, prepare_threshold=None)


def store(ns, **options):
    return PgOncePersistenceLayer(connect, ns, **options)


def sql(query, *parameters):
    with connect() as db:
        return db.execute(query, parameters).fetchone()


class Persistence(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore")
        self.runs = []
        self.ns = self.id()

    def handler(self, layer=None, returns=None, **config):
        """A handler with a store of its own, as each Lambda container has one."""
        configured = IdempotencyConfig(event_key_jmespath="order", **config)

        @idempotent(persistence_store=layer or store(self.ns), config=configured)
        def handle(event, context):
            self.runs.append(event)
            if event.get("fails"):
                raise ValueError("the card was refused")
            return returns or {"receipt": len(self.runs), "order": event["order"]}

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

    def test_a_result_that_json_has_no_word_for_is_given_as_python_writes_it(self):
        returned = {"amount": Decimal("12.50"), "nothing": float("nan"), "much": 1e22, "text": "a\0b\ud800c"}
        self.handler(returns=returned)({"order": 1}, Context())
        again = self.handler()({"order": 1}, Context())
        self.assertTrue(math.isnan(again.pop("nothing")))
        self.assertEqual(again, {"amount": "12.50", "much": 1e22, "text": "a\0b\ud800c"})
        self.assertIs(type(again["much"]), float)
        self.assertEqual(len(self.runs), 1)

    def test_what_was_done_is_not_run_again_though_its_result_cannot_be_stored(self):
        for order, returned in enumerate([{"card": b"bytes"}, {"page": "x" * 105_000_000}]):
            with self.assertLogs("pg_once_persistence", "WARNING"):
                self.assertEqual(self.handler(returns=returned)({"order": order}, Context()), returned)
            with self.assertRaisesRegex(IdempotencyPersistenceLayerError, "its result could not be stored"):
                self.handler()({"order": order}, Context())
            self.assertEqual(len(self.runs), order + 1)

    def test_a_connection_that_is_lost_is_made_again(self):
        layer = store(self.ns)
        handler = self.handler(layer)
        handler({"order": 1}, Context())
        lost = layer.connection
        with socket.socket(fileno=os.dup(lost.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
        self.assertEqual(handler({"order": 2}, Context())["receipt"], 2)
        self.assertIsNot(layer.connection, lost)
        self.assertEqual(handler({"order": 2}, Context())["receipt"], 2)

    def test_who_did_not_hear_the_answer_asks_again_by_the_same_name(self):
        class Deaf:
            """Loses the connection after the first statement that begins, before its answer is read."""

            closed = False

            def execute(self, query, parameters):
                with connect() as db:
                    answer = db.execute(query, parameters)
                    if "begin_once" in query:
                        self.closed = True
                        raise psycopg.OperationalError("the connection is lost")
                    return answer

        connections = [Deaf()]
        layer = PgOncePersistenceLayer(lambda: connections.pop() if connections else connect(), self.ns)
        self.assertEqual(self.handler(layer)({"order": 1}, Context())["receipt"], 1)
        self.assertEqual(self.handler()({"order": 1}, Context())["receipt"], 1)
        self.assertEqual(sql("SELECT attempt, state FROM once.work WHERE ns = %s", self.ns), (2, "done"))

    def test_a_durable_execution_is_replayed_by_another_process(self):
        class Suspended(BaseException):
            """The process ends, the execution does not."""

        class Durable:
            """What a durable function is told: more than one operation is a replay."""

            def __init__(self, operations):
                self.lambda_context = Context()
                self.state = SimpleNamespace(operations=range(operations))

        def execution(name, operations, ends):
            @idempotent(
                persistence_store=store(self.ns, worker=lambda: name),
                config=IdempotencyConfig(event_key_jmespath="order"),
                key_prefix="durable",
            )
            def handle(event, context):
                self.runs.append(name)
                if not ends:
                    raise Suspended
                return {"by": name}

            return handle({"order": 1}, Durable(operations))

        with self.assertRaises(Suspended):
            execution("arn:1", operations=1, ends=False)
        with self.assertRaises(IdempotencyAlreadyInProgressError):
            execution("arn:2", operations=1, ends=True)
        self.assertEqual(execution("arn:1", operations=3, ends=True), {"by": "arn:1"})
        self.assertEqual(execution("arn:2", operations=1, ends=True), {"by": "arn:1"})
        self.assertEqual(self.runs, ["arn:1", "arn:1"])

    def test_a_replay_without_the_name_of_its_execution_stores_nothing(self):
        layer = store(self.ns)
        layer.configure(IdempotencyConfig(event_key_jmespath="order"), "f")
        layer.save_inprogress({"order": 1}, 60_000)
        other = store(self.ns)
        other.configure(IdempotencyConfig(event_key_jmespath="order"), "f")
        with self.assertRaisesRegex(RuntimeError, "begun elsewhere"):
            other.save_success({"order": 1}, {})

    def test_a_record_is_deleted_outside_an_invocation(self):
        handler = self.handler()
        handler({"order": 1}, Context())
        layer = store(self.ns)
        layer.configure(
            IdempotencyConfig(event_key_jmespath="order"), f"{__name__}.{type(self).__name__}.handler.<locals>.handle"
        )
        layer.delete_record({"order": 1}, ValueError("a mistake"))
        self.assertEqual(handler({"order": 1}, Context())["receipt"], 2)
        # What another one is running is left alone.
        running = store(self.ns)
        running.configure(IdempotencyConfig(event_key_jmespath="order"), "f")
        running.save_inprogress({"order": 3}, 60_000)
        layer.delete_record({"order": 3}, ValueError("a mistake"))
        running.save_success({"order": 3}, {"receipt": 3})

    def test_results_are_remembered_as_long_as_the_namespace_says(self):
        sql("SELECT once.configure(%s, ttl => '1 second')", self.ns)
        layer = store(self.ns)
        handler = self.handler(layer, use_local_cache=True)
        with self.assertWarnsRegex(UserWarning, "remembers results for 1 seconds, not for .* 3600"):
            self.assertEqual(handler({"order": 1}, Context())["receipt"], 1)
        expires = []
        hooked = self.handler(response_hook=lambda response, record: expires.append(record.expiry_timestamp))
        hooked({"order": 1}, Context())
        self.assertLessEqual(abs(expires[0] - time.time()), 2)
        time.sleep(2.1)
        self.assertEqual(handler({"order": 1}, Context())["receipt"], 2)

    def test_a_clock_that_is_wrong_here_does_not_matter(self):
        self.handler()({"order": 1}, Context())
        held = store(self.ns)
        config = IdempotencyConfig(event_key_jmespath="order")
        held.configure(config, "f")
        held.save_inprogress({"order": 2}, 60_000)
        other = store(self.ns)
        other.configure(config, "f")
        for wrong in [-86_400, 86_400]:
            now = time.time() + wrong
            with mock.patch("pg_once_persistence.time.time", return_value=now):
                with self.assertRaises(IdempotencyItemAlreadyExistsError) as found:
                    other.save_inprogress({"order": 2}, None)
            left = found.exception.old_data_record.in_progress_expiry_timestamp / 1000 - now
            self.assertTrue(50 < left <= 60, left)

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
