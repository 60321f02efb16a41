"""python -m unittest, with a database that has pg_once in PGHOST, PGDATABASE..."""

import os
import threading
import time
import unittest

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}},
    INSTALLED_APPS=[],
)
django.setup()

from django.db import connection, models  # noqa: E402
from once import claim, locked, named_lock  # noqa: E402


class Payment(models.Model):
    service_id = models.BigIntegerField()
    line_item_id = models.TextField()
    amount = models.DecimalField(max_digits=12, decimal_places=2, db_default=0)

    class Meta:
        app_label = "shop"
        db_table = "shop_payment"


def at_once(count, work):
    """What `work` returns in each of `count` threads."""
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


class Once(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with connection.schema_editor() as editor:
            editor.create_model(Payment)

    def test_one_of_eight_wins(self):
        def fail():
            with claim("ci_failure", 4711, "org/repo") as won:
                return won

        self.assertEqual(at_once(8, fail).count(True), 1)

    def test_an_exception_gives_the_claim_back(self):
        with self.assertRaises(ValueError), claim("ci_failure", 4712) as won:
            self.assertTrue(won)
            raise ValueError("the message could not be sent")
        with claim("ci_failure", 4712) as won:
            self.assertTrue(won)

    def test_payments_add_up(self):
        def pay():
            for _ in range(10):
                with locked(Payment, service_id=1, line_item_id="A") as payment:
                    payment.amount += 1
                    payment.save()

        at_once(8, pay)
        self.assertEqual([payment.amount for payment in Payment.objects.filter(service_id=1)], [80])

    def test_a_timeout_is_an_answer(self):
        def ask():
            with locked(Payment, service_id=2, line_item_id="A", timeout=0.05) as payment:
                return payment

        with locked(Payment, service_id=2, line_item_id="A") as payment:
            self.assertIsNotNone(payment)
            self.assertEqual(at_once(1, ask), [None])

    def test_a_named_lock_is_one_callers(self):
        inside = []
        together = []

        def hold():
            with named_lock("nightly", "report") as held:
                inside.append(held)
                together.append(len(inside))
                time.sleep(0.01)
                inside.pop()

        at_once(8, hold)
        self.assertEqual(together, [1] * 8)


if __name__ == "__main__":
    unittest.main()
