"""Reading the event streams: claim due accounts, read their changes, store what is new with its outbox."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app import documents, intake
from app.backoff import after_failed_poll
from app.errors import GatewayError, GrantRevoked, VendorError, VendorUnavailable
from app.events import Origin
from app.hubs.documents import ChangePage, DocumentsProvider
from app.runtime import Runtime
from app.store import instances, pollers
from app.store.leases import Lease, lease_of
from app.store.tables import Instance, Poller, Via

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Account:
    """What one lease is about."""

    poller: Poller
    lease: Lease
    instance: Instance
    organization_id: int


class PollWorker:
    """One step is one page: read outside of any transaction, then stored with its cursor in one. A crash
    anywhere repeats a step; the unique key of the events makes that harmless."""

    def __init__(self, runtime: Runtime, draining: asyncio.Event) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._draining = draining

    async def claim(self, places: int) -> list[Poller]:
        async with self._runtime.database.write() as connection:
            return await pollers.claim_due(
                connection, limit=places, now=self._runtime.clock.now(), lease=self._settings.poll_lease
            )

    async def run(self, poller: Poller) -> bool:
        """Reads one account until it has no more. True when it is due again at once."""
        lease = lease_of(poller)
        try:
            return await self._read(poller, lease)
        except asyncio.CancelledError:
            async with self._runtime.database.write() as connection:
                await pollers.release(connection, lease)
            raise
        except GatewayError as error:
            await self._rest(poller, lease, error)
        except Exception as error:
            log.exception("poll failed unexpectedly", extra={"instance": poller.instance_id})
            await self._rest(poller, lease, VendorError(f"internal error: {type(error).__name__}"))
        return False

    async def _read(self, poller: Poller, lease: Lease) -> bool:
        async with self._runtime.database.read() as connection:
            found = await instances.for_worker(connection, poller.instance_id)
        if found is None:
            return False  # deleted meanwhile, and its poller with it
        account = _Account(poller, lease, *found)
        provider = documents.bind(self._runtime, account.instance, budget=None)
        cursor = poller.cursor
        while True:
            page = await self._page(provider, cursor)
            last = not page.more or self._draining.is_set()
            if not await self._store(account, page, last=last):
                log.warning("poll lease lost", extra={"instance": poller.instance_id})
                return False
            if last:
                return page.more
            cursor = poller.cursor = page.cursor
            poller.failures = 0

    async def _page(self, provider: DocumentsProvider, cursor: str) -> ChangePage:
        try:
            async with asyncio.timeout(self._settings.poll_timeout.total_seconds()):
                return await provider.changes(cursor, provider.page_limit)
        except TimeoutError:
            raise VendorUnavailable("the vendor took longer than GATEWAY_POLL_TIMEOUT") from None

    async def _store(self, account: _Account, page: ChangePage, *, last: bool) -> bool:
        """The transaction of a step: the cursor, the next due time, new events with their notifications
        and deliveries. Nothing of it happens when the lease was lost: then the answer is False."""
        now = self._runtime.clock.now()
        async with self._runtime.database.write() as connection:
            if not await self._move(connection, account, page, last=last, now=now):
                return False
            stored = await self._take_in(connection, account, page, now) if page.changes else 0
        if stored:
            self._runtime.wakeups.callbacks.set()
            log.info("events stored", extra={"instance": account.instance.id, "events": stored})
        return True

    async def _take_in(
        self, connection: AsyncConnection, account: _Account, page: ChangePage, now: datetime
    ) -> int:
        poller = account.poller
        origin = Origin(Via.POLLING, poller.resource, poller.page_size, poller.cursor, page.cursor)
        return await intake.take_in(
            connection, account.instance, account.organization_id, page.changes, origin, now=now
        )

    async def _move(
        self, connection: AsyncConnection, account: _Account, page: ChangePage, *, last: bool, now: datetime
    ) -> bool:
        poller, lease = account.poller, account.lease
        if page.gap:
            await pollers.record_gap(connection, lease, since=poller.polled_at, until=now)
        if last:
            due_at = now if page.more else now + timedelta(seconds=poller.interval_seconds)
            return await pollers.finish(connection, lease, cursor=page.cursor, now=now, due_at=due_at)
        leased_until = now + self._settings.poll_lease
        return await pollers.advance(
            connection, lease, cursor=page.cursor, now=now, leased_until=leased_until
        )

    async def _rest(self, poller: Poller, lease: Lease, error: GatewayError) -> None:
        """Notes a failure. The cursor stays where it was; a dead grant stops the polling."""
        now = self._runtime.clock.now()
        failures = poller.failures + 1
        async with self._runtime.database.write() as connection:
            await pollers.fail(
                connection,
                lease,
                failures=failures,
                error=_shown(error),
                now=now,
                due_at=None if isinstance(error, GrantRevoked) else self._after(poller, failures, error, now),
            )
        log.warning(
            "poll failed",
            extra={"instance": poller.instance_id, "failures": failures, "error": error.message},
        )

    def _after(self, poller: Poller, failures: int, error: GatewayError, now: datetime) -> datetime:
        return now + after_failed_poll(
            failures,
            timedelta(seconds=poller.interval_seconds),
            longest=self._settings.poll_backoff_longest,
            chance=random.random(),
            retry_after=error.retry_after if isinstance(error, VendorError) else None,
        )


def _shown(error: GatewayError) -> str:
    words = error.provider_message if isinstance(error, VendorError) else None
    return f"{error.message} ({words})" if words else error.message
