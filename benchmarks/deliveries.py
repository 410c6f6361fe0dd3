"""Deliveries through the whole path (claim, sign, POST, settle) on one core, callbacks answering at once.

Prints rates, and ratios to bare loops in the same run, by the clock and by the process's own CPU time, which
a busy machine disturbs less; and to a procrastinate worker with httpx on the same PostgreSQL. The targets are
0.7 of a bare loop and 5 times procrastinate.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import outgoing
import postgresql
import procrastinate
import uvloop
from receiving import Receiver, receiving
from sqlalchemy import select

from app.delivery import signing
from app.delivery.dispatcher import DispatchWorker
from app.http_client import pooled_client
from app.runtime import Runtime
from app.store.tables import Delivery, Subscription, table
from app.workers import Loop

CORE, OTHER_CORE = 0, 1
CALLBACKS = 8
ROUNDS = 5
NUMBER = 2_000  # deliveries of one round
JOBS = 1_000  # procrastinate's
IN_FLIGHT = CALLBACKS * 16


def _headers() -> dict[str, str]:
    return signing.headers(outgoing.BODY, notification_id=1, keys=[outgoing.KEY], timestamp=1)


class Watch:
    """Deliveries per second since it was made, by the clock and by the CPU time of this process."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    def rates(self, number: int) -> Rates:
        return Rates(number / (time.perf_counter() - self._clock), number / (time.process_time() - self._cpu))


@dataclass(frozen=True)
class Rates:
    clock: float
    cpu: float

    def of(self, other: Rates) -> Rates:
        return Rates(self.clock / other.clock, self.cpu / other.cpu)


async def bare(url: str) -> Rates:
    """A loop over the same client that does nothing else."""
    client = pooled_client(timeout=timedelta(seconds=15), agent="bench", limit=IN_FLIGHT)
    headers = _headers()

    async def post() -> None:
        assert (await client.post(url, content=outgoing.BODY, headers=headers)).status_code == 200

    rates = await _loop(post)
    await client.aclose()
    return rates


async def bare_egress(runtime: Runtime, url: str) -> Rates:
    """The same over `Egress`, which goes without httpx's client and only over its transport."""
    headers = _headers()

    async def post() -> None:
        assert (await runtime.egress.post(url, outgoing.BODY, headers)).accepted

    return await _loop(post)


async def _loop(post: Callable[[], Awaitable[None]]) -> Rates:
    left = iter(range(NUMBER))

    async def lane() -> None:
        for _ in left:
            await post()

    watch = Watch()
    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    return watch.rates(NUMBER)


async def whole_path(runtime: Runtime, subscriptions: Sequence[Subscription]) -> Rates:
    """The dispatcher, until the last delivery is settled."""
    share = NUMBER // len(subscriptions)
    for start in range(0, share, 50):
        for subscription in subscriptions:
            await outgoing.store(runtime, [subscription] * min(50, share - start))
    draining = asyncio.Event()
    worker = DispatchWorker(runtime, draining)
    loop = Loop(
        name="dispatcher",
        claim=worker.claim,
        run=worker.run,
        places=runtime.settings.callbacks_at_once,
        idle=runtime.settings.worker_idle,
        wakeup=runtime.wakeups.callbacks,
        draining=draining,
    )
    watch = Watch()
    serving = asyncio.create_task(loop.forever())
    while await _left(runtime):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    rates = watch.rates(share * len(subscriptions))
    draining.set()
    await serving
    return rates


async def _left(runtime: Runtime) -> bool:
    rows = table(Delivery)
    async with runtime.database.read() as connection:
        first = select(rows.c.id).where(rows.c.due_at.is_not(None)).limit(1)
        return await connection.scalar(first) is not None


async def _statuses(runtime: Runtime) -> set[str]:
    async with runtime.database.read() as connection:
        return set(await connection.scalars(select(table(Delivery).c.status).distinct()))


async def compare(name: str, url: str, receiver: Receiver) -> float:
    """Prints the ratios on one database and answers the rate of the whole path."""
    found, of_client, of_egress = [], [], []
    async with outgoing.opened(url) as runtime:
        urls = [f"{receiver.url}/ok/{number}" for number in range(CALLBACKS)]
        subscriptions = await outgoing.subscribe(runtime, urls)
        for _ in range(ROUNDS):
            client = await bare(receiver.url + "/ok")
            egress = await bare_egress(runtime, receiver.url + "/ok")
            found.append(await whole_path(runtime, subscriptions))
            of_client.append(found[-1].of(client))
            of_egress.append(found[-1].of(egress))
        assert await _statuses(runtime) == {"delivered"}
    rate = statistics.median(rates.clock for rates in found)
    print(f"{name:10}  {rate:,.0f} deliveries/s")
    for what, ratios in (("httpx's client", of_client), ("its transport alone", of_egress)):
        clock = statistics.median(ratio.clock for ratio in ratios)
        cpu = statistics.median(ratio.cpu for ratio in ratios)
        print(f"            of a bare loop over {what}: {clock:.2f} by the clock, {cpu:.2f} by CPU time")
    return rate


async def queued(url: str, receiver_url: str) -> float:
    """Rate of a procrastinate worker that signs and POSTs the same bodies with httpx."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    client = httpx.AsyncClient(timeout=15, limits=httpx.Limits(max_connections=IN_FLIGHT))

    @app.task(name="deliver", retry=procrastinate.RetryStrategy(max_attempts=9, exponential_wait=4))
    async def deliver(body: str, notification_id: int) -> None:
        content = body.encode()
        headers = signing.headers(
            content, notification_id=notification_id, keys=[outgoing.KEY], timestamp=int(time.time())
        )
        (await client.post(receiver_url, content=content, headers=headers)).raise_for_status()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        jobs: list[dict[str, Any]] = [
            {"body": outgoing.BODY.decode(), "notification_id": number} for number in range(JOBS)
        ]
        await deliver.batch_defer_async(*jobs)
        started = time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=IN_FLIGHT, install_signal_handlers=False)
        took = time.perf_counter() - started
    await client.aclose()
    return JOBS / took


async def on_postgresql(server: postgresql.Server, receiver: Receiver) -> None:
    ours = await compare("postgresql", await asyncio.to_thread(server.new_database), receiver)
    empty = await asyncio.to_thread(lambda: server.new_database(migrated=False))
    theirs = await queued(empty, receiver.url + "/ok")
    print(f"procrastinate on the same server: {theirs:,.0f} deliveries/s, ratio {ours / theirs:.1f}")


def main() -> None:
    os.sched_setaffinity(0, {OTHER_CORE})  # where the server of PostgreSQL stays
    with postgresql.running() as server, receiving(OTHER_CORE) as receiver:
        os.sched_setaffinity(0, {CORE})
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(compare("sqlite", f"sqlite:///{folder}/gateway.db", receiver))
        uvloop.run(on_postgresql(server, receiver))


if __name__ == "__main__":
    main()
