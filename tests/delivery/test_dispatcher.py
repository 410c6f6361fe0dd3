"""Turns: what is due is sent, what came of it is written, and nobody waits for another's receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gateway as gateways
import httpx
import pytest
from gateway import Gateway, cut_after
from processes import until
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app.delivery import dispatcher
from app.delivery.dispatcher import DispatchWorker
from app.delivery.egress import Answer
from app.errors import DatabaseUnavailable
from app.runtime import Runtime
from app.store import outbox
from app.store.tables import Attempt, Callback, Delivery, Notification, Subscription, table

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """A dispatcher, and short ways to give it work and to look at what it did."""

    def __init__(self, gateway: Gateway, receiver_url: str) -> None:
        self.runtime: Runtime = gateway.runtime
        self.draining = asyncio.Event()
        self.worker = DispatchWorker(self.runtime, self.draining)
        self._receiver_url = receiver_url
        self._number = 0

    async def subscribe(self, path: str) -> Subscription:
        async with self.runtime.database.write() as connection:
            url = self._receiver_url + path
            callback_id = await outbox.callback_id(connection, account_id=1, url=url)
            subscription_id = await outbox.subscribe(
                connection,
                account_id=1,
                instance_id=callback_id,
                callback_id=callback_id,
                topic="topic",
                created_at=LONG_AGO,
            )
            sealed = self.runtime.sealer.seal(b"top-secret", outbox.row_name(subscription_id))
            await outbox.seal_subscription(connection, subscription_id, sealed)
            return (await outbox.subscriptions_of(connection, callback_id))[-1]

    async def deliver(self, subscription: Subscription, count: int = 1) -> list[int]:
        """Stores notifications, and answers their numbers."""
        numbers = list(range(self._number + 1, self._number + count + 1))
        self._number += count
        common: dict[str, Any] = {"account_id": 1, "instance_id": 1, "created_at": LONG_AGO}
        notifications = [
            Notification(
                id=number,
                topic="topic",
                resource="events",
                via="polling",
                body=b'{"id":"%d"}' % number,
                **common,
            )
            for number in numbers
        ]
        deliveries = [
            Delivery(
                id=number,
                notification_id=number,
                subscription_id=subscription.id,
                callback_id=subscription.callback_id,
                status="created",
                due_at=LONG_AGO,
                last_error=None,
                updated_at=LONG_AGO,
                **common,
            )
            for number in numbers
        ]
        async with self.runtime.database.write() as connection:
            await outbox.append(connection, notifications, deliveries, now=LONG_AGO)
        return numbers

    async def turns(self) -> list[bool]:
        """Serves every callback that is due for one turn."""
        claimed = await self.worker.claim(100)
        return await asyncio.gather(*(self.worker.run(callback) for callback in claimed))

    async def rows(self, model: Any) -> list[Any]:
        async with self.runtime.database.read() as connection:
            return list(await connection.execute(select(table(model)).order_by(table(model).c.id)))

    async def statuses(self) -> list[str]:
        return [row.status for row in await self.rows(Delivery)]


async def bench(folder: Path, sandbox_url: str, receiver_url: str, **settings: Any) -> AsyncIterator[Bench]:
    made = gateways.settings_for(folder, sandbox_url, **settings)
    async with gateways.running(made, sandbox_url) as gateway:
        yield Bench(gateway, receiver_url)


@pytest.fixture
async def quick(
    tmp_path: Path, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> AsyncIterator[Bench]:
    async for made in bench(tmp_path, sandbox_url, receiver_url):
        yield made


def arrived(receiver: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = receiver.get("/deliveries").json()
    return found


async def test_what_is_due_is_sent_signed_and_settled(quick: Bench, receiver: httpx.Client) -> None:
    numbers = await quick.deliver(await quick.subscribe("/ok"), 3)
    assert await quick.turns() == [False]
    assert {item["json"]["id"] for item in arrived(receiver)} == {str(number) for number in numbers}
    assert {item["signature"] for item in arrived(receiver)} == {"ok"}
    assert [
        (row.status, row.attempts, row.last_status, row.due_at) for row in await quick.rows(Delivery)
    ] == [("delivered", 1, 200, None)] * 3
    (callback,) = await quick.rows(Callback)
    assert (callback.due_at, callback.fence, callback.leased_until, callback.slow) == (
        None,
        None,
        None,
        False,
    )
    assert await quick.turns() == []


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        ({"status": 500}, 500, "HTTP 500"),
        ({"status": 302}, 302, "HTTP 302"),
        ({"status": 404}, 404, "HTTP 404"),
        ({"cut": True}, None, "Disconnected"),
    ],
)
async def test_a_failure_is_tried_again_by_the_ladder(
    quick: Bench, receiver: httpx.Client, behaviour: dict[str, Any], status: int | None, error: str
) -> None:
    await fails_once(quick, receiver, behaviour, status, error)


async def test_a_receiver_that_does_not_answer_is_tried_again_by_the_ladder(
    tmp_path: Path, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> None:
    async for hasty in bench(tmp_path, sandbox_url, receiver_url, callback_timeout=timedelta(seconds=1)):
        await fails_once(hasty, receiver, {"hang": True}, None, "no answer within 1 s")


async def fails_once(
    made: Bench, receiver: httpx.Client, behaviour: dict[str, Any], status: int | None, error: str
) -> None:
    """What becomes of a delivery whose receiver behaves so."""
    receiver.post("/control", json=behaviour)
    await made.deliver(await made.subscribe("/bad"))
    before = datetime.now(UTC)
    await made.turns()
    (row,) = await made.rows(Delivery)
    assert (row.status, row.attempts, row.last_status) == ("retry", 1, status)
    assert error in row.last_error
    assert row.due_at - before >= timedelta(seconds=4)
    assert row.due_at - datetime.now(UTC) <= timedelta(seconds=4.4)
    (callback,) = await made.rows(Callback)
    assert (callback.due_at, callback.slow) == (row.due_at, True)


async def test_retry_after_lengthens_a_step_and_never_shortens_it(
    quick: Bench, receiver: httpx.Client
) -> None:
    receiver.post("/control", json={"path": "/long", "status": 503, "retry_after": 100})
    receiver.post("/control", json={"path": "/short", "status": 503, "retry_after": 1})
    for path in ("/long", "/short"):
        await quick.deliver(await quick.subscribe(path))
    before = datetime.now(UTC)
    await quick.turns()
    waits = [(row.due_at - before).total_seconds() for row in await quick.rows(Delivery)]
    assert waits[0] >= 100
    assert 4 <= waits[1] < 100


async def test_the_last_try_queues_everything_and_drops_nothing(quick: Bench, receiver: httpx.Client) -> None:
    receiver.post("/control", json={"status": 500})
    subscription = await quick.subscribe("/dead")
    await quick.deliver(subscription)
    async with quick.runtime.database.write() as connection:
        await connection.execute(table(Delivery).update().values(attempts=9))
    await quick.turns()
    (row,) = await quick.rows(Subscription)
    assert (row.active, row.inactive_reason) == (False, "10 attempts failed")
    await quick.deliver(subscription, 2)
    sent = len(arrived(receiver))
    await quick.turns()
    assert await quick.statuses() == ["queued"] * 3
    assert [row.attempts for row in await quick.rows(Delivery)] == [10, 0, 0]
    assert len(arrived(receiver)) == sent
    assert (await quick.rows(Callback))[0].due_at is None


async def test_410_ends_a_subscription_at_once(quick: Bench, receiver: httpx.Client) -> None:
    receiver.post("/control", json={"status": 410})
    await quick.deliver(await quick.subscribe("/gone"))
    await quick.turns()
    (row,) = await quick.rows(Subscription)
    assert (row.active, row.inactive_reason) == (False, "the receiver answered 410 Gone")
    assert await quick.statuses() == ["queued"]


async def test_a_hanging_callback_does_not_delay_another(
    tmp_path: Path, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> None:
    receiver.post("/control", json={"path": "/hang", "hang": True})
    async for patient in bench(tmp_path, sandbox_url, receiver_url):
        await patient.deliver(await patient.subscribe("/hang"), 100)
        await patient.deliver(await patient.subscribe("/ok"), 20)
        claimed = await patient.worker.claim(10)
        hanging, healthy = [asyncio.create_task(patient.worker.run(callback)) for callback in claimed]
        await healthy
        assert not hanging.done()
        statuses = await patient.statuses()
        assert (statuses.count("delivered"), statuses.count("created")) == (20, 100)
        hanging.cancel()
        with suppress(asyncio.CancelledError):
            await hanging


async def test_a_callback_gets_no_more_posts_at_once_than_its_cap(
    tmp_path: Path, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> None:
    receiver.post("/control", json={"hang": True})
    async for capped in bench(tmp_path, sandbox_url, receiver_url, callback_concurrency=3):
        await capped.deliver(await capped.subscribe("/capped"), 10)
        (callback,) = await capped.worker.claim(10)
        turn = asyncio.create_task(capped.worker.run(callback))
        await until(lambda: len(arrived(receiver)) >= 3, "POSTs")
        await asyncio.sleep(0.1)  # for one too many
        assert len(arrived(receiver)) == 3
        turn.cancel()
        with suppress(asyncio.CancelledError):
            await turn


class Clock:
    """The time of the event loop, as the dispatcher sees it: each POST takes as long as two turns may."""

    def __init__(self, worker: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 0.0
        self._post = worker.runtime.egress.post
        self._took = 2 * worker.runtime.settings.callback_turn.total_seconds()
        seen = {**vars(asyncio), "get_running_loop": lambda: self}
        monkeypatch.setattr(dispatcher, "asyncio", SimpleNamespace(**seen))
        monkeypatch.setattr(worker.runtime.egress, "post", self._slow_post)

    def time(self) -> float:
        return self._now

    async def _slow_post(self, *given: Any, **more: Any) -> Answer:
        answer = await self._post(*given, **more)
        self._now += self._took
        return answer


async def test_a_turn_that_is_over_leaves_the_rest_due(
    tmp_path: Path,
    sandbox_url: str,
    receiver: httpx.Client,
    receiver_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async for short in bench(tmp_path, sandbox_url, receiver_url, callback_concurrency=1):
        Clock(short, monkeypatch)
        await short.deliver(await short.subscribe("/slow"), 3)
        assert await short.turns() == [True]
        assert sorted(await short.statuses()) == ["created", "created", "delivered"]
        (callback,) = await short.rows(Callback)
        assert (callback.due_at, callback.slow) == (LONG_AGO, True)


async def test_draining_ends_what_is_in_flight_and_starts_nothing(
    tmp_path: Path,
    sandbox_url: str,
    receiver: httpx.Client,
    receiver_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async for single in bench(tmp_path, sandbox_url, receiver_url, callback_concurrency=2):
        answered, sent = asyncio.Event(), single.runtime.egress.post

        async def post(*given: Any, sent: Any = sent, answered: asyncio.Event = answered, **more: Any) -> Any:
            answer = await sent(*given, **more)
            await answered.wait()
            return answer

        monkeypatch.setattr(single.runtime.egress, "post", post)
        await single.deliver(await single.subscribe("/drain"), 6)
        (callback,) = await single.worker.claim(10)
        turn = asyncio.create_task(single.worker.run(callback))
        await until(lambda: len(arrived(receiver)) == 2, "two POSTs in flight")
        single.draining.set()
        answered.set()
        await turn
        assert len(arrived(receiver)) == 2
        assert sorted(await single.statuses()) == ["created"] * 4 + ["delivered"] * 2


async def test_a_cancelled_turn_settles_what_was_answered_and_gives_the_lease_back(
    quick: Bench, receiver: httpx.Client
) -> None:
    receiver.post("/control", json={"status": 200})
    await quick.deliver(await quick.subscribe("/cancel"), 40)
    (callback,) = await quick.worker.claim(10)
    turn = asyncio.create_task(quick.worker.run(callback))
    await until(lambda: len(arrived(receiver)) >= 20, "POSTs")
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    (row,) = await quick.rows(Callback)
    assert (row.fence, row.leased_until) == (None, None)
    assert (await quick.statuses()).count("delivered") > 0
    while await quick.turns():
        pass
    assert set(await quick.statuses()) == {"delivered"}


async def test_slow_callbacks_leave_half_of_the_places_to_the_others(
    tmp_path: Path, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> None:
    async for small in bench(tmp_path, sandbox_url, receiver_url, callbacks_at_once=4):
        for number in range(6):
            await small.deliver(await small.subscribe(f"/{number}"))
        async with small.runtime.database.write() as connection:
            await connection.execute(table(Callback).update().values(slow=True))
        first = await small.worker.claim(4)
        assert len(first) == 2
        assert await small.worker.claim(2) == []
        await asyncio.gather(*(small.worker.run(callback) for callback in first))
        assert len(await small.worker.claim(4)) == 2


async def test_a_key_that_cannot_be_opened_fails_its_delivery_only(
    quick: Bench, receiver: httpx.Client
) -> None:
    broken, whole = await quick.subscribe("/a"), await quick.subscribe("/b")
    async with quick.runtime.database.write() as connection:
        await outbox.seal_subscription(connection, broken.id, b"12345678" + b"x" * 40)
    await quick.deliver(broken)
    await quick.deliver(whole)
    await quick.turns()
    assert await quick.statuses() == ["retry", "delivered"]
    shown = (await quick.rows(Delivery))[0].last_error
    assert shown == "the gateway could not make the call; its log says why"


async def test_an_error_that_nobody_expects_fails_its_delivery_only(
    quick: Bench, receiver: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = quick.runtime.egress.post

    async def post(url: str, body: bytes, headers: Any, **more: Any) -> Any:
        if body == b'{"id":"1"}':
            raise RuntimeError("odd")
        return await sent(url, body, headers, **more)

    monkeypatch.setattr(quick.runtime.egress, "post", post)
    await quick.deliver(await quick.subscribe("/odd"), 3)
    await quick.turns()
    assert await quick.statuses() == ["retry", "delivered", "delivered"]
    assert "the gateway could not" in (await quick.rows(Delivery))[0].last_error


async def test_a_key_that_looks_like_base64_and_is_none_signs_as_text(
    quick: Bench, receiver: httpx.Client
) -> None:
    subscription = await quick.subscribe("/odd-key")
    sealed = quick.runtime.sealer.seal("whsec_é".encode(), outbox.row_name(subscription.id))
    async with quick.runtime.database.write() as connection:
        await outbox.seal_subscription(connection, subscription.id, sealed)
    await quick.deliver(subscription)
    await quick.turns()
    assert await quick.statuses() == ["delivered"]


class Refusal(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("sqlstate", ["40P01", "57P01"], ids=["lost race", "outage"])
async def test_a_turn_that_could_not_be_written_is_written_again(
    quick: Bench, receiver: httpx.Client, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    finish, tries = outbox.finish_turns, 0

    async def finish_turns(*given: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise DBAPIError("x", {}, Refusal(sqlstate))
        return await finish(*given, **more)

    monkeypatch.setattr(outbox, "finish_turns", finish_turns)
    await quick.deliver(await quick.subscribe("/race"))
    await quick.turns()
    assert (await quick.statuses(), tries, len(arrived(receiver))) == (["delivered"], 4, 1)


async def test_a_turn_whose_commit_nobody_knows_of_is_written_once(
    quick: Bench, receiver: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await quick.deliver(await quick.subscribe("/unsure"))
    claimed = await quick.worker.claim(100)
    monkeypatch.setattr(quick.runtime.database, "write", cut_after(quick.runtime.database.write))
    await asyncio.gather(*(quick.worker.run(callback) for callback in claimed))
    assert (await quick.statuses(), len(await quick.rows(Attempt))) == (["delivered"], 1)
    assert len(arrived(receiver)) == 1


async def test_what_a_cut_claim_has_read_is_not_sent(quick: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await quick.deliver(await quick.subscribe("/cut"))
    monkeypatch.setattr(quick.runtime.database, "write", cut_after(quick.runtime.database.write))
    with pytest.raises(DatabaseUnavailable):
        await quick.worker.claim(100)
    assert quick.worker._read == {}


async def test_each_post_leaves_an_attempt_with_the_beginning_of_its_answer(
    quick: Bench, receiver: httpx.Client
) -> None:
    receiver.post("/control", json={"status": 503, "times": 1})
    (number,) = await quick.deliver(await quick.subscribe("/attempts"))
    before = datetime.now(UTC)
    await quick.turns()
    async with quick.runtime.database.write() as connection:
        await connection.execute(table(Delivery).update().values(due_at=LONG_AGO))
        await connection.execute(table(Callback).update().values(due_at=LONG_AGO))
    await quick.turns()
    failed, taken = await quick.rows(Attempt)
    assert (failed.delivery_id, failed.number, failed.status, failed.error) == (number, 1, 503, "HTTP 503")
    assert (taken.number, taken.status, taken.error, taken.answer) == (2, 200, None, '{"status":200}')
    assert before <= failed.started_at <= taken.started_at
    assert failed.took_ms >= 0


async def test_what_comes_in_during_a_turn_is_served_at_once_after_it(
    quick: Bench, receiver: httpx.Client
) -> None:
    subscription = await quick.subscribe("/during")
    await quick.deliver(subscription)
    (callback,) = await quick.worker.claim(10)
    await quick.deliver(subscription)
    assert await quick.worker.run(callback) is True
    assert await quick.turns() == [False]
    assert len(arrived(receiver)) == 2


async def test_a_lost_lease_spoils_only_its_own_turn_among_those_settled_together(
    quick: Bench, receiver: httpx.Client
) -> None:
    paths = [f"/together/{number}" for number in range(5)]
    for path in paths:
        await quick.deliver(await quick.subscribe(path))
    claimed = await quick.worker.claim(10)
    async with quick.runtime.database.write() as connection:
        first = table(Callback).c.id == claimed[0].id
        await connection.execute(table(Callback).update().where(first).values(fence=1))
    assert await asyncio.gather(*map(quick.worker.run, claimed)) == [False] * 5
    assert sorted(await quick.statuses()) == ["created"] + ["delivered"] * 4
