"""A customer's end of the wire: takes callbacks, checks their signature, and fails on request."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.connection import ConnectedApp, gone, hang_up

Signature = Literal["ok", "bad", "none"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback as it arrived; the id counts from 1. `answered` is None where it got no answer."""

    id: int
    received_at: datetime
    path: str
    signature: Signature
    headers: dict[str, str]
    body: bytes
    secondary_signature: Signature = "none"
    answered: int | None = 200

    def content(self) -> Any:
        """The body as JSON; None when it is something else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def row(self) -> dict[str, Any]:
        """The delivery as `GET /deliveries` shows it."""
        return {
            "id": self.id,
            "received_at": self.received_at.isoformat(),
            "path": self.path,
            "signature": self.signature,
            "secondary_signature": self.secondary_signature,
            "answered": self.answered,
            "headers": self.headers,
            "body": self.body.decode(errors="replace"),
            "json": self.content(),
        }


class Behaviour(BaseModel):
    """How callbacks are answered, everywhere or on one path."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(200, ge=200, le=599)
    delay: float = Field(0, ge=0, description="Seconds before the answer.")
    hang: bool = Field(False, description="Never answer; the sender has to give up.")
    cut: bool = Field(False, description="Close the connection instead of answering.")
    retry_after: float | None = Field(None, ge=0, description="Retry-After of the answer, in seconds.")
    location: str = Field("/redirected", description="Where a 3xx points to.")
    times: int | None = Field(None, ge=1, description="Callbacks it answers; null is all of them.")
    path: str | None = Field(None, description="The path it is for; null is every other path.")

    @property
    def answers(self) -> int | None:
        """The status of the answer; None where there is none."""
        return None if self.hang or self.cut else self.status


class Inbox:
    """The last deliveries and the behaviours; older deliveries fall out."""

    def __init__(self, signature_key: str | None, keep: int) -> None:
        self._key = signature_key
        self._kept: deque[Delivery] = deque(maxlen=keep)
        self._behaviours: dict[str | None, Behaviour] = {}
        self.count = 0

    def add(self, path: str, headers: dict[str, str], body: bytes, answered: int | None) -> Delivery:
        """Keeps a callback."""
        self.count += 1
        signature = self._check(headers.get("elements-webhook-signature"), body)
        secondary = self._check(headers.get("elements-webhook-signature-secondary"), body)
        now = datetime.now(UTC)
        delivery = Delivery(self.count, now, path, signature, headers, body, secondary, answered)
        self._kept.append(delivery)
        return delivery

    def since(self, n: int, limit: int) -> list[Delivery]:
        """Deliveries with a higher id, oldest first."""
        return [delivery for delivery in self._kept if delivery.id > n][:limit]

    def clear(self) -> None:
        """Forgets deliveries and behaviours; the ids go on."""
        self._kept.clear()
        self._behaviours.clear()

    def behave(self, behaviour: Behaviour) -> None:
        """Replaces the behaviour of that path."""
        self._behaviours[behaviour.path] = behaviour

    def behaviour(self, path: str) -> Behaviour:
        """How to answer this callback; uses up one of its times."""
        key = path if path in self._behaviours else None
        found = self._behaviours.get(key, Behaviour())
        if found.times is not None:
            found.times -= 1
            if not found.times:
                del self._behaviours[key]
        return found

    def behaviours(self) -> list[Behaviour]:
        """What is set."""
        return list(self._behaviours.values())

    def _check(self, signature: str | None, body: bytes) -> Signature:
        if self._key is None or signature is None:
            return "none"
        digest = hmac.new(self._key.encode(), body, hashlib.sha256).digest()
        expected = f"sha256={base64.b64encode(digest).decode()}"
        return "ok" if hmac.compare_digest(expected.encode(), signature.encode()) else "bad"


