"""python -m unittest, with a database that `python -m django migrate` has migrated in PGHOST, PGDATABASE..."""

import os
import random
import threading
import time
import unittest
from multiprocessing import get_context

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import Error, IntegrityError, connection, connections, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from once import claim, find_or_create, locked, named_lock  # noqa: E402
from shop.models import Book, BuildFailure, Payment, Service, WebhookEvent  # noqa: E402


def at_once(count, work):
    """What `work` returns in each of `count` processes, which all begin it at the same moment."""
    connections.close_all()
    forking = get_context("fork")
    barrier, answers = forking.Barrier(count), forking.SimpleQueue()

    def run():
        connection.ensure_connection()
        barrier.wait(60)
        answers.put(work())

    processes = [forking.Process(target=run) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes), [process.exitcode for process in processes]
    return [answers.get() for _ in processes]


def in_threads(count, work):
    answers = []

    def run():
        answers.append(work())
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def rows(model, **values):
    """By a sequential scan: an index could be what is wrong."""
    with transaction.atomic(), connection.cursor() as cursor:
        for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
            cursor.execute(f"SET LOCAL enable_{scan} = off")
        return list(model.objects.filter(**values).order_by("id"))


class Once(unittest.TestCase):
    def setUp(self):
        self.number = random.getrandbits(40)
        self.service = Service.objects.create(name="a service")
        self.key = {"service": self.service, "line_item_id": "A"}

    def pay(self, amount=1):
        with locked(Payment, **self.key) as payment:
            payment.amount += amount
            payment.save()

    def test_one_of_eight_processes_sends_the_message(self):
        def fail():
            with claim("ci_failure", self.number, "org/repo") as won:
                if won:
                    BuildFailure.objects.create(build_id=self.number, repo="org/repo")
                return won

        self.assertEqual(at_once(8, fail).count(True), 1)
        self.assertEqual(len(rows(BuildFailure, build_id=self.number)), 1)

    def test_an_exception_gives_the_claim_back(self):
        with self.assertRaises(ValueError), claim("ci_failure", self.number) as won:
            self.assertTrue(won)
            raise ValueError("the message could not be sent")
        with claim("ci_failure", self.number) as won:
            self.assertTrue(won)

    def test_eight_processes_create_one_book(self):
        key = {"title": f"Dune {self.number}", "author": "Frank Herbert"}

        def create():
            book, created = find_or_create(Book, defaults={"edition": 2}, **key)
            return book.id, created

        answers = at_once(8, create)
        self.assertEqual(len({book for book, _ in answers}), 1)
        self.assertEqual([created for _, created in answers].count(True), 1)
        self.assertEqual([(book.edition, book.tags) for book in rows(Book, **key)], [(2, [])])

    def test_eight_processes_add_up(self):
        at_once(8, lambda: [self.pay() for _ in range(10)])
        self.assertEqual([payment.amount for payment in rows(Payment, **self.key)], [80])

    def test_a_new_row_is_as_the_model_would_make_it(self):
        before = timezone.now()
        with locked(Payment, **self.key) as payment:
            self.assertEqual((payment.status, payment.amount, payment.cents), ("pending", 0, 0))
            self.assertTrue(before <= payment.created_at <= timezone.now())
            payment.amount = "1.25"
            payment.save()
        self.assertEqual([payment.cents for payment in rows(Payment, **self.key)], [125])
        self.key["line_item_id"] = "B"
        with locked(Payment, defaults={"status": Payment.Status.PAID, "amount": "1.50"}, **self.key) as payment:
            self.assertEqual((payment.status, str(payment.amount)), ("paid", "1.50"))

    # `default` and `auto_now_add` make columns that are NOT NULL and have no default in the database.
    def test_without_the_defaults_of_the_model_the_row_cannot_be_created(self):
        query = """SELECT * FROM with_row_lock(NULL::shop_payment,
            jsonb_build_object('service_id', %s, 'line_item_id', 'A', 'deleted_at', NULL))"""
        with self.assertRaisesRegex(IntegrityError, 'null value in column "amount"') as raised:
            list(Payment.objects.raw(query, [self.service.id]))
        self.assertIn("defaults", raised.exception.__cause__.diag.message_hint)

    def test_a_deleted_payment_is_not_found(self):
        with locked(Payment, **self.key) as old:
            old.deleted_at = timezone.now()
            old.save()
        at_once(8, self.pay)
        found = [(payment.id == old.id, payment.deleted_at is None, payment.amount) for payment in rows(Payment, **self.key)]
        self.assertEqual(found, [(True, False, 0), (False, True, 8)])

    def test_a_key_may_name_the_status(self):
        key = self.key | {"status": Payment.Status.PENDING}
        with locked(Payment, **key) as first:
            first.status = Payment.Status.PAID
            first.deleted_at = timezone.now()
            first.save()
        with locked(Payment, **key) as second:
            self.assertNotEqual(first.id, second.id)

    def test_eight_processes_store_one_event_by_its_generated_column(self):
        event = f"evt-{self.number}"
        stored = at_once(8, lambda: find_or_create(WebhookEvent, event_id=event, defaults={"payload": {"id": event}})[1])
        self.assertEqual(stored.count(True), 1)
        self.assertEqual([event.payload for event in rows(WebhookEvent, event_id=event)], [{"id": event}])
        with self.assertRaisesRegex(Error, 'does not have the key'):
            find_or_create(WebhookEvent, event_id=event + "2", defaults={"payload": {"id": event + "3"}})

    # A process that loads the instance, waits for the lock and then saves that instance overwrites what others have committed.
    def test_an_instance_that_was_loaded_before_the_lock_loses_an_update(self):
        def as_loaded(loaded, locked):
            return loaded

        def as_locked(loaded, locked):
            return locked

        def refreshed(loaded, locked):
            loaded.refresh_from_db()
            return loaded

        def refreshed_with_lock(loaded, locked):
            loaded.refresh_from_db(from_queryset=Payment.objects.select_for_update())
            return loaded

        amounts = [self.add_twice(which) for which in (as_loaded, as_locked, refreshed, refreshed_with_lock)]
        self.assertEqual(amounts, [10, 20, 20, 20])

    def add_twice(self, which):
        """The amount, when this process has loaded the payment before another one adds 10, and then adds 10 in its turn."""
        self.key["line_item_id"] = str(random.getrandbits(40))
        with locked(Payment, **self.key) as loaded:
            pass
        at_once(1, lambda: self.pay(10))
        with locked(Payment, **self.key) as payment:
            payment = which(loaded, payment)
            payment.amount += 10
            payment.save()
        return sum(payment.amount for payment in rows(Payment, **self.key))

    def test_a_timeout_is_an_answer(self):
        def ask():
            with locked(Payment, timeout=0.05, **self.key) as payment:
                return payment

        with locked(Payment, **self.key) as payment:
            self.assertIsNotNone(payment)
            self.assertEqual(in_threads(1, ask), [None])

    def test_a_named_lock_is_one_callers(self):
        inside = []
        together = []

        def hold():
            with named_lock("nightly", "report") as held:
                inside.append(held)
                together.append(len(inside))
                time.sleep(0.01)
                inside.pop()

        in_threads(8, hold)
        self.assertEqual(together, [1] * 8)


if __name__ == "__main__":
    unittest.main()
