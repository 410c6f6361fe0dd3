"""Waiting for news: accounts whose vendor says by itself when something changes are held, thousands by one
worker, and read as soon as it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from app.errors import DatabaseUnavailable, NotSupported, VendorForbidden, VendorNotFound
from app.hubs.documents import Channel, DocumentsProvider, News
from app.polling.poller import Account, EventStream, Reader
from app.runtime import Runtime
from app.store import pollers
from app.store.leases import Lease, lease_of
from app.store.tables import Poller
from app.tasks import to_its_end

log = logging.getLogger(__name__)

_AT_ONCE = 200  # rows that one claim takes, so that workers which start together share them
_PARTS = 3  # of a lease; two prolongings may fail before it has passed
_SOON = 1.0  # seconds; a wait that ends sooner and brings nothing is followed by a rest
_LONGEST_REST = 60.0  # seconds between waits that bring nothing
_NEVER = (NotSupported, VendorNotFound, VendorForbidden)  # what a vendor says that lets nobody wait


class _Hold:
    """One account that this worker holds, and the wait that it may be in."""

    def __init__(self, poller: Poller) -> None:
        self.lease = lease_of(poller)
        self.instance_id = poller.instance_id
        self.over = False
        self.reads = False
        self._hinted = False
        self._wait: asyncio.Timeout | None = None

    def wake(self) -> None:
        """Ends the wait, or keeps the next one from beginning."""
        self._hinted = True
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(asyncio.get_running_loop().time())

    def end(self) -> None:
        """Nobody holds the account here any more."""
        self.over = True
        self.wake()

    def forget_hints(self) -> None:
        """Called before a reading, which finds what they were about."""
        self._hinted = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While a page is read and stored nobody else gives the account back."""
        self.reads = True
        try:
            yield
        finally:
            self.reads = False

    @contextmanager
    def waiting(self, until: float) -> Iterator[asyncio.Timeout]:
        """A time-out that `wake` brings forward."""
        self._wait = asyncio.timeout_at(0 if self._hinted else until)
        try:
            yield self._wait
        finally:
            self._wait = None


@dataclass
class _Watch:
    """How the waiting for one account goes: where to wait, until when, and how often that brought nothing."""

    provider: DocumentsProvider
    until: float
    channel: Channel | None = None
    vain: int = 0

    def note(self, news: News, *, took: float) -> None:
        """A vendor that sends its callers away at once is asked less and less."""
        self.channel = news.channel
        self.vain = 0 if took >= _SOON else self.vain + 1

    @property
    def rest(self) -> float:
        """Seconds; none after the first time, for it may have been the end of an older channel."""
        return min(0.5 * 2.0 ** min(self.vain, 10), _LONGEST_REST) if self.vain > 1 else 0.0


