"""The way of a page of 500 Box events into the store: parsed, normalised, interpreted, deduplicated, packed
and written, in CPU time of this process.

Prints the median of the pages on both databases beside a bare parse and executemany of the same run; the
target is under 10 ms. `--profile` prints where the time goes instead.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import postgresql
from sqlalchemy.engine import make_url

from app.ingest import intake
from app.ingest.events import Origin
from app.providers.box import meaning
from app.store import instances, migrations, outbox
from app.store.engine import Database
from app.store.tables import Instance, Via
from app.tenancy import tenants

EVENTS = 500
PAGES = 40
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
ANN = {"type": "user", "id": "11446498", "name": "Ann Lee", "login": "ann@example.com"}


def event(number: int) -> dict[str, Any]:
    """An event of Box's user stream, of some 1.5 kB."""
    when = (NOW + timedelta(seconds=number)).isoformat()
    file_id, folder_id = str(900_000 + number), str(777 + number % 40)
    folder = {"type": "folder", "id": folder_id, "sequence_id": "1", "etag": "1", "name": f"Docs {folder_id}"}
    root = {"type": "folder", "id": "0", "sequence_id": None, "etag": None, "name": "All Files"}
    sha1 = f"{number:040x}"
    return {
        "type": "event",
        "event_id": f"f82c3ba03e41f7e8a7608363cc6c{number:012x}",
        "event_type": "ITEM_UPLOAD" if number % 5 else "ITEM_RENAME",
        "session_id": "70090280850c8d2a1933c1",
        "created_at": when,
        "recorded_at": when,
        "created_by": ANN,
        "source": {
            "type": "file",
            "id": file_id,
            "sequence_id": str(number % 3),
            "etag": str(number % 3),
            "sha1": sha1,
            "name": f"report {number}.docx",
            "description": "",
            "size": 629644,
            "path_collection": {"total_count": 2, "entries": [root, folder]},
            "created_at": when,
            "modified_at": when,
            "trashed_at": None,
            "purged_at": None,
            "content_created_at": when,
            "content_modified_at": when,
            "created_by": ANN,
            "modified_by": ANN,
            "owned_by": ANN,
            "shared_link": None,
            "parent": folder,
            "item_status": "active",
            "file_version": {"type": "file_version", "id": str(number), "sha1": sha1},
        },
    }


def page(number: int) -> bytes:
    entries = [event(number * EVENTS + place) for place in range(EVENTS)]
    return orjson.dumps({"chunk_size": EVENTS, "next_stream_position": number, "entries": entries})


async def connected(database: Database) -> Instance:
    """An instance with a subscription that is due."""
    await tenants.create_organization(database, "Benchmark", email="b@example.com", now=NOW)
    values: dict[str, Any] = {"element_key": "box", "name": "n", "tags": [], "configuration": {}}
    values |= {"account_id": 1, "user_id": 1, "external_authentication": "none", "token_hash": "h"}
    values |= {"valid": True, "disabled": False, "created_at": NOW, "updated_at": NOW}
    async with database.write() as connection:
        instance_id = await instances.insert_instance(connection, **values)
        callback_id = await outbox.callback_id(connection, account_id=1, url="http://127.0.0.1:9/")
        owner: dict[str, Any] = {"account_id": 1, "instance_id": instance_id, "created_at": NOW}
        await outbox.subscribe(connection, callback_id=callback_id, topic="t", **owner)
    return Instance(id=instance_id, deleted_at=None, **values)


async def ingest(database: Database, instance: Instance, body: bytes) -> None:
    found = meaning.changes_in(orjson.loads(body)["entries"], tasks=False)
    origin = Origin(Via.POLLING, "events", 20, "1", "2")
    async with database.write() as connection:
        stored = await intake.take_in(connection, instance, 1, found, origin, now=datetime.now(UTC))
    if stored != EVENTS:
        raise AssertionError(stored)


async def bare(database: Database, body: bytes) -> None:
    rows = [(item["event_id"], orjson.dumps(item).decode()) for item in orjson.loads(body)["entries"]]
    qmarks, numbers = "INSERT INTO bare VALUES (?, ?)", "INSERT INTO bare VALUES ($1, $2)"
    async with database.write() as connection:
        await connection.exec_driver_sql(qmarks if database.embedded else numbers, rows)


async def measure(url: str, profile: cProfile.Profile | None) -> tuple[float, float]:
    """CPU seconds of one page, the median: the whole way, and the bare one."""
    database = Database(make_url(url))
    await migrations.upgrade(database)
    instance = await connected(database)
    async with database.write() as connection:
        await connection.exec_driver_sql("CREATE TABLE bare (key TEXT PRIMARY KEY, row TEXT)")
    whole, least = [], []
    for number in range(PAGES):
        body = page(number)
        started = time.process_time()
        await bare(database, body)
        least.append(time.process_time() - started)
        if profile and number:
            profile.enable()
        started = time.process_time()
        await ingest(database, instance, body)
        whole.append(time.process_time() - started)
        if profile:
            profile.disable()
    await database.close()
    return statistics.median(whole), statistics.median(least)


def report(name: str, url: str, profile: cProfile.Profile | None) -> None:
    whole, least = asyncio.run(measure(url, profile))
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    print(
        f"{name:10}  a page of {EVENTS} events: {whole * 1e3:.1f} ms of CPU   "
        f"bare: {least * 1e3:.1f} ms   ratio {whole / least:.1f}"
    )


def main() -> None:
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    with tempfile.TemporaryDirectory() as folder:
        report("sqlite", f"sqlite+aiosqlite:///{folder}/gateway.db", profile)
    with postgresql.running() as server:
        url = server.new_database(migrated=False).replace("postgresql:", "postgresql+asyncpg:")
        report("postgresql", url, profile)


if __name__ == "__main__":
    main()
