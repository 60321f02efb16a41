"""pg_once for Django.

    with claim("ci_failure", build.id, repo) as won:
        if won: ...                                   # the effect, in the same transaction
    book, created = find_or_create(Book, title="Dune", author="Frank Herbert", defaults={"edition": 2})
    with locked(Payment, service=service, line_item_id="A") as payment:
        payment.amount += 1
        payment.save()
    with named_lock("nightly", "report", timeout=5) as held: ...

A model whose rows are deleted softly says so with `once_condition = {"deleted_at": None}`, which then
belongs to every key of it.
"""

import json
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, models, router, transaction
from django.db.models.expressions import BaseExpression
from psycopg.types.json import Jsonb


@contextmanager
def claim(ns, *parts, using=DEFAULT_DB_ALIAS):
    """True in exactly one transaction for these parts. An exception in the block gives it back."""
    with transaction.atomic(using=using):
        yield _value(using, "SELECT claim_once(%s, VARIADIC %s::text[])", ns, [str(part) for part in parts])


def find_or_create(model, defaults=None, using=None, **key):
    """The one row with this key and whether it was created, as get_or_create, without a unique index too."""
    row = _row(model, using, "SELECT created AS once_created, (entity).* FROM find_or_create({}, %s, %s)", key, defaults)
    return row, row.once_created


@contextmanager
def locked(model, timeout=None, defaults=None, using=None, **key):
    """The one row with this key, found or created in turn, locked until the block has ended.

    None when it could not be had within `timeout` seconds. Change what the block is given: an instance that
    was loaded before has the values of then, until its refresh_from_db() in the block.
    """
    using = using or router.db_for_write(model)
    with transaction.atomic(using=using):
        yield _row(model, using, "SELECT * FROM with_row_lock({}, %s, %s, %s)", key, defaults, _interval(timeout))


@contextmanager
def named_lock(ns, key, timeout=None, shared=False, using=DEFAULT_DB_ALIAS):
    """Whether the lock is held, until the block has ended."""
    with transaction.atomic(using=using):
        yield _value(using, "SELECT with_lock(%s, %s, %s, %s)", ns, key, _interval(timeout), shared)


def _row(model, using, query, key, defaults, *parameters):
    using = using or router.db_for_write(model)
    key = _columns(using, model, getattr(model, "once_condition", {}) | key)
    new = {name: value for name, value in _new_row(using, model, defaults or {}).items() if name not in key}
    target = f"NULL::{connections[using].ops.quote_name(model._meta.db_table)}"
    rows = model._base_manager.using(using).raw(query.format(target), [Jsonb(key, _json), Jsonb(new, _json), *parameters])
    return next(iter(rows), None)


def _new_row(using, model, given):
    """What Django would insert: `default` and `auto_now_add` are not in the database. No signal is sent."""
    instance = model(**{name: value() if callable(value) else value for name, value in given.items()})
    values = {}
    for field in model._meta.local_concrete_fields:
        value = None if field.generated else field.pre_save(instance, add=True)
        left_to_database = isinstance(value, BaseExpression) or value is None and (field.primary_key or field.generated)
        if not left_to_database:
            values[field.attname] = value
    return _columns(using, model, values)


def _columns(using, model, values):
    """Columns with values as the fields write them to the database; a foreign key takes an instance."""
    columns = {}
    for name, value in values.items():
        field = model._meta.get_field(name)
        if isinstance(value, models.Model):
            value = getattr(value, field.target_field.attname)
        columns[field.column] = field.get_db_prep_save(value, connections[using])
    return columns


def _json(values):
    return json.dumps(values, default=_json_value)


def _json_value(value):
    match value:
        case Jsonb():
            return value.obj
        case bytes() | memoryview():
            return "\\x" + value.hex()
        case _:
            return str(value)


def _interval(seconds):
    return None if seconds is None else f"{seconds} seconds"


def _value(using, query, *parameters):
    with connections[using].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]
