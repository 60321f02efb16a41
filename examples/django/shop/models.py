from django.db import models
from django.db.models.fields.json import KT


class Service(models.Model):
    name = models.CharField(max_length=64)


class Payment(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending"
        PAID = "paid"

    service = models.ForeignKey(Service, on_delete=models.PROTECT)
    line_item_id = models.CharField(max_length=64)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    cents = models.GeneratedField(
        expression=models.F("amount") * 100,
        output_field=models.DecimalField(max_digits=14, decimal_places=0),
        db_persist=True,
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True)

    # Belongs to every key of this model: a deleted payment is never found.
    once_condition = {"deleted_at": None}

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "line_item_id"],
                condition=models.Q(deleted_at__isnull=True),
                name="one_living_payment",
            )
        ]


class Book(models.Model):
    """No unique index."""

    title = models.CharField(max_length=200)
    author = models.CharField(max_length=200)
    edition = models.IntegerField(default=1)
    tags = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)


class BuildFailure(models.Model):
    build_id = models.BigIntegerField()
    repo = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)


class WebhookEvent(models.Model):
    payload = models.JSONField()
    event_id = models.GeneratedField(
        expression=KT("payload__id"), output_field=models.TextField(), db_persist=True, unique=True
    )
    received_at = models.DateTimeField(auto_now_add=True)
