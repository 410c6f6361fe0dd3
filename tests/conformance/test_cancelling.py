"""What a step leaves behind that is cancelled in the middle of a statement, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from app.store.engine import Database

LONG = text(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000000) SELECT count(*) FROM n"
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
