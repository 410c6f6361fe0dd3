"""The event log and the walks over deliveries: what they find, and that they stay fast, on both databases."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import insert, select, text, update

from app import ids
from app.store import event_log, instances, notifications, outbox
from app.store.engine import Database
from app.store.event_log import Wanted
from app.store.tables import (
    Delivery,
    DeliveryStatus,
    Event,
    Notification,
    Subscription,
    table,
)
from app.tenancy import tenants

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
STEP = timedelta(seconds=10)
EVENTS = 6_000  # half of them of the instance 1; a sequential scan of them is dear enough for a planner
PER_NOTIFICATION = 10


def when(number: int) -> datetime:
    return START + number * STEP


def event_id(number: int) -> int:
    return ids.first_id_at(when(number)) + 1


class Filled:
    """A database whose account 1 has two instances with half of the events each, in turn."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.subscription: Subscription

    async def fill(self) -> None:
        events = [self._event(number) for number in range(EVENTS)]
        marks = [row for row in events if row["sequence"] % PER_NOTIFICATION == 1]
        async with self.database.write() as connection:
            instance_id = await instances.insert_instance(connection, **_instance())
            assert instance_id == 1
            callback_id = await outbox.callback_id(connection, account_id=1, url="http://a.example.com")
            await outbox.subscribe(
                connection,
                account_id=1,
                instance_id=1,
                callback_id=callback_id,
                topic="t",
                created_at=START,
            )
            (self.subscription,) = await outbox.subscriptions_of(connection, 1)
            await connection.execute(insert(table(Event)), events)
            await connection.execute(insert(table(Notification)), [_notification(row) for row in marks])
            await connection.execute(
                insert(table(Delivery)),
                [_delivery(row, self.subscription) for row in marks if row["instance_id"] == 1],
            )
        async with self.database.write() as connection:
            await connection.execute(text("ANALYZE"))

    def _event(self, number: int) -> dict[str, Any]:
        sequence = number // 2 + 1
        return {
            "id": event_id(number),
            "account_id": 1,
            "instance_id": 1 + number % 2,
            "notification_id": event_id(2 * (sequence - (sequence - 1) % PER_NOTIFICATION - 1) + number % 2),
            "sequence": sequence,
            "key": f"k{number}",
            "event_type": "DELETED" if number == 1000 else "CREATED",
            "object_type": "file",
            "object_id": f"o{number}",
            "change": "create",
            "event_date": when(number),
            "created_at": when(number),
            "row": {"event_id": f"k{number}"},
        }

    async def find(self, wanted: Wanted, **page: Any) -> event_log.Stretch:
        async with self.database.read() as connection:
            return await event_log.find(connection, wanted, **{"limit": 5} | page)

    async def delivery(self, number: int) -> Any:
        async with self.database.read() as connection:
            which = table(Delivery).c.notification_id == event_id(number)
            return (await connection.execute(select(table(Delivery)).where(which))).one()


def _instance() -> dict[str, Any]:
    return {
        "account_id": 1, "user_id": 1, "element_key": "egnyte", "name": "n", "tags": [], "configuration": {},
        "external_authentication": "none", "token_hash": "h", "valid": True, "disabled": False,
        "created_at": START, "updated_at": START,
    }  # fmt: skip


def _notification(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["notification_id"], "account_id": 1, "instance_id": row["instance_id"], "topic": "t",
        "body": b"{}", "resource": "events", "via": "polling", "first_sequence": row["sequence"],
        "last_sequence": row["sequence"] + PER_NOTIFICATION - 1, "created_at": row["created_at"],
    }  # fmt: skip


def _delivery(row: dict[str, Any], subscription: Subscription) -> dict[str, Any]:
    return {
        "id": row["id"], "account_id": 1, "instance_id": 1, "notification_id": row["notification_id"],
        "subscription_id": subscription.id, "callback_id": subscription.callback_id, "status": "queued",
        "attempts": 9, "created_at": row["created_at"], "updated_at": row["created_at"],
    }  # fmt: skip


@pytest.fixture
async def filled(database: Database) -> Filled:
    await tenants.create_organization(database, "Test", email="t@example.com", now=START)
    found = Filled(database)
    await found.fill()
    return found


@contextmanager
def watched(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its parameters, as the driver gets them."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE")):
            seen.append((statement, parameters))

    hooks.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        hooks.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def plans(database: Database, seen: list[tuple[str, Any]]) -> list[str]:
    """What the database says that it does for these statements."""
    explain = "EXPLAIN QUERY PLAN " if database.embedded else "EXPLAIN "
    found = []
    async with database.read() as connection:
        for statement, parameters in seen:
            rows = await connection.exec_driver_sql(explain + statement, parameters)
            found.append(statement + "\n" + "\n".join(str(row[-1]) for row in rows))
    return found


_ALL_ROWS = re.compile(
    r"Seq Scan on (event|notification|delivery)\b|^SCAN (event|notification|delivery)\b", re.MULTILINE
)
_SORTED = re.compile(r"Sort|TEMP B-TREE FOR ORDER BY")


