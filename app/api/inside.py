"""Calls of the hub from within: the same routes, without a network and without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from app.api.deps import INSIDE, PATIENCE
from app.errors import VendorUnavailable
from app.polling.inside import Answer
from app.store.tables import Instance

_LARGEST = 32 * 1024 * 1024  # bytes; a page of 1,000 files with their `raw` has some 5 million
_HUB = "/hubs/documents"


class Inside:
    """Calls the application as an instance. That it is one is said in the state of the request, which no
    request from outside can write to. `make` is asked for the application when it is needed first: most
    workers never do, and its routes take most of the time of a start."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def call(
        self,
        instance: Instance,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        patience: timedelta | None = None,
    ) -> Answer:
        """Raises VendorUnavailable for an answer that is too large."""
        kept = _Kept()
        scope = _scope(instance, method, target, has_body=body is not None)
        scope["state"][PATIENCE] = patience
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body or b"", "more_body": False}

        app = await self._made()
        await app(scope, receive, kept.send)
        return kept.answer(scope["state"])

    async def _made(self) -> ASGIApp:
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
            return self._app


class _Kept:
    """What was sent, as long as it is not too much."""

    def __init__(self) -> None:
        self._status = 500
        self._headers = Headers()
        self._body = bytearray()
        self._too_large = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], Headers(raw=message["headers"])
            return
        piece = message.get("body", b"")
        self._too_large = self._too_large or len(self._body) + len(piece) > _LARGEST
        if not self._too_large:
            self._body += piece

    def answer(self, state: Mapping[str, Any]) -> Answer:
        if self._too_large:
            raise VendorUnavailable(f"The answer is larger than {_LARGEST} bytes")
        token = self._headers.get("elements-next-page-token")
        return Answer(self._status, bytes(self._body), token, state.get("refusal"))


def _scope(instance: Instance, method: str, target: str, *, has_body: bool) -> dict[str, Any]:
    """A request of ASGI, as a server would hand it over."""
    path, _, query = target.partition("?")
    kind = [(b"content-type", b"application/json")] if has_body else []
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": _HUB + unquote(path),
        "raw_path": (_HUB + path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"gateway"), *kind],
        "client": None,
        "server": ("gateway", 80),
        "state": {INSIDE: instance},
    }
