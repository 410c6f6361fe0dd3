"""Accounts that are waited for, with real workers on PostgreSQL: kill -9 of the one that holds them, and its
orderly end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import PATIENCE, House, eventually, house
from sqlalchemy import select

from app.settings import Settings
from app.store.engine import Database
from app.store.tables import Poller, table

QUICKLY = 10.0  # seconds on a busy machine; without a long poll it would be 15 minutes


class Place:
    """A house with one Box account that is read every quarter of an hour, or when Box says so."""

    def __init__(self, home: House, url: str) -> None:
        self.home = home
        self.settings = Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY)
        home.serve("--no-workers")
        home.connect("box", **{"event.poller.refresh_interval": "15"})

    def upload(self, name: str) -> float:
        """Changes something at Box, and answers the seconds after which the receiver had heard of it."""
        began = time.monotonic()
        order = {"action": "upload", "path": f"/{name}", "content": "x"}
        httpx.post(f"{self.home.sandbox_url}/control/box/changes", json=order).raise_for_status()
        eventually(lambda: name in self.names(), f"{name} at the receiver")
        return time.monotonic() - began

    def names(self) -> list[str]:
        messages = [delivery["json"]["message"] for delivery in self.home.deliveries()]
        return [row["name"] for message in messages for row in message["raw"]["events"]]

    def until_held(self, *, not_by: int | None = None) -> int:
        """The fence of whoever holds the account and has read it."""
        return asyncio.run(self._until_held(not_by))

    async def _until_held(self, former: int | None) -> int:
        database = Database(self.settings.database)
        held = select(table(Poller).c.fence).where(
            table(Poller).c.fence.is_not(None),
            table(Poller).c.fence.is_distinct_from(former),
            table(Poller).c.polled_at.is_not(None),
        )
        try:
            async with asyncio.timeout(PATIENCE):
                while (fence := await self._look(database, held)) is None:
                    await asyncio.sleep(0.02)
        finally:
            await database.close()
        return fence

    async def _look(self, database: Database, statement: Any) -> int | None:
        async with database.read() as connection:
            found: int | None = await connection.scalar(statement)
            return found


@pytest.fixture
def place(tmp_path: Path, postgresql: Server) -> Iterator[Place]:
    url = postgresql.new_database()
    with house(tmp_path, url, ENCRYPTION_KEY) as home:
        yield Place(home, url)


def test_another_worker_takes_over_within_a_lease_when_the_holder_is_killed(place: Place) -> None:
    holder = place.home.work()
    fence = place.until_held()
    assert place.upload("before.txt") < QUICKLY
    place.home.work()
    holder.kill()
    killed = time.monotonic()
    place.upload("meanwhile.txt")
    place.until_held(not_by=fence)
    assert time.monotonic() - killed < 2 + QUICKLY  # the lease is 2 s
    assert place.upload("after.txt") < QUICKLY
    assert place.names() == ["before.txt", "meanwhile.txt", "after.txt"]


def test_a_worker_that_stops_gives_its_accounts_to_another_one(place: Place) -> None:
    holder = place.home.work(GATEWAY_POLL_LEASE="600")
    fence = place.until_held()
    place.home.work()
    assert holder.stop() == 0
    place.until_held(not_by=fence)
    assert place.upload("after.txt") < QUICKLY
