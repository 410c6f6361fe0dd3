"""Webhooks at work: who is called for what, and what becomes of calls that fail."""

import asyncio
import hashlib
import re
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx

from app.sandbox.egnyte.settings import DomainSettings
from app.sandbox.faults import Faults
from app.sandbox.history import Actor, Change, Ref

HOOK_FAULTS = frozenset({"drop_webhook", "duplicate_webhook"})

# Egnyte Connect webhooks, event types.
TYPES = frozenset(
    {
        *(
            f"fs:{action}_{kind}"
            for action in ("add", "copy", "move", "delete")
            for kind in ("file", "folder")
        ),
        *(
            "fs:upload_link",
            "fs:delete_from_trash",
            "fs:restore_from_trash",
            "fs:lock_file",
            "fs:unlock_file",
        ),
        *("fs:folder_project_activity", "comment:set_comment", "comment:remove_comment"),
        *("link:create", "link:create_download_link", "link:create_upload_link"),
        *("link:delete", "link:delete_download_link", "link:delete_upload_link"),
        *("meta:add_metadata_key", "meta:delete_metadata_key", "permission:permission_change"),
        *("workflow:created", "workflow:completed"),
        *("workflow:approvaltask_approved", "workflow:approvaltask_rejected"),
        *("group:create", "group:delete", "group:rename", "group:add_members", "group:remove_members"),
        *("group:add_owner", "group:remove_owner"),
    }
)
WILDCARDS = frozenset(f"{kind.partition(':')[0]}:*" for kind in TYPES)

_TIMEOUT = 60  # seconds; a receiver that is merely slow is called once
_SUFFIXED = {
    "create": "add",
    "version": "add",
    "move": "move",
    "rename": "move",
    "copy": "copy",
    "delete": "delete",
}
_OTHERS = {
    "restore": "fs:restore_from_trash",
    "note": "comment:set_comment",
    "note_delete": "comment:remove_comment",
    "permission": "permission:permission_change",
}


@dataclass(eq=False, slots=True)
class Hook:
    """One webhook. `header` and `value` go with every call; without a value the header is Authorization."""

    id: str
    url: str
    types: list[str]
    paths: list[str]
    header: str | None
    value: str | None
    expires: datetime
    status: Literal["enabled", "disabled"] = "enabled"
    failures: int = 0
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    calling: asyncio.Task[None] | None = None

    def wants(self, kind: str, paths: list[str]) -> bool:
        """Whether it is to be called for this event."""
        if self.status == "disabled":
            return False
        if self.types and kind not in self.types and f"{kind.partition(':')[0]}:*" not in self.types:
            return False
        inside = (path == top or path.startswith(f"{top}/") for path in paths for top in self.paths)
        return not self.paths or any(inside)

    def headers(self) -> dict[str, str]:
        """What shows that a call is Egnyte's."""
        if self.header is None:
            return {}
        return {"Authorization": self.header} if self.value is None else {self.header: self.value}


class QuotaError(Exception):
    """The domain has as many webhooks as it may."""


