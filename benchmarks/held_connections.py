"""Thousands of accounts that are waited for: what one worker spends on holding them, against one that polls
as many of them by interval.

The sandbox runs in a process of its own, and so does each worker, on PostgreSQL. Prints the memory of a held
connection, transactions per second and the share of a core that stays idle, for both ways, and their ratios.
`python benchmarks/held_connections.py [accounts] [seconds]`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import postgresql
from processes import House, Process, house
from sqlalchemy import func, insert, select, text, update

from app.settings import Settings
from app.store.engine import Database
from app.store.tables import Credential, Instance, Poller, table
from app.vault.sealing import Sealer, new_key, parse_keys

ACCOUNTS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
INTERVAL = 60.0  # of those that are polled: the shortest that Cloud Elements allows
TICKS = 100.0  # of the clock in /proc per second


async def multiply(database: Database, sealer: Sealer) -> None:
    """Makes ACCOUNTS of the one account that is there, with a poller each."""
    async with database.write() as connection:
        for model, own in ((Instance, "id"), (Credential, "instance_id"), (Poller, "id")):
            rows = table(model)
            (first,) = (await connection.execute(select(rows))).mappings()
            copies = [_copy(dict(first), own, number, sealer) for number in range(2, ACCOUNTS + 1)]
            for start in range(0, len(copies), 1000):
                await connection.execute(insert(rows), copies[start : start + 1000])


def _copy(row: dict[str, Any], own: str, number: int, sealer: Sealer) -> dict[str, Any]:
    """Secrets are sealed for one row only."""
    if "sealed" in row:
        plain = sealer.open(row["sealed"], f"credential/{row['instance_id']}")
        row |= {"sealed": sealer.seal(plain, f"credential/{number}")}
    changed = {own: number, "instance_id": number, "token_hash": f"copy-{number}"}
    return row | {key: value for key, value in changed.items() if key in row}


async def settle(database: Database, *, waits: bool) -> None:
    """Lets all accounts be watched in one way, from now on."""
    async with database.write() as connection:
        await connection.execute(
            update(table(Poller)).values(
                waits=waits, interval_seconds=900.0 if waits else INTERVAL, fence=None, leased_until=None,
                due_at=func.now(), polled_at=None,
            )
        )  # fmt: skip


async def read_by_now(database: Database) -> int:
    async with database.read() as connection:
        polled = select(func.count()).where(table(Poller).c.polled_at.is_not(None))
        return int(await connection.scalar(polled) or 0)


async def transactions(database: Database) -> int:
    """Of the whole database so far; each of a worker's has one or two statements."""
    async with database.read() as connection:
        counted = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return int(await connection.scalar(counted) or 0)


def memory(process: Process) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


def processor(process: Process) -> float:
    """Seconds of a core."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(home: House, database: Database, *, waits: bool) -> tuple[float, float, float]:
    """KiB per account, transactions per second, idle share of a core."""
    await settle(database, waits=False)
    async with database.write() as connection:
        await connection.execute(update(table(Poller)).values(due_at=None))
    worker = home.work(GATEWAY_LONG_POLLS_AT_ONCE=str(ACCOUNTS), GATEWAY_POLL_LEASE="90")
    await asyncio.sleep(3)
    empty = memory(worker)
    await settle(database, waits=waits)
    while await read_by_now(database) < ACCOUNTS:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    await asyncio.sleep(5)
    busy, done = processor(worker), await transactions(database)
    await asyncio.sleep(SECONDS)
    busy, done = processor(worker) - busy, await transactions(database) - done
    held = (memory(worker) - empty) / ACCOUNTS / 1024
    worker.stop()
    return held, done / SECONDS, 1 - busy / SECONDS


async def compare(home: House, url: str, key: str) -> None:
    settings = Settings(_env_file=None, database_url=url, encryption_keys=key)
    database = Database(settings.database)
    await multiply(database, Sealer(parse_keys(key)))
    polled = await measure(home, database, waits=False)
    held = await measure(home, database, waits=True)
    await database.close()
    for name, (kib, rate, idle) in (("polled", polled), ("held", held)):
        print(f"{name:8}{ACCOUNTS:,} accounts  {kib:7.1f} KiB each  {rate:7.1f} tx/s  idle {idle:.3f}")
    print(
        f"ratio held/polled: transactions {held[1] / max(polled[1], 0.1):.2f}, idle {held[2] / polled[2]:.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, postgresql.running() as server:
        url, key = server.new_database(), new_key()
        quiet = {"GATEWAY_WORKER_IDLE": "1", "GATEWAY_POLL_TIMEOUT": "60", "GATEWAY_POLL_LEASE": "90"}
        with house(Path(folder), url, key, **quiet) as home:
            home.serve("--no-workers")
            home.connect("box")
            settings = {"long_poll_seconds": 600}  # as long as Box holds them
            httpx.patch(f"{home.sandbox_url}/control/box/settings", json=settings).raise_for_status()
            asyncio.run(compare(home, url, key))


if __name__ == "__main__":
    main()
