"""Egnyte's Events API, and what its events mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Self

from app.errors import (
    BadRequest,
    VendorError,
    VendorNotFound,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.documents import NEWEST, Change, ChangePage, Field
from app.hubs.paths import segment
from app.upstream.client import Upstream, decode
from app.upstream.reading import date, fingerprint, mapping, number, text

_LONG_AWAY = timedelta(days=1)
"""Egnyte keeps 30 days or 500,000 events. A reader who was away for less than this has missed none."""

_MOST_NOTES = 3  # that one page has; each is asked for with one of the token's 2 calls per second
_TYPE = "(file_system|note|permission_change)"
_NAME = r"(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]{1,255}"

FIELDS: tuple[Field, ...] = (
    Field(
        "egnyte.events.version",
        "Events API version",
        "v1 reports file system and note events; v2 adds permission changes.",
        kind="COMBO",
        default="v2",
        pattern="v1|v2",
        example="v2",
    ),
    Field(
        "egnyte.events.types",
        "Event types",
        "Of file_system, note, permission_change, joined by | or a comma; empty is the version's own.",
        pattern=rf"\s*{_TYPE}(\s*[|,]\s*{_TYPE})*\s*",
        example="file_system|note",
    ),
    Field(
        "egnyte.events.folder",
        "Folder of the events",
        "A path: only what happens in this folder and below it is reported.",
        kind="TEXTFIELD_1000",
        pattern=rf"(/{_NAME})+/?",
        example="/Shared/Projects",
    ),
    Field(
        "egnyte.events.suppress",
        "Suppressed events",
        "Leaves out what the connected app (app) or the connected user (user) did.",
        kind="COMBO",
        default="none",
        pattern="app|user|none",
        example="app",
    ),
)

# (type, action) of the Events API -> Cloud Elements' event type and the finer verb.
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
NEW_VERSION = ("UPDATED", "version")
"""What a `create` of a file is where the file is known: Egnyte tells of a version in the same way."""

_FILE_IDS = ("target_group_id", "group_id", "file_id", "target_id")
_FOLDER_IDS = ("folder_id", "target_id")
_OF_NOTES = {"comment": "CREATED", "uncomment": "DELETED"}


@dataclass(frozen=True)
class Stream:
    """The events that a configuration asks for: where they are and what narrows them."""

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: Mapping[str, str | None]) -> Self:
        """Without `type` the version's own types come."""
        types = re.findall(_TYPE, configuration.get("egnyte.events.types") or "")
        suppress = configuration.get("egnyte.events.suppress") or "none"
        wanted = {
            "type": "|".join(dict.fromkeys(types)),
            "folder": folder_of(configuration) or "",
            "suppress": suppress if suppress != "none" else "",
        }
        version = configuration.get("egnyte.events.version") or "v2"
        return cls(f"/pubapi/{version}/events", {key: value for key, value in wanted.items() if value})


def folder_of(configuration: Mapping[str, str | None]) -> str | None:
    """The one folder whose events are wanted, without a slash at its end."""
    return (configuration.get("egnyte.events.folder") or "").rstrip("/") or None


async def page(upstream: Upstream, stream: Stream, cursor: str | None, limit: int) -> ChangePage:
    if cursor == NEWEST:
        _, latest = await _span(upstream)
        return ChangePage([], _Position(latest).text(), more=False)
    if cursor is None:
        oldest, _ = await _span(upstream)
        found, _ = await _read(upstream, stream, oldest - 1, limit)
    else:
        found = await _behind(upstream, stream, _Position.parse(cursor), limit)
    return await _with_files(upstream, found)


async def _behind(upstream: Upstream, stream: Stream, position: _Position, limit: int) -> ChangePage:
    """Newer domains answer a cursor that is too old with 404, older ones with the oldest events that are
    left. Newer answers say where those begin; without that only a reader who was long away asks."""
    try:
        found, oldest = await _read(upstream, stream, position.event_id, limit)
    except VendorNotFound:
        oldest, _ = await _span(upstream)
        found, _ = await _read(upstream, stream, oldest - 1, limit)
        return replace(found, gap=_is_gap(position, oldest, found.changes))
    if oldest is None and position.is_old:
        oldest, _ = await _span(upstream)
    if oldest is None or not _is_gap(position, oldest, found.changes):
        return found
    cursor = found.cursor if found.changes else _Position(oldest - 1).text()
    return replace(found, cursor=cursor, gap=True)


def _is_gap(position: _Position, oldest: int, found: Sequence[Change]) -> bool:
    """Whether events between a position and the oldest one that is left are lost. In a stream that is quiet
    for this reader the position itself grows old, so that an old id alone says nothing."""
    if oldest <= position.event_id + 1:
        return False
    if position.read_at is None or position.is_old:
        return True
    return bool(found) and found[0].event_id == str(oldest) and found[0].date >= position.read_at


async def _span(upstream: Upstream) -> tuple[int, int]:
    """The ids of the oldest and the latest event that Egnyte keeps."""
    body = mapping(decode(await upstream.get("/pubapi/v1/events/cursor")))
    if "latest_event_id" not in body:
        raise VendorUnavailable("the vendor's answer does not say where its events end")
    return number(body.get("oldest_event_id")) or 1, number(body["latest_event_id"]) or 0


