"""What may be forgotten: old rows, a few at a time, and never one that somebody still waits for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import first_id_at
from app.store import leases
from app.store.leases import Lease, lease_of
from app.store.tables import (
    AsyncRequest,
    Attempt,
    Callback,
    Delivery,
    DeliveryObject,
    DeliveryStatus,
    Event,
    KnownObject,
    Notification,
    Pruning,
    Subscription,
    table,
)

_notifications, _deliveries, _events = table(Notification), table(Delivery), table(Event)
_attempts, _objects, _requests = table(Attempt), table(DeliveryObject), table(AsyncRequest)
_known, _callbacks, _subscriptions = table(KnownObject), table(Callback), table(Subscription)

_OVER = (DeliveryStatus.DELIVERED, DeliveryStatus.NOTIFIED)


@dataclass(frozen=True)
class Window:
    """A few notifications by their ids. `last` is where the next ones begin; `is_last` says that they are
    too young yet."""

    last: int
    deleted: int
    is_last: bool


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
        return Window(after, 0, is_last=True)
    asked = select(_notifications).where(_notifications.c.id.in_(ids), _is_over(before, unclaimed_before))
    found = (await connection.execute(asked.with_for_update(of=_notifications, skip_locked=True))).all()
    deliveries = await _held(connection, [row.id for row in found])
    over = [row for row in found if row.id in deliveries]
    await _delete(connection, over, [item for row in over for item in deliveries[row.id]])
    return Window(ids[-1], len(over), is_last=len(ids) < limit)


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


async def begin(
    connection: AsyncConnection, *, now: datetime, lease: timedelta, anew_before: datetime
) -> Pruning | None:
    """Takes the work for as long as `lease`, where it was left; at the oldest, when it was begun there before
    `anew_before`. None when it is not due, or somebody else does it."""
    rows = await leases.claim(connection, Pruning, limit=1, now=now, lease=lease)
    if not rows:
        return None
    found = Pruning(**rows[0])
    if found.began_at is None or found.began_at < anew_before:
        found.place, found.began_at = 0, now
        await leases.keep(connection, Pruning, lease_of(found), place=0, began_at=now)
    return found


async def go_on(connection: AsyncConnection, lease: Lease, *, place: int, until: datetime) -> bool:
    """Notes how far the work has come and holds it on. False when it was lost to somebody else."""
    return await leases.keep(connection, Pruning, lease, place=place, leased_until=until)


async def rest(connection: AsyncConnection, lease: Lease, *, due_at: datetime) -> None:
    """Lets the work go until it is due again."""
    await leases.settle(connection, Pruning, lease, due_at=due_at)


async def forget_requests(connection: AsyncConnection, *, limit: int, before: datetime) -> int:
    """Deletes at most `limit` async requests that ended before a time, the oldest first, with the
    subscriptions that were made for them and have nothing to tell any more. Answers how many requests."""
    keys = [_requests.c.id, _requests.c.subscription_id]
    gone = await _forget(connection, _requests, keys[:1], _requests.c.ended_at, limit, before, keys)
    if gone:
        await _end(connection, sorted({row.subscription_id for row in gone}))
    return len(gone)


async def _end(connection: AsyncConnection, subscription_ids: Sequence[int]) -> None:
    """Deletes those of these subscriptions to the answers of requests that nothing refers to any more, and
    their callbacks if nobody else has them. What somebody holds stays."""
    of_requests = _subscriptions.c.topic.like("%-async")
    chosen = select(_subscriptions.c.id).where(_subscriptions.c.id.in_(subscription_ids), of_requests)
    held = (await connection.scalars(chosen.with_for_update(skip_locked=True))).all()
    own = _deliveries.c.subscription_id == _subscriptions.c.id
    same_callback = _deliveries.c.callback_id == _subscriptions.c.callback_id
    gone = delete(_subscriptions).where(
        _subscriptions.c.id.in_(held),
        ~exists().where(_requests.c.subscription_id == _subscriptions.c.id),
        ~exists().where(own, _deliveries.c.status == literal_column(f"'{DeliveryStatus.QUEUED}'")),
        ~exists().where(own, same_callback, _deliveries.c.due_at.is_not(None)),
    )
    callback_ids = (await connection.scalars(gone.returning(_subscriptions.c.callback_id))).all()
    await _drop_callbacks(connection, callback_ids)


async def _drop_callbacks(connection: AsyncConnection, callback_ids: Sequence[int]) -> None:
    """They are held before it is looked who has them: whoever subscribes writes to the callback first."""
    chosen = select(_callbacks.c.id).where(_callbacks.c.id.in_(callback_ids))
    held = (await connection.scalars(chosen.with_for_update(skip_locked=True))).all()
    await connection.execute(
        delete(_callbacks).where(
            _callbacks.c.id.in_(held),
            ~exists().where(_subscriptions.c.callback_id == _callbacks.c.id),
            ~exists().where(_deliveries.c.callback_id == _callbacks.c.id, _deliveries.c.due_at.is_not(None)),
        )
    )


async def forget_objects(connection: AsyncConnection, *, limit: int, before: datetime) -> int:
    """Deletes at most `limit` known objects that no event has been about since a time."""
    keys = [_known.c.instance_id, _known.c.object_key]
    return len(await _forget(connection, _known, keys, _known.c.seen_at, limit, before, keys))


async def _forget(
    connection: AsyncConnection,
    rows: Any,
    keys: Sequence[Column[Any]],
    time: Any,
    limit: int,
    before: datetime,
    answered: Sequence[Column[Any]],
) -> Sequence[Any]:
    old = select(*keys).where(time < before).order_by(time).limit(limit)
    picked = old.with_for_update(skip_locked=True).cte("old")
    chosen = tuple_(*keys).in_(select(*picked.c)) if len(keys) > 1 else keys[0].in_(select(*picked.c))
    gone = await connection.execute(delete(rows).where(chosen).returning(*answered))
    return gone.all()
