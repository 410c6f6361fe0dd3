"""The event log of an account: its events with what became of them, and how many there were when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import BadRequest, Forbidden, NotFound
from app.runtime import Runtime
from app.store import event_log, instances, notifications
from app.store.event_log import Fate, Wanted, Way
from app.store.tables import Delivery, DeliveryStatus, Event, Notification, Subscription
from app.store.tenants import Caller
from app.tenancy import accounts

DEEPEST_OFFSET = 10_000  # rows that `page` may skip; each of them is read, where `nextPage` reads none
MOST_BUCKETS = 90_000  # a day has 86,400 seconds
LONGEST_IN_SECONDS = timedelta(hours=24)  # Cloud Elements' limit
MOST_ACCOUNTS = 200  # in one analysis


class EventStatus(StrEnum):
    """How far an event has come, in Cloud Elements' words."""

    NEW = "NEW"
    RECEIVED = "RECEIVED"
    DISPATCHED = "DISPATCHED"
    CONSUMED = "CONSUMED"
    NOTIFIED = "NOTIFIED"


class Interval(StrEnum):
    """How long a bucket of an analysis is."""

    YEAR = "year"
    MONTH = "month"
    WEEK = "week"
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"


_SECONDS = {Interval.SECOND: 1, Interval.MINUTE: 60, Interval.HOUR: 3600}
_DAY = 86_400  # longer intervals are counted in days and put together


@dataclass(frozen=True)
class Logged:
    """An event and what became of its notification."""

    event: Event
    fate: Fate

    @property
    def status(self) -> EventStatus:
        return status_of(self.fate)


@dataclass(frozen=True)
class Traced:
    """One event from the vendor's page to every attempt. Older notifications may be gone."""

    event: Event
    notification: Notification | None
    together: Sequence[Event]
    ways: Sequence[tuple[Way, Subscription | None]]

    @property
    def status(self) -> EventStatus:
        acknowledged_at = self.notification.acknowledged_at if self.notification else None
        return status_of(Fate(acknowledged_at, [way for way, _ in self.ways]))


@dataclass(frozen=True)
class Question:
    """What an analysis counts: stored from `since` until `until`, in buckets of `interval`, of these
    accounts, or of one instance of theirs."""

    account_ids: Sequence[int]
    since: datetime
    until: datetime
    interval: Interval
    instance_id: int | None = None


@dataclass(frozen=True)
class Bucket:
    """How many events there were in the interval that begins at `start`: for each owner, if it was asked."""

    start: datetime
    counts: dict[int | None, int]


def status_of(fate: Fate) -> EventStatus:
    """What is on its way counts before what has arrived, and that before what waits for its owner."""
    found = {way.delivery.status for way in fate.ways}
    if fate.acknowledged_at or DeliveryStatus.NOTIFIED in found:
        return EventStatus.CONSUMED
    if found & {DeliveryStatus.CREATED, DeliveryStatus.RETRY}:
        return EventStatus.DISPATCHED
    return EventStatus.NOTIFIED if DeliveryStatus.DELIVERED in found else EventStatus.RECEIVED


async def check_instance(runtime: Runtime, account_id: int, instance_id: int) -> None:
    """Raises NotFound for an instance that the account does not have."""
    async with runtime.database.read() as connection:
        found = await instances.by_id(connection, instance_id, account_id)
    if found is None:
        raise NotFound(f"No instance with the id {instance_id} found")


async def find(
    runtime: Runtime, wanted: Wanted, *, below: int, offset: int, limit: int
) -> tuple[list[Logged], int | None]:
    """At most `limit` of the wanted events below a position, the newest first; and where to go on if the log
    was not searched further. Raises BadRequest for a page that is too far behind, or with filters where that
    was not searched to its end."""
    if offset > DEEPEST_OFFSET:
        raise BadRequest(f"page: reaches over {DEEPEST_OFFSET} rows; go on with nextPage")
    async with runtime.database.read() as connection:
        found = await event_log.find(connection, wanted, below=below, offset=offset, limit=limit)
        if offset and found.rest is not None:
            raise BadRequest(
                "page: with these filters the log is too long to count pages; go on with nextPage"
            )
        fates = await event_log.fates(connection, {event.notification_id for event in found.events})
    return [_logged(event, fates) for event in found.events], found.rest


async def get(runtime: Runtime, wanted: Wanted, event_id: int) -> Logged:
    """Raises NotFound for an event that the account, or the instance that was asked, does not have."""
    async with runtime.database.read() as connection:
        event = await event_log.one(connection, wanted, event_id)
        fates = await event_log.fates(connection, [event.notification_id] if event else [])
    if event is None:
        raise NotFound(f"No event with the id {event_id} found")
    return _logged(event, fates)


