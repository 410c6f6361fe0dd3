"""Pollers: which account is read next, and how far it was read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import leases
from app.store.leases import Lease
from app.store.tables import Poller, table

_pollers = table(Poller)


async def hold(connection: AsyncConnection, instance_id: int) -> list[Poller]:
    """The pollers of an instance, which stay as they are until the end of the transaction. Whoever changes
    several of them holds them first: they are locked in one order then."""
    mine = select(_pollers).where(_pollers.c.instance_id == instance_id).order_by(_pollers.c.id)
    return [Poller(**row) for row in (await connection.execute(mine.with_for_update())).mappings()]


async def create(connection: AsyncConnection, *, waits: bool = False, **values: Any) -> None:
    """Starts the polling of one resource of an instance."""
    await connection.execute(insert(_pollers).values(failures=0, waits=waits, **values))


async def configure(connection: AsyncConnection, instance_id: int, resource: str, **values: Any) -> None:
    """Changes how a resource is polled, and takes it from whoever reads it now: what he does not store is
    read again, with the new values. Its failures are forgotten."""
    await connection.execute(
        update(_pollers)
        .where(_pollers.c.instance_id == instance_id, _pollers.c.resource == resource)
        .values(fence=None, leased_until=None, failures=0, error=None, error_at=None, **values)
    )


async def begin(connection: AsyncConnection, instance_id: int, *, at: str, instead_of: str) -> None:
    """Gives the pollers of an instance that still stand at `instead_of` the place where they begin, also if
    somebody is reading from there just now: what he finds is later."""
    await hold(connection, instance_id)
    await connection.execute(
        update(_pollers)
        .where(_pollers.c.instance_id == instance_id, _pollers.c.cursor == instead_of)
        .values(cursor=at, fence=None, leased_until=None)
    )


async def remove(connection: AsyncConnection, instance_id: int, *, keep: Collection[str] = ()) -> None:
    """Ends the polling of an instance's resources, but for those to keep."""
    await hold(connection, instance_id)
    await connection.execute(
        delete(_pollers).where(_pollers.c.instance_id == instance_id, _pollers.c.resource.not_in(keep))
    )


async def suspend(connection: AsyncConnection, instance_id: int) -> None:
    """Lets the polling of an instance rest where it stands, also for whoever reads it now."""
    await _set_due(connection, instance_id, None)


async def resume(connection: AsyncConnection, instance_id: int, *, now: datetime) -> None:
    """Goes on where the polling of an instance rests."""
    await _set_due(connection, instance_id, now)


async def claim_due(
    connection: AsyncConnection, *, limit: int, now: datetime, lease: timedelta, waits: bool = False
) -> list[Poller]:
    """Takes at most `limit` due pollers for as long as `lease`; see `leases.claim`. Those that wait are held
    for long, and are out of the index of what is due until their lease has passed."""
    kind = [_pollers.c.waits.is_(waits)]
    later = {"due_at": now + lease} if waits else {}
    rows = await leases.claim(
        connection, Poller, limit=limit, now=now, lease=lease, where=kind, hinted_at=None, **later
    )
    return [Poller(**row) for row in rows]


async def hint(connection: AsyncConnection, instance_id: int, *, now: datetime) -> None:
    """Somebody says that an instance has news: its resources are read now, and what is being read is read
    once more. Those that rest, because they are suspended or because the vendor failed, go on resting.

    The caller wakes the workers (`wakeups.notify`, `Wakeups.hint`).
    """
    await hold(connection, instance_id)
    free = and_(_pollers.c.fence.is_(None), _pollers.c.failures == 0, _pollers.c.due_at > now)
    await connection.execute(
        update(_pollers)
        .where(_pollers.c.instance_id == instance_id, _pollers.c.due_at.is_not(None))
        .values(hinted_at=now, due_at=case((free, _moment(now)), else_=_pollers.c.due_at))
    )


