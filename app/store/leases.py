"""Due rows and who holds them: the engine of everything that must happen later."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Duty, table


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
) -> list[RowMapping]:
    """Takes at most `limit` due rows that nobody holds, the longest due first; two workers never hold the
    same row. A row whose lease has passed is due again: its worker died.

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
        .values(fence=secrets.randbits(63), leased_until=now + lease)
        .returning(rows)
    )
    return list((await connection.execute(taken)).mappings())


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
