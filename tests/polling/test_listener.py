"""Waiting for news, against the sandbox: who is held, what ends a wait, and who holds an account next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from box_account import Box
from gateway import Gateway
from held import Held
from processes import PATIENCE, until
from sqlalchemy import event, select, update

from app import event_settings
from app.hubs.documents import ChangePage
from app.polling import listener
from app.polling.listener import ListenWorker
from app.polling.poller import Account, PollWorker
from app.settings import load
from app.store import pollers
from app.store.tables import Event, Poller, table
from app.workers import working

EVENTS = {
    "event.notification.enabled": "true",
    "event.notification.callback.url": "http://callback.example.com",
    "event.poller.refresh_interval": "15",
}


class Bench:
    """One connected Box account and a worker that holds it when it is told to."""

    def __init__(self, gateway: Gateway, box: Box, instance: dict[str, Any]) -> None:
        self.gateway, self.box, self.instance = gateway, box, instance
        self.runtime = gateway.runtime
        self.draining = asyncio.Event()
        self.worker = ListenWorker(gateway.runtime, self.draining)
        self.tasks: list[asyncio.Task[bool]] = []

    async def hold(self, worker: ListenWorker | None = None) -> asyncio.Task[bool]:
        """Claims the account and runs it, until it waits at the vendor."""
        task = await self.start(worker)
        await self.until_asked(1)
        return task

    async def start(self, worker: ListenWorker | None = None) -> asyncio.Task[bool]:
        worker = worker or self.worker
        (claimed,) = await worker.claim(10)
        task = asyncio.create_task(worker.run(claimed))
        self.tasks.append(task)
        return task

    def asked(self, path: str = "/box/subscribe", method: str = "GET") -> int:
        """How many requests of this kind the vendor has had; one that is held counts when it ends."""
        found = self.box.steering.get("/control/requests").json()["requests"]
        return len([item for item in found if item["path"] == path and item["method"] == method])

    def waits(self) -> int:
        """How many requests the vendor holds until it has news."""
        return self.box.held("/subscribe")

    async def until_asked(self, count: int, *, waits: int = 1) -> None:
        """Returns when the vendor was asked that many times where to wait, and the waits after it began."""
        await self.until(lambda: self.asked("/box/2.0/events", "OPTIONS") >= count)
        await self.until(lambda: self.waits() >= waits)

    async def until(self, condition: Callable[[], bool]) -> None:
        """The vendor is asked in a thread of its own: it answers from this process."""
        await until(lambda: asyncio.to_thread(condition), "what the vendor should be asked")

    async def until_names(self, *names: str) -> None:
        """Returns when these and no other files have been told of."""
        async with asyncio.timeout(PATIENCE):
            while (found := [row.row["name"] for row in await self.rows(Event)]) != list(names):
                assert len(found) <= len(names), found
                await asyncio.sleep(0.01)

    def upload(self, name: str = "a.txt") -> None:
        self.box.change("upload", f"/{name}", content="x")

    async def upload_while_it_waits(self, name: str) -> None:
        """What is uploaded earlier may be found without a wait."""
        await self.until(lambda: self.waits() == 1)
        await asyncio.to_thread(self.upload, name)

    async def rows(self, model: Any) -> list[Any]:
        async with self.runtime.database.read() as connection:
            return list(await connection.execute(select(table(model)).order_by(table(model).c.id)))

    async def poller(self) -> Any:
        return (await self.rows(Poller))[0]

    async def hint(self) -> None:
        async with self.runtime.database.write() as connection:
            await pollers.hint(connection, self.instance["id"], now=self.runtime.clock.now())
        self.runtime.wakeups.hint(self.instance["id"])

    async def set(self, **values: Any) -> None:
        async with self.runtime.database.write() as connection:
            await connection.execute(update(table(Poller)).values(**values))

    async def call(self, method: str, path: str = "", **body: Any) -> Any:
        url = f"/instances/{self.instance['id']}{path}"
        headers = self.gateway.platform
        answer = await self.gateway.http.request(method, url, headers=headers, json=body or None)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def is_held(self) -> bool:
        return (await self.poller()).fence is not None


class Pages:
    """Stands before the reading of a worker: tells that it has begun, and holds it until it may go on."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self._page = bench.worker._reader.page
        self._begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(bench.worker._reader, "page", self)

    async def __call__(self, account: Account) -> ChangePage:
        self._begun.set()
        await self.may_go_on.wait()
        return await self._page(account)

    async def begun(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._begun.wait()


@pytest.fixture
async def bench(gateway: Gateway, box: Box) -> AsyncIterator[Bench]:
    box.configure(long_poll_seconds=900)  # no wait ends by itself, however slow this machine is
    bench = Bench(gateway, box, await gateway.connect("box", **EVENTS))
    yield bench
    for task in bench.tasks:
        task.cancel()
    await asyncio.gather(*bench.tasks, return_exceptions=True)


@pytest.fixture
def pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Pages:
    return Pages(bench, monkeypatch)


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """How long each rest before a wait is to be, and when it began; it is a hundredth of that. Every wait
    that brings nothing counts as one that ended soon."""
    noted: list[tuple[float, float]] = []
    usual = listener._Watch.rest

    def rest(watch: listener._Watch) -> float:
        seconds: float = usual.__get__(watch)
        noted.append((seconds, asyncio.get_running_loop().time()))
        return seconds / 100

    monkeypatch.setattr(listener._Watch, "rest", property(rest))
    monkeypatch.setattr(listener, "_SOON", 3600.0)
    return noted


async def test_a_change_is_stored_when_the_vendor_says_so_and_not_after_an_interval(bench: Bench) -> None:
    await bench.hold()
    for number, name in enumerate(names := ["a.txt", "b.txt"], start=1):
        await bench.upload_while_it_waits(name)
        await bench.until_names(*names[:number])
        assert bench.asked() == number
    assert (await bench.poller()).interval_seconds > 4 * PATIENCE


async def test_an_account_that_is_held_is_shown_so_and_is_never_due(bench: Bench) -> None:
    (shown,) = (await bench.call("GET"))["pollers"]
    assert shown["longPolling"] is True
    assert shown["nextPollDate"]
    await bench.hold()
    row = await bench.poller()
    assert row.due_at == row.leased_until > datetime.now(UTC)
    assert await PollWorker(bench.runtime, asyncio.Event()).claim(10) == []
    assert await ListenWorker(bench.runtime, asyncio.Event()).claim(10) == []
    (shown,) = (await bench.call("GET"))["pollers"]
    assert shown["lastPollDate"]
    assert shown.get("nextPollDate") is None


@pytest.mark.parametrize(
    "asked",
    [
        {"event.poller.long.poll": "false"},
        {"box.events.stream": "admin_logs_streaming"},
    ],
)
async def test_who_asks_for_less_is_polled_by_interval(
    gateway: Gateway, box: Box, asked: dict[str, str]
) -> None:
    instance = await gateway.connect("box", **EVENTS | asked)
    assert [poller["longPolling"] for poller in instance["pollers"]] == [False]
    assert await ListenWorker(gateway.runtime, asyncio.Event()).claim(10) == []
    assert len(await PollWorker(gateway.runtime, asyncio.Event()).claim(10)) == 1


@pytest.mark.parametrize(("kind", "wanted"), [("webhook", False), ("webhooks", False), ("polling", True)])
def test_a_vendor_that_calls_is_not_waited_for_as_well(kind: str, wanted: bool) -> None:
    settings = load(_env_file=None, public_url="https://gateway.example.com")
    assert event_settings.read({"event.vendor.type": kind}, settings).long_poll is wanted


async def test_a_vendor_that_lets_nobody_wait_is_polled_by_interval(gateway: Gateway) -> None:
    instance = await gateway.connect("egnyte", **EVENTS)
    assert [poller["longPolling"] for poller in instance["pollers"]] == [False]


@pytest.mark.parametrize("message", ["reconnect", "max_retries", "other_message"])
async def test_a_wait_that_ends_without_a_change_goes_on_elsewhere(bench: Bench, message: str) -> None:
    bench.box.fault(message, path="/subscribe")
    await bench.start()
    await bench.until_asked(2)
    assert bench.asked("/box/2.0/events") == 2  # the end of the stream, and one reading before the wait
    await asyncio.to_thread(bench.upload)
    await bench.until_names("a.txt")


async def test_after_news_the_same_channel_is_used_as_long_as_it_may_be(bench: Bench) -> None:
    await bench.hold()
    for number in range(3):
        await bench.upload_while_it_waits(f"{number}.txt")
        await bench.until_names(*(f"{known}.txt" for known in range(number + 1)))
    assert bench.asked("/box/2.0/events", "OPTIONS") == 1


async def test_a_silent_vendor_is_asked_again_in_its_own_time(bench: Bench) -> None:
    bench.box.configure(long_poll_retry_seconds=1)
    bench.box.fault("hang", path="/subscribe")
    await bench.start()
    await bench.until_asked(2)
    await asyncio.to_thread(bench.upload)
    await bench.until_names("a.txt")
    assert (await bench.poller()).failures == 0


@pytest.mark.parametrize("fault", ["cut", "cut_midway", "bad_json", "html", "503", "401"])
async def test_a_broken_wait_is_begun_again(bench: Bench, fault: str) -> None:
    bench.box.fault(fault, path="/subscribe")
    await asyncio.to_thread(bench.upload)
    await bench.start()
    await bench.until(lambda: not bench.box.steering.get("/control/box/faults").json()["waiting"])
    await asyncio.to_thread(bench.upload, "b.txt")
    await bench.until_names("a.txt", "b.txt")
    assert (await bench.poller()).failures == 0


async def test_a_vendor_that_cries_wolf_is_asked_less_and_less(
    bench: Bench, rests: list[tuple[float, float]]
) -> None:
    bench.box.fault("new_change", path="/subscribe", times=None)
    await bench.start()
    await bench.until(lambda: len(rests) > 8)
    assert [seconds for seconds, _ in rests[:9]] == [0, 0, 2, 4, 8, 16, 32, 60, 60]
    for (seconds, began), (_, ended) in pairwise(rests):
        assert ended - began >= seconds / 100
    bench.box.steering.delete("/control/box/faults").raise_for_status()
    await asyncio.to_thread(bench.upload)
    await bench.until_names("a.txt")


async def test_an_account_with_much_news_is_read_as_fast_as_they_come(
    bench: Bench, rests: list[tuple[float, float]]
) -> None:
    await bench.hold()
    names = [f"{number}.txt" for number in range(7)]
    for number, name in enumerate(names, start=1):
        await bench.upload_while_it_waits(name)
        await bench.until_names(*names[:number])
    assert len(rests) >= len(names)
    assert {seconds for seconds, _ in rests} == {0}


@pytest.mark.parametrize("fault", ["403", "404"])
@pytest.mark.parametrize("path", ["/2.0/events", "/subscribe"])
async def test_a_vendor_that_refuses_to_be_waited_for_is_polled_by_interval(
    bench: Bench, fault: str, path: str
) -> None:
    bench.box.fault(fault, path=path, times=None, after=1 if path == "/2.0/events" else 0)
    assert await (await bench.start()) is False
    row = await bench.poller()
    assert (row.fence, row.failures, row.waits) == (None, 0, True)
    assert timedelta(minutes=14) < row.due_at - datetime.now(UTC) <= timedelta(minutes=15)
    bench.box.steering.delete("/control/box/faults").raise_for_status()
    await bench.set(due_at=datetime(2026, 1, 1, tzinfo=UTC))
    await asyncio.to_thread(bench.upload)
    await bench.start()
    await bench.until_names("a.txt")


async def test_the_token_of_an_account_goes_to_the_vendors_own_hosts_only(bench: Bench) -> None:
    bench.box.configure(long_poll_url="http://127.0.0.1:9/box")
    assert await (await bench.start()) is False
    row = await bench.poller()
    assert row.due_at - datetime.now(UTC) > timedelta(minutes=14)
    assert bench.asked() == 0


async def test_a_failing_vendor_rests_as_it_does_when_it_is_polled(bench: Bench) -> None:
    bench.box.fault("500", path="/2.0/events", times=None)
    began = datetime.now(UTC)
    assert await (await bench.start()) is False
    row = await bench.poller()
    assert (row.fence, row.failures) == (None, 1)
    assert row.due_at > began + timedelta(seconds=25)


async def test_a_dead_grant_ends_the_wait_and_says_so(bench: Bench) -> None:
    await bench.hold()
    bench.box.control("tokens/expire", kind="all")
    await bench.hint()
    async with asyncio.timeout(PATIENCE):
        assert await bench.tasks[0] is False
    assert (await bench.poller()).due_at is None


async def test_an_account_without_news_is_read_once_in_an_interval(bench: Bench) -> None:
    clock = asyncio.get_running_loop().time
    await bench.set(interval_seconds=0.3)
    began = clock()
    await bench.hold()
    await bench.until(lambda: bench.asked("/box/2.0/events") >= 5)
    intervals = bench.asked("/box/2.0/events") - 2  # the end of the stream, and one reading before them all
    assert clock() - began >= 0.3 * intervals


async def test_a_hint_wakes_who_waits(bench: Bench) -> None:
    await bench.hold()
    before = bench.asked("/box/2.0/events")
    await bench.hint()
    await bench.until(lambda: bench.asked("/box/2.0/events") == before + 1)
    assert bench.runtime.wakeups.waiting.keys() == {bench.instance["id"]}
    assert await bench.is_held()


async def test_a_hint_that_comes_while_the_account_is_read_has_it_read_once_more(
    bench: Bench, pages: Pages
) -> None:
    await bench.start()
    await pages.begun()
    await bench.hint()
    assert bench.asked("/box/2.0/events") == 1
    pages.may_go_on.set()
    await bench.until(lambda: bench.asked("/box/2.0/events") >= 3)


async def test_a_hint_reads_an_account_now_that_is_polled_by_interval(gateway: Gateway, box: Box) -> None:
    bench = Bench(gateway, box, await gateway.connect("box", **EVENTS | {"event.poller.long.poll": "false"}))
    worker = PollWorker(gateway.runtime, asyncio.Event())
    (claimed,) = await worker.claim(10)
    await bench.hint()  # while it is read
    await worker.run(claimed)
    (claimed,) = await worker.claim(10)
    await worker.run(claimed)
    assert await worker.claim(10) == []
    await bench.hint()
    assert len(await worker.claim(10)) == 1


async def test_a_hint_wakes_neither_a_suspended_account_nor_a_failing_one(bench: Bench) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for resting in ({"due_at": None}, {"due_at": later, "failures": 3}):
        await bench.set(**resting)
        await bench.hint()
        assert await bench.worker.claim(10) == []


async def test_leases_are_prolonged_together_in_one_statement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.gateway.connect("box", **EVENTS)
    for claimed in await bench.worker.claim(10):
        bench.tasks.append(asyncio.create_task(bench.worker.run(claimed)))
    await bench.until_asked(2, waits=2)
    before = [row.leased_until for row in await bench.rows(Poller)]
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(bench.runtime.database.engine.sync_engine, "before_cursor_execute", note)
    await bench.worker._prolong()
    updates = [statement for statement in statements if "poller" in statement]
    assert len(updates) == 1, updates
    rows = await bench.rows(Poller)
    assert all(row.leased_until > old for row, old in zip(rows, before, strict=True))
    assert [row.due_at for row in rows] == [row.leased_until for row in rows]


@pytest.mark.parametrize("way", ["patch", "disable", "delete", "other worker"])
async def test_who_lost_the_lease_stops_waiting(bench: Bench, way: str) -> None:
    task = await bench.hold()
    match way:
        case "patch":
            await bench.call("PATCH", configuration={"event.poller.refresh_interval": "30"})
        case "disable":
            await bench.call("DELETE", "/enabled")
        case "delete":
            await bench.call("DELETE")
        case _:
            await bench.set(fence=1)
    await bench.worker._prolong()
    async with asyncio.timeout(PATIENCE):
        assert await task is False
    assert bench.runtime.wakeups.waiting == {}


async def test_what_was_taken_away_and_came_back_is_held_once(bench: Bench) -> None:
    former = await bench.hold()
    await bench.call("PATCH", configuration={"event.poller.refresh_interval": "30"})
    await bench.start()
    async with asyncio.timeout(PATIENCE):
        assert await former is False
    await asyncio.to_thread(bench.upload)
    await bench.until_names("a.txt")
    assert await bench.is_held()


async def test_another_worker_takes_over_when_a_lease_has_passed(bench: Bench) -> None:
    await bench.hold()
    other = ListenWorker(bench.runtime, asyncio.Event())
    assert await other.claim(10) == []
    past = datetime(2026, 1, 1, tzinfo=UTC)
    await bench.set(leased_until=past, due_at=past)
    task = await bench.start(other)
    await bench.worker._prolong()
    async with asyncio.timeout(PATIENCE):
        assert await bench.tasks[0] is False
    await asyncio.to_thread(bench.upload)
    await bench.until_names("a.txt")
    assert not task.done()


async def test_a_draining_worker_gives_back_at_once_what_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_PARTS", 0.01)  # the next prolonging is hours away
    task = await bench.hold()
    keeping = asyncio.create_task(bench.worker.keep())
    bench.draining.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(keeping, task)
    assert len(await ListenWorker(bench.runtime, asyncio.Event()).claim(10)) == 1


async def test_a_draining_worker_gives_back_what_is_read_behind_the_page(bench: Bench, pages: Pages) -> None:
    task = await bench.start()
    await pages.begun()
    bench.draining.set()
    await bench.worker.keep()
    assert await bench.is_held()
    pages.may_go_on.set()
    assert await task is False
    assert (await bench.poller()).polled_at is not None
    assert len(await ListenWorker(bench.runtime, asyncio.Event()).claim(10)) == 1


async def test_a_draining_worker_reads_none_of_those_whose_turn_has_not_come(
    bench: Bench, pages: Pages
) -> None:
    bench.worker._reading = asyncio.Semaphore(1)
    await bench.gateway.connect("box", **EVENTS)
    await bench.gateway.connect("box", **EVENTS)
    claimed = await bench.worker.claim(10)
    assert len(claimed) == 3
    bench.tasks += [asyncio.create_task(bench.worker.run(poller)) for poller in claimed]
    await pages.begun()
    bench.draining.set()
    await bench.worker.keep()
    assert [row.fence is None for row in await bench.rows(Poller)].count(True) == 2
    pages.may_go_on.set()
    assert await asyncio.gather(*bench.tasks) == [False] * 3
    assert [row.polled_at is None for row in await bench.rows(Poller)].count(True) == 2
    assert len(await ListenWorker(bench.runtime, asyncio.Event()).claim(10)) == 3


async def test_a_worker_holds_delivers_and_drains(bench: Bench) -> None:
    async with working(bench.runtime):
        await bench.until_asked(1)
        await asyncio.to_thread(bench.upload)
        await bench.until_names("a.txt")
        assert await bench.is_held()
        await bench.call("PATCH", configuration={"event.poller.long.poll": "false"})
        await asyncio.to_thread(bench.upload, "b.txt")
        await bench.hint()
        await bench.until_names("a.txt", "b.txt")
    assert not await bench.is_held()


async def test_an_error_of_the_database_does_not_end_the_prolonging(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.worker, "_prolong", failing := _Failing(bench.draining))
    monkeypatch.setattr(listener, "_PARTS", 10_000)
    await bench.worker.keep()
    assert failing.calls == 3


class _Failing:
    """Fails twice, and then begins the draining."""

    def __init__(self, draining: asyncio.Event) -> None:
        self.calls, self._draining = 0, draining

    async def __call__(self) -> None:
        self.calls += 1
        if self.calls == 3:
            self._draining.set()
        raise OSError("no database")


async def test_workers_that_start_together_share_what_there_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_AT_ONCE", 1)
    await bench.gateway.connect("box", **EVENTS)
    other = ListenWorker(bench.runtime, asyncio.Event())
    assert [len(await worker.claim(2000)) for worker in (bench.worker, other)] == [1, 1]


async def test_a_drain_that_is_cut_gives_all_the_same_back_what_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await bench.hold()
    bench.draining.set()
    held = Held(monkeypatch, pollers, "give_back")
    await held.cut(asyncio.create_task(bench.worker.keep()))
    await task
    (row,) = await bench.rows(Poller)
    assert (row.fence, row.leased_until) == (None, None)
