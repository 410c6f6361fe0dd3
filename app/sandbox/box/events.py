"""Box's event streams: https://developer.box.com/guides/events/."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from app.sandbox.box.access import Caller, CallerDep
from app.sandbox.box.errors import BoxError, bad_request, forbidden
from app.sandbox.box.gate import path_below
from app.sandbox.box.shapes import Shape, user_mini
from app.sandbox.box.times import aware, timestamp
from app.sandbox.history import Change, History

router = APIRouter(prefix="/2.0/events")
StreamType = Literal["all", "changes", "sync", "admin_logs", "admin_logs_streaming"]
EVENT_FAULTS = frozenset({"duplicate_events", "reorder_events"})

_MAX_LIMIT = 500
_OLDEST = frozenset({"", "0", "null"})
# What only the stream of everything shows. The others have what changes the tree of files.
_ONLY_IN_ALL = frozenset({
    "COMMENT_CREATE", "COMMENT_DELETE", "ITEM_DOWNLOAD", "ITEM_PREVIEW", "ITEM_SHARED_CREATE",
    "ITEM_SHARED_UNSHARE", "ITEM_SHARED", "TAG_ITEM_CREATE",
})  # fmt: skip


class EventQuery(BaseModel):
    """The parameters of a look at a stream."""

    stream_type: StreamType = "all"
    stream_position: str = "0"
    limit: int = Field(100, ge=0)
    event_type: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def for_admins(self) -> bool:
        """Whether it is about what everybody in the enterprise does."""
        return self.stream_type.startswith("admin_logs")


@router.get("")
async def events(
    caller: CallerDep, request: Request, query: Annotated[EventQuery, Query()]
) -> dict[str, Any]:
    """The events after a position."""
    if query.for_admins and not caller.user.is_admin:
        raise forbidden()
    if query.limit > _MAX_LIMIT:
        raise BoxError(400, "invalid_limit", f"The limit is at most {_MAX_LIMIT}")
    found, position = _page(caller, query)
    shown = _disturbed(caller, request, [render(change, admin=query.for_admins) for change in found])
    as_text = caller.enterprise.settings.stream_position == "string"
    return {
        "chunk_size": len(shown),
        "next_stream_position": str(position) if as_text else position,
        "entries": shown,
    }


def position_of(history: History, text: str) -> int:
    """A position as a number; the latest for `now`."""
    if text == "now":
        return history.latest_id
    if text in _OLDEST:
        return 0
    if not text.isdecimal():
        raise bad_request(f"Invalid value '{text}' for 'stream_position'", "stream_position")
    return int(text)


def shown_in(stream_type: str) -> Callable[[Change], bool]:
    """Which changes a stream of a user shows."""
    if stream_type == "all":
        return lambda change: bool(change.action)
    return lambda change: bool(change.action) and change.action not in _ONLY_IN_ALL


def _page(caller: Caller, query: EventQuery) -> tuple[list[Change], int]:
    settings, history = caller.enterprise.settings, caller.enterprise.journal.history
    position = position_of(history, query.stream_position)
    if 0 < position < history.lost_id and settings.stale_position == "400":
        raise bad_request("The stream_position is too old", "stream_position")
    limit = min(query.limit, settings.short_pages or query.limit)
    found = list(islice(_wanted(history.after(position), query), limit))
    if len(found) == limit and found:
        return found, found[-1].id
    # The end is reached. Without events to show, a reader may still move on over those that are not for it.
    return found, max(position, history.latest_id if limit else position)


def _wanted(changes: Iterator[Change], query: EventQuery) -> Iterator[Change]:
    if not query.for_admins:
        return filter(shown_in(query.stream_type), changes)
    types = set(filter(None, query.event_type.split(",")))
    return (change for change in changes if _for_admins(change, types, query))


def _for_admins(change: Change, types: Collection[str], query: EventQuery) -> bool:
    if types and change.detail["admin"] not in types:
        return False
    # Only the history can be asked for a span of time; the live stream ignores it.
    if query.stream_type != "admin_logs":
        return True
    after, before = query.created_after, query.created_before
    if after is not None and change.at < aware(after):
        return False
    return before is None or change.at <= aware(before)


def _disturbed(caller: Caller, request: Request, found: list[Shape]) -> list[Shape]:
    fault = caller.enterprise.faults.take(path_below(request.scope), EVENT_FAULTS)
    match fault and fault.kind:
        case "duplicate_events":
            return [event for event in found for _ in range(2)]
        case "reorder_events":
            return found[::-1]
    return found


def render(change: Change, *, admin: bool) -> Shape:
    """A change as a stream shows it."""
    event: Shape = {
        "type": "event",
        "event_id": _hex(f"event {change.id}", 40),
        "created_by": user_mini(change.actor.user),
        "created_at": timestamp(change.at),
        "recorded_at": timestamp(change.at),
        "event_type": change.detail["admin"] if admin else change.action,
        "session_id": _hex(f"session {change.actor.client_id}", 22),
        "source": _item_form(change.detail["source"]) if admin else change.detail["source"],
    }
    if admin:
        event["ip_address"] = "127.0.0.1"
        event["additional_details"] = _details(change)
    return event


def _hex(text: str, length: int) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:length]


def _item_form(source: Shape | None) -> Shape | None:
    """The streams of the enterprise name the item and say no more about it."""
    if source is None:
        return None
    item = source.get("item") or source
    return {
        "item_type": item["type"],
        "item_id": item["id"],
        "item_name": item.get("name", ""),
        "parent": item.get("parent"),
        "owned_by": item.get("owned_by"),
    }


def _details(change: Change) -> Shape:
    source = change.detail["source"] or {}
    version = source.get("file_version")
    details: Shape = {"service_id": change.actor.client_id, "service_name": change.actor.source}
    if version is not None:
        details |= {"size": source.get("size"), "version_id": version["id"]}
    return details
