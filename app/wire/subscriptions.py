"""Notifications, subscriptions and deliveries as `/notifications` takes and answers them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from app import ceql, configuration
from app.delivery.notifications import Sent
from app.store.notifications import Subscribed
from app.store.tables import DeliveryStatus, Notification, Subscription
from app.wire import dates
from app.wire.events import EVENT_TYPES
from app.wire.lenient import LenientBody

_TOPIC = "instance-427236-box-events"

DELIVERY_FIELDS = frozenset(
    {
        "channel",
        "status",
        "config.url",
        "instanceId",
        "subscriptionId",
        "notificationId",
        "eventType",
        "createdDate",
    }
)
"""What a `where` can ask of a delivery."""

SPELLINGS = {
    "channel": ceql.one_of(["webhook"]),
    "status": ceql.one_of([status.value for status in DeliveryStatus]),
    "config.url": configuration.without_password,
    "instanceId": ceql.a_number,
    "subscriptionId": ceql.a_number,
    "notificationId": ceql.a_number,
    "eventType": ceql.one_of(EVENT_TYPES),
    "createdDate": ceql.a_time,
}
"""How the values in a `where` are written: an URL as it is shown."""


class NotificationBody(BaseModel):
    """A notification as it was sent, and when its owner has acknowledged it. Bodies of another form, such as
    the answer of an async request, are its `message`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "2839477190262785",
                "severity": "low",
                "createdDate": "2026-01-05T10:00:12Z",
                "topic": _TOPIC,
                "action": "notify",
                "user": "1",
                "acknowledged": False,
                "message": {"elementKey": "box", "instanceId": 427236, "events": []},
            }
        }
    )

    id: str
    severity: str
    createdDate: str
    topic: str
    action: str
    user: str | None = None
    acknowledged: bool
    acknowledgedDate: str | None = None
    message: dict[str, Any]


class SubscriptionConfig(LenientBody):
    """Where notifications are POSTed, and the key that signs them."""

    url: Annotated[str, Field(min_length=1, max_length=5000)]
    signatureKey: Annotated[str, Field(max_length=1000)] | None = None


class SubscriptionOrder(LenientBody):
    """The body of `POST /notifications/subscriptions`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "channel": "webhook",
                "topics": [_TOPIC],
                "config": {"url": "https://example.com/callback", "signatureKey": "a-long-random-text"},
            }
        },
    )

    channel: Literal["webhook"] = "webhook"
    active: bool = True
    topics: Annotated[list[Annotated[str, Field(max_length=300)]], Field(min_length=1, max_length=1)]
    config: SubscriptionConfig

    @field_validator("active")
    @classmethod
    def _at_once(cls, active: bool) -> bool:
        if not active:
            raise PydanticCustomError("active", "cannot be false: what is made here sends from now on")
        return active


class SubscriptionConfigBody(BaseModel):
    """Where notifications are POSTed; the key, and what else its calls prove themselves with, is covered."""

    url: str
    signatureKey: str | None = None


class SubscriptionBody(BaseModel):
    """Where an instance's notifications go. What is `configured` follows the instance's configuration. One
    that is not `active` was given up, `inactiveReason` says why: its deliveries are queued."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 12,
                "channel": "webhook",
                "topics": [_TOPIC],
                "config": {"url": "https://example.com/callback"},
                "active": True,
                "instanceId": 427236,
                "configured": True,
                "ordered": False,
                "createdDate": "2026-01-05T10:00:00Z",
            }
        }
    )

    id: int
    channel: str
    topics: list[str]
    config: SubscriptionConfigBody
    active: bool
    inactiveReason: str | None = None
    instanceId: int
    configured: bool
    ordered: bool
    createdDate: str


class DeliveryBody(BaseModel):
    """A notification on its way to a subscription: `created` and `retry` are sent at `dueDate`, or when what
    came before has arrived; `queued` waits for its owner, who has acknowledged what is `notified`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "2839477190262786",
                "notificationId": "2839477190262785",
                "subscriptionId": 12,
                "status": "queued",
                "attempts": 9,
                "lastStatus": 502,
                "createdDate": "2026-01-05T10:00:12Z",
                "updatedDate": "2026-01-08T11:10:02Z",
            }
        }
    )

    id: str
    notificationId: str
    subscriptionId: int
    status: str
    attempts: int
    dueDate: str | None = None
    lastStatus: int | None = None
    lastError: str | None = None
    createdDate: str
    updatedDate: str
    notification: NotificationBody | None = None
    subscription: SubscriptionBody | None = None


class RedeliveredBody(BaseModel):
    """How many deliveries are sent once more."""

    model_config = ConfigDict(json_schema_extra={"example": {"redelivered": 17}})

    redelivered: int


def notification(found: Notification) -> NotificationBody:
    acknowledged, sent = found.acknowledged_at, orjson.loads(found.body)
    if "message" not in sent:
        sent = {"severity": "low", "action": "notify", "user": None, "message": sent}
    return NotificationBody(
        id=str(found.id),
        severity=sent["severity"],
        createdDate=dates.seconds(found.created_at),
        topic=found.topic,
        action=sent["action"],
        user=sent["user"],
        message=sent["message"],
        acknowledged=acknowledged is not None,
        acknowledgedDate=dates.seconds(acknowledged) if acknowledged else None,
    )


def subscription(found: Subscribed) -> SubscriptionBody:
    row: Subscription = found.subscription
    return SubscriptionBody(
        id=row.id,
        channel="webhook",
        topics=[row.topic],
        config=SubscriptionConfigBody(
            url=configuration.without_password(found.url),
            signatureKey=configuration.MASK if row.sealed else None,
        ),
        active=row.active,
        inactiveReason=row.inactive_reason,
        instanceId=row.instance_id,
        configured=row.configured,
        ordered=row.ordered,
        createdDate=dates.seconds(row.created_at),
    )


def delivery(
    sent: Sent,
    notification: NotificationBody | None = None,
    subscription: SubscriptionBody | None = None,
) -> DeliveryBody:
    row = sent.delivery
    return DeliveryBody(
        id=str(row.id),
        notificationId=str(row.notification_id),
        subscriptionId=row.subscription_id,
        status=row.status,
        attempts=row.attempts,
        dueDate=dates.seconds(row.due_at) if row.due_at else None,
        lastStatus=row.last_status,
        lastError=row.last_error,
        createdDate=dates.seconds(row.created_at),
        updatedDate=dates.seconds(row.updated_at),
        notification=notification,
        subscription=subscription,
    )
