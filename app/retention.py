"""Forgetting what is old: small batches beside everything else, in one worker at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import DatabaseUnavailable
from app.runtime import Runtime
from app.store import oauth_states, retention
from app.store.leases import lease_of
from app.store.tables import Pruning

log = logging.getLogger(__name__)

BATCH = 100  # notifications with up to 20 events each: a transaction of a few ms
_PAUSE = 0.05  # seconds between two batches, which belong to everybody else
_FIRST = 60.0  # seconds after the start, at most; workers that start together do not prune together
_EVERY = 600.0  # seconds between two looks whether there is something to do
_REST = timedelta(hours=1)  # between two passes, of whichever worker
_ANEW = timedelta(days=1)  # after which also that is looked at again which could not be forgotten
_LEASE = timedelta(minutes=10)  # of a batch and its pause; after a crash somebody else goes on


async def keep_pruning(runtime: Runtime, draining: asyncio.Event) -> None:
    """Prunes now and then until `draining` is set."""
    rest = _FIRST
    while not await _is_set_within(draining, rest * random.uniform(0.5, 1.0)):
        rest = _EVERY
        try:
            await prune(runtime, draining)
        except DatabaseUnavailable as error:  # what was begun is gone on with when its lease has passed
            log.warning("pruning was cut by the database", extra={"error": error.in_full})
        except Exception:
            log.exception("pruning failed")


async def prune(runtime: Runtime, draining: asyncio.Event) -> int:
    """Deletes whatever is older than the settings say, and answers how many notifications that were. Nothing,
    when it is not due or somebody else does it. Ends early when `draining` is set."""
    settings, now = runtime.settings, runtime.clock.now()
    before = now - settings.event_retention
    async with runtime.database.write() as connection:
        mine = await retention.begin(connection, now=now, lease=_LEASE, anew_before=now - _ANEW)
    if mine is None:
        return 0
    deleted = await _notifications(runtime, draining, mine)
    await _all(runtime, draining, partial(retention.forget_requests, limit=BATCH, before=before))
    unseen = now - settings.memory_retention
    await _all(runtime, draining, partial(retention.forget_objects, limit=BATCH, before=unseen))
    async with runtime.database.write() as connection:
        await oauth_states.forget_ended(connection, limit=BATCH, now=now)
        again = timedelta(0) if draining.is_set() else _REST
        await retention.rest(connection, lease_of(mine), due_at=runtime.clock.now() + again)
    if deleted:
        log.info("notifications pruned", extra={"notifications": deleted})
    return deleted


async def _notifications(runtime: Runtime, draining: asyncio.Event, mine: Pruning) -> int:
    """Goes on behind what was looked at before, which may not be forgotten yet, until the lease is lost."""
    settings, now = runtime.settings, runtime.clock.now()
    unclaimed = settings.unclaimed_retention
    place, deleted, held = mine.place, 0, True
    while held:
        async with runtime.database.write() as connection:
            window = await retention.forget_notifications(
                connection,
                after=place,
                limit=BATCH,
                before=now - settings.event_retention,
                unclaimed_before=now - unclaimed if unclaimed else None,
            )
            place, until = window.last, runtime.clock.now() + _LEASE
            held = await retention.go_on(connection, lease_of(mine), place=place, until=until)
        deleted += window.deleted
        if window.is_last or await _is_set_within(draining, _PAUSE):
            break
    return deleted


async def _all(
    runtime: Runtime, draining: asyncio.Event, forget: Callable[[AsyncConnection], Awaitable[int]]
) -> None:
    """Repeats a batch until it is not full."""
    while True:
        async with runtime.database.write() as connection:
            deleted = await forget(connection)
        if deleted < BATCH or await _is_set_within(draining, _PAUSE):
            return


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
