"""What is in Egnyte's files: developers.egnyte.com, File System Management API Documentation."""

import hashlib
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile

from app.sandbox.egnyte.access import Caller, CallerDep, refuse
from app.sandbox.egnyte.domain import Chunk, ChunkedUpload
from app.sandbox.egnyte.downloads import content_headers, send_content
from app.sandbox.egnyte.listing import version_of
from app.sandbox.egnyte.locks import require_unlocked
from app.sandbox.egnyte.paths import PathDep
from app.sandbox.world import File, MissingError, path_of

router = APIRouter(prefix="/pubapi/v1")

_CHUNKS_LIVE = timedelta(hours=24)
_PIECE = 1024 * 1024


@router.get("/fs-content/ids/file/{group_id}", response_model=None)
async def download_by_id(
    caller: CallerDep, group_id: str, request: Request, entry_id: str | None = None
) -> Response:
    """The content of a file, by its id."""
    node = caller.domain.world.by_id(group_id)
    if not isinstance(node, File):
        raise MissingError(f"No file with id {group_id}")
    return send_content(node, version_of(node, entry_id), request)


@router.get("/fs-content/{path:path}", response_model=None)
async def download(
    caller: CallerDep, path: PathDep, request: Request, entry_id: str | None = None
) -> Response:
    """The content of a file, whole or a range of it."""
    file = caller.domain.world.file(path)
    return send_content(file, version_of(file, entry_id), request)


@router.post("/fs-content/{path:path}", response_model=None)
async def upload(caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Makes a file or a new version of it."""
    modified = _modified(request)
    arrived = await _arrived(request)
    expected = request.headers.get("x-sha512-checksum")
    if expected is not None and expected.lower() != arrived.checksum:
        raise refuse(400, "The checksum does not match the content")
    return _stored(caller, path, arrived, modified)


@router.post("/fs-content-chunked/{path:path}", response_model=None)
async def upload_chunk(caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Takes one piece of a file; the last one makes the file."""
    chunk = await _streamed(request)
    number = _chunk_number(request)
    is_last = request.headers.get("x-egnyte-last-chunk", "").lower() == "true"
    if not is_last and len(chunk.content) < caller.domain.settings.smallest_chunk:
        raise refuse(400, f"A chunk has at least {caller.domain.settings.smallest_chunk} bytes")
    pending = _pending(caller, path, number, request.headers.get("x-egnyte-upload-id"))
    # A chunk may be sent again, but none may be left out.
    if number > len(pending.chunks) + 1:
        raise refuse(400, f"Chunk {len(pending.chunks) + 1} is missing")
    pending.chunks[number - 1 : number] = [chunk]
    headers = {
        "X-Egnyte-Upload-Id": pending.id,
        "X-Egnyte-Chunk-Num": str(number),
        "X-Egnyte-Chunk-Sha512-Checksum": chunk.checksum,
    }
    if not is_last:
        return Response(headers=headers)
    del caller.domain.uploads[pending.id]
    answer = _stored(caller, path, _joined(pending.chunks))
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


def _joined(chunks: list[Chunk]) -> Chunk:
    digests = "".join(chunk.checksum for chunk in chunks)
    total = hashlib.sha512(digests.encode()).hexdigest()
    checksum = f"2-{len(chunks)}-{len(chunks[0].content)}-{total}"
    return Chunk(b"".join(chunk.content for chunk in chunks), checksum)


class _Arriving:
    """A content that grows in one buffer and is hashed on the way, however large it gets."""

    def __init__(self) -> None:
        self._buffer = BytesIO()
        self._hash = hashlib.sha512()

    def add(self, piece: bytes) -> None:
        """Takes what came next."""
        self._buffer.write(piece)
        self._hash.update(piece)

    def complete(self) -> Chunk:
        """The whole; the buffer hands its memory over and copies nothing."""
        return Chunk(self._buffer.getvalue(), self._hash.hexdigest())


async def _arrived(request: Request) -> Chunk:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _streamed(request)
    async with request.form() as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise refuse(400, "The part named file is missing")
        arriving = _Arriving()
        while piece := await part.read(_PIECE):
            arriving.add(piece)
        return arriving.complete()


async def _streamed(request: Request) -> Chunk:
    """The body; a client that leaves before its end raises, and nothing has happened yet."""
    arriving = _Arriving()
    async for piece in request.stream():
        arriving.add(piece)
    return arriving.complete()


def _modified(request: Request) -> datetime | None:
    text = request.headers.get("last-modified")
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError as error:
        raise refuse(400, "Last-Modified is no date") from error


def _stored(caller: Caller, path: str, content: Chunk, modified: datetime | None = None) -> Response:
    world = caller.domain.world
    with suppress(MissingError):
        require_unlocked(world.file(path), caller.user)
    file = world.upload(path, content.content, caller.actor, checksum=content.checksum, modified=modified)
    version = file.current
    ids = {"group_id": file.id, "entry_id": version.id}
    body = {"checksum": version.checksum, **ids, "path": path_of(file)}
    return JSONResponse(body, headers=content_headers(version))
