"""gzip for answers that are made whole. The bytes of files are passed on as they are, with their length."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.types import Message, Receive, Scope, Send

_SMALLEST = 1000  # bytes; below, the header costs what is won
_LEVEL = 5  # measured by zlib's authors: nearly the size of 9 in a third of its time


class Compression(GZipMiddleware):
    """Compresses for clients that accept it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            await _Whole(self.app, _SMALLEST, compresslevel=_LEVEL)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _Whole(GZipResponder):
    async def send_with_compression(self, message: Message) -> None:
        untouched = self.content_encoding_set or self.partial_response or self.content_type_is_excluded
        if message.get("more_body") and not self.started and not untouched:
            self.content_type_is_excluded = True  # a stream
            await self.send(self.initial_message)
        await super().send_with_compression(message)
