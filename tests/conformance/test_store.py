"""Every promise of the store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from conftest import ENCRYPTION_KEY
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app import tenants as secrets
from app.settings import Settings
from app.store import events, instances, leases, outbox, pollers, tenants
from app.store.engine import Database
from app.store.leases import Lease, lease_of
from app.store.outbox import Settlement
from app.store.tables import (
    Callback,
    Credential,
    Delivery,
    DeliveryStatus,
    Event,
    Instance,
    Notification,
    Organization,
    Poller,
    Role,
    SecretKind,
    Subscription,
    table,
)

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SOON = timedelta(seconds=30)


class Filled:
    """A database with one account, and short ways to put rows into it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._number = 0

    async def poller(self, *, due_at: datetime | None = NOW) -> int:
        """An instance with a poller; answers the poller's id."""
        self._number += 1
        async with self.database.write() as connection:
            instance_id = await instances.insert_instance(
                connection,
                account_id=1,
                user_id=1,
                element_key="egnyte",
                name="n",
                tags=["t"],
                configuration={"a": None, "b": "c"},
                external_authentication="none",
                token_hash=f"hash-{self._number}",
                valid=True,
                disabled=False,
                created_at=NOW,
                updated_at=NOW,
            )
            await pollers.create(
                connection,
                account_id=1,
                instance_id=instance_id,
                resource="events",
                page_size=20,
                interval_seconds=900.0,
                cursor="1",
                due_at=due_at,
            )
        return (await self.pollers_of(instance_id))[0].id

    async def pollers_of(self, instance_id: int) -> list[Poller]:
        async with self.database.read() as connection:
            return (await pollers.of_instances(connection, [instance_id])).get(instance_id, [])

    async def claim(self, limit: int = 10, *, now: datetime = NOW) -> list[Poller]:
        async with self.database.write() as connection:
            return await pollers.claim_due(connection, limit=limit, now=now, lease=SOON)

    async def subscription(self, url: str = "http://a.example.com") -> Subscription:
        async with self.database.write() as connection:
            callback_id = await outbox.callback_id(connection, account_id=1, url=url)
            await outbox.subscribe(
                connection,
                account_id=1,
                instance_id=callback_id,
                callback_id=callback_id,
                topic="topic",
                created_at=NOW,
            )
            return (await outbox.subscriptions_of(connection, callback_id))[-1]

    async def deliver(
        self, subscription: Subscription, number: int, *, due_at: datetime | None = NOW
    ) -> None:
        """A notification with one delivery, both numbered."""
        common: dict[str, Any] = {
            "id": number,
            "account_id": 1,
            "instance_id": subscription.instance_id,
            "created_at": NOW,
        }
        notification = Notification(**common, topic="topic", body=b"%d" % number)
        delivery = Delivery(
            **common,
            notification_id=number,
            subscription_id=subscription.id,
            callback_id=subscription.callback_id,
            status=DeliveryStatus.CREATED,
            due_at=due_at,
            last_error=None,
            updated_at=NOW,
        )
        async with self.database.write() as connection:
            await outbox.append(connection, [notification], [delivery], now=NOW)

    async def callbacks(self, limit: int = 10, slow_limit: int = 10) -> list[Callback]:
        async with self.database.write() as connection:
            return await outbox.claim_callbacks(
                connection, limit=limit, slow_limit=slow_limit, now=NOW, lease=SOON
            )

    async def finish(self, lease: Lease, *settlements: Settlement, **more: Any) -> bool:
        values: dict[str, Any] = {"ended": {}, "slow": False, "now": NOW} | more
        async with self.database.write() as connection:
            return await outbox.finish_turn(connection, lease, settlements, **values)

    async def one(self, model: Any, row_id: int) -> Any:
        rows = table(model)
        async with self.database.read() as connection:
            return (await connection.execute(select(rows).where(rows.c.id == row_id))).one()

    async def count(self, model: Any) -> int:
        async with self.database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(table(model))) or 0


def settled(number: int, status: DeliveryStatus, due_at: datetime | None = None) -> Settlement:
    return Settlement(number, status, 1, due_at, 200, None)


