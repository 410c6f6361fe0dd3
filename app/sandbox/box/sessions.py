"""Uploads in pieces: https://developer.box.com/guides/uploads/chunked/."""

import asyncio
import base64
import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, Caller, CallerDep, Reference, base_url, check_match, path_id, read
from app.sandbox.box.domain import Part, UploadSession
from app.sandbox.box.errors import BoxError, bad_request
from app.sandbox.box.items import File, Folder
from app.sandbox.box.shapes import Shape, listing
from app.sandbox.box.times import timestamp
from app.sandbox.box.uploads import ContentTimes, NewFile, NewVersion, add_file, add_version, stored

router = APIRouter(prefix="/files")


class NewSession(Body):
    """A file that will come in pieces."""

    folder_id: str
    file_size: int
    file_name: str


class NewVersionSession(Body):
    """A version that will come in pieces."""

    file_size: int
    file_name: str | None = None


class SentPart(Body):
    """A part as the client remembers it."""

    part_id: str
    offset: int
    size: int
    sha1: str | None = None


class Commit(Body):
    """All parts in their order, and what the file is to have besides."""

    parts: list[SentPart]
    attributes: ContentTimes = ContentTimes()


class PlannedPart(Body):
    """A part that the client thinks of sending."""

    offset: int
    size: int
    sha512: str


class Plan(Body):
    """Parts that the client thinks of sending."""

    parts: list[PlannedPart]


