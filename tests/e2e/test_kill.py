"""kill -9 of a worker at the three places where an event could be lost, with real processes."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY, SIGNATURE_KEY
from processes import PATIENCE, House, eventually, free_port, house, until
from serving import served
from sqlalchemy import func, select, text, update
from starlette.types import ASGIApp, Receive, Scope, Send

from app.sandbox.receiver import create_receiver
from app.sandbox.server import create_sandbox
from app.store.engine import Database
from app.store.tables import Callback, Delivery, Duty, Event, Poller, table

TABLES = "poller, event, notification, delivery, callback"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
DUTIES: tuple[type[Duty], ...] = (Poller, Callback)


class Gate:
    """Stands before a server. While it is shut, requests to one path wait there."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path
        self._open = threading.Event()
        self.waited_at = threading.Event()
        self.open()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(self._path) and not self._open.is_set():
            self.waited_at.set()
            await asyncio.to_thread(self._open.wait, PATIENCE)
        await self._app(scope, receive, send)


@pytest.fixture
def vendor() -> Gate:
    """The sandbox, whose events can be held back."""
    return Gate(create_sandbox(), "/v2/events")


@pytest.fixture
def home(tmp_path: Path, database: Database, database_url: str, vendor: Gate) -> Iterator[House]:
    with served(vendor) as sandbox_url:
        urls = json.dumps({"egnyte": sandbox_url + "/egnyte/{subdomain}"})
        with house(tmp_path, database_url, ENCRYPTION_KEY, GATEWAY_PROVIDER_BASE_URLS=urls) as made:
            made.sandbox_url = sandbox_url
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
    await until(lambda: scalar(database, held), "a claimed row")


async def let_leases_pass(database: Database) -> None:
    """As time would do it, so that nobody has to wait for what a killed worker has held."""
    async with database.write() as connection:
        for duty in DUTIES:
            held = table(duty).c.leased_until.is_not(None)
            await connection.execute(update(table(duty)).where(held).values(leased_until=LONG_AGO))


async def scalar(database: Database, statement: Any) -> Any:
    async with database.read() as connection:
        return await connection.scalar(statement)


@contextmanager
def deaf_port() -> Iterator[tuple[int, ExitStack]]:
    """A port that answers no connection at all: its queue is full. Closing the stack frees it."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", free_port()))
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
        await let_leases_pass(database)
        home.work()
        home.await_changes(changes)


async def test_killed_between_post_and_settle(home: House, database: Database) -> None:
    gate = Gate(create_receiver(SIGNATURE_KEY, echo=False), "/changes")
    with served(gate) as home.receiver_url:
        home.connect()
        changes = home.change()
        gate.shut()
        worker = home.work()
        eventually(gate.waited_at.is_set, "the POST")
        async with frozen(database):
            gate.open()
            eventually(home.deliveries, "the POST at the receiver")
            await asyncio.sleep(0.2)  # the receiver has answered; the worker waits to settle
            worker.kill()
        assert await scalar(database, select(func.sum(table(Delivery).c.attempts))) == 0
        await let_leases_pass(database)
        home.work()
        eventually(lambda: len(home.deliveries()) == 2, "the same notification once more")
        home.await_changes(changes)


async def test_killed_between_reading_the_vendor_and_storing(
    vendor: Gate, home: House, database: Database
) -> None:
    home.connect()
    changes = home.change()
    before = len(pages(home))
    vendor.shut()
    worker = home.work()
    eventually(vendor.waited_at.is_set, "the worker's question")
    async with frozen(database):
        vendor.open()
        eventually(lambda: len(pages(home)) > before, "the vendor's answer")
        assert pages(home)[-1] == 200
        await asyncio.sleep(0.2)  # the worker has it, and waits to store it
        worker.kill()
    assert await scalar(database, select(func.count()).select_from(table(Event))) == 0
    await let_leases_pass(database)
    home.work()
    home.await_changes(changes)
    assert len(home.deliveries()) == 1


def pages(home: House) -> list[int | None]:
    """What the vendor has answered to whoever asked for changes."""
    requests = httpx.get(f"{home.sandbox_url}/control/requests").json()["requests"]
    return [item["status"] for item in requests if item["path"].endswith("/v2/events")]


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
        await let_leases_pass(database)
        workers.append(home.work())
    home.await_changes(changes)