@pytest.fixture
async def filled(database: Database) -> Filled:
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    return Filled(database)


@pytest.fixture
async def crowd(database_url: str) -> AsyncIterator[list[Database]]:
    """The same database as four processes see it."""
    settings = Settings(_env_file=None, database_url=database_url, encryption_keys=ENCRYPTION_KEY)
    databases = [Database(settings.database, connections=2) for _ in range(4)]
    yield databases
    for database in databases:
        await database.close()


async def test_an_exception_leaves_nothing_behind(filled: Filled) -> None:
    async def fail_half_way() -> None:
        async with filled.database.write() as connection:
            await outbox.callback_id(connection, account_id=1, url="http://x.example.com")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    assert await filled.count(Callback) == 0


async def test_the_engine_is_set_up_for_durability(filled: Filled) -> None:
    async with filled.database.read() as connection:
        if filled.database.embedded:
            found = [
                await connection.scalar(table_free)
                for table_free in map(_pragma, ("journal_mode", "synchronous", "foreign_keys"))
            ]
            assert found == ["wal", 2, 1]
        else:
            assert await connection.scalar(select(func.current_setting("lock_timeout"))) == "30s"
            assert await connection.scalar(select(func.current_setting("synchronous_commit"))) == "on"


def _pragma(name: str) -> Any:
    return select(getattr(func, f"pragma_{name}")().table_valued(name).c[name])


async def test_times_come_back_in_utc(filled: Filled) -> None:
    elsewhere = NOW.astimezone(tz=None)
    poller = await filled.one(Poller, await filled.poller(due_at=elsewhere))
    assert poller.due_at == NOW
    assert poller.due_at.utcoffset() == timedelta(0)


async def test_only_due_rows_are_claimed_the_longest_due_first(filled: Filled) -> None:
    later, first, second = [
        await filled.poller(due_at=NOW + timedelta(minutes=minutes)) for minutes in (1, -2, -1)
    ]
    await filled.poller(due_at=None)
    assert [poller.id for poller in await filled.claim(1)] == [first]
    assert [poller.id for poller in await filled.claim()] == [second]
    assert await filled.claim() == []
    again = await filled.claim(now=NOW + timedelta(minutes=1))
    assert {poller.id for poller in again} == {later, first, second}


async def test_two_workers_never_hold_the_same_row(filled: Filled, crowd: list[Database]) -> None:
    wanted = {await filled.poller() for _ in range(40)}
    found: list[int] = []

    async def worker(database: Database) -> None:
        while claimed := await Filled(database).claim(3):
            found.extend(poller.id for poller in claimed)
            await asyncio.sleep(0)

    await asyncio.gather(*(worker(database) for database in crowd for _ in range(2)))
    assert sorted(found) == sorted(wanted)


async def test_a_lease_that_has_passed_is_taken_over_and_its_holder_changes_nothing(filled: Filled) -> None:
    await filled.poller()
    (dead,) = await filled.claim()
    (alive,) = await filled.claim(now=NOW + SOON)
    assert alive.id == dead.id
    async with filled.database.write() as connection:
        assert not await pollers.finish(connection, lease_of(dead), cursor="9", now=NOW, due_at=NOW)
        assert not await pollers.advance(
            connection, lease_of(dead), cursor="9", now=NOW, leased_until=NOW + SOON
        )
        assert not await pollers.release(connection, lease_of(dead))
        assert not await pollers.fail(connection, lease_of(dead), failures=1, error="e", now=NOW, due_at=None)
    assert (await filled.one(Poller, dead.id)).cursor == "1"
    async with filled.database.write() as connection:
        assert await pollers.release(connection, lease_of(alive))
    assert len(await filled.claim()) == 1


