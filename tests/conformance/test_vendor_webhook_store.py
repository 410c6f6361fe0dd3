"""Every promise of the store about webhooks of vendors, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.store import instances, vendor_webhooks
from app.store.engine import Database
from app.store.leases import lease_of
from app.store.tables import Credential, Instance, VendorWebhook, table
from app.tenancy import tenants

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SOON = timedelta(seconds=30)
LATER = NOW + timedelta(days=1)


class Filled:
    """A database with instances that have webhooks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._number = 0

    async def instance(self, **values: Any) -> int:
        self._number += 1
        common: dict[str, Any] = {
            "account_id": 1,
            "user_id": 1,
            "element_key": "egnyte",
            "name": "n",
            "tags": [],
            "configuration": {},
            "external_authentication": "none",
            "token_hash": f"hash-{self._number}",
            "valid": True,
            "disabled": False,
            "created_at": NOW,
            "updated_at": NOW,
        }
        async with self.database.write() as connection:
            made = await instances.insert_instance(connection, **common | values)
            await instances.insert_credential(connection, instance_id=made, account_id=1, sealed=b"s")
        return made

    async def order(self, instance_id: int, owner: str | None = None) -> VendorWebhook:
        async with self.database.write() as connection:
            return await vendor_webhooks.order(
                connection, account_id=1, instance_id=instance_id, owner=owner, now=NOW
            )

    async def webhook(self, owner: str | None = None, **values: Any) -> VendorWebhook:
        return await self.order(await self.instance(**values), owner)

    async def claim(self, limit: int = 10, *, now: datetime = NOW, **of: Any) -> list[VendorWebhook]:
        async with self.database.write() as connection:
            return await vendor_webhooks.claim_due(connection, limit=limit, now=now, lease=SOON, **of)

    async def keep(self, row: VendorWebhook, **values: Any) -> bool:
        promised: dict[str, Any] = {"hooks": ["h"], "expires_at": None, "owner": None, "due_at": LATER}
        async with self.database.write() as connection:
            return await vendor_webhooks.keep(connection, row, **promised | values)

    async def row(self, instance_id: int) -> VendorWebhook | None:
        async with self.database.read() as connection:
            return (await vendor_webhooks.of_instances(connection, [instance_id])).get(instance_id)

    async def count(self, model: Any) -> int:
        async with self.database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(table(model))) or 0


@pytest.fixture
async def filled(database: Database) -> Filled:
    await tenants.create_organization(database, "Test", email="t@example.com", now=NOW)
    return Filled(database)


async def test_an_order_makes_one_row_and_another_makes_it_due(filled: Filled) -> None:
    first = await filled.webhook()
    assert (first.hooks, first.due_at, first.received, first.refused) == ([], NOW, 0, 0)
    [claimed] = await filled.claim()
    assert await filled.keep(claimed)
    assert not await filled.claim()
    again = await filled.order(first.instance_id, "u")
    assert (again.id, again.hooks, again.owner) == (first.id, ["h"], "u")
    assert [row.id for row in await filled.claim()] == [first.id]


async def test_two_workers_never_hold_the_same_row(filled: Filled) -> None:
    for _ in range(20):
        await filled.webhook()
    found = await asyncio.gather(*(filled.claim(7) for _ in range(4)))
    ids = [row.id for rows in found for row in rows]
    assert len(ids) == len(set(ids)) == 20
    assert len(await filled.claim(30, now=NOW + SOON)) == 20  # their workers have died


async def test_one_instance_can_be_claimed_alone(filled: Filled) -> None:
    await filled.webhook()
    wanted = await filled.webhook()
    assert [row.id for row in await filled.claim(instance_id=wanted.instance_id)] == [wanted.id]
    assert not await filled.claim(instance_id=wanted.instance_id)


async def test_what_was_made_due_meanwhile_stays_due_and_nothing_is_lost(filled: Filled) -> None:
    made = await filled.webhook()
    [claimed] = await filled.claim()
    moment = NOW + timedelta(seconds=1)
    async with filled.database.write() as connection:
        assert await vendor_webhooks.make_due(connection, made.instance_id, now=moment)
    assert await filled.keep(claimed, hooks=["of", "then"])
    [again] = await filled.claim(now=moment)
    assert (again.hooks, again.due_at) == (["of", "then"], moment)


