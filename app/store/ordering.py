"""Which deliveries of ordered subscriptions may leave: none whose objects an earlier one is still about.

Whoever calls this holds the rows of the subscriptions, so that what is stored, delivered, moved and ended
meanwhile is seen by the one after it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Delivery, DeliveryObject, DeliveryStatus, Subscription, table

_deliveries, _objects = table(Delivery), table(DeliveryObject)
_subscriptions = table(Subscription)
_own, _other = _objects.alias("own"), _objects.alias("other")

WAITING = or_(_deliveries.c.status == DeliveryStatus.CREATED, _deliveries.c.status == DeliveryStatus.RETRY)
"""Deliveries that leave by themselves, at their time or when they are let go."""

_same_object = and_(
    _other.c.subscription_id == _own.c.subscription_id, _other.c.object_key == _own.c.object_key
)
_has_earlier = exists(
    select(_own.c.delivery_id)
    .join(_other, and_(_same_object, _other.c.position < _own.c.position))
    .where(_own.c.delivery_id == _deliveries.c.id)
)


async def hold_subscriptions(connection: AsyncConnection, delivery_ids: Collection[int]) -> list[int]:
    """Locks the subscriptions that keep an order among these deliveries, and answers their ids."""
    concerned = select(_objects.c.subscription_id).where(_objects.c.delivery_id.in_(delivery_ids))
    locked = select(_subscriptions.c.id).where(_subscriptions.c.id.in_(concerned))
    found = await connection.scalars(locked.order_by(_subscriptions.c.id).with_for_update())
    return list(found)


async def register(connection: AsyncConnection, objects: Sequence[DeliveryObject]) -> None:
    """Writes what new deliveries are about, and holds back those that an earlier one is in the way of."""
    if objects:
        await connection.execute(insert(_objects), [item.model_dump() for item in objects])
        await hold_back(connection, _deliveries.c.id.in_({item.delivery_id for item in objects}))


async def hold_back(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    """Takes the due time of those among `which` deliveries that have to wait for an earlier one."""
    await connection.execute(
        update(_deliveries)
        .where(which, _deliveries.c.due_at.is_not(None), _has_earlier)
        .values(status=DeliveryStatus.CREATED, due_at=None)
    )


async def let_go(connection: AsyncConnection, delivery_ids: Collection[int], now: datetime) -> set[int]:
    """Forgets what these deliveries are about and makes due what waited for them only. Answers the callbacks
    that have something due by it."""
    next_one = (
        select(_other.c.delivery_id)
        .where(_same_object, _other.c.position > _own.c.position)
        .order_by(_other.c.position)
        .limit(1)
        .correlate(_own)
        .scalar_subquery()
    )
    behind = await connection.scalars(select(next_one).where(_own.c.delivery_id.in_(delivery_ids)))
    followers = {item for item in behind if item is not None}
    await connection.execute(delete(_objects).where(_objects.c.delivery_id.in_(delivery_ids)))
    return await _make_due(connection, followers, now)


async def forget(connection: AsyncConnection, subscription_id: int, now: datetime) -> set[int]:
    """Ends the order of a subscription: whatever waited for another delivery is due. Answers callbacks."""
    held = (about(subscription_id), _deliveries.c.due_at.is_(None), WAITING)
    freed = update(_deliveries).where(*held).values(due_at=now).returning(_deliveries.c.callback_id)
    callback_ids = set(await connection.scalars(freed))
    await connection.execute(delete(_objects).where(_objects.c.subscription_id == subscription_id))
    return callback_ids


async def _make_due(connection: AsyncConnection, delivery_ids: Collection[int], now: datetime) -> set[int]:
    if not delivery_ids:
        return set()
    freed = (
        update(_deliveries)
        .where(_deliveries.c.id.in_(delivery_ids), _deliveries.c.due_at.is_(None), WAITING, ~_has_earlier)
        .values(due_at=now)
    )
    return set(await connection.scalars(freed.returning(_deliveries.c.callback_id)))


def about(subscription_id: int) -> ColumnElement[bool]:
    """The condition that a delivery is one of those among which this subscription keeps an order."""
    mine = select(_objects.c.delivery_id).where(_objects.c.subscription_id == subscription_id)
    found: ColumnElement[bool] = _deliveries.c.id.in_(mine)
    return found
