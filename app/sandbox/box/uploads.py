"""Uploads in one request: https://developer.box.com/guides/uploads/direct/."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator

from app.sandbox.box.access import (
    Body,
    Caller,
    CallerDep,
    Reference,
    base_url,
    check_match,
    parse,
    path_id,
    read,
)
from app.sandbox.box.errors import BoxError
from app.sandbox.box.items import File, Folder
from app.sandbox.box.multipart import Upload, read_upload
from app.sandbox.box.shapes import selected
from app.sandbox.box.times import aware

router = APIRouter()
preflight_router = APIRouter(prefix="/2.0/files")


SentTime = Annotated[datetime | None, AfterValidator(lambda at: aware(at) if at else None)]


class ContentTimes(Body):
    """When the content was made and changed, before it came to Box."""

    content_created_at: SentTime = None
    content_modified_at: SentTime = None


class NewFile(ContentTimes):
    """The attributes of a new file."""

    name: str
    parent: Reference


class NewVersion(ContentTimes):
    """The attributes of a new version."""

    name: str | None = None


class Preflight(Body):
    """A file that somebody may upload."""

    name: str
    parent: Reference
    size: int = 0


class VersionPreflight(Body):
    """A version that somebody may upload."""

    name: str | None = None
    size: int = 0


@preflight_router.options("/content")
async def preflight(caller: CallerDep, request: Request) -> dict[str, Any]:
    """Whether a new file would be taken, and where."""
    wish, tree = await read(request, Preflight), caller.enterprise.tree
    parent = tree.folder(wish.parent.id)
    tree.check_free(parent, wish.name)
    tree.check_space(tree.owner_of_new(parent, caller.user), wish.size)
    return {"upload_url": f"{base_url(request)}/upload/2.0/files/content", "upload_token": None}


@preflight_router.options("/{file_id}/content")
async def preflight_version(caller: CallerDep, file_id: str, request: Request) -> dict[str, Any]:
    """Whether a new version would be taken, and where."""
    wish, tree = await read(request, VersionPreflight), caller.enterprise.tree
    file = tree.file(path_id(file_id))
    tree.check_unlocked(file, caller.actor)
    if wish.name is not None and file.parent is not None:
        tree.check_free(file.parent, wish.name, but=file)
    tree.check_space(file.owner, wish.size)
    return {"upload_url": f"{base_url(request)}/upload/2.0/files/{file_id}/content", "upload_token": None}


@router.post("/files/content", response_model=None)
async def upload(caller: CallerDep, request: Request, fields: str | None = None) -> Response:
    """Makes a file."""
    sent = await _receive(request)
    wish = parse(sent.attributes, NewFile)
    parent = caller.enterprise.tree.folder(wish.parent.id)
    return stored(add_file(caller, parent, wish, sent.content, sent.sha1), fields)


@router.post("/files/{file_id}/content", response_model=None)
async def upload_version(
    caller: CallerDep, file_id: str, request: Request, fields: str | None = None
) -> Response:
    """Makes a new version of a file."""
    # The file is looked for last: it may go or change while the content is on its way.
    sent = await _receive(request)
    wish = parse(sent.attributes, NewVersion)
    file = caller.enterprise.tree.file(path_id(file_id))
    check_match(request, file)
    return stored(add_version(caller, file, wish, sent.content, sent.sha1), fields)


def add_file(caller: Caller, parent: Folder, wish: NewFile, content: bytearray, sha1: str) -> File:
    """Puts a new file where its attributes say."""
    return caller.enterprise.tree.add_file(
        parent,
        wish.name,
        content,
        sha1,
        caller.actor,
        created=wish.content_created_at,
        modified=wish.content_modified_at,
    )


def add_version(caller: Caller, file: File, wish: NewVersion, content: bytearray, sha1: str) -> File:
    """Puts a new version on top of a file."""
    return caller.enterprise.tree.add_version(
        file, content, sha1, caller.actor, name=wish.name, modified=wish.content_modified_at
    )


def stored(file: File, fields: str | None) -> Response:
    """The answer to every upload that is done."""
    return JSONResponse({"total_count": 1, "entries": [selected(file, fields)]}, status_code=201)


async def _receive(request: Request) -> Upload:
    sent = await read_upload(request)
    # The header is called so for historical reasons; what it holds is a SHA-1.
    expected = request.headers.get("content-md5")
    if expected is not None and expected.lower() != sent.sha1:
        raise BoxError(400, "bad_digest", "The specified content-md5 did not match what we received")
    return sent
