"""What is in Egnyte's files: developers.egnyte.com, File System Management API Documentation."""

import hashlib
import mimetypes
import re
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile

from app.sandbox.egnyte.access import Caller, CallerDep, refuse
from app.sandbox.egnyte.domain import ChunkedUpload
from app.sandbox.egnyte.files import PathDep, http_date, version_of
from app.sandbox.world import File, MissingError, Version, path_of

router = APIRouter(prefix="/pubapi/v1")

_CHUNKS_LIVE = timedelta(hours=24)


@router.get("/fs-content/ids/file/{group_id}", response_model=None)
async def download_by_id(
    caller: CallerDep, group_id: str, request: Request, entry_id: str | None = None
) -> Response:
    """The content of a file, by its id."""
    node = caller.domain.world.by_id(group_id)
    if not isinstance(node, File):
        raise MissingError(f"No file with id {group_id}")
    return _send_content(node, version_of(node, entry_id), request)


@router.get("/fs-content/{path:path}", response_model=None)
async def download(
    caller: CallerDep, path: PathDep, request: Request, entry_id: str | None = None
) -> Response:
    """The content of a file, whole or a range of it."""
    file = caller.domain.world.file(path)
    return _send_content(file, version_of(file, entry_id), request)


@router.post("/fs-content/{path:path}", response_model=None)
async def upload(caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Makes a file or a new version of it."""
    content = await _content(request)
    expected = request.headers.get("x-sha512-checksum")
    if expected is not None and expected.lower() != hashlib.sha512(content).hexdigest():
        raise refuse(400, "The checksum does not match the content")
    modified = _modified(request)
    return _stored(caller.domain.world.upload(path, content, caller.actor, modified=modified))


@router.post("/fs-content-chunked/{path:path}", response_model=None)
async def upload_chunk(caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Takes one piece of a file; the last one makes the file."""
    chunk = await request.body()
    number = _chunk_number(request)
    pending = _pending(caller, path, number, request.headers.get("x-egnyte-upload-id"))
    # A chunk may be sent again, but none may be left out.
    if number > len(pending.chunks) + 1:
        raise refuse(400, f"Chunk {len(pending.chunks) + 1} is missing")
    pending.chunks[number - 1 : number] = [chunk]
    headers = {
        "X-Egnyte-Upload-Id": pending.id,
        "X-Egnyte-Chunk-Num": str(number),
        "X-Egnyte-Chunk-Sha512-Checksum": hashlib.sha512(chunk).hexdigest(),
    }
    if request.headers.get("x-egnyte-last-chunk", "").lower() != "true":
        return Response(headers=headers)
    answer = _assembled(caller, pending)
    answer.headers.update(headers)
    return answer


def _chunk_number(request: Request) -> int:
    text = request.headers.get("x-egnyte-chunk-num", "")
    if not text.isdecimal() or int(text) < 1:
        raise refuse(400, "X-Egnyte-Chunk-Num is missing or no number")
    return int(text)


def _pending(caller: Caller, path: str, number: int, upload_id: str | None) -> ChunkedUpload:
    uploads, now = caller.domain.uploads, datetime.now(UTC)
    for old in [known for known in uploads.values() if now - known.began > _CHUNKS_LIVE]:
        del uploads[old.id]
    if upload_id is None and number == 1:
        began = ChunkedUpload(str(uuid.uuid4()), path, now)
        uploads[began.id] = began
        return began
    found = uploads.get(upload_id or "")
    if found is None or found.path != path:
        raise refuse(400, "Unknown X-Egnyte-Upload-Id")
    return found


def _assembled(caller: Caller, pending: ChunkedUpload) -> Response:
    del caller.domain.uploads[pending.id]
    digests = "".join(hashlib.sha512(chunk).hexdigest() for chunk in pending.chunks)
    total = hashlib.sha512(digests.encode()).hexdigest()
    checksum = f"2-{len(pending.chunks)}-{len(pending.chunks[0])}-{total}"
    content = b"".join(pending.chunks)
    return _stored(caller.domain.world.upload(pending.path, content, caller.actor, checksum=checksum))


async def _content(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form() as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise refuse(400, "The part named file is missing")
        return await part.read()


def _modified(request: Request) -> datetime | None:
    text = request.headers.get("last-modified")
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError as error:
        raise refuse(400, "Last-Modified is no date") from error


def _stored(file: File) -> Response:
    version = file.current
    ids = {"group_id": file.id, "entry_id": version.id}
    body = {"checksum": version.checksum, **ids, "path": path_of(file)}
    return JSONResponse(body, headers=_headers(version))


def _headers(version: Version) -> dict[str, str]:
    return {
        "X-Sha512-Checksum": version.checksum,
        "ETag": f'"{version.id}"',
        "Last-Modified": http_date(version.modified),
    }


def _send_content(file: File, version: Version, request: Request) -> Response:
    headers = _headers(version) | {"Accept-Ranges": "bytes"}
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if asked is None or asked.group(0) == "bytes=-":
        return Response(version.content, headers=headers, media_type=media_type)
    size = len(version.content)
    start, end = _range(asked.group(1), asked.group(2), size)
    if start > end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(version.content[start : end + 1], status_code=206, headers=headers, media_type=media_type)


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and last byte; without a first one, `last` counts from the end."""
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last) if last else size - 1, size - 1)
