"""What a step leaves behind that is cancelled in the middle of a statement, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from processes import until
from sqlalchemy import text

from app.store.engine import Database

LONG = text(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000000) SELECT count(*) FROM n"
)

UNREAD = text(f"{LONG}, note UNION ALL SELECT 1")  # cancelled before its second row
SNAPSHOTS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend' AND datname = current_database()"
)


async def test_a_step_that_was_cancelled_is_undone_and_locks_nobody_out(database: Database) -> None:
    """Also not whoever handles the cancelling, while its traceback still refers to the statement."""
    begun = asyncio.Event()

    async def step() -> list[str]:
        try:
            async with database.write() as connection:
                await connection.execute(text("INSERT INTO note VALUES ('cancelled')"))
                begun.set()
                await connection.execute(LONG)
        except asyncio.CancelledError:
            async with database.write() as connection:
                await connection.execute(text("INSERT INTO note VALUES ('handled')"))
                return list(await connection.scalars(text("SELECT words FROM note")))
        raise AssertionError("it was not cancelled")

    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE note (words TEXT)"))
    task = asyncio.create_task(step())
    await begun.wait()
    await asyncio.sleep(0.1)  # the statement has begun
    task.cancel()
    assert await task == ["handled"]


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_a_step_that_was_cancelled_keeps_no_snapshot(database: Database, scope: str) -> None:
    """Else no WAL would be written back and no row be vacuumed, for as long as somebody has the error."""
    begun = asyncio.Event()

    async def step() -> None:
        async with getattr(database, scope)() as connection:
            begun.set()
            await connection.execute(UNREAD)

    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE note (words TEXT)"))
        await connection.execute(text("INSERT INTO note VALUES ('before')"))
    task = asyncio.create_task(step())
    await begun.wait()
    await asyncio.sleep(0.1)  # the statement has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as kept:
        await task
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO note VALUES ('later')"))

    async def free() -> bool:
        return not await snapshots(database)

    await until(free, "the end of its snapshot")
    assert kept.value


async def snapshots(database: Database) -> int:
    """How many others look at the database as it was."""
    if not database.embedded:
        async with database.read() as connection:
            return int(await connection.scalar(SNAPSHOTS) or 0)
    with closing(sqlite3.connect(str(database.engine.url.database), timeout=0)) as other:
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return int(busy)
