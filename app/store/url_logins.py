"""Users and passwords that were named in the URLs of callbacks; older versions have left them there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Callback, Delivery, DeliveryStatus, Subscription, table

_callbacks, _subscriptions, _deliveries = table(Callback), table(Subscription), table(Delivery)


async def show(connection: AsyncConnection, subscription_id: int, shown_url: str | None) -> None:
    """Notes how the URL of a subscription is shown, where a user was named in it."""
    await connection.execute(
        update(_subscriptions).where(_subscriptions.c.id == subscription_id).values(shown_url=shown_url)
    )


async def of_instance(connection: AsyncConnection, instance_id: int) -> list[tuple[Subscription, str]]:
    """The subscriptions of an instance whose callbacks may have a user in their URL, and these, as older
    versions have written them. Nobody else changes them until the end of the transaction."""
    statement = (
        select(_subscriptions, _callbacks.c.url)
        .join(_callbacks, _callbacks.c.id == _subscriptions.c.callback_id)
        .where(_subscriptions.c.instance_id == instance_id, _callbacks.c.url.like("%@%"))
        .order_by(_subscriptions.c.id)
    )
    rows = (await connection.execute(statement.with_for_update(of=_subscriptions))).mappings()
    found = [dict(row) for row in rows]
    urls = [row.pop("url") for row in found]
    return [(Subscription(**row), url) for row, url in zip(found, urls, strict=True)]


async def carry_over(
    connection: AsyncConnection,
    subscription: Subscription,
    callback_id: int,
    *,
    shown_url: str | None,
    now: datetime,
) -> None:
    """Lets a subscription have another callback, which leads to the same receiver, with everything that it
    has not delivered, as that is. The caller holds both callbacks."""
    open_ones = [DeliveryStatus.CREATED, DeliveryStatus.RETRY, DeliveryStatus.QUEUED]
    due_later = or_(_callbacks.c.due_at.is_(None), _callbacks.c.due_at > now)
    for statement in (
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription.id)
        .values(callback_id=callback_id, shown_url=shown_url),
        update(_deliveries)
        .where(_deliveries.c.subscription_id == subscription.id, _deliveries.c.status.in_(open_ones))
        .values(callback_id=callback_id),
        update(_callbacks).where(_callbacks.c.id == callback_id, due_later).values(due_at=now),
    ):
        await connection.execute(statement)


async def cover(connection: AsyncConnection, callback_id: int, shown_url: str) -> None:
    """Leaves of a callback's URL what may be shown, once nothing goes there any more: the log names it. Where
    the account has one like it, that is enough."""
    other = _callbacks.alias("other")
    unused = (
        _callbacks.c.id == callback_id,
        ~exists().where(_subscriptions.c.callback_id == callback_id),
        ~exists().where(_deliveries.c.callback_id == callback_id, _deliveries.c.due_at.is_not(None)),
    )
    same = exists().where(other.c.account_id == _callbacks.c.account_id, other.c.url == shown_url)
    await connection.execute(update(_callbacks).where(*unused, ~same).values(url=shown_url))
    await connection.execute(delete(_callbacks).where(*unused, _callbacks.c.url != shown_url))
