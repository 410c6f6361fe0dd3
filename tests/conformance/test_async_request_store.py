"""What the store promises of async requests, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import tenants
from app.store import async_requests, instances, outbox
from app.store.engine import Database
from app.store.leases import lease_of
from app.store.tables import AsyncRequest, Subscription

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


async def test_requests_can_be_withdrawn(
    database: Database, subscription: Subscription, request_id: int
) -> None:
    async with database.write() as connection:
        await async_requests.withdraw(connection, subscription.id)
    assert await claim(database) == []
