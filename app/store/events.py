"""Events: each change at a vendor, once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Event, table

_events = table(Event)


async def known_keys(connection: AsyncConnection, instance_id: int, keys: Sequence[str]) -> set[str]:
    """Which of these vendor ids are stored already. The unique key guards against what comes in between."""
    statement = select(_events.c.key).where(_events.c.instance_id == instance_id, _events.c.key.in_(keys))
    return set((await connection.scalars(statement)).all())


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Stores new events in one batch."""
    if events:
        await connection.execute(insert(_events), [event.model_dump() for event in events])


async def rename_keys(connection: AsyncConnection, instance_id: int, *, prefix: str) -> None:
    """Sets the keys of what is stored apart from those that follow: at another place of a vendor the same
    ids may stand for other events."""
    await connection.execute(
        update(_events).where(_events.c.instance_id == instance_id).values(key=prefix + _events.c.key)
    )