async def trace(runtime: Runtime, wanted: Wanted, event_id: int) -> Traced:
    """Follows one event. Raises NotFound as `get` does."""
    async with runtime.database.read() as connection:
        event = await event_log.one(connection, wanted, event_id)
        if event is None:
            raise NotFound(f"No event with the id {event_id} found")
        notification = await notifications.one(connection, event.account_id, event.notification_id)
        together = await event_log.of_notification(connection, notification) if notification else []
        ways = [
            (way, await _subscription(connection, way.delivery))
            for way in await event_log.traced(connection, event.notification_id)
        ]
    return Traced(event, notification, together, ways)


async def _subscription(connection: AsyncConnection, delivery: Delivery) -> Subscription | None:
    """None where its owner has deleted it."""
    found = await notifications.subscription(
        connection, delivery.account_id, delivery.subscription_id, living=False
    )
    return found.subscription if found else None


async def accounts_of(
    runtime: Runtime, caller: Caller | None, account_id: int, named: Collection[int]
) -> tuple[list[int], bool]:
    """The accounts that are named, or all that the caller may see, with whether there are more. Nobody with a
    token of an instance sees more than its account. Raises Forbidden for one of others."""
    if caller is None:
        if set(named) - {account_id}:
            raise Forbidden("accountIds[]: an Element token shows the events of its instance only")
        return [account_id], False
    if not named:
        found = await accounts.find(runtime, caller, after_id=0, offset=0, limit=MOST_ACCOUNTS + 1)
        return [item.account.id for item in found[:MOST_ACCOUNTS]], len(found) > MOST_ACCOUNTS
    if len(named) > MOST_ACCOUNTS:
        raise BadRequest(f"accountIds[]: names over {MOST_ACCOUNTS} accounts")
    for account_id in sorted(set(named)):
        try:
            await accounts.get(runtime, caller, account_id)
        except (NotFound, Forbidden):
            raise Forbidden(f"accountIds[]: the account {account_id} is not yours to see") from None
    return sorted(set(named)), False


async def analyse(runtime: Runtime, question: Question, *, by: str | None = None) -> list[Bucket]:
    """Counts events in buckets that have no gap, the oldest first. `by` is `instance_id` or `account_id`.
    Raises BadRequest for a time that has too many of them."""
    _check(question)
    seconds = _SECONDS.get(question.interval, _DAY)
    async with runtime.database.read() as connection:
        rows = await event_log.tally(
            connection,
            question.account_ids,
            instance_id=question.instance_id,
            since=question.since,
            until=question.until,
            seconds=seconds,
            by=by,
        )
    buckets = {start: Bucket(start, {}) for start in starts(question)}
    for part, owner, count in rows:
        moment = datetime.fromtimestamp(part * seconds, UTC)
        counts = buckets[_start(moment, question.interval)].counts
        counts[owner] = counts.get(owner, 0) + count
    return list(buckets.values())


def starts(question: Question) -> Iterator[datetime]:
    """Where the buckets begin; the first and the last one may reach out of the time that was asked for."""
    start = _start(question.since, question.interval)
    while start <= question.until:
        yield start
        start = _next(start, question.interval)


def _check(question: Question) -> None:
    span = question.until - question.since
    if span < timedelta(0):
        raise BadRequest("from: is after to")
    if question.interval is Interval.SECOND and span > LONGEST_IN_SECONDS:
        raise BadRequest("interval: second is for at most 24 hours")
    if span / timedelta(seconds=_SECONDS.get(question.interval, _DAY)) > MOST_BUCKETS:
        raise BadRequest(f"interval: would make over {MOST_BUCKETS} of them from `from` to `to`")


def _start(moment: datetime, interval: Interval) -> datetime:
    if interval in _SECONDS:
        seconds = int(moment.timestamp())
        return datetime.fromtimestamp(seconds - seconds % _SECONDS[interval], UTC)
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match interval:
        case Interval.WEEK:
            return day - timedelta(days=day.weekday())
        case Interval.MONTH:
            return day.replace(day=1)
        case Interval.YEAR:
            return day.replace(month=1, day=1)
        case _:
            return day


def _next(start: datetime, interval: Interval) -> datetime:
    match interval:
        case Interval.YEAR:
            return _start(start + timedelta(days=366), interval)
        case Interval.MONTH:
            return _start(start + timedelta(days=31), interval)
        case Interval.WEEK:
            return start + timedelta(weeks=1)
        case _:
            return start + timedelta(seconds=_SECONDS.get(interval, _DAY))


def _logged(event: Event, fates: dict[int, Fate]) -> Logged:
    return Logged(event, fates.get(event.notification_id, Fate(None)))
