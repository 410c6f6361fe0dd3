"""Notifications as their owner pulls them, his subscriptions, and what he has sent to them once more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.entries import object_key
from app.store import async_requests, outbox
from app.store.tables import (
    ASYNC_RESOURCE,
    NO_CALLBACK,
    Attempt,
    Callback,
    Delivery,
    DeliveryObject,
    DeliveryStatus,
    Event,
    Instance,
    Notification,
    Subscription,
    table,
)

_notifications, _deliveries, _events = table(Notification), table(Delivery), table(Event)
_subscriptions, _callbacks, _instances = table(Subscription), table(Callback), table(Instance)
_attempts, _objects = table(Attempt), table(DeliveryObject)

_OPEN = _deliveries.c.status.in_([DeliveryStatus.CREATED, DeliveryStatus.RETRY, DeliveryStatus.QUEUED])
# Written out: as a parameter no planner would know that the partial index has it.
_OF_REQUESTS = _notifications.c.resource == literal_column(f"'{ASYNC_RESOURCE}'")
_OVER = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.NOTIFIED})
_TOLD = and_(
    _events.c.notification_id == _notifications.c.id,
    _events.c.instance_id == _notifications.c.instance_id,
    _events.c.sequence.between(_notifications.c.first_sequence, _notifications.c.last_sequence),
)
_QUEUED = _deliveries.c.status == literal_column(f"'{DeliveryStatus.QUEUED}'")


@dataclass(frozen=True)
class Subscribed:
    """A subscription and the URL of its callback as it was named; only older versions have left a password in
    it."""

    subscription: Subscription
    url: str


async def reporters(
    connection: AsyncConnection, account_id: int, instance_ids: Collection[int]
) -> list[Instance]:
    """Those of these instances that the account has or once had."""
    which = _instances.c.id.in_(instance_ids), _instances.c.account_id == account_id
    rows = await connection.execute(select(_instances).where(*which))
    return [Instance(**row) for row in rows.mappings()]


async def find(
    connection: AsyncConnection, instance_id: int, topic: str, *, requests: bool, below: int, limit: int
) -> list[tuple[int, int]]:
    """At most `limit` ids of notifications of a topic below this one, the newest first, with the sizes of
    their bodies. The topic of an instance's `requests` is rare, and has an index of its own."""
    statement = select(_notifications.c.id, func.length(_notifications.c.body)).where(
        _notifications.c.instance_id == instance_id,
        _notifications.c.id < below,
        _notifications.c.topic == topic,
    )
    if requests:
        statement = statement.where(_OF_REQUESTS)
    rows = await connection.execute(statement.order_by(_notifications.c.id.desc()).limit(limit))
    return [(row[0], row[1]) for row in rows]


async def some(connection: AsyncConnection, ids: Collection[int]) -> list[Notification]:
    """The notifications with these ids, the newest first."""
    statement = select(_notifications).where(_notifications.c.id.in_(ids))
    rows = await connection.execute(statement.order_by(_notifications.c.id.desc()))
    return [Notification(**row) for row in rows.mappings()]


async def one(connection: AsyncConnection, account_id: int, notification_id: int) -> Notification | None:
    """The notification with this id, if the account has it."""
    statement = select(_notifications).where(
        _notifications.c.id == notification_id, _notifications.c.account_id == account_id
    )
    row = (await connection.execute(statement)).mappings().first()
    return Notification(**row) if row else None


async def acknowledge(connection: AsyncConnection, notification_id: int, *, now: datetime) -> None:
    """Its owner has it: what is not delivered of it is notified, and what waited for that may leave."""
    rows = await connection.execute(
        select(_deliveries.c.id, _deliveries.c.subscription_id, _deliveries.c.callback_id).where(
            _deliveries.c.notification_id == notification_id
        )
    )
    found = rows.all()
    await _lock(connection, _subscriptions.c.id, {row.subscription_id for row in found})
    await _lock(connection, _callbacks.c.id, {row.callback_id for row in found})
    await outbox.release(connection, [row.id for row in found], now=now)
    await connection.execute(
        update(_deliveries)
        .where(_deliveries.c.notification_id == notification_id, _OPEN)
        .values(status=DeliveryStatus.NOTIFIED, due_at=None, updated_at=now)
    )
    await connection.execute(
        update(_notifications)
        .where(_notifications.c.id == notification_id, _notifications.c.acknowledged_at.is_(None))
        .values(acknowledged_at=now)
    )


async def subscriptions(
    connection: AsyncConnection, account_id: int, *, after_id: int = 0, offset: int = 0, limit: int
) -> list[Subscribed]:
    """At most `limit` subscriptions of an account's living instances with an id above `after_id`, by id."""
    statement = _subscribed(account_id, living=True).where(_subscriptions.c.id > after_id)
    rows = await connection.execute(statement.order_by(_subscriptions.c.id).offset(offset).limit(limit))
    return [_pair(dict(row)) for row in rows.mappings()]


