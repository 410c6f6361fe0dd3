"""Egnyte's webhooks: how they are asked for, whether it is Egnyte that calls, and what it says."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import orjson

from app.errors import BadRequest, VendorConflict, VendorNotFound, VendorRefused, VendorUnavailable
from app.hubs.documents import Announcement, Call, Change, Hooks
from app.providers.egnyte.changes import NEW_VERSION, folder_of, moved, name_of
from app.upstream.client import Upstream, decode
from app.upstream.reading import announcement, date, mapping, own_id, rows, text

SECRET_HEADER = "X-Elements-Gateway-Secret"  # noqa: S105
DEFAULT_TYPES = ("fs:*", "comment:*", "link:*", "meta:*", "permission:*")
_HOOKS = "/pubapi/v1/webhooks"
_SOON = timedelta(hours=1)  # a promise that ends within this was not renewed
_IN_SECONDS = 10**11  # smaller numbers are seconds since 1970, larger ones milliseconds


class Meaning(NamedTuple):
    """Cloud Elements' event type and the finer verb; `kind` is None where the event's data tell it."""

    event_type: str
    change: str
    kind: str | None


MEANING: dict[str, Meaning] = {
    "fs:add_file": Meaning("CREATED", "create", "file"),
    "fs:add_folder": Meaning("CREATED", "create", "folder"),
    "fs:upload_link": Meaning("CREATED", "create", "file"),
    "fs:copy_file": Meaning("CREATED", "copy", "file"),
    "fs:copy_folder": Meaning("CREATED", "copy", "folder"),
    "fs:move_file": Meaning("UPDATED", "move", "file"),
    "fs:move_folder": Meaning("UPDATED", "move", "folder"),
    "fs:delete_file": Meaning("DELETED", "delete", "file"),
    "fs:delete_folder": Meaning("DELETED", "delete", "folder"),
    "fs:delete_from_trash": Meaning("DELETED", "purge", None),
    "fs:restore_from_trash": Meaning("CREATED", "restore", None),
    "fs:lock_file": Meaning("UPDATED", "lock", "file"),
    "fs:unlock_file": Meaning("UPDATED", "unlock", "file"),
    "fs:folder_project_activity": Meaning("UNKNOWN", "folder_project_activity", "folder"),
    "comment:set_comment": Meaning("UPDATED", "comment", "file"),
    "comment:remove_comment": Meaning("UPDATED", "uncomment", "file"),
    "link:create": Meaning("UPDATED", "share", None),
    "link:create_download_link": Meaning("UPDATED", "share", None),
    "link:create_upload_link": Meaning("UPDATED", "share", "folder"),
    "link:delete": Meaning("UPDATED", "unshare", None),
    "link:delete_download_link": Meaning("UPDATED", "unshare", None),
    "link:delete_upload_link": Meaning("UPDATED", "unshare", "folder"),
    "meta:add_metadata_key": Meaning("UPDATED", "metadata", None),
    "meta:delete_metadata_key": Meaning("UPDATED", "metadata", None),
    "permission:permission_change": Meaning("UPDATED", "permission", "folder"),
    "workflow:created": Meaning("CREATED", "create", "workflow"),
    "workflow:completed": Meaning("UPDATED", "complete", "workflow"),
    "workflow:approvaltask_approved": Meaning("UPDATED", "approve", "workflow"),
    "workflow:approvaltask_rejected": Meaning("UPDATED", "reject", "workflow"),
    "group:create": Meaning("CREATED", "create", "group"),
    "group:delete": Meaning("DELETED", "delete", "group"),
    "group:rename": Meaning("UPDATED", "rename", "group"),
    "group:add_members": Meaning("UPDATED", "add_members", "group"),
    "group:remove_members": Meaning("UPDATED", "remove_members", "group"),
    "group:add_owner": Meaning("UPDATED", "add_owner", "group"),
    "group:remove_owner": Meaning("UPDATED", "remove_owner", "group"),
}
_VERSIONS = frozenset({"fs:add_file", "fs:upload_link"})

# The names in `data` are nowhere written down: each of these is tried, in snake_case and in camelCase.
_PATHS = ("target_path", "destination_path", "new_path", "path", "file_path", "folder_path", "item_path")
_SOURCES = ("source_path", "old_path", "previous_path", "original_path")
_IDS = {
    "file": ("target_group_id", "group_id", "file_id", "object_id", "item_id", "target_id", "id"),
    "folder": ("target_folder_id", "folder_id", "object_id", "item_id", "target_id", "id"),
    "workflow": ("workflow_id", "object_id", "id"),
    "group": ("group_id", "object_id", "id"),
}
_VERSION_IDS = ("target_entry_id", "entry_id", "version_id", "target_id")
_KINDS = ("object_type", "item_type", "target_type", "type")


@dataclass(frozen=True)
class Wish:
    """What Egnyte is asked to call for."""

    url: str
    secret: str
    types: Sequence[str]
    folder: str | None

    @classmethod
    def of(cls, url: str, secret: str, configuration: Mapping[str, str | None]) -> Self:
        """Raises BadRequest for what a webhook cannot be asked for."""
        folder = folder_of(configuration)
        if folder and "," in folder:
            raise BadRequest("configuration.egnyte.events.folder: a comma in it ends a webhook's path")
        return cls(url, secret, wanted_types(configuration.get("event.metadata")), folder)

    def __repr__(self) -> str:
        return f"Wish({', '.join(self.types)})"

    def body(self) -> dict[str, Any]:
        wish = {"url": self.url, "eventType": list(self.types)}
        wish |= {"authHeader": SECRET_HEADER, "authHeaderValue": self.secret}
        return wish | ({"path": self.folder} if self.folder else {})


def wanted_types(metadata: str | None) -> tuple[str, ...]:
    """Egnyte's types for what `event.metadata` names: created, updated and deleted of a kind of object, or
    types of Egnyte itself. Without it everything about files and folders. Raises BadRequest."""
    if not metadata or not metadata.strip():
        return DEFAULT_TYPES
    try:
        kinds = mapping(mapping(orjson.loads(metadata)).get("webhook"))
    except orjson.JSONDecodeError:
        raise BadRequest("configuration.event.metadata: not valid JSON") from None
    found = [kind_type for kind, words in kinds.items() for kind_type in _types(kind, mapping(words))]
    return tuple(dict.fromkeys(found)) or DEFAULT_TYPES


def _types(kind: str, words: Mapping[str, Any]) -> Iterator[str]:
    listed = words.get("eventTypes")
    for word in listed if isinstance(listed, list) else []:
        name = str(word).lower()
        if ":" in name:
            yield name
        for event, meaning in MEANING.items():
            may_be = {meaning.event_type} | ({NEW_VERSION[0]} if event in _VERSIONS else set())
            is_of_kind = meaning.kind == kind or (meaning.kind is None and kind in {"file", "folder"})
            if is_of_kind and name.upper() in may_be:
                yield event


async def subscribe(upstream: Upstream, wish: Wish, hooks: Sequence[str]) -> Hooks:
    """Renews one of the webhooks; where none is left, one that has the URL all the same, or makes it."""
    return (
        await _renewed(upstream, wish, hooks)
        or await _renewed(upstream, wish, await _at(upstream, wish.url))
        or await _create(upstream, wish)
    )


async def _renewed(upstream: Upstream, wish: Wish, hooks: Sequence[str]) -> Hooks | None:
    for number, hook in enumerate(hooks):
        renewed = await _renew(upstream, hook, wish)
        if renewed is not None:
            await unsubscribe(upstream, hooks[number + 1 :])
            return renewed
    return None


async def unsubscribe(upstream: Upstream, hooks: Sequence[str]) -> None:
    for hook in hooks:
        try:
            await upstream.call("DELETE", _path(hook))
        except VendorNotFound:
            continue


async def _at(upstream: Upstream, url: str) -> list[str]:
    """The webhooks for a URL that nobody has noted: a call for one was made, and its answer was lost."""
    body = decode(await upstream.get(_HOOKS))
    return [str(row["webhookId"]) for row in rows(body) if row.get("url") == url and row.get("webhookId")]


async def _create(upstream: Upstream, wish: Wish) -> Hooks:
    try:
        made = mapping(decode(await upstream.call("POST", _HOOKS, json=wish.body())))
    except VendorConflict as error:
        raise VendorRefused(
            "Egnyte allows no further webhook for this domain; delete one that is not needed",
            provider_message=error.provider_message,
            vendor_status=error.vendor_status,
            request_id=error.request_id,
        ) from error
    hook = text(made.get("webhookId"))
    if hook is None:
        raise VendorUnavailable("the vendor's answer does not name the webhook")
    return Hooks((hook,), _moment(made.get("expires")))


async def _renew(upstream: Upstream, hook: str, wish: Wish) -> Hooks | None:
    """The webhook as it goes on, or None where it is gone or cannot be brought to go on."""
    try:
        body = mapping(decode(await upstream.call("PUT", _path(hook), json=wish.body())))
        status = body.get("status")
        if status is None:
            status = mapping(decode(await upstream.get(f"{_path(hook)}/status"))).get("status")
        if status == "disabled":
            await upstream.call("POST", f"{_path(hook)}/status", json={"status": "enabled"})
    except VendorNotFound:
        return None
    expires_at = _moment(body.get("expires"))
    if expires_at is not None and expires_at < datetime.now(UTC) + _SOON:
        await unsubscribe(upstream, [hook])
        return None
    return Hooks((hook,), expires_at)


def _path(hook: str) -> str:
    return f"{_HOOKS}/{_segment(hook)}"


def _segment(hook: str) -> str:
    if not re.fullmatch(r"[\w-]+", hook):
        raise VendorNotFound
    return hook


def is_genuine(call: Call, secret: str | None) -> bool:
    """Egnyte signs nothing: the secret that it was given is in a header, in one of two by its documents."""
    given = [call.headers.get(SECRET_HEADER.lower()), call.headers.get("authorization")]
    found = [hmac.compare_digest((value or "").encode(), (secret or "").encode()) for value in given]
    return bool(secret) and any(found)


def announced(call: Call) -> Announcement:
    events = _events(call.body)
    return Announcement([told(event, call.received_at) for event in events], events)


def _events(body: bytes) -> list[Mapping[str, Any]]:
    found = announcement(body)
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise BadRequest("body: must be an array of events")
    return [event if isinstance(event, dict) else {"event": event} for event in found]


def told(event: Mapping[str, Any], received_at: datetime) -> Change:
    """One event in Cloud Elements' words, as far as it tells by itself."""
    name, user = str(event.get("eventType")), mapping(event.get("user"))
    data = {_snake(key): value for key, value in mapping(event.get("data")).items()}
    verb = name.partition(":")[2] or name
    meaning = MEANING.get(name, Meaning("UNKNOWN", verb, None))
    kind = meaning.kind or _kind(data)
    key = own_id(event, "eventId")
    path, source = _first(data, _PATHS), _first(data, _SOURCES)
    found = _first(data, _IDS[kind])
    is_copy, is_item = meaning.change == "copy", kind in {"file", "folder"}
    return Change(
        event_id=f"webhook:{key}",
        event_type=meaning.event_type,
        object_type=kind,
        object_id=found or (path if is_item else None) or key,
        date=_moment(event.get("timestamp")) or received_at,
        change=moved(meaning.change, path, source) if meaning.change == "move" else meaning.change,
        raw=event,
        path=path if is_item else None,
        previous_path=source if is_item and not is_copy else None,
        name=name_of(path) if is_item else _first(data, ("name", "group_name", "workflow_name")),
        actor_id=text(user.get("id")),
        actor_name=text(user.get("displayName")) or text(user.get("username")),
        version_id=_first(data, _VERSION_IDS) if name.startswith("fs:") and kind == "file" else None,
        copied_from=source if is_copy else None,
        if_known=NEW_VERSION if name in _VERSIONS else None,
        by_path=is_item and found is None and path is not None,
    )


def _kind(data: Mapping[str, Any]) -> str:
    words = {str(data.get(key)).lower() for key in _KINDS}
    return "folder" if data.get("is_folder") is True or "folder" in words else "file"


def _first(data: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((str(data[key]) for key in keys if isinstance(data.get(key), str | int) and data[key]), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _moment(value: object) -> datetime | None:
    """A number of seconds or milliseconds since 1970, or a date."""
    if isinstance(value, float):
        value = int(value) if abs(value) < 10**15 else None
    number = int(str(value)) if re.fullmatch(r"\d{1,15}", str(value), re.ASCII) else None
    return date(value if number is None or number >= _IN_SECONDS else number * 1000)
