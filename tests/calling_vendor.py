"""A vendor that calls: Egnyte's verbs of webhooks, replaced by ones that a test can look into and break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from gateway import Gateway
from sqlalchemy import select, update

from app import registry
from app.errors import BadRequest
from app.hubs.documents import Announcement, Call, Change, Field, Hooks, Power
from app.ingest.vendor_webhooks import WebhookWorker
from app.store.tables import VendorWebhook, table

CALLED = {
    "event.notification.enabled": "true",
    "event.notification.callback.url": "http://callback.example.com",
    "event.vendor.type": "webhook",
}
PUBLIC_URL = "https://gateway.example.com/base"
PAST = datetime(2026, 1, 1, tzinfo=UTC)


def change(number: int, **more: Any) -> dict[str, Any]:
    """One change as this vendor spells it."""
    return {"id": f"webhook:{number}", "file": f"file-{number}", **more}


@dataclass
class Vendor:
    """What the vendor knows: its webhooks by id, with their URL and secret."""

    hooks: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    expires_at: datetime | None = None
    busy: asyncio.Event | None = None
    _made: int = 0

    async def subscribe(self, url: str, secret: str, hooks: Sequence[str]) -> Hooks:
        await self._asked("subscribe")
        kept = [item for item in hooks if item in self.hooks]
        if not kept:
            self._made += 1
            kept = [f"hook-{self._made}"]
        self.hooks |= dict.fromkeys(kept, (url, secret))
        return Hooks(tuple(kept), self.expires_at)

    async def unsubscribe(self, hooks: Sequence[str]) -> None:
        await self._asked("unsubscribe")
        for item in hooks:
            self.hooks.pop(item, None)

    async def _asked(self, verb: str) -> None:
        self.calls.append(verb)
        if self.busy is not None:
            await self.busy.wait()
        if self.error is not None:
            raise self.error

    @staticmethod
    def owner_of(call: Call) -> tuple[str, str] | None:
        user = call.query.get("user")
        return ("oauth.user.id", user) if user else None

    @staticmethod
    def is_genuine(call: Call, secret: str | None, configuration: Mapping[str, str | None]) -> bool:
        assert configuration["oauth.user.token"]
        return secret is not None and call.headers.get("x-secret") == secret

    @staticmethod
    def announced(call: Call) -> Announcement:
        try:
            body = json.loads(call.body)
        except ValueError:
            raise BadRequest("The body is not JSON") from None
        changes = [
            Change(
                event_id=item["id"],
                event_type="CREATED",
                object_type="file",
                object_id=item["file"],
                date=PAST,
                change="create",
                raw=item,
            )
            for item in body.get("changes", [])
        ]
        more = {key: body[key] for key in ("ended", "note", "hook") if key in body}
        return Announcement(changes, body, **more)

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Becomes what the gateway asks about Egnyte's webhooks."""
        egnyte = registry.discover({}).find("egnyte")

        async def subscribe(_: Any, url: str, secret: str, hooks: Sequence[str]) -> Hooks:
            return await self.subscribe(url, secret, hooks)

        async def unsubscribe(_: Any, hooks: Sequence[str]) -> None:
            await self.unsubscribe(hooks)

        owner = Field("oauth.user.id", "User id", "The user of the account.", hidden=True)
        fields = tuple(item for item in egnyte.fields if item.key != owner.key)
        monkeypatch.setattr(egnyte, "powers", egnyte.powers | {Power.WEBHOOKS, Power.ME})
        monkeypatch.setattr(egnyte, "fields", (*fields, owner))
        monkeypatch.setattr(egnyte, "subscribe", subscribe)
        monkeypatch.setattr(egnyte, "unsubscribe", unsubscribe)
        for name in ("owner_of", "is_genuine", "announced"):
            monkeypatch.setattr(egnyte, name, staticmethod(getattr(self, name)))


@dataclass
class Scene:
    """A gateway in front of a vendor that calls."""

    gateway: Gateway
    vendor: Vendor

    async def connect(self, **configuration: Any) -> dict[str, Any]:
        """An instance whose webhook is made already."""
        instance = await self.gateway.connect(**CALLED | configuration)
        await self.work()
        return instance

    async def work(self) -> None:
        """Looks after every webhook that is due."""
        worker = WebhookWorker(self.gateway.runtime)
        for row in await worker.claim(10):
            await worker.run(row)

    async def make_due(self) -> None:
        async with self.gateway.runtime.database.write() as connection:
            await connection.execute(update(table(VendorWebhook)).values(due_at=PAST))

    async def call(self, url: str, body: Any, **headers: str) -> httpx.Response:
        """The vendor's call to a URL that it was given, or to a path below the base."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = url.removeprefix(PUBLIC_URL + "/elements/api-v2")
        return await self.gateway.http.post(path, content=content, headers=headers)

    async def announce(self, *changes: dict[str, Any], **more: Any) -> httpx.Response:
        """A genuine call of the newest webhook."""
        url, secret = list(self.vendor.hooks.values())[-1]
        return await self.call(url, {"changes": changes, **more}, **{"X-Secret": secret})

    async def rows(self, model: Any) -> list[Any]:
        async with self.gateway.runtime.database.read() as connection:
            return list(await connection.execute(select(table(model))))

    async def shown(self, instance: dict[str, Any]) -> Any:
        """`vendorWebhook`, as the owner of an instance sees it."""
        path = f"/instances/{instance['id']}"
        answer = await self.gateway.http.get(path, headers=self.gateway.platform)
        return answer.json().get("vendorWebhook")

    async def patch(self, instance: dict[str, Any], **configuration: Any) -> httpx.Response:
        return await self.gateway.http.patch(
            f"/instances/{instance['id']}",
            json={"configuration": configuration},
            headers=self.gateway.platform,
        )
