"""Turns that end at about the same time are settled together: one transaction for all that wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from app.errors import DatabaseUnavailable
from app.runtime import Runtime
from app.store import outages, outbox
from app.store.outbox import Turn

log = logging.getLogger(__name__)

_AT_ONCE = 50  # turns in one transaction; each has at most GATEWAY_CALLBACK_BATCH deliveries


class Settler:
    """While one transaction is under way, whatever ends meanwhile waits for the next one. So a quiet gateway
    settles at once, and a busy one writes many turns for the price of one. What is not written would be sent
    again: after an outage it is written for as long as nobody else can have taken the callback."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[tuple[Turn, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def settle(self, turn: Turn) -> bool:
        """Returns when the turn is written, and answers whether its callback is due again at once."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await done

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            if not await self._write(batch) and len(batch) > 1:
                log.warning("turns are settled one by one", extra={"turns": len(batch)})
                for one in batch:
                    await self._write([one])

    async def _write(self, batch: list[tuple[Turn, asyncio.Future[bool]]]) -> bool:
        """False when these were several and must be tried one by one, so that none fails for another."""
        try:
            step = partial(self._finish, [turn for turn, _ in batch])
            due, now = await outages.repeat(step, patience=self._runtime.settings.callback_lease)
        except Exception as error:  # noqa: BLE001 - it is raised where the turn is waited for
            if len(batch) > 1 and not isinstance(error, DatabaseUnavailable):
                return False
            for _, done in batch:
                _tell(done, error)
            return True
        for turn, done in batch:
            due_at = due.get(turn.lease.row_id)
            _tell(done, due_at is not None and due_at <= now)
        return True

    async def _finish(self, turns: Sequence[Turn]) -> tuple[dict[int, datetime | None], datetime]:
        """When the callbacks are due again, and when that was looked at."""
        async with self._runtime.database.write() as connection:
            now = self._runtime.clock.now()
            return await outbox.finish_turns(connection, turns, now=now), now


def _tell(done: asyncio.Future[bool], outcome: bool | Exception) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