async def _read(upstream: Upstream, stream: Stream, after: int, limit: int) -> tuple[ChangePage, int | None]:
    """The events behind an id, and the id of the oldest one that is left, if the answer tells."""
    response = await upstream.get(stream.path, id=max(after, 0), count=limit, **stream.parameters)
    if response.status_code == 204:
        return ChangePage([], _Position(after).text(), more=False), None
    body = mapping(decode(response))
    events = body.get("events")
    if not isinstance(events, list):
        raise VendorUnavailable("the vendor's answer is not a page of events")
    found = [told(event if isinstance(event, dict) else {"event": event}) for event in events]
    once = {change.event_id: change for change in found}
    changes = sorted(once.values(), key=lambda change: number(change.event_id) or after)
    # The ids of the events themselves, not `latest_id`: it must never be ahead of what was read.
    last = max((number(change.event_id) or after for change in changes), default=after)
    more = len(events) >= limit and last > after  # a page that leads nowhere is not asked for again
    return ChangePage(changes, _Position(last).text(), more=more), number(body.get("oldest_id"))


async def _with_files(upstream: Upstream, page: ChangePage) -> ChangePage:
    """A page with new notes of which only the id came told as changes of their files. It ends before the note
    that is one too many, or that Egnyte has no time for. Any other note of which nothing can be found out
    stays a note: no note is worth a page that is not read. Raises VendorThrottled for a first change."""
    found, asked = list(page.changes), 0
    for place, change in enumerate(found):
        note_id = text(mapping(change.raw.get("data")).get("note_id"))
        if change.object_type != "note" or change.event_type != "CREATED" or note_id is None:
            continue
        if asked == _MOST_NOTES:
            return _before(page, found, place)
        asked += 1
        try:
            note = mapping(decode(await upstream.get(f"/pubapi/v1/notes/{segment(note_id)}")))
        except (VendorNotFound, BadRequest):
            continue
        except VendorUnauthorized:
            raise
        except VendorThrottled:
            if place == 0:
                raise
            return _before(page, found, place)
        except VendorError:
            break
        found[place] = _of_file(change, note)
    return replace(page, changes=found)


def _before(page: ChangePage, changes: list[Change], place: int) -> ChangePage:
    """The part of a page before one of its changes, behind which the next page goes on. What has no number
    is at the beginning."""
    first_left_out = number(changes[place].event_id)
    if first_left_out is None:
        return replace(page, changes=changes)
    return replace(page, changes=changes[:place], cursor=_Position(first_left_out - 1).text(), more=True)


def _of_file(change: Change, note: Mapping[str, Any]) -> Change:
    file_id, path = text(note.get("group_id")) or text(note.get("file_id")), text(note.get("file_path"))
    if not (file_id or path):
        return change
    return replace(
        change,
        event_type="UPDATED",
        object_type="file",
        object_id=file_id or path or change.object_id,
        by_path=file_id is None,
        path=path,
        name=name_of(path),
    )


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
    """One event in Cloud Elements' words, as far as it tells by itself."""
    kind, action = str(event.get("type")), str(event.get("action"))
    event_type, verb = _MEANING.get((kind, action), ("UNKNOWN", action))
    data = mapping(event.get("data"))
    path, source = text(data.get("target_path")), text(data.get("source_path"))
    object_type, object_id = _object(kind, event, data)
    if object_type == "note":
        event_type = _OF_NOTES.get(verb, event_type)
    is_file = kind == "file_system" and object_type == "file"
    return Change(
        event_id=_event_id(event),
        event_type=event_type,
        object_type=object_type,
        object_id=object_id or path or _event_id(event),
        date=date(event.get("timestamp")) or datetime.now(UTC),
        change=moved(verb, path, source),
        raw=event,
        path=path,
        previous_path=source if verb != "copy" else None,
        name=name_of(path),
        actor_id=str(event["actor"]) if event.get("actor") is not None else None,
        version_id=text(data.get("target_id")) if is_file else None,
        copied_from=source if verb == "copy" else None,
        if_known=NEW_VERSION if is_file and verb == "create" else None,
        by_path=object_id is None and path is not None,
    )


def moved(verb: str, path: str | None, source: str | None) -> str:
    """A move within its folder is a rename, whatever Egnyte calls it, and a rename to another one a move."""
    if verb not in {"move", "rename"} or not path or not source:
        return verb
    return "rename" if PurePosixPath(path).parent == PurePosixPath(source).parent else "move"


def name_of(path: str | None) -> str | None:
    return PurePosixPath(path).name if path else None


def _object(kind: str, event: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, str | None]:
    """Type and id of what changed. Older payloads carry no id but only a path."""
    if kind == "permission_change":  # `is_folder` is always false here although it always is one
        details = mapping(event.get("eventTypeSpecificAttributes"))
        return "folder", text(details.get("targetFolderId")) or _first(data, ("folder_id",))
    if kind == "note":
        file_id = _first(data, _FILE_IDS[:-1])
        is_known = file_id or data.get("target_path")
        return ("file", file_id) if is_known else ("note", text(data.get("note_id")))
    if data.get("is_folder"):
        return "folder", _first(data, _FOLDER_IDS)
    return "file", _first(data, _FILE_IDS)


def _first(data: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((str(data[key]) for key in keys if data.get(key)), None)


def _event_id(event: Mapping[str, Any]) -> str:
    own = number(event.get("id"))
    return str(own) if own is not None else fingerprint(event)
