"""The contents of files on their way to a client."""

import mimetypes
from collections.abc import AsyncIterator, Mapping

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.sandbox.byte_ranges import asked_range
from app.sandbox.egnyte.listing import http_date
from app.sandbox.world import File, Version

# Somebody else has a turn between two slices, and nobody has to hold a copy of a large file.
_SLICE = 256 * 1024


def content_headers(version: Version) -> dict[str, str]:
    """What uploads and downloads tell about a content."""
    return {
        "X-Sha512-Checksum": version.checksum,
        "ETag": f'"{version.id}"',
        "Last-Modified": http_date(version.modified),
    }


def send_content(
    file: File, version: Version, request: Request, extra: Mapping[str, str] | None = None
) -> Response:
    """A content, whole or the range that the request asks for."""
    headers = {**content_headers(version), "Accept-Ranges": "bytes", **(extra or {})}
    size = len(version.content)
    asked = asked_range(request.headers.get("range", ""), size)
    if asked is None:
        return _sliced(file, memoryview(version.content), 200, headers)
    start, end = asked
    if start > end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return _sliced(file, memoryview(version.content)[start : end + 1], 206, headers)


def _sliced(file: File, view: memoryview, status: int, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(len(view))
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return StreamingResponse(_slices(view), status_code=status, headers=headers, media_type=media_type)


async def _slices(view: memoryview) -> AsyncIterator[memoryview]:
    for start in range(0, len(view), _SLICE):
        yield view[start : start + _SLICE]
