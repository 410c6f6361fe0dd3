"""Files without their contents: https://developer.box.com/reference/resources/file/."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import CallerDep, base_url, check_match, path_id, read, unchanged
from app.sandbox.box.changing import ItemChange, change_item
from app.sandbox.box.folders import Copy
from app.sandbox.box.shapes import selected
from app.sandbox.box.versions import find_version

router = APIRouter(prefix="/2.0/files")


@router.get("/{file_id}", response_model=None)
async def look(caller: CallerDep, file_id: str, request: Request, fields: str | None = None) -> Response:
    """A file."""
    file = caller.enterprise.tree.file(path_id(file_id))
    if unchanged(request, file):
        return Response(status_code=304)
    return JSONResponse(selected(file, fields))


@router.put("/{file_id}")
async def change(
    caller: CallerDep, file_id: str, request: Request, fields: str | None = None
) -> dict[str, Any]:
    """Renames, moves, describes, tags, shares or locks a file."""
    file = caller.enterprise.tree.file(path_id(file_id))
    check_match(request, file)
    change_item(caller.enterprise, caller.actor, file, await read(request, ItemChange), base_url(request))
    return selected(file, fields)


@router.post("/{file_id}/copy", response_model=None)
async def copy(caller: CallerDep, file_id: str, request: Request, fields: str | None = None) -> Response:
    """Copies a file, or one version of it."""
    wish, tree = await read(request, Copy), caller.enterprise.tree
    file = tree.file(path_id(file_id))
    version = find_version(file, wish.version) if wish.version is not None else None
    parent = tree.folder(wish.parent.id)
    twin = tree.copy(file, parent, wish.name or file.name, caller.actor, version)
    return JSONResponse(selected(twin, fields), status_code=201)


@router.delete("/{file_id}", response_model=None)
async def delete(caller: CallerDep, file_id: str, request: Request) -> Response:
    """Puts a file into the trash."""
    file = caller.enterprise.tree.file(path_id(file_id))
    check_match(request, file)
    caller.enterprise.tree.trash(file, caller.actor)
    return Response(status_code=204)
