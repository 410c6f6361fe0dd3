"""Idle accounts cost nothing: a claim among 100,000 pollers of which 100 are due, against one among 1,000.

Prints the median time of a claim for both sizes on both databases, and the ratio (the target is under 2).
`N` is the larger size.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta

import postgresql
from sqlalchemy import insert, update
from sqlalchemy.engine import make_url

from app.store import migrations, pollers
from app.store.engine import Database
from app.store.tables import Instance, Poller, table
from app.tenancy import tenants

SIZES = (1_000, int(os.environ.get("N", "100000")))
DUE = 100
CLAIM = 10
ROUNDS = 200
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(minutes=1)


async def fill(database: Database, size: int) -> None:
    """`size` accounts with a poller each, of which DUE are due and the rest later."""
    base = {"created_at": NOW, "updated_at": NOW}
    await tenants.create_organization(database, "o", email="o@example.com", now=NOW)
    async with database.write() as connection:
        for start in range(0, size, 10_000):
            numbers = range(start, min(size, start + 10_000))
            await connection.execute(
                insert(table(Instance)),
                [
                    {
                        "id": number + 1,
                        "account_id": 1,
                        "user_id": 1,
                        "element_key": "egnyte",
                        "name": "n",
                        "tags": [],
                        "configuration": {},
                        "external_authentication": "none",
                        "token_hash": str(number),
                        "valid": True,
                        "disabled": False,
                        **base,
                    }
                    for number in numbers
                ],
            )
            await connection.execute(
                insert(table(Poller)),
                [
                    {
                        "account_id": 1,
                        "instance_id": number + 1,
                        "resource": "events",
                        "page_size": 20,
                        "interval_seconds": 900.0,
                        "cursor": "1",
                        "failures": 0,
                        "due_at": NOW + timedelta(seconds=-1 if number < DUE else 1 + number),
                    }
                    for number in numbers
                ],
            )


async def measure(database: Database) -> float:
    """Seconds that one claim of CLAIM rows takes, median; what was claimed is made due again outside."""
    rows = table(Poller)
    times = []
    for _ in range(ROUNDS):
        async with database.write() as connection:
            started = time.perf_counter()
            claimed = await pollers.claim_due(connection, limit=CLAIM, now=NOW, lease=LEASE)
            times.append(time.perf_counter() - started)
            assert len(claimed) == CLAIM
            await connection.execute(
                update(rows)
                .where(rows.c.id.in_([poller.id for poller in claimed]))
                .values(fence=None, leased_until=None)
            )
    return statistics.median(times)


async def compare(name: str, urls: list[str]) -> None:
    medians = []
    for size, url in zip(SIZES, urls, strict=True):
        database = Database(make_url(url))
        await migrations.upgrade(database)
        await fill(database, size)
        medians.append(await measure(database))
        await database.close()
    small, large = medians
    print(
        f"{name:10}  claim among {SIZES[0]:,}: {small * 1e3:.2f} ms   "
        f"among {SIZES[1]:,}: {large * 1e3:.2f} ms   ratio {large / small:.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare("sqlite", [f"sqlite+aiosqlite:///{folder}/{size}.db" for size in SIZES]))
    with postgresql.running() as server:
        urls = [server.new_database().replace("postgresql:", "postgresql+asyncpg:") for _ in SIZES]
        asyncio.run(compare("postgresql", urls))


if __name__ == "__main__":
    main()