async def delivering(
    connection: AsyncConnection, account_id: int, *, queued: bool, after_id: int, limit: int
) -> list[Subscribed]:
    """At most `limit` subscriptions with an id above `after_id`, by id, that can have deliveries, or that do
    have `queued` ones; those of deleted instances too."""
    of_instance = select(_notifications.c.id).where(
        _notifications.c.instance_id == _subscriptions.c.instance_id
    )
    of_itself = select(_deliveries.c.id).where(_deliveries.c.subscription_id == _subscriptions.c.id, _QUEUED)
    statement = (
        _subscribed(account_id, living=False)
        .where(_subscriptions.c.id > after_id, (of_itself if queued else of_instance).exists())
        .order_by(_subscriptions.c.id)
        .limit(limit)
    )
    return [_pair(dict(row)) for row in (await connection.execute(statement)).mappings()]


async def given_up(connection: AsyncConnection, account_id: int) -> list[Subscribed]:
    """The subscriptions of living instances that send nothing any more, but for those without a callback."""
    gone = _subscriptions.c.inactive_reason.is_distinct_from(NO_CALLBACK)
    statement = _subscribed(account_id, living=True).where(_subscriptions.c.active.is_(False), gone)
    rows = await connection.execute(statement.order_by(_subscriptions.c.id))
    return [_pair(dict(row)) for row in rows.mappings()]


async def count_subscriptions(connection: AsyncConnection, account_id: int) -> int:
    """How many subscriptions of living instances an account has."""
    counted = select(func.count()).select_from(_subscribed(account_id, living=True).subquery())
    return await connection.scalar(counted) or 0


async def subscription(
    connection: AsyncConnection, account_id: int, subscription_id: int, *, living: bool = True
) -> Subscribed | None:
    """The subscription with this id, if the account has it."""
    statement = _subscribed(account_id, living=living).where(_subscriptions.c.id == subscription_id)
    row = (await connection.execute(statement)).mappings().first()
    return _pair(dict(row)) if row else None


async def end(connection: AsyncConnection, subscription_id: int, *, now: datetime) -> None:
    """Lets a subscription send nothing more; what it still has to deliver is queued."""
    statement = select(_subscriptions).where(_subscriptions.c.id == subscription_id).with_for_update()
    row = (await connection.execute(statement)).mappings().first()
    if row:
        await outbox.deactivate(connection, Subscription(**row), "the subscription is being deleted", now=now)


async def drop_queued(connection: AsyncConnection, subscription_id: int, *, limit: int) -> int:
    """Deletes at most `limit` queued deliveries of a subscription with all that is known of them, and answers
    how many there were."""
    statement = (
        select(_deliveries.c.id)
        .where(_queued(subscription_id))
        .order_by(_deliveries.c.notification_id)
        .limit(limit)
    )
    found = (await connection.scalars(statement.with_for_update())).all()
    await connection.execute(delete(_deliveries).where(_deliveries.c.id.in_(found)))
    await connection.execute(delete(_objects).where(_objects.c.delivery_id.in_(found)))
    await connection.execute(delete(_attempts).where(_attempts.c.delivery_id.in_(found)))
    return len(found)


async def remove(connection: AsyncConnection, subscription_id: int, *, limit: int, now: datetime) -> bool:
    """Deletes a subscription that was ended. False when over `limit` deliveries of it are queued again. It is
    ended once more, because its owner may have sent something again meanwhile."""
    await end(connection, subscription_id, now=now)
    if await drop_queued(connection, subscription_id, limit=limit) == limit:
        return False
    await connection.execute(delete(_objects).where(_objects.c.subscription_id == subscription_id))
    await async_requests.forget(connection, subscription_id)
    await connection.execute(delete(_subscriptions).where(_subscriptions.c.id == subscription_id))
    return True


async def deliveries(
    connection: AsyncConnection, account_id: int, notification_id: int, subscription_id: int
) -> list[Delivery]:
    """The deliveries of a notification to a subscription."""
    statement = select(_deliveries).where(
        _deliveries.c.notification_id == notification_id,
        _deliveries.c.subscription_id == subscription_id,
        _deliveries.c.account_id == account_id,
    )
    rows = await connection.execute(statement.order_by(_deliveries.c.id))
    return [Delivery(**row) for row in rows.mappings()]


async def queued(
    connection: AsyncConnection, subscription: Subscription, *, after: int, until: int, limit: int
) -> tuple[list[Delivery], int | None]:
    """At most `limit` queued deliveries of a subscription, of the notifications above `after` up to `until`
    in their order; and behind which notification to go on, if there may be more."""
    statement = select(_deliveries).where(
        _queued(subscription.id),
        _deliveries.c.notification_id > after,
        _deliveries.c.notification_id <= until,
    )
    rows = await connection.execute(statement.order_by(_deliveries.c.notification_id).limit(limit))
    found = [Delivery(**row) for row in rows.mappings()]
    return found, found[-1].notification_id if len(found) == limit else None


