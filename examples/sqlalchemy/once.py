"""pg_once for SQLAlchemy.

    with Session(engine) as session, session.begin():
        if claim(session, "ci_failure", build_id, repo): ...       # the effect, in the same transaction
        book, created = find_or_create(session, Book, title="Dune", author="Frank Herbert", defaults={"edition": 2})
        payment = with_row_lock(session, Payment, service_id=1, line_item="A")
        payment.amount += 1

A model whose rows are deleted softly says so with `once_condition = {"deleted_at": None}`, which then
belongs to every key of it.
"""

import json

from sqlalchemy import JSON, Boolean, column, inspect, select, text


def claim(session, ns, *parts):
    """True in exactly one committed transaction for these parts."""
    query = text("SELECT claim_once(:ns, VARIADIC CAST(:parts AS text[]))")
    return session.scalar(query, {"ns": ns, "parts": [str(part) for part in parts]})


def find_or_create(session, model, defaults=None, **key):
    """The one row with this key and whether it was created; without a unique index too."""
    call = "find_or_create({}, CAST(:key AS jsonb), CAST(:defaults AS jsonb))"
    created, row = _rows(session, model, call, "created", "(entity)", key, defaults).one()
    return row, created


def with_row_lock(session, model, defaults=None, timeout=None, **key):
    """The one row with this key, found or created in turn, locked until the transaction has ended.

    None when it could not be had within `timeout` seconds.
    """
    call = "with_row_lock({}, CAST(:key AS jsonb), CAST(:defaults AS jsonb), CAST(:timeout AS interval)) AS entity"
    row = _rows(session, model, call, "NULL", "entity", key, defaults, timeout=_interval(timeout)).one_or_none()
    return row and row[1]


def with_lock(session, ns, key, timeout=None, shared=False):
    """Whether the lock is held, until the transaction has ended."""
    query = text("SELECT with_lock(:ns, :key, CAST(:timeout AS interval), :shared)")
    return session.scalar(query, {"ns": ns, "key": key, "timeout": _interval(timeout), "shared": shared})


def _rows(session, model, call, created, entity, key, defaults, **parameters):
    dialect = session.get_bind().dialect
    table = dialect.identifier_preparer.format_table(model.__table__)
    key = getattr(model, "once_condition", {}) | key
    new = _defaults(session, model) | (defaults or {})
    parameters |= {
        "key": _json(dialect, model, key),
        "defaults": _json(dialect, model, {name: value for name, value in new.items() if name not in key}),
    }
    # Columns by name: in the table their order can be another one. And psycopg prepares what it runs often: a constant of
    # type regclass makes a prepared statement depend on the table.
    columns = [f"{entity}.{dialect.identifier_preparer.format_column(column)}" for column in model.__table__.columns]
    constant = "'" + table.replace("'", "''") + "'"
    query = text(f"""SELECT {created} AS once_created, {", ".join(columns)} FROM {call.format(f"CAST(NULL AS {table})")}
        WHERE CAST({constant} AS regclass) IS NOT NULL""")
    answer = query.columns(column("once_created", Boolean), *model.__table__.columns)
    # An object that this session has loaded before would keep the values of then: an update would be lost.
    rows = select(column("once_created"), model).from_statement(answer).execution_options(populate_existing=True)
    return session.execute(rows, parameters)


def _defaults(session, model):
    """What SQLAlchemy would insert: `default=` is not in the database. A function that reads its context gets None."""
    values = {}
    for attribute in inspect(model).column_attrs:
        default = attribute.columns[0].default
        if default is None or default.is_sequence:
            continue
        if default.is_clause_element:
            values[attribute.key] = session.scalar(select(default.arg))
        else:
            values[attribute.key] = default.arg(None) if default.is_callable else default.arg
    return values


def _json(dialect, model, values):
    """Columns with values as their types write them to the database."""
    columns = {}
    for name, value in values.items():
        attribute = inspect(model).column_attrs[name].columns[0]
        columns[attribute.name] = _value(attribute.type.dialect_impl(dialect), dialect, value)
    return json.dumps(columns, default=str)


def _value(type, dialect, value):
    process = None if isinstance(type, JSON) else type.bind_processor(dialect)
    value = process(value) if process else value
    return "\\x" + value.hex() if isinstance(value, bytes) else value


def _interval(seconds):
    return None if seconds is None else f"{seconds} seconds"
