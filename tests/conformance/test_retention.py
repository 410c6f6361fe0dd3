"""What is old is forgotten in small batches, and nothing that somebody still waits for, on both databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from processes import PATIENCE
from sqlalchemy import event as hooks
from sqlalchemy import func, insert, select, text, update

from app import retention as pruning
from app.ids import first_id_at
from app.settings import Settings
from app.store import retention
from app.store.engine import Database
from app.store.retention import Window
from app.store.tables import (
    Attempt,
    Delivery,
    DeliveryObject,
    Event,
    KnownObject,
    Notification,
    OAuthState,
    table,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, LIMIT, RECENT = NOW - timedelta(days=100), NOW - timedelta(days=90), NOW - timedelta(days=80)
_events, _deliveries, _notifications = table(Event), table(Delivery), table(Notification)


class Filled:
    """Notifications of two events each, with deliveries in these states."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._made = 0

    async def notify(
        self, *statuses: str, created_at: datetime = OLD, acknowledged_at: datetime | None = None
    ) -> int:
        self._made += 1
        number, first = first_id_at(created_at) + self._made, self._made * 2
        owner = {"account_id": 1, "instance_id": 1, "created_at": created_at}
        async with self.database.write() as connection:
            notification = {"id": number, "topic": "t", "body": b"{}", "resource": "events"} | owner
            notification |= {"via": "polling", "first_sequence": first, "last_sequence": first + 1}
            await connection.execute(
                insert(_notifications).values(**notification, acknowledged_at=acknowledged_at)
            )
            await connection.execute(insert(_events), [self._event(number, first + n, owner) for n in (0, 1)])
            for place, status in enumerate(statuses):
                await self._deliver(connection, number * 4 + place, number, status, owner)
        return number

    @staticmethod
    def _event(notification_id: int, sequence: int, owner: dict[str, Any]) -> dict[str, Any]:
        words = {"event_type": "CREATED", "object_type": "file", "object_id": "1", "change": "create"}
        own = {"id": sequence, "sequence": sequence, "key": str(sequence), "event_date": NOW, "row": {}}
        return own | words | owner | {"notification_id": notification_id}

    @staticmethod
    async def _deliver(
        connection: Any, number: int, notification_id: int, status: str, owner: dict[str, Any]
    ) -> None:
        ids = {"id": number, "notification_id": notification_id, "subscription_id": 1, "callback_id": 1}
        await connection.execute(
            insert(_deliveries).values(**ids, status=status, attempts=1, updated_at=NOW, **owner)
        )
        tried = {"delivery_id": number, "number": 1, "started_at": NOW, "took_ms": 1, "account_id": 1}
        await connection.execute(insert(table(Attempt)).values(**tried))
        about = {"subscription_id": 1, "object_key": "file:1", "position": number, "delivery_id": number}
        await connection.execute(insert(table(DeliveryObject)).values(account_id=1, **about))

    async def forget(self, *, after: int = 0, limit: int = 100, unclaimed: datetime | None = None) -> Window:
        async with self.database.write() as connection:
            return await retention.forget_notifications(
                connection, after=after, limit=limit, before=LIMIT, unclaimed_before=unclaimed
            )

    async def left(self) -> list[int]:
        async with self.database.read() as connection:
            found = await connection.scalars(select(_notifications.c.id).order_by(_notifications.c.id))
            return list(found)

    async def count(self, model: Any) -> int:
        async with self.database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(table(model))) or 0


@pytest.fixture
async def filled(database: Database) -> Filled:
    return Filled(database)


