"""What may be forgotten: old rows, a few at a time, and never one that somebody still waits for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import first_id_at
from app.store.tables import (
    AsyncRequest,
    Attempt,
    Delivery,
    DeliveryObject,
    DeliveryStatus,
    Event,
    KnownObject,
    Notification,
    table,
)

_notifications, _deliveries, _events = table(Notification), table(Delivery), table(Event)
_attempts, _objects, _requests = table(Attempt), table(DeliveryObject), table(AsyncRequest)
_known = table(KnownObject)

_OVER = (DeliveryStatus.DELIVERED, DeliveryStatus.NOTIFIED)


@dataclass(frozen=True)
class Window:
    """A few notifications by their ids. `last` is where the next ones begin, None at the end."""

    last: int | None
    deleted: int


async def forget_notifications(
    connection: AsyncConnection,
    *,
    after: int,
    limit: int,
    before: datetime,
    unclaimed_before: datetime | None,
) -> Window:
    """Looks at the next `limit` notifications from before a time, and deletes those that have been taken,
    with their events and deliveries; without a taker only those from before `unclaimed_before`. What has a
    delivery that is not over stays, and so does what somebody else holds just now."""
    ids = await _window(connection, after, limit, before)
    if not ids:
        return Window(None, 0)
    asked = select(_notifications).where(_notifications.c.id.in_(ids), _is_over(before, unclaimed_before))
    found = (await connection.execute(asked.with_for_update(of=_notifications, skip_locked=True))).all()
    deliveries = await _held(connection, [row.id for row in found])
    over = [row for row in found if row.id in deliveries]
    await _delete(connection, over, [item for row in over for item in deliveries[row.id]])
    return Window(ids[-1] if len(ids) == limit else None, len(over))


async def _window(connection: AsyncConnection, after: int, limit: int, before: datetime) -> Sequence[int]:
    """Ids rise with time, so the primary key is the index of what is old."""
    statement = (
        select(_notifications.c.id)
        .where(_notifications.c.id > after, _notifications.c.id < first_id_at(before))
        .order_by(_notifications.c.id)
        .limit(limit)
    )
    return (await connection.scalars(statement)).all()


def _is_over(before: datetime, unclaimed_before: datetime | None) -> ColumnElement[bool]:
    """Old, without a delivery on its way, and taken: delivered, fetched or acknowledged."""
    own = _deliveries.c.notification_id == _notifications.c.id
    created_at = _notifications.c.created_at
    taken = or_(
        _notifications.c.acknowledged_at.is_not(None),
        exists().where(own),
        created_at < unclaimed_before if unclaimed_before else false(),
    )
    return and_(created_at < before, ~exists().where(own, _deliveries.c.status.not_in(_OVER)), taken)


async def _held(connection: AsyncConnection, notification_ids: Collection[int]) -> dict[int, list[int]]:
    """Locks the deliveries of these notifications and answers them, for the notifications of which all are
    over and none is held by somebody else: he may be about to send it again."""
    own = _deliveries.c.notification_id.in_(notification_ids)
    locked = await connection.execute(
        select(_deliveries.c.notification_id, _deliveries.c.id)
        .where(own, _deliveries.c.status.in_(_OVER))
        .with_for_update(skip_locked=True)
    )
    found: dict[int, list[int]] = {notification_id: [] for notification_id in notification_ids}
    for notification_id, delivery_id in locked:
        found[notification_id].append(delivery_id)
    totals = await connection.execute(
        select(_deliveries.c.notification_id, func.count()).where(own).group_by(_deliveries.c.notification_id)
    )
    for notification_id, total in totals:
        if total != len(found[notification_id]):
            del found[notification_id]
    return found


async def _delete(connection: AsyncConnection, over: Sequence[Any], delivery_ids: Collection[int]) -> None:
    if not over:
        return
    await connection.execute(delete(_objects).where(_objects.c.delivery_id.in_(delivery_ids)))
    await connection.execute(delete(_attempts).where(_attempts.c.delivery_id.in_(delivery_ids)))
    await connection.execute(delete(_deliveries).where(_deliveries.c.id.in_(delivery_ids)))
    spans = [
        {"instance": row.instance_id, "first": row.first_sequence, "last": row.last_sequence, "of": row.id}
        for row in over
        if row.first_sequence is not None
    ]
    if spans:
        await connection.execute(
            delete(_events).where(
                _events.c.instance_id == bindparam("instance"),
                _events.c.sequence.between(bindparam("first"), bindparam("last")),
                _events.c.notification_id == bindparam("of"),
            ),
            spans,
        )
    await connection.execute(delete(_notifications).where(_notifications.c.id.in_([row.id for row in over])))


async def forget_requests(connection: AsyncConnection, *, limit: int, before: datetime) -> int:
    """Deletes at most `limit` async requests that ended before a time, the oldest first."""
    return await _forget(connection, _requests, [_requests.c.id], _requests.c.ended_at, limit, before)


async def forget_objects(connection: AsyncConnection, *, limit: int, before: datetime) -> int:
    """Deletes at most `limit` known objects that no event has been about since a time."""
    keys = [_known.c.instance_id, _known.c.object_key]
    return await _forget(connection, _known, keys, _known.c.seen_at, limit, before)


async def _forget(
    connection: AsyncConnection,
    rows: Any,
    keys: Sequence[Column[Any]],
    time: Any,
    limit: int,
    before: datetime,
) -> int:
    old = select(*keys).where(time < before).order_by(time).limit(limit)
    picked = old.with_for_update(skip_locked=True).cte("old")
    chosen = tuple_(*keys).in_(select(*picked.c)) if len(keys) > 1 else keys[0].in_(select(*picked.c))
    gone = await connection.execute(delete(rows).where(chosen).returning(*keys))
    return len(gone.all())