async def of_any_status(
    connection: AsyncConnection, subscription: Subscription, *, after: int, until: int, limit: int
) -> tuple[list[Delivery], int | None]:
    """The deliveries of the next `limit` notifications of the subscription's instance; otherwise as
    `queued`."""
    notified = select(_notifications.c.id).where(
        _notifications.c.instance_id == subscription.instance_id,
        _notifications.c.id > after,
        _notifications.c.id <= until,
    )
    ids = (await connection.scalars(notified.order_by(_notifications.c.id).limit(limit))).all()
    statement = select(_deliveries).where(
        _deliveries.c.notification_id.in_(ids), _deliveries.c.subscription_id == subscription.id
    )
    rows = await connection.execute(statement.order_by(_deliveries.c.notification_id))
    return [Delivery(**row) for row in rows.mappings()], ids[-1] if len(ids) == limit else None


async def event_types(connection: AsyncConnection, notification_ids: Collection[int]) -> dict[int, set[str]]:
    """Which types of events these notifications tell of."""
    rows = await connection.execute(
        select(_notifications.c.id, _events.c.event_type)
        .distinct()
        .join(_events, _TOLD)
        .where(_notifications.c.id.in_(set(notification_ids)))
    )
    found: dict[int, set[str]] = {}
    for notification_id, event_type in rows:
        found.setdefault(notification_id, set()).add(event_type)
    return found


async def redeliver(
    connection: AsyncConnection, subscription_id: int, chosen: Sequence[Delivery], *, now: datetime
) -> int:
    """Sends deliveries of one subscription once more, from the first attempt on, to the callback that it has
    now, and activates it; answers how many. What has another status than was seen stays as it is, and so does
    all of a subscription whose owner has removed its callback."""
    statement = select(_subscriptions).where(_subscriptions.c.id == subscription_id)
    to = (await connection.execute(statement.with_for_update())).first()
    if to is None or to.inactive_reason == NO_CALLBACK:
        return 0
    await _lock(connection, _callbacks.c.id, {to.callback_id, *(item.callback_id for item in chosen)})
    await connection.execute(
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription_id, _subscriptions.c.active.is_(False))
        .values(active=True, inactive_reason=None)
    )
    await connection.execute(update(_callbacks).where(_callbacks.c.id == to.callback_id).values(due_at=now))
    sent: list[int] = []
    for status in sorted({item.status for item in chosen}):
        ids = [item.id for item in chosen if item.status == status]
        again = await _send_again(connection, ids, status, to.callback_id, now)
        if to.ordered and status in _OVER:
            await _order_again(connection, again)
        sent += again
    await outbox.hold_back(connection, subscription_id)
    return len(sent)


async def _send_again(
    connection: AsyncConnection, ids: Sequence[int], status: str, callback_id: int, now: datetime
) -> Sequence[int]:
    done = await connection.scalars(
        update(_deliveries)
        .where(_deliveries.c.id.in_(ids), _deliveries.c.status == status)
        .values(
            status=DeliveryStatus.CREATED,
            attempts=0,
            last_status=None,
            last_error=None,
            due_at=now,
            callback_id=callback_id,
            updated_at=now,
        )
        .returning(_deliveries.c.id)
    )
    return done.all()


async def _order_again(connection: AsyncConnection, delivery_ids: Sequence[int]) -> None:
    """Writes what these deliveries are about as their intake did; it was forgotten when they arrived. The
    order of events that are kept no longer is not known."""
    rows = await connection.execute(
        select(_deliveries, _notifications.c.first_sequence, _events.c.object_type, _events.c.object_id)
        .join(_notifications, _notifications.c.id == _deliveries.c.notification_id)
        .join(_events, _TOLD)
        .where(_deliveries.c.id.in_(delivery_ids))
    )
    found = {
        (row.id, object_key(row.object_type, row.object_id)): {
            "subscription_id": row.subscription_id,
            "position": row.first_sequence,
            "account_id": row.account_id,
        }
        for row in rows
    }
    if found:
        values = [{"delivery_id": id_, "object_key": key} | row for (id_, key), row in found.items()]
        await connection.execute(insert(_objects), values)


async def _lock(connection: AsyncConnection, column: ColumnElement[int], ids: Collection[int]) -> None:
    await connection.execute(select(column).where(column.in_(ids)).order_by(column).with_for_update())


def _queued(subscription_id: int) -> ColumnElement[bool]:
    return and_(_deliveries.c.subscription_id == subscription_id, _QUEUED)


def _subscribed(account_id: int, *, living: bool) -> Select[Any]:
    statement = (
        select(_subscriptions, func.coalesce(_subscriptions.c.shown_url, _callbacks.c.url).label("url"))
        .join(_callbacks, _callbacks.c.id == _subscriptions.c.callback_id)
        .join(_instances, _instances.c.id == _subscriptions.c.instance_id)
        .where(_subscriptions.c.account_id == account_id)
    )
    return statement.where(_instances.c.deleted_at.is_(None)) if living else statement


def _pair(row: dict[str, Any]) -> Subscribed:
    url = row.pop("url")
    return Subscribed(Subscription(**row), url)