async def test_a_page_moves_the_cursor_and_keeps_the_lease(filled: Filled) -> None:
    await filled.poller()
    (poller,) = await filled.claim()
    async with filled.database.write() as connection:
        assert await pollers.advance(
            connection, lease_of(poller), cursor="2", now=NOW, leased_until=NOW + SOON
        )
    assert await filled.claim() == []
    later = NOW + timedelta(minutes=15)
    async with filled.database.write() as connection:
        assert await pollers.finish(connection, lease_of(poller), cursor="3", now=NOW, due_at=later)
    row = await filled.one(Poller, poller.id)
    assert (row.cursor, row.polled_at, row.fence, row.leased_until) == ("3", NOW, None, None)
    assert await filled.claim() == []
    assert len(await filled.claim(now=later)) == 1


async def test_a_failure_keeps_the_cursor_and_a_success_forgets_it(filled: Filled) -> None:
    await filled.poller()
    (poller,) = await filled.claim()
    async with filled.database.write() as connection:
        await pollers.record_gap(connection, lease_of(poller), since=None, until=NOW)
        await pollers.fail(connection, lease_of(poller), failures=1, error="vendor down", now=NOW, due_at=NOW)
    row = await filled.one(Poller, poller.id)
    assert (row.cursor, row.failures, row.error, row.error_at, row.gap_to) == (
        "1",
        1,
        "vendor down",
        NOW,
        NOW,
    )
    (poller,) = await filled.claim()
    async with filled.database.write() as connection:
        await pollers.finish(connection, lease_of(poller), cursor="2", now=NOW, due_at=NOW)
    row = await filled.one(Poller, poller.id)
    assert (row.failures, row.error, row.error_at, row.gap_to) == (0, None, None, NOW)


async def test_an_event_is_stored_once(filled: Filled) -> None:
    def event(number: int, key: str) -> Event:
        common: dict[str, Any] = {
            "account_id": 1,
            "instance_id": 1,
            "notification_id": 1,
            "row": {"a": [1, None, "ü"]},
        }
        return Event(id=number, key=key, event_date=NOW, created_at=NOW, **common)

    async with filled.database.write() as connection:
        await events.append(connection, [event(1, "a"), event(2, "b")])
        assert await events.known_keys(connection, 1, ["a", "c"]) == {"a"}
        assert await events.known_keys(connection, 2, ["a"]) == set()
    with pytest.raises(IntegrityError):
        async with filled.database.write() as connection:
            await events.append(connection, [event(3, "c"), event(4, "a")])
    assert await filled.count(Event) == 2
    assert (await filled.one(Event, 1)).row == {"a": [1, None, "ü"]}


async def test_one_url_of_an_account_is_one_callback(filled: Filled, crowd: list[Database]) -> None:
    async def ask(database: Database, account_id: int) -> int:
        async with database.write() as connection:
            return await outbox.callback_id(connection, account_id=account_id, url="http://a.example.com")

    found = await asyncio.gather(*(ask(database, 1) for database in crowd for _ in range(3)))
    assert len(set(found)) == 1
    assert await ask(filled.database, 2) != found[0]


async def test_a_callback_is_due_while_something_is_to_be_delivered(filled: Filled) -> None:
    subscription = await filled.subscription()
    assert await filled.callbacks() == []
    for number, seconds in ((1, 0), (2, -5), (3, 60)):
        await filled.deliver(subscription, number, due_at=NOW + timedelta(seconds=seconds))
    (callback,) = await filled.callbacks()
    async with filled.database.read() as connection:
        due = await outbox.pending(connection, callback.id, limit=10, now=NOW)
        assert [item.delivery_id for item in due] == [2, 1]
        assert (due[0].body, due[0].active, due[0].attempts) == (b"2", True, 0)
        assert len(await outbox.pending(connection, callback.id, limit=1, now=NOW)) == 1
    assert await filled.callbacks() == []
    retry = settled(2, DeliveryStatus.RETRY, NOW + timedelta(seconds=4))
    assert await filled.finish(lease_of(callback), settled(1, DeliveryStatus.DELIVERED), retry)
    assert (await filled.one(Callback, callback.id)).due_at == NOW + timedelta(seconds=4)
    row = await filled.one(Delivery, 2)
    assert (row.status, row.attempts, row.last_status) == ("retry", 1, 200)


