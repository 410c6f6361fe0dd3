"""The outbox: subscriptions, notifications, and their deliveries to callbacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import and_, bindparam, case, false, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import leases
from app.store.leases import Lease
from app.store.tables import (
    FAILURE_POLICY,
    Account,
    Callback,
    Delivery,
    DeliveryStatus,
    FailurePolicy,
    Notification,
    Subscription,
    UtcDateTime,
    table,
)

_callbacks, _subscriptions = table(Callback), table(Subscription)
_notifications, _deliveries = table(Notification), table(Delivery)
_accounts = table(Account)
_failure_policy = _accounts.c.settings[FAILURE_POLICY].as_string()


@dataclass(frozen=True)
class Pending:
    """A delivery that is due, with all that its POST needs."""

    delivery_id: int
    subscription_id: int
    notification_id: int
    attempts: int
    body: bytes
    active: bool
    sealed: bytes | None
    queue_failures: bool


@dataclass(frozen=True)
class Settlement:
    """What came of one attempt. Without `due_at` the delivery is over: delivered, or queued for its owner."""

    delivery_id: int
    status: DeliveryStatus
    attempts: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None


async def callback_id(connection: AsyncConnection, *, account_id: int, url: str) -> int:
    """The callback of this account with this URL, made if it is new."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_callbacks).values(account_id=account_id, url=url, slow=False)
    same = statement.on_conflict_do_update(index_elements=["account_id", "url"], set_={"url": url})
    return int((await connection.execute(same.returning(_callbacks.c.id))).scalar_one())


async def subscribe(
    connection: AsyncConnection, *, configured: bool = True, ordered: bool = False, **values: Any
) -> int:
    """Writes a subscription and answers its id."""
    statement = insert(_subscriptions).values(active=True, configured=configured, ordered=ordered, **values)
    done = await connection.execute(statement)
    return int(done.inserted_primary_key[0])  # type: ignore[index]


def row_name(subscription_id: int) -> str:
    """The name that the sealed key of a subscription is bound to."""
    return f"subscription/{subscription_id}"


async def seal_subscription(connection: AsyncConnection, subscription_id: int, sealed: bytes | None) -> None:
    await connection.execute(
        update(_subscriptions).where(_subscriptions.c.id == subscription_id).values(sealed=sealed)
    )


async def subscriptions_of(
    connection: AsyncConnection, instance_id: int, *, lock: Literal["share", "update"] | None = None
) -> list[Subscription]:
    """The subscriptions of an instance. With a lock they stay as they are until the end of the transaction:
    a delivery that is written meanwhile can then not miss their move to another callback."""
    statement = select(_subscriptions).where(_subscriptions.c.instance_id == instance_id)
    if lock:
        statement = statement.with_for_update(read=lock == "share")
    rows = await connection.execute(statement.order_by(_subscriptions.c.id))
    return [Subscription(**row) for row in rows.mappings()]


async def move(
    connection: AsyncConnection, subscription: Subscription, callback_id: int, *, now: datetime
) -> None:
    """Sends what a subscription has not delivered yet, and whatever follows, to another callback. A
    subscription that was deactivated is active again: its owner has named a receiver."""
    await connection.execute(
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription.id)
        .values(callback_id=callback_id, active=True, inactive_reason=None)
    )
    queued = _deliveries.c.status == DeliveryStatus.QUEUED
    waiting = and_(_deliveries.c.callback_id == subscription.callback_id, _deliveries.c.due_at.is_not(None))
    await _make_due(connection, [callback_id], now)
    await connection.execute(
        update(_deliveries)
        .where(_deliveries.c.subscription_id == subscription.id, or_(queued, waiting))
        .values(
            callback_id=callback_id,
            status=DeliveryStatus.CREATED,
            attempts=0,
            due_at=now,
            updated_at=now,
        )
    )


async def deactivate(
    connection: AsyncConnection, subscription: Subscription, reason: str, *, now: datetime
) -> None:
    """Ends the pushing of a subscription; what it still has to deliver is queued, never dropped."""
    await _deactivate(connection, subscription.callback_id, subscription.id, reason, now)


async def append(
    connection: AsyncConnection,
    notifications: Sequence[Notification],
    deliveries: Sequence[Delivery],
    *,
    now: datetime,
) -> None:
    """Stores notifications with their deliveries and makes the callbacks of these due.

    The callback rows are always written, even where that changes nothing: `finish_turn` locks the same
    row before it looks for what is left, so one of the two always sees the other.
    """
    if not notifications:
        return
    await connection.execute(insert(_notifications), [item.model_dump() for item in notifications])
    if not deliveries:
        return
    await connection.execute(insert(_deliveries), [item.model_dump() for item in deliveries])
    await _make_due(connection, {item.callback_id for item in deliveries if item.due_at}, now)


async def _make_due(connection: AsyncConnection, callback_ids: Collection[int], now: datetime) -> None:
    sooner = or_(_callbacks.c.due_at.is_(None), _callbacks.c.due_at > now)
    await connection.execute(
        update(_callbacks)
        .where(_callbacks.c.id.in_(callback_ids))
        .values(due_at=case((sooner, bindparam("now", now, UtcDateTime)), else_=_callbacks.c.due_at))
    )


