"""Box's webhooks: how they are asked for, whose they are and what they say.

https://developer.box.com/guides/webhooks/v2/
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl

import orjson

from app.errors import BadRequest, Conflict, VendorConflict, VendorNotFound, VendorUnavailable
from app.hubs.documents import Announcement, Call, Change, Field, Hooks
from app.hubs.paths import segment
from app.providers.box import meaning
from app.providers.box.items import ROOT
from app.upstream.client import Upstream, decode
from app.upstream.reading import announcement, mapping, own_id, rows, text

T = TypeVar("T")
R = TypeVar("R")

_OLDEST = timedelta(minutes=10)  # Box's own advice against calls that somebody has kept
_SKEW = timedelta(seconds=60)  # how far Box's clock may be ahead of ours; its SDK's 0 s refuses genuine calls
_PAGE = 200
_AT_ONCE = 8  # requests; Box admits 1,000 in a minute
_MOST_ITEMS = 1000  # webhooks that Box admits for an app and user

_TARGET = r"\s*(file|folder):\d{1,20}\s*"
_ENDS = {
    "WEBHOOK.DELETED": "Box has deleted a webhook",
    "NO_ACTIVE_SESSION": "the token that a webhook was made with has ended",
}
KEYS = {"primary": "box.webhook.primary.key", "secondary": "box.webhook.secondary.key"}
"""The configuration keys of the app's two signature keys."""

_ONLY_OF_FOLDERS = ("FOLDER.", "COLLABORATION.")

FIELDS: tuple[Field, ...] = (
    Field(
        "box.webhook.targets",
        "Webhook targets",
        "The folders and files that Box calls for, by commas; what is in a folder is included. Without it "
        "every top-level folder, looked for once a day: Box admits no webhook on the root.",
        "TEXTFIELD_1000",
        pattern=rf"{_TARGET}(,{_TARGET})*",
        example="folder:123,file:9",
    ),
    Field(
        KEYS["primary"],
        "Webhook primary signature key",
        "The primary signature key of your app; calls for webhooks are refused without a key.",
        "PASSWORD",
    ),
    Field(
        KEYS["secondary"],
        "Webhook secondary signature key",
        "The secondary signature key of your app, which counts as well.",
        "PASSWORD",
    ),
    Field("oauth.user.id", "User id", "Box's id of the account's user.", hidden=True),
)


@dataclass(frozen=True)
class Target:
    """A file or folder that Box calls for."""

    kind: str
    id: str

    @classmethod
    def of(cls, row: object) -> Self:
        found = mapping(row)
        return cls(str(found.get("type")), str(found.get("id")))


async def subscribe(
    upstream: Upstream, configuration: Mapping[str, str | None], url: str, hooks: Sequence[str]
) -> Hooks:
    """One webhook for each target; of `hooks`, those for something else are ended. Raises Conflict where
    another program has the only webhook that Box admits."""
    triggers = triggers_of(configuration)
    targets = _named_targets(configuration) or await _top_folders(upstream)
    there = await _listed(upstream)

    async def ensure(target: Target) -> str:
        wish = {"address": url, "triggers": _fitting(triggers, target)}
        return await _ensure(upstream, target, wish, there.get(target), hooks)

    ids = await _in_batches(ensure, targets)
    await unsubscribe(upstream, [hook for hook in hooks if hook not in ids])
    return Hooks(tuple(ids))


async def unsubscribe(upstream: Upstream, hooks: Sequence[str]) -> None:
    """Ends webhooks; one that is gone is no error."""

    async def end(hook: str) -> None:
        with suppress(VendorNotFound):
            await upstream.call("DELETE", _at(hook))

    await _in_batches(end, hooks)


def owner_of(call: Call) -> tuple[str, str] | None:
    """The user of a call of the first version, which is a form with a list of users."""
    users = text(_form(call).get("userId"))
    if users is None:
        return None
    found = re.search(r"\d{1,20}", users, re.ASCII)
    return ("oauth.user.id", found[0]) if found else None


