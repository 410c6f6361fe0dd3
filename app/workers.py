"""The poller and the dispatcher as loops that claim, run and drain. Inside `serve`, or alone as `work`."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from app.delivery.dispatcher import DispatchWorker
from app.poller import PollWorker
from app.runtime import Runtime
from app.store import wakeups
from app.store.tables import Callback, Duty, Poller

log = logging.getLogger(__name__)

Row = TypeVar("Row")

_AFTER_ERROR = 1.0  # seconds of rest when the database cannot be asked for work


@dataclass
class Loop(Generic[Row]):
    """Keeps `places` busy with claimed rows. It sleeps until it is woken, a place becomes free, or `idle`
    has passed."""

    name: str
    claim: Callable[[int], Awaitable[Sequence[Row]]]
    run: Callable[[Row], Awaitable[bool]]
    places: int
    idle: timedelta
    wakeup: asyncio.Event
    draining: asyncio.Event
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def forever(self) -> None:
        """Returns when draining began and everything in flight has ended."""
        while not self.draining.is_set():
            self.wakeup.clear()
            claimed = await self._claim()
            for row in claimed:
                task = asyncio.create_task(self._guarded(row))
                self._running.add(task)
                task.add_done_callback(self._done)
            if len(self._running) >= self.places or not claimed:
                await self._sleep()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _claim(self) -> Sequence[Row]:
        free = self.places - len(self._running)
        if free <= 0:
            return []
        try:
            return await self.claim(free)
        except Exception:
            log.exception("claim failed", extra={"loop": self.name})
            await asyncio.sleep(_AFTER_ERROR)
            return []

    async def _guarded(self, row: Row) -> None:
        try:
            if await self.run(row):
                self.wakeup.set()
        except Exception:  # the row stays leased until its lease has passed, and is then taken again
            log.exception("step failed", extra={"loop": self.name})

    def _done(self, task: asyncio.Task[None]) -> None:
        if len(self._running) >= self.places:
            self.wakeup.set()
        self._running.discard(task)

    async def _sleep(self) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (self.wakeup, self.draining)]
        await asyncio.wait(waiting, timeout=self.idle.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def work(runtime: Runtime, draining: asyncio.Event) -> None:
    """Polls and delivers until `draining` is set, then ends what is in flight and returns.

    After GATEWAY_DRAIN_TIMEOUT what is still running is cancelled; its leases are given back.
    """
    woken: dict[type[Duty], asyncio.Event] = {
        Poller: runtime.wakeups.pollers,
        Callback: runtime.wakeups.callbacks,
    }
    listening = asyncio.create_task(wakeups.listen(runtime.database, woken))
    working = asyncio.create_task(_loops(runtime, draining))
    asked = asyncio.create_task(draining.wait())
    log.info("worker started")
    both: set[asyncio.Task[Any]] = {working, asked}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in (listening, asked):
        task.cancel()
    await asyncio.gather(listening, asked, return_exceptions=True)
    try:
        await asyncio.wait_for(working, runtime.settings.drain_timeout.total_seconds())
    except TimeoutError:
        log.warning("drain timed out; what was in flight is given back")
    log.info("worker stopped")


async def _loops(runtime: Runtime, draining: asyncio.Event) -> None:
    """The two loops of a worker; ends when both have drained."""
    settings = runtime.settings
    poll, dispatch = PollWorker(runtime, draining), DispatchWorker(runtime, draining)
    await asyncio.gather(
        Loop(
            name="poller",
            claim=poll.claim,
            run=poll.run,
            places=settings.poll_concurrency,
            idle=settings.worker_idle,
            wakeup=runtime.wakeups.pollers,
            draining=draining,
        ).forever(),
        Loop(
            name="dispatcher",
            claim=dispatch.claim,
            run=dispatch.run,
            places=settings.callbacks_at_once,
            idle=settings.worker_idle,
            wakeup=runtime.wakeups.callbacks,
            draining=draining,
        ).forever(),
    )


def _stop_process() -> None:
    """An API without its workers would look healthy and deliver nothing."""
    log.critical("the workers ended unexpectedly; the process stops")
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    """Runs `work` beside the body and drains it at the end."""
    draining = asyncio.Event()
    task = asyncio.create_task(work(runtime, draining))
    task.add_done_callback(lambda _: None if draining.is_set() else _stop_process())
    try:
        yield
    finally:
        draining.set()
        await task
