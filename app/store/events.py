"""Events: each change at a vendor, once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Event, EventSequence, table

_events, _sequences = table(Event), table(EventSequence)


async def known_keys(connection: AsyncConnection, instance_id: int, keys: Sequence[str]) -> set[str]:
    """Which of these vendor ids are stored already. The unique key guards against what comes in between."""
    statement = select(_events.c.key).where(_events.c.instance_id == instance_id, _events.c.key.in_(keys))
    return set((await connection.scalars(statement)).all())


async def last_sequence(connection: AsyncConnection, *, instance_id: int, account_id: int) -> int:
    """The number of the instance's last event. Until the transaction ends nobody else stores events of it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_sequences).values(instance_id=instance_id, account_id=account_id, last=0)
    held = statement.on_conflict_do_update(index_elements=["instance_id"], set_={"last": _sequences.c.last})
    return int((await connection.execute(held.returning(_sequences.c.last))).scalar_one())


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Stores new events of one instance in one batch, in their order."""
    if not events:
        return
    await connection.execute(insert(_events), [event.model_dump() for event in events])
    newest = events[-1]
    await connection.execute(
        update(_sequences).where(_sequences.c.instance_id == newest.instance_id).values(last=newest.sequence)
    )


async def rename_keys(connection: AsyncConnection, instance_id: int, *, prefix: str) -> None:
    """Sets the keys of what is stored apart from those that follow: at another place of a vendor the same
    ids may stand for other events."""
    await connection.execute(
        update(_events).where(_events.c.instance_id == instance_id).values(key=prefix + _events.c.key)
    )
