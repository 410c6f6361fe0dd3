"""Every promise of the store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from conftest import ENCRYPTION_KEY
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.settings import Settings
from app.store import (
    accounts,
    events,
    instances,
    leases,
    notifications,
    outbox,
    pollers,
    settlements,
    tenants,
    users,
)
from app.store.engine import Database
from app.store.events import NewEvent
from app.store.instances import Wanted
from app.store.leases import Lease, lease_of
from app.store.settlements import Settlement
from app.store.tables import (
    FAILURE_POLICY,
    Attempt,
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
    Secret,
    SecretKind,
    Subscription,
    table,
)
from app.tenancy import tenants as secrets

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SOON = timedelta(seconds=30)


class Filled:
    """A database with one account, and short ways to put rows into it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.newest = 0
        self._number = 0

    async def poller(self, *, due_at: datetime | None = NOW, instance_id: int | None = None) -> int:
        """An instance with a poller; answers the poller's id."""
        self._number += 1
        own_id = {} if instance_id is None else {"id": instance_id}
        async with self.database.write() as connection:
            self.newest = instance_id = await instances.insert_instance(
                connection,
                **own_id,
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
        notification = Notification(
            **common, topic="topic", resource="events", via="polling", body=b"%d" % number
        )
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


@pytest.mark.parametrize("step", ["hint", "suspend", "stop", "remove", "begin", "end"])
async def test_the_pollers_of_an_instance_are_locked_in_one_order(filled: Filled, step: str) -> None:
    first = await filled.poller()
    how: dict[str, Any] = {"page_size": 20, "interval_seconds": 900.0, "due_at": NOW, "cursor": "1"}
    mine = how | {"account_id": 1, "instance_id": filled.newest}
    steps: dict[str, Callable[[AsyncConnection], Awaitable[object]]] = {
        "hint": lambda connection: pollers.hint(connection, filled.newest, now=NOW),
        "suspend": lambda connection: pollers.suspend(connection, filled.newest),
        "stop": lambda connection: pollers.stop(connection, filled.newest, error="e", now=NOW),
        "remove": lambda connection: pollers.remove(connection, filled.newest),
        "begin": lambda connection: pollers.begin(connection, filled.newest, at="2", instead_of="1"),
        "end": lambda connection: instances.remove(connection, filled.newest, now=NOW),
    }

    async def other() -> None:
        async with filled.database.write() as connection:
            await steps[step](connection)

    async with filled.database.write() as connection:
        await pollers.create(connection, resource="a", **mine)  # an index has it before "events"
    oldest = update(table(Poller)).where(table(Poller).c.id == first)
    async with filled.database.write() as connection:
        await connection.execute(oldest.values(due_at=NOW + SOON))  # and now the table, too
    async with filled.database.write() as connection:
        await connection.execute(oldest.values(page_size=10))
        beside = asyncio.create_task(other())
        await asyncio.sleep(0.3)
        await pollers.configure(connection, filled.newest, "a", **how)
    await beside


async def test_an_event_is_stored_once(filled: Filled) -> None:
    def event(number: int, key: str) -> NewEvent:
        common: dict[str, Any] = {
            "account_id": 1,
            "instance_id": 1,
            "notification_id": 1,
            "event_type": "CREATED",
            "object_type": "file",
            "object_id": "g-1",
            "change": "create",
            "row": '{"a": [1, null, "ü"]}',
            "object_sequence": None,
            "twin": None,
        }
        return NewEvent(id=number, sequence=number, key=key, event_date=NOW, created_at=NOW, **common)

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
    gone = replace(settled(1, DeliveryStatus.QUEUED), gave_up=True)
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


async def secret_hashes(database: Database) -> set[str]:
    """The hashes of all secrets that are kept, but for those of the first start."""
    async with database.read() as connection:
        found = await connection.scalars(select(table(Secret).c.hash))
    return {name for name in found if len(name) < 10}


async def keep_secret(database: Database, name: str, kind: SecretKind, **more: Any) -> None:
    owner: dict[str, Any] = {"organization_id": 1, "user_id": 1, "created_at": NOW}
    async with database.write() as connection:
        await tenants.insert_secret(connection, kind=kind, hash=name, **(owner | more))


async def test_only_the_newest_secrets_of_one_kind_and_one_user_stay(database: Database) -> None:
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    await secrets.create_organization(database, "Other", email="t@example.com", now=NOW)
    for number in range(4):
        await keep_secret(database, f"mine-{number}", SecretKind.USER_BY_LOGIN)
        await keep_secret(database, f"his-{number}", SecretKind.USER_BY_LOGIN, user_id=2)
        await keep_secret(database, f"own-{number}", SecretKind.USER)
    async with database.write() as connection:
        await tenants.keep_newest(connection, 1, SecretKind.USER_BY_LOGIN, count=2)
    others = {f"{whose}-{number}" for whose in ("his", "own") for number in range(4)}
    assert await secret_hashes(database) == {"mine-2", "mine-3"} | others


async def test_secrets_end_when_they_are_told_and_never_later(database: Database) -> None:
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    later = {"expires_at": NOW + timedelta(hours=1)}
    await keep_secret(database, "whole", SecretKind.ORGANIZATION, user_id=None)
    await keep_secret(database, "short", SecretKind.USER, expires_at=NOW + timedelta(seconds=5))
    await keep_secret(database, "user", SecretKind.USER_BY_LOGIN, **later)
    await keep_secret(database, "login", SecretKind.LOGIN, **later)

    async def known(name: str, seconds: int) -> bool:
        at, kind = NOW + timedelta(seconds=seconds), SecretKind.LOGIN if name == "login" else SecretKind.USER
        async with database.read() as connection:
            return await tenants.caller_by_secret(connection, kind, name, now=at) is not None

    async with database.write() as connection:
        await tenants.end_user_secrets(connection, 1, at=NOW + SOON, now=NOW)
    assert [await known(name, 4) for name in ("short", "user", "login")] == [True, True, True]
    assert [await known(name, 29) for name in ("short", "user", "login")] == [False, True, True]
    assert [await known(name, 31) for name in ("short", "user", "login")] == [False, False, True]
    async with database.write() as connection:
        await tenants.forget_ended(connection, 1, now=NOW + timedelta(seconds=6))
        assert await tenants.organization_by_secret(connection, "whole", now=NOW) == 1
        await tenants.end_organization_secrets(connection, 1, at=NOW, now=NOW)
        assert await tenants.organization_by_secret(connection, "whole", now=NOW) is None
    assert await secret_hashes(database) == {"user", "login"}
    await keep_secret(database, "own", SecretKind.USER)
    async with database.write() as connection:
        await tenants.end_logins(connection, 1)
    assert await secret_hashes(database) == {"own"}, "what a login was given ends with it"


async def test_an_organization_is_never_left_without_administrator(
    database: Database, crowd: list[Database]
) -> None:
    """Everybody takes the role from everybody, at once: one of them has to stay."""
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.write() as connection:
        values: dict[str, Any] = {"organization_id": 1, "account_id": 1, "role": Role.ORGANIZATION}
        for number in range(3):
            name = {"email": f"{number}@example.com", "first_name": "", "last_name": ""}
            await users.insert_user(connection, created_at=NOW, **values, **name)

    async def demote(database: Database, user_id: int) -> bool:
        async with database.write() as connection:
            await tenants.lock_organization(connection, 1)
            user = await users.by_id(connection, user_id, 1)
            assert user is not None
            if await users.is_last_administrator(connection, user):
                return False
            await users.change(connection, user_id, role=Role.USER)
            return True

    done = await asyncio.gather(*(demote(item, number) for number, item in enumerate(crowd, start=1)))
    assert sorted(done) == [False, True, True, True]


async def test_a_user_is_held_as_he_was_seen(database: Database) -> None:
    await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.write() as connection:
        assert await users.with_password(connection, "t@example.com", limit=5) == []
        await users.change(connection, 1, password_hash="one")
        (seen,) = await users.with_password(connection, "t@example.com", limit=5)
        assert await users.hold(connection, seen)
        await users.change(connection, 1, password_hash="two")
        assert not await users.hold(connection, seen)
        await users.change(connection, 1, password_hash="one", active=False)
        assert not await users.hold(connection, seen)


async def test_of_the_addresses_the_one_in_most_organizations_counts(database: Database) -> None:
    async with database.read() as connection:
        assert await users.most_with_password(connection) == 0
    for email in ("t@example.com", "t@example.com", "t@example.com", "u@example.com"):
        await secrets.create_organization(database, "Test", email=email, now=NOW)
    async with database.write() as connection:
        assert await users.most_with_password(connection) == 0
        for user_id in range(1, 5):
            await users.change(connection, user_id, password_hash="one")
        assert await users.most_with_password(connection) == 3
        await users.change(connection, 1, active=False)
        assert await users.most_with_password(connection) == 2


async def test_a_user_ends_with_all_of_his_secrets(database: Database) -> None:
    made = await secrets.create_organization(database, "Test", email="t@example.com", now=NOW)
    await secrets.create_organization(database, "Other", email="t@example.com", now=NOW)
    await keep_secret(database, "pair", SecretKind.ORGANIZATION_BY_LOGIN)
    await keep_secret(database, "login", SecretKind.LOGIN)
    await keep_secret(database, "his", SecretKind.LOGIN, organization_id=2, user_id=2)
    async with database.write() as connection:
        assert await tenants.organization_by_secret(connection, "pair", now=NOW) == 1
        await users.remove(connection, 1, now=NOW)
        assert await users.by_id(connection, 1, 1) is None
        assert await users.by_email(connection, "t@example.com", 2) is not None
        proof = secrets.digest(made.user)
        assert await tenants.caller_by_secret(connection, SecretKind.USER, proof, now=NOW) is None
        assert await tenants.organization_by_secret(connection, "pair", now=NOW) is None
    assert await secret_hashes(database) == {"his"}


async def test_an_account_ends_with_all_that_it_has_and_no_other(filled: Filled) -> None:
    await filled.poller()
    await secrets.create_organization(filled.database, "Other", email="t@example.com", now=NOW)
    async with filled.database.write() as connection:
        await instances.insert_credential(connection, instance_id=1, account_id=1, sealed=b"1")
        await accounts.remove(connection, 2, now=NOW)
        await instances.remove_of_account(connection, 2, now=NOW)
        assert await instances.by_id(connection, 1, 1) is not None
        assert await accounts.by_id(connection, 2, 2) is None
        assert [user.id for user in await users.anywhere(connection, "t@example.com")] == [1]
        await accounts.remove(connection, 1, now=NOW)
        await instances.remove_of_account(connection, 1, now=NOW)
        assert await instances.by_id(connection, 1, 1) is None
        assert await accounts.first(connection, 1) is None
        assert await users.anywhere(connection, "t@example.com") == []
    assert (await filled.count(Credential), await filled.count(Poller)) == (0, 0)
    assert await filled.count(Instance) == 1
    async with filled.database.read() as connection:
        kinds = await connection.scalars(select(table(Secret).c.kind))
        assert set(kinds) == {SecretKind.ORGANIZATION}


async def test_a_delivery_knows_what_its_account_wants_of_failures(filled: Filled) -> None:
    subscription = await filled.subscription()
    await filled.deliver(subscription, 1)
    for settings, queued in (
        ({}, False),
        ({FAILURE_POLICY: "retry"}, False),
        ({FAILURE_POLICY: "queue", "other": "x"}, True),
    ):
        async with filled.database.write() as connection:
            await accounts.change(connection, 1, settings=settings)
            (due,) = await outbox.pending(connection, subscription.callback_id, limit=9, now=NOW)
        assert due.queue_failures is queued


async def test_an_instance_belongs_to_its_account_until_it_is_removed(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        await instances.insert_credential(connection, instance_id=1, account_id=1, sealed=b"1")
        found = await instances.by_id(connection, 1, 1)
        assert found is not None
        assert (found.tags, found.configuration) == (["t"], {"a": None, "b": "c"})
        assert await instances.by_id(connection, 1, 2) is None
        assert await instances.by_token_hash(connection, "hash-1") is not None
        assert await instances.find(connection, Wanted(2, 1), limit=9) == []
        await instances.remove(connection, 1, now=NOW)
        assert await instances.by_id(connection, 1, 1) is None
        assert await instances.by_token_hash(connection, "hash-1") is None
        assert await instances.for_worker(connection, 1) is None
        assert await instances.find(connection, Wanted(1, 1), limit=9) == []
    assert (await filled.count(Credential), await filled.count(Poller)) == (0, 0)
    assert await filled.count(Instance) == 1


async def test_instances_are_found_by_tags_and_words_and_counted(filled: Filled) -> None:
    for tags, name, element in ((["a", "b"], "One_x", "egnyte"), (["b"], "two%", "box"), ([], "3", "egnyte")):
        await filled.poller()
        async with filled.database.write() as connection:
            await instances.update_instance(
                connection, filled.newest, tags=tags, name=name, element_key=element
            )
    looks = [
        (Wanted(1, 1), [1, 2, 3]),
        (Wanted(None, 1), [1, 2, 3]),
        (Wanted(1, 2), []),
        (Wanted(1, 1, tags=["b"]), [1, 2]),
        (Wanted(1, 1, tags=["b", "a"]), [1]),
        (Wanted(1, 1, tags=['"b"']), []),
        (Wanted(1, 1, search="E_X"), [1]),
        (Wanted(1, 1, search="o%"), [2]),
        (Wanted(1, 1, search="EGN"), [1, 3]),
        (Wanted(1, 1, element_key="egnyte", search="3"), [3]),
    ]
    async with filled.database.read() as connection:
        for wanted, ids in looks:
            assert [row.id for row in await instances.find(connection, wanted, limit=9)] == ids, wanted
            assert sum((await instances.count(connection, wanted)).values()) == len(ids)
        page = await instances.find(connection, Wanted(1, 1), after_id=1, offset=1, limit=5)
        assert [row.id for row in page] == [3]
        assert await instances.count(connection, Wanted(1, 1)) == {"box": 1, "egnyte": 2}


async def test_a_tag_with_a_comma_is_one_tag_as_well(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        await instances.update_instance(connection, 1, tags=["Acme, Inc", "a", "b"])
        for tag, found in (("Acme, Inc", 1), ("a,b", 1), ("a,c", 0), ("Acme", 0)):
            assert len(await instances.find(connection, Wanted(1, 1, tags=[tag]), limit=9)) == found, tag


async def test_an_instance_is_ended_once_and_not_changed_afterwards(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        assert await instances.hold(connection, 1)
        assert await instances.remove(connection, 1, now=NOW)
        assert not await instances.remove(connection, 1, now=NOW)
        assert not await instances.hold(connection, 1)
        assert not await instances.change_instance(connection, 1, seen=NOW, name="x")
        assert await instances.of_account(connection, 1) == []


async def test_an_instance_may_bring_its_id_and_later_ones_are_above_it(filled: Filled) -> None:
    await filled.poller()
    for own, expected in ((500, 500), (None, 501), (400, 400), (None, 502)):
        await filled.poller(instance_id=own)
        assert filled.newest == expected
    async with filled.database.read() as connection:
        assert await instances.is_taken(connection, 400)
        assert not await instances.is_taken(connection, 401)


async def test_an_instance_is_changed_only_by_who_saw_it_last(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        values = {"name": "x", "updated_at": NOW + SOON}
        assert await instances.change_instance(connection, 1, seen=NOW, **values)
        assert not await instances.change_instance(connection, 1, seen=NOW, **values)
        await instances.remove(connection, 1, now=NOW)
        assert not await instances.change_instance(connection, 1, seen=NOW, **values)


async def test_secrets_are_not_replaced_while_somebody_refreshes_them(filled: Filled) -> None:
    await filled.poller()
    async with filled.database.write() as connection:
        await instances.insert_credential(connection, instance_id=1, account_id=1, sealed=b"1")
        assert await instances.claim_refresh(connection, 1, version=1, fence=7, now=NOW, until=NOW + SOON)
        assert not await instances.save_credential(connection, 1, version=1, sealed=b"2", free_at=NOW)
        assert await instances.save_credential(connection, 1, version=1, sealed=b"2", free_at=NOW + SOON)


async def test_a_poller_that_is_configured_is_taken_from_its_reader(filled: Filled) -> None:
    await filled.poller()
    (held,) = await filled.claim()
    later = NOW + SOON
    async with filled.database.write() as connection:
        await pollers.configure(connection, 1, "events", due_at=later, interval_seconds=60.0, page_size=5)
        assert not await pollers.finish(connection, lease_of(held), cursor="9", now=NOW, due_at=NOW)
        await pollers.begin(connection, 1, at="5", instead_of="other")
    (row,) = await filled.pollers_of(1)
    assert (row.cursor, row.due_at, row.interval_seconds, row.page_size) == ("1", later, 60.0, 5)
    async with filled.database.write() as connection:
        await pollers.begin(connection, 1, at="5", instead_of="1")
        await pollers.suspend(connection, 1)
    (row,) = await filled.pollers_of(1)
    assert (row.cursor, row.due_at) == ("5", None)
    async with filled.database.write() as connection:
        await pollers.resume(connection, 1, now=NOW)
    (held,) = await filled.claim()
    async with filled.database.write() as connection:
        await pollers.suspend(connection, 1)
        assert not await pollers.finish(connection, lease_of(held), cursor="9", now=NOW, due_at=NOW)
        await pollers.remove(connection, 1, keep=["events"])
    assert len(await filled.pollers_of(1)) == 1
    async with filled.database.write() as connection:
        await pollers.remove(connection, 1)
    assert await filled.pollers_of(1) == []


async def test_a_moved_subscription_takes_what_is_not_delivered_with_it(filled: Filled) -> None:
    old, other = await filled.subscription(), await filled.subscription("http://b.example.com")
    for number in (1, 2, 3, 4):
        await filled.deliver(old, number)
    await filled.deliver(other, 9)
    (callback, _) = await filled.callbacks()
    first = [settled(1, DeliveryStatus.DELIVERED), settled(2, DeliveryStatus.QUEUED)]
    assert await filled.finish(lease_of(callback), *first)
    (callback,) = await filled.callbacks()
    async with filled.database.write() as connection:
        target = await outbox.callback_id(connection, account_id=1, url="http://c.example.com")
        await outbox.move(connection, old, target, now=NOW)
    late = [settled(3, DeliveryStatus.DELIVERED), settled(4, DeliveryStatus.QUEUED)]
    assert await filled.finish(lease_of(callback), *late, ended={old.id: "too late"})
    rows = [await filled.one(Delivery, number) for number in (1, 2, 3, 4, 9)]
    assert [row.status for row in rows] == ["delivered", "created", "delivered", "created", "created"]
    assert [row.callback_id for row in rows] == [callback.id, target, target, target, other.callback_id]
    subscription = await filled.one(Subscription, old.id)
    assert (subscription.callback_id, subscription.active) == (target, True)
    assert (await filled.one(Callback, target)).due_at == NOW
    assert (await filled.one(Callback, callback.id)).due_at is None


async def test_a_failure_does_not_undo_what_its_owner_has_sent_anew_meanwhile(filled: Filled) -> None:
    subscription = await filled.subscription()
    for number in (1, 2):
        await filled.deliver(subscription, number)
    rows = table(Delivery)
    async with filled.database.write() as connection:
        await connection.execute(update(rows).where(rows.c.id == 1).values(attempts=9))
    (callback,) = await filled.callbacks()
    async with filled.database.write() as connection:
        chosen = await notifications.deliveries(connection, 1, 1, subscription.id)
        assert await notifications.redeliver(connection, subscription.id, chosen, now=NOW) == 1
    last = Settlement(1, DeliveryStatus.QUEUED, 10, None, 500, "x", seen=9, gave_up=True)
    assert await filled.finish(lease_of(callback), last, ended={subscription.id: "10 attempts failed"})
    found = [await filled.one(Delivery, number) for number in (1, 2)]
    assert [(row.status, row.attempts, row.due_at) for row in found] == [("created", 0, NOW)] * 2
    assert (await filled.one(Subscription, subscription.id)).active


async def test_the_attempt_of_a_delivery_that_was_dropped_is_not_kept(filled: Filled) -> None:
    subscription = await filled.subscription()
    await filled.deliver(subscription, 1)
    (callback,) = await filled.callbacks()
    async with filled.database.write() as connection:
        await notifications.end(connection, subscription.id, now=NOW)
        assert await notifications.remove(connection, subscription.id, limit=10, now=NOW)
    made = replace(settled(1, DeliveryStatus.DELIVERED), started_at=NOW)
    assert await filled.finish(lease_of(callback), made)
    assert await filled.count(Attempt) == 0


@pytest.mark.parametrize("kind", ["deactivate", "move"])
async def test_a_turn_and_a_change_of_its_subscription_do_not_wait_for_each_other(
    filled: Filled, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The turn writes the last delivery, and then the first one; the change takes them as they come."""
    subscription = await filled.subscription()
    for number in range(1, 21):
        await filled.deliver(subscription, number)
    (callback,) = await filled.callbacks()
    write, half_way = settlements._write_failures, asyncio.Event()

    async def slowly(*given: Any) -> None:
        half_way.set()
        await asyncio.sleep(0.3)
        await write(*given)

    async def change() -> None:
        await half_way.wait()
        async with filled.database.write() as connection:
            (found,) = await outbox.subscriptions_of(connection, subscription.instance_id, lock="update")
            if kind == "deactivate":
                await outbox.deactivate(connection, found, "gave up", now=NOW)
            else:
                target = await outbox.callback_id(connection, account_id=1, url="http://c.example.com")
                await outbox.move(connection, found, target, now=NOW)

    monkeypatch.setattr(settlements, "_write_failures", slowly)
    both = [settled(20, DeliveryStatus.DELIVERED), settled(1, DeliveryStatus.RETRY, NOW + SOON)]
    assert (await asyncio.gather(filled.finish(lease_of(callback), *both), change()))[0]
    assert (await filled.one(Delivery, 20)).status == "delivered"
    changed = {"deactivate": ("queued", 1), "move": ("created", 0)}[kind]
    row = await filled.one(Delivery, 1)
    assert (row.status, row.attempts) == changed


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
