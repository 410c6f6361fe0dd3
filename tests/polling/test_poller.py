"""Polling, against the sandbox: what is new is stored with its outbox, and a failure moves nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from acme import Acme
from gateway import Gateway, cut_after
from held import Held
from processes import PATIENCE, until
from sqlalchemy import select, update

from app.errors import DatabaseUnavailable
from app.polling.poller import Account, PollWorker, Reader
from app.store import pollers
from app.store.tables import Delivery, Event, Instance, Notification, Poller, Subscription, table

EVENTS = {
    "event.notification.enabled": "true",
    "event.notification.callback.url": "http://callback.example.com",
    "event.poller.refresh_interval": "15",
}


class Bench:
    """One connected account and a poller that is told when to work."""

    def __init__(self, gateway: Gateway, instance: dict[str, Any]) -> None:
        self.gateway = gateway
        self.instance = instance
        self.draining = asyncio.Event()
        self.worker = PollWorker(gateway.runtime, self.draining)

    async def poll(self, *, at_once: bool = True) -> list[bool]:
        """Makes the account due, if asked, and runs what can be claimed."""
        if at_once:
            async with self.gateway.runtime.database.write() as connection:
                past = datetime(2026, 1, 1, tzinfo=UTC)
                await connection.execute(update(table(Poller)).values(due_at=past))
        claimed = await self.worker.claim(10)
        return [await self.worker.run(poller) for poller in claimed]

    async def rows(self, model: Any) -> list[Any]:
        async with self.gateway.runtime.database.read() as connection:
            return list(await connection.execute(select(table(model)).order_by(table(model).c.id)))

    async def poller(self) -> Any:
        return (await self.rows(Poller))[0]

    async def shown(self) -> dict[str, Any]:
        """How the polling fares, as its owner sees it."""
        path = f"/instances/{self.instance['id']}"
        answer = await self.gateway.http.get(path, headers=self.gateway.platform)
        poller: dict[str, Any] = answer.json()["pollers"][0]
        return poller


@pytest.fixture
async def bench(gateway: Gateway) -> Bench:
    return Bench(gateway, await gateway.connect(**EVENTS))


async def test_an_account_reports_what_changes_from_its_connection_on(gateway: Gateway, acme: Acme) -> None:
    acme.change("upload", "/Shared/before.txt", content="x")
    bench = Bench(gateway, await gateway.connect(**EVENTS))
    acme.change("upload", "/Shared/after.txt", content="x")
    assert await bench.poll(at_once=False) == [False]  # due from the beginning
    assert [row.row["name"] for row in await bench.rows(Event)] == ["after.txt"]


async def test_pages_are_read_to_the_end_and_cut_into_notifications_of_ten(bench: Bench, acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", content="x", count=250)
    await bench.poll()
    assert len(await bench.rows(Event)) == 250
    bodies = [json.loads(row.body) for row in await bench.rows(Notification)]
    assert [len(body["message"]["events"]) for body in bodies] == [10] * 25
    assert [len(body["message"]["raw"]["events"]) for body in bodies][:2] == [20, 20]
    deliveries = await bench.rows(Delivery)
    assert [row.notification_id for row in deliveries] == [int(body["id"]) for body in bodies]
    assert {row.status for row in deliveries} == {"created"}
    linked = {row.notification_id for row in await bench.rows(Event)}
    assert linked == {int(body["id"]) for body in bodies}


async def test_a_quiet_account_is_due_again_after_its_interval(bench: Bench) -> None:
    before = datetime.now(UTC)
    assert await bench.poll() == [False]
    row = await bench.poller()
    assert row.due_at - before >= timedelta(minutes=15)
    assert row.due_at - datetime.now(UTC) <= timedelta(minutes=15)
    assert (row.fence, row.leased_until, row.failures) == (None, None, 0)
    assert row.polled_at >= before


async def test_what_the_vendor_repeats_or_shuffles_is_stored_once(bench: Bench, acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", content="x", count=30)
    for kind in ("duplicate_events", "reorder_events"):
        acme.fault(kind, path="/pubapi/v2/events")
    cursor = (await bench.poller()).cursor
    await bench.poll()
    async with bench.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(cursor=cursor))
    await bench.poll()
    assert len(await bench.rows(Event)) == 30
    events = sum(len(json.loads(row.body)["message"]["events"]) for row in await bench.rows(Notification))
    assert events == 30


@pytest.mark.parametrize("fault", ["500", "cut", "cut_midway", "bad_json", "html", "mashery_qps", "401"])
async def test_a_failing_vendor_moves_nothing_and_shows(bench: Bench, acme: Acme, fault: str) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    acme.fault(fault, path="/pubapi/v2/events", times=2)
    cursor, before = (await bench.poller()).cursor, datetime.now(UTC)
    await bench.poll()
    row = await bench.poller()
    assert (row.cursor, row.failures, row.fence) == (cursor, 1, None)
    assert row.due_at > before
    shown = await bench.shown()
    assert shown["failures"] == 1
    assert shown["error"]
    assert shown["errorDate"]
    acme.steering.delete("/control/egnyte/acme/faults").raise_for_status()
    await bench.poll()
    assert len(await bench.rows(Event)) == 1
    assert "error" not in await bench.shown()


async def test_a_failing_vendor_is_asked_less_and_less(bench: Bench, acme: Acme) -> None:
    acme.fault("500", path="/pubapi/v2/events", times=None)
    rests = []
    for _ in range(4):
        before = datetime.now(UTC)
        await bench.poll()
        due_at = (await bench.poller()).due_at
        rests.append((due_at - before, due_at - datetime.now(UTC)))
    assert (await bench.poller()).failures == 4
    for (longest, shortest), minutes in ((rests[0], 0.5), (rests[3], 4)):
        assert longest >= timedelta(minutes=minutes)
        assert shortest <= timedelta(minutes=2 * minutes)


async def test_a_throttling_vendor_is_left_alone_for_as_long_as_it_asks(bench: Bench, acme: Acme) -> None:
    acme.fault("mashery_rate", path="/pubapi/v2/events", retry_after=5000)
    before = datetime.now(UTC)
    await bench.poll()
    assert (await bench.poller()).due_at - before >= timedelta(seconds=5000)


async def test_a_vendor_that_takes_too_long_is_a_failure(bench: Bench, acme: Acme) -> None:
    bench.gateway.runtime.vendors.timeout = httpx.Timeout(PATIENCE, read=0.2)
    acme.fault("slow", path="/pubapi/v2/events", seconds=60)
    await bench.poll()
    assert "no answer" in (await bench.shown())["error"]


@pytest.mark.parametrize("form", ["404", "oldest"])
async def test_events_that_the_vendor_no_longer_has_are_a_gap_that_the_owner_sees(
    bench: Bench, acme: Acme, form: str
) -> None:
    acme.configure(stale_cursor=form)
    await bench.poll()
    acme.change("upload", "/Shared/lost.txt", content="x")
    last = acme.change("upload", "/Shared/kept.txt", content="x")
    acme.control("events/drop", before_id=last["latest_id"])
    async with bench.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(cursor="4000@1000000000"))
    await bench.poll()
    told, kept = [row.row for row in await bench.rows(Event)]
    assert (told["change"], told["event_type"], told["event_object_type"]) == ("gap", "UNKNOWN", "instance")
    assert kept["name"] == "kept.txt"
    gap = (await bench.shown())["gap"]
    assert {key: told["raw"][key][:19] for key in gap} == {key: moment[:19] for key, moment in gap.items()}
    assert [row.via for row in await bench.rows(Notification)] == ["gateway", "polling"]
    assert gap["from"] <= gap["to"]
    await bench.poll()
    assert (await bench.shown())["gap"] == gap


async def test_a_dead_grant_stops_the_polling_and_says_so(bench: Bench, acme: Acme) -> None:
    acme.control("tokens/expire", kind="all")
    await bench.poll()
    row = await bench.poller()
    assert row.due_at is None
    assert "invalid_grant" in (await bench.shown())["error"]
    assert not (await bench.rows(Instance))[0].valid
    assert await bench.poll(at_once=False) == []


async def test_news_go_out_under_the_name_that_the_account_has_by_then(bench: Bench, acme: Acme) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    async with bench.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(due_at=datetime(2026, 1, 1, tzinfo=UTC)))
    (claimed,) = await bench.worker.claim(10)

    async def step(account: Account) -> bool:
        path = f"/instances/{bench.instance['id']}"
        body = {"name": "renamed", "tags": ["new"]}
        answer = await bench.gateway.http.patch(path, headers=bench.gateway.platform, json=body)
        assert answer.status_code == 200, answer.text
        return await reader.store(account, await reader.page(account), due_at=datetime.now(UTC))

    reader = Reader(bench.gateway.runtime)
    assert await reader.attempt(claimed, step) is True
    (sent,) = await bench.rows(Notification)
    message = json.loads(sent.body)["message"]
    assert (message["instanceName"], message["instanceTags"]) == ("renamed", ["new"])


async def test_an_account_that_was_deleted_while_it_was_polled_stores_nothing(
    bench: Bench, acme: Acme
) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    (claimed,) = await bench.worker.claim(10)
    path = f"/instances/{bench.instance['id']}"
    await bench.gateway.http.delete(path, headers=bench.gateway.platform)
    assert await bench.worker.run(claimed) is False
    assert await bench.rows(Event) == []


async def test_who_lost_the_lease_stores_nothing(bench: Bench, acme: Acme) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    (claimed,) = await bench.worker.claim(10)
    async with bench.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(fence=1))
    await bench.worker.run(claimed)
    assert await bench.rows(Event) == []
    assert (await bench.poller()).cursor == claimed.cursor


async def test_draining_stops_behind_a_page_and_leaves_the_account_due(bench: Bench, acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", content="x", count=250)
    bench.draining.set()
    assert await bench.poll() == [True]
    assert len(await bench.rows(Event)) == 100
    row = await bench.poller()
    assert row.fence is None
    assert row.due_at <= datetime.now(UTC)
    bench.draining.clear()
    await bench.poll()
    assert len(await bench.rows(Event)) == 250


async def test_a_cancelled_poll_gives_its_lease_back(bench: Bench, acme: Acme) -> None:
    acme.fault("slow", path="/pubapi/v2/events", seconds=60)
    (claimed,) = await bench.worker.claim(10)
    step = asyncio.create_task(bench.worker.run(claimed))
    await until(lambda: acme.steering.get("/control/requests").json()["open"], "a request that waits")
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    row = await bench.poller()
    assert (row.fence, row.leased_until, row.failures) == (None, None, 0)


async def test_a_poll_that_is_cancelled_while_its_failure_is_noted_gives_its_lease_back(
    bench: Bench, acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.fault("403", path="/pubapi/v2/events")
    held = Held(monkeypatch, pollers, "fail")
    (claimed,) = await bench.worker.claim(10)
    await held.cut(asyncio.create_task(bench.worker.run(claimed)))
    row = await bench.poller()
    assert (row.fence, row.leased_until, row.failures) == (None, None, 0)


async def test_without_a_callback_events_are_kept_and_nothing_is_sent(gateway: Gateway, acme: Acme) -> None:
    bench = Bench(gateway, await gateway.connect(**{"event.notification.enabled": True}))
    acme.change("upload", "/Shared/a.txt", content="x")
    await bench.poll()
    assert (len(await bench.rows(Event)), len(await bench.rows(Notification))) == (1, 1)
    assert await bench.rows(Delivery) == []


async def test_a_deactivated_subscription_gets_its_deliveries_queued(bench: Bench, acme: Acme) -> None:
    async with bench.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Subscription)).values(active=False))
    acme.change("upload", "/Shared/a.txt", content="x")
    await bench.poll()
    assert [(row.status, row.due_at) for row in await bench.rows(Delivery)] == [("queued", None)]


async def test_an_account_without_events_is_not_polled(gateway: Gateway) -> None:
    await gateway.connect()
    assert await PollWorker(gateway.runtime, asyncio.Event()).claim(10) == []


async def test_an_interval_below_the_floor_is_lengthened(gateway: Gateway) -> None:
    bench = Bench(gateway, await gateway.connect(**EVENTS | {"event.poller.refresh_interval": "0.0001"}))
    assert (await bench.poller()).interval_seconds == 0.05


async def test_a_page_whose_commit_nobody_knows_of_is_stored_once(
    bench: Bench, acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.change("upload", "/Shared/once.txt", content="x")
    (claimed,) = await bench.worker.claim(10)
    database = bench.gateway.runtime.database
    monkeypatch.setattr(database, "write", cut_after(database.write))
    await bench.worker.run(claimed)
    assert [row.row["name"] for row in await bench.rows(Event)] == ["once.txt"]
    assert len(await bench.rows(Delivery)) == 1


async def test_an_outage_of_the_database_is_no_failure_of_an_account(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claimed,) = await bench.worker.claim(10)

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable(ConnectionRefusedError("away"))

    monkeypatch.setattr("app.polling.poller.instances.for_worker", away)
    await bench.worker.run(claimed)
    found = await bench.poller()
    assert (found.failures, found.error, found.fence) == (0, None, None)
