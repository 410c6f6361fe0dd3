"""Pollers, events, and the way of notifications to callbacks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.store.tables.columns import DUE, BigId, Duty, Json, UtcDateTime, only
from app.store.tables.words import ASYNC_RESOURCE

_QUEUED = only("status = 'queued'")
_OF_REQUESTS = only(f"resource = '{ASYNC_RESOURCE}'")
_ENDED = only("ended_at IS NOT NULL")
_PAIRED = only("twin IS NOT NULL")


class Poller(Duty, table=True):
    """The reading of one resource of one instance: where it stands and when it goes on.

    `reading` is what `event.poller.configuration` says of a resource that is read from the surface; without
    it the resource is the vendor's event stream. One that `waits` is held by a worker that lets the vendor
    say when there is something new. After `hinted_at` it is read once more, whoever is reading it now.
    """

    __table_args__ = (
        UniqueConstraint("instance_id", "resource"),
        Index("ix_poller_waits_due_at", "waits", "due_at", **DUE),
    )

    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, foreign_key="instance.id")
    resource: str
    reading: dict[str, Any] | None = Field(None, sa_type=Json)
    waits: bool = False
    page_size: int
    interval_seconds: float
    cursor: str
    polled_at: datetime | None = Field(None, sa_type=UtcDateTime)
    failures: int = 0
    error: str | None = Field(None, sa_type=Text)
    error_at: datetime | None = Field(None, sa_type=UtcDateTime)
    gap_from: datetime | None = Field(None, sa_type=UtcDateTime)
    gap_to: datetime | None = Field(None, sa_type=UtcDateTime)
    hinted_at: datetime | None = Field(None, sa_type=UtcDateTime)


class VendorWebhook(Duty, table=True):
    """The vendor's promise to call the gateway when something changes in an account: made, renewed and ended
    with the instance. `hooks` are the vendor's ids of it; `sealed` is the secret that its calls carry;
    `owner` is the vendor's id of the account's user, by which the oldest form of calls tells whose they
    are; at `hinted_at` a call has woken the pollers last."""

    __tablename__ = "vendor_webhook"
    __table_args__ = (
        Index("ix_vendor_webhook_due_at", "due_at", **DUE),
        Index("ix_vendor_webhook_owner", "owner", **only("owner IS NOT NULL")),
    )

    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, foreign_key="instance.id", unique=True)
    hooks: list[str] = Field(sa_type=Json)
    sealed: bytes | None = Field(None, sa_type=LargeBinary)
    owner: str | None = Field(None, sa_type=Text)
    expires_at: datetime | None = Field(None, sa_type=UtcDateTime)
    failures: int = 0
    error: str | None = Field(None, sa_type=Text)
    error_at: datetime | None = Field(None, sa_type=UtcDateTime)
    received: int = 0
    received_at: datetime | None = Field(None, sa_type=UtcDateTime)
    refused: int = 0
    refused_at: datetime | None = Field(None, sa_type=UtcDateTime)
    hinted_at: datetime | None = Field(None, sa_type=UtcDateTime)


class EventSequence(SQLModel, table=True):
    """The number of the last event of an instance. Whoever stores events holds the row, so that the numbers
    have no gap and rise in the order in which the events can be seen."""

    __tablename__ = "event_sequence"

    instance_id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    last: int = Field(sa_type=BigInteger)


class KnownObject(SQLModel, table=True):
    """What the events of an instance have told of one file or folder: the memory that tells a new version
    from a new file, and knows the id and the path of what is gone.

    `object_key` is type and id in an indexable length; `path_key` begins the path, in bytes, so that
    everything below a folder is one range of it.
    """

    __tablename__ = "known_object"
    __table_args__ = (
        Index("ix_known_object_instance_id_path_key", "instance_id", "path_key"),
        Index("ix_known_object_seen_at", "seen_at"),
    )

    instance_id: int = Field(sa_type=BigId, primary_key=True)
    object_key: str = Field(primary_key=True)
    account_id: int = Field(sa_type=BigId)
    object_type: str
    object_id: str = Field(sa_type=Text)
    path: str | None = Field(None, sa_type=Text)
    path_key: bytes | None = Field(None, sa_type=LargeBinary)
    parent_object_id: str | None = Field(None, sa_type=Text)
    sequence: int | None = Field(None, sa_type=BigInteger)
    deleted_at: datetime | None = Field(None, sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)


class Event(SQLModel, table=True):
    """One change at the vendor. `key` is the vendor's own id of it; `row` is what the events API answers;
    `sequence` counts the events of its instance without a gap. `object_sequence` is the vendor's own number
    of the object's changes; `twin` is the key under which the change came in another way as well."""

    __table_args__ = (
        UniqueConstraint("instance_id", "key"),
        UniqueConstraint("instance_id", "sequence"),
        Index("ix_event_account_id_id_instance_id", "account_id", "id", "instance_id"),
        Index("ix_event_instance_id_event_date", "instance_id", "event_date"),
        Index("ix_event_instance_id_twin", "instance_id", "twin", **_PAIRED),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    notification_id: int = Field(sa_type=BigId)
    sequence: int = Field(sa_type=BigInteger)
    key: str
    event_type: str
    object_type: str
    object_id: str = Field(sa_type=Text)
    change: str
    object_sequence: int | None = Field(None, sa_type=BigInteger)
    twin: str | None = None
    event_date: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    row: dict[str, Any] = Field(sa_type=Json)


class Callback(Duty, table=True):
    """One URL of one account that notifications go to. It is the unit of leasing, so that a receiver has
    one worker at a time, its own share of connections, and nobody waits for its time-outs."""

    __table_args__ = (
        UniqueConstraint("account_id", "url"),
        Index("ix_callback_slow_due_at", "slow", "due_at", **DUE),
    )

    account_id: int = Field(sa_type=BigId)
    url: str = Field(sa_type=Text)
    slow: bool = False


class Subscription(SQLModel, table=True):
    """Where an instance's notifications go: what its configuration names (`configured`), or what was added
    with `POST /notifications/subscriptions`. `sealed` holds the secrets that its calls carry. Where its URL
    was named with a user, `shown_url` is that URL with the password covered."""

    __table_args__ = (
        Index("ix_subscription_account_id_id", "account_id", "id"),
        Index("ix_subscription_instance_id_topic", "instance_id", "topic"),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    callback_id: int = Field(sa_type=BigId, foreign_key="callback.id", index=True)
    topic: str
    active: bool
    inactive_reason: str | None = None
    configured: bool = True
    ordered: bool = False
    sealed: bytes | None = Field(None, sa_type=LargeBinary)
    shown_url: str | None = Field(None, sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Notification(SQLModel, table=True):
    """A body of up to 10 polled events, or 20 that the vendor sent, exactly as it is signed and sent; and
    where it comes from: the vendor's page behind `cursor`, which `next_cursor` goes on behind."""

    __table_args__ = (
        Index("ix_notification_instance_id_id", "instance_id", "id"),
        Index("ix_notification_instance_id_id_async", "instance_id", "id", **_OF_REQUESTS),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    topic: str
    body: bytes = Field(sa_type=LargeBinary)
    resource: str
    via: str
    cursor: str | None = Field(None, sa_type=Text)
    next_cursor: str | None = Field(None, sa_type=Text)
    first_sequence: int | None = Field(None, sa_type=BigInteger)
    last_sequence: int | None = Field(None, sa_type=BigInteger)
    acknowledged_at: datetime | None = Field(None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Delivery(SQLModel, table=True):
    """One notification on its way to one subscription."""

    __table_args__ = (
        Index("ix_delivery_callback_id_due_at", "callback_id", "due_at", **DUE),
        Index("ix_delivery_subscription_id_notification_id", "subscription_id", "notification_id", **_QUEUED),
        Index("ix_delivery_notification_id", "notification_id"),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    notification_id: int = Field(sa_type=BigId)
    subscription_id: int = Field(sa_type=BigId)
    callback_id: int = Field(sa_type=BigId)
    status: str
    attempts: int = 0
    due_at: datetime | None = Field(None, sa_type=UtcDateTime)
    last_status: int | None = None
    last_error: str | None = Field(None, sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class Attempt(SQLModel, table=True):
    """One POST of a delivery, and what came of it: a status, or why there is none. `answer` is the beginning
    of what the receiver said."""

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    delivery_id: int = Field(sa_type=BigId, index=True)
    number: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    took_ms: int
    status: int | None = None
    error: str | None = Field(None, sa_type=Text)
    answer: str | None = Field(None, sa_type=Text)


class DeliveryObject(SQLModel, table=True):
    """Which objects a delivery of an ordered subscription is about, until it is delivered. `position` is the
    number of its first event: a delivery may leave when none of its objects has a row before its own."""

    __tablename__ = "delivery_object"

    subscription_id: int = Field(sa_type=BigId, primary_key=True)
    object_key: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger, primary_key=True)
    delivery_id: int = Field(sa_type=BigId, index=True)
    account_id: int = Field(sa_type=BigId)


class AsyncRequest(Duty, table=True):
    """A request that a client does not wait for: what it asked, and the subscription that is told when it has
    been done. It `may_be_done` by an earlier run whose end nobody knows."""

    __tablename__ = "async_request"
    __table_args__ = (
        Index("ix_async_request_due_at", "due_at", **DUE),
        Index("ix_async_request_ended_at", "ended_at", **_ENDED),
    )

    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, foreign_key="instance.id")
    subscription_id: int = Field(sa_type=BigId, foreign_key="subscription.id", index=True)
    method: str
    target: str = Field(sa_type=Text)
    body: bytes | None = Field(None, sa_type=LargeBinary)
    attempts: int = 0
    may_be_done: bool = False
    answer_status: int | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(None, sa_type=UtcDateTime)


class Pruning(Duty, table=True):
    """The one row of whoever forgets what is old: behind which notification he goes on, and when he began at
    the oldest."""

    place: int = Field(0, sa_type=BigInteger)
    began_at: datetime | None = Field(None, sa_type=UtcDateTime)