async def test_a_callback_with_nothing_left_is_not_due(filled: Filled) -> None:
    await filled.deliver(await filled.subscription(), 1)
    (callback,) = await filled.callbacks()
    assert await filled.finish(lease_of(callback), settled(1, DeliveryStatus.DELIVERED))
    row = await filled.one(Callback, callback.id)
    assert (row.due_at, row.fence, row.leased_until) == (None, None, None)


async def test_a_stale_turn_settles_nothing(filled: Filled) -> None:
    await filled.deliver(await filled.subscription(), 1)
    (dead,) = await filled.callbacks()
    async with filled.database.write() as connection:
        alive = await outbox.claim_callbacks(connection, limit=1, slow_limit=1, now=NOW + SOON, lease=SOON)
    ended = {1: "reason"}
    assert not await filled.finish(lease_of(dead), settled(1, DeliveryStatus.DELIVERED), ended=ended)
    assert (await filled.one(Delivery, 1)).status == "created"
    assert (await filled.one(Subscription, 1)).active
    assert await filled.finish(lease_of(alive[0]), settled(1, DeliveryStatus.DELIVERED))


async def test_an_ended_subscription_queues_what_is_left_and_drops_nothing(filled: Filled) -> None:
    one = await filled.subscription()
    async with filled.database.write() as connection:
        await outbox.subscribe(
            connection,
            account_id=1,
            instance_id=7,
            callback_id=one.callback_id,
            topic="t",
            created_at=NOW,
        )
        (other,) = await outbox.subscriptions_of(connection, 7)
    for number in (1, 2):
        await filled.deliver(one, number)
    await filled.deliver(one, 3, due_at=NOW + timedelta(hours=1))
    await filled.deliver(other, 4)
    (callback,) = await filled.callbacks()
    gone = settled(1, DeliveryStatus.QUEUED)
    assert await filled.finish(lease_of(callback), gone, ended={one.id: "the receiver is gone"})
    rows = [await filled.one(Delivery, number) for number in (1, 2, 3, 4)]
    assert [row.status for row in rows] == ["queued", "queued", "queued", "created"]
    assert [row.due_at for row in rows] == [None, None, None, NOW]
    subscription = await filled.one(Subscription, one.id)
    assert (subscription.active, subscription.inactive_reason) == (False, "the receiver is gone")
    assert (await filled.one(Callback, callback.id)).due_at == NOW


async def test_slow_callbacks_take_a_bounded_share_of_the_places(filled: Filled) -> None:
    for number in range(6):
        await filled.deliver(await filled.subscription(f"http://{number}.example.com"), number)
    rows = table(Callback)
    async with filled.database.write() as connection:
        await connection.execute(update(rows).where(rows.c.id <= 4).values(slow=True))
    first = await filled.callbacks(limit=5, slow_limit=2)
    assert sorted(callback.slow for callback in first) == [False, False, True, True]
    assert await filled.callbacks(limit=5, slow_limit=0) == []
    assert len(await filled.callbacks(limit=5, slow_limit=9)) == 2


async def test_no_delivery_is_forgotten_when_a_turn_ends_while_another_is_stored(
    filled: Filled, crowd: list[Database]
) -> None:
    """The one race that could lose an event: what is stored while a turn looks for what is left."""
    subscription = await filled.subscription()
    numbers = iter(range(1, 1000))
    chance = random.Random(7)

    async def store(database: Database) -> None:
        for _ in range(15):
            await Filled(database).deliver(subscription, next(numbers))
            await asyncio.sleep(chance.random() / 500)

    async def serve(database: Database) -> None:
        mine = Filled(database)
        for _ in range(40):
            for callback in await mine.callbacks():
                async with database.read() as connection:
                    due = await outbox.pending(connection, callback.id, limit=5, now=NOW)
                done = [settled(item.delivery_id, DeliveryStatus.DELIVERED) for item in due]
                assert await mine.finish(lease_of(callback), *done)
            await asyncio.sleep(chance.random() / 500)

    await asyncio.gather(*(store(database) for database in crowd), *(serve(item) for item in crowd))
    while claimed := await filled.callbacks():
        for callback in claimed:
            async with filled.database.read() as connection:
                due = await outbox.pending(connection, callback.id, limit=500, now=NOW)
            await filled.finish(
                lease_of(callback), *(settled(item.delivery_id, DeliveryStatus.DELIVERED) for item in due)
            )
    deliveries = table(Delivery)
    async with filled.database.read() as connection:
        left = select(func.count()).where(deliveries.c.status != DeliveryStatus.DELIVERED)
        assert await connection.scalar(left) == 0
    assert await filled.count(Delivery) == 60


