"""From stored to received, at 200 deliveries a second over 100 callbacks, on both databases; and once more
with one callback in five answering 500 and one in twenty never answering.

The targets are p95 < 30 ms and p99 < 100 ms, and that the healthy ones' p95 grows by less than 2 times.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence

import outgoing
import postgresql
import uvloop
from receiving import Receiver, receiving

from app.runtime import Runtime
from app.store.tables import Subscription
from app.workers import working

RATE = 200  # per second
CALLBACKS = 100
SECONDS = 9
WARM_UP = 3  # seconds that are not counted
PATIENCE = 4  # seconds in which the last ones arrive


async def feed(runtime: Runtime, subscriptions: Sequence[Subscription]) -> dict[int, tuple[float, int]]:
    """Stores at a steady rate, one transaction each; answers when what was stored for which subscription."""
    stored: dict[int, tuple[float, int]] = {}
    began = time.monotonic()

    async def one(number: int) -> None:
        subscription = subscriptions[number % len(subscriptions)]
        (notification_id,) = await outgoing.store(runtime, [subscription])
        stored[notification_id] = (time.time(), number)

    async with asyncio.TaskGroup() as group:
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            group.create_task(one(number))
    return stored


async def measure(runtime: Runtime, receiver: Receiver, paths: Sequence[str]) -> list[float]:
    """Milliseconds from stored to received of those that healthy callbacks got after the warm-up, sorted."""
    urls = [f"{receiver.url}{path}/{number}" for number, path in enumerate(paths)]
    subscriptions = await outgoing.subscribe(runtime, urls)
    receiver.take()
    async with working(runtime):
        began = time.process_time()
        stored = await feed(runtime, subscriptions)
        busy = (time.process_time() - began) / SECONDS
        print(f"{busy:.0%} of a core is busy at {RATE} deliveries/s, the storing included")
        await asyncio.sleep(PATIENCE)
        arrived = receiver.take()
    counted = {
        notification_id: at
        for notification_id, (at, number) in stored.items()
        if paths[number % len(paths)] == "/ok" and number >= RATE * WARM_UP
    }
    late = float(PATIENCE)  # what has not arrived by the end took at least as long
    return sorted(max(0.0, arrived.get(number, at + late) - at) * 1000 for number, at in counted.items())


def show(name: str, found: list[float]) -> float:
    """Prints the percentiles and answers p95."""
    cuts = statistics.quantiles(found, n=100)
    print(f"{name:30}  p50 {cuts[49]:6.1f} ms   p95 {cuts[94]:6.1f} ms   p99 {cuts[98]:6.1f} ms")
    return cuts[94]


async def compare(name: str, urls: Sequence[str], receiver: Receiver) -> None:
    """Prints both measurements, each on a database of its own, and what lies between them."""
    healthy = ["/ok"] * CALLBACKS
    troubled = [
        "/hang" if number % 20 == 7 else "/bad" if number % 5 == 0 else "/ok" for number in range(CALLBACKS)
    ]
    async with outgoing.opened(urls[0]) as runtime:
        alone = show(name, await measure(runtime, receiver, healthy))
    async with outgoing.opened(urls[1]) as runtime:
        beside = show(f"{name}, beside failing ones", await measure(runtime, receiver, troubled))
    print(f"{name}: p95 of the healthy ones grew {beside / alone:.2f} times")


def main() -> None:
    with postgresql.running() as server, receiving() as receiver, tempfile.TemporaryDirectory() as folder:
        files = [f"sqlite:///{folder}/{number}.db" for number in range(2)]
        uvloop.run(compare("sqlite", files, receiver))
        databases = [server.new_database() for _ in range(2)]
        uvloop.run(compare("postgresql", databases, receiver))


if __name__ == "__main__":
    main()