def is_genuine(call: Call, configuration: Mapping[str, str | None]) -> bool:
    """Whether one of the app's two keys has signed the body and the time, and the time is now. A call of the
    first version carries no signature."""
    stamp = call.headers.get("box-delivery-timestamp", "")
    how = call.headers.get("box-signature-version"), call.headers.get("box-signature-algorithm")
    if how != ("1", "HmacSHA256") or not _is_now(stamp, call.received_at):
        return False
    signed = call.body + stamp.encode()
    verdicts = [
        _has_signed(configuration.get(key), signed, call, f"box-signature-{which}")
        for which, key in KEYS.items()
    ]
    return any(verdicts)


def announced(call: Call) -> Announcement:
    """What a call says. The body's id stays the same when Box calls again; the id of the delivery does not.
    Raises BadRequest for a body that makes no sense."""
    form = _form(call)
    if form:
        return Announcement([], form)
    body = _json(call.body)
    trigger = text(body.get("trigger"))
    if trigger is None:
        raise BadRequest("trigger: is required")
    hook = text(mapping(body.get("webhook")).get("id"))
    if trigger in _ENDS:
        return Announcement([], body, ended=True, note=_end(trigger, body), hook=hook)
    known = meaning.meaning_of(trigger)  # Box calls for tasks only where it was asked to
    changes = [_change(body, known)] if meaning.is_told(known, tasks=True) else []
    return Announcement(changes, body, hook=hook)


def triggers_of(configuration: Mapping[str, str | None]) -> list[str]:
    """The triggers for what `event.metadata` names: created, updated and deleted, or triggers of Box itself;
    without it for everything that becomes an event. Raises BadRequest."""
    tasks = configuration.get("box.events.tasks") == "true"
    known = {
        trigger: event_type
        for event_type, verb, _, _, names in meaning.TABLE
        for trigger in names.split()
        if meaning.is_told((event_type, verb), tasks=tasks)
    }
    wanted = _wanted_types(configuration.get("event.metadata"))
    if not wanted:
        return list(known)
    found = [trigger for trigger, event_type in known.items() if _is_wanted(trigger, event_type, wanted)]
    return found or list(known)


def _wanted_types(metadata: str | None) -> dict[str, frozenset[str]]:
    """The words under `webhook.file.eventTypes` and `webhook.folder.eventTypes`, in upper case."""
    if not metadata or not metadata.strip():
        return {}
    try:
        kinds = mapping(mapping(orjson.loads(metadata)).get("webhook"))
    except orjson.JSONDecodeError:
        raise BadRequest("configuration.event.metadata: not valid JSON") from None
    listed = {kind: mapping(kinds.get(kind)).get("eventTypes") for kind in ("file", "folder")}
    return {
        kind: frozenset(str(word).upper() for word in words)
        for kind, words in listed.items()
        if isinstance(words, list)
    }


def _is_wanted(trigger: str, event_type: str, wanted: Mapping[str, frozenset[str]]) -> bool:
    kinds = {"FILE": ("file",), "FOLDER": ("folder",)}.get(trigger.partition(".")[0], ("file", "folder"))
    types = {event_type, "UPDATED"} if trigger == "FILE.UPLOADED" else {event_type}  # or a new version
    return any((types | {trigger}) & wanted.get(kind, frozenset()) for kind in kinds)


def _fitting(triggers: Sequence[str], target: Target) -> list[str]:
    """Box refuses what cannot happen to a file."""
    return [item for item in triggers if target.kind == "folder" or not item.startswith(_ONLY_OF_FOLDERS)]


def _named_targets(configuration: Mapping[str, str | None]) -> list[Target]:
    named = (configuration.get("box.webhook.targets") or "").split(",")
    pairs = [word.strip().partition(":") for word in named if word.strip()]
    return list(dict.fromkeys(Target(kind, item_id) for kind, _, item_id in pairs))


async def _top_folders(upstream: Upstream) -> list[Target]:
    found = _pages(upstream, f"/2.0/folders/{ROOT}/items", fields="type,id", usemarker="true", limit=1000)
    return [Target.of(row) async for row in found if row.get("type") == "folder"][:_MOST_ITEMS]


