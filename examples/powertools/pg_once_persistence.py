"""Idempotency records of AWS Lambda Powertools in PostgreSQL, by pg_once.

    @idempotent(persistence_store=PgOncePersistenceLayer(psycopg.connect(autocommit=True)))
    def handler(event, context): ...

What the layers for other stores leave open is decided in the database: the clock is the server's,
an invocation whose lease was taken over by another cannot store its result, and a payload that
differs is noticed in the same call. How long a result is remembered is said once for the namespace,
`once.configure(ns, ttl => ...)`; `expires_after_seconds` of the configuration is not looked at.
"""

import json
import threading
import time
from datetime import datetime, timedelta

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
from psycopg.types.json import Jsonb

COMPLETED, IN_PROGRESS = STATUS_CONSTANTS["COMPLETED"], STATUS_CONSTANTS["INPROGRESS"]


class PgOncePersistenceLayer(BasePersistenceLayer):
    """Keeps records in the namespace `ns`, over a connection that must be in autocommit.

    `lease` is for functions without a Lambda context; with one its remaining time counts.
    """

    def __init__(self, connection: psycopg.Connection, ns: str = "powertools", lease: timedelta = timedelta(minutes=15)):
        super().__init__()
        self.connection = connection
        self.ns = ns
        self.lease = lease
        self.tokens = threading.local()

    def _put_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        request = Jsonb(data_record.payload_hash) if self.payload_validation_enabled else None
        outcome, token, result, lease_until = self._row(
            "SELECT outcome, token, result, lease_until FROM begin_once(%s, %s, %s, %s)",
            key,
            self._time_left(data_record),
            request,
        )
        match outcome:
            case "run":
                setattr(self.tokens, key, token)
            case "mismatch":
                raise IdempotencyValidationError("Payload does not match stored record for this event key")
            case "done":
                raise IdempotencyItemAlreadyExistsError(old_data_record=self._completed(data_record, result))
            case _:
                raise IdempotencyItemAlreadyExistsError(old_data_record=self._in_progress(data_record, lease_until))

    def _update_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        result = Jsonb(json.loads(data_record.response_data))
        self._row("SELECT complete_once(%s, %s, %s, %s)", key, self._token(key), result)

    def _delete_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        self._row("SELECT fail_once(%s, %s, %s)", key, self._token(key))

    def _get_record(self, idempotency_key: str) -> DataRecord:
        """Asked only where a record of the local cache ended between two looks: begin again."""
        raise IdempotencyItemNotFoundError

    def _row(self, query: str, key: str, *parameters) -> tuple | None:
        return self.connection.execute(query, (self.ns, key, *parameters)).fetchone()

    def _token(self, key: str) -> int:
        token = getattr(self.tokens, key)
        delattr(self.tokens, key)
        return token

    def _time_left(self, data_record: DataRecord) -> timedelta:
        end = data_record.in_progress_expiry_timestamp
        return self.lease if end is None else timedelta(milliseconds=max(1, end - time.time() * 1000))

    def _completed(self, data_record: DataRecord, result: object) -> DataRecord:
        return DataRecord(
            data_record.idempotency_key,
            status=COMPLETED,
            response_data=json.dumps(result),
            payload_hash=data_record.payload_hash,
        )

    def _in_progress(self, data_record: DataRecord, lease_until: datetime | None) -> DataRecord:
        return DataRecord(
            data_record.idempotency_key,
            status=IN_PROGRESS,
            in_progress_expiry_timestamp=lease_until and int(lease_until.timestamp() * 1000),
            payload_hash=data_record.payload_hash,
        )
