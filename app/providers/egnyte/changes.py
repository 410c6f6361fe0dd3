"""Egnyte's Events API, and what its events mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from app.errors import BadRequest, VendorNotFound, VendorUnavailable
from app.hubs.documents import NEWEST, Change, ChangePage
from app.upstream.client import Upstream, decode
from app.upstream.reading import date, fingerprint, mapping, text

_LONG_AWAY = timedelta(days=1)
"""Egnyte keeps 30 days or 500,000 events. A reader who was away for less than this has missed none."""

# (type, action) of the Events API -> Cloud Elements' event type and the finer verb.
# A new version of a file is reported as `create` too; only a memory of ids could tell them apart.
_MEANING: dict[tuple[str, str], tuple[str, str]] = {
    ("file_system", "create"): ("CREATED", "create"),
    ("file_system", "delete"): ("DELETED", "delete"),
    ("file_system", "move"): ("UPDATED", "move"),
    ("file_system", "rename"): ("UPDATED", "rename"),
    ("file_system", "copy"): ("CREATED", "copy"),
    ("file_system", "restore"): ("CREATED", "restore"),
    ("note", "create"): ("UPDATED", "comment"),
    ("note", "delete"): ("UPDATED", "uncomment"),
    ("permission_change", "permission_change"): ("UPDATED", "permission"),
}


async def page(upstream: Upstream, path: str, cursor: str | None, limit: int) -> ChangePage:
    if cursor == NEWEST:
        _, latest = await _span(upstream)
        return ChangePage([], _Position(latest).text(), more=False)
    if cursor is None:
        oldest, _ = await _span(upstream)
        return await _read(upstream, path, oldest - 1, limit)
    position = _Position.parse(cursor)
    if position.is_old:
        oldest, _ = await _span(upstream)
        if oldest > position.event_id + 1:
            return await _read(upstream, path, oldest - 1, limit, gap=True)
    try:
        return await _read(upstream, path, position.event_id, limit)
    except VendorNotFound:  # newer domains answer a cursor that is too old with 404, older ones with 200
        oldest, _ = await _span(upstream)
        return await _read(upstream, path, oldest - 1, limit, gap=True)


async def _span(upstream: Upstream) -> tuple[int, int]:
    """The ids of the oldest and the latest event that Egnyte keeps."""
    body = mapping(decode(await upstream.get("/pubapi/v1/events/cursor")))
    if "latest_event_id" not in body:
        raise VendorUnavailable("the vendor's answer does not say where its events end")
    return _number(body.get("oldest_event_id")) or 1, _number(body["latest_event_id"]) or 0


async def _read(upstream: Upstream, path: str, after: int, limit: int, *, gap: bool = False) -> ChangePage:
    response = await upstream.get(path, id=max(after, 0), count=limit)
    if response.status_code == 204:
        return ChangePage([], _Position(after).text(), more=False, gap=gap)
    events = mapping(decode(response)).get("events")
    if not isinstance(events, list):
        raise VendorUnavailable("the vendor's answer is not a page of events")
    found = [told(event if isinstance(event, dict) else {"event": event}) for event in events]
    once = {change.event_id: change for change in found}
    changes = sorted(once.values(), key=lambda change: _number(change.event_id) or after)
    # The ids of the events themselves, not `latest_id`: it must never be ahead of what was read.
    last = max((_number(change.event_id) or after for change in changes), default=after)
    more = len(events) >= limit and last > after  # a page that leads nowhere is not asked for again
    return ChangePage(changes, _Position(last).text(), more=more, gap=gap)


@dataclass(frozen=True)
class _Position:
    """A place in the stream and when it was read, written `4686@1767607200` (seconds since 1970)."""

    event_id: int
    read_at: datetime | None = None

    @classmethod
    def parse(cls, cursor: str) -> _Position:
        found = re.fullmatch(r"(\d{1,18})(?:@(\d{1,11}))?", cursor)
        if found is None:
            raise BadRequest(f"cursor: {cursor[:40]!r} is not a cursor of Egnyte's event stream")
        seconds = found.group(2)
        return cls(int(found.group(1)), datetime.fromtimestamp(int(seconds), UTC) if seconds else None)

    @property
    def is_old(self) -> bool:
        return self.read_at is not None and datetime.now(UTC) - self.read_at > _LONG_AWAY

    def text(self) -> str:
        return f"{self.event_id}@{int(datetime.now(UTC).timestamp())}"


def told(event: Mapping[str, Any]) -> Change:
    kind, action = str(event.get("type")), str(event.get("action"))
    event_type, verb = _MEANING.get((kind, action), ("UNKNOWN", action))
    data = mapping(event.get("data"))
    path, previous = text(data.get("target_path")), text(data.get("source_path"))
    if verb in {"move", "rename"} and path and previous:
        verb = "rename" if PurePosixPath(path).parent == PurePosixPath(previous).parent else "move"
    object_type, object_id = _object(kind, event, data, path)
    if object_type == "note":
        event_type = {"comment": "CREATED", "uncomment": "DELETED"}.get(verb, event_type)
    return Change(
        event_id=_event_id(event),
        event_type=event_type,
        object_type=object_type,
        object_id=object_id,
        date=date(event.get("timestamp")) or datetime.now(UTC),
        change=verb,
        raw=event,
        path=path,
        previous_path=previous,
        name=PurePosixPath(path).name if path else None,
        actor_id=str(event["actor"]) if event.get("actor") is not None else None,
    )


def _object(
    kind: str, event: Mapping[str, Any], data: Mapping[str, Any], path: str | None
) -> tuple[str, str]:
    """Type and id of what changed. Older payloads carry only a path, which then is the id."""
    if kind == "permission_change":  # `is_folder` is always false here although it always is one
        details = mapping(event.get("eventTypeSpecificAttributes"))
        return "folder", str(details.get("targetFolderId") or path or _event_id(event))
    if kind == "note" and not path:
        return "note", str(data.get("note_id") or _event_id(event))
    keys = (
        ("folder_id", "target_id") if data.get("is_folder") else ("target_group_id", "file_id", "target_id")
    )
    known = next((data[key] for key in keys if data.get(key)), None)
    return "folder" if data.get("is_folder") else "file", str(known or path or _event_id(event))


def _event_id(event: Mapping[str, Any]) -> str:
    number = _number(event.get("id"))
    return str(number) if number is not None else fingerprint(event)


def _number(value: object) -> int | None:
    """An id of the stream; None for what cannot be one."""
    text = str(value)
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None