@router.post("/upload_sessions", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Begins a new file."""
    wish, tree = await read(request, NewSession), caller.enterprise.tree
    folder = tree.folder(wish.folder_id)
    tree.check_free(folder, wish.file_name)
    tree.check_space(tree.owner_of_new(folder, caller.user), wish.file_size)
    session = _session(caller, wish.file_size, wish.file_name)
    session.folder = folder
    _keep(caller, session)
    return JSONResponse(_shape(session, base_url(request)), status_code=201)


@router.post("/{file_id}/upload_sessions", response_model=None)
async def create_for_version(caller: CallerDep, file_id: str, request: Request) -> Response:
    """Begins a new version of a file."""
    wish, tree = await read(request, NewVersionSession), caller.enterprise.tree
    session = _session(caller, wish.file_size, wish.file_name)
    session.file = tree.file(path_id(file_id))
    _check_version(caller, session.file, session)
    _keep(caller, session)
    return JSONResponse(_shape(session, base_url(request)), status_code=201)


@router.get("/upload_sessions/{session_id}")
async def status(caller: CallerDep, session_id: str, request: Request) -> dict[str, Any]:
    """How far a session is."""
    return _shape(caller.enterprise.session(session_id), base_url(request))


@router.put("/upload_sessions/{session_id}")
async def upload_part(caller: CallerDep, session_id: str, request: Request) -> dict[str, Any]:
    """Takes one part; the same one may come again."""
    session = caller.enterprise.session(session_id)
    content, sha1 = await _receive(request)
    first, last = _range(request, session)
    if len(content) != last + 1 - first:
        raise _outside("The body is not as long as its Content-Range")
    if _digest(request) != sha1:
        raise BoxError(412, "precondition_failed", "The part does not have the digest that the header names")
    part = session.parts.get(first)
    if part is None:
        part = session.parts[first] = Part(secrets.token_hex(4).upper(), first, sha1.hex(), content)
    elif part.sha1 != sha1.hex():
        message = "The range of this part overlaps with one that is there already"
        raise BoxError(409, "range_overlaps_existing_part", message)
    return {"part": _part_shape(part)}


@router.get("/upload_sessions/{session_id}/parts")
async def parts(
    caller: CallerDep,
    session_id: str,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> dict[str, Any]:
    """The parts that have arrived, in the order of the file."""
    found = _ordered(caller.enterprise.session(session_id))
    page = [_part_shape(part) for part in found[offset : offset + limit]]
    return listing(page, len(found), offset, limit)


@router.post("/upload_sessions/{session_id}/plan")
async def plan(caller: CallerDep, session_id: str, request: Request) -> dict[str, Any]:
    """Which parts are still missing; the fake never has any from elsewhere."""
    session = caller.enterprise.session(session_id)
    wish = await read(request, Plan)
    misses = [part.model_dump() for part in wish.parts]
    return {"upload_session_id": session.id, "hits": [], "misses": misses}


@router.post("/upload_sessions/{session_id}/log", response_model=None)
async def log_event(caller: CallerDep, session_id: str) -> Response:
    """Takes what a client wants to tell about its upload, and forgets it."""
    caller.enterprise.session(session_id)
    return Response(status_code=204)


@router.delete("/upload_sessions/{session_id}", response_model=None)
async def abort(caller: CallerDep, session_id: str) -> Response:
    """Forgets a session and its parts."""
    session = caller.enterprise.session(session_id)
    del caller.enterprise.sessions[session.id]
    return Response(status_code=204)


@router.post("/upload_sessions/{session_id}/commit", response_model=None)
async def commit(caller: CallerDep, session_id: str, request: Request, fields: str | None = None) -> Response:
    """Makes the file or the version out of its parts."""
    session = caller.enterprise.session(session_id)
    wish = await read(request, Commit)
    _check_parts(session, wish.parts)
    session.commits += 1
    settings = caller.enterprise.settings
    if settings.first_commit_waits and session.commits == 1:
        return Response(status_code=202, headers={"Retry-After": f"{settings.commit_retry_after:g}"})
    sha1 = await asyncio.to_thread(_sha1_of, session)
    if _digest(request) != sha1:
        raise BoxError(412, "precondition_failed", "The file does not have the digest that the header names")
    # Another commit of the same session may have been faster.
    session = caller.enterprise.session(session_id)
    file = _finish(caller, session, wish.attributes, request, sha1.hex())
    del caller.enterprise.sessions[session.id]
    return stored(file, fields)


def _finish(caller: Caller, session: UploadSession, times: ContentTimes, request: Request, sha1: str) -> File:
    tree = caller.enterprise.tree
    # All that can be refused is refused before the parts are let go.
    if session.file is not None:
        file = tree.file(session.file.id)
        check_match(request, file)
        _check_version(caller, file, session)
        wanted = NewVersion(name=session.name, **times.model_dump())
        return add_version(caller, file, wanted, _joined(session), sha1)
    parent, name = _destination(session)
    parent = tree.folder(parent.id)
    tree.check_free(parent, name)
    tree.check_space(tree.owner_of_new(parent, caller.user), session.size)
    new = NewFile(name=name, parent=Reference(id=parent.id), **times.model_dump())
    return add_file(caller, parent, new, _joined(session), sha1)


def _check_version(caller: Caller, file: File, session: UploadSession) -> None:
    tree = caller.enterprise.tree
    tree.check_unlocked(file, caller.actor)
    if session.name is not None and file.parent is not None:
        tree.check_free(file.parent, session.name, but=file)
    tree.check_space(file.owner, session.size)


def _destination(session: UploadSession) -> tuple[Folder, str]:
    if session.folder is None or session.name is None:
        raise BoxError(500, "internal_server_error", "The session has no destination")
    return session.folder, session.name


def _session(caller: Caller, size: int, name: str | None) -> UploadSession:
    settings = caller.enterprise.settings
    if size < max(settings.upload_session_minimum, 1):
        message = f"The file has to have at least {settings.upload_session_minimum} bytes"
        raise BoxError(400, "file_size_too_small", message)
    expires = datetime.now(UTC) + timedelta(seconds=settings.upload_session_seconds)
    session_id = secrets.token_hex(16).upper()
    return UploadSession(session_id, size, settings.upload_part_size, expires, None, None, name)


def _keep(caller: Caller, session: UploadSession) -> None:
    caller.enterprise.sessions[session.id] = session


async def _receive(request: Request) -> tuple[bytearray, bytes]:
    content, digest = bytearray(), hashlib.sha1(usedforsecurity=False)
    async for piece in request.stream():
        content += piece
        digest.update(piece)
    return content, digest.digest()


def _range(request: Request, session: UploadSession) -> tuple[int, int]:
    asked = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", request.headers.get("content-range", ""))
    if asked is None:
        raise bad_request("'content-range' is missing or wrong", "content-range")
    first, last, size = map(int, asked.groups())
    end = min(first + session.part_size, session.size)
    if size != session.size or first % session.part_size or last + 1 != end:
        raise _outside("The Content-Range is none of the session's parts")
    return first, last


def _outside(message: str) -> BoxError:
    return BoxError(416, "requested_range_not_satisfiable", message)


def _digest(request: Request) -> bytes:
    name, _, value = request.headers.get("digest", "").partition("=")
    if name.lower() != "sha" or not value:
        raise bad_request("'digest' is missing or wrong", "digest")
    try:
        return base64.b64decode(value)
    except ValueError as error:
        raise bad_request("'digest' is no Base64", "digest") from error


def _ordered(session: UploadSession) -> list[Part]:
    return [session.parts[offset] for offset in sorted(session.parts)]


def _check_parts(session: UploadSession, sent: list[SentPart]) -> None:
    known = [(part.id, part.offset, len(part.content)) for part in _ordered(session)]
    if sum(size for _, _, size in known) != session.size:
        raise BoxError(409, "parts_mismatch", "There are parts that have not been uploaded")
    if [(part.part_id, part.offset, part.size) for part in sent] != known:
        raise bad_request("The parts are not those that were uploaded", "parts")


def _sha1_of(session: UploadSession) -> bytes:
    digest = hashlib.sha1(usedforsecurity=False)
    for part in _ordered(session):
        digest.update(part.content)
    return digest.digest()


def _joined(session: UploadSession) -> bytearray:
    # Each part is let go as soon as it is in, so that a large file never lies here twice.
    content = bytearray()
    for part in _ordered(session):
        content += part.content
        part.content = b""
    return content


def _part_shape(part: Part) -> Shape:
    return {"part_id": part.id, "offset": part.offset, "size": len(part.content), "sha1": part.sha1}


def _shape(session: UploadSession, base: str) -> Shape:
    here = f"{base}/upload/2.0/files/upload_sessions/{session.id}"
    return {
        "id": session.id,
        "type": "upload_session",
        "num_parts_processed": len(session.parts),
        "part_size": session.part_size,
        "total_parts": -(-session.size // session.part_size),
        "session_expires_at": timestamp(session.expires),
        "session_endpoints": {
            "list_parts": f"{here}/parts",
            "commit": f"{here}/commit",
            "log_event": f"{here}/log",
            "upload_part": here,
            "status": here,
            "abort": here,
            "plan": f"{here}/plan",
        },
    }