@pytest.mark.parametrize("instance_id", [1, None])
@pytest.mark.parametrize("filtered", [False, True])
async def test_a_page_of_the_log_reads_an_index_and_sorts_nothing(
    filled: Filled, instance_id: int | None, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "SCANNED", 50)
    more: dict[str, Any] = (
        {"since": when(100), "until": when(5000), "event_type": "CREATED"} if filtered else {}
    )
    wanted = Wanted(1, instance_id, **more)
    below = event_id(3000) if instance_id is None else 1500
    with watched(filled.database) as seen:
        assert len((await filled.find(wanted, below=below)).events) == 5
    assert seen
    for plan in await plans(filled.database, seen):
        assert not _ALL_ROWS.search(plan), plan
        assert not _SORTED.search(plan), plan


@pytest.mark.parametrize("by", [None, "instance_id", "account_id"])
async def test_a_tally_reads_a_range_of_an_index(filled: Filled, by: str | None) -> None:
    with watched(filled.database) as seen:
        async with filled.database.read() as connection:
            span: dict[str, Any] = {"since": when(100), "until": when(200)}
            await event_log.tally(connection, [1], **span, seconds=60, by=by)
    (plan,) = await plans(filled.database, seen)
    assert not _ALL_ROWS.search(plan), plan
    if filled.database.embedded:  # PostgreSQL looks first at what was written since the last vacuum
        assert "COVERING INDEX" in plan, plan


@pytest.mark.parametrize("read", [notifications.queued, notifications.of_any_status])
async def test_a_walk_over_deliveries_reads_an_index_and_sorts_nothing_large(
    filled: Filled, read: Any
) -> None:
    with watched(filled.database) as seen:
        async with filled.database.read() as connection:
            rows, behind = await read(
                connection, filled.subscription, after=event_id(100), until=ids.LARGEST_ID, limit=20
            )
    assert len(rows) == 20
    assert behind == rows[-1].notification_id
    (first, *_) = await plans(filled.database, seen)
    if filled.database.embedded:  # 300 rows in the index are few for PostgreSQL
        assert not _ALL_ROWS.search(first), first
        assert not _SORTED.search(first), first


