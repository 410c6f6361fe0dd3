"""What the store promises of users in the URLs of older callbacks, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select

from app.store import instances, outbox, url_logins
from app.store.engine import Database
from app.store.tables import Callback, Delivery, Subscription, table
from app.tenancy import tenants

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
OLD, BARE, SHOWN = (
    f"https://{login}app.example.com/done" for login in ("ann:password@", "", "ann:********@")
)


async def subscribed(database: Database, *, both: bool = False) -> list[Subscription]:
    """A subscription to an older callback, with a delivery of each status; or two of them."""
    await tenants.create_organization(database, "Test", email="t@example.com", now=NOW)
    async with database.write() as connection:
        instance_id = await instances.insert_instance(
            connection, account_id=1, user_id=1, element_key="egnyte", name="n", tags=[], configuration={},
            external_authentication="none", token_hash="h", valid=True, disabled=False,
            created_at=NOW, updated_at=NOW,
        )  # fmt: skip
        old = await outbox.callback_id(connection, account_id=1, url=OLD)
        other = await outbox.callback_id(connection, account_id=1, url="https://b.example.com")
        for topic, callback_id in (("a", old), ("b", old if both else other)):
            await outbox.subscribe(
                connection, account_id=1, instance_id=instance_id, callback_id=callback_id, topic=topic,
                created_at=NOW,
            )  # fmt: skip
        found = await outbox.subscriptions_of(connection, instance_id)
        for number, status in enumerate(("created", "retry", "queued", "delivered"), start=1):
            await connection.execute(
                insert(table(Delivery)).values(
                    id=number, account_id=1, instance_id=instance_id, notification_id=number,
                    subscription_id=found[0].id, callback_id=old, status=status, attempts=number,
                    due_at=NOW if number < 3 else None, created_at=NOW, updated_at=NOW,
                )
            )  # fmt: skip
        assert [(item, url) for item, url in await url_logins.of_instance(connection, instance_id)] == [
            (item, OLD) for item in (found if both else found[:1])
        ]
    return found


async def urls(database: Database) -> set[str]:
    """The URLs of the receiver, however it is named."""
    async with database.read() as connection:
        found = set(await connection.scalars(select(table(Callback).c.url)))
    return {url for url in found if "app.example.com" in url}


async def carry_over(database: Database, subscription: Subscription) -> None:
    async with database.write() as connection:
        to = await outbox.callback_id(connection, account_id=1, url=BARE, beside=[subscription.callback_id])
        later = NOW + timedelta(minutes=1)
        await url_logins.carry_over(connection, subscription, to, shown_url=SHOWN, now=later)
        await url_logins.cover(connection, subscription.callback_id, SHOWN)


async def test_what_is_not_delivered_is_carried_over_as_it_is(database: Database) -> None:
    subscription, _ = await subscribed(database)
    await carry_over(database, subscription)
    async with database.read() as connection:
        found = (await connection.execute(select(table(Delivery)).order_by(table(Delivery).c.id))).all()
        (moved, _) = await outbox.subscriptions_of(connection, subscription.instance_id)
    assert [(row.status, row.attempts, row.due_at) for row in found] == [
        ("created", 1, NOW), ("retry", 2, NOW), ("queued", 3, None), ("delivered", 4, None),
    ]  # fmt: skip
    assert [row.callback_id for row in found] == [moved.callback_id] * 3 + [subscription.callback_id]
    assert (moved.shown_url, moved.active) == (SHOWN, True)
    async with database.write() as connection:
        lease = timedelta(minutes=1)
        claimed = await outbox.claim_callbacks(
            connection, limit=10, slow_limit=1, now=NOW + lease, lease=lease
        )
    assert [item.url for item in claimed] == [BARE]


async def test_a_url_that_nothing_goes_to_any_more_is_covered(database: Database) -> None:
    subscription, _ = await subscribed(database)
    await carry_over(database, subscription)
    assert await urls(database) == {BARE, SHOWN}


async def test_one_covered_url_is_enough(database: Database) -> None:
    subscription, _ = await subscribed(database)
    async with database.write() as connection:
        await outbox.callback_id(connection, account_id=1, url=SHOWN)
    await carry_over(database, subscription)
    assert await urls(database) == {BARE, SHOWN}


async def test_a_url_that_somebody_still_has_stays(database: Database) -> None:
    first, second = await subscribed(database, both=True)
    await carry_over(database, first)
    assert await urls(database) == {BARE, OLD}
    await carry_over(database, second)
    assert await urls(database) == {BARE, SHOWN}
