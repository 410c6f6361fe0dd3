"""Order: what concerns one object leaves in the order of its events, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import ENCRYPTION_KEY
from processes import PATIENCE
from sqlalchemy import func, select

from app.settings import Settings
from app.store import notifications, outbox
from app.store.engine import Database
from app.store.leases import lease_of
from app.store.outbox import Pending
from app.store.settlements import Settlement
from app.store.tables import (
    Callback,
    Delivery,
    DeliveryObject,
    DeliveryStatus,
    Notification,
    Subscription,
    table,
)

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=30)
DELIVERED, RETRY, QUEUED = DeliveryStatus.DELIVERED, DeliveryStatus.RETRY, DeliveryStatus.QUEUED


class Line:
    """A subscription with numbered deliveries about objects, and a receiver that notes first arrivals."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = START
        self.subscription_id = 0
        self.stored = 0
        self.about: dict[int, set[str]] = {}
        self.arrivals: dict[str, list[int]] = defaultdict(list)
        self.seen: set[int] = set()

    async def subscribe(self, *, ordered: bool = True) -> None:
        async with self.database.write() as connection:
            callback_id = await outbox.callback_id(connection, account_id=1, url="http://a.example.com")
            self.subscription_id = await outbox.subscribe(
                connection,
                account_id=1,
                instance_id=1,
                callback_id=callback_id,
                topic="topic",
                ordered=ordered,
                created_at=START,
            )

    async def subscription(self) -> Subscription:
        async with self.database.read() as connection:
            return (await outbox.subscriptions_of(connection, 1))[0]

    async def store(self, *objects: str) -> int:
        """A delivery about these objects, stored as an intake stores it; answers its number."""
        async with self.database.write() as connection:
            (subscription,) = await outbox.subscriptions_of(connection, 1, lock="share")
            self.stored += 1
            number = self.stored
            self.about[number] = set(objects)
            common: dict[str, Any] = {"id": number, "account_id": 1, "instance_id": 1, "created_at": START}
            notification = Notification(
                **common, topic="topic", resource="events", via="polling", body=b"%d" % number
            )
            delivery = Delivery(
                **common,
                notification_id=number,
                subscription_id=subscription.id,
                callback_id=subscription.callback_id,
                status=DeliveryStatus.CREATED if subscription.active else QUEUED,
                due_at=self.now if subscription.active else None,
                last_error=None,
                updated_at=START,
            )
            rows = [
                DeliveryObject(
                    subscription_id=subscription.id,
                    object_key=key,
                    position=number,
                    delivery_id=number,
                    account_id=1,
                )
                for key in objects
                if subscription.ordered
            ]
            await outbox.append(connection, [notification], [delivery], rows, now=self.now)
        return number

    async def claim(self) -> list[Callback]:
        async with self.database.write() as connection:
            return await outbox.claim_callbacks(connection, limit=9, slow_limit=9, now=self.now, lease=LEASE)

    async def due(self, callback: Callback, limit: int = 100) -> list[Pending]:
        async with self.database.read() as connection:
            return await outbox.pending(connection, callback.id, limit=limit, now=self.now)

    def arrive(self, number: int) -> None:
        if number not in self.seen:
            self.seen.add(number)
            for key in self.about[number]:
                self.arrivals[key].append(number)

    def settled(self, item: Pending, status: DeliveryStatus, *, gave_up: bool = False) -> Settlement:
        return Settlement(
            item.delivery_id,
            status,
            attempts=item.attempts + 1,
            due_at=self.now + SECOND if status is RETRY else None,
            last_status=200,
            last_error=None,
            let_go=item.ordered and status is DELIVERED,
            seen=item.attempts,
            gave_up=gave_up,
        )

    async def finish(self, callback: Callback, *settled: Settlement, **more: Any) -> bool:
        values: dict[str, Any] = {"ended": {}, "slow": False, "now": self.now} | more
        async with self.database.write() as connection:
            return await outbox.finish_turn(connection, lease_of(callback), settled, **values)

    async def turn(self, outcome: dict[int, DeliveryStatus] | None = None) -> list[int]:
        """One turn in which everything arrives unless `outcome` says otherwise; answers what was due."""
        found = []
        for callback in await self.claim():
            due = await self.due(callback)
            settled = [self.settled(item, (outcome or {}).get(item.delivery_id, DELIVERED)) for item in due]
            assert await self.finish(callback, *settled)
            found += [item.delivery_id for item in due]
        return found

    async def statuses(self) -> dict[int, str]:
        rows = table(Delivery)
        async with self.database.read() as connection:
            found = await connection.execute(select(rows.c.id, rows.c.status))
            return {row.id: row.status for row in found}

    async def remembered(self) -> int:
        async with self.database.read() as connection:
            counted = select(func.count()).select_from(table(DeliveryObject))
            return await connection.scalar(counted) or 0


