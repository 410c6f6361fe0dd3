"""The outbox: subscriptions, notifications, and their deliveries to callbacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import leases, new_rows, ordering, settlements
from app.store.encryption_keys import SUBSCRIPTIONS
from app.store.engine import inserting
from app.store.leases import Lease
from app.store.new_rows import NewDelivery, NewNotification
from app.store.settlements import Settlement
from app.store.tables import (
    FAILURE_POLICY,
    Account,
    Callback,
    Delivery,
    DeliveryObject,
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
Lock = Literal["share", "update"]
_failure_policy = _accounts.c.settings[FAILURE_POLICY].as_string()


@dataclass(frozen=True)
class Pending:
    """A delivery that is due, with all that its POST needs."""

    delivery_id: int
    subscription_id: int
    notification_id: int
    account_id: int
    attempts: int
    body: bytes
    active: bool
    ordered: bool
    sealed: bytes | None
    queue_failures: bool


_WANTED: tuple[ColumnElement[Any], ...] = (
    _deliveries.c.id,
    _deliveries.c.subscription_id,
    _deliveries.c.notification_id,
    _deliveries.c.account_id,
    _deliveries.c.attempts,
    _notifications.c.body,
    _subscriptions.c.active,
    _subscriptions.c.ordered,
    _subscriptions.c.sealed,
    func.coalesce(_failure_policy == FailurePolicy.QUEUE, false()),
)
_DUE = (
    select(*_WANTED)
    .join(_notifications, _notifications.c.id == _deliveries.c.notification_id)
    .join(_subscriptions, _subscriptions.c.id == _deliveries.c.subscription_id)
    .outerjoin(_accounts, _accounts.c.id == _deliveries.c.account_id)
    .where(_deliveries.c.due_at <= bindparam("now", type_=UtcDateTime))
    .order_by(_deliveries.c.due_at, _deliveries.c.id)
    .limit(bindparam("most", type_=Integer))
)
_PENDING = _DUE.where(_deliveries.c.callback_id == bindparam("callback", type_=BigInteger))
_PENDING_OF = _DUE.where(
    _deliveries.c.callback_id.in_(bindparam("callbacks", type_=BigInteger, expanding=True))
).add_columns(_deliveries.c.callback_id)
_EARLIEST = (
    select(func.min(_deliveries.c.due_at))
    .where(_deliveries.c.callback_id == _callbacks.c.id, _deliveries.c.due_at.is_not(None))
    .correlate(_callbacks)
    .scalar_subquery()
)
_NEXT_TURN = (
    update(_callbacks)
    .where(_callbacks.c.id.in_(bindparam("callbacks", type_=BigInteger, expanding=True)))
    .values(fence=None, leased_until=None, slow=bindparam("was_slow", type_=Boolean), due_at=_EARLIEST)
    .returning(_callbacks.c.id, _callbacks.c.due_at)
)
"""Statements of every turn, built once: building one takes longer than some databases take for it."""


@dataclass(frozen=True)
class Turn:
    """What one lease of a callback brought; `ended` are the subscriptions of which a delivery gave up, with
    the reasons."""

    lease: Lease
    settled: Sequence[Settlement]
    ended: Mapping[int, str]
    slow: bool


async def callback_id(
    connection: AsyncConnection, *, account_id: int, url: str, beside: Collection[int] = ()
) -> int:
    """The callback of this account with this URL, made if it is new. It is locked, and so are those `beside`
    it, which is for whoever changes their deliveries as well."""
    if beside:
        same = and_(_callbacks.c.account_id == account_id, _callbacks.c.url == url)
        await _lock_callbacks(connection, or_(_callbacks.c.id.in_(beside), same))
    new = inserting(connection.dialect.name, _callbacks)
    statement = new.values(account_id=account_id, url=url, slow=False)
    same = statement.on_conflict_do_update(index_elements=["account_id", "url"], set_={"url": url})
    return int((await connection.execute(same.returning(_callbacks.c.id))).scalar_one())


async def subscribe(
    connection: AsyncConnection, *, configured: bool = True, ordered: bool = False, **values: Any
) -> int:
    """Writes a subscription and answers its id."""
    statement = insert(_subscriptions).values(active=True, configured=configured, ordered=ordered, **values)
    done = await connection.execute(statement)
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def hold_callbacks(connection: AsyncConnection, callback_ids: Collection[int]) -> None:
    """Locks callbacks until the end of the transaction: no turn settles deliveries to them meanwhile."""
    await _lock_callbacks(connection, _callbacks.c.id.in_(callback_ids))


async def _lock_callbacks(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    locked = select(_callbacks.c.id).where(which).order_by(_callbacks.c.id)
    await connection.execute(locked.with_for_update())


row_name = SUBSCRIPTIONS.row_name
"""The name that the secrets of a subscription are sealed for."""


async def seal_subscription(connection: AsyncConnection, subscription_id: int, sealed: bytes | None) -> None:
    await connection.execute(
        update(_subscriptions).where(_subscriptions.c.id == subscription_id).values(sealed=sealed)
    )


async def subscriptions_of(
    connection: AsyncConnection, instance_id: int, *, topic: str | None = None, lock: Lock | None = None
) -> list[Subscription]:
    """The subscriptions of an instance, to one topic or to all. With a lock they stay as they are until the
    end: a delivery that is written meanwhile cannot miss their move to another callback."""
    statement = select(_subscriptions).where(_subscriptions.c.instance_id == instance_id)
    statement = statement if topic is None else statement.where(_subscriptions.c.topic == topic)
    if lock:
        statement = statement.with_for_update(read=lock == "share")
    rows = await connection.execute(statement.order_by(_subscriptions.c.id))
    return [Subscription(**row) for row in rows.mappings()]


async def move(
    connection: AsyncConnection, subscription: Subscription, callback_id: int, *, now: datetime
) -> None:
    """Sends what a subscription has not delivered yet, and whatever follows, to another callback. A
    subscription that was deactivated is active again: its owner has named a receiver."""
    await hold_callbacks(connection, {subscription.callback_id, callback_id})
    await connection.execute(
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription.id)
        .values(callback_id=callback_id, active=True, inactive_reason=None)
    )
    queued = _deliveries.c.status == DeliveryStatus.QUEUED
    waiting = and_(_deliveries.c.callback_id == subscription.callback_id, _deliveries.c.due_at.is_not(None))
    held = and_(ordering.WAITING, ordering.about(subscription.id))
    await _make_due(connection, [callback_id], now)
    await connection.execute(
        update(_deliveries)
        .where(_deliveries.c.subscription_id == subscription.id, or_(queued, waiting, held))
        .values(
            callback_id=callback_id,
            status=DeliveryStatus.CREATED,
            attempts=0,
            due_at=now,
            updated_at=now,
        )
    )
    await ordering.hold_back(connection, ordering.about(subscription.id))


async def keep_order(
    connection: AsyncConnection, subscription: Subscription, *, ordered: bool, now: datetime
) -> None:
    """Begins to keep the order of what follows, or ends it and lets go what was held back. The caller holds
    the subscription and its callback."""
    if subscription.ordered == ordered:
        return
    this = _subscriptions.c.id == subscription.id
    await connection.execute(update(_subscriptions).where(this).values(ordered=ordered))
    if not ordered:
        await _make_due(connection, await ordering.forget(connection, subscription.id, now), now)


async def release(connection: AsyncConnection, delivery_ids: Collection[int], *, now: datetime) -> None:
    """Lets go what waited for these deliveries, because they have arrived or were acknowledged.

    It locks their subscriptions and callbacks, so a transaction calls it before it writes to deliveries.
    Deliveries of subscriptions that keep no order change nothing.
    """
    if not delivery_ids or not await ordering.hold_subscriptions(connection, delivery_ids):
        return
    concerned = select(_deliveries.c.callback_id).where(_deliveries.c.id.in_(delivery_ids))
    await _lock_callbacks(connection, _callbacks.c.id.in_(concerned))
    await _let_go(connection, delivery_ids, now)


async def hold_back(connection: AsyncConnection, subscription_id: int) -> None:
    """After deliveries of a subscription were made due: those that an earlier one is in the way of wait on.
    The caller holds the subscription."""
    await ordering.hold_back(connection, ordering.about(subscription_id))


async def _let_go(connection: AsyncConnection, delivery_ids: Collection[int], now: datetime) -> None:
    callback_ids = await ordering.let_go(connection, delivery_ids, now)
    if callback_ids:
        await _make_due(connection, callback_ids, now)


async def deactivate(
    connection: AsyncConnection, subscription: Subscription, reason: str, *, now: datetime
) -> None:
    """Ends the pushing of a subscription, which the caller holds; what it still has to deliver is queued,
    never dropped."""
    await hold_callbacks(connection, [subscription.callback_id])
    await _deactivate(connection, subscription.callback_id, subscription.id, reason, now)


async def append(
    connection: AsyncConnection,
    notifications: Sequence[Notification | NewNotification],
    deliveries: Sequence[Delivery | NewDelivery],
    objects: Sequence[DeliveryObject] = (),
    *,
    now: datetime,
) -> None:
    """Stores notifications with their deliveries and makes the callbacks of these due. `objects` are what
    the deliveries of ordered subscriptions, which the caller holds, are about.

    The callback rows are always written, even where that changes nothing: `finish_turns` locks the same
    row before it looks for what is left, so one of the two always sees the other.
    """
    if not notifications:
        return
    await new_rows.write_notifications(connection, notifications)
    if not deliveries:
        return
    await _make_due(connection, {item.callback_id for item in deliveries if item.due_at}, now)
    await new_rows.write_deliveries(connection, deliveries)
    await ordering.register(connection, objects)


async def _make_due(connection: AsyncConnection, callback_ids: Collection[int], now: datetime) -> None:
    if len(callback_ids) > 1:
        await hold_callbacks(connection, callback_ids)
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
    values = {"callback": callback_id, "most": limit, "now": now}
    return [Pending(*row) for row in await connection.execute(_PENDING, values)]


async def pending_of(
    connection: AsyncConnection, callback_ids: Collection[int], *, limit: int, now: datetime
) -> dict[int, list[Pending]]:
    """All due deliveries of callbacks that the caller holds; nothing when they are `limit` or more, because
    each callback's own are to be asked for then."""
    values = {"callbacks": sorted(callback_ids), "most": limit, "now": now}
    rows = (await connection.execute(_PENDING_OF, values)).all()
    if len(rows) >= limit:
        return {}
    found: dict[int, list[Pending]] = {callback_id: [] for callback_id in callback_ids}
    for *values_of_one, callback_id in rows:
        found[callback_id].append(Pending(*values_of_one))
    return found


