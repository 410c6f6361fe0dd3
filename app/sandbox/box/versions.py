"""Older contents of files: https://developer.box.com/reference/resources/file-version/."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, CallerDep, check_match, path_id, read
from app.sandbox.box.errors import forbidden, not_found
from app.sandbox.box.items import File, Version
from app.sandbox.box.shapes import Shape, listing, user_mini, version_mini
from app.sandbox.box.times import timestamp

router = APIRouter(prefix="/2.0/files/{file_id}/versions")


class Promotion(Body):
    """The version to put on top again."""

    id: str
    type: Literal["file_version"] = "file_version"


class Revival(Body):
    """A version to take out of the trash: `trashed_at` is null."""

    trashed_at: None


@router.get("")
async def versions(
    caller: CallerDep,
    file_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """The versions that are past, newest first; the current one is the file itself."""
    past = caller.enterprise.tree.file(path_id(file_id)).versions[-2::-1]
    page = [_shape(version) for version in past[offset : offset + limit]]
    return listing(page, len(past), offset, limit)


@router.get("/{version_id}")
async def version(caller: CallerDep, file_id: str, version_id: str) -> dict[str, Any]:
    """One version."""
    return _shape(find_version(caller.enterprise.tree.file(path_id(file_id)), version_id))


@router.post("/current", response_model=None)
async def promote(caller: CallerDep, file_id: str, request: Request) -> Response:
    """Puts a copy of an old version on top."""
    file = caller.enterprise.tree.file(path_id(file_id))
    old = find_version(file, (await read(request, Promotion)).id)
    return JSONResponse(_shape(caller.enterprise.tree.promote(file, old, caller.actor)), status_code=201)


@router.delete("/{version_id}", response_model=None)
async def delete(caller: CallerDep, file_id: str, version_id: str, request: Request) -> Response:
    """Puts an old version into the trash."""
    file = caller.enterprise.tree.file(path_id(file_id))
    check_match(request, file)
    found = find_version(file, version_id)
    if found is file.current:
        raise forbidden("The current version cannot be deleted")
    found.trashed = datetime.now(UTC)
    return Response(status_code=204)


@router.put("/{version_id}")
async def revive(caller: CallerDep, file_id: str, version_id: str, request: Request) -> dict[str, Any]:
    """Takes an old version out of the trash."""
    found = find_version(caller.enterprise.tree.file(path_id(file_id)), version_id)
    await read(request, Revival)
    found.trashed = None
    return _shape(found)


def find_version(file: File, version_id: str) -> Version:
    """One version of a file."""
    found = next((version for version in file.versions if version.id == version_id), None)
    if found is None:
        raise not_found("file_version", version_id)
    return found


def _shape(version: Version) -> Shape:
    return version_mini(version) | {
        "name": version.name,
        "size": len(version.content),
        "created_at": timestamp(version.created),
        "modified_at": timestamp(version.created),
        "modified_by": user_mini(version.by),
        "trashed_at": timestamp(version.trashed),
        "purged_at": None,
        "uploader_display_name": version.by.full_name,
        "version_number": str(version.number),
    }
