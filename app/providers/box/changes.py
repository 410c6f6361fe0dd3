"""Box's event streams, and what their events mean: https://developer.box.com/guides/events/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.errors import BadRequest, VendorUnavailable
from app.hubs.documents import NEWEST, Change, ChangePage
from app.providers.box.items import path_of
from app.upstream.client import Upstream, decode
from app.upstream.reading import date, fingerprint, mapping, rows, text

# Event type of the user streams -> Cloud Elements' event type and the finer verb.
_MEANING: dict[str, tuple[str, str]] = {
    "ITEM_CREATE": ("CREATED", "create"),
    "ITEM_UPLOAD": ("CREATED", "upload"),
    "ITEM_COPY": ("CREATED", "copy"),
    "ITEM_MOVE": ("UPDATED", "move"),
    "ITEM_RENAME": ("UPDATED", "rename"),
    "ITEM_TRASH": ("DELETED", "trash"),
    "ITEM_UNDELETE_VIA_TRASH": ("CREATED", "restore"),
    "ITEM_MAKE_CURRENT_VERSION": ("UPDATED", "version"),
    "LOCK_CREATE": ("UPDATED", "lock"),
    "LOCK_DESTROY": ("UPDATED", "unlock"),
    "ITEM_SHARED": ("UPDATED", "share"),
    "ITEM_SHARED_CREATE": ("UPDATED", "share"),
    "ITEM_SHARED_UPDATE": ("UPDATED", "share"),
    "ITEM_SHARED_UNSHARE": ("UPDATED", "unshare"),
    "COLLAB_ADD_COLLABORATOR": ("UPDATED", "permission"),
    "COLLAB_INVITE_COLLABORATOR": ("UPDATED", "permission"),
    "COLLAB_ROLE_CHANGE": ("UPDATED", "permission"),
    "COLLAB_REMOVE_COLLABORATOR": ("UPDATED", "permission"),
    "COMMENT_CREATE": ("UPDATED", "comment"),
    "COMMENT_EDIT": ("UPDATED", "comment"),
    "COMMENT_DELETE": ("UPDATED", "uncomment"),
    "TAG_ITEM_CREATE": ("UPDATED", "tag"),
}
# Somebody read something, or it is about no file: nothing was created, updated or deleted.
_NO_CHANGE = re.compile(r"ITEM_(DOWNLOAD|PREVIEW|OPEN|SYNC|UNSYNC)|GROUP_.*|ENABLE_TWO_FACTOR_AUTH|MASTER_.*")


async def page(upstream: Upstream, cursor: str | None, limit: int) -> ChangePage:
    """One page of the stream behind a position, which is a text of digits too long for a float."""
    if cursor is not None and cursor != NEWEST and not re.fullmatch(r"\d{1,40}", cursor, re.ASCII):
        raise BadRequest(f"cursor: {cursor[:40]!r} is not a cursor of Box's event stream")
    answer = await upstream.get("/2.0/events", stream_type="all", stream_position=cursor or "0", limit=limit)
    body = mapping(decode(answer))
    if "next_stream_position" not in body:
        raise VendorUnavailable("the vendor's answer is not a page of events")
    following, entries = str(body["next_stream_position"]), rows(body.get("entries"))
    if cursor == NEWEST:
        return ChangePage([], following, more=False)
    events = [event for event in entries if not _NO_CHANGE.fullmatch(str(event.get("event_type")))]
    once = {change.event_id: change for change in map(told, events)}
    # A short page is no end; an empty one, or one that leads nowhere, is.
    return ChangePage(list(once.values()), following, more=bool(entries) and following != cursor)


def told(event: Mapping[str, Any]) -> Change:
    source = mapping(event.get("source"))
    item = mapping(source.get("item")) or source
    kind, item_id = item.get("type") or item.get("item_type"), item.get("id") or item.get("item_id")
    name = text(item.get("name") or item.get("item_name"))
    event_type, verb = _MEANING.get(str(event.get("event_type")), ("UNKNOWN", str(event.get("event_type"))))
    if verb == "upload" and str(item.get("etag") or "0") != "0":
        event_type, verb = "UPDATED", "version"
    event_id, actor = str(event.get("event_id") or fingerprint(event)), mapping(event.get("created_by"))
    return Change(
        event_id=event_id,
        event_type=event_type if item_id else "UNKNOWN",
        object_type=str(kind or "unknown"),
        object_id=str(item_id or event_id),
        date=date(event.get("created_at")) or datetime.now(UTC),
        change=verb,
        raw=event,
        path=path_of(item, name) if name and item.get("path_collection") else None,
        name=name,
        parent_object_id=text(mapping(item.get("parent")).get("id")),
        actor_id=text(actor.get("id")),
        actor_name=text(actor.get("name")),
    )
