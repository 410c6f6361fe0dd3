"""Reading the event streams: claim due accounts, read their changes, store what is new with its outbox."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app import documents
from app.backoff import after_failed_poll
from app.errors import (
    DatabaseUnavailable,
    GatewayError,
    GrantRevoked,
    NotSupported,
    VendorError,
    VendorUnavailable,
)
from app.hubs.documents import ChangePage, DocumentsProvider
from app.ingest import intake
from app.ingest.events import EVENTS_PER_NOTIFICATION, Origin, gap
from app.polling import reading
from app.runtime import Runtime
from app.store import instances, outages, pollers
from app.store.leases import Lease, lease_of
from app.store.tables import Instance, Poller, Via

log = logging.getLogger(__name__)

T = TypeVar("T")


class Source(Protocol):
    """Where the changes of one resource come from."""

    async def page(self, cursor: str) -> ChangePage:
        """The changes behind `cursor`, as `DocumentsProvider.changes` gives them. Raises a GatewayError."""


@dataclass(frozen=True)
class EventStream:
    """The vendor's own stream of events."""

    provider: DocumentsProvider

    async def page(self, cursor: str) -> ChangePage:
        return await self.provider.changes(cursor, self.provider.page_limit)


@dataclass(frozen=True)
class Account:
    """What one lease is about."""

    poller: Poller
    lease: Lease
    instance: Instance
    organization_id: int
    source: Source


Step = Callable[[Account], Awaitable[bool]]