class Hooks:
    """The webhooks of a domain."""

    def __init__(self, domain: str, settings: Callable[[], DomainSettings], faults: Faults) -> None:
        self._domain = domain
        self._settings = settings
        self._faults = faults
        self._hooks: dict[str, Hook] = {}
        self.calls: deque[dict[str, Any]] = deque(maxlen=1000)

    def living(self) -> dict[str, Hook]:
        """Those that have not ended, by their ids."""
        now = datetime.now(UTC)
        for hook in [hook for hook in self._hooks.values() if hook.expires <= now]:
            self.remove(hook)
        return self._hooks

    def until(self) -> datetime:
        """When a webhook ends that is made or changed now."""
        return datetime.now(UTC) + timedelta(seconds=self._settings().webhook_seconds)

    def add(self, hook: Hook) -> None:
        """Keeps a new webhook."""
        if len(self.living()) >= self._settings().webhook_quota:
            raise QuotaError
        self._hooks[hook.id] = hook

    def remove(self, hook: Hook) -> None:
        """Forgets a webhook and what it had still to say."""
        del self._hooks[hook.id]
        _stop(hook)

    def expire(self) -> int:
        """Forgets all of them."""
        found = list(self._hooks.values())
        for hook in found:
            self.remove(hook)
        return len(found)

    def stop(self) -> None:
        """Ends the calls that are under way."""
        self.expire()

    def hear(self, change: Change) -> None:
        """Tells of what came into the history."""
        if not self._hooks:
            return
        action, suffix = change.action, "folder" if change.is_folder else "file"
        kind = _OTHERS.get(action) or f"fs:{_SUFFIXED[action]}_{suffix}"
        more = {} if change.origin is None else _source(change.origin)
        if "note_id" in change.detail:
            more["note_id"] = change.detail["note_id"]
        self.tell(kind, change.actor, change.target, **more)

    def tell(self, kind: str, actor: Actor, target: Ref, **more: Any) -> None:
        """Puts an event into the queue of every webhook that wants it."""
        data = _target(target) | more
        paths = [data[name] for name in ("target_path", "source_path") if name in data]
        for hook in [hook for hook in self.living().values() if hook.wants(kind, paths)]:
            fault = self._faults.take(kind, HOOK_FAULTS)
            copies = {"drop_webhook": 0, "duplicate_webhook": 2}.get(fault.kind if fault else "", 1)
            hook.waiting.extend([self._event(hook, kind, actor, data)] * copies)
            if hook.calling is None and hook.waiting:
                hook.calling = asyncio.get_running_loop().create_task(self._call(hook))

    def _event(self, hook: Hook, kind: str, actor: Actor, data: dict[str, Any]) -> dict[str, Any]:
        camel = self._settings().webhook_keys == "camel"
        return {
            "eventId": str(uuid.uuid4()),
            "domain": self._domain,
            "timestamp": int(datetime.now(UTC).timestamp() * 1000),
            "user": {
                "id": actor.user.id,
                "displayName": actor.user.full_name,
                "username": actor.user.username,
                "email": actor.user.email,
                "clientIdHash": hashlib.sha256((actor.client_id or "").encode()).hexdigest()[:16],
                "impersonatedBy": None,
            },
            "actionSource": actor.source,
            "webhookId": hook.id,
            "eventType": kind,
            "data": {_camel(name) if camel else name: value for name, value in data.items()},
        }

    async def _call(self, hook: Hook) -> None:
        while hook.waiting:  # something may come while the client is closed
            async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
                await self._empty(hook, client)
        hook.calling = None

    async def _empty(self, hook: Hook, client: httpx.AsyncClient) -> None:
        """Empties the queue, a batch at a time; too many batches that fail for good disable the webhook."""
        while hook.waiting:
            size = min(self._settings().webhook_batch, len(hook.waiting))
            batch = [hook.waiting.popleft() for _ in range(size)]
            hook.failures = 0 if await self._delivered(client, hook, batch) else hook.failures + 1
            if hook.failures >= self._settings().webhook_failures:
                hook.status = "disabled"
                hook.waiting.clear()

    async def _delivered(self, client: httpx.AsyncClient, hook: Hook, batch: list[dict[str, Any]]) -> bool:
        wait = self._settings().webhook_retry_seconds
        for attempt in range(self._settings().webhook_retries + 1):
            if attempt:
                await asyncio.sleep(wait * 2 ** (attempt - 1))
            status = await _status(client, hook, batch)
            self.calls.append(
                {"webhookId": hook.id, "attempt": attempt, "status": status, "events": len(batch)}
            )
            if status == 200:
                return True
        return False


async def _status(client: httpx.AsyncClient, hook: Hook, batch: list[dict[str, Any]]) -> int | None:
    try:
        return (await client.post(hook.url, json=batch, headers=hook.headers())).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def _stop(hook: Hook) -> None:
    hook.waiting.clear()
    if hook.calling is not None:
        hook.calling.cancel()


def _target(ref: Ref) -> dict[str, Any]:
    if ref.version_id is None:
        return {"target_path": ref.path, "folder_id": ref.id, "is_folder": True}
    ids = {"target_id": ref.version_id, "target_group_id": ref.id}
    return {"target_path": ref.path, **ids, "is_folder": False}


def _source(ref: Ref) -> dict[str, Any]:
    return {"source_path": ref.path, "source_id": ref.version_id or ref.id}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), name)
