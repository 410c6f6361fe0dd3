"""Rows of the outbox before they are written: their columns and nothing else, for pages of hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.batches import Batch
from app.store.tables import Delivery, Notification, table

_notifications, _deliveries = table(Notification), table(Delivery)


class NewNotification(NamedTuple):
    """A row of `notification`."""

    id: int
    account_id: int
    instance_id: int
    topic: str
    body: bytes
    resource: str
    via: str
    cursor: str | None
    next_cursor: str | None
    first_sequence: int | None
    last_sequence: int | None
    acknowledged_at: datetime | None
    created_at: datetime


class NewDelivery(NamedTuple):
    """A row of `delivery`."""

    id: int
    account_id: int
    instance_id: int
    notification_id: int
    subscription_id: int
    callback_id: int
    status: str
    attempts: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


_new_notifications = Batch(
    [_notifications.c[name] for name in NewNotification._fields], lambda _: insert(_notifications)
)
_new_deliveries = Batch([_deliveries.c[name] for name in NewDelivery._fields], lambda _: insert(_deliveries))
_notification_row, _delivery_row = attrgetter(*NewNotification._fields), attrgetter(*NewDelivery._fields)


async def write_notifications(
    connection: AsyncConnection, notifications: Sequence[NewNotification | Notification]
) -> None:
    """Stores notifications in one batch."""
    await _new_notifications.write(connection, map(_notification_row, notifications))


async def write_deliveries(connection: AsyncConnection, deliveries: Sequence[NewDelivery | Delivery]) -> None:
    """Stores deliveries in one batch."""
    await _new_deliveries.write(connection, map(_delivery_row, deliveries))