async def test_a_row_may_have_nothing_to_come(filled: Filled) -> None:
    await filled.webhook()
    [claimed] = await filled.claim()
    assert await filled.keep(claimed, due_at=None)
    assert not await filled.claim(now=LATER)


async def test_a_stale_worker_changes_nothing(filled: Filled) -> None:
    await filled.webhook()
    [stale] = await filled.claim()
    [newer] = await filled.claim(now=NOW + SOON)
    assert not await filled.keep(stale, hooks=["stale"])
    async with filled.database.write() as connection:
        assert not await vendor_webhooks.fail(connection, stale, failures=1, error="e", now=NOW, due_at=LATER)
        assert not await vendor_webhooks.end(connection, stale)
        assert not await vendor_webhooks.forget(connection, lease_of(stale), stale.instance_id)
        assert not await vendor_webhooks.release(connection, lease_of(stale))
    assert await filled.keep(newer, hooks=["newer"])
    row = await filled.row(stale.instance_id)
    assert row
    assert (row.hooks, row.failures) == (["newer"], 0)


async def test_a_failure_keeps_what_there_is(filled: Filled) -> None:
    made = await filled.webhook()
    [claimed] = await filled.claim()
    await filled.keep(claimed, due_at=NOW)
    [claimed] = await filled.claim()
    async with filled.database.write() as connection:
        assert await vendor_webhooks.fail(
            connection, claimed, failures=3, error="x" * 5000, now=NOW, due_at=LATER
        )
    row = await filled.row(made.instance_id)
    assert row
    assert (row.hooks, row.failures, row.error, row.due_at) == (["h"], 3, "x" * 1000, LATER)


async def test_an_ended_webhook_goes_unless_it_was_asked_for_anew(filled: Filled) -> None:
    gone, asked = await filled.webhook(), await filled.webhook()
    rows = {row.id: row for row in await filled.claim()}
    async with filled.database.write() as connection:
        await vendor_webhooks.make_due(connection, asked.instance_id, now=LATER)
        assert await vendor_webhooks.end(connection, rows[gone.id])
        assert await vendor_webhooks.end(connection, rows[asked.id])
    assert await filled.row(gone.instance_id) is None
    left = await filled.row(asked.instance_id)
    assert left
    assert (left.hooks, left.due_at, left.fence) == ([], LATER, None)
    assert await filled.count(Credential) == 2


async def test_a_deleted_instance_keeps_its_secrets_until_its_vendor_knows(filled: Filled) -> None:
    called, polled = await filled.webhook(), await filled.instance()
    async with filled.database.write() as connection:
        for instance_id in (called.instance_id, polled):
            await instances.remove(connection, instance_id, now=NOW)
    async with filled.database.read() as connection:
        kept = await instances.credentials(connection, [called.instance_id, polled])
        subject = await vendor_webhooks.subject(connection, called.instance_id)
    assert list(kept) == [called.instance_id]
    assert subject.deleted_at == NOW
    [row] = await filled.claim()
    async with filled.database.write() as connection:
        assert await vendor_webhooks.forget(connection, lease_of(row), row.instance_id)
    assert await filled.count(Credential) == await filled.count(VendorWebhook) == 0


async def test_who_is_called_is_of_the_element_in_use_and_has_a_webhook(filled: Filled) -> None:
    right = await filled.webhook()
    others = [
        (await filled.webhook(element_key="box")).instance_id,
        (await filled.webhook(disabled=True)).instance_id,
        (await filled.webhook(deleted_at=NOW)).instance_id,
        await filled.instance(),
        999_999,
    ]
    async with filled.database.read() as connection:
        found = await vendor_webhooks.called(connection, "egnyte", [right.instance_id, *others])
    [one] = found
    assert (one.instance.id, one.webhook.id, one.credential.sealed) == (right.instance_id, right.id, b"s")
    assert one.organization_id == 1


