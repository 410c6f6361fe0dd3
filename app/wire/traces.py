"""The trace of one event, from the vendor's page to every attempt to deliver it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from app import configuration
from app.event_log import EventStatus, Traced
from app.store.event_log import Way
from app.store.tables import Attempt, Event, Notification, Subscription
from app.wire import dates


class PageBody(BaseModel):
    """How an event came in. `cursor` is where the vendor's page was read behind, `nextCursor` its end."""

    via: str
    resource: str
    cursor: str | None = None
    nextCursor: str | None = None
    readDate: str


class TracedEventBody(BaseModel):
    """The event as it was stored: `row` is that of the events resource, with the vendor's own body as
    `raw`."""

    id: str
    elementInstanceId: int
    sequence: int
    status: str
    createdDate: str
    row: dict[str, Any]


class TracedNotificationBody(BaseModel):
    """The notification that tells of the event, and the ids of all events in it."""

    id: str
    topic: str
    createdDate: str
    acknowledgedDate: str | None = None
    events: list[str]


class AttemptBody(BaseModel):
    """One POST. `error` says why there is no status; `answer` is how the receiver's answer begins."""

    number: int
    startedDate: str
    tookMs: int
    status: int | None = None
    error: str | None = None
    answer: str | None = None


class TracedSubscriptionBody(BaseModel):
    """Where a delivery goes to."""

    id: int
    url: str
    active: bool | None = None


class TracedDeliveryBody(BaseModel):
    """The notification on its way to one subscription."""

    id: str
    subscription: TracedSubscriptionBody
    status: str
    dueDate: str | None = None
    updatedDate: str
    attempts: list[AttemptBody]


class TraceBody(BaseModel):
    """One event, from the vendor's page to every attempt to deliver it."""

    page: PageBody | None = None
    event: TracedEventBody
    notification: TracedNotificationBody | None = None
    deliveries: list[TracedDeliveryBody]


def trace(found: Traced) -> TraceBody:
    return TraceBody(
        page=_page(found.notification) if found.notification else None,
        event=_traced_event(found.event, found.status),
        notification=_traced_notification(found.notification, found.together) if found.notification else None,
        deliveries=[_traced_delivery(way, subscription) for way, subscription in found.ways],
    )


def _page(notification: Notification) -> PageBody:
    return PageBody(
        via=notification.via,
        resource=notification.resource,
        cursor=notification.cursor,
        nextCursor=notification.next_cursor,
        readDate=dates.milliseconds(notification.created_at),
    )


def _traced_event(event: Event, status: EventStatus) -> TracedEventBody:
    return TracedEventBody(
        id=str(event.id),
        elementInstanceId=event.instance_id,
        sequence=event.sequence,
        status=status,
        createdDate=dates.milliseconds(event.created_at),
        row=event.row,
    )


def _traced_notification(notification: Notification, events: Sequence[Event]) -> TracedNotificationBody:
    acknowledged = notification.acknowledged_at
    return TracedNotificationBody(
        id=str(notification.id),
        topic=notification.topic,
        createdDate=dates.milliseconds(notification.created_at),
        acknowledgedDate=dates.milliseconds(acknowledged) if acknowledged else None,
        events=[str(event.id) for event in events],
    )


def _traced_delivery(way: Way, subscription: Subscription | None) -> TracedDeliveryBody:
    delivery = way.delivery
    return TracedDeliveryBody(
        id=str(delivery.id),
        subscription=TracedSubscriptionBody(
            id=delivery.subscription_id,
            url=configuration.without_password(way.url),
            active=subscription.active if subscription else None,
        ),
        status=delivery.status,
        dueDate=dates.milliseconds(delivery.due_at) if delivery.due_at else None,
        updatedDate=dates.milliseconds(delivery.updated_at),
        attempts=[_attempt(item) for item in way.attempts],
    )


def _attempt(attempt: Attempt) -> AttemptBody:
    return AttemptBody(
        number=attempt.number,
        startedDate=dates.milliseconds(attempt.started_at),
        tookMs=attempt.took_ms,
        status=attempt.status,
        error=attempt.error,
        answer=attempt.answer,
    )
