"""gzip for answers that are made whole. The bytes of files are passed on as they are, with their length."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.types import Message, Receive, Scope, Send

_SMALLEST = 1000  # bytes; below, the header costs what is won
_LEVEL = 5  # nearly the size of 9 in a third of its time


class Compression(GZipMiddleware):
    """Compresses for clients that accept it, what is worth it. All else costs a look at its length."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self.app(scope, receive, send)
            return
        head: Message | None = None

        async def look(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
                return
            forward = send
            if head is not None:
                if not message.get("more_body") and len(message.get("body", b"")) >= _SMALLEST:
                    forward = self._compressing(send)
                started, head = head, None
                await forward(started)
            await forward(message)

        await self.app(scope, receive, look)

    def _compressing(self, send: Send) -> Send:
        responder = GZipResponder(self.app, _SMALLEST, compresslevel=_LEVEL)
        responder.send = send
        return responder.send_with_compression
