"""Box's event streams: https://developer.box.com/guides/events/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import BadRequest, VendorRefused, VendorUnavailable
from app.hubs.documents import NEWEST, ChangePage, Field
from app.providers.box import meaning
from app.upstream.client import Upstream, decode
from app.upstream.reading import mapping, rows

_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_POSITION = re.compile(r"\d{1,40}", re.ASCII)
_OLDEST = "0"
_TOO_OLD = frozenset({400, 410})  # what Box answers to a position that it has forgotten is not documented

FIELDS: tuple[Field, ...] = (
    Field(
        "box.events.stream",
        "Event stream",
        "Which of Box's streams is read: all (the default), changes (of the tree only) or sync (synchronised "
        "folders only) of the user; or admin_logs_streaming (at once) or admin_logs (a year, late and in "
        "order) of the enterprise, which take an administrator's account.",
        "TEXTFIELD_32",
        "all",
        pattern="all|changes|sync|admin_logs|admin_logs_streaming",
        example="changes",
    ),
    Field(
        "box.events.types",
        "Event types",
        "Box's event types that are read, by commas; only for the streams of the enterprise.",
        "TEXTFIELD_1000",
        pattern=r"\s*[A-Z][A-Z0-9_]*(\s*,\s*[A-Z][A-Z0-9_]*)*\s*",
        example="UPLOAD,DELETE",
    ),
    Field(
        "box.events.created.after",
        "Events created after",
        "The moment from which the stream admin_logs is read; without it reading begins now.",
        "TEXTFIELD_32",
        pattern=_MOMENT,
        example="2026-01-31T00:00:00Z",
    ),
    Field(
        "box.events.created.before",
        "Events created before",
        "The moment up to which the stream admin_logs is read; without it reading never ends.",
        "TEXTFIELD_32",
        pattern=_MOMENT,
        example="2026-02-28T00:00:00Z",
    ),
    Field(
        "box.events.tasks",
        "Events of tasks",
        "Whether a task on a file is a change of it: true or false (the default).",
        "BOOLEAN",
        "false",
        pattern="true|false",
        example="true",
    ),
)


@dataclass(frozen=True)
class Stream:
    """One of Box's streams, and what of it is wanted."""

    kind: str
    parameters: Mapping[str, str]
    tasks: bool
    replayed: bool  # from a moment on that its owner has named

    @property
    def is_of_user(self) -> bool:
        """Whether it is one user's, for whose news Box lets clients wait."""
        return not self.kind.startswith("admin_logs")


def name_of(configuration: Mapping[str, str | None]) -> str:
    """What a position belongs to. The streams of a user are one history, told with more or less; one of the
    enterprise begins where its owner has named a moment."""
    kind = configuration.get("box.events.stream") or "all"
    after = configuration.get("box.events.created.after") or ""
    return f"{kind} {after}" if kind.startswith("admin_logs") else "user"


def stream_of(configuration: Mapping[str, str | None]) -> Stream:
    """What a configuration asks for. Raises BadRequest naming a key that Box would ignore in that stream."""
    kind = configuration.get("box.events.stream") or "all"
    types = ",".join((configuration.get("box.events.types") or "").replace(",", " ").split())
    after, before = (configuration.get(f"box.events.created.{end}") for end in ("after", "before"))
    for key, value, streams in (
        ("types", types, ("admin_logs", "admin_logs_streaming")),
        ("created.after", after, ("admin_logs",)),
        ("created.before", before, ("admin_logs",)),
    ):
        if value and kind not in streams:
            raise BadRequest(
                f"configuration.box.events.{key}: works with box.events.stream {' or '.join(streams)}, "
                f"and the stream is {kind}"
            )
    wanted = {
        "stream_type": kind,
        "event_type": types,
        "created_after": after,
        "created_before": before,
    }
    parameters = {key: value for key, value in wanted.items() if value}
    return Stream(kind, parameters, configuration.get("box.events.tasks") == "true", bool(after))


async def page(upstream: Upstream, stream: Stream, cursor: str | None, limit: int) -> ChangePage:
    """One page of a stream behind a position, which is a text of digits too long for a float."""
    if cursor is not None and cursor != NEWEST and not _POSITION.fullmatch(cursor):
        raise BadRequest(f"cursor: {cursor[:40]!r} is not a cursor of Box's event stream")
    if cursor == NEWEST:
        return await _end(upstream, stream, limit)
    position = cursor or _OLDEST
    try:
        return await _read(upstream, stream, position, limit)
    except VendorRefused as error:
        if position == _OLDEST or error.vendor_status not in _TOO_OLD:
            raise
    found = await _read(upstream, stream, _OLDEST, limit)  # raises again if it was not the position
    return ChangePage(found.changes, found.cursor, found.more, gap=True)


async def _end(upstream: Upstream, stream: Stream, limit: int) -> ChangePage:
    """Where reading begins: at the end of the stream, or at the moment that its owner has named."""
    following = (await _read(upstream, stream, NEWEST, limit)).cursor
    return ChangePage([], _OLDEST, more=True) if stream.replayed else ChangePage([], following, more=False)


async def _read(upstream: Upstream, stream: Stream, position: str, limit: int) -> ChangePage:
    answer = await upstream.get("/2.0/events", **stream.parameters, stream_position=position, limit=limit)
    body = mapping(decode(answer))
    if body.get("next_stream_position") is None:
        raise VendorUnavailable("the vendor's answer is not a page of events")
    following, entries = str(body["next_stream_position"]), rows(body.get("entries"))
    changes = meaning.changes_in(entries, tasks=stream.tasks)
    # A short page is no end; an empty one, or one that leads nowhere, is.
    return ChangePage(changes, following, more=bool(entries) and following != position)