@pytest.mark.parametrize(
    ("statuses", "acknowledged_at", "goes"),
    [
        (["delivered"], None, True),
        (["delivered", "notified"], None, True),
        (["delivered", "queued"], None, False),
        (["created"], None, False),
        (["retry"], None, False),
        (["queued"], NOW, False),
        ([], None, False),
        ([], NOW, True),
    ],
)
async def test_what_was_taken_goes_with_all_that_belongs_to_it(
    filled: Filled, statuses: Sequence[str], acknowledged_at: datetime | None, goes: bool
) -> None:
    number = await filled.notify(*statuses, acknowledged_at=acknowledged_at)
    recent = await filled.notify("delivered", created_at=RECENT)
    assert (await filled.forget()).deleted == goes
    assert await filled.left() == ([recent] if goes else [number, recent])
    assert await filled.count(Event) == (2 if goes else 4)
    for model in (Delivery, Attempt, DeliveryObject):
        assert await filled.count(model) == (1 if goes else 1 + len(statuses))


async def test_what_nobody_has_taken_goes_only_where_the_operator_says_so(filled: Filled) -> None:
    unclaimed, queued = await filled.notify(), await filled.notify("queued")
    assert (await filled.forget(unclaimed=OLD - timedelta(days=1))).deleted == 0
    assert (await filled.forget(unclaimed=LIMIT)).deleted == 1
    assert await filled.left() == [queued] != [unclaimed]


async def test_batches_are_small_and_what_stays_is_passed_once(filled: Filled) -> None:
    numbers = [await filled.notify("queued" if n % 3 == 0 else "delivered") for n in range(20)]
    windows = [await filled.forget(limit=6)]
    while not windows[-1].is_last:
        windows.append(await filled.forget(after=windows[-1].last, limit=6))
    assert [window.deleted for window in windows] == [4, 4, 4, 1]
    assert await filled.left() == numbers[::3]


async def _settle(filled: Filled, number: int, *, again: bool) -> bool:
    """Ends a notification's first delivery in one transaction, in which its second may be sent again. False
    where it was forgotten before that."""
    rows = update(_deliveries)
    async with filled.database.write() as connection:
        if again:
            resent = rows.where(_deliveries.c.id == number * 4 + 1).values(status="created")
            again = (await connection.execute(resent)).rowcount == 1
        settled = rows.where(_deliveries.c.id == number * 4).values(status="delivered")
        assert (await connection.execute(settled)).rowcount == 1, "an open delivery was lost"
    return again


async def _forget_all(database: Database) -> int:
    deleted, after = 0, 0
    while True:
        window = await Filled(database).forget(after=after, limit=7)
        deleted += window.deleted
        if window.is_last:
            return deleted
        after = window.last


async def _forget_until(database: Database, done: asyncio.Event) -> int:
    deleted = 0
    while not done.is_set():
        deleted += await _forget_all(database)
        await asyncio.sleep(0)
    return deleted + await _forget_all(database)


async def test_nothing_undelivered_is_lost_beside_deliveries(filled: Filled, database_url: str) -> None:
    """Four pruners run while deliveries are settled and sent again."""
    numbers = [await filled.notify("created", "delivered") for _ in range(40)]
    chance, done = random.Random(1), asyncio.Event()
    settings = Settings(_env_file=None, database_url=database_url, encryption_keys="a" * 43 + "=")
    others = [Database(settings.database, connections=2) for _ in range(4)]
    pruners = [asyncio.create_task(_forget_until(database, done)) for database in others]
    open_again = [
        number
        for number in chance.sample(numbers, len(numbers))
        if await _settle(filled, number, again=chance.random() < 0.5)
    ]
    done.set()
    deleted = await asyncio.gather(*pruners)
    for database in others:
        await database.close()
    assert 0 < len(open_again) < len(numbers)
    assert await filled.left() == sorted(open_again)
    assert sum(deleted) == len(numbers) - len(open_again)
    assert await filled.count(Event) == 2 * len(open_again)
    assert await filled.count(Delivery) == 2 * len(open_again)


def _runtime(database: Database, **values: Any) -> Any:
    settings = SimpleNamespace(
        event_retention=timedelta(days=90),
        unclaimed_retention=values.get("unclaimed"),
        memory_retention=timedelta(days=90),
    )
    clock = SimpleNamespace(now=lambda: values.get("now", NOW))
    return SimpleNamespace(database=database, settings=settings, clock=clock)


