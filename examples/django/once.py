"""pg_once for Django.

    with claim("ci_failure", build.id, repo) as won:
        if won: ...                                   # the effect, in the same transaction
    with locked(Payment, service_id=1, line_item_id="A") as payment:
        payment.amount += 1
        payment.save()
    with named_lock("nightly", "report", timeout=5) as held: ...
"""

from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from psycopg.types.json import Jsonb


@contextmanager
def claim(ns, *parts, using=DEFAULT_DB_ALIAS):
    """True in exactly one transaction for these parts. An exception in the block gives it back."""
    with transaction.atomic(using=using):
        yield _value(using, "SELECT claim_once(%s, VARIADIC %s::text[])", ns, [str(part) for part in parts])


@contextmanager
def locked(model, timeout=None, defaults=None, using=None, **key):
    """The one row with this key, found or created in turn, locked until the block has ended.

    None when it could not be had within `timeout` seconds.
    """
    using = using or router.db_for_write(model)
    row_type = connections[using].ops.quote_name(model._meta.db_table)
    query = f"SELECT * FROM with_row_lock(NULL::{row_type}, %s, %s, %s)"
    with transaction.atomic(using=using):
        rows = model.objects.using(using).raw(query, [Jsonb(key), Jsonb(defaults or {}), _interval(timeout)])
        yield next(iter(rows), None)


@contextmanager
def named_lock(ns, key, timeout=None, shared=False, using=DEFAULT_DB_ALIAS):
    """Whether the lock is held, until the block has ended."""
    with transaction.atomic(using=using):
        yield _value(using, "SELECT with_lock(%s, %s, %s, %s)", ns, key, _interval(timeout), shared)


def _interval(seconds):
    return None if seconds is None else f"{seconds} seconds"


def _value(using, query, *parameters):
    with connections[using].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]