async def test_the_first_organization_is_made_once(database: Database, crowd: list[Database]) -> None:
    made = await asyncio.gather(*(secrets.create_first(item, now=NOW) for item in crowd))
    assert sum(item is not None for item in made) == 1
    assert await Filled(database).count(Organization) == 1


async def test_a_caller_is_found_by_the_hash_of_his_secret(database: Database) -> None:
    made = await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.read() as connection:
        found = partial(tenants.caller_by_secret, connection, now=NOW)
        caller = await found(SecretKind.USER, secrets.digest(made.user))
        assert await found(SecretKind.USER, made.user) is None
        assert await found(SecretKind.LOGIN, secrets.digest(made.user)) is None
        organization_id = await tenants.organization_by_secret(
            connection, secrets.digest(made.organization), now=NOW
        )
        assert await tenants.organization_by_secret(connection, secrets.digest(made.user), now=NOW) is None
    assert caller is not None
    assert (caller.email, caller.role) == ("t@example.com", Role.ORGANIZATION)
    assert caller.organization_id == organization_id


async def test_a_secret_ends(database: Database) -> None:
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.write() as connection:
        await tenants.insert_secret(
            connection,
            kind=SecretKind.LOGIN,
            organization_id=1,
            user_id=1,
            hash="h",
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
    async with database.read() as connection:
        for later, known in ((timedelta(minutes=59), True), (timedelta(hours=1), False)):
            caller = await tenants.caller_by_secret(connection, SecretKind.LOGIN, "h", now=NOW + later)
            assert (caller is not None) is known


async def test_an_instance_belongs_to_its_account_until_it_is_removed(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        await instances.insert_credential(connection, instance_id=1, account_id=1, sealed=b"1")
        found = await instances.by_id(connection, 1, 1)
        assert found is not None
        assert (found.tags, found.configuration) == (["t"], {"a": None, "b": "c"})
        assert await instances.by_id(connection, 1, 2) is None
        assert await instances.by_token_hash(connection, "hash-1") is not None
        assert await instances.of_account(connection, 2, after_id=0, limit=9) == []
        await instances.remove(connection, 1, now=NOW)
        assert await instances.by_id(connection, 1, 1) is None
        assert await instances.by_token_hash(connection, "hash-1") is None
        assert await instances.for_worker(connection, 1) is None
        assert await instances.of_account(connection, 1, after_id=0, limit=9) == []
    assert (await filled.count(Credential), await filled.count(Poller)) == (0, 0)
    assert await filled.count(Instance) == 1


async def test_secrets_are_replaced_only_by_who_read_the_newest(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        await instances.insert_credential(connection, instance_id=1, account_id=1, sealed=b"1")
        assert await instances.save_credential(connection, 1, version=1, sealed=b"2")
        assert not await instances.save_credential(connection, 1, version=1, sealed=b"3")
        row = (await instances.credentials(connection, [1, 2]))[1]
    assert (row.version, row.sealed) == (2, b"2")


async def test_foreign_keys_are_kept(filled: Filled) -> None:
    with pytest.raises(IntegrityError):
        async with filled.database.write() as connection:
            await connection.execute(
                insert(table(Credential)).values(instance_id=99, account_id=1, sealed=b"", version=1)
            )


def test_nobody_has_a_lease_on_a_row_that_is_free() -> None:
    with pytest.raises(ValueError, match="nobody"):
        leases.lease_of(Callback(id=1, account_id=1, url="x", due_at=None, leased_until=None, fence=None))