@pytest.fixture
async def line(database: Database) -> Line:
    made = Line(database)
    await made.subscribe()
    return made


async def test_what_concerns_one_object_leaves_one_after_the_other(line: Line) -> None:
    for objects in ("a", "b", "ab", "a", "c"):
        await line.store(*objects)
    assert await line.turn() == [1, 2, 5]
    assert await line.turn() == [3]
    assert await line.turn() == [4]
    assert await line.turn() == []
    assert set((await line.statuses()).values()) == {"delivered"}
    assert await line.remembered() == 0


async def test_a_retrying_delivery_holds_back_only_what_shares_an_object_with_it(line: Line) -> None:
    for objects in ("a", "a", "b", "b"):
        await line.store(*objects)
    assert await line.turn({1: RETRY}) == [1, 3]
    assert await line.turn() == [4]
    line.now += SECOND
    assert await line.turn() == [1]
    assert await line.turn() == [2]


async def test_a_queued_delivery_holds_its_followers_until_it_is_acknowledged(line: Line) -> None:
    for objects in ("a", "a", "b"):
        await line.store(*objects)
    assert await line.turn({1: QUEUED}) == [1, 3]
    assert await line.turn() == []
    async with line.database.write() as connection:
        await notifications.acknowledge(connection, 1, now=line.now)
    assert await line.turn() == [2]
    assert (await line.statuses())[1] == "notified"


async def test_an_ended_subscription_queues_followers_too_and_redelivers_in_order(line: Line) -> None:
    for objects in ("a", "a", "a"):
        await line.store(*objects)
    (callback,) = await line.claim()
    (first,) = await line.due(callback)
    ended = {line.subscription_id: "10 attempts failed"}
    assert await line.finish(callback, line.settled(first, QUEUED, gave_up=True), ended=ended)
    await line.store("a")
    assert set((await line.statuses()).values()) == {"queued"}
    subscription = await line.subscription()
    async with line.database.write() as connection:
        chosen, _ = await notifications.queued(connection, subscription, after=0, until=99, limit=99)
        assert await notifications.redeliver(connection, subscription.id, chosen, now=line.now) == 4
    assert [await line.turn() for _ in range(4)] == [[1], [2], [3], [4]]


async def test_a_move_to_another_callback_keeps_the_order(line: Line) -> None:
    for objects in ("a", "a", "b"):
        await line.store(*objects)
    assert await line.turn({1: RETRY}) == [1, 3]
    async with line.database.write() as connection:
        (subscription,) = await outbox.subscriptions_of(connection, 1, lock="update")
        other = await outbox.callback_id(connection, account_id=1, url="http://b.example.com")
        await outbox.move(connection, subscription, other, now=line.now)
    assert await line.turn() == [1]
    assert await line.turn() == [2]


async def test_whoever_wants_no_order_any_more_gets_everything_at_once(line: Line) -> None:
    for objects in ("a", "a", "a"):
        await line.store(*objects)
    async with line.database.write() as connection:
        (subscription,) = await outbox.subscriptions_of(connection, 1, lock="update")
        await outbox.keep_order(connection, subscription, ordered=False, now=line.now)
    assert await line.turn() == [1, 2, 3]
    assert await line.remembered() == 0


