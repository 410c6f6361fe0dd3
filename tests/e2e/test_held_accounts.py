"""Accounts that are waited for, with real workers on PostgreSQL: kill -9 of the one that holds them, and its
orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import House, eventually, house, until
from sqlalchemy import func, select

from app.settings import Settings
from app.store.engine import Database
from app.store.tables import Callback, Poller, table


class Place:
    """A house with one Box account that is read every quarter of an hour, or when Box says so: whatever
    arrives while a test waits for it has come by the latter."""

    def __init__(self, home: House, url: str) -> None:
        self.home = home
        self.settings = Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY)
        home.serve("--no-workers")
        home.connect("box", **{"event.poller.refresh_interval": "15"})

    def upload(self, name: str) -> None:
        """Changes something at Box, and returns when the receiver has heard of it."""
        order = {"action": "upload", "path": f"/{name}", "content": "x"}
        httpx.post(f"{self.home.sandbox_url}/control/box/changes", json=order).raise_for_status()
        eventually(lambda: name in self.names(), f"{name} at the receiver")

    def names(self) -> list[str]:
        messages = [delivery["json"]["message"] for delivery in self.home.deliveries()]
        return [row["name"] for message in messages for row in message["raw"]["events"]]

    def until_settled(self) -> None:
        """What was sent is written down: nobody sends it again."""
        asyncio.run(self._until(select(func.count() == 0).where(table(Callback).c.fence.is_not(None))))

    def until_held(self, *, not_by: int | None = None) -> int:
        """The fence of whoever holds the account and has read it."""
        held = select(table(Poller).c.fence).where(
            table(Poller).c.fence.is_not(None),
            table(Poller).c.fence.is_distinct_from(not_by),
            table(Poller).c.polled_at.is_not(None),
        )
        return asyncio.run(self._until(held))

    async def _until(self, statement: Any) -> int:
        """The first true answer of the database."""
        database = Database(self.settings.database)

        async def look() -> int:
            async with database.read() as connection:
                return await connection.scalar(statement) or 0

        try:
            found: int = await until(look, str(statement))
        finally:
            await database.close()
        return found


@pytest.fixture
def place(tmp_path: Path, postgresql: Server) -> Iterator[Place]:
    url = postgresql.new_database()
    with house(tmp_path, url, ENCRYPTION_KEY) as home:
        yield Place(home, url)


def test_another_worker_takes_over_within_a_lease_when_the_holder_is_killed(place: Place) -> None:
    holder = place.home.work()
    fence = place.until_held()
    place.upload("before.txt")
    place.home.work()
    place.until_settled()
    holder.kill()
    place.upload("meanwhile.txt")
    place.until_held(not_by=fence)
    place.upload("after.txt")
    assert place.names() == ["before.txt", "meanwhile.txt", "after.txt"]


def test_a_worker_that_stops_gives_its_accounts_to_another_one(place: Place) -> None:
    holder = place.home.work(GATEWAY_POLL_LEASE="600")
    fence = place.until_held()
    place.home.work()
    assert holder.stop() == 0
    place.until_held(not_by=fence)
    place.upload("after.txt")
