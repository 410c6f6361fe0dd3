"""Changes that come twice where an instance is polled and called by its vendor: the later telling is left
out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.documents import Change
from app.store import events
from app.store.events import Told
from app.store.known_objects import folded
from app.store.tables import Instance, Via

_APART = timedelta(seconds=5)  # between the times that a vendor gives to one change in its two ways
_ABOUT = timedelta(minutes=10)  # in which numbered changes are looked for: their numbers tell them apart
_FIRST = datetime(1, 1, 1, tzinfo=UTC) + _ABOUT
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - _ABOUT

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
    dates = [change.date for change in changes]
    told = await events.unpaired(
        connection,
        instance_id,
        object_ids={change.object_id for change in changes},
        since=max(min(dates), _FIRST) - _ABOUT,
        until=min(max(dates), _LAST) + _ABOUT,
        not_via=via,
    )
    found = _pairs(changes, told)
    await events.pair(connection, {event_id: key for key, event_id in found.items()})
    return [change for change in changes if change.event_id not in found]


def _pairs(changes: Sequence[Change], told: Sequence[Told]) -> dict[str, int]:
    """The event that is each change's twin, the surest and nearest first: one that fits a change well is not
    given to another one that it fits less."""
    by_object: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for item in told:
        by_object[item.object_type, item.object_id].append(item)
    fitting = [
        (change.change != item.change, abs(change.date - item.event_date), change.event_id, item.id)
        for change in changes
        for item in by_object.get((change.object_type, change.object_id), [])
        if _is_same(change, item)
    ]
    found: dict[str, int] = {}
    taken: set[int] = set()
    for _, _, key, event_id in sorted(fitting, key=lambda pair: pair[:2]):
        if key not in found and event_id not in taken:
            found[key] = event_id
            taken.add(event_id)
    return found


def _is_same(change: Change, item: Told) -> bool:
    if _SAME.get(change.change, change.change) != _SAME.get(item.change, item.change):
        return False
    if change.sequence is not None and item.object_sequence is not None:
        return change.sequence == item.object_sequence
    if change.path and item.path and folded(change.path) != folded(item.path):
        return False
    return abs(change.date - item.event_date) <= _APART
