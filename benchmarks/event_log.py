"""Pages of the event log over a million rows on SQLite: how much dearer the last one is than the first.

Half of the rows are of one instance. Every page has 200 events, and is read as `GET /instances/{id}/events`
and `GET /instances/events` read it, with what became of their notifications.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.engine import make_url

from app import ids
from app.store import event_log, migrations
from app.store.engine import Database
from app.store.event_log import Wanted
from app.store.tables import Event, table

ROWS = int(os.environ.get("ROWS", "1000000"))
BATCH = 20_000
ROUNDS = 50
PAGE = 200
START = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(seconds=5)


def rows(start: int) -> Iterator[dict[str, Any]]:
    for number in range(start, min(start + BATCH, ROWS)):
        moment = START + number * STEP
        yield {
            "id": ids.first_id_at(moment) + 1,
            "account_id": 1,
            "instance_id": 1 + number % 2,
            "notification_id": number // 20,
            "sequence": number // 2 + 1,
            "key": f"event-{number}",
            "event_type": "CREATED",
            "object_type": "file",
            "object_id": f"file-{number}",
            "change": "create",
            "event_date": moment,
            "created_at": moment,
            "row": {"event_id": f"event-{number}", "path": f"/Shared/{number}", "raw": {"filler": "x" * 500}},
        }


async def took(read: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one reading, the median of many."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await read()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1000


async def page(database: Database, wanted: Wanted, below: int) -> int:
    async with database.read() as connection:
        found = await event_log.find(connection, wanted, below=below, limit=PAGE + 1)
        await event_log.fates(connection, {event.notification_id for event in found.events})
    return len(found.events)


async def compare(database: Database, name: str, wanted: Wanted, last: int) -> None:
    first, end = (
        await took(partial(page, database, wanted, 0)),
        await took(partial(page, database, wanted, last)),
    )
    print(f"{name}: first page {first:.2f} ms, last page {end:.2f} ms, ratio {end / first:.2f}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(make_url(f"sqlite+aiosqlite:///{Path(folder) / 'gateway.db'}"))
        await migrations.upgrade(database)
        started = time.perf_counter()
        for start in range(0, ROWS, BATCH):
            async with database.write() as connection:
                await connection.execute(insert(table(Event)), list(rows(start)))
        print(f"{ROWS} events stored in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        await compare(database, "account", Wanted(1), ids.first_id_at(START + (PAGE + 1) * STEP))
        await compare(database, "instance", Wanted(1, 1), PAGE + 2)
        middle: dict[str, Any] = {"since": START + ROWS // 3 * STEP, "until": START + ROWS // 2 * STEP}
        for name, instance_id in (("account", None), ("instance", 1)):
            wanted = Wanted(1, instance_id, **middle)
            spent = await took(partial(page, database, wanted, 0))
            print(f"{name}: first page of a time in the middle {spent:.2f} ms")
        rare = Wanted(1, object_id="nobody")
        print(f"account: a filter that nothing passes {await took(partial(page, database, rare, 0)):.2f} ms")
        async with database.read() as connection:
            started = time.perf_counter()
            await event_log.tally(
                connection, [1], since=START, until=START + ROWS * STEP, seconds=86_400, by=None
            )
            print(f"account: all {ROWS} counted by day in {(time.perf_counter() - started) * 1000:.0f} ms")
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