class Reader:
    """Reads pages outside of any transaction, and stores each with its cursor in one. A crash anywhere
    repeats a page, and an outage of the database its storing; the unique key of the events makes both
    harmless."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings

    async def attempt(self, poller: Poller, step: Step) -> bool:
        """What `step` answers for the account of a claimed poller. Its failure is noted, and the account
        rests; where it is cancelled, or the database was away, the lease is given back."""
        lease = lease_of(poller)
        try:
            return await self._attempted(poller, lease, step)
        except asyncio.CancelledError:
            await self.let_go(lease, self._runtime.clock.now())
            raise

    async def _attempted(self, poller: Poller, lease: Lease, step: Step) -> bool:
        try:
            account = await self._open(poller, lease)
            return account is not None and await step(account)
        except DatabaseUnavailable:
            await self._repeated(partial(self.let_go, lease, self._runtime.clock.now()))
        except GatewayError as error:
            await self._rest(poller, lease, error)
        except Exception as error:
            log.exception("poll failed unexpectedly", extra={"instance": poller.instance_id})
            await self._rest(poller, lease, VendorError(f"internal error: {type(error).__name__}"))
        return False

    async def page(self, account: Account) -> ChangePage:
        """The changes behind the poller's cursor. Raises a GatewayError."""
        try:
            async with asyncio.timeout(self._settings.poll_timeout.total_seconds()):
                return await account.source.page(account.poller.cursor)
        except TimeoutError:
            raise VendorUnavailable("the vendor took longer than GATEWAY_POLL_TIMEOUT") from None

    async def store(self, account: Account, page: ChangePage, *, due_at: datetime | None) -> bool:
        """The transaction of a page: the cursor, new events with their notifications and deliveries. Without
        `due_at` the poller is held on. Nothing of it happens when the lease was lost: then the answer is
        False. It is made again for as long as the lease lasts; raises DatabaseUnavailable then."""
        return await self._repeated(partial(self._store, account, page, due_at))

    async def _repeated(self, step: Callable[[], Awaitable[T]]) -> T:
        return await outages.repeat(step, patience=self._settings.poll_lease)

    async def _store(self, account: Account, page: ChangePage, due_at: datetime | None) -> bool:
        now = self._runtime.clock.now()
        async with self._runtime.database.write() as connection:
            found = await instances.for_worker(connection, account.instance.id)
            if found is None or not await self._move(connection, account, page, due_at=due_at, now=now):
                log.warning("poll lease lost", extra={"instance": account.instance.id})
                return False
            current = replace(account, instance=found[0])  # what is waited for was opened days ago
            stored = await self._take_in(connection, current, page, now)
        if stored:
            self._runtime.wakeups.callbacks.set()
            log.info("events stored", extra={"instance": account.instance.id, "events": stored})
        account.poller.cursor, account.poller.failures = page.cursor, 0
        account.poller.polled_at = now
        return True

    async def let_go(self, lease: Lease, due_at: datetime) -> None:
        """Gives a lease back: the poller is due at that time, for whoever comes first."""
        async with self._runtime.database.write() as connection:
            await pollers.release(connection, lease, due_at=due_at)

    async def _open(self, poller: Poller, lease: Lease) -> Account | None:
        """None where the instance was deleted meanwhile, and its poller with it."""
        async with self._runtime.database.read() as connection:
            found = await instances.for_worker(connection, poller.instance_id)
        if found is None:
            return None
        return Account(poller, lease, *found, source=self._source(poller, found[0]))

    def _source(self, poller: Poller, instance: Instance) -> Source:
        if poller.reading is not None:
            if self._runtime.inside is None:
                raise NotSupported(f"The resource '{poller.resource}' cannot be read by this process")
            return reading.Resource(self._runtime.inside, instance, poller, self._runtime.clock)
        return EventStream(documents.bind(self._runtime, instance, budget=None))

    async def _take_in(
        self, connection: AsyncConnection, account: Account, page: ChangePage, now: datetime
    ) -> int:
        poller, stored = account.poller, 0
        if page.gap:
            told = Origin(Via.GATEWAY, poller.resource, EVENTS_PER_NOTIFICATION[Via.GATEWAY])
            lost = gap(poller.instance_id, poller.resource, since=poller.polled_at, until=now)
            stored += await intake.take_in(
                connection, account.instance, account.organization_id, [lost], told, now=now
            )
        if page.changes:
            origin = Origin(Via.POLLING, poller.resource, poller.page_size, poller.cursor, page.cursor)
            stored += await intake.take_in(
                connection, account.instance, account.organization_id, page.changes, origin, now=now
            )
        return stored

    async def _move(
        self,
        connection: AsyncConnection,
        account: Account,
        page: ChangePage,
        *,
        due_at: datetime | None,
        now: datetime,
    ) -> bool:
        poller, lease = account.poller, account.lease
        if page.gap:
            await pollers.record_gap(connection, lease, since=poller.polled_at, until=now)
        if due_at is not None:
            return await pollers.finish(connection, lease, cursor=page.cursor, now=now, due_at=due_at)
        until = now + self._settings.poll_lease
        return await pollers.advance(
            connection, lease, cursor=page.cursor, now=now, leased_until=until, waits=poller.waits
        )

    async def _rest(self, poller: Poller, lease: Lease, error: GatewayError) -> None:
        """Notes a failure. The cursor stays where it was; a dead grant stops the polling."""
        now, failures = self._runtime.clock.now(), poller.failures + 1
        due_at = None if isinstance(error, GrantRevoked) else self._after(poller, failures, error, now)
        log.warning(
            "poll failed",
            extra={"instance": poller.instance_id, "failures": failures, "error": error.message},
        )

        async def note() -> None:
            async with self._runtime.database.write() as connection:
                await pollers.fail(
                    connection, lease, failures=failures, error=error.in_full, now=now, due_at=due_at
                )

        await self._repeated(note)

    def _after(self, poller: Poller, failures: int, error: GatewayError, now: datetime) -> datetime:
        return now + after_failed_poll(
            failures,
            timedelta(seconds=poller.interval_seconds),
            longest=self._settings.poll_backoff_longest,
            chance=random.random(),
            retry_after=error.retry_after if isinstance(error, VendorError) else None,
        )


class PollWorker:
    """Reads accounts that are due, one step a page, until they have no more."""

    def __init__(self, runtime: Runtime, draining: asyncio.Event) -> None:
        self._runtime = runtime
        self._draining = draining
        self._reader = Reader(runtime)

    async def claim(self, places: int) -> list[Poller]:
        async with self._runtime.database.write() as connection:
            return await pollers.claim_due(
                connection,
                limit=places,
                now=self._runtime.clock.now(),
                lease=self._runtime.settings.poll_lease,
            )

    async def run(self, poller: Poller) -> bool:
        """Reads one account until it has no more. True when it is due again at once."""
        return await self._reader.attempt(poller, self._read)

    async def _read(self, account: Account) -> bool:
        while True:
            page = await self._reader.page(account)
            last = not page.more or self._draining.is_set()
            due_at = self._next(account.poller, page) if last else None
            if not await self._reader.store(account, page, due_at=due_at):
                return False
            if last:
                return page.more

    def _next(self, poller: Poller, page: ChangePage) -> datetime:
        rest = timedelta(0) if page.more else timedelta(seconds=poller.interval_seconds)
        return self._runtime.clock.now() + rest
