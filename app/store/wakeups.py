"""Waking the workers of other processes: NOTIFY and LISTEN of PostgreSQL. On SQLite both do nothing; there,
as after a lost connection, workers find due rows by looking for them every GATEWAY_WORKER_IDLE."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.tables import Duty, table

_CHANNEL = "gateway_due"
_AFTER_LOSS = 0.5  # seconds until a lost connection is opened again, doubled while that fails
_LONGEST_REST = 5.0  # seconds

log = logging.getLogger(__name__)


async def notify(connection: AsyncConnection, duty: type[Duty]) -> None:
    """Wakes whoever listens when the transaction of `connection` commits."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_notify(_CHANNEL, table(duty).name)))


async def listen(database: Database, wakeups: Mapping[type[Duty], asyncio.Event]) -> None:
    """Sets the event of a duty that was notified, until cancelled. Holds one connection."""
    if database.embedded:
        return
    events = {table(duty).name: event for duty, event in wakeups.items()}
    rest = _AFTER_LOSS
    while True:
        try:
            await _listen_once(database, events)
            rest = _AFTER_LOSS
            log.warning("listening connection lost")
        except Exception as error:  # noqa: BLE001 - of the driver, too, which SQLAlchemy does not wrap here
            rest = min(rest * 2, _LONGEST_REST)
            log.warning("cannot listen for wake-ups", extra={"error": f"{type(error).__name__}: {error}"})
        await asyncio.sleep(rest)


async def _listen_once(database: Database, events: Mapping[str, asyncio.Event]) -> None:
    """Returns when the connection is lost."""
    lost = asyncio.Event()

    def wake(_connection: object, _pid: int, _channel: str, name: str) -> None:
        if name in events:
            events[name].set()

    async with database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.add_termination_listener(lambda _: lost.set())
        await driver.add_listener(_CHANNEL, wake)
        for event in events.values():  # whatever was notified before now
            event.set()
        try:
            await lost.wait()
        finally:
            await connection.invalidate()  # never back to the pool, where it would go on listening