async def claim_callbacks(
    connection: AsyncConnection, *, limit: int, slow_limit: int, now: datetime, lease: timedelta
) -> list[Callback]:
    """Takes at most `limit` callbacks with due deliveries, at most `slow_limit` of them such that were slow
    or failing the last time: they cannot take all the places of the healthy ones."""
    rows = await leases.claim(
        connection, Callback, limit=limit, now=now, lease=lease, where=[_callbacks.c.slow.is_(False)]
    )
    rest = min(limit - len(rows), slow_limit)
    if rest > 0:
        rows += await leases.claim(
            connection, Callback, limit=rest, now=now, lease=lease, where=[_callbacks.c.slow.is_(True)]
        )
    return [Callback(**row) for row in rows]


async def pending(
    connection: AsyncConnection, callback_id: int, *, limit: int, now: datetime
) -> list[Pending]:
    """At most `limit` due deliveries of a callback that the caller holds, the longest due first."""
    statement = (
        select(
            _deliveries.c.id,
            _deliveries.c.subscription_id,
            _deliveries.c.notification_id,
            _deliveries.c.attempts,
            _notifications.c.body,
            _subscriptions.c.active,
            _subscriptions.c.sealed,
            func.coalesce(_failure_policy == FailurePolicy.QUEUE, false()),
        )
        .join(_notifications, _notifications.c.id == _deliveries.c.notification_id)
        .join(_subscriptions, _subscriptions.c.id == _deliveries.c.subscription_id)
        .outerjoin(_accounts, _accounts.c.id == _deliveries.c.account_id)
        .where(_deliveries.c.callback_id == callback_id, _deliveries.c.due_at <= now)
        .order_by(_deliveries.c.due_at, _deliveries.c.id)
        .limit(limit)
    )
    return [Pending(*row) for row in await connection.execute(statement)]


async def finish_turn(
    connection: AsyncConnection,
    lease: Lease,
    settlements: Sequence[Settlement],
    ended: Mapping[int, str],
    *,
    slow: bool,
    now: datetime,
) -> bool:
    """Writes what came of a turn's attempts and lets the callback go; it is due when its next delivery is.

    `ended` are the subscriptions to deactivate, with the reasons. False, and nothing written, when the
    lease was lost: another worker sends these deliveries again.
    """
    await _hold(connection, ended)
    if not await leases.settle(connection, Callback, lease, slow=slow):
        return False
    await _write_settlements(connection, lease.row_id, settlements, now)
    for subscription_id, reason in ended.items():
        await _deactivate(connection, lease.row_id, subscription_id, reason, now)
    earliest = (
        select(func.min(_deliveries.c.due_at))
        .where(_deliveries.c.callback_id == lease.row_id, _deliveries.c.due_at.is_not(None))
        .scalar_subquery()
    )
    await connection.execute(
        update(_callbacks).where(_callbacks.c.id == lease.row_id).values(due_at=earliest)
    )
    return True


async def _hold(connection: AsyncConnection, subscription_ids: Collection[int]) -> None:
    """Locks subscriptions that are about to end, before anything else is (docs/decisions/0010)."""
    if subscription_ids:
        which = _subscriptions.c.id.in_(subscription_ids)
        await connection.execute(
            select(_subscriptions.c.id).where(which).order_by(_subscriptions.c.id).with_for_update()
        )


async def _write_settlements(
    connection: AsyncConnection, callback_id: int, settlements: Sequence[Settlement], now: datetime
) -> None:
    """A delivery that was moved to another callback meanwhile is that one's, unless it has arrived."""
    if not settlements:
        return
    still_ours = _deliveries.c.callback_id == callback_id
    statement = (
        update(_deliveries)
        .where(
            _deliveries.c.id == bindparam("delivery_id"),
            or_(still_ours, bindparam("to_status") == DeliveryStatus.DELIVERED),
        )
        .values(
            status=bindparam("to_status"),
            attempts=bindparam("made"),
            due_at=bindparam("next_due_at"),
            last_status=bindparam("answered"),
            last_error=bindparam("failed"),
            updated_at=now,
        )
    )
    rows = [
        {
            "delivery_id": item.delivery_id,
            "to_status": item.status,
            "made": item.attempts,
            "next_due_at": item.due_at,
            "answered": item.last_status,
            "failed": item.last_error,
        }
        for item in settlements
    ]
    await connection.execute(statement, rows)


async def _deactivate(
    connection: AsyncConnection, callback_id: int, subscription_id: int, reason: str, now: datetime
) -> None:
    """Ends the pushing of a subscription, unless it has another callback by now."""
    await connection.execute(
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription_id, _subscriptions.c.callback_id == callback_id)
        .values(active=False, inactive_reason=reason)
    )
    await connection.execute(
        update(_deliveries)
        .where(
            _deliveries.c.callback_id == callback_id,
            _deliveries.c.due_at.is_not(None),
            _deliveries.c.subscription_id == subscription_id,
        )
        .values(status=DeliveryStatus.QUEUED, due_at=None, updated_at=now)
    )