async def test_a_pass_forgets_whatever_is_old(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 3)
    monkeypatch.setattr(pruning, "_PAUSE", 0)
    for _ in range(7):
        await filled.notify("delivered")
    known = {"instance_id": 1, "account_id": 1, "object_type": "file", "object_id": "1"}
    async with filled.database.write() as connection:
        for number in range(8):
            seen_at = OLD if number else NOW
            await connection.execute(
                insert(table(KnownObject)).values(object_key=str(number), seen_at=seen_at, **known)
            )
        await connection.execute(insert(table(OAuthState)).values(hash="h", target_url="u", expires_at=OLD))
    assert await pruning.prune(_runtime(filled.database), asyncio.Event()) == 7
    assert [await filled.count(model) for model in (Event, KnownObject, OAuthState)] == [0, 1, 0]


async def test_pruning_ends_early_for_a_worker_that_stops(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for _ in range(6):
        await filled.notify("delivered")
    draining = asyncio.Event()
    draining.set()
    assert await pruning.prune(_runtime(filled.database), draining) == 2
    await asyncio.wait_for(pruning.keep_pruning(_runtime(filled.database), draining), PATIENCE)


async def test_what_has_to_stay_is_looked_at_once_a_day(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    monkeypatch.setattr(pruning, "_PAUSE", 0)
    kept = [await filled.notify("queued") for _ in range(5)]
    looked_at: list[int] = []
    forget = retention.forget_notifications

    async def noted(*arguments: Any, after: int, **values: Any) -> Window:
        looked_at.append(after)
        return await forget(*arguments, after=after, **values)

    monkeypatch.setattr(retention, "forget_notifications", noted)
    for hours, expected in ((0, [0, kept[1], kept[3]]), (2, [kept[4]]), (25, [0, kept[1], kept[3]])):
        looked_at.clear()
        await pruning.prune(_runtime(filled.database, now=NOW + timedelta(hours=hours)), asyncio.Event())
        assert looked_at == expected


async def test_one_worker_at_a_time_prunes_and_a_dead_one_is_followed(filled: Filled) -> None:
    await filled.notify("delivered")
    minute = timedelta(minutes=1)
    async with filled.database.write() as connection:
        assert await retention.begin(connection, now=NOW, lease=minute, anew_before=NOW - minute)
    assert await pruning.prune(_runtime(filled.database), asyncio.Event()) == 0
    assert await pruning.prune(_runtime(filled.database, now=NOW + minute), asyncio.Event()) == 1
    await filled.notify("delivered")
    assert await pruning.prune(_runtime(filled.database, now=NOW + 2 * minute), asyncio.Event()) == 0


async def test_no_batch_looks_at_a_whole_table(filled: Filled) -> None:
    statements: list[tuple[str, Any]] = []
    for _ in range(3):
        await filled.notify("delivered")

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    engine = filled.database.engine.sync_engine
    hooks.listen(engine, "before_cursor_execute", note)
    await filled.forget()
    async with filled.database.write() as connection:
        await retention.forget_objects(connection, limit=5, before=LIMIT)
        await retention.forget_requests(connection, limit=5, before=LIMIT)
    hooks.remove(engine, "before_cursor_execute", note)
    plans = [await _plan(filled.database, *statement) for statement in statements]
    assert len([plan for plan in plans if plan]) >= 9
    for plan in plans:
        assert "SCAN event" not in plan
        assert "SCAN known_object" not in plan
        assert "Seq Scan" not in plan, plan


async def _plan(database: Database, statement: str, parameters: Any) -> str:
    if not statement.lstrip().upper().startswith(("SELECT", "DELETE", "WITH")):
        return ""
    one = parameters[0] if isinstance(parameters, list) else parameters
    async with database.read() as connection:
        if database.embedded:
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", one)
            return "\n".join(row.detail for row in rows)
        await connection.execute(text("SET enable_seqscan = off"))
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", one)
        return "\n".join(row[0] for row in rows)
