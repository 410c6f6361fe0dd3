"""An end to the patience with bodies that do not come."""

from __future__ import annotations

import asyncio
import time

from fastapi import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLOWEST = 1000  # bytes per second; a client that is slower in the long run is not waited for
_ANNOUNCED = frozenset({b"content-length", b"transfer-encoding"})


class BodyTimeout(HTTPException, ClientDisconnect):
    """The body stopped coming: an error to whoever answers it, a client that has gone to whoever reads."""


class SlowBodies:
    """Bounds the silence between two pieces of a body that is being read, in seconds, and how slowly it may
    come altogether. What a route does between two pieces does not count."""

    def __init__(self, app: ASGIApp, *, timeout: float) -> None:
        self._app = app
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _ANNOUNCED.isdisjoint(name for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._timeout)
        await self._app(scope, body.receive, body.send)


class _Body:
    """A body, with what is left of the patience: each piece earns some."""

    def __init__(self, receive: Receive, send: Send, timeout: float) -> None:
        self._receive = receive
        self._send = send
        self._timeout = self._patience = timeout
        self._untimed = False

    async def send(self, message: Message) -> None:
        """Who is answered already is watched by the server: it may be reading."""
        self._untimed = True
        await self._send(message)

    async def receive(self) -> Message:
        """Raises BodyTimeout."""
        if self._untimed:
            return await self._receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            if self._untimed:
                return await self._receive()
            words = f"The body did not come within {self._timeout:g} s"
            raise BodyTimeout(408, words, {"Connection": "close"}) from None
        earned = len(message.get("body", b"")) / _SLOWEST
        self._patience = min(self._timeout, self._patience - (time.monotonic() - began) + earned)
        self._untimed = self._untimed or not message.get("more_body", False)
        return message
