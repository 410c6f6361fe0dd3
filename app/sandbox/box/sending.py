"""Contents on their way out, whole or in part."""

import mimetypes
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.sandbox.box.items import Content
from app.sandbox.byte_ranges import asked_range

_PIECE = 1024**2


def send_content(name: str, content: Content, request: Request) -> Response:
    """An answer with a content, or with the range of it that the request asks for."""
    size = len(content)
    first, last = 0, size - 1
    headers = {"Accept-Ranges": "bytes", "Content-Disposition": _disposition(name)}
    asked = asked_range(request.headers.get("range", ""), size)
    if asked is not None:
        first, last = asked
        if first > last:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last + 1 - first)
    return StreamingResponse(
        _pieces(content, first, last + 1),
        status_code=200 if asked is None else 206,
        headers=headers,
        media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
    )


def _disposition(name: str) -> str:
    plain = "".join(letter if letter.isascii() and letter not in '"\\' else "_" for letter in name)
    return f"attachment;filename=\"{plain}\";filename*=UTF-8''{quote(name, safe='')}"


async def _pieces(content: Content, start: int, end: int) -> AsyncIterator[bytes]:
    view = memoryview(content)
    for at in range(start, end, _PIECE):
        yield bytes(view[at : min(at + _PIECE, end)])