async def _in_batches(act: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Does something with each, a few at a time. A failure is raised when its batch is done."""
    done: list[R] = []
    for start in range(0, len(items), _AT_ONCE):
        batch = items[start : start + _AT_ONCE]
        for result in await asyncio.gather(*map(act, batch), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            done.append(result)
    return done


async def _listed(upstream: Upstream) -> dict[Target, str]:
    """The ids of the webhooks that this app has for this user."""
    found = _pages(upstream, "/2.0/webhooks", limit=_PAGE)
    return {Target.of(row.get("target")): str(row["id"]) async for row in found if "id" in row}


async def _pages(upstream: Upstream, path: str, **parameters: str | int) -> AsyncIterator[Mapping[str, Any]]:
    marker: str | None = None
    while True:
        following = {"marker": marker} if marker else {}
        body = mapping(decode(await upstream.get(path, **parameters, **following)))
        for row in rows(body.get("entries")):
            yield row
        before, marker = marker, text(body.get("next_marker"))
        if marker is None or marker == before:
            return


async def _ensure(
    upstream: Upstream, target: Target, wish: Mapping[str, Any], there: str | None, hooks: Sequence[str]
) -> str:
    if there is None:
        try:
            return await _create(upstream, target, wish)
        except VendorConflict:  # somebody was faster, or the list is late
            there = (await _listed(upstream)).get(target)
            if there is None:
                raise
    try:
        return await _adopt(upstream, target, wish, there, known=there in hooks)
    except VendorNotFound:
        return await _create(upstream, target, wish)


async def _create(upstream: Upstream, target: Target, wish: Mapping[str, Any]) -> str:
    body = {"target": {"type": target.kind, "id": target.id}, **wish}
    made = mapping(decode(await upstream.call("POST", "/2.0/webhooks", json=body)))
    if "id" not in made:
        raise VendorUnavailable("the vendor's answer is no webhook")
    return str(made["id"])


async def _adopt(
    upstream: Upstream, target: Target, wish: Mapping[str, Any], hook: str, *, known: bool
) -> str:
    there = mapping(decode(await upstream.get(_at(hook))))
    address = str(there.get("address"))
    if not known and address != wish["address"]:
        raise Conflict(
            f"{target.kind} {target.id}: has a webhook for another address already, and Box admits one for "
            "each item, app and user"
        )
    triggers = there.get("triggers")
    same = isinstance(triggers, list) and {str(item) for item in triggers} == set(wish["triggers"])
    if not same or address != wish["address"]:
        await upstream.call("PUT", _at(hook), json=dict(wish))
    return hook


def _at(hook: str) -> str:
    return f"/2.0/webhooks/{segment(hook)}"


def _has_signed(key: str | None, signed: bytes, call: Call, header: str) -> bool:
    given = call.headers.get(header)
    if not key or not given:
        return False
    digest = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), given.encode())


def _is_now(stamp: str, received_at: datetime) -> bool:
    try:
        age = received_at - datetime.fromisoformat(stamp)
    except (ValueError, TypeError, OverflowError):  # no date, one without a zone, or one beyond all calendars
        return False
    return -_SKEW <= age <= _OLDEST


def _form(call: Call) -> dict[str, str]:
    """The fields of a call of the first version; nothing for any other call."""
    if not call.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        return dict(parse_qsl(call.body.decode(errors="replace"), max_num_fields=100))
    except ValueError:
        return {}


def _json(body: bytes) -> Mapping[str, Any]:
    found = announcement(body)
    if not isinstance(found, dict):
        raise BadRequest("body: is not an object")
    return found


def _end(trigger: str, body: Mapping[str, Any]) -> str:
    reason = text(mapping(body.get("additional_info")).get("reason"))
    return _ENDS[trigger] + (f" ({reason[:100]})" if reason else "")


def _change(body: Mapping[str, Any], known: meaning.Meaning) -> Change:
    told = meaning.told(body, known, f"webhook:{own_id(body, 'id')}")
    if told.change != "copy":
        return told
    # Box does not say whether the source is the copy or what was copied; the latter would not be new.
    return dataclasses.replace(told, if_known=("UNKNOWN", "copy"))
