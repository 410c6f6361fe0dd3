"""Events: each change at a vendor, once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, insert, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.batches import Batch, among
from app.store.engine import inserting
from app.store.tables import Event, EventSequence, Notification, table

_events, _sequences = table(Event), table(EventSequence)
_notifications = table(Notification)


class NewEvent(NamedTuple):
    """A row of `event` in the order of its columns; `row` is JSON as a text."""

    id: int
    account_id: int
    instance_id: int
    notification_id: int
    sequence: int
    key: str
    event_type: str
    object_type: str
    object_id: str
    change: str
    object_sequence: int | None
    twin: str | None
    event_date: datetime
    created_at: datetime
    row: str


_inserts = Batch([_events.c[name] for name in NewEvent._fields], lambda _kind: insert(_events))


@dataclass(frozen=True)
class Told:
    """What is stored of an event, as far as it helps to know it again."""

    id: int
    object_type: str
    object_id: str
    change: str
    event_date: datetime
    object_sequence: int | None
    path: str | None


async def known_keys(connection: AsyncConnection, instance_id: int, keys: Sequence[str]) -> set[str]:
    """Which of these vendor ids are stored already, by themselves or as the twin of another. The unique key
    guards against what comes in between."""
    own = _events.c.instance_id == instance_id
    stored = select(_events.c.key).where(own, among(connection, _events.c.key, keys))
    paired = select(_events.c.twin).where(
        own, _events.c.twin.is_not(None), among(connection, _events.c.twin, keys)
    )
    return set((await connection.scalars(union_all(stored, paired))).all())


async def last_sequence(connection: AsyncConnection, *, instance_id: int, account_id: int) -> int:
    """The number of the instance's last event. Until the transaction ends nobody else stores events of it."""
    first = inserting(connection.dialect.name, _sequences)
    statement = first.values(instance_id=instance_id, account_id=account_id, last=0)
    held = statement.on_conflict_do_update(index_elements=["instance_id"], set_={"last": _sequences.c.last})
    return int((await connection.execute(held.returning(_sequences.c.last))).scalar_one())


async def append(connection: AsyncConnection, events: Sequence[NewEvent]) -> None:
    """Stores new events of one instance in one batch, in their order."""
    if not events:
        return
    await _inserts.write(connection, events)
    newest = events[-1]
    await connection.execute(
        update(_sequences).where(_sequences.c.instance_id == newest.instance_id).values(last=newest.sequence)
    )


async def unpaired(
    connection: AsyncConnection,
    instance_id: int,
    *,
    object_ids: Collection[str],
    since: datetime,
    until: datetime,
    not_via: str,
) -> list[Told]:
    """The events of these objects between two times of the vendor, which came in by another way than this
    one and have no twin yet."""
    names = ("id", "object_type", "object_id", "change", "event_date", "object_sequence")
    statement = (
        select(*(_events.c[name] for name in names), _events.c.row["path"].as_string().label("path"))
        .join(_notifications, _notifications.c.id == _events.c.notification_id)
        .where(
            _events.c.instance_id == instance_id,
            _events.c.event_date.between(since, until),
            among(connection, _events.c.object_id, object_ids),
            _events.c.twin.is_(None),
            _notifications.c.via != not_via,
        )
        .order_by(_events.c.sequence)
    )
    return [Told(**row) for row in (await connection.execute(statement)).mappings()]


async def pair(connection: AsyncConnection, twins: Mapping[int, str]) -> None:
    """Notes with each of these events the key under which its change came in once more."""
    if twins:
        statement = update(_events).where(_events.c.id == bindparam("event_id"))
        rows = [{"event_id": event_id, "other": key} for event_id, key in sorted(twins.items())]
        await connection.execute(statement.values(twin=bindparam("other")), rows)


async def rename_keys(connection: AsyncConnection, instance_id: int, *, prefix: str) -> None:
    """Sets the keys of what is stored apart from those that follow: at another place of a vendor the same
    ids may stand for other events."""
    await connection.execute(
        update(_events)
        .where(_events.c.instance_id == instance_id)
        .values(key=prefix + _events.c.key, twin=prefix + _events.c.twin)
    )
