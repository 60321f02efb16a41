"""Idempotency records of AWS Lambda Powertools in PostgreSQL, by pg_once.

    connect = functools.partial(psycopg.connect, DSN, autocommit=True, prepare_threshold=None)

    @idempotent(persistence_store=PgOncePersistenceLayer(connect))
    def handler(event, context): ...

The clock is the server's, an invocation whose lease was taken over by another cannot store its result,
and a payload that differs is noticed in the same call. How long a result is remembered is said once for
the namespace, by `once.configure(ns, ttl => ...)`: a warning says so where `expires_after_seconds` of the
configuration differs.
"""

import json
import logging
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from datetime import timedelta

import psycopg
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import (
    STATUS_CONSTANTS,
    DataRecord,
)
from psycopg import errors
from psycopg.types.json import Jsonb

COMPLETED, IN_PROGRESS = STATUS_CONSTANTS["COMPLETED"], STATUS_CONSTANTS["INPROGRESS"]
logger = logging.getLogger(__name__)


class ResultNotStoredError(Exception):
    """The function has run to its end, but its result could not be stored: it is not run again."""


class Tokens(threading.local):
    """The tokens of what this thread is running, by key."""

    def __init__(self):
        self.of: dict[str, int] = {}


class PgOncePersistenceLayer(BasePersistenceLayer):
    """Keeps records in the namespace `ns`.

    `connect` makes a connection in autocommit; it is called again after the connection was lost.
    `lease` is for functions without a Lambda context; with one its remaining time counts.
    `worker` names the execution that asks, the same in each process that replays it: durable functions
    need it. Two executions that run at once need different names.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        ns: str = "powertools",
        lease: timedelta = timedelta(minutes=15),
        worker: Callable[[], str] = lambda: uuid.uuid4().hex,
    ):
        super().__init__()
        self.connect = connect
        self.ns = ns
        self.lease = lease
        self.worker = worker
        self.connection: psycopg.Connection | None = None
        self.connecting = threading.Lock()
        self.tokens = Tokens()
        self.remembered: float | None = None
        self.is_remembered_known = False

    def save_success(self, data, result) -> None:
        try:
            super().save_success(data, result)
        # What json.dumps refuses, and what the server does: more than 100 MB, a number out of range.
        except (TypeError, ValueError, RecursionError, errors.ProgramLimitExceeded, psycopg.DataError) as reason:
            self._complete_without_result(data, reason)
        finally:
            self.tokens.of.pop(self._get_hashed_idempotency_key(data=data), None)

    def _put_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        self._learn_how_long_results_are_remembered()
        request = Jsonb(data_record.payload_hash) if self.payload_validation_enabled else None
        outcome, token, result, lease_left, age = self._row(
            """SELECT outcome, token, result, extract(epoch FROM lease_until - clock_timestamp())::float8,
                      extract(epoch FROM clock_timestamp())::float8 - (result ->> 'completed_at')::float8
               FROM begin_once(%s, %s, lease => %s, request => %s, worker => %s)""",
            self.ns,
            key,
            self._time_left(data_record),
            request,
            # A repetition after a lost connection has the same name, and so gets the same token.
            self.worker(),
        )
        match outcome:
            case "run":
                self.tokens.of[key] = token
                return
            case "mismatch":
                raise IdempotencyValidationError("Payload does not match stored record for this event key")
            case "done":
                old = self._completed(data_record, result, age)
            case _:
                old = self._in_progress(data_record, lease_left)
        self._save_to_cache(old)
        raise IdempotencyItemAlreadyExistsError(old_data_record=old)

    def _update_record(self, data_record: DataRecord) -> None:
        self._complete(data_record.idempotency_key, {"response": data_record.response_data})

    def _delete_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        token = self.tokens.of.pop(key, None)
        if token is None:
            # Outside an invocation: what is finished is forgotten, what is running is left alone.
            self._row("SELECT forget_once(%s, %s)", self.ns, key)
            return
        try:
            self._row("SELECT fail_once(%s, %s, %s)", self.ns, key, token)
        except errors.ObjectNotInPrerequisiteState:
            logger.warning("Another invocation has taken %s over: there is nothing to give back", key)

    def _get_record(self, idempotency_key: str) -> DataRecord:
        """Asked only where a record of the local cache ended between two looks: begin again."""
        raise IdempotencyItemNotFoundError

    def _get_expiry_timestamp(self) -> int | None:
        return None if self.remembered is None else int(time.time() + self.remembered)

    def _complete(self, key: str, result: dict) -> None:
        if key not in self.tokens.of:
            raise RuntimeError(f"{key} was begun elsewhere: a replay needs the name of its execution as worker")
        self._row(
            """SELECT complete_once(%s, %s, %s,
                   %s || jsonb_build_object('completed_at', extract(epoch FROM clock_timestamp())))""",
            self.ns,
            key,
            self.tokens.of[key],
            # The response is one string: jsonb would refuse NaN and \u0000, and make an integer of 1e22.
            Jsonb(result),
        )

    def _complete_without_result(self, data, reason: Exception) -> None:
        """What has been done must not be done again, though nobody is going to see what came of it."""
        key = self._get_hashed_idempotency_key(data=data)
        logger.warning("The result of %s could not be stored: %s", key, reason)
        self._complete(key, {"not_stored": f"{type(reason).__name__}: {reason}"[:1000]})

    def _row(self, query: str, *parameters) -> tuple | None:
        """Each of these calls may be repeated when its answer was lost."""
        connection = self._connection()
        try:
            return connection.execute(query, parameters).fetchone()
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            return self._connection().execute(query, parameters).fetchone()

    def _connection(self) -> psycopg.Connection:
        with self.connecting:
            if self.connection is None or self.connection.closed:
                self.connection = self.connect()
            return self.connection

    def _learn_how_long_results_are_remembered(self) -> None:
        if self.is_remembered_known:
            return
        row = self._row("SELECT extract(epoch FROM ttl)::float8 FROM once.namespaces WHERE ns = %s", self.ns)
        self.remembered = row and row[0]
        self.is_remembered_known = True
        if self.remembered != self.expires_after_seconds:
            kept = "for ever" if self.remembered is None else f"for {self.remembered:g} seconds"
            warnings.warn(
                f"The namespace {self.ns} remembers results {kept}, not for expires_after_seconds ="
                f" {self.expires_after_seconds}: SELECT once.configure('{self.ns}', ttl => '...')",
                stacklevel=2,
            )

    def _time_left(self, data_record: DataRecord) -> timedelta:
        end = data_record.in_progress_expiry_timestamp
        return self.lease if end is None else timedelta(milliseconds=max(1, end - time.time() * 1000))

    def _completed(self, data_record: DataRecord, result: dict, age: float) -> DataRecord:
        if "response" not in result:
            raise ResultNotStoredError(f"It was done, but its result could not be stored: {result['not_stored']}")
        return DataRecord(
            data_record.idempotency_key,
            status=COMPLETED,
            expiry_timestamp=None if self.remembered is None else round(time.time() - age + self.remembered),
            response_data=result["response"],
            payload_hash=data_record.payload_hash,
        )

    def _in_progress(self, data_record: DataRecord, lease_left: float | None) -> DataRecord:
        """By the server's clock the time that is left, by the local one when that is over."""
        return DataRecord(
            data_record.idempotency_key,
            status=IN_PROGRESS,
            in_progress_expiry_timestamp=lease_left and int((time.time() + lease_left) * 1000),
            payload_hash=data_record.payload_hash,
        )
