"""Webhooks and the calls for them: https://developer.box.com/guides/webhooks/v2/."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import httpx

from app.sandbox.box.items import File, Folder, Item, ancestors
from app.sandbox.box.journal import PURGE
from app.sandbox.box.settings import BoxSettings
from app.sandbox.box.shapes import Shape, user_mini
from app.sandbox.box.times import timestamp
from app.sandbox.history import Actor, User

FaultKind = Literal["drop", "duplicate", "tamper", "stale"]

TRIGGERS = frozenset({
    "FILE.UPLOADED", "FILE.PREVIEWED", "FILE.DOWNLOADED", "FILE.TRASHED", "FILE.DELETED", "FILE.RESTORED",
    "FILE.COPIED", "FILE.MOVED", "FILE.LOCKED", "FILE.UNLOCKED", "FILE.RENAMED", "COMMENT.CREATED",
    "COMMENT.UPDATED", "COMMENT.DELETED", "TASK_ASSIGNMENT.CREATED", "TASK_ASSIGNMENT.UPDATED",
    "METADATA_INSTANCE.CREATED", "METADATA_INSTANCE.UPDATED", "METADATA_INSTANCE.DELETED", "FOLDER.CREATED",
    "FOLDER.RENAMED", "FOLDER.DOWNLOADED", "FOLDER.RESTORED", "FOLDER.DELETED", "FOLDER.COPIED",
    "FOLDER.MOVED", "FOLDER.TRASHED", "WEBHOOK.DELETED", "COLLABORATION.CREATED", "COLLABORATION.ACCEPTED",
    "COLLABORATION.REJECTED", "COLLABORATION.REMOVED", "COLLABORATION.UPDATED", "SHARED_LINK.DELETED",
    "SHARED_LINK.CREATED", "SHARED_LINK.UPDATED", "SIGN_REQUEST.COMPLETED", "SIGN_REQUEST.DECLINED",
    "SIGN_REQUEST.EXPIRED", "SIGN_REQUEST.SIGNER_EMAIL_BOUNCED", "SIGN_REQUEST.SIGN_SIGNER_SIGNED",
    "SIGN_REQUEST.SIGN_DOCUMENT_CREATED", "SIGN_REQUEST.SIGN_ERROR_FINALIZING",
})  # fmt: skip

# What the journal says, and the triggers of it; an item's own ones begin with its kind. A file that is moved
# has also come into a folder.
_OF_ITEMS = {
    "ITEM_CREATE": ("FOLDER.CREATED",),
    "ITEM_UPLOAD": ("FILE.UPLOADED",),
    "ITEM_MOVE": ("{}.MOVED", "FILE.UPLOADED"),
    "ITEM_COPY": ("{}.COPIED",),
    "ITEM_RENAME": ("{}.RENAMED",),
    "ITEM_TRASH": ("{}.TRASHED",),
    "ITEM_UNDELETE_VIA_TRASH": ("{}.RESTORED",),
    "ITEM_DOWNLOAD": ("{}.DOWNLOADED",),
    "LOCK_CREATE": ("FILE.LOCKED",),
    "LOCK_DESTROY": ("FILE.UNLOCKED",),
    PURGE: ("{}.DELETED",),
}
_OF_MORE = {
    "ITEM_SHARED_CREATE": "SHARED_LINK.CREATED",
    "ITEM_SHARED": "SHARED_LINK.UPDATED",
    "ITEM_SHARED_UNSHARE": "SHARED_LINK.DELETED",
    "COLLAB_ADD_COLLABORATOR": "COLLABORATION.CREATED",
    "COLLAB_INVITE_COLLABORATOR": "COLLABORATION.CREATED",
    "COLLAB_ROLE_CHANGE": "COLLABORATION.UPDATED",
    "COLLAB_REMOVE_COLLABORATOR": "COLLABORATION.REMOVED",
    "COMMENT_CREATE": "COMMENT.CREATED",
    "COMMENT_EDIT": "COMMENT.UPDATED",
    "COMMENT_DELETE": "COMMENT.DELETED",
    "METADATA_INSTANCE_CREATE": "METADATA_INSTANCE.CREATED",
    "METADATA_INSTANCE_UPDATE": "METADATA_INSTANCE.UPDATED",
    "METADATA_INSTANCE_DELETE": "METADATA_INSTANCE.DELETED",
}

_AGENT = "Box-WH-Client/0.1"
_AT_ONCE = 20  # calls that are under way together
_TOO_LONG_AGO = timedelta(minutes=11)


@dataclass(eq=False, slots=True)
class Webhook:
    """What an app has asked to be called for."""

    id: str
    target: Item
    address: str
    triggers: list[str]
    by: User
    client_id: str | None
    created: datetime

    def covers(self, item: Item, trigger: str) -> bool:
        """Whether something about the item is to be told."""
        near = self.target is item or any(folder is self.target for folder in ancestors(item))
        return near and trigger in self.triggers


@dataclass(slots=True)
class CallFault:
    """Calls that go wrong on purpose."""

    kind: FaultKind
    times: int | None


@dataclass(slots=True)
class Attempt:
    """One try of a call; without a status nobody has answered."""

    trigger: str
    address: str
    body_id: str
    delivery_id: str
    status: int | None


@dataclass(slots=True)
class Keys:
    """The signature keys of the app."""

    primary: str | None = "sandbox-primary-key"
    secondary: str | None = "sandbox-secondary-key"


@dataclass(slots=True)
class _Letter:
    """A call before it is made."""

    trigger: str
    address: str
    body_id: str
    body: bytes
    fault: FaultKind | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Webhooks:
    """The webhooks of the enterprise, and the calls for them, which happen in the background."""

    def __init__(self, settings: Callable[[], BoxSettings]) -> None:
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Back to none; calls that are under way end."""
        for task in self._tasks:
            task.cancel()
        self.known: dict[str, Webhook] = {}
        self.keys = Keys()
        self.faults: list[CallFault] = []
        self.attempts: deque[Attempt] = deque(maxlen=10_000)
        self._tasks = set()
        self._places = asyncio.Semaphore(_AT_ONCE)

    def hear(self, kind: str, actor: Actor, item: Item, source: Mapping[str, Any]) -> None:
        """Calls whoever has asked to hear of what the journal says."""
        for trigger in _triggers(kind, item):
            for webhook in [known for known in self.known.values() if known.covers(item, trigger)]:
                self.call(webhook, trigger, actor.user, dict(source), [])

    def call(self, webhook: Webhook, trigger: str, user: User, source: Shape | None, more: Any) -> None:
        """Makes a call for a webhook, now and in its present state."""
        body_id = str(uuid.uuid4())
        body = {
            "type": "webhook_event",
            "id": body_id,
            "created_at": timestamp(datetime.now(UTC)),
            "trigger": trigger,
            "webhook": {"id": webhook.id, "type": "webhook"},
            "created_by": user_mini(user),
            "source": source,
            "additional_info": more,
        }
        fault = self._fault()
        if fault == "drop":
            return
        letter = _Letter(trigger, webhook.address, body_id, json.dumps(body).encode(), fault)
        for _ in range(2 if fault == "duplicate" else 1):
            self._start(letter)

    def call_plainly(self, address: str, form: Mapping[str, str]) -> None:
        """Makes a call of the first version, which is a form that nobody has signed."""
        body = str(httpx.QueryParams(dict(form))).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._start(_Letter(f"v1 {form.get('event', '')}", address, "", body, headers=headers))

    def _start(self, letter: _Letter) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(letter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, letter: _Letter) -> None:
        settings = self._settings()
        for tries in range(settings.webhook_retries + 1):
            if tries:
                await asyncio.sleep(settings.webhook_retry_seconds)
            async with self._places:
                if await self._attempt(letter, settings.webhook_timeout_seconds):
                    return

    async def _attempt(self, letter: _Letter, seconds: float) -> bool:
        attempt = Attempt(letter.trigger, letter.address, letter.body_id, str(uuid.uuid4()), None)
        body, headers = letter.body, {"User-Agent": _AGENT, **letter.headers}
        if letter.body_id:
            headers |= {"Content-Type": "application/json", **self._signed(letter, attempt.delivery_id)}
        if letter.fault == "tamper":
            body = body.replace(b'"webhook_event"', b'"webhook_evenT"')
        try:
            async with httpx.AsyncClient(verify=_tls(), timeout=seconds, trust_env=False) as client:
                answer = await client.post(letter.address, content=body, headers=headers)
                attempt.status = answer.status_code
        except httpx.HTTPError:
            pass
        self.attempts.append(attempt)
        return attempt.status is not None and 200 <= attempt.status < 300

    def _signed(self, letter: _Letter, delivery_id: str) -> dict[str, str]:
        age = _TOO_LONG_AGO if letter.fault == "stale" else timedelta()
        at = timestamp(datetime.now(UTC) - age) or ""
        headers = {
            "BOX-DELIVERY-ID": delivery_id,
            "BOX-DELIVERY-TIMESTAMP": at,
            "BOX-SIGNATURE-VERSION": "1",
            "BOX-SIGNATURE-ALGORITHM": "HmacSHA256",
        }
        for name, key in (("PRIMARY", self.keys.primary), ("SECONDARY", self.keys.secondary)):
            if key is not None:
                digest = hmac.new(key.encode(), letter.body + at.encode(), hashlib.sha256).digest()
                headers[f"BOX-SIGNATURE-{name}"] = base64.b64encode(digest).decode()
        return headers

    def _fault(self) -> FaultKind | None:
        if not self.faults:
            return None
        found = self.faults[0]
        if found.times is not None:
            found.times -= 1
            if not found.times:
                del self.faults[0]
        return found.kind


def _triggers(kind: str, item: Item) -> Iterator[str]:
    own = item.kind.upper()
    for name in (*_OF_ITEMS.get(kind, ()), *filter(None, (_OF_MORE.get(kind),))):
        trigger = name.format(own)
        of_items = trigger.startswith(("FILE.", "FOLDER."))
        if isinstance(item, File | Folder) and (not of_items or trigger.startswith(f"{own}.")):
            yield trigger


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
