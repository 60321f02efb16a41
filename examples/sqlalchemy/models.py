import enum
import os
from datetime import datetime, timezone
from decimal import Decimal

from sqlalchemy import (
    BigInteger, Computed, DateTime, Enum, ForeignKey, Identity, Index, Numeric, String, Text, create_engine, func, text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Behind a pooler in transaction mode a statement that was prepared on one server connection is not there on the next.
engine = create_engine("postgresql+psycopg://", connect_args={"prepare_threshold": None} if "POOLED" in os.environ else {})


def now():
    return datetime.now(timezone.utc)


class Status(enum.Enum):
    PENDING = "pending"
    PAID = "paid"


class Base(DeclarativeBase):
    # Values that belong to every key of a model.
    once_condition = {}


class Timestamps:
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now, onupdate=now)


class Service(Timestamps, Base):
    __tablename__ = "services"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))


class Payment(Timestamps, Base):
    __tablename__ = "payments"
    __table_args__ = (
        Index("one_living_payment", "service_id", "line_item_id", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )
    # A deleted payment is never found.
    once_condition = {"deleted_at": None}

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    service_id: Mapped[int] = mapped_column(ForeignKey("services.id"))
    line_item: Mapped[str] = mapped_column("line_item_id", String(64))
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0))
    # Revision 0003 added it, so in the table it is the last one.
    currency: Mapped[str] = mapped_column(String(3), server_default="EUR")
    cents: Mapped[Decimal] = mapped_column(Numeric(14, 0), Computed("amount * 100"))
    status: Mapped[Status] = mapped_column(Enum(Status, name="payment_status"), default=Status.PENDING)
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Book(Timestamps, Base):
    """No unique index."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    edition: Mapped[int] = mapped_column(default=1)
    tags: Mapped[list] = mapped_column(JSONB, default=list)
    searched: Mapped[str] = mapped_column(Text, default=func.lower("New"))


class BuildFailure(Timestamps, Base):
    __tablename__ = "build_failures"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    build_id: Mapped[int] = mapped_column(BigInteger)
    repo: Mapped[str] = mapped_column(Text)


class WebhookEvent(Timestamps, Base):
    __tablename__ = "webhook_events"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    payload: Mapped[dict] = mapped_column(JSONB)
    event_id: Mapped[str] = mapped_column(Text, Computed("payload ->> 'id'", persisted=True), unique=True)
