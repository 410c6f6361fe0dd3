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
_AFTER_LOSS = 1.0  # seconds until a lost connection is opened again

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
    while True:
        try:
            await _listen_once(database, events)
            log.warning("listening connection lost")
        except Exception:  # of the driver, too, which SQLAlchemy does not wrap here
            log.warning("cannot listen for wake-ups", exc_info=True)
        await asyncio.sleep(_AFTER_LOSS)


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
