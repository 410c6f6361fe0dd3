"""Requests that a client does not wait for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import leases
from app.store.leases import Lease
from app.store.tables import AsyncRequest, Callback, Subscription, table

_requests, _subscriptions, _callbacks = table(AsyncRequest), table(Subscription), table(Callback)


async def add(connection: AsyncConnection, *, now: datetime, **values: Any) -> int:
    """Writes a request that is due at once, and answers its id."""
    done = await connection.execute(
        insert(_requests).values(attempts=0, may_be_done=False, created_at=now, due_at=now, **values)
    )
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def claim_due(
    connection: AsyncConnection, *, limit: int, now: datetime, lease: timedelta
) -> list[AsyncRequest]:
    """Takes at most `limit` due requests for as long as `lease`; see `leases.claim`."""
    rows = await leases.claim(connection, AsyncRequest, limit=limit, now=now, lease=lease)
    return [AsyncRequest(**row) for row in rows]


async def begin(connection: AsyncConnection, lease: Lease, *, attempts: int) -> bool:
    """Notes that a request is being run, so that a crash is known by it. False when the lease was lost."""
    return await leases.keep(connection, AsyncRequest, lease, attempts=attempts, may_be_done=True)


async def postpone(connection: AsyncConnection, lease: Lease, *, due_at: datetime, **values: Any) -> bool:
    """Lets a request go until it is run again, and writes `values`."""
    return await leases.settle(connection, AsyncRequest, lease, due_at=due_at, **values)


async def end(connection: AsyncConnection, lease: Lease, *, status: int, now: datetime) -> bool:
    """Writes what a request was answered with; it is not run again. False when the lease was lost."""
    return await leases.settle(
        connection, AsyncRequest, lease, due_at=None, answer_status=status, ended_at=now
    )


async def is_awaited(connection: AsyncConnection, subscription_id: int) -> bool:
    """Whether a subscription is going to be told of a request."""
    mine = _requests.c.subscription_id == subscription_id
    return bool(await connection.scalar(select(exists().where(mine, _requests.c.ended_at.is_(None)))))


async def forget(connection: AsyncConnection, subscription_id: int) -> None:
    """Deletes the requests that have ended and that a subscription was told of."""
    mine = _requests.c.subscription_id == subscription_id
    await connection.execute(delete(_requests).where(mine, _requests.c.ended_at.is_not(None)))


async def count_subscriptions(connection: AsyncConnection, instance_id: int, topic: str) -> int:
    """How many subscriptions an instance has to this topic."""
    which = _subscriptions.c.instance_id == instance_id, _subscriptions.c.topic == topic
    return await connection.scalar(select(func.count()).select_from(_subscriptions).where(*which)) or 0


async def subscription_of(connection: AsyncConnection, subscription_id: int) -> Subscription | None:
    """The subscription that is told of a request; it stays as it is until the end of the transaction."""
    statement = select(_subscriptions).where(_subscriptions.c.id == subscription_id)
    row = (await connection.execute(statement.with_for_update(read=True))).mappings().first()
    return Subscription(**row) if row else None


async def subscription_for(
    connection: AsyncConnection, instance_id: int, topic: str, url: str, shown_url: str | None = None
) -> Subscription | None:
    """The subscription of an instance to this topic with this URL, named with the same user or with none, an
    added one before the configured one; nobody else changes it until the end of the transaction."""
    statement = (
        select(_subscriptions)
        .join(_callbacks, _callbacks.c.id == _subscriptions.c.callback_id)
        .where(
            _subscriptions.c.instance_id == instance_id,
            _subscriptions.c.topic == topic,
            _callbacks.c.url == url,
            _subscriptions.c.shown_url == shown_url,
        )
        .order_by(_subscriptions.c.configured, _subscriptions.c.id)
        .limit(1)
        .with_for_update(of=_subscriptions)
    )
    row = (await connection.execute(statement)).mappings().first()
    return Subscription(**row) if row else None
