"""kill -9 of a worker at the three places where an event could be lost, with real processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from processes import PATIENCE, House, eventually, house
from sqlalchemy import func, select, text

from app.store.engine import Database
from app.store.tables import Callback, Delivery, Duty, Event, Poller, table

TABLES = "poller, event, notification, delivery, callback"


@pytest.fixture
def home(tmp_path: Path, database: Database, database_url: str) -> Iterator[House]:
    with house(tmp_path, database_url, ENCRYPTION_KEY) as made:
        made.serve("--no-workers")
        yield made


@asynccontextmanager
async def frozen(database: Database) -> AsyncIterator[None]:
    """Nobody else can write meanwhile."""
    async with database.write() as connection:
        if not database.embedded:
            await connection.execute(text(f"LOCK TABLE {TABLES} IN EXCLUSIVE MODE"))
        yield


async def until_held(database: Database, duty: type[Duty]) -> None:
    """Returns when a worker has claimed a row."""
    held = select(func.count()).where(table(duty).c.fence.is_not(None))
    async with asyncio.timeout(PATIENCE):
        while not await scalar(database, held):
            await asyncio.sleep(0.01)


async def scalar(database: Database, statement: Any) -> Any:
    async with database.read() as connection:
        return await connection.scalar(statement)


@contextmanager
def deaf_port() -> Iterator[tuple[int, ExitStack]]:
    """A port that answers no connection at all: its queue is full. Closing the stack frees it."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1], stack


async def test_killed_between_claim_and_post(home: House, database: Database) -> None:
    with deaf_port() as (port, listener):
        callback = {"event.notification.callback.url": f"http://127.0.0.1:{port}/changes"}
        home.connect(**callback)
        changes = home.change()
        worker = home.work()
        await until_held(database, Callback)
        worker.kill()
        assert await scalar(database, select(func.sum(table(Delivery).c.attempts))) == 0
        listener.close()
        home.receiver_url = f"http://127.0.0.1:{port}"
        home.open_receiver()
        home.work()
        home.await_changes(changes)


async def test_killed_between_post_and_settle(home: House, database: Database) -> None:
    home.receiver_behaves(delay=0.5, times=1)
    home.connect()
    changes = home.change()
    worker = home.work()
    eventually(home.deliveries, "the POST")
    async with frozen(database):
        await asyncio.sleep(0.7)  # the receiver has answered; the worker waits to settle
        worker.kill()
    assert await scalar(database, select(func.sum(table(Delivery).c.attempts))) == 0
    home.work()
    eventually(lambda: len(home.deliveries()) == 2, "the same notification once more")
    home.await_changes(changes)


async def test_killed_between_reading_the_vendor_and_storing(home: House, database: Database) -> None:
    home.connect()
    changes = home.change()
    fault = {"kind": "slow", "seconds": 0.9, "path": "/pubapi/v2/events"}
    httpx.post(f"{home.sandbox_url}/control/egnyte/acme/faults", json=fault).raise_for_status()
    worker = home.work()
    await until_held(database, Poller)
    async with frozen(database):
        await asyncio.sleep(1.2)  # the vendor has answered; the worker waits to store
        requests = httpx.get(f"{home.sandbox_url}/control/requests").json()["requests"]
        answered = [item for item in requests if item["path"].endswith("/v2/events")]
        assert [item["status"] for item in answered][-1] == 200
        worker.kill()
    assert await scalar(database, select(func.count()).select_from(table(Event))) == 0
    home.work()
    home.await_changes(changes)
    assert len(home.deliveries()) == 1


async def test_a_crowd_of_workers_that_are_killed_in_turn_loses_nothing(
    home: House, database: Database
) -> None:
    home.connect()
    workers = [home.work() for _ in range(2)]
    changes: list[str] = []
    for number in range(4):
        changes += home.change(60, name=f"batch{number}")
        await asyncio.sleep(0.15)
        workers.pop(0).kill()
        workers.append(home.work())
    home.await_changes(changes)
