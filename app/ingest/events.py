"""From changes to what is stored: events, notifications of at most 10 or 20 of them, deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.hubs.documents import Change
from app.ids import new_id
from app.store.events import NewEvent
from app.store.new_rows import NewDelivery, NewNotification
from app.store.tables import DeliveryStatus, Instance, Subscription, Via
from app.wire import events as rows
from app.wire import notifications

EVENTS_PER_NOTIFICATION = {Via.POLLING: 10, Via.WEBHOOK: 20, Via.GATEWAY: 10}
"""Cloud Elements' limits."""

RAW_ROWS, RAW_BYTES = 100, 256 * 1024
"""Of polled rows in one page: every notification repeats all rows of its page."""


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

    events: list[NewEvent] = field(default_factory=list)
    notifications: list[NewNotification] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)


def grant_revoked(instance_id: int, version: int, reason: str | None, now: datetime) -> Change:
    """What an owner is told once when the vendor no longer takes the grant of his account."""
    return _of_instance(instance_id, "grant_revoked", str(version), now, {"reason": reason})


def gap(instance_id: int, resource: str, *, since: datetime | None, until: datetime) -> Change:
    """What an owner is told when the vendor no longer had the events between these times."""
    lost = {"from": since.isoformat() if since else None, "to": until.isoformat()}
    return _of_instance(instance_id, "gap", f"{resource}:{until.isoformat()}", until, lost)


def _of_instance(instance_id: int, change: str, key: str, date: datetime, raw: Mapping[str, Any]) -> Change:
    """What the gateway itself tells of an instance, once for each `key`."""
    return Change(
        event_id=f"gateway:{change}:{key}",
        event_type="UNKNOWN",
        object_type="instance",
        object_id=str(instance_id),
        date=date,
        change=change,
        raw=raw,
    )


def pack(
    recipient: Recipient, changes: Sequence[Change], origin: Origin, *, last: int, now: datetime
) -> Package:
    """Numbers changes from `last` on and cuts them into pages, and these into notifications. Each row is
    serialised once, for its event and for the bodies. Pure but for ids."""
    package, size = Package(), EVENTS_PER_NOTIFICATION[origin.via]
    for page, texts in _cut(changes, min(origin.page_size, RAW_ROWS)):
        raw = origin.raw if origin.via is Via.WEBHOOK else {origin.resource: notifications.listed(texts)}
        for start in range(0, len(page), size):
            part = slice(start, start + size)
            numbered = _events(recipient.instance, page[part], texts[part], last, now)
            last = numbered[-1].sequence
            sent = _notification(recipient, origin, page[part], raw, numbered, now)
            package.events += numbered
            package.notifications.append(sent)
            package.deliveries += [delivery(sent, item, now) for item in recipient.subscriptions]
    return package


def _notification(
    recipient: Recipient,
    origin: Origin,
    changes: Sequence[Change],
    raw: Any,
    numbered: Sequence[NewEvent],
    now: datetime,
) -> NewNotification:
    first = numbered[0]
    return NewNotification(
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
            raw=raw,
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


def _cut(changes: Sequence[Change], size: int) -> Iterator[tuple[list[Change], list[bytes]]]:
    """Pages with their rows as texts; the row that is larger than a page is one by itself."""
    page, texts, length = list[Change](), list[bytes](), 0
    for change in changes:
        text = rows.text(change)
        if page and (len(page) == size or length + len(text) > RAW_BYTES):
            yield page, texts
            page, texts, length = [], [], 0
        page.append(change)
        texts.append(text)
        length += len(text)
    if page:
        yield page, texts


def _events(
    instance: Instance, changes: Sequence[Change], texts: Sequence[bytes], last: int, now: datetime
) -> list[NewEvent]:
    notification_id = new_id()
    return [
        NewEvent(
            new_id(),
            instance.account_id,
            instance.id,
            notification_id,
            number,
            change.event_id,
            change.event_type,
            change.object_type,
            change.object_id,
            change.change,
            change.sequence,
            None,
            change.date,
            now,
            text.decode(),
        )
        for number, change, text in zip(range(last + 1, last + 1 + len(changes)), changes, texts, strict=True)
    ]


def delivery(notification: NewNotification, subscription: Subscription, now: datetime) -> NewDelivery:
    """Due at once, or queued for its owner where the subscription was deactivated."""
    return NewDelivery(
        id=new_id(),
        account_id=notification.account_id,
        instance_id=notification.instance_id,
        notification_id=notification.id,
        subscription_id=subscription.id,
        callback_id=subscription.callback_id,
        status=DeliveryStatus.CREATED if subscription.active else DeliveryStatus.QUEUED,
        attempts=0,
        due_at=now if subscription.active else None,
        last_status=None,
        last_error=None,
        created_at=now,
        updated_at=now,
    )
