"""From changes to what is stored: events, notifications of at most 10 or 20 of them, deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.hubs.documents import Change
from app.ids import new_id
from app.store.tables import Delivery, DeliveryStatus, Event, Instance, Notification, Subscription, Via
from app.wire import events as rows
from app.wire import notifications

EVENTS_PER_NOTIFICATION = {Via.POLLING: 10, Via.WEBHOOK: 20, Via.GATEWAY: 10}
"""Cloud Elements' limits."""


@dataclass(frozen=True)
class Recipient:
    """The instance that changes belong to, and where its notifications go."""

    instance: Instance
    organization_id: int
    subscriptions: Sequence[Subscription]


@dataclass(frozen=True)
class Origin:
    """Where changes come from: `cursor` is where their page was read behind and `next_cursor` where it ends;
    `raw` is the body that the vendor sent, which every notification repeats in place of the polled rows."""

    via: Via
    resource: str
    page_size: int
    cursor: str | None = None
    next_cursor: str | None = None
    raw: Any = None


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
    recipient: Recipient, changes: Sequence[Change], origin: Origin, *, last: int, now: datetime
) -> Package:
    """Numbers changes from `last` on and cuts them into pages, and these into notifications. Pure but for
    ids."""
    package, size = Package(), EVENTS_PER_NOTIFICATION[origin.via]
    for page in _cut(changes, origin.page_size):
        page_rows = [rows.row(change, raw=True) for change in page]
        for start in range(0, len(page), size):
            part = slice(start, start + size)
            numbered = _events(recipient.instance, page[part], page_rows[part], last, now)
            last = numbered[-1].sequence
            sent = _notification(recipient, origin, page[part], page_rows, numbered, now)
            package.events += numbered
            package.notifications.append(sent)
            package.deliveries += [_delivery(sent, item, now) for item in recipient.subscriptions]
    return package


def _notification(
    recipient: Recipient,
    origin: Origin,
    changes: Sequence[Change],
    page: Sequence[dict[str, Any]],
    numbered: Sequence[Event],
    now: datetime,
) -> Notification:
    first = numbered[0]
    return Notification(
        id=first.notification_id,
        account_id=first.account_id,
        instance_id=first.instance_id,
        topic=notifications.topic(recipient.instance),
        body=notifications.body(
            notification_id=first.notification_id,
            event_id=first.id,
            instance=recipient.instance,
            organization_id=recipient.organization_id,
            changes=[(change, event.sequence) for change, event in zip(changes, numbered, strict=True)],
            raw=origin.raw if origin.via is Via.WEBHOOK else {origin.resource: page},
            resource=origin.resource,
            polled_at=now if origin.via is Via.POLLING else None,
            now=now,
        ),
        resource=origin.resource,
        via=origin.via,
        cursor=origin.cursor,
        next_cursor=origin.next_cursor,
        first_sequence=first.sequence,
        last_sequence=numbered[-1].sequence,
        acknowledged_at=None,
        created_at=now,
    )


def _cut(changes: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(changes), size):
        yield changes[start : start + size]


def _events(
    instance: Instance,
    changes: Sequence[Change],
    page_rows: Sequence[dict[str, Any]],
    last: int,
    now: datetime,
) -> list[Event]:
    notification_id = new_id()
    return [
        Event(
            id=new_id(),
            account_id=instance.account_id,
            instance_id=instance.id,
            notification_id=notification_id,
            sequence=number,
            key=change.event_id,
            event_type=change.event_type,
            object_type=change.object_type,
            object_id=change.object_id,
            change=change.change,
            event_date=change.date,
            created_at=now,
            row=row,
        )
        for number, (change, row) in enumerate(zip(changes, page_rows, strict=True), start=last + 1)
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