async def finish_turn(
    connection: AsyncConnection,
    lease: Lease,
    settled: Sequence[Settlement],
    ended: Mapping[int, str],
    *,
    slow: bool,
    now: datetime,
) -> bool:
    """One turn as in `finish_turns`. False, and nothing written, when the lease was lost."""
    return bool(await finish_turns(connection, [Turn(lease, settled, ended, slow)], now=now))


async def finish_turns(
    connection: AsyncConnection, turns: Sequence[Turn], *, now: datetime
) -> dict[int, datetime | None]:
    """Writes what came of the attempts of turns and lets their callbacks go. Answers when each is due again,
    which is when its next delivery is; of those whose lease was lost nothing is written and nothing
    answered, and another worker sends their deliveries again."""
    arrived = [item.delivery_id for turn in turns for item in turn.settled if item.let_go]
    await _hold(connection, [item for turn in turns for item in turn.ended], arrived)
    held = await leases.lock(connection, Callback, [turn.lease for turn in turns])
    turns = [turn for turn in turns if turn.lease in held]
    if not turns:
        return {}
    gave_up = await settlements.write(connection, {turn.lease.row_id: turn.settled for turn in turns}, now)
    if arrived:
        still = [item.delivery_id for turn in turns for item in turn.settled if item.let_go]
        await _let_go(connection, still, now)
    for turn in turns:
        for subscription_id in turn.ended.keys() & gave_up:
            reason = turn.ended[subscription_id]
            await _deactivate(connection, turn.lease.row_id, subscription_id, reason, now)
    due: dict[int, datetime | None] = {}
    for slow in {turn.slow for turn in turns}:
        callback_ids = [turn.lease.row_id for turn in turns if turn.slow is slow]
        values = {"callbacks": callback_ids, "was_slow": slow}
        due |= {row.id: row.due_at for row in await connection.execute(_NEXT_TURN, values)}
    return due


