"""A million deliveries through the store on PostgreSQL: whether a claim, a settlement and the tables grow
with what is done, and whether pruning gives the room back.

Four quarters are pushed, claimed and settled (one in twenty fails first), beside polls and refreshed tokens;
then everything is pruned, and a fifth quarter follows. After each, the sizes are printed, and the median
times as ratios to the first quarter's. Autovacuum looks every 5 s here, because days pass in minutes.
`N=1000000` is the number of the first four quarters together; `STORAGE=plain` is without the storage
parameters of the schema.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import outgoing
import postgresql
import uvloop
from sqlalchemy import text

from app.clock import Clock
from app.ids import new_id
from app.runtime import Runtime
from app.store import instances, outbox, pollers, retention
from app.store.leases import lease_of
from app.store.new_rows import NewDelivery, NewNotification
from app.store.outbox import Turn
from app.store.settlements import Settlement
from app.store.tables import DeliveryStatus, Subscription

N = int(os.environ.get("N", "1000000"))
PLAIN = os.environ.get("STORAGE") == "plain"
CALLBACKS = 64
CHUNK = 2_000  # deliveries that are due at once
PAGE = 200  # of them in one transaction, as a poll stores them
ACCOUNTS = 1_000
POLLED = 32  # accounts in each round
REFRESHED = 4
LEASE = timedelta(seconds=90)
TABLES = ("delivery", "attempt", "notification", "callback", "poller", "credential")
BODY = b"x" * 200

SIZES = """SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd,
    pg_table_size(relid) AS heap, pg_indexes_size(relid) AS indexes
    FROM pg_stat_user_tables WHERE relname = ANY(:names) ORDER BY array_position(:names, relname::text)"""
_ACCOUNTS = """
INSERT INTO organization (id, name, created_at) VALUES (1, 'o', now());
INSERT INTO account (id, organization_id, name, settings, created_at, updated_at)
    VALUES (1, 1, 'a', '{}', now(), now());
INSERT INTO gateway_user (id, organization_id, account_id, email, first_name, last_name, role, active,
    created_at, updated_at) VALUES (1, 1, 1, 'e', 'f', 'l', 'user', true, now(), now());
INSERT INTO instance (id, account_id, user_id, element_key, name, tags, configuration,
    external_authentication, token_hash, valid, disabled, created_at, updated_at)
    SELECT n, 1, 1, 'egnyte', 'n', '[]', '{}', 'none', n::text, true, false, now(), now()
    FROM generate_series(1, :n) AS n;
INSERT INTO poller (id, due_at, account_id, instance_id, resource, waits, page_size, interval_seconds, cursor,
    failures) SELECT n, now(), 1, n, 'events', false, 10, 60, '0', 0 FROM generate_series(1, :n) AS n;
