"""From a page of changes to what is stored: events, notifications of at most 10 of them, deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.hubs.documents import Change
from app.ids import new_id
from app.store.tables import Delivery, DeliveryStatus, Event, Instance, Notification, Subscription
from app.wire import events as rows
from app.wire import notifications

EVENTS_PER_NOTIFICATION = 10  # Cloud Elements' limit for polled events


@dataclass(frozen=True)
class Recipient:
    """The instance that changes belong to, and where its notifications go."""

    instance: Instance
    organization_id: int
    subscriptions: Sequence[Subscription]


@dataclass
class Package:
    """Rows that go into the store together."""

    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)


def grant_revoked(instance_id: int, version: int, reason: str | None, now: datetime) -> Change:
    """What an owner is told once when the vendor no longer takes the grant of his account."""
    return Change(
        event_id=f"gateway:grant_revoked:{version}",
        event_type="UNKNOWN",
        object_type="instance",
        object_id=str(instance_id),
        date=now,
        change="grant_revoked",
        raw={"reason": reason},
    )


def pack(
    recipient: Recipient, changes: Sequence[Change], *, resource: str, page_size: int, now: datetime
) -> Package:
    """Cuts changes into polled pages of `page_size` rows, and these into notifications. Pure but for ids."""
    package = Package()
    for page in _cut(changes, page_size):
        page_rows = [rows.row(change, raw=True) for change in page]
        for start in range(0, len(page), EVENTS_PER_NOTIFICATION):
            part = slice(start, start + EVENTS_PER_NOTIFICATION)
            stored = _events(recipient.instance, page[part], page_rows[part], now)
            sent = Notification(
                id=stored[0].notification_id,
                account_id=recipient.instance.account_id,
                instance_id=stored[0].instance_id,
                topic=notifications.topic(recipient.instance),
                body=notifications.body(
                    notification_id=stored[0].notification_id,
                    event_id=stored[0].id,
                    instance=recipient.instance,
                    organization_id=recipient.organization_id,
                    changes=page[part],
                    resource=resource,
                    page=page_rows,
                    polled_at=now,
                ),
                created_at=now,
            )
            package.events += stored
            package.notifications.append(sent)
            package.deliveries += [_delivery(sent, item, now) for item in recipient.subscriptions]
    return package


def _cut(changes: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(changes), size):
        yield changes[start : start + size]


def _events(
    instance: Instance, changes: Sequence[Change], page_rows: Sequence[dict[str, Any]], now: datetime
) -> list[Event]:
    notification_id = new_id()
    return [
        Event(
            id=new_id(),
            account_id=instance.account_id,
            instance_id=instance.id,
            notification_id=notification_id,
            key=change.event_id,
            event_date=change.date,
            created_at=now,
            row=row,
        )
        for change, row in zip(changes, page_rows, strict=True)
    ]


def _delivery(notification: Notification, subscription: Subscription, now: datetime) -> Delivery:
    """Due at once, or queued for its owner where the subscription was deactivated."""
    return Delivery(
        id=new_id(),
        account_id=notification.account_id,
        instance_id=notification.instance_id,
        notification_id=notification.id,
        subscription_id=subscription.id,
        callback_id=subscription.callback_id,
        status=DeliveryStatus.CREATED if subscription.active else DeliveryStatus.QUEUED,
        due_at=now if subscription.active else None,
        last_error=None,
        created_at=now,
        updated_at=now,
    )