async def of_instances(connection: AsyncConnection, instance_ids: Sequence[int]) -> dict[int, list[Poller]]:
    """The pollers of these instances, to show how they fare."""
    found: dict[int, list[Poller]] = {}
    if instance_ids:
        rows = await connection.execute(
            select(_pollers).where(_pollers.c.instance_id.in_(instance_ids)).order_by(_pollers.c.id)
        )
        for row in rows.mappings():
            found.setdefault(row["instance_id"], []).append(Poller(**row))
    return found


async def advance(
    connection: AsyncConnection,
    lease: Lease,
    *,
    cursor: str,
    now: datetime,
    leased_until: datetime,
    waits: bool = False,
) -> bool:
    """Moves the cursor behind a stored page and goes on holding. False when the lease was lost."""
    later = {"due_at": leased_until} if waits else {}
    return await leases.keep(
        connection, Poller, lease, cursor=cursor, leased_until=leased_until, **later, **_success(now)
    )


async def finish(
    connection: AsyncConnection, lease: Lease, *, cursor: str, now: datetime, due_at: datetime
) -> bool:
    """Moves the cursor behind the last page and sets the next due time, which is now where a hint came while
    the page was read. False when the lease was lost."""
    due = case((_pollers.c.hinted_at.is_not(None), _moment(now)), else_=_moment(due_at))
    return await leases.settle(connection, Poller, lease, cursor=cursor, due_at=due, **_success(now))


async def prolong(connection: AsyncConnection, held: Collection[Lease], *, until: datetime) -> set[Lease]:
    """Goes on holding all of these pollers that wait, and answers those that were taken away."""
    return await leases.prolong(connection, Poller, held, leased_until=until, due_at=until)


async def give_back(connection: AsyncConnection, held: Collection[Lease], *, now: datetime) -> None:
    """Lets all of these pollers go; they are due for another worker."""
    await leases.settle_all(connection, Poller, held, due_at=now)


async def fail(
    connection: AsyncConnection,
    lease: Lease,
    *,
    failures: int,
    error: str,
    now: datetime,
    due_at: datetime | None,
) -> bool:
    """Notes a failure; the cursor stays. Without `due_at` the polling stops until it is enabled again."""
    return await leases.settle(
        connection, Poller, lease, failures=failures, error=error, error_at=now, due_at=due_at
    )


async def stop(connection: AsyncConnection, instance_id: int, *, error: str, now: datetime) -> list[str]:
    """Ends the polling of an instance until it is enabled again, and answers the resources it was about."""
    await hold(connection, instance_id)
    rows = await connection.execute(
        update(_pollers)
        .where(_pollers.c.instance_id == instance_id)
        .values(due_at=None, error=error, error_at=now)
        .returning(_pollers.c.resource)
    )
    return sorted(rows.scalars())


async def record_gap(
    connection: AsyncConnection, lease: Lease, *, since: datetime | None, until: datetime
) -> None:
    """Notes that the vendor no longer had the events between these times."""
    await connection.execute(
        update(_pollers).where(leases.held(Poller, lease)).values(gap_from=since, gap_to=until)
    )


async def release(connection: AsyncConnection, lease: Lease, *, due_at: datetime | None = None) -> bool:
    """Lets the row go as it is: it stays due, or is due at another time."""
    return await leases.settle(connection, Poller, lease, **({"due_at": due_at} if due_at else {}))


async def _set_due(connection: AsyncConnection, instance_id: int, due_at: datetime | None) -> None:
    await hold(connection, instance_id)
    await connection.execute(
        update(_pollers)
        .where(_pollers.c.instance_id == instance_id)
        .values(due_at=due_at, fence=None, leased_until=None)
    )


def _moment(value: datetime) -> ColumnElement[datetime]:
    """A time within an expression, which knows nothing of the column's type."""
    return literal(value, _pollers.c.due_at.type)


def _success(now: datetime) -> dict[str, Any]:
    return {"polled_at": now, "hinted_at": None, "failures": 0, "error": None, "error_at": None}