async def _hold(connection: AsyncConnection, ended: Collection[int], arrived: Collection[int]) -> None:
    """Locks subscriptions that are about to end, and those that keep an order among what has arrived, before
    anything else is (docs/decisions/0010)."""
    if not ended and not arrived:
        return
    concerned = select(_deliveries.c.subscription_id).where(_deliveries.c.id.in_(arrived))
    which = or_(_subscriptions.c.id.in_(ended), _subscriptions.c.id.in_(concerned))
    await connection.execute(
        select(_subscriptions.c.id).where(which).order_by(_subscriptions.c.id).with_for_update()
    )


async def _deactivate(
    connection: AsyncConnection, callback_id: int, subscription_id: int, reason: str, now: datetime
) -> None:
    """Ends the pushing of a subscription, unless it has another callback by now."""
    await connection.execute(
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription_id, _subscriptions.c.callback_id == callback_id)
        .values(active=False, inactive_reason=reason)
    )
    due = _deliveries.c.due_at.is_not(None)
    held = and_(ordering.WAITING, ordering.about(subscription_id))
    for which in (due, held):
        await connection.execute(
            update(_deliveries)
            .where(
                which,
                _deliveries.c.callback_id == callback_id,
                _deliveries.c.subscription_id == subscription_id,
            )
            .values(status=DeliveryStatus.QUEUED, due_at=None, updated_at=now)
        )
