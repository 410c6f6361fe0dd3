"""What a worker does, as loops that claim, run and drain. Inside `serve`, or alone as `work`."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from app import retention
from app.async_requests import RequestWorker
from app.delivery.dispatcher import DispatchWorker
from app.errors import DatabaseUnavailable
from app.ingest.vendor_webhooks import WebhookWorker
from app.polling.listener import ListenWorker
from app.polling.poller import PollWorker
from app.runtime import Runtime
from app.store import wakeups
from app.store.tables import AsyncRequest, Callback, Duty, Poller, VendorWebhook

log = logging.getLogger(__name__)

Row = TypeVar("Row")

_AFTER_ERROR = 0.5  # seconds of rest when the database cannot be asked for work
_FEW = 20  # rows; a claim of fewer has taken all that was due, and asking again at once would be in vain


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
    _away: bool = False

    async def forever(self) -> None:
        """Returns when draining began and everything in flight has ended; cancelled, it cancels that too."""
        async with asyncio.TaskGroup() as group:
            while not self.draining.is_set():
                self.wakeup.clear()
                free = self.places - len(self._running)
                claimed = await self._claim()
                if claimed is None:
                    await asyncio.sleep(_AFTER_ERROR)
                    continue
                for row in claimed:
                    task = group.create_task(self._guarded(row))
                    self._running.add(task)
                    task.add_done_callback(self._done)
                if len(self._running) >= self.places or len(claimed) < min(free, _FEW):
                    await self._sleep()

    async def _claim(self) -> Sequence[Row] | None:
        """None when the database could not be asked."""
        free = self.places - len(self._running)
        if free <= 0:
            return []
        try:
            claimed = await self.claim(free)
        except DatabaseUnavailable as error:
            self._note(away=True, error=error.in_full)
        except Exception:
            log.exception("claim failed", extra={"loop": self.name})
        else:
            self._note(away=False)
            return claimed
        return None

    def _note(self, *, away: bool, **facts: str) -> None:
        """One line when an outage begins, and one when it is over."""
        if away is not self._away:
            said = "no work while the database is away" if away else "the database is back"
            log.warning(said, extra={"loop": self.name, **facts})
        self._away = away

    async def _guarded(self, row: Row) -> None:
        try:
            if await self.run(row):
                self.wakeup.set()
        except DatabaseUnavailable as error:
            log.warning("step cut by the database", extra={"loop": self.name, "error": error.in_full})
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


class Worker(Protocol[Row]):
    """What a loop is made for: it claims rows and runs each."""

    async def claim(self, places: int) -> Sequence[Row]: ...

    async def run(self, row: Row) -> bool: ...


async def work(runtime: Runtime, draining: asyncio.Event) -> None:
    """Polls and delivers until `draining` is set, then ends what is in flight and returns.

    After GATEWAY_DRAIN_TIMEOUT what is still running is cancelled; its leases are given back.
    """
    woken: dict[type[Duty], asyncio.Event] = {
        Poller: runtime.wakeups.pollers,
        Callback: runtime.wakeups.callbacks,
        AsyncRequest: runtime.wakeups.requests,
        VendorWebhook: runtime.wakeups.vendor_webhooks,
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
    """All loops of a worker; ends when they have drained. Each has a wake-up of its own, which it alone
    clears."""
    settings, woken = runtime.settings, runtime.wakeups
    listen = ListenWorker(runtime, draining)
    due, news = asyncio.Event(), asyncio.Event()
    parts: list[tuple[str, Worker[Any], int, asyncio.Event]] = [
        ("poller", PollWorker(runtime, draining), settings.poll_concurrency, due),
        ("listener", listen, settings.long_polls_at_once, news),
        ("dispatcher", DispatchWorker(runtime, draining), settings.callbacks_at_once, woken.callbacks),
        ("async requests", RequestWorker(runtime), settings.async_request_concurrency, woken.requests),
        ("vendor webhooks", WebhookWorker(runtime), settings.poll_concurrency, woken.vendor_webhooks),
    ]
    loops = [
        Loop(name, worker.claim, worker.run, places, settings.worker_idle, wakeup, draining)
        for name, worker, places, wakeup in parts
    ]
    passing_on = asyncio.create_task(_pass_on(woken.pollers, [due, news]))
    try:
        pruning = retention.keep_pruning(runtime, draining)
        await asyncio.gather(listen.keep(), pruning, *(loop.forever() for loop in loops))
    finally:
        passing_on.cancel()


async def _pass_on(wakeup: asyncio.Event, others: Sequence[asyncio.Event]) -> None:
    """Wakes several loops where one is woken, until cancelled."""
    while True:
        await wakeup.wait()
        wakeup.clear()
        for other in others:
            other.set()


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
