"""The poller and the dispatcher as loops that claim, run and drain. Inside `serve`, or alone as `work`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

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
    settings = runtime.settings
    poll, dispatch = PollWorker(runtime, draining), DispatchWorker(runtime, draining)
    loops = [
        Loop(
            "poller",
            poll.claim,
            poll.run,
            settings.poll_concurrency,
            settings.worker_idle,
            runtime.wakeups.pollers,
            draining,
        ).forever(),
        Loop(
            "dispatcher",
            dispatch.claim,
            dispatch.run,
            settings.callbacks_at_once,
            settings.worker_idle,
            runtime.wakeups.callbacks,
            draining,
        ).forever(),
    ]
    wakeups_of: dict[type[Duty], asyncio.Event] = {
        Poller: runtime.wakeups.pollers,
        Callback: runtime.wakeups.callbacks,
    }
    listener = asyncio.create_task(wakeups.listen(runtime.database, wakeups_of))
    log.info("worker started")
    running = asyncio.gather(*loops)
    await draining.wait()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    try:
        await asyncio.wait_for(running, settings.drain_timeout.total_seconds())
    except TimeoutError:
        log.warning("drain timed out; what was in flight is given back")
    log.info("worker stopped")


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    """Runs `work` beside the body and drains it at the end."""
    draining = asyncio.Event()
    task = asyncio.create_task(work(runtime, draining))
    try:
        yield
    finally:
        draining.set()
        await task
