"""Box's single-use refresh tokens with real processes: none is used twice, and no account is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import House, Process, eventually, house
from sqlalchemy import func, select

from app.settings import Settings
from app.store.engine import Database
from app.store.tables import Credential, Instance, table

LONGEST = 120.0  # seconds that any step may take on a busy machine
ACCOUNTS = 2
ROUNDS = 2  # refreshes of each account, before and after everything has stood still
STANDSTILL = 11.0  # seconds, longer than a vendor may take here; test_credentials.py goes beyond a lease


@pytest.fixture
def url(postgresql: Server) -> str:
    return postgresql.new_database()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY).database)
    yield opened
    await opened.close()


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[House]:
    with house(tmp_path, url, ENCRYPTION_KEY) as made:
        yield made


def box(home: House, path: str, /, **order: Any) -> None:
    method = "PATCH" if path == "settings" else "POST"
    httpx.request(method, f"{home.sandbox_url}/control/box/{path}", json=order).raise_for_status()


def answers(home: House) -> list[int | None]:
    """What Box has said to each refresh; 400 is a refresh token that had been used."""
    rows = httpx.get(f"{home.sandbox_url}/control/requests", timeout=30).json()["requests"]
    return [row["status"] for row in rows if row["path"] == "/box/oauth2/token"][ACCOUNTS:]


async def scalar(database: Database, statement: Any) -> Any:
    async with database.read() as connection:
        return await connection.scalar(statement)


async def until_one_refreshes(database: Database) -> None:
    held = select(func.count()).where(table(Credential).c.fence.is_not(None))
    async with asyncio.timeout(LONGEST):
        while not await scalar(database, held):
            await asyncio.sleep(0.005)


async def until_refreshed(home: House, more: int) -> None:
    wanted = len(answers(home)) + more
    async with asyncio.timeout(LONGEST):
        while len(await asyncio.to_thread(answers, home)) < wanted:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def busy(home: House, tokens: list[str]) -> AsyncIterator[None]:
    """Clients that call for each account all the time, beside the worker that polls it. A process that stands
    still, and a token that ends on its way, may fail their calls."""

    async def call(client: httpx.AsyncClient, token: str) -> None:
        headers = {"Authorization": f"User {home.secrets['User']}, Element {token}"}
        while True:
            with suppress(httpx.TransportError):
                await client.get(f"{home.gateway_url}/hubs/documents/ping", headers=headers, timeout=2)
            await asyncio.sleep(0.2)

    async with httpx.AsyncClient() as client:
        calls = [asyncio.create_task(call(client, token)) for token in tokens]
        try:
            yield
        finally:
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def stand_still(processes: list[Process]) -> None:
    for process in processes:
        process.process.send_signal(signal.SIGSTOP)


def go_on(processes: list[Process]) -> None:
    for process in processes:
        process.process.send_signal(signal.SIGCONT)


async def test_no_grant_is_lost_to_a_race_a_standstill_or_a_stop(home: House, database: Database) -> None:
    processes = [home.serve("--no-workers"), home.work()]
    accounts = [home.connect("box") for _ in range(ACCOUNTS)]
    tokens = [account["token"] for account in accounts]
    box(home, "settings", access_token_seconds=2)
    box(home, "tokens/expire", kind="access")
    async with busy(home, tokens):
        await until_refreshed(home, ROUNDS * ACCOUNTS)
        box(home, "faults", kind="slow", path="/oauth2/token", seconds=0.3, times=None)
        await until_one_refreshes(database)
        stand_still(processes)
        await asyncio.sleep(STANDSTILL)
        go_on(processes)
        await until_refreshed(home, ROUNDS * ACCOUNTS)
        await until_one_refreshes(database)
        assert await asyncio.to_thread(lambda: [process.stop() for process in processes]) == [0, 0]
    assert set(answers(home)) == {200}
    valid = select(func.count()).where(table(Instance).c.valid)
    assert await scalar(database, valid) == ACCOUNTS
    assert await scalar(database, select(func.count()).where(table(Credential).c.fence.is_not(None))) == 0
    home.serve("--no-workers")
    for token in tokens:
        headers = {"Authorization": f"User {home.secrets['User']}, Element {token}"}
        ping = f"{home.gateway_url}/hubs/documents/ping"
        eventually(lambda: httpx.get(ping, headers=headers).status_code == 200, "an answer")  # noqa: B023
    assert set(answers(home)) == {200}
