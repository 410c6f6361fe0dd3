"""The event log: what the instances of an account have reported, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import COUNTER_BITS, EPOCH_MS, LARGEST_ID, SLACK, first_id_at
from app.store.tables import Attempt, Callback, Delivery, Event, Notification, Subscription, table

_events, _notifications, _deliveries = table(Event), table(Notification), table(Delivery)
_callbacks, _attempts, _subscriptions = table(Callback), table(Attempt), table(Subscription)

_FORGOTTEN = "a URL that is forgotten"
"""Of a callback that was made for async requests, which ended long ago."""

SCANNED = 10_000
"""Rows that a page with filters looks at. Measured on SQLite: 20,000 take 0.15 s, wherever they lie."""


@dataclass(frozen=True)
class Wanted:
    """Which events of an account are looked for: those of one instance or of all, that were stored from
    `since` on and before `until`, with these values."""

    account_id: int
    instance_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    event_type: str | None = None
    object_type: str | None = None
    object_id: str | None = None

    def position(self, event: Event) -> int:
        """What the events are ordered by: their numbers within an instance, else their ids."""
        return event.id if self.instance_id is None else event.sequence


@dataclass(frozen=True)
class Stretch:
    """A part of the log, the newest first. With `rest`, only what lies from there on was looked at."""

    events: list[Event]
    rest: int | None


@dataclass(frozen=True)
class Way:
    """A delivery and where it goes to, with its attempts if they were asked for."""

    delivery: Delivery
    url: str
    attempts: list[Attempt] = field(default_factory=list)


@dataclass
class Fate:
    """What became of a notification."""

    acknowledged_at: datetime | None
    ways: list[Way] = field(default_factory=list)


async def find(
    connection: AsyncConnection, wanted: Wanted, *, below: int = 0, offset: int = 0, limit: int
) -> Stretch:
    """At most `limit` of the wanted events below a position, from number `offset` on, the newest first. The
    cost does not grow with what lies above or below them."""
    place, filters = _place(wanted), list(_filters(wanted))
    low, high = await _ends(connection, wanted, below or LARGEST_ID)
    scope = [*_scope(wanted), place < high, place >= low]
    floor = None
    if filters:
        nth = select(place).where(*scope).order_by(place.desc()).offset(SCANNED - 1).limit(1)
        floor = await connection.scalar(nth)
    if floor is not None:
        filters.append(place >= floor)
    statement = select(_events).where(*scope, *_times(wanted), *filters)
    rows = await connection.execute(statement.order_by(place.desc()).offset(offset).limit(limit))
    events = [Event(**row) for row in rows.mappings()]
    return Stretch(events, floor if len(events) < limit else None)


async def one(connection: AsyncConnection, wanted: Wanted, event_id: int) -> Event | None:
    """The event with this id, if the account, and the instance that is asked, have it."""
    statement = select(_events).where(_events.c.id == event_id, *_scope(wanted))
    row = (await connection.execute(statement)).mappings().first()
    return Event(**row) if row else None


async def fates(connection: AsyncConnection, notification_ids: Collection[int]) -> dict[int, Fate]:
    """What became of these notifications; the bodies are not read."""
    wanted = set(notification_ids)
    columns = (_notifications.c.id, _notifications.c.acknowledged_at)
    rows = await connection.execute(select(*columns).where(_notifications.c.id.in_(wanted)))
    found = {notification_id: Fate(acknowledged_at) for notification_id, acknowledged_at in rows}
    for way in await _ways(connection, wanted):
        found.setdefault(way.delivery.notification_id, Fate(None)).ways.append(way)
    return found


async def traced(connection: AsyncConnection, notification_id: int) -> list[Way]:
    """The deliveries of a notification with every attempt."""
    ways = await _ways(connection, [notification_id])
    of_delivery = {way.delivery.id: way for way in ways}
    which = _attempts.c.delivery_id.in_(of_delivery)
    rows = await connection.execute(select(_attempts).where(which).order_by(_attempts.c.id))
    for row in rows.mappings():
        of_delivery[row["delivery_id"]].attempts.append(Attempt(**row))
    return ways


async def of_notification(connection: AsyncConnection, notification: Notification) -> list[Event]:
    """The events that a notification tells of, in its order."""
    statement = select(_events).where(
        _events.c.notification_id == notification.id,
        _events.c.instance_id == notification.instance_id,
        _events.c.sequence.between(notification.first_sequence, notification.last_sequence),
    )
    rows = await connection.execute(statement.order_by(_events.c.sequence))
    return [Event(**row) for row in rows.mappings()]


async def tally(
    connection: AsyncConnection,
    account_ids: Sequence[int],
    *,
    instance_id: int | None = None,
    since: datetime,
    until: datetime,
    seconds: int,
    by: str | None,
) -> list[tuple[int, int | None, int]]:
    """How many events were stored in each part of a time: the number of the part, counted from 1970 in
    `seconds`; the instance or account, if it is asked for `by` one; the count. Only an index is read."""
    part = (_events.c.id // 2**COUNTER_BITS + EPOCH_MS) // (seconds * 1000)
    owner = [_events.c[by]] if by else []
    statement = select(part.label("part"), *owner, func.count()).where(
        _events.c.account_id.in_(account_ids),
        _events.c.id >= first_id_at(since),
        _events.c.id <= first_id_at(until),
    )
    if instance_id is not None:
        statement = statement.where(_events.c.instance_id == instance_id)
    rows = await connection.execute(statement.group_by("part", *owner))
    return [(row[0], row[1] if by else None, row[-1]) for row in rows]


def _place(wanted: Wanted) -> ColumnElement[int]:
    column: ColumnElement[int] = _events.c.id if wanted.instance_id is None else _events.c.sequence
    return column


def _scope(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    yield _events.c.account_id == wanted.account_id
    if wanted.instance_id is not None:
        yield _events.c.instance_id == wanted.instance_id


def _filters(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    for name in ("event_type", "object_type", "object_id"):
        if (value := getattr(wanted, name)) is not None:
            yield _events.c[name] == value


def _times(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """What `_ends` has found, without the slack."""
    if wanted.since:
        yield _events.c.created_at >= wanted.since
    if wanted.until:
        yield _events.c.created_at < wanted.until


async def _ends(connection: AsyncConnection, wanted: Wanted, high: int) -> tuple[int, int]:
    """Between which positions, the upper one excluded, everything of the wanted time lies."""
    low = 0
    if wanted.since:
        low = await _position_at(connection, wanted, max(first_id_at(wanted.since) - SLACK, 0))
    if wanted.until:
        last = min(first_id_at(wanted.until) + SLACK, LARGEST_ID)
        high = min(high, await _position_at(connection, wanted, last))
    return low, high


async def _position_at(connection: AsyncConnection, wanted: Wanted, event_id: int) -> int:
    """The first position whose event has at least this id. Numbers rise with ids, so it is found by halving
    the instance's numbers, each time with one look at the index."""
    if wanted.instance_id is None:
        return event_id
    numbers = (
        select(_events.c.sequence, _events.c.id)
        .where(_events.c.instance_id == wanted.instance_id)
        .order_by(_events.c.sequence)
        .limit(1)
    )
    newest = (await connection.execute(numbers.order_by(None).order_by(_events.c.sequence.desc()))).first()
    low, high = 0, newest.sequence + 1 if newest else 0
    while low < high:
        middle = (low + high) // 2
        found = (await connection.execute(numbers.where(_events.c.sequence >= middle))).first()
        if found is not None and found.id < event_id:
            low = found.sequence + 1
        else:
            high = middle
    return low


async def _ways(connection: AsyncConnection, notification_ids: Collection[int]) -> list[Way]:
    statement = (
        select(
            _deliveries, func.coalesce(_subscriptions.c.shown_url, _callbacks.c.url, _FORGOTTEN).label("url")
        )
        .outerjoin(_callbacks, _callbacks.c.id == _deliveries.c.callback_id)
        .outerjoin(
            _subscriptions,
            and_(
                _subscriptions.c.id == _deliveries.c.subscription_id,
                _subscriptions.c.callback_id == _deliveries.c.callback_id,
            ),
        )
        .where(_deliveries.c.notification_id.in_(notification_ids))
        .order_by(_deliveries.c.id)
    )
    found = []
    for row in (await connection.execute(statement)).mappings():
        values = dict(row)
        url = values.pop("url")
        found.append(Way(Delivery(**values), url))
    return found