INSERT INTO credential (instance_id, account_id, sealed, version)
    SELECT n, 1, decode(repeat('ab', 700), 'hex'), 1 FROM generate_series(1, :n) AS n"""
_PLAIN = """DO $$ DECLARE t text; o text; BEGIN
FOR t, o IN SELECT relname, split_part(option, '=', 1) FROM pg_class, unnest(reloptions) AS option
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
LOOP EXECUTE format('ALTER TABLE %I RESET (%s)', t, o); END LOOP; END $$"""


class Quarter:
    """The times of the steps of one quarter, in milliseconds."""

    def __init__(self) -> None:
        self.claims: list[float] = []
        self.settlements: list[float] = []

    @property
    def claim(self) -> float:
        return statistics.median(self.claims)

    @property
    def settle(self) -> float:
        return statistics.median(self.settlements)


async def append(runtime: Runtime, subscriptions: Sequence[Subscription], number: int) -> None:
    for start in range(0, number, PAGE):
        now = Clock().now()
        notifications, deliveries = [], []
        for position in range(start, start + PAGE):
            of = subscriptions[position % len(subscriptions)]
            values: dict[str, Any] = {"account_id": 1, "instance_id": of.instance_id, "created_at": now}
            notification_id = new_id()
            notifications.append(_notification(notification_id, values))
            deliveries.append(
                NewDelivery(
                    id=new_id(),
                    notification_id=notification_id,
                    subscription_id=of.id,
                    callback_id=of.callback_id,
                    status=DeliveryStatus.CREATED,
                    attempts=0,
                    due_at=now,
                    last_status=None,
                    last_error=None,
                    updated_at=now,
                    **values,
                )
            )
        async with runtime.database.write() as connection:
            await outbox.append(connection, notifications, deliveries, now=now)


def _notification(notification_id: int, values: dict[str, Any]) -> NewNotification:
    return NewNotification(
        id=notification_id,
        topic="t",
        body=BODY,
        resource="events",
        via="polling",
        cursor=None,
        next_cursor=None,
        first_sequence=None,
        last_sequence=None,
        acknowledged_at=None,
        **values,
    )


async def serve(runtime: Runtime, quarter: Quarter) -> bool:
    """One claim and the settlement of all that it brought. False when nothing was due."""
    now = Clock().now()
    began = time.perf_counter()
    async with runtime.database.write() as connection:
        claimed = await outbox.claim_callbacks(connection, limit=32, slow_limit=16, now=now, lease=LEASE)
    if not claimed:
        return False
    quarter.claims.append((time.perf_counter() - began) * 1000)
    turns = []
    for callback in claimed:
        async with runtime.database.read() as connection:
            due = await outbox.pending(connection, callback.id, limit=200, now=now)
        turns.append(Turn(lease_of(callback), [_settled(item, now) for item in due], {}, slow=False))
    began = time.perf_counter()
    async with runtime.database.write() as connection:
        await outbox.finish_turns(connection, turns, now=Clock().now())
    quarter.settlements.append((time.perf_counter() - began) * 1000)
    return True


def _settled(item: outbox.Pending, now: datetime) -> Settlement:
    failed = item.attempts == 0 and item.delivery_id % 20 == 0
    return Settlement(
        delivery_id=item.delivery_id,
        status=DeliveryStatus.RETRY if failed else DeliveryStatus.DELIVERED,
        attempts=item.attempts + 1,
        due_at=now if failed else None,
        last_status=503 if failed else 200,
        last_error=None,
        account_id=1,
        started_at=now,
        took_ms=5,
        answer="ok",
        seen=item.attempts,
    )


async def poll(runtime: Runtime) -> None:
    """Some accounts are read, and of a few the token is refreshed."""
    now = Clock().now()
    async with runtime.database.write() as connection:
        held = await pollers.claim_due(connection, limit=POLLED, now=now, lease=LEASE)
    for poller in held:
        async with runtime.database.write() as connection:
            cursor = str(int(poller.cursor) + 1)
            await pollers.finish(connection, lease_of(poller), cursor=cursor, now=now, due_at=now)
    for poller in held[:REFRESHED]:
        async with runtime.database.write() as connection:
            row = (await instances.credentials(connection, [poller.instance_id]))[poller.instance_id]
            await instances.claim_refresh(
                connection,
                poller.instance_id,
                version=row.version,
                fence=new_id(),
                now=now,
                until=now + LEASE,
            )
        async with runtime.database.write() as connection:
            await instances.save_credential(
                connection, poller.instance_id, version=row.version, sealed=row.sealed
            )


async def push(runtime: Runtime, subscriptions: Sequence[Subscription], number: int) -> Quarter:
    quarter = Quarter()
    for start in range(0, number, CHUNK):
        await append(runtime, subscriptions, min(CHUNK, number - start))
        while await serve(runtime, quarter):
            pass
        await poll(runtime)
    return quarter


async def prune(runtime: Runtime) -> None:
    """Forgets all, as if it were old."""
    place, before = 0, Clock().now()
    while True:
        async with runtime.database.write() as connection:
            window = await retention.forget_notifications(
                connection, after=place, limit=1000, before=before, unclaimed_before=None
            )
        place = window.last
        if window.is_last:
            break


async def show(runtime: Runtime, name: str, quarter: Quarter | None, first: Quarter) -> None:
    print(name, flush=True)
    for what in ("claim", "settle") if quarter is not None else ():
        took, before = getattr(quarter, what), getattr(first, what)
        print(f"  {what} {took:.2f} ms, {took / before:.2f} of the first quarter's")
    async with runtime.database.read() as connection:
        found = (await connection.execute(text(SIZES), {"names": list(TABLES)})).mappings().all()
    for row in found:
        hot = row["n_tup_hot_upd"] / row["n_tup_upd"] if row["n_tup_upd"] else 0
        print(
            f"  {row['relname']:13}{row['n_live_tup']:>10,} rows {row['n_dead_tup']:>9,} dead "
            f"{row['heap'] / 2**20:8.1f} MiB + {row['indexes'] / 2**20:8.1f} MiB of indexes  {hot:4.0%} HOT"
        )


async def settled_statistics() -> None:
    """What processes have counted is sent every second, and autovacuum may be at work."""
    await asyncio.sleep(8)


async def main(url: str) -> None:
    async with outgoing.opened(url) as runtime:
        if PLAIN:
            async with runtime.database.write() as connection:
                await connection.execute(text(_PLAIN))
        async with runtime.database.write() as connection:
            for statement in _ACCOUNTS.split(";"):
                await connection.execute(text(statement), {"n": ACCOUNTS} if ":n" in statement else {})
        urls = [f"https://app.example.com/{number}" for number in range(CALLBACKS)]
        subscriptions = await outgoing.subscribe(runtime, urls)
        first: Quarter | None = None
        for number in range(1, 5):
            quarter = await push(runtime, subscriptions, N // 4)
            first = first or quarter
            await settled_statistics()
            await show(runtime, f"quarter {number}", quarter, first)
        assert first is not None
        began = time.perf_counter()
        await prune(runtime)
        took = time.perf_counter() - began
        await settled_statistics()
        await show(runtime, f"pruned in {took:.0f} s ({took / N * 1e6:.0f} us each)", None, first)
        quarter = await push(runtime, subscriptions, N // 4)
        await settled_statistics()
        await show(runtime, "quarter 5, in the room that pruning gave back", quarter, first)


async def look_often(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET autovacuum_naptime = '5s'")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


if __name__ == "__main__":
    with postgresql.running() as server:
        asyncio.run(look_often(server.url("postgres")))
        uvloop.run(main(server.new_database()))
