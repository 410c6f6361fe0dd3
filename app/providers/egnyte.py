"""Egnyte. Facts from developers.egnyte.com unless a line says otherwise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, ClassVar

import orjson

from app.errors import (
    BadRequest,
    VendorError,
    VendorForbidden,
    VendorNotFound,
    VendorRefused,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.documents import NEWEST, Change, ChangePage, Field, Power
from app.upstream.client import Refusal, Upstream, decode
from app.upstream.oauth import OAuthSpec

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


class Egnyte:
    """Egnyte's public API for one domain and user."""

    key: ClassVar[str] = "egnyte"
    element_id: ClassVar[int] = 4016
    name: ClassVar[str] = "Egnyte"
    description: ClassVar[str] = "Connect an Egnyte domain: its files, folders and the changes in them."
    powers: ClassVar[frozenset[Power]] = frozenset({Power.PING, Power.CHANGES})
    base_url: ClassVar[str] = "https://{subdomain}.egnyte.com"
    page_limit: ClassVar[int] = 100  # of the events endpoint

    oauth: ClassVar[OAuthSpec] = OAuthSpec(
        authorize_path="/puboauth/token",  # told apart from the token endpoint by its method
        token_path="/puboauth/token",  # noqa: S106
        scopes=("Egnyte.filesystem", "Egnyte.link"),
        throttle_statuses=frozenset({409, 429}),  # 409: "Best Practices", token endpoint
    )

    fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "subdomain",
            "The Egnyte Subdomain",
            "The part of the Egnyte URL between https:// and .egnyte.com.",
            required=True,
            pattern=r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
            example="acme",
        ),
        Field(
            "egnyte.events.version",
            "Events API version",
            "v1 reports file system and note events; v2 adds permission changes.",
            kind="COMBO",
            default="v2",
            pattern="v1|v2",
            example="v2",
        ),
    )

    def __init__(self, upstream: Upstream, configuration: Mapping[str, str | None]) -> None:
        self._upstream = upstream
        version = configuration.get("egnyte.events.version") or "v2"
        self._events = f"/pubapi/{version}/events"

    @staticmethod
    def refusal(answer: Refusal) -> Exception:
        """Egnyte's gateway and its services each have an error form of their own; all are tried."""
        return _kind(answer)(
            provider_message=_words(answer) or f"HTTP {answer.status}",
            vendor_status=answer.status,
            retry_after=answer.retry_after,
        )

    async def ping(self) -> None:
        decode(await self._upstream.get("/pubapi/v1/userinfo"))

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        if cursor == NEWEST:
            _, latest = await self._span()
            return ChangePage([], _Position(latest).text(), more=False)
        if cursor is None:
            oldest, _ = await self._span()
            return await self._page(oldest - 1, limit)
        position = _Position.parse(cursor)
        if position.is_old:
            oldest, _ = await self._span()
            if oldest > position.event_id + 1:
                return await self._page(oldest - 1, limit, gap=True)
        try:
            return await self._page(position.event_id, limit)
        except VendorNotFound:  # newer domains answer a cursor that is too old with 404, older ones with 200
            oldest, _ = await self._span()
            return await self._page(oldest - 1, limit, gap=True)

    async def _span(self) -> tuple[int, int]:
        """The ids of the oldest and the latest event that Egnyte keeps."""
        body = _mapping(decode(await self._upstream.get("/pubapi/v1/events/cursor")))
        if "latest_event_id" not in body:
            raise VendorUnavailable("the vendor's answer does not say where its events end")
        return _number(body.get("oldest_event_id")) or 1, _number(body["latest_event_id"]) or 0

    async def _page(self, after: int, limit: int, *, gap: bool = False) -> ChangePage:
        response = await self._upstream.get(self._events, id=max(after, 0), count=limit)
        if response.status_code == 204:
            return ChangePage([], _Position(after).text(), more=False, gap=gap)
        events = _mapping(decode(response)).get("events")
        if not isinstance(events, list):
            raise VendorUnavailable("the vendor's answer is not a page of events")
        found = [_change(event if isinstance(event, dict) else {"event": event}) for event in events]
        once = {change.event_id: change for change in found}
        changes = sorted(once.values(), key=lambda change: _number(change.event_id) or after)
        # The ids of the events themselves, not `latest_id`: it must never be ahead of what was read.
        last = max((_number(change.event_id) or after for change in changes), default=after)
        more = len(events) >= limit and last > after  # a page that leads nowhere is not asked for again
        return ChangePage(changes, _Position(last).text(), more=more, gap=gap)


provider = Egnyte


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


def _change(event: Mapping[str, Any]) -> Change:
    kind, action = str(event.get("type")), str(event.get("action"))
    event_type, verb = _MEANING.get((kind, action), ("UNKNOWN", action))
    data = _mapping(event.get("data"))
    path, previous = _text(data.get("target_path")), _text(data.get("source_path"))
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
        date=_date(event.get("timestamp")),
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
        details = _mapping(event.get("eventTypeSpecificAttributes"))
        return "folder", str(details.get("targetFolderId") or path or _event_id(event))
    if kind == "note" and not path:
        return "note", str(data.get("note_id") or _event_id(event))
    keys = (
        ("folder_id", "target_id") if data.get("is_folder") else ("target_group_id", "file_id", "target_id")
    )
    known = next((data[key] for key in keys if data.get(key)), None)
    return "folder" if data.get("is_folder") else "file", str(known or path or _event_id(event))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return str(value) if value else None


def _event_id(event: Mapping[str, Any]) -> str:
    number = _number(event.get("id"))
    if number is not None:
        return str(number)
    return hashlib.sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _number(value: object) -> int | None:
    """An id of the stream; None for what cannot be one."""
    text = str(value)
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def _date(text: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)


def _kind(answer: Refusal) -> type[VendorError]:
    if _is_throttle(answer):
        return VendorThrottled
    if "inactive" in _mashery_code(answer):
        return VendorUnauthorized
    if answer.status >= 500 or answer.status < 400:
        return VendorUnavailable
    known = {401: VendorUnauthorized, 403: VendorForbidden, 404: VendorNotFound}
    return known.get(answer.status, VendorRefused)


def _mashery_code(answer: Refusal) -> str:
    return answer.headers.get("x-mashery-error-code", "").lower()


def _is_throttle(answer: Refusal) -> bool:
    """429, or a 403 of the API gateway that says so; a bare 403 is about permissions."""
    return answer.status == 429 or "developer_over" in _mashery_code(answer)


def _words(answer: Refusal) -> str:
    """The message, whichever of the envelopes it came in; HTML without its tags."""
    body = answer.json()
    found = " ".join(dict.fromkeys(_messages(body))) if isinstance(body, dict) else ""
    return found or " ".join(re.sub(r"<[^>]*>", " ", answer.text()).split())


def _messages(body: Mapping[str, Any]) -> Iterator[str]:
    for key in ("errorMessage", "message", "error_description", "error"):
        if isinstance(body.get(key), str):
            yield body[key]
    lists = [body.get(key) for key in ("Errors", "errors", "formErrors")]
    fields = body.get("inputErrors")
    lists += list(fields.values()) if isinstance(fields, dict) else []
    for items in lists:
        for item in items if isinstance(items, list) else []:
            text = item.get("description") or item.get("msg") if isinstance(item, dict) else None
            if text:
                yield str(text)
