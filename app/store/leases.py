"""Due rows and who holds them: the engine of everything that must happen later."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Duty, table

_AT_ONCE = 10_000  # rows in one statement, of which each is two of at most 32,766 parameters


@dataclass(frozen=True)
class Lease:
    """A hold on one row. Whoever settles proves with the fence that the hold is still his."""

    row_id: int
    fence: int


def lease_of(row: Duty) -> Lease:
    """The hold on a row that was just claimed."""
    if row.fence is None:
        raise ValueError("nobody holds this row")
    return Lease(row.id, row.fence)


async def claim(
    connection: AsyncConnection,
    duty: type[Duty],
    *,
    limit: int,
    now: datetime,
    lease: timedelta,
    where: Sequence[ColumnElement[bool]] = (),
    **values: object,
) -> list[RowMapping]:
    """Takes at most `limit` due rows that nobody holds, the longest due first, and writes `values` into them;
    two workers never hold the same row. A row whose lease has passed is due again: its worker died.

    The due rows are picked in a CTE because PostgreSQL evaluates one with FOR UPDATE exactly once, where
    a subselect with LIMIT may be run again. SQLAlchemy leaves the locking clause out on SQLite, whose
    single writer makes the statement atomic.
    """
    rows = table(duty)
    due = (
        select(rows.c.id)
        .where(rows.c.due_at <= now, or_(rows.c.leased_until.is_(None), rows.c.leased_until <= now), *where)
        .order_by(rows.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = (
        update(rows)
        .where(rows.c.id.in_(select(due.c.id)))
        .values(fence=secrets.randbits(63), leased_until=now + lease, **values)
        .returning(rows)
    )
    return list((await connection.execute(taken)).mappings())


async def prolong(
    connection: AsyncConnection, duty: type[Duty], leases: Collection[Lease], **values: object
) -> set[Lease]:
    """Writes `values` (a later `leased_until` among them) into all rows that are still held, and answers the
    leases that are lost.

    Rows that somebody else changes just now are passed over instead of waited for, so that no two of these
    statements can wait for each other; whoever prolongs comes back before their lease has passed.
    """
    rows, kept = table(duty), set[Lease]()
    lease = (rows.c.id, rows.c.fence)
    for mine in _parts(duty, leases):
        free = select(rows.c.id).where(mine).with_for_update(skip_locked=True).cte("free")
        taken = update(rows).where(rows.c.id.in_(select(free.c.id))).values(**values).returning(*lease)
        kept |= {Lease(*row) for row in await connection.execute(taken)}
    for mine in _parts(duty, set(leases) - kept):
        kept |= {Lease(*row) for row in await connection.execute(select(*lease).where(mine))}
    return set(leases) - kept


async def settle_all(
    connection: AsyncConnection, duty: type[Duty], leases: Collection[Lease], **values: object
) -> None:
    """Writes `values` and lets all of these rows go that are still held; one that somebody else changes just
    now stays held until its lease has passed."""
    rows = table(duty)
    for mine in _parts(duty, leases):
        free = select(rows.c.id).where(mine).with_for_update(skip_locked=True).cte("free")
        taken = update(rows).where(rows.c.id.in_(select(free.c.id)))
        await connection.execute(taken.values(fence=None, leased_until=None, **values))


async def lock(connection: AsyncConnection, duty: type[Duty], leases: Collection[Lease]) -> set[Lease]:
    """Locks these rows until the end of the transaction and answers the leases that are still held."""
    rows, wanted, found = table(duty), set(leases), set[Lease]()
    for mine in _parts(duty, leases):
        statement = select(rows.c.id, rows.c.fence).where(mine).order_by(rows.c.id).with_for_update()
        found |= {Lease(*row) for row in await connection.execute(statement)}
    return found & wanted


def held(duty: type[Duty], lease: Lease) -> ColumnElement[bool]:
    """The condition that a settling statement carries: a stale worker changes nothing."""
    rows = table(duty)
    return and_(rows.c.id == lease.row_id, rows.c.fence == lease.fence)


async def settle(connection: AsyncConnection, duty: type[Duty], lease: Lease, **values: object) -> bool:
    """Writes `values` and lets the row go. False, and nothing written, when the lease was lost."""
    return await _write(connection, duty, lease, fence=None, leased_until=None, **values)


async def keep(connection: AsyncConnection, duty: type[Duty], lease: Lease, **values: object) -> bool:
    """Writes `values` (a later `leased_until` among them) and goes on holding the row."""
    return await _write(connection, duty, lease, **values)


async def _write(connection: AsyncConnection, duty: type[Duty], lease: Lease, **values: object) -> bool:
    done = await connection.execute(update(table(duty)).where(held(duty, lease)).values(**values))
    return done.rowcount == 1


def _parts(duty: type[Duty], leases: Collection[Lease]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together find these rows. Rows that were claimed together share a fence."""
    rows, ordered = table(duty), sorted(leases, key=lambda lease: lease.row_id)
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        fences = {lease.fence for lease in part}
        yield and_(rows.c.id.in_([lease.row_id for lease in part]), rows.c.fence.in_(fences))