def describe(delivery: Delivery) -> str:
    """A delivery as a block of text for a terminal."""
    webhook_id = delivery.headers.get("elements-webhook-id", "-")
    head = f"{delivery.received_at:%H:%M:%S} POST {delivery.path}  id {webhook_id}"
    lines = [f"{head}  signature {delivery.signature.upper()}"]
    lines += [f"    {_event_line(event)}" for event in _events(delivery.content())]
    return "\n".join(lines)


def _events(content: Any) -> list[dict[str, Any]]:
    message = content.get("message") if isinstance(content, dict) else None
    events = message.get("events") if isinstance(message, dict) else None
    return [event for event in events or [] if isinstance(event, dict)]


def _event_line(event: dict[str, Any]) -> str:
    fields = (event.get(name) for name in ("eventType", "objectType", "objectId", "newPath"))
    return " ".join(str(field) for field in fields if field is not None)


def create_receiver(
    signature_key: str | None = None,
    on_delivery: Callable[[Delivery], None] | None = None,
    *,
    keep: int = 20_000,
    echo: bool = True,
) -> FastAPI:
    """An app that takes a POST on any path and keeps the last `keep` of them.

    With a key it checks signatures; with `echo` it prints every delivery.
    """
    app = ConnectedApp(title="Callback receiver", redirect_slashes=False)
    inbox = Inbox(signature_key, keep)
    _add_steering(app, inbox)

    @app.post("/{path:path}", include_in_schema=False, response_model=None)
    async def receive(path: str, request: Request) -> Response:
        body = await request.body()
        behaviour = inbox.behaviour(f"/{path}")
        delivery = inbox.add(f"/{path}", dict(request.headers), body, behaviour.answers)
        if echo:
            print(describe(delivery), flush=True)
        if on_delivery is not None:
            on_delivery(delivery)
        return await _answer(behaviour, request)

    return app


def _add_steering(app: FastAPI, inbox: Inbox) -> None:
    @app.get("/deliveries")
    async def deliveries(
        since: int = 0, limit: Annotated[int, Query(ge=1, le=20_000)] = 1000
    ) -> list[dict[str, Any]]:
        """Deliveries after id `since`, oldest first."""
        return [delivery.row() for delivery in inbox.since(since, limit)]

    @app.delete("/deliveries")
    async def forget() -> dict[str, int]:
        """Forgets deliveries and behaviours; the ids go on."""
        inbox.clear()
        return {"latest": inbox.count}

    @app.get("/control")
    async def behaviours() -> list[Behaviour]:
        """The behaviours that are set."""
        return inbox.behaviours()

    @app.post("/control")
    async def behave(behaviour: Behaviour) -> list[Behaviour]:
        """Sets the behaviour of a path, or of every path that has none of its own."""
        inbox.behave(behaviour)
        return inbox.behaviours()

    @app.get("/oauth/callback", response_class=HTMLResponse)
    async def oauth_callback(code: str = "", state: str = "", error: str = "") -> str:
        """Where a vendor's consent page sends the browser: shows what to give to the gateway."""
        what = f"<p>error: <code>{escape(error)}</code>" if error else f"<p>code: <code>{escape(code)}</code>"
        return (
            "<!doctype html><meta charset=utf-8><title>Connected</title>"
            f"{what}<p>state: <code>{escape(state)}</code>"
        )


async def _answer(behaviour: Behaviour, request: Request) -> Response:
    await asyncio.sleep(behaviour.delay)
    if behaviour.hang:
        await gone(request.receive)
    if behaviour.cut:
        await hang_up(request.scope, request.receive)
    headers = {}
    if behaviour.retry_after is not None:
        headers["Retry-After"] = f"{behaviour.retry_after:g}"
    if 300 <= behaviour.status < 400:
        headers["Location"] = behaviour.location
    if behaviour.status in (204, 304):
        return Response(status_code=behaviour.status, headers=headers)
    return JSONResponse({"status": behaviour.status}, status_code=behaviour.status, headers=headers)
