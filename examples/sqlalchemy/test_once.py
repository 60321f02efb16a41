"""python -m unittest, with a database that `python -m alembic upgrade head` has migrated in PGHOST, PGDATABASE..."""

import random
import threading
import unittest
from decimal import Decimal
from multiprocessing import get_context

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from models import Book, BuildFailure, Payment, Service, Status, WebhookEvent, engine, now
from once import claim, find_or_create, with_lock, with_row_lock


def at_once(count, work):
    """What `work` returns in each of `count` processes, which all begin it at the same moment."""
    forking = get_context("fork")
    barrier, answers = forking.Barrier(count), forking.SimpleQueue()

    def run():
        # The connections in the pool are those of the process that forked.
        engine.dispose(close=False)
        with engine.connect():
            pass
        barrier.wait(60)
        answers.put(work())

    processes = [forking.Process(target=run) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes), [process.exitcode for process in processes]
    return [answers.get() for _ in processes]


def rows(model, **values):
    """By a sequential scan: an index could be what is wrong."""
    with Session(engine) as session:
        for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
            session.execute(text(f"SET LOCAL enable_{scan} = off"))
        return session.scalars(select(model).filter_by(**values).order_by(model.id)).all()


class Once(unittest.TestCase):
    def setUp(self):
        self.number = random.getrandbits(40)
        with Session(engine) as session, session.begin():
            service = Service(name="a service")
            session.add(service)
            session.flush()
            self.key = {"service_id": service.id, "line_item": "A"}

    def pay(self, amount=1):
        with Session(engine) as session, session.begin():
            payment = with_row_lock(session, Payment, **self.key)
            payment.amount += amount

    def test_one_of_eight_processes_sends_the_message(self):
        def fail():
            with Session(engine) as session, session.begin():
                won = claim(session, "ci_failure", self.number, "org/repo")
                if won:
                    session.add(BuildFailure(build_id=self.number, repo="org/repo"))
                return won

        self.assertEqual(at_once(8, fail).count(True), 1)
        self.assertEqual(len(rows(BuildFailure, build_id=self.number)), 1)

    def test_eight_processes_create_one_book(self):
        key = {"title": f"Dune {self.number}", "author": "Frank Herbert"}

        def create():
            with Session(engine) as session, session.begin():
                book, created = find_or_create(session, Book, defaults={"edition": 2}, **key)
                return book.id, created

        answers = at_once(8, create)
        self.assertEqual(len({book for book, _ in answers}), 1)
        self.assertEqual([created for _, created in answers].count(True), 1)
        self.assertEqual([(book.edition, book.tags, book.searched) for book in rows(Book, **key)], [(2, [], "new")])

    def test_eight_processes_add_up(self):
        at_once(8, lambda: [self.pay() for _ in range(10)])
        self.assertEqual([payment.amount for payment in rows(Payment, **self.key)], [80])

    def test_a_new_row_is_as_the_model_would_make_it(self):
        before = now()
        with Session(engine) as session, session.begin():
            payment = with_row_lock(session, Payment, **self.key)
            self.assertEqual((payment.status, payment.amount, payment.cents), (Status.PENDING, 0, 0))
            self.assertEqual((payment.currency, payment.deleted_at), ("EUR", None))
            self.assertTrue(before <= payment.created_at <= now())
            payment.amount = Decimal("1.25")
        self.assertEqual([payment.cents for payment in rows(Payment, **self.key)], [125])
        with Session(engine) as session, session.begin():
            new = {"status": Status.PAID, "amount": Decimal("1.50")}
            payment = with_row_lock(session, Payment, defaults=new, **self.key | {"line_item": "B"})
            self.assertEqual((payment.status, str(payment.amount)), (Status.PAID, "1.50"))

    # `default=` makes columns that are NOT NULL and have no default in the database.
    def test_without_the_defaults_of_the_model_the_row_cannot_be_created(self):
        query = """SELECT * FROM with_row_lock(NULL::payments,
            jsonb_build_object('service_id', CAST(:service_id AS bigint), 'line_item_id', 'A', 'deleted_at', NULL))"""
        with Session(engine) as session, self.assertRaisesRegex(IntegrityError, 'null value in column "amount"') as raised:
            session.execute(text(query), self.key)
        self.assertIn("defaults", raised.exception.orig.diag.message_hint)

    def test_a_deleted_payment_is_not_found(self):
        with Session(engine) as session, session.begin():
            old = with_row_lock(session, Payment, **self.key)
            old.deleted_at = now()
            old_id = old.id
        at_once(8, self.pay)
        found = [(payment.id == old_id, payment.deleted_at is None, payment.amount) for payment in rows(Payment, **self.key)]
        self.assertEqual(found, [(True, False, 0), (False, True, 8)])

    def test_a_key_may_name_the_status(self):
        key = self.key | {"status": Status.PENDING}
        with Session(engine) as session, session.begin():
            first = with_row_lock(session, Payment, **key)
            first.status, first.deleted_at = Status.PAID, now()
            session.flush()
            self.assertIsNot(with_row_lock(session, Payment, **key), first)

    def test_eight_processes_store_one_event_by_its_generated_column(self):
        event = f"evt-{self.number}"

        def store():
            with Session(engine) as session, session.begin():
                return find_or_create(session, WebhookEvent, event_id=event, defaults={"payload": {"id": event}})[1]

        self.assertEqual(at_once(8, store).count(True), 1)
        self.assertEqual([event.payload for event in rows(WebhookEvent, event_id=event)], [{"id": event}])
        with Session(engine) as session, self.assertRaisesRegex(DBAPIError, "does not have the key"):
            find_or_create(session, WebhookEvent, event_id=event + "2", defaults={"payload": {"id": event + "3"}})

    # A session keeps one object for each row, its identity map, and returns it with the values that it has, whatever a
    # later statement has read: what others have committed in between is overwritten.
    def test_an_object_that_was_loaded_before_the_lock_loses_an_update(self):
        locking = select(Payment).from_statement(text("""SELECT * FROM with_row_lock(NULL::payments, jsonb_build_object(
            'service_id', CAST(:service_id AS bigint), 'line_item_id', CAST(:line_item AS text), 'deleted_at', NULL))"""))

        def as_loaded(session, loaded):
            return session.scalars(locking, self.key).one()

        def populated(session, loaded):
            return session.scalars(locking, self.key, execution_options={"populate_existing": True}).one()

        def refreshed(session, loaded):
            payment = session.scalars(locking, self.key).one()
            session.refresh(payment)
            return payment

        def with_the_helper(session, loaded):
            return with_row_lock(session, Payment, **self.key)

        amounts = [self.add_twice(lock) for lock in (as_loaded, populated, refreshed, with_the_helper)]
        self.assertEqual(amounts, [10, 20, 20, 20])

    def add_twice(self, lock):
        """The amount, when this process has loaded the payment before another one adds 10, and then adds 10 in its turn."""
        self.key["line_item"] = str(random.getrandbits(40))
        self.pay(0)
        with Session(engine) as session, session.begin():
            loaded = session.scalars(select(Payment).filter_by(**self.key)).one()
            at_once(1, lambda: self.pay(10))
            payment = lock(session, loaded)
            self.assertIs(payment, loaded)
            payment.amount += 10
        return sum(payment.amount for payment in rows(Payment, **self.key))

    # psycopg prepares what a connection has run five times. (It forgets that when the connection itself alters something.)
    def test_a_prepared_statement_follows_columns_that_swap_their_names(self):
        key = {"title": f"Dune {self.number}", "author": "Frank Herbert"}

        def tags(session):
            book = with_row_lock(session, Book, **key)
            tags = book.tags
            session.commit()
            return tags

        def swap():
            with engine.begin() as connection:
                for old, new in (("tags", "between"), ("spare_tags", "tags"), ("between", "spare_tags")):
                    connection.execute(text(f"ALTER TABLE books RENAME {old} TO {new}"))

        with engine.begin() as connection:
            connection.execute(text("""ALTER TABLE books ADD spare_tags jsonb DEFAULT '["spare"]' NOT NULL"""))
        try:
            with Session(engine) as session:
                self.assertEqual([tags(session) for _ in range(10)], [[]] * 10)
                at_once(1, swap)
                self.assertEqual(tags(session), ["spare"])
                at_once(1, swap)
                self.assertEqual(tags(session), [])
        finally:
            with engine.begin() as connection:
                connection.execute(text("ALTER TABLE books DROP spare_tags"))

    def test_a_timeout_is_an_answer(self):
        answers = []

        def ask():
            with Session(engine) as session, session.begin():
                answers.append(with_row_lock(session, Payment, timeout=0.05, **self.key))

        with Session(engine) as session, session.begin():
            self.assertIsNotNone(with_row_lock(session, Payment, **self.key))
            asking = threading.Thread(target=ask)
            asking.start()
            asking.join()
        self.assertEqual(answers, [None])

    def test_a_named_lock_is_one_callers(self):
        with Session(engine) as session, Session(engine) as other:
            self.assertTrue(with_lock(session, "nightly", "report"))
            self.assertFalse(with_lock(other, "nightly", "report", timeout=0.05))
            session.rollback()
            self.assertTrue(with_lock(other, "nightly", "report", timeout=5))


if __name__ == "__main__":
    unittest.main()