async def test_without_order_nothing_waits(database: Database) -> None:
    line = Line(database)
    await line.subscribe(ordered=False)
    for _ in range(3):
        await line.store("a")
    assert await line.turn({1: RETRY}) == [1, 2, 3]
    assert await line.remembered() == 0


class Storm:
    """Workers that fail, lose their lease and die, while deliveries are stored and subscriptions end."""

    def __init__(self, line: Line, databases: list[Database], seed: int) -> None:
        self.line = line
        self.databases = databases
        self.chance = random.Random(seed)
        self.filling = True

    async def fill(self, count: int) -> None:
        for _ in range(count):
            await self.line.store(*self.chance.sample("abc", self.chance.randint(1, 2)))
            await asyncio.sleep(self.chance.random() / 200)
        self.filling = False

    async def work(self, database: Database) -> None:
        mine = Line(database)
        mine.__dict__.update(vars(self.line) | {"database": database})
        while self.filling or len(self.line.seen) < self.line.stored or await self.line.remembered():
            mine.now = self.line.now = self.line.now + SECOND
            for callback in await mine.claim():
                await self.serve(mine, callback)
            await asyncio.sleep(self.chance.random() / 500)

    async def serve(self, mine: Line, callback: Callback) -> None:
        due = await mine.due(callback, limit=self.chance.randint(1, 5))
        together = [key for item in due for key in mine.about[item.delivery_id]]
        assert len(together) == len(set(together)), "two of one object in flight together"
        settled = [await self.attempt(mine, item) for item in due]
        match self.chance.randrange(10):
            case 0:  # the worker dies; its lease passes
                self.line.now += LEASE
            case 1:
                ended = {self.line.subscription_id: "the receiver answered 410 Gone"}
                gone = [mine.settled(item, QUEUED, gave_up=True) for item in due[:1]]
                await mine.finish(callback, *gone, *settled[1:], ended=ended)
                await self.redeliver(mine)
            case _:
                await mine.finish(callback, *settled)

    async def attempt(self, mine: Line, item: Pending) -> Settlement:
        await asyncio.sleep(self.chance.random() / 500)
        if not item.active or self.chance.random() < 0.1:
            return mine.settled(item, QUEUED if not item.active else RETRY)
        self.line.arrive(item.delivery_id)
        lost = self.chance.random() < 0.2  # the answer does not come back
        return mine.settled(item, RETRY if lost else DELIVERED)

    async def redeliver(self, mine: Line) -> None:
        subscription = await mine.subscription()
        async with mine.database.write() as connection:
            chosen, _ = await notifications.queued(connection, subscription, after=0, until=9999, limit=999)
            chosen = [item for item in chosen if self.chance.random() < 0.7] or chosen
            await notifications.redeliver(connection, subscription.id, chosen, now=mine.now)

    async def sweep(self) -> None:
        """Redelivers what is queued now and then, as its owner does."""
        while self.filling or len(self.line.seen) < self.line.stored or await self.line.remembered():
            await asyncio.sleep(0.05)
            await self.redeliver(self.line)


@pytest.mark.parametrize("seed", [1, 2])
async def test_through_failures_and_deaths_each_object_is_told_in_order_and_nothing_is_lost(
    line: Line, database_url: str, seed: int
) -> None:
    settings = Settings(_env_file=None, database_url=database_url, encryption_keys=ENCRYPTION_KEY)
    databases = [Database(settings.database, connections=2) for _ in range(2)]
    storm = Storm(line, databases, seed)
    try:
        async with asyncio.timeout(10 * PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(storm.fill(25))
            group.create_task(storm.sweep())
            for database in databases:
                group.create_task(storm.work(database))
    finally:
        for database in databases:
            await database.close()
    assert line.seen == set(range(1, 26))
    for key, numbers in line.arrivals.items():
        assert numbers == sorted(numbers), key
    assert set((await line.statuses()).values()) == {"delivered"}