class ListenWorker:
    """Holds the pollers that wait: reads what there is, lets the vendor say when there is more, and reads
    again. All leases are prolonged together by `keep`, which runs beside the loop."""

    def __init__(self, runtime: Runtime, draining: asyncio.Event) -> None:
        self._runtime = runtime
        self._draining = draining
        self._reader = Reader(runtime)
        self._held: dict[int, _Hold] = {}
        # The other half of the connections is for clients, who wait for their answers.
        self._reading = asyncio.Semaphore(max(runtime.settings.vendor_connections // 2, 1))

    async def claim(self, places: int) -> list[Poller]:
        async with self._runtime.database.write() as connection:
            return await pollers.claim_due(
                connection,
                limit=min(places, _AT_ONCE),
                now=self._runtime.clock.now(),
                lease=self._runtime.settings.poll_lease,
                waits=True,
            )

    async def run(self, poller: Poller) -> bool:
        """Holds one account until it is lost, given back or failing."""
        with self._holding(poller) as hold:
            return await self._reader.attempt(poller, lambda account: self._listen(account, hold))

    async def keep(self) -> None:
        """Prolongs what is held, some times in a lease, until the worker drains; then gives back at once all
        that waits, for the vendor or for its turn to be read. What is being read gives itself back."""
        part = self._runtime.settings.poll_lease.total_seconds() / _PARTS
        while not self._draining.is_set():
            try:
                async with asyncio.timeout(part):
                    await self._draining.wait()
            except TimeoutError:
                await self._tried(self._prolong)
        await to_its_end(self._tried(self._give_back))  # nobody else does it: the holds are over

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except DatabaseUnavailable as error:
            log.warning("leases of what is waited for not prolonged", extra={"error": error.in_full})
        except Exception:  # the next time is soon enough, and a lease that is not given back ends by itself
            log.exception("cannot prolong or give back the leases of what is waited for")

    async def _prolong(self) -> None:
        held = {hold.lease: hold for hold in self._held.values()}
        if not held:
            return
        until = self._runtime.clock.now() + self._runtime.settings.poll_lease
        async with self._runtime.database.write() as connection:
            lost = await pollers.prolong(connection, held.keys(), until=until)
        for lease in lost:
            held[lease].end()

    async def _give_back(self) -> None:
        resting = [hold for hold in self._held.values() if not hold.reads and not hold.over]
        leases = [hold.lease for hold in resting]
        for hold in resting:
            hold.end()
        if leases:
            async with self._runtime.database.write() as connection:
                await pollers.give_back(connection, leases, now=self._runtime.clock.now())

    @contextmanager
    def _holding(self, poller: Poller) -> Iterator[_Hold]:
        hold = _Hold(poller)
        if (former := self._held.get(poller.id)) is not None:
            former.end()  # the row was taken from it, and has come back
        self._held[poller.id] = hold
        wakers = self._runtime.wakeups.waiting.setdefault(poller.instance_id, set())
        wakers.add(hold.wake)
        try:
            yield hold
        finally:
            wakers.discard(hold.wake)
            if not wakers:
                self._runtime.wakeups.waiting.pop(poller.instance_id, None)
            if self._held.get(poller.id) is hold:
                del self._held[poller.id]

    async def _listen(self, account: Account, hold: _Hold) -> bool:
        """False: whenever it is due again, it is found by looking."""
        if not isinstance(account.source, EventStream):
            raise NotSupported(f"The resource '{account.poller.resource}' cannot be waited for")
        watch, cursor = _Watch(account.source.provider, until=0), account.poller.cursor
        while not hold.over and await self._read(account, hold):
            if account.poller.cursor != cursor:
                watch.vain, cursor = 0, account.poller.cursor
            if self._draining.is_set():
                await self._reader.let_go(hold.lease, self._runtime.clock.now())
                return False
            watch.until = asyncio.get_running_loop().time() + account.poller.interval_seconds
            try:
                await self._await_news(account.poller, watch, hold)
            except _NEVER as error:
                await self._fall_back(account, hold.lease, str(error))
                return False
        return False

    async def _read(self, account: Account, hold: _Hold) -> bool:
        """Reads all that there is, as long as the worker does not drain. False when the lease was lost."""
        hold.forget_hints()
        async with self._reading:
            while not hold.over and not self._draining.is_set():
                with hold.reading():
                    page = await self._reader.page(account)
                    if not await self._reader.store(account, page, due_at=None):
                        return False
                if not page.more:
                    return True
        return not hold.over

    async def _await_news(self, poller: Poller, watch: _Watch, hold: _Hold) -> None:
        """Returns when the account is to be read: there are news or a hint, its interval has passed, or the
        lease is at its end."""
        clock = asyncio.get_running_loop().time
        with suppress(TimeoutError), hold.waiting(watch.until) as timeout:
            async with timeout:
                changed = False
                while not changed:
                    await asyncio.sleep(watch.rest)
                    began = clock()
                    news = await watch.provider.wait(poller.cursor, watch.channel)
                    watch.note(news, took=clock() - began)
                    changed = news.changed

    async def _fall_back(self, account: Account, lease: Lease, why: str) -> None:
        """The account rests for an interval, as one that is only polled."""
        log.warning("vendor cannot be waited for", extra={"instance": account.instance.id, "error": why})
        interval = timedelta(seconds=account.poller.interval_seconds)
        await self._reader.let_go(lease, self._runtime.clock.now() + interval)
