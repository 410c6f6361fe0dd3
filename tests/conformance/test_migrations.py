"""The migrations make the schema that the tables say, on both databases, whoever starts first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from conftest import ENCRYPTION_KEY
from postgresql import Server
from sqlalchemy import Connection, inspect

from app.settings import Settings
from app.store import migrations
from app.store.engine import Database
from app.store.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.new_database(migrated=False)
    return f"sqlite:///{tmp_path}/empty.db"


def opened(url: str) -> Database:
    return Database(Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY).database)


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    database = opened(empty_url)
    yield database
    await database.close()


async def run(database: Database, step: Callable[[Config], None]) -> None:
    def with_connection(connection: Connection) -> None:
        config = migrations.config()
        config.attributes["connection"] = connection
        step(config)

    async with database.restructure() as connection:
        await connection.run_sync(with_connection)


async def tables_of(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_schema_is_the_one_that_the_tables_say(empty: Database) -> None:
    assert not await migrations.is_current(empty)
    await migrations.upgrade(empty)
    assert await migrations.is_current(empty)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with empty.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_up_down_and_up_again(empty: Database) -> None:
    await migrations.upgrade(empty)
    made = await tables_of(empty)
    await run(empty, lambda config: command.downgrade(config, "base"))
    assert await tables_of(empty) == {"alembic_version"}
    await migrations.upgrade(empty)
    assert await tables_of(empty) == made == set(metadata.tables) | {"alembic_version"}


def test_processes_that_start_together_take_turns(empty_url: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "GATEWAY_DATABASE_URL": empty_url,
        "GATEWAY_ENCRYPTION_KEYS": ENCRYPTION_KEY,
    }
    command_line = [sys.executable, "-m", "app", "migrate"]
    crowd = [subprocess.Popen(command_line, env=environment, cwd=tmp_path) for _ in range(4)]
    assert [process.wait(60) for process in crowd] == [0] * 4
