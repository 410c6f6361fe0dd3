"""Changes that come twice where an instance is polled and called by its vendor: the later telling is left
out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.documents import Change
from app.store import events
from app.store.events import Told
from app.store.tables import Instance, Via

_APART = timedelta(seconds=5)  # between the times that a vendor gives to one change in its two ways
_NEWEST = 500  # events that are looked at: both ways tell of a change within minutes

# Vendors have several words for one thing, and the memory has made of an upload what it was.
_SAME = {
    **dict.fromkeys(("create", "upload", "copy", "restore", "version"), "content"),
    **dict.fromkeys(("move", "rename"), "place"),
    **dict.fromkeys(("delete", "trash"), "end"),
}


def may_come(instance: Instance) -> bool:
    """Whether the vendor calls for this instance: it is polled as well then."""
    return (instance.configuration.get("event.vendor.type") or "").strip().lower().startswith("webhook")


async def without(
    connection: AsyncConnection, instance_id: int, changes: Sequence[Change], via: Via
) -> list[Change]:
    """The changes that nothing has told of yet. Each stored event stands for one change of the other way,
    and notes which one, so that two of a kind are never taken for one."""
    told = await events.newest(connection, instance_id, limit=_NEWEST)
    by_object: dict[tuple[str, str], list[Told]] = {}
    for item in told:
        if item.via != via:
            by_object.setdefault((item.object_type, item.object_id), []).append(item)
    left, found = [], {}
    for change in changes:
        twin = _twin(change, by_object.get((change.object_type, change.object_id), []))
        if twin is None:
            left.append(change)
        elif twin.twin is None:
            twin.twin = change.event_id
            found[twin.id] = change.event_id
    await events.pair(connection, found)
    return left


def _twin(change: Change, told: Sequence[Told]) -> Told | None:
    """The nearest event that may be this change."""
    fitting = [item for item in told if item.twin in {None, change.event_id} and _is_same(change, item)]
    return min(
        fitting, key=lambda item: (item.twin is None, abs(item.event_date - change.date)), default=None
    )


def _is_same(change: Change, item: Told) -> bool:
    if _SAME.get(change.change, change.change) != _SAME.get(item.change, item.change):
        return False
    if change.sequence is not None and item.object_sequence is not None:
        return change.sequence == item.object_sequence
    return abs(change.date - item.event_date) <= _APART
