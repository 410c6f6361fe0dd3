"""Workers of other processes are woken through PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import PATIENCE, until
from sqlalchemy import text

from app.settings import Settings
from app.store import wakeups
from app.store.engine import Database
from app.store.tables import Callback, Poller


def opened(url: str) -> Database:
    return Database(Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY).database)


@pytest.fixture
async def pair(postgresql: Server) -> AsyncIterator[tuple[Database, Database]]:
    """The same database as two processes would see it."""
    url = await asyncio.to_thread(postgresql.new_database)
    mine, other = opened(url), opened(url)
    yield mine, other
    await mine.close()
    await other.close()


async def woken(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()
    event.clear()


async def test_a_commit_wakes_the_duty_that_was_notified(pair: tuple[Database, Database]) -> None:
    mine, other = pair
    pollers, callbacks = asyncio.Event(), asyncio.Event()
    listener = asyncio.create_task(wakeups.listen(mine, {Poller: pollers, Callback: callbacks}))
    await woken(pollers)
    await woken(callbacks)
    async with other.write() as connection:
        await wakeups.notify(connection, Poller)
        await asyncio.sleep(0.05)
        assert not pollers.is_set()
    await woken(pollers)
    assert not callbacks.is_set()
    listener.cancel()


async def test_listening_goes_on_after_the_connection_was_cut(pair: tuple[Database, Database]) -> None:
    mine, other = pair
    pollers = asyncio.Event()
    listener = asyncio.create_task(wakeups.listen(mine, {Poller: pollers}))
    await woken(pollers)
    async with other.write() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await connection.execute(text(f"{cut} AND query LIKE 'LISTEN%'"))
    await woken(pollers)  # it listens again
    async with other.write() as connection:
        await wakeups.notify(connection, Poller)
    await woken(pollers)
    await until(lambda: is_alone(other), "one listener, when the one that was cut has gone")
    listener.cancel()


async def is_alone(database: Database) -> bool:
    listening = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
    async with database.read() as connection:
        return bool(await connection.scalar(text(f"{listening} AND query LIKE 'LISTEN%'")))


async def test_the_embedded_database_needs_no_listener(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path}/gateway.db")
    await wakeups.listen(database, {})
    await database.close()
