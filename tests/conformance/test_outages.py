"""What an outage of PostgreSQL is to a transaction: known from a lost race, and over when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import postgresql as servers
import pytest
from postgresql import OwnServer, Server
from processes import PATIENCE
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from app.errors import DatabaseUnavailable, LostRace
from app.store import outages
from app.store.engine import Database, places


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    with servers.running_own() as server:
        yield server


def opened(url: str, **limits: timedelta) -> Database:
    return Database(make_url(url).set(drivername="postgresql+asyncpg"), connections=3, **limits)


@pytest.fixture
async def database(postgresql: Server) -> AsyncIterator[Database]:
    url = await asyncio.to_thread(postgresql.new_database, migrated=False)
    found = opened(url)
    async with found.write() as connection:
        await connection.execute(text("CREATE TABLE item (id int PRIMARY KEY, value int)"))
        await connection.execute(text("INSERT INTO item VALUES (1, 0), (2, 0)"))
    yield found
    await found.close()


async def cut(database: Database) -> None:
    """Ends all connections but its own."""
    other = Database(database.engine.url)
    async with other.write() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await other.close()


async def add_one(database: Database, *ids: int, between: asyncio.Barrier | None = None) -> None:
    async with database.write() as connection:
        for item in ids:
            await connection.execute(text("UPDATE item SET value = value + 1 WHERE id = :id"), {"id": item})
            if between is not None and item == ids[0]:
                await between.wait()


async def change_and_be_cut(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(text("UPDATE item SET value = 7"))
        await cut(database)
        await connection.execute(text("SELECT 1"))


async def add_one_and_stop(database: Database, *, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Goes on when the server has lost its patience, which is less than what it was told at first."""
    limit = "idle_in_transaction_session_timeout"
    async with database.write() as connection:
        found = await connection.scalar(text(f"SHOW {limit}"))
        assert found == f"{PATIENCE / 2:g}s"
        await connection.execute(text("UPDATE item SET value = value + 1"))
        await connection.execute(text(f"SET LOCAL {limit} = 100"))
        await meanwhile()


async def values(database: Database) -> list[int]:
    async with database.read() as connection:
        return list(await connection.scalars(text("SELECT value FROM item ORDER BY id")))


async def test_a_transaction_that_is_cut_is_named_and_can_be_made_again(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await change_and_be_cut(database)
    assert not isinstance(caught.value, LostRace)
    assert await values(database) == [0, 0]
    await add_one(database, 1)
    assert await values(database) == [1, 0]


async def test_connections_that_were_cut_while_nobody_used_them_are_replaced(database: Database) -> None:
    async with database.read(), database.read(), database.read():
        pass
    await cut(database)
    for _ in range(4):
        await add_one(database, 2)
    assert await values(database) == [0, 4]


async def test_a_lost_race_is_known_from_an_outage(database: Database) -> None:
    both = asyncio.Barrier(2)
    found = await asyncio.gather(
        add_one(database, 1, 2, between=both), add_one(database, 2, 1, between=both), return_exceptions=True
    )
    assert [type(item) for item in found if item is not None] == [LostRace]
    assert await values(database) == [1, 1]


async def test_a_lost_race_is_made_again(database: Database) -> None:
    both, tries = asyncio.Barrier(2), 0

    async def step(*ids: int) -> None:
        nonlocal tries
        tries += 1
        await add_one(database, *ids, between=both if tries <= 2 else None)

    patience = timedelta(seconds=PATIENCE)
    await asyncio.gather(
        *(outages.repeat(partial(step, *ids), patience=patience) for ids in ((1, 2), (2, 1)))
    )
    assert (tries, await values(database)) == (3, [2, 2])


async def test_what_a_statement_does_wrong_stays_its_own_error(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO item VALUES (1, 1)"))


async def test_a_statement_has_an_end(database: Database) -> None:
    hasty = opened(
        database.engine.url.render_as_string(hide_password=False),
        timeout=timedelta(seconds=PATIENCE),
        statement_timeout=timedelta(seconds=0.2),
    )
    with pytest.raises(DatabaseUnavailable) as caught:
        async with hasty.write() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert caught.value.reason == "QueryCanceledError"
    await hasty.close()


async def test_a_wait_for_a_connection_has_an_end(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    hasty = opened(url, timeout=timedelta(seconds=PATIENCE))
    pool: Any = hasty.engine.pool
    assert pool.timeout() == PATIENCE
    pool._timeout = 0.2  # opening a connection has all the time
    async with hasty.write(), hasty.write(), hasty.write():
        with pytest.raises(DatabaseUnavailable):
            async with hasty.read() as connection:
                await connection.execute(text("SELECT 1"))
    await hasty.close()


async def test_a_transaction_in_which_a_stopped_process_does_nothing_gives_up_its_locks(
    database: Database,
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    stopped = opened(url, timeout=timedelta(seconds=PATIENCE))
    with pytest.raises(DatabaseUnavailable):
        await add_one_and_stop(stopped, meanwhile=lambda: add_one(database, 1))
    assert await values(database) == [1, 0]
    await stopped.close()


async def test_a_step_is_made_again_until_the_server_is_back(own_server: OwnServer) -> None:
    database = opened(await asyncio.to_thread(own_server.new_database, migrated=False))
    assert (await places(database) or 0) > 3
    await asyncio.to_thread(own_server.stop)
    tried = asyncio.Event()

    async def step() -> int:
        try:
            async with database.read() as connection:
                return int(await connection.scalar(text("SELECT 42")) or 0)
        finally:
            tried.set()

    waiting = asyncio.create_task(outages.repeat(step, patience=timedelta(seconds=PATIENCE)))
    await tried.wait()
    assert not waiting.done()
    await asyncio.to_thread(own_server.start)
    assert await waiting == 42
    await database.close()


async def test_what_does_not_mend_itself_is_told_apart(own_server: OwnServer, tmp_path: Path) -> None:
    found = {}
    for name, url in (
        ("unknown database", own_server.url("nowhere")),
        ("no server", f"postgresql://postgres@/x?host={tmp_path}"),
    ):
        database = opened(url)
        with pytest.raises(DatabaseUnavailable) as caught:
            async with database.read() as connection:
                await connection.execute(text("SELECT 1"))
        found[name] = caught.value.passing
        await database.close()
    assert found == {"unknown database": False, "no server": True}
