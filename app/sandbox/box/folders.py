"""Folders: https://developer.box.com/reference/resources/folder/."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, CallerDep, Reference, base_url, check_match, path_id, read, unchanged
from app.sandbox.box.changing import ItemChange, change_item
from app.sandbox.box.items import Folder
from app.sandbox.box.pages import ItemsQuery, items_page
from app.sandbox.box.shapes import STANDARD, Shape, selected

router = APIRouter(prefix="/2.0/folders")


class NewFolder(Body):
    """A folder to make."""

    name: str
    parent: Reference
    description: str = ""


class Copy(Body):
    """Where a copy goes, and what it is called there."""

    parent: Reference
    name: str | None = None
    version: str | None = None


@router.post("", response_model=None)
async def create(caller: CallerDep, request: Request, fields: str | None = None) -> Response:
    """Makes a folder."""
    wish = await read(request, NewFolder)
    tree = caller.enterprise.tree
    folder = tree.add_folder(tree.folder(wish.parent.id), wish.name, caller.actor, wish.description)
    return JSONResponse(folder_shape(folder, ItemsQuery(fields=fields)), status_code=201)


@router.get("/{folder_id}", response_model=None)
async def look(
    caller: CallerDep, folder_id: str, request: Request, query: Annotated[ItemsQuery, Query()]
) -> Response:
    """A folder, with the first of what it holds."""
    folder = caller.enterprise.tree.folder(path_id(folder_id))
    if unchanged(request, folder):
        return Response(status_code=304)
    return JSONResponse(folder_shape(folder, query))


@router.get("/{folder_id}/items")
async def items(caller: CallerDep, folder_id: str, query: Annotated[ItemsQuery, Query()]) -> dict[str, Any]:
    """One page of what a folder holds."""
    return items_page(caller.enterprise.tree.folder(path_id(folder_id)).children.values(), query)


@router.put("/{folder_id}")
async def change(
    caller: CallerDep, folder_id: str, request: Request, fields: str | None = None
) -> dict[str, Any]:
    """Renames, moves, describes, tags or shares a folder."""
    folder = caller.enterprise.tree.folder(path_id(folder_id))
    check_match(request, folder)
    change_item(caller.enterprise, caller.actor, folder, await read(request, ItemChange), base_url(request))
    return folder_shape(folder, ItemsQuery(fields=fields))


@router.post("/{folder_id}/copy", response_model=None)
async def copy(caller: CallerDep, folder_id: str, request: Request, fields: str | None = None) -> Response:
    """Copies a folder with all that is in it."""
    wish, tree = await read(request, Copy), caller.enterprise.tree
    folder = tree.folder(path_id(folder_id))
    twin = tree.copy(folder, tree.folder(wish.parent.id), wish.name or folder.name, caller.actor)
    return JSONResponse(folder_shape(twin, ItemsQuery(fields=fields)), status_code=201)


@router.delete("/{folder_id}", response_model=None)
async def delete(caller: CallerDep, folder_id: str, request: Request, recursive: bool = False) -> Response:
    """Puts a folder into the trash; one that holds something only if `recursive` says so."""
    folder = caller.enterprise.tree.folder(path_id(folder_id))
    check_match(request, folder)
    caller.enterprise.tree.trash(folder, caller.actor, recursive=recursive)
    return Response(status_code=204)


def folder_shape(folder: Folder, query: ItemsQuery) -> Shape:
    """A folder with a page of its items, as only its own routes answer it."""
    shape = selected(folder, query.fields, STANDARD)
    if not query.fields or "item_collection" in query.fields.split(","):
        page = query.model_copy(update={"fields": None, "usemarker": False})
        shape["item_collection"] = items_page(folder.children.values(), page)
    return shape