async def test_an_owner_finds_his_instances_of_the_element(filled: Filled) -> None:
    mine = [(await filled.webhook("u")).instance_id for _ in range(3)]
    await filled.webhook("u", element_key="box")
    await filled.webhook("v")
    await filled.webhook()
    async with filled.database.read() as connection:
        assert await vendor_webhooks.of_owner(connection, "egnyte", "u", limit=9) == mine
        assert await vendor_webhooks.of_owner(connection, "egnyte", "u", limit=2) == mine[:2]
        assert await vendor_webhooks.of_owner(connection, "egnyte", "w", limit=9) == []


@pytest.mark.parametrize("change", [{"disabled": True}, {"deleted_at": NOW}])
async def test_who_is_out_of_use_takes_no_place_of_an_owner(filled: Filled, change: dict[str, Any]) -> None:
    for _ in range(2):
        await filled.webhook("u")
    async with filled.database.write() as connection:
        await connection.execute(update(table(Instance)).values(**change))
    mine = (await filled.webhook("u")).instance_id
    async with filled.database.read() as connection:
        assert await vendor_webhooks.of_owner(connection, "egnyte", "u", limit=2) == [mine]


async def test_a_refused_call_counts_for_all_and_hints_some(filled: Filled) -> None:
    one, two = await filled.webhook(), await filled.webhook()
    async with filled.database.write() as connection:
        await vendor_webhooks.count_refused(connection, [one.id, two.id], "no", now=NOW, hinted=[two.id])
        found = await vendor_webhooks.unhinted(connection, [one.id, two.id], since=NOW - timedelta(seconds=1))
    assert found == {one.id: one.instance_id}
    async with filled.database.write() as connection:
        await vendor_webhooks.count_refused(connection, [one.id], "again", now=NOW + timedelta(seconds=1))
        await connection.execute(update(table(VendorWebhook)).values(refused=1, refused_at=NOW))
    rows = [await filled.row(item.instance_id) for item in (one, two)]
    assert [(row.error, row.error_at) for row in rows if row] == [("no", NOW)] * 2  # what was first stays
    assert [(row.refused, row.refused_at, row.hinted_at) for row in rows if row] == [
        (1, NOW, None),
        (1, NOW, NOW),
    ]


async def test_calls_are_counted_also_at_the_same_time(filled: Filled) -> None:
    made = await filled.webhook()

    async def count(number: int) -> None:
        async with filled.database.write() as connection:
            if number % 2:
                await vendor_webhooks.count_refused(connection, [made.id], "no", now=NOW)
            else:
                assert await vendor_webhooks.count_received(connection, made.id, now=NOW, hinted=True)

    await asyncio.gather(*(count(number) for number in range(20)))
    row = await filled.row(made.instance_id)
    assert row
    assert (row.received, row.refused, row.received_at, row.hinted_at) == (10, 10, NOW, NOW)


@pytest.mark.parametrize("change", [{"disabled": True}, {"deleted_at": NOW}])
async def test_a_call_for_who_is_out_of_use_does_not_count(filled: Filled, change: dict[str, Any]) -> None:
    made = await filled.webhook()
    async with filled.database.write() as connection:
        await connection.execute(update(table(Instance)).values(**change))
        assert not await vendor_webhooks.count_received(connection, made.id, now=NOW, hinted=True)
    row = await filled.row(made.instance_id)
    assert row
    assert (row.received, row.hinted_at) == (0, None)


async def test_a_note_makes_what_has_ended_due(filled: Filled) -> None:
    made = await filled.webhook()
    [claimed] = await filled.claim()
    await filled.keep(claimed)
    for ended in (False, True):
        async with filled.database.write() as connection:
            await vendor_webhooks.note(connection, made.id, f"said {ended}", now=NOW, ended=ended)
        row = await filled.row(made.instance_id)
        assert row
        assert (row.error, row.error_at, row.due_at) == (f"said {ended}", NOW, NOW if ended else LATER)
