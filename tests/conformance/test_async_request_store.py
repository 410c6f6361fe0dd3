"""What the store promises of async requests, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, update

from app.store import async_requests, instances, outbox, retention
from app.store.engine import Database
from app.store.leases import lease_of
from app.store.tables import AsyncRequest, Callback, Delivery, Subscription, table
from app.tenancy import tenants

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SOON = timedelta(seconds=30)
URL, TOPIC = "https://app.example.com/done", "instance-1-egnyte-async"


@pytest.fixture
async def subscription(database: Database) -> Subscription:
    await tenants.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.write() as connection:
        instance_id = await instances.insert_instance(
            connection, account_id=1, user_id=1, element_key="egnyte", name="n", tags=[], configuration={},
            external_authentication="none", token_hash="h", valid=True, disabled=False,
            created_at=NOW, updated_at=NOW,
        )  # fmt: skip
        callback_id = await outbox.callback_id(connection, account_id=1, url=URL)
        for topic in ("instance-1-egnyte-events", TOPIC):
            await outbox.subscribe(
                connection, configured=False, account_id=1, instance_id=instance_id, callback_id=callback_id,
                topic=topic, created_at=NOW,
            )  # fmt: skip
        found = await async_requests.subscription_for(connection, instance_id, TOPIC, URL)
    assert found is not None
    return found


@pytest.fixture
async def request_id(database: Database, subscription: Subscription) -> int:
    async with database.write() as connection:
        return await async_requests.add(
            connection, now=NOW, account_id=1, instance_id=subscription.instance_id,
            subscription_id=subscription.id, method="DELETE", target="/folders?path=/a", body=None,
        )  # fmt: skip


async def claim(database: Database, now: datetime = NOW) -> list[AsyncRequest]:
    async with database.write() as connection:
        return await async_requests.claim_due(connection, limit=10, now=now, lease=SOON)


async def test_a_subscription_is_found_by_its_topic_and_url(
    database: Database, subscription: Subscription
) -> None:
    assert subscription.topic == TOPIC
    async with database.write() as connection:
        for topic, url in ((TOPIC, "https://b.example.com"), ("other", URL)):
            found = await async_requests.subscription_for(connection, subscription.instance_id, topic, url)
            assert found is None
        assert await async_requests.subscription_of(connection, subscription.id) == subscription


async def test_an_intake_does_not_hold_the_subscriptions_to_answers(
    database: Database, subscription: Subscription
) -> None:
    async with database.write() as connection:
        found = await outbox.subscriptions_of(
            connection, subscription.instance_id, topic="instance-1-egnyte-events", lock="share"
        )
    assert [item.topic for item in found] == ["instance-1-egnyte-events"]


async def test_a_request_is_held_by_one_worker_until_its_lease_has_passed(
    database: Database, request_id: int
) -> None:
    (held,) = await claim(database)
    assert (held.id, held.target) == (request_id, "/folders?path=/a")
    assert await claim(database) == []
    (again,) = await claim(database, NOW + SOON)
    async with database.write() as connection:
        assert not await async_requests.begin(connection, lease_of(held), attempts=1)
        assert not await async_requests.end(connection, lease_of(held), status=200, now=NOW)
        assert await async_requests.end(connection, lease_of(again), status=200, now=NOW)
    assert await claim(database, NOW + timedelta(days=1)) == []


async def test_a_postponed_request_is_due_later(database: Database, request_id: int) -> None:
    (held,) = await claim(database)
    async with database.write() as connection:
        assert await async_requests.postpone(connection, lease_of(held), due_at=NOW + SOON, attempts=1)
    assert await claim(database) == []
    (again,) = await claim(database, NOW + SOON)
    assert again.attempts == 1


async def test_only_what_has_ended_is_forgotten_with_its_subscription(
    database: Database, subscription: Subscription, request_id: int
) -> None:
    async with database.write() as connection:
        await async_requests.forget(connection, subscription.id)
        assert await async_requests.is_awaited(connection, subscription.id)
    (held,) = await claim(database)
    async with database.write() as connection:
        assert await async_requests.end(connection, lease_of(held), status=200, now=NOW)
        assert not await async_requests.is_awaited(connection, subscription.id)
        await async_requests.forget(connection, subscription.id)
        assert await connection.scalar(select(func.count()).select_from(table(AsyncRequest))) == 0


@pytest.mark.parametrize(
    ("status", "due_at", "shared", "left"),
    [
        (None, None, True, (1, 1)),
        (None, None, False, (1, 0)),
        ("delivered", None, False, (1, 0)),
        ("queued", None, False, (2, 1)),
        ("retry", NOW, False, (2, 1)),
    ],
)
async def test_what_was_made_for_forgotten_requests_goes_with_them(
    database: Database,
    subscription: Subscription,
    request_id: int,
    status: str | None,
    due_at: datetime | None,
    shared: bool,
    left: tuple[int, int],
) -> None:
    (held,) = await claim(database)
    own = {"account_id": 1, "instance_id": subscription.instance_id, "notification_id": 1, "attempts": 1}
    async with database.write() as connection:
        if not shared:
            other = await outbox.callback_id(connection, account_id=1, url="https://other.example.com")
            events = table(Subscription).c.topic != TOPIC
            await connection.execute(update(table(Subscription)).where(events).values(callback_id=other))
        if status:
            to = {"subscription_id": subscription.id, "callback_id": subscription.callback_id}
            times = {"created_at": NOW, "updated_at": NOW, "due_at": due_at}
            await connection.execute(
                insert(table(Delivery)).values(id=1, status=status, **own, **to, **times)
            )
        assert await async_requests.end(connection, lease_of(held), status=200, now=NOW)
    async with database.write() as connection:
        assert await retention.forget_requests(connection, limit=5, before=NOW) == 0
        assert await retention.forget_requests(connection, limit=5, before=NOW + SOON) == 1
        subscriptions = await connection.scalar(select(func.count()).select_from(table(Subscription)))
        callbacks = table(Callback)
        kept = select(func.count()).select_from(callbacks).where(callbacks.c.id == subscription.callback_id)
        assert (subscriptions, await connection.scalar(kept)) == left