async def test_the_log_of_an_instance_is_found_in_pieces_of_time(filled: Filled) -> None:
    for since, until in ((0, 10), (999, 1003), (5990, 7000), (7000, 8000), (-100, 5)):
        wanted = Wanted(1, 1, since=when(since), until=when(until))
        numbers = [number for number in range(max(since, 0), min(until, EVENTS)) if number % 2 == 0]
        found = await filled.find(wanted, limit=100)
        assert [event.sequence for event in found.events] == [n // 2 + 1 for n in reversed(numbers)]
        of_all = await filled.find(Wanted(1, None, since=when(since), until=when(until)), limit=200)
        assert len(of_all.events) == len(range(max(since, 0), min(until, EVENTS)))


async def test_pieces_of_time_are_found_although_events_were_pruned(filled: Filled) -> None:
    async with filled.database.write() as connection:
        sequences = table(Event).c.sequence
        await connection.execute(table(Event).delete().where(sequences < 100))
        await connection.execute(table(Event).delete().where(sequences.between(500, 1500)))
    wanted = Wanted(1, 1, since=when(0), until=when(2 * 1505))
    assert [event.sequence for event in (await filled.find(wanted)).events] == [1505, 1504, 1503, 1502, 1501]
    wanted = Wanted(1, 1, until=when(2 * 101))
    assert [event.sequence for event in (await filled.find(wanted)).events] == [101, 100]
    assert (await filled.find(Wanted(1, 3, since=when(0)))).events == []


async def test_a_tally_counts_by_time_and_owner(filled: Filled) -> None:
    async with filled.database.read() as connection:
        span: dict[str, Any] = {"since": when(0), "until": when(11) + timedelta(milliseconds=1)}
        assert await event_log.tally(connection, [], **span, seconds=60, by=None) == []
        parts = await event_log.tally(connection, [1, 2], **span, seconds=60, by=None)
        first = int(START.timestamp()) // 60
        assert sorted(parts) == [(first, None, 6), (first + 1, None, 6)]
        owned = await event_log.tally(connection, [1], **span, seconds=3600, by="instance_id")
        hour = int(START.timestamp()) // 3600
        assert sorted(owned, key=str) == [(hour, 1, 6), (hour, 2, 6)]


async def test_types_are_those_of_all_events_of_a_notification(filled: Filled) -> None:
    async with filled.database.read() as connection:
        found = await notifications.event_types(connection, [event_id(1000), event_id(0)])
    assert found == {event_id(1000): {"CREATED", "DELETED"}, event_id(0): {"CREATED"}}


async def test_events_are_of_the_notification_that_they_name(filled: Filled) -> None:
    """After the migration the numbers of two notifications may be mixed."""
    first, second = event_id(0), event_id(20)
    async with filled.database.write() as connection:
        rows = table(Notification)
        which = rows.c.id.in_([first, second])
        await connection.execute(update(rows).where(which).values(first_sequence=1, last_sequence=20))
        found = await notifications.some(connection, [first, second])
        assert [item.id for item in found] == [second, first]
        told = [await event_log.of_notification(connection, item) for item in found]
        await connection.execute(
            update(table(Event)).where(table(Event).c.notification_id == first).values(event_type="DELETED")
        )
        types = await notifications.event_types(connection, [first, second])
    assert [[item.sequence for item in rows] for rows in told] == [list(range(11, 21)), list(range(1, 11))]
    assert types == {first: {"DELETED"}, second: {"CREATED"}}


async def test_a_rare_topic_and_what_is_queued_are_found_by_an_index(filled: Filled) -> None:
    with watched(filled.database) as seen:
        async with filled.database.read() as connection:
            find: dict[str, Any] = {"below": ids.LARGEST_ID, "limit": 20}
            assert await notifications.find(connection, 1, "t", requests=True, **find) == []
            found = await notifications.find(connection, 1, "t", requests=False, **find)
            more: dict[str, Any] = {"after_id": 0, "limit": 5}
            assert len(await notifications.delivering(connection, 1, queued=True, **more)) == 1
            assert len(await notifications.delivering(connection, 1, queued=False, **more)) == 1
    assert [size for _, size in found] == [2] * 20
    for plan in await plans(filled.database, seen):
        if filled.database.embedded:
            assert not _ALL_ROWS.search(plan), plan
    if filled.database.embedded:
        assert "ix_notification_instance_id_id_async" in (await plans(filled.database, seen))[0]


async def test_a_redelivery_touches_only_what_is_still_as_it_was_seen(filled: Filled) -> None:
    seen = [Delivery(**(await filled.delivery(number))._mapping) for number in (0, 20)]
    async with filled.database.write() as connection:
        await outbox.deactivate(connection, filled.subscription, "gave up", now=START)
        which = table(Delivery).c.id == seen[0].id
        await connection.execute(update(table(Delivery)).where(which).values(status=DeliveryStatus.NOTIFIED))
        assert await notifications.redeliver(connection, filled.subscription.id, seen, now=START) == 1
        assert await notifications.redeliver(connection, 99, seen, now=START) == 0
    assert (await filled.delivery(0)).status == "notified"
    sent = await filled.delivery(20)
    assert (sent.status, sent.attempts, sent.due_at) == ("created", 0, START)
    async with filled.database.read() as connection:
        (subscription,) = await outbox.subscriptions_of(connection, 1)
    assert subscription.active


async def test_acknowledging_redelivering_and_ending_do_not_wait_for_each_other(filled: Filled) -> None:
    """Rows are locked in one order: no deadlock ends one of them."""

    async def acknowledge(number: int) -> None:
        async with filled.database.write() as connection:
            await notifications.acknowledge(connection, event_id(number), now=START)

    async def redeliver(number: int) -> None:
        rows = [Delivery(**(await filled.delivery(n))._mapping) for n in range(number, number + 60, 20)]
        async with filled.database.write() as connection:
            await notifications.redeliver(connection, filled.subscription.id, rows, now=START)

    async def end() -> None:
        async with filled.database.write() as connection:
            await notifications.end(connection, filled.subscription.id, now=START)

    await asyncio.gather(
        *(acknowledge(number) for number in range(0, 200, 20)),
        *(redeliver(number) for number in range(0, 200, 20)),
        *(end() for _ in range(5)),
    )
    assert (await filled.delivery(180)).status in {"notified", "queued", "created"}


async def test_a_subscription_is_removed_in_bounded_steps(filled: Filled) -> None:
    async def step(action: Any, **more: Any) -> Any:
        async with filled.database.write() as connection:
            return await action(connection, filled.subscription.id, **more)

    await step(notifications.end, now=START)
    assert await step(notifications.drop_queued, limit=100) == 100
    assert not await step(notifications.remove, limit=100, now=START)
    assert await step(notifications.remove, limit=1000, now=START)
    async with filled.database.read() as connection:
        assert await outbox.subscriptions_of(connection, 1) == []
        assert (await connection.execute(select(table(Delivery)))).first() is None


async def test_what_is_sent_again_while_a_subscription_is_removed_is_removed_with_it(filled: Filled) -> None:
    subscription = filled.subscription
    async with filled.database.write() as connection:
        await notifications.end(connection, subscription.id, now=START)
        chosen, _ = await notifications.queued(connection, subscription, after=0, until=2**62, limit=5)
        assert await notifications.redeliver(connection, subscription.id, chosen, now=START) == 5
        await notifications.drop_queued(connection, subscription.id, limit=1000)
        assert await notifications.remove(connection, subscription.id, limit=1000, now=START)
        due = table(Delivery).c.due_at.is_not(None)
        assert (await connection.execute(select(table(Delivery)).where(due))).first() is None
